//! Operations under way: here, where this node has a seat; else at a node that has one.
//!
//! Invariants:
//! * NODE-3: a call ends once: with its outcome, with who can run it, or, when the node that ran it does
//!   not answer, with the word that nobody will say;
//! * NODE-8: an operation that was handed to another node, and may have begun there, is handed to no
//!   other; and what other nodes hand here is run once, however often it arrives;
//! * REG-14: whom to ask follows from hints. A wrong one costs time.
//!
//! What it does not do: pass on what another node has handed here: that one is told who can.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use cloakroom_kademlia::{Moment, Peer};
use cloakroom_register::{
    Body, Call, Called, Envelope, Epoch, Forwarded, Incarnation, Message, Operation, OperationId,
    Outcome, Slot, Start, Told, View, Work,
};
use cloakroom_wire::NodeId;

use crate::changes::Purpose;
use crate::doors::Doors;
use crate::effects::{Answer, Effects};
use crate::node::{Node, in_ms, send_parts};
use crate::peers::Peers;
use crate::roster::roster_key;
use crate::rounds::Rounds;

/// After nobody of all that are known could run an operation.
const PAUSE_MS: u64 = 200;

/// So often a node is asked for what only reads.
const MOST_ASKED: u32 = 4;

/// For no peer an operation runs longer.
const MOST_PATIENCE_MS: u32 = 60_000;

/// Operations under way for peers: more are answered that they cannot be run.
const MOST_FOR_PEERS: usize = 4096;

/// All that is under way.
#[derive(Debug)]
pub(crate) struct Calls {
    under_way: BTreeMap<OperationId, UnderWay>,
    pub(crate) peers: Peers,
    doors: Doors,
    /// A peer that has not answered is asked again, or another one is.
    again_ms: u64,
}

/// Who wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client of this node.
    Client,
    /// A start of a peer, by its number. Nobody but the peer may know where it is: it is answered where it
    /// has asked from.
    Peer(Peer, Start, u64),
    /// This node itself.
    Own(Purpose),
}

#[derive(Debug)]
struct UnderWay {
    operation: Operation,
    slot: Slot,
    give_up_at: Moment,
    origins: Vec<Origin>,
    place: Place,
    /// Who could not run it.
    tried: BTreeSet<NodeId>,
    rounds: Rounds,
}

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// With this node's coordinator, which gives it up itself.
    Here,
    /// With a peer, which may have begun it if a start of it was named.
    With { peer: NodeId, number: u64, named: Option<Start>, again_at: Moment, asked: u32 },
    /// With nobody, until then.
    Nowhere(Moment),
}

/// How a call ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With its outcome.
    Ended(Outcome),
    /// It was not begun; these can run it.
    Elsewhere(View),
    /// Nobody will say.
    Lost,
}

impl Calls {
    pub(crate) fn new(again_ms: u64, silent_ms: u64) -> Self {
        Self {
            under_way: BTreeMap::new(),
            peers: Peers::new(silent_ms),
            doors: Doors::default(),
            again_ms,
        }
    }

    /// When something is to be asked again or given up.
    pub(crate) fn due(&self) -> Moment {
        let due = |call: &UnderWay| match call.place {
            Place::Here => Moment::NEVER,
            Place::With { again_at, .. } => again_at.min(call.give_up_at),
            Place::Nowhere(until) => until.min(call.give_up_at),
        };
        self.under_way.values().map(due).min().unwrap_or(Moment::NEVER)
    }

    /// This node's coordinator asks others, for this operation.
    pub(crate) fn round_has_begun(&mut self, id: OperationId) {
        if let Some(call) = self.under_way.get_mut(&id) {
            call.rounds = call.rounds.map(|rounds| rounds + 1);
        }
    }
}

impl UnderWay {
    /// A second attempt of it elsewhere could be a second one of the same operation.
    fn may_have_begun(&self) -> bool {
        let named = matches!(self.place, Place::With { named: Some(_), .. });
        named && self.operation.call != Call::Get
    }
}

impl Node {
    /// An operation is to be run, wherever that can be.
    pub(crate) fn call(
        &mut self,
        now: Moment,
        operation: Operation,
        give_up_at: Moment,
        origin: Origin,
        effects: &mut Effects,
    ) {
        let id = operation.id;
        // NODE-6: the list of members has its own way.
        let is_reserved = operation.key == roster_key() && operation.call != Call::Get;
        if is_reserved && origin == Origin::Client {
            effects.answer.push(Answer::Ended(id, Outcome::Unavailable, Some(0)));
            return;
        }
        // Nobody needs the very newest list: one reading of it at a time, since those who ask for one key at once
        // are in each other's way.
        let is_reading = operation.key == roster_key() && operation.call == Call::Get;
        if is_reading && origin != Origin::Client {
            let same = |other: &&mut UnderWay| {
                (&other.operation.key, &other.operation.call) == (&operation.key, &Call::Get)
            };
            if let Some(reading) = self.calls.under_way.values_mut().find(same) {
                if !reading.origins.contains(&origin) {
                    reading.origins.push(origin);
                }
                return;
            }
        }
        if let Some(under_way) = self.calls.under_way.get_mut(&id) {
            if !under_way.origins.contains(&origin) {
                under_way.origins.push(origin);
            }
            return;
        }
        let slot = self.slot_of(&operation.key);
        let (origins, tried) = ([origin].into(), BTreeSet::new());
        let place = Place::Nowhere(now);
        let rounds = Some(0);
        let under_way = UnderWay { operation, slot, give_up_at, origins, place, tried, rounds };
        self.calls.under_way.insert(id, under_way);
        self.find_place(now, id, effects);
    }

    /// Runs an operation here, or hands it to somebody who has not failed to run it.
    fn find_place(&mut self, now: Moment, id: OperationId, effects: &mut Effects) {
        let Some(call) = self.calls.under_way.get(&id) else { return };
        if call.give_up_at <= now {
            self.give_up(now, id, effects);
            return;
        }
        let slot = call.slot;
        let (view, me) = (self.view_in(slot), self.me());
        let Some(call) = self.calls.under_way.get_mut(&id) else { return };
        if view.seat_of(me).is_some() {
            call.place = Place::Here;
            let (operation, give_up_at) = (call.operation.clone(), call.give_up_at);
            let work = self.host.begin(in_ms(now), slot, [operation], in_ms(give_up_at));
            self.follow(now, work, effects);
            return;
        }
        let tried = call.tried.clone();
        if let Some(peer) = self.whom_to_ask(now, &view, id, &tried) {
            self.hand_over(now, id, peer, effects);
        } else if let Some(call) = self.calls.under_way.get_mut(&id) {
            call.tried.clear();
            call.place = Place::Nowhere(now.plus_ms(PAUSE_MS));
        }
    }

    /// Members of the view in some order, those before the others that stand in the list; then anybody who stands
    /// there, the closest first, and whoever else was named. Who is silent comes last.
    fn whom_to_ask(
        &self,
        now: Moment,
        view: &View,
        id: OperationId,
        tried: &BTreeSet<NodeId>,
    ) -> Option<NodeId> {
        let can_be_asked = |node: &NodeId| {
            *node != self.me().node && !tried.contains(node) && self.contact_of(*node).is_some()
        };
        let length = view.members().len();
        // All ask the same one for the list of members: coordinators of one key are in each other's way.
        let is_list = self.slot_of(&roster_key()) == view.slot();
        let first = if is_list { 0 } else { usize::from(id.0[15]) % length };
        let members = (0..length).map(|at| view.members()[(first + at) % length].node);
        let members: Vec<NodeId> = members.filter(can_be_asked).collect();
        let is_silent = |node: &&NodeId| self.watch.is_asked_last(now, **node);
        // Who has no place in the list has left, unless the list is an old one.
        let roster = &self.changes.known.roster;
        let is_listed = |node: &&NodeId| roster.place(**node).is_some();
        let mut living = members.iter().filter(|node| !is_silent(node));
        if let Some(member) = living.clone().find(is_listed).or(living.next()) {
            return Some(*member);
        }
        let point = self.genesis.point_of(view.slot());
        let mut others: Vec<NodeId> = self.known.nodes().filter(can_be_asked).collect();
        others.sort_by_key(|node| (!is_listed(&node), node.distance(point)));
        let living = others.iter().find(|node| !is_silent(node));
        living.or(members.first()).or(others.first()).copied()
    }

    /// NODE-8: with a number of its own, for a start of the peer; if none is known, to learn which.
    fn hand_over(&mut self, now: Moment, id: OperationId, peer: NodeId, effects: &mut Effects) {
        let Some(call) = self.calls.under_way.get_mut(&id) else { return };
        let (number, named) = self.calls.peers.next(now, peer);
        let again_at = now.plus_ms(self.calls.again_ms);
        let bound = call.operation.bound;
        call.place = Place::With { peer, number, named, again_at, asked: 1 };
        call.rounds = None;
        if !self.ask(now, id, effects) {
            // What no peer would take was not sent, and never will be.
            let outcome = bound.map_or(Outcome::Unavailable, Outcome::Unknown);
            self.end(now, id, &End::Ended(outcome), effects);
        }
    }

    /// Sends the request for what is with a peer, perhaps again; whether it can be sent.
    fn ask(&mut self, now: Moment, id: OperationId, effects: &mut Effects) -> bool {
        let Some(call) = self.calls.under_way.get(&id) else { return true };
        let Place::With { peer, number, named, .. } = call.place else { return true };
        let left_ms = call.give_up_at.since_ms(now);
        let forwarded = Forwarded {
            to: named,
            from: self.host.start_of(),
            number,
            patience_ms: u32::try_from(left_ms).unwrap_or(u32::MAX),
            operation: call.operation.clone(),
        };
        let (slot, epoch) = (call.slot, self.view_in(call.slot).epoch());
        let message = Message { slot, epoch, body: Body::Call(Box::new(forwarded)) };
        if message.encode(&mut Vec::new()).is_err() {
            return false;
        }
        let ask = [Envelope { to: peer, message }].into();
        self.follow(now, Work { ask, ..Work::default() }, effects);
        true
    }

    /// A peer hands an operation here.
    pub(crate) fn asked(
        &mut self,
        now: Moment,
        from: Peer,
        (slot, epoch): (Slot, Epoch),
        asked: &Forwarded,
        effects: &mut Effects,
    ) {
        let Forwarded { to, from: start, number, patience_ms, operation } = asked;
        let own = self.host.start_of();
        let is_get = operation.call == Call::Get;
        if !is_get && *to != Some(own) {
            self.tell(slot, (from, *start, *number), Told::Start(own), effects);
            return;
        }
        // NODE-8: before anything else of it is looked at. A get may be run again.
        if !is_get && !self.calls.doors.admit(from.id, *start, *number) {
            return;
        }
        let view = self.view_in(slot);
        if self.slot_of(&operation.key) != slot || view.seat_of(self.me()).is_none() {
            let view = self.view_in(self.slot_of(&operation.key));
            self.tell(slot, (from, *start, *number), Told::Elsewhere(view), effects);
            return;
        }
        // REG-14: whoever asks by an older view learns of the newer one, which nothing else would ever tell it: those
        // who have a seat in both go on to run what it asks. No call has the number zero.
        if epoch < view.epoch() {
            self.tell(slot, (from, *start, 0), Told::Elsewhere(view), effects);
        }
        if self.calls.under_way.len() >= MOST_FOR_PEERS {
            let bound = operation.bound;
            let told = Told::Ended(bound.map_or(Outcome::Unavailable, Outcome::Unknown));
            self.tell(slot, (from, *start, *number), told, effects);
            return;
        }
        let give_up_at = now.plus_ms((*patience_ms).min(MOST_PATIENCE_MS).into());
        let origin = Origin::Peer(from, *start, *number);
        self.call(now, operation.clone(), give_up_at, origin, effects);
    }

    /// NODE-2: who answers whoever asks whether it lives, and does not ask him, is else taken for what it was on an earlier
    /// disk. The first disk of a founder is what everybody takes it for.
    pub(crate) fn say_which_life(&mut self, from: Peer, start: Start, effects: &mut Effects) {
        if self.me().incarnation != Incarnation(0) && !self.watched().contains(&from.id) {
            let own = self.host.start_of();
            self.tell(Slot(0), (from, start, 0), Told::Start(own), effects);
        }
    }

    fn tell(
        &mut self,
        slot: Slot,
        (peer, to, number): (Peer, Start, u64),
        told: Told,
        effects: &mut Effects,
    ) {
        let epoch = self.view_in(slot).epoch();
        let body = Body::Called(Box::new(Called { to, number, told }));
        let message = Message { slot, epoch, body };
        let mut parts = Vec::new();
        // What no peer would take is not sent: its keys and values are refused where they come in.
        let _ = message.encode(&mut parts);
        send_parts(peer, &parts, &mut effects.first);
    }

    /// A peer tells what became of an operation.
    pub(crate) fn told(&mut self, now: Moment, from: NodeId, told: &Called, effects: &mut Effects) {
        if told.to != self.host.start_of() {
            return;
        }
        match &told.told {
            Told::Elsewhere(view) => {
                let work = self.host.hear_of(in_ms(now), view);
                self.follow(now, work, effects);
            }
            Told::Start(start) => self.watch.lives(now, from, start.incarnation),
            Told::Ended(_) => {}
        }
        let found = self.calls.under_way.iter().find(|(_, call)| {
            matches!(call.place, Place::With { peer, number, .. }
                if peer == from && number == told.number)
        });
        let found = found.map(|(id, call)| (*id, call.place, call.may_have_begun()));
        match (&told.told, found) {
            (Told::Start(start), Some(_)) => self.calls.peers.told(now, from, *start),
            (Told::Start(start), None) => self.calls.peers.heard(now, from, *start),
            // No other start would have said that.
            (_, Some((_, Place::With { named: Some(start), .. }, true))) => {
                self.calls.peers.heard(now, from, start);
            }
            _ => {}
        }
        let Some((id, _, may_have_begun)) = found else { return };
        match &told.told {
            Told::Ended(outcome) => self.end(now, id, &End::Ended(outcome.clone()), effects),
            Told::Elsewhere(_) => {
                let call = self.calls.under_way.get_mut(&id);
                call.expect("found above").tried.insert(from);
                self.find_place(now, id, effects);
            }
            // NODE-8: an earlier start of it may have begun the operation.
            Told::Start(_) if may_have_begun => self.end(now, id, &End::Lost, effects),
            Told::Start(_) => self.hand_over(now, id, from, effects),
        }
    }

    /// It is time to ask again, or to give up.
    pub(crate) fn ask_again(&mut self, now: Moment, effects: &mut Effects) {
        let due: Vec<OperationId> = self
            .calls
            .under_way
            .iter()
            .filter(|(_, call)| match call.place {
                Place::Here => false,
                Place::With { again_at, .. } => again_at.min(call.give_up_at) <= now,
                Place::Nowhere(until) => until.min(call.give_up_at) <= now,
            })
            .map(|(id, _)| *id)
            .collect();
        let again_at = now.plus_ms(self.calls.again_ms);
        for id in due {
            let Some(call) = self.calls.under_way.get_mut(&id) else { continue };
            let may_have_begun = call.may_have_begun();
            let is_get = call.operation.call == Call::Get;
            match &mut call.place {
                _ if call.give_up_at <= now => self.give_up(now, id, effects),
                Place::With { again_at: at, asked, peer, .. }
                    if may_have_begun
                        || is_get && *asked < MOST_ASKED && !self.watch.is_gone(now, *peer) =>
                {
                    // The same request, which is let in at most once. A second node that works on it is in
                    // the way of the first. Of what nobody can have begun another one is asked at once.
                    *at = again_at;
                    *asked += 1;
                    let _ = self.ask(now, id, effects);
                }
                Place::With { peer, .. } => {
                    call.tried.insert(*peer);
                    self.watch.give_up(now, *peer);
                    self.find_place(now, id, effects);
                }
                Place::Here | Place::Nowhere(_) => self.find_place(now, id, effects),
            }
        }
    }

    fn give_up(&mut self, now: Moment, id: OperationId, effects: &mut Effects) {
        let Some(call) = self.calls.under_way.get(&id) else { return };
        let end = match call.operation.bound {
            _ if call.may_have_begun() => End::Lost,
            // REG-8: it was not begun this time, but before, perhaps here while there was a seat.
            Some(bound) => End::Ended(Outcome::Unknown(bound)),
            None => End::Elsewhere(self.view_in(call.slot)),
        };
        self.end(now, id, &end, effects);
    }

    /// An operation has ended here, perhaps only here: never begun, since this node has no seat any more.
    pub(crate) fn ended_here(
        &mut self,
        now: Moment,
        id: OperationId,
        outcome: Outcome,
        effects: &mut Effects,
    ) {
        let Some(call) = self.calls.under_way.get_mut(&id) else { return };
        let view = self.host.newest(call.slot);
        let has_seat = view.is_some_and(|view| view.seat_of(self.host.me()).is_some());
        let has_moved = match outcome {
            // What it was bound to is buried.
            Outcome::Unavailable => {
                call.operation.bound = None;
                true
            }
            // Its coordinator is gone from here; a retry goes on from the version that it is bound to.
            Outcome::Unknown(bound) => {
                call.operation.bound = Some(bound);
                true
            }
            _ => false,
        };
        if !has_moved || has_seat || call.give_up_at <= now {
            self.end(now, id, &End::Ended(outcome), effects);
            return;
        }
        if call.origins.iter().all(|origin| matches!(origin, Origin::Peer(..))) {
            let (slot, is_bound) = (call.slot, call.operation.bound.is_some());
            let end =
                if is_bound { End::Ended(outcome) } else { End::Elsewhere(self.view_in(slot)) };
            self.end(now, id, &end, effects);
            return;
        }
        self.find_place(now, id, effects);
    }

    fn end(&mut self, now: Moment, id: OperationId, end: &End, effects: &mut Effects) {
        let Some(call) = self.calls.under_way.remove(&id) else { return };
        for origin in call.origins {
            match (origin, end) {
                (Origin::Client, End::Ended(outcome)) => {
                    effects.answer.push(Answer::Ended(id, outcome.clone(), call.rounds));
                }
                (Origin::Client, End::Elsewhere(view)) => {
                    effects.answer.push(Answer::Elsewhere(id, view.clone()));
                }
                (Origin::Client, End::Lost) => effects.answer.push(Answer::Lost(id)),
                (Origin::Peer(peer, start, number), End::Ended(outcome)) => {
                    let told = Told::Ended(outcome.clone());
                    self.tell(call.slot, (peer, start, number), told, effects);
                }
                (Origin::Peer(peer, start, number), End::Elsewhere(view)) => {
                    let told = Told::Elsewhere(view.clone());
                    self.tell(call.slot, (peer, start, number), told, effects);
                }
                // It asks until it gives up.
                (Origin::Peer(..), End::Lost) => {}
                (Origin::Own(purpose), end) => self.own_ended(now, purpose, end, effects),
            }
        }
    }
}
