//! What waits at a seat: garbage, oldest first, in batches that are sealed together; and memory that serves again.
//!
//! * no use of it takes memory but [`Bag::reserve`], which says so, and [`Bag::reuse`], which can do without;
//! * one owner at a time: see `Seat` in `epoch`.
//!
//! What it does not do: know when something may be freed. Who seals says at which epoch, and who frees which has come.

use std::alloc::{Layout, dealloc};
use std::collections::VecDeque;
use std::ptr::NonNull;

use super::{Garbage, Reuse};
use crate::bounds::{BATCH, BATCH_BYTES, SPARES};
use crate::error::ShardsError;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Bag {
    garbage: VecDeque<Garbage>,
    /// Sealed batches: the epoch, and how many at the front belong to it.
    batches: VecDeque<(usize, usize)>,
    /// How many at the back are not sealed.
    open: usize,
    /// And their bytes.
    open_bytes: usize,
    /// Memory that serves again; at most [`SPARES`], and seldom more than [`BATCH_BYTES`].
    spares: Vec<(NonNull<u8>, Layout)>,
}

impl Bag {
    /// Makes room for one more.
    #[inline]
    pub(super) fn reserve(&mut self) -> Result<(), ShardsError> {
        if self.garbage.len() < self.garbage.capacity()
            && self.batches.len() < self.batches.capacity()
        {
            return Ok(());
        }
        let room = self.garbage.try_reserve(1).and_then(|()| self.batches.try_reserve(1));
        room.map_err(|_| ShardsError::OutOfMemory { bytes: size_of::<Garbage>() })
    }

    /// Takes one more; whether a batch is to be sealed.
    #[inline]
    pub(super) fn push(&mut self, garbage: Garbage) -> bool {
        self.open += 1;
        self.open_bytes += garbage.bytes;
        self.garbage.push_back(garbage);
        self.open >= BATCH || self.open_bytes >= BATCH_BYTES
    }

    /// Seals what is open at `epoch`, and answers how many of the oldest are of epochs that `is_over`.
    pub(super) fn seal(&mut self, epoch: usize, is_over: impl Fn(usize) -> bool) -> usize {
        let open = std::mem::take(&mut self.open);
        self.open_bytes = 0;
        self.batches.push_back((epoch, open));
        let mut old = 0;
        while let Some((_, count)) = self.batches.pop_front_if(|(epoch, _)| is_over(*epoch)) {
            old += count;
        }
        old
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<Garbage> {
        self.garbage.pop_front()
    }

    /// How garbage is emptied, if it may serve again and there is room for it.
    pub(super) fn reuse(&mut self, garbage: &Garbage) -> Option<&'static Reuse> {
        let reuse = garbage.reuse?;
        let most = SPARES.min(BATCH_BYTES / reuse.layout.size());
        let room = most.saturating_sub(self.spares.len());
        (room > 0 && self.spares.try_reserve_exact(room).is_ok()).then_some(reuse)
    }

    /// Keeps the memory of garbage that was emptied, after [`Bag::reuse`] has said so.
    pub(super) fn keep(&mut self, garbage: &Garbage, reuse: &Reuse) {
        self.spares.extend(NonNull::new(garbage.pointer).map(|it| (it.cast(), reuse.layout)));
    }

    /// Memory of a layout that serves again, the last that was kept.
    #[inline]
    pub(super) fn spare(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.spares.pop_if(|(_, kept)| *kept == layout).map(|(pointer, _)| pointer)
    }

    /// Frees everything.
    ///
    /// # Safety
    /// As [`Garbage::free`], of each.
    pub(super) unsafe fn free(self) {
        for garbage in self.garbage {
            // SAFETY: the caller's promise.
            unsafe { garbage.free() };
        }
        for (pointer, layout) in self.spares {
            // SAFETY: the global allocator's, by `Reuse::new`, and nobody else's.
            unsafe { dealloc(pointer.as_ptr(), layout) };
        }
    }
}
