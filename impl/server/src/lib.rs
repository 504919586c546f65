//! A node of a cluster: sockets, clock, disk, keys and certificates around the pure parts.
//!
//! | file | what |
//! |---|---|
//! | `key.rs` | a node's key, and the id that follows from it |
//! | `authority.rs` | the cluster's certificate authority: issues, renews, revokes |
//! | `issued.rs` | what it has issued, and to whom |
//! | `renewal.rs` | certificates of nodes that run, renewed by whoever has the authority |
//! | `request.rs` | a request for a certificate, by whoever keeps the key |
//! | `credentials.rs` | what a node shows and whom it trusts, read from its folder |
//! | `folder.rs` | a node's folder, and the signed genesis in it |
//! | `holder.rs` | whose a certificate is |
//! | `tls.rs` | TLS 1.3 with certificates on both sides |
//! | `disk.rs` | what a node must not forget, in a file |
//! | `attempt.rs` | one attempt of an operation, at whoever can run it |
//! | `dht.rs` | the DHT, for whoever runs a server |
//! | `members.rs` | the list of members, for whoever runs a server |
//! | `server.rs` | a node at work: its clock, its connections, its disk, its callers |
//! | `leave.rs` | what follows from a node's steps: sent, answered, made durable |
//! | `transport.rs` | QUIC: one connection to a peer, one stream to a message or question |
//!
//! What it does not do: decide. What to send, to store and to answer is decided by the pure parts.

#![forbid(unsafe_code)]

mod attempt;
mod authority;
mod credentials;
mod dht;
mod disk;
mod error;
mod files;
mod folder;
mod holder;
mod issued;
mod key;
mod leave;
mod members;
mod renewal;
mod request;
mod server;
mod tls;
mod transport;

pub use attempt::Attempt;
pub use authority::{Authority, Issued};
/// Who a node is.
pub use cloakroom_wire::NodeId;
pub use credentials::{Credentials, create_client, renew_client};
pub use disk::{DiskError, NodeDisk, Written};
pub use error::Error;
pub use folder::{Beginning, DEFAULT_SLOTS, FolderError, NodeFolder, Place, Prepared};
pub use holder::{Holder, Proof};
pub use key::Key;
pub use leave::Synced;
pub use members::Members;
pub use renewal::{Answers, RenewalError};
pub use request::Request;
pub use server::{Reply, Server, ServerConfig, ServerError};
pub use tls::Shown;
pub use transport::{Arrival, Limits, Shed, Transport, TransportError};
