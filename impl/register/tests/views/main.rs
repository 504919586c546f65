//! From view to view, and what goes: each rule with the shortest schedule that needs it.

mod slot;

use cloakroom_register::{
    Accepted, Ask, Ballot, Body, Collect, Collector, Decree, DecreeAsk, DecreeReply, Effects,
    Epoch, Floor, Life, Message, NodeId, Record, Replica, ReplicaError, Reply, Version, Write,
};

use slot::{
    BOOT, SLOT, SlotOfNodes, accepted, ballot, key, member, message, node, tombstone, view,
};

/// The view of nodes 0 to 2, then the view of these nodes.
fn two_views(nodes: [u8; 3]) -> SlotOfNodes {
    let mut slot = SlotOfNodes::genesis([0, 1, 2]);
    slot.next(nodes);
    slot
}

/// An accept under the ballot of a round, in epoch 0, from the coordinator of node 0.
fn accept(round: u32) -> Message {
    let Accepted { ballot, state } = accepted(ballot(0, round, 0), u64::from(round));
    let ask = Ask::Accept { key: key(0), ballot, state, next: None };
    message(0, Body::Ask(vec![ask]))
}

fn replies(effects: &Effects) -> Vec<Reply> {
    let replies = effects.send.iter().filter_map(|sent| match &sent.message.body {
        Body::Reply(replies) => Some(replies.clone()),
        _ => None,
    });
    replies.flatten().collect()
}

fn life(slot: &SlotOfNodes, epoch: u32, node: u8) -> &Life {
    &slot.replica(epoch, node).durable().life
}

fn holds(slot: &SlotOfNodes, epoch: u32, node: u8) -> Option<Ballot> {
    slot.replica(epoch, node).durable().record(&key(0)).accepted.map(|accepted| accepted.ballot)
}

#[test]
fn what_was_chosen_is_at_every_member_that_becomes_active() {
    let mut slot = two_views([3, 4, 5]);
    for member in [0, 1] {
        assert!(matches!(replies(&slot.tell(0, member, 0, &accept(1)))[0], Reply::Accepted { .. }));
    }
    // Member 2 never heard of it. Any majority of snapshots shows it.
    slot.pull(1, 3, 0, 1);
    slot.pull(1, 3, 0, 2);
    assert_eq!((life(&slot, 1, 3), holds(&slot, 1, 3)), (&Life::Active, Some(ballot(0, 1, 0))));
    slot.pull(1, 4, 0, 2);
    slot.pull(1, 4, 0, 0);
    assert_eq!((life(&slot, 1, 4), holds(&slot, 1, 4)), (&Life::Active, Some(ballot(0, 1, 0))));
}

#[test]
fn one_snapshot_is_not_enough_and_the_same_one_twice_is_one() {
    let mut slot = two_views([3, 4, 5]);
    slot.pull(1, 3, 0, 2);
    let again = message(0, Body::Pull { next: view(1, [3, 4, 5]), after: None });
    let page = slot.tell(0, 2, 3, &again).send.remove(0);
    let effects = slot.tell(1, 3, 2, &page.message);
    assert!(effects.persist.is_empty() && matches!(life(&slot, 1, 3), Life::Learner { .. }));
}

#[test]
fn a_pull_seals_durably_and_a_sealed_member_does_not_vote() {
    let mut slot = two_views([3, 4, 5]);
    let next = view(1, [3, 4, 5]);
    let pull = message(0, Body::Pull { next: next.clone(), after: None });
    let effects = slot.tell(0, 0, 3, &pull);
    assert_eq!(effects.persist, [Write::Life(Life::Sealed { next: next.clone() })]);
    let effects = slot.tell(0, 0, 0, &accept(1));
    assert!(effects.persist.is_empty());
    assert_eq!(effects.send[0].message.body, Body::Newer(next.clone()));
    // Nor on another next view.
    let prepare = message(0, Body::Decree(DecreeAsk::Prepare(ballot(0, 9, 1))));
    assert_eq!(slot.tell(0, 0, 1, &prepare).send[0].message.body, Body::Newer(next));
    slot.restart(0, 0);
    assert!(slot.tell(0, 0, 0, &accept(1)).persist.is_empty(), "also after a crash");
}

#[test]
fn only_a_member_of_the_next_view_seals() {
    let mut slot = two_views([3, 4, 5]);
    let pull = |next| message(0, Body::Pull { next, after: None });
    for (from, next) in [(6, view(1, [3, 4, 5])), (3, view(2, [3, 4, 5])), (3, view(0, [3, 4, 5]))]
    {
        let effects = slot.tell(0, 0, from, &pull(next));
        assert!(effects.persist.is_empty() && effects.send.is_empty());
    }
    assert_eq!(life(&slot, 0, 0), &Life::Active);
}

#[test]
fn a_learner_neither_votes_nor_serves_nor_is_sealed() {
    let mut slot = two_views([2, 3, 4]);
    let prepare = |body| Message { slot: SLOT, epoch: Epoch(1), body };
    let asks = [
        Body::Ask(vec![Ask::Prepare { key: key(0), ballot: ballot(1, 1, 0) }]),
        Body::Ask(vec![Ask::Read { key: key(0), ballot: ballot(1, 1, 0) }]),
        Body::Decree(DecreeAsk::Prepare(ballot(1, 1, 0))),
        Body::Pull { next: view(2, [2, 3, 4]), after: None },
        Body::Copy { after: None },
        Body::AreYouActive,
        Body::Collect(vec![Collect::Check {
            key: key(0),
            tombstone: Ballot::ZERO,
            version: Version(0),
        }]),
    ];
    for body in asks {
        let effects = slot.tell(1, 3, 2, &prepare(body));
        assert!(effects.persist.is_empty() && effects.send.is_empty());
    }
}

#[test]
fn of_two_snapshots_the_higher_ballot_counts_in_whatever_order_they_come() {
    for order in [[0, 1], [1, 0]] {
        let mut slot = two_views([3, 4, 5]);
        // The higher ballot has the lower version: versions are not what counts.
        let Accepted { ballot: high, state } = accepted(ballot(0, 7, 0), 1);
        let ask = Ask::Accept { key: key(0), ballot: high, state, next: None };
        let _ = slot.tell(0, 0, 0, &message(0, Body::Ask(vec![ask])));
        let _ = slot.tell(0, 1, 0, &accept(5));
        for source in order {
            slot.pull(1, 3, 0, source);
        }
        assert_eq!((life(&slot, 1, 3), holds(&slot, 1, 3)), (&Life::Active, Some(high)));
    }
}

#[test]
fn a_snapshot_of_many_keys_comes_in_pages_and_goes_on_after_a_crash() {
    let mut slot = two_views([3, 4, 5]);
    let Accepted { ballot: first, state } = accepted(ballot(0, 1, 0), 1);
    for member in [0, 1] {
        let accept = |number| Ask::Accept {
            key: key(number),
            ballot: first,
            state: state.clone(),
            next: None,
        };
        let prepare = |number| Ask::Prepare { key: key(number), ballot: first };
        let asks = (0..700).map(accept).chain((700..1000).map(prepare)).collect();
        let _ = slot.tell(0, member, 0, &message(0, Body::Ask(asks)));
    }
    let mut pages = 0;
    while life(&slot, 1, 3) != &Life::Active {
        slot.pull(1, 3, 0, pages % 2);
        slot.restart(1, 3);
        pages += 1;
        assert!(pages < 20, "it ends");
    }
    assert!(pages > 4, "{pages}");
    assert_eq!(slot.replica(1, 3).durable().records.len(), 700);
}

#[test]
fn a_snapshot_stays_until_a_majority_of_the_next_view_is_active() {
    let mut slot = two_views([3, 4, 5]);
    let _ = slot.tell(0, 0, 0, &accept(1));
    for source in [0, 1] {
        slot.pull(1, 3, 0, source);
    }
    slot.ask_active(0, 0);
    assert!(matches!(life(&slot, 0, 0), Life::Sealed { .. }), "one of three is active");
    assert_eq!(holds(&slot, 0, 0), Some(ballot(0, 1, 0)));
    for source in [0, 1] {
        slot.pull(1, 4, 0, source);
    }
    slot.ask_active(0, 0);
    assert_eq!(life(&slot, 0, 0), &Life::Retired { next: view(1, [3, 4, 5]) });
    assert_eq!(holds(&slot, 0, 0), None);
    let effects = slot.tell(0, 0, 0, &accept(2));
    assert_eq!(effects.send[0].message.body, Body::Newer(view(1, [3, 4, 5])));
}

#[test]
fn whoever_is_late_copies_from_an_active_peer() {
    let mut slot = two_views([3, 4, 5]);
    for member in [0, 1] {
        let _ = slot.tell(0, member, 0, &accept(1));
    }
    for learner in [3, 4] {
        slot.copy(1, 5, learner);
        assert!(matches!(life(&slot, 1, 5), Life::Learner { .. }), "a learner shows nothing");
        for source in [0, 1] {
            slot.pull(1, learner, 0, source);
        }
    }
    for member in [0, 1] {
        slot.ask_active(0, member);
    }
    slot.pull(1, 5, 0, 0);
    assert!(matches!(life(&slot, 1, 5), Life::Learner { .. }), "there is nothing left to pull");
    slot.copy(1, 5, 4);
    assert_eq!((life(&slot, 1, 5), holds(&slot, 1, 5)), (&Life::Active, Some(ballot(0, 1, 0))));
}

#[test]
fn a_learner_belongs_to_a_view_that_follows() {
    let (first, third) = (view(0, [0, 1, 2]), view(2, [3, 4, 5]));
    let wrong = Replica::learner(member(3), third, first.clone());
    assert_eq!(wrong, Err(ReplicaError::NotNext(Epoch(2), Epoch(0))));
    let stranger = Replica::learner(member(6), view(1, [3, 4, 5]), first);
    assert_eq!(stranger, Err(ReplicaError::NoMember(member(6))));
}

fn decree_reply(reply: DecreeReply) -> Message {
    message(0, Body::Decreed(reply))
}

fn proposes(node_of: u8, candidate: [u8; 3]) -> Decree {
    let seat = view(0, [0, 1, 2]).seat_of(member(node_of)).unwrap();
    Decree::begin(view(0, [0, 1, 2]), seat, BOOT, view(1, candidate)).0
}

#[test]
fn a_decree_takes_over_what_may_have_been_decided() {
    let mut decree = proposes(0, [3, 4, 5]);
    let mine = ballot(0, 1, 0);
    // A lower ballot, a higher one.
    let low = Some((ballot(0, 0, 1), view(1, [0, 1, 3])));
    let high = Some((ballot(0, 0, 2), view(1, [0, 1, 4])));
    let none = DecreeReply::Promised(mine, low);
    assert!(decree.handle(node(1), &decree_reply(none.clone())).send.is_empty());
    assert!(decree.handle(node(1), &decree_reply(none)).send.is_empty(), "the same one again");
    let change = decree.handle(node(2), &decree_reply(DecreeReply::Promised(mine, high)));
    let wanted = Body::Decree(DecreeAsk::Accept(mine, view(1, [0, 1, 4])));
    assert!(change.send.len() == 3 && change.send.iter().all(|sent| sent.message.body == wanted));
    let accepted = decree_reply(DecreeReply::Accepted(mine));
    for from in [1, 1] {
        assert_eq!(decree.handle(node(from), &accepted).decided, None);
    }
    assert_eq!(decree.handle(node(0), &accepted).decided, Some(view(1, [0, 1, 4])));
}

#[test]
fn answers_to_an_earlier_round_of_a_decree_count_for_nothing() {
    let mut decree = proposes(0, [3, 4, 5]);
    let first = ballot(0, 1, 0);
    let refused = DecreeReply::Refused(first, ballot(0, 6, 1));
    let _ = decree.handle(node(1), &decree_reply(refused));
    let change = decree.retry();
    let second = ballot(0, 7, 0);
    assert_eq!(change.send[0].message.body, Body::Decree(DecreeAsk::Prepare(second)));
    for from in [0, 1, 2] {
        let late = decree_reply(DecreeReply::Promised(first, None));
        assert!(decree.handle(node(from), &late).send.is_empty());
    }
}

#[test]
fn a_sealed_member_tells_what_was_decided() {
    let mut decree = proposes(0, [0, 1, 3]);
    let newer = message(0, Body::Newer(view(1, [3, 4, 5])));
    assert_eq!(decree.handle(node(2), &newer).decided, Some(view(1, [3, 4, 5])));
    assert!(decree.retry().send.is_empty());
}

#[test]
fn a_vote_on_a_view_is_durable_and_keeps_its_promise() {
    let mut slot = SlotOfNodes::genesis([0, 1, 2]);
    let ask = |ask| message(0, Body::Decree(ask));
    let effects = slot.tell(0, 1, 2, &ask(DecreeAsk::Prepare(ballot(0, 5, 2))));
    assert_eq!(effects.persist.len(), 1);
    slot.restart(0, 1);
    let lower = DecreeAsk::Accept(ballot(0, 4, 0), view(1, [3, 4, 5]));
    let effects = slot.tell(0, 1, 0, &ask(lower));
    let refused = DecreeReply::Refused(ballot(0, 4, 0), ballot(0, 5, 2));
    assert_eq!(effects.send[0].message.body, Body::Decreed(refused));
    // A ballot that is not its sender's.
    let effects = slot.tell(0, 1, 0, &ask(DecreeAsk::Prepare(ballot(0, 9, 2))));
    assert!(effects.persist.is_empty() && effects.send.is_empty());
}

/// The members of epoch 0 with these records of the key, and floors.
fn with(records: [Option<Record>; 3]) -> SlotOfNodes {
    let mut slot = SlotOfNodes::genesis([0, 1, 2]);
    for (member, record) in (0..).zip(records) {
        slot.change(0, member, |durable| {
            durable.records.extend(record.map(|record| (key(0), record)));
        });
    }
    slot
}

fn removed(round: u32) -> Record {
    let accepted = tombstone(ballot(0, round, 0), 5);
    Record { promise: accepted.ballot, accepted: Some(accepted) }
}

/// A collection by member 0 of what it has; who agreed.
fn collect(slot: &mut SlotOfNodes, asked: &[u8]) -> usize {
    let accepted = slot.replica(0, 0).durable().record(&key(0)).accepted.unwrap();
    let all = view(0, [0, 1, 2]);
    let (mut collector, send) = Collector::begin(all, key(0), &accepted).unwrap();
    let mut agreed = 0;
    for member in asked {
        let effects = slot.tell(0, *member, 0, &send[usize::from(*member)].message);
        for answer in effects.send {
            agreed += 1;
            for drop in collector.handle(node(*member), &answer.message) {
                let to = (0..3).find(|&to| node(to) == drop.to).unwrap();
                let _ = slot.tell(0, to, 0, &drop.message);
            }
        }
    }
    agreed
}

#[test]
fn a_tombstone_goes_when_all_have_it() {
    let mut slot = with([1, 1, 1].map(|round| Some(removed(round))));
    assert_eq!(collect(&mut slot, &[0, 1]), 2);
    assert!((0..3).all(|member| holds(&slot, 0, member).is_some()), "two of three are not enough");
    assert_eq!(collect(&mut slot, &[0, 1, 1]), 3, "one of them twice is not three");
    assert!((0..3).all(|member| holds(&slot, 0, member).is_some()));
    assert_eq!(collect(&mut slot, &[0, 1, 2]), 3);
    assert!((0..3).all(|member| holds(&slot, 0, member).is_none()));
    let floor = Floor { ballot: ballot(0, 1, 0), version: Version(5) };
    assert!((0..3).all(|member| slot.replica(0, member).durable().floor == floor));
}

#[test]
fn a_tombstone_stays_while_a_member_lags_or_has_gone_on() {
    let value = Record { promise: ballot(0, 1, 0), accepted: Some(accepted(ballot(0, 1, 0), 4)) };
    for other in [None, Some(value), Some(removed(3))] {
        let mut slot = with([Some(removed(2)), Some(removed(2)), other]);
        assert_eq!(collect(&mut slot, &[0, 1, 2]), 2);
        assert!(holds(&slot, 0, 0).is_some() && holds(&slot, 0, 1).is_some());
    }
}

/// The third member tells a coordinator of the first removal, under a ballot above that of the second, and
/// drops it. Were the second dropped by the others, the coordinator would bring back the first.
#[test]
fn who_has_nothing_does_not_agree_to_a_collection() {
    let mut slot = with([1, 1, 1].map(|round| Some(removed(round))));
    let prepare = Ask::Prepare { key: key(0), ballot: ballot(0, 8, 1) };
    let prepare = message(0, Body::Ask(vec![prepare]));
    let found = |effects: &Effects| match &replies(effects)[0] {
        Reply::Promised { found, .. } => found.ballot(),
        other => panic!("expected a promise, got {other:?}"),
    };
    assert_eq!(found(&slot.tell(0, 2, 1, &prepare)), Some(ballot(0, 1, 0)));
    let Accepted { ballot: second, state } = tombstone(ballot(0, 3, 0), 6);
    let ask = Ask::Accept { key: key(0), ballot: second, state, next: None };
    for member in [0, 1] {
        let effects = slot.tell(0, member, 0, &message(0, Body::Ask(vec![ask.clone()])));
        assert!(matches!(replies(&effects)[0], Reply::Accepted { .. }));
    }
    // All had agreed to the first collection before.
    let drop = Collect::Drop { key: key(0), tombstone: ballot(0, 1, 0) };
    let _ = slot.tell(0, 2, 0, &message(0, Body::Collect(vec![drop])));
    assert_eq!(holds(&slot, 0, 2), None);
    assert!(slot.replica(0, 2).durable().floor.ballot > second);
    assert_eq!(collect(&mut slot, &[0, 1, 2]), 2);
    assert_eq!(found(&slot.tell(0, 1, 1, &prepare)), Some(second));
}

#[test]
fn promise_and_version_outlive_the_record() {
    let mut slot = with([1, 1, 1].map(|round| Some(removed(round))));
    let prepare = |round, seat| {
        let ask = Ask::Prepare { key: key(0), ballot: ballot(0, round, seat) };
        message(0, Body::Ask(vec![ask]))
    };
    let _ = slot.tell(0, 2, 1, &prepare(8, 1));
    assert_eq!(collect(&mut slot, &[0, 1, 2]), 3);
    slot.restart(0, 2);
    assert!(matches!(replies(&slot.tell(0, 2, 0, &prepare(7, 0)))[0], Reply::Refused { .. }));
    // What was on its way before the tombstone cannot come back where it stood.
    assert!(matches!(replies(&slot.tell(0, 0, 0, &accept(0)))[0], Reply::Refused { .. }));
    let effects = slot.tell(0, 0, 1, &prepare(9, 1));
    let Reply::Promised { found, .. } = &replies(&effects)[0] else { panic!("expected a promise") };
    assert_eq!((found.ballot(), found.version()), (None, Version(5)));
}

#[test]
fn a_floor_counts_also_for_a_key_of_which_only_a_promise_is_remembered() {
    let mut slot = with([Some(removed(4)), Some(removed(4)), None]);
    // The third member has promised a low ballot of the key, and its floor was raised for another.
    let promised = Record { promise: ballot(0, 1, 0), accepted: None };
    slot.change(0, 2, |durable| {
        durable.records.insert(key(0), promised.clone());
        durable.floor = Floor { ballot: ballot(0, 4, 0), version: Version(9) };
    });
    assert!(matches!(replies(&slot.tell(0, 2, 0, &accept(2)))[0], Reply::Refused { .. }));
}

#[test]
fn a_drop_that_comes_late_drops_nothing_newer() {
    let mut slot = with([1, 1, 1].map(|round| Some(removed(round))));
    let drop = Collect::Drop { key: key(0), tombstone: ballot(0, 1, 0) };
    let _ = slot.tell(0, 1, 0, &accept(6));
    let effects = slot.tell(0, 1, 0, &message(0, Body::Collect(vec![drop])));
    assert!(effects.persist.is_empty());
    assert_eq!(holds(&slot, 0, 1), Some(ballot(0, 6, 0)));
    assert!(Collector::begin(view(0, [0, 1, 2]), key(0), &accepted(ballot(0, 6, 0), 6)).is_none());
}

#[test]
fn a_floor_is_part_of_the_snapshot() {
    let mut slot = SlotOfNodes::genesis([0, 1, 2]);
    let floor = Floor { ballot: ballot(0, 4, 0), version: Version(9) };
    slot.change(0, 1, |durable| durable.floor = floor);
    slot.next([3, 4, 5]);
    for source in [0, 1] {
        slot.pull(1, 3, 0, source);
    }
    assert_eq!(slot.replica(1, 3).durable().floor, floor);
}

/// A node's id is what its host has told.
#[test]
fn who_is_no_member_is_not_listened_to() {
    let mut slot = two_views([3, 4, 5]);
    let page =
        slot.tell(0, 0, 3, &message(0, Body::Pull { next: view(1, [3, 4, 5]), after: None }));
    let before = life(&slot, 1, 3).clone();
    let stranger: NodeId = node(9);
    let effects = slot.tell_from(1, 3, stranger, &page.send[0].message);
    assert!(effects.persist.is_empty());
    assert_eq!(life(&slot, 1, 3), &before);
    // A collection that the same replica would agree to if a member asked.
    let mut slot = with([1, 1, 1].map(|round| Some(removed(round))));
    let Accepted { ballot: tombstone, state } = removed(1).accepted.expect("a tombstone");
    let check = Collect::Check { key: key(0), tombstone, version: state.version };
    let check = message(0, Body::Collect(vec![check]));
    let effects = slot.tell_from(0, 1, stranger, &check);
    assert!(effects.send.is_empty() && effects.persist.is_empty());
    let effects = slot.tell(0, 1, 0, &check);
    assert!(matches!(effects.send[0].message.body, Body::Agreed(_)));
}
