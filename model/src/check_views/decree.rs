//! The decree of one view: real replicas, real proposers, every loss, repetition and order of messages.
//!
//! As in `check_register`, what was asked stays on its way, an answer comes at once or never, and a
//! prepare whose answer nobody awaits is not delivered. When a view is decided, a pull of one of its
//! members may seal any member at any time; from then on that one answers with what it knows.
//!
//! A proposer whose view is over may be led to a replica of the view after, or of the one after that:
//! it answers with its own view, and no proposer may take the second for the first. Members of later
//! views decide among themselves, by other replicas and in messages of other epochs; so one decree
//! stands for each of many.
//!
//! Ghosts: for each ballot, the view and who voted for it. A view is decided when a majority has
//! voted for it under one ballot, whether anybody knows or not.

use std::sync::Arc;

use cloakroom_register::{
    Ballot, Body, Boot, Change, Decree, DecreeAsk, DecreeReply, Epoch, Life, Member, Message,
    Replica, Seat, Slot, View,
};
use cloakroom_specs::register::{self as spec, Objection};

use crate::check_register::{Packet, member, node, order};
use crate::hashed::Hashed;
use crate::search::{Event, Explore, Named, REGISTERS, object};
use crate::seated::Seated;

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For each proposer, by seat: the nodes of its candidate.
    pub candidates: &'static [[u8; 3]],
    /// How many times a proposer may begin a new round of its own accord.
    pub retries: u8,
    /// How many members may crash.
    pub crashes: u8,
}

/// The model.
#[derive(Clone, Debug)]
pub struct CheckDecree {
    bounds: Bounds,
    view: View,
}

/// A state of the whole system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    members: [Seated; 3],
    proposers: Vec<Proposer>,
    asks: Hashed<Vec<Arc<Packet>>>,
    /// By ballot: the view, and a bit for each seat that voted for it.
    votes: Hashed<Vec<(Ballot, View, u8)>>,
    /// What a proposer has come to know.
    known: Option<View>,
    retries: u8,
    crashes: u8,
    objection: Option<Objection>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Proposer {
    decree: Option<Hashed<Decree>>,
    boot: u32,
}

/// One transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A member begins to propose.
    Begin(u8),
    /// An ask is delivered; whether its answer is too.
    Deliver(u8, bool),
    /// A proposer has waited long enough.
    Retry(u8),
    /// A member of the view that is known to be decided pulls from a member.
    Pull(u8),
    /// What a proposer asks strays to a replica of the next view, or of the one after that.
    Stray(u8, u32),
    /// A member crashes and comes back.
    Crash(u8),
}

const EPOCH: Epoch = Epoch(0);

/// The members of a view as plain integers.
pub(super) fn plain(view: &View) -> Vec<(u64, u64)> {
    let plain = |member: &Member| (u64::from(member.node.0[0]), member.incarnation.0);
    view.members().iter().map(plain).collect()
}

impl CheckDecree {
    /// The model within these bounds.
    ///
    /// # Panics
    /// When three members are no view.
    pub fn new(bounds: Bounds) -> Self {
        let members: Vec<_> = (0..3).map(member).collect();
        let view = View::new(Slot(0), EPOCH, &members).expect("three nodes");
        Self { bounds, view }
    }

    fn candidate(&self, seat: u8) -> View {
        let nodes = self.bounds.candidates[usize::from(seat)];
        let members = nodes.map(|node| member(node.into()));
        View::new(Slot(0), Epoch(EPOCH.0 + 1), &members).expect("three nodes")
    }

    fn change(state: &mut State, seat: u8, change: Change) -> Option<Event> {
        for envelope in change.send {
            let packet = Packet::new(seat, envelope);
            if let Err(at) = state.asks.binary_search_by(|other| (**other).cmp(&packet)) {
                state.asks.change(|asks| asks.insert(at, Arc::new(packet)));
            }
        }
        let next = change.decided?;
        // REG-1: what one proposer takes for decided is what all do, and what the votes say.
        if let Some(known) = &state.known {
            let judged = spec::one_successor(EPOCH.0, &plain(known), &plain(&next));
            object(&mut state.objection, judged);
        }
        state.known = Some(next);
        Some(Event::Decided)
    }

    fn deliver(state: &mut State, which: u8, answered: bool) -> Option<Named> {
        let packet = state.asks[usize::from(which)].clone();
        let (from, to) = (packet.from, packet.to);
        let seated = &mut state.members[to];
        let life = seated.replica.durable().life.clone();
        let mut replica = (*seated.replica).clone();
        let effects = replica.handle(node(from.into()), &packet.message);
        let changed = replica != *seated.replica;
        if changed {
            seated.change(replica, &effects.persist);
        }
        let mut event = None;
        let mut heard = false;
        for envelope in effects.send {
            if let Body::Decreed(DecreeReply::Accepted(ballot)) = envelope.message.body {
                let (active, own) = (life == Life::Active, EPOCH.0);
                let judged = spec::may_vote(active, !active, packet.message.epoch.0, own);
                object(&mut state.objection, judged);
                Self::vote(state, to, &packet, ballot);
            }
            let Some(decree) = &state.proposers[usize::from(from)].decree else { continue };
            if !answered {
                continue;
            }
            let mut after = (**decree).clone();
            let change = after.handle(node(to), &envelope.message);
            if after != **decree {
                heard = true;
                state.proposers[usize::from(from)].decree = Some(Hashed::new(after));
                event = Self::change(state, from, change);
            }
        }
        (changed || heard || state.objection.is_some()).then_some(Named(event))
    }

    /// An ask of a proposer strays so many views ahead. Its node is one that has a seat in this view too,
    /// as others are not listened to.
    fn stray(&self, state: &mut State, seat: u8, ahead: u32) -> Option<Named> {
        let next = state.known.clone()?;
        let packet = state.asks.iter().find(|packet| packet.from == seat)?.clone();
        let (previous, view) = if ahead == 1 {
            (self.view.clone(), next)
        } else {
            let after = View::new(Slot(0), Epoch(next.epoch().0 + 1), self.view.members());
            (next, after.expect("three nodes"))
        };
        let stays = |member: &&Member| self.view.seat_of(**member).is_some();
        let me = *view.members().iter().find(stays)?;
        let mut replica = Replica::learner(me, view, previous).expect("a member");
        let decree = state.proposers[usize::from(seat)].decree.as_ref()?;
        let mut after = (**decree).clone();
        let mut event = None;
        for envelope in replica.handle(node(seat.into()), &packet.message).send {
            let change = after.handle(me.node, &envelope.message);
            event = event.or(Self::change(state, seat, change));
        }
        let decree = state.proposers[usize::from(seat)].decree.as_mut()?;
        if after == **decree {
            return None;
        }
        *decree = Hashed::new(after);
        Some(Named(event))
    }

    fn vote(state: &mut State, seat: usize, packet: &Packet, ballot: Ballot) {
        let Body::Decree(DecreeAsk::Accept(_, view)) = &packet.message.body else { return };
        let find = |votes: &Vec<(Ballot, View, u8)>| {
            votes.iter().position(|(other, proposed, _)| *other == ballot && proposed == view)
        };
        let at = find(&state.votes);
        if at.is_some_and(|at| state.votes[at].2 >> seat & 1 == 1) {
            return;
        }
        state.votes.change(|votes| {
            if let Some(at) = at {
                votes[at].2 |= 1 << seat;
            } else {
                votes.push((ballot, view.clone(), 1 << seat));
                votes.sort_unstable();
            }
        });
    }

    fn judge(state: &mut State) {
        let chosen =
            |(_, _, votes): &&(Ballot, View, u8)| votes.count_ones() as usize >= spec::majority(3);
        let mut decided: Vec<_> = state.votes.iter().filter(chosen).map(|(_, v, _)| v).collect();
        decided.extend(&state.known);
        let judged = decided
            .windows(2)
            .try_for_each(|pair| spec::one_successor(EPOCH.0, &plain(pair[0]), &plain(pair[1])));
        let known = state.known.iter().try_for_each(|view| spec::is_view(&plain(view), 3));
        for (seat, seated) in state.members.iter().enumerate() {
            // REG-6: what was voted for is remembered.
            let voted = state.votes.iter().rev().find(|(_, _, votes)| votes >> seat & 1 == 1);
            let told = voted.map_or(0, |(ballot, ..)| order(*ballot));
            let vote = &seated.replica.durable().vote;
            let left = vote.accepted.as_ref().map_or(0, |(ballot, _)| order(*ballot));
            object(&mut state.objection, spec::not_forgotten(told, left));
        }
        object(&mut state.objection, judged.and(known));
    }
}

impl Explore for CheckDecree {
    type State = State;
    type Action = Action;
    type Objection = Objection;
    const PROPERTIES: &'static [(&'static str, u8)] = &REGISTERS;
    const CYCLE: Option<&'static str> =
        Some("a cycle of states, where every step should leave a trace");

    fn start(&self) -> State {
        let seated = |seat| {
            Seated::new(Replica::genesis(member(seat), self.view.clone()).expect("a member"))
        };
        let proposers = self.bounds.candidates.iter();
        State {
            members: [0, 1, 2].map(seated),
            proposers: proposers.map(|_| Proposer { decree: None, boot: 0 }).collect(),
            asks: Hashed::new(Vec::new()),
            votes: Hashed::new(Vec::new()),
            known: None,
            retries: self.bounds.retries,
            crashes: self.bounds.crashes,
            objection: None,
        }
    }

    fn offers(&self, state: &State, actions: &mut Vec<Action>) {
        if state.objection.is_some() {
            return;
        }
        for (seat, proposer) in (0..).zip(&state.proposers) {
            if proposer.decree.is_none() {
                actions.push(Action::Begin(seat));
            } else if state.retries > 0 {
                actions.push(Action::Retry(seat));
            }
        }
        for (which, packet) in (0..).zip(state.asks.iter()) {
            actions.push(Action::Deliver(which, true));
            if matches!(packet.message.body, Body::Decree(DecreeAsk::Accept(..))) {
                actions.push(Action::Deliver(which, false));
            }
        }
        if state.known.is_some() {
            actions.extend((0..3).map(Action::Pull));
            let proposers = 0..u8::try_from(state.proposers.len()).expect("few");
            actions.extend(proposers.flat_map(|seat| [1, 2].map(|by| Action::Stray(seat, by))));
        }
        if state.crashes > 0 {
            actions.extend((0..3).map(Action::Crash));
        }
    }

    fn follow(&self, before: &State, action: Action) -> Option<(State, Option<Event>)> {
        let mut state = before.clone();
        let event = match action {
            Action::Begin(seat) => {
                let boot = Boot(state.proposers[usize::from(seat)].boot);
                let candidate = self.candidate(seat);
                let (decree, change) =
                    Decree::begin(self.view.clone(), Seat(seat), boot, candidate);
                state.proposers[usize::from(seat)].decree = Some(Hashed::new(decree));
                Self::change(&mut state, seat, change)
            }
            Action::Deliver(which, answered) => Self::deliver(&mut state, which, answered)?.0,
            Action::Retry(seat) => {
                let decree = state.proposers[usize::from(seat)].decree.as_mut()?;
                let before = decree.clone();
                let change = decree.change(Decree::retry);
                if *decree == before {
                    return None;
                }
                state.retries -= 1;
                Self::change(&mut state, seat, change).or(Some(Event::Retried))
            }
            Action::Pull(seat) => {
                let next = state.known.clone()?;
                let seated = &mut state.members[usize::from(seat)];
                let mut replica = (*seated.replica).clone();
                let from = next.members()[0].node;
                let body = Body::Pull { next, after: None };
                let message = Message { slot: Slot(0), epoch: EPOCH, body };
                let effects = replica.handle(from, &message);
                if replica == *seated.replica {
                    return None;
                }
                seated.change(replica, &effects.persist);
                Some(Event::Sealed)
            }
            Action::Stray(seat, ahead) => self.stray(&mut state, seat, ahead)?.0,
            Action::Crash(seat) => {
                state.crashes -= 1;
                state.members[usize::from(seat)].crash();
                if let Some(proposer) = state.proposers.get_mut(usize::from(seat)) {
                    proposer.boot += 1;
                    proposer.decree = None;
                }
                Some(Event::Died)
            }
        };
        Self::judge(&mut state);
        Some((state, event))
    }

    fn tell(&self, state: &State, action: Action) -> String {
        match action {
            Action::Begin(seat) => format!("seat {seat} proposes {}", self.candidate(seat)),
            Action::Deliver(which, answered) => {
                let end = if answered { "" } else { ", and its answer is lost" };
                format!("{}{end}", state.asks[usize::from(which)])
            }
            Action::Retry(seat) => format!("seat {seat} tries again"),
            Action::Pull(seat) => format!("seat {seat} is sealed"),
            Action::Stray(seat, ahead) => {
                format!("what seat {seat} asks strays to a view {ahead} ahead")
            }
            Action::Crash(seat) => format!("seat {seat} crashes and comes back"),
        }
    }

    fn objection(&self, state: &State) -> Option<Objection> {
        state.objection
    }
}
