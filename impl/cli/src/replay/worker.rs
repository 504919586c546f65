//! The workers: threads that carry out a plan's jobs, call by call, and die as chance has it.
//!
//! A call is a step machine driven one map operation at a time, so that it can be dropped between
//! any two. A caller that dies loses everything but the notebook:
//! * died allocating, it does not know whether it got an id. Restarted, it strikes the tag out and
//!   begins anew under another; what the old tag may hold is a phantom for recovery (POOL-7);
//! * died freeing, it calls free again, until one call has returned (POOL-6).
//!
//! Recoveries do not die here; the model explores that they may.
//!
//! Invariant: the order of the books. The ledger hears of an id before anybody can free it and of a
//! free before it begins; a tag is struck out before the ledger and the plan hear that its caller
//! died, so that a recovery that begins after they heard judges it dead.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use cloakroom_pool::{
    Allocate, AllocateFailure, AtomicMap, Free, FreeOutcome, Id, Interrupted, Machine, MapError,
    Next, Policy, Pool, Tag, Tree, perform,
};
use serde::Serialize;

use super::chance::{Chance, Death};
use super::ledger::Ledger;
use super::notebook::Notebook;
use super::plan::{Caller, Job, Plan, Turn};

/// A map that threads can share.
pub(crate) type SharedMap<'a> = &'a (dyn AtomicMap + Sync);

/// Everything that the workers of a replay share.
pub(crate) struct Crew<'a> {
    pub(crate) map: SharedMap<'a>,
    pub(crate) tree: Tree,
    pub(crate) policy: Policy,
    pub(crate) chance: Chance,
    pub(crate) names: &'a [Tag],
    pub(crate) notebook: &'a Notebook,
    pub(crate) ledger: &'a Ledger,
    /// Is told how many events have been taken.
    pub(crate) progress: &'a (dyn Fn(usize) + Sync),
}

/// What workers did.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Tally {
    pub(crate) allocations: u64,
    pub(crate) frees: u64,
    pub(crate) full_answers: u64,
    pub(crate) refused: u64,
    pub(crate) callers_killed: u64,
    pub(crate) recoveries: u64,
    pub(crate) phantoms_recovered: u64,
    /// How long each call took that returned.
    #[serde(skip)]
    pub(crate) took: Vec<Duration>,
}

/// How a call ended.
enum Ended<T> {
    Returned(T),
    Killed,
}

impl Crew<'_> {
    /// Carries a plan out with so many threads, and returns when all is done.
    ///
    /// # Errors
    /// The first error of the map; the others stop after the job that they are at.
    pub(crate) fn run(&self, plan: Plan, workers: usize) -> Result<Tally, MapError> {
        let shift = Shift { plan: Mutex::new(plan), ended: Condvar::new() };
        thread::scope(|scope| {
            let hands: Vec<_> = (0..workers).map(|_| scope.spawn(|| self.work(&shift))).collect();
            let mut all = Tally::default();
            let mut failure = None;
            for hand in hands {
                match hand.join() {
                    Ok(Ok(tally)) => all.add(tally),
                    Ok(Err(error)) => failure = failure.or(Some(error)),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            failure.map_or(Ok(all), Err)
        })
    }

    fn work(&self, shift: &Shift) -> Result<Tally, MapError> {
        let leaving = Leaving(shift);
        let mut tally = Tally::default();
        while let Some(job) = shift.next_job() {
            self.carry_out(job, shift, &mut tally)?;
        }
        drop(leaving);
        Ok(tally)
    }

    fn carry_out(&self, job: Job, shift: &Shift, tally: &mut Tally) -> Result<(), MapError> {
        match job {
            Job::Start { caller, room } => self.start(caller, room, shift, tally)?,
            Job::End { caller, id } => {
                self.end(caller, id, tally)?;
                shift.report(Plan::freed);
            }
            Job::GiveUp { caller } => {
                self.notebook.strike(&caller.tag);
                tally.refused += 1;
                shift.report(Plan::gave_up);
            }
            Job::Recover => {
                let pairs = self.recover(tally)?;
                shift.report(|plan| plan.recovered(pairs));
            }
        }
        (self.progress)(shift.plan().taken());
        Ok(())
    }

    fn start(
        &self,
        mut caller: Caller,
        room: u64,
        shift: &Shift,
        tally: &mut Tally,
    ) -> Result<(), MapError> {
        let alone = 4 * u64::from(self.tree.height()) + 2;
        loop {
            self.notebook.write(&caller.tag);
            caller.calls += 1;
            self.ledger.allocates(&caller);
            let call = Allocate::new(self.tree, self.policy, caller.tag.clone());
            let death = self.chance.death(caller.workload, caller.calls, alone);
            let (ended, error) = self.call(call, death, tally);
            match ended {
                Ended::Returned(Ok(id)) => {
                    self.ledger.allocated(&caller, id);
                    tally.allocations += 1;
                    shift.report(|plan| plan.held(caller, id));
                    return Ok(());
                }
                Ended::Returned(Err(AllocateFailure::Full)) => {
                    self.ledger.full(&caller);
                    tally.full_answers += 1;
                    shift.report(|plan| plan.full(caller, room));
                    return Ok(());
                }
                Ended::Returned(Err(_)) => return Err(cause(error)),
                Ended::Killed => {
                    self.notebook.strike(&caller.tag);
                    self.ledger.died_allocating(&caller);
                    shift.report(Plan::died_allocating);
                    caller.tag = self.notebook.draw(&self.names[caller.workload]);
                }
            }
        }
    }

    fn end(&self, mut caller: Caller, id: Id, tally: &mut Tally) -> Result<(), MapError> {
        let alone = 3 * u64::from(self.tree.height()) + 2;
        self.ledger.lets_go(&caller.tag, id);
        let mut first = true;
        let outcome = loop {
            // No such id: the ledger has objected to it before.
            let Some(call) = Free::new(self.tree, id, caller.tag.clone()) else {
                break FreeOutcome::AlreadyFree;
            };
            caller.calls += 1;
            let death = self.chance.death(caller.workload, caller.calls, alone);
            match self.call(call, death, tally) {
                (Ended::Returned(Ok(outcome)), _) => break outcome,
                (Ended::Returned(Err(Interrupted)), error) => return Err(cause(error)),
                (Ended::Killed, _) => first = false,
            }
        };
        self.ledger.freed(&caller.tag, id, outcome, first);
        self.notebook.strike(&caller.tag);
        tally.frees += 1;
        Ok(())
    }

    /// Runs a recovery; how many pairs it freed.
    pub(crate) fn recover(&self, tally: &mut Tally) -> Result<u64, MapError> {
        let dead = self.ledger.recovers();
        let pool = Pool::new(self.map, self.tree, self.policy);
        let recovered = pool.recover(|tag| self.notebook.has(tag))?;
        self.ledger.recovered(dead);
        let pairs = recovered.freed.len() as u64;
        tally.recoveries += 1;
        tally.phantoms_recovered += pairs;
        Ok(pairs)
    }

    /// Drives a call to its end or to its death; beside it the last error of the map.
    fn call<K: Machine>(
        &self,
        mut call: K,
        death: Option<Death>,
        tally: &mut Tally,
    ) -> (Ended<K::Output>, Option<MapError>) {
        let began = Instant::now();
        let mut error = None;
        let mut step = 1;
        loop {
            let request = call.request();
            if let Some(death) = death.filter(|death| death.step == step) {
                if death.applied {
                    // Carried out; the answer finds nobody.
                    let _ = perform(self.map, &self.tree, &request);
                }
                tally.callers_killed += 1;
                return (Ended::Killed, error);
            }
            let (response, problem) = perform(self.map, &self.tree, &request);
            error = problem.or(error);
            if let Next::Done(output) = call.step(response) {
                tally.took.push(began.elapsed());
                return (Ended::Returned(output), error);
            }
            step += 1;
        }
    }
}

/// A machine stops for want of a map only after the map gave an error.
fn cause(error: Option<MapError>) -> MapError {
    error.expect("a machine is interrupted only by an error of the map")
}

impl Tally {
    /// Adds another worker's figures.
    pub(crate) fn add(&mut self, other: Self) {
        self.allocations += other.allocations;
        self.frees += other.frees;
        self.full_answers += other.full_answers;
        self.refused += other.refused;
        self.callers_killed += other.callers_killed;
        self.recoveries += other.recoveries;
        self.phantoms_recovered += other.phantoms_recovered;
        self.took.extend(other.took);
    }
}

/// The plan, and a bell for those who wait for a job to end.
struct Shift {
    plan: Mutex<Plan>,
    ended: Condvar,
}

impl Shift {
    fn next_job(&self) -> Option<Job> {
        let mut plan = self.plan();
        loop {
            match plan.turn() {
                Turn::Do(job) => return Some(job),
                Turn::Wait => plan = self.ended.wait(plan).unwrap_or_else(|_| poisoned()),
                Turn::Leave => return None,
            }
        }
    }

    fn report(&self, what: impl FnOnce(&mut Plan)) {
        what(&mut self.plan());
        self.ended.notify_all();
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(|_| poisoned())
    }
}

fn poisoned() -> ! {
    panic!("plan: another worker has panicked in it")
}

/// Wakes the others when a worker leaves, and stops them when it leaves with an error or a panic:
/// the end of its job would never be reported.
struct Leaving<'a>(&'a Shift);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Ok(mut plan) = self.0.plan.lock() {
            // When the plan has nothing left to do this changes nothing.
            plan.stop();
        }
        self.0.ended.notify_all();
    }
}
