//! The map: shards of one current table each.
//!
//! Invariants:
//! * a shard always has a table, and nobody but `exchange` changes which;
//! * keys and values are what `operation` and `change` make of them: SHARD-1 is upheld there.
//!
//! What it does not do: shrink a table below its size, and order keys.

// Measured: an operation on a key and a value of up to 8 bytes is a few dozen instructions.
#![allow(clippy::inline_always)]

use std::num::NonZero;
use std::ptr::NonNull;
use std::thread::available_parallelism;

use cloakroom_pool::{AtomicMap, Cas, MapError};

use crate::bounds::{FIRST_SLOTS, MIN_SHARDS, SHARDS_PER_CORE};
use crate::current::Current;
use crate::error::ShardsError;
use crate::handle::Handle;
use crate::hash::Hasher;
use crate::iter::{Iter, for_each};
use crate::key::Probe;
use crate::reclaim::{Epoch, Guard, Reclaim};
use crate::sync::{AtomicPtr, Ordering};
use crate::table::Table;

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
    /// As many as were asked for; a boxed slice would have to be cut to size when memory runs out.
    all: Vec<Shard>,
    hasher: Hasher,
    /// After the shards: what is retired is given back when no table leads to it any more.
    domain: R,
}

/// One word: seldom written, so several may share a cache line, which then stays near the processor.
#[derive(Debug)]
pub(crate) struct Shard {
    /// See [`Current`].
    current: AtomicPtr<Table>,
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

    /// An empty map with a fixed number of shards: a power of two up to [`MAX_SHARDS`]; fewer than 8
    /// are taken as 8.
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
        let asked = count;
        let count = asked.max(MIN_SHARDS);
        if !asked.is_power_of_two() || count > MAX_SHARDS {
            return Err(ShardsError::ShardCount { most: MAX_SHARDS, got: asked });
        }
        let mut shards = Vec::new();
        let too_many = ShardsError::OutOfMemory { bytes: count * size_of::<Shard>() };
        shards.try_reserve_exact(count).map_err(|_| too_many)?;
        // Made first: its drop gives back the tables made so far if one cannot be had.
        let mut map =
            Self { all: Vec::new(), hasher: Hasher::new(count.trailing_zeros()), domain: R::new() };
        let mut failed = None;
        for _ in 0..count {
            match Table::new(FIRST_SLOTS, 1) {
                // SAFETY: just made.
                Ok(table) => shards.push(unsafe { Shard::new(table) }),
                Err(error) => failed = Some(error),
            }
        }
        map.all = shards;
        failed.map_or(Ok(map), Err)
    }

    /// A seat for one thread: operations by way of it are faster, and its reads are wait-free.
    /// Registering is lock-free: it takes a free seat, after a look at those that are not, or makes a
    /// block of new ones.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub fn handle(&self) -> Result<Handle<'_, R>, ShardsError> {
        Handle::new(self, &self.domain)
    }

    /// The value of a key. Lock-free; [`Handle::get`] is wait-free.
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
    #[inline(always)]
    pub fn read<A>(
        &self,
        key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<A, ShardsError> {
        self.read_under(self.domain.pin()?, key, f)
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
        self.set_under(self.domain.pin()?, key, expected, new, mismatch).map(answer)?
    }

    /// As [`Shards::compare_and_set`], without a copy of a mismatch's value: whether it was done.
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    pub fn try_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, ShardsError> {
        let done = self.set_under(self.domain.pin()?, key, expected, new, |_| ())?;
        Ok(done.is_ok())
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
        let first = Table::footprint_of(FIRST_SLOTS, 1) + size_of::<Shard>();
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

    /// As [`Shards::iter`], without copies: hands every key and value to `f`.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`] as [`Reclaim::pin`]; the shards before were seen.
    pub fn for_each(&self, f: impl FnMut(&[u8], &[u8])) -> Result<(), ShardsError> {
        for_each(self, f)
    }

    #[inline]
    pub(crate) fn shards(&self) -> &[Shard] {
        &self.all
    }

    /// The shard of a key.
    #[inline(always)]
    pub(crate) fn shard_of(&self, key: &impl Probe) -> &Shard {
        // SAFETY: a probe answers what this map's hasher has answered, which is less than 2 to the number of bits that it was
        // made with, and there are so many.
        unsafe { self.all.get_unchecked(key.shard()) }
    }

    pub(crate) fn pin(&self) -> Result<R::Guard<'_>, ShardsError> {
        self.domain.pin()
    }

    pub(crate) fn hasher(&self) -> &Hasher {
        &self.hasher
    }
}

impl Shard {
    /// # Safety
    /// `Table::new` made the table, and nobody else has it.
    unsafe fn new(table: NonNull<Table>) -> Self {
        // SAFETY: the caller's promise.
        let current = unsafe { Current::of(table) };
        Self { current: AtomicPtr::new(current.word()) }
    }

    /// The current table: may be read as long as the guard is held.
    #[inline(always)]
    pub(crate) fn current(&self, _: &impl Guard) -> Current {
        // Acquire: the table, all that was copied to it and what went before that; partner: Release
        // in `exchange`.
        let word = self.current.load(Ordering::Acquire);
        // SAFETY: `new` and `exchange` write nothing else (SHARD-1).
        unsafe { Current::from_word(word) }
    }

    /// Makes `next` the current table if `current` is it; answers whether.
    pub(crate) fn exchange(&self, current: Current, next: Current) -> bool {
        // Release: all that was copied, and what was acquired from slots that were not (SHARD-3);
        // partner: Acquire in `current`. Relaxed: who fails reads nothing from it.
        let (current, next) = (current.word(), next.word());
        self.current.compare_exchange(current, next, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

impl<R: Reclaim> Drop for Shards<R> {
    fn drop(&mut self) {
        for shard in &self.all {
            // Relaxed: `&mut self` came by something that orders it.
            let word = shard.current.load(Ordering::Relaxed);
            // SAFETY: as in `current`; `&mut self`: no guard is left, and each shard has its own table.
            unsafe { Table::free_current(Current::from_word(word).table()) };
        }
    }
}

impl<R: Reclaim> AtomicMap for Shards<R> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        Self::get(self, key).map_err(MapError::from)
    }

    fn read(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), MapError> {
        Self::read(self, key, f).map_err(MapError::from)
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        Self::compare_and_set(self, key, expected, new).map_err(MapError::from)
    }
}

impl<'a, R: Reclaim> IntoIterator for &'a Shards<R> {
    type Item = Result<(Vec<u8>, Vec<u8>), ShardsError>;
    type IntoIter = Iter<'a, R>;

    fn into_iter(self) -> Iter<'a, R> {
        self.iter()
    }
}

/// What `compare_and_set` hands over for the value that a key has instead.
pub(crate) fn mismatch(current: Option<&[u8]>) -> Result<Cas, ShardsError> {
    current.map(copied).transpose().map(Cas::Mismatch)
}

/// The answer of `compare_and_set`.
pub(crate) fn answer(done: Result<(), Result<Cas, ShardsError>>) -> Result<Cas, ShardsError> {
    done.map_or_else(|other| other, |()| Ok(Cas::Set))
}

/// A copy, or an error where `to_vec` would abort.
pub(crate) fn copied(bytes: &[u8]) -> Result<Vec<u8>, ShardsError> {
    let mut copy = Vec::new();
    let none = |_| ShardsError::OutOfMemory { bytes: bytes.len() };
    copy.try_reserve_exact(bytes.len()).map_err(none)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}
