//! The map: shards of one current table each, and the operations on them.
//!
//! Invariants (their sentences stand in `specs/README.md`):
//! * SHARD-1: an operation takes effect in one step between its call and its answer. A change: its
//!   exchange of the value word. A `get`, or a comparison that fails: its read of the value word;
//!   if that is frozen, the freezing, or the read of the current table, whichever was later;
//! * an operation writes to a table only through slots that are not frozen, and reaches a table
//!   only when it is or was current: until then its predecessor's values are the map's;
//! * progress: a `get` takes a bounded number of steps; a `compare_and_set` starts again only after
//!   another one has changed something.
//!
//! What it does not do: shrink a table below its size, and order keys.

use std::num::NonZero;
use std::ptr::NonNull;
use std::thread::available_parallelism;

use cloakroom_pool::{AtomicMap, Cas, MapError};

use crate::blob::Blob;
use crate::bounds::{FIRST_SLOTS, SHARDS_PER_CORE};
use crate::error::{MAX_KEY_BYTES, MAX_VALUE_BYTES, ShardsError};
use crate::hash::Hasher;
use crate::iter::Iter;
use crate::reclaim::{Epoch, Garbage, Guard, Reclaim};
use crate::sync::{AtomicPtr, Ordering};
use crate::table::{Found, PendingKey, Probe, Table};
use crate::word::Owned;

/// The most shards that a map may have.
pub const MAX_SHARDS: usize = 1 << 16;

/// A lock-free map from short keys to immutable byte strings.
///
/// Share it by reference or in an `Arc`; no thread has to register. What a thread did before a
/// change happened before what another does after it has seen the change, by any operation.
///
/// ```
/// use cloakroom_pool::Cas;
/// use cloakroom_shards::Shards;
///
/// let map = Shards::new()?; assert_eq!(map.compare_and_set(b"coat", None, Some(b"17"))?,
/// Cas::Set); assert_eq!(map.compare_and_set(b"coat", None, Some(b"18"))?,
/// Cas::Mismatch(Some(b"17".to_vec()))); assert_eq!(map.get(b"coat")?, Some(b"17".to_vec()));
/// assert_eq!(map.compare_and_set(b"coat", Some(b"17"), None)?, Cas::Set);
/// assert_eq!(map.get(b"coat")?, None);
/// # Ok::<(), cloakroom_shards::ShardsError>(())
/// ```
#[derive(Debug)]
pub struct Shards<R: Reclaim = Epoch> {
    all: Box<[Shard]>,
    hasher: Hasher,
    /// After the shards: what is retired is given back when no table leads to it any more.
    domain: R,
}

/// Two cache lines, because processors fetch them in pairs.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct Shard {
    current: AtomicPtr<Table>,
}

/// What came of an attempt on a slot.
enum Attempt {
    Answer(Cas),
    /// The slot is frozen: help, and go to the next table.
    Frozen,
}

impl Shards {
    /// An empty map with as many shards as suit the machine.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub fn new() -> Result<Self, ShardsError> {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self::with_shards((cores * SHARDS_PER_CORE).next_power_of_two().min(MAX_SHARDS))
    }

    /// An empty map with a fixed number of shards: a power of two up to [`MAX_SHARDS`].
    ///
    /// # Errors
    /// [`ShardsError::ShardCount`], [`ShardsError::OutOfMemory`].
    pub fn with_shards(count: usize) -> Result<Self, ShardsError> {
        Self::with_reclaimer(count)
    }
}

impl<R: Reclaim> Shards<R> {
    /// As [`Shards::with_shards`], with a reclaimer of the caller's choice.
    ///
    /// # Errors
    /// As there.
    pub fn with_reclaimer(count: usize) -> Result<Self, ShardsError> {
        if !count.is_power_of_two() || count > MAX_SHARDS {
            return Err(ShardsError::ShardCount { most: MAX_SHARDS, got: count });
        }
        let mut shards = Vec::new();
        let too_many = ShardsError::OutOfMemory { bytes: count * size_of::<Shard>() };
        shards.try_reserve_exact(count).map_err(|_| too_many)?;
        // Made first: its drop gives back the tables made so far if one cannot be had.
        let mut map = Self { all: Box::default(), hasher: Hasher::new(), domain: R::new() };
        let mut failed = None;
        for _ in 0..count {
            match Table::new(FIRST_SLOTS) {
                Ok(table) => shards.push(Shard { current: AtomicPtr::new(table.as_ptr()) }),
                Err(error) => failed = Some(error),
            }
        }
        map.all = shards.into_boxed_slice();
        failed.map_or(Ok(map), Err)
    }

    /// The value of a key. Wait-free: at most one look at each slot of one table.
    ///
    /// # Errors
    /// [`ShardsError::KeyTooLong`]; [`ShardsError::OutOfMemory`] when there is no room for the
    /// answer.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShardsError> {
        self.read(key, |value| value.map(copied).transpose())?
    }

    /// Hands the value of a key to `f`, without a copy. Memory that others remove meanwhile waits
    /// for `f`.
    ///
    /// # Errors
    /// [`ShardsError::KeyTooLong`]; [`ShardsError::OutOfMemory`] as [`Reclaim::pin`].
    pub fn read<A>(
        &self,
        key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<A, ShardsError> {
        let (shard, probe) = self.probe(key)?;
        let guard = self.domain.pin()?;
        // SAFETY: `guard` was taken before and outlives the reference.
        let table = unsafe { shard.current(&guard).as_ref() };
        // Wait-free: no loop but the one of `find`, and no help: a frozen value is an answer too.
        match table.find(&probe) {
            // SAFETY: acquired under `guard`.
            Found::At(at) => Ok(unsafe { table.value(at).read(f) }),
            Found::Empty(_) | Found::Full => Ok(f(None)),
        }
    }

    /// Makes `new` the value of a key if it has exactly the value `expected`; `None` is absence.
    /// Lock-free; a step costs the way to the key's slot, and a growing table its whole length.
    ///
    /// # Errors
    /// [`ShardsError::KeyTooLong`], [`ShardsError::ValueTooLong`] of `new`,
    /// [`ShardsError::OutOfMemory`]. In all of them the key is as it was, unless what failed is the
    /// copy of a mismatch's value.
    pub fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, ShardsError> {
        let (shard, probe) = self.probe(key)?;
        if let Some(got) = new.map(<[u8]>::len).filter(|&got| got > MAX_VALUE_BYTES) {
            return Err(ShardsError::ValueTooLong { got });
        }
        let mut new = new.map_or(Ok(Owned::removal()), Owned::new)?;
        let mut pending = PendingKey::default();
        let mut guard = self.domain.pin()?;
        loop {
            // For one value or one table.
            guard.reserve()?;
            let current = shard.current(&guard);
            // SAFETY: `guard` was taken before and outlives the reference.
            let table = unsafe { current.as_ref() };
            let at = match table.find(&probe) {
                Found::At(at) => Some(at),
                Found::Empty(_) | Found::Full if expected.is_some() => {
                    return Ok(Cas::Mismatch(None));
                }
                // From nothing to nothing.
                Found::Empty(_) | Found::Full if !new.word().is_present() => return Ok(Cas::Set),
                Found::Full => None,
                Found::Empty(at) => Self::insert(table, at, &probe, &mut pending, &mut guard)?,
            };
            if let Some(at) = at
                && let Attempt::Answer(answer) =
                    Self::change(table, at, expected, &mut new, &mut guard)?
            {
                return Ok(answer);
            }
            self.replace(shard, current, &mut guard)?;
        }
    }

    /// An estimate of the number of entries; exact while nobody writes.
    pub fn len(&self) -> usize {
        self.domain.tally().entries
    }

    /// Whether [`Shards::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap: tables, keys, values, and what waits to be given back. An estimate while
    /// somebody writes; without what the allocator adds.
    pub fn memory_usage(&self) -> usize {
        let first = Table::footprint_of(FIRST_SLOTS) + size_of::<Shard>();
        // A table that replaced another counts as the difference to it.
        size_of::<Self>() + self.all.len() * first + self.domain.tally().bytes
    }

    /// All entries, in no order. A key that is there all the while is seen exactly once, no key is
    /// seen twice, and each value that is seen was the key's at some moment of the iteration
    /// (SHARD-6). While it lives, it may keep removed memory of the shard that it is in from being
    /// given back.
    pub fn iter(&self) -> Iter<'_, R> {
        Iter::new(self)
    }

    pub(crate) fn shards(&self) -> &[Shard] {
        &self.all
    }

    pub(crate) fn pin(&self) -> Result<R::Guard<'_>, ShardsError> {
        self.domain.pin()
    }

    fn probe<'k>(&self, key: &'k [u8]) -> Result<(&Shard, Probe<'k>), ShardsError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(ShardsError::KeyTooLong { got: key.len() });
        }
        let hash = self.hasher.hash(key);
        // The shard takes the high bits, the slot the low ones. There are at most 2^16 shards.
        let shard = (hash >> 48) as usize & (self.all.len() - 1);
        Ok((&self.all[shard], Probe::new(key, start(hash))))
    }

    /// Puts the key into the first empty slot on its way, from `at` on. Answers its slot; `None`
    /// when the table has to be replaced first.
    fn insert(
        table: &Table,
        mut at: usize,
        probe: &Probe<'_>,
        pending: &mut PendingKey,
        guard: &mut R::Guard<'_>,
    ) -> Result<Option<usize>, ShardsError> {
        loop {
            if !table.has_room() {
                return Ok(None);
            }
            let key = pending.word(probe)?;
            if table.claim(at, key) == key {
                guard.count(0, pending.share().cast_signed());
                return Ok(Some(at));
            }
            // SHARD-2: somebody else's key is there now. It may be this one, so look again.
            match table.find(probe) {
                Found::At(at) => return Ok(Some(at)),
                Found::Full => return Ok(None),
                Found::Empty(next) => at = next,
            }
        }
    }

    /// Compares and exchanges the value of a slot that has the key.
    fn change(
        table: &Table,
        at: usize,
        expected: Option<&[u8]>,
        new: &mut Owned,
        guard: &mut R::Guard<'_>,
    ) -> Result<Attempt, ShardsError> {
        let mut seen = table.value(at);
        loop {
            // SAFETY: acquired under `guard`.
            if !unsafe { seen.is(expected) } {
                // SAFETY: as above.
                let current = unsafe { seen.read(|value| value.map(copied).transpose()) }?;
                return Ok(Attempt::Answer(Cas::Mismatch(current)));
            }
            if expected.is_none() && !new.word().is_present() {
                return Ok(Attempt::Answer(Cas::Set));
            }
            if seen.is_frozen() {
                return Ok(Attempt::Frozen);
            }
            match table.swap(at, seen, new.word()) {
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
            // `free_blob` may be called once.
            unsafe { guard.retire(Garbage::new(blob.as_ptr().cast(), free_blob)) };
        }
        Ok(Attempt::Answer(Cas::Set))
    }

    /// Helps to replace a table. When it returns, `current` is not the shard's table any more.
    #[cold]
    fn replace(
        &self,
        shard: &Shard,
        current: NonNull<Table>,
        guard: &mut R::Guard<'_>,
    ) -> Result<(), ShardsError> {
        // SAFETY: read from the shard under `guard`.
        let table = unsafe { current.as_ref() };
        let next = match table.next() {
            Some(next) => next,
            None => Self::successor(table, guard)?,
        };
        // SAFETY: `next` is retired after `table` is, which `guard` led to, so it stands as long.
        let successor = unsafe { next.as_ref() };
        table.copy_all(successor, |key| start(self.hasher.hash(key)));
        // Release: all that was copied, and what was acquired from slots that were not (SHARD-3);
        // partner: Acquire in `Shard::current`. Relaxed: who fails reads nothing from it.
        let moved = shard.current.compare_exchange(
            current.as_ptr(),
            next.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        if moved.is_ok() {
            // SAFETY: the exchange took the only pointer from the map to the table, and only one
            // succeeds. All its slots are frozen.
            unsafe { guard.retire(Garbage::new(current.as_ptr().cast(), free_table)) };
        }
        Ok(())
    }

    fn successor(table: &Table, guard: &mut R::Guard<'_>) -> Result<NonNull<Table>, ShardsError> {
        let fresh = Table::new(table.slots_of_next())?;
        let (next, ours) = table.set_next(fresh);
        if ours {
            // SAFETY: just made; it is retired after `table`, which the caller's guard led to.
            let bytes = unsafe { fresh.as_ref() }.footprint();
            guard.count(0, bytes.cast_signed());
        } else {
            // SAFETY: made above, and nobody else has seen it.
            unsafe { Table::free_unshared(fresh) };
        }
        Ok(next)
    }
}

impl Shard {
    /// The current table: may be read as long as the guard is held.
    pub(crate) fn current(&self, _: &impl Guard) -> NonNull<Table> {
        // Acquire: the table, all that was copied to it and what went before that; partner: Release
        // in `replace`.
        let table = self.current.load(Ordering::Acquire);
        NonNull::new(table).expect("SHARD-1: a shard always has a table")
    }
}

impl<R: Reclaim> Drop for Shards<R> {
    fn drop(&mut self) {
        for shard in &self.all {
            // Relaxed: `&mut self` came by something that orders it.
            if let Some(table) = NonNull::new(shard.current.load(Ordering::Relaxed)) {
                // SAFETY: `&mut self`: no guard is left, and each shard has its own table.
                unsafe { Table::free_current(table) };
            }
        }
    }
}

impl<R: Reclaim> AtomicMap for Shards<R> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        Self::get(self, key).map_err(unavailable)
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        Self::compare_and_set(self, key, expected, new).map_err(unavailable)
    }
}

impl<'a, R: Reclaim> IntoIterator for &'a Shards<R> {
    type Item = Result<(Vec<u8>, Vec<u8>), ShardsError>;
    type IntoIter = Iter<'a, R>;

    fn into_iter(self) -> Iter<'a, R> {
        self.iter()
    }
}

/// No operation that failed has done anything.
#[allow(clippy::needless_pass_by_value)] // It is what `map_err` hands over.
fn unavailable(error: ShardsError) -> MapError {
    MapError::Unavailable { cause: error.to_string() }
}

/// A table masks it to its size.
#[allow(clippy::cast_possible_truncation)] // 64 bits, as `word` asserts.
fn start(hash: u64) -> usize {
    hash as usize
}

/// A copy, or an error where `to_vec` would abort.
pub(crate) fn copied(bytes: &[u8]) -> Result<Vec<u8>, ShardsError> {
    let mut copy = Vec::new();
    let none = |_| ShardsError::OutOfMemory { bytes: bytes.len() };
    copy.try_reserve_exact(bytes.len()).map_err(none)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
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
