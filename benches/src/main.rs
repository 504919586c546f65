//! Cloakroom beside etcd, in one run on one machine; a node beside redb; one that is killed; one that is idle.
//!
//! | file | what |
//! |---|---|
//! | `grpc.rs` | etcd's gRPC |
//! | `rivals.rs` | handing out ids on etcd |
//! | `clusters.rs` | the processes |
//! | `alone.rs` | a node's disk, and redb's |
//!
//! Cloakroom is measured by its own `cloakroom bench`, etcd from here: both by one process with one thread,
//! both with calls that allocate and then free one of those held, at random.

#![forbid(unsafe_code)]

mod alone;
mod clusters;
mod grpc;
mod rivals;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::Value;
use tokio::task::LocalSet;

use crate::alone::Commits;
use crate::clusters::{Members, Nodes, resident_mib};
use crate::grpc::Failure;
use crate::rivals::{Measured, Way};

/// Cloakroom beside etcd.
#[derive(Debug, Parser)]
struct Cli {
    /// The command, built with --release
    #[arg(long, default_value = "target/release/cloakroom")]
    cloakroom: PathBuf,
    /// What to measure
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Three nodes of each, round after round
    Etcd {
        /// etcd; `apt-get install etcd-server` on Debian
        #[arg(long, default_value = "etcd")]
        etcd: PathBuf,
        /// Clients at once
        #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
        clients: Vec<usize>,
        /// How full the pool is, in percent
        #[arg(long, value_delimiter = ',', default_value = "10,90,99.9")]
        occupancy: Vec<f64>,
        /// Ids
        #[arg(long, default_value_t = 65_536)]
        size: u64,
        /// Seconds for each figure in each round
        #[arg(long, default_value_t = 3)]
        seconds: u16,
        /// Rounds; the table has medians
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// One node's group commits, beside those of redb alone
    Redb {
        /// Clients at once
        #[arg(long, value_delimiter = ',', default_value = "1,8,64,256")]
        clients: Vec<usize>,
        /// Seconds for each figure in each round
        #[arg(long, default_value_t = 3)]
        seconds: u16,
        /// Rounds; the table has medians
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// 64 clients of three nodes, of which one is killed
    Kill {
        /// How many seconds, the kill after a third
        #[arg(long, default_value_t = 15)]
        seconds: u16,
    },
    /// The memory of a node that has nothing to do
    Idle,
}

fn main() -> Result<(), Failure> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        match &cli.what {
            What::Etcd { etcd, clients, occupancy, size, seconds, rounds } => {
                let plan = Plan { clients, size: *size, seconds: *seconds };
                compare(&cli.cloakroom, etcd, &plan, occupancy, *rounds).await
            }
            What::Redb { clients, seconds, rounds } => {
                beside_redb(&cli.cloakroom, clients, *seconds, *rounds)
            }
            What::Kill { seconds } => kill(&cli.cloakroom, *seconds).await,
            What::Idle => idle(&cli.cloakroom).await,
        }
    })
}

struct Plan<'a> {
    clients: &'a [usize],
    size: u64,
    seconds: u16,
}

/// By who and how many clients.
type Figures = BTreeMap<(&'static str, usize), Vec<Measured>>;

const CLOAKROOM: &str = "cloakroom";
const RIVALS: [(&str, Way); 3] = [
    ("etcd, as Kubernetes", Way::Bitmap),
    ("etcd, as Cilium", Way::Cilium),
    ("etcd, keys alone", Way::Keys),
];

async fn compare(
    cloakroom: &Path,
    etcd: &Path,
    plan: &Plan<'_>,
    occupancies: &[f64],
    rounds: usize,
) -> Result<(), Failure> {
    let names = RIVALS.map(|(name, _)| name).join(" | ");
    println!("| held | clients | {CLOAKROOM}: a second, p99 | {names} |");
    println!("|---|---|---|{}", "---|".repeat(RIVALS.len()));
    for &occupancy in occupancies {
        let nodes = Nodes::start(cloakroom, 3)?;
        let mut figures = Figures::new();
        for round in 0..rounds {
            eprintln!("{occupancy} %: round {} of {rounds}", round + 1);
            for (clients, measured) in ours(cloakroom, &nodes.endpoints, plan, occupancy)? {
                figures.entry((CLOAKROOM, clients)).or_default().push(measured);
            }
            for (name, way) in RIVALS {
                // What another way has left behind makes etcd slow.
                let members = Members::start(etcd)?;
                let leader = members.leader(8).await?;
                let mut cache =
                    rivals::fill(&leader[0], way, plan.size, share(plan.size, occupancy)).await?;
                for &clients in plan.clients {
                    let duration = Duration::from_secs(plan.seconds.into());
                    let ended = rivals::measure(&leader, way, cache, clients, duration).await?;
                    figures.entry((name, clients)).or_default().push(ended.0);
                    cache = ended.1;
                }
            }
        }
        for &clients in plan.clients {
            let cell = |name| {
                let Measured { per_second, p99_ms } = median(&figures[&(name, clients)]);
                format!("{per_second:.0}, {p99_ms:.1} ms")
            };
            let rivals = RIVALS.map(|(name, _)| cell(name)).join(" | ");
            println!("| {occupancy} % | {clients} | {} | {rivals} |", cell(CLOAKROOM));
        }
    }
    Ok(())
}

fn ours(
    cloakroom: &Path,
    endpoints: &str,
    plan: &Plan<'_>,
    occupancy: f64,
) -> Result<Vec<(usize, Measured)>, Failure> {
    let clients: Vec<String> = plan.clients.iter().map(ToString::to_string).collect();
    let report = bench(cloakroom, endpoints)
        .args(["--clients", &clients.join(","), "--occupancy", &occupancy.to_string()])
        .args(["--size", &plan.size.to_string(), "--duration", &plan.seconds.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let report: Value = serde_json::from_slice(&report.stdout)?;
    let runs = report["runs"].as_array().ok_or("a report without runs")?;
    let of = |run: &Value| {
        let clients = usize::try_from(run["clients"].as_u64()?).ok()?;
        let row = &run["calls"][0];
        let (per_second, p99_ms) = (row["per_second"].as_f64()?, row["p99_ms"].as_f64()?);
        Some((clients, Measured { per_second, p99_ms }))
    };
    runs.iter().map(|run| of(run).ok_or_else(|| "a run without figures".into())).collect()
}

fn bench(cloakroom: &Path, endpoints: &str) -> Command {
    let mut command = Command::new(cloakroom);
    command.args(["bench", "--output", "json", "--endpoint", endpoints]);
    command
}

fn beside_redb(
    cloakroom: &Path,
    clients: &[usize],
    seconds: u16,
    rounds: usize,
) -> Result<(), Failure> {
    println!(
        "| clients | a node: commits a second, entries each, bytes each entry | in a second that it spends in them \
         | redb alone | ratios |"
    );
    println!("|---|---|---|---|---|");
    for &clients in clients {
        let mut pairs = Vec::new();
        for round in 0..rounds {
            eprintln!("{clients} clients: round {} of {rounds}", round + 1);
            let node = alone::node(cloakroom, clients, seconds)?;
            let redb = alone::redb(node, seconds)?;
            pairs.push((node.per_busy_second / redb.per_second, node, redb));
        }
        pairs.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        let (busy_ratio, node, redb) = pairs[pairs.len() / 2];
        let Commits { per_second, per_busy_second, entries, bytes } = node;
        let (alone, ratio) = (redb.per_second, per_second / redb.per_second);
        println!(
            "| {clients} | {per_second:.0}, {entries:.1}, {bytes:.0} | {per_busy_second:.0} | {alone:.0} \
             | {ratio:.2}, {busy_ratio:.2} |"
        );
    }
    Ok(())
}

async fn kill(cloakroom: &Path, seconds: u16) -> Result<(), Failure> {
    let mut nodes = Nodes::start(cloakroom, 3)?;
    let running = bench(cloakroom, &nodes.endpoints)
        .args(["--clients", "64", "--occupancy", "1", "--duration", &seconds.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    tokio::time::sleep(Duration::from_secs(seconds.into()) / 3).await;
    // Not known to be the busiest one, nor the idlest.
    nodes.processes[1].kill()?;
    let report: Value = serde_json::from_slice(&running.wait_with_output()?.stdout)?;
    for row in report["runs"][0]["calls"].as_array().ok_or("a report without calls")? {
        println!("{row}");
    }
    Ok(())
}

async fn idle(cloakroom: &Path) -> Result<(), Failure> {
    let nodes = Nodes::start(cloakroom, 3)?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    for process in &nodes.processes {
        println!("{:.1} MiB", resident_mib(process.id())?);
    }
    Ok(())
}

fn median(all: &[Measured]) -> Measured {
    let middle = |of: fn(&Measured) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Measured { per_second: middle(|it| it.per_second), p99_ms: middle(|it| it.p99_ms) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a size far below 2^53"
)]
fn share(size: u64, percent: f64) -> u64 {
    ((size as f64 * percent / 100.0).round() as u64).min(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_taken_of_each_figure_by_itself() {
        let of = |per_second, p99_ms| Measured { per_second, p99_ms };
        let median = median(&[of(3.0, 1.0), of(1.0, 2.0), of(2.0, 9.0)]);
        assert!((median.per_second - 2.0).abs() < 1e-9 && (median.p99_ms - 2.0).abs() < 1e-9);
        assert_eq!(share(65_536, 99.9), 65_470);
    }
}
