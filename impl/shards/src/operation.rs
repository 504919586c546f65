//! One operation, under a guard.
//!
//! Invariants (their sentences stand in `specs/README.md`):
//! * SHARD-1: an operation takes effect in one step between its call and its answer. A change: its
//!   exchange of the value word. A `get`, or a comparison that fails: its read of the value word;
//!   if that is frozen, the freezing, or the read of the current table, whichever was later;
//! * an operation writes to a table only through slots that are not frozen, and reaches a table
//!   only when it is or was current: until then its predecessor's values are the map's;
//! * SHARD-7: a `get` takes a bounded number of steps; a `compare_and_set` starts again only after
//!   another one has changed something; whoever meets a frozen slot or a full table replaces it himself.
//!
//! Each of them is compiled for a key and values of up to 8 bytes, which need no memory and stand inline with the
//! caller; for keys of 16 and of 32 bytes and for all others with such values; and for the rest.
//!
//! Its quick part ends with a read, or with an exchange at the first attempt. All else is called last, and takes over
//! the guard, so that nothing has to be kept for after the call: what is put aside in memory has to reach the cache
//! before an exchange does. A value that was read is not read again.

// Measured: an operation on a key and a value of up to 8 bytes is a few dozen instructions.
#![allow(clippy::inline_always)]

use std::ptr::NonNull;

use crate::blob::Blob;
use crate::current::{Current, FirstLook};
use crate::error::{MAX_KEY_BYTES, MAX_VALUE_BYTES, ShardsError};
use crate::key::{Long, Probe, Short};
use crate::map::Shards;
use crate::reclaim::{Garbage, Guard, Reclaim};
use crate::slot::Place;
use crate::table::Table;
use crate::word::{New, Owned, Wanted, Word};

/// What came of an attempt.
enum Attempt {
    Set,
    /// It has another value than expected.
    Differs(Word),
    /// The slot is frozen, or there is none: replace the table, and go to the next one.
    Replace,
}

/// How far a change has come.
struct Begun<'t> {
    current: Current,
    look: FirstLook<'t>,
    /// The value in the slot that was found, if it was read.
    seen: Option<Word>,
}

impl<R: Reclaim> Shards<R> {
    /// As [`Shards::read`].
    #[inline(always)]
    pub(crate) fn read_under<A>(
        &self,
        guard: impl Guard,
        key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<A, ShardsError> {
        match key.len() {
            0..=8 => Ok(self.read_at(guard, Short::new(key, self.hasher()), f)),
            16 => Ok(self.read_sized::<16, A>(guard, sized(key), f)),
            32 => Ok(self.read_sized::<32, A>(guard, sized(key), f)),
            _ => self.read_long(guard, key, f),
        }
    }

    /// A key of a length that the compiler knows, which makes it a few dozen instructions too.
    #[inline(never)]
    fn read_sized<const BYTES: usize, A>(
        &self,
        guard: impl Guard,
        key: &[u8; BYTES],
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> A {
        self.read_at(guard, Long::new(key, self.hasher()), f)
    }

    #[inline(never)]
    fn read_long<A>(
        &self,
        guard: impl Guard,
        key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<A, ShardsError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(ShardsError::KeyTooLong { got: key.len() });
        }
        Ok(self.read_at(guard, Long::new(key, self.hasher()), f))
    }

    /// A read takes effect here: wait-free, for no loop but the one of `find_on`, and no help: a
    /// frozen value is an answer too.
    #[inline(always)]
    fn read_at<A>(
        &self,
        guard: impl Guard,
        key: impl Probe,
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> A {
        let current = self.shard_of(&key).current(&guard);
        // SAFETY: `guard` was taken before and outlives the answer.
        match unsafe { key.look_first(current) } {
            // SAFETY: acquired under `guard`.
            FirstLook::Found(place) => unsafe { place.value().read(f) },
            FirstLook::Absent => f(None),
            // Each by itself: a look that is handed on as it came would be put aside in memory.
            // SAFETY: `guard` led to the table.
            FirstLook::Unclear => unsafe {
                Self::read_on(guard, current, FirstLook::Unclear, key, f)
            },
            // SAFETY: as above.
            FirstLook::Apart => unsafe { Self::read_on(guard, current, FirstLook::Apart, key, f) },
        }
    }

    /// As [`Shards::read_at`], when its look did not tell.
    ///
    /// # Safety
    /// `guard` led to the table, and was held for the look.
    #[inline(never)]
    unsafe fn read_on<A>(
        guard: impl Guard,
        current: Current,
        look: FirstLook<'_>,
        key: impl Probe,
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> A {
        // The last to go.
        let _guard = guard;
        // SAFETY: the caller's promise.
        match unsafe { Self::look_on(current, look, &key) } {
            // SAFETY: acquired under the guard.
            Some(place) => unsafe { place.value().read(f) },
            None => f(None),
        }
    }

    /// As [`Shards::compare_and_set`]; hands what it has instead to `other`.
    #[inline(always)]
    pub(crate) fn set_under<A>(
        &self,
        guard: impl Guard,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        // Most callers know which of these it is; for one who does not, it is asked once where keys are short.
        match (expected, new) {
            (Some(_), Some(_)) => self.set_of(guard, key, expected, new, other),
            (Some(_), None) => self.set_of(guard, key, expected, None, other),
            (None, Some(_)) => self.set_of(guard, key, None, new, other),
            // From nothing to nothing.
            (None, None) => self.set_long(guard, key, None, None, other),
        }
    }

    /// As [`Shards::set_under`], with values of which the compiler knows whether they are there.
    #[inline(always)]
    fn set_of<A>(
        &self,
        guard: impl Guard,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        let inline = |value: Option<&[u8]>| value.map_or(Some(Word::EMPTY), Word::inline);
        // One after the other: else a flag for both would be made, and asked for.
        let Some(was) = inline(expected) else {
            return self.set_long(guard, key, expected, new, other);
        };
        let Some(word) = inline(new) else {
            return self.set_long(guard, key, expected, new, other);
        };
        match key.len() {
            0..=8 => self.set_at(guard, Short::new(key, self.hasher()), was, word, other),
            16 => self.set_sized::<16, A>(guard, sized(key), was, word, other),
            32 => self.set_sized::<32, A>(guard, sized(key), was, word, other),
            9..=MAX_KEY_BYTES => self.set_inline(guard, key, was, word, other),
            _ => self.set_long(guard, key, expected, new, other),
        }
    }

    /// As [`Shards::set_inline`], of a length that the compiler knows.
    #[inline(never)]
    fn set_sized<const BYTES: usize, A>(
        &self,
        guard: impl Guard,
        key: &[u8; BYTES],
        expected: Word,
        new: Word,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        self.set_at(guard, Long::new(key, self.hasher()), expected, new, other)
    }

    /// A key of more than 8 bytes, with values that need no memory.
    #[inline(never)]
    fn set_inline<A>(
        &self,
        guard: impl Guard,
        key: &[u8],
        expected: Word,
        new: Word,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        self.set_at(guard, Long::new(key, self.hasher()), expected, new, other)
    }

    /// Where a key stands, after a look that may not have told.
    ///
    /// # Safety
    /// The caller's guard led to the table, and was held for the look.
    #[inline(always)]
    unsafe fn look_on<'t>(
        current: Current,
        look: FirstLook<'t>,
        key: &impl Probe,
    ) -> Option<Place<'t>> {
        let look = match look {
            // SAFETY: the caller's promise.
            FirstLook::Apart => unsafe { key.look_apart(current) },
            told => told,
        };
        match look {
            FirstLook::Found(place) => Some(place),
            FirstLook::Absent => None,
            FirstLook::Unclear | FirstLook::Apart => {
                // SAFETY: as above.
                key.find_on(unsafe { current.table().as_ref() })
            }
        }
    }

    #[inline(never)]
    fn set_long<A>(
        &self,
        guard: impl Guard,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(ShardsError::KeyTooLong { got: key.len() });
        }
        if let Some(got) = new.map(<[u8]>::len).filter(|&got| got > MAX_VALUE_BYTES) {
            return Err(ShardsError::ValueTooLong { got });
        }
        let new = new.map_or(Ok(Owned::removal()), Owned::new)?;
        if key.len() <= 8 {
            return self.set_all(guard, Short::new(key, self.hasher()), expected, new, other);
        }
        self.set_all(guard, Long::new(key, self.hasher()), expected, new, other)
    }

    /// A change without a quick part.
    fn set_all<A>(
        &self,
        guard: impl Guard,
        key: impl Probe,
        expected: Option<&[u8]>,
        new: Owned,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        // SAFETY: `set_on` takes over `guard` with what was begun under it.
        unsafe {
            let begun = self.begin(&key, &guard);
            self.set_on(guard, begun, key, expected, new, other)
        }
    }

    /// # Safety
    /// `guard` is held for as long as the answer is used.
    #[inline(always)]
    unsafe fn begin<'t>(&self, key: &impl Probe, guard: &impl Guard) -> Begun<'t> {
        let current = self.shard_of(key).current(guard);
        // SAFETY: the caller's promise.
        Begun { current, look: unsafe { key.look_first(current) }, seen: None }
    }

    /// The quick part of a change, not from nothing to nothing.
    #[inline(always)]
    fn set_at<A>(
        &self,
        mut guard: impl Guard,
        key: impl Probe,
        expected: Word,
        new: Word,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        // SAFETY: `guard` is held for as long as what was begun is used, or `set_on` takes it over with that.
        let Begun { current, look, .. } = unsafe { self.begin(&key, &guard) };
        let mut seen = None;
        if let FirstLook::Found(place) = look {
            let value = place.value();
            seen = Some(value);
            // SHARD-5: as expected, and so neither frozen nor on the heap.
            if value == expected {
                match place.swap(value, new) {
                    // SHARD-1: here the operation took effect.
                    Ok(()) => {
                        count(expected != Word::EMPTY, new != Word::EMPTY, 0, &mut guard);
                        // Before the answer is made: else it would be put aside in memory.
                        drop(guard);
                        return Ok(Ok(()));
                    }
                    Err(now) => seen = Some(now),
                }
            }
        }
        // SAFETY: as above.
        unsafe { self.set_on(guard, Begun { current, look, seen }, key, expected, new, other) }
    }

    /// A change that has begun.
    ///
    /// # Safety
    /// It was begun under `guard`.
    #[inline(never)]
    unsafe fn set_on<A>(
        &self,
        mut guard: impl Guard,
        mut begun: Begun<'_>,
        key: impl Probe,
        expected: impl Wanted,
        mut new: impl New,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        loop {
            let Begun { current, look, seen } = begun;
            // SAFETY: the caller's promise, or `begin` below; `guard` is the last to go.
            let table = unsafe { current.table().as_ref() };
            // SAFETY: as above.
            let place = match unsafe { Self::look_on(current, look, &key) } {
                Some(place) => Some(place),
                None if !expected.is_absence() => return Ok(Err(other(None))),
                // From nothing to nothing.
                None if !new.word().is_present() => return Ok(Ok(())),
                None => self.insert(table, &key, &mut guard)?,
            };
            let attempt = match place {
                Some(place) => {
                    let seen = seen.unwrap_or_else(|| place.value());
                    Self::change(place, seen, expected, &mut new, &mut guard)?
                }
                None => Attempt::Replace,
            };
            match attempt {
                Attempt::Set => return Ok(Ok(())),
                // SAFETY: acquired under `guard`.
                Attempt::Differs(value) => return Ok(Err(unsafe { value.read(other) })),
                Attempt::Replace => self.replace(key.shard(), current, &mut guard)?,
            }
            // SAFETY: `guard` is held until the end.
            begun = unsafe { self.begin(&key, &guard) };
        }
    }

    /// Puts the key into its slot. `None` when the table has to be replaced first.
    #[inline(always)]
    fn insert<'t>(
        &self,
        table: &'t Table,
        key: &impl Probe,
        guard: &mut impl Guard,
    ) -> Result<Option<Place<'t>>, ShardsError> {
        if !table.has_room() {
            return Ok(None);
        }
        let mut pending = None;
        // SAFETY: the caller's guard led to the table.
        let place = unsafe {
            table.put_key(key.local(), self.hasher(), |place| key.claim(place, &mut pending))?
        };
        if let Some(place) = place
            && let Some(mut key) = pending
            && place.first().thawed() == key.word()
        {
            guard.count(0, key.share().cast_signed());
        }
        Ok(place)
    }

    /// Compares and exchanges the value of a slot that has the key, which was `seen` there.
    #[inline(always)]
    fn change(
        place: Place<'_>,
        mut seen: Word,
        expected: impl Wanted,
        new: &mut impl New,
        guard: &mut impl Guard,
    ) -> Result<Attempt, ShardsError> {
        loop {
            // SAFETY: acquired under `guard`.
            if !unsafe { expected.is(seen) } {
                return Ok(Attempt::Differs(seen));
            }
            if expected.is_absence() && !new.word().is_present() {
                return Ok(Attempt::Set);
            }
            if seen.is_frozen() {
                return Ok(Attempt::Replace);
            }
            if seen.blob().is_some() {
                guard.reserve()?;
            }
            match place.swap(seen, new.word()) {
                // SHARD-1: here the operation took effect.
                Ok(()) => break,
                Err(other) => seen = other,
            }
        }
        let word = new.word();
        count(seen.is_present(), word.is_present(), new.share(), guard);
        if let Some(blob) = seen.blob() {
            // SAFETY: the exchange took the only word that led to the blob: an unfrozen slot of a
            // table that is current or about to be replaced, and then frozen without it.
            unsafe { Self::retire(blob, guard) };
        }
        Ok(Attempt::Set)
    }

    /// # Safety
    /// As [`Guard::retire`].
    #[inline(never)]
    unsafe fn retire(blob: NonNull<Blob>, guard: &mut impl Guard) {
        // SAFETY: the caller's promise; `Blob::free_at` may be called once.
        unsafe {
            let bytes = Blob::read(blob, |bytes| Blob::footprint(bytes.len()));
            guard.retire(Garbage::new(blob.as_ptr().cast(), bytes, Blob::free_at));
        }
    }

    /// Replaces a table. When it returns, `current` is not the shard's table any more.
    #[cold]
    fn replace(
        &self,
        shard: usize,
        current: Current,
        guard: &mut impl Guard,
    ) -> Result<(), ShardsError> {
        // For the table.
        guard.reserve()?;
        // SAFETY: read from the shard under `guard`.
        let table = unsafe { current.table().as_ref() };
        // SAFETY: `guard` led to the table.
        let (slots, key_words) = unsafe { table.size_of_next(self.hasher()) };
        let next = Table::new(slots, key_words)?;
        // SAFETY: just made, and nobody frees it before it is shared.
        let successor = unsafe { next.as_ref() };
        // SAFETY: `guard` led to the table, and nobody else has seen the successor.
        let inlined = unsafe { table.copy_all(successor, self.hasher(), shard) };
        let bytes = successor.footprint();
        // SAFETY: just made, and given back below at the earliest.
        if self.shards()[shard].exchange(current, unsafe { Current::of(next) }) {
            guard.count(0, bytes.cast_signed());
            // SAFETY: the exchange took the only pointer from the map to the table, and only one
            // succeeds. All its slots are frozen. Our guard was taken before: the successor, should it be
            // retired meanwhile, stays until its keys are looked at.
            unsafe {
                if inlined {
                    table.replaced_by(key_words, self.hasher());
                }
                let bytes = table.footprint();
                guard.retire(Garbage::new(current.table().as_ptr().cast(), bytes, free_table));
            }
        } else {
            // SAFETY: nobody else has seen it; what its words lead to is that of the table, whose
            // successor another one is.
            unsafe { Table::free(next) };
        }
        Ok(())
    }
}

/// A key as an array. Its length was looked at before.
fn sized<const BYTES: usize>(key: &[u8]) -> &[u8; BYTES] {
    key.try_into().expect("the length that was asked for")
}

/// Counts an exchange: whether there was a value before, and is one now, which takes so many bytes on the heap.
#[inline(always)]
fn count(before: bool, now: bool, bytes: usize, guard: &mut impl Guard) {
    if before != now || bytes != 0 {
        guard.count(isize::from(now) - isize::from(before), bytes.cast_signed());
    }
}

/// # Safety
/// As [`Table::free_replaced`]; `table` is the address of one.
unsafe fn free_table(table: *mut ()) -> usize {
    // SAFETY: the caller's promise.
    NonNull::new(table.cast::<Table>()).map_or(0, |table| unsafe { Table::free_replaced(table) })
}
