//! Exact percentiles: every sample is kept, nothing is estimated.
//!
//! Invariants (SIM-3):
//! * a percentile is a sample: the smallest that at least so many of the samples do not exceed
//!   (nearest rank);
//! * of no samples everything is zero.

use crate::random::to_f64;

/// Numbers of one kind, each below 2^32.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    values: Vec<u32>,
    sorted: bool,
}

/// A column of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Column {
    /// The least value in it.
    pub from: u32,
    /// How many.
    pub count: u32,
}

impl Samples {
    /// Takes one in; what is too large counts as the greatest.
    pub fn add(&mut self, value: u64) {
        self.values.push(u32::try_from(value).unwrap_or(u32::MAX));
        self.sorted = false;
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.values.len()
    }

    /// Their mean.
    pub fn mean(&self) -> f64 {
        let sum: u64 = self.values.iter().map(|&value| u64::from(value)).sum();
        share(sum, self.values.len() as u64)
    }

    /// The greatest.
    pub fn max(&self) -> u32 {
        self.values.iter().copied().max().unwrap_or(0)
    }

    /// The percentile: 50 is the median.
    pub fn percentile(&mut self, percent: u32) -> u32 {
        if !self.sorted {
            self.values.sort_unstable();
            self.sorted = true;
        }
        let rank = (self.values.len() * percent as usize).div_ceil(100).max(1);
        self.values.get(rank - 1).copied().unwrap_or(0)
    }

    /// The greatest over the mean: how uneven they are. One if all are equal.
    pub fn max_over_mean(&self) -> f64 {
        let mean = self.mean();
        if mean > 0.0 { f64::from(self.max()) / mean } else { 0.0 }
    }

    /// How many lie in each of some columns of one width; what is beyond goes into the last.
    pub fn histogram(&self, width: u32, columns: usize) -> Vec<Column> {
        let column = |at: usize| Column {
            from: u32::try_from(at).unwrap_or(u32::MAX).saturating_mul(width),
            count: 0,
        };
        let mut all: Vec<Column> = (0..columns).map(column).collect();
        for &value in &self.values {
            let at = (value / width.max(1)) as usize;
            all[at.min(columns - 1)].count += 1;
        }
        all
    }
}

/// A part of a whole; zero of nothing.
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { to_f64(part) / to_f64(whole) }
}

/// The same; of none there is no share.
pub fn share_of_some(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| share(part, whole))
}

/// A share as people read it.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "of none".to_owned(), |share| format!("{:.3} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Samples {
        let mut samples = Samples::default();
        for &value in values {
            samples.add(value);
        }
        samples
    }

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let mut samples = of(&(1..=200).rev().collect::<Vec<_>>());
        let percentiles = [1, 50, 95, 99, 100].map(|percent| samples.percentile(percent));
        assert_eq!(percentiles, [2, 100, 190, 198, 200]);
        samples.add(0);
        assert_eq!((samples.percentile(0), samples.percentile(50)), (0, 100));
        assert_eq!(of(&[7]).percentile(99), 7);
        assert_eq!((of(&[]).percentile(50), of(&[]).max()), (0, 0));
    }

    #[test]
    fn means_and_unevenness_are_exact() {
        let samples = of(&[1, 2, 9]);
        assert!((samples.mean() - 4.0).abs() < 1e-12);
        assert!((samples.max_over_mean() - 2.25).abs() < 1e-12);
        assert!(of(&[]).max_over_mean().abs() < 1e-12);
    }

    #[test]
    fn a_histogram_loses_no_sample() {
        let columns = of(&[0, 9, 10, 25, 1000, u64::MAX]).histogram(10, 4);
        let expected = [(0, 2), (10, 1), (20, 1), (30, 2)];
        assert_eq!(columns.iter().map(|c| (c.from, c.count)).collect::<Vec<_>>(), expected);
    }
}
