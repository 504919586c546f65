//! The published algorithm, and what is wrong with it.
//!
//! A private copy of the algorithm, kept to show four faults. Each is found by an exhaustive
//! search for the shortest way to it, stands as a readable file in `model/traces`, and is replayed
//! by a test. `specs/pool.md` tells the stories; the pool that ships is `cloakroom-pool`.
//!
//! Invariants:
//! * the committed file is byte for byte what the search writes, and its number of states and steps
//!   is pinned;
//! * the same search within the same bounds finds nothing where the cause is taken away
//!   ([`Fault::control`]), so the search can fail, and the cause is the cause.
//!
//! Not claimed: anything about larger bounds. Upholds no property; breaks POOL-3, POOL-4, POOL-5, POOL-7.

mod event;
mod faults;
mod machine;
mod replay;
mod search;
mod trace;
mod world;

pub use faults::{Control, FAULTS, Fault, Found};
pub use replay::{ReplayError, replay};
pub use trace::{Trace, TraceError};
