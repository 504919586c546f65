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
use crate::hash::Hasher;
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
                    let table = current.current(&guard).table();
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
            let mut both = None;
            let mut copy = |key: &[u8], value: &[u8]| {
                both = Some(copied(key).and_then(|key| Ok((key, copied(value)?))));
            };
            // SAFETY: `table` was read from its shard under the guard that stands beside it, and then
            // the value.
            unsafe {
                entry(self.map.hasher(), self.shard, place, value, table.key_words(), &mut copy);
            };
            if both.is_some() {
                return both;
            }
        }
        None
    }
}

/// See [`Shards::for_each`].
pub(crate) fn for_each<R: Reclaim>(
    map: &Shards<R>,
    mut f: impl FnMut(&[u8], &[u8]),
) -> Result<(), ShardsError> {
    // A copy, which stays in registers.
    let hasher = *map.hasher();
    for (number, shard) in map.shards().iter().enumerate() {
        let guard = map.pin()?;
        // SAFETY: read under `guard`, which outlives the reference.
        let table = unsafe { shard.current(&guard).table().as_ref() };
        // SAFETY: as above, and so many key words.
        unsafe {
            // What the compiler knows is quicker: keys of 8, 16 and 32 bytes.
            match table.key_words() {
                1 => hand_over(&hasher, number, table, 1, &mut f),
                2 => hand_over(&hasher, number, table, 2, &mut f),
                4 => hand_over(&hasher, number, table, 4, &mut f),
                key_words => hand_over(&hasher, number, table, key_words, &mut f),
            }
        }
    }
    Ok(())
}

/// Hands all entries of a table to `f`.
///
/// # Safety
/// The table, which has so many key words, was read from its shard under a guard that is held.
#[inline(always)]
unsafe fn hand_over(
    hasher: &Hasher,
    shard: usize,
    table: &Table,
    key_words: usize,
    f: &mut impl FnMut(&[u8], &[u8]),
) {
    // SAFETY: the caller's promise.
    let slots = unsafe { table.slots(key_words) };
    let groups = table.len() / GROUP;
    for first in (0..groups).step_by(AT_ONCE) {
        let mut there = 0_u64;
        for group in first..groups.min(first + AT_ONCE) {
            // Tables are short: where one begins, no processor knows yet what is read next.
            slots.fetch_ahead(group + AT_ONCE);
            there |= table.may_have_values(group) << ((group - first) * GROUP);
        }
        while there != 0 {
            let place = slots.place(first * GROUP + there.trailing_zeros() as usize);
            there &= there - 1;
            // SAFETY: the caller's promise.
            unsafe { entry(hasher, shard, place, place.value(), key_words, f) };
        }
    }
}

/// Hands the entry of a slot to `f`, if there is one.
///
/// # Safety
/// The slot's table, which has so many key words, was read from its shard under a guard that is held, and then the
/// value from the slot.
#[inline(always)]
unsafe fn entry(
    hasher: &Hasher,
    shard: usize,
    place: Place<'_>,
    value: Word,
    key_words: usize,
    f: &mut impl FnMut(&[u8], &[u8]),
) {
    // What mostly is stands inline, with lengths that the compiler knows.
    if let Some(eight) = value.eight() {
        let first = place.first();
        if key_words == 1
            && let Some(key) = key::eight(hasher, shard, first)
        {
            return f(&key, &eight);
        }
        if key_words > 1 && key::is_full(first.bits()) {
            let mut key = [0; MAX_KEY_BYTES];
            let further = |word| place.further(word);
            let length = key::full(hasher, shard, first, key_words, further, &mut key);
            return f(&key[..length], &eight);
        }
        // SAFETY: the caller's promise.
        return unsafe { entry_apart(*hasher, shard, place, first, value, f) };
    }
    if value.is_present() {
        // SAFETY: the caller's promise.
        unsafe { entry_apart(*hasher, shard, place, place.first(), value, f) };
    }
}

/// As [`entry`], of any kind. By value: what has an address cannot stay in registers.
///
/// # Safety
/// As there, and the slot has a value.
#[inline(never)]
unsafe fn entry_apart(
    hasher: Hasher,
    shard: usize,
    place: Place<'_>,
    first: Word,
    value: Word,
    f: &mut dyn FnMut(&[u8], &[u8]),
) {
    let mut key = [0; MAX_KEY_BYTES];
    let further = |word| place.further(word);
    let key_words = place.table().key_words();
    let length = key::inline(&hasher, shard, first, key_words, further, &mut key);
    // SAFETY: the caller's promise: both acquired under the guard.
    unsafe {
        value.read(|value| {
            let value = value.unwrap_or_default();
            match (length, first.blob()) {
                (Some(length), _) => f(&key[..length], value),
                (None, Some(key)) => Blob::read(key, |key| f(key, value)),
                (None, None) => unreachable!("SHARD-6: where a value is, its key was before"),
            }
        });
    }
}
