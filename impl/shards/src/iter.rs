//! Iteration: shard by shard, one guard for each, over the table that was current when it began.
//!
//! * SHARD-6: a key has one slot in a table (SHARD-2), so it is seen once; a table that is replaced
//!   meanwhile is walked to its end, because what was there all the while is there, frozen. What was there before has
//!   a fingerprint, which stood before its value: so a slot without one may be left out.
//!
//! What it does not do: show a moment. Entries of different shards, and of different slots, are
//! from different moments.

// Measured: an entry is a few dozen instructions.
#![allow(clippy::inline_always)]

use std::ptr::NonNull;

use crate::blob::Blob;
use crate::bounds::GROUP;
use crate::error::{MAX_KEY_BYTES, ShardsError};
use crate::key;
use crate::map::{Shards, copied};
use crate::reclaim::Reclaim;
use crate::slot::Place;
use crate::table::Table;
use crate::word::Word;

type Entry = (Vec<u8>, Vec<u8>);

/// Groups whose slots have a bit each in one word. Whether a slot has a value cannot be foretold, and need not be
/// guessed where the next one is looked up.
const AT_ONCE: usize = 64 / GROUP;

/// See [`Shards::iter`].
pub struct Iter<'a, R: Reclaim> {
    map: &'a Shards<R>,
    /// The next shard.
    shard: usize,
    walk: Option<Walk<'a, R>>,
}

struct Walk<'a, R: Reclaim + 'a> {
    map: &'a Shards<R>,
    shard: usize,
    table: NonNull<Table>,
    /// The next slot.
    at: usize,
    /// Keeps `table`.
    _guard: R::Guard<'a>,
}

impl<'a, R: Reclaim> Iter<'a, R> {
    pub(crate) fn new(map: &'a Shards<R>) -> Self {
        Self { map, shard: 0, walk: None }
    }
}

impl<R: Reclaim> Iterator for Iter<'_, R> {
    type Item = Result<Entry, ShardsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(walk) = &mut self.walk {
                if let Some(entry) = walk.next() {
                    return Some(entry);
                }
                self.walk = None;
            }
            let (map, shard) = (self.map, self.shard);
            let current = map.shards().get(shard)?;
            self.shard += 1;
            match self.map.pin() {
                Ok(guard) => {
                    let table = current.current(&guard);
                    self.walk = Some(Walk { map, shard, table, at: 0, _guard: guard });
                }
                // The shard cannot be seen: say so, and go on to the next one.
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl<R: Reclaim> Walk<'_, R> {
    fn next(&mut self) -> Option<Result<Entry, ShardsError>> {
        // SAFETY: read from its shard under the guard that stands beside it.
        let table = unsafe { self.table.as_ref() };
        while self.at < table.len() {
            let place = table.place(self.at);
            self.at += 1;
            let value = place.value();
            if !value.is_present() {
                continue;
            }
            let mut both = None;
            let copy = |key: &[u8], value: &[u8]| {
                both = Some(copied(key).and_then(|key| Ok((key, copied(value)?))));
            };
            // SAFETY: `table` was read from its shard under the guard that stands beside it, and then
            // the value.
            unsafe { entry(self.map, self.shard, place, value, copy) };
            return both;
        }
        None
    }
}

/// See [`Shards::for_each`].
pub(crate) fn for_each<R: Reclaim>(
    map: &Shards<R>,
    mut f: impl FnMut(&[u8], &[u8]),
) -> Result<(), ShardsError> {
    for (number, shard) in map.shards().iter().enumerate() {
        let guard = map.pin()?;
        // SAFETY: read under `guard`, which outlives the reference.
        let table = unsafe { shard.current(&guard).as_ref() };
        let groups = table.len() / GROUP;
        for first in (0..groups).step_by(AT_ONCE) {
            let mut there = 0_u64;
            for group in first..groups.min(first + AT_ONCE) {
                there |= table.may_have_values(group) << ((group - first) * GROUP);
            }
            while there != 0 {
                let place = table.place(first * GROUP + there.trailing_zeros() as usize);
                there &= there - 1;
                let value = place.value();
                if value.is_present() {
                    // SAFETY: as above.
                    unsafe { entry(map, number, place, value, &mut f) };
                }
            }
        }
    }
    Ok(())
}

/// Hands the entry of a slot to `f`.
///
/// # Safety
/// The slot's table was read from its shard under a guard that is held, and then the value, which is
/// there, from the slot.
#[inline(always)]
unsafe fn entry<R: Reclaim>(
    map: &Shards<R>,
    shard: usize,
    place: Place<'_>,
    value: Word,
    mut f: impl FnMut(&[u8], &[u8]),
) {
    let first = place.first();
    let mut eight = [0; 8];
    // What is short stands inline, with lengths that the compiler knows.
    if let Some(key) = key::eight(map.hasher(), shard, first)
        && let Some(value) = value.eight()
    {
        return f(&key, &value);
    }
    let mut key = [0; MAX_KEY_BYTES];
    let further = |word| place.further(word);
    let words = place.table().key_words();
    let length = key::inline(map.hasher(), shard, first, words, further, &mut key);
    if let (Some(length), Some(value)) = (length, value.short(&mut eight)) {
        return f(&key[..length], value);
    }
    // SAFETY: both acquired under the caller's guard.
    unsafe { entry_on_heap(length.map(|it| &key[..it]), first, value, &mut f) };
}

/// As [`entry`], for a key or a value on the heap.
///
/// # Safety
/// As there.
#[inline(never)]
unsafe fn entry_on_heap(
    key: Option<&[u8]>,
    first: Word,
    value: Word,
    f: &mut dyn FnMut(&[u8], &[u8]),
) {
    // SAFETY: the caller's promise.
    unsafe {
        value.read(|value| {
            let value = value.unwrap_or_default();
            match (key, first.blob()) {
                (Some(key), _) => f(key, value),
                (None, Some(key)) => Blob::read(key, |key| f(key, value)),
                (None, None) => unreachable!("SHARD-6: where a value is, its key was before"),
            }
        });
    }
}
