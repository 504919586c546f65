//! One node: what happens, and what follows.
//!
//! # Life
//! 1. [`Node::start`], with the genesis and what the disk has kept.
//! 2. [`Node::step`] with each message, each call of a client, and each [`Timer`] when it is due.
//! 3. After each step: at once, send what need not wait, and answer; then make [`Effects::persist`] durable,
//!    and after that send the rest, and bring votes back as [`Input::Votes`]. Steps may go on meanwhile, and
//!    share a sync; what waits for it leaves in the order of its steps.
//!
//! # Invariants
//! * NODE-4: nothing that says what a disk has leaves before what was persisted in its step and in all
//!   before it; and nothing is made of it here either, for this node's own votes wait as well;
//! * the two name spaces never mix: records go through the DHT, registers through their views, and
//!   routing is only ever a hint for the latter;
//! * NODE-3: a client is told how its operation ended, or who can run it, or that nobody will say;
//!   one of them, once.
//!
//! # What it takes for granted
//! As Kademlia does: whoever drives it has made sure who sent each message.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use cloakroom_kademlia as kademlia;
use cloakroom_kademlia::{Held, Judge, Kademlia, Moment, Parameters, Peer, Transmit};
use cloakroom_register as register;
use cloakroom_register::{
    Disk, Envelope, Epoch, Host, Member, Operation, OperationId, Replica, ReplicaError, Slot,
    Version, View, Waits, Work,
};
use cloakroom_wire::{Body, Contact, Message, NodeId, Notice};

use crate::calls::{Calls, Origin};
use crate::changes::Changes;
use crate::effects::Effects;
use crate::genesis::Genesis;
use crate::known::Known;
use crate::roster::{Change, Roster};
use crate::rounds;
use crate::watch::{MOST_WATCHED, Patience, Watch};

/// So many views are proposed at a time: what moves is copied, and that is not to be all that is done.
const MOST_PROPOSALS: usize = 16;

/// SHA-256, which a pure crate has not got.
pub type Hash = fn(&[u8]) -> [u8; 32];

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the cluster began with.
    pub genesis: Genesis,
    /// Who the node is, and where.
    pub contact: Contact,
    /// Whether others can call it.
    pub reachable: bool,
    /// Its routing table of an earlier life. Where nothing is left of one, it begins to join the DHT, by the
    /// founders.
    pub table: Vec<Contact>,
    /// The numbers of the DHT.
    pub parameters: Parameters,
    /// What the DHT cannot judge itself.
    pub judge: Judge,
    /// How long registers wait for what.
    pub waits: Waits,
    /// How long others may be silent.
    pub patience: Patience,
    /// Of keys: which slot they are in.
    pub hash: Hash,
    /// No other node's, and secret.
    pub seed: u64,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    pub(crate) genesis: Genesis,
    pub(crate) known: Known,
    pub(crate) hash: Hash,
    kademlia: Kademlia,
    pub(crate) host: Host,
    pub(crate) calls: Calls,
    pub(crate) changes: Changes,
    pub(crate) watch: Watch,
    round_trips: u64,
}

/// What happens to a node.
#[derive(Debug)]
pub enum Input<'a> {
    /// A message has come.
    Message {
        /// From whom, as the connection has proved.
        from: Peer,
        /// What.
        message: &'a Message<'a>,
    },
    /// It is time.
    Timer(Timer),
    /// A client calls an operation on a register, to be given up at a moment. Any node takes it, and
    /// has it run where that can be.
    Call(Operation, Moment),
    /// The list of members is to be changed, to be given up at a moment. The id is new.
    Change(OperationId, Change, Moment),
    /// This view is to be proposed, for whatever reason: that nodes propose views by silence and the list is only a
    /// wish, and any other is as harmless. The simulator tries them; one that does not follow changes nothing.
    Propose(View),
    /// Nodes beside the founders and members that may know more: for one that comes new.
    Meet(Vec<Contact>),
    /// What [`Effects::votes`] were, when that is right.
    Votes(Vec<register::Message>),
}

/// What a node waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The DHT: requests that may be unanswered, upkeep.
    Dht,
    /// Registers: retries, handover, collection.
    Registers,
    /// To ask the others whether they live.
    Watch,
    /// Operations that other nodes run, and the list of members.
    Calls,
}

impl Node {
    /// A node starts with what its disk has: its registers, and its records of the DHT. REG-5: what the first
    /// effects persist must be durable before anything else is done with them or with the node.
    ///
    /// # Errors
    /// [`ReplicaError`]: the disk is not this node's.
    pub fn start(
        now: Moment,
        setup: Setup,
        disk: &Disk,
        records: Vec<Held>,
    ) -> Result<(Self, Effects), ReplicaError> {
        let Setup { genesis, contact, reachable, table, parameters, .. } = setup;
        let Setup { judge, waits, patience, hash, seed, .. } = setup;
        if disk.me().node != contact.id {
            return Err(ReplicaError::NoMember(disk.me()));
        }
        let mut kademlia = Kademlia::new(now, contact, parameters, judge, seed);
        kademlia.set_reachable(reachable);
        kademlia.keep_records();
        // KAD-12: before anything is answered.
        kademlia.restore_records(now, records);
        let (host, work) = Host::start(disk, waits, seed, in_ms(now))?;
        let founders = || genesis.founders().iter().map(|founder| founder.contact);
        let mut known = Known::default();
        known.extend(founders());
        let others: Vec<Contact> = founders().filter(|other| other.id != contact.id).collect();
        if !table.is_empty() {
            kademlia.restore(now, &table);
        } else if !others.is_empty() {
            // A new machine has room for a query.
            let _ = kademlia.join(now, &others);
        }
        let watch = Watch::new(now, patience);
        // A request takes a round trip and those of its coordinator.
        let calls = Calls::new(waits.answers_ms.saturating_mul(2), patience.silent_ms);
        let changes = Changes::new(now, Roster::of(&genesis), patience.silent_ms / 2, seed);
        let round_trips = 0;
        let mut node =
            Self { genesis, known, hash, kademlia, host, calls, changes, watch, round_trips };
        let mut effects = Effects::default();
        node.follow(now, work, &mut effects);
        let slots: Vec<Slot> = node.genesis.slots().collect();
        for slot in slots {
            let work = node.host.found(in_ms(now), &node.genesis.view(slot));
            node.follow(now, work, &mut effects);
        }
        node.drain(&mut effects);
        Ok((node, effects))
    }

    /// Something happens.
    pub fn step(&mut self, now: Moment, input: Input<'_>) -> Effects {
        let mut effects = Effects::default();
        match input {
            Input::Message { from, message } => self.hear(now, from, message, &mut effects),
            Input::Timer(Timer::Dht) => self.kademlia.handle_timeout(now),
            Input::Timer(Timer::Registers) => {
                let work = self.host.tick(in_ms(now));
                self.follow(now, work, &mut effects);
            }
            Input::Timer(Timer::Watch) => self.look(now, &mut effects),
            Input::Call(operation, give_up_at) => {
                self.call(now, operation, give_up_at, Origin::Client, &mut effects);
            }
            Input::Timer(Timer::Calls) => {
                self.ask_again(now, &mut effects);
                self.keep_list(now, &mut effects);
            }
            Input::Change(id, change, give_up_at) => {
                self.change(now, id, change, give_up_at, true, &mut effects);
            }
            Input::Votes(votes) => {
                let me = self.me().node;
                for message in votes {
                    let work = self.host.handle(in_ms(now), me, &message);
                    self.follow(now, work, &mut effects);
                }
            }
            Input::Propose(view) => {
                let work = self.host.propose(in_ms(now), &view);
                self.follow(now, work, &mut effects);
            }
            Input::Meet(contacts) => {
                self.known.extend(contacts.iter().copied());
                // Who has no room for a query has begun others.
                let _ = self.kademlia.join(now, &contacts);
            }
        }
        self.drain(&mut effects);
        effects
    }

    /// When to call [`Node::step`] with which timer, at the latest.
    pub fn timers(&self) -> [(Timer, Moment); 4] {
        let registers = self.host.due();
        let registers = if registers == register::Moment::NEVER {
            Moment::NEVER
        } else {
            Moment(registers.0.saturating_mul(1000))
        };
        [
            (Timer::Dht, self.kademlia.poll_timeout()),
            (Timer::Registers, registers),
            (Timer::Watch, self.watch.next),
            (Timer::Calls, self.calls.due().min(self.changes.due())),
        ]
    }

    /// Asks something of this node's part of the DHT: most questions begin a query, which ends with an
    /// [`Event`](kademlia::Event). What follows from it. Asking is not to poll: what is to be sent and told stands in
    /// the effects.
    pub fn ask_dht<T>(&mut self, ask: impl FnOnce(&mut Kademlia) -> T) -> (T, Effects) {
        let answer = ask(&mut self.kademlia);
        let mut effects = Effects::default();
        self.drain(&mut effects);
        (answer, effects)
    }

    /// Who it is, in this life of its disk.
    pub fn me(&self) -> Member {
        self.host.me()
    }

    /// Its registers.
    pub fn registers(&self) -> &Host {
        &self.host
    }

    /// Its part of the DHT.
    pub fn dht(&self) -> &Kademlia {
        &self.kademlia
    }

    /// When another node was last heard; `None` if it never was since the start, or is no member and was silent
    /// for long.
    pub fn heard_at(&self, node: NodeId) -> Option<Moment> {
        self.watch.heard_at(node)
    }

    /// Whether another node was not heard for so long that it is taken for gone: [`Patience::silent_ms`]; one that never
    /// was, since the start.
    pub fn is_silent(&self, now: Moment, node: NodeId) -> bool {
        node != self.me().node && self.watch.is_gone(now, node)
    }

    /// The newest view of a key's slot that was heard of.
    pub fn view_of(&self, key: &register::Key) -> View {
        self.view_in(self.slot_of(key))
    }

    /// The list of members, as far as this node knows it, and its version: zero is the genesis's.
    pub fn roster(&self) -> (&Roster, Version) {
        let known = &self.changes.known;
        (&known.roster, known.version)
    }

    fn hear(&mut self, now: Moment, from: Peer, message: &Message<'_>, effects: &mut Effects) {
        // Who has no seat proposes nothing, and asks nobody but those whom it knows to run its calls.
        let counts = self.host.replicas().next().is_some() || self.known.has(from.id);
        if counts {
            self.watch.heard(now, from.id);
        }
        let Body::Notice(Notice::Slots { parts }) = &message.body else {
            self.kademlia.handle_message(now, from, message);
            return;
        };
        // A notice of which a part is not to be read counts for nothing: whoever sent it asks again, and
        // a notice gets no answer.
        for message in register::unpack(*parts).unwrap_or_default() {
            match &message.body {
                register::Body::Call(asked) => {
                    let place = (message.slot, message.epoch);
                    self.asked(now, from, place, asked, effects);
                }
                register::Body::Called(told) => self.told(now, from.id, told, effects),
                register::Body::Start(start) => {
                    if counts {
                        self.watch.lives(now, from.id, start.incarnation);
                    }
                    self.calls.peers.heard(now, from.id, *start);
                    self.say_which_life(from, *start, effects);
                }
                _ => {
                    let work = self.host.handle(in_ms(now), from.id, &message);
                    self.follow(now, work, effects);
                }
            }
        }
    }

    /// Asks the others whether they live, and proposes the views that ought to follow.
    fn look(&mut self, now: Moment, effects: &mut Effects) {
        let (roster, host) = (&self.changes.known.roster, &self.host);
        let has_seat = |node| host.replicas().any(|replica| replica.view().seat_at(node).is_some());
        self.watch.look(now, |node| roster.place(node).is_some() || has_seat(node));
        let body = register::Body::Start(self.host.start_of());
        let message = register::Message { slot: Slot(0), epoch: Epoch(0), body };
        let mut send = Vec::new();
        for node in self.watched() {
            if let Some(contact) = self.contact_of(node) {
                self.kademlia.probe_contact(now, contact);
                send.push(Envelope { to: node, message: message.clone() });
            }
        }
        self.follow(now, Work { ask: send, ..Work::default() }, effects);
        let (roster, is_fresh) = (&self.changes.known.roster, self.changes.is_fresh(now));
        let replicas = self.host.replicas();
        let newest = replicas.filter(|replica| {
            let view = replica.view();
            self.host.newest(view.slot()) == Some(view)
        });
        let successors: Vec<View> = newest
            .filter_map(|replica| {
                self.watch.successor(now, &self.genesis, replica, roster, is_fresh)
            })
            .take(MOST_PROPOSALS)
            .collect();
        for view in successors {
            let work = self.host.propose(in_ms(now), &view);
            self.follow(now, work, effects);
        }
    }

    /// Whom this node asks whether it lives: all members of the list, if they are few; else those who have
    /// seats beside it, and those who could get them.
    pub(crate) fn watched(&self) -> BTreeSet<NodeId> {
        let roster = &self.changes.known.roster;
        let mut watched: BTreeSet<NodeId> = BTreeSet::new();
        let views = self.host.replicas().map(Replica::view);
        let views: Vec<&View> =
            views.filter(|view| self.host.newest(view.slot()) == Some(view)).collect();
        watched.extend(views.iter().flat_map(|view| view.members()).map(|member| member.node));
        let mut nodes: Vec<NodeId> = roster.places().map(|place| place.member.node).collect();
        if nodes.len() <= MOST_WATCHED {
            watched.extend(nodes);
        } else {
            for view in views {
                let point = self.genesis.point_of(view.slot());
                nodes.sort_by_key(|node| node.distance(point));
                watched.extend(nodes.iter().take(4 * self.genesis.replicas()));
            }
        }
        watched.remove(&self.me().node);
        watched
    }

    /// What the registers want done, with messages to one node together.
    pub(crate) fn follow(&mut self, now: Moment, work: Work, effects: &mut Effects) {
        let Work { ask, ended, persist, send, votes } = work;
        for (slot, ballot) in rounds::begun(&ask) {
            self.round_trips += 1;
            if let Some(id) = self.host.asks_under(slot, ballot) {
                self.calls.round_has_begun(id);
            }
        }
        self.pack(&ask, &mut effects.first);
        effects.persist.extend(persist);
        self.pack(&send, &mut effects.send);
        effects.votes.extend(votes);
        for (id, outcome) in ended {
            self.ended_here(now, id, outcome, effects);
        }
    }

    fn pack(&self, send: &[Envelope], packed: &mut Vec<Transmit>) {
        let mut parts: BTreeMap<NodeId, Vec<Vec<u8>>> = BTreeMap::new();
        for envelope in send {
            let parts = parts.entry(envelope.to).or_default();
            // What no peer would take is not sent: its keys and values are refused where they come in.
            let _ = envelope.message.encode(parts);
        }
        for (to, parts) in &parts {
            // Whom nobody knows, nobody reaches: as lost.
            let Some(address) = self.contact_of(*to).map(|contact| contact.address) else {
                continue;
            };
            send_parts(Peer { id: *to, address }, parts, packed);
        }
    }

    /// How many rounds of questions about keys this node's coordinators have sent to replicas at other
    /// nodes, since the start: see [`Rounds`](crate::Rounds).
    pub fn round_trips(&self) -> u64 {
        self.round_trips
    }

    /// Where a node is, as far as is known here.
    pub fn contact_of(&self, node: NodeId) -> Option<Contact> {
        self.known
            .get(node)
            .or_else(|| self.kademlia.table().entry(node).map(|entry| entry.contact))
    }

    pub(crate) fn slot_of(&self, key: &register::Key) -> Slot {
        self.genesis.slot_of(&(self.hash)(&key.0))
    }

    /// The newest view of a slot that was heard of.
    pub(crate) fn view_in(&self, slot: Slot) -> View {
        self.host.newest(slot).cloned().unwrap_or_else(|| self.genesis.view(slot))
    }

    fn drain(&mut self, effects: &mut Effects) {
        // KAD-12: with the answers that acknowledge it.
        effects.keep.extend(self.kademlia.changed_records());
        let (transmits, events) = self.kademlia.take();
        append(&mut effects.send, transmits);
        effects.events.extend(events);
    }
}

/// Parts for one node, as notices.
pub(crate) fn send_parts(to: Peer, parts: &[Vec<u8>], packed: &mut Vec<Transmit>) {
    let notices = register::pack(parts);
    packed.extend(notices.map(|notice| Transmit { to, message: notice.to_owned() }));
}

/// Messages are large to move: what stands alone is not.
fn append<T>(list: &mut Vec<T>, more: Vec<T>) {
    if list.is_empty() {
        *list = more;
    } else {
        list.extend(more);
    }
}

/// Registers count in milliseconds.
pub(crate) fn in_ms(moment: kademlia::Moment) -> register::Moment {
    if moment == Moment::NEVER {
        register::Moment::NEVER
    } else {
        register::Moment(moment.0 / 1000)
    }
}
