//! The arguments of `bench`.
//!
//! Invariants: those of the file above.
//!
//! What it does not do: measure.

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

use super::{ServerArgs, TreeArgs};

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WorkloadArg {
    /// Allocate an id, then free one of those held, at random
    Ids,
    /// Give a key its first value, replace it, remove it
    Keys,
}

/// `bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Makes a pool of its own, fills it to --occupancy, and has clients allocate and free until the time is \
over. Ctrl-C ends that early and still reports. Then it frees what it holds and deletes the pool; \
a second Ctrl-C leaves that be, and says what is left. The keys of --workload keys are its own as well.

Latency is that of a call with all its attempts. A round trip is one message of a coordinator to the \
replicas and the answers of a majority; calls that the servers carry out together share it, so that \
with many clients there are fewer than each of them waits for. Others who use the same servers are \
counted too.

Example:
  cloakroom bench --clients 1,8,64 --occupancy 90 --duration 30")]
pub struct BenchArgs {
    /// What the clients do
    #[arg(long, env = "CLOAKROOM_WORKLOAD", hide_env_values = true)]
    #[arg(value_enum, default_value_t = WorkloadArg::Ids)]
    pub workload: WorkloadArg,
    /// Clients at once, 1 to 1024; several numbers with commas are measured one after the other
    #[arg(long, env = "CLOAKROOM_CLIENTS", hide_env_values = true, value_name = "N")]
    #[arg(value_delimiter = ',', default_value = "8")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub clients: Vec<usize>,
    /// For how long, each, 1 to 3600
    #[arg(long, env = "CLOAKROOM_DURATION", hide_env_values = true, value_name = "SECONDS")]
    #[arg(default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub duration: u16,
    /// How full the pool is made first, 0 to 100
    #[arg(long, env = "CLOAKROOM_OCCUPANCY", hide_env_values = true, value_name = "PERCENT")]
    #[arg(default_value = "50", value_parser = percent)]
    pub occupancy: f64,
    /// Ids in the pool
    #[arg(long, env = "CLOAKROOM_SIZE", hide_env_values = true, value_name = "N")]
    #[arg(default_value_t = 65_536)]
    pub size: u64,
    /// How wide its tree is, and which id it prefers.
    #[command(flatten)]
    pub tree: TreeArgs,
    /// Decides which ids are freed
    #[arg(long, env = "CLOAKROOM_SEED", hide_env_values = true, value_name = "S")]
    #[arg(default_value_t = 0)]
    pub seed: u64,
    /// Which servers, and how to print the result.
    #[command(flatten)]
    pub server: ServerArgs,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse().ok();
    let number = number.filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| format!("expected 0 to 100, got {text:?}"))
}
