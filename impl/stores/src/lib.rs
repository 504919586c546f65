//! The atomic map of a pool: [`Memory`], the plain reference, and [`Durable`], a file.
//!
//! Invariants: both are linearizable on every key and pass one conformance suite
//! (`tests/conformance.rs`). What a [`Durable`] map has answered is on disk. POOL-1 to POOL-7 assume
//! such a map.
//!
//! What this crate does not do: know anything of pools, ids or tags. It maps bytes to bytes.

#![forbid(unsafe_code)]

mod batch;
mod durable;
mod memory;
mod open;
mod rehearsal;

#[cfg(test)]
mod faults;

pub use durable::{Change, Durable, Entry, MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use memory::Memory;
pub use open::OpenError;
