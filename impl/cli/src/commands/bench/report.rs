//! What a measurement has brought, for people and for programs.
//!
//! Invariants: a number that was not measured is not printed as zero.
//!
//! What it does not do: judge.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::latencies::Latencies;

/// What became of the calls of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Of those that succeeded.
    pub(super) latencies: Latencies,
    /// Refused because the pool was full.
    pub(super) full: u64,
    /// Refused for another reason, or nobody has answered: nothing was done.
    pub(super) errors: u64,
    /// May have been done.
    pub(super) unknown: u64,
    /// Frees that were answered that somebody else holds the id: an earlier attempt has freed it.
    pub(super) not_owner: u64,
}

impl Tally {
    pub(super) fn join(&mut self, other: &Self) {
        self.latencies.join(&other.latencies);
        self.full += other.full;
        self.errors += other.errors;
        self.unknown += other.unknown;
        self.not_owner += other.not_owner;
    }
}

/// Calls of one kind.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    call: &'static str,
    done: u64,
    per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    full: u64,
    errors: u64,
    unknown: u64,
    not_owner: u64,
    /// Rounds of questions to replicas that half of the calls waited for at most, one after the other; `None`: the servers
    /// have not said.
    round_trips_p50: Option<u64>,
}

/// With one number of clients.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) clients: usize,
    pub(super) held_before: usize,
    pub(super) seconds: f64,
    pub(super) calls: Vec<Row>,
    /// All rounds of the servers' coordinators, for each call that was done: also those beside what it waits for, and
    /// those that many calls share; `None`: they have not said.
    pub(super) all_rounds_per_call: Option<f64>,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) size: u64,
    pub(super) runs: Vec<Run>,
    pub(super) interrupted: bool,
    /// One of the errors, if there was any.
    pub(super) an_error: Option<String>,
    /// The pool that could not be emptied and deleted.
    pub(super) left_behind: Option<String>,
}

impl Row {
    pub(super) fn new(
        call: &'static str,
        tally: &Tally,
        took: Duration,
        round_trips_p50: Option<u64>,
    ) -> Self {
        let latencies = &tally.latencies;
        let percentile = |percent| ms(latencies.percentile_us(percent));
        Self {
            call,
            done: latencies.count(),
            per_second: per(latencies.count(), took.as_secs_f64()),
            p50_ms: percentile(50),
            p95_ms: percentile(95),
            p99_ms: percentile(99),
            max_ms: ms(latencies.longest_us()),
            full: tally.full,
            errors: tally.errors,
            unknown: tally.unknown,
            not_owner: tally.not_owner,
            round_trips_p50,
        }
    }

    pub(super) fn done(&self) -> u64 {
        self.done
    }
}

impl Report {
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            writeln!(text, "{line}").expect("a String takes everything");
        };
        line(format_args!(
            "{:<9}{:<10}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>7}{:>8}{:>9}{:>11}{:>13}{:>12}",
            "CLIENTS",
            "CALL",
            "DONE",
            "PER S",
            "P50 MS",
            "P95 MS",
            "P99 MS",
            "MAX MS",
            "FULL",
            "ERRORS",
            "UNKNOWN",
            "NOT OWNER",
            "ROUND TRIPS",
            "ALL ROUNDS"
        ));
        for Run { clients, calls, all_rounds_per_call, .. } in &self.runs {
            let all = all_rounds_per_call.map_or("-".to_owned(), |all| format!("{all:.2}"));
            for row in calls {
                let Row { call, done, per_second, p50_ms, p95_ms, p99_ms, max_ms, .. } = row;
                let Row { full, errors, unknown, not_owner, round_trips_p50, .. } = row;
                let trips = round_trips_p50.map_or("-".to_owned(), |trips| trips.to_string());
                line(format_args!(
                    "{clients:<9}{call:<10}{done:>9}{per_second:>9.0}{p50_ms:>9.2}{p95_ms:>9.2}\
                     {p99_ms:>9.2}{max_ms:>9.2}{full:>7}{errors:>8}{unknown:>9}{not_owner:>11}\
                     {trips:>13}{all:>12}"
                ));
            }
        }
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
pub(super) fn per(count: u64, of: f64) -> f64 {
    if of > 0.0 { count as f64 / of } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "as above")]
pub(super) fn ratio(count: u64, of: u64) -> f64 {
    per(count, of as f64)
}

fn ms(us: u64) -> f64 {
    per(us, 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_kind_of_call_and_round_trips_only_if_they_are_known() {
        let mut tally = Tally { unknown: 3, not_owner: 4, ..Tally::default() };
        for ms in 1..=100 {
            tally.latencies.add(Duration::from_millis(ms));
        }
        let row = Row::new("allocate", &tally, Duration::from_secs(2), None);
        assert_eq!((row.done(), row.unknown, row.not_owner), (100, 3, 4));
        assert!((row.per_second - 50.0).abs() < 1e-9 && row.p50_ms >= 50.0 && row.p50_ms < 51.0);
        let calls = vec![row.clone(), row.clone()];
        let run =
            Run { clients: 7, held_before: 5, seconds: 2.0, calls, all_rounds_per_call: None };
        let row = Row { round_trips_p50: Some(2), ..row };
        let known =
            Run { all_rounds_per_call: Some(3.0), calls: vec![row.clone(), row], ..run.clone() };
        let report = Report { runs: vec![run, known], ..Report::default() };
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[1].starts_with("7 ") && lines[2].ends_with(" -           -"), "{table}");
        assert!(lines[3].ends_with(" 4            2        3.00"), "{table}");
    }
}
