//! Real members and coordinators answer attempts as `cloakroom_specs::attempts` has it, over which the
//! pool is checked: REG-7 to REG-9, SAMPLED.
//!
//! Three members, two coordinators, one key; attempts one after another, with messages and answers
//! lost, and asks that come late: in a later attempt, or never. After each attempt, of all that the
//! specification could have done so far, what answers the same is kept. Nothing left is a failure.
//!
//! What it does not do: attempts at the same time (`check_register` has them), crashes, changes of
//! view, collections.

use cloakroom_register::{
    Boot, Call, Coordinator, Envelope, Epoch, Expected, Held, Incarnation, Key, Member, NodeId,
    Operation, OperationId, Outcome, Replica, Seat, Slot, Value, Version, View,
};
use cloakroom_specs::attempts::{Answer, Attempt, Reach, Register};

/// A generator of numbers, by SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).expect("small");
        usize::try_from((mixed ^ (mixed >> 31)) % bound).expect("small")
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

fn node(seat: usize) -> NodeId {
    NodeId([u8::try_from(seat).expect("few") + 1; 32])
}

struct Cluster {
    members: Vec<Replica>,
    coordinators: Vec<Coordinator>,
    /// Asks that have not come yet, with the seat of their coordinator.
    late: Vec<(usize, Envelope)>,
    dice: Dice,
    /// Of so many messages one is lost.
    loses: usize,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let member = |seat| Member { node: node(seat), incarnation: Incarnation(0) };
        let members = [0, 1, 2].map(member);
        let view = View::new(Slot(0), Epoch(0), &members).expect("three nodes");
        let replica = |me| Replica::genesis(me, view.clone()).expect("a member");
        let coordinators = [0, 1].map(|seat| Coordinator::new(view.clone(), Seat(seat), Boot(1)));
        let loses = 2 + usize::try_from(seed % 4).expect("small");
        let (late, dice) = (Vec::new(), Dice(seed));
        Self {
            members: members.map(replica).into(),
            coordinators: coordinators.into(),
            late,
            dice,
            loses,
        }
    }

    /// An ask comes to its member; what the coordinator makes of the answer, if it comes.
    fn deliver(
        &mut self,
        from: usize,
        envelope: &Envelope,
    ) -> Option<(Vec<Envelope>, Option<Outcome>)> {
        let to = (0..3).find(|&seat| node(seat) == envelope.to)?;
        let effects = self.members[to].handle(node(from), &envelope.message);
        let answer = effects.send.into_iter().next()?;
        if self.dice.one_in(self.loses) {
            return None;
        }
        let steps = self.coordinators[from].handle(node(to), &answer.message);
        Some((steps.send, steps.ended.into_iter().next().map(|(_, outcome)| outcome)))
    }

    /// Something late comes, answered or not: nobody waits for it.
    fn settle(&mut self) {
        if !self.late.is_empty() {
            let which = self.dice.below(self.late.len());
            let (from, envelope) = self.late.swap_remove(which);
            let _ = self.deliver(from, &envelope);
        }
    }

    /// One attempt, at one coordinator.
    fn attempt(&mut self, seat: usize, operation: &Operation) -> Outcome {
        let steps = self.coordinators[seat].begin([operation.clone()]);
        let mut asked = steps.send;
        let mut ended = steps.ended.into_iter().next().map(|(_, outcome)| outcome);
        while ended.is_none() && !asked.is_empty() {
            let which = self.dice.below(asked.len());
            let envelope = asked.swap_remove(which);
            if self.dice.one_in(self.loses) {
                self.late.push((seat, envelope));
            } else if let Some((more, outcome)) = self.deliver(seat, &envelope) {
                asked.extend(more);
                ended = outcome;
            }
        }
        self.late.extend(asked.into_iter().map(|envelope| (seat, envelope)));
        let given_up = |coordinator: &mut Coordinator| coordinator.give_up(operation.id);
        ended.unwrap_or_else(|| given_up(&mut self.coordinators[seat]).expect("under way"))
    }
}

/// All that the specification could be by now.
struct Possible(Vec<Register<u8>>);

impl Possible {
    fn add(&mut self, register: Register<u8>) {
        if !self.0.contains(&register) {
            self.0.push(register);
        }
    }

    /// What is on its way may have come.
    fn arrive(&mut self) {
        let mut at = 0;
        while let Some(register) = self.0.get(at).cloned() {
            for which in 0..register.sent.len() {
                let mut after = register.clone();
                after.arrive(which);
                self.add(after);
            }
            at += 1;
        }
    }

    /// Keeps what can answer this.
    fn keep(&mut self, number: u64, operation: &Operation, outcome: &Outcome) {
        self.arrive();
        let before = std::mem::take(&mut self.0);
        for register in before {
            let stale = (1..=register.version).map(Reach::Stale);
            for reach in [Reach::Whole, Reach::Sent, Reach::Nowhere].into_iter().chain(stale) {
                let mut after = register.clone();
                if answers(&mut after, number, operation, reach) == *outcome {
                    self.add(after);
                }
            }
        }
    }
}

/// What the specification answers, in the words of the code.
fn answers(
    register: &mut Register<u8>,
    number: u64,
    operation: &Operation,
    reach: Reach,
) -> Outcome {
    let held = |register: &Register<u8>| {
        let value = register.content.map(|byte| Value::from(&[byte][..]));
        value.map(|value| Held { version: Version(register.version), value })
    };
    let Call::CompareAndSet { expected, new } = &operation.call else {
        return if reach == Reach::Whole {
            Outcome::Got(held(register))
        } else {
            Outcome::Unavailable
        };
    };
    let expected = match expected {
        Expected::Absent => None,
        Expected::Value(value) => Some(value.0[0]),
        Expected::Version(_) => unreachable!("not called here"),
    };
    let new = new.as_ref().map(|value| value.0[0]);
    let bound = operation.bound.map(|version| version.0);
    let before = held(register);
    match register.attempt(&Attempt { operation: number, expected, new, bound }, reach) {
        // Its own state stands, or stood already.
        Answer::Set => Outcome::Set(Version(register.version)),
        Answer::Mismatch(_) => Outcome::Mismatch(before),
        Answer::Unavailable => Outcome::Unavailable,
        Answer::Unknown(bound) => Outcome::Unknown(Version(bound)),
    }
}

/// Puts, swaps, removals and gets of two values.
fn operation(number: u64, dice: &mut Dice) -> Operation {
    let value = |which| Value::from(&[u8::try_from(which).expect("small")][..]);
    let content = |which: usize| (which > 0).then(|| value(which));
    let call = if dice.one_in(4) {
        Call::Get
    } else {
        let expected = content(dice.below(3)).map_or(Expected::Absent, Expected::Value);
        Call::CompareAndSet { expected, new: content(dice.below(3)) }
    };
    let id = OperationId(u128::from(number).to_be_bytes());
    Operation { id, key: Key::from(&b"k"[..]), call, bound: None }
}

/// How often each kind of end was seen: done, failed, unknown, done in a second attempt, failed
/// in one, unknown in one that came to its end.
type Ends = [u32; 6];

fn run(seed: u64, ends: &mut Ends) {
    let mut cluster = Cluster::new(seed);
    let start = Register { version: 0, content: None, maker: None, sent: Vec::new() };
    let mut possible = Possible(vec![start]);
    let mut open: Vec<(u64, Operation)> = Vec::new();
    for number in 1..=14 {
        let again = !open.is_empty() && cluster.dice.one_in(2);
        let (number, mut operation) = if again {
            let which = cluster.dice.below(open.len());
            open.swap_remove(which)
        } else {
            (number, operation(number, &mut cluster.dice))
        };
        let seat = cluster.dice.below(2);
        // Every few attempts nothing is lost.
        let loses = cluster.loses;
        if cluster.dice.one_in(3) {
            cluster.loses = 1 << 20;
        }
        let reached = cluster.loses != loses;
        let outcome = cluster.attempt(seat, &operation);
        cluster.loses = loses;
        possible.keep(number, &operation, &outcome);
        assert!(
            !possible.0.is_empty(),
            "seed {seed}, operation {number}: {operation:?} {outcome:?}"
        );
        match &outcome {
            Outcome::Set(_) => ends[if again { 3 } else { 0 }] += 1,
            Outcome::Mismatch(_) => ends[if again { 4 } else { 1 }] += 1,
            Outcome::Unknown(_) if again && reached => ends[5] += 1,
            Outcome::Unknown(_) => ends[2] += 1,
            Outcome::Got(_) | Outcome::Unavailable => {}
        }
        if let Outcome::Unknown(bound) = outcome {
            operation.bound = Some(bound);
            open.push((number, operation));
        }
        for _ in 0..cluster.dice.below(4) {
            cluster.settle();
        }
    }
}

#[test]
fn registers_answer_attempts_as_specified() {
    let mut ends = Ends::default();
    for seed in 0..20_000 {
        run(seed, &mut ends);
    }
    // Each kind of end was seen, and not by chance alone.
    assert!(ends.iter().all(|&times| times > 100), "{ends:?}");
}
