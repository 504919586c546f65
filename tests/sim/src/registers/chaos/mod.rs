//! Whoever directs a run: clients' calls, crashes, lost disks, cuts, proposals of views, joins and
//! leaves; then the healing, and what it demands.
//!
//! Invariants:
//! * no view that may still count loses the disks of a majority: such a slot is lost by the rules, and
//!   nothing could be demanded of it. Everything else may happen at any time;
//! * a crash keeps some first part of what was on its way to the disk;
//! * all chance comes from the plan's seed.
//!
//! What it does not do: judge. The auditor does while it runs, the judge of histories afterwards.

mod faults;
mod healing;

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_pool::{PoolId, Shape, Tree};
use cloakroom_register::{
    Disk, Epoch, Incarnation, Key, Member, Operation, OperationId, Outcome, Save, Slot, View,
};

use super::audit::{self, plain_operation};
use super::client::{Client, Want};
use super::plan::Plan;
use super::ran::{Deeds, Ran};
use super::resident::{Event, Resident, id_of, number_of};
use crate::engine::{Director, End, Node, Time, World};
use crate::random::Random;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Think(usize),
    Crash,
    Restart(usize, u64),
    Cut,
    View,
    Lose,
    Move,
    Mend,
}

struct Under {
    client: usize,
    node: Node,
    slot: Slot,
}

/// The director.
pub(super) struct Chaos {
    plan: Plan,
    random: Random,
    /// By node.
    pub(super) disks: Vec<Disk>,
    /// How often a node has started.
    starts: Vec<u64>,
    left: BTreeSet<usize>,
    incarnations: u64,
    clients: Vec<Client>,
    under: BTreeMap<OperationId, Under>,
    hints: BTreeMap<(usize, Slot), View>,
    keys: Vec<Key>,
    genesis: Vec<View>,
    candidates: Vec<View>,
    deeds: Deeds<Deed>,
    healing: bool,
    /// What is left to be judged.
    pub(super) ran: Ran,
}

type Registers = World<Resident>;

/// A key's slot.
pub(super) fn slot_of(key: &Key, slots: u16) -> Slot {
    let hash = key.0.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = (hash ^ hash >> 32) % u64::from(slots.max(1));
    Slot(u16::try_from(folded).unwrap_or(0))
}

impl Chaos {
    /// A cluster with its first views, and its clients.
    pub(super) fn begin(plan: Plan, log: bool) -> (Self, Registers) {
        let mut random = Random::stream(plan.seed, "chaos", 0);
        let mut world = World::new(plan.network(), plan.seed);
        let tree =
            Tree::new(PoolId(1), plan.ids, Shape::new(2, 2).expect("a shape")).expect("a tree");
        let callers = (0..plan.clients).map(|number| Client::plain(plan.seed, number));
        let pool = (plan.clients..plan.clients + plan.pool_clients)
            .map(|number| Client::of_pool(plan.seed, number, tree));
        let clients = callers.chain(pool).collect();
        let keys = (0..plan.keys).map(|key| Key::from(&key.to_be_bytes()[..])).collect();
        let nodes = plan.nodes.max(u32::try_from(plan.members).unwrap_or(5));
        let mut chaos = Self {
            ran: Ran::new(plan.members, log),
            disks: Vec::new(),
            starts: Vec::new(),
            left: BTreeSet::new(),
            incarnations: 0,
            clients,
            under: BTreeMap::new(),
            hints: BTreeMap::new(),
            keys,
            genesis: Vec::new(),
            candidates: Vec::new(),
            deeds: Deeds::new(),
            healing: false,
            random: random.clone(),
            plan,
        };
        for _ in 0..nodes {
            chaos.join(&mut world);
        }
        for slot in 0..chaos.plan.slots {
            let members = chaos.draw_members();
            let view = View::new(Slot(slot), Epoch(0), &members).expect("different nodes");
            chaos.ran.auditor.found(&view).expect("as many members as the auditor expects");
            chaos.genesis.push(view);
        }
        for node in 0..chaos.disks.len() {
            chaos.found(&mut world, node);
        }
        chaos.random = Random::stream(random.next(), "deeds", 0);
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
        for client in 0..chaos.clients.len() {
            chaos.think(&mut world, client);
        }
        (chaos, world)
    }

    fn join(&mut self, world: &mut Registers) -> usize {
        let number = u32::try_from(self.disks.len()).unwrap_or(0);
        let region = u8::try_from(self.random.below(self.plan.regions.into())).unwrap_or(0);
        let node = world.settle(number, End { region, ..End::default() });
        self.incarnations += 1;
        let me = Member { node: id_of(number), incarnation: Incarnation(self.incarnations) };
        self.disks.push(Disk::new(me));
        self.starts.push(0);
        self.start(world, node.index());
        node.index()
    }

    fn start(&mut self, world: &mut Registers, node: usize) {
        let number = u32::try_from(node).unwrap_or(0);
        self.starts[node] += 1;
        let random =
            Random::stream(self.plan.seed, "host", u64::from(number) << 32 | self.starts[node]);
        let (waits, sync_ms) = (self.plan.waits, self.plan.sync_ms);
        let resident = Resident::start(&self.disks[node], waits, sync_ms, world.now(), random);
        world.start(Node(number), resident);
        self.ran.say(world.now(), || format!("n{number} starts"));
        self.found(world, node);
    }

    /// The first views stand in the cluster's genesis, which every start reads.
    fn found(&mut self, world: &mut Registers, node: usize) {
        let number = u32::try_from(node).unwrap_or(0);
        let genesis = &self.genesis;
        world.command(Node(number), 0, |resident, now| {
            for view in genesis {
                resident.act(now, |host, now| host.found(now, view));
            }
        });
    }

    fn think(&mut self, world: &mut Registers, client: usize) {
        let pause = self.clients[client].pause_us(self.plan.think_ms);
        self.deeds.at(world, world.now().plus_us(pause), Deed::Think(client));
    }

    /// Members for a view: nodes that have not left, mostly some that are up.
    fn draw_members(&mut self) -> Vec<Member> {
        let mut nodes: Vec<usize> =
            (0..self.disks.len()).filter(|node| !self.left.contains(node)).collect();
        self.random.shuffle(&mut nodes);
        nodes.truncate(self.plan.members);
        nodes.iter().map(|&node| self.disks[node].me()).collect()
    }

    fn save(&mut self, now: Time, node: usize, saves: &[Save]) {
        for save in saves {
            self.ran.save(now, &mut self.disks, node, save);
        }
    }

    fn go_on(&mut self, world: &mut Registers, client: usize, want: Want) {
        match want {
            Want::Pause => self.think(world, client),
            Want::Attempt => self.deeds.at(world, world.now().plus_us(1000), Deed::Think(client)),
        }
    }

    /// A client's next call, or next attempt of its call.
    fn act(&mut self, world: &mut Registers, client: usize) {
        if self.clients[client].attempts().is_none() {
            if self.healing {
                return;
            }
            self.clients[client].begin(&mut self.ran.book, &self.keys);
            self.ran.counts.calls += 1;
        }
        self.attempt(world, client);
    }

    fn attempt(&mut self, world: &mut Registers, client: usize) {
        let Some(attempts) = self.clients[client].attempts() else { return };
        let operation: Operation = attempts.operation().clone();
        // One attempt at a time.
        if self.under.contains_key(&operation.id) {
            return;
        }
        let slot = slot_of(&operation.key, self.plan.slots);
        let hint =
            self.hints.get(&(client, slot)).or_else(|| self.ran.auditor.newest(slot)).cloned();
        let nodes = self.disks.len() as u64;
        let stray = self.clients[client].below(10) == 0;
        let node = match hint.filter(|_| !stray) {
            Some(view) => {
                let length = view.members().len() as u64;
                let seat = usize::try_from(self.clients[client].below(length)).unwrap_or(0);
                number_of(view.members()[seat].node)
            }
            // REG-14: whatever routing says.
            None => u32::try_from(self.clients[client].below(nodes)).unwrap_or(0),
        };
        if !world.is_up(Node(node)) {
            self.hints.remove(&(client, slot));
            self.deeds.at(world, world.now().plus_us(100_000), Deed::Think(client));
            return;
        }
        let patience = 1500 + self.clients[client].below(5000);
        let id = operation.id;
        self.under.insert(id, Under { client, node: Node(node), slot });
        self.ran.say(world.now(), || {
            format!(
                "c{client} asks n{node}: {:?} {:?} {:?}",
                operation.key, operation.call, operation.bound
            )
        });
        let told = world.command(Node(node), u64::from(node), |resident, now| {
            resident
                .act(now, |host, now| host.begin(now, slot, [operation], now.plus_ms(patience)));
            resident.host.newest(slot).cloned()
        });
        if let Some(Some(view)) = told {
            self.hints.insert((client, slot), view);
        }
    }

    fn ended(&mut self, world: &mut Registers, id: OperationId, outcome: Outcome) {
        let Some(under) = self.under.remove(&id) else { return };
        let Some(attempts) = self.clients[under.client].attempts() else { return };
        let (key, call) = (attempts.operation().key.clone(), attempts.operation().call.clone());
        let client = under.client;
        self.ran.say(world.now(), || format!("c{client} is told {outcome:?} for {key:?}"));
        let number = plain_operation(id);
        let judged = self.ran.auditor.ended(under.slot, &key, number, &call, &outcome);
        self.ran.judge(world.now(), judged);
        if matches!(outcome, Outcome::Unavailable | Outcome::Unknown(_)) {
            self.hints.remove(&(client, under.slot));
        }
        let want = self.clients[client].ended(&mut self.ran.book, Some(outcome));
        self.go_on(world, client, want);
    }

    /// Lets it run: the faults, then the healing. What is found stands in `fault`.
    pub(super) fn run(&mut self, world: &mut Registers) {
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
    fn wake(&mut self, world: &mut Registers, token: u64) {
        let deed = self.deeds.of(token);
        let Some(deed) = deed.filter(|_| self.ran.fault.is_none()) else { return };
        let plan = &self.plan;
        let (mean, again) = match deed {
            Deed::Crash => (plan.crash_ms, true),
            Deed::Cut => (plan.cut_ms, true),
            Deed::View => (plan.view_ms, true),
            Deed::Lose => (plan.lose_ms, true),
            Deed::Move => (plan.move_ms, true),
            Deed::Think(_) | Deed::Restart(..) | Deed::Mend => (0, false),
        };
        if again && self.healing {
            return;
        }
        match deed {
            Deed::Think(client) => self.act(world, client),
            Deed::Crash => self.crash_somebody(world),
            Deed::Restart(node, starts) => self.restart(world, node, starts),
            Deed::Cut => self.ran.cut(world, &mut self.random, plan.regions, 6_000),
            Deed::View => self.propose_something(world),
            Deed::Lose => self.lose(world),
            Deed::Move => self.shift(world),
            Deed::Mend => self.mend(world),
        }
        if again {
            self.deeds.later(world, &mut self.random, mean, deed);
        }
    }

    fn event(&mut self, world: &mut Registers, node: Node, event: Event) {
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
            Event::Ended(id, outcome) => self.ended(world, id, outcome),
        }
    }
}
