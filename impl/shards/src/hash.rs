//! From a key to a shard and a place in its table.
//!
//! * every map has its own seed from the system's entropy, so that collisions of one map are none
//!   of another;
//! * keys of up to 8 bytes are mixed by a permutation of 64 bits, so a table can keep the mixed
//!   number in place of the key: equal numbers are equal keys, and the way back is exact. Longer keys of whole
//!   eights the same way, with the first 8 bytes and what the others choose;
//! * the highest bits choose the shard, the next ones the place;
//! * in a checked build the first byte of a key chooses the place, so that a scenario can choose
//!   neighbours, and small keys all go to the first shard. Of whole eights the first 8 bytes do: theirs are 0 but for
//!   the first.
//!
//! What it does not do: withstand somebody who watches one map's timing and chooses keys by it.

// Measured, see `map`.
#![allow(clippy::inline_always)]

use std::hash::{BuildHasher, RandomState};

use crate::bounds::CHECKED;

/// Odd, with bits spread evenly: the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Odd, and known to mix well as the second of two: splitmix's.
const SECOND: u64 = 0xbf58_476d_1ce4_e5b9;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    seed: u64,
    /// For keys of more than 8 bytes.
    second_seed: u64,
    shard_bits: u32,
}

impl Hasher {
    /// `shard_bits`: how many of the highest bits choose the shard; as many at least as `MIN_SHARDS` has.
    pub(crate) fn new(shard_bits: u32) -> Self {
        let entropy = RandomState::new();
        Self { seed: entropy.hash_one(0), second_seed: entropy.hash_one(1), shard_bits }
    }

    #[inline]
    pub(crate) fn shard(&self, hash: u64) -> usize {
        // At most 16 bits.
        #[allow(clippy::cast_possible_truncation)]
        let shard = (hash >> (64 - self.shard_bits)) as usize;
        shard
    }

    /// The hash without the bits that chose the shard, the rest moved up. Its low bits, as many as
    /// chose the shard, are 0.
    #[inline]
    pub(crate) fn local(&self, hash: u64) -> u64 {
        hash << self.shard_bits
    }

    /// Undoes [`Hasher::shard`] and [`Hasher::local`] together.
    #[inline]
    pub(crate) fn joined(&self, shard: usize, local: u64) -> u64 {
        local >> self.shard_bits | (shard as u64) << (64 - self.shard_bits)
    }

    /// A permutation.
    #[inline]
    pub(crate) fn mixed(&self, number: u64) -> u64 {
        if CHECKED {
            return number.reverse_bits().rotate_right(self.shard_bits);
        }
        let spread = (number ^ self.seed).wrapping_mul(GOLDEN);
        // The upper half knows of all bits below it; so does the product's.
        (spread ^ spread >> 32).wrapping_mul(SECOND)
    }

    /// Undoes [`Hasher::mixed`].
    #[inline]
    pub(crate) fn unmixed(&self, hash: u64) -> u64 {
        if CHECKED {
            return hash.rotate_left(self.shard_bits).reverse_bits();
        }
        let spread = hash.wrapping_mul(const { inverse(SECOND) });
        (spread ^ spread >> 32).wrapping_mul(const { inverse(GOLDEN) }) ^ self.seed
    }

    /// Of more than 8 bytes. Where they are whole eights: [`Hasher::mixed`] of the first 8 and
    /// [`Hasher::of_others`] of the others, so that with those the way back is exact.
    #[inline(always)]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        if key.len().is_multiple_of(8) {
            return self.mixed(word_at(key, 0) ^ self.of_others(&key[8..]));
        }
        if CHECKED {
            return self.mixed(u64::from(key[0]));
        }
        fold(self.folded(key), GOLDEN ^ self.seed)
    }

    /// What the first 8 bytes of a key are mixed with, by the others: 8 or more.
    #[inline(always)]
    pub(crate) fn of_others(&self, others: &[u8]) -> u64 {
        if CHECKED { 0 } else { self.folded(others) }
    }

    /// What nobody knows: words of keys are kept with it, so that none that somebody chooses is 0.
    #[inline]
    pub(crate) fn mask(&self) -> u64 {
        self.second_seed
    }

    /// Of 8 bytes or more.
    #[inline(always)]
    fn folded(&self, key: &[u8]) -> u64 {
        let last = word_at(key, key.len() - 8);
        let mut state = self.seed ^ (key.len() as u64).wrapping_mul(GOLDEN);
        let mut at = 0;
        while at + 16 < key.len() {
            state = fold(word_at(key, at) ^ self.second_seed, word_at(key, at + 8) ^ state);
            at += 16;
        }
        // The rest, 1 to 16 bytes, with some before it once more when it is short.
        let before = word_at(key, key.len().saturating_sub(16));
        fold(before ^ self.second_seed, last ^ state)
    }
}

#[inline]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes[at..].first_chunk().expect("8 bytes, by the caller");
    u64::from_le_bytes(*word)
}

/// Both halves of the 128-bit product: every bit of the input reaches every bit of the answer.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    // The halves, on purpose.
    #[allow(clippy::cast_possible_truncation)]
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

/// By what a product with an odd number is undone.
const fn inverse(odd: u64) -> u64 {
    // Newton's step doubles the bits that are right: 3 at first, as odd · odd is 1 modulo 8.
    let (mut inverse, mut bits) = (odd, 3);
    while bits < u64::BITS {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_way_back_is_exact(number in any::<u64>(), shard_bits in 1_u32..17) {
            let hasher = Hasher::new(shard_bits);
            let hash = hasher.mixed(number);
            prop_assert_eq!(hasher.unmixed(hash), number);
            prop_assert_eq!(hasher.joined(hasher.shard(hash), hasher.local(hash)), hash);
        }
    }

    #[test]
    fn keys_that_differ_in_a_few_bits_spread_over_places() {
        // Of 256 places, 1,000 keys: 245 used on average when they are thrown at random.
        let hasher = Hasher::new(2);
        for (kind, shift) in [("low", 0), ("middle", 20), ("high", 52)] {
            let place = |hash: u64| hasher.local(hash) >> 56;
            let few = (0..1_000_u64).map(|number| place(hasher.mixed(number << shift)));
            let used = few.collect::<std::collections::BTreeSet<_>>().len();
            assert!(CHECKED || used > 200, "{kind}: {used} of 256 places");
            let long = |number: u64| {
                let mut key = [7; 32];
                key[9..17].copy_from_slice(&(number << shift).to_le_bytes());
                place(hasher.hash(&key))
            };
            let used = (0..1_000_u64).map(long).collect::<std::collections::BTreeSet<_>>().len();
            assert!(CHECKED || used > 200, "{kind}, long: {used} of 256 places");
        }
    }
}
