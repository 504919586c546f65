//! A run in figures: one flat record for programs, a table for people.
//!
//! Invariants:
//! * everything but `wall_seconds` and `process_peak_bytes` follows from the scenario alone.

use serde::Serialize;

use super::Outcome;
use crate::random::to_f64;
use crate::stats::{Samples, percent, share};

/// The figures. Times of one lookup are virtual, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Nodes up at once.
    pub nodes: u32,
    /// The seed.
    pub seed: u64,
    /// Lookups begun in the measured part.
    pub lookups: u64,
    /// The share of those whose caller stayed that found the closest node; null if there were none.
    pub success_rate: Option<f64>,
    /// The share of the 20 closest that they found; null if there were none.
    pub recall: Option<f64>,
    /// Lookups whose caller went before they ended.
    pub orphaned: u64,
    /// Mean hops.
    pub hops_mean: f64,
    /// The same, 95th percentile.
    pub hops_p95: u32,
    /// Mean requests and answers of a lookup; a request that was sent again counts once.
    pub messages_mean: f64,
    /// The same, median.
    pub messages_p50: u32,
    /// The same, 95th percentile.
    pub messages_p95: u32,
    /// The same, 99th percentile.
    pub messages_p99: u32,
    /// Share of requests that stayed unanswered.
    pub unanswered_rate: f64,
    /// Mean latency.
    pub latency_ms_mean: f64,
    /// Median latency.
    pub latency_ms_p50: f64,
    /// The same, 95th percentile.
    pub latency_ms_p95: f64,
    /// The same, 99th percentile.
    pub latency_ms_p99: f64,
    /// Records published with three holders.
    pub records: u64,
    /// Reads begun.
    pub reads: u64,
    /// The share of them that found the record; null if there were none.
    pub read_success_rate: Option<f64>,
    /// Mean hops of a read.
    pub read_hops_mean: f64,
    /// Mean requests and answers of a read; a request that was sent again counts once.
    pub read_messages_mean: f64,
    /// The same, median.
    pub read_messages_p50: u32,
    /// The same, 95th percentile.
    pub read_messages_p95: u32,
    /// The same, 99th percentile.
    pub read_messages_p99: u32,
    /// Median latency of a read.
    pub read_latency_ms_p50: f64,
    /// The same, 95th percentile.
    pub read_latency_ms_p95: f64,
    /// The same, 99th percentile.
    pub read_latency_ms_p99: f64,
    /// Messages given to a node in the measured part, on average.
    pub load_mean: f64,
    /// The busiest node over the mean, of those up all the time.
    pub load_max_over_mean: f64,
    /// Bytes that a node sends in a second.
    pub bytes_per_second_per_node: f64,
    /// Messages that a node sends in a second.
    pub messages_per_second_per_node: f64,
    /// Entries of a routing table.
    pub table_entries_mean: f64,
    /// Share of them that are up.
    pub table_live_share: f64,
    /// Share of a node's 20 closest that stand in its table.
    pub table_neighbour_share: f64,
    /// Bytes that a machine takes in the mean, contents of records and messages aside: its table, what it knows of
    /// its records, requests and lookups under way.
    pub memory_per_node_bytes: u64,
    /// Messages that made no sense to their receiver.
    pub garbled: u64,
    /// Nodes that came in the measured part.
    pub came: u64,
    /// Nodes that went.
    pub went: u64,
    /// Virtual seconds measured.
    pub virtual_seconds: f64,
    /// Steps in the trace: messages, timers, starts, crashes, commands.
    pub steps: u64,
    /// The trace's hash.
    pub trace_hash: String,
    /// Seconds that the run took.
    pub wall_seconds: f64,
    /// The most memory that the process had, as the system says; zero if it does not.
    pub process_peak_bytes: u64,
}

/// Microseconds in milliseconds, to three places.
fn ms(us: u32) -> f64 {
    f64::from(us) / 1000.0
}

impl Figures {
    /// Of an outcome, after so many seconds.
    pub fn of(outcome: &mut Outcome, wall_seconds: f64) -> Self {
        let virtual_us = outcome.measured.1.since_us(outcome.measured.0);
        let virtual_seconds = to_f64(virtual_us) / 1e6;
        let mut load = Samples::default();
        outcome.load.iter().for_each(|&(_, messages)| load.add(messages));
        let nodes = outcome.scenario.nodes;
        let per_node_second = f64::from(nodes) * virtual_seconds;
        let (lookups, reads) = (&mut outcome.lookups, &mut outcome.reads);
        let asked = lookups.messages.mean() * to_f64(lookups.ended);
        let failed = to_f64(lookups.failed_requests);
        Self {
            nodes,
            seed: outcome.scenario.seed,
            lookups: lookups.begun,
            success_rate: lookups.success(),
            recall: outcome.recall,
            orphaned: lookups.orphaned,
            hops_mean: lookups.hops.mean(),
            hops_p95: lookups.hops.percentile(95),
            messages_mean: lookups.messages.mean(),
            messages_p50: lookups.messages.percentile(50),
            messages_p95: lookups.messages.percentile(95),
            messages_p99: lookups.messages.percentile(99),
            // Messages are requests and answers: what is unanswered lacks its half.
            unanswered_rate: if asked > 0.0 { 2.0 * failed / (asked + failed) } else { 0.0 },
            latency_ms_mean: lookups.took_us.mean() / 1000.0,
            latency_ms_p50: ms(lookups.took_us.percentile(50)),
            latency_ms_p95: ms(lookups.took_us.percentile(95)),
            latency_ms_p99: ms(lookups.took_us.percentile(99)),
            records: outcome.published,
            reads: reads.begun,
            read_success_rate: reads.success(),
            read_hops_mean: reads.hops.mean(),
            read_messages_mean: reads.messages.mean(),
            read_messages_p50: reads.messages.percentile(50),
            read_messages_p95: reads.messages.percentile(95),
            read_messages_p99: reads.messages.percentile(99),
            read_latency_ms_p50: ms(reads.took_us.percentile(50)),
            read_latency_ms_p95: ms(reads.took_us.percentile(95)),
            read_latency_ms_p99: ms(reads.took_us.percentile(99)),
            load_mean: load.mean(),
            load_max_over_mean: load.max_over_mean(),
            bytes_per_second_per_node: to_f64(outcome.traffic.sent_bytes) / per_node_second,
            messages_per_second_per_node: to_f64(outcome.traffic.sent) / per_node_second,
            table_entries_mean: outcome.table.0,
            table_live_share: outcome.table.1,
            table_neighbour_share: outcome.table.2,
            memory_per_node_bytes: crate::random::to_u64(outcome.memory),
            garbled: outcome.garbled,
            came: outcome.moments.iter().map(|moment| moment.came).sum(),
            went: outcome.moments.iter().map(|moment| moment.went).sum(),
            virtual_seconds,
            steps: outcome.trace.1,
            trace_hash: format!("{:016x}", outcome.trace.0),
            wall_seconds,
            process_peak_bytes: process_peak_bytes(),
        }
    }

    fn messages(&self) -> String {
        format!(
            "mean {:.1}, p50 {}, p95 {}, p99 {}; {:.3} % of requests unanswered",
            self.messages_mean,
            self.messages_p50,
            self.messages_p95,
            self.messages_p99,
            self.unanswered_rate * 100.0
        )
    }

    fn read_messages(&self) -> String {
        format!(
            "mean {:.2}; mean {:.1}, p50 {}, p95 {}, p99 {}",
            self.read_hops_mean,
            self.read_messages_mean,
            self.read_messages_p50,
            self.read_messages_p95,
            self.read_messages_p99
        )
    }

    /// For people.
    pub fn table(&self) -> String {
        let rows = [self.about_lookups(), self.about_reads(), self.about_nodes()].concat();
        let lines = rows.iter().map(|(name, value)| format!("{name:<16}  {value}\n"));
        lines.collect()
    }

    fn about_lookups(&self) -> Vec<(&'static str, String)> {
        let nodes = format!(
            "{} (in {:.0} virtual minutes {} came, {} went)",
            self.nodes,
            self.virtual_seconds / 60.0,
            self.came,
            self.went
        );
        let lookups = format!(
            "{}, success {}, recall of the 20 closest {}",
            self.lookups,
            percent(self.success_rate),
            percent(self.recall)
        );
        let latency = format!(
            "mean {:.0} ms, p50 {:.0}, p95 {:.0}, p99 {:.0}",
            self.latency_ms_mean, self.latency_ms_p50, self.latency_ms_p95, self.latency_ms_p99
        );
        vec![
            ("nodes", nodes),
            ("lookups", lookups),
            ("  hops", format!("mean {:.2}, p95 {}", self.hops_mean, self.hops_p95)),
            ("  messages", self.messages()),
            ("  latency", latency),
        ]
    }

    fn about_reads(&self) -> Vec<(&'static str, String)> {
        let reads = format!(
            "{} of {} records, success {}",
            self.reads,
            self.records,
            percent(self.read_success_rate)
        );
        let latency = format!(
            "p50 {:.0} ms, p95 {:.0}, p99 {:.0}",
            self.read_latency_ms_p50, self.read_latency_ms_p95, self.read_latency_ms_p99
        );
        vec![("reads", reads), ("  hops, messages", self.read_messages()), ("  latency", latency)]
    }

    fn about_nodes(&self) -> Vec<(&'static str, String)> {
        let load = format!(
            "mean {:.0} messages, busiest {:.2} times that; {:.1} messages and {} a second",
            self.load_mean,
            self.load_max_over_mean,
            self.messages_per_second_per_node,
            kib(self.bytes_per_second_per_node)
        );
        let tables = format!(
            "{:.0} entries, {} up, {} of the 20 closest known",
            self.table_entries_mean,
            percent(Some(self.table_live_share)),
            percent(Some(self.table_neighbour_share))
        );
        let memory = format!(
            "{} a node; the process had {:.0} MiB at most",
            kib(to_f64(self.memory_per_node_bytes)),
            to_f64(self.process_peak_bytes) / 1_048_576.0
        );
        let run = format!(
            "{} steps in {:.1} s, trace {}",
            self.steps, self.wall_seconds, self.trace_hash
        );
        vec![("load", load), ("tables", tables), ("memory", memory), ("run", run)]
    }
}

fn kib(bytes: f64) -> String {
    format!("{:.1} KiB", bytes / 1024.0)
}

/// The most memory that this process had.
fn process_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// How far the busiest are from the mean, for other experiments.
pub fn unevenness(load: &[u64]) -> f64 {
    let sum: u64 = load.iter().sum();
    let most = load.iter().copied().max().unwrap_or(0);
    to_f64(most) * to_f64(load.len() as u64) / to_f64(sum.max(1)) * share(1, 1)
}
