//! What a node does without being asked: learners pull, sealed members announce and ask, proposals
//! are tried again, tombstones are collected.
//!
//! Invariants:
//! * all of it may be done at any time, any number of times, by anybody: it changes how long things
//!   take, never what holds;
//! * one proposal to a view and start: two would share ballots (REG-1).
//!
//! What it does not do: choose members of views.

use alloc::vec::Vec;

use super::{Host, Moment, Work};
use crate::collection::Collector;
use crate::decree::Decree;
use crate::durable::Life;
use crate::id::{Epoch, Key, Slot};
use crate::record::Accepted;
use crate::view::View;

/// How many tombstones of a slot one collection asks about.
const SWEPT: usize = 64;

impl Host {
    /// Proposes a view to follow the one in which this member votes. If it already proposes one, that
    /// is tried again instead. Nothing happens when the view does not follow, or has no seat for this
    /// member to propose from.
    pub fn propose(&mut self, now: Moment, candidate: &View) -> Work {
        let mut work = Work::default();
        let slot = candidate.slot();
        let Some(view) = self.known.get(&slot) else { return work };
        let Some(seat) = view.seat_of(self.me) else { return work };
        if view.epoch().next() != Some(candidate.epoch()) {
            return work;
        }
        let active = self.replicas.get(&(slot, view.epoch()));
        if active.is_none_or(|replica| replica.durable().life != Life::Active) {
            return work;
        }
        let change = if let Some(decree) = self.decrees.get_mut(&slot) {
            decree.retry()
        } else {
            let (decree, change) = Decree::begin(view.clone(), seat, self.boot, candidate.clone());
            self.decrees.insert(slot, decree);
            change
        };
        work.send.extend(change.send);
        self.upkeep_at = self.upkeep_at.min(now.plus_ms(self.waits.answers_ms));
        self.settle(now, work)
    }

    pub(super) fn keep_up(&mut self, now: Moment, work: &mut Work) {
        for &(slot, epoch) in &self.restless {
            let Some(replica) = self.replicas.get(&(slot, epoch)) else { continue };
            if let Life::Sealed { next } = &replica.durable().life {
                self.announce(slot, epoch, next, work);
            }
            work.send.extend(replica.pull());
            work.send.extend(replica.ask_active());
        }
        for decree in self.decrees.values_mut() {
            work.send.extend(decree.retry().send);
        }
        let idle = self.restless.is_empty() && self.decrees.is_empty();
        // Not in step with others.
        let wait = self.waits.upkeep_ms + self.below(self.waits.upkeep_ms / 4);
        self.upkeep_at = if idle { Moment::NEVER } else { now.plus_ms(wait) };
    }

    /// Begins to collect tombstones.
    pub(super) fn sweep(&mut self, now: Moment, work: &mut Work) {
        let wait = self.waits.collect_ms + self.below(self.waits.collect_ms / 4);
        self.collect_at = now.plus_ms(wait);
        self.collectors.clear();
        let active: Vec<(Slot, Epoch)> = self
            .known
            .values()
            .map(|view| (view.slot(), view.epoch()))
            .filter(|place| {
                self.replicas.get(place).is_some_and(|it| it.durable().life == Life::Active)
            })
            .collect();
        for place in active {
            let Some(replica) = self.replicas.get(&place) else { continue };
            let removed = replica.durable().records.iter().filter_map(|(key, record)| {
                let accepted =
                    record.accepted.as_ref().filter(|accepted| accepted.is_tombstone())?;
                Some((key.clone(), accepted.clone()))
            });
            let removed: Vec<(Key, Accepted)> = removed.take(SWEPT).collect();
            let view = replica.view().clone();
            for (key, accepted) in removed {
                let begun = Collector::begin(view.clone(), key.clone(), &accepted);
                if let Some((collector, send)) = begun {
                    self.collectors.insert((place.0, key), collector);
                    work.send.extend(send);
                }
            }
        }
    }
}
