//! What happens in a run: callers at whatever node, what goes wrong (`faults.rs`), views that are proposed for no reason
//! (`views.rs`), and an operator.
//!
//! Invariants:
//! * all chance comes from the plan's seed.
//!
//! What it does not do: judge.

mod faults;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_kademlia::{Judge, Moment, Parameters};
use cloakroom_node::{Answer, Change, Founder, Genesis, Input, Setup, Standing, Zone};
use cloakroom_pool::{PoolId, Shape, Tree};
use cloakroom_register::{
    Disk, Incarnation, Key, Member, OperationId, Outcome, Save, Slot, View, Write,
};
use cloakroom_wire::Contact;

use super::records::Records;
use super::resident::{Event, Resident, Wrote, contact_of};
use crate::engine::{Director, End, Node, Time, World};
use crate::random::{Random, hash};
use crate::registers::audit::{self, plain_operation};
use crate::registers::client::{Client, Want};
use crate::registers::plan::Plan;
use crate::registers::ran::{Deeds, Fault, Ran};

/// Between two publications or reads of records.
const RECORD_MS: u64 = 700;
/// Without faults each attempt is answered within so long.
const ANSWER_MS: u64 = 10_000;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Think(usize),
    Crash,
    Restart(usize, u64),
    Cut,
    View,
    Lose,
    Move,
    Tend,
    Record,
}

struct Under {
    client: usize,
    node: Node,
    slot: Slot,
}

/// The director.
pub(super) struct Chaos {
    pub(super) plan: Plan,
    random: Random,
    pub(super) genesis: Genesis,
    /// By node.
    pub(super) disks: Vec<Disk>,
    /// How often a node has started.
    starts: Vec<u64>,
    /// Who is gone for ever, and is to be removed from the list.
    pub(super) left: BTreeSet<usize>,
    /// Who is to give up its seats.
    pub(super) drains: BTreeSet<usize>,
    incarnations: u64,
    changes: u128,
    lost_at: Time,
    pub(super) clients: Vec<Client>,
    under: BTreeMap<OperationId, Under>,
    pub(super) keys: Vec<Key>,
    /// Views that somebody has voted for.
    candidates: Vec<View>,
    deeds: Deeds<Deed>,
    pub(super) healing: bool,
    pub(super) records: Records,
    /// What is left to be judged.
    pub(super) ran: Ran,
}

pub(super) type Nodes = World<Resident>;

pub(super) fn number(node: usize) -> u32 {
    u32::try_from(node).unwrap_or(0)
}

impl Chaos {
    /// A cluster with its founders, and its clients.
    pub(super) fn begin(plan: Plan, log: bool) -> (Self, Nodes) {
        let world = World::new(plan.network(), plan.seed);
        let tree =
            Tree::new(PoolId(1), plan.ids, Shape::new(2, 2).expect("a shape")).expect("a tree");
        let callers = (0..plan.clients).map(|number| Client::plain(plan.seed, number));
        let pool = (plan.clients..plan.clients + plan.pool_clients)
            .map(|number| Client::of_pool(plan.seed, number, tree));
        let founder = |number: u32| {
            let zone = Zone(format!("zone {}", number % 4).into());
            Founder { contact: contact_of(number), zone }
        };
        let founders: Vec<Founder> = (0..plan.nodes).map(founder).collect();
        let members = u8::try_from(plan.members).unwrap_or(3);
        let genesis = Genesis::new(&founders, plan.slots.into(), members).expect("a beginning");
        let mut chaos = Self {
            ran: Ran::new(plan.members, log),
            clients: callers.chain(pool).collect(),
            keys: (0..plan.keys).map(|key| Key::from(&key.to_be_bytes()[..])).collect(),
            random: Random::stream(plan.seed, "cluster", 0),
            genesis,
            disks: Vec::new(),
            starts: Vec::new(),
            left: BTreeSet::new(),
            drains: BTreeSet::new(),
            incarnations: 0,
            changes: 0,
            lost_at: Time(0),
            under: BTreeMap::new(),
            candidates: Vec::new(),
            deeds: Deeds::new(),
            healing: false,
            records: Records::new(plan.seed),
            plan,
        };
        let mut world = world;
        for _ in 0..chaos.plan.nodes {
            chaos.settle(&mut world, Incarnation(0));
        }
        let plan = chaos.plan.clone();
        for (mean, deed) in [
            (plan.crash_ms, Deed::Crash),
            (plan.cut_ms, Deed::Cut),
            (plan.view_ms, Deed::View),
            (plan.lose_ms, Deed::Lose),
            (plan.move_ms, Deed::Move),
        ] {
            if mean > 0 {
                chaos.deeds.later(&mut world, &mut chaos.random, mean, deed);
            }
        }
        chaos.deeds.at(&mut world, Time::from_ms(3_000), Deed::Tend);
        chaos.deeds.at(&mut world, Time::from_ms(RECORD_MS), Deed::Record);
        for client in 0..chaos.clients.len() {
            chaos.think(&mut world, client);
        }
        (chaos, world)
    }

    /// A node that was not there before.
    fn settle(&mut self, world: &mut Nodes, incarnation: Incarnation) -> usize {
        let number = number(self.disks.len());
        let region = u8::try_from(self.random.below(self.plan.regions.into())).unwrap_or(0);
        let node = world.settle(number, End { region, ..End::default() });
        self.disks.push(Disk::new(Member { node: contact_of(number).id, incarnation }));
        self.starts.push(0);
        self.records.settle();
        self.start(world, node.index());
        node.index()
    }

    fn start(&mut self, world: &mut Nodes, node: usize) {
        self.starts[node] += 1;
        let start = u64::from(number(node)) << 32 | self.starts[node];
        let mut random = Random::stream(self.plan.seed, "node", start);
        let setup = Setup {
            genesis: self.genesis.clone(),
            contact: contact_of(number(node)),
            reachable: true,
            table: Vec::new(),
            parameters: Parameters { subnets: None, ..Parameters::default() },
            judge: Judge { contact: |_| true, record: |_| true },
            waits: self.plan.waits,
            patience: self.plan.patience,
            hash,
            seed: random.next(),
        };
        let (disk, sync_ms) = (&self.disks[node], self.plan.sync_ms);
        let kept = self.records.of(node);
        let mut resident = Resident::start(disk, kept, setup, sync_ms, world.now(), random);
        let others = self.named(world);
        resident.step(world.now(), Input::Meet(others));
        world.start(Node(number(node)), resident);
        self.ran.say(world.now(), || format!("n{node} starts"));
    }

    /// Whom an operator names to a node: members, by the newest list that a node tells.
    fn named(&self, world: &Nodes) -> Vec<Contact> {
        let lists = self.up(world).into_iter().filter_map(|at| world.machine(Node(number(at))));
        let newest = lists.map(|other| other.node.roster()).max_by_key(|(_, version)| *version);
        let listed = |other: &usize| {
            let id = contact_of(number(*other)).id;
            newest.is_none_or(|(roster, _)| roster.place(id).is_some())
        };
        let others = (0..self.disks.len()).rev().filter(|other| !self.left.contains(other));
        others.filter(listed).take(3).map(|other| contact_of(number(other))).collect()
    }

    fn think(&mut self, world: &mut Nodes, client: usize) {
        let pause = self.clients[client].pause_us(self.plan.think_ms);
        self.deeds.at(world, world.now().plus_us(pause), Deed::Think(client));
    }

    fn save(&mut self, now: Time, node: usize, all: &[Wrote]) {
        for wrote in all {
            let save = match wrote {
                Wrote::Save(save) => save,
                Wrote::Record(name, held) => {
                    self.ran.say(now, || format!("n{node} has durably {name:?} {held:?}"));
                    if let Some(what) = self.records.keep(node, *name, held.clone()) {
                        self.ran.fault = Some(Fault::Record(what));
                    }
                    continue;
                }
            };
            if let Save::Write(_, _, Write::Vote(vote)) = save {
                let view = vote.accepted.as_ref().map(|(_, view)| view.clone());
                self.candidates.extend(view);
            }
            self.ran.save(now, &mut self.disks, node, save);
        }
    }

    pub(super) fn up(&self, world: &Nodes) -> Vec<usize> {
        (0..self.disks.len()).filter(|&node| world.is_up(Node(number(node)))).collect()
    }

    fn somebody(&mut self, world: &Nodes) -> Option<usize> {
        let up = self.up(world);
        if up.is_empty() { None } else { Some(up[self.random.index(up.len())]) }
    }

    /// A client's next call, or next attempt of its call.
    fn act(&mut self, world: &mut Nodes, client: usize) {
        if self.clients[client].attempts().is_none() {
            if self.healing {
                return;
            }
            self.clients[client].begin(&mut self.ran.book, &self.keys);
            self.ran.counts.calls += 1;
        }
        self.attempt(world, client);
    }

    /// At whatever node: any takes it.
    pub(super) fn attempt(&mut self, world: &mut Nodes, client: usize) {
        let Some(attempts) = self.clients[client].attempts() else { return };
        let operation = attempts.operation().clone();
        // One attempt at a time.
        if self.under.contains_key(&operation.id) {
            return;
        }
        let up = self.up(world);
        if up.is_empty() {
            self.deeds.at(world, world.now().plus_us(100_000), Deed::Think(client));
            return;
        }
        let slot = self.genesis.slot_of(&hash(&operation.key.0));
        let pick = self.clients[client].below(up.len() as u64);
        let node = Node(number(up[usize::try_from(pick).unwrap_or(0)]));
        let silent_ms = self.plan.patience.silent_ms;
        let patience = silent_ms * 3 / 4 + self.clients[client].below(2 * silent_ms);
        // A node of many that has not been called lately asks members of an old view first, and some have left.
        let patience = if self.healing { patience.max(ANSWER_MS) } else { patience };
        self.under.insert(operation.id, Under { client, node, slot });
        self.ran.say(world.now(), || format!("c{client} asks n{}: {operation:?}", node.0));
        world.command(node, u64::from(node.0), |resident, now| {
            let give_up_at = Moment(now.0).plus_ms(patience);
            resident.step(now, Input::Call(operation, give_up_at));
        });
    }

    fn answered(&mut self, world: &mut Nodes, answer: Answer) {
        let (id, outcome) = match answer {
            Answer::Ended(id, outcome, _) => (id, Some(outcome)),
            Answer::Elsewhere(id, _) => {
                let under = self.under.get(&id);
                let attempts = under.and_then(|under| self.clients[under.client].attempts());
                let bound = attempts.and_then(|attempts| attempts.operation().bound);
                // Not begun this time; an earlier attempt may have been.
                (id, Some(bound.map_or(Outcome::Unavailable, Outcome::Unknown)))
            }
            Answer::Lost(id) => (id, None),
            Answer::Changed(_, result) => {
                self.ran.say(world.now(), || format!("a change has ended: {result:?}"));
                return;
            }
        };
        let Some(under) = self.under.remove(&id) else { return };
        let (client, slot) = (under.client, under.slot);
        let Some(attempts) = self.clients[client].attempts() else { return };
        let (key, call) = (attempts.operation().key.clone(), attempts.operation().call.clone());
        self.ran.say(world.now(), || format!("c{client} is told {outcome:?} for {key:?}"));
        if let Some(outcome) = &outcome {
            let judged = self.ran.auditor.ended(slot, &key, plain_operation(id), &call, outcome);
            self.ran.judge(world.now(), judged);
        }
        let want = self.clients[client].ended(&mut self.ran.book, outcome);
        self.go_on(world, client, want);
    }

    fn go_on(&mut self, world: &mut Nodes, client: usize, want: Want) {
        match want {
            Want::Pause => self.think(world, client),
            Want::Attempt => self.deeds.at(world, world.now().plus_us(1000), Deed::Think(client)),
        }
    }

    /// The operator sees to it that the list is as it ought to be, by whichever node.
    fn tend(&mut self, world: &mut Nodes) {
        let drained = |node: &usize| {
            let resident = world.machine(Node(number(*node)));
            resident.is_some_and(|resident| resident.node.is_drained())
        };
        let gone: Vec<usize> = self.drains.iter().copied().filter(drained).collect();
        for node in gone {
            // Its word does not cover views that were proposed before and may still name it.
            if !self.may_lose(world, node) {
                continue;
            }
            self.ran.say(world.now(), || format!("n{node} has drained"));
            self.drains.remove(&node);
            self.lose_disk(world, node);
            self.left.insert(node);
        }
        let Some(at) = self.somebody(world) else { return };
        let Some(resident) = world.machine(Node(number(at))) else { return };
        let (roster, _) = resident.node.roster();
        let mut wanted: Vec<(usize, Change)> = Vec::new();
        for node in 0..self.disks.len() {
            let contact = contact_of(number(node));
            let place = roster.place(contact.id);
            if self.left.contains(&node) {
                wanted.extend(place.map(|_| (at, Change::Remove(contact.id))));
            } else if place.is_none() {
                let zone = Zone(format!("zone {}", node % 4).into());
                // It says so itself, of the disk that it has: said by others, it could come too late.
                let member = self.disks[node].me();
                wanted.push((node, Change::Join { member, contact, zone }));
            } else if self.drains.contains(&node)
                && place.is_some_and(|place| place.standing == Standing::Active)
            {
                wanted.push((at, Change::Drain(contact.id)));
            } else if !self.drains.contains(&node)
                && place.is_some_and(|place| place.standing == Standing::Draining)
            {
                wanted.push((at, Change::Activate(contact.id)));
            }
        }
        for (at, change) in wanted {
            self.changes += 1;
            let id = OperationId((self.changes | 1 << 127).to_be_bytes());
            self.ran.say(world.now(), || format!("at n{at}: {change:?}"));
            // As `Server::join` does: whom it was told before may have been down then.
            let others = match &change {
                Change::Join { .. } => self.named(world),
                _ => Vec::new(),
            };
            world.command(Node(number(at)), number(at).into(), |resident, now| {
                resident.step(now, Input::Meet(others));
                resident.step(now, Input::Change(id, change, Moment(now.0).plus_ms(6_000)));
            });
        }
    }

    /// Lets it run: the faults, then the healing. What is found stands in `fault`.
    pub(super) fn run(&mut self, world: &mut Nodes) {
        let end = Time::from_ms(self.plan.chaos_ms);
        while world.now() < end && self.ran.fault.is_none() {
            let until = world.now().plus_us(1_000_000).min(end);
            world.run(self, until);
        }
        if self.ran.fault.is_none() {
            self.heal(world);
        }
    }
}

impl Director<Resident> for Chaos {
    fn wake(&mut self, world: &mut Nodes, token: u64) {
        let deed = self.deeds.of(token);
        let Some(deed) = deed.filter(|_| self.ran.fault.is_none()) else { return };
        let again = match deed {
            Deed::Crash => self.plan.crash_ms,
            Deed::Cut => self.plan.cut_ms,
            Deed::View => self.plan.view_ms,
            Deed::Lose => self.plan.lose_ms,
            Deed::Move => self.plan.move_ms,
            Deed::Record => RECORD_MS,
            Deed::Think(_) | Deed::Restart(..) | Deed::Tend => 0,
        };
        if again > 0 && self.healing {
            return;
        }
        match deed {
            Deed::Think(client) => self.act(world, client),
            Deed::Crash => self.crash_somebody(world),
            Deed::Restart(node, starts) => self.restart(world, node, starts),
            Deed::Cut => {
                let longer_ms = 2 * self.plan.patience.silent_ms + 1_000;
                self.ran.cut(world, &mut self.random, self.plan.regions, longer_ms);
            }
            Deed::View => self.propose_something(world),
            Deed::Lose => self.lose(world),
            Deed::Move => self.shift(world),
            Deed::Record => self.publish_or_read(world),
            Deed::Tend => {
                self.tend(world);
                self.deeds.at(world, world.now().plus_us(5_000_000), Deed::Tend);
            }
        }
        if again > 0 {
            self.deeds.later(world, &mut self.random, again, deed);
        }
    }

    fn event(&mut self, world: &mut Nodes, node: Node, event: Event) {
        if self.ran.fault.is_some() {
            return;
        }
        match event {
            Event::Saved(saves) => self.save(world.now(), node.index(), &saves),
            Event::Told(slot, epoch, key, promise) => {
                let disk = &self.disks[node.index()];
                let judged = audit::told(disk, slot, epoch, &key, promise);
                self.ran.judge(world.now(), judged);
            }
            Event::Answered(answer) => self.answered(world, answer),
            Event::Dht(event) => self.query_ended(world.now(), node.index(), &event),
        }
    }
}
