//! One table of a shard: open addressing, never emptied, replaced as a whole.
//!
//! A slot has some key words, as many in every slot of a table, and one value word. Slots stand in
//! groups: the first key words of a group, then its values, which fill one cache line, then the
//! further key words. A key's way begins with a group, and goes through its slots in order before it
//! comes to the next group. Which slot of a group it is, is found without a branch for each: so the
//! processor goes on to the next operation while it waits for memory.
//!
//! Each key word goes from 0 to its content, once. A value word goes
//!
//! ```text
//! empty ──→ value ←──→ removed        by one exchange each
//!   │         │           │
//!   └─────────┴───────────┴──→ the same, frozen: final
//! ```
//!
//! Life of a table:
//! 1. *current*: reached from its shard; operations write its slots;
//! 2. *frozen slot by slot*: it has a successor; each helper freezes every slot and copies what it
//!    held to the successor, which nobody but copiers writes yet;
//! 3. *replaced*: one exchange made the successor current. Guards that got here before may still
//!    read;
//! 4. *freed* by the reclaimer, with the keys that its successor did not take over.
//!
//! Invariants:
//! * SHARD-2: a key has one slot in a table. It goes into the first slot on its way that has no
//!   word of another key where it has its own; its words are written in their order, each over 0
//!   only. So a slot whose first words are the key's and whose next one is 0 is as good as empty: no
//!   other key with these first words has passed it, and whoever writes that word next decides;
//! * a value is written only into a slot all of whose key words stand;
//! * SHARD-5: a frozen value never changes, and a copier writes only over a value that is empty. No
//!   operation makes a value empty again, so a copier that comes late writes nothing;
//! * a table's `next` is written once, and a successor has no fewer key words.
//!
//! What it does not do: seal empty key slots. A key that arrives in a frozen slot finds the value
//! frozen, and its writer goes to the successor; whether the copier saw the key does not matter,
//! because there is no value.

// Memory is allocated with the layout of what it is cast to.
#![allow(clippy::cast_ptr_alignment)]
// Measured: the way to a slot costs half of an operation where it is a call.
#![allow(clippy::inline_always)]

use std::alloc::{Layout, alloc, alloc_zeroed};
use std::ptr::{self, NonNull};

use crate::blob::Blob;
use crate::bounds::{CHECKED, GROUP, most_used};
use crate::error::ShardsError;
use crate::hash::Hasher;
use crate::key::{self, Long, MOST_WORDS};
use crate::slot::{Place, SlotWord};
use crate::sync::{AtomicPtr, AtomicUsize, Canary, Ordering, release};
use crate::word::{Bits, Word};

/// The head of the allocation; the slots follow it, from the next cache line on.
#[repr(align(64))]
#[derive(Debug)]
pub(crate) struct Table {
    slots: NonNull<SlotWord>,
    /// How many, minus one: a power of two minus one.
    mask: usize,
    /// By how much a hash without its lowest bit is shifted to give a group.
    shift: u32,
    /// Key words in a slot.
    key_words: usize,
    canary: Canary,
    next: AtomicPtr<Table>,
    /// Key words of the successor, once this table was replaced.
    next_words: AtomicUsize,
    /// Keys that were put in, or are about to be.
    used: AtomicUsize,
}

/// Where the way of a key ends.
#[derive(Clone, Copy)]
pub(crate) enum Found<'t> {
    /// Its slot.
    At(Place<'t>),
    /// A slot that it may take: the key is not there.
    Empty(Place<'t>),
    /// No such slot: the key is not there, nor is there room.
    Full,
}

/// What a key is to the one that is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Same,
    Other,
    /// It may still become the one.
    Open,
}

impl Table {
    fn layout(slots: usize, key_words: usize) -> Option<(Layout, usize)> {
        let words = slots.checked_mul(key_words + 1)?;
        Layout::new::<Self>().extend(Layout::array::<SlotWord>(words).ok()?).ok()
    }

    /// What a table of so many slots takes.
    pub(crate) fn footprint_of(slots: usize, key_words: usize) -> usize {
        Self::layout(slots, key_words).map_or(0, |(layout, _)| layout.size())
    }

    /// What this table takes.
    pub(crate) fn footprint(&self) -> usize {
        Self::footprint_of(self.len(), self.key_words)
    }

    /// An empty table; `slots` is a power of two, at least [`GROUP`].
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub(crate) fn new(slots: usize, key_words: usize) -> Result<NonNull<Self>, ShardsError> {
        let too_many = ShardsError::OutOfMemory { bytes: usize::MAX };
        let (layout, offset) = Self::layout(slots, key_words).ok_or(too_many)?;
        // SAFETY: the layout has the head's size at least, so it is not empty.
        let memory = unsafe { if CHECKED { alloc(layout) } else { alloc_zeroed(layout) } };
        let table = NonNull::new(memory.cast::<Self>())
            .ok_or(ShardsError::OutOfMemory { bytes: layout.size() })?;
        // SAFETY: fresh memory of this layout, ours alone; the slots stand at `offset` in it. std's
        // atomic null pointers are zeros, which stand there already; a checker's have to be made.
        unsafe {
            let first = table.byte_add(offset).cast::<SlotWord>();
            if CHECKED {
                for at in 0..slots * (key_words + 1) {
                    first.add(at).write(AtomicPtr::new(Word::EMPTY.bits()));
                }
            }
            table.write(Self {
                slots: first,
                mask: slots - 1,
                shift: 63 - (slots / GROUP).trailing_zeros(),
                key_words,
                canary: Canary::new(),
                next: AtomicPtr::new(ptr::null_mut()),
                next_words: AtomicUsize::new(0),
                used: AtomicUsize::new(0),
            });
        }
        Ok(table)
    }

    /// Gives the table back, without what its words lead to. Answers how many bytes that were.
    ///
    /// # Safety
    /// `Table::new` made it, and nobody reads it any more.
    unsafe fn free(this: NonNull<Self>) -> usize {
        // SAFETY: still allocated. The head drops nothing outside; slots only matter to a checker.
        unsafe {
            let size = this.as_ref().footprint();
            let (slots, words) = (this.as_ref().len(), this.as_ref().key_words);
            let (layout, _) = Self::layout(slots, words).expect("it was allocated so");
            let canary = &raw const (*this.as_ptr()).canary;
            release(this.as_ptr().cast(), layout, |it| Self::drop_all(it.cast()), canary);
            size
        }
    }

    /// # Safety
    /// The table's memory is about to be given back.
    unsafe fn drop_all(this: *mut Self) {
        // SAFETY: the caller's promise; the slots were all written by `new`.
        unsafe {
            let words = (*this).len() * ((*this).key_words + 1);
            ptr::drop_in_place(ptr::slice_from_raw_parts_mut((*this).slots.as_ptr(), words));
            ptr::drop_in_place(this);
        }
    }

    /// Gives back a table that was never shared.
    ///
    /// # Safety
    /// `Table::new` made it and nobody else has seen it.
    pub(crate) unsafe fn free_unshared(this: NonNull<Self>) {
        // SAFETY: the caller's promise.
        unsafe { Self::free(this) };
    }

    /// Gives back a table that was replaced, with the keys that its successor did not take over.
    ///
    /// # Safety
    /// Nobody reads it any more, all slots are frozen, and this happens once.
    pub(crate) unsafe fn free_replaced(this: NonNull<Self>) -> usize {
        let mut bytes = 0;
        // SAFETY: the caller's promise: still allocated.
        let table = unsafe { this.as_ref() };
        // Relaxed: written before the table was retired.
        let next_words = table.next_words.load(Ordering::Relaxed);
        for place in table.places() {
            let (key, value) = place.quiet();
            if let Some(key) = key.blob() {
                // SAFETY: still allocated, by this table or by those after it.
                let length = unsafe { Blob::read(key, <[u8]>::len) };
                if !value.is_present() || key::words_of(length) <= next_words {
                    // SAFETY: a key without a value is not copied, and one that the successor has
                    // inline is copied without its blob; so only this table has the blob.
                    bytes += unsafe { Blob::free(key) };
                }
            }
        }
        // SAFETY: the caller's promise.
        bytes + unsafe { Self::free(this) }
    }

    /// Gives back a current table with all keys and values, and a successor that was not finished.
    ///
    /// # Safety
    /// Nobody uses the map any more, and this happens once.
    pub(crate) unsafe fn free_current(this: NonNull<Self>) {
        // SAFETY: the caller's promise: still allocated.
        let table = unsafe { this.as_ref() };
        for place in table.places() {
            let (key, value) = place.quiet();
            for blob in [key.blob(), value.blob()].into_iter().flatten() {
                // SAFETY: the words of a current table are the only ones with their blobs, save for
                // an unfinished successor, which is given back without them.
                unsafe { Blob::free(blob) };
            }
        }
        // Relaxed: nobody else is there.
        if let Some(next) = NonNull::new(table.next.load(Ordering::Relaxed)) {
            // SAFETY: it never became current, so only this table leads to it.
            unsafe { Self::free(next) };
        }
        // SAFETY: the caller's promise.
        unsafe { Self::free(this) };
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.mask + 1
    }

    /// All slots.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place<'_>> {
        (0..self.len()).map(|number| self.place(number))
    }

    /// The slot with a number below [`Table::len`].
    #[inline]
    pub(crate) fn place(&self, number: usize) -> Place<'_> {
        // SAFETY: the group and the remainder of a number that is below `len`.
        unsafe { Place::new(self, self.group(number / GROUP), number % GROUP) }
    }

    #[inline]
    fn group(&self, number: usize) -> NonNull<SlotWord> {
        debug_assert!(number * GROUP <= self.mask);
        // SAFETY: `new` made so many slots, `key_words + 1` words each, in the allocation that
        // `self` stands in. All callers have the number from a loop over them, or masked, or by a
        // shift that leaves less.
        unsafe { self.slots.add(number * GROUP * (self.key_words + 1)) }
    }

    /// The group that the way of a key begins with.
    #[inline]
    fn start(&self, local: u64) -> usize {
        // Shifted to below the number of groups.
        #[allow(clippy::cast_possible_truncation)]
        let group = (local >> 1 >> self.shift) as usize;
        group
    }

    /// The slots on the way of a key, each once.
    fn way(&self, local: u64) -> impl Iterator<Item = Place<'_>> {
        let start = self.start(local) * GROUP;
        (0..self.len()).map(move |step| self.place((start + step) & self.mask))
    }

    /// Key words in a slot.
    #[inline]
    pub(crate) fn key_words(&self) -> usize {
        self.key_words
    }

    /// Follows the way of a key to its end: group by group, until `look` says of one that it is the
    /// key. At most once round, so a bounded number of steps.
    #[inline(always)]
    pub(crate) fn walk(&self, local: u64, look: impl Fn(Place<'_>, Bits) -> Look) -> Found<'_> {
        let start = self.start(local);
        let mut number = start;
        loop {
            let group = self.group(number);
            let (mut same, mut open) = (0_u32, 0_u32);
            for at in 0..GROUP {
                // SAFETY: one of its slots.
                let place = unsafe { Place::new(self, group, at) };
                let there = place.first().bits();
                let look = look(place, there);
                same |= u32::from(look == Look::Same) << at;
                open |= u32::from(there.is_null() || look == Look::Open) << at;
            }
            // SAFETY: the lowest bit that is set is one of those set above.
            let place =
                |which: u32| unsafe { Place::new(self, group, which.trailing_zeros() as usize) };
            // The key may be behind a slot that was read too early to be seen taken.
            if same != 0 {
                return Found::At(place(same));
            }
            if open != 0 {
                return Found::Empty(place(open));
            }
            number = (number + 1) & (self.mask / GROUP);
            if number == start {
                return Found::Full;
            }
        }
    }

    /// A key was put in.
    pub(crate) fn count_key(&self) {
        // Relaxed: see `has_room`.
        self.used.fetch_add(1, Ordering::Relaxed);
        self.canary.check();
    }

    /// In a checked build: panics when the table was freed. After each access to it.
    #[inline]
    pub(crate) fn check(&self) {
        self.canary.check();
    }

    /// Whether one more key may be put in.
    pub(crate) fn has_room(&self) -> bool {
        // Relaxed: a limit that a few may pass; the slots themselves say what is empty.
        let used = self.used.load(Ordering::Relaxed);
        self.canary.check();
        used < most_used(self.len())
    }

    /// The table that replaces this one.
    pub(crate) fn next(&self) -> Option<NonNull<Self>> {
        // Acquire: that table's head and empty slots; partner: Release in `set_next`.
        let next = self.next.load(Ordering::Acquire);
        self.canary.check();
        NonNull::new(next)
    }

    /// Makes `next` the successor if there is none. Answers who is, and whether it is `next`.
    pub(crate) fn set_next(&self, next: NonNull<Self>) -> (NonNull<Self>, bool) {
        // Release: the new table; partner: Acquire in `next`, and here on failure.
        let before = self.next.compare_exchange(
            ptr::null_mut(),
            next.as_ptr(),
            Ordering::Release,
            Ordering::Acquire,
        );
        self.canary.check();
        match before.map_err(NonNull::new) {
            Err(Some(other)) => (other, false),
            _ => (next, true),
        }
    }

    /// Notes what the successor keeps in its slots, for whoever frees this table. Called by the one
    /// who replaced it, before it is retired.
    pub(crate) fn replaced_by(&self, next: &Self) {
        // Relaxed: read by who frees, which retiring happens before.
        self.next_words.store(next.key_words, Ordering::Relaxed);
        self.canary.check();
    }

    /// What the successor should be: slots and key words. Twice as many slots, unless half are
    /// without a value.
    ///
    /// # Safety
    /// The caller's guard led to this table.
    pub(crate) unsafe fn size_of_next(&self) -> (usize, usize) {
        let mut lengths = [0; MOST_WORDS + 1];
        let mut present = 0;
        for place in self.places() {
            let (value, first) = (place.value(), place.first());
            // A key without a value counts for the words, not for the slots: it has just come, in a
            // table that is full before its first value, or it has just gone.
            if first.is_empty() {
                continue;
            }
            present += usize::from(value.is_present());
            let words = match first.blob() {
                // SAFETY: acquired just now, under the caller's guard.
                Some(blob) => unsafe { Blob::read(blob, |bytes| key::words_of(bytes.len())) },
                _ => key::words_by(first.bits()),
            };
            lengths[words] += 1;
        }
        let slots = if present * 2 > most_used(self.len()) { self.len() * 2 } else { self.len() };
        // A slot that is empty now will be used as those are that are not.
        let scale = |count: usize| count * most_used(slots) / most_used(self.len());
        let lengths = lengths.map(scale);
        (slots, key::best_words(&lengths, slots, self.key_words, Blob::footprint))
    }

    /// Freezes every slot and copies what it held to the successor. When it returns, every slot is
    /// frozen and copied, by whomever.
    ///
    /// # Safety
    /// The caller's guard led to this table.
    pub(crate) unsafe fn copy_all(&self, next: &Self, hasher: &Hasher) {
        for place in self.places() {
            let value = place.freeze();
            if !value.is_present() {
                continue;
            }
            let first = place.first();
            let Some(blob) = first.blob() else {
                assert!(!first.is_empty(), "SHARD-5: a value has its key");
                let words = key::words_by(first.bits());
                next.copy(value, key::local_by(first.bits()), |slot| {
                    slot.claim_first(first.bits())
                        && (1..words).all(|word| slot.claim_further(word, place.further(word)))
                });
                continue;
            };
            // SAFETY: acquired just now, under the caller's guard.
            unsafe {
                Blob::read(blob, |bytes| {
                    let (_, key) = Long::new(bytes, hasher);
                    if key.words() <= next.key_words {
                        next.copy(value, key.local, |slot| key.claim_inline(slot));
                    } else {
                        // Copiers of one table all bring the same address for a key.
                        next.copy(value, key.local, |slot| slot.claim_first(first.bits()));
                    }
                });
            }
        }
    }

    /// Writes a frozen value of the table before, unless somebody has (SHARD-5).
    fn copy(&self, value: Word, local: u64, claim: impl Fn(Place<'_>) -> bool) {
        for place in self.way(local) {
            if claim(place) {
                // Relaxed: nobody comes to this table but by the exchange of the current one, and
                // whoever makes that has frozen this value itself before, with acquire, so it hands
                // on the value's bytes and what its writer did before. Relaxed on failure: who fails
                // is late and reads nothing.
                let _ = place.value_word().compare_exchange(
                    Word::EMPTY.bits(),
                    value.bits(),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                self.canary.check();
                return;
            }
        }
        unreachable!("SHARD-5: a successor has a slot for every key that has a value");
    }
}
