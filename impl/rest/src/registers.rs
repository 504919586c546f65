//! The atomic map on a server's registers, without threads that wait.
//!
//! Invariants:
//! * one call is one operation in all its attempts, as [`Attempts`] says: the same machine as that of
//!   the registers' own map;
//! * REG-8: what stays unknown is said to be unknown, with the version that it is bound to;
//! * attempts come ever more seldom, and one that is bound is not tried for ever: its register may have gone
//!   on, so that nobody will say what became of it.
//!
//! What it does not do: know what keys and values mean, or find the members of a slot.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloakroom_node::Rounds;
use cloakroom_pool::{Cas, MapError};
use cloakroom_register::{
    Attempts, Call, Expected, Held, Key, OperationId, Outcome, Value, Version,
};
use cloakroom_server::{Attempt, Server};
use tokio::time::Instant;

/// So many attempts of an operation that is bound end without an outcome, and it is given up.
const MOST_BOUND: u32 = 8;
/// One attempt gives up after so long, so that another node may be tried.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between the first two attempts; then twice as long each time,
const PAUSE: Duration = Duration::from_millis(20);
/// and at most so long.
const LONGEST_PAUSE: Duration = Duration::from_millis(640);

/// The registers, until a moment.
#[derive(Clone, Debug)]
pub(crate) struct Registers {
    server: Arc<Server>,
    until: Instant,
    /// Of all calls that have ended.
    rounds: Arc<Mutex<Rounds>>,
}

/// Why a call has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// As a map says it.
    pub(crate) error: MapError,
    /// Of an unknown outcome: what a retry must say.
    pub(crate) bound: Option<Version>,
}

impl Registers {
    /// For calls that are given up at a moment.
    pub(crate) fn new(server: Arc<Server>, until: Instant) -> Self {
        Self { server, until, rounds: Arc::new(Mutex::new(Some(0))) }
    }

    /// How many rounds all calls together took that have ended.
    pub(crate) fn rounds(&self) -> Rounds {
        *self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, more: Rounds) {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        *rounds = rounds.zip(more).map(|(rounds, more)| rounds.saturating_add(more));
    }

    /// Runs a call to its end. `bound` is that of earlier attempts of the same operation.
    ///
    /// # Errors
    /// [`Failure`]
    pub(crate) async fn call(
        &self,
        id: OperationId,
        key: &[u8],
        call: Call,
        bound: Option<Version>,
    ) -> Result<Outcome, Failure> {
        // The pace and the deadline end them.
        let mut attempts = Attempts::new(id, Key::from(key), call, u32::MAX);
        let mut pace = Pace::default();
        if let Some(bound) = bound {
            // As if the earlier attempts had been made here.
            attempts.ended(Outcome::Unknown(bound));
        }
        loop {
            if self.server.has_stopped() {
                return Err(given_up(&attempts, "this node's disk has failed: it votes no more"));
            }
            let left = self.until.saturating_duration_since(Instant::now()).min(PATIENCE);
            let patience_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            if patience_ms == 0 {
                return Err(given_up(&attempts, "no majority has answered in time"));
            }
            match self.server.attempt(attempts.operation(), patience_ms).await {
                Attempt::Ended(outcome, rounds) => {
                    self.count(rounds);
                    if let Some(ended) = attempts.ended(outcome) {
                        let bound = attempts.operation().bound;
                        return ended.map_err(|error| Failure { error, bound });
                    }
                }
                Attempt::Lost => {
                    self.count(None);
                    return Err(Failure { error: attempts.lost(), bound: None });
                }
            }
            let Some(pause) = pace.pause(attempts.operation().bound.is_some()) else {
                return Err(given_up(&attempts, "nobody can say what became of it"));
            };
            tokio::time::sleep_until(self.until.min(Instant::now() + pause)).await;
        }
    }

    /// An operation of ours, with an id that no other has.
    async fn own(&self, key: &[u8], call: Call) -> Result<Outcome, MapError> {
        let id = Server::operation(key, call.clone());
        let id = id.map_err(|error| MapError::Unavailable { cause: error.to_string() })?.id;
        self.call(id, key, call, None).await.map_err(|failure| failure.error)
    }

    /// What a key holds.
    ///
    /// # Errors
    /// [`MapError`]
    pub(crate) async fn get(&self, key: &[u8]) -> Result<Option<Held>, MapError> {
        match self.own(key, Call::Get).await? {
            Outcome::Got(held) => Ok(held),
            other => unreachable!("a get ended with {other:?}"),
        }
    }

    /// As the pool's map has it.
    ///
    /// # Errors
    /// [`MapError`]
    pub(crate) async fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        let expected = expected.map_or(Expected::Absent, |value| Expected::Value(value.into()));
        let new = new.map(Value::from);
        match self.own(key, Call::CompareAndSet { expected, new }).await? {
            Outcome::Set(_) => Ok(Cas::Set),
            Outcome::Mismatch(held) => Ok(Cas::Mismatch(held.map(|held| held.value.0.to_vec()))),
            other => unreachable!("a compare-and-set ended with {other:?}"),
        }
    }
}

/// How often an operation is tried.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    attempts: u32,
    bound: u32,
}

impl Pace {
    /// An attempt has brought nothing: how long to wait before the next one, if there is one.
    fn pause(&mut self, is_bound: bool) -> Option<Duration> {
        let pause = PAUSE.saturating_mul(1 << self.attempts.min(16)).min(LONGEST_PAUSE);
        self.attempts += 1;
        self.bound = if is_bound { self.bound + 1 } else { 0 };
        (self.bound < MOST_BOUND).then_some(pause)
    }
}

fn given_up(attempts: &Attempts, cause: &str) -> Failure {
    let cause = cause.to_string();
    let bound = attempts.operation().bound;
    // REG-8: bound means that it may have been begun.
    let error = match bound {
        Some(_) => MapError::Unknown { cause },
        None => MapError::Unavailable { cause },
    };
    Failure { error, bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_ever_more_seldom_and_a_bound_one_is_given_up() {
        let mut pace = Pace::default();
        let pauses: Vec<u128> = std::iter::from_fn(|| pace.pause(true))
            .take(100)
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 640]);
    }

    #[test]
    fn what_nobody_has_begun_is_tried_until_its_time_is_over() {
        let mut pace = Pace::default();
        let mut waited = Duration::ZERO;
        for _ in 0..100 {
            waited += pace.pause(false).expect("another attempt");
        }
        assert!(waited > Duration::from_mins(1), "{waited:?}");
        // It was buried in between: from now on it is bound to another version.
        for _ in 0..3 {
            assert!((1..MOST_BOUND).all(|_| pace.pause(true).is_some()));
            assert!(pace.pause(false).is_some());
        }
    }
}
