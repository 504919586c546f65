//! One table of a shard: open addressing, never emptied, replaced as a whole.
//!
//! A slot has some key words, as many in every slot of a table, and one value word, behind the first of them. A key's
//! way begins with a group of slots, and goes through them in order before it comes to the next group.
//! Beside the slots there is one word for each group, with 8 bits of the hash of each key, never 0, for
//! a key that stands: they are few enough to stay near the processor, and tell mostly at once which slot
//! it is, or that there is none. So a short key with its value takes one look at one cache line more, a longer one
//! at two or three, and the lack of a key none.
//!
//! Each key word goes from 0 to its content, once. A value word goes
//!
//! ```text
//! empty ←──→ value        by one exchange each
//!   │          │
//!   └──────────┴──→ the same, frozen: final
//! ```
//!
//! Life of a table:
//! 1. *made*: by one thread, which fills it alone (`successor.rs`);
//! 2. *current*: reached from its shard; operations write its slots;
//! 3. *frozen slot by slot*: by whoever finds it full and makes a successor;
//! 4. *replaced*: one exchange made a successor current. Guards that got here before may still
//!    read;
//! 5. *freed* by the reclaimer, with the keys that its successor did not take over.
//!
//! Invariants:
//! * SHARD-2: a key has one slot in a table: the first on its way that has no word of another key
//!   where the key has its own. Its words are written in their order, each over 0 only. So nobody
//!   passes a slot that may still become his;
//! * who passes a slot has seen to it that its fingerprint stands, and who writes a value that the slot's
//!   does. So a key whose value stands is found by fingerprints, and a group with a fingerprint missing ends a way;
//! * a value is written only into a slot all of whose key words stand;
//! * SHARD-5: a frozen value never changes.
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
use crate::bounds::{CHECKED, GROUP, most_full};
use crate::current::ALIGN;
use crate::error::ShardsError;
use crate::fingerprints;
use crate::hash::Hasher;
use crate::slot::{Place, SlotWord};
use crate::slots::Slots;
use crate::sync::{AtomicPtr, AtomicUsize, Canary, Ordering, release};
use crate::word::Word;

/// The head: the slots follow it, and the fingerprints stand before it, from there downwards. So one address leads
/// to all.
#[repr(align(64))]
#[derive(Debug)]
pub(crate) struct Table {
    /// Where they begin: behind the head, where a reference to that does not reach.
    slots: NonNull<SlotWord>,
    /// How many, minus one: a power of two minus one.
    mask: usize,
    /// By how much a hash without its lowest bit is shifted to give a group.
    shift: u32,
    /// Key words in a slot.
    key_words: usize,
    canary: Canary,
    /// Groups that are full.
    full: AtomicUsize,
}

impl Table {
    /// And where the head stands.
    fn layout(slots: usize, key_words: usize) -> Option<(Layout, usize)> {
        let fingerprints = Layout::array::<AtomicUsize>(slots / GROUP).ok()?;
        let (layout, head) =
            fingerprints.extend(Layout::new::<Self>().align_to(ALIGN).ok()?).ok()?;
        let words = Layout::array::<SlotWord>(slots.checked_mul(key_words + 1)?).ok()?;
        Some((layout.extend(words).ok()?.0, head))
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
        let (layout, head) = Self::layout(slots, key_words).ok_or(too_many)?;
        // SAFETY: the layout has the head's size at least, so it is not empty.
        let memory = unsafe { if CHECKED { alloc(layout) } else { alloc_zeroed(layout) } };
        let memory =
            NonNull::new(memory).ok_or(ShardsError::OutOfMemory { bytes: layout.size() })?;
        // SAFETY: fresh memory of this layout, ours alone; the head stands at `head` in it, the slots behind it, and
        // the fingerprints before. std's atomics of null or 0 are zeros, which stand there already;
        // a checker's have to be made.
        unsafe {
            let table = memory.byte_add(head).cast::<Self>();
            let first = table.add(1).cast::<SlotWord>();
            if CHECKED {
                for at in 0..slots * (key_words + 1) {
                    first.add(at).write(AtomicPtr::new(Word::EMPTY.bits()));
                }
                for group in 0..slots / GROUP {
                    table.cast::<AtomicUsize>().sub(1 + group).write(AtomicUsize::new(0));
                }
            }
            table.write(Self {
                slots: first,
                mask: slots - 1,
                shift: 63 - (slots / GROUP).trailing_zeros(),
                key_words,
                canary: Canary::new(),
                full: AtomicUsize::new(0),
            });
            Ok(table)
        }
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
            let (layout, head) = Self::layout(slots, words).expect("it was allocated so");
            let memory = this.byte_sub(head).cast().as_ptr();
            let canary = &raw const (*this.as_ptr()).canary;
            let this = this.cast().as_ptr();
            release((memory, layout), this, |it| Self::drop_all(it.cast()), canary);
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
            let fingerprints = this.cast::<AtomicUsize>().sub(groups);
            ptr::drop_in_place(ptr::slice_from_raw_parts_mut(fingerprints, groups));
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

    /// Gives back a current table with all keys and values.
    ///
    /// # Safety
    /// Nobody uses the map any more, and this happens once.
    pub(crate) unsafe fn free_current(this: NonNull<Self>) {
        // SAFETY: the caller's promise: still allocated.
        let table = unsafe { this.as_ref() };
        for place in table.places() {
            let (key, value) = place.quiet();
            for blob in [key.blob(), value.blob()].into_iter().flatten() {
                // SAFETY: the words of a current table are the only ones with their blobs.
                unsafe { Blob::free(blob) };
            }
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
        let slots = self.all_slots();
        (0..self.len()).map(move |number| slots.place(number))
    }

    /// The slot with a number below [`Table::len`].
    #[inline]
    pub(crate) fn place(&self, number: usize) -> Place<'_> {
        self.all_slots().place(number)
    }

    #[inline]
    fn all_slots(&self) -> Slots<'_> {
        // SAFETY: they are.
        unsafe { self.slots(self.key_words) }
    }

    /// By how much a hash without its lowest bit is shifted to give a group.
    pub(crate) fn shift(&self) -> u32 {
        self.shift
    }

    /// The slots, for whoever knows how many key words the table has.
    ///
    /// # Safety
    /// `key_words` are as many as [`Table::key_words`].
    #[inline]
    pub(crate) unsafe fn slots(&self, key_words: usize) -> Slots<'_> {
        // SAFETY: `new` has kept the address by which all of the table's memory is reached; `self` lives as long as the
        // answer; the caller's promise.
        unsafe { Slots::from_first(self.slots, key_words) }
    }

    /// Which slots of a group may have a value, by a bit for each.
    #[inline]
    pub(crate) fn may_have_values(&self, group: usize) -> u64 {
        fingerprints::present(self.read_fingerprints(group))
    }

    /// The group that the way of a key begins with.
    #[inline]
    pub(crate) fn start(&self, local: u64) -> usize {
        // Shifted to below the number of groups.
        #[allow(clippy::cast_possible_truncation)]
        let group = (local >> 1 >> self.shift) as usize;
        group
    }

    #[inline]
    fn read_fingerprints(&self, group: usize) -> u64 {
        self.all_slots().read_fingerprints(group)
    }

    /// Sees to it that the fingerprint of a slot with a key stands.
    #[inline(always)]
    fn put_fingerprint(&self, group: usize, at: usize, local: impl FnOnce() -> u64) {
        let slots = self.all_slots();
        let mut fingerprints = slots.read_fingerprints(group);
        if fingerprints::of_slot(fingerprints, at) != 0 {
            return;
        }
        let fingerprint = fingerprints::at_slot(fingerprints::fingerprint(local()), at);
        while fingerprints & fingerprint == 0 {
            // 64 bits, as `word` asserts.
            #[allow(clippy::cast_possible_truncation)]
            let (seen, new) = (fingerprints as usize, (fingerprints | fingerprint) as usize);
            // Relaxed, both: as in `Slots::read_fingerprints`. All who put this fingerprint put the same one.
            let put = slots.fingerprints(group).compare_exchange_weak(
                seen,
                new,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            self.canary.check();
            match put {
                Ok(_) => {
                    if fingerprints::zeros(new as u64) == 0 {
                        // Relaxed: see `has_room`.
                        self.full.fetch_add(1, Ordering::Relaxed);
                        self.canary.check();
                    }
                    return;
                }
                Err(now) => fingerprints = now as u64,
            }
        }
    }

    /// Key words in a slot.
    #[inline]
    pub(crate) fn key_words(&self) -> usize {
        self.key_words
    }

    /// Follows the way of a key by the fingerprints, until `is` says of a slot that it has the key. At
    /// most once round, so a bounded number of steps.
    #[inline(never)]
    pub(crate) fn find_on(&self, local: u64, is: impl Fn(Place<'_>) -> bool) -> Option<Place<'_>> {
        let start = self.start(local);
        let wanted = fingerprints::everywhere(fingerprints::fingerprint(local));
        let mut number = start;
        loop {
            let fingerprints = self.read_fingerprints(number);
            let mut same = fingerprints::zeros(fingerprints ^ wanted);
            while same != 0 {
                let place = self.place(number * GROUP + fingerprints::slot_of(same));
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
    #[inline(always)]
    pub(crate) unsafe fn put_key(
        &self,
        local: u64,
        hasher: &Hasher,
        mut claim: impl FnMut(Place<'_>) -> Result<bool, ShardsError>,
    ) -> Result<Option<Place<'_>>, ShardsError> {
        let (slots, group) = (self.all_slots(), self.start(local));
        let may_be = slots.may_be(group, local);
        if may_be != 0 {
            let at = fingerprints::slot_of(may_be);
            let place = slots.place(group * GROUP + at);
            if claim(place)? {
                self.put_fingerprint(group, at, || local);
                return Ok(Some(place));
            }
        }
        // Apart: here nothing has to be kept for it, see `change`.
        // SAFETY: the caller's promise, and `claim` was asked for the first slot.
        unsafe { self.put_key_on(local, hasher, may_be, claim) }
    }

    /// As [`Table::put_key`], after its first group's `may_be`, of which it has asked for the first slot.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Safety
    /// As there; and if there is such a slot, `claim` has answered that another key stands in it.
    #[inline(never)]
    unsafe fn put_key_on(
        &self,
        local: u64,
        hasher: &Hasher,
        mut may_be: u64,
        mut claim: impl FnMut(Place<'_>) -> Result<bool, ShardsError>,
    ) -> Result<Option<Place<'_>>, ShardsError> {
        let (slots, start, last) = (self.all_slots(), self.start(local), self.mask / GROUP);
        let (mut group, mut is_another) = (start, may_be != 0);
        loop {
            while may_be != 0 {
                let at = fingerprints::slot_of(may_be);
                let place = slots.place(group * GROUP + at);
                if !is_another && claim(place)? {
                    self.put_fingerprint(group, at, || local);
                    return Ok(Some(place));
                }
                // SHARD-2: nobody passes a slot without its fingerprint.
                // SAFETY: the caller's promise; and another key stands there, as `claim` has answered just now, or before
                // the call.
                self.put_fingerprint(group, at, || unsafe { place.local(hasher) });
                is_another = false;
                may_be &= may_be - 1;
            }
            group = (group + 1) & last;
            if group == start {
                return Ok(None);
            }
            may_be = slots.may_be(group, local);
        }
    }

    /// Takes the first empty slot on a way, in a table that nobody else has seen.
    pub(crate) fn take_slot(&self, local: u64) -> Option<Place<'_>> {
        let (slots, start, last) = (self.all_slots(), self.start(local), self.mask / GROUP);
        for step in 0..=last {
            let group = (start + step) & last;
            let there = slots.read_fingerprints(group);
            let empty = fingerprints::zeros(there);
            if empty != 0 {
                let at = fingerprints::slot_of(empty);
                let all = there | fingerprints::at_slot(fingerprints::fingerprint(local), at);
                // 64 bits, as `word` asserts.
                #[allow(clippy::cast_possible_truncation)]
                let all = all as usize;
                // Relaxed, all: nobody else is here; see `Place::fill`.
                slots.fingerprints(group).store(all, Ordering::Relaxed);
                if fingerprints::zeros(all as u64) == 0 {
                    let full = self.full.load(Ordering::Relaxed);
                    self.full.store(full + 1, Ordering::Relaxed);
                }
                return Some(slots.place(group * GROUP + at));
            }
        }
        None
    }

    /// In a checked build: panics when the table was freed. After each access to it.
    #[inline]
    pub(crate) fn check(&self) {
        self.canary.check();
    }

    /// Whether one more key may be put in.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        // Relaxed: a limit that a few may pass; the slots themselves say what is empty. A wrong number costs
        // time alone: a table is replaced too early, or when no slot of it is left.
        let full = self.full.load(Ordering::Relaxed);
        self.canary.check();
        full < most_full(self.len() / GROUP)
    }
}
