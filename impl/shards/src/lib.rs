//! A lock-free map in memory, and the pool's store within one process.
//!
//! The only crate with `unsafe`, and with data structures without locks. Its real source compiles against std,
//! loom and shuttle through [`sync`]; `tests/race/` explores it under both.
//!
//! | file | what |
//! |---|---|
//! | `map.rs` | [`Shards`] |
//! | `operation.rs`, `change.rs` | one operation, under a guard |
//! | `current.rs`, `table.rs`, `slots.rs`, `slot.rs`, `fingerprints.rs` | slots, how they are found, and their states |
//! | `successor.rs` | how a table is replaced |
//! | `key.rs`, `word.rs`, `blob.rs` | keys and values in the words of a slot, or on the heap |
//! | `hash.rs` | where a key belongs |
//! | `iter.rs` | [`Iter`]: all entries |
//! | `cells.rs` | [`Cells`]: values at numbered places, by the same slots |
//! | `dense.rs` | [`Dense`]: the store of one pool, on cells |
//! | `handle.rs` | [`Handle`]: the operations for a thread that has registered |
//! | [`reclaim`] | when memory is given back |
//! | `error.rs` | [`ShardsError`], and the limits |
//! | [`sync`], `bounds.rs` | the only files that know of a checker |
//!
//! Properties: SHARD-1 to SHARD-7, in `specs/README.md`.
//!
//! What it does not do: keep anything after the process. Keys have at most [`MAX_KEY_BYTES`],
//! values at most [`MAX_VALUE_BYTES`].

#![deny(unsafe_op_in_unsafe_fn)]

mod blob;
mod bounds;
mod cells;
mod change;
mod current;
mod dense;
mod error;
mod fingerprints;
mod handle;
mod hash;
mod iter;
mod key;
mod map;
mod operation;
pub mod reclaim;
mod slot;
mod slots;
mod successor;
pub mod sync;
mod table;
mod word;

pub use cells::{Cells, CellsHandle, Look};
pub use dense::{Dense, DenseHandle};
pub use error::{MAX_KEY_BYTES, MAX_VALUE_BYTES, ShardsError};
pub use handle::Handle;
pub use iter::Iter;
pub use map::{MAX_SHARDS, Shards};
