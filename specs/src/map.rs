//! The sequential map, and what a history of concurrent calls must look like, over plain integers.
//!
//! Keys are independent, so a history is judged key by key: one register that has a value or none.
//!
//! * [`Oracle`] is the map, one call at a time: SHARD-1 without concurrency.
//! * [`explainable`] tells whether some order of the calls on one key gives every answer: SHARD-1.
//!
//! What it does not do: judge calls without an answer. An in-process map has none.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A call on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `get`.
    Get,
    /// `compare_and_set`; `None` is absence.
    CompareAndSet {
        /// What the key must have.
        expected: Option<u64>,
        /// What it then gets.
        new: Option<u64>,
    },
}

/// What a call answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// `get`: this value, or none.
    Value(Option<u64>),
    /// `compare_and_set`: done.
    Set,
    /// `compare_and_set`: the key has this instead.
    Mismatch(Option<u64>),
}

/// What a sequential register answers, and what it holds then.
pub fn apply(value: Option<u64>, call: Call) -> (Answer, Option<u64>) {
    match call {
        Call::Get => (Answer::Value(value), value),
        Call::CompareAndSet { expected, new } if expected == value => (Answer::Set, new),
        Call::CompareAndSet { .. } => (Answer::Mismatch(value), value),
    }
}

/// The sequential map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oracle {
    entries: BTreeMap<u64, u64>,
}

impl Oracle {
    /// What the call answers; and does it.
    pub fn call(&mut self, key: u64, call: Call) -> Answer {
        let (answer, value) = apply(self.entries.get(&key).copied(), call);
        match value {
            Some(value) => self.entries.insert(key, value),
            None => self.entries.remove(&key),
        };
        answer
    }

    /// What an iteration sees, in the order of keys.
    pub fn entries(&self) -> impl Iterator<Item = (u64, u64)> {
        self.entries.iter().map(|(&key, &value)| (key, value))
    }

    /// How many keys have a value.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A call with its answer, and when it was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// What was called.
    pub call: Call,
    /// What it answered.
    pub answer: Answer,
    /// Who called: a caller has one call at a time.
    pub caller: usize,
    /// When it began.
    pub begin: u64,
    /// When it had its answer; later than `begin`.
    pub end: u64,
}

/// Which calls must stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A call that ended before another began comes before it: linearizability.
    RealTime,
    /// Only calls of one caller, and those of caller 0 with all: it made the map, started the
    /// others and waited for their end. What is left under a weak memory model, where a schedule's
    /// time is no order that threads could know of.
    Program,
}

/// Whether some order of these calls on one key, which begins with `value`, keeps `order` and gives
/// every answer. Exponential in the calls that overlap; at most 64 calls.
///
/// # Panics
/// On more than 64 calls.
pub fn explainable(value: Option<u64>, calls: &[Done], order: Order) -> bool {
    assert!(calls.len() <= 64, "expected at most 64 calls on a key, got {}", calls.len());
    let precedes = |a: &Done, b: &Done| match order {
        Order::RealTime => a.end < b.begin,
        Order::Program => {
            (a.caller == b.caller || a.caller == 0 || b.caller == 0) && a.end < b.begin
        }
    };
    // For each call, those that must come before it.
    let before: Vec<u64> = calls
        .iter()
        .map(|b| (0..calls.len()).filter(|&a| precedes(&calls[a], b)).map(|a| 1 << a).sum())
        .collect();
    let mut seen = BTreeSet::new();
    let mut open = Vec::from([(0_u64, value)]);
    while let Some((done, value)) = open.pop() {
        if done.count_ones() as usize == calls.len() {
            return true;
        }
        for (at, call) in calls.iter().enumerate() {
            let ready = done >> at & 1 == 0 && before[at] & !done == 0;
            let (answer, next) = apply(value, call.call);
            let state = (done | 1 << at, next);
            if ready && answer == call.answer && seen.insert(state) {
                open.push(state);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: Call = Call::CompareAndSet { expected: None, new: Some(1) };
    const REMOVE: Call = Call::CompareAndSet { expected: Some(1), new: None };

    fn done(call: Call, answer: Answer, caller: usize, begin: u64, end: u64) -> Done {
        Done { call, answer, caller, begin, end }
    }

    #[test]
    fn the_oracle_is_a_map() {
        let mut oracle = Oracle::default();
        assert_eq!(oracle.call(7, REMOVE), Answer::Mismatch(None));
        assert_eq!(oracle.call(7, PUT), Answer::Set);
        assert_eq!(oracle.call(7, PUT), Answer::Mismatch(Some(1)));
        assert_eq!(oracle.call(8, Call::Get), Answer::Value(None));
        assert!(oracle.entries().eq([(7, 1)]) && oracle.len() == 1);
        assert_eq!(oracle.call(7, REMOVE), Answer::Set);
        assert!(oracle.is_empty());
    }

    #[test]
    fn a_stale_answer_is_refused_in_real_time_and_only_there() {
        let put = done(PUT, Answer::Set, 1, 1, 2);
        let stale = done(Call::Get, Answer::Value(None), 2, 3, 4);
        assert!(!explainable(None, &[put, stale], Order::RealTime));
        assert!(explainable(None, &[put, stale], Order::Program));
        for caller in [0, 1] {
            assert!(!explainable(None, &[put, Done { caller, ..stale }], Order::Program));
        }
        let overlapping = Done { begin: 2, ..stale };
        assert!(explainable(None, &[put, overlapping], Order::RealTime));
    }

    #[test]
    fn two_winners_and_invented_values_are_refused() {
        let twice = [done(PUT, Answer::Set, 1, 1, 4), done(PUT, Answer::Set, 2, 2, 3)];
        assert!(!explainable(None, &twice, Order::Program));
        let removed = done(REMOVE, Answer::Set, 3, 1, 4);
        assert!(explainable(None, &[twice[0], twice[1], removed], Order::RealTime));
        let invented = done(Call::Get, Answer::Value(Some(9)), 0, 1, 2);
        assert!(!explainable(None, &[invented], Order::Program));
        assert!(!explainable(Some(2), &[twice[0]], Order::Program));
    }
}
