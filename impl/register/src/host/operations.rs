//! Operations of clients at this node: begun, tried again, given up, moved to a newer view.
//!
//! Invariants:
//! * an operation ends once; one that is under way is not begun a second time;
//! * REG-8: an operation that moves to a coordinator in a newer view takes its bound version with it,
//!   and one that cannot move ends as one that was given up.
//!
//! What it does not do: answer clients; [`Work::ended`] is for the host's host.

use alloc::vec::Vec;

use super::{Host, Moment, Work};
use crate::coordinator::Steps;
use crate::id::{OperationId, Slot};
use crate::operation::Operation;

/// How often the longest wait after a refusal doubles. Two who need longer for a round than they wait
/// would refuse each other for ever.
pub(super) const MOST_DOUBLINGS: u32 = 6;

/// When an operation is tried again, and when no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    slot: Slot,
    retry_at: Moment,
    give_up_at: Moment,
    /// How often it was refused.
    refused: u32,
}

impl Running {
    pub(super) fn due(&self) -> Moment {
        self.retry_at.min(self.give_up_at)
    }
}

impl Host {
    /// Begins operations on keys of a slot. They are given up at `give_up_at`. One that is under way
    /// already goes on as it does.
    ///
    /// A node without a seat in the newest view that it knows ends them at once: whoever asks must
    /// try one that has ([`Host::newest`] may tell).
    pub fn begin(
        &mut self,
        now: Moment,
        slot: Slot,
        operations: impl IntoIterator<Item = Operation>,
        give_up_at: Moment,
    ) -> Work {
        let mut work = Work::default();
        let running = &self.running;
        let new = operations.into_iter().filter(|operation| !running.contains_key(&operation.id));
        let new: Vec<Operation> = new.collect();
        self.start_at(now, slot, new, |_| give_up_at, &mut work);
        self.settle(now, work)
    }

    /// Starts them with the coordinator of the slot, if there is one.
    pub(super) fn start_at(
        &mut self,
        now: Moment,
        slot: Slot,
        operations: Vec<Operation>,
        give_up_at: impl Fn(OperationId) -> Moment,
        work: &mut Work,
    ) {
        let Some(coordinator) = self.coordinators.get_mut(&slot) else {
            let ends = operations.iter().map(|operation| (operation.id, operation.given_up()));
            work.ended.extend(ends);
            return;
        };
        let retry_at = now.plus_ms(self.waits.answers_ms);
        let own = self.replicas.get(&(slot, coordinator.view().epoch()));
        for operation in &operations {
            // Who has written the key since has asked this member too, unless it was not reached.
            if let Some(replica) = own {
                coordinator.met(&operation.key, replica.durable().record(&operation.key).promise);
            }
            let give_up_at = give_up_at(operation.id);
            let running = Running { slot, retry_at, give_up_at, refused: 0 };
            self.running.insert(operation.id, running);
        }
        let steps = coordinator.begin(operations);
        self.follow(now, steps, work);
    }

    /// What a coordinator's step brings.
    pub(super) fn follow(&mut self, now: Moment, steps: Steps, work: &mut Work) {
        work.send.extend(steps.send);
        for id in steps.refused {
            let refused = self.running.get(&id).map_or(0, |running| running.refused);
            let wait = 1 + self.below(self.waits.refused_ms << refused.min(MOST_DOUBLINGS));
            if let Some(running) = self.running.get_mut(&id) {
                running.refused += 1;
                running.retry_at = now.plus_ms(wait);
            }
        }
        for (id, outcome) in steps.ended {
            self.running.remove(&id);
            work.ended.push((id, outcome));
        }
    }

    /// Those whose time has come.
    pub(super) fn try_again(&mut self, now: Moment, work: &mut Work) {
        let due = self.running.iter().filter(|(_, running)| running.due() <= now);
        let due: Vec<(OperationId, Running)> = due.map(|(id, running)| (*id, *running)).collect();
        for (id, running) in due {
            let Some(coordinator) = self.coordinators.get_mut(&running.slot) else { continue };
            if running.give_up_at <= now {
                self.running.remove(&id);
                work.ended.extend(coordinator.give_up(id).map(|outcome| (id, outcome)));
                continue;
            }
            let steps = coordinator.retry(id);
            // Not in step with others who wait as long.
            let wait = self.waits.answers_ms + self.below(self.waits.answers_ms / 4);
            if let Some(running) = self.running.get_mut(&id) {
                running.retry_at = now.plus_ms(wait);
            }
            self.follow(now, steps, work);
        }
    }

    /// The coordinator of the slot has changed its view or gone: what it had under way goes on in the
    /// new one, or ends.
    pub(super) fn move_on(
        &mut self,
        now: Moment,
        slot: Slot,
        operations: Vec<Operation>,
        work: &mut Work,
    ) {
        let before: Vec<(OperationId, Moment)> = operations
            .iter()
            .filter_map(|it| Some((it.id, self.running.remove(&it.id)?.give_up_at)))
            .collect();
        let give_up_at = |id| {
            let found = before.iter().find(|(other, _)| *other == id);
            found.map_or(now, |(_, give_up_at)| *give_up_at)
        };
        self.start_at(now, slot, operations, give_up_at, work);
    }
}
