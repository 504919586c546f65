//! Many nodes in one thread, in virtual time: what is sent arrives after a while, or never.
//!
//! Small on purpose, and without bytes: the simulator in `tests/sim` has regions, churn and encodings.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use cloakroom_kademlia::{Event, Held, Judge, Kademlia, Moment, Parameters, Peer, QueryId, Random};
use cloakroom_wire::{
    Address, Contact, NodeId, NodeKey, OwnedBody, OwnedContent, OwnedFields, OwnedMessage,
    OwnedRecord, OwnedRequest, RecordKey,
};

/// What a node's own answers are replaced by, for nodes that lie.
pub(crate) type Lie = fn(&World, usize, &mut OwnedMessage);

/// A network.
pub(crate) struct World {
    pub(crate) nodes: Vec<Option<Kademlia>>,
    pub(crate) now: Moment,
    pub(crate) random: Random,
    pub(crate) loss_per_thousand: u64,
    pub(crate) latency_us: (u64, u64),
    /// Nodes that nobody reaches and that reach nobody.
    pub(crate) cut: Vec<bool>,
    pub(crate) liars: BTreeMap<usize, Lie>,
    pub(crate) events: Vec<(usize, Event)>,
    pub(crate) sent: u64,
    /// Requests to store a record, by who got them.
    pub(crate) stores: BTreeMap<usize, u64>,
    pub(crate) parameters: Parameters,
    by_id: BTreeMap<NodeId, usize>,
    wakes: Vec<Moment>,
    queue: BinaryHeap<Reverse<(Moment, u64, usize)>>,
    flying: BTreeMap<u64, (Peer, Peer, OwnedMessage)>,
    number: u64,
}

/// The id is the key with all bits turned: a hash that everybody can compute.
pub(crate) fn contact(id: NodeId, number: usize) -> Contact {
    let number = u32::try_from(number).unwrap() + 1;
    let [_, a, b, c] = number.to_be_bytes();
    // A subnet for each.
    let address = Address::v4([10 + a, b, c, 1], 4000);
    Contact { id, address, key: NodeKey(id.0.map(|byte| !byte)) }
}

pub(crate) fn judge() -> Judge {
    Judge { contact: |contact| contact.key.0 == contact.id.0.map(|byte| !byte), record: |_| true }
}

pub(crate) fn record(key: RecordKey, origin: NodeId, sequence: u64, life_ms: u64) -> OwnedRecord {
    let content = OwnedContent::Value(sequence.to_be_bytes().into());
    OwnedRecord {
        key,
        origin,
        sequence,
        expires_in_ms: life_ms,
        content,
        later: OwnedFields::default(),
    }
}

impl World {
    pub(crate) fn new(nodes: usize, parameters: Parameters, seed: u64) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            now: Moment(1_000_000),
            random: Random::new(seed),
            loss_per_thousand: 0,
            latency_us: (5_000, 50_000),
            cut: Vec::new(),
            liars: BTreeMap::new(),
            events: Vec::new(),
            sent: 0,
            stores: BTreeMap::new(),
            parameters,
            by_id: BTreeMap::new(),
            wakes: Vec::new(),
            queue: BinaryHeap::new(),
            flying: BTreeMap::new(),
            number: 0,
        };
        for _ in 0..nodes {
            world.add();
        }
        world
    }

    /// A network whose nodes have all joined by node 0.
    pub(crate) fn joined(nodes: usize, parameters: Parameters, seed: u64) -> Self {
        let mut world = Self::new(nodes, parameters, seed);
        for node in 1..nodes {
            world.join(node, 0);
            world.run_ms(200);
        }
        world.run_ms(60_000);
        world.events.clear();
        world
    }

    /// One more node, which knows nobody.
    pub(crate) fn add(&mut self) -> usize {
        let node = self.nodes.len();
        let id = NodeId(self.random.bytes());
        let seed = self.random.next();
        let own = contact(id, node);
        self.nodes.push(Some(Kademlia::new(self.now, own, self.parameters, judge(), seed)));
        self.by_id.insert(id, node);
        self.cut.push(false);
        self.wakes.push(Moment::NEVER);
        self.settle(node);
        node
    }

    pub(crate) fn join(&mut self, node: usize, by: usize) {
        let bootstrap = *self.node(by).own();
        let now = self.now;
        self.node_mut(node).join(now, &[bootstrap]).unwrap();
        self.settle(node);
    }

    pub(crate) fn node(&self, node: usize) -> &Kademlia {
        self.nodes[node].as_ref().expect("it lives")
    }

    pub(crate) fn node_mut(&mut self, node: usize) -> &mut Kademlia {
        self.nodes[node].as_mut().expect("it lives")
    }

    /// Does something to a node, and sends what comes of it.
    pub(crate) fn with<T>(
        &mut self,
        node: usize,
        what: impl FnOnce(&mut Kademlia, Moment) -> T,
    ) -> T {
        let now = self.now;
        let result = what(self.node_mut(node), now);
        self.settle(node);
        result
    }

    pub(crate) fn crash(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    /// A node starts again at once, with what its disk kept or with nothing.
    pub(crate) fn restart(&mut self, node: usize, disk: bool) {
        let (now, seed) = (self.now, self.random.next());
        let before = self.nodes[node].take().expect("it lives");
        let mut again = Kademlia::new(now, *before.own(), self.parameters, judge(), seed);
        if disk {
            let contacts: Vec<_> = before.table().entries().map(|entry| entry.contact).collect();
            again.restore(now, &contacts);
            again.restore_records(now, before.records().kept().cloned());
        }
        self.nodes[node] = Some(again);
        self.settle(node);
    }

    pub(crate) fn living(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].is_some()).collect()
    }

    /// The living nodes closest to a point, the closest first.
    pub(crate) fn closest(&self, point: NodeId, count: usize) -> Vec<usize> {
        let mut living = self.living();
        living.sort_by_key(|&node| self.node(node).own().id.distance(point));
        living.truncate(count);
        living
    }

    /// The living nodes that hold a replica of this key, sorted by number.
    pub(crate) fn holders(&self, key: RecordKey) -> Vec<usize> {
        let holds =
            |&node: &usize| self.node(node).records().shown(self.now, key).any(Held::is_replica);
        self.living().into_iter().filter(holds).collect()
    }

    /// Runs until a query of a node has ended, and gives its event.
    pub(crate) fn finish(&mut self, node: usize, query: QueryId) -> Event {
        for _ in 0..10_000 {
            let ended = |(of, event): &(usize, Event)| *of == node && names(event) == Some(query);
            if let Some(at) = self.events.iter().position(ended) {
                return self.events.swap_remove(at).1;
            }
            self.run_ms(10);
        }
        panic!("{query} of node {node} does not end");
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while let Some(&Reverse((at, number, node))) = self.queue.peek() {
            if at > until {
                break;
            }
            self.queue.pop();
            self.now = at;
            match self.flying.remove(&number) {
                Some((from, to, message)) => self.deliver(node, from, to, &message),
                None if self.wakes[node] == at => {
                    self.wakes[node] = Moment::NEVER;
                    if let Some(it) = &mut self.nodes[node] {
                        it.handle_timeout(at);
                    }
                }
                None => continue,
            }
            self.settle(node);
        }
        self.now = until;
    }

    fn deliver(&mut self, node: usize, from: Peer, to: Peer, message: &OwnedMessage) {
        if self.cut[node] {
            return;
        }
        let now = self.now;
        if let Some(it) = &mut self.nodes[node] {
            // The transport's part: only the node with this id, at this address.
            if it.own().id == to.id && it.own().address == to.address {
                it.handle_message(now, from, &message.borrow());
            }
        }
    }

    /// Sends what a node has to send, and sets its alarm.
    fn settle(&mut self, node: usize) {
        let Some(mut it) = self.nodes[node].take() else { return };
        let own = *it.own();
        let mut transmits = Vec::new();
        while let Some(transmit) = it.poll_transmit() {
            transmits.push(transmit);
        }
        while let Some(event) = it.poll_event() {
            self.events.push((node, event));
        }
        let wake = it.poll_timeout();
        self.nodes[node] = Some(it);
        for mut transmit in transmits {
            if let Some(lie) = self.liars.get(&node).copied() {
                lie(self, node, &mut transmit.message);
            }
            self.sent += 1;
            let lost = self.random.below(1000) < self.loss_per_thousand;
            let Some(&to) = self.by_id.get(&transmit.to.id) else { continue };
            if lost || self.cut[node] {
                continue;
            }
            let (least, most) = self.latency_us;
            let at = self.now.plus_us(least + self.random.below(most - least + 1));
            let body = &transmit.message.body;
            if matches!(body, OwnedBody::Request { request: OwnedRequest::Store { .. }, .. }) {
                *self.stores.entry(to).or_default() += 1;
            }
            let from = Peer { id: own.id, address: own.address };
            self.number += 1;
            self.flying.insert(self.number, (from, transmit.to, transmit.message));
            self.queue.push(Reverse((at, self.number, to)));
        }
        if wake < self.wakes[node] {
            self.wakes[node] = wake;
            self.number += 1;
            self.queue.push(Reverse((wake.max(self.now), self.number, node)));
            self.wakes[node] = wake.max(self.now);
        }
    }
}

/// The query that an event ends.
fn names(event: &Event) -> Option<QueryId> {
    match event {
        Event::Found { query, .. }
        | Event::Value { query, .. }
        | Event::Absent { query, .. }
        | Event::Published { query, .. } => Some(*query),
        _ => None,
    }
}
