//! How many round trips an operation takes, and the rules that look right and are wrong: each with
//! the shortest schedule that tells them apart.

mod cluster;

use cloakroom_register::{
    Ask, Body, Call, Envelope, Epoch, Expected, Held, Key, Message, Operation, Outcome, Reply,
    Slot, Version,
};

use cluster::{Cluster, EPOCH, ballot, copied, id, key, node, put, remove, swap, value};

fn held(version: u64, text: &str) -> Held {
    Held { version: Version(version), value: value(text) }
}

const GET: Call = Call::Get;

#[test]
fn a_settled_get_takes_one_round_trip() {
    let mut cluster = Cluster::empty();
    assert_eq!(cluster.call(1, GET), (Outcome::Got(None), 1));
    assert_eq!(cluster.call(0, put("a")), (Outcome::Set(Version(1)), 2));
    assert_eq!(cluster.call(1, GET), (Outcome::Got(Some(held(1, "a"))), 1));
}

#[test]
fn a_write_takes_two_round_trips_and_one_while_its_coordinator_has_the_promise() {
    let mut cluster = Cluster::empty();
    assert_eq!(cluster.call(0, put("a")), (Outcome::Set(Version(1)), 2));
    assert_eq!(cluster.call(0, swap("a", "b")), (Outcome::Set(Version(2)), 1));
    assert_eq!(cluster.call(0, remove("b")), (Outcome::Set(Version(3)), 1));
    assert_eq!(cluster.call(0, put("c")), (Outcome::Set(Version(4)), 1));
    // Another writes, and takes the promise with it. By itself it finds out by a refusal.
    assert_eq!(cluster.call(2, swap("c", "d")), (Outcome::Set(Version(5)), 3));
    assert_eq!(cluster.call(2, swap("d", "e")), (Outcome::Set(Version(6)), 1));
}

#[test]
fn a_write_takes_two_round_trips_where_the_promises_of_others_are_known() {
    let mut cluster = Cluster::empty();
    // What the member beside a coordinator has promised.
    let meet = |cluster: &mut Cluster, seat: u8| {
        let promise = cluster.replicas[usize::from(seat)].durable().record(&key()).promise;
        cluster.coordinator(seat).met(&key(), promise);
    };
    assert_eq!(cluster.call(0, put("a")), (Outcome::Set(Version(1)), 2));
    // Its own promise is no news.
    meet(&mut cluster, 0);
    assert_eq!(cluster.call(0, swap("a", "b")), (Outcome::Set(Version(2)), 1));
    assert_eq!(cluster.call(0, swap("b", "c")), (Outcome::Set(Version(3)), 1));
    meet(&mut cluster, 2);
    assert_eq!(cluster.call(2, swap("c", "d")), (Outcome::Set(Version(4)), 2));
    meet(&mut cluster, 0);
    assert_eq!(cluster.call(0, swap("d", "e")), (Outcome::Set(Version(5)), 2));
    // Promises of a view before say nothing: they are below all of this one.
    cluster.coordinator(0).met(&key(), ballot(EPOCH.0 - 1, 99, 1));
    assert_eq!(cluster.call(0, swap("e", "f")), (Outcome::Set(Version(6)), 1));
}

#[test]
fn a_refused_promise_is_not_trusted_again() {
    let mut cluster = Cluster::empty();
    assert_eq!(cluster.call(0, put("a")), (Outcome::Set(Version(1)), 2));
    assert_eq!(cluster.call(1, swap("a", "b")), (Outcome::Set(Version(2)), 3));
    // Seat 0 believes in version 1 and tries to write on it: refused, and told the truth.
    assert_eq!(cluster.call(0, swap("a", "c")).0, Outcome::Mismatch(Some(held(2, "b"))));
    assert_eq!(cluster.call(0, GET), (Outcome::Got(Some(held(2, "b"))), 1));
}

#[test]
fn a_failing_compare_and_set_answers_what_is_chosen() {
    let mut cluster = Cluster::empty();
    cluster.call(0, put("a"));
    assert_eq!(cluster.call(1, put("b")).0, Outcome::Mismatch(Some(held(1, "a"))));
    let by_version = |version| Call::CompareAndSet {
        expected: Expected::Version(Version(version)),
        new: Some(value("c")),
    };
    assert_eq!(cluster.call(1, by_version(2)).0, Outcome::Mismatch(Some(held(1, "a"))));
    assert_eq!(cluster.call(1, by_version(1)).0, Outcome::Set(Version(2)));
}

#[test]
fn an_empty_value_is_not_absence() {
    let mut cluster = Cluster::empty();
    assert_eq!(cluster.call(0, put("")).0, Outcome::Set(Version(1)));
    assert_eq!(cluster.call(1, GET).0, Outcome::Got(Some(held(1, ""))));
    assert_eq!(cluster.call(1, put("a")).0, Outcome::Mismatch(Some(held(1, ""))));
}

#[test]
fn one_member_of_three_may_be_down() {
    let mut cluster = Cluster::empty();
    cluster.down = vec![1];
    assert_eq!(cluster.call(0, put("a")), (Outcome::Set(Version(1)), 2));
    // The one that was down is behind: a get that hears of both states asks again and writes back.
    cluster.down = vec![0];
    assert_eq!(cluster.call(1, GET), (Outcome::Got(Some(held(1, "a"))), 3));
    assert_eq!(cluster.call(2, GET), (Outcome::Got(Some(held(1, "a"))), 1));
    cluster.down = vec![0, 1];
    assert_eq!(cluster.run(2, operation(90, GET)), None);
    assert_eq!(cluster.coordinator(2).give_up(id(90)), Some(Outcome::Unavailable));
}

fn operation(number: u8, call: Call) -> Operation {
    Operation { id: id(number), key: key(), call, bound: None }
}

/// Begins a put at seat 0 of which one accept arrives, at `seat`, unanswered.
fn half_done(cluster: &mut Cluster, text: &str, seat: u8) -> Operation {
    let steps = cluster.coordinator(0).begin([operation(99, put(text))]);
    let accepts = cluster.round_trip(0, &steps.send).send;
    for accept in accepts.iter().filter(|accept| accept.to == node(seat)) {
        let effects = cluster.deliver(0, accept);
        assert_eq!(effects.persist.len(), 1, "an accept is durable before it is answered");
    }
    cluster.coordinator(0).operations().next().expect("still under way").clone()
}

#[test]
fn a_retry_that_finds_its_own_state_does_not_do_it_twice() {
    let mut cluster = Cluster::empty();
    half_done(&mut cluster, "a", 1);
    assert_eq!(cluster.retry(0, id(99)), Some((Outcome::Set(Version(1)), 2)));
    assert_eq!(cluster.call(1, GET), (Outcome::Got(Some(held(1, "a"))), 1));
}

#[test]
fn a_retry_through_another_coordinator_needs_the_version_that_it_is_bound_to() {
    let mut cluster = Cluster::empty();
    half_done(&mut cluster, "a", 1);
    assert_eq!(cluster.coordinator(0).give_up(id(99)), Some(Outcome::Unknown(Version(0))));
    let retry = Operation { bound: Some(Version(0)), ..operation(99, put("a")) };
    assert_eq!(cluster.run(2, retry).unwrap().0, Outcome::Set(Version(1)));
}

#[test]
fn a_failure_is_not_answered_while_an_accept_of_it_may_still_be_adopted() {
    let mut cluster = Cluster::empty();
    half_done(&mut cluster, "a", 0);
    // Seat 1 does not hear of it and writes the same version under a higher ballot.
    cluster.down = vec![0];
    assert_eq!(cluster.call(1, put("b")).0, Outcome::Set(Version(1)));
    // The retry is not told that it failed before the state that shows it is chosen under its own
    // newer ballot: two more round trips, although all that answer agree.
    cluster.down = vec![1];
    let ended = cluster.retry(0, id(99)).unwrap();
    assert_eq!(ended, (Outcome::Mismatch(Some(held(1, "b"))), 2));
    cluster.down = vec![];
    assert_eq!(cluster.call(2, GET).0, Outcome::Got(Some(held(1, "b"))));
}

#[test]
fn what_lies_behind_the_version_leaves_the_outcome_unknown() {
    let mut cluster = Cluster::empty();
    half_done(&mut cluster, "a", 1);
    // Adopted and overwritten: it did happen, and nobody can tell.
    cluster.down = vec![2];
    assert_eq!(cluster.run(1, operation(98, swap("a", "b"))), None, "one refuses, one is down");
    assert_eq!(cluster.retry(1, id(98)).unwrap().0, Outcome::Set(Version(2)));
    cluster.down = vec![];
    assert_eq!(cluster.retry(0, id(99)).unwrap().0, Outcome::Unknown(Version(0)));
}

#[test]
fn a_retry_does_not_happen_again_when_its_state_is_gone() {
    let mut cluster = Cluster::empty();
    half_done(&mut cluster, "a", 1);
    // Adopted and removed: what the retry expects is there, again.
    cluster.down = vec![2];
    assert_eq!(cluster.run(1, operation(98, remove("a"))), None, "one refuses, one is down");
    assert_eq!(cluster.retry(1, id(98)).unwrap().0, Outcome::Set(Version(2)));
    cluster.down = vec![];
    assert_eq!(cluster.retry(0, id(99)).unwrap().0, Outcome::Unknown(Version(0)));
    assert_eq!(cluster.call(2, GET).0, Outcome::Got(None));
}

#[test]
fn a_compare_and_set_that_fails_writes_back_what_it_answers() {
    let mut cluster = Cluster::empty();
    half_done(&mut cluster, "a", 1);
    cluster.down = vec![0];
    assert_eq!(cluster.run(2, operation(98, put("b"))), None, "one refuses, one is down");
    // One of two has it: as far as anybody knows, nobody else ever will.
    assert_eq!(cluster.retry(2, id(98)), Some((Outcome::Mismatch(Some(held(1, "a"))), 2)));
    // Without the one that had it, it is still what was answered.
    cluster.down = vec![1];
    assert_eq!(cluster.call(2, GET).0, Outcome::Got(Some(held(1, "a"))));
}

#[test]
fn a_majority_is_of_all_seats_whoever_can_be_reached() {
    let mut cluster = Cluster::empty();
    // One is cut off from the two others, and both sides write.
    cluster.down = vec![0, 1];
    assert_eq!(cluster.run(2, operation(99, put("a"))), None);
    cluster.down = vec![2];
    assert_eq!(cluster.call(0, put("b")).0, Outcome::Set(Version(1)));
    cluster.down = vec![];
    assert_eq!(cluster.retry(2, id(99)).unwrap().0, Outcome::Mismatch(Some(held(1, "b"))));
}

#[test]
fn unanimity_on_a_copied_ballot_is_not_taken_for_chosen() {
    // In the view before, `a` had one vote and `b`, under a higher ballot, another; both were copied
    // from sealed majorities, and nothing was chosen.
    let records =
        [Some(copied(1, 1, "a", 1)), Some(copied(1, 1, "a", 1)), Some(copied(2, 1, "b", 2))];
    let mut cluster = Cluster::new(&records);
    cluster.down = vec![2];
    let (read, round_trips) = cluster.call(0, GET);
    assert_eq!((read, round_trips), (Outcome::Got(Some(held(1, "a"))), 3), "written back first");
    cluster.down = vec![];
    assert_eq!(cluster.call(1, GET).0, Outcome::Got(Some(held(1, "a"))));
}

#[test]
fn a_duplicate_accept_is_acknowledged_with_its_promise_or_not_at_all() {
    // The state was copied from another replica of this view; the accept itself comes late.
    let here = ballot(EPOCH.0, 4, 0);
    let mut record = copied(4, 1, "a", 1);
    let accepted = record.accepted.as_mut().unwrap();
    (accepted.ballot, record.promise) = (here, here);
    let state = accepted.state.clone();
    let mut cluster = Cluster::new(&[None, Some(record), None]);
    let next = Some(ballot(EPOCH.0, 5, 0));
    let accept = Ask::Accept { key: key(), ballot: here, state, next };
    let message = |ask| Message { slot: Slot(7), epoch: EPOCH, body: Body::Ask(vec![ask]) };
    let effects = cluster.replicas[1].handle(node(0), &message(accept.clone()));
    assert_eq!(effects.persist.len(), 1, "the promise is new");
    let accepted = |reply: &Reply| matches!(reply, Reply::Accepted { next: n, .. } if *n == next);
    let Body::Reply(replies) = &effects.send[0].message.body else { panic!("expected a reply") };
    assert!(accepted(&replies[0]));
    // Again, after somebody else has a higher promise: not at all.
    let prepare = Ask::Prepare { key: key(), ballot: ballot(EPOCH.0, 9, 2) };
    let effects = cluster.replicas[1].handle(node(2), &message(prepare));
    assert_eq!(effects.persist.len(), 1);
    let effects = cluster.replicas[1].handle(node(0), &message(accept));
    let Body::Reply(replies) = &effects.send[0].message.body else { panic!("expected a reply") };
    assert!(matches!(replies[0], Reply::Refused { .. }));
}

#[test]
fn a_message_of_another_epoch_is_not_voted_on() {
    let mut cluster = Cluster::empty();
    let prepare = Ask::Prepare { key: key(), ballot: ballot(EPOCH.0 - 1, 9, 0) };
    let body = Body::Ask(vec![prepare]);
    let stale = Message { slot: Slot(7), epoch: Epoch(EPOCH.0 - 1), body };
    let before = cluster.replicas[1].clone();
    let effects = cluster.replicas[1].handle(node(0), &stale);
    let view = before.view().clone();
    assert!(matches!(&effects.send[0].message.body, Body::Newer(newer) if *newer == view));
    let early = Message { epoch: Epoch(EPOCH.0 + 1), ..stale.clone() };
    let elsewhere = Message { slot: Slot(8), epoch: EPOCH, ..stale.clone() };
    let pretending = Message { epoch: EPOCH, ..stale };
    for message in [early, elsewhere, pretending] {
        let effects = cluster.replicas[1].handle(node(0), &message);
        assert!(effects.persist.is_empty() && effects.send.is_empty(), "{message:?}");
    }
    assert_eq!(cluster.replicas[1], before);
}

#[test]
fn several_keys_travel_in_one_message() {
    let mut cluster = Cluster::empty();
    let other =
        |number: u8| Operation { key: Key::from(&[number][..]), ..operation(number, put("a")) };
    let steps = cluster.coordinator(0).begin((0..20).map(other));
    assert_eq!(steps.send.len(), 3);
    let steps = cluster.round_trip(0, &steps.send);
    assert_eq!(steps.send.len(), 3);
    let steps = cluster.round_trip(0, &steps.send);
    assert_eq!(steps.ended.len(), 20);
}

/// What the member in a seat answers to its part of what a coordinator has sent.
fn answer(cluster: &mut Cluster, from: u8, asked: &[Envelope], to: u8) -> Message {
    let ask = asked.iter().find(|ask| ask.to == node(to)).expect("asked");
    cluster.deliver(from, ask).send.remove(0).message
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    let mut cluster = Cluster::empty();
    let asked = cluster.coordinator(0).begin([operation(1, put("a"))]).send;
    let promise = answer(&mut cluster, 0, &asked, 1);
    for _ in 0..3 {
        assert!(cluster.coordinator(0).handle(node(1), &promise).send.is_empty());
    }
    let other = answer(&mut cluster, 0, &asked, 2);
    assert_eq!(cluster.coordinator(0).handle(node(2), &other).send.len(), 3);
    assert!(cluster.coordinator(0).handle(node(9), &promise).send.is_empty(), "a stranger's");
}

#[test]
fn an_answer_to_an_earlier_round_counts_for_nothing() {
    let mut cluster = Cluster::empty();
    let asked = cluster.coordinator(0).begin([operation(1, put("a"))]).send;
    let late = [0, 1, 2].map(|seat| answer(&mut cluster, 0, &asked, seat));
    let _ = cluster.coordinator(0).retry(id(1));
    for (seat, late) in (0..).zip(&late) {
        let steps = cluster.coordinator(0).handle(node(seat), late);
        assert!(steps.send.is_empty() && steps.ended.is_empty());
    }
}

#[test]
fn a_promise_is_used_for_one_state() {
    let mut cluster = Cluster::empty();
    cluster.call(0, put("a"));
    let mut ballots = Vec::new();
    for (number, text) in [(50, "b"), (51, "c")] {
        let steps = cluster.coordinator(0).begin([operation(number, swap("a", text))]);
        let Body::Ask(asks) = &steps.send[0].message.body else { panic!("it asks") };
        ballots.push(asks[0].ballot());
    }
    assert_ne!(ballots[0], ballots[1]);
}

#[test]
fn of_two_coordinators_in_one_round_only_one_writes() {
    let mut cluster = Cluster::empty();
    let begun = [0, 1].map(|seat| {
        let operation = operation(90 + seat, put(if seat == 0 { "a" } else { "b" }));
        (seat, cluster.coordinator(seat).begin([operation]).send)
    });
    let accepts = begun.map(|(seat, asked)| (seat, cluster.round_trip(seat, &asked).send));
    let [first, second] = accepts.map(|(seat, asked)| cluster.round_trip(seat, &asked).ended);
    assert_eq!(first, [], "the ballot of seat 1 is the higher one, and was promised");
    assert_eq!(second, [(id(91), Outcome::Set(Version(1)))]);
}

#[test]
fn what_is_accepted_was_promised_under_its_own_ballot() {
    let mut cluster = Cluster::empty();
    let asked = cluster.coordinator(2).begin([operation(99, put("a"))]).send;
    let promises = [0, 1].map(|seat| (seat, answer(&mut cluster, 2, &asked, seat)));
    // Other keys take its rounds far up. What it takes next of them, nobody has promised.
    let other =
        |number: u8| Operation { key: Key::from(&[number][..]), ..operation(number, put("x")) };
    let _ = cluster.coordinator(2).begin((50..60).map(other));
    assert_eq!(cluster.call(0, put("b")), (Outcome::Set(Version(1)), 3));
    let accepts: Vec<Envelope> = promises
        .iter()
        .flat_map(|(seat, promise)| cluster.coordinator(2).handle(node(*seat), promise).send)
        .collect();
    assert_eq!(accepts.len(), 3, "both promises were made before");
    assert_eq!(cluster.round_trip(2, &accepts).ended, []);
    assert_eq!(cluster.retry(2, id(99)).unwrap().0, Outcome::Mismatch(Some(held(1, "b"))));
}
