//! A node of a cluster: sockets, clock, disk, keys and certificates around the pure parts.
//!
//! | file | what |
//! |---|---|
//! | `key.rs` | a node's key, and the id that follows from it |
//! | `authority.rs` | the cluster's certificate authority: issues, renews, revokes |
//! | `credentials.rs` | what a node shows and whom it trusts, read from its folder |
//! | `folder.rs` | a node's folder, and the signed genesis in it |
//! | `tls.rs` | TLS 1.3 with certificates on both sides |
//! | `disk.rs` | what a node must not forget, in a file |
//! | `attempt.rs` | one attempt of an operation, at whoever can run it |
//! | `members.rs` | the list of members, for whoever runs a server |
//! | `server.rs` | a node at work: its clock, its connections, its disk, its callers |
//! | `transport.rs` | QUIC: one connection to a peer, one stream to a message or question |
//!
//! What it does not do: decide. What to send, to store and to answer is decided by the pure parts.

#![forbid(unsafe_code)]

mod attempt;
mod authority;
mod credentials;
mod disk;
mod error;
mod files;
mod folder;
mod key;
mod members;
mod server;
mod tls;
mod transport;

pub use attempt::Attempt;
pub use authority::{Authority, Issued};
pub use credentials::Credentials;
pub use disk::{DiskError, NodeDisk};
pub use error::Error;
pub use folder::{Beginning, DEFAULT_SLOTS, FolderError, NodeFolder, Place, Prepared};
pub use key::Key;
pub use members::Members;
pub use server::{Reply, Server, ServerConfig, ServerError};
pub use transport::{Arrival, Limits, Transport, TransportError};
