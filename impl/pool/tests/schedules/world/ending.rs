//! How a schedule ends.

use std::collections::BTreeSet;

use cloakroom_pool::Policy;
use cloakroom_specs::pool::{self as specs, Objection};

use super::{Judged, Op, World, judged};

/// Rounds after which calls that should end are taken for a live-lock.
const FOR_EVER: usize = 2_000;

impl World {
    /// All calls under way return, dead callers do what the rules ask of them, a recovery runs.
    /// Then everything is as if nothing had ever gone wrong.
    pub(crate) fn end(&mut self, lost: u64, recovery_dies_after: Option<usize>) -> Judged {
        for bit in 0.. {
            if self.map.on_their_way() == 0 {
                break;
            }
            self.land(bit, lost >> (bit % 64) & 1 == 1)?;
        }
        self.run_all()?;
        while let Some(tag) = self.doubtful.pop() {
            let found: Vec<u64> = (0..)
                .zip(&self.slots)
                .filter(|(_, held)| **held == Some(tag))
                .map(|(id, _)| id)
                .collect();
            if found.len() > 1 {
                return Err(format!("POOL-7: tag {tag} holds {found:?}: a phantom"));
            }
            self.holdings.extend(found.iter().map(|&id| (id, tag)));
            if found.is_empty() {
                self.notebook.remove(&tag);
            }
        }
        while !self.unfinished.is_empty() {
            self.run_alone(Op::FreeAgain(0))?;
        }
        if !self.abandoned {
            specs::no_capacity_lost(self.counts()?).map_err(judged)?;
        }
        if let Some(steps) = recovery_dies_after {
            self.begin(0, Op::Recover);
            for _ in 0..steps {
                self.step(0, &mut None)?;
            }
            self.crash(0);
        }
        self.run_alone(Op::Recover)?;
        let held: BTreeSet<u64> = self.holdings.iter().map(|&(_, tag)| tag).collect();
        specs::nothing_leaked(&self.slots, |tag| held.contains(&tag)).map_err(judged)?;
        // Capacity that a dead call took with it would be leaked too.
        specs::counts_exact(self.counts()?)
            .map_err(|objection| judged(Objection { property: 7, ..objection }))?;
        let taken = self.slots.iter().flatten().count();
        if taken != self.holdings.len() {
            return Err(format!("POOL-7: {} ids are held, {taken} taken", self.holdings.len()));
        }
        self.fill()
    }

    /// What is not held can be allocated, all of it, and nothing else.
    fn fill(&mut self) -> Judged {
        for free in (0..=self.slots.len() - self.holdings.len()).rev() {
            let held = self.holdings.len();
            self.run_alone(Op::Allocate { policy: Policy::Spread, reuse: false })?;
            if (self.holdings.len() > held) != (free > 0) {
                return Err(format!("POOL-3: {free} ids were free, and allocate did not see it"));
            }
        }
        Ok(())
    }

    fn run_all(&mut self) -> Judged {
        for round in 0.. {
            let mut ran = false;
            for caller in 0..self.callers.len() {
                ran |= self.step(caller, &mut None)?;
            }
            if !ran {
                break;
            }
            if round == FOR_EVER {
                return Err("POOL-5: all calls run, and none returns".into());
            }
        }
        Ok(())
    }

    fn run_alone(&mut self, op: Op) -> Judged {
        self.begin(0, op);
        self.alone(0)?;
        self.run_all()
    }
}
