//! A cluster in virtual time, over encoded bytes, with disks that are written at once.

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_kademlia::{Judge, Moment, Parameters, Peer};
use cloakroom_node::{
    Answer, Change, ChangeFault, Effects, Founder, Genesis, Input, Node, Patience, Setup, Zone,
};
use cloakroom_register::kept;
use cloakroom_register::{
    Call, Disk, Expected, Incarnation, Key, Life, Member, Operation, OperationId, Outcome, Value,
    Version, View, Waits,
};
use cloakroom_wire::{Address, Contact, DecodeError, Message, NodeId, NodeKey};

/// Not SHA-256, but as even for a test.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for (at, byte) in hash.iter_mut().enumerate() {
        for part in bytes.iter().chain([&u8::try_from(at).unwrap()]) {
            state = (state ^ u64::from(*part)).wrapping_mul(0x0100_0000_01b3);
        }
        *byte = state.to_be_bytes()[2];
    }
    hash
}

pub(crate) fn contact(number: u8) -> Contact {
    let id = NodeId(hash(&[number]));
    Contact { id, address: Address::v4([10, 0, number, 1], 7400), key: NodeKey([number; 32]) }
}

pub(crate) type File = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn read(file: &File) -> Result<Option<Disk>, (Vec<u8>, DecodeError)> {
    kept::disk(file.iter().map(|(key, value)| (&key[..], &value[..])))
}

pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) setup: Setup,
    pub(crate) nodes: BTreeMap<u8, Node>,
    pub(crate) disks: BTreeMap<u8, Disk>,
    /// The same disks in bytes.
    pub(crate) files: BTreeMap<u8, File>,
    /// By time, then by order of sending.
    pub(crate) on_the_way: BTreeMap<(Moment, u64), (u8, u8, Vec<u8>)>,
    pub(crate) sent: u64,
    pub(crate) cut: BTreeSet<u8>,
    pub(crate) ended: BTreeMap<OperationId, Outcome>,
    pub(crate) elsewhere: BTreeMap<OperationId, View>,
    pub(crate) lost: BTreeSet<OperationId>,
    /// Every message comes once more, so much later.
    pub(crate) twins_after_ms: Option<u64>,
    pub(crate) changed: BTreeMap<OperationId, Result<Version, ChangeFault>>,
}

impl World {
    /// `zones[i]` is that of node i.
    pub(crate) fn new(zones: &[&str], slots: u32, replicas: u8) -> Self {
        let founder = |(number, zone): (u8, &&str)| Founder {
            contact: contact(number),
            zone: Zone((*zone).into()),
        };
        let founders: Vec<Founder> = (0..).zip(zones).map(founder).collect();
        let setup = Setup {
            genesis: Genesis::new(&founders, slots, replicas).unwrap(),
            contact: contact(0),
            reachable: true,
            table: Vec::new(),
            parameters: Parameters { subnets: None, ..Parameters::default() },
            judge: Judge { contact: |_| true, record: |_| true },
            waits: Waits::default(),
            patience: Patience::default(),
            hash,
            seed: 0,
        };
        let mut world = Self {
            now: Moment(0),
            setup,
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            files: BTreeMap::new(),
            on_the_way: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            ended: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            lost: BTreeSet::new(),
            twins_after_ms: None,
            changed: BTreeMap::new(),
        };
        for number in 0..u8::try_from(zones.len()).unwrap() {
            let me = Member { node: contact(number).id, incarnation: Incarnation(0) };
            world.disks.insert(number, Disk::new(me));
            world.write(number, kept::owner(me));
            world.start(number);
        }
        world
    }

    pub(crate) fn start(&mut self, number: u8) {
        let seed = u64::from(number) + self.now.0;
        let setup = Setup { contact: contact(number), seed, ..self.setup.clone() };
        let disk = read(&self.files[&number]).unwrap().expect("it has an owner");
        assert_eq!(disk, self.disks[&number], "bytes are read as they were written");
        let (node, effects) = Node::start(self.now, setup, &disk, Vec::new()).unwrap();
        self.nodes.insert(number, node);
        self.follow(number, effects);
    }

    pub(crate) fn write(&mut self, number: u8, change: kept::Change) {
        let file = self.files.entry(number).or_default();
        match change {
            kept::Change::Put(key, value) => drop(file.insert(key, value)),
            kept::Change::Remove(key) => drop(file.remove(&key)),
            kept::Change::RemoveAll(prefix) => file.retain(|key, _| !key.starts_with(&prefix)),
        }
    }

    pub(crate) fn crash(&mut self, number: u8) {
        self.nodes.remove(&number);
    }

    pub(crate) fn follow(&mut self, number: u8, effects: Effects) {
        let disk = self.disks.get_mut(&number).unwrap();
        effects.persist.iter().for_each(|save| disk.apply(save));
        let changes = effects.persist.iter().flat_map(|save| kept::changes(save).unwrap());
        changes.for_each(|change| self.write(number, change));
        for transmit in effects.first.into_iter().chain(effects.send) {
            let to = (0..=u8::MAX).find(|&other| contact(other).id == transmit.to.id).unwrap();
            if self.cut.contains(&number) || self.cut.contains(&to) {
                continue;
            }
            let mut bytes = Vec::new();
            transmit.message.borrow().encode(&mut bytes).unwrap();
            self.sent += 1;
            // Not in the order in which they were sent.
            let takes_ms = 1 + u64::from(hash(&self.sent.to_be_bytes())[0] % 8);
            let at = (self.now.plus_ms(takes_ms), self.sent);
            if let Some(later) = self.twins_after_ms {
                self.sent += 1;
                let at = (self.now.plus_ms(takes_ms + later), self.sent);
                self.on_the_way.insert(at, (number, to, bytes.clone()));
            }
            self.on_the_way.insert(at, (number, to, bytes));
        }
        for answer in effects.answer {
            match answer {
                Answer::Ended(id, outcome, _) => {
                    let before = self.ended.insert(id, outcome);
                    assert_eq!(before, None, "{id} has ended twice");
                }
                Answer::Elsewhere(id, view) => drop(self.elsewhere.insert(id, view)),
                Answer::Lost(id) => drop(self.lost.insert(id)),
                Answer::Changed(id, result) => drop(self.changed.insert(id, result)),
            }
        }
        if !effects.votes.is_empty() {
            let now = self.now;
            let node = self.nodes.get_mut(&number).unwrap();
            let effects = node.step(now, Input::Votes(effects.votes));
            self.follow(number, effects);
        }
    }

    /// The next thing happens; whether there is one before `end`.
    pub(crate) fn advance(&mut self, end: Moment) -> bool {
        let message = self.on_the_way.keys().next().map(|(at, _)| *at);
        let timers = self.nodes.iter().flat_map(|(number, node)| {
            node.timers().into_iter().map(|(timer, at)| (at.max(self.now), *number, timer))
        });
        let timer = timers.min();
        let next = message.into_iter().chain(timer.map(|(at, ..)| at)).min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = next;
        if message == Some(next) {
            let (_, (from, to, bytes)) = self.on_the_way.pop_first().unwrap();
            let from = Peer { id: contact(from).id, address: contact(from).address };
            let message = Message::decode(&bytes).unwrap();
            if let Some(node) = self.nodes.get_mut(&to) {
                let effects = node.step(next, Input::Message { from, message: &message });
                self.follow(to, effects);
            }
        } else if let Some((_, number, timer)) = timer {
            let node = self.nodes.get_mut(&number).unwrap();
            let effects = node.step(next, Input::Timer(timer));
            self.follow(number, effects);
        }
        true
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while self.advance(end) {}
    }

    pub(crate) fn operation(&self, key: &str, call: Call) -> Operation {
        let id = hash(format!("{key} {call:?} {}", self.now).as_bytes());
        let id = OperationId(id[..16].try_into().unwrap());
        Operation { id, key: Key::from(key.as_bytes()), call, bound: None }
    }

    /// Calls at one node; `Err` if nobody says how it ended.
    pub(crate) fn call(&mut self, number: u8, key: &str, call: Call) -> Result<Outcome, ()> {
        let operation = self.operation(key, call);
        let id = operation.id;
        let give_up_at = self.now.plus_ms(30_000);
        let end = give_up_at.plus_ms(1);
        let node = self.nodes.get_mut(&number).unwrap();
        let effects = node.step(self.now, Input::Call(operation, give_up_at));
        self.follow(number, effects);
        let is_open = |world: &Self| {
            let ended = world.ended.contains_key(&id);
            !ended && !world.elsewhere.contains_key(&id) && !world.lost.contains(&id)
        };
        while is_open(self) && self.advance(end) {}
        if self.lost.remove(&id) {
            return Err(());
        }
        let view = self.elsewhere.remove(&id);
        assert_eq!(view, None, "nobody could run it");
        Ok(self.ended.remove(&id).expect("an operation ends when it is given up"))
    }

    pub(crate) fn put_at(&mut self, number: u8, key: &str, value: &str) -> Result<Outcome, ()> {
        let new = Some(Value::from(value.as_bytes()));
        self.call(number, key, Call::CompareAndSet { expected: Expected::Absent, new })
    }

    pub(crate) fn remove_at(&mut self, number: u8, key: &str, value: &str) -> Result<Outcome, ()> {
        let expected = Expected::Value(Value::from(value.as_bytes()));
        self.call(number, key, Call::CompareAndSet { expected, new: None })
    }

    pub(crate) fn put(&mut self, number: u8, key: &str, value: &str) -> Outcome {
        self.put_at(number, key, value).expect("whoever runs it answers")
    }

    /// A node that is not there yet, or has a new disk, starts with an empty one.
    pub(crate) fn add(&mut self, number: u8, zone: &str, life: u64) {
        let me = Member { node: contact(number).id, incarnation: Incarnation(life) };
        assert!(!zone.is_empty());
        self.crash(number);
        self.disks.insert(number, Disk::new(me));
        self.files.insert(number, File::new());
        self.write(number, kept::owner(me));
        self.start(number);
    }

    /// A node learns of another.
    pub(crate) fn meet(&mut self, number: u8, other: u8) {
        let node = self.nodes.get_mut(&number).unwrap();
        let effects = node.step(self.now, Input::Meet(vec![contact(other)]));
        self.follow(number, effects);
    }

    /// The change by which a node comes, on the disk that it has.
    pub(crate) fn join(&self, number: u8, zone: &str) -> Change {
        let new = Member { node: contact(number).id, incarnation: Incarnation(0) };
        let member = self.disks.get(&number).map_or(new, Disk::me);
        Change::Join { member, contact: contact(number), zone: Zone(zone.into()) }
    }

    /// Changes the list of members, at one node.
    pub(crate) fn change(&mut self, number: u8, change: Change) -> Result<Version, ChangeFault> {
        self.sent += 1;
        let id = OperationId(hash(&self.sent.to_be_bytes())[..16].try_into().unwrap());
        let give_up_at = self.now.plus_ms(30_000);
        let node = self.nodes.get_mut(&number).unwrap();
        let effects = node.step(self.now, Input::Change(id, change, give_up_at));
        self.follow(number, effects);
        let end = give_up_at.plus_ms(1_000);
        while !self.changed.contains_key(&id) && self.advance(end) {}
        self.changed.remove(&id).expect("a change ends when it is given up")
    }

    pub(crate) fn get(&mut self, number: u8, key: &str) -> Option<String> {
        match self.call(number, key, Call::Get).expect("a get is never lost") {
            Outcome::Got(held) => {
                held.map(|held| String::from_utf8(held.value.0.to_vec()).unwrap())
            }
            other => panic!("a get of {key} ended with {other:?}"),
        }
    }

    /// The newest view of each slot in which a node that is up votes, with how many of its members do.
    pub(crate) fn views(&self) -> BTreeMap<u16, (View, usize)> {
        let mut views: BTreeMap<u16, (View, usize)> = BTreeMap::new();
        for replica in self.nodes.values().flat_map(|node| node.registers().replicas()) {
            if replica.durable().life != Life::Active {
                continue;
            }
            let view = replica.view();
            let entry = views.entry(view.slot().0).or_insert_with(|| (view.clone(), 0));
            if entry.0.epoch() < view.epoch() {
                *entry = (view.clone(), 0);
            }
            if entry.0 == *view {
                entry.1 += 1;
            }
        }
        views
    }

    pub(crate) fn is_named(&self, number: u8) -> bool {
        let id = contact(number).id;
        self.views().values().any(|(view, _)| view.seat_at(id).is_some())
    }
}
