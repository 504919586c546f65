//! A node as a machine of the engine: the real [`Node`], over encoded bytes.
//!
//! Invariants:
//! * nothing passes between nodes but bytes;
//! * NODE-4: what a step persists is durable before anything leaves that says so, and before its votes
//!   come back.
//!
//! What it does not do: keep the disk. The world has it, as [`Saved`](Event::Saved) tells.

use std::collections::VecDeque;

use cloakroom_kademlia as kademlia;
use cloakroom_kademlia::{Busy, Held, Kademlia, Moment, Name, Peer, QueryId, Transmit};
use cloakroom_node::{Answer, Effects, Input, Node, Setup};
use cloakroom_register as register;
use cloakroom_register::{Ballot, Disk, Epoch, Key, NodeId, Reply, Save, Slot, unpack};
use cloakroom_wire::{Address, Body, Contact, Message, NodeKey, Notice, OwnedBody, OwnedMessage};

use super::sync::{Syncs, persists};
use crate::engine::{Machine, Time};
use crate::random::{Random, hash};

/// What a resident tells the world.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// This is durable now, in this order.
    Saved(Vec<Wrote>),
    /// So much promise was told, of a key: it must be durable.
    Told(Slot, Epoch, Key, Ballot),
    /// Something has ended.
    Answered(Answer),
    /// And something of the DHT.
    Dht(kademlia::Event),
}

/// What reaches a disk.
#[derive(Clone, Debug)]
pub(super) enum Wrote {
    /// Of a register.
    Save(Save),
    /// A record, or that there is none.
    Record(Name, Option<Held>),
}

fn wrote(persist: Vec<Save>, keep: Vec<(Name, Option<Held>)>) -> Vec<Wrote> {
    let records = keep.into_iter().map(|(name, held)| Wrote::Record(name, held));
    persist.into_iter().map(Wrote::Save).chain(records).collect()
}

/// A node.
pub(super) struct Resident {
    /// Itself.
    pub(super) node: Node,
    syncs: Syncs,
    outbox: VecDeque<(u32, Vec<u8>)>,
    events: VecDeque<Event>,
}

/// An odd number and its inverse, so that numbers of nodes are spread over their ids and come back.
const SPREAD: u32 = 0x9e37_79b1;
const GATHER: u32 = inverse(SPREAD);

const fn inverse(odd: u32) -> u32 {
    // Newton: each step doubles the bits that are right, of which three are.
    let mut inverse = odd;
    let mut step = 0;
    while step < 5 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

/// The contact of the node with this number.
pub(super) fn contact_of(number: u32) -> Contact {
    let mut id = hash(&number.to_be_bytes());
    id[..4].copy_from_slice(&number.wrapping_mul(SPREAD).to_be_bytes());
    let [_, high, low, last] = number.to_be_bytes();
    let address = Address::v4([10, high, low, last], 7400);
    Contact { id: NodeId(id), address, key: NodeKey(id) }
}

/// The number of the node with this id.
pub(super) fn number_of(id: NodeId) -> u32 {
    u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]]).wrapping_mul(GATHER)
}

fn moment(now: Time) -> Moment {
    Moment(now.0)
}

impl Resident {
    /// A node starts with what its disk has.
    ///
    /// # Panics
    /// When the disk is another node's.
    pub(super) fn start(
        disk: &Disk,
        records: Vec<Held>,
        setup: Setup,
        sync_ms: u64,
        now: Time,
        random: Random,
    ) -> Self {
        let (node, mut effects) =
            Node::start(moment(now), setup, disk, records).expect("its own disk");
        let syncs = Syncs::new(sync_ms, random);
        let (outbox, events) = (VecDeque::new(), VecDeque::new());
        let mut resident = Self { node, syncs, outbox, events };
        let Effects { persist, first, .. } = &mut effects;
        // REG-5: its number is durable before anything else happens. A crash before that is no start.
        resident.events.push_back(Event::Saved(wrote(std::mem::take(persist), Vec::new())));
        resident.send(std::mem::take(first));
        resident.take(now, effects);
        resident
    }

    /// Something happens to the node.
    pub(super) fn step(&mut self, now: Time, input: Input<'_>) {
        let effects = self.node.step(moment(now), input);
        self.take(now, effects);
    }

    /// A query of the DHT begins, if there is room for it.
    pub(super) fn begin_query(
        &mut self,
        now: Time,
        begin: impl FnOnce(&mut Kademlia, Moment) -> Result<QueryId, Busy>,
    ) -> Option<QueryId> {
        let (query, effects) = self.node.ask_dht(|dht| begin(dht, moment(now)));
        self.take(now, effects);
        query.ok()
    }

    fn take(&mut self, now: Time, mut effects: Effects) {
        self.send(std::mem::take(&mut effects.first));
        let answers = std::mem::take(&mut effects.answer).into_iter();
        self.events.extend(answers.map(Event::Answered));
        if let Some(effects) = self.syncs.take(now, effects) {
            self.leave(now, effects);
        }
    }

    /// What a step persists is durable.
    fn leave(&mut self, now: Time, effects: Effects) {
        if persists(&effects) {
            self.events.push_back(Event::Saved(wrote(effects.persist, effects.keep)));
        }
        self.send(effects.send);
        self.events.extend(effects.events.into_iter().map(Event::Dht));
        if !effects.votes.is_empty() {
            for message in &effects.votes {
                self.tell(message);
            }
            self.step(now, Input::Votes(effects.votes));
        }
    }

    fn send(&mut self, send: Vec<Transmit>) {
        for transmit in send {
            self.note(&transmit.message);
            let mut bytes = Vec::new();
            transmit.message.borrow().encode(&mut bytes).expect("within the limits");
            self.outbox.push_back((number_of(transmit.to.id), bytes));
        }
    }

    fn note(&mut self, message: &OwnedMessage) {
        if !matches!(message.body, OwnedBody::Notice(_)) {
            return;
        }
        let Body::Notice(Notice::Slots { parts }) = message.borrow().body else { return };
        for message in unpack(parts).expect("what is sent") {
            self.tell(&message);
        }
    }

    fn tell(&mut self, message: &register::Message) {
        let told = promises(message).into_iter();
        let told = told.map(|(slot, epoch, key, promise)| Event::Told(slot, epoch, key, promise));
        self.events.extend(told);
    }
}

/// The promises that a message tells, of keys.
fn promises(message: &register::Message) -> Vec<(Slot, Epoch, Key, Ballot)> {
    let register::Body::Reply(replies) = &message.body else { return Vec::new() };
    let promise = |reply: &Reply| {
        let (key, promise) = match reply {
            Reply::Promised { key, ballot, .. } => (key, *ballot),
            Reply::Accepted { key, ballot, next } => (key, next.unwrap_or(*ballot)),
            Reply::Held { .. } | Reply::Refused { .. } => return None,
        };
        Some((message.slot, message.epoch, key.clone(), promise))
    };
    replies.iter().filter_map(promise).collect()
}

impl Machine for Resident {
    type Address = u32;
    type Event = Event;
    /// What had not become durable for sure, in its order.
    type Disk = Vec<Wrote>;

    fn handle_message(&mut self, now: Time, from: u32, bytes: &[u8]) {
        let message = Message::decode(bytes).expect("what was sent");
        let contact = contact_of(from);
        let from = Peer { id: contact.id, address: contact.address };
        self.step(now, Input::Message { from, message: &message });
    }

    fn handle_timeout(&mut self, now: Time) {
        while let Some(effects) = self.syncs.poll(now) {
            self.leave(now, effects);
        }
        for (timer, at) in self.node.timers() {
            if at <= moment(now) {
                self.step(now, Input::Timer(timer));
            }
        }
    }

    fn poll_transmit(&mut self, _: Time, bytes: &mut Vec<u8>) -> Option<u32> {
        let (to, message) = self.outbox.pop_front()?;
        bytes.extend_from_slice(&message);
        Some(to)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Time {
        let node = self.node.timers().into_iter().map(|(_, at)| Time(at.0)).min();
        self.syncs.due().min(node.unwrap_or(Time::NEVER))
    }

    fn crash(self) -> Vec<Wrote> {
        let waiting = self.syncs.into_waiting();
        waiting.flat_map(|effects| wrote(effects.persist, effects.keep)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_node_comes_back_from_its_id() {
        for number in [0, 1, 2, 77, u32::MAX] {
            assert_eq!(number_of(contact_of(number).id), number);
        }
    }
}
