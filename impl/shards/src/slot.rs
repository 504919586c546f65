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

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::blob::Blob;
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
    /// Its first word; the value's is the next, and the further key words follow.
    first: NonNull<SlotWord>,
    /// No reference: one that a function was called with has to lead somewhere until it returns, and some let go
    /// of their guard before.
    table: NonNull<Table>,
    lives: PhantomData<&'t Table>,
}

impl<'t> Place<'t> {
    /// # Safety
    /// `first` is the first word of a slot of `table`.
    #[inline]
    pub(crate) unsafe fn new(table: &'t Table, first: NonNull<SlotWord>) -> Self {
        Self { first, table: NonNull::from(table), lives: PhantomData }
    }

    #[inline]
    fn first_word(&self) -> &SlotWord {
        // SAFETY: a slot has `key_words + 1` words, two at least. The table lives as long as `self`.
        unsafe { self.first.as_ref() }
    }

    #[inline]
    fn value_word(&self) -> &SlotWord {
        // SAFETY: as above.
        unsafe { self.first.add(1).as_ref() }
    }

    /// `word` is from 1 to below `key_words`.
    #[inline]
    fn further_word(&self, word: usize) -> &SlotWord {
        debug_assert!(word > 0 && word < self.table().key_words());
        // SAFETY: as above; all callers keep to that, by their key's form or by its first word.
        unsafe { self.first.add(1 + word).as_ref() }
    }

    /// The first key word of a slot: empty, the address of the key, or its first inline word.
    #[inline]
    pub(crate) fn first(self) -> Word {
        // Acquire: the bytes of a key on the heap; partner: Release in `claim_first`.
        let word = self.first_word().load(Ordering::Acquire);
        self.table().check();
        Word::from_bits(word)
    }

    /// The first key word, for whoever follows no address in it.
    #[inline]
    pub(crate) fn first_bits(self) -> Bits {
        // Relaxed: as in `further`.
        let word = self.first_word().load(Ordering::Relaxed);
        self.table().check();
        word
    }

    /// A further key word of a slot, or 0.
    #[inline]
    pub(crate) fn further(self, word: usize) -> Bits {
        // Relaxed: it leads nowhere, it is a part of the key itself. Where a value is, it stands:
        // the value's writer had seen it, and that happened before.
        let word = self.further_word(word).load(Ordering::Relaxed);
        self.table().check();
        word
    }

    /// The value of a slot, frozen or not.
    #[inline]
    pub(crate) fn value(self) -> Word {
        // Acquire: the value's bytes, and what its writer did before (SHARD-3); partner: Release in
        // `swap`. What was copied came by the current table, see `fill`.
        let word = self.value_word().load(Ordering::Acquire);
        self.table().check();
        Word::from_bits(word)
    }

    /// The hash of its key, without the shard's bits.
    ///
    /// # Safety
    /// The caller's guard led to this table, and the slot has a first key word.
    pub(crate) unsafe fn local(self, hasher: &Hasher) -> u64 {
        let first = self.first();
        match first.blob() {
            None => key::local_by(first.bits()),
            // SAFETY: acquired just now, under the caller's guard: keys live as long as the tables
            // that have them.
            Some(blob) => unsafe { Blob::read(blob, |bytes| Long::new(bytes, hasher).local) },
        }
    }

    /// Puts a key's first word and a frozen value of the table before into an empty slot.
    pub(crate) fn fill(self, key: Bits, value: Word) {
        // Relaxed, both: nobody else has seen this table. Whoever comes to it comes by the exchange of
        // the current one, and whoever makes that has frozen the value himself before, with acquire; so
        // it hands on the value's bytes and what its writer did before.
        self.first_word().store(key, Ordering::Relaxed);
        self.value_word().store(value.bits(), Ordering::Relaxed);
    }

    /// As [`Place::fill`]; `word` is from 1 to below `key_words`.
    pub(crate) fn fill_further(self, word: usize, key: Bits) {
        // Relaxed: as in `fill`.
        self.further_word(word).store(key, Ordering::Relaxed);
    }

    /// Notes that this table alone has the slot's key on the heap. Called once, by the one who
    /// replaced the table.
    pub(crate) fn mark_key(self, first: Word) {
        // Release: the key's bytes once more; partner: Acquire in `first`. A word that stands is
        // written by nobody else.
        self.first_word().store(first.frozen().bits(), Ordering::Release);
        self.table().check();
    }

    /// The table that it is in.
    #[inline]
    pub(crate) fn table(&self) -> &'t Table {
        // SAFETY: made of such a reference.
        unsafe { self.table.as_ref() }
    }

    /// Puts the first key word into a slot without one. Answers whether it stands there, by
    /// whomever.
    #[inline]
    pub(crate) fn claim_first(self, key: Bits) -> bool {
        // Release: the bytes of a key on the heap; partner: Acquire in `first`. Relaxed on failure: an
        // equal word is inline.
        let before = self.first_word().compare_exchange(
            ptr::null_mut(),
            key,
            Ordering::Release,
            Ordering::Relaxed,
        );
        self.table().check();
        before.is_ok() || before == Err(key)
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
        self.table().check();
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
        self.table().check();
        done.map(|_| ()).map_err(Word::from_bits)
    }

    /// Freezes a slot's value and answers it, thawed.
    #[inline]
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
            self.table().check();
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
