//! What lives at a place of the world: an honest node, or a liar, behind bytes.
//!
//! The honest node is the whole one, [`Node`], as the server has it: here for its part of the DHT. The first few
//! are the founders of its cluster; all others are guests, who have no seat and read the list of members now
//! and then.
//!
//! Invariants:
//! * WIRE-3: a message that is not understood is answered as `specs/wire.md` says;
//! * what is watched is copied, never changed.
//!
//! What it does not do: a disk that takes its time. What a step persists is durable at once; `cluster` has the
//! slow ones.

use std::collections::VecDeque;

use cloakroom_kademlia::{Event, Held, Judge, Kademlia, Moment, Parameters, Peer, Transmit};
use cloakroom_node::{Effects, Founder, Genesis, Input, Node, Patience, Setup, Zone};
use cloakroom_register as register;
use cloakroom_register::{Incarnation, Member, Waits};
use cloakroom_wire::{
    Answer, Body, Contact, Message, NodeId, OwnedBody, OwnedMessage, OwnedRequest, RequestId,
};

use super::liar::Liar;
use crate::engine::{Machine, Time};
use crate::random::hash;

/// Thousands are here for the DHT, and how much of its load each has is a figure: whether the members of their
/// cluster live is asked when a node starts and twice a day, and as often all read the list of members.
/// `sim cluster` has the default.
const PATIENCE: Patience = Patience { ask_ms: 43_200_000, silent_ms: 86_400_000 };

/// Members of the cluster.
const FOUNDERS: usize = 3;

/// A machine of either kind.
#[derive(Debug)]
pub enum Resident {
    /// The real one.
    Honest(Box<Honest>),
    /// A liar.
    Liar(Box<Liar>),
}

/// The real node, what it wants done, and what is watched of it.
#[derive(Debug)]
pub struct Honest {
    node: Node,
    disk: register::Disk,
    outbox: VecDeque<Transmit>,
    events: VecDeque<Event>,
    watch: Option<Watch>,
    /// Messages that were not understood, or could not be encoded: none, or a bug.
    garbled: u32,
}

/// What an honest node is made of.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Who, and where.
    pub contact: Contact,
    /// The numbers of the DHT.
    pub parameters: Parameters,
    /// What it cannot judge itself.
    pub judge: Judge,
    /// Whether others can call it.
    pub reachable: bool,
    /// Its own.
    pub seed: u64,
}

/// A lookup that is watched: its requests and what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    target: NodeId,
    /// In the order in which they were sent.
    pub steps: Vec<Ask>,
}

/// A request of a watched lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    request: RequestId,
    /// Whom it asked.
    pub to: NodeId,
    /// When.
    pub sent: Time,
    /// When it was sent once more, if it was.
    pub again: Option<Time>,
    /// When the answer came, if it did.
    pub answered: Option<Time>,
    /// Whom the answer named.
    pub named: Vec<NodeId>,
}

/// What a crash leaves: what must be kept of registers and records, and the contacts of the routing table. The
/// disk has everything that was ever acknowledged: no write is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Of the table.
    pub contacts: Vec<Contact>,
    /// Replicas, and numbers that must not fall.
    pub records: Vec<Held>,
    /// Of the registers: whose it is, in which life.
    pub registers: register::Disk,
}

impl Disk {
    /// Of a node in a life of which nothing is known; the first is zero.
    pub fn empty(node: NodeId, life: u64) -> Self {
        let me = Member { node, incarnation: Incarnation(life) };
        let registers = register::Disk::new(me);
        Self { contacts: Vec::new(), records: Vec::new(), registers }
    }
}

/// The cluster of these nodes: the first few are its founders.
///
/// # Panics
/// When there is nobody.
pub fn genesis(nodes: impl IntoIterator<Item = Contact>) -> Genesis {
    let founder = |contact: Contact| Founder { contact, zone: Zone("one".into()) };
    let founders: Vec<Founder> = nodes.into_iter().take(FOUNDERS).map(founder).collect();
    Genesis::new(&founders, 1, 3).expect("different nodes, one at least")
}

/// The engine's time, as the machine has it.
pub const fn moment(time: Time) -> Moment {
    Moment(time.0)
}

impl Resident {
    /// The real node.
    pub fn honest(honest: Honest) -> Self {
        Self::Honest(Box::new(honest))
    }

    /// The real machine of the DHT, if it is an honest node.
    pub fn kademlia(&self) -> Option<&Kademlia> {
        match self {
            Self::Honest(honest) => Some(honest.node.dht()),
            Self::Liar(_) => None,
        }
    }

    /// Asks the real node something of the DHT, if it is one.
    pub fn ask<T>(&mut self, now: Time, ask: impl FnOnce(&mut Kademlia) -> T) -> Option<T> {
        match self {
            Self::Honest(honest) => Some(honest.ask(now, ask)),
            Self::Liar(_) => None,
        }
    }

    /// Begins to watch lookups for a target.
    pub fn watch(&mut self, target: NodeId) {
        if let Self::Honest(honest) = self {
            honest.watch = Some(Watch { target, steps: Vec::new() });
        }
    }

    /// What was watched for this target; it is watched no longer.
    pub fn watched(&mut self, target: NodeId) -> Option<Watch> {
        match self {
            Self::Honest(honest) => honest.watch.take_if(|watch| watch.target == target),
            Self::Liar(_) => None,
        }
    }

    /// How many messages made no sense.
    pub fn garbled(&self) -> u32 {
        match self {
            Self::Honest(honest) => honest.garbled,
            Self::Liar(_) => 0,
        }
    }
}

impl Honest {
    /// Starts a node of a cluster with what its disk has.
    ///
    /// # Panics
    /// When the disk is another node's.
    pub fn start(now: Time, made: Made, genesis: Genesis, disk: Disk) -> Self {
        let Made { contact, parameters, judge, reachable, seed } = made;
        let waits = Waits::default();
        let patience = PATIENCE;
        let Disk { contacts: table, records, registers } = disk;
        let setup = Setup {
            genesis,
            contact,
            reachable,
            table,
            parameters,
            judge,
            waits,
            patience,
            hash,
            seed,
        };
        let (node, first) =
            Node::start(moment(now), setup, &registers, records).expect("its own disk");
        let (outbox, events) = (VecDeque::new(), VecDeque::new());
        let mut honest = Self { node, disk: registers, outbox, events, watch: None, garbled: 0 };
        honest.take(now, first);
        honest
    }

    /// Asks something of the DHT.
    fn ask<T>(&mut self, now: Time, ask: impl FnOnce(&mut Kademlia) -> T) -> T {
        let (answer, effects) = self.node.ask_dht(ask);
        self.take(now, effects);
        answer
    }

    fn step(&mut self, now: Time, input: Input<'_>) {
        let effects = self.node.step(moment(now), input);
        self.take(now, effects);
    }

    /// What follows from a step. Nobody here calls registers: there is no answer to give.
    fn take(&mut self, now: Time, effects: Effects) {
        let Effects { first, answer: _, persist, keep: _, send, events, votes } = effects;
        append(&mut self.outbox, first);
        for save in &persist {
            self.disk.apply(save);
        }
        append(&mut self.outbox, send);
        append(&mut self.events, events);
        if !votes.is_empty() {
            self.step(now, Input::Votes(votes));
        }
    }

    fn hear(&mut self, now: Time, from: Peer, bytes: &[u8]) {
        // Looked at where it stands: a message is large to move.
        match &Message::receive(bytes) {
            Ok(message) => {
                if let (Some(watch), Body::Answer(answer)) = (&mut self.watch, &message.body) {
                    watch.hear(now, message.request_id, answer);
                }
                self.step(now, Input::Message { from, message });
            }
            Err(error) => {
                self.garbled += 1;
                let refusal = error.answer(bytes);
                self.outbox.extend(refusal.map(|message| Transmit { to: from, message }));
            }
        }
    }

    fn say(&mut self, now: Time, bytes: &mut Vec<u8>) -> Option<Peer> {
        loop {
            let Transmit { to, message } = next(&mut self.outbox)?;
            if let Some(watch) = &mut self.watch {
                watch.say(now, to, &message);
            }
            if message.borrow().encode(bytes).is_ok() {
                return Some(to);
            }
            self.garbled += 1;
            bytes.clear();
        }
    }
}

/// Messages are large to move: what stands alone is not.
fn append<T>(queue: &mut VecDeque<T>, more: Vec<T>) {
    if queue.is_empty() {
        *queue = more.into();
    } else {
        queue.extend(more);
    }
}

/// The memory of a burst is given back: a node at rest is small.
fn next<T>(queue: &mut VecDeque<T>) -> Option<T> {
    if queue.is_empty() && queue.capacity() > 0 {
        *queue = VecDeque::new();
    }
    queue.pop_front()
}

impl Watch {
    fn say(&mut self, now: Time, to: Peer, message: &OwnedMessage) {
        let OwnedBody::Request { request, .. } = &message.body else { return };
        let target = match request {
            OwnedRequest::FindNode { target } => *target,
            OwnedRequest::FindValue { key } => key.point(),
            OwnedRequest::Ping | OwnedRequest::Store { .. } => return,
        };
        if target == self.target {
            let request = message.request_id;
            if let Some(step) = self.steps.iter_mut().find(|step| step.request == request) {
                step.again = Some(now);
                return;
            }
            self.steps.push(Ask {
                request,
                to: to.id,
                sent: now,
                again: None,
                answered: None,
                named: Vec::new(),
            });
        }
    }

    fn hear(&mut self, now: Time, request: RequestId, answer: &Answer<'_>) {
        let (Answer::Nodes { contacts } | Answer::Found { contacts, .. }) = answer else { return };
        if let Some(step) = self.steps.iter_mut().find(|step| step.request == request) {
            step.answered = Some(now);
            step.named = contacts.iter().map(|contact| contact.id).collect();
        }
    }
}

impl Machine for Resident {
    type Address = Peer;
    type Event = Event;
    /// None of a liar.
    type Disk = Option<Disk>;

    fn handle_message(&mut self, now: Time, from: Peer, bytes: &[u8]) {
        match self {
            Self::Honest(honest) => honest.hear(now, from, bytes),
            Self::Liar(liar) => {
                if let Ok(message) = Message::decode(bytes) {
                    liar.handle_message(from, &message);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Self::Honest(honest) = self {
            for (timer, at) in honest.node.timers() {
                if at <= moment(now) {
                    honest.step(now, Input::Timer(timer));
                }
            }
        }
    }

    fn poll_transmit(&mut self, now: Time, bytes: &mut Vec<u8>) -> Option<Peer> {
        match self {
            Self::Honest(honest) => honest.say(now, bytes),
            Self::Liar(liar) => {
                let (to, message) = liar.poll_transmit()?;
                message.borrow().encode(bytes).ok().map(|()| to)
            }
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Honest(honest) => next(&mut honest.events),
            Self::Liar(_) => None,
        }
    }

    fn poll_timeout(&self) -> Time {
        match self {
            Self::Honest(honest) => {
                let due = honest.node.timers().map(|(_, at)| at);
                due.into_iter().min().map_or(Time::NEVER, |at| Time(at.0))
            }
            Self::Liar(_) => Time::NEVER,
        }
    }

    fn crash(self) -> Option<Disk> {
        let Self::Honest(honest) = self else { return None };
        let Honest { node, disk, .. } = *honest;
        let buckets = node.dht().table().buckets();
        let entries = buckets.iter().flat_map(cloakroom_kademlia::Bucket::entries);
        Some(Disk {
            contacts: entries.map(|entry| entry.contact).collect(),
            records: node.dht().records().kept().cloned().collect(),
            registers: disk,
        })
    }
}

#[cfg(test)]
mod tests {
    use cloakroom_wire::{Address, NodeKey, OwnedAnswer};

    use super::*;

    #[test]
    fn what_is_not_understood_is_answered_only_if_it_asks_and_with_the_code_of_its_fault() {
        let contact = |number: u8| Contact {
            id: NodeId([number; 32]),
            address: Address::v4([10, 0, 0, number], 7400),
            key: NodeKey([number; 32]),
        };
        let judge = Judge { contact: |_| true, record: |_| true };
        let parameters = Parameters::default();
        let made = Made { contact: contact(1), parameters, judge, reachable: true, seed: 1 };
        let disk = Disk::empty(contact(1).id, 0);
        let honest = Honest::start(Time(0), made, genesis([contact(1)]), disk);
        let mut resident = Resident::honest(honest);
        while resident.poll_transmit(Time(0), &mut Vec::new()).is_some() {}
        let from = Peer { id: contact(2).id, address: contact(2).address };
        let mut answered = |version: u8, kind: u8, rest: &[u8]| {
            let bytes = [&[version, kind, 0, 0, 0, 0, 0, 0, 0, 9], rest].concat();
            resident.handle_message(Time(0), from, &bytes);
            let mut sent = Vec::new();
            let to = resident.poll_transmit(Time(0), &mut sent)?;
            let message = Message::decode(&sent).expect("what was sent").to_owned();
            let OwnedBody::Answer(OwnedAnswer::Error { code, .. }) = message.body else {
                panic!("expected an error, got {message:?}")
            };
            Some((to.id, message.request_id, code.0))
        };
        let refused = |code: u16| Some((from.id, RequestId(9), code));
        assert_eq!(answered(2, 0x01, &[]), refused(1), "another version");
        assert_eq!(answered(1, 0x10, &[]), refused(2), "another kind");
        assert_eq!(answered(1, 0x01, &[3, 0, 0, 0]), refused(3), "a field that must be understood");
        assert_eq!(answered(1, 0x02, &[]), refused(4), "no target");
        for kind in [0x41, 0x90, 0xc0] {
            assert_eq!(answered(1, kind, &[]), None, "asks nothing");
        }
        assert_eq!(resident.garbled(), 7);
    }
}
