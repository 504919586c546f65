//! One get or compare-and-set: what follows from what a majority has.
//!
//! Invariants:
//! * REG-8: an operation is bound, with its first accept, to the version that it then follows: it
//!   makes version `bound + 1` or nothing. A definite failure is answered only if no accept was ever
//!   sent, or once an accept that buries it has been chosen; else the outcome is unknown;
//! * REG-7: chosen states form one chain of rising versions, so whatever else has made version
//!   `bound + 1`, or a version at or below `bound`, shows that this operation is not in the chain;
//! * REG-9: what is answered is chosen. A state that only some members have is written back first.
//!
//! What it does not do: count answers or choose ballots; that is
//! [`Coordinator`](crate::Coordinator).

use crate::id::{Key, OperationId, Value, Version};
use crate::message::Found;
use crate::record::{Accepted, State};

/// What a client calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// What does the key hold?
    Get,
    /// Make `new` its content if `expected` is. Absence is content, so this is put-if-absent and
    /// compare-and-remove too.
    CompareAndSet {
        /// What must be there.
        expected: Expected,
        /// What shall be there; `None` removes the key.
        new: Option<Value>,
    },
}

/// What a compare-and-set must find.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expected {
    /// No value.
    Absent,
    /// This value.
    Value(Value),
    /// A value of this version.
    Version(Version),
}

/// A value with its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// Which state of the key.
    pub version: Version,
    /// The value.
    pub value: Value,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A get: this, or nothing.
    Got(Option<Held>),
    /// A compare-and-set: done, in this version.
    Set(Version),
    /// A compare-and-set: not done, and never will be; the key held this instead.
    Mismatch(Option<Held>),
    /// It was never begun to be done, and never will be.
    Unavailable,
    /// A compare-and-set: it may have happened, may still happen once, or never. Whoever tries it
    /// again, anywhere, must say that it is [`bound`](Operation::bound) to this version.
    Unknown(Version),
}

/// An operation under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation {
    /// Which.
    pub id: OperationId,
    /// On which key.
    pub key: Key,
    /// What.
    pub call: Call,
    /// The version that it follows, since the first accept of it was sent.
    pub bound: Option<Version>,
}

/// What an operation does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has ended.
    End(Outcome),
    /// This must be chosen first.
    Accept(State),
}

impl Expected {
    fn is_met_by(&self, found: &Found) -> bool {
        let state = found.accepted.as_ref().map(|accepted| &accepted.state);
        let content = state.and_then(|state| state.content.as_ref());
        match (self, content) {
            (Self::Absent, content) => content.is_none(),
            (Self::Value(expected), Some(value)) => expected == value,
            (Self::Version(expected), Some(_)) => Some(*expected) == state.map(|s| s.version),
            (_, None) => false,
        }
    }
}

impl Operation {
    /// Whether this is a compare-and-set that would change what was found.
    pub(crate) fn applies_to(&self, found: &Found) -> bool {
        match &self.call {
            Call::Get => false,
            Call::CompareAndSet { expected, .. } => expected.is_met_by(found),
        }
    }

    /// What follows from what a majority has promised on: under the highest ballot it has `found`,
    /// which is `chosen` if that is known already.
    pub(crate) fn judge(&mut self, found: &Found, chosen: bool) -> Verdict {
        let Call::CompareAndSet { new, .. } = &self.call else {
            return self.keep(found, chosen);
        };
        let mine = |accepted: &Accepted| accepted.state.operation == self.id;
        if found.accepted.as_ref().is_some_and(mine) {
            // REG-7: an earlier attempt of it is here; to make another version would be to do it
            // twice.
            return self.keep(found, chosen);
        }
        let version = found.version();
        let Some(bound) = self.bound else {
            if !self.applies_to(found) {
                return self.keep(found, chosen);
            }
            let state = State { version: version.next(), content: new.clone(), operation: self.id };
            // REG-8: from here on it may happen without us.
            self.bound = Some(version);
            return Verdict::Accept(state);
        };
        if version <= bound && self.applies_to(found) {
            // It has not happened, for its version is above this one. The same state again, and
            // under a higher ballot.
            let state = State { version: bound.next(), content: new.clone(), operation: self.id };
            return Verdict::Accept(state);
        }
        // REG-8: two ways in which it cannot be in the chain: the chain has not come to its version,
        // or has another state there. It never will be, once that is chosen under our newer ballot:
        // an accept of ours that a minority may have is buried below it.
        if found.accepted.is_some() && version <= bound.next() {
            return self.keep(found, false);
        }
        // What is behind its version does not show who made it; nor does a floor.
        Verdict::End(Outcome::Unknown(bound))
    }

    /// Leaves what was found as it is.
    fn keep(&self, found: &Found, chosen: bool) -> Verdict {
        match &found.accepted {
            // REG-9: write back what perhaps only some members have.
            Some(accepted) if !chosen => Verdict::Accept(accepted.state.clone()),
            accepted => Verdict::End(self.outcome(accepted.as_ref().map(|found| &found.state))),
        }
    }

    /// How it ends now that this state is chosen, or that nothing is.
    pub(crate) fn outcome(&self, state: Option<&State>) -> Outcome {
        let held = |state: &State| {
            let value = state.content.clone()?;
            Some(Held { version: state.version, value })
        };
        match (&self.call, state) {
            (Call::Get, state) => Outcome::Got(state.and_then(held)),
            (Call::CompareAndSet { .. }, Some(state)) if state.operation == self.id => {
                Outcome::Set(state.version)
            }
            (Call::CompareAndSet { .. }, state) => Outcome::Mismatch(state.and_then(held)),
        }
    }

    /// How it ends when it is given up.
    pub(crate) fn given_up(&self) -> Outcome {
        self.bound.map_or(Outcome::Unavailable, Outcome::Unknown)
    }
}
