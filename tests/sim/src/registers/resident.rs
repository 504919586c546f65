//! A node's registers as a machine of the engine: the real [`Host`], over encoded bytes, on a disk
//! that takes its time.
//!
//! What coordinators ask and end leaves at once. The rest of a work waits for its sync, in the order of
//! works: what one persists is durable first, then its messages leave and its votes come back. A crash
//! loses what waits, but for whatever part of it had reached the disk: the world decides how much.
//!
//! Invariants:
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
use crate::sync::{Synced, Syncs};

/// What a resident tells the world.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// This is durable now, in this order.
    Saved(Vec<Save>),
    /// So much promise was told, of a key: it must be durable.
    Told(Slot, Epoch, Key, Ballot),
    /// An operation has ended.
    Ended(OperationId, Outcome),
}

impl Synced for Work {
    fn persists(&self) -> bool {
        !self.persist.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.send.is_empty() && self.votes.is_empty()
    }
}

/// A node.
pub(crate) struct Resident {
    /// Its registers.
    pub(crate) host: Host,
    syncs: Syncs<Work>,
    outbox: VecDeque<(u32, Vec<u8>)>,
    events: VecDeque<Event>,
}

/// The id of the node with this number.
pub(crate) fn id_of(number: u32) -> NodeId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

/// The number of the node with this id.
pub(crate) fn number_of(id: NodeId) -> u32 {
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
    pub(crate) fn start(
        disk: &Disk,
        waits: Waits,
        sync_ms: u64,
        now: Time,
        random: Random,
    ) -> Self {
        let mut syncs = Syncs::new(sync_ms, random);
        let (host, work) =
            Host::start(disk, waits, syncs.next_random(), moment(now)).expect("its own disk");
        let (outbox, events) = (VecDeque::new(), VecDeque::new());
        let mut resident = Self { host, syncs, outbox, events };
        // REG-5: its number is durable before anything else happens. A crash before that is no start.
        resident.leave(now, work);
        resident
    }

    /// The host does something.
    pub(crate) fn act(&mut self, now: Time, act: impl FnOnce(&mut Host, Moment) -> Work) {
        let work = act(&mut self.host, moment(now));
        self.take(now, work);
    }

    fn take(&mut self, now: Time, mut work: Work) {
        self.send(&std::mem::take(&mut work.ask));
        let ended = std::mem::take(&mut work.ended).into_iter();
        self.events.extend(ended.map(|(id, outcome)| Event::Ended(id, outcome)));
        if let Some(work) = self.syncs.take(now, work) {
            self.leave(now, work);
        }
    }

    /// What a work persists is durable.
    fn leave(&mut self, now: Time, work: Work) {
        if !work.persist.is_empty() {
            self.events.push_back(Event::Saved(work.persist));
        }
        self.send(&work.send);
        for message in work.votes {
            let told = promises(&message).into_iter();
            self.events.extend(
                told.map(|(slot, epoch, key, promise)| Event::Told(slot, epoch, key, promise)),
            );
            let me = self.host.me().node;
            let work = self.host.handle(moment(now), me, &message);
            self.take(now, work);
        }
    }

    fn send(&mut self, send: &[Envelope]) {
        let mut parts: BTreeMap<NodeId, Vec<Vec<u8>>> = BTreeMap::new();
        for Envelope { to, message } in send {
            let told = promises(message).into_iter();
            self.events.extend(
                told.map(|(slot, epoch, key, promise)| Event::Told(slot, epoch, key, promise)),
            );
            message.encode(parts.entry(*to).or_default()).expect("within the limits");
        }
        for (to, parts) in &parts {
            for notice in pack(parts) {
                let mut bytes = Vec::new();
                notice.encode(&mut bytes).expect("within the limits");
                self.outbox.push_back((number_of(*to), bytes));
            }
        }
    }
}

/// The promises that a message tells, of keys.
pub(crate) fn promises(message: &Message) -> Vec<(Slot, Epoch, Key, Ballot)> {
    let Body::Reply(replies) = &message.body else { return Vec::new() };
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
        while let Some(work) = self.syncs.poll(now) {
            self.leave(now, work);
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
        self.syncs.due().min(host)
    }

    fn crash(self) -> Vec<Save> {
        self.syncs.into_waiting().flat_map(|work| work.persist).collect()
    }
}
