//! The fingerprints of a group in one word: 8 bits each, the first slot's lowest.
//!
//! * a fingerprint is never 0, so 0 is a slot whose key has none yet, or that has no key.
//!
//! What it does not do: decide. Two keys may have one fingerprint; `table` looks at the key.

use crate::bounds::GROUP;
use crate::key::HASH_AT;

/// The lowest bit of each fingerprint.
const LOWEST: u64 = 0x0101_0101_0101_0101 >> (64 - 8 * GROUP);
/// The highest.
const HIGHEST: u64 = LOWEST << 7;
/// All others.
const LOWER: u64 = HIGHEST - LOWEST;

/// The highest bits of those that are 0.
#[inline]
pub(crate) fn zeros(fingerprints: u64) -> u64 {
    // A fingerprint's lower 7 bits carry into its highest unless they are 0.
    !(((fingerprints & LOWER) + LOWER) | fingerprints) & HIGHEST
}

/// A bit for each slot, the first's lowest: whether its fingerprint is not 0.
#[inline]
pub(crate) fn present(fingerprints: u64) -> u64 {
    // Each highest bit comes to its place among the highest 8 by one summand, and all others lower or nowhere.
    ((zeros(fingerprints) ^ HIGHEST) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// As [`zeros`], quicker, with bits above the lowest that do not belong there.
#[inline]
pub(crate) fn zeros_at_least(fingerprints: u64) -> u64 {
    // The lowest that is 0 borrows from the ones above it, and none below does.
    fingerprints.wrapping_sub(LOWEST) & !fingerprints & HIGHEST
}

/// The slot of the lowest of these bits.
#[inline]
pub(crate) fn slot_of(bits: u64) -> usize {
    bits.trailing_zeros() as usize / 8
}

/// Where a fingerprint stands in a hash: the lower bits of a product know of fewer of its factors'. In most tables
/// the place is chosen by higher ones.
const FROM: u32 = 36;
const _: () = assert!(FROM >= HASH_AT, "every key in a slot has its fingerprint in its first word");

/// The fingerprint of a hash.
#[inline]
pub(crate) fn fingerprint(local: u64) -> u64 {
    (local >> FROM & 0xff).max(1)
}

/// One fingerprint, in the place of every one.
#[inline]
pub(crate) fn everywhere(fingerprint: u64) -> u64 {
    fingerprint * LOWEST
}

/// The fingerprint of a slot.
#[inline]
pub(crate) fn of_slot(fingerprints: u64, at: usize) -> u64 {
    fingerprints >> (8 * at) & 0xff
}

/// A fingerprint in the place of a slot's.
#[inline]
pub(crate) fn at_slot(fingerprint: u64, at: usize) -> u64 {
    fingerprint << (8 * at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_tags_that_are_0_are_told() {
        let some = [0_u64, 1, 0x7f, 0x80, 0xff];
        for number in 0..some.len().pow(u32::try_from(GROUP).unwrap()) {
            let digit =
                |at: usize| some[number / some.len().pow(at.try_into().unwrap()) % some.len()];
            let fingerprints = (0..GROUP).map(|at| at_slot(digit(at), at)).sum::<u64>();
            let mut zeros = zeros(fingerprints);
            let lowest = zeros & zeros.wrapping_neg();
            let more = zeros_at_least(fingerprints);
            assert_eq!(more & more.wrapping_neg(), lowest, "{fingerprints:#x}");
            for at in (0..GROUP).filter(|&at| of_slot(fingerprints, at) == 0) {
                assert_eq!(slot_of(zeros), at, "{fingerprints:#x}");
                zeros &= zeros - 1;
            }
            assert_eq!(zeros, 0, "{fingerprints:#x}");
            let present = (0..GROUP).filter(|&at| of_slot(fingerprints, at) != 0);
            assert_eq!(super::present(fingerprints), present.map(|at| 1 << at).sum::<u64>());
        }
        assert_eq!(everywhere(5), (0..GROUP).map(|at| at_slot(5, at)).sum());
        assert_ne!(fingerprint(0), 0);
    }
}
