//! Iteration: shard by shard, one guard for each, over the table that was current when it began.
//!
//! * SHARD-6: a key has one slot in a table (SHARD-2), so it is seen once; a table that is replaced
//!   meanwhile is walked to its end, because what was there all the while is there, frozen.
//!
//! What it does not do: show a moment. Entries of different shards, and of different slots, are
//! from different moments.

use std::ptr::NonNull;

use crate::error::ShardsError;
use crate::map::{Shards, copied};
use crate::reclaim::Reclaim;
use crate::slot::Place;
use crate::table::Table;

type Entry = (Vec<u8>, Vec<u8>);

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
            // SAFETY: `table` was read from its shard under the guard that stands beside it.
            let entry = unsafe {
                entry_at(self.map, self.shard, place, |key, value| {
                    Ok((copied(key)?, copied(value)?))
                })
            };
            if entry.is_some() {
                return entry;
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
    for (number, shard) in map.shards().iter().enumerate() {
        let guard = map.pin()?;
        // SAFETY: read under `guard`, which outlives the reference.
        let table = unsafe { shard.current(&guard).as_ref() };
        for place in table.places() {
            // SAFETY: as above.
            unsafe { entry_at(map, number, place, &mut f) };
        }
    }
    Ok(())
}

/// Hands the entry of a slot to `f`, if it has one.
///
/// # Safety
/// The slot's table was read from its shard under a guard that is held.
unsafe fn entry_at<R: Reclaim, A>(
    map: &Shards<R>,
    shard: usize,
    place: Place<'_>,
    f: impl FnOnce(&[u8], &[u8]) -> A,
) -> Option<A> {
    let value = place.value();
    if !value.is_present() {
        return None;
    }
    // SAFETY: both acquired under the caller's guard. Where a value is, its key was before.
    unsafe {
        value.read(|value| {
            let value = value.unwrap_or_default();
            Some(place.read_key(map.hasher(), shard, |key| f(key, value)))
        })
    }
}
