//! `check_register`: the real replicas and coordinators of one view, one key, every loss, repetition
//! and order of messages, crashes included.
//!
//! Three members, coordinators in some of the seats, a script of calls for each. What has been asked
//! stays on its way for ever: an ask is delivered at any time, any number of times, or never. Its
//! answer arrives at once or never. That is no loss of generality: an answer changes its coordinator
//! alone, what that sends may come at any time, and to hear an answer later is to have the other
//! answers first, whose asks may be delivered first too. (An answer that comes after its round is
//! over is dropped by the first line of `Coordinator::count`; a test there holds that.)
//!
//! Two more things are left out because they only take away what could be chosen: a read or prepare
//! is not delivered when its coordinator no longer waits for the answer, and its answer is not lost.
//! To refuse an accept for the sake of a promise that nobody counts is not to deliver the accept; and
//! until then the same answer can be had again. (What is lost by it: rounds that jump over a promise
//! of which only a refusal tells.)
//!
//! A crash takes a member back to what was persisted, and its coordinator with it; the client of a
//! lost coordinator never learns more. A crash between persisting and sending is a lost answer and
//! then a crash; a crash before persisting is a lost ask and then a crash.
//!
//! Judges REG-3 and REG-5 to REG-10 in every state. REG-4 is assumed of where it begins: bounds may
//! begin with records that were copied from an earlier view, in any way that REG-4 allows. Why the
//! parts make the whole is in `specs/register.md`.
//!
//! Ghosts: which ballot each proposal was made from, who voted for it, what each member has told, the
//! place of what was answered, the operations that definitely failed.

mod bounds;
mod collection;
mod ghosts;
mod packet;
mod script;

use std::sync::Arc;

use cloakroom_register::{
    Ask, Ballot, Body, Boot, Collector, Coordinator, Envelope, Epoch, Key, Operation, OperationId,
    Outcome, Reply, Seat, Slot, Steps, View,
};
use cloakroom_specs::register::Objection;

use crate::hashed::Hashed;
use crate::search::{Event, Explore, Named, REGISTERS, object};
use crate::seated::Seated;

use bounds::number;
pub use bounds::{Begin, Bounds, Do};
use ghosts::{Ghosts, plain};

pub(crate) use ghosts::order;
pub(crate) use packet::{Packet, member, node};

/// The seat that collects.
const COLLECTOR: u8 = 2;

/// The model.
#[derive(Clone, Debug)]
pub struct CheckRegister {
    bounds: Bounds,
    view: View,
    key: Key,
}

/// A state of the whole system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    members: [Seated; 3],
    clients: Vec<Client>,
    /// What was asked, in the order of packets.
    asks: Hashed<Vec<Arc<Packet>>>,
    /// An operation that was given up, and may be taken up by the coordinator of this seat.
    given_up: Option<(u8, Hashed<Current>)>,
    retries: u8,
    crashes: u8,
    handed: u8,
    collections: u8,
    collector: Option<Hashed<Collector>>,
    ghosts: Hashed<Ghosts>,
    objection: Option<Objection>,
}

/// A coordinator with its client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Client {
    coordinator: Hashed<Coordinator>,
    boot: u32,
    /// How many calls of its script it has begun.
    begun: u8,
    current: Option<Hashed<Current>>,
}

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Current {
    operation: Operation,
    number: u64,
    /// Its place must not be below this.
    least: u64,
}

/// One transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The client of this seat begins its next call.
    Begin(u8),
    /// An ask is delivered; whether its answer is too.
    Deliver(u8, bool),
    /// A coordinator has waited long enough.
    Retry(u8),
    /// A client gives its call up, to try it through another coordinator.
    GiveUp(u8),
    /// A coordinator begins what another's client gave up.
    TakeUp,
    /// A member crashes and comes back.
    Crash(u8),
    /// A collection begins.
    Collect,
}

/// The view in which all of it happens.
pub const EPOCH: Epoch = Epoch(1);

impl CheckRegister {
    /// The model within these bounds.
    ///
    /// # Panics
    /// When three members are no view.
    pub fn new(bounds: Bounds) -> Self {
        let members: Vec<_> = (0..3).map(member).collect();
        let view = View::new(Slot(0), EPOCH, &members).expect("three nodes");
        Self { bounds, view, key: Key::from(&b"k"[..]) }
    }

    fn begin(&self, state: &mut State, seat: u8) -> Option<Event> {
        let client = &mut state.clients[usize::from(seat)];
        let number = number(seat.into(), client.begun.into());
        client.begun += 1;
        let least = state.ghosts.line.begin();
        let current = Current { operation: self.operation(number), number, least };
        self.run(state, seat, Hashed::new(current))
    }

    fn run(&self, state: &mut State, seat: u8, current: Hashed<Current>) -> Option<Event> {
        let client = &mut state.clients[usize::from(seat)];
        let operation = current.operation.clone();
        let steps = client.coordinator.change(|coordinator| coordinator.begin([operation]));
        client.current = Some(current);
        self.steps(state, seat, steps)
    }

    /// What a coordinator has done.
    fn steps(&self, state: &mut State, seat: u8, steps: Steps) -> Option<Event> {
        for envelope in steps.send {
            let Body::Ask(asks) = &envelope.message.body else { unreachable!("it only asks") };
            for ask in asks {
                if let Ask::Accept { ballot, state: proposed, next, .. } = ask {
                    let ghosts = &mut state.ghosts;
                    ghosts.change(|ghosts| ghosts.propose(seat, *ballot, plain(proposed), *next));
                }
            }
            Self::send(state, seat, envelope);
        }
        let mut event = None;
        for (id, outcome) in steps.ended {
            event = Some(self.ended(state, seat, id, &outcome));
        }
        event
    }

    fn send(state: &mut State, seat: u8, envelope: Envelope) {
        let packet = Packet::new(seat, envelope);
        if let Err(at) = state.asks.binary_search_by(|other| (**other).cmp(&packet)) {
            state.asks.change(|asks| asks.insert(at, Arc::new(packet)));
        }
    }

    fn ended(&self, state: &mut State, seat: u8, id: OperationId, outcome: &Outcome) -> Event {
        let current = state.clients[usize::from(seat)].current.take();
        let current = current.expect("an operation that was begun");
        assert_eq!(current.operation.id, id, "one at a time");
        let (expected, _, _) = self.call(current.number);
        let ended =
            |ghosts: &mut Ghosts| ghosts.ended(current.number, current.least, expected, outcome);
        let (judged, event) = state.ghosts.change(ended);
        object(&mut state.objection, judged);
        event
    }

    /// An ask is delivered; `None` when nothing changes.
    fn deliver(&self, state: &mut State, which: u8, answered: bool) -> Option<Named> {
        let packet = state.asks[usize::from(which)].clone();
        let to = packet.to;
        let seated = &mut state.members[to];
        let mut replica = (*seated.replica).clone();
        let effects = replica.handle(node(packet.from.into()), &packet.message);
        let changed = replica != *seated.replica;
        if changed {
            seated.change(replica, &effects.persist);
        }
        if packet.is_collection() {
            return self.collect(state, &packet, &effects, changed, answered);
        }
        let replies = effects.send.into_iter().filter_map(|envelope| match envelope.message.body {
            Body::Reply(_) => Some(envelope.message),
            _ => None,
        });
        let replies: Vec<_> = replies.collect();
        let mut objects = false;
        let votes = state.ghosts.votes();
        for reply in &replies {
            let Body::Reply(replies) = &reply.body else { unreachable!("filtered") };
            for reply in replies.iter().filter(|reply| told(reply) != (None, None)) {
                let judged = state.ghosts.change(|ghosts| ghosts.tell(to, reply, &packet));
                objects |= judged.is_err();
                object(&mut state.objection, judged);
            }
        }
        if state.ghosts.votes() != votes {
            let judged = state.ghosts.judge(|number| {
                let (expected, new, _) = self.call(number);
                Some((expected, new))
            });
            object(&mut state.objection, judged);
        }
        let seat = packet.from;
        let client = &state.clients[usize::from(seat)];
        let before = client.coordinator.clone();
        let mut event = None;
        if answered {
            for reply in replies {
                let mut coordinator = (*state.clients[usize::from(seat)].coordinator).clone();
                let steps = coordinator.handle(node(to), &reply);
                if coordinator == *before {
                    continue;
                }
                state.ghosts.change(|ghosts| ghosts.hear(seat, &reply));
                state.clients[usize::from(seat)].coordinator = Hashed::new(coordinator);
                event = self.steps(state, seat, steps);
            }
        }
        let heard = state.clients[usize::from(seat)].coordinator != before;
        (changed || objects || heard).then_some(Named(event))
    }

    fn crash(&self, state: &mut State, seat: u8) {
        state.members[usize::from(seat)].crash();
        if seat == COLLECTOR {
            state.collector = None;
        }
        if let Some(client) = state.clients.get_mut(usize::from(seat)) {
            client.boot += 1;
            let boot = Boot(client.boot);
            let new = Coordinator::new(self.view.clone(), Seat(seat), boot);
            client.coordinator = Hashed::new(new);
            client.current = None;
            state.ghosts.change(|ghosts| ghosts.forget(seat));
        }
    }

    fn act(&self, state: &mut State, action: Action) -> Option<Named> {
        let event = match action {
            Action::Begin(seat) => self.begin(state, seat),
            Action::Deliver(which, answered) => return self.deliver(state, which, answered),
            Action::Retry(seat) => {
                state.retries -= 1;
                let client = &mut state.clients[usize::from(seat)];
                let id = client.current.as_ref().expect("offered only then").operation.id;
                let steps = client.coordinator.change(|coordinator| coordinator.retry(id));
                self.steps(state, seat, steps).or(Some(Event::Retried))
            }
            Action::GiveUp(seat) => {
                state.handed -= 1;
                let client = &mut state.clients[usize::from(seat)];
                let mut current = client.current.take().expect("offered only then");
                let id = current.operation.id;
                let outcome = client.coordinator.change(|coordinator| coordinator.give_up(id));
                let outcome = outcome.expect("under way");
                if let Outcome::Unknown(bound) = outcome {
                    current.change(|current| current.operation.bound = Some(bound));
                    let to = (seat + 1) % u8::try_from(state.clients.len()).expect("few");
                    state.given_up = Some((to, current));
                    return Some(Named(Some(Event::Unknown)));
                }
                let (expected, _, _) = self.call(current.number);
                let (judged, event) = state.ghosts.change(|ghosts| {
                    ghosts.ended(current.number, current.least, expected, &outcome)
                });
                object(&mut state.objection, judged);
                Some(event)
            }
            Action::TakeUp => {
                let (seat, current) = state.given_up.take().expect("offered only then");
                self.run(state, seat, current)
            }
            Action::Crash(seat) => {
                state.crashes -= 1;
                self.crash(state, seat);
                Some(Event::Died)
            }
            Action::Collect => {
                state.collections -= 1;
                let record =
                    state.members[usize::from(COLLECTOR)].replica.durable().record(&self.key);
                let accepted = record.accepted?;
                let begun = Collector::begin(self.view.clone(), self.key.clone(), &accepted);
                let (collector, send) = begun?;
                state.collector = Some(Hashed::new(collector));
                for envelope in send {
                    Self::send(state, COLLECTOR, envelope);
                }
                None
            }
        };
        Some(Named(event))
    }

    /// What must hold in every state.
    fn judge(&self, state: &mut State) {
        for (seat, seated) in state.members.iter().enumerate() {
            let durable = seated.replica.durable();
            let record = durable.records.get(&self.key);
            let accepted = record.and_then(|record| record.accepted.as_ref());
            let accepted = accepted.map(|accepted| accepted.ballot);
            let floor = durable.floor.ballot;
            let promise = record.map_or(floor, |record| record.promise);
            let promise = if accepted.is_none() { promise.max(floor) } else { promise };
            // What was dropped is in the floor.
            let accepted = accepted.or(Some(floor));
            let judged = state.ghosts.remembers(seat, promise, accepted);
            object(&mut state.objection, judged);
        }
    }
}

impl Explore for CheckRegister {
    type State = State;
    type Action = Action;
    type Objection = Objection;
    const PROPERTIES: &'static [(&'static str, u8)] = &REGISTERS;
    const CYCLE: Option<&'static str> =
        Some("a cycle of states, where every step should leave a trace");

    fn start(&self) -> State {
        let client = |seat| Client {
            coordinator: Hashed::new(Coordinator::new(self.view.clone(), Seat(seat), Boot(0))),
            boot: 0,
            begun: 0,
            current: None,
        };
        let seats = u8::try_from(self.bounds.scripts.len()).expect("few");
        let chosen = self.first_is_chosen();
        let mut ghosts = Ghosts::new(usize::from(seats));
        for which in [0, 1] {
            if (0..3).any(|seat| self.begins_with(seat) == Some(which)) || chosen && which == 0 {
                let copied = self.copied(which);
                ghosts.earlier(copied.ballot, plain(&copied.state), chosen && which == 0);
            }
        }
        State {
            members: [0, 1, 2].map(|seat| self.seated(seat)),
            clients: (0..seats).map(client).collect(),
            asks: Hashed::new(Vec::new()),
            given_up: None,
            retries: self.bounds.retries,
            crashes: self.bounds.crashes,
            handed: self.bounds.handed,
            collections: self.bounds.collections,
            collector: None,
            ghosts: Hashed::new(ghosts),
            objection: None,
        }
    }

    fn offers(&self, state: &State, actions: &mut Vec<Action>) {
        if state.objection.is_some() {
            return;
        }
        for (seat, client) in (0..).zip(&state.clients) {
            let script = self.bounds.scripts[usize::from(seat)];
            if client.current.is_some() {
                if state.retries > 0 {
                    actions.push(Action::Retry(seat));
                }
                if state.handed > 0 {
                    actions.push(Action::GiveUp(seat));
                }
            } else {
                if usize::from(client.begun) < script.len() {
                    actions.push(Action::Begin(seat));
                }
                if state.given_up.as_ref().is_some_and(|(to, _)| *to == seat) {
                    actions.push(Action::TakeUp);
                }
            }
        }
        if state.collections > 0 {
            actions.push(Action::Collect);
        }
        for (which, packet) in (0..).zip(state.asks.iter()) {
            if packet.is_collection() {
                actions.push(Action::Deliver(which, true));
                continue;
            }
            let coordinator = &state.clients[usize::from(packet.from)].coordinator;
            if coordinator.awaits(packet.ballot()) {
                actions.push(Action::Deliver(which, true));
            }
            if packet.accepts().is_some() {
                actions.push(Action::Deliver(which, false));
            }
        }
        if state.crashes > 0 {
            let loses = |seat: &u8| {
                let seat = usize::from(*seat);
                seat < state.clients.len()
                    || state.members[seat].disk.is_some()
                    || state.collector.is_some()
            };
            actions.extend((0..3).filter(loses).map(Action::Crash));
        }
    }

    fn follow(&self, before: &State, action: Action) -> Option<(State, Option<Event>)> {
        let mut state = before.clone();
        let Named(event) = self.act(&mut state, action)?;
        self.judge(&mut state);
        Some((state, event))
    }

    fn tell(&self, state: &State, action: Action) -> String {
        let current = |seat: u8| state.clients[usize::from(seat)].current.as_ref();
        let words = |number: u64| format!("{:?} (operation {number})", self.call(number).2);
        match action {
            Action::Begin(seat) => {
                let begun = state.clients[usize::from(seat)].begun;
                format!("seat {seat} begins {}", words(number(seat.into(), begun.into())))
            }
            Action::Deliver(which, answered) => {
                let end = if answered { "" } else { ", and its answer is lost" };
                format!("{}{end}", state.asks[usize::from(which)])
            }
            Action::Retry(seat) => {
                let number = current(seat).map_or(0, |current| current.number);
                format!("seat {seat} tries operation {number} again")
            }
            Action::GiveUp(seat) => {
                let number = current(seat).map_or(0, |current| current.number);
                format!("seat {seat} gives operation {number} up")
            }
            Action::TakeUp => match &state.given_up {
                Some((seat, current)) => {
                    format!("seat {seat} takes operation {} up", current.number)
                }
                None => String::new(),
            },
            Action::Collect => format!("seat {COLLECTOR} begins to collect"),
            Action::Crash(seat) => format!("seat {seat} crashes and comes back"),
        }
    }

    fn objection(&self, state: &State) -> Option<Objection> {
        state.objection
    }
}

/// What a reply says of its member: what it has promised, and what it has accepted.
fn told(reply: &Reply) -> (Option<Ballot>, Option<Ballot>) {
    match reply {
        Reply::Promised { ballot, .. } => (Some(*ballot), None),
        Reply::Accepted { ballot, next, .. } => (next.or(Some(*ballot)), Some(*ballot)),
        Reply::Held { .. } | Reply::Refused { .. } => (None, None),
    }
}
