//! The summary of a replay: one flat record, printed as a table or as JSON.
//!
//! Invariant: the JSON is flat and has exactly the fields of [`Report`] and of its parts, under
//! their names.

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
    pub(crate) skipped_why: Option<String>,
}

/// The summary.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) setting: Setting,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    pub(crate) calls: u64,
    pub(crate) elapsed_ms: u64,
    pub(crate) calls_per_second: u64,
    pub(crate) p50_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
    #[serde(flatten)]
    pub(crate) found: Verdict,
    /// `kept` or `broken`: the promise.
    pub(crate) verdict: &'static str,
}

impl Report {
    /// Puts the figures together.
    pub(crate) fn new(
        setting: Setting,
        mut tally: Tally,
        found: Verdict,
        elapsed: Duration,
    ) -> Self {
        tally.took.sort_unstable();
        let calls = tally.took.len() as u64;
        let nanos = elapsed.as_nanos().max(1);
        let rate = u128::from(calls) * 1_000_000_000 / nanos;
        let percentile = |percent| micros(percentile(&tally.took, percent));
        Self {
            setting,
            calls,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            calls_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
            p50_us: percentile(50),
            p95_us: percentile(95),
            p99_us: percentile(99),
            verdict: if found.objections.is_empty() { "kept" } else { "broken" },
            tally,
            found,
        }
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let Self { setting, tally, found, .. } = self;
        let skipped = match &setting.skipped_why {
            None => setting.skipped.to_string(),
            Some(why) => format!("{} ({why})", setting.skipped),
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
            ("allocations", tally.allocations.to_string()),
            ("frees", tally.frees.to_string()),
            ("held at the end", found.held_at_end.to_string()),
            ("peak held", found.peak_held.to_string()),
            ("full answers", tally.full_answers.to_string()),
            ("refused", tally.refused.to_string()),
            ("callers killed", tally.callers_killed.to_string()),
            ("phantoms recovered", tally.phantoms_recovered.to_string()),
            ("recoveries", tally.recoveries.to_string()),
            ("calls", format!("{} in {} ms", self.calls, self.elapsed_ms)),
            ("throughput", format!("{} calls/s", self.calls_per_second)),
            (
                "latency",
                format!("p50 {} µs, p95 {} µs, p99 {} µs", self.p50_us, self.p95_us, self.p99_us),
            ),
            ("double held", found.double_held.to_string()),
            ("taken", found.taken.to_string()),
            ("false full", found.false_full.to_string()),
            ("leaked", found.leaked.to_string()),
            ("lost", found.lost.to_string()),
            ("counts wrong", found.counts_wrong.to_string()),
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
