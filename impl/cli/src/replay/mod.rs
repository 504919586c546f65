//! Replay: a trace of workloads on a fresh pool, with callers dying in the middle, judged by an
//! oracle that keeps its own books.
//!
//! In the order of a run: [`trace`] reads the file, whose quotes [`quotes`] has checked, [`plan`]
//! says who does what next, [`worker`] does it on threads that [`chance`] kills, with a [`notebook`]
//! that survives them; [`ledger`] writes down what callers are told, [`judge`](mod@judge) compares
//! it with the pool, [`report`] sums up.
//!
//! Properties that are judged: POOL-1, POOL-3, POOL-4, POOL-6 and POOL-7, on this run alone.

mod chance;
mod decimal;
mod judge;
mod ledger;
mod notebook;
mod plan;
mod quotes;
mod report;
#[cfg(test)]
mod tests;
mod trace;
mod worker;

use std::time::Instant;

use cloakroom_pool::{MapError, Policy, Tag, Tree};

pub(crate) use chance::Chance;
pub use decimal::{CrashRate, CrashRateError};
use judge::{Evidence, Verdict, judge};
use ledger::Ledger;
use notebook::Notebook;
use plan::Plan;
pub(crate) use report::{Report, Setting};
pub use trace::TraceError;
pub(crate) use trace::{Columns, Trace};
pub(crate) use worker::SharedMap;
use worker::{Crew, Tally};

/// How to replay.
pub(crate) struct Replay<'a> {
    pub(crate) map: SharedMap<'a>,
    pub(crate) tree: Tree,
    pub(crate) policy: Policy,
    pub(crate) workers: usize,
    pub(crate) chance: Chance,
    /// Is told how many events have been taken.
    pub(crate) progress: &'a (dyn Fn(usize) + Sync),
}

/// What came of it.
pub(crate) struct Outcome {
    tally: Tally,
    verdict: Verdict,
    elapsed: std::time::Duration,
}

impl Replay<'_> {
    /// Replays a trace on an empty map: all events, then a recovery, then the verdict.
    ///
    /// # Errors
    /// The map's: the replay was not finished, and nothing was judged.
    pub(crate) fn run(&self, trace: &Trace) -> Result<Outcome, MapError> {
        let names: Vec<Tag> = trace.workloads.iter().map(|each| each.tag.clone()).collect();
        let notebook = Notebook::new(names.iter().cloned());
        let ledger = Ledger::new(self.tree.size());
        let crew = Crew {
            map: self.map,
            tree: self.tree,
            policy: self.policy,
            chance: self.chance,
            names: &names,
            notebook: &notebook,
            ledger: &ledger,
            progress: self.progress,
        };
        let began = Instant::now();
        let mut tally = crew.run(Plan::new(trace.events(), names.iter().cloned()), self.workers)?;
        let elapsed = began.elapsed();
        crew.recover(&mut tally)?;
        let evidence = Evidence::gather(self.map, self.tree)?;
        Ok(Outcome { tally, verdict: judge(ledger.close(), &evidence), elapsed })
    }
}

impl Outcome {
    /// What the oracle objects to; empty when the promise held.
    pub(crate) fn objections(&self) -> &[String] {
        &self.verdict.objections
    }

    /// The summary.
    pub(crate) fn report(self, setting: Setting) -> Report {
        Report::new(setting, self.tally, self.verdict, self.elapsed)
    }
}
