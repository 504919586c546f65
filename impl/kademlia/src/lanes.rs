//! Eight small numbers in one word: what is counted for each path of a lookup at once.
//!
//! Invariants: a number is at most 127, so that no sum reaches the next one.
//!
//! What it does not do: check that. Nobody counts beyond `k`, which is at most 64.

/// Eight numbers, one byte each; as a choice of some lanes, ones and zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lanes(u64);

/// The lowest bit of each number.
const ONES: u64 = 0x0101_0101_0101_0101;

impl Lanes {
    /// Zeros.
    pub(crate) const NONE: Self = Self(0);

    /// Those whose bits are set.
    pub(crate) const fn of(bits: u8) -> Self {
        // In the n-th byte the n-th bit; 127 more, and the highest bit says whether it was set.
        let apart = (bits as u64).wrapping_mul(ONES) & 0x8040_2010_0804_0201;
        Self(((apart + 127 * ONES) >> 7) & ONES)
    }

    /// Those that are in both choices.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are in either choice.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of a choice that are not in the other.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The sums.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The lanes with this number.
    pub(crate) const fn that_are(self, number: u8) -> Self {
        let apart = self.0 ^ (number as u64 * ONES);
        Self((!(apart + 127 * ONES) >> 7) & ONES)
    }

    /// How many are chosen.
    pub(crate) fn count(self) -> u8 {
        u8::try_from(self.0.count_ones()).expect("eight at most")
    }

    /// Which are chosen.
    pub(crate) fn each(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let lane = (left != 0).then_some(left.trailing_zeros() as usize / 8)?;
            left &= left - 1;
            Some(lane)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn bits(lanes: Lanes) -> u8 {
        lanes.each().fold(0, |bits, lane| bits | 1 << lane)
    }

    #[test]
    fn choices_are_sets_of_lanes() {
        for one in 0..=u8::MAX {
            assert_eq!(
                (bits(Lanes::of(one)), Lanes::of(one).count()),
                (one, u8::try_from(one.count_ones()).unwrap())
            );
            for other in 0..=u8::MAX {
                let (left, right) = (Lanes::of(one), Lanes::of(other));
                let found = [left.and(right), left.or(right), left.without(right)].map(bits);
                assert_eq!(found, [one & other, one | other, one & !other]);
            }
        }
    }

    #[test]
    fn each_lane_counts_for_itself() {
        let mut lanes = Lanes::NONE;
        let mut counts = [0_u8; 8];
        for step in 0..64_u32 {
            let bits = step.wrapping_mul(0x9e37_79b9).to_be_bytes()[0] | 1;
            lanes = lanes.plus(Lanes::of(bits));
            for (lane, count) in counts.iter_mut().enumerate() {
                *count += bits >> lane & 1;
            }
            for number in 0..=64 {
                let expected: Vec<usize> = (0..8).filter(|&lane| counts[lane] == number).collect();
                assert_eq!(lanes.that_are(number).each().collect::<Vec<_>>(), expected);
            }
        }
        assert_eq!(counts[0], 64);
    }
}
