//! Nodes of a DHT in the engine: the whole node behind the [`Machine`](crate::engine::Machine) trait, nodes
//! that lie, and what everybody would know if somebody knew everything.
//!
//! Invariants:
//! * every message is encoded and decoded by `cloakroom_wire`: no value passes by itself;
//! * a message reaches a machine only if its address *and* its id are that machine's, as the
//!   transport of the server sees to.
//!
//! What it does not do: hash with SHA-256, or sign. Ids are another function of keys here, and
//! records have a checksum where a signature would be: see [`identity`].

pub mod census;
pub mod identity;
pub mod liar;
pub mod resident;
