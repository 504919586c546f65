//! One table of a shard: slots of two words, open addressing, never emptied, replaced as a whole.
//!
//! A key word goes from empty to a key, once. A value word goes
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
//! 4. *freed* by the reclaimer, with the keys that were not copied.
//!
//! Invariants:
//! * SHARD-2: a key has one slot in a table: it goes into the first empty slot on its way, and no
//!   slot becomes empty again;
//! * SHARD-5: a frozen value never changes, and a copier writes only over a value that is empty. No
//!   operation makes a value empty again, so a copier that comes late writes nothing;
//! * a table's `next` is written once.
//!
//! What it does not do: seal empty key slots. A key that arrives in a frozen slot finds the value
//! frozen, and its writer goes to the successor; whether the copier saw the key does not matter,
//! because there is no value.

// Memory is allocated with the layout of what it is cast to.
#![allow(clippy::cast_ptr_alignment)]

use std::alloc::{Layout, alloc};
use std::ptr::{self, NonNull};
use std::slice;

use crate::blob::Blob;
use crate::bounds::most_used;
use crate::error::ShardsError;
use crate::sync::{AtomicPtr, AtomicUsize, Canary, Ordering, release};
use crate::word::{Bits, Owned, Word};

/// A key that is looked for.
pub(crate) struct Probe<'a> {
    pub(crate) bytes: &'a [u8],
    /// Its word, if it needs no heap.
    inline: Option<Word>,
    /// Where its way begins: the low bits that the shard left over.
    start: usize,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(bytes: &'a [u8], start: usize) -> Self {
        Self { bytes, inline: Word::inline(bytes), start }
    }

    /// # Safety
    /// `word` was acquired from a table, under a guard that led there.
    #[inline]
    unsafe fn is(&self, word: Word) -> bool {
        match self.inline {
            Some(inline) => inline == word,
            // SAFETY: the caller's promise: keys live as long as the tables that have them.
            None => word.blob().is_some() && unsafe { word.is(Some(self.bytes)) },
        }
    }
}

#[derive(Debug)]
struct Slot {
    key: AtomicPtr<()>,
    value: AtomicPtr<()>,
}

/// The head of the allocation; the slots follow it.
#[derive(Debug)]
pub(crate) struct Table {
    canary: Canary,
    slots: NonNull<Slot>,
    /// How many, minus one: a power of two minus one.
    mask: usize,
    /// Keys that were put in, or are about to be.
    used: AtomicUsize,
    next: AtomicPtr<Table>,
}

/// Where the way of a key ends.
pub(crate) enum Found {
    /// Its slot.
    At(usize),
    /// An empty slot: the key is not there.
    Empty(usize),
    /// No empty slot: the key is not there, nor is there room.
    Full,
}

impl Table {
    fn layout(slots: usize) -> Option<(Layout, usize)> {
        Layout::new::<Self>().extend(Layout::array::<Slot>(slots).ok()?).ok()
    }

    /// What a table of so many slots takes.
    pub(crate) fn footprint_of(slots: usize) -> usize {
        Self::layout(slots).map_or(0, |(layout, _)| layout.size())
    }

    /// What this table takes.
    pub(crate) fn footprint(&self) -> usize {
        Self::footprint_of(self.len())
    }

    /// An empty table; `slots` is a power of two.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub(crate) fn new(slots: usize) -> Result<NonNull<Self>, ShardsError> {
        let too_many = ShardsError::OutOfMemory { bytes: usize::MAX };
        let (layout, offset) = Self::layout(slots).ok_or(too_many)?;
        // SAFETY: the layout has the head's size at least, so it is not empty.
        let table = NonNull::new(unsafe { alloc(layout) }.cast::<Self>())
            .ok_or(ShardsError::OutOfMemory { bytes: layout.size() })?;
        // SAFETY: fresh memory of this layout, ours alone; the slots stand at `offset` in it.
        unsafe {
            let first = table.byte_add(offset).cast::<Slot>();
            for at in 0..slots {
                let empty = || AtomicPtr::new(Word::EMPTY.bits());
                first.add(at).write(Slot { key: empty(), value: empty() });
            }
            table.write(Self {
                canary: Canary::new(),
                slots: first,
                mask: slots - 1,
                used: AtomicUsize::new(0),
                next: AtomicPtr::new(ptr::null_mut()),
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
            let (layout, _) = Self::layout(this.as_ref().mask + 1).expect("it was allocated so");
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
            let slots = ptr::slice_from_raw_parts_mut((*this).slots.as_ptr(), (*this).mask + 1);
            ptr::drop_in_place(slots);
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
        for slot in unsafe { this.as_ref() }.slots() {
            let (key, value) = slot.quiet();
            if !value.is_present()
                && let Some(key) = key.blob()
            {
                // SAFETY: a key without a value is not copied, so only this table has it.
                bytes += unsafe { Blob::free(key) };
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
        for slot in table.slots() {
            let (key, value) = slot.quiet();
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

    fn slots(&self) -> &[Slot] {
        // SAFETY: `new` wrote so many slots there, in the same allocation as `self`.
        unsafe { slice::from_raw_parts(self.slots.as_ptr(), self.mask + 1) }
    }

    pub(crate) fn len(&self) -> usize {
        self.mask + 1
    }

    /// The key of a slot, or empty.
    #[inline]
    pub(crate) fn key(&self, at: usize) -> Word {
        // Acquire: the key's bytes; partner: Release in `claim` and, for a copied key, there too.
        let word = self.slots()[at].key.load(Ordering::Acquire);
        self.canary.check();
        Word::from_bits(word)
    }

    /// The value of a slot, frozen or not.
    #[inline]
    pub(crate) fn value(&self, at: usize) -> Word {
        // Acquire: the value's bytes, and what its writer did before (SHARD-3); partner: Release in
        // `swap` and in `copy`.
        let word = self.slots()[at].value.load(Ordering::Acquire);
        self.canary.check();
        Word::from_bits(word)
    }

    /// Follows the way of a key to its end: at most once round, so a bounded number of steps.
    #[inline]
    pub(crate) fn find(&self, probe: &Probe<'_>) -> Found {
        for step in 0..=self.mask {
            let at = (probe.start + step) & self.mask;
            let word = self.key(at);
            if word.is_empty() {
                return Found::Empty(at);
            }
            // SAFETY: acquired just now, by a caller whose guard led to this table.
            if unsafe { probe.is(word) } {
                return Found::At(at);
            }
        }
        Found::Full
    }

    /// Whether one more key may be put in.
    pub(crate) fn has_room(&self) -> bool {
        // Relaxed: a limit that a few may pass; the slots themselves say what is empty.
        let used = self.used.load(Ordering::Relaxed);
        self.canary.check();
        used < most_used(self.len())
    }

    /// Puts a key into an empty slot. Answers what stands there: `key`, or who came first.
    pub(crate) fn claim(&self, at: usize, key: Word) -> Word {
        // Release: the key's bytes; partner: Acquire in `key`. Acquire on failure: the bytes of who
        // came first, for the same reason. On success there is nothing to acquire: the slot was
        // empty.
        let before = self.slots()[at].key.compare_exchange(
            Word::EMPTY.bits(),
            key.bits(),
            Ordering::Release,
            Ordering::Acquire,
        );
        self.canary.check();
        match before {
            Ok(_) => {
                // Relaxed: see `has_room`.
                self.used.fetch_add(1, Ordering::Relaxed);
                key
            }
            Err(other) => Word::from_bits(other),
        }
    }

    /// Changes a value from `seen` to `new`. May fail although it has `seen`.
    ///
    /// # Errors
    /// What stands there.
    #[inline]
    pub(crate) fn swap(&self, at: usize, seen: Word, new: Word) -> Result<(), Word> {
        // Release: the new value's bytes and what its writer did before (SHARD-3). Acquire: what
        // the writer of the replaced value did before; `seen` may have been read from an earlier
        // writer of an equal word. Both sides' partners: this, `value`, `freeze`. Acquire on
        // failure: as in `value`.
        let done = self.slots()[at].value.compare_exchange_weak(
            seen.bits(),
            new.bits(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        self.canary.check();
        done.map(|_| ()).map_err(Word::from_bits)
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

    /// How many slots the successor should have: twice as many, unless half are without a value.
    pub(crate) fn slots_of_next(&self) -> usize {
        let present = (0..self.len()).filter(|&at| self.value(at).is_present()).count();
        if present * 2 > most_used(self.len()) { self.len() * 2 } else { self.len() }
    }

    /// Freezes every slot and copies what it held to the successor. When it returns, every slot is
    /// frozen and copied, by whomever.
    pub(crate) fn copy_all(&self, next: &Self, start_of: impl Fn(&[u8]) -> usize) {
        for at in 0..self.len() {
            let value = self.freeze(at);
            if value.is_present() {
                let key = self.key(at);
                // SAFETY: the key was acquired under the caller's guard; so was the value before
                // it.
                let start = unsafe {
                    key.read(|bytes| start_of(bytes.expect("SHARD-5: a value has its key")))
                };
                next.copy(key, value, start);
            }
        }
    }

    /// Freezes a slot's value and answers it, thawed.
    fn freeze(&self, at: usize) -> Word {
        let mut seen = self.value(at);
        while !seen.is_frozen() {
            // Acquire, here and on failure and in `value`: the value's bytes and what its writer
            // did before, which the copy hands on, and which the exchange of the current table
            // hands on for keys that are not copied (SHARD-3); partner: Release in `swap` and in
            // `copy`. No release of its own: an exchange stays in the release sequence of the write
            // that it found, so a reader of the frozen word still meets that.
            match self.slots()[at].value.compare_exchange_weak(
                seen.bits(),
                seen.frozen().bits(),
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => seen = seen.frozen(),
                Err(other) => seen = Word::from_bits(other),
            }
            self.canary.check();
        }
        seen.thawed()
    }

    /// Writes a frozen value of the table before, unless somebody has (SHARD-5).
    fn copy(&self, key: Word, value: Word, start: usize) {
        for step in 0..=self.mask {
            let at = (start + step) & self.mask;
            let mut there = self.key(at);
            if there.is_empty() {
                there = self.claim(at, key);
            }
            // Copiers of one table all bring the same word for a key, also when it is an address.
            if there == key {
                // Release: the value's bytes, and what its writer did before; partner: Acquire in
                // `value`. Relaxed: who fails is late and reads nothing.
                let _ = self.slots()[at].value.compare_exchange(
                    Word::EMPTY.bits(),
                    value.bits(),
                    Ordering::Release,
                    Ordering::Relaxed,
                );
                self.canary.check();
                return;
            }
        }
        unreachable!("SHARD-5: a successor has a slot for every key that has a value");
    }
}

impl Slot {
    /// Both words, when nobody writes any more.
    fn quiet(&self) -> (Word, Word) {
        // Relaxed: all writes happened before, by the reclaimer or by the map's drop.
        let read = |word: &AtomicPtr<()>| -> Bits { word.load(Ordering::Relaxed) };
        (Word::from_bits(read(&self.key)), Word::from_bits(read(&self.value)))
    }
}

/// A key on its way into a table, made when it is first needed.
#[derive(Default)]
pub(crate) struct PendingKey(Option<Owned>);

impl PendingKey {
    /// Its word.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub(crate) fn word(&mut self, probe: &Probe<'_>) -> Result<Word, ShardsError> {
        if self.0.is_none() {
            self.0 = Some(Owned::new(probe.bytes)?);
        }
        Ok(self.0.as_ref().map_or(Word::EMPTY, Owned::word))
    }

    /// It stands in a table now. Answers what its blob takes.
    pub(crate) fn share(&mut self) -> usize {
        self.0.take().map_or(0, |mut owned| owned.share())
    }
}
