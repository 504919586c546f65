//! One table of a shard: open addressing, never emptied, replaced as a whole.
//!
//! A slot has some key words, as many in every slot of a table, and one value word. Slots stand in
//! groups: the first key words of a group, then its values, which fill one cache line, then the
//! further key words. A key's way begins with a group, and goes through its slots in order before it
//! comes to the next group. Beside the slots there is one word for each group, with 16 bits of the
//! hash of each key, never 0, for a key that stands: they are few enough to stay near the processor,
//! and tell mostly at once which slot it is, or that there is none.
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
//! * SHARD-2: a key has one slot in a table: the first on its way that has no word of another key
//!   where the key has its own. Its words are written in their order, each over 0 only. So nobody
//!   passes a slot that may still become his;
//! * who passes a slot has seen to it that its fingerprint stands, and who writes a value that the slot's
//!   does. So a key whose value stands is found by fingerprints, and a group with a fingerprint missing ends a way;
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
use crate::fingerprints;
use crate::hash::Hasher;
use crate::key::{self, Long, MOST_WORDS};
use crate::slot::{Place, SlotWord};
use crate::sync::{AtomicPtr, AtomicUsize, Canary, Ordering, release};
use crate::word::Word;

/// The head of the allocation; the slots follow it, from the next cache line on.
#[repr(align(64))]
#[derive(Debug)]
pub(crate) struct Table {
    slots: NonNull<SlotWord>,
    /// One word for each group.
    fingerprints: NonNull<AtomicUsize>,
    /// How many, minus one: a power of two minus one.
    mask: usize,
    /// By how much a hash without its lowest bit is shifted to give a group.
    shift: u32,
    /// Key words in a slot.
    key_words: usize,
    canary: Canary,
    next: AtomicPtr<Table>,
    /// Keys that were put in, or are about to be.
    used: AtomicUsize,
}

impl Table {
    /// And where the slots begin. The fingerprints follow them.
    fn layout(slots: usize, key_words: usize) -> Option<(Layout, usize)> {
        let words = slots.checked_mul(key_words + 1)?;
        let (layout, offset) =
            Layout::new::<Self>().extend(Layout::array::<SlotWord>(words).ok()?).ok()?;
        let (layout, fingerprints) =
            layout.extend(Layout::array::<AtomicUsize>(slots / GROUP).ok()?).ok()?;
        debug_assert_eq!(fingerprints, offset + words * size_of::<SlotWord>());
        Some((layout, offset))
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
        // SAFETY: fresh memory of this layout, ours alone; the slots stand at `offset` in it, and
        // the fingerprints behind them. std's atomics of null or 0 are zeros, which stand there already; a
        // checker's have to be made.
        unsafe {
            let first = table.byte_add(offset).cast::<SlotWord>();
            let fingerprints = first.add(slots * (key_words + 1)).cast::<AtomicUsize>();
            if CHECKED {
                for at in 0..slots * (key_words + 1) {
                    first.add(at).write(AtomicPtr::new(Word::EMPTY.bits()));
                }
                for at in 0..slots / GROUP {
                    fingerprints.add(at).write(AtomicUsize::new(0));
                }
            }
            table.write(Self {
                slots: first,
                fingerprints,
                mask: slots - 1,
                shift: 63 - (slots / GROUP).trailing_zeros(),
                key_words,
                canary: Canary::new(),
                next: AtomicPtr::new(ptr::null_mut()),
                used: AtomicUsize::new(0),
            });
        }
        Ok(table)
    }

    /// Gives the table back, without what its words lead to. Answers how many bytes that were.
    ///
    /// # Safety
    /// `Table::new` made it, and nobody reads it any more.
    pub(crate) unsafe fn free(this: NonNull<Self>) -> usize {
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
            let groups = (*this).len() / GROUP;
            ptr::drop_in_place(ptr::slice_from_raw_parts_mut(
                (*this).fingerprints.as_ptr(),
                groups,
            ));
            ptr::drop_in_place(this);
        }
    }

    /// Gives back a table that was replaced, with the keys that its successor did not take over.
    ///
    /// # Safety
    /// Nobody reads it any more, all slots are frozen, and this happens once.
    pub(crate) unsafe fn free_replaced(this: NonNull<Self>) -> usize {
        let mut bytes = 0;
        // SAFETY: the caller's promise: still allocated.
        let table = unsafe { this.as_ref() };
        for place in table.places() {
            let (key, value) = place.quiet();
            if let Some(blob) = key.blob()
                && (!value.is_present() || key.is_frozen())
            {
                // SAFETY: a key without a value is not copied, and one that the successor has inline
                // is marked; so only this table has the blob. Any other may be gone already.
                bytes += unsafe { Blob::free(blob) };
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

    #[inline]
    fn fingerprints(&self, group: usize) -> &AtomicUsize {
        // SAFETY: as in `group`: one for each.
        unsafe { self.fingerprints.add(group).as_ref() }
    }

    #[inline]
    fn read_fingerprints(&self, group: usize) -> u64 {
        // Relaxed: it leads nowhere. Whoever has to see a value, since its writing happened before,
        // sees its fingerprint, and those on the way to it: they stood before it was written.
        let fingerprints = self.fingerprints(group).load(Ordering::Relaxed);
        self.canary.check();
        fingerprints as u64
    }

    /// Sees to it that the fingerprint of a slot with a key stands.
    fn put_fingerprint(&self, group: usize, at: usize, local: impl FnOnce() -> u64) {
        let mut fingerprints = self.read_fingerprints(group);
        if fingerprints::of_slot(fingerprints, at) != 0 {
            return;
        }
        let fingerprint = fingerprints::at_slot(fingerprints::fingerprint(local()), at);
        while fingerprints & fingerprint == 0 {
            // 64 bits, as `word` asserts.
            #[allow(clippy::cast_possible_truncation)]
            let (seen, new) = (fingerprints as usize, (fingerprints | fingerprint) as usize);
            // Relaxed, both: as in `read_fingerprints`. All who put this fingerprint put the same one.
            let put = self.fingerprints(group).compare_exchange_weak(
                seen,
                new,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            self.canary.check();
            match put {
                Ok(_) => return,
                Err(now) => fingerprints = now as u64,
            }
        }
    }

    /// Key words in a slot.
    #[inline]
    pub(crate) fn key_words(&self) -> usize {
        self.key_words
    }

    /// Follows the way of a key by the fingerprints, until `is` says of a slot that it has the key. At most
    /// once round, so a bounded number of steps.
    #[inline(always)]
    pub(crate) fn find(&self, local: u64, is: impl Fn(Place<'_>) -> bool) -> Option<Place<'_>> {
        let start = self.start(local);
        let wanted = fingerprints::everywhere(fingerprints::fingerprint(local));
        let mut number = start;
        loop {
            let fingerprints = self.read_fingerprints(number);
            let mut same = fingerprints::zeros(fingerprints ^ wanted);
            while same != 0 {
                let at = fingerprints::slot_of(same);
                // SAFETY: one of its slots, as `fingerprints` tells.
                let place = unsafe { Place::new(self, self.group(number), at) };
                if is(place) {
                    return Some(place);
                }
                same &= same - 1;
            }
            if fingerprints::zeros(fingerprints) != 0 {
                return None;
            }
            number = (number + 1) & (self.mask / GROUP);
            if number == start {
                return None;
            }
        }
    }

    /// Puts a key into its slot, if it is not there, by `claim`: which answers whether the key now
    /// stands in a slot, by whomever, or another one does. `None` when there is no slot for it.
    ///
    /// # Errors
    /// Those of `claim`.
    ///
    /// # Safety
    /// The caller's guard led to this table.
    pub(crate) unsafe fn put_key(
        &self,
        local: u64,
        hasher: &Hasher,
        mut claim: impl FnMut(Place<'_>) -> Result<bool, ShardsError>,
    ) -> Result<Option<Place<'_>>, ShardsError> {
        let (start, fingerprint) = (self.start(local), fingerprints::fingerprint(local));
        for step in 0..=self.mask / GROUP {
            let group = (start + step) & (self.mask / GROUP);
            let fingerprints = self.read_fingerprints(group);
            for at in 0..GROUP {
                let there = fingerprints::of_slot(fingerprints, at);
                if there != 0 && there != fingerprint {
                    // Another key's, or to become another's: this one's would have its fingerprint.
                    continue;
                }
                let place = self.place(group * GROUP + at);
                if claim(place)? {
                    self.put_fingerprint(group, at, || local);
                    return Ok(Some(place));
                }
                // SHARD-2: nobody passes a slot without its fingerprint.
                // SAFETY: the caller's promise.
                self.put_fingerprint(group, at, || unsafe { place.local(hasher) });
            }
        }
        Ok(None)
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

    /// Marks the keys that the successor has in its slots, for whoever frees this table: then it is
    /// too late to look at a key that the successor has by its address. Called by the one who
    /// replaced it, before it is retired.
    ///
    /// # Safety
    /// The caller's guard led to this table, and the caller has frozen and copied all its slots.
    pub(crate) unsafe fn replaced_by(&self, next: &Self) {
        for place in self.places() {
            let (key, value) = place.quiet();
            if value.is_present()
                && let Some(blob) = key.blob()
                // SAFETY: acquired under the caller's guard, when it was copied.
                && key::words_of(unsafe { Blob::read(blob, <[u8]>::len) }) <= next.key_words
            {
                place.mark_key(key);
            }
        }
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
            assert!(!first.is_empty(), "SHARD-5: a value has its key");
            // SAFETY: acquired under the caller's guard, as all below.
            let local = unsafe { place.local(hasher) };
            let claim = |slot: Place<'_>| match first.blob() {
                None => {
                    (slot.claim_first(first.bits()))
                        && (1..key::words_by(first.bits()))
                            .all(|word| slot.claim_further(word, place.further(word)))
                }
                // SAFETY: as above.
                Some(blob) => unsafe {
                    Blob::read(blob, |bytes| {
                        let (_, key) = Long::new(bytes, hasher);
                        if key.words() <= next.key_words {
                            return key.claim_inline(slot);
                        }
                        // Copiers of one table all bring the same address for a key.
                        slot.claim_first(first.bits())
                    })
                },
            };
            // SAFETY: as above: `next` is retired after this table.
            let slot = unsafe { next.put_key(local, hasher, |slot| Ok(claim(slot))) };
            let Ok(Some(slot)) = slot else {
                unreachable!("SHARD-5: a successor has a slot for every key that has a value")
            };
            slot.copy(value);
        }
    }
}
