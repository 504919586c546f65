//! One slot of a table: its words, and how each of them changes.
//!
//! Each key word goes from 0 to its content, once; the value word as `table` draws it.
//!
//! Invariants:
//! * SHARD-2: a key's words are written in their order, each over 0 only;
//! * SHARD-3: a value word is written with release and read with acquire;
//! * SHARD-5: a frozen value word is not written any more.
//!
//! What it does not do: decide which slot is whose. The way of a key does, in `table` and `key`.

use std::ptr::{self, NonNull};

use crate::blob::Blob;
use crate::bounds::GROUP;
use crate::hash::Hasher;
use crate::key::{self, Long};
use crate::sync::{AtomicPtr, Ordering};
use crate::table::Table;
use crate::word::{Bits, Word};

/// A word of a slot.
pub(crate) type SlotWord = AtomicPtr<()>;

/// One slot.
#[derive(Clone, Copy)]
pub(crate) struct Place<'t> {
    /// The first word of its group.
    group: NonNull<SlotWord>,
    /// Below [`GROUP`].
    at: usize,
    table: &'t Table,
}

impl<'t> Place<'t> {
    /// A slot of a group.
    ///
    /// # Safety
    /// `group` is a group of `table`, and `at` is below [`GROUP`].
    #[inline]
    pub(crate) unsafe fn new(table: &'t Table, group: NonNull<SlotWord>, at: usize) -> Self {
        Self { group, at, table }
    }

    /// A word of its group, whose first key words stand first.
    #[inline]
    fn word(&self, word: usize) -> &SlotWord {
        // SAFETY: the group has `GROUP · (key_words + 1)` words; see the three below. The table
        // lives as long as `self`.
        unsafe { self.group.add(word).as_ref() }
    }

    #[inline]
    fn first_word(&self) -> &SlotWord {
        self.word(self.at)
    }

    #[inline]
    fn value_word(&self) -> &SlotWord {
        self.word(GROUP + self.at)
    }

    /// `word` is from 1 to below `key_words`.
    #[inline]
    fn further_word(&self, word: usize) -> &SlotWord {
        debug_assert!(word > 0 && word < self.table.key_words());
        self.word(2 * GROUP + self.at * (self.table.key_words() - 1) + word - 1)
    }

    /// The first key word of a slot: empty, the address of the key, or its first inline word.
    #[inline]
    pub(crate) fn first(self) -> Word {
        // Acquire: the bytes of a key on the heap; partner: Release in `claim_word`.
        let word = self.first_word().load(Ordering::Acquire);
        self.table.check();
        Word::from_bits(word)
    }

    /// A further key word of a slot, or 0.
    #[inline]
    pub(crate) fn further(self, word: usize) -> Bits {
        // Relaxed: it leads nowhere, it is a part of the key itself. Where a value is, it stands:
        // the value's writer had seen it, and that happened before.
        let word = self.further_word(word).load(Ordering::Relaxed);
        self.table.check();
        word
    }

    /// The value of a slot, frozen or not.
    #[inline]
    pub(crate) fn value(self) -> Word {
        // Acquire: the value's bytes, and what its writer did before (SHARD-3); partner: Release in
        // `swap`. What was copied came by the current table, see `copy`.
        let word = self.value_word().load(Ordering::Acquire);
        self.table.check();
        Word::from_bits(word)
    }

    /// Hands the key of a slot that has a value to `f`.
    ///
    /// # Safety
    /// The caller's guard led to this table, and the slot has, or had, a value.
    pub(crate) unsafe fn read_key<A>(
        self,
        hasher: &Hasher,
        shard: usize,
        f: impl FnOnce(&[u8]) -> A,
    ) -> A {
        let first = self.first();
        if let Some(blob) = first.blob() {
            // SAFETY: acquired just now, under the caller's guard: keys live as long as the tables
            // that have them.
            return unsafe { Blob::read(blob, f) };
        }
        assert!(!first.is_empty(), "SHARD-6: where a value is, its key was before");
        let word = |word| if word == 0 { first.bits() } else { self.further(word) };
        key::read(hasher, shard, word, f)
    }

    /// The hash of its key, without the shard's bits.
    ///
    /// # Safety
    /// The caller's guard led to this table, and the slot has a first key word.
    pub(crate) unsafe fn local(self, hasher: &Hasher) -> u64 {
        let first = self.first();
        match first.blob() {
            None => key::local_by(first.bits()),
            // SAFETY: as in `read_key`.
            Some(blob) => unsafe { Blob::read(blob, |bytes| Long::new(bytes, hasher).1.local) },
        }
    }

    /// Writes a frozen value of the table before, unless somebody has (SHARD-5).
    pub(crate) fn copy(self, value: Word) {
        // Relaxed: nobody comes to this table but by the exchange of the current one, and whoever
        // makes that has frozen this value itself before, with acquire, so it hands on the value's
        // bytes and what its writer did before. Relaxed on failure: who fails is late and reads
        // nothing.
        let _ = self.value_word().compare_exchange(
            Word::EMPTY.bits(),
            value.bits(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        self.table.check();
    }

    /// Notes that this table alone has the slot's key on the heap. Called once, by the one who
    /// replaced the table.
    pub(crate) fn mark_key(self, first: Word) {
        // Release: the key's bytes once more; partner: Acquire in `first`. A word that stands is
        // written by nobody else.
        self.first_word().store(first.frozen().bits(), Ordering::Release);
        self.table.check();
    }

    /// The table that it is in.
    #[inline]
    pub(crate) fn table(&self) -> &Table {
        self.table
    }

    /// Puts the first key word into a slot without one. Answers whether it stands there, by
    /// whomever.
    pub(crate) fn claim_first(self, key: Bits) -> bool {
        // Relaxed: an equal word is inline, or was brought by another copier of the same table, and
        // leads nowhere that was not acquired there.
        let there = self.first_word().load(Ordering::Relaxed);
        self.table.check();
        // Also when it is marked.
        let same = |there: Bits| {
            let blob = Word::from_bits(key).blob();
            there == key || blob.is_some() && Word::from_bits(there).blob() == blob
        };
        if !there.is_null() {
            return same(there);
        }
        // Release: the bytes of a key on the heap; partner: Acquire in `first`. Relaxed on failure:
        // as above.
        let before = self.first_word().compare_exchange(
            ptr::null_mut(),
            key,
            Ordering::Release,
            Ordering::Relaxed,
        );
        self.table.check();
        if before.is_ok() {
            self.table.count_key();
        }
        before.map_or_else(same, |_| true)
    }

    /// As [`Place::claim_first`], when the key words before stand; `word` is from 1 to below
    /// `key_words`.
    pub(crate) fn claim_further(self, word: usize, key: Bits) -> bool {
        // Relaxed, both: see `further`.
        let before = self.further_word(word).compare_exchange(
            ptr::null_mut(),
            key,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        self.table.check();
        before.is_ok() || before == Err(key)
    }

    /// Changes a value from `seen` to `new`. May fail although it has `seen`.
    ///
    /// # Errors
    /// What stands there.
    #[inline]
    pub(crate) fn swap(self, seen: Word, new: Word) -> Result<(), Word> {
        // Release: the new value's bytes and what its writer did before (SHARD-3). Acquire: what
        // the writer of the replaced value did before; `seen` may have been read from an earlier
        // writer of an equal word. Both sides' partners: this, `value`, `freeze`. Acquire on
        // failure: as in `value`.
        let done = self.value_word().compare_exchange_weak(
            seen.bits(),
            new.bits(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        self.table.check();
        done.map(|_| ()).map_err(Word::from_bits)
    }

    /// Freezes a slot's value and answers it, thawed.
    pub(crate) fn freeze(self) -> Word {
        let mut seen = self.value();
        while !seen.is_frozen() {
            // Acquire, here and on failure and in `value`: the value's bytes and what its writer
            // did before, which the copy hands on, and which the exchange of the current table
            // hands on for keys that are not copied (SHARD-3); partner: Release in `swap`. No release of its own: an exchange stays in the release sequence of the write
            // that it found, so a reader of the frozen word still meets that.
            match self.value_word().compare_exchange_weak(
                seen.bits(),
                seen.frozen().bits(),
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => seen = seen.frozen(),
                Err(other) => seen = Word::from_bits(other),
            }
            self.table.check();
        }
        seen.thawed()
    }

    /// The first key word and the value, when nobody writes them any more.
    pub(crate) fn quiet(self) -> (Word, Word) {
        // Relaxed: all writes happened before, by the reclaimer, by the map's drop, or by the
        // caller's own freezing, after which nobody writes a value, nor the key beside it.
        let read = |word: &SlotWord| Word::from_bits(word.load(Ordering::Relaxed));
        (read(self.first_word()), read(self.value_word()))
    }
}
