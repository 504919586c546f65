//! A node's registers as a machine of the engine: the real [`Host`], over encoded bytes, on a disk
//! that takes its time.
//!
//! Works wait for their sync, in their order: what one persists is durable first, then its messages
//! and answers leave. A crash loses what waits, but for whatever part of it had reached the disk:
//! the world decides how much.
//!
//! Invariants:
//! * a work leaves after everything that was persisted before it, also one that persists nothing: it
//!   may tell what an earlier one has written;
//! * nothing passes between nodes but bytes.
//!
//! What it does not do: keep the disk. The world has it, as [`Saved`](Event::Saved) tells.

use std::collections::{BTreeMap, VecDeque};

use cloakroom_register::{
    Ballot, Body, Disk, Envelope, Epoch, Host, Key, Message, Moment, NodeId, OperationId, Outcome,
    Reply, Save, Slot, Waits, Work, pack, unpack,
};
use cloakroom_wire::Notice;

use crate::engine::{Machine, Time};
use crate::random::Random;

/// What a resident tells the world.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// This is durable now, in this order.
    Saved(Vec<Save>),
    /// So much promise was told, of a key: it must be durable.
    Told(Slot, Epoch, Key, Ballot),
    /// An operation has ended.
    Ended(OperationId, Outcome),
}

struct Waiting {
    at: Time,
    work: Work,
}

/// A node.
pub(super) struct Resident {
    /// Its registers.
    pub(super) host: Host,
    waiting: VecDeque<Waiting>,
    outbox: VecDeque<(u32, Vec<u8>)>,
    events: VecDeque<Event>,
    sync_ms: u64,
    random: Random,
}

/// The id of the node with this number.
pub(super) fn id_of(number: u32) -> NodeId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

/// The number of the node with this id.
pub(super) fn number_of(id: NodeId) -> u32 {
    u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]])
}

fn moment(now: Time) -> Moment {
    Moment(now.0 / 1000)
}

impl Resident {
    /// A node starts with what its disk has.
    ///
    /// # Panics
    /// When the disk is another node's.
    pub(super) fn start(
        disk: &Disk,
        waits: Waits,
        sync_ms: u64,
        now: Time,
        mut random: Random,
    ) -> Self {
        let (host, work) =
            Host::start(disk, waits, random.next(), moment(now)).expect("its own disk");
        let (waiting, outbox, events) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let mut resident = Self { host, waiting, outbox, events, sync_ms, random };
        resident.take(now, work);
        resident
    }

    /// The host does something.
    pub(super) fn act(&mut self, now: Time, act: impl FnOnce(&mut Host, Moment) -> Work) {
        let work = act(&mut self.host, moment(now));
        self.take(now, work);
    }

    fn take(&mut self, now: Time, work: Work) {
        let last = self.waiting.back().map_or(now, |waiting| waiting.at.max(now));
        if work.persist.is_empty() {
            if self.waiting.is_empty() {
                self.release(work);
            } else if !(work.send.is_empty() && work.ended.is_empty()) {
                self.waiting.push_back(Waiting { at: last, work });
            }
            return;
        }
        if self.sync_ms == 0 {
            self.release(work);
            return;
        }
        // What comes while a sync runs waits for the next one, and shares it.
        let shares = self
            .waiting
            .back()
            .is_some_and(|waiting| waiting.at > now.plus_us(self.sync_ms * 1000));
        let takes = if shares { 0 } else { self.random.below(self.sync_ms * 1000) };
        self.waiting.push_back(Waiting { at: last.plus_us(takes), work });
    }

    fn release(&mut self, work: Work) {
        let Work { persist, send, ended } = work;
        if !persist.is_empty() {
            self.events.push_back(Event::Saved(persist));
        }
        let mut parts: BTreeMap<NodeId, Vec<Vec<u8>>> = BTreeMap::new();
        for Envelope { to, message } in &send {
            self.note(message);
            message.encode(parts.entry(*to).or_default()).expect("within the limits");
        }
        for (to, parts) in &parts {
            for notice in pack(parts) {
                let mut bytes = Vec::new();
                notice.encode(&mut bytes).expect("within the limits");
                self.outbox.push_back((number_of(*to), bytes));
            }
        }
        self.events.extend(ended.into_iter().map(|(id, outcome)| Event::Ended(id, outcome)));
    }

    fn note(&mut self, message: &Message) {
        let Body::Reply(replies) = &message.body else { return };
        for reply in replies {
            let (key, promise) = match reply {
                Reply::Promised { key, ballot, .. } => (key, *ballot),
                Reply::Accepted { key, ballot, next } => (key, next.unwrap_or(*ballot)),
                Reply::Held { .. } | Reply::Refused { .. } => continue,
            };
            self.events.push_back(Event::Told(message.slot, message.epoch, key.clone(), promise));
        }
    }
}

impl Machine for Resident {
    type Address = u32;
    type Event = Event;
    /// What had not become durable for sure, in its order.
    type Disk = Vec<Save>;

    fn handle_message(&mut self, now: Time, from: u32, bytes: &[u8]) {
        let message = cloakroom_wire::Message::decode(bytes).expect("what was sent");
        let cloakroom_wire::Body::Notice(Notice::Slots { parts }) = message.body else {
            panic!("expected parts for slots, got {}", message.kind());
        };
        for message in unpack(parts).expect("what was sent") {
            let work = self.host.handle(moment(now), id_of(from), &message);
            self.take(now, work);
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        while self.waiting.front().is_some_and(|waiting| waiting.at <= now) {
            if let Some(waiting) = self.waiting.pop_front() {
                self.release(waiting.work);
            }
        }
        if self.host.due() <= moment(now) {
            let work = self.host.tick(moment(now));
            self.take(now, work);
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
        let due = self.host.due();
        let host = if due == Moment::NEVER { Time::NEVER } else { Time::from_ms(due.0) };
        self.waiting.front().map_or(host, |waiting| waiting.at.min(host))
    }

    fn crash(self) -> Vec<Save> {
        self.waiting.into_iter().flat_map(|waiting| waiting.work.persist).collect()
    }
}
