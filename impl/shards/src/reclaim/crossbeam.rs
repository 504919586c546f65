//! The same contract by way of crossbeam-epoch, for comparison: one collector for each map.
//!
//! * what is retired is deferred under crossbeam's guard, which frees it when no guard that was held
//!   then is held any more (SHARD-4): that this is so is crossbeam's promise;
//! * garbage that is left when the map is dropped is freed by the collector's own drop, before the
//!   counters that it counts in.
//!
//! Why it is not the default: measured, see [`Crossbeam`].
//!
//! What it does not do: answer an error when memory runs out, for crossbeam aborts then; bound the
//! garbage, which waits in a global queue until somebody pins often enough. A guard that is taken
//! without a handle registers with the collector first, each time.

use crossbeam_epoch::{Collector, Guard as Pinned, LocalHandle};

use super::{Garbage, Guard, Local, Reclaim, Tally};
use crate::error::ShardsError;
use crate::sync::{self, AtomicUsize, Ordering};

/// crossbeam-epoch as a reclaimer. Beside [`Epoch`](super::Epoch), with `cargo bench -p
/// cloakroom-shards --bench map` on a busy machine: level where entries are read or exchanged, 0.7
/// times as fast where 8-byte keys are put and removed. Part of that are its sums, which threads share.
#[derive(Debug)]
pub struct Crossbeam {
    /// First, so that it is dropped first.
    collector: Collector,
    /// At an address of their own, which deferred frees remember.
    sums: Box<[Sums; CELLS]>,
    _last: Last,
}

/// So many that threads seldom share one.
const CELLS: usize = 16;

/// Two cache lines, because processors fetch them in pairs. Wrapping sums.
#[repr(align(128))]
#[derive(Debug)]
struct Sums {
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

impl Sums {
    fn add(all: &[Self; CELLS], entries: isize, bytes: isize) {
        let sums = &all[sync::thread_index() % CELLS];
        // Relaxed, both: an estimate, which orders nothing.
        if entries != 0 {
            sums.entries.fetch_add(entries.cast_unsigned(), Ordering::Relaxed);
        }
        if bytes != 0 {
            sums.bytes.fetch_add(bytes.cast_unsigned(), Ordering::Relaxed);
        }
    }
}

/// In a checked build, what was freed is given back when the collector is gone.
#[derive(Debug)]
struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        sync::drain();
    }
}

// SAFETY: crossbeam gives nothing back that a guard of its collector may lead to.
unsafe impl Reclaim for Crossbeam {
    type Guard<'a> = CrossbeamGuard<'a>;
    type Local<'a> = CrossbeamLocal<'a>;

    fn new() -> Self {
        let sums = |_| Sums { entries: AtomicUsize::new(0), bytes: AtomicUsize::new(0) };
        let sums = Box::new(std::array::from_fn(sums));
        Self { collector: Collector::new(), sums, _last: Last }
    }

    fn pin(&self) -> Result<CrossbeamGuard<'_>, ShardsError> {
        // The guard outlives the handle: a participant goes with the last of both.
        Ok(CrossbeamGuard { pinned: self.collector.register().pin(), sums: &self.sums })
    }

    fn register(&self) -> Result<CrossbeamLocal<'_>, ShardsError> {
        Ok(CrossbeamLocal { handle: self.collector.register(), sums: &self.sums })
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for sums in &self.sums[..] {
            // Relaxed, both: an estimate. What a thread did before is in it by coherence.
            tally.entries = tally.entries.wrapping_add(sums.entries.load(Ordering::Relaxed));
            tally.bytes = tally.bytes.wrapping_add(sums.bytes.load(Ordering::Relaxed));
        }
        // Removals may be seen before what they remove.
        let or_none = |sum: usize| if sum > isize::MAX.unsigned_abs() { 0 } else { sum };
        Tally {
            entries: or_none(tally.entries),
            bytes: or_none(tally.bytes).saturating_add(size_of_val(&*self.sums)),
        }
    }
}

/// A participant that one thread keeps.
#[derive(Debug)]
pub struct CrossbeamLocal<'a> {
    handle: LocalHandle,
    sums: &'a [Sums; CELLS],
}

// SAFETY: as above; its handle counts its guards.
unsafe impl Local for CrossbeamLocal<'_> {
    type Guard<'a>
        = CrossbeamGuard<'a>
    where
        Self: 'a;

    #[inline]
    fn pin(&self) -> CrossbeamGuard<'_> {
        CrossbeamGuard { pinned: self.handle.pin(), sums: self.sums }
    }
}

/// crossbeam's guard.
#[derive(Debug)]
pub struct CrossbeamGuard<'a> {
    pinned: Pinned,
    sums: &'a [Sums; CELLS],
}

// SAFETY: as above.
unsafe impl Guard for CrossbeamGuard<'_> {
    #[inline]
    fn reserve(&mut self) -> Result<(), ShardsError> {
        Ok(())
    }

    #[inline]
    unsafe fn retire(&mut self, garbage: Garbage) {
        // Three words, which crossbeam keeps without memory of their own.
        let (pointer, free) = (garbage.pointer, garbage.free);
        let sums: *const [Sums; CELLS] = self.sums;
        let give_back = move || {
            // SAFETY: crossbeam calls this when no guard is left that was held when it was
            // deferred, by any thread, once; `Garbage::new` allows that. The sums are dropped after
            // the collector, and with it after all that was deferred.
            unsafe {
                let bytes = free(pointer);
                Sums::add(&*sums, 0, -bytes.cast_signed());
            }
        };
        // SAFETY: as said in it; by the caller's promise nobody gets to the garbage from now on.
        unsafe { self.pinned.defer_unchecked(give_back) };
        if crate::bounds::CHECKED {
            self.pinned.flush();
        }
    }

    #[inline]
    fn count(&mut self, entries: isize, bytes: isize) {
        Sums::add(self.sums, entries, bytes);
    }
}
