//! A clock that counts rounds of questions to replicas, as far as one comes after the other.
//!
//! Invariants:
//! * what is done at the same time moves it as far as the longest of it;
//! * it is never said to have moved less than it did: where that is not known, nothing is said.
//!
//! What it does not do: count time, or what goes on beside.

use std::sync::{Mutex, PoisonError};

use cloakroom_node::Rounds;

/// How far a desk has come.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Reading>);

/// What a clock showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    rounds: u64,
    /// So often it was not known how far it moved.
    gaps: u64,
}

impl Clock {
    pub(super) fn read(&self) -> Reading {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has ended that began then, and that others wait for.
    pub(super) fn moved(&self, begun: Reading, took: Rounds) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.max(begun.after(took));
    }
}

impl Reading {
    /// What it shows so many rounds later.
    pub(super) fn after(self, took: Rounds) -> Self {
        match took {
            Some(rounds) => Self { rounds: self.rounds + u64::from(rounds), ..self },
            None => Self { gaps: self.gaps + 1, ..self },
        }
    }

    /// The later one in both.
    pub(super) fn max(self, other: Self) -> Self {
        Self { rounds: self.rounds.max(other.rounds), gaps: self.gaps.max(other.gaps) }
    }

    /// The rounds between this and a later one.
    pub(super) fn until(self, later: Self) -> Rounds {
        let rounds = later.rounds.saturating_sub(self.rounds);
        (self.gaps == later.gaps).then(|| u32::try_from(rounds).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beside_moves_it_once_and_what_is_not_known_is_not_said() {
        let clock = Clock::default();
        let begun = clock.read();
        clock.moved(begun, Some(2));
        clock.moved(begun, Some(1));
        assert_eq!(begun.until(clock.read()), Some(2));
        let then = clock.read();
        clock.moved(then, Some(1));
        assert_eq!((begun.until(clock.read()), then.until(clock.read())), (Some(3), Some(1)));
        clock.moved(then, None);
        assert_eq!(then.until(clock.read()), None);
        let then = clock.read();
        clock.moved(then, Some(0));
        assert_eq!(then.until(clock.read()), Some(0));
    }
}
