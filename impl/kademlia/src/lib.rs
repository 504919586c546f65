//! Kademlia as one pure machine: node ids, routing table, lookups, records.
//!
//! [`Kademlia`] is one node. It has no clock, socket, entropy or thread: time and seed are arguments,
//! messages go in by [`Kademlia::handle_message`] and out by [`Kademlia::poll_transmit`]. The
//! simulator, the model checker and the server drive this same code.
//!
//! | file | what |
//! |---|---|
//! | `machine/` | [`Kademlia`]: requests and answers, queries, upkeep |
//! | `table/` | [`Table`]: buckets of contacts |
//! | `lookup.rs` | [`Lookup`]: one iterative lookup over disjoint paths |
//! | `records.rs` | [`Records`]: what a node holds for others |
//! | `detector.rs` | [`Losses`]: who is dead |
//! | `balance.rs` | [`Strategy`]: which of a record's holders to ask |
//! | `parameters.rs` | [`Parameters`]: every number of the protocol |
//!
//! The properties KAD-1 to KAD-13 stand in `specs/README.md`, the protocol in `specs/kademlia.md`.
//!
//! What it does not do: atomic operations. Records are eventually consistent, expire, and are cached;
//! registers are another name space and another crate.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod balance;
mod detector;
mod head;
mod lanes;
mod lookup;
mod machine;
mod parameters;
mod random;
mod records;
mod subnet;
mod table;
mod time;

pub use balance::{
    Balance, Choice, Closest, LeastOutstanding, LowestLatency, RoundRobin, SameZone, Situation,
    Strategy, TwoChoices, Uniform, Weighted,
};
pub use detector::{Losses, Verdict};
pub use lookup::{Counts, Lookup, Step};
pub use machine::{Busy, Cost, Event, Judge, Kademlia, Peer, QueryId, Transmit};
pub use parameters::{ParameterError, Parameters, RecordLimits, SubnetLimits};
pub use random::Random;
pub use records::{Held, Name, Offered, Records};
pub use subnet::Subnet;
pub use table::{Bucket, Entry, Placed, Removed, Table};
pub use time::Moment;
