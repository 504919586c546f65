//! What a judge must know of an object: the states that it has, one call at a time.
//!
//! What it does not do: know of time or of concurrency. The search does.

use std::fmt::Debug;
use std::hash::Hash;

/// A sequential object.
pub trait Specification {
    /// What it remembers between calls.
    type State: Clone + Eq + Hash + Debug;
    /// What is asked of it. Two calls that never answered and are equal may stand for each other,
    /// so equality must cover everything that [`step`](Self::step) looks at.
    type Call: Clone + Eq + Debug;
    /// What it answers.
    type Answer: Clone + Eq + Debug;

    /// The state before all calls.
    fn start(&self) -> Self::State;

    /// Adds to `next` each state in which `call` may leave the object if it happens in `state` and
    /// answers so: none where the answer is impossible there, usually one. `None` is a call of
    /// which no answer is known: `next` then gets the states after all answers that it could have
    /// had.
    fn step(
        &self,
        state: &Self::State,
        call: &Self::Call,
        answer: Option<&Self::Answer>,
        next: &mut Vec<Self::State>,
    );

    /// Whether the call, where it can answer so, leaves *every* state as it is, such as a read. The
    /// search takes such a call as soon as its answer is right, and tries no other place for it.
    /// `false` is always sound.
    ///
    /// The search asserts the promise wherever it relies on it.
    fn observes(&self, _call: &Self::Call, _answer: &Self::Answer) -> bool {
        false
    }
}
