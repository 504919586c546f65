//! A pool of small numbers, shared by callers of which any may die at any step.
//!
//! `allocate(tag) -> id` hands out an id that nobody holds, `free(id, tag)` gives it back. All
//! state lives in an abstract [`AtomicMap`]: `get` and `compare_and_set` on single keys, nothing
//! else, no locks. The algorithm is a tree of counters over blocks of slots; `specs/pool.md` tells
//! how it works and why its published ancestor does not.
//!
//! # Two ways in
//!
//! * **The plain API**: [`Pool`] runs every operation to its end on a synchronous [`AtomicMap`].
//! * **The step machines**: [`Allocate`], [`Free`], [`Refresh`], [`List`], [`Find`], [`Recover`]
//!   each ask for one map operation at a time ([`Machine::request`]) and are told its outcome
//!   ([`Machine::step`]). They have no clock, socket, entropy or thread inside. The model
//!   checker, the simulator, the fuzzer and the server drive these same machines.
//!   [`Combined`] serves many allocates and frees as one, where nothing is out of the ordinary,
//!   and [`Turn`] serves them to their ends.
//!
//! # Invariants (their sentences stand in `specs/README.md`)
//!
//! * POOL-1, POOL-2: a slot changes from free to a tag, or from a tag to free by a call that names
//!   that tag; never from one tag to another.
//! * Every successful write of a node or block raises its version; neither is ever deleted.
//! * An inner node exists before anything is written below it, so a missing node means an empty
//!   subtree.
//!
//! # Example
//!
//! ```
//! use cloakroom_pool::{AtomicMap, Cas, FreeOutcome, MapError, Policy, Pool, PoolId, Shape, Tag, Tree};
//! use std::{collections::BTreeMap, sync::Mutex};
//!
//! /// The smallest atomic map: a mutex around an ordered map.
//! #[derive(Default)]
//! struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);
//!
//! impl AtomicMap for Memory {
//!     fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
//!         Ok(self.0.lock().unwrap().get(key).cloned())
//!     }
//!     fn compare_and_set(
//!         &self,
//!         key: &[u8],
//!         expected: Option<&[u8]>,
//!         new: Option<&[u8]>,
//!     ) -> Result<Cas, MapError> {
//!         let mut map = self.0.lock().unwrap();
//!         if map.get(key).map(Vec::as_slice) != expected {
//!             return Ok(Cas::Mismatch(map.get(key).cloned()));
//!         }
//!         match new {
//!             Some(value) => map.insert(key.to_vec(), value.to_vec()),
//!             None => map.remove(key),
//!         };
//!         Ok(Cas::Set)
//!     }
//! }
//!
//! let tree = Tree::new(PoolId(1), 1000, Shape::default())?;
//! let pool = Pool::new(Memory::default(), tree, Policy::LowestFirst);
//!
//! let tag = Tag::new("worker-a1f3")?;      // write the tag down durably, then allocate
//! let id = pool.allocate(&tag)?;
//! assert_eq!(pool.find(&tag)?, [id]);
//! assert_eq!(pool.free(id, &tag)?, FreeOutcome::Freed);
//! assert_eq!(pool.free(id, &tag)?, FreeOutcome::AlreadyFree);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod allocate;
mod combine;
mod counts;
mod doubt;
mod free;
mod interval;
mod list;
mod machine;
mod map;
mod memory;
mod path;
mod plan;
mod pool;
mod recover;
mod refresh;
mod row;
mod seen;
mod tag;
mod tree;
mod turn;
mod value;

pub use allocate::{Allocate, AllocateFailure, Policy};
pub use combine::{Combined, Ending, Served, Want};
pub use counts::Counts;
pub use doubt::Doubt;
pub use free::{Free, FreeOutcome};
pub use interval::{Interval, IntervalError, Side};
pub use list::{Find, List};
pub use machine::{Interrupted, Machine, Next, Request, Response};
pub use map::{AtomicMap, Cas, Ended, Exchange, MapError, perform};
pub use memory::Memory;
pub use pool::{AllocateError, FreeError, Pool, Usage};
pub use recover::{Recover, Recovered};
pub use refresh::Refresh;
pub use row::Row;
pub use seen::{Change, Seen};
pub use tag::{Id, MAX_TAG_BYTES, Tag, TagError};
pub use tree::{
    MAX_BLOCK, MAX_FANOUT, MAX_SIZE, MIN_FANOUT, Place, PoolId, Shape, ShapeError, Tree,
};
pub use turn::{Batch, Done, Turn};
pub use value::{Block, Node, Value, ValueError, Version};
