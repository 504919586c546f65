//! Hosts of a few nodes, messages carried by hand: what each part of a host is for, with the shortest
//! schedule that needs it. Most of these were first found by the simulator's seeds.

use std::collections::BTreeMap;

use cloakroom_register::{
    Attempts, Body, Call, Disk, Envelope, Epoch, Expected, Held, Host, Incarnation, Key, Life,
    Member, Message, Moment, NodeId, Operation, OperationId, Outcome, Save, Slot, Value, Version,
    View, Waits, Work,
};

const SLOT: Slot = Slot(7);

fn node(number: u8) -> NodeId {
    NodeId([number + 1; 32])
}

fn member(number: u8) -> Member {
    Member { node: node(number), incarnation: Incarnation(1) }
}

fn view(epoch: u32, nodes: &[u8]) -> View {
    let members: Vec<Member> = nodes.iter().map(|&number| member(number)).collect();
    View::new(SLOT, Epoch(epoch), &members).unwrap()
}

/// Nodes with their disks; messages arrive at once unless a node is away.
struct Nodes {
    hosts: BTreeMap<u8, Host>,
    disks: BTreeMap<u8, Disk>,
    away: Vec<u8>,
    now: Moment,
    ended: Vec<(OperationId, Outcome)>,
    calls: u8,
    delivered: usize,
    /// What coordinators have asked of other nodes: two messages to a round trip.
    asked: usize,
}

impl Nodes {
    fn new(count: u8) -> Self {
        let disks = (0..count).map(|number| (number, Disk::new(member(number)))).collect();
        let (hosts, away, ended) = (BTreeMap::new(), Vec::new(), Vec::new());
        let now = Moment(0);
        let mut nodes = Self { hosts, disks, away, now, ended, calls: 0, delivered: 0, asked: 0 };
        for number in 0..count {
            nodes.start(number);
        }
        nodes
    }

    fn start(&mut self, number: u8) {
        let waits = Waits { collect_ms: 1000, ..Waits::default() };
        let begun = Host::start(&self.disks[&number], waits, number.into(), self.now);
        let (host, work) = begun.unwrap();
        self.hosts.insert(number, host);
        self.carry(number, work);
    }

    fn found(&mut self, view: &View) {
        for number in self.hosts.keys().copied().collect::<Vec<u8>>() {
            self.act(number, |host, now| host.found(now, view));
        }
    }

    fn act(&mut self, number: u8, act: impl FnOnce(&mut Host, Moment) -> Work) {
        let now = self.now;
        let work = act(self.hosts.get_mut(&number).unwrap(), now);
        self.carry(number, work);
    }

    /// Persists, then sends, until nothing is under way.
    fn carry(&mut self, from: u8, work: Work) {
        let mut under_way = vec![self.persist(from, work)];
        while let Some((from, send)) = under_way.pop() {
            for Envelope { to, message } in send {
                if to == node(from) {
                    let work = self.hosts.get_mut(&from).unwrap().handle(self.now, to, &message);
                    let next = self.persist(from, work);
                    under_way.push(next);
                    continue;
                }
                self.asked += usize::from(matches!(message.body, Body::Ask(_)));
                let to = to.0[0] - 1;
                let Some(host) = self.hosts.get_mut(&to) else { continue };
                if !self.away.contains(&to) && !self.away.contains(&from) {
                    self.delivered += 1;
                    assert!(self.delivered < 100_000, "messages go on for ever");
                    let work = host.handle(self.now, node(from), &message);
                    let next = self.persist(to, work);
                    under_way.push(next);
                }
            }
        }
    }

    fn persist(&mut self, number: u8, work: Work) -> (u8, Vec<Envelope>) {
        let disk = self.disks.get_mut(&number).unwrap();
        work.persist.iter().for_each(|save| disk.apply(save));
        self.ended.extend(work.ended);
        let own = work.votes.into_iter().map(|message| Envelope { to: node(number), message });
        (number, own.chain(work.ask).chain(work.send).collect())
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while self.now < end {
            self.now = self.now.plus_ms(50);
            for number in self.hosts.keys().copied().collect::<Vec<u8>>() {
                if self.hosts[&number].due() <= self.now && !self.away.contains(&number) {
                    self.act(number, Host::tick);
                }
            }
        }
    }

    fn call(&mut self, number: u8, key: &str, call: Call) -> Option<Outcome> {
        self.calls += 1;
        let id = OperationId([self.calls; 16]);
        let operation = Operation { id, key: Key::from(key.as_bytes()), call, bound: None };
        let until = self.now.plus_ms(4000);
        self.act(number, |host, now| host.begin(now, SLOT, [operation], until));
        self.pass(5000);
        let at = self.ended.iter().position(|(other, _)| *other == id)?;
        Some(self.ended.remove(at).1)
    }

    /// The same, with how many round trips it took.
    fn timed(&mut self, number: u8, key: &str, call: Call) -> Option<(Outcome, usize)> {
        let before = self.asked;
        let outcome = self.call(number, key, call)?;
        Some((outcome, (self.asked - before) / 2))
    }

    fn life(&self, number: u8, epoch: u32) -> Option<&Life> {
        Some(&self.disks[&number].replica(SLOT, Epoch(epoch))?.life)
    }
}

fn put(value: &str) -> Call {
    Call::CompareAndSet { expected: Expected::Absent, new: Some(Value::from(value.as_bytes())) }
}

fn swap(from: &str, to: &str) -> Call {
    let expected = Expected::Value(Value::from(from.as_bytes()));
    Call::CompareAndSet { expected, new: Some(Value::from(to.as_bytes())) }
}

fn remove(value: &str) -> Call {
    let expected = Expected::Value(Value::from(value.as_bytes()));
    Call::CompareAndSet { expected, new: None }
}

fn held(version: u64, value: &str) -> Held {
    Held { version: Version(version), value: Value::from(value.as_bytes()) }
}

fn cluster(nodes: u8) -> Nodes {
    let mut cluster = Nodes::new(nodes);
    cluster.found(&view(0, &[0, 1, 2]));
    cluster
}

#[test]
fn a_view_changes_under_way_and_whoever_is_not_in_it_says_so() {
    let mut nodes = cluster(6);
    assert_eq!(nodes.call(0, "coat", put("7")), Some(Outcome::Set(Version(1))));
    let next = view(1, &[3, 4, 5]);
    nodes.act(1, |host, now| host.propose(now, &next));
    nodes.pass(2000);
    for number in [3, 4, 5] {
        assert_eq!(nodes.life(number, 1), Some(&Life::Active));
    }
    assert!([0, 1, 2].iter().all(|&old| matches!(nodes.life(old, 0), Some(Life::Retired { .. }))));
    assert_eq!(nodes.call(0, "coat", Call::Get), Some(Outcome::Unavailable));
    assert_eq!(nodes.hosts[&0].newest(SLOT), Some(&next));
    let Some(Outcome::Got(Some(held))) = nodes.call(4, "coat", Call::Get) else { panic!() };
    assert_eq!(held.value, Value::from(&b"7"[..]));
}

#[test]
fn a_write_takes_one_round_trip_with_the_promise_and_two_without() {
    let mut nodes = cluster(3);
    let set = |version, round_trips| Some((Outcome::Set(Version(version)), round_trips));
    assert_eq!(nodes.timed(0, "coat", put("a")), set(1, 2));
    assert_eq!(nodes.timed(0, "coat", swap("a", "b")), set(2, 1));
    assert_eq!(nodes.timed(0, "coat", swap("b", "c")), set(3, 1));
    // Whatever others have promised each other, the members that they sit beside know it.
    assert_eq!(nodes.timed(2, "coat", swap("c", "d")), set(4, 2));
    assert_eq!(nodes.timed(2, "coat", swap("d", "e")), set(5, 1));
    // The promise that node 0 had is gone, and it knows.
    assert_eq!(nodes.timed(0, "coat", swap("e", "f")), set(6, 2));
    assert_eq!(nodes.timed(1, "coat", swap("f", "g")), set(7, 2));
    // A member that was not asked: its coordinator finds out.
    nodes.away = vec![2];
    assert_eq!(nodes.timed(1, "coat", swap("g", "h")), set(8, 1));
    assert_eq!(nodes.timed(1, "coat", swap("h", "i")), set(9, 1));
    nodes.away.clear();
    assert_eq!(nodes.timed(2, "coat", swap("i", "k")), set(10, 3));
}

/// A majority of two in three: one other member, and the node itself as soon as its disk has its vote.
#[test]
fn a_vote_of_its_own_counts_when_it_is_durable() {
    let mut nodes = cluster(3);
    let id = OperationId([1; 16]);
    let operation = Operation { id, key: Key::from(&b"coat"[..]), call: put("a"), bound: None };
    let host = nodes.hosts.get_mut(&0).unwrap();
    let begun = host.begin(Moment(0), SLOT, [operation], Moment(4000));
    let asked: Vec<NodeId> = begun.ask.iter().map(|envelope| envelope.to).collect();
    assert_eq!(asked, [node(1), node(2)], "at once, while its own disk works");
    assert_eq!((begun.send.len(), begun.persist.len(), begun.votes.len()), (0, 1, 1));
    let promise =
        nodes.hosts.get_mut(&1).unwrap().handle(Moment(0), node(0), &begun.ask[0].message);
    let host = nodes.hosts.get_mut(&0).unwrap();
    let half = host.handle(Moment(0), node(1), &promise.send[0].message);
    assert_eq!(half, Work::default(), "one of three, as far as disks know");
    let promised = host.handle(Moment(0), node(0), &begun.votes[0]);
    let accept = promised.ask.iter().find(|envelope| envelope.to == node(1)).unwrap();
    let accepted = nodes.hosts.get_mut(&1).unwrap().handle(Moment(0), node(0), &accept.message);
    let host = nodes.hosts.get_mut(&0).unwrap();
    assert_eq!(host.handle(Moment(0), node(1), &accepted.send[0].message), Work::default());
    let ended = host.handle(Moment(0), node(0), &promised.votes[0]).ended;
    assert_eq!(ended, [(id, Outcome::Set(Version(1)))]);
}

#[test]
fn a_promise_does_not_outlive_its_view() {
    let mut nodes = cluster(3);
    assert_eq!(nodes.call(0, "coat", put("a")), Some(Outcome::Set(Version(1))));
    assert_eq!(nodes.call(0, "coat", swap("a", "b")), Some(Outcome::Set(Version(2))));
    assert_eq!(nodes.call(0, "coat", swap("b", "c")), Some(Outcome::Set(Version(3))));
    nodes.act(1, |host, now| host.propose(now, &view(1, &[0, 1, 2])));
    nodes.pass(2000);
    assert!((0..3).all(|number| nodes.life(number, 1) == Some(&Life::Active)));
    assert_eq!(nodes.call(1, "coat", swap("c", "d")), Some(Outcome::Set(Version(4))));
    // All had promised node 0 its next write, in the view before; in this one, lower rounds later,
    // nobody has promised it anything.
    assert_eq!(nodes.call(0, "coat", swap("c", "e")), Some(Outcome::Mismatch(Some(held(4, "d")))));
}

#[test]
fn a_promise_on_the_own_disk_is_not_that_of_a_majority() {
    let mut nodes = cluster(3);
    // Node 2 is cut off, tries again and again, and so promises itself what nobody else has.
    nodes.away = vec![0, 1];
    assert_eq!(nodes.call(2, "coat", put("a")), Some(Outcome::Unavailable));
    nodes.away = vec![2];
    assert_eq!(nodes.call(0, "coat", put("b")), Some(Outcome::Set(Version(1))));
    nodes.away.clear();
    nodes.start(2);
    assert_eq!(nodes.call(2, "coat", put("a")), Some(Outcome::Mismatch(Some(held(1, "b")))));
}

/// Operations on one key, all begun at once at one node.
fn at_once(nodes: &mut Nodes, number: u8, calls: Vec<Call>, until: Moment) -> Vec<OperationId> {
    let first = nodes.calls + 1;
    let operations: Vec<Operation> = calls
        .into_iter()
        .map(|call| {
            nodes.calls += 1;
            let id = OperationId([nodes.calls; 16]);
            Operation { id, key: Key::from(&b"hot"[..]), call, bound: None }
        })
        .collect();
    nodes.act(number, |host, now| host.begin(now, SLOT, operations, until));
    (first..=nodes.calls).map(|call| OperationId([call; 16])).collect()
}

/// The outcomes by operation, in the order in which they ended.
fn outcomes(nodes: &mut Nodes, ids: &[OperationId]) -> Vec<Outcome> {
    let ended = std::mem::take(&mut nodes.ended);
    let ended: BTreeMap<OperationId, Outcome> = ended.into_iter().collect();
    ids.iter().map(|id| ended[id].clone()).collect()
}

#[test]
fn writes_of_one_key_at_one_node_form_a_line_and_do_not_refuse_each_other() {
    let mut nodes = cluster(3);
    let steps = ["a", "b", "c", "d", "e", "f"];
    let swaps = steps.windows(2).map(|pair| swap(pair[0], pair[1]));
    let calls: Vec<Call> = [put("a")].into_iter().chain(swaps).collect();
    let until = nodes.now.plus_ms(4000);
    let ids = at_once(&mut nodes, 0, calls, until);
    // The first prepares; all others have a promise. Nobody has waited.
    let expected: Vec<Outcome> = (1..=6).map(|version| Outcome::Set(Version(version))).collect();
    assert_eq!(outcomes(&mut nodes, &ids), expected);
    assert_eq!(nodes.asked / 2, 7);
}

#[test]
fn who_is_given_up_in_a_line_has_not_begun_and_who_comes_after_begins() {
    let mut nodes = cluster(3);
    nodes.away = vec![1, 2];
    let (soon, late) = (nodes.now.plus_ms(500), nodes.now.plus_ms(60_000));
    let first = at_once(&mut nodes, 0, vec![put("a")], late);
    let second = at_once(&mut nodes, 0, vec![put("b")], soon);
    let third = at_once(&mut nodes, 0, vec![swap("a", "c")], late);
    nodes.pass(1000);
    assert_eq!(outcomes(&mut nodes, &second), [Outcome::Unavailable]);
    nodes.away.clear();
    nodes.pass(5000);
    let both = [first, third].concat();
    let expected = [Outcome::Set(Version(1)), Outcome::Set(Version(2))];
    assert_eq!(outcomes(&mut nodes, &both), expected);
}

#[test]
fn a_line_goes_on_in_the_next_view_and_ends_where_there_is_none() {
    for (next, expected) in [
        ([0, 1, 3], [Outcome::Set(Version(1)), Outcome::Set(Version(2))]),
        ([1, 2, 3], [Outcome::Unavailable, Outcome::Unavailable]),
    ] {
        let mut nodes = cluster(4);
        nodes.away = vec![1, 2];
        let until = nodes.now.plus_ms(60_000);
        let ids = at_once(&mut nodes, 0, vec![put("a"), swap("a", "b")], until);
        nodes.away = vec![0];
        nodes.act(1, |host, now| host.propose(now, &view(1, &next)));
        nodes.pass(2000);
        nodes.away.clear();
        nodes.pass(10_000);
        let got = outcomes(&mut nodes, &ids);
        // The first has begun, and may have happened.
        let is_unknown = |outcome: &Outcome| matches!(outcome, Outcome::Unknown(_));
        assert!(got == expected || is_unknown(&got[0]) && got[1] == expected[1], "{got:?}");
    }
}

#[test]
fn who_was_away_when_the_view_changed_is_told_although_the_others_have_retired() {
    let mut nodes = cluster(6);
    nodes.away = vec![5];
    nodes.act(1, |host, now| host.propose(now, &view(1, &[3, 4, 5])));
    nodes.pass(3000);
    assert!(matches!(nodes.life(0, 0), Some(Life::Retired { .. })));
    assert_eq!(nodes.life(5, 1), None);
    nodes.away.clear();
    nodes.pass(20_000);
    assert_eq!(nodes.life(5, 1), Some(&Life::Active));
}

#[test]
fn a_view_is_decided_although_the_one_who_knew_is_gone() {
    let mut nodes = cluster(6);
    decided_by_one_that_is_gone(&mut nodes);
    nodes.pass(20_000);
    assert!([3, 4, 5].iter().all(|&new| nodes.life(new, 1) == Some(&Life::Active)));
}

/// That somebody says there is a newer view is no reason to wait for being told that it is decided.
#[test]
fn a_view_is_decided_although_its_voters_have_heard_of_it() {
    let mut nodes = cluster(6);
    let next = decided_by_one_that_is_gone(&mut nodes);
    let newer = Message { slot: SLOT, epoch: Epoch(0), body: Body::Newer(next.clone()) };
    for number in [0, 2] {
        nodes.act(number, |host, now| host.handle(now, node(9), &newer));
        assert_eq!(nodes.hosts[&number].newest(SLOT), Some(&next));
    }
    nodes.pass(20_000);
    assert!([3, 4, 5].iter().all(|&new| nodes.life(new, 1) == Some(&Life::Active)));
}

/// Nodes 0 and 2 have voted for the view of nodes 3 to 5.
fn decided_by_one_that_is_gone(nodes: &mut Nodes) -> View {
    let next = view(1, &[3, 4, 5]);
    // What node 1 decides is not heard by anybody.
    nodes.away = vec![3, 4, 5];
    nodes.act(1, |host, now| host.propose(now, &next));
    let lost = Disk::new(Member { node: node(1), incarnation: Incarnation(2) });
    let voted = nodes.disks[&0].replica(SLOT, Epoch(0)).unwrap().vote.accepted.clone();
    assert_eq!(voted.map(|(_, view)| view), Some(next.clone()));
    // Nor do the others know: their disks are as before the decision was told.
    for number in [0, 2] {
        let mut disk = Disk::new(member(number));
        let mut durable = nodes.disks[&number].replica(SLOT, Epoch(0)).unwrap().clone();
        durable.life = Life::Active;
        disk.apply(&Save::Replica(durable));
        nodes.disks.insert(number, disk);
    }
    nodes.disks.insert(1, lost);
    nodes.away.clear();
    (0..3).for_each(|number| nodes.start(number));
    next
}

#[test]
fn two_who_propose_at_once_come_to_an_end() {
    let mut nodes = cluster(6);
    nodes.act(0, |host, now| host.propose(now, &view(1, &[0, 1, 3])));
    nodes.act(2, |host, now| host.propose(now, &view(1, &[2, 4, 5])));
    nodes.pass(20_000);
    let newest: Vec<&View> = [0, 1, 2].map(|old| nodes.hosts[&old].newest(SLOT).unwrap()).into();
    assert!(newest.iter().all(|view| *view == newest[0] && view.epoch() == Epoch(1)));
}

#[test]
fn an_answer_to_an_old_view_is_not_answered_for_ever() {
    let mut nodes = Nodes::new(4);
    // Both have only a later replica, and each gets an answer in an older view.
    nodes.found(&view(3, &[0, 1, 2]));
    let newer = Message { slot: SLOT, epoch: Epoch(1), body: Body::Newer(view(3, &[0, 1, 2])) };
    nodes.act(0, |host, now| host.handle(now, node(1), &newer));
    assert_eq!(nodes.delivered, 0);
    let ask = Message { slot: SLOT, epoch: Epoch(1), body: Body::Copy { after: None } };
    let work = nodes.hosts.get_mut(&0).unwrap().handle(Moment(0), node(1), &ask);
    assert!(matches!(&work.send[..], [one] if matches!(one.message.body, Body::Newer(_))));
}

#[test]
fn a_disk_that_is_lost_is_no_member_any_more() {
    let mut nodes = cluster(4);
    let new = Member { node: node(0), incarnation: Incarnation(2) };
    nodes.disks.insert(0, Disk::new(new));
    nodes.start(0);
    nodes.act(0, |host, now| host.found(now, &view(0, &[0, 1, 2])));
    assert_eq!(nodes.hosts[&0].replicas().count(), 0);
    assert_eq!(nodes.call(0, "coat", put("7")), Some(Outcome::Unavailable));
    assert_eq!(nodes.call(1, "coat", put("7")), Some(Outcome::Set(Version(1))));
}

#[test]
fn boots_rise_before_anything_is_sent() {
    let mut nodes = cluster(3);
    let (_, work) = Host::start(&nodes.disks[&0], Waits::default(), 0, Moment(0)).unwrap();
    let Save::Boot(second) = work.persist[0] else { panic!("the boot comes first") };
    nodes.start(0);
    let (_, work) = Host::start(&nodes.disks[&0], Waits::default(), 0, Moment(0)).unwrap();
    assert!(matches!(work.persist[0], Save::Boot(third) if third > second));
}

#[test]
fn a_member_that_missed_a_removal_hears_of_it_and_the_tombstone_goes() {
    let mut nodes = cluster(3);
    assert!(matches!(nodes.call(0, "coat", put("7")), Some(Outcome::Set(_))));
    nodes.away = vec![2];
    assert!(matches!(nodes.call(0, "coat", remove("7")), Some(Outcome::Set(_))));
    nodes.away.clear();
    nodes.pass(30_000);
    for number in 0..3 {
        let replica = nodes.disks[&number].replica(SLOT, Epoch(0)).unwrap();
        assert!(replica.records.values().all(|record| record.accepted.is_none()), "n{number}");
        assert!(replica.floor.version >= Version(2));
    }
    assert!(nodes.ended.is_empty(), "what a host does for itself is nobody's answer");
}

/// It refuses, but the others are a majority and have ended the write before that is heard.
#[test]
fn a_member_that_has_promised_more_than_the_others_has_the_next_write() {
    let mut nodes = cluster(3);
    // The others' answers come first.
    nodes.away = vec![0, 2];
    assert_eq!(nodes.call(1, "coat", put("a")), Some(Outcome::Unavailable));
    nodes.away.clear();
    assert_eq!(nodes.call(0, "coat", put("b")), Some(Outcome::Set(Version(1))));
    assert_eq!(nodes.call(0, "coat", swap("b", "c")), Some(Outcome::Set(Version(2))));
    let records = &nodes.disks[&1].replica(SLOT, Epoch(0)).unwrap().records;
    let versions = records.values().map(|record| Some(record.accepted.as_ref()?.state.version));
    assert_eq!(versions.collect::<Vec<_>>(), [Some(Version(2))]);
}

#[test]
fn an_operation_that_was_buried_and_begun_anew_may_be_unavailable() {
    let key = Key::from(&b"coat"[..]);
    let mut attempts = Attempts::new(OperationId([1; 16]), key, put("7"), 3);
    assert_eq!(attempts.ended(Outcome::Unknown(Version(4))), None);
    assert_eq!(attempts.operation().bound, Some(Version(4)));
    assert_eq!(attempts.ended(Outcome::Unavailable), None);
    assert_eq!(attempts.operation().bound, None);
    let end = attempts.ended(Outcome::Set(Version(9)));
    assert_eq!(end, Some(Ok(Outcome::Set(Version(9)))));
}
