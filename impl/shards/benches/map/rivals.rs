//! Ours and the rivals behind one trait, each by the calls that its documentation shows.
//!
//! * the rivals hash with a function that costs what ours does, not with std's slower default;
//! * rivals keep typed keys and values in their entries, ours byte strings.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use cloakroom_shards::reclaim::Reclaim;
use cloakroom_shards::{Handle, Shards};

/// As many shards as the mutexed maps have, and ours.
pub(crate) const SHARDS: usize = 64;

/// A key of the benchmark, made from a number.
pub(crate) trait Key: Copy + Eq + Ord + Hash + Send + Sync + 'static {
    const NAME: &'static str;

    fn new(number: u64) -> Self;

    fn bytes(&self) -> &[u8];
}

impl Key for [u8; 8] {
    const NAME: &'static str = "8";

    fn new(number: u64) -> Self {
        number.to_le_bytes()
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Key for [u8; 32] {
    const NAME: &'static str = "32";

    fn new(number: u64) -> Self {
        let mut key = *b"a key of 32 bytes, with a number";
        key[24..].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A map, as a thread of the benchmark uses it.
pub(crate) trait Worker<K> {
    fn read(&mut self, key: &K) -> Option<u64>;
    fn compare_and_set(&mut self, key: &K, expected: Option<u64>, new: Option<u64>) -> bool;
    /// Looks at every entry; answers how many there are.
    fn iterate(&mut self) -> usize;
}

/// Something that is measured.
pub(crate) trait Map<K>: Sync {
    fn empty() -> Self;
    fn worker(&self) -> impl Worker<K>;
}

/// Key and value of every entry are read, not only where they stand.
fn look_at_all<K: Key>(entries: impl Iterator<Item = (K, u64)>) -> usize {
    let mut count = 0;
    for entry in entries {
        look_at(entry);
        count += 1;
    }
    count
}

#[inline]
fn look_at<K: Key>((key, value): (K, u64)) {
    let bytes = key.bytes();
    let last: [u8; 8] = bytes[bytes.len() - 8..].try_into().expect("8 bytes at least");
    black_box(u64::from_le_bytes(last) ^ value);
}

fn copied<'a, K: Key>((key, value): (&'a K, &'a u64)) -> (K, u64) {
    (*key, *value)
}

/// The hash function of the rivals: two multiplications for 8 bytes, as ours.
#[derive(Clone, Default)]
pub(crate) struct Seeded;

pub(crate) struct Folding(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const SEED: u64 = 0x2545_f491_4f6c_dd1d;

impl Hasher for Folding {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(last));
        }
    }

    /// The length of an array: the same for all.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // The halves, on purpose.
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(GOLDEN ^ SEED.rotate_left(32));
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folding;

    #[inline]
    fn build_hasher(&self) -> Folding {
        Folding(SEED)
    }
}

// --- ours ---

impl<K: Key, R: Reclaim> Map<K> for Shards<R> {
    fn empty() -> Self {
        Self::with_reclaimer(SHARDS).expect("memory")
    }

    fn worker(&self) -> impl Worker<K> {
        self.handle().expect("memory")
    }
}

impl<K: Key, R: Reclaim> Worker<K> for Handle<'_, R> {
    #[inline]
    fn read(&mut self, key: &K) -> Option<u64> {
        let number = |value: &[u8]| u64::from_le_bytes(value.try_into().expect("8 bytes"));
        Handle::read(self, key.bytes(), |value| value.map(number)).expect("memory")
    }

    #[inline]
    fn compare_and_set(&mut self, key: &K, expected: Option<u64>, new: Option<u64>) -> bool {
        let (expected, new) = (expected.map(u64::to_le_bytes), new.map(u64::to_le_bytes));
        let (expected, new) = (expected.as_ref().map(|it| &it[..]), new.as_ref().map(|it| &it[..]));
        self.try_set(key.bytes(), expected, new).expect("memory")
    }

    fn iterate(&mut self) -> usize {
        let mut count = 0;
        let look = |key: &[u8], value: &[u8]| {
            let last: [u8; 8] = key[key.len() - 8..].try_into().expect("8 bytes at least");
            let value = u64::from_le_bytes(value.try_into().expect("8 bytes"));
            black_box(u64::from_le_bytes(last) ^ value);
            count += 1;
        };
        self.map().for_each(look).expect("memory");
        count
    }
}

// --- std and parking_lot mutexes ---

/// 64 maps of std, each behind a lock `L`.
pub(crate) struct Mutexed<L>(Vec<L>);

pub(crate) trait Lock<K>: Default + Sync {
    fn with<A>(&self, f: impl FnOnce(&mut HashMap<K, u64, Seeded>) -> A) -> A;
}

impl<K: Key> Lock<K> for Mutex<HashMap<K, u64, Seeded>> {
    #[inline]
    fn with<A>(&self, f: impl FnOnce(&mut HashMap<K, u64, Seeded>) -> A) -> A {
        f(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Key> Lock<K> for parking_lot::Mutex<HashMap<K, u64, Seeded>> {
    #[inline]
    fn with<A>(&self, f: impl FnOnce(&mut HashMap<K, u64, Seeded>) -> A) -> A {
        f(&mut self.lock())
    }
}

impl<K: Key, L: Lock<K>> Map<K> for Mutexed<L> {
    fn empty() -> Self {
        Self((0..SHARDS).map(|_| L::default()).collect())
    }

    fn worker(&self) -> impl Worker<K> {
        self
    }
}

impl<L> Mutexed<L> {
    #[inline]
    fn shard<K: Key>(&self, key: &K) -> &L {
        // The high half goes to the shard: the map itself uses the lowest and the highest bits.
        let at = usize::try_from(Seeded.hash_one(key) >> 40).expect("24 bits") % SHARDS;
        &self.0[at]
    }
}

impl<K: Key, L: Lock<K>> Worker<K> for &Mutexed<L> {
    #[inline]
    fn read(&mut self, key: &K) -> Option<u64> {
        self.shard(key).with(|map| map.get(key).copied())
    }

    #[inline]
    fn compare_and_set(&mut self, key: &K, expected: Option<u64>, new: Option<u64>) -> bool {
        use std::collections::hash_map::Entry;
        self.shard(key).with(|map| match (map.entry(*key), new) {
            (Entry::Occupied(mut entry), Some(new)) if Some(*entry.get()) == expected => {
                entry.insert(new);
                true
            }
            (Entry::Occupied(entry), None) if Some(*entry.get()) == expected => {
                entry.remove();
                true
            }
            (Entry::Vacant(entry), Some(new)) if expected.is_none() => {
                entry.insert(new);
                true
            }
            (Entry::Vacant(_), None) => expected.is_none(),
            _ => false,
        })
    }

    fn iterate(&mut self) -> usize {
        self.0.iter().map(|shard| shard.with(|map| look_at_all(map.iter().map(copied)))).sum()
    }
}

// --- dashmap ---

impl<K: Key> Map<K> for dashmap::DashMap<K, u64, Seeded> {
    fn empty() -> Self {
        Self::with_hasher(Seeded)
    }

    fn worker(&self) -> impl Worker<K> {
        self
    }
}

impl<K: Key> Worker<K> for &dashmap::DashMap<K, u64, Seeded> {
    #[inline]
    fn read(&mut self, key: &K) -> Option<u64> {
        self.get(key).map(|entry| *entry)
    }

    #[inline]
    fn compare_and_set(&mut self, key: &K, expected: Option<u64>, new: Option<u64>) -> bool {
        use dashmap::Entry;
        match (self.entry(*key), new) {
            (Entry::Occupied(mut entry), Some(new)) if Some(*entry.get()) == expected => {
                entry.insert(new);
                true
            }
            (Entry::Occupied(entry), None) if Some(*entry.get()) == expected => {
                entry.remove();
                true
            }
            (Entry::Vacant(entry), Some(new)) if expected.is_none() => {
                entry.insert(new);
                true
            }
            (Entry::Vacant(_), None) => expected.is_none(),
            _ => false,
        }
    }

    fn iterate(&mut self) -> usize {
        look_at_all(self.iter().map(|entry| (*entry.key(), *entry.value())))
    }
}

// --- scc ---

impl<K: Key> Map<K> for scc::HashMap<K, u64, Seeded> {
    fn empty() -> Self {
        Self::with_hasher(Seeded)
    }

    fn worker(&self) -> impl Worker<K> {
        self
    }
}

impl<K: Key> Worker<K> for &scc::HashMap<K, u64, Seeded> {
    #[inline]
    fn read(&mut self, key: &K) -> Option<u64> {
        self.read_sync(key, |_, value| *value)
    }

    #[inline]
    fn compare_and_set(&mut self, key: &K, expected: Option<u64>, new: Option<u64>) -> bool {
        use scc::hash_map::Entry;
        match (self.entry_sync(*key), new) {
            (Entry::Occupied(mut entry), Some(new)) if Some(*entry.get()) == expected => {
                entry.insert(new);
                true
            }
            (Entry::Occupied(entry), None) if Some(*entry.get()) == expected => {
                let _ = entry.remove();
                true
            }
            (Entry::Vacant(entry), Some(new)) if expected.is_none() => {
                drop(entry.insert_entry(new));
                true
            }
            (Entry::Vacant(_), None) => expected.is_none(),
            _ => false,
        }
    }

    fn iterate(&mut self) -> usize {
        let mut count = 0;
        self.iter_sync(|key, value| {
            look_at((*key, *value));
            count += 1;
            true
        });
        count
    }
}

impl<K: Key> Map<K> for scc::HashIndex<K, u64, Seeded> {
    fn empty() -> Self {
        Self::with_hasher(Seeded)
    }

    fn worker(&self) -> impl Worker<K> {
        self
    }
}

impl<K: Key> Worker<K> for &scc::HashIndex<K, u64, Seeded> {
    #[inline]
    fn read(&mut self, key: &K) -> Option<u64> {
        self.peek_with(key, |_, value| *value)
    }

    #[inline]
    fn compare_and_set(&mut self, key: &K, expected: Option<u64>, new: Option<u64>) -> bool {
        use scc::hash_index::Entry;
        match (self.entry_sync(*key), new) {
            (Entry::Occupied(mut entry), Some(new)) if Some(*entry.get()) == expected => {
                entry.update(new);
                true
            }
            (Entry::Occupied(entry), None) if Some(*entry.get()) == expected => {
                entry.remove_entry();
                true
            }
            (Entry::Vacant(entry), Some(new)) if expected.is_none() => {
                drop(entry.insert_entry(new));
                true
            }
            (Entry::Vacant(_), None) => expected.is_none(),
            _ => false,
        }
    }

    fn iterate(&mut self) -> usize {
        look_at_all(self.iter(&scc::Guard::new()).map(copied))
    }
}

// --- papaya ---

impl<K: Key> Map<K> for papaya::HashMap<K, u64, Seeded> {
    fn empty() -> Self {
        Self::with_hasher(Seeded)
    }

    fn worker(&self) -> impl Worker<K> {
        self
    }
}

impl<K: Key> Worker<K> for &papaya::HashMap<K, u64, Seeded> {
    #[inline]
    fn read(&mut self, key: &K) -> Option<u64> {
        self.pin().get(key).copied()
    }

    #[inline]
    fn compare_and_set(&mut self, key: &K, expected: Option<u64>, new: Option<u64>) -> bool {
        use papaya::{Compute, Operation};
        let map = self.pin();
        let answer = map.compute(*key, |entry| match new {
            _ if entry.map(|(_, value)| *value) != expected => Operation::Abort(false),
            Some(new) => Operation::Insert(new),
            None if expected.is_none() => Operation::Abort(true),
            None => Operation::Remove,
        });
        !matches!(answer, Compute::Aborted(false))
    }

    fn iterate(&mut self) -> usize {
        look_at_all(self.pin().iter().map(copied))
    }
}

// --- crossbeam-skiplist ---

impl<K: Key> Map<K> for crossbeam_skiplist::SkipMap<K, u64> {
    fn empty() -> Self {
        Self::new()
    }

    fn worker(&self) -> impl Worker<K> {
        self
    }
}

impl<K: Key> Worker<K> for &crossbeam_skiplist::SkipMap<K, u64> {
    #[inline]
    fn read(&mut self, key: &K) -> Option<u64> {
        self.get(key).map(|entry| *entry.value())
    }

    /// Weaker than asked: whether its value was taken is not told, so this compares first.
    #[inline]
    fn compare_and_set(&mut self, key: &K, expected: Option<u64>, new: Option<u64>) -> bool {
        match (self.get(key), new) {
            (Some(entry), None) if Some(*entry.value()) == expected => entry.remove(),
            (None, None) => expected.is_none(),
            (Some(entry), Some(new)) if Some(*entry.value()) == expected => {
                self.compare_insert(*key, new, |value| Some(*value) == expected);
                true
            }
            (None, Some(new)) if expected.is_none() => {
                self.get_or_insert(*key, new);
                true
            }
            _ => false,
        }
    }

    fn iterate(&mut self) -> usize {
        look_at_all(self.iter().map(|entry| (*entry.key(), *entry.value())))
    }
}
