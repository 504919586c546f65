//! Handover with the registers abstracted: real replicas of successive views of one slot.
//!
//! Each view is decided when a majority of the one before is active, whatever its members; a node that
//! is in two views has two replicas. In every view a few accepts of one key are on their way from the
//! beginning, and may reach any replica of their nodes, of whatever view, at any time, or never:
//! coordinators with fresh and stale views alike. Nothing is assumed of who proposed them, so that
//! more can be chosen than any coordinator could bring about.
//!
//! A learner's pull is answered at once or never: a sealed member's page does not change, and to merge
//! a peer's page later is to do everything else earlier, since a learner shows nothing. That a member
//! is active is asked for, not told: a notice that arrives is an ask that is answered.
//!
//! With [`Bounds::symmetric`] no node is in two views, so that the seats of each view may be permuted
//! (`symmetry.rs`); any accept may stray to any replica; and each replica crashes by
//! itself. That stands for nodes in several views as well, as far as the bound allows: their replicas
//! share no memory, and to crash together is to crash one after the other.
//!
//! Judges REG-2 to REG-4, REG-6, REG-12 and REG-13 in every state. One key stands for all: no step
//! looks at two. Not here: snapshots of several pages (unit tests).

use std::hash::{Hash, Hasher};

use cloakroom_register::{
    Accepted, Ask, Ballot, Body, Boot, Durable, Effects, Envelope, Epoch, Key, Life, Message,
    OperationId, Replica, Reply, Seat, Slot, State as Held, Value, Version, View, Write,
};
use cloakroom_specs::register::{self as spec, Objection};

use super::decree::plain;
use super::symmetry::canonical;
use crate::check_register::{member, node, order};
use crate::search::{Event, Explore, Named, REGISTERS, object};
use crate::seated::Seated;

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The nodes of each view.
    pub views: &'static [[u8; 3]],
    /// How many accepts, of ascending ballots, are on their way in each view.
    pub accepts: &'static [u32],
    /// How many nodes may crash; or replicas, where symmetric.
    pub crashes: u8,
    /// Whether states that differ only in who sits where are one. Then no node is in two views.
    pub symmetric: bool,
    /// How many members of each later view, by seat, ever learn that they are. The others are as good as
    /// down, or just late.
    pub learn: u8,
}

/// The model.
#[derive(Clone, Debug)]
pub struct CheckHandover {
    bounds: Bounds,
    views: Vec<View>,
    key: Key,
}

/// A state of the whole system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// By epoch and seat.
    members: Vec<[Option<Seated>; 3]>,
    /// By epoch and accept: a bit for each seat that voted for it.
    votes: Vec<Vec<u8>>,
    crashes: u8,
    objection: Option<Objection>,
    /// Where symmetric: the same for all states that are one.
    canonical: Option<Vec<u64>>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match &self.canonical {
            Some(words) => words.hash(hasher),
            None => (&self.members, &self.votes).hash(hasher),
        }
        (self.crashes, self.objection).hash(hasher);
    }
}

/// One transition. A replica is named by epoch and seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A node learns that it is a member of a view.
    Appoint(u8, u8),
    /// An accept, by epoch and number, reaches a node's replica.
    Accept(u8, u8, u8, u8),
    /// A learner asks one of those that it wants to ask; whether the answer arrives.
    Pull(u8, u8, u8, bool),
    /// A sealed member asks a member of the next view whether it is active.
    AskActive(u8, u8, u8),
    /// A node crashes and comes back.
    Crash(u8),
    /// A replica does, alone.
    CrashOne(u8, u8),
}

fn at(number: u8) -> usize {
    usize::from(number)
}

fn is_sealed(life: &Life) -> bool {
    matches!(life, Life::Sealed { .. } | Life::Retired { .. })
}

fn was_active(life: &Life) -> bool {
    !matches!(life, Life::Learner { .. })
}

impl CheckHandover {
    /// The model within these bounds.
    ///
    /// # Panics
    /// When the bounds have no views, or are symmetric with a node in two or one that never learns.
    pub fn new(bounds: Bounds) -> Self {
        let nodes = || bounds.views.iter().flatten();
        let twice = nodes().any(|node| nodes().filter(|other| *other == node).count() > 1);
        assert!(!(bounds.symmetric && twice), "the seats of a node in two views are not alike");
        assert!(
            !bounds.symmetric || bounds.learn == 3,
            "nor are those of who learns and who does not"
        );
        let view = |(epoch, nodes): (u32, &[u8; 3])| {
            let members = nodes.map(|node| member(node.into()));
            View::new(Slot(0), Epoch(epoch), &members).expect("three nodes")
        };
        let views = (0..).zip(bounds.views).map(view).collect();
        Self { bounds, views, key: Key::from(&b"k"[..]) }
    }

    fn ballot(epoch: u8, number: u8) -> Ballot {
        let seat = Seat(number % 3);
        Ballot { epoch: Epoch(epoch.into()), round: u32::from(number) + 1, seat, boot: Boot(0) }
    }

    /// An accept, as its coordinator sends it.
    fn accept(&self, epoch: u8, number: u8) -> (usize, Message) {
        let ballot = Self::ballot(epoch, number);
        let (version, operation) = (Version(u64::from(number) + 1), OperationId([number; 16]));
        let content = Some(Value::from(&[epoch, number][..]));
        let state = Held { version, content, operation };
        let ask = Ask::Accept { key: self.key.clone(), ballot, state, next: None };
        let message =
            Message { slot: Slot(0), epoch: Epoch(epoch.into()), body: Body::Ask(vec![ask]) };
        let from = at(self.bounds.views[at(epoch)][at(ballot.seat.0)]);
        (from, message)
    }

    /// Whether a majority of a view is, or was, active.
    fn is_active(state: &State, epoch: usize) -> bool {
        let active = state.members[epoch].iter().flatten();
        let active = active.filter(|seated| was_active(&seated.disk().life)).count();
        active >= spec::majority(3)
    }

    /// A replica takes a message; what it sends.
    fn handle(
        state: &mut State,
        (epoch, seat): (usize, usize),
        from: usize,
        message: &Message,
    ) -> Option<(Vec<Envelope>, bool)> {
        let seated = state.members[epoch][seat].as_mut()?;
        let mut replica = (*seated.replica).clone();
        let Effects { persist, send } = replica.handle(node(from), message);
        let changed = replica != *seated.replica;
        if changed {
            let retires = persist.iter().any(|write| matches!(write, Write::Retire(_)));
            seated.change(replica, &persist);
            if retires {
                let next = state.members[epoch + 1].iter().flatten();
                let active = next.filter(|other| was_active(&other.disk().life)).count();
                object(&mut state.objection, spec::may_retire(active, 3));
            }
        }
        Some((send, changed))
    }

    fn deliver_accept(
        &self,
        state: &mut State,
        (epoch, number): (u8, u8),
        (to_epoch, seat): (u8, u8),
    ) -> Option<Named> {
        let (from, message) = self.accept(epoch, number);
        let life = |state: &State| {
            let seated = state.members[at(to_epoch)][at(seat)].as_ref();
            seated.map(|seated| seated.replica.durable().life.clone())
        };
        let before = life(state)?;
        let (send, changed) = Self::handle(state, (at(to_epoch), at(seat)), from, &message)?;
        let mut voted = false;
        for envelope in send {
            let Body::Reply(replies) = &envelope.message.body else { continue };
            for reply in replies {
                if matches!(reply, Reply::Accepted { .. }) {
                    let (active, sealed) = (was_active(&before), is_sealed(&before));
                    let own = u32::from(to_epoch);
                    let judged = spec::may_vote(active, sealed, u32::from(epoch), own);
                    object(&mut state.objection, judged);
                    let cast = &mut state.votes[at(epoch)][at(number)];
                    // Its seat in the view of the message.
                    voted |= *cast >> seat & 1 == 0;
                    *cast |= 1 << seat;
                }
            }
        }
        (changed || voted).then_some(Named(voted.then_some(Event::Voted)))
    }

    fn pull(
        &self,
        state: &mut State,
        (epoch, seat): (u8, u8),
        which: u8,
        answered: bool,
    ) -> Option<Named> {
        let learner = state.members[at(epoch)][at(seat)].as_ref()?;
        let me = at(self.bounds.views[at(epoch)][at(seat)]);
        let asked = learner.replica.pull();
        let Envelope { to, message } = asked.get(at(which))?;
        let of = usize::try_from(message.epoch.0).expect("small");
        let source = (0..3).find(|&seat| node(at(self.bounds.views[of][seat])) == *to)?;
        let source_node = at(self.bounds.views[of][source]);
        let (send, sealed) = Self::handle(state, (of, source), me, message)?;
        let mut merged = false;
        for envelope in send.iter().filter(|_| answered) {
            let to = (at(epoch), at(seat));
            let (_, changed) = Self::handle(state, to, source_node, &envelope.message)?;
            merged |= changed;
        }
        let learner = state.members[at(epoch)][at(seat)].as_ref()?;
        let event = match (merged, sealed) {
            (true, _) if learner.replica.durable().life == Life::Active => Some(Event::Activated),
            (_, true) => Some(Event::Sealed),
            _ => None,
        };
        (sealed || merged).then_some(Named(event))
    }

    fn ask_active(&self, state: &mut State, (epoch, seat): (u8, u8), which: u8) -> Option<Named> {
        let sealed = state.members[at(epoch)][at(seat)].as_ref()?;
        let me = at(self.bounds.views[at(epoch)][at(seat)]);
        let asked = sealed.replica.ask_active();
        let Envelope { message, .. } = asked.get(at(which))?;
        let next = (at(epoch) + 1, at(which));
        let (send, _) = Self::handle(state, next, me, message)?;
        let from = at(self.bounds.views[next.0][next.1]);
        let mut changed = false;
        for envelope in send {
            let me = (at(epoch), at(seat));
            changed |= Self::handle(state, me, from, &envelope.message)?.1;
        }
        let sealed = state.members[at(epoch)][at(seat)].as_ref()?;
        let retired = matches!(sealed.replica.durable().life, Life::Retired { .. });
        changed.then_some(Named(retired.then_some(Event::Retired)))
    }

    /// Writes down who is who no matter where they sit.
    fn seat(&self, state: &mut State) {
        if self.bounds.symmetric {
            state.canonical = Some(canonical(&state.members, &state.votes).0);
        }
    }

    /// What must hold in every state.
    fn judge(&self, state: &mut State) {
        let mut chosen = 0;
        for (epoch, members) in state.members.iter().enumerate() {
            for (seat, seated) in members.iter().enumerate() {
                let Some(seated) = seated else { continue };
                let judged = self.judge_one(state, (epoch, seat), seated, chosen);
                object(&mut state.objection, judged);
                if state.objection.is_some() {
                    return;
                }
            }
            for (number, votes) in (0..).zip(&state.votes[epoch]) {
                if votes.count_ones() as usize >= spec::majority(3) {
                    let epoch = u8::try_from(epoch).expect("few");
                    chosen = chosen.max(order(Self::ballot(epoch, number)));
                }
            }
        }
    }

    fn judge_one(
        &self,
        state: &State,
        (epoch, seat): (usize, usize),
        seated: &Seated,
        chosen: u128,
    ) -> Result<(), Objection> {
        let durable: &Durable = seated.replica.durable();
        let accepted = durable.record(&self.key).accepted;
        let holds = accepted.as_ref().map_or(0, |accepted: &Accepted| order(accepted.ballot));
        if was_active(&durable.life) && epoch > 0 {
            let before = state.members[epoch - 1].iter().flatten();
            let count = before.filter(|other| is_sealed(&other.disk().life)).count();
            spec::sealed_before_active(count, 3)?;
        }
        let retired = matches!(durable.life, Life::Retired { .. });
        if retired {
            return Ok(());
        }
        if was_active(&durable.life) {
            spec::not_behind(holds, chosen)?;
        }
        let voted =
            (0..).zip(&state.votes[epoch]).filter(|(_, votes)| *votes >> seat & 1 == 1).last();
        let epoch = u8::try_from(epoch).expect("few");
        let told = voted.map_or(0, |(number, _)| order(Self::ballot(epoch, number)));
        spec::not_forgotten(told, holds)
    }
}

impl Explore for CheckHandover {
    type State = State;
    type Action = Action;
    type Objection = Objection;
    const PROPERTIES: &'static [(&'static str, u8)] = &REGISTERS;
    const CYCLE: Option<&'static str> =
        Some("a cycle of states, where every step should leave a trace");

    fn start(&self) -> State {
        let first = &self.views[0];
        let genesis = |seat: usize| {
            let me = first.members()[seat];
            Some(Seated::new(Replica::genesis(me, first.clone()).expect("a member")))
        };
        let mut members = vec![[const { None }; 3]; self.views.len()];
        members[0] = [0, 1, 2].map(genesis);
        let judged = self.views.iter().try_for_each(|view| spec::is_view(&plain(view), 3));
        let votes = self.bounds.accepts.iter().map(|&accepts| vec![0; accepts as usize]);
        let mut state = State {
            members,
            votes: votes.collect(),
            crashes: self.bounds.crashes,
            objection: judged.err(),
            canonical: None,
        };
        self.seat(&mut state);
        state
    }

    fn offers(&self, state: &State, actions: &mut Vec<Action>) {
        if state.objection.is_some() {
            return;
        }
        for (epoch, members) in (0..).zip(&state.members) {
            for (seat, seated) in (0..).zip(members) {
                let Some(seated) = seated else {
                    if seat < self.bounds.learn && Self::is_active(state, at(epoch) - 1) {
                        actions.push(Action::Appoint(epoch, seat));
                    }
                    continue;
                };
                let pulls = u8::try_from(seated.replica.pull().len()).expect("few");
                for which in 0..pulls {
                    actions.extend([true, false].map(|a| Action::Pull(epoch, seat, which, a)));
                }
                let asks = u8::try_from(seated.replica.ask_active().len()).expect("few");
                actions.extend((0..asks).map(|which| Action::AskActive(epoch, seat, which)));
                let node = self.bounds.views[at(epoch)][at(seat)];
                for (other, accepts) in (0..).zip(self.bounds.accepts) {
                    // To this replica, if its node is a member of the accept's view, or by mistake.
                    if self.bounds.symmetric || self.bounds.views[at(other)].contains(&node) {
                        let accepts = 0..u8::try_from(*accepts).expect("few");
                        actions.extend(accepts.map(|n| Action::Accept(other, n, epoch, seat)));
                    }
                }
            }
        }
        if state.crashes > 0 && self.bounds.symmetric {
            for (epoch, members) in (0..).zip(&state.members) {
                let seats = (0..).zip(members).filter(|(_, seated)| seated.is_some());
                actions.extend(seats.map(|(seat, _)| Action::CrashOne(epoch, seat)));
            }
        } else if state.crashes > 0 {
            let mut nodes: Vec<u8> = self.bounds.views.iter().flatten().copied().collect();
            nodes.sort_unstable();
            nodes.dedup();
            actions.extend(nodes.into_iter().map(Action::Crash));
        }
    }

    fn follow(&self, before: &State, action: Action) -> Option<(State, Option<Event>)> {
        let mut state = before.clone();
        let event = match action {
            Action::Appoint(epoch, seat) => {
                let (view, previous) = (&self.views[at(epoch)], &self.views[at(epoch) - 1]);
                let me = view.members()[at(seat)];
                let learner = Replica::learner(me, view.clone(), previous.clone());
                state.members[at(epoch)][at(seat)] = Some(Seated::new(learner.expect("a member")));
                None
            }
            Action::Accept(epoch, number, to, seat) => {
                self.deliver_accept(&mut state, (epoch, number), (to, seat))?.0
            }
            Action::Pull(epoch, seat, which, answered) => {
                self.pull(&mut state, (epoch, seat), which, answered)?.0
            }
            Action::AskActive(epoch, seat, which) => {
                self.ask_active(&mut state, (epoch, seat), which)?.0
            }
            Action::Crash(crashed) => {
                for (members, nodes) in state.members.iter_mut().zip(self.bounds.views) {
                    for (seated, node) in members.iter_mut().zip(nodes) {
                        if let Some(seated) = seated.as_mut().filter(|_| *node == crashed) {
                            seated.crash();
                        }
                    }
                }
                if state == *before {
                    return None;
                }
                state.crashes -= 1;
                Some(Event::Died)
            }
            Action::CrashOne(epoch, seat) => {
                state.members[at(epoch)][at(seat)].as_mut()?.crash();
                if state == *before {
                    return None;
                }
                state.crashes -= 1;
                Some(Event::Died)
            }
        };
        self.judge(&mut state);
        self.seat(&mut state);
        Some((state, event))
    }

    fn tell(&self, _state: &State, action: Action) -> String {
        let name = |epoch: u8, seat: u8| {
            format!("node {} of view {epoch}", self.bounds.views[at(epoch)][at(seat)])
        };
        match action {
            Action::Appoint(epoch, seat) => format!("{} learns of it", name(epoch, seat)),
            Action::Accept(epoch, number, to, seat) => {
                let ballot = Self::ballot(epoch, number);
                format!("accept {ballot} reaches {}", name(to, seat))
            }
            Action::Pull(epoch, seat, which, answered) => {
                let end = if answered { "" } else { ", in vain" };
                format!("{} pulls, {which}{end}", name(epoch, seat))
            }
            Action::AskActive(epoch, seat, which) => {
                format!("{} asks seat {which} whether it is active", name(epoch, seat))
            }
            Action::Crash(node) => format!("node {node} crashes and comes back"),
            Action::CrashOne(epoch, seat) => {
                format!("{} crashes and comes back", name(epoch, seat))
            }
        }
    }

    fn objection(&self, state: &State) -> Option<Objection> {
        state.objection
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::symmetry::seated;
    use super::*;

    const TWO: Bounds = Bounds {
        views: &[[0, 1, 2], [3, 4, 5]],
        accepts: &[1, 0],
        crashes: 0,
        symmetric: true,
        learn: 3,
    };

    /// Visits all states that `told` tells apart; what it says of each.
    fn visit<T>(bounds: Bounds, told: impl Fn(&State) -> (Vec<u64>, T)) -> Vec<T> {
        let model = CheckHandover::new(bounds);
        let (mut seen, mut all) = (HashSet::new(), Vec::new());
        let (mut waiting, mut actions) = (vec![model.start()], Vec::new());
        while let Some(state) = waiting.pop() {
            let (words, more) = told(&state);
            if !seen.insert(words) {
                continue;
            }
            all.push(more);
            assert_eq!(state.objection, None);
            model.offers(&state, &mut actions);
            let follows = actions.drain(..).filter_map(|action| model.follow(&state, action));
            waiting.extend(follows.map(|(next, _)| next));
        }
        all
    }

    #[test]
    fn the_seatings_of_all_states_are_the_states_without_symmetry() {
        let apart = visit(Bounds { symmetric: false, ..TWO }, |state| {
            (seated(&state.members, &state.votes), ())
        });
        let alike = visit(TWO, |state| canonical(&state.members, &state.votes));
        assert_eq!(alike.iter().sum::<usize>(), apart.len());
        assert!(alike.len() < apart.len() / 20, "{} of {}", alike.len(), apart.len());
    }
}
