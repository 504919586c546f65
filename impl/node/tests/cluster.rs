//! Whole clusters of nodes in virtual time, over encoded bytes.

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_kademlia::{Judge, Moment, Parameters, Peer};
use cloakroom_node::{Answer, Effects, Founder, Genesis, Input, Node, Patience, Setup, Zone};
use cloakroom_register::kept::{self, Change};
use cloakroom_register::{
    Call, Disk, Expected, Incarnation, Key, Life, Member, Operation, OperationId, Outcome, Value,
    View, Waits,
};
use cloakroom_wire::{Address, Contact, DecodeError, Message, NodeId, NodeKey};

/// Not SHA-256, but as even for a test.
fn hash(bytes: &[u8]) -> [u8; 32] {
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

fn contact(number: u8) -> Contact {
    let id = NodeId(hash(&[number]));
    Contact { id, address: Address::v4([10, 0, number, 1], 7400), key: NodeKey([number; 32]) }
}

type File = BTreeMap<Vec<u8>, Vec<u8>>;

fn read(file: &File) -> Result<Option<Disk>, (Vec<u8>, DecodeError)> {
    kept::disk(file.iter().map(|(key, value)| (&key[..], &value[..])))
}

struct World {
    now: Moment,
    setup: Setup,
    nodes: BTreeMap<u8, Node>,
    disks: BTreeMap<u8, Disk>,
    /// The same disks in bytes.
    files: BTreeMap<u8, File>,
    /// By time, then by order of sending.
    on_the_way: BTreeMap<(Moment, u64), (u8, u8, Vec<u8>)>,
    sent: u64,
    cut: BTreeSet<u8>,
    ended: BTreeMap<OperationId, Outcome>,
    elsewhere: BTreeMap<OperationId, View>,
}

impl World {
    /// `zones[i]` is that of node i.
    fn new(zones: &[&str], slots: u32, replicas: u8) -> Self {
        let founder = |(number, zone): (u8, &&str)| Founder {
            contact: contact(number),
            zone: Zone((*zone).into()),
        };
        let founders: Vec<Founder> = (0..).zip(zones).map(founder).collect();
        let setup = Setup {
            genesis: Genesis::new(&founders, slots, replicas).unwrap(),
            contact: contact(0),
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
        };
        for number in 0..u8::try_from(zones.len()).unwrap() {
            let me = Member { node: contact(number).id, incarnation: Incarnation(0) };
            world.disks.insert(number, Disk::new(me));
            world.write(number, kept::owner(me));
            world.start(number);
        }
        world
    }

    fn start(&mut self, number: u8) {
        let seed = u64::from(number) + self.now.0;
        let setup = Setup { contact: contact(number), seed, ..self.setup.clone() };
        let disk = read(&self.files[&number]).unwrap().expect("it has an owner");
        assert_eq!(disk, self.disks[&number], "bytes are read as they were written");
        let (node, effects) = Node::start(self.now, setup, &disk).unwrap();
        self.nodes.insert(number, node);
        self.follow(number, effects);
    }

    fn write(&mut self, number: u8, change: Change) {
        let file = self.files.entry(number).or_default();
        match change {
            Change::Put(key, value) => drop(file.insert(key, value)),
            Change::Remove(key) => drop(file.remove(&key)),
            Change::RemoveAll(prefix) => file.retain(|key, _| !key.starts_with(&prefix)),
        }
    }

    fn crash(&mut self, number: u8) {
        self.nodes.remove(&number);
    }

    fn follow(&mut self, number: u8, effects: Effects) {
        let disk = self.disks.get_mut(&number).unwrap();
        effects.persist.iter().for_each(|save| disk.apply(save));
        let changes = effects.persist.iter().flat_map(|save| kept::changes(save).unwrap());
        changes.for_each(|change| self.write(number, change));
        for transmit in effects.send {
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
            self.on_the_way.insert(at, (number, to, bytes));
        }
        for answer in effects.answer {
            match answer {
                Answer::Ended(id, outcome) => {
                    let before = self.ended.insert(id, outcome);
                    assert_eq!(before, None, "{id} has ended twice");
                }
                Answer::Elsewhere(id, view) => drop(self.elsewhere.insert(id, view)),
                Answer::Dht(_) => {}
            }
        }
    }

    /// The next thing happens; whether there is one before `end`.
    fn advance(&mut self, end: Moment) -> bool {
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

    fn pass_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while self.advance(end) {}
    }

    fn operation(&self, key: &str, call: Call) -> Operation {
        let id = hash(format!("{key} {call:?} {}", self.now).as_bytes());
        let id = OperationId(id[..16].try_into().unwrap());
        Operation { id, key: Key::from(key.as_bytes()), call, bound: None }
    }

    /// Calls at one node and, if it cannot run the call, at one of those that it names.
    fn call(&mut self, number: u8, key: &str, call: Call) -> Outcome {
        let operation = self.operation(key, call);
        let give_up_at = self.now.plus_ms(30_000);
        let end = give_up_at.plus_ms(1);
        let mut at = number;
        loop {
            let node = self.nodes.get_mut(&at).unwrap();
            let effects = node.step(self.now, Input::Call(operation.clone(), give_up_at));
            self.follow(at, effects);
            let is_open = |world: &Self| {
                let id = &operation.id;
                !world.ended.contains_key(id) && !world.elsewhere.contains_key(id)
            };
            while is_open(self) && self.advance(end) {}
            let Some(view) = self.elsewhere.remove(&operation.id) else { break };
            let is_up = |other: &&u8| self.nodes.contains_key(other);
            let members = view.members().iter().map(|member| member.node);
            let numbers: Vec<u8> = members
                .filter_map(|id| (0..=u8::MAX).find(|&number| contact(number).id == id))
                .collect();
            let next = *numbers.iter().find(is_up).expect("somebody is up");
            assert_ne!(next, at, "sent to itself");
            at = next;
        }
        self.ended.remove(&operation.id).expect("an operation ends when it is given up")
    }

    fn put(&mut self, number: u8, key: &str, value: &str) -> Outcome {
        let new = Some(Value::from(value.as_bytes()));
        self.call(number, key, Call::CompareAndSet { expected: Expected::Absent, new })
    }

    fn get(&mut self, number: u8, key: &str) -> Option<String> {
        match self.call(number, key, Call::Get) {
            Outcome::Got(held) => {
                held.map(|held| String::from_utf8(held.value.0.to_vec()).unwrap())
            }
            other => panic!("a get of {key} ended with {other:?}"),
        }
    }

    /// The newest view of each slot in which a node that is up votes, with how many of its members do.
    fn views(&self) -> BTreeMap<u16, (View, usize)> {
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

    fn is_named(&self, number: u8) -> bool {
        let id = contact(number).id;
        self.views().values().any(|(view, _)| view.seat_at(id).is_some())
    }
}

const APART: [&str; 5] = ["a", "b", "c", "d", "e"];

#[test]
fn what_was_put_at_any_node_is_read_at_every_other() {
    let mut world = World::new(&APART, 16, 3);
    for number in 0..5 {
        let key = format!("key {number}");
        assert!(matches!(world.put(number, &key, "coat"), Outcome::Set(_)));
        for reader in 0..5 {
            assert_eq!(world.get(reader, &key).as_deref(), Some("coat"));
        }
        assert!(matches!(world.put(number, &key, "hat"), Outcome::Mismatch(Some(_))));
    }
}

#[test]
fn a_cluster_of_one_is_the_same_code_with_one_replica() {
    let mut world = World::new(&["a"], 16, 3);
    assert!(matches!(world.put(0, "key", "coat"), Outcome::Set(_)));
    world.crash(0);
    world.start(0);
    assert_eq!(world.get(0, "key").as_deref(), Some("coat"), "lost by a crash");
}

#[test]
fn members_of_a_slot_are_in_different_zones_while_there_are_enough() {
    let world = World::new(&["a", "a", "a", "b", "c"], 64, 3);
    assert_eq!(world.views().len(), 64);
    for (view, active) in world.views().values() {
        assert_eq!(*active, 3);
        let in_a = (0..3).filter(|&number| view.seat_at(contact(number).id).is_some()).count();
        assert_eq!(in_a, 1, "{view}");
    }
}

#[test]
fn who_dies_is_replaced_in_every_slot_and_nothing_is_lost() {
    let mut world = World::new(&APART, 16, 3);
    for key in 0..40 {
        assert!(matches!(world.put(key % 5, &format!("key {key}"), "coat"), Outcome::Set(_)));
    }
    world.pass_ms(5_000);
    for dead in [3, 1] {
        world.crash(dead);
        // A majority of each slot is there: calls go on at once.
        let alive = *world.nodes.keys().next().unwrap();
        assert_eq!(world.get(alive, "key 7").as_deref(), Some("coat"));
        world.pass_ms(60_000);
        assert!(!world.is_named(dead), "node {dead} is still a member: {:?}", world.views());
        for (view, active) in world.views().values() {
            assert_eq!((view.members().len(), *active), (3, 3), "{view}");
        }
    }
    for key in 0..40 {
        let reader = if key % 2 == 0 { 0 } else { 4 };
        assert_eq!(world.get(reader, &format!("key {key}")).as_deref(), Some("coat"));
    }
}

#[test]
fn a_node_that_comes_back_in_time_keeps_its_seats() {
    let mut world = World::new(&APART, 16, 3);
    world.pass_ms(5_000);
    let before = world.views();
    world.crash(2);
    world.pass_ms(5_000);
    world.start(2);
    world.pass_ms(60_000);
    assert_eq!(world.views(), before);
}

#[test]
fn who_is_cut_off_proposes_nothing_and_the_others_go_on_without_it() {
    let mut world = World::new(&APART, 16, 3);
    world.pass_ms(5_000);
    world.cut.insert(4);
    world.pass_ms(60_000);
    let alone = &world.nodes[&4];
    for replica in alone.registers().replicas() {
        assert_eq!(replica.durable().vote, cloakroom_register::Vote::NONE, "it has voted on views");
    }
    world.cut.clear();
    world.pass_ms(60_000);
    assert!(!world.is_named(4));
    assert!(matches!(world.put(4, "key", "coat"), Outcome::Set(_)), "it finds those who can");
}

#[test]
fn a_damaged_disk_is_refused_and_never_read_as_one_that_has_forgotten_something() {
    let mut world = World::new(&APART, 4, 3);
    for key in 0..8 {
        assert!(matches!(world.put(0, &format!("key {key}"), "coat"), Outcome::Set(_)));
    }
    world.crash(1);
    world.pass_ms(60_000);
    let letters: BTreeSet<u8> =
        world.files.values().flat_map(|file| file.keys().map(|key| key[0])).collect();
    assert_eq!(letters, BTreeSet::from(*b"mbvplfdr"), "every kind of entry is there");
    for (number, file) in &world.files {
        assert_eq!(read(file), Ok(Some(world.disks[number].clone())));
        for (key, value) in file {
            let mut damaged = file.clone();
            damaged.insert(key.clone(), value[..value.len() - 1].to_vec());
            assert!(read(&damaged).is_err(), "one byte short: {key:?}");
            damaged.insert(key.clone(), [value, &b"x"[..]].concat());
            assert!(read(&damaged).is_err(), "one byte long: {key:?}");
            damaged.remove(key);
            // A record that is gone leaves no trace: a checksum's affair.
            assert!(read(&damaged).is_err() || key[0] == b'r', "lost: {key:?}");
        }
    }
    assert_eq!(read(&File::new()), Ok(None));
}
