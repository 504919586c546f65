//! One node's Kademlia: `handle_*` for what happens, `poll_*` for what to do next.
//!
//! # Life
//! 1. [`Kademlia::new`], with a seed; perhaps [`Kademlia::restore`] with the table of a former life.
//! 2. [`Kademlia::join`] with bootstrap contacts; [`Event::Joined`] says when it knows its neighbours.
//! 3. [`Kademlia::find_node`], [`find_value`](Kademlia::find_value) and
//!    [`publish`](Kademlia::publish) begin a query; an [`Event`] ends it.
//! 4. [`Kademlia::leave`] hands its records over; [`Event::Left`] says that it may go.
//!
//! After each call the driver sends what [`Kademlia::poll_transmit`] gives, reads
//! [`Kademlia::poll_event`], and calls [`Kademlia::handle_timeout`] at [`Kademlia::poll_timeout`].
//!
//! # Invariants
//! * no clock, entropy, socket or thread: the same calls give the same answers;
//! * a request gets at most one answer, never larger than [`MAX_MESSAGE_BYTES`]; an answer gets none.
//!   What a stranger's request makes us send beside its answer is one ping, to the host it came from;
//! * KAD-6: an answer is taken only from whom it was asked of, once, and a contact that was told to us is
//!   only asked if its id is the hash of its key.
//!
//! # What it takes for granted
//! Whoever drives it has authenticated the sender of each message (in `server`: TLS, both
//! sides), and delivers a request only to the node with the id that it is for.
//!
//! [`MAX_MESSAGE_BYTES`]: cloakroom_wire::MAX_MESSAGE_BYTES

mod event;
mod handovers;
mod queries;
mod requests;
mod serve;
mod upkeep;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use cloakroom_wire::{
    Address, Answer, Body, Contact, Message, NodeId, OwnedBody, OwnedMessage, OwnedRequest, Record,
    RequestId,
};

pub use self::event::{Busy, Cost, Event, QueryId};
use self::queries::Query;
use self::requests::{Due, Pending, Requests, Why};
use self::upkeep::Upkeep;
use crate::detector::{Losses, Verdict};
use crate::parameters::Parameters;
use crate::random::Random;
use crate::records::Records;
use crate::table::{Placed, Table};
use crate::time::Moment;

/// Who is at the other end of a connection, as the transport has made sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Who: the hash of the key that it proved to have.
    pub id: NodeId,
    /// Where its packets come from.
    pub address: Address,
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To whom: nobody else may get it.
    pub to: Peer,
    /// What.
    pub message: OwnedMessage,
}

/// What the machine cannot judge itself, as it has no cryptography.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    /// Whether a contact's id is the hash of its key.
    pub contact: fn(&Contact) -> bool,
    /// Whether a record is what its origin wrote, as far as it can be told.
    pub record: fn(&Record<'_>) -> bool,
}

/// One node's Kademlia.
#[derive(Debug)]
pub struct Kademlia {
    own: Contact,
    /// Whether others can reach us: if not, we tell no address, and are in nobody's table.
    reachable: bool,
    parameters: Parameters,
    judge: Judge,
    now: Moment,
    random: Random,
    table: Table,
    losses: Losses,
    /// When anybody last answered.
    last_answer: Moment,
    requests: Requests,
    queries: Vec<Query>,
    next_query: u64,
    records: Records,
    upkeep: Upkeep,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Kademlia {
    /// A node that knows nobody yet. The parameters were [checked](Parameters::checked) where they came in;
    /// the seed must be no other node's, and secret.
    pub fn new(now: Moment, own: Contact, parameters: Parameters, judge: Judge, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let upkeep = Upkeep::new(now, &parameters, &mut random);
        Self {
            own,
            reachable: true,
            parameters,
            judge,
            now,
            table: Table::new(own.id, &parameters),
            losses: Losses::default(),
            last_answer: now,
            requests: Requests::default(),
            queries: Vec::new(),
            next_query: 0,
            records: Records::new(parameters.records),
            upkeep,
            random,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Whether others can reach this node: one behind NAT, or a mere client, tells no address.
    pub fn set_reachable(&mut self, reachable: bool) {
        self.reachable = reachable;
    }

    /// Asks a contact whether it lives, beside the machine's own questions: for whoever depends on it.
    pub fn probe_contact(&mut self, now: Moment, contact: Contact) {
        self.at(now);
        self.ping(contact, Why::Probe);
    }

    /// Asks a contact whether it lives, for a caller: ends with [`Event::Answered`] or [`Event::Unanswered`].
    ///
    /// # Errors
    /// When too many callers wait for such an answer.
    pub fn ping_contact(&mut self, now: Moment, contact: Contact) -> Result<QueryId, Busy> {
        self.at(now);
        let most = usize::from(self.parameters.most_queries);
        let got = self.requests.count(|why| matches!(why, Why::Caller(_)));
        if got >= most {
            return Err(Busy { most, got });
        }
        let query = self.name_query();
        self.ask(contact, Why::Caller(query), OwnedRequest::Ping);
        Ok(query)
    }

    /// A message has come in.
    pub fn handle_message(&mut self, now: Moment, from: Peer, message: &Message<'_>) {
        self.at(now);
        match &message.body {
            Body::Request { from: contact, request } => {
                self.serve(from, message.request_id, request);
                self.meet(from, contact.as_ref());
            }
            Body::Answer(answer) => self.hear_answer(from, message.request_id, answer),
            // For others of the same node.
            Body::Notice(_) => {}
            // The driver has the bytes, and answers what is not understood: `Message::receive`.
            Body::Unknown(_) => {}
        }
        self.pump();
    }

    /// The time that [`Kademlia::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.at(now);
        while let Some(due) = self.requests.poll_due(self.now) {
            match due {
                Due::Slow(pending) => self.query_slow(&pending),
                Due::Unanswered(pending) => {
                    self.missed(&pending);
                    self.request_failed(&pending);
                }
            }
        }
        self.probe();
        self.tick();
        self.pump();
        self.requests.shrink();
    }

    /// What is to be sent next.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        // A burst's memory is given back: a node at rest is small.
        if self.transmits.is_empty() && self.transmits.capacity() > 16 {
            self.transmits = VecDeque::new();
        }
        self.transmits.pop_front()
    }

    /// What has come of something.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.is_empty() && self.events.capacity() > 16 {
            self.events = VecDeque::new();
        }
        self.events.pop_front()
    }

    /// All that [`Kademlia::poll_transmit`] and [`Kademlia::poll_event`] would give, with the memory that it stands
    /// in.
    pub fn take(&mut self) -> (Vec<Transmit>, Vec<Event>) {
        (core::mem::take(&mut self.transmits).into(), core::mem::take(&mut self.events).into())
    }

    /// When to call [`Kademlia::handle_timeout`], at the latest.
    pub fn poll_timeout(&self) -> Moment {
        self.requests.next_due().min(self.upkeep.next_due())
    }

    /// Our own contact.
    pub fn own(&self) -> &Contact {
        &self.own
    }

    /// The routing table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The records held here.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The numbers it runs with.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Queries under way, the machine's own included.
    pub fn queries(&self) -> usize {
        self.queries.len()
    }

    /// Bytes of memory: this value and what it has on the heap. Not counted are contents of records, also those
    /// of messages that wait to be sent, and what an allocator and half-full nodes of maps take beside.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.table.bytes()
            + self.records.bytes()
            + self.upkeep.bytes()
            + self.requests.bytes()
            + self.queries.capacity() * size_of::<Query>()
            + self.queries.iter().map(Query::bytes).sum::<usize>()
            + self.transmits.capacity() * size_of::<Transmit>()
            + self.events.capacity() * size_of::<Event>()
    }

    /// Time does not go back.
    fn at(&mut self, now: Moment) {
        self.now = self.now.max(now);
    }

    fn ask(&mut self, to: Contact, why: Why, request: OwnedRequest) {
        let id = RequestId(self.random.next());
        let kind = request.borrow().kind();
        self.requests.insert(self.now, &self.parameters, (id, to, kind, why));
        self.send_request(id, &to, request);
    }

    fn send_request(&mut self, id: RequestId, to: &Contact, request: OwnedRequest) {
        let from = self.reachable.then_some(self.own);
        let message = OwnedMessage { request_id: id, body: OwnedBody::Request { from, request } };
        let to = Peer { id: to.id, address: to.address };
        self.transmits.push_back(Transmit { to, message });
    }

    fn ping(&mut self, to: Contact, why: Why) {
        if !self.requests.is_pinging(to.id) {
            self.ask(to, why, OwnedRequest::Ping);
        }
    }

    /// KAD-6: an answer counts if we asked for it.
    fn hear_answer(&mut self, from: Peer, id: RequestId, answer: &Answer<'_>) {
        let Some(pending) = self.requests.take(id, from.id, answer.kind()) else { return };
        let took_us = u32::try_from(self.now.since_us(pending.sent)).unwrap_or(u32::MAX);
        self.requests.took(took_us);
        self.last_answer = self.now;
        self.lives(pending.to, took_us);
        match pending.why {
            Why::Query(query) => self.query_answered(query, &pending, answer),
            Why::Handover(name, _) => self.handed_over(&pending, &name, answer),
            Why::Pull(name) => self.pulled(&pending, &name, answer),
            Why::Caller(query) => {
                self.events.push_back(Event::Answered { query, took_us: took_us.into() });
            }
            Why::Greeting | Why::Probe | Why::Cache => {}
        }
    }

    /// A contact has answered us.
    fn lives(&mut self, contact: Contact, took_us: u32) {
        let unanswered = self.table.entry(contact.id).map_or(0, |entry| entry.unanswered);
        self.losses.answered(unanswered);
        match self.table.answered(self.now, contact, Some(took_us)) {
            Placed::Added => self.welcome(&contact),
            Placed::Waits(Some(oldest)) => self.ping(oldest, Why::Probe),
            Placed::Known => self.upkeep.forget_probe(contact.id),
            Placed::Waits(None) | Placed::Crowded | Placed::Own => {}
        }
    }

    /// A request stayed unanswered: evidence, if somebody else answered since it was sent.
    fn missed(&mut self, pending: &Pending) {
        let id = pending.to.id;
        // KAD-8: when nobody answers, it is we who are cut off.
        let counts = self.last_answer > pending.sent;
        let there = self.table.entry(id).map(|entry| entry.contact.address);
        if there != Some(pending.to.address) {
            return;
        }
        let Some(entry) = self.table.missed(id, counts) else { return };
        let (unanswered, evidence) = (entry.unanswered, entry.evidence);
        match self.losses.verdict(unanswered, evidence, self.parameters.dead_bits) {
            Verdict::Alive => {}
            Verdict::Suspected => {
                let doubled = self.parameters.probe_ms << u32::from(unanswered - 1).min(6);
                self.upkeep.probe_at(self.now.plus_ms(self.random.about(doubled)), id);
            }
            Verdict::Dead => self.bury(id),
        }
    }

    /// Pings whoever is suspected and has had time to recover.
    fn probe(&mut self) {
        while let Some(id) = self.upkeep.poll_probe(self.now) {
            let suspected = self.table.entry(id).filter(|entry| entry.unanswered > 0);
            if let Some(contact) = suspected.map(|entry| entry.contact) {
                self.ping(contact, Why::Probe);
                self.ping_witness(id);
            }
        }
    }

    /// KAD-8: whether a silence is the other's or ours shows only when somebody else answers
    /// meanwhile: the contact that answered last is asked too, unless others are.
    fn ping_witness(&mut self, silent: NodeId) {
        if self.requests.count(|_| true) > 1 {
            return;
        }
        let others = self.table.entries().filter(|entry| entry.contact.id != silent);
        let answering = others.filter(|entry| entry.unanswered == 0);
        if let Some(contact) = answering.max_by_key(|entry| entry.seen).map(|entry| entry.contact) {
            self.ping(contact, Why::Probe);
        }
    }

    fn request_failed(&mut self, pending: &Pending) {
        match pending.why {
            Why::Query(query) => self.query_failed(query, pending),
            Why::Handover(name, tries) => self.not_handed_over(pending, &name, tries),
            Why::Caller(query) => {
                let waited_us = self.now.since_us(pending.sent);
                self.events.push_back(Event::Unanswered { query, waited_us });
            }
            _ => {}
        }
    }
}
