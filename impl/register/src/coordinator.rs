//! The coordinator of operations: asks the members of a view, counts majorities, keeps promises for
//! the next write.
//!
//! An operation, from its begin to its end:
//!
//! 1. A get asks all members what they have accepted. If a majority has the same ballot *of this
//!    epoch*, or nothing at all, that is the answer: one round trip.
//! 2. Otherwise, and for a compare-and-set, it asks for promises of a fresh ballot.
//! 3. With a majority of promises, [`Operation`] says what follows from the highest accepted ballot
//!    among them: an end, or an accept.
//! 4. With a majority of accepts it ends. They carried the promise for the coordinator's next ballot
//!    of that key, so its next compare-and-set begins here: one round trip.
//!
//! A fresh ballot is above all that this coordinator has met. If a majority has promised a higher one
//! that it has not met, step 2 is refused and done again; [`Coordinator::met`] is for knowing better.
//!
//! Invariants:
//! * REG-5: every request has a ballot of its own: fresh, in this epoch, from this start's rounds;
//! * REG-9: a copied ballot, of an older epoch, is never taken for chosen: in the old view a higher
//!   one may have had a minority, and still be here. Nothing at all is proof of absence, by REG-4;
//! * a promise is kept only for the ballot that a majority has promised, in this view, until it is
//!   used, refused, known to be overtaken, or the coordinator ends;
//! * answers are counted by seat, once.
//!
//! What it does not do: wait. Its host calls [`Coordinator::retry`] when it has waited long enough
//! and [`Coordinator::give_up`] when its client has. It has nothing durable: after a start there is
//! a new one, with a higher [`Boot`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::ballot::Ballot;
use crate::id::{Boot, Key, NodeId, OperationId};
use crate::message::{Ask, Body, Envelope, Found, Message, Reply};
use crate::operation::{Call, Operation, Outcome, Verdict};
use crate::record::{Accepted, State};
use crate::view::{Seat, Seats, View};

/// The most keys that a coordinator keeps promises for.
pub const MAX_KEPT: usize = 4096;

/// Coordinates operations on one slot within one view, from a seat in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinator {
    view: View,
    seat: Seat,
    boot: Boot,
    /// Of the last ballot, or of a higher one that was met.
    round: u32,
    running: BTreeMap<Ballot, Running>,
    kept: BTreeMap<Key, Kept>,
}

/// What a step of a coordinator brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Steps {
    /// To be sent.
    pub send: Vec<Envelope>,
    /// Operations that have ended.
    pub ended: Vec<(OperationId, Outcome)>,
    /// Operations that cannot go on under their ballot: [`Coordinator::retry`] them after a short
    /// and random wait, since somebody else is writing the key.
    pub refused: Vec<OperationId>,
}

/// An operation with its present round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Running {
    operation: Operation,
    answered: Seats,
    refused: Seats,
    round: Round,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Round {
    /// Step 1. `agreed`: all answers so far have the same ballot.
    Read { found: Found, agreed: bool },
    /// Step 2.
    Prepare { found: Found, agreed: bool },
    /// Step 4.
    Accept { state: State, next: Option<Ballot> },
}

/// A majority has promised `ballot` and has then accepted nothing above what was `found`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kept {
    ballot: Ballot,
    found: Found,
}

impl Coordinator {
    /// A coordinator in this seat. `boot` must be higher than in every earlier start of the node,
    /// and durable.
    ///
    /// # Panics
    /// When the view has no such seat.
    pub fn new(view: View, seat: Seat, boot: Boot) -> Self {
        assert!(usize::from(seat.0) < view.members().len(), "REG-5: a ballot names a member");
        Self { view, seat, boot, round: 0, running: BTreeMap::new(), kept: BTreeMap::new() }
    }

    /// Its view.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The operations under way.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.running.values().map(|running| &running.operation)
    }

    /// The operation that is under way under this ballot.
    pub fn operation_under(&self, ballot: Ballot) -> Option<&Operation> {
        self.running.get(&ballot).map(|running| &running.operation)
    }

    /// Whether answers under this ballot still count.
    pub fn awaits(&self, ballot: Ballot) -> bool {
        self.running.contains_key(&ballot)
    }

    /// A member, in practice the one in this coordinator's own seat, has promised this ballot of a key.
    /// Told before an operation begins, it spares the round trip that would find it out.
    ///
    /// It changes only what is tried first: rounds rise as with a refusal, and a promise that is kept
    /// for a lower ballot goes as with a new round.
    pub fn met(&mut self, key: &Key, promise: Ballot) {
        if promise.epoch != self.view.epoch() {
            // Of copied records. Every ballot of this view is above it.
            return;
        }
        self.round = self.round.max(promise.round);
        if self.kept.get(key).is_some_and(|kept| kept.ballot < promise) {
            self.kept.remove(key);
        }
    }

    /// Begins operations, on whatever keys of the slot: each with an id that is not under way here.
    pub fn begin(&mut self, operations: impl IntoIterator<Item = Operation>) -> Steps {
        let mut steps = Steps::default();
        let mut asks = Vec::new();
        for operation in operations {
            self.start(operation, &mut asks, &mut steps);
        }
        self.ask(asks, &mut steps);
        steps
    }

    /// An operation has waited long enough: tries again, under a higher ballot.
    pub fn retry(&mut self, id: OperationId) -> Steps {
        let mut steps = Steps::default();
        let mut asks = Vec::new();
        if let Some(running) = self.take(id) {
            self.prepare(running.operation, &mut asks, &mut steps);
        }
        self.ask(asks, &mut steps);
        steps
    }

    /// Ends an operation without an answer.
    pub fn give_up(&mut self, id: OperationId) -> Option<Outcome> {
        Some(self.take(id)?.operation.given_up())
    }

    /// A message has come from a node.
    pub fn handle(&mut self, from: NodeId, message: &Message) -> Steps {
        let mut steps = Steps::default();
        let Some(seat) = self.view.seat_at(from) else { return steps };
        if (message.slot, message.epoch) != (self.view.slot(), self.view.epoch()) {
            return steps;
        }
        if let Body::Reply(replies) = &message.body {
            let mut asks = Vec::new();
            for reply in replies {
                self.count(seat, reply, &mut asks, &mut steps);
            }
            self.ask(asks, &mut steps);
        }
        steps
    }

    fn take(&mut self, id: OperationId) -> Option<Running> {
        let mut running = self.running.iter();
        let ballot = *running.find(|(_, running)| running.operation.id == id)?.0;
        self.running.remove(&ballot)
    }

    fn start(&mut self, operation: Operation, asks: &mut Vec<Ask>, steps: &mut Steps) {
        // Whatever this operation does, it uses up the promise that is kept for its key.
        let kept = self.kept.get(&operation.key);
        if operation.bound.is_none() && kept.is_some_and(|kept| operation.applies_to(&kept.found)) {
            let kept = self.kept.remove(&operation.key).expect("found just now");
            self.decide(operation, kept.ballot, &kept.found, false, asks, steps);
        } else if operation.call == Call::Get {
            let Some(ballot) = self.fresh() else {
                steps.ended.push((operation.id, operation.given_up()));
                return;
            };
            asks.push(Ask::Read { key: operation.key.clone(), ballot });
            self.run(operation, ballot, Round::Read { found: Found::NOTHING, agreed: true });
        } else {
            self.prepare(operation, asks, steps);
        }
    }

    /// Step 2.
    fn prepare(&mut self, operation: Operation, asks: &mut Vec<Ask>, steps: &mut Steps) {
        self.kept.remove(&operation.key);
        let Some(ballot) = self.fresh() else {
            steps.ended.push((operation.id, operation.given_up()));
            return;
        };
        asks.push(Ask::Prepare { key: operation.key.clone(), ballot });
        self.run(operation, ballot, Round::Prepare { found: Found::NOTHING, agreed: true });
    }

    /// With the promise that came with an accept, if any did, step 3; else step 2.
    fn go_on(
        &mut self,
        operation: Operation,
        promised: Option<Ballot>,
        found: &Found,
        asks: &mut Vec<Ask>,
        steps: &mut Steps,
    ) {
        match promised {
            Some(ballot) => self.decide(operation, ballot, found, true, asks, steps),
            None => self.prepare(operation, asks, steps),
        }
    }

    /// Step 3: a majority has promised `ballot` and has `found`.
    fn decide(
        &mut self,
        mut operation: Operation,
        ballot: Ballot,
        found: &Found,
        chosen: bool,
        asks: &mut Vec<Ask>,
        steps: &mut Steps,
    ) {
        match operation.judge(found, chosen) {
            Verdict::End(outcome) => {
                steps.ended.push((operation.id, outcome));
                self.keep(operation.key, Some(ballot), found.clone());
            }
            Verdict::Accept(state) => {
                let next = self.fresh();
                let key = operation.key.clone();
                asks.push(Ask::Accept { key, ballot, state: state.clone(), next });
                self.run(operation, ballot, Round::Accept { state, next });
            }
        }
    }

    /// Counts one answer to one request.
    fn count(&mut self, seat: Seat, reply: &Reply, asks: &mut Vec<Ask>, steps: &mut Steps) {
        let ballot = reply.ballot();
        // REG-5: the ballot says which request is answered. Answers to an earlier one count for
        // nothing.
        let Some(running) = self.running.get_mut(&ballot) else { return };
        match (&mut running.round, reply) {
            (Round::Read { found, agreed }, Reply::Held { found: other, .. })
            | (Round::Prepare { found, agreed }, Reply::Promised { found: other, .. }) => {
                // A majority is of different members.
                if running.answered.add(seat) {
                    *agreed &= running.answered.len() == 1 || found.ballot() == other.ballot();
                    found.join(other);
                }
            }
            (Round::Accept { next, .. }, Reply::Accepted { next: promised, .. })
                if next == promised =>
            {
                running.answered.add(seat);
            }
            (Round::Prepare { .. } | Round::Accept { .. }, Reply::Refused { promise, .. }) => {
                self.round = self.round.max(promise.round);
                if running.refused.add(seat) && self.view.is_blocked_by(running.refused) {
                    steps.refused.push(running.operation.id);
                }
                return;
            }
            _ => return,
        }
        if self.view.is_majority(running.answered) {
            let running = self.running.remove(&ballot).expect("found just now");
            self.conclude(running, ballot, asks, steps);
        }
    }

    /// A majority has answered.
    fn conclude(
        &mut self,
        running: Running,
        ballot: Ballot,
        asks: &mut Vec<Ask>,
        steps: &mut Steps,
    ) {
        let Running { mut operation, round, .. } = running;
        match round {
            Round::Read { found, agreed } => {
                if self.is_chosen(&found, agreed) {
                    let state = found.accepted.as_ref().map(|accepted| &accepted.state);
                    steps.ended.push((operation.id, operation.outcome(state)));
                } else {
                    self.prepare(operation, asks, steps);
                }
            }
            Round::Prepare { found, agreed } => {
                let chosen = self.is_chosen(&found, agreed);
                self.decide(operation, ballot, &found, chosen, asks, steps);
            }
            Round::Accept { state, next } => {
                let outcome = operation.outcome(Some(&state));
                let accepted = Some(Accepted { ballot, state });
                let found = Found { accepted, ..Found::NOTHING };
                if matches!(outcome, Outcome::Mismatch(_)) && operation.applies_to(&found) {
                    // Buried; and what buries it is what it expects, made anew. So it has not failed
                    // but never begun.
                    operation.bound = None;
                    self.kept.remove(&operation.key);
                    self.go_on(operation, next, &found, asks, steps);
                    return;
                }
                steps.ended.push((operation.id, outcome));
                self.keep(operation.key, next, found);
            }
        }
    }

    /// Whether a majority of the same ballot shows that its state is chosen, or of none that the key
    /// is absent.
    fn is_chosen(&self, found: &Found, agreed: bool) -> bool {
        // REG-9: members have a ballot of this epoch by their votes. One of an older epoch they have
        // by copy, which proves nothing.
        agreed && found.ballot().is_none_or(|ballot| ballot.epoch == self.view.epoch())
    }

    fn keep(&mut self, key: Key, ballot: Option<Ballot>, found: Found) {
        let Some(ballot) = ballot else { return };
        if self.kept.len() == MAX_KEPT && !self.kept.contains_key(&key) {
            self.kept.pop_first();
        }
        self.kept.insert(key, Kept { ballot, found });
    }

    fn run(&mut self, operation: Operation, ballot: Ballot, round: Round) {
        let (answered, refused) = (Seats::default(), Seats::default());
        self.running.insert(ballot, Running { operation, answered, refused, round });
    }

    /// REG-5: a ballot that nobody has used; `None` when this start has used up all of its rounds.
    fn fresh(&mut self) -> Option<Ballot> {
        self.round = self.round.checked_add(1)?;
        let Self { seat, boot, round, .. } = *self;
        Some(Ballot { epoch: self.view.epoch(), round, seat, boot })
    }

    /// Asks every member: a majority answers, and the rest are brought up to date.
    fn ask(&self, asks: Vec<Ask>, steps: &mut Steps) {
        if asks.is_empty() {
            return;
        }
        let (slot, epoch) = (self.view.slot(), self.view.epoch());
        let message = Message { slot, epoch, body: Body::Ask(asks) };
        let members = self.view.members().iter();
        steps.send.extend(members.map(|to| Envelope { to: to.node, message: message.clone() }));
    }
}
