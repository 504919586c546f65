//! From a key to a shard and a slot.
//!
//! * every map has its own seed from the system's entropy, so that collisions of one map are none
//!   of another;
//! * in a checked build the hash is the key's first byte, so that a scenario can choose neighbours.
//!
//! What it does not do: withstand somebody who watches one map's timing and chooses keys by it.

use std::hash::{BuildHasher, RandomState};

use crate::bounds::CHECKED;

/// Odd, with bits spread evenly: the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    seed: u64,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { seed: RandomState::new().hash_one(GOLDEN) }
    }

    #[inline]
    pub(crate) fn hash(self, key: &[u8]) -> u64 {
        if CHECKED {
            return key.first().map_or(0, |&byte| u64::from(byte));
        }
        let mut state = self.seed ^ (key.len() as u64).wrapping_mul(GOLDEN);
        let mut words = key.chunks_exact(8);
        for word in &mut words {
            let word = u64::from_le_bytes(word.try_into().expect("8 bytes"));
            state = fold(state ^ word, GOLDEN ^ self.seed.rotate_left(32));
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        fold(state ^ u64::from_le_bytes(last), self.seed | 1)
    }
}

/// Both halves of the 128-bit product: every bit of the input reaches every bit of the answer.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ GOLDEN) * u128::from(b);
    // The halves, on purpose.
    #[allow(clippy::cast_possible_truncation)]
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}
