//! Operations of clients at this node: begun, tried again, given up, moved to a newer view.
//!
//! Writes of one key form a line and begin one after the other: each has a ballot of its own, so that two
//! of one coordinator would only refuse each other, and many would for ever. Reads do not wait.
//!
//! Invariants:
//! * an operation ends once; one that is under way is not begun a second time;
//! * REG-15: of a line one write is under way; one that is given up in the line has not begun;
//! * REG-8: an operation that moves to a coordinator in a newer view takes its bound version with it,
//!   and one that cannot move ends as one that was given up.
//!
//! What it does not do: answer clients; [`Work::ended`] is for the host's host.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{Host, Moment, Work};
use crate::coordinator::Steps;
use crate::id::{Key, OperationId, Slot};
use crate::operation::{Call, Operation};

/// How often the longest wait after a refusal doubles. Two who need longer for a round than they wait
/// would refuse each other for ever.
pub(super) const MOST_DOUBLINGS: u32 = 6;

/// How often the wait for answers doubles.
const MOST_PATIENT: u32 = 3;

/// When an operation is tried again, and when no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    slot: Slot,
    /// Of a write: in whose line it is.
    line: Option<Key>,
    /// Never while it waits in its line.
    retry_at: Moment,
    give_up_at: Moment,
    /// How often it was refused.
    refused: u32,
    /// How often its time has come.
    tries: u32,
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
        if !self.coordinators.contains_key(&slot) {
            let ends = operations.iter().map(|operation| (operation.id, operation.given_up()));
            work.ended.extend(ends);
            return;
        }
        let mut first = Vec::new();
        for operation in operations {
            let line = (operation.call != Call::Get).then(|| operation.key.clone());
            let (id, give_up_at) = (operation.id, give_up_at(operation.id));
            let running =
                Running { slot, line, retry_at: Moment::NEVER, give_up_at, refused: 0, tries: 0 };
            let waiting = running.line.clone().and_then(|key| self.lines.get_mut(&(slot, key)));
            if let Some(line) = waiting {
                line.push_back(operation);
            } else {
                let line = running.line.clone().map(|key| ((slot, key), VecDeque::new()));
                self.lines.extend(line);
                first.push(operation);
            }
            self.running.insert(id, running);
        }
        self.begin_with(now, slot, first, work);
    }

    /// Those whose turn it is.
    fn begin_with(&mut self, now: Moment, slot: Slot, first: Vec<Operation>, work: &mut Work) {
        let Some(coordinator) = self.coordinators.get_mut(&slot) else { return };
        let own = self.replicas.get(&(slot, coordinator.view().epoch()));
        for operation in &first {
            // Who has written the key since has asked this member too, unless it was not reached.
            if let Some(replica) = own {
                coordinator.met(&operation.key, replica.durable().record(&operation.key).promise);
            }
            if let Some(running) = self.running.get_mut(&operation.id) {
                running.retry_at = now.plus_ms(self.waits.answers_ms);
            }
        }
        let steps = coordinator.begin(first);
        self.follow(now, steps, work);
    }

    /// A write has left its line: the next one that has still time begins.
    fn next_in_line(&mut self, now: Moment, slot: Slot, key: Key, work: &mut Work) {
        let line = (slot, key);
        while let Some(next) = self.lines.get_mut(&line).and_then(VecDeque::pop_front) {
            if self.running.get(&next.id).is_some_and(|running| running.give_up_at > now) {
                self.begin_with(now, slot, Vec::from([next]), work);
                return;
            }
            self.running.remove(&next.id);
            work.ended.push((next.id, next.given_up()));
        }
        self.lines.remove(&line);
    }

    /// What is given up while it waits in its line has not begun; whether it did.
    fn leave_line(&mut self, id: OperationId, running: &Running, work: &mut Work) -> bool {
        let key = running.line.clone();
        let line = key.and_then(|key| self.lines.get_mut(&(running.slot, key)));
        let Some(line) = line else { return false };
        let at = line.iter().position(|operation| operation.id == id);
        let left = at.and_then(|at| line.remove(at));
        work.ended.extend(left.as_ref().map(|operation| (id, operation.given_up())));
        left.is_some()
    }

    /// What a coordinator's step brings.
    pub(super) fn follow(&mut self, now: Moment, steps: Steps, work: &mut Work) {
        work.ask.extend(steps.send);
        for id in steps.refused {
            let refused = self.running.get(&id).map_or(0, |running| running.refused);
            let wait = 1 + self.below(self.waits.refused_ms << refused.min(MOST_DOUBLINGS));
            if let Some(running) = self.running.get_mut(&id) {
                running.refused += 1;
                running.retry_at = now.plus_ms(wait);
            }
        }
        for (id, outcome) in steps.ended {
            let ended = self.running.remove(&id);
            work.ended.push((id, outcome));
            if let Some(Running { slot, line: Some(key), .. }) = ended {
                self.next_in_line(now, slot, key, work);
            }
        }
    }

    /// Those whose time has come.
    pub(super) fn try_again(&mut self, now: Moment, work: &mut Work) {
        let due = self.running.iter().filter(|(_, running)| running.due() <= now);
        let due: Vec<(OperationId, Running)> =
            due.map(|(id, running)| (*id, running.clone())).collect();
        for (id, running) in due {
            // It may have ended in its line, just now.
            if !self.running.contains_key(&id) {
                continue;
            }
            if running.give_up_at <= now {
                self.running.remove(&id);
                if self.leave_line(id, &running, work) {
                    continue;
                }
                let given_up = self.coordinators.get_mut(&running.slot);
                let outcome = given_up.and_then(|coordinator| coordinator.give_up(id));
                work.ended.extend(outcome.map(|outcome| (id, outcome)));
                if let Some(key) = running.line {
                    self.next_in_line(now, running.slot, key, work);
                }
                continue;
            }
            let Some(coordinator) = self.coordinators.get_mut(&running.slot) else { continue };
            let steps = coordinator.retry(id);
            // Not in step with others who wait as long; and longer each time: where each sync takes longer than the
            // wait, this node's own included, votes would for ever be for the ballot before.
            let answers_ms = self.waits.answers_ms << (running.tries + 1).min(MOST_PATIENT);
            let wait = answers_ms + self.below(self.waits.answers_ms / 4);
            if let Some(running) = self.running.get_mut(&id) {
                running.retry_at = now.plus_ms(wait);
                running.tries += 1;
            }
            self.follow(now, steps, work);
        }
    }

    /// The coordinator of the slot has changed its view or gone: what it had under way goes on in the
    /// new one, or ends. So does what waits.
    pub(super) fn move_on(
        &mut self,
        now: Moment,
        slot: Slot,
        mut operations: Vec<Operation>,
        work: &mut Work,
    ) {
        self.lines.retain(|(of, _), line| {
            let stays = *of != slot;
            if !stays {
                operations.extend(line.drain(..));
            }
            stays
        });
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
