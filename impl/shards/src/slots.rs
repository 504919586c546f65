//! The slots of a table, and their fingerprints, in what a loop keeps in registers.
//!
//! The fingerprints stand before the head of the table, from there downwards, and the slots behind it: from the address of
//! the first slot each of them is found by a sum.
//!
//! Invariants:
//! * SHARD-4: what is asked for is in the table: all callers have the number of a slot or a group from a loop over them, or
//!   masked, or asserted, or by a shift that leaves less.
//!
//! What it does not do: own, nor follow the way of a key beyond a group. `table` does.

// Memory is allocated with the layout of what it is cast to.
#![allow(clippy::cast_ptr_alignment)]
// Measured: see `table`.
#![allow(clippy::inline_always)]

use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::bounds::GROUP;
use crate::fingerprints;
use crate::slot::{Place, SlotWord};
use crate::sync::{AtomicUsize, Ordering};
use crate::table::Table;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'t> {
    first: NonNull<SlotWord>,
    key_words: usize,
    lives: PhantomData<&'t Table>,
}

impl<'t> Slots<'t> {
    /// # Safety
    /// `Table::new` has answered `table`, which reaches beyond the head, as a reference does not. It is still allocated,
    /// for as long as the answer is used, and its slots have so many key words.
    #[inline(always)]
    pub(crate) unsafe fn of(table: NonNull<Table>, key_words: usize) -> Self {
        // SAFETY: they follow the head; the caller's promise.
        unsafe { Self::from_first(table.add(1).cast(), key_words) }
    }

    /// # Safety
    /// As [`Slots::of`], where `first` is the address behind the head, and reaches all that `table` does.
    #[inline(always)]
    pub(crate) unsafe fn from_first(first: NonNull<SlotWord>, key_words: usize) -> Self {
        Self { first, key_words, lives: PhantomData }
    }

    #[inline(always)]
    fn table(self) -> &'t Table {
        // SAFETY: the head stands before the first slot, and lives as long.
        unsafe { self.first.cast::<Table>().sub(1).as_ref() }
    }

    /// The slot with a number below [`Table::len`].
    #[inline(always)]
    pub(crate) fn place(self, number: usize) -> Place<'t> {
        debug_assert!(number < self.table().len() && self.key_words == self.table().key_words());
        // SAFETY: `Table::new` made so many slots, `key_words + 1` words each (see `Slots::of`), in the allocation
        // that the table stands in; the file's head.
        unsafe { Place::new(self.table(), self.first.add(number * (self.key_words + 1))) }
    }

    /// The fingerprints of a group with a number that the table has.
    #[inline(always)]
    pub(crate) fn fingerprints(self, group: usize) -> &'t AtomicUsize {
        debug_assert!(group < self.table().len() / GROUP);
        // SAFETY: as in `place`; `Table::new` made one for each group before the head.
        unsafe { self.first.cast::<Table>().sub(1).cast::<AtomicUsize>().sub(1 + group).as_ref() }
    }

    #[inline(always)]
    pub(crate) fn read_fingerprints(self, group: usize) -> u64 {
        // Relaxed: it leads nowhere. Whoever has to see a value, since its writing happened before,
        // sees its fingerprint, and those on the way to it: they stood before it was written.
        let fingerprints = self.fingerprints(group).load(Ordering::Relaxed);
        self.table().check();
        fingerprints as u64
    }

    /// The slots of a group that have the key or may still become its own: bits as of [`fingerprints::zeros`].
    #[inline(always)]
    pub(crate) fn may_be(self, group: usize, local: u64) -> u64 {
        let there = self.read_fingerprints(group);
        let own = fingerprints::everywhere(fingerprints::fingerprint(local));
        // The others are other keys', or to become theirs: this one's would have its fingerprint.
        fingerprints::zeros(there) | fingerprints::zeros(there ^ own)
    }

    /// Has the processor fetch a group's slots, while the fingerprints that tell which of them are still on their way, or the
    /// ones before are read: else it would wait for one after the other. There may be no such group.
    #[inline(always)]
    pub(crate) fn fetch_ahead(self, group: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            const LINE: usize = 64;
            let words = GROUP * (self.key_words + 1);
            let first = self.first.as_ptr().wrapping_add(group * words).cast::<i8>();
            // SAFETY: a hint: it faults for no address, and nothing is read by it.
            let fetch = |at| unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(at)) };
            // All of it where keys are short; no loop there.
            fetch(0);
            fetch(LINE);
            if self.key_words > 1 {
                (2 * LINE..words * size_of::<SlotWord>()).step_by(LINE).for_each(fetch);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (self, group);
    }
}
