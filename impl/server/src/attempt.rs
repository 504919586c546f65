//! One attempt of an operation, wherever it can be run.
//!
//! Invariants:
//! * REG-8: an operation that nobody has begun is unavailable, or stays unknown and bound as before; one
//!   that may have been begun, and of which nothing is heard any more, is lost, or unknown if it is known
//!   what it is bound to.
//!
//! What it does not do: try again. [`Attempts`](cloakroom_register::Attempts) says when that is right.

use cloakroom_node::Rounds;
use cloakroom_register::{Operation, Outcome};

use crate::server::{Reply, Server};

/// What becomes of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It has ended, after so many rounds.
    Ended(Outcome, Rounds),
    /// Nobody will say how it has ended.
    Lost,
}

impl Server {
    /// Runs one attempt of an operation: here, or at a node that can.
    pub async fn attempt(&self, operation: &Operation, patience_ms: u64) -> Attempt {
        let bound = operation.bound.map(Outcome::Unknown);
        match self.call(operation.clone(), patience_ms).await {
            Ok(Reply::Ended(outcome, rounds)) => Attempt::Ended(outcome, rounds),
            Ok(Reply::Elsewhere(_)) => Attempt::Ended(bound.unwrap_or(Outcome::Unavailable), None),
            // It may have been begun. An attempt never binds to another version than the one before it.
            Ok(Reply::Lost) | Err(_) => bound.map_or(Attempt::Lost, |it| Attempt::Ended(it, None)),
        }
    }
}
