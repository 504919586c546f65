//! Pools, atomic keys, records and members of a cluster, for programs.
//!
//! [`Client`] sends each request to one of several endpoints, in the order of a load-balancing strategy, and
//! tries again until a deadline. A call has one operation id in all its attempts.
//!
//! | file | what |
//! |---|---|
//! | `endpoint.rs` | one node: its connections, how fast it is, one attempt |
//! | `trust.rs` | HTTPS: whom a client believes, and what it shows |
//! | `retry.rs` | all attempts of a call: when another one is right, and what it must say |
//! | `calls.rs`, `cluster.rs`, `dht.rs` | what can be called |
//!
//! Invariants:
//! * CLIENT-1: a call that changes something is carried out at most once: after an attempt that may have been
//!   carried out, another one says so, or is bound;
//! * CLIENT-1: what may have happened is [`ClientError::Unknown`], never another error.
//!
//! What it does not do: remember tags: rule 1 is the caller's.

#![forbid(unsafe_code)]

mod calls;
mod cluster;
mod dht;
mod endpoint;
mod retry;
mod trust;

use std::path::PathBuf;
use std::time::Duration;

pub use calls::{Allocation, Held, Policy, Pool, Recovered, Usage, WIDE};
use cloakroom_kademlia::Balance;
/// The longest value of a key or record.
pub use cloakroom_wire::MAX_VALUE_BYTES;
pub use cluster::{Cluster, Life, Member, Slot, Standing};
pub use dht::{Closest, Near, Pinged, Record};
pub use retry::Client;
use thiserror::Error;

/// How a client goes about it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes, as `https://HOST:PORT`, `http://127.0.0.1:8420` or `127.0.0.1:8420`; with `#weight=N` behind it, one that
    /// is N times as strong as the others, which `weighted` looks at.
    pub endpoints: Vec<String>,
    /// Which of them to ask: one of the names of [`Balance::ALL`].
    pub strategy: String,
    /// How long a call may take, with all its attempts.
    pub deadline: Duration,
    /// The same for one that walks a whole pool: [`Client::list`] (each page), [`Client::find`],
    /// [`Client::recover`], [`Client::delete_pool`].
    pub walk_deadline: Duration,
    /// The certificate of the authority that signs the nodes' certificates, in PEM: needed for `https`.
    pub authority: Option<PathBuf>,
    /// What the client shows: nodes ask for it over `https`.
    pub identity: Option<Identity>,
}

/// A client's certificate and key, in PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:8420".to_string()],
            strategy: "closest".to_string(),
            deadline: Duration::from_secs(10),
            walk_deadline: Duration::from_mins(2),
            authority: None,
            identity: None,
        }
    }
}

/// Why a call has no answer. Each says whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The caller's.
    #[error(
        "endpoint: expected https://HOST:PORT or http://ADDRESS:PORT, with #weight=N behind it or without, got {0:?}"
    )]
    Endpoint(String),
    /// The caller's: for `https` it must be known whom to believe.
    #[error("{0}: expected the certificate of the cluster's authority (--ca), got none")]
    NoAuthority(String),
    /// The caller's, or whoever's has written the file.
    #[error("{}: expected certificates or a key in PEM: {cause}", path.display())]
    Identity {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// That of whoever shows a wrong certificate, the node or the caller: nothing was sent.
    #[error("{endpoint}: {cause}")]
    Distrust {
        /// Which node.
        endpoint: String,
        /// Whose certificate is wrong, and what is.
        cause: String,
    },
    /// The caller's.
    #[error("strategy: expected one of {}, got {got:?}", strategies())]
    Strategy {
        /// What came.
        got: String,
    },
    /// The system's.
    #[error("the system gives no entropy")]
    Entropy,
    /// The node has refused: nothing was done.
    #[error("{title}: {detail}")]
    Refused {
        /// Which kind: the last part of the problem's `type`.
        kind: String,
        /// The kind, for people.
        title: String,
        /// What was expected, and what came.
        detail: String,
        /// Of a mismatch: the version that the key has.
        version: Option<u64>,
    },
    /// Nobody has answered, and nothing was done.
    #[error("nothing was done: {0}")]
    Unavailable(String),
    /// It may have been done, may still be done once, or never.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The node's: it does not speak as it should.
    #[error("{endpoint}: expected an answer of the API, got {got}")]
    Answer {
        /// Which node.
        endpoint: String,
        /// What came.
        got: String,
    },
}

impl ClientError {
    /// Whether a node has refused for this reason.
    pub fn is_refusal(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == wanted)
    }
}

fn strategies() -> String {
    Balance::ALL.map(|(name, _)| name).join(", ")
}
