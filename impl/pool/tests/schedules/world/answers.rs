//! What calls answer, judged.

use std::collections::BTreeSet;

use cloakroom_pool::{AllocateFailure, FreeOutcome, Id};
use cloakroom_specs::pool::{self as specs, Freed, Objection, What};

use super::{Judged, World, judged, number};
use crate::call::{Output, Pair, Purpose, Status};

impl World {
    /// A call has returned: its answer is judged, and what it did is over.
    pub(super) fn returned(&mut self, at: usize, output: Output) -> Judged {
        let purpose = self.calls[at].purpose;
        self.calls[at].status = Status::Returned;
        match (purpose, output) {
            (Purpose::Allocate { tag }, Output::Allocate(answer)) => {
                self.allocated(at, tag, answer)?;
            }
            (
                Purpose::Free { .. } | Purpose::Vain { .. } | Purpose::Beside { .. },
                Output::Free(Err(_)),
            ) => {
                self.calls[at].status = Status::Stopped;
                if let Purpose::Free { pair, .. } = purpose {
                    self.unfinished.push(pair);
                }
            }
            (Purpose::Free { pair, retried }, Output::Free(Ok(got))) => {
                self.met.freed_again += usize::from(retried);
                if !retried && got != FreeOutcome::Freed && !self.was_freed_beside(pair) {
                    return Err(wrong(Freed::Freed, got));
                }
                self.freed(pair)?;
            }
            (Purpose::Beside { pair }, Output::Free(Ok(_))) => {
                // POOL-6, as for the holder's own.
                self.no_longer_holds(pair)?;
                self.clears.retain(|clear| clear.pair != pair);
            }
            (Purpose::Vain { .. }, Output::Free(Ok(got))) => {
                if got == FreeOutcome::Freed && !self.calls[at].misled {
                    return Err(wrong(Freed::NotOwner, got));
                }
            }
            (Purpose::Recover | Purpose::Repair, Output::Recover(Ok(done))) => {
                let begun = self.calls[at].begun;
                self.met.phantoms += done.freed.len();
                self.met.counts_repaired += done.counts_repaired;
                self.clears.retain(|clear| clear.at > begun && clear.by != at);
                let freed: Vec<Pair> =
                    done.freed.iter().map(|(id, tag)| (id.0, number(tag))).collect();
                self.recovered(at, &freed)?;
            }
            (Purpose::Recover | Purpose::Repair, Output::Recover(Err(_))) => {
                self.calls[at].status = Status::Stopped;
            }
            (Purpose::List, Output::List(answer)) => {
                if let Ok(pairs) = answer {
                    let pairs = pairs.iter().map(|(id, tag)| (id.0, number(tag))).collect();
                    self.listed(at, &pairs)?;
                }
            }
            (purpose, output) => unreachable!("{purpose:?} has returned {output:?}"),
        }
        Ok(())
    }

    /// The holder's free has returned: the pair is no longer held, and the tag's life is over.
    fn freed(&mut self, pair: Pair) -> Judged {
        self.no_longer_holds(pair)?;
        // Nothing of an earlier free of this pair may happen any more either.
        for call in &mut self.calls {
            if matches!(call.purpose, Purpose::Free { pair: other, .. } if other == pair) {
                call.status = Status::Returned;
            }
        }
        self.clears.retain(|clear| clear.pair != pair);
        self.notebook.remove(&pair.1);
        // A tag must not be used again while somebody may still free its old pair.
        if !self.was_freed_beside(pair) {
            self.over.push(pair);
        }
        Ok(())
    }

    fn no_longer_holds(&self, (id, tag): Pair) -> Judged {
        let slot = self.slots[usize::try_from(id).expect("a small pool")];
        specs::free_is_done(slot, id, tag).map_err(judged)
    }

    fn allocated(&mut self, at: usize, tag: u64, answer: Result<Id, AllocateFailure>) -> Judged {
        match answer {
            Ok(id) => {
                self.holdings.push((id.0, tag));
                return Ok(());
            }
            Err(AllocateFailure::Unknown(id)) => {
                self.met.unknown_allocates += 1;
                self.calls[at].status = Status::Doubtful(id.0);
                self.doubtful.push(tag);
                return Ok(());
            }
            Err(AllocateFailure::Full) => {
                self.met.full += 1;
                if !self.calls[at].saw_full {
                    self.full().map_err(judged)?;
                }
            }
            Err(AllocateFailure::Unreachable) => {}
        }
        // Neither of these leaves anything behind.
        self.notebook.remove(&tag);
        specs::nothing_leaked(&self.slots, |held| held != tag).map_err(judged)
    }

    /// POOL-7: what was dead before the call is gone, and what it reports is gone.
    fn recovered(&self, at: usize, freed: &[Pair]) -> Judged {
        let call = &self.calls[at];
        if call.purpose == Purpose::Recover
            && let Some(left) = call.dead.intersection(&call.throughout).next()
        {
            return Err(format!("POOL-7: recovery left {left:?}, dead throughout the call"));
        }
        let stands = |&&(id, tag): &&Pair| {
            let slot = self.slots[usize::try_from(id).expect("small")];
            slot == Some(tag) && !self.notebook.contains(&tag)
        };
        match freed.iter().find(stands) {
            Some(left) => Err(format!("POOL-7: recovery says it freed {left:?}, and it did not")),
            None => Ok(()),
        }
    }

    fn listed(&self, at: usize, pairs: &BTreeSet<Pair>) -> Judged {
        let call = &self.calls[at];
        if let Some(missed) = call.throughout.difference(pairs).next() {
            return Err(format!("POOL-7: list missed {missed:?}, held throughout the call"));
        }
        match pairs.difference(&call.ever).next() {
            Some(made_up) => Err(format!("POOL-7: list made up {made_up:?}")),
            None => Ok(()),
        }
    }
}

fn wrong(expected: Freed, got: FreeOutcome) -> String {
    let got = match got {
        FreeOutcome::Freed => Freed::Freed,
        FreeOutcome::AlreadyFree => Freed::AlreadyFree,
        FreeOutcome::NotOwner => Freed::NotOwner,
    };
    Objection { property: 2, what: What::Free { expected, got } }.to_string()
}
