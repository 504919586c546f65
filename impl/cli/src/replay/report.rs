//! The summary of a replay: one flat record, printed as a table or as JSON.
//!
//! Invariant: the JSON has exactly the fields of [`Report`], under their names.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::judge::Verdict;
use super::worker::Tally;

/// What was replayed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    pub(crate) trace: String,
    pub(crate) size: u64,
    pub(crate) fanout: u16,
    pub(crate) block: u16,
    pub(crate) policy: &'static str,
    pub(crate) store: &'static str,
    pub(crate) workers: usize,
    pub(crate) crash_rate: f64,
    pub(crate) seed: u64,
    /// Rows below the header.
    pub(crate) rows: u64,
    /// Rows that made no workload; why is in the next field.
    pub(crate) skipped: u64,
    pub(crate) skipped_without_start: u64,
    #[serde(skip)]
    pub(crate) start_column: String,
}

/// The summary.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) setting: Setting,
    pub(crate) allocations: u64,
    pub(crate) frees: u64,
    pub(crate) held_at_end: u64,
    pub(crate) peak_held: u64,
    pub(crate) full_answers: u64,
    pub(crate) refused: u64,
    pub(crate) callers_killed: u64,
    pub(crate) phantoms_recovered: u64,
    pub(crate) recoveries: u64,
    pub(crate) calls: u64,
    pub(crate) elapsed_ms: u64,
    pub(crate) calls_per_second: u64,
    pub(crate) p50_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) double_held: u64,
    pub(crate) taken: u64,
    pub(crate) false_full: u64,
    pub(crate) leaked: u64,
    pub(crate) lost: u64,
    pub(crate) counts_wrong: u64,
    /// `held`: the promise was; or `broken`.
    pub(crate) verdict: &'static str,
}

impl Report {
    /// Puts the figures together.
    pub(crate) fn new(
        setting: Setting,
        mut tally: Tally,
        verdict: &Verdict,
        elapsed: Duration,
    ) -> Self {
        tally.took.sort_unstable();
        let calls = tally.took.len() as u64;
        let nanos = elapsed.as_nanos().max(1);
        let rate = u128::from(calls) * 1_000_000_000 / nanos;
        let percentile = |percent| micros(percentile(&tally.took, percent));
        Self {
            setting,
            allocations: tally.allocations,
            frees: tally.frees,
            held_at_end: verdict.held_at_end,
            peak_held: verdict.peak_held,
            full_answers: tally.full_answers,
            refused: tally.refused,
            callers_killed: tally.callers_killed,
            phantoms_recovered: tally.phantoms_recovered,
            recoveries: tally.recoveries,
            calls,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            calls_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
            p50_us: percentile(50),
            p95_us: percentile(95),
            p99_us: percentile(99),
            double_held: verdict.double_held,
            taken: verdict.taken,
            false_full: verdict.false_full,
            leaked: verdict.leaked,
            lost: verdict.lost,
            counts_wrong: verdict.counts_wrong,
            verdict: if verdict.objections.is_empty() { "held" } else { "broken" },
        }
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let setting = &self.setting;
        let skipped = match setting.skipped {
            0 => "0".to_owned(),
            skipped => format!("{skipped} (never started: no {})", setting.start_column),
        };
        let lines: [(&str, String); 24] = [
            ("trace", setting.trace.clone()),
            (
                "pool",
                format!(
                    "{} ids, fanout {}, block {}, {}, {}",
                    setting.size, setting.fanout, setting.block, setting.policy, setting.store
                ),
            ),
            (
                "callers",
                format!(
                    "{} at once, crash rate {}, seed {}",
                    setting.workers, setting.crash_rate, setting.seed
                ),
            ),
            ("rows", setting.rows.to_string()),
            ("skipped rows", skipped),
            ("allocations", self.allocations.to_string()),
            ("frees", self.frees.to_string()),
            ("held at the end", self.held_at_end.to_string()),
            ("peak held", self.peak_held.to_string()),
            ("full answers", self.full_answers.to_string()),
            ("refused", self.refused.to_string()),
            ("callers killed", self.callers_killed.to_string()),
            ("phantoms recovered", self.phantoms_recovered.to_string()),
            ("recoveries", self.recoveries.to_string()),
            ("calls", format!("{} in {} ms", self.calls, self.elapsed_ms)),
            ("throughput", format!("{} calls/s", self.calls_per_second)),
            (
                "latency",
                format!("p50 {} µs, p95 {} µs, p99 {} µs", self.p50_us, self.p95_us, self.p99_us),
            ),
            ("double held", self.double_held.to_string()),
            ("taken", self.taken.to_string()),
            ("false full", self.false_full.to_string()),
            ("leaked", self.leaked.to_string()),
            ("lost", self.lost.to_string()),
            ("counts wrong", self.counts_wrong.to_string()),
            ("verdict", self.verdict.to_owned()),
        ];
        let mut table = String::new();
        for (name, value) in lines {
            writeln!(table, "{name:<18}  {value}").expect("a String takes everything");
        }
        table
    }
}

/// The value that `percent` of the calls did not pass (nearest rank); zero when there was none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    rank.checked_sub(1).map_or(Duration::ZERO, |at| sorted[at])
}

/// Microseconds to one decimal.
fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let took: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(percentile(&took, 50), Duration::from_micros(100));
        assert_eq!(percentile(&took, 99), Duration::from_micros(198));
        assert_eq!(percentile(&took[..1], 50), Duration::from_micros(1));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
        assert!((micros(Duration::from_nanos(1_260)) - 1.3).abs() < 1e-9);
    }
}
