//! The nodes of a run: who they are, who is up, and how they begin.
//!
//! Invariants:
//! * the census has the honest nodes that are up, can be called and have finished joining: those
//!   whom a lookup ought to find;
//! * a place belongs to one id for ever; a stranger who comes gets a new place.
//!
//! What it does not do: decide who comes and goes when.

use std::rc::Rc;

use cloakroom_kademlia::{Judge, Parameters, Peer};
use cloakroom_node::Genesis;
use cloakroom_wire::{Contact, NodeId, RecordKey};

use crate::engine::{End, Node, Time, World};
use crate::kad::census::Census;
use crate::kad::identity;
use crate::kad::liar::{Behaviour, Conspiracy, Liar};
use crate::kad::resident::{Disk, Honest, Made, Resident, genesis, moment};
use crate::random::{Chance, Random, to_f64, to_u64};
use crate::scenario::{Scenario, Start, ms_to_us};

/// A node, up or not.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who and where.
    pub contact: Contact,
    /// Whether it lies.
    pub liar: bool,
    /// Whether it can be called.
    pub reachable: bool,
    /// Since when it can be found; [`Time::NEVER`] while it is down or joining.
    pub since: Time,
    /// When it came and when it went, as often as it did.
    pub stays: Vec<(Time, Time)>,
    /// Where it stands among those who may call.
    caller: usize,
}

/// All of them.
pub struct People {
    /// By number of node.
    pub all: Vec<Person>,
    /// Those whom a lookup ought to find.
    pub census: Census,
    /// Honest nodes that are up and have joined.
    pub callers: Vec<Node>,
    /// How many there were at the beginning.
    first: usize,
    parameters: Parameters,
    judge: Judge,
    seed: u64,
    random: Random,
}

/// Contacts that a newcomer is given.
const BOOTSTRAP: usize = 3;
/// Time between two joins when all nodes join, in microseconds.
const JOIN_GAP_US: u64 = 50_000;

impl People {
    /// Makes the nodes of a scenario and starts them. `keys` are those of its records. Returns when
    /// the last of them begins to join.
    pub fn settle(
        scenario: &Scenario,
        keys: &[RecordKey],
        world: &mut World<Resident>,
    ) -> (Self, Time) {
        let eclipse = scenario.hostile.behaviour == Behaviour::Eclipse;
        let lenient = eclipse && scenario.hostile.share > 0.0;
        let mut people = Self {
            all: Vec::new(),
            census: Census::default(),
            callers: Vec::new(),
            first: scenario.nodes as usize,
            parameters: scenario.parameters(),
            judge: if lenient { identity::lenient_judge() } else { identity::judge() },
            seed: scenario.seed,
            random: Random::stream(scenario.seed, "people", 0),
        };
        let liars = to_u64(f64::from(scenario.nodes) * scenario.hostile.share);
        let honest = scenario.nodes - u32::try_from(liars).unwrap_or(0);
        for _ in 0..honest {
            people.stranger(scenario, world);
        }
        let conspiracy = people.conspire(scenario, scenario.nodes - honest, keys, world);
        for number in honest..scenario.nodes {
            let own = people.all[number as usize].contact;
            let random = Random::stream(scenario.seed, "liar", number.into());
            let liar = Liar::new(own, scenario.hostile.behaviour, Rc::clone(&conspiracy), random);
            world.start(Node(number), Resident::Liar(Box::new(liar)));
            people.all[number as usize].stays.push((Time(0), Time::NEVER));
        }
        let last = match scenario.start {
            Start::Filled => {
                people.fill(Node(honest), world);
                Time(0)
            }
            Start::Joining => Time(u64::from(honest) * JOIN_GAP_US),
        };
        (people, last)
    }

    /// When an honest node of the beginning is to join, if they all do.
    pub fn joins_at(node: Node) -> Time {
        Time(u64::from(node.0) * JOIN_GAP_US)
    }

    /// A new place for an honest node that nobody knows yet.
    ///
    /// # Panics
    /// Beyond 14 million nodes.
    pub fn stranger(&mut self, scenario: &Scenario, world: &mut World<Resident>) -> Node {
        let number = u32::try_from(self.all.len()).expect("fewer than 2^32 nodes");
        let contact = identity::honest(number, &mut self.random);
        let reachable = !self.random.happens(Chance::of(scenario.nodes_are.nat));
        let mut end = self.end(scenario, world);
        end.nat = !reachable;
        self.add(contact, false, reachable, end, world)
    }

    fn end(&mut self, scenario: &Scenario, world: &mut World<Resident>) -> End {
        let are = &scenario.nodes_are;
        let regions = world.network_mut().regions.count();
        let slow = self.random.happens(Chance::of(are.slow));
        let service_ms = if slow { are.slow_ms } else { are.service_ms };
        End {
            region: u8::try_from(self.random.index(regions)).expect("at most ten regions"),
            line_us: u32::try_from(ms_to_us(are.line_ms)).unwrap_or(u32::MAX),
            service_us: u32::try_from(ms_to_us(service_ms)).unwrap_or(u32::MAX),
            nat: false,
        }
    }

    fn add(
        &mut self,
        contact: Contact,
        liar: bool,
        reachable: bool,
        end: End,
        world: &mut World<Resident>,
    ) -> Node {
        let address = Peer { id: contact.id, address: contact.address };
        let node = world.settle(address, end);
        assert_eq!(node.index(), self.all.len(), "people and places are numbered alike");
        let caller = usize::MAX;
        let (since, stays) = (Time::NEVER, Vec::new());
        self.all.push(Person { contact, liar, reachable, since, stays, caller });
        node
    }

    fn conspire(
        &mut self,
        scenario: &Scenario,
        liars: u32,
        keys: &[RecordKey],
        world: &mut World<Resident>,
    ) -> Rc<Conspiracy> {
        let hostile = &scenario.hostile;
        let subnets = if hostile.subnets == 0 { liars } else { hostile.subnets };
        let mut conspiracy = Conspiracy {
            honest: self.all.iter().map(|person| person.contact).collect(),
            ..Conspiracy::default()
        };
        let victims = keys.len().min(hostile.victims as usize);
        for number in 0..liars {
            let mut contact = identity::liar(number, subnets, &mut self.random);
            if hostile.behaviour == Behaviour::Eclipse && victims > 0 {
                let victim = keys[number as usize % victims].point();
                contact.id = ground(contact.id, victim, hostile.ground_bits);
            }
            let end = self.end(scenario, world);
            self.add(contact, true, true, end, world);
            conspiracy.members.push(contact);
        }
        let members = conspiracy.members.iter().zip(0..);
        conspiracy.census = Census::of(members.map(|(member, at)| (member.id, Node(at))));
        Rc::new(conspiracy)
    }

    /// All tables as they would be after running for long.
    fn fill(&mut self, honest: Node, world: &mut World<Resident>) {
        let known = self.all.iter().zip(0..).filter(|(person, _)| person.reachable);
        let everybody = Census::of(known.map(|(person, at)| (person.contact.id, Node(at))));
        let k = usize::from(self.parameters.k);
        let mut contacts = Vec::new();
        for number in 0..honest.0 {
            contacts.clear();
            let own = self.all[number as usize].contact.id;
            let mut random = Random::stream(self.seed, "table", number.into());
            everybody.table(own, k, &mut random, |node| {
                contacts.push(self.all[node.index()].contact);
            });
            // In no order: what is seen first is not what is closest.
            random.shuffle(&mut contacts);
            let disk = Disk { contacts: contacts.clone(), ..Disk::empty(own, 0) };
            world.start(Node(number), self.machine(Node(number), disk, Time(0)));
            self.joined(Node(number), Time(0));
            self.all[number as usize].stays.push((Time(0), Time::NEVER));
        }
        // One after the other into a sorted list would take a while.
        let found = self.all.iter().zip(0..).filter(|(person, _)| person.reachable && !person.liar);
        self.census = Census::of(found.map(|(person, at)| (person.contact.id, Node(at))));
    }

    fn machine(&self, node: Node, disk: Disk, now: Time) -> Resident {
        let person = &self.all[node.index()];
        let life = person.stays.len() as u64;
        let made = Made {
            contact: person.contact,
            parameters: self.parameters,
            judge: self.judge,
            reachable: person.reachable,
            seed: Random::stream(self.seed ^ life << 32, "node", node.0.into()).next(),
        };
        Resident::honest(Honest::start(now, made, self.cluster(), disk))
    }

    /// Founded by those of the beginning who can be called, if there are any.
    fn cluster(&self) -> Genesis {
        let honest = || self.all.iter().take(self.first).filter(|person| !person.liar);
        let mut reachable = honest().filter(|person| person.reachable).peekable();
        if reachable.peek().is_some() {
            genesis(reachable.map(|person| person.contact))
        } else {
            genesis(honest().take(1).map(|person| person.contact))
        }
    }

    /// Starts a node, which begins to join: by its old contacts, or by those who are up.
    pub fn come(&mut self, node: Node, disk: Option<Disk>, world: &mut World<Resident>) {
        let now = world.now();
        let mut bootstrap: Vec<Contact> = Vec::new();
        let person = &self.all[node.index()];
        let new = || Disk::empty(person.contact.id, person.stays.len() as u64);
        let mut disk = disk.unwrap_or_else(new);
        for _ in 0..BOOTSTRAP * 2 {
            if let Some(known) = self.census.any(&mut self.random)
                && bootstrap.len() < BOOTSTRAP
            {
                bootstrap.push(self.all[known.index()].contact);
            }
        }
        // It joins by these, and not by the founders, who may be gone.
        disk.contacts.extend(&bootstrap);
        let machine = self.machine(node, disk, now);
        self.all[node.index()].stays.push((now, Time::NEVER));
        world.start(node, machine);
        let first = bootstrap.is_empty();
        world.command(node, 1, |resident, now| {
            // A machine that has just begun has room for a query.
            resident.ask(now, |kademlia| kademlia.join(moment(now), &bootstrap).ok());
        });
        if first {
            self.found(node, now);
        }
    }

    /// A node has finished joining: it can be found and may call.
    pub fn found(&mut self, node: Node, now: Time) {
        if self.joined(node, now) && self.all[node.index()].reachable {
            self.census.add(self.all[node.index()].contact.id, node);
        }
    }

    fn joined(&mut self, node: Node, now: Time) -> bool {
        let person = &mut self.all[node.index()];
        if person.since != Time::NEVER {
            return false;
        }
        person.since = now;
        person.caller = self.callers.len();
        self.callers.push(node);
        true
    }

    /// A node stops; what its disk has.
    pub fn go(&mut self, node: Node, world: &mut World<Resident>) -> Option<Disk> {
        let disk = world.crash(node)?;
        self.hide(node);
        if let Some(stay) = self.all[node.index()].stays.last_mut() {
            stay.1 = world.now();
        }
        disk
    }

    /// A node is not to be found any more: it stops, or is about to.
    pub fn hide(&mut self, node: Node) {
        let person = &mut self.all[node.index()];
        if person.since == Time::NEVER {
            return;
        }
        person.since = Time::NEVER;
        let at = std::mem::replace(&mut person.caller, usize::MAX);
        self.census.remove(person.contact.id, node);
        self.callers.swap_remove(at);
        if let Some(&moved) = self.callers.get(at) {
            self.all[moved.index()].caller = at;
        }
    }

    /// Somebody who may call.
    pub fn anybody(&self, random: &mut Random) -> Option<Node> {
        self.callers.get(random.index(self.callers.len())).copied()
    }

    /// The closest to a point that could be found all the time since `began`, but for one.
    pub fn closest(&self, point: NodeId, count: usize, began: Time, but: Node) -> Vec<Node> {
        let counts = |node: Node| node != but && self.all[node.index()].since <= began;
        self.census.closest(point, count, counts)
    }

    /// Of what the tables of those who are up have: entries, those of them that are up, and the
    /// share of true neighbours (the `k` closest) that stand in the table.
    pub fn table_quality(&self, world: &World<Resident>, sample: usize) -> (f64, f64, f64) {
        let (mut entries, mut alive, mut known, mut wanted, mut nodes) = (0, 0, 0, 0, 0);
        let step = self.callers.len().div_ceil(sample.max(1)).max(1);
        for &node in self.callers.iter().step_by(step) {
            let Some(kademlia) = world.machine(node).and_then(Resident::kademlia) else { continue };
            nodes += 1;
            for bucket in kademlia.table().buckets() {
                for entry in bucket.entries() {
                    let peer = Peer { id: entry.contact.id, address: entry.contact.address };
                    entries += 1;
                    alive += u64::from(world.at(peer).is_some_and(|at| world.is_up(at)));
                }
            }
            let own = self.all[node.index()].contact.id;
            for near in self.closest(own, self.parameters.k.into(), world.now(), node) {
                wanted += 1;
                let id = self.all[near.index()].contact.id;
                known += u64::from(kademlia.table().entry(id).is_some());
            }
        }
        let share = crate::stats::share;
        (share(entries, nodes), share(alive, entries), share(known, wanted))
    }

    /// Mean bytes that a machine takes.
    pub fn memory(&self, world: &World<Resident>) -> f64 {
        let machines = self.callers.iter().filter_map(|&node| world.machine(node)?.kademlia());
        let (count, sum) = machines.fold((0_u64, 0_u64), |(count, sum), kademlia| {
            (count + 1, sum + kademlia.bytes() as u64)
        });
        if count == 0 { 0.0 } else { to_f64(sum) / to_f64(count) }
    }
}

/// An id that shares its first bits with another.
fn ground(id: NodeId, towards: NodeId, bits: u8) -> NodeId {
    let mut ground = id;
    for bit in 0..usize::from(bits) {
        let mask = 0x80 >> (bit % 8);
        ground.0[bit / 8] = ground.0[bit / 8] & !mask | towards.0[bit / 8] & mask;
    }
    ground
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ground_id_shares_the_bits_that_were_paid_for() {
        let mut random = Random::new(1);
        for bits in [0, 5, 16, 23] {
            let (id, key) = (NodeId(random.bytes()), NodeId(random.bytes()));
            assert!(ground(id, key, bits).distance(key).shared_bits() >= bits.into());
            assert_eq!(ground(id, key, bits).0[4..], id.0[4..]);
        }
    }
}
