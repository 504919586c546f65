//! Histories of a register map that is linearizable by construction, for tests and benches: clients
//! call, each call takes effect at one moment while it is under way, some answers are lost.
//!
//! Invariants:
//! * the same seed gives the same history;
//! * an operation whose answer is lost takes effect later, perhaps much later, or never. Its client
//!   goes on meanwhile.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::history::History;
use crate::register::{Answer, Call};

/// What to simulate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// How many operations in all.
    pub operations: usize,
    /// How many keys. Each operation chooses one.
    pub keys: u64,
    /// How many clients. Each has one operation under way that it waits for.
    pub clients: u64,
    /// Values are below this; 0 gives every write a value of its own.
    pub values: u64,
    /// One in so many answers is lost; 0 loses none.
    pub one_lost_in: u64,
    /// Which one of all such histories.
    pub seed: u64,
}

/// A history for each key.
pub type Histories = BTreeMap<u64, History<Call<u64>, Answer<u64>>>;

/// Numbers that look random (SplitMix64).
#[derive(Clone, Copy, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Begin { client: u64 },
    Effect { operation: usize },
    Return { operation: usize },
}

struct Running {
    client: u64,
    key: u64,
    number: usize,
    call: Call<u64>,
    answer: Option<Answer<u64>>,
}

impl Sample {
    /// Runs the simulation.
    pub fn run(&self) -> Histories {
        let mut world = World {
            sample: *self,
            dice: Dice(self.seed),
            queue: BinaryHeap::new(),
            running: Vec::new(),
            values: BTreeMap::new(),
            histories: BTreeMap::new(),
            written: 0,
        };
        for client in 0..self.clients {
            let now = world.dice.below(40);
            world.plan(now, Event::Begin { client });
        }
        while let Some(Reverse((now, _, event))) = world.queue.pop() {
            world.happens(now, event);
        }
        world.histories
    }
}

struct World {
    sample: Sample,
    dice: Dice,
    /// By time; the number beside it breaks ties by chance.
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    running: Vec<Running>,
    values: BTreeMap<u64, u64>,
    histories: Histories,
    written: u64,
}

impl World {
    fn plan(&mut self, at: u64, event: Event) {
        let tie = self.dice.roll();
        self.queue.push(Reverse((at, tie, event)));
    }

    fn happens(&mut self, now: u64, event: Event) {
        match event {
            Event::Begin { client } => self.begin(now, client),
            Event::Effect { operation } => self.effect(operation),
            Event::Return { operation } => {
                let Running { client, key, number, answer, .. } = &self.running[operation];
                let (client, answer) = (*client, answer.expect("the effect was before"));
                self.histories.entry(*key).or_default().answer(*number, answer);
                self.pause(now, client);
            }
        }
    }

    fn pause(&mut self, now: u64, client: u64) {
        let at = now + 1 + self.dice.below(10);
        self.plan(at, Event::Begin { client });
    }

    fn begin(&mut self, now: u64, client: u64) {
        if self.running.len() == self.sample.operations {
            return;
        }
        let key = self.dice.below(self.sample.keys);
        let call = self.call(key);
        let number = self.histories.entry(key).or_default().invoke(client, call);
        let operation = self.running.len();
        self.running.push(Running { client, key, number, call, answer: None });
        let is_lost = self.sample.one_lost_in != 0 && self.dice.below(self.sample.one_lost_in) == 0;
        if !is_lost {
            let effect = now + self.dice.below(20);
            let end = effect + self.dice.below(20);
            self.plan(effect, Event::Effect { operation });
            // After the effect, also where both have one time.
            self.plan(end + 1, Event::Return { operation });
            return;
        }
        match self.dice.below(3) {
            0 => {}
            1 => {
                let at = now + self.dice.below(100);
                self.plan(at, Event::Effect { operation });
            }
            _ => {
                let at = now + self.dice.below(10_000);
                self.plan(at, Event::Effect { operation });
            }
        }
        self.pause(now + 100, client);
    }

    fn call(&mut self, key: u64) -> Call<u64> {
        let current = self.values.get(&key).copied();
        match self.dice.below(10) {
            0..=4 => Call::Read,
            5..=6 => Call::Write(Some(self.value())),
            7 if self.dice.below(3) == 0 => Call::CompareAndSet { expected: current, new: None },
            // A guess, mostly right, as of a client that has read.
            _ => {
                let guess = if self.dice.below(4) == 0 { None } else { current };
                Call::CompareAndSet { expected: guess, new: Some(self.value()) }
            }
        }
    }

    fn value(&mut self) -> u64 {
        self.written += 1;
        match self.sample.values {
            0 => self.written,
            values => self.dice.below(values),
        }
    }

    fn effect(&mut self, operation: usize) {
        let Running { key, call, .. } = self.running[operation];
        let current = self.values.get(&key).copied();
        let (answer, after) = match call {
            Call::Read => (Answer::Value(current), current),
            Call::Write(value) => (Answer::Done, value),
            Call::CompareAndSet { expected, new } if expected == current => (Answer::Done, new),
            Call::CompareAndSet { .. } => (Answer::Found(current), current),
        };
        match after {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
        self.running[operation].answer = Some(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::Register;
    use crate::{Limit, Verdict, judge};

    #[test]
    fn a_sample_is_repeatable_and_linearizable() {
        let sample =
            Sample { operations: 3_000, keys: 3, clients: 8, values: 4, one_lost_in: 50, seed: 1 };
        let histories = sample.run();
        assert_eq!(histories, sample.run());
        let lost = |history: &History<_, _>| history.operations().len() - history.returns().len();
        let lost: usize = histories.values().map(lost).sum();
        assert!((30..=90).contains(&lost), "{lost}");
        for history in histories.values() {
            let judgement = judge(&Register::empty(), history, Limit::default());
            assert!(matches!(judgement.verdict, Verdict::Linearizable(_)));
        }
    }
}
