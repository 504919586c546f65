//! The command line of the simulator: by itself (`sim`), and as `cloakroom sim`.
//!
//! Invariants (tests there and here check them):
//! * a flag wins over the scenario file, the file over the default;
//! * every flag `--some-name` is also read from `CLOAKROOM_SOME_NAME`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use thiserror::Error;

use crate::kad::liar::Behaviour;
use crate::scenario::{Scenario, ScenarioError, Start};

const AFTER_HELP: &str = "\
Nodes run the real routing code, and every message goes through the real wire format. Time is \
virtual, all chance comes from the seed: one seed gives one trace hash, on every machine.

Tables are filled at the start as they would be after running for long (--start filled): of each \
bucket up to 20 random nodes that are up, of the own neighbourhood all. With --start joining, nodes \
join one after the other over the real protocol, which takes longer. Then the warm-up runs, with \
churn and upkeep, before anything is measured.

A lookup succeeds if it finds the node closest to its point, of all honest nodes that were up from \
its begin to its end. Its messages are its requests and their answers; a request that was sent again \
counts once. Latency between ten regions is IBM Cloud's table of February 2024.

A scenario file has more knobs than there are flags; tests/sim/scenarios has some. The numbers of the \
protocol (k, requests in flight, holders of a record, limits on subnets) are none of them, save the \
paths: they are the defaults of a node. Exits with 0 whatever the figures are.

Examples:
  cloakroom sim --nodes 10000 --lookups 100000 --churn 10%/h --seed 1
  cloakroom sim --nodes 1000 --churn 30%/h --html run.html
  cloakroom sim hostile --nodes 10000 --malicious 20%
  cloakroom sim records --nodes 1000 --records 100000
  cloakroom sim registers --seeds 1..10000
  cloakroom sim cluster --seeds 1..1000
  cloakroom sim balance";

/// `sim`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct SimArgs {
    /// Another experiment than the main one.
    #[command(subcommand)]
    pub experiment: Option<Experiment>,
    /// The main one.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Other experiments.
#[derive(Debug, Subcommand)]
pub enum Experiment {
    /// Let a share of the nodes lie, once with disjoint paths and once without
    Hostile(RunArgs),
    /// Crash nodes that hold records, and count what is lost
    Records(RecordsArgs),
    /// Run clusters for their registers, a seed each: crashes, cuts, lost disks, views proposed for no reason; then judge
    Registers(crate::registers::command::RegistersArgs),
    /// The same, where nodes alone propose views, and always have others that could take seats
    Cluster(crate::registers::command::RegistersArgs),
    /// Compare eight ways to choose among a record's holders, under skewed load with a slow node
    Balance(BalanceArgs),
}

/// The main experiment.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Nodes that are up at once
    #[arg(long, env = "CLOAKROOM_NODES", hide_env_values = true, value_name = "N")]
    pub nodes: Option<u32>,
    /// How many lookups of random points: each comes by itself, at random within the measured time
    #[arg(long, env = "CLOAKROOM_LOOKUPS", hide_env_values = true, value_name = "N")]
    pub lookups: Option<u32>,
    /// Share of the nodes that leave and are replaced, such as 10%/h
    #[arg(long, env = "CLOAKROOM_CHURN", hide_env_values = true, value_name = "RATE")]
    pub churn: Option<Rate>,
    /// Decides everything that is chance
    #[arg(long, env = "CLOAKROOM_SEED", hide_env_values = true, value_name = "S")]
    pub seed: Option<u64>,
    /// A TOML file with any of its knobs; a flag wins over it
    #[arg(long, env = "CLOAKROOM_SCENARIO", hide_env_values = true, value_name = "FILE.toml")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub scenario: Option<PathBuf>,
    /// Virtual minutes that are measured
    #[arg(long, env = "CLOAKROOM_MINUTES", hide_env_values = true, value_name = "MIN")]
    pub minutes: Option<f64>,
    /// Virtual minutes before that
    #[arg(long, env = "CLOAKROOM_WARM_UP", hide_env_values = true, value_name = "MIN")]
    pub warm_up: Option<f64>,
    /// How nodes come to know each other at the start
    #[arg(long, env = "CLOAKROOM_START", hide_env_values = true)]
    pub start: Option<Start>,
    /// Disjoint paths of a lookup, 1 to 8; for sim hostile at least 2
    #[arg(long, env = "CLOAKROOM_PATHS", hide_env_values = true, value_name = "N")]
    pub paths: Option<u8>,
    /// Share of messages lost
    #[arg(long, env = "CLOAKROOM_LOSS", hide_env_values = true, value_name = "SHARE")]
    pub loss: Option<Share>,
    /// Regions over which the nodes are spread, such as Tokyo,Osaka; all ten if not given
    #[arg(long, env = "CLOAKROOM_REGIONS", hide_env_values = true, value_name = "NAMES")]
    #[arg(value_delimiter = ',')]
    pub regions: Vec<String>,
    /// Share of the nodes that lie
    #[arg(long, env = "CLOAKROOM_MALICIOUS", hide_env_values = true, value_name = "SHARE")]
    pub malicious: Option<Share>,
    /// How they lie
    #[arg(long, env = "CLOAKROOM_BEHAVIOUR", hide_env_values = true)]
    pub behaviour: Option<Behaviour>,
    /// Records that are published before the measured time
    #[arg(long, env = "CLOAKROOM_RECORDS", hide_env_values = true, value_name = "N")]
    pub records: Option<u32>,
    /// Reads of records, beside the lookups
    #[arg(long, env = "CLOAKROOM_READS", hide_env_values = true, value_name = "N")]
    pub reads: Option<u32>,
    /// Write one self-contained page that shows the run
    #[arg(long, env = "CLOAKROOM_HTML", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    /// How to print the figures.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `sim records`.
#[derive(Clone, Debug, Args)]
pub struct RecordsArgs {
    /// Nodes
    #[arg(long, env = "CLOAKROOM_NODES", hide_env_values = true, value_name = "N")]
    #[arg(default_value_t = 1000)]
    pub nodes: u32,
    /// Records, each held by three nodes
    #[arg(long, env = "CLOAKROOM_RECORDS", hide_env_values = true, value_name = "N")]
    #[arg(default_value_t = 100_000)]
    pub records: u32,
    /// Share of the nodes that crash
    #[arg(long, env = "CLOAKROOM_CRASH", hide_env_values = true, value_name = "SHARE")]
    #[arg(default_value = "30%")]
    pub crash: Share,
    /// Virtual seconds between two crashes; 0: all at once
    #[arg(long, env = "CLOAKROOM_GAP", hide_env_values = true, value_name = "SECONDS")]
    #[arg(default_value_t = 60)]
    pub gap: u32,
    /// Virtual minutes after which a crashed node comes back as itself; 0: never
    #[arg(long, env = "CLOAKROOM_DOWN", hide_env_values = true, value_name = "MIN")]
    #[arg(default_value_t = 0.0)]
    pub down: f64,
    /// Share of those that come back with an empty disk
    #[arg(long, env = "CLOAKROOM_DISK_LOSS", hide_env_values = true, value_name = "SHARE")]
    #[arg(default_value = "0")]
    pub disk_loss: Share,
    /// Decides everything that is chance
    #[arg(long, env = "CLOAKROOM_SEED", hide_env_values = true, value_name = "S")]
    #[arg(default_value_t = 1)]
    pub seed: u64,
    /// Share of messages lost
    #[arg(long, env = "CLOAKROOM_LOSS", hide_env_values = true, value_name = "SHARE")]
    #[arg(default_value = "1%")]
    pub loss: Share,
    /// How to print the figures.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `sim balance`.
#[derive(Clone, Debug, Args)]
pub struct BalanceArgs {
    /// Requests by each strategy
    #[arg(long, env = "CLOAKROOM_REQUESTS", hide_env_values = true, value_name = "N")]
    #[arg(default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub requests: u32,
    /// Decides everything that is chance
    #[arg(long, env = "CLOAKROOM_SEED", hide_env_values = true, value_name = "S")]
    #[arg(default_value_t = 1)]
    pub seed: u64,
    /// How to print the figures.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How figures are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// How figures are printed.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct OutputArgs {
    /// How to print the figures
    #[arg(long, env = "CLOAKROOM_OUTPUT", hide_env_values = true)]
    #[arg(value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// A share, such as `20%` or `0.2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

/// A share an hour, such as `10%/h`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(pub f64);

/// A text that is none: the user's fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected {expected}, got {got:?}")]
pub struct ShareError {
    expected: &'static str,
    got: String,
}

impl FromStr for Share {
    type Err = ShareError;
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (digits, scale) = match text.strip_suffix('%') {
            Some(digits) => (digits, 0.01),
            None => (text, 1.0),
        };
        let share = digits.trim().parse::<f64>().ok().map(|number| number * scale);
        share.filter(|share| (0.0..=1.0).contains(share)).map(Self).ok_or_else(|| ShareError {
            expected: "a share such as 20% or 0.2",
            got: text.to_owned(),
        })
    }
}

impl FromStr for Rate {
    type Err = ShareError;
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let fault = || ShareError { expected: "a rate such as 10%/h", got: text.to_owned() };
        let (share, times) = if let Some(share) = text.strip_suffix("/h") {
            (share, 1.0)
        } else if let Some(share) = text.strip_suffix("/min") {
            (share, 60.0)
        } else {
            (text.strip_suffix("/d").ok_or_else(fault)?, 1.0 / 24.0)
        };
        let Share(share) = share.parse().map_err(|_| fault())?;
        Ok(Self(share * times))
    }
}

fn set<T: Clone>(knob: &mut T, flag: Option<&T>) {
    if let Some(value) = flag {
        *knob = value.clone();
    }
}

impl RunArgs {
    /// The scenario that these flags ask for.
    ///
    /// # Errors
    /// A file that is no scenario; a number out of its range.
    pub fn scenario(&self, mut base: Scenario) -> Result<Scenario, ScenarioError> {
        if let Some(path) = &self.scenario {
            base = Scenario::read(path)?;
        }
        set(&mut base.nodes, self.nodes.as_ref());
        set(&mut base.lookups, self.lookups.as_ref());
        set(&mut base.seed, self.seed.as_ref());
        set(&mut base.minutes, self.minutes.as_ref());
        set(&mut base.warm_up_min, self.warm_up.as_ref());
        set(&mut base.start, self.start.as_ref());
        set(&mut base.paths, self.paths.as_ref());
        set(&mut base.churn.per_hour, self.churn.map(|Rate(rate)| rate).as_ref());
        set(&mut base.network.loss, self.loss.map(|Share(share)| share).as_ref());
        set(&mut base.hostile.share, self.malicious.map(|Share(share)| share).as_ref());
        set(&mut base.hostile.behaviour, self.behaviour.as_ref());
        set(&mut base.records.count, self.records.as_ref());
        // Who wants no records wants no reads of them.
        let none = (self.records == Some(0)).then_some(0);
        set(&mut base.records.reads, self.reads.or(none).as_ref());
        if !self.regions.is_empty() {
            base.network.regions.clone_from(&self.regions);
        }
        base.checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates_are_read_as_they_are_written() {
        assert_eq!("20%".parse(), Ok(Share(0.2)));
        assert_eq!("0.25".parse(), Ok(Share(0.25)));
        assert_eq!("10%/h".parse(), Ok(Rate(0.1)));
        assert_eq!("0.5/min".parse(), Ok(Rate(30.0)));
        for bad in ["", "20", "-1%", "101%", "x", "NaN"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
        for bad in ["10%", "10%/s", "/h"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"nodes = 70\nlookups = 80").unwrap();
        let flags = RunArgs {
            scenario: Some(file.path().to_owned()),
            lookups: Some(90),
            ..RunArgs::default()
        };
        let scenario = flags.scenario(Scenario::default()).unwrap();
        assert_eq!((scenario.nodes, scenario.lookups, scenario.seed), (70, 90, 1));
    }
}
