//! A change of one key, under a guard.
//!
//! 1. *quick* ([`Shards::set_at`]): the first look finds the slot, and it has what is expected: one exchange;
//! 2. *first put* ([`Shards::put_first`]): no slot has the key, and none is expected to. Where the first look did not tell,
//!    [`Shards::put_unclear`] comes before. It keeps nothing for what else may come, which would be put aside in memory, and each
//!    of its three exchanges would wait until that has reached the cache;
//! 3. *any other* ([`Shards::set_on`]): what the first two have begun and not ended, keys for which the first look is
//!    [`FirstLook::Apart`], values on the heap.
//!
//! Each hands the guard and what it has begun to the next and does nothing after that.
//!
//! Invariants: SHARD-1, SHARD-5 and SHARD-7, as `operation` has them.
//!
//! What it does not do: copy a table. `successor` does.

// Measured, see `operation`.
#![allow(clippy::inline_always)]

use std::ptr::NonNull;

use crate::blob::Blob;
use crate::current::{Current, FirstLook};
use crate::error::ShardsError;
use crate::key::Probe;
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
    /// # Safety
    /// `guard` is held for as long as the answer is used.
    #[inline(always)]
    unsafe fn begin<'t>(&self, key: &impl Probe, guard: &impl Guard) -> Begun<'t> {
        let current = self.shard_of(key).current(guard);
        // SAFETY: the caller's promise.
        Begun { current, look: unsafe { key.look_first(current) }, seen: None }
    }

    /// A change without a quick part.
    pub(crate) fn set_all<A>(
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

    /// The quick part of a change, not from nothing to nothing.
    #[inline(always)]
    pub(crate) fn set_at<A>(
        &self,
        mut guard: impl Guard,
        key: impl Probe,
        expected: Word,
        new: Word,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        // SAFETY: `guard` is held for as long as what was begun is used, or whoever is called last takes it over with that.
        let Begun { current, look, .. } = unsafe { self.begin(&key, &guard) };
        let mut seen = None;
        match look {
            FirstLook::Found(place) => {
                match Self::exchange_once(place, expected, new, &mut guard) {
                    Ok(()) => {
                        // Before the answer is made: else it would be put aside in memory.
                        drop(guard);
                        return Ok(Ok(()));
                    }
                    Err(now) => seen = Some(now),
                }
            }
            FirstLook::Absent if expected == Word::EMPTY => {
                // SAFETY: as above, and it is not from nothing to nothing.
                return unsafe { self.put_first(guard, current, key, new, other) };
            }
            FirstLook::Unclear if expected == Word::EMPTY => {
                // SAFETY: as above, and it is not from nothing to nothing.
                return unsafe { self.put_unclear(guard, current, key, new, other) };
            }
            FirstLook::Absent | FirstLook::Unclear | FirstLook::Apart => {}
        }
        // SAFETY: as above.
        unsafe { self.set_on(guard, Begun { current, look, seen }, key, expected, new, other) }
    }

    /// Exchanges the value of a slot at the first attempt, or answers what it has instead.
    #[inline(always)]
    fn exchange_once(
        place: Place<'_>,
        expected: Word,
        new: Word,
        guard: &mut impl Guard,
    ) -> Result<(), Word> {
        let seen = place.value();
        // SHARD-5: as expected, and so neither frozen nor on the heap.
        if seen != expected {
            return Err(seen);
        }
        // SHARD-1: here the operation takes effect.
        place.swap(seen, new)?;
        count(expected != Word::EMPTY, new != Word::EMPTY, 0, guard);
        Ok(())
    }

    /// As [`Shards::set_on`], of a value, where no slot had the key and none is expected to.
    ///
    /// # Safety
    /// `current` was read from the key's shard under `guard`.
    #[inline(never)]
    unsafe fn put_first<A>(
        &self,
        mut guard: impl Guard,
        current: Current,
        key: impl Probe,
        new: Word,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        debug_assert!(new.is_present());
        // SAFETY: nothing of the table is used when `guard` has gone, or `set_on` takes over both.
        let table = unsafe { current.table().as_ref() };
        let Some(place) = self.put_key(table, &key, &mut guard)? else {
            self.replace(key.shard(), current, &mut guard)?;
            // SAFETY: `set_on` takes over `guard` with what was begun under it.
            return unsafe {
                let begun = self.begin(&key, &guard);
                self.set_on(guard, begun, key, Word::EMPTY, new, other)
            };
        };
        match Self::exchange_once(place, Word::EMPTY, new, &mut guard) {
            Ok(()) => {
                // As in `set_at`.
                drop(guard);
                Ok(Ok(()))
            }
            Err(now) => {
                let begun = Begun { current, look: FirstLook::Found(place), seen: Some(now) };
                // SAFETY: as above.
                unsafe { self.set_on(guard, begun, key, Word::EMPTY, new, other) }
            }
        }
    }

    /// As [`Shards::put_first`], where the first look did not tell: a key that stands further on is not put, so its table is
    /// not replaced in vain when it is full.
    ///
    /// # Safety
    /// As there.
    #[inline(never)]
    unsafe fn put_unclear<A>(
        &self,
        guard: impl Guard,
        current: Current,
        key: impl Probe,
        new: Word,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        // SAFETY: the caller's promise; who is called last takes over `guard`.
        unsafe {
            let Some(place) = key.find_on(current.table().as_ref()) else {
                return self.put_first(guard, current, key, new, other);
            };
            let begun = Begun { current, look: FirstLook::Found(place), seen: None };
            self.set_on(guard, begun, key, Word::EMPTY, new, other)
        }
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
        // SHARD-7: once more only after somebody else has changed something.
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
                None => self.put_key(table, &key, &mut guard)?,
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
    fn put_key<'t>(
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

    /// Replaces a table. When it returns, `current` is not the shard's table any more (SHARD-7: whoever finds it full or frozen
    /// does that himself).
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
