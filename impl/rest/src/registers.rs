//! The atomic map on a server's registers, without threads that wait.
//!
//! Invariants:
//! * one call is one operation in all its attempts, as [`Attempts`] says: the same machine as that of
//!   the registers' own map;
//! * REG-8: what stays unknown is said to be unknown, with the version that it is bound to.
//!
//! What it does not do: know what keys and values mean, or find the members of a slot.

use std::sync::Arc;
use std::time::Duration;

use cloakroom_pool::{Cas, MapError};
use cloakroom_register::{
    Attempts, Call, Expected, Held, Key, OperationId, Outcome, Value, Version,
};
use cloakroom_server::{Attempt, Server};
use tokio::time::Instant;

/// More attempts than a deadline leaves time for.
const MOST_ATTEMPTS: u32 = 64;
/// One attempt gives up after so long, so that another node may be tried.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts that nobody began.
const PAUSE: Duration = Duration::from_millis(20);

/// The registers, until a moment.
#[derive(Clone, Debug)]
pub(crate) struct Registers {
    server: Arc<Server>,
    until: Instant,
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
        Self { server, until }
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
        let mut attempts = Attempts::new(id, Key::from(key), call, MOST_ATTEMPTS);
        if let Some(bound) = bound {
            // As if the earlier attempts had been made here.
            attempts.ended(Outcome::Unknown(bound));
        }
        loop {
            let left = self.until.saturating_duration_since(Instant::now()).min(PATIENCE);
            let patience_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            if patience_ms == 0 {
                return Err(out_of_time(&attempts));
            }
            match self.server.attempt(attempts.operation(), patience_ms).await {
                Attempt::Ended(outcome) => {
                    if let Some(ended) = attempts.ended(outcome) {
                        let bound = attempts.operation().bound;
                        return ended.map_err(|error| Failure { error, bound });
                    }
                }
                Attempt::Lost => return Err(Failure { error: attempts.lost(), bound: None }),
            }
            tokio::time::sleep(PAUSE).await;
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

fn out_of_time(attempts: &Attempts) -> Failure {
    let cause = "no majority has answered in time".to_string();
    let bound = attempts.operation().bound;
    // REG-8: bound means that it may have been begun.
    let error = match bound {
        Some(_) => MapError::Unknown { cause },
        None => MapError::Unavailable { cause },
    };
    Failure { error, bound }
}
