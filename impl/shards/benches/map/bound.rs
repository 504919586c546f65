//! No rival, but a bound: how fast a map of this design can grow at most.
//!
//! * a new key of 8 bytes takes three locked exchanges: its own, its fingerprint's, its value's. And so that nobody waits for
//!   whoever copies a table, each slot of it takes one more, which freezes it;
//! * here one thread makes these, with a hash that costs as much, in tables of the same form that double when ours do. It does nothing
//!   else: no guard, no look whether the key is there, nobody who may have come first, no count of full groups that all
//!   share, no exchange of the current table, and old tables are given back at once;
//! * without locked exchanges it is what is left of that for one who is alone, within a lock say.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::rivals::{SHARDS, Seeded};

/// Slots whose fingerprints stand in one word.
const GROUP: usize = 8;
const FIRST_GROUPS: usize = 2;
/// A key and a value.
const SLOT: usize = 2;
const LOWEST: u64 = 0x0101_0101_0101_0101;
const FROZEN: u64 = 4;

/// A table and nothing around it.
pub(crate) struct Bare {
    /// The fingerprints of each group, then its slots.
    words: Box<[AtomicU64]>,
    groups: usize,
    full: usize,
}

/// The highest bits of the lowest fingerprint that is 0, and of some above it.
fn empty(fingerprints: u64) -> u64 {
    fingerprints.wrapping_sub(LOWEST) & !fingerprints & (LOWEST << 7)
}

impl Bare {
    fn new(groups: usize) -> Self {
        let words = groups + groups * GROUP * SLOT;
        let zeros = Box::into_raw(vec![0_u64; words].into_boxed_slice());
        // SAFETY: just taken out of its box, and nobody else's; a word and an atomic one have the same layout.
        let words = unsafe { Box::from_raw(zeros as *mut [AtomicU64]) };
        Self { words, groups, full: 0 }
    }

    /// One for each shard.
    pub(crate) fn all() -> Vec<Self> {
        (0..SHARDS).map(|_| Self::new(FIRST_GROUPS)).collect()
    }

    /// How many keys it has.
    pub(crate) fn len(&self) -> usize {
        let slots = self.words[self.groups..].as_chunks::<SLOT>().0;
        // Relaxed: as in `put`.
        slots.iter().filter(|slot| slot[1].load(Ordering::Relaxed) != 0).count()
    }

    /// Puts a key with a value into the first empty slot of its way.
    #[inline]
    fn put<const BY_EXCHANGES: bool>(&mut self, hash: u64, key: u64, value: u64) {
        let (fingerprints, slots) = self.words.split_at(self.groups);
        let mask = self.groups - 1;
        let shift = u64::BITS - self.groups.trailing_zeros();
        // Shifted to below the number of groups.
        #[allow(clippy::cast_possible_truncation)]
        let mut group = (hash >> shift) as usize;
        loop {
            // Relaxed: one thread, so nobody is a partner. The exchanges have the orderings that the map's have.
            let there = fingerprints[group].load(Ordering::Relaxed);
            if empty(there) == 0 {
                group = (group + 1) & mask;
                continue;
            }
            let at = empty(there).trailing_zeros() as usize / 8;
            let with = there | (hash >> 36 & 0xff).max(1) << (8 * at);
            let slot = &slots[SLOT * (group * GROUP + at)..][..SLOT];
            if BY_EXCHANGES {
                let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
                let put = slot[0].compare_exchange(0, key, release, relaxed).is_ok()
                    && fingerprints[group].compare_exchange(there, with, relaxed, relaxed).is_ok()
                    && slot[1]
                        .compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire)
                        .is_ok();
                assert!(put, "one thread");
            } else {
                // Relaxed, all: as above.
                slot[0].store(key, Ordering::Relaxed);
                fingerprints[group].store(with, Ordering::Relaxed);
                slot[1].store(value, Ordering::Relaxed);
            }
            self.full += usize::from(empty(with) == 0);
            return;
        }
    }

    fn doubled<const BY_EXCHANGES: bool>(&self) -> Self {
        let mut next = Self::new(2 * self.groups);
        for slot in self.words[self.groups..].as_chunks::<SLOT>().0 {
            // Acquire, all: as the map freezes and reads; one thread, so nobody is a partner.
            let value = slot[1].load(Ordering::Acquire);
            if BY_EXCHANGES {
                let (frozen, acquire) = (value | FROZEN, Ordering::Acquire);
                let done = slot[1].compare_exchange(value, frozen, acquire, acquire);
                assert!(done.is_ok(), "one thread");
            }
            if value != 0 {
                let key = slot[0].load(Ordering::Acquire);
                next.put::<false>(key, key, value);
            }
        }
        next
    }

    /// Puts so many numbers into the shards.
    pub(crate) fn grow(shards: &mut [Self], keys: u64, by_exchanges: bool) {
        if by_exchanges {
            Self::grow_by::<true>(shards, keys);
        } else {
            Self::grow_by::<false>(shards, keys);
        }
    }

    fn grow_by<const BY_EXCHANGES: bool>(shards: &mut [Self], keys: u64) {
        let bits = SHARDS.trailing_zeros();
        for key in 0..keys {
            let hash = Seeded.hash_one(key);
            // The highest bits: below the shards.
            #[allow(clippy::cast_possible_truncation)]
            let shard = &mut shards[(hash >> (u64::BITS - bits)) as usize];
            if shard.full >= shard.groups / 2 {
                *shard = shard.doubled::<BY_EXCHANGES>();
            }
            let hash = hash << bits;
            shard.put::<BY_EXCHANGES>(hash, hash | 2, key << 3 | 2);
        }
    }
}
