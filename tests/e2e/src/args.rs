//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::schedule::Kind;

/// Runs a cluster of real server processes under clients and faults, and judges what the clients saw.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
A run that fails leaves its histories, the nodes' logs and the journal of faults in a folder, and says how to \
judge it again. Ctrl-C ends the faults, heals and judges; a second one ends it at once. Without the right to \
have a network of its own the faults that need it are left out, which is said.

Examples:
  cargo run --release -p e2e -- --seed 1 --minutes 10
  cargo run --release -p e2e -- --nodes 5 --faults kill,partition
  cargo run --release -p e2e -- --hostile
  cargo run --release -p e2e -- --judge target/e2e/seed-1"
)]
pub(crate) struct Arguments {
    /// Decides which fault comes when, and what each client does
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long faults come; healing and judging take some more
    #[arg(long, default_value_t = 1.0, value_parser = minutes)]
    pub(crate) minutes: f64,
    /// Server processes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) nodes: u8,
    /// Clients
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) clients: u16,
    /// Only these faults [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) faults: Vec<Kind>,
    /// The longest pause between two calls of one client
    #[arg(long, default_value_t = 100, value_name = "MS")]
    pub(crate) pause_ms: u64,
    /// Where runs are kept
    #[arg(long, default_value = "target/e2e", value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Keep the run's folder also if nothing is wrong
    #[arg(long)]
    pub(crate) keep: bool,
    /// Clients that mean harm, instead of faults
    #[arg(long, conflicts_with_all = ["faults", "minutes"])]
    pub(crate) hostile: bool,
    /// Run nothing: judge a run that was kept
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["hostile", "seed"])]
    pub(crate) judge: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.0..=10_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("expected a number of minutes, such as 0.5".to_string()),
    }
}
