//! A register: one value or none, with read, write and compare-and-set. One key of a map is one.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use crate::specification::Specification;

/// A call. `None` is absence: to write it is to remove, to expect it is to put if absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call<V> {
    /// Answers the value.
    Read,
    /// Sets the value, whatever it was.
    Write(Option<V>),
    /// Sets the value to `new` if it is `expected`.
    CompareAndSet {
        /// What must be there.
        expected: Option<V>,
        /// What is there then.
        new: Option<V>,
    },
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer<V> {
    /// To a read: this is the value.
    Value(Option<V>),
    /// To a write or compare-and-set: it is done.
    Done,
    /// To a compare-and-set: something else was there.
    Mismatch,
    /// To a compare-and-set: this was there instead.
    Found(Option<V>),
}

/// The register.
#[derive(Clone, Copy, Debug)]
pub struct Register<V> {
    start: Option<V>,
    of: PhantomData<V>,
}

impl<V> Register<V> {
    /// One that begins without a value.
    pub fn empty() -> Self {
        Self { start: None, of: PhantomData }
    }

    /// One that begins with this value.
    pub fn with(value: V) -> Self {
        Self { start: Some(value), of: PhantomData }
    }
}

impl<V: Clone + Eq + Hash + Debug> Specification for Register<V> {
    type State = Option<V>;
    type Call = Call<V>;
    type Answer = Answer<V>;

    fn start(&self) -> Option<V> {
        self.start.clone()
    }

    fn step(
        &self,
        state: &Option<V>,
        call: &Call<V>,
        answer: Option<&Answer<V>>,
        next: &mut Vec<Option<V>>,
    ) {
        match (call, answer) {
            (Call::Read, Some(Answer::Value(value))) if value == state => next.push(state.clone()),
            (Call::Read, None) => next.push(state.clone()),
            (Call::Write(value), Some(Answer::Done) | None) => next.push(value.clone()),
            (Call::CompareAndSet { expected, new }, Some(Answer::Done) | None)
                if expected == state =>
            {
                next.push(new.clone());
            }
            (Call::CompareAndSet { expected, .. }, Some(Answer::Mismatch) | None)
                if expected != state =>
            {
                next.push(state.clone());
            }
            (Call::CompareAndSet { expected, .. }, Some(Answer::Found(found)))
                if expected != state && found == state =>
            {
                next.push(state.clone());
            }
            // No answer that a register gives here.
            _ => {}
        }
    }

    fn observes(&self, _: &Call<V>, answer: &Answer<V>) -> bool {
        matches!(answer, Answer::Value(_) | Answer::Mismatch | Answer::Found(_))
    }
}
