//! How long calls took: counts by size, at most one part in 64 too large.
//!
//! Invariants: a percentile is never below the true one; memory does not grow with the calls.
//!
//! What it does not do: take the time.

use std::time::Duration;

/// Each power of two is cut into so many parts.
const PARTS: u64 = 64;

/// Counts of durations.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    /// By microseconds, coarser with their size.
    counts: Vec<u64>,
    count: u64,
    longest_us: u64,
}

impl Latencies {
    pub(super) fn add(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = place(us);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
        self.count += 1;
        self.longest_us = self.longest_us.max(us);
    }

    pub(super) fn join(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (own, others) in self.counts.iter_mut().zip(&other.counts) {
            *own += others;
        }
        self.count += other.count;
        self.longest_us = self.longest_us.max(other.longest_us);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn longest_us(&self) -> u64 {
        self.longest_us
    }

    /// What `percent` of all did not exceed, in microseconds; zero of none.
    pub(super) fn percentile_us(&self, percent: u64) -> u64 {
        let wanted = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return most_at(place as u64).min(self.longest_us);
            }
        }
        0
    }
}

/// Which count a number of microseconds belongs to.
fn place(us: u64) -> usize {
    let scale = us.max(1).ilog2().saturating_sub(PARTS.ilog2());
    // Below PARTS each number has its own.
    let place = u64::from(scale) * PARTS + (us >> scale);
    usize::try_from(place).expect("64 powers of two")
}

/// The largest number that belongs to a count.
fn most_at(place: u64) -> u64 {
    let scale = (place / PARTS).saturating_sub(1);
    let part = place - scale * PARTS;
    ((u128::from(part) + 1) << scale).saturating_sub(1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_at_most_one_part_in_64_above_the_true_one() {
        let mut all = Latencies::default();
        let mut other = Latencies::default();
        for us in 1..=100_000 {
            let half = if us % 2 == 0 { &mut all } else { &mut other };
            half.add(Duration::from_micros(us));
        }
        all.join(&other);
        assert_eq!((all.count(), all.longest_us()), (100_000, 100_000));
        for percent in [1, 50, 95, 99, 100] {
            let (got, truly) = (all.percentile_us(percent), percent * 1000);
            assert!(got >= truly && got <= truly + truly / 63, "{percent}: {got}");
        }
    }

    #[test]
    fn small_numbers_are_exact_huge_ones_have_a_place_and_none_has_no_percentile() {
        let mut all = Latencies::default();
        assert_eq!(all.percentile_us(50), 0);
        for us in [0, 1, 63, 64, 127, 128, u64::MAX] {
            assert!(most_at(place(us) as u64) >= us);
        }
        all.add(Duration::from_micros(3));
        assert_eq!(all.percentile_us(99), 3);
        all.add(Duration::MAX);
        assert_eq!(all.percentile_us(99), u64::MAX);
    }
}
