//! A few members in one process: every message is delivered in rounds, to those who can be reached.

use std::collections::BTreeMap;

use cloakroom_register::{
    Accepted, Ballot, Boot, Call, Coordinator, Durable, Effects, Envelope, Epoch, Expected, Floor,
    Incarnation, Key, Life, Member, NodeId, Operation, OperationId, Outcome, Record, Replica, Seat,
    Slot, State, Steps, Value, Version, View, Vote,
};

/// The view that all tests run in.
pub(crate) const EPOCH: Epoch = Epoch(3);

/// The members of one view with a coordinator in some of the seats.
pub(crate) struct Cluster {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) coordinators: BTreeMap<u8, Coordinator>,
    /// Seats that no message reaches or leaves.
    pub(crate) down: Vec<u8>,
    calls: u8,
}

/// How an operation ended, after how many round trips.
pub(crate) type Ended = (Outcome, u32);

pub(crate) fn node(seat: u8) -> NodeId {
    NodeId([seat + 1; 32])
}

pub(crate) fn member(seat: u8) -> Member {
    Member { node: node(seat), incarnation: Incarnation(0) }
}

pub(crate) fn key() -> Key {
    Key::from(&b"coat"[..])
}

pub(crate) fn value(text: &str) -> Value {
    Value::from(text.as_bytes())
}

pub(crate) fn id(number: u8) -> OperationId {
    OperationId([number; 16])
}

pub(crate) fn ballot(epoch: u32, round: u32, seat: u8) -> Ballot {
    Ballot { epoch: Epoch(epoch), round, seat: Seat(seat), boot: Boot(1) }
}

/// Accepted in an earlier view: at a new member by copy.
pub(crate) fn copied(round: u32, version: u64, text: &str, operation: u8) -> Record {
    let ballot = ballot(EPOCH.0 - 1, round, 0);
    let (version, content, operation) = (Version(version), Some(value(text)), id(operation));
    let state = State { version, content, operation };
    Record { promise: ballot, accepted: Some(Accepted { ballot, state }) }
}

pub(crate) fn put(text: &str) -> Call {
    Call::CompareAndSet { expected: Expected::Absent, new: Some(value(text)) }
}

pub(crate) fn swap(from: &str, to: &str) -> Call {
    Call::CompareAndSet { expected: Expected::Value(value(from)), new: Some(value(to)) }
}

pub(crate) fn remove(from: &str) -> Call {
    Call::CompareAndSet { expected: Expected::Value(value(from)), new: None }
}

impl Cluster {
    /// Active members that begin with these records of [`key`].
    pub(crate) fn new(records: &[Option<Record>]) -> Self {
        let members: Vec<_> = (0..).zip(records).map(|(seat, _)| member(seat)).collect();
        let view = View::new(Slot(7), EPOCH, &members).unwrap();
        let replica = |(me, record): (&Member, &Option<Record>)| {
            Replica::restore(Durable {
                me: *me,
                view: view.clone(),
                life: Life::Active,
                floor: Floor::ZERO,
                records: record.iter().map(|record| (key(), record.clone())).collect(),
                vote: Vote::NONE,
            })
        };
        let replicas = members.iter().zip(records).map(replica);
        let replicas = replicas.collect::<Result<_, _>>().unwrap();
        Self { replicas, coordinators: BTreeMap::new(), down: Vec::new(), calls: 0 }
    }

    pub(crate) fn empty() -> Self {
        Self::new(&[None, None, None])
    }

    /// The coordinator of a seat.
    pub(crate) fn coordinator(&mut self, seat: u8) -> &mut Coordinator {
        let view = self.replicas[0].view().clone();
        let new = || Coordinator::new(view, Seat(seat), Boot(1));
        self.coordinators.entry(seat).or_insert_with(new)
    }

    /// A call through a coordinator, until nothing is under way any more.
    pub(crate) fn call(&mut self, seat: u8, call: Call) -> Ended {
        self.calls += 1;
        let operation = Operation { id: id(self.calls), key: key(), call, bound: None };
        self.run(seat, operation).expect("it ends")
    }

    /// The same for an operation that may not end; retried once for each time it is refused.
    pub(crate) fn run(&mut self, seat: u8, operation: Operation) -> Option<Ended> {
        let steps = self.coordinator(seat).begin([operation]);
        self.go_on(seat, steps)
    }

    pub(crate) fn retry(&mut self, seat: u8, operation: OperationId) -> Option<Ended> {
        let steps = self.coordinator(seat).retry(operation);
        self.go_on(seat, steps)
    }

    fn go_on(&mut self, seat: u8, mut steps: Steps) -> Option<Ended> {
        for round_trips in 0.. {
            if let Some((_, outcome)) = steps.ended.pop() {
                return Some((outcome, round_trips));
            }
            if let Some(refused) = steps.refused.pop() {
                steps = self.coordinator(seat).retry(refused);
            }
            if steps.send.is_empty() {
                return None;
            }
            steps = self.round_trip(seat, &steps.send);
        }
        None
    }

    /// Delivers what a coordinator has sent, and the answers.
    pub(crate) fn round_trip(&mut self, seat: u8, asked: &[Envelope]) -> Steps {
        let answers = asked.iter().flat_map(|sent| {
            let send = self.deliver(seat, sent).send;
            send.into_iter().map(|answer| (sent.to, answer))
        });
        let answers: Vec<_> = answers.collect();
        let mut all = Steps::default();
        for (from, answer) in answers {
            let steps = self.coordinator(seat).handle(from, &answer.message);
            all.send.extend(steps.send);
            all.ended.extend(steps.ended);
            all.refused.extend(steps.refused);
        }
        all
    }

    /// Delivers one message of a coordinator to its member.
    pub(crate) fn deliver(&mut self, from: u8, sent: &Envelope) -> Effects {
        let to = (0..15).position(|seat| node(seat) == sent.to).expect("a member");
        let down = |seat: usize| self.down.iter().any(|&down| usize::from(down) == seat);
        if down(to) || down(from.into()) {
            return Effects::default();
        }
        self.replicas[to].handle(node(from), &sent.message)
    }
}
