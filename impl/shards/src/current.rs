//! What a shard keeps: a word with the address of its current table, and beside it what the way to a slot needs to know of
//! the table.
//!
//! A table's head stands where the low 7 bits of an address are 0; in the word they have
//!
//! | bits | mean |
//! |---|---|
//! | 0 to 5 | by how much a hash without its lowest bit is shifted to give a group |
//! | 6 | whether slots have one key word |
//!
//! So the way of a short key is this word, the fingerprints of a group, a slot: each tells where the next one stands, and
//! the head, one cache line more, is not on it.
//!
//! Invariants:
//! * SHARD-1: a shard's word always has a table;
//! * SHARD-4, SHARD-5: what stands beside its address never changes while a table lives. So equal words are equal tables, as
//!   far as a guard reaches: one exchange replaces a table, and one thread retires it.
//!
//! What it does not do: follow a way beyond its first group. [`Table::find_on`] does.

// Measured, see `map`.
#![allow(clippy::inline_always)]

use std::ptr::NonNull;

use crate::bounds::GROUP;
use crate::fingerprints;
use crate::slot::{Place, SlotWord};
use crate::slots::Slots;
use crate::table::Table;

/// What a head's address is a multiple of. The head itself is aligned to a cache line only: its size is a multiple of that,
/// and the slots follow it.
pub(crate) const ALIGN: usize = 1 << 7;
const ONE_KEY_WORD: usize = 1 << 6;
const _: () = {
    assert!(ONE_KEY_WORD == u64::BITS as usize, "a shift has the bits below");
    assert!(ALIGN == 2 * ONE_KEY_WORD, "no bit is the address's and something else's");
    assert!(ALIGN >= align_of::<Table>() && align_of::<Table>() >= align_of::<SlotWord>());
};

/// A table, by its word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current(NonNull<Table>);

/// What the first group of a key's way tells: mostly all there is to tell.
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

    /// # Safety
    /// [`Current::word`] has answered it.
    #[inline(always)]
    pub(crate) unsafe fn from_word(word: *mut Table) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { NonNull::new_unchecked(word) })
    }

    /// What a shard keeps.
    #[inline(always)]
    pub(crate) fn word(self) -> *mut Table {
        self.0.as_ptr()
    }

    /// The table's address.
    #[inline(always)]
    pub(crate) fn table(self) -> NonNull<Table> {
        let table = self.0.as_ptr().map_addr(|address| address & !(ALIGN - 1));
        // SAFETY: what `of` was made with: an address without low bits, and not null.
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
        // SAFETY: the caller's promise.
        debug_assert_eq!(group, unsafe { self.table().as_ref() }.start(local));
        slots.fetch_ahead(group);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::MOST_WORDS;

    #[test]
    fn a_word_tells_its_table_and_the_way_into_it() {
        let words = 1..=MOST_WORDS;
        let tables =
            [GROUP, 2 * GROUP, 64 * GROUP].map(|slots| words.clone().map(move |it| (slots, it)));
        for (slots, key_words) in tables.into_iter().flatten() {
            for local in [0, 1 << 1, 1 << 63, u64::MAX] {
                let table = Table::new(slots, key_words).expect("memory");
                // SAFETY: made here, and given back below; so many key words.
                unsafe {
                    let current = Current::from_word(Current::of(table).word());
                    assert_eq!(current.table(), table);
                    assert_eq!(current.has_one_key_word(), key_words == 1);
                    let look = || current.look_first(key_words, local, |_| true);
                    assert!(matches!(look(), FirstLook::Absent), "{slots} slots, {local:#x}");
                    table.as_ref().take_slot(local).expect("a slot");
                    assert!(matches!(look(), FirstLook::Found(_)), "{slots} slots, {local:#x}");
                    Table::free(table);
                }
            }
        }
    }
}
