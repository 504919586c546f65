//! Who of this node a message is for.
//!
//! Invariants:
//! * REG-3: a message goes to the replica of its own view; only a question is answered by a replica of
//!   a later view, which tells what is newer. To answer answers would go on for ever;
//! * what goes from this node to itself is done within the same step, but for its votes, which come back
//!   when they are durable;
//! * REG-13: a node learns in a view only as the member that the view names, incarnation and all;
//! * REG-16: what a member has promised is heard whenever it refuses, also when nothing waits for that.
//!
//! What it does not do: know who sent a message. The connection does.

use alloc::vec::Vec;

use super::{Host, Moment, Save, Work};
use crate::coordinator::Coordinator;
use crate::durable::{Life, Write};
use crate::id::{Epoch, NodeId, Slot};
use crate::message::{Body, Envelope, Message, Reply};
use crate::operation::Operation;
use crate::replica::Replica;
use crate::view::View;

impl Host {
    /// A message has come from a node.
    pub fn handle(&mut self, now: Moment, from: NodeId, message: &Message) -> Work {
        let mut work = Work::default();
        self.hear(now, from, message, &mut work);
        self.settle(now, work)
    }

    /// Does what goes to this node itself, until nothing does.
    pub(super) fn settle(&mut self, now: Moment, mut work: Work) -> Work {
        let me = self.me.node;
        while let Some(message) = next_to(me, &mut work) {
            self.hear(now, me, &message, &mut work);
        }
        work.ended.retain(|(id, _)| !self.own.remove(id));
        work
    }

    fn hear(&mut self, now: Moment, from: NodeId, message: &Message, work: &mut Work) {
        if let Body::Newer(next) | Body::Decided { next, .. } = &message.body {
            self.learn(now, next, work);
        }
        if let Body::Decided { previous, next } = &message.body {
            self.enter(now, previous, next, work);
        }
        if message.body == Body::IsActive {
            self.note_entered(from, message);
        }
        self.tell_replica(now, from, message, work);
        self.tell_coordinators(now, from, message, work);
    }

    fn tell_replica(&mut self, now: Moment, from: NodeId, message: &Message, work: &mut Work) {
        let (slot, epoch) = (message.slot, message.epoch);
        let replica = match self.replicas.get_mut(&(slot, epoch)) {
            Some(replica) => replica,
            None if is_question(&message.body) => {
                let mut later = self.replicas.range_mut((slot, epoch)..=(slot, Epoch(u32::MAX)));
                let Some((_, newest)) = later.next_back() else { return };
                newest
            }
            None => return,
        };
        let place = (slot, replica.view().epoch());
        let effects = replica.handle(from, message);
        // A learner that has merged a page asks for the next one at once.
        let goes_on = matches!(message.body, Body::Page(_)) && !effects.persist.is_empty();
        let more = if goes_on { replica.pull() } else { Vec::new() };
        work.send.extend(effects.send);
        work.send.extend(more.into_iter().filter(|ask| ask.to == from));
        let lives =
            |write: &Write| matches!(write, Write::Life(_) | Write::Retire(_) | Write::Vote(_));
        let turns = effects.persist.iter().any(lives);
        let saves = effects.persist.into_iter().map(|write| Save::Write(slot, place.1, write));
        work.persist.extend(saves);
        if turns {
            self.rest(place, now);
        }
    }

    fn tell_coordinators(&mut self, now: Moment, from: NodeId, message: &Message, work: &mut Work) {
        let slot = message.slot;
        match &message.body {
            Body::Reply(replies) => {
                let Some(coordinator) = self.coordinators.get_mut(&slot) else { return };
                // REG-16: also when a majority has ended the operation meanwhile: the member stays without its
                // state, and without the next ones, until a ballot is above what it has promised.
                let is_member = coordinator.view().seat_at(from).is_some();
                for reply in replies.iter().filter(|_| is_member) {
                    if let Reply::Refused { key, promise, .. } = reply {
                        coordinator.met(key, *promise);
                    }
                }
                let steps = coordinator.handle(from, message);
                self.follow(now, steps, work);
            }
            Body::Decreed(_) | Body::Newer(_) => {
                let place = (slot, message.epoch);
                let Some(proposal) = self.proposals.get_mut(&place) else { return };
                let change = proposal.decree.handle(from, message);
                work.send.extend(change.send);
                if let Some(next) = change.decided {
                    self.announce(slot, message.epoch, &next, work);
                }
            }
            Body::Agreed(agreed) => {
                for (key, _) in agreed {
                    let collection = self.collections.get_mut(&(slot, key.clone()));
                    let drops = collection.map(|it| it.collector.handle(from, message));
                    work.send.extend(drops.unwrap_or_default());
                }
            }
            _ => {}
        }
    }

    /// Tells the members of both views that the next one is decided.
    fn announce(&self, slot: Slot, epoch: Epoch, next: &View, work: &mut Work) {
        let Some(replica) = self.replicas.get(&(slot, epoch)) else { return };
        let previous = replica.view();
        let mut told: Vec<NodeId> = Vec::new();
        for member in previous.members().iter().chain(next.members()) {
            if !told.contains(&member.node) {
                told.push(member.node);
                let body = Body::Decided { previous: previous.clone(), next: next.clone() };
                let message = Message { slot, epoch, body };
                work.send.push(Envelope { to: member.node, message });
            }
        }
    }

    /// A node says, in the view before, that it is active.
    fn note_entered(&mut self, from: NodeId, message: &Message) {
        let Some(epoch) = message.epoch.next() else { return };
        let place = (message.slot, epoch);
        let sealed = self.replicas.get(&(message.slot, message.epoch));
        let next = match sealed.map(|replica| &replica.durable().life) {
            Some(Life::Sealed { next } | Life::Retired { next }) => Some(next),
            _ => self.replicas.get(&place).map(Replica::view),
        };
        if let Some(seat) = next.and_then(|next| next.seat_at(from)) {
            self.entered.entry(place).or_default().seats.add(seat);
        }
    }

    /// Which views this replica has to tell of, each with the one before it: the next one, once it is
    /// sealed, and also when it has retired, since a majority is enough for that and the rest may not
    /// have heard; and its own, until it has retired. It does not matter that there are later views:
    /// a majority of this one must be sealed for the next, and who is late may be needed.
    pub(super) fn tells_of(&self, place: (Slot, Epoch)) -> Vec<(View, View)> {
        let Some(replica) = self.replicas.get(&place) else { return Vec::new() };
        let own = replica.view();
        let mut tells = Vec::new();
        let life = &replica.durable().life;
        if let Life::Sealed { next } | Life::Retired { next } = life {
            let mut later =
                self.replicas.range((place.0, next.epoch())..=(place.0, Epoch(u32::MAX)));
            // It is over, as a replica there shows by being retired.
            let is_over =
                |replica: &Replica| matches!(replica.durable().life, Life::Retired { .. });
            if !later.any(|(_, replica)| is_over(replica)) {
                tells.push((own.clone(), next.clone()));
            }
        }
        let previous = self.previous.get(&place);
        if let (Life::Active | Life::Sealed { .. }, Some(previous)) = (life, previous) {
            tells.push((previous.clone(), own.clone()));
        }
        tells
    }

    /// Who of a view has not said that it is active.
    pub(super) fn late(&self, view: &View) -> Vec<NodeId> {
        let entered = self.entered.get(&(view.slot(), view.epoch()));
        let seats = entered.map(|entered| entered.seats).unwrap_or_default();
        view.seats().filter(|(seat, _)| !seats.has(*seat)).map(|(_, member)| member.node).collect()
    }

    /// The next view is decided: begins to learn, if this member is in it.
    fn enter(&mut self, now: Moment, previous: &View, next: &View, work: &mut Work) {
        let place = (next.slot(), next.epoch());
        // REG-13: this incarnation, not merely this node.
        if next.seat_of(self.me).is_none() || self.replicas.contains_key(&place) {
            return;
        }
        if let Ok(learner) = Replica::learner(self.me, next.clone(), previous.clone()) {
            work.persist.push(Save::Replica(learner.durable().clone()));
            work.send.extend(learner.pull());
            self.replicas.insert(place, learner);
            self.previous.insert(place, previous.clone());
            self.rest(place, now);
        }
    }

    /// Hears of a view. If it is the newest, operations are tried there from now on.
    pub(super) fn learn(&mut self, now: Moment, view: &View, work: &mut Work) {
        let slot = view.slot();
        if self.known.get(&slot).is_some_and(|known| known.epoch() >= view.epoch()) {
            return;
        }
        self.known.insert(slot, view.clone());
        self.collections.retain(|(of, _), _| *of != slot);
        let before = self.coordinators.remove(&slot);
        let running = before.map(|old| old.operations().cloned().collect::<Vec<Operation>>());
        // REG-5: a seat of this member, incarnation and all, or no coordinator.
        if let Some(seat) = view.seat_of(self.me) {
            self.coordinators.insert(slot, Coordinator::new(view.clone(), seat, self.boot));
        }
        self.move_on(now, slot, running.unwrap_or_default(), work);
    }

    /// Notes whether a replica has something to do now and then.
    pub(super) fn rest(&mut self, place: (Slot, Epoch), now: Moment) {
        let life = self.replicas.get(&place).map(|replica| &replica.durable().life);
        let is_restless = match life {
            Some(Life::Learner { .. } | Life::Sealed { .. }) => true,
            Some(Life::Active) if self.replicas[&place].durable().vote.accepted.is_some() => true,
            Some(Life::Retired { .. } | Life::Active) => {
                self.tells_of(place).iter().any(|(_, next)| !self.late(next).is_empty())
            }
            None => false,
        };
        if is_restless {
            self.restless.insert(place);
            self.upkeep_at = self.upkeep_at.min(now.plus_ms(self.waits.upkeep_ms));
        } else {
            self.restless.remove(&place);
        }
    }
}

/// The next of what goes to this node itself and need not wait.
fn next_to(me: NodeId, work: &mut Work) -> Option<Message> {
    let is_own = |envelope: &Envelope| envelope.to == me;
    if let Some(at) = work.ask.iter().position(is_own) {
        return Some(work.ask.remove(at).message);
    }
    while let Some(at) = work.send.iter().position(is_own) {
        let Envelope { message, .. } = work.send.remove(at);
        // REG-8: a vote that is not durable yet could be undone by a crash.
        if !matches!(message.body, Body::Reply(_)) {
            return Some(message);
        }
        work.votes.push(message);
    }
    None
}

/// Whether somebody waits for an answer.
fn is_question(body: &Body) -> bool {
    match body {
        Body::Ask(_)
        | Body::Decree(_)
        | Body::Pull { .. }
        | Body::Copy { .. }
        | Body::AreYouActive
        | Body::Collect(_) => true,
        Body::Reply(_)
        | Body::Newer(_)
        | Body::Decreed(_)
        | Body::Decided { .. }
        | Body::Page(_)
        | Body::IsActive
        | Body::Agreed(_)
        // The node's: a host never sees them.
        | Body::Call(_)
        | Body::Called(_)
        | Body::Start(_) => false,
    }
}
