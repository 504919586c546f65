//! For checks: guards that make no step, and nothing given back before the map is.
//!
//! * a guard orders nothing: what a map's own orderings do not publish is not published, where the
//!   fence of a real guard would hide that;
//! * no step of it takes part in a search, so small scenarios over the map end without a bound.
//!
//! What it does not do: reclaim. The real reclaimers run in the same scenarios.

use super::{Garbage, Guard, Local, Reclaim, Tally};
use crate::error::ShardsError;
use crate::sync::{self, Unseen};

/// See the file's head.
#[derive(Debug, Default)]
pub struct Still {
    kept: Unseen<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    garbage: Vec<Garbage>,
    entries: isize,
    bytes: isize,
}

// SAFETY: what is kept may be freed by any thread (`Garbage::new`), and `Unseen` locks.
unsafe impl Sync for Still {}
// SAFETY: as above.
unsafe impl Send for Still {}

// SAFETY: nothing is given back before the domain is dropped.
unsafe impl Reclaim for Still {
    type Guard<'a> = &'a Self;
    type Local<'a> = &'a Self;

    fn new() -> Self {
        Self::default()
    }

    fn pin(&self) -> Result<&Self, ShardsError> {
        Ok(self)
    }

    fn register(&self) -> Result<&Self, ShardsError> {
        Ok(self)
    }

    fn tally(&self) -> Tally {
        let sum = |sum: isize| usize::try_from(sum).unwrap_or(0);
        self.kept.with(|kept| Tally { entries: sum(kept.entries), bytes: sum(kept.bytes) })
    }
}

// SAFETY: nothing is given back before the domain is dropped.
unsafe impl Local for &Still {
    type Guard<'a>
        = &'a Still
    where
        Self: 'a;

    fn pin(&self) -> &Still {
        self
    }
}

// SAFETY: nothing is given back before the domain is dropped.
unsafe impl Guard for &Still {
    fn reserve(&mut self) -> Result<(), ShardsError> {
        let none = |_| ShardsError::OutOfMemory { bytes: size_of::<Garbage>() };
        self.kept.with(|kept| kept.garbage.try_reserve(1)).map_err(none)
    }

    unsafe fn retire(&mut self, garbage: Garbage) {
        self.kept.with(|kept| kept.garbage.push(garbage));
    }

    fn count(&mut self, entries: isize, bytes: isize) {
        self.kept.with(|kept| {
            kept.entries += entries;
            kept.bytes += bytes;
        });
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        for garbage in self.kept.with(|kept| std::mem::take(&mut kept.garbage)) {
            // SAFETY: `&mut self`: no guard is left.
            unsafe { garbage.free() };
        }
        sync::drain();
    }
}
