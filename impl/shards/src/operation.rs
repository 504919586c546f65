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
//!
//! What it does not do: change anything. `change` does.

// Measured: an operation on a key and a value of up to 8 bytes is a few dozen instructions.
#![allow(clippy::inline_always)]

use crate::current::{Current, FirstLook};
use crate::error::{MAX_KEY_BYTES, MAX_VALUE_BYTES, ShardsError};
use crate::key::{Long, Probe, Short};
use crate::map::Shards;
use crate::reclaim::{Guard, Reclaim};
use crate::slot::Place;
use crate::word::{Owned, Word};

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
    pub(crate) unsafe fn look_on<'t>(
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
}

/// A key as an array. Its length was looked at before.
fn sized<const BYTES: usize>(key: &[u8]) -> &[u8; BYTES] {
    key.try_into().expect("the length that was asked for")
}
