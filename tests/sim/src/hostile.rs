//! The same network with lying nodes twice: lookups over disjoint paths, and over one.
//!
//! Invariants: null where there was nothing of which there could be a share.
//!
//! What it does not do: search for the worst liars. Their ways are those of
//! [`Behaviour`](crate::kad::liar::Behaviour).

use serde::Serialize;

use crate::run::figures::Figures;
use crate::scenario::{Scenario, ScenarioError};
use crate::stats::percent;

/// Both runs.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// Share of nodes that lied.
    pub malicious: f64,
    /// How.
    pub behaviour: String,
    /// Paths of the first run.
    pub paths: u8,
    /// Success of lookups over disjoint paths.
    pub success_rate: Option<f64>,
    /// The same over one.
    pub success_rate_one_path: Option<f64>,
    /// Success of reads over disjoint paths.
    pub read_success_rate: Option<f64>,
    /// The same over one.
    pub read_success_rate_one_path: Option<f64>,
    /// Mean requests and answers of a lookup over disjoint paths; a request that was sent again counts once.
    pub messages_mean: f64,
    /// The same over one.
    pub messages_mean_one_path: f64,
    /// Latency of a lookup over disjoint paths, 95th percentile.
    pub latency_ms_p95: f64,
    /// The same over one.
    pub latency_ms_p95_one_path: f64,
    /// Trace of the first run.
    pub trace_hash: String,
    /// Trace of the second.
    pub trace_hash_one_path: String,
}

/// What is run if nothing else is said.
pub fn base() -> Scenario {
    let mut scenario = Scenario { nodes: 1000, lookups: 10_000, ..Scenario::default() };
    scenario.hostile.share = 0.2;
    scenario
}

/// Runs both.
///
/// # Errors
/// With one path there is nothing to compare.
pub fn compare(
    scenario: &Scenario,
    mut run: impl FnMut(&Scenario, &str) -> Figures,
) -> Result<Compared, ScenarioError> {
    if scenario.paths < 2 {
        return Err(ScenarioError::OnePath { got: scenario.paths });
    }
    let with = run(scenario, "disjoint");
    let without = run(&Scenario { paths: 1, ..scenario.clone() }, "one path");
    let behaviour = serde_json::to_value(scenario.hostile.behaviour);
    Ok(Compared {
        malicious: scenario.hostile.share,
        behaviour: behaviour
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default(),
        paths: scenario.paths,
        success_rate: with.success_rate,
        success_rate_one_path: without.success_rate,
        read_success_rate: with.read_success_rate,
        read_success_rate_one_path: without.read_success_rate,
        messages_mean: with.messages_mean,
        messages_mean_one_path: without.messages_mean,
        latency_ms_p95: with.latency_ms_p95,
        latency_ms_p95_one_path: without.latency_ms_p95,
        trace_hash: with.trace_hash,
        trace_hash_one_path: without.trace_hash,
    })
}

impl Compared {
    /// For people.
    pub fn table(&self) -> String {
        let number = |value: f64| format!("{value:.1}");
        let rows = [
            ("paths", self.paths.to_string(), "1".to_owned()),
            ("lookups, success", percent(self.success_rate), percent(self.success_rate_one_path)),
            (
                "reads, success",
                percent(self.read_success_rate),
                percent(self.read_success_rate_one_path),
            ),
            ("messages a lookup", number(self.messages_mean), number(self.messages_mean_one_path)),
            ("latency p95, ms", number(self.latency_ms_p95), number(self.latency_ms_p95_one_path)),
            ("trace", self.trace_hash.clone(), self.trace_hash_one_path.clone()),
        ];
        let head = format!(
            "{} of the nodes lie ({})\n{:<20}  {:>18}  {:>18}\n",
            percent(Some(self.malicious)),
            self.behaviour,
            "",
            "disjoint paths",
            "one path"
        );
        let line = |(name, with, without): &(&str, String, String)| {
            format!("{name:<20}  {with:>18}  {without:>18}\n")
        };
        rows.iter().fold(head, |table, row| table + &line(row))
    }
}
