//! All protocols of one node as one pure machine: the DHT, the registers, who is in which view.
//!
//! [`Node::step`] takes what happens and says what follows: what leaves at once, what to persist, what leaves
//! after that. It has no clock, socket, disk, entropy or thread: time and seed are arguments. The simulator and the
//! server drive this same code.
//!
//! | file | what |
//! |---|---|
//! | `genesis.rs` | what a cluster begins with: its founders, its slots, the first views |
//! | `placement.rs` | which members a slot ought to have |
//! | `roster.rs` | the list of members, and its rules |
//! | `changes.rs` | how it is changed, and how every node comes to have it |
//! | `calls.rs` | operations under way: here, or handed to a node that can run them |
//! | `peers.rs` | which start of another node runs what is handed there |
//! | `doors.rs` | what other nodes hand here is run once |
//! | `effects.rs` | [`Effects`]: what follows from a step |
//! | `known.rs` | whom it knows by name |
//! | `node.rs` | [`Node`]: what happens, and what follows |
//! | `watch.rs` | who is silent for how long, and the views that follow from it |
//!
//! The protocols themselves are `impl/kademlia` and `impl/register`; this crate lets them share one
//! connection to each peer, one disk and one clock.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod calls;
mod changes;
mod doors;
mod effects;
mod genesis;
mod known;
mod node;
mod peers;
mod placement;
mod roster;
mod rounds;
mod watch;

pub use effects::{Answer, Effects};
pub use genesis::{Founder, Genesis, GenesisError, MAX_SLOTS, Zone};
pub use node::{Hash, Input, Node, Setup, Timer};
pub use placement::{Candidate, place};
pub use roster::{Change, ChangeFault, Place, Roster, Standing, roster_key};
pub use rounds::Rounds;
pub use watch::Patience;
