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
//! caller, and for the rest; a change also for a longer key with such values.

// Measured: an operation on a key and a value of up to 8 bytes is a few dozen instructions.
#![allow(clippy::inline_always)]

use std::ptr::NonNull;

use crate::blob::Blob;
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

impl<R: Reclaim> Shards<R> {
    /// As [`Shards::read`].
    #[inline(always)]
    pub(crate) fn read_under<A>(
        &self,
        guard: &impl Guard,
        key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<A, ShardsError> {
        if key.len() > 8 {
            return self.read_long(guard, key, f);
        }
        let (shard, key) = Short::new(key, self.hasher());
        Ok(self.read_at(shard, &key, guard, f))
    }

    #[inline(never)]
    fn read_long<A>(
        &self,
        guard: &impl Guard,
        key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<A, ShardsError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(ShardsError::KeyTooLong { got: key.len() });
        }
        let key = Long::new(key, self.hasher());
        Ok(self.read_at(key.shard, &key, guard, f))
    }

    /// A read takes effect here: wait-free, for no loop but the one of `find`, and no help: a frozen
    /// value is an answer too.
    #[inline(always)]
    fn read_at<A>(
        &self,
        shard: usize,
        key: &impl Probe,
        guard: &impl Guard,
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> A {
        // SAFETY: `guard` was taken before and outlives the reference.
        let table = unsafe { self.shards()[shard].current(guard).as_ref() };
        match key.find(table) {
            // SAFETY: acquired under `guard`.
            Some(place) => unsafe { place.value().read(f) },
            None => f(None),
        }
    }

    /// As [`Shards::compare_and_set`]; hands what it has instead to `other`.
    #[inline(always)]
    pub(crate) fn set_under<A>(
        &self,
        guard: &mut impl Guard,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        let inline =
            |value: Option<&[u8]>| value.map_or(Some(None), |it| Word::inline(it).map(Some));
        match (inline(expected), inline(new)) {
            (Some(expected), Some(new)) if key.len() <= 8 => {
                let (shard, key) = Short::new(key, self.hasher());
                let mut new = new.unwrap_or(Word::EMPTY);
                self.set_at(shard, &key, &expected, &mut new, guard, other)
            }
            (Some(expected), Some(new)) if key.len() <= MAX_KEY_BYTES => {
                self.set_inline(guard, key, expected, new.unwrap_or(Word::EMPTY), other)
            }
            _ => self.set_long(guard, key, expected, new, other),
        }
    }

    /// A key of more than 8 bytes, with values that need no memory.
    #[inline(never)]
    fn set_inline<A>(
        &self,
        guard: &mut impl Guard,
        key: &[u8],
        expected: Option<Word>,
        mut new: Word,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        let key = Long::new(key, self.hasher());
        self.set_at(key.shard, &key, &expected, &mut new, guard, other)
    }

    #[inline(never)]
    fn set_long<A>(
        &self,
        guard: &mut impl Guard,
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
        let mut new = new.map_or(Ok(Owned::removal()), Owned::new)?;
        if key.len() <= 8 {
            let (shard, key) = Short::new(key, self.hasher());
            return self.set_at(shard, &key, &expected, &mut new, guard, other);
        }
        let key = Long::new(key, self.hasher());
        self.set_at(key.shard, &key, &expected, &mut new, guard, other)
    }

    #[inline(always)]
    fn set_at<A>(
        &self,
        shard: usize,
        key: &impl Probe,
        expected: &impl Wanted,
        new: &mut impl New,
        guard: &mut impl Guard,
        other: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<Result<(), A>, ShardsError> {
        loop {
            let current = self.shards()[shard].current(guard);
            // SAFETY: `guard` was taken before and outlives the reference.
            let table = unsafe { current.as_ref() };
            let place = match key.find(table) {
                Some(place) => Some(place),
                None if !expected.is_absence() => return Ok(Err(other(None))),
                // From nothing to nothing.
                None if !new.word().is_present() => return Ok(Ok(())),
                None => self.insert(table, key, guard)?,
            };
            let attempt = match place {
                Some(place) => Self::change(place, expected, new, guard)?,
                None => Attempt::Replace,
            };
            match attempt {
                Attempt::Set => return Ok(Ok(())),
                // SAFETY: acquired under `guard`.
                Attempt::Differs(value) => return Ok(Err(unsafe { value.read(other) })),
                Attempt::Replace => self.replace(shard, current, guard)?,
            }
        }
    }

    /// Puts the key into its slot. `None` when the table has to be replaced first.
    #[inline(never)]
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

    /// Compares and exchanges the value of a slot that has the key.
    #[inline(always)]
    fn change(
        place: Place<'_>,
        expected: &impl Wanted,
        new: &mut impl New,
        guard: &mut impl Guard,
    ) -> Result<Attempt, ShardsError> {
        let mut seen = place.value();
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
        let entries = isize::from(new.word().is_present()) - isize::from(seen.is_present());
        guard.count(entries, new.share().cast_signed());
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
        // SAFETY: the caller's promise; `free_blob` may be called once.
        unsafe {
            let bytes = Blob::read(blob, |bytes| Blob::footprint(bytes.len()));
            guard.retire(Garbage::new(blob.as_ptr().cast(), bytes, free_blob));
        }
    }

    /// Replaces a table. When it returns, `current` is not the shard's table any more.
    #[cold]
    fn replace(
        &self,
        shard: usize,
        current: NonNull<Table>,
        guard: &mut impl Guard,
    ) -> Result<(), ShardsError> {
        // For the table.
        guard.reserve()?;
        // SAFETY: read from the shard under `guard`.
        let table = unsafe { current.as_ref() };
        // SAFETY: `guard` led to the table.
        let (slots, key_words) = unsafe { table.size_of_next(self.hasher()) };
        let next = Table::new(slots, key_words)?;
        // SAFETY: just made, and nobody frees it before it is shared.
        let successor = unsafe { next.as_ref() };
        // SAFETY: `guard` led to the table, and nobody else has seen the successor.
        let inlined = unsafe { table.copy_all(successor, self.hasher(), shard) };
        let bytes = successor.footprint();
        if self.shards()[shard].exchange(current, next) {
            guard.count(0, bytes.cast_signed());
            // SAFETY: the exchange took the only pointer from the map to the table, and only one
            // succeeds. All its slots are frozen. Our guard was taken before: the successor, should it be
            // retired meanwhile, stays until its keys are looked at.
            unsafe {
                if inlined {
                    table.replaced_by(key_words, self.hasher());
                }
                let bytes = table.footprint();
                guard.retire(Garbage::new(current.as_ptr().cast(), bytes, free_table));
            }
        } else {
            // SAFETY: nobody else has seen it; what its words lead to is that of the table, whose
            // successor another one is.
            unsafe { Table::free(next) };
        }
        Ok(())
    }
}

/// # Safety
/// As [`Blob::free`]; `blob` is the address of one.
unsafe fn free_blob(blob: *mut ()) -> usize {
    // SAFETY: the caller's promise.
    NonNull::new(blob.cast::<Blob>()).map_or(0, |blob| unsafe { Blob::free(blob) })
}

/// # Safety
/// As [`Table::free_replaced`]; `table` is the address of one.
unsafe fn free_table(table: *mut ()) -> usize {
    // SAFETY: the caller's promise.
    NonNull::new(table.cast::<Table>()).map_or(0, |table| unsafe { Table::free_replaced(table) })
}
