//! Sizes, which shrink under a checker: the only other place that asks who schedules the threads.
//!
//! * what ships: sizes that measured well;
//! * under loom and shuttle: tables so small that two keys fill them, bags that are sealed at once.

use crate::key::KIND_BITS;
use crate::sync::{CHECKER, Checker};

/// Whether this build is for a checker.
pub(crate) const CHECKED: bool = !matches!(CHECKER, Checker::None);

/// Seats in the first block and in each that is appended.
pub(crate) const SEATS: usize = if CHECKED { 3 } else { 16 };

/// Retired objects that are sealed together, with one fence: it interrupts every processor that runs a thread of this
/// process, which in a virtual machine takes as long as hundreds of writes. So many are freed by one operation.
pub(crate) const BATCH: usize = if CHECKED { 1 } else { 1024 };

/// Or fewer, when they take so many bytes.
pub(crate) const BATCH_BYTES: usize = 64 * 1024;

/// Objects whose memory a seat keeps to serve again, what a batch frees at once; fewer when they take more than
/// [`BATCH_BYTES`]. A checker has none: memory that serves again would hide its use after it was freed.
pub(crate) const SPARES: usize = if CHECKED { 0 } else { BATCH };

/// Slots of a shard's first table: a power of two.
pub(crate) const FIRST_SLOTS: usize = if CHECKED { 2 } else { 16 };

/// Slots whose fingerprints stand in one word: a power of two up to 8, not more than any table has.
pub(crate) const GROUP: usize = if CHECKED { 2 } else { 8 };

/// Shards, at least: a slot keeps its kind where a key of whole eights leaves out the shard. A checker's keys have
/// zeros there, and fewer shards are fewer steps.
pub(crate) const MIN_SHARDS: usize = if CHECKED { 4 } else { 1 << KIND_BITS };

/// Shards, where the caller does not say: a power of two for each core.
pub(crate) const SHARDS_PER_CORE: usize = if CHECKED { 1 } else { 16 };

/// About how many keys a table takes before it is replaced.
pub(crate) const fn most_used(slots: usize) -> usize {
    if CHECKED { slots } else { slots / 8 * 7 }
}

/// How many groups may be full before a table is replaced. Half of them are when about seven of eight
/// slots are taken; and then a way seldom goes far. To count those is cheaper than to count keys. What
/// has as many slots as the table before holds at most half of `most_used`, which fills no half of its
/// groups: so a successor has room, or is twice as large.
pub(crate) const fn most_full(groups: usize) -> usize {
    if CHECKED { groups } else { groups / 2 }
}
