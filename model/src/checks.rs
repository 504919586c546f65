//! A check: what is explored, what must come out, and whether it did. [`CHECKS`](crate::bounds::CHECKS)
//! lists them all.
//!
//! Every number here is exact. A check whose states, longest run or solo steps differ from the
//! pinned ones has changed its meaning, and fails until somebody has looked at why.

use crate::article::Fault;
use crate::check_views::{decree, handover};
use crate::joined::served;
use crate::search::{self, Event, Explore, Explored};
use crate::{check_desk, check_lookup, check_pool, check_recovery, check_register, check_table};

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name on the command line.
    pub name: &'static str,
    /// Which properties it judges.
    pub properties: &'static str,
    /// What is explored, in words.
    pub bounds: &'static str,
    /// When it runs.
    pub tier: Tier,
    /// What is explored.
    pub object: Object,
    /// What must come out.
    pub expected: Expected,
}

/// When a check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Under `cargo test`, and always.
    Quick,
    /// On every push, and in the deep run.
    Push,
    /// With `--deep` only.
    Deep,
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub enum Object {
    /// The real machines under callers that may do anything.
    Pool(check_pool::Bounds),
    /// Hosts that serve the calls of many callers together.
    Desk(check_desk::Bounds),
    /// The real machines under callers with a notebook, and recovery.
    Recovery(check_recovery::Bounds),
    /// The same with a rule broken: must fail.
    Broken(check_recovery::Bounds),
    /// The real replicas and coordinators of one view.
    Register(check_register::Bounds),
    /// The decree of the next view.
    Decree(decree::Bounds),
    /// The handover from view to view.
    Handover(handover::Bounds),
    /// The routing table under any sequence of what can happen to it.
    Table(check_table::Bounds),
    /// One lookup in a small network.
    Lookup(check_lookup::Bounds),
    /// The same with too little against its liar: must fail.
    Misled(check_lookup::Bounds),
    /// A fault of the published algorithm: must be found.
    Fault(&'static Fault),
}

/// What must come out of a check.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// All properties hold, with exactly these counts and at least one of each event.
    Holds {
        /// Unique states.
        states: u64,
        /// Steps of the longest run.
        depth: u32,
        /// Most steps of a call alone.
        solo: u32,
        /// Events that must have been seen.
        seen: &'static [Event],
    },
    /// This property fails, in at least so many steps.
    Fails {
        /// Its name.
        property: &'static str,
        /// Length of the shortest counterexample.
        steps: usize,
    },
}

/// What came out of a check.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Unique states; for a counterexample, those visited until it was found, where counted.
    pub states: u64,
    /// Steps of the longest run, or of the shortest counterexample.
    pub depth: usize,
    /// Most steps of a call alone, where measured.
    pub solo: Option<u32>,
    /// The property that failed and the shortest way there, for a counterexample.
    pub wrong: Option<search::Wrong>,
    /// Why this is not what was expected.
    pub problem: Option<String>,
}

impl Check {
    /// Runs it. `progress` is called now and then with the number of states.
    pub fn run(&self, progress: impl FnMut(u64) + Send) -> Outcome {
        match &self.object {
            Object::Pool(bounds) => self.explore(&check_pool::CheckPool::new(*bounds), progress),
            Object::Desk(bounds) => self.explore(&check_desk::CheckDesk::new(*bounds), progress),
            Object::Recovery(bounds) => {
                self.explore(&check_recovery::CheckRecovery::new(*bounds), progress)
            }
            Object::Table(bounds) => self.explore(&check_table::CheckTable::new(*bounds), progress),
            Object::Lookup(bounds) => {
                self.explore(&check_lookup::CheckLookup::new(*bounds), progress)
            }
            Object::Broken(bounds) => {
                let model = check_recovery::CheckRecovery::new(*bounds);
                self.counterexample(search::shortest(&model))
            }
            Object::Register(bounds) => {
                self.explore(&check_register::CheckRegister::new(*bounds), progress)
            }
            Object::Decree(bounds) => self.explore(&decree::CheckDecree::new(*bounds), progress),
            Object::Handover(bounds) => {
                self.explore(&handover::CheckHandover::new(*bounds), progress)
            }
            Object::Misled(bounds) => {
                let model = check_lookup::CheckLookup::new(*bounds);
                self.counterexample(search::shortest(&model))
            }
            Object::Fault(fault) => self.fault(fault),
        }
    }

    fn explore<E: Explore>(&self, model: &E, progress: impl FnMut(u64) + Send) -> Outcome {
        // Two searches, two cores.
        let (own, (states, broken)) = std::thread::scope(|scope| {
            let own = scope.spawn(|| search::with_our_own(model, progress));
            let stateright = search::with_stateright(model);
            (own.join().expect("our own search does not panic"), stateright)
        });
        let Explored { depth, solo, .. } = own;
        let mut outcome = Outcome {
            states: own.states,
            depth: depth as usize,
            solo: Some(solo),
            wrong: None,
            problem: None,
        };
        if own.wrong.is_some() || !broken.is_empty() {
            // Depth first finds some way there; the shortest is worth the wait, where it is a state
            // that is wrong.
            let in_a_state = !broken.is_empty();
            let shortest = in_a_state.then(|| search::shortest(model)).flatten();
            outcome.wrong = shortest.map(|(wrong, _)| wrong).or(own.wrong);
            let what = outcome.wrong.as_ref().map_or_else(|| broken.join(", "), |w| w.what.clone());
            outcome.problem = Some(format!("expected all properties to hold, got {what}"));
        } else if own.states != states {
            outcome.problem = Some(format!(
                "the two searches disagree: ours visited {} states, stateright {states}",
                own.states
            ));
        } else {
            outcome.problem = self.compare(&own);
        }
        outcome
    }

    fn compare(&self, found: &Explored) -> Option<String> {
        let Expected::Holds { states, depth, solo, seen } = self.expected else {
            return Some("expected a property to fail, got none".into());
        };
        let got = (found.states, found.depth, found.solo);
        if got != (states, depth, solo) {
            return Some(format!(
                "expected {states} states, depth {depth}, {solo} steps alone; got {} states, \
                 depth {}, {} steps alone",
                got.0, got.1, got.2
            ));
        }
        let unseen: Vec<_> =
            seen.iter().filter(|event| !found.events.contains_key(event)).collect();
        (!unseen.is_empty()).then(|| format!("expected to see {unseen:?}, did not"))
    }

    fn counterexample(&self, found: Option<(search::Wrong, u64)>) -> Outcome {
        let (wrong, states) = found.map_or((None, 0), |(wrong, states)| (Some(wrong), states));
        let found = wrong.as_ref().map_or(("nothing".into(), 0), |wrong| {
            let property = wrong.what.split(':').next().unwrap_or_default();
            (property.to_owned(), wrong.trace.len())
        });
        let problem = match self.expected {
            Expected::Fails { property, steps } if (property, steps) == (&*found.0, found.1) => {
                None
            }
            expected => {
                Some(format!("expected {expected:?}, got {} in {} steps", found.0, found.1))
            }
        };
        Outcome { states, depth: found.1, solo: None, wrong, problem }
    }

    fn fault(&self, fault: &Fault) -> Outcome {
        let found = fault.search();
        let control = fault.control();
        let shown = fault.property;
        let problem = match self.expected {
            _ if control.shown => Some("found also where its cause is taken away".into()),
            Expected::Fails { property, steps } if (property, steps) == (shown, found.depth) => {
                None
            }
            expected => {
                Some(format!("expected {expected:?}, got {shown} in {} steps", found.depth))
            }
        };
        let trace = found.trace.to_string().lines().map(str::to_owned).collect();
        let wrong = Some(search::Wrong { what: format!("{shown}: {}", fault.title), trace });
        Outcome { states: found.states, depth: found.depth, solo: None, wrong, problem }
    }

    /// Whether it is asked for by this name: its own, or the beginning of it.
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
    }

    /// Whether it is a counterexample that must be found.
    pub fn must_fail(&self) -> bool {
        matches!(self.expected, Expected::Fails { .. })
    }
}

/// Opens stateright's explorer on a check, at `address`, and never returns.
pub fn explore(check: &Check, address: &str) {
    fn serve<E: Explore>(model: E, address: &str) {
        served(search::Stateright(model), address);
    }
    match check.object {
        Object::Pool(bounds) => serve(check_pool::CheckPool::new(bounds), address),
        Object::Desk(bounds) => serve(check_desk::CheckDesk::new(bounds), address),
        Object::Recovery(bounds) | Object::Broken(bounds) => {
            serve(check_recovery::CheckRecovery::new(bounds), address);
        }
        Object::Register(bounds) => serve(check_register::CheckRegister::new(bounds), address),
        Object::Decree(bounds) => serve(decree::CheckDecree::new(bounds), address),
        Object::Handover(bounds) => serve(handover::CheckHandover::new(bounds), address),
        Object::Table(bounds) => serve(check_table::CheckTable::new(bounds), address),
        Object::Lookup(bounds) | Object::Misled(bounds) => {
            serve(check_lookup::CheckLookup::new(bounds), address);
        }
        Object::Fault(fault) => fault.explore(address),
    }
}
