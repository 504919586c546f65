//! The registers in the simulator: clusters of whole nodes over real bytes, from one seed each; every durable state
//! past the predicates, every history past the judge, then a healing that demands progress. The nodes and what befalls
//! them are in [`crate::cluster`].
//!
//! | file | what |
//! |---|---|
//! | `plan.rs` | what a seed means |
//! | `client.rs` | callers of registers and of a pool on registers |
//! | `ran.rs` | the book of a run, and what is to happen when |
//! | `audit.rs` | REG-1 to REG-13 on what is durable and what was told |
//! | `verdict.rs` | the judge of histories |
//! | `lanes.rs` | a picture of a run that fails |
//! | `command.rs` | `sim registers` |
//!
//! Invariants: SIM-1, as everywhere here. A seed that fails fails again.
//!
//! What it does not do: clients over the network; they hand calls to a node and hear from it, or lose
//! it by its crash. Lost majorities, forced genesis. Members that lie.

pub(crate) mod audit;
pub(crate) mod client;
pub mod command;
mod lanes;
pub(crate) mod plan;
pub(crate) mod ran;
pub(crate) mod verdict;

pub use plan::Plan;
use ran::{Fault, Ran};

use crate::cluster::run_plan;
use crate::engine::{Machine, World};

/// What became of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub seed: u64,
    /// In a few words, if it failed.
    pub fault: Option<String>,
    /// A page's beginning with a picture: the judge's of the history that fails, or of all calls.
    pub picture: String,
    /// Every step, if it was wanted.
    pub log: Vec<String>,
    /// The trace's hash: SIM-1.
    pub hash: u64,
    /// Nodes at the beginning.
    pub nodes: u32,
    /// Virtual milliseconds.
    pub simulated_ms: u64,
    /// Messages that reached a machine.
    pub messages: u64,
    /// Calls of clients.
    pub calls: u64,
    /// Durable states judged.
    pub states: u64,
    /// States chosen.
    pub choices: u64,
    /// Tombstones dropped, at one member each.
    pub drops: u64,
    /// Snapshots dropped.
    pub retired: u64,
    /// Crashes, lost disks, proposals, cuts, joins and leaves.
    pub faults: u64,
    /// Records of the DHT published, and found.
    pub records: u64,
    /// Of the judged histories, those that were undecided.
    pub undecided: u64,
}

/// Runs one seed.
pub fn run(seed: u64, log: bool) -> Outcome {
    run_plan(Plan::of(seed), log)
}

/// Judges the histories of a run, and adds up.
pub(crate) fn judged<M: Machine>(
    seed: u64,
    nodes: u32,
    ids: u64,
    ran: Ran,
    world: &World<M>,
) -> Outcome {
    let Ran { book, mut fault, counts, auditor, log } = ran;
    let name = format!("seed {seed}");
    let judged = verdict::verdict(&book, ids, &name);
    let mut picture = String::new();
    if let Some((words, page)) = judged.wrong {
        // A history that fails says more than a node that does.
        fault = Some(Fault::NotLinearizable(words));
        picture = page;
    }
    if fault.is_some() && picture.is_empty() && log.is_some() {
        picture = lanes::page(&book, &name);
    }
    Outcome {
        seed,
        fault: fault.map(|fault| match fault {
            Fault::Objection(objection, at) => format!("{objection} at {at}"),
            Fault::Record(what) => what,
            Fault::NoProgress(what) => format!("no progress: {what}"),
            Fault::NotLinearizable(what) => format!("REG-9: not linearizable: {what}"),
        }),
        picture,
        log: log.unwrap_or_default(),
        hash: world.trace().hash(),
        nodes,
        simulated_ms: world.now().0 / 1000,
        messages: world.total().received,
        calls: counts.calls,
        states: auditor.states,
        choices: auditor.choices,
        drops: auditor.drops,
        retired: auditor.retired,
        faults: counts.crashes + counts.lost + counts.proposals + counts.cuts + counts.moves,
        records: counts.records,
        undecided: judged.undecided,
    }
}
