//! What a shard keeps: the address of its current table, and beside it what the way to a slot needs to know of the table.
//!
//! A table's head stands where the low bits of an address are 0; they have
//!
//! | bits | mean |
//! |---|---|
//! | 0 to 5 | by how much a hash is shifted to give a group |
//! | 6 | whether slots have one key word |
//!
//! So the way of a short key is this word, the fingerprints of a group, a slot: each tells where the next one stands, and
//! the head, one cache line more, is not on it.
//!
//! What it does not do: follow a way beyond its first group. [`Table::find_on`] does.

// Measured, see `map`.
#![allow(clippy::inline_always)]

use std::ptr::NonNull;

use crate::bounds::GROUP;
use crate::fingerprints;
use crate::slot::{Place, SlotWord};
use crate::table::{Slots, Table};

/// How a table's head is aligned: so many low bits are free.
pub(crate) const ALIGN: usize = 1 << 7;
const ONE_KEY_WORD: usize = 1 << 6;

/// A table with its shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current(NonNull<Table>);

/// What the first group of a key's way tells: mostly all there is to tell of a key that stands in its slot.
#[derive(Clone, Copy)]
pub(crate) enum FirstLook<'t> {
    /// In this slot.
    Found(Place<'t>),
    /// In no slot.
    Absent,
    /// The key may stand further on, or in another slot of the group: see [`Table::find_on`].
    Unclear,
    /// Not looked: see [`Probe::look_apart`](crate::key::Probe::look_apart).
    Apart,
}

impl Current {
    /// # Safety
    /// `Table::new` made it, and it is still allocated.
    pub(crate) unsafe fn of(table: NonNull<Table>) -> Self {
        // SAFETY: the caller's promise.
        let head = unsafe { table.as_ref() };
        let one = if head.key_words() == 1 { ONE_KEY_WORD } else { 0 };
        Self(table.map_addr(|address| address | head.shift() as usize | one))
    }

    /// From what [`Current::word`] has answered.
    #[inline(always)]
    pub(crate) fn from_word(word: NonNull<Table>) -> Self {
        Self(word)
    }

    /// What a shard keeps.
    #[inline(always)]
    pub(crate) fn word(self) -> *mut Table {
        self.0.as_ptr()
    }

    /// Its address.
    #[inline(always)]
    pub(crate) fn table(self) -> NonNull<Table> {
        let table = self.0.as_ptr().map_addr(|address| address & !(ALIGN - 1));
        // SAFETY: made of an address that is not null and has no low bits.
        unsafe { NonNull::new_unchecked(table) }
    }

    /// Whether slots have one key word.
    #[inline(always)]
    pub(crate) fn has_one_key_word(self) -> bool {
        self.0.addr().get() & ONE_KEY_WORD != 0
    }

    /// Looks in the first group of a key's way for a slot of which `is` says that it has the key: at the first one with
    /// its fingerprint. `key_words` are a number that the compiler may know.
    ///
    /// # Safety
    /// The table is still allocated, as long as the answer is used, and slots have so many key words.
    #[inline(always)]
    pub(crate) unsafe fn look_first<'t>(
        self,
        key_words: usize,
        local: u64,
        is: impl FnOnce(Place<'t>) -> bool,
    ) -> FirstLook<'t> {
        // SAFETY: the caller's promise.
        let slots: Slots<'t> = unsafe { Slots::of(self.table(), key_words) };
        // A shift takes the lowest 6 bits of what it is given. What comes is below the number of groups.
        #[allow(clippy::cast_possible_truncation)]
        let group = (local >> 1).wrapping_shr(self.0.addr().get() as u32) as usize;
        fetch_ahead(slots, group, key_words);
        let fingerprints = slots.read_fingerprints(group);
        let same = fingerprints::zeros_at_least(
            fingerprints ^ fingerprints::everywhere(fingerprints::fingerprint(local)),
        );
        if same != 0 {
            let place = slots.place(group * GROUP + fingerprints::slot_of(same));
            if is(place) {
                return FirstLook::Found(place);
            }
        } else if fingerprints::zeros_at_least(fingerprints) != 0 {
            return FirstLook::Absent;
        }
        FirstLook::Unclear
    }
}

/// Has the processor fetch a group's slots while the fingerprints that tell which of them are still on their way: else
/// it would wait for one after the other.
#[inline(always)]
fn fetch_ahead(slots: Slots<'_>, group: usize, key_words: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64;
        let words = GROUP * (key_words + 1);
        let first = slots.first().as_ptr().wrapping_add(group * words).cast::<i8>();
        // SAFETY: a hint: it faults for no address, and nothing is read by it.
        let fetch = |at| unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(at)) };
        // All of it where keys are short; no loop there.
        fetch(0);
        fetch(LINE);
        if key_words > 1 {
            (2 * LINE..words * size_of::<SlotWord>()).step_by(LINE).for_each(fetch);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slots, group, key_words);
}
