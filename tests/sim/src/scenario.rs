//! What a run is: its knobs, with their defaults, from a TOML file.
//!
//! Invariants:
//! * a knob that is not known is refused, with its line; so is a number out of its range, by name;
//! * the defaults are those of the command line: an empty file changes nothing.
//!
//! What it does not do: run; change the numbers of the protocol, but for the paths of a lookup.

use std::path::{Path, PathBuf};

use cloakroom_kademlia::{ParameterError, Parameters};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::churn::Sessions;
use crate::engine::{Cut, Network, Regions, Time};
use crate::kad::liar::Behaviour;
use crate::random::{Chance, to_u64};

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Nodes that are up at once.
    pub nodes: u32,
    /// Lookups of random points.
    pub lookups: u32,
    /// Where all chance comes from.
    pub seed: u64,
    /// How nodes come to know each other at the beginning.
    pub start: Start,
    /// Minutes without lookups, in which churn and upkeep work, before anything is measured.
    pub warm_up_min: f64,
    /// Minutes over which the lookups are spread.
    pub minutes: f64,
    /// Disjoint paths of a lookup.
    pub paths: u8,
    /// The network.
    pub network: NetworkKnobs,
    /// Who comes and goes.
    pub churn: ChurnKnobs,
    /// What is special about some nodes.
    pub nodes_are: NodeKnobs,
    /// Who lies.
    pub hostile: HostileKnobs,
    /// Records.
    pub records: RecordKnobs,
}

/// How nodes come to know each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Tables are filled from knowledge, as they would be after running for long: of each bucket up to k
    /// random nodes that are up, of the own neighbourhood all
    #[default]
    Filled,
    /// Nodes join one after the other by three random contacts, over the real protocol
    Joining,
}

/// The network; see [`Network`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkKnobs {
    /// Names of regions over which nodes are spread evenly; none is all ten.
    pub regions: Vec<String>,
    /// Mean jitter as a share of the way.
    pub jitter: f64,
    /// Mean jitter beside that, in milliseconds.
    pub jitter_ms: f64,
    /// Share of messages lost.
    pub loss: f64,
    /// Share of messages that arrive twice.
    pub duplicate: f64,
    /// Share of messages held back.
    pub reorder: f64,
    /// For how long at most, in milliseconds.
    pub reorder_ms: f64,
    /// Seconds for which a NAT lets answers in.
    pub nat_s: f64,
    /// Cuts between regions.
    pub cuts: Vec<CutKnobs>,
}

/// A cut; times count from the beginning of the measured part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutKnobs {
    /// From this minute.
    pub from_min: f64,
    /// Until this minute.
    pub until_min: f64,
    /// Regions whose messages are stopped.
    pub senders: Vec<String>,
    /// On their way to these.
    pub receivers: Vec<String>,
    /// Whether the other direction is cut as well.
    #[serde(default)]
    pub both: bool,
}

/// Who comes and goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChurnKnobs {
    /// Share of the nodes that leave in an hour. Each makes room for another at the same moment.
    pub per_hour: f64,
    /// How sessions are distributed.
    pub sessions: Sessions,
    /// Share of leaves that are announced: the node hands its records over first. Others crash.
    pub graceful: f64,
    /// Share of crashed nodes that come back as themselves; for the others, strangers come.
    pub returns: f64,
    /// Minutes until they are back.
    pub down_min: f64,
    /// Share of those that come back with an empty disk: without their routing table and their records.
    pub disk_loss: f64,
}

/// What is special about some nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeKnobs {
    /// Share behind a NAT: they call others and cannot be called.
    pub nat: f64,
    /// Share that is slow.
    pub slow: f64,
    /// How long a slow one takes for each message, in milliseconds.
    pub slow_ms: f64,
    /// How long any other takes, in milliseconds.
    pub service_ms: f64,
    /// What each node's access line adds to each way, in milliseconds.
    pub line_ms: f64,
}

/// Who lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostileKnobs {
    /// Share of the nodes.
    pub share: f64,
    /// How.
    pub behaviour: Behaviour,
    /// Subnets (/24) that they share; zero: each has its own.
    pub subnets: u32,
    /// Bits by which `eclipse` grinds ids towards record keys.
    pub ground_bits: u8,
    /// Record keys that `eclipse` surrounds.
    pub victims: u32,
}

/// Records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordKnobs {
    /// How many are published in the warm-up.
    pub count: u32,
    /// How many reads there are, beside the lookups.
    pub reads: u32,
    /// Bytes of each.
    pub bytes: u32,
    /// Skew of the reads: 0 is even, 1 is Zipf's law.
    pub skew: f64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            nodes: 1000,
            lookups: 10_000,
            seed: 1,
            start: Start::Filled,
            warm_up_min: 5.0,
            minutes: 60.0,
            paths: 3,
            network: NetworkKnobs::default(),
            churn: ChurnKnobs::default(),
            nodes_are: NodeKnobs::default(),
            hostile: HostileKnobs::default(),
            records: RecordKnobs::default(),
        }
    }
}

impl Default for NetworkKnobs {
    fn default() -> Self {
        Self {
            regions: Vec::new(),
            jitter: 0.05,
            jitter_ms: 0.2,
            loss: 0.01,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_ms: 50.0,
            nat_s: 30.0,
            cuts: Vec::new(),
        }
    }
}

impl Default for ChurnKnobs {
    fn default() -> Self {
        Self {
            per_hour: 0.0,
            sessions: Sessions::Exponential,
            graceful: 0.0,
            returns: 0.0,
            down_min: 10.0,
            disk_loss: 0.0,
        }
    }
}

impl Default for NodeKnobs {
    fn default() -> Self {
        Self { nat: 0.0, slow: 0.0, slow_ms: 20.0, service_ms: 0.0, line_ms: 0.0 }
    }
}

impl Default for HostileKnobs {
    fn default() -> Self {
        Self { share: 0.0, behaviour: Behaviour::Sybil, subnets: 0, ground_bits: 16, victims: 20 }
    }
}

impl Default for RecordKnobs {
    fn default() -> Self {
        Self { count: 1000, reads: 10_000, bytes: 100, skew: 0.0 }
    }
}

/// A scenario that cannot be run: the user's fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is no scenario.
    #[error("{}: {cause}", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// Where and why.
        cause: Box<toml::de::Error>,
    },
    /// A number is out of its range.
    #[error("{name}: expected {least} to {most}, got {got}")]
    Range {
        /// Which.
        name: &'static str,
        /// The least.
        least: f64,
        /// The greatest.
        most: f64,
        /// What it was.
        got: f64,
    },
    /// A cut that ends before it begins.
    #[error("network.cuts: expected until_min above from_min, {from_min}, got {until_min}")]
    Cut {
        /// When it begins.
        from_min: f64,
        /// When it ends.
        until_min: f64,
    },
    /// Reads of records that there are not.
    #[error("records.reads: expected 0 where records.count is 0, got {got}")]
    Unwritten {
        /// How many were asked for.
        got: u32,
    },
    /// Nothing that one path could be compared with.
    #[error("paths: expected 2 to 8, which are compared with one, got {got}")]
    OnePath {
        /// How many were asked for.
        got: u8,
    },
    /// A region is not in the table.
    #[error("{0}")]
    Region(String),
    /// Numbers that the machines cannot run with.
    #[error("{0}")]
    Parameters(#[from] ParameterError),
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// If there is none, or it is no scenario.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let fault = |cause| ScenarioError::File { path: path.to_owned(), cause };
        let text = std::fs::read_to_string(path).map_err(fault)?;
        let form = |cause| ScenarioError::Form { path: path.to_owned(), cause: Box::new(cause) };
        toml::from_str(&text).map_err(form)
    }

    /// This scenario, if it can be run.
    ///
    /// # Errors
    /// The first number that is out of its range, by name.
    pub fn checked(self) -> Result<Self, ScenarioError> {
        let (network, churn, are) = (&self.network, &self.churn, &self.nodes_are);
        let ranges = [
            ("nodes", self.nodes.into(), 2.0, 1e6),
            ("lookups", self.lookups.into(), 0.0, 1e8),
            ("warm_up_min", self.warm_up_min, 0.0, 1e5),
            ("minutes", self.minutes, 0.01, 1e5),
            ("paths", self.paths.into(), 1.0, 8.0),
            ("network.jitter", network.jitter, 0.0, 10.0),
            ("network.jitter_ms", network.jitter_ms, 0.0, 1e4),
            ("network.loss", network.loss, 0.0, 1.0),
            ("network.duplicate", network.duplicate, 0.0, 1.0),
            ("network.reorder", network.reorder, 0.0, 1.0),
            ("network.reorder_ms", network.reorder_ms, 0.0, 1e5),
            ("network.nat_s", network.nat_s, 0.0, 1e5),
            ("churn.per_hour", churn.per_hour, 0.0, 100.0),
            ("churn.graceful", churn.graceful, 0.0, 1.0),
            ("churn.returns", churn.returns, 0.0, 1.0),
            ("churn.down_min", churn.down_min, 0.0, 1e5),
            ("churn.disk_loss", churn.disk_loss, 0.0, 1.0),
            ("nodes_are.nat", are.nat, 0.0, 0.9),
            ("nodes_are.slow", are.slow, 0.0, 1.0),
            ("nodes_are.slow_ms", are.slow_ms, 0.0, 1e5),
            ("nodes_are.service_ms", are.service_ms, 0.0, 1e5),
            ("nodes_are.line_ms", are.line_ms, 0.0, 1e4),
            ("hostile.share", self.hostile.share, 0.0, 0.9),
            ("hostile.ground_bits", self.hostile.ground_bits.into(), 0.0, 60.0),
            ("records.bytes", self.records.bytes.into(), 8.0, 65_536.0),
            ("records.skew", self.records.skew, 0.0, 10.0),
        ];
        for (name, got, least, most) in ranges {
            if !(least..=most).contains(&got) {
                return Err(ScenarioError::Range { name, least, most, got });
            }
        }
        for &CutKnobs { from_min, until_min, .. } in &network.cuts {
            if !(0.0..=1e5).contains(&from_min) {
                let (name, least, most) = ("network.cuts.from_min", 0.0, 1e5);
                return Err(ScenarioError::Range { name, least, most, got: from_min });
            }
            // A time that is no number ends nothing either.
            let ends = until_min > from_min;
            if !ends {
                return Err(ScenarioError::Cut { from_min, until_min });
            }
        }
        if self.records.count == 0 && self.records.reads > 0 {
            return Err(ScenarioError::Unwritten { got: self.records.reads });
        }
        self.network.build(Time(0))?;
        self.parameters().checked()?;
        Ok(self)
    }
}

impl Scenario {
    /// The numbers of its machines.
    pub(crate) fn parameters(&self) -> Parameters {
        Parameters { paths: self.paths, ..Parameters::default() }
    }
}

/// Minutes as virtual time.
pub fn minutes(minutes: f64) -> Time {
    Time(to_u64(minutes * 60e6))
}

/// Milliseconds in microseconds.
pub fn ms_to_us(ms: f64) -> u64 {
    to_u64(ms * 1000.0)
}

impl NetworkKnobs {
    /// The network, with cuts that count from `measured`.
    ///
    /// # Errors
    /// A region that is not in the table, or not in this network.
    pub fn build(&self, measured: Time) -> Result<Network, ScenarioError> {
        let regions = if self.regions.is_empty() {
            Regions::world()
        } else {
            Regions::some(&self.regions).map_err(ScenarioError::Region)?
        };
        let mut network = Network::perfect(regions);
        network.jitter = self.jitter;
        network.jitter_us = ms_to_us(self.jitter_ms);
        network.loss = Chance::of(self.loss);
        network.duplicate = Chance::of(self.duplicate);
        network.reorder = Chance::of(self.reorder);
        network.reorder_us = ms_to_us(self.reorder_ms);
        network.nat_us = ms_to_us(self.nat_s * 1000.0);
        for cut in &self.cuts {
            let bits = |names: &[String]| {
                names.iter().try_fold(0, |bits, name| {
                    let index = network.regions.index(name).ok_or_else(|| {
                        ScenarioError::Region(format!(
                            "cut: expected one of {}, got {name:?}",
                            network.regions.names().join(", ")
                        ))
                    })?;
                    Ok::<u64, ScenarioError>(bits | 1 << index)
                })
            };
            let after = |at: f64| measured.plus_us(minutes(at).0);
            let cut = Cut {
                from: after(cut.from_min),
                until: after(cut.until_min),
                senders: bits(&cut.senders)?,
                receivers: bits(&cut.receivers)?,
                both: cut.both,
            };
            network.cuts.push(cut);
        }
        Ok(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default_and_a_full_one_survives_writing() {
        assert_eq!(toml::from_str::<Scenario>("").unwrap(), Scenario::default());
        let text = r#"
            nodes = 50
            start = "joining"
            [network]
            regions = ["Tokyo", "Osaka"]
            [[network.cuts]]
            from_min = 1.0
            until_min = 2.0
            senders = ["Tokyo"]
            receivers = ["Osaka"]
            [churn]
            per_hour = 0.1
            sessions = "weibull"
            [hostile]
            behaviour = "eclipse"
        "#;
        let scenario = toml::from_str::<Scenario>(text).unwrap().checked().unwrap();
        assert_eq!((scenario.nodes, scenario.churn.sessions), (50, Sessions::Weibull));
        let network = scenario.network.build(Time::from_ms(1000)).unwrap();
        assert_eq!((network.cuts[0].from, network.cuts[0].senders), (Time(61_000_000), 1));
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        let error = |text: &str| match toml::from_str::<Scenario>(text) {
            Err(error) => error.to_string(),
            Ok(scenario) => scenario.checked().unwrap_err().to_string(),
        };
        assert!(error("nodse = 5").contains("nodse"));
        assert_eq!(error("[network]\nloss = 1.5"), "network.loss: expected 0 to 1, got 1.5");
        assert!(error("nodes = 1").starts_with("nodes: expected 2"));
        assert!(error("[network]\nregions = [\"Rome\"]").contains("Rome"));
        let cut = "[network]\nregions = [\"Tokyo\"]\n[[network.cuts]]\nfrom_min = 0.0\n\
                   until_min = 1.0\nsenders = [\"Tokyo\"]\nreceivers = [\"Osaka\"]";
        assert!(error(cut).starts_with("cut: expected one of Tokyo"));
        let cut = cut.replace("until_min = 1.0", "until_min = nan").replace("Osaka", "Tokyo");
        let words = "network.cuts: expected until_min above from_min, 0, got NaN";
        assert_eq!(error(&cut), words);
        let words = "records.reads: expected 0 where records.count is 0, got 10000";
        assert_eq!(error("[records]\ncount = 0"), words);
    }
}
