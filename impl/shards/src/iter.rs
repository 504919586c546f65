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
            let shard = self.map.shards().get(self.shard)?;
            self.shard += 1;
            match self.map.pin() {
                Ok(guard) => {
                    let table = shard.current(&guard);
                    self.walk = Some(Walk { table, at: 0, _guard: guard });
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
            let at = self.at;
            self.at += 1;
            let value = table.value(at);
            if !value.is_present() {
                continue;
            }
            // SAFETY: both acquired under the guard. Where a value is, its key was before.
            let entry = unsafe {
                value.read(|value| {
                    table.key(at).read(|key| {
                        let key = key.expect("SHARD-6: where a value is, its key was before");
                        Ok((copied(key)?, copied(value.unwrap_or_default())?))
                    })
                })
            };
            return Some(entry);
        }
        None
    }
}
