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

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_pool::{PoolId, Shape, Tree};
use cloakroom_register::{
    Call, Disk, Epoch, Expected, Incarnation, Key, Member, Operation, OperationId, Outcome, Save,
    Slot, Value, View,
};
use cloakroom_specs::register::Objection;

use super::audit::{Auditor, plain_operation};
use super::client::{Book, Client, Want};
use super::plan::{HEALING_MS, Plan};
use super::resident::{Event, Resident, id_of};
use crate::engine::{Cut, Director, End, Network, Node, Time, World};
use crate::random::Random;

/// Why a run has failed.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// A predicate does not hold, at this time.
    Objection(Objection, Time),
    /// Something did not end, or did not become as it must.
    NoProgress(String),
    /// A history that is not linearizable: of a key, or of the pool.
    NotLinearizable(String),
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Calls begun.
    pub(super) calls: u64,
    /// Attempts whose coordinator vanished.
    pub(super) vanished: u64,
    /// Crashes.
    pub(super) crashes: u64,
    /// Disks lost.
    pub(super) lost: u64,
    /// Proposals of views.
    pub(super) proposals: u64,
    /// Cuts.
    pub(super) cuts: u64,
    /// Joins and leaves.
    pub(super) moves: u64,
}

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
    /// Who judges.
    pub(super) auditor: Auditor,
    clients: Vec<Client>,
    /// What was called.
    pub(super) book: Book,
    under: BTreeMap<OperationId, Under>,
    hints: BTreeMap<(usize, Slot), View>,
    keys: Vec<Key>,
    genesis: Vec<View>,
    candidates: Vec<View>,
    deeds: Vec<Deed>,
    healing: bool,
    /// The first thing that went wrong.
    pub(super) fault: Option<Fault>,
    /// What happened.
    pub(super) counts: Counts,
    /// Every step in words, if it is wanted.
    pub(super) log: Option<Vec<String>>,
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
        let plain = (0..plan.clients).map(|number| Client::plain(plan.seed, number));
        let pool = (plan.clients..plan.clients + plan.pool_clients)
            .map(|number| Client::of_pool(plan.seed, number, tree));
        let clients = plain.chain(pool).collect();
        let keys = (0..plan.keys).map(|key| Key::from(&key.to_be_bytes()[..])).collect();
        let nodes = plan.nodes.max(u32::try_from(plan.members).unwrap_or(5));
        let mut chaos = Self {
            auditor: Auditor::new(plan.members),
            disks: Vec::new(),
            starts: Vec::new(),
            left: BTreeSet::new(),
            incarnations: 0,
            clients,
            book: Book::default(),
            under: BTreeMap::new(),
            hints: BTreeMap::new(),
            keys,
            genesis: Vec::new(),
            candidates: Vec::new(),
            deeds: Vec::new(),
            healing: false,
            fault: None,
            counts: Counts::default(),
            log: log.then(Vec::new),
            random: random.clone(),
            plan,
        };
        for _ in 0..nodes {
            chaos.join(&mut world);
        }
        for slot in 0..chaos.plan.slots {
            let members = chaos.draw_members();
            let view = View::new(Slot(slot), Epoch(0), &members).expect("different nodes");
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
                chaos.later(&mut world, mean, deed);
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
        self.say(world.now(), || format!("n{number} starts"));
        self.found(world, node);
    }

    /// The first views stand in the cluster's genesis, which every start reads.
    fn found(&mut self, world: &mut Registers, node: usize) {
        let number = u32::try_from(node).unwrap_or(0);
        let genesis = &self.genesis;
        world.command(Node(number), 0, |resident, now| {
            genesis.iter().for_each(|view| resident.act(now, |host, now| host.found(now, view)));
        });
    }

    fn say(&mut self, now: Time, words: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{now}  {}", words()));
        }
    }

    fn later(&mut self, world: &mut Registers, mean_ms: u64, deed: Deed) {
        let mean = crate::random::to_f64(mean_ms * 1000);
        let wait = crate::random::to_u64(self.random.exponential(mean));
        self.at(world, world.now().plus_us(wait), deed);
    }

    fn at(&mut self, world: &mut Registers, at: Time, deed: Deed) {
        self.deeds.push(deed);
        world.wake(at, (self.deeds.len() - 1) as u64);
    }

    fn think(&mut self, world: &mut Registers, client: usize) {
        let pause = self.clients[client].pause_us(self.plan.think_ms);
        self.at(world, world.now().plus_us(pause), Deed::Think(client));
    }

    /// Members for a view: nodes that have not left, mostly some that are up.
    fn draw_members(&mut self) -> Vec<Member> {
        let mut nodes: Vec<usize> =
            (0..self.disks.len()).filter(|node| !self.left.contains(node)).collect();
        self.random.shuffle(&mut nodes);
        nodes.truncate(self.plan.members);
        nodes.iter().map(|&node| self.disks[node].me()).collect()
    }

    fn judge(&mut self, now: Time, judged: Result<(), Objection>) {
        if let (Err(objection), None) = (judged, &self.fault) {
            self.say(now, || format!("OBJECTION {objection}"));
            self.fault = Some(Fault::Objection(objection, now));
        }
    }

    fn save(&mut self, now: Time, node: usize, saves: &[Save]) {
        for save in saves {
            self.say(now, || format!("n{node} has durably {save:?}"));
            let judged = self.auditor.save(&mut self.disks, node, save);
            self.judge(now, judged);
        }
    }

    /// Stops a node at once. Some first part of what was on its way reaches the disk.
    fn crash(&mut self, world: &mut Registers, node: usize) {
        let number = u32::try_from(node).unwrap_or(0);
        let Some(pending) = world.crash(Node(number)) else { return };
        let reached = self.random.index(pending.len() + 1);
        let now = world.now();
        self.say(now, || format!("n{node} crashes with {reached} of {} saves", pending.len()));
        self.save(now, node, &pending[..reached]);
        self.counts.crashes += 1;
        let gone: Vec<OperationId> = self
            .under
            .iter()
            .filter(|(_, under)| under.node.index() == node)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(under) = self.under.remove(&id) {
                self.counts.vanished += 1;
                let want = self.clients[under.client].ended(&mut self.book, None);
                self.go_on(world, under.client, want);
            }
        }
    }

    fn go_on(&mut self, world: &mut Registers, client: usize, want: Want) {
        match want {
            Want::Pause => self.think(world, client),
            Want::Attempt => self.at(world, world.now().plus_us(1000), Deed::Think(client)),
        }
    }

    /// A client's next call, or next attempt of its call.
    fn act(&mut self, world: &mut Registers, client: usize) {
        if self.clients[client].attempts().is_none() {
            if self.healing {
                return;
            }
            self.clients[client].begin(&mut self.book, &self.keys);
            self.counts.calls += 1;
        }
        self.attempt(world, client);
    }

    fn attempt(&mut self, world: &mut Registers, client: usize) {
        let Some(attempts) = self.clients[client].attempts() else { return };
        let operation: Operation = attempts.operation().clone();
        let slot = slot_of(&operation.key, self.plan.slots);
        let hint = self.hints.get(&(client, slot)).or_else(|| self.auditor.newest(slot)).cloned();
        let nodes = self.disks.len() as u64;
        let stray = self.clients[client].below(10) == 0;
        let node = match hint.filter(|_| !stray) {
            Some(view) => {
                let length = view.members().len() as u64;
                let seat = usize::try_from(self.clients[client].below(length)).unwrap_or(0);
                super::resident::number_of(view.members()[seat].node)
            }
            // REG-14: whatever routing says.
            None => u32::try_from(self.clients[client].below(nodes)).unwrap_or(0),
        };
        if !world.is_up(Node(node)) {
            self.hints.remove(&(client, slot));
            self.at(world, world.now().plus_us(100_000), Deed::Think(client));
            return;
        }
        let patience = 1500 + self.clients[client].below(5000);
        let id = operation.id;
        self.under.insert(id, Under { client, node: Node(node), slot });
        self.say(world.now(), || {
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
        self.say(world.now(), || format!("c{client} is told {outcome:?} for {key:?}"));
        let number = plain_operation(id);
        let judged = self.auditor.ended(under.slot, &key, number, &call, &outcome);
        self.judge(world.now(), judged);
        if matches!(outcome, Outcome::Unavailable | Outcome::Unknown(_)) {
            self.hints.remove(&(client, under.slot));
        }
        let want = self.clients[client].ended(&mut self.book, Some(outcome));
        self.go_on(world, client, want);
    }

    fn up(&self, world: &Registers) -> Vec<usize> {
        (0..self.disks.len())
            .filter(|&node| world.is_up(Node(u32::try_from(node).unwrap_or(0))))
            .collect()
    }

    fn crash_somebody(&mut self, world: &mut Registers) {
        let up = self.up(world);
        if up.is_empty() {
            return;
        }
        let node = up[self.random.index(up.len())];
        self.crash(world, node);
        let down = self.random.below(4000);
        let starts = self.starts[node];
        self.at(world, world.now().plus_us(down * 1000), Deed::Restart(node, starts));
    }

    fn restart(&mut self, world: &mut Registers, node: usize, starts: u64) {
        let down = !world.is_up(Node(u32::try_from(node).unwrap_or(0)));
        if down && self.starts[node] == starts && !self.left.contains(&node) {
            self.start(world, node);
        }
    }

    fn cut(&mut self, world: &mut Registers) {
        let all = 1 << self.plan.regions;
        let senders = self.random.below(all);
        let (now, both) = (world.now(), self.random.below(2) == 0);
        let until = now.plus_us((500 + self.random.below(6000)) * 1000);
        let receivers = !senders & (all - 1);
        self.say(now, || format!("cut from {senders:b} to {receivers:b}, both {both}, to {until}"));
        world.network_mut().cuts.retain(|cut| cut.until > now);
        world.network_mut().cuts.push(Cut { from: now, until, senders, receivers, both });
        self.counts.cuts += 1;
    }

    /// Somebody takes somebody for dead, rightly or not.
    fn propose(&mut self, world: &mut Registers, slot: Slot, keep: bool) {
        let Some(view) = self.auditor.newest(slot).cloned() else { return };
        let Some(epoch) = view.epoch().next() else { return };
        let mut members = self.draw_members();
        if keep {
            // Those that are well stay, the others are replaced.
            let stays = |member: &&Member| {
                !self.auditor.is_lost(**member)
                    && !self.left.contains(&(super::resident::number_of(member.node) as usize))
            };
            let mut kept: Vec<Member> = view.members().iter().filter(stays).copied().collect();
            members.retain(|member| kept.iter().all(|other| other.node != member.node));
            let room = self.plan.members.saturating_sub(kept.len());
            kept.extend(members.into_iter().take(room));
            members = kept;
        }
        if members.len() < self.plan.members {
            return;
        }
        let Ok(candidate) = View::new(slot, epoch, &members) else { return };
        let seat = self.random.index(view.members().len());
        let node = super::resident::number_of(view.members()[seat].node);
        if !world.is_up(Node(node)) {
            return;
        }
        self.counts.proposals += 1;
        self.say(world.now(), || format!("n{node} proposes {candidate}"));
        self.candidates.retain(|other| other.slot() != slot || other.epoch() >= epoch);
        self.candidates.push(candidate.clone());
        world.command(Node(node), u64::from(epoch.0), |resident, now| {
            resident.act(now, |host, now| host.propose(now, &candidate));
        });
    }

    fn propose_something(&mut self, world: &mut Registers) {
        let slot = Slot(u16::try_from(self.random.below(self.plan.slots.into())).unwrap_or(0));
        let keep = self.random.below(3) > 0;
        self.propose(world, slot, keep);
        if self.random.below(3) == 0 {
            self.propose(world, slot, false);
        }
    }

    /// Whether every view that may still count keeps a majority without this disk.
    fn may_lose(&self, node: usize) -> bool {
        let me = self.disks[node].me();
        let survives = |view: &View| {
            let gone = |member: &&Member| **member == me || self.auditor.is_lost(**member);
            let is_in = view.seat_of(me).is_some();
            !is_in || view.members().iter().filter(gone).count() <= (view.members().len() - 1) / 2
        };
        (0..self.plan.slots).all(|slot| {
            let living = self.auditor.living(Slot(slot));
            let base = living.last().map_or(Epoch(0), |view| view.epoch());
            let proposed = self.candidates.iter();
            let proposed = proposed.filter(|view| view.slot() == Slot(slot) && view.epoch() > base);
            living.into_iter().chain(proposed).all(survives)
        })
    }

    fn lose(&mut self, world: &mut Registers) {
        let node = self.random.index(self.disks.len());
        if self.left.contains(&node) || !self.may_lose(node) {
            return;
        }
        self.crash(world, node);
        self.say(world.now(), || format!("n{node} loses its disk"));
        self.auditor.lose(self.disks[node].me());
        self.incarnations += 1;
        let number = u32::try_from(node).unwrap_or(0);
        let me = Member { node: id_of(number), incarnation: Incarnation(self.incarnations) };
        self.disks[node] = Disk::new(me);
        self.counts.lost += 1;
        let down = self.random.below(2000);
        let starts = self.starts[node];
        self.at(world, world.now().plus_us(down * 1000), Deed::Restart(node, starts));
    }

    fn shift(&mut self, world: &mut Registers) {
        self.counts.moves += 1;
        let stays = self.disks.len() - self.left.len();
        if self.random.below(2) == 0 && stays < self.plan.nodes as usize + 5 {
            self.join(world);
            return;
        }
        let node = self.random.index(self.disks.len());
        if stays > self.plan.members && !self.left.contains(&node) && self.may_lose(node) {
            self.crash(world, node);
            self.say(world.now(), || format!("n{node} leaves"));
            self.auditor.lose(self.disks[node].me());
            self.left.insert(node);
        }
    }

    /// Lets it run: the faults, then the healing. What is found stands in `fault`.
    pub(super) fn run(&mut self, world: &mut Registers) {
        let end = Time::from_ms(self.plan.chaos_ms);
        while world.now() < end && self.fault.is_none() {
            let until = world.now().plus_us(1_000_000).min(end);
            world.run(self, until);
        }
        if self.fault.is_none() {
            self.heal(world);
        }
    }

    /// The network is perfect, everybody is up, members that are gone are replaced; then all must be
    /// well.
    fn heal(&mut self, world: &mut Registers) {
        self.healing = true;
        let regions = world.network_mut().regions.clone();
        *world.network_mut() = Network::perfect(regions);
        self.say(world.now(), || "healing".to_owned());
        for node in 0..self.disks.len() {
            self.restart(world, node, self.starts[node]);
        }
        self.at(world, world.now().plus_us(1000), Deed::Mend);
        let limit = world.now().plus_us(HEALING_MS * 1000);
        let mut asked = None;
        while self.fault.is_none() {
            let until = world.now().plus_us(500_000);
            world.run(self, until);
            let settled = (0..self.plan.slots).all(|slot| self.auditor.is_settled(Slot(slot)));
            let idle = self.clients.iter().all(|client| client.attempts().is_none());
            match asked {
                None if settled && idle => {
                    asked = Some(self.book.entries.len());
                    self.ask_all(world);
                }
                Some(first) if settled && idle && self.tombstones() == 0 => {
                    if self.book.entries[first..].iter().any(|entry| entry.outcome.is_none()) {
                        let what = "without faults a call has not been answered".to_owned();
                        self.fault = Some(Fault::NoProgress(what));
                    }
                    return;
                }
                _ => {}
            }
            if world.now() > limit && self.fault.is_none() {
                let what = self.unwell(settled, idle);
                self.fault = Some(Fault::NoProgress(what));
            }
        }
    }

    fn unwell(&self, settled: bool, idle: bool) -> String {
        let seconds = HEALING_MS / 1000;
        if !settled {
            let slots = (0..self.plan.slots).map(Slot);
            let restless: Vec<String> = slots
                .filter(|slot| !self.auditor.is_settled(*slot))
                .filter_map(|slot| self.auditor.newest(slot).map(ToString::to_string))
                .collect();
            format!("after {seconds} s without faults not all members are active: {restless:?}")
        } else if !idle {
            format!("after {seconds} s without faults calls have not ended")
        } else {
            format!("after {seconds} s without faults there are {} tombstones", self.tombstones())
        }
    }

    /// Every client calls once more, on the keys in turn: each must be answered.
    fn ask_all(&mut self, world: &mut Registers) {
        for client in 0..self.clients.len() {
            let key = self.keys[client % self.keys.len()].clone();
            let call = if client % 2 == 0 {
                Call::Get
            } else {
                let new = Some(Value::from(&[client.to_le_bytes()[0]][..]));
                Call::CompareAndSet { expected: Expected::Absent, new }
            };
            if client < self.plan.clients as usize {
                self.clients[client].touch(&mut self.book, &key, call);
                self.attempt(world, client);
            }
        }
    }

    /// At members of the newest views; none counts without collection.
    fn tombstones(&self) -> usize {
        if self.plan.waits.collect_ms == 0 {
            return 0;
        }
        let removed = |disk: &Disk, view: &View| {
            let replica = disk.replica(view.slot(), view.epoch());
            let records = replica.into_iter().flat_map(|replica| replica.records.values());
            let removed = |accepted: &cloakroom_register::Accepted| accepted.is_tombstone();
            records.filter(|record| record.accepted.as_ref().is_some_and(removed)).count()
        };
        let views = (0..self.plan.slots).filter_map(|slot| self.auditor.newest(Slot(slot)));
        views.map(|view| self.disks.iter().map(|disk| removed(disk, view)).sum::<usize>()).sum()
    }

    /// Replaces members that are gone, until none is.
    fn mend(&mut self, world: &mut Registers) {
        for slot in (0..self.plan.slots).map(Slot) {
            let Some(view) = self.auditor.newest(slot) else { continue };
            let gone = |member: &Member| self.auditor.is_lost(*member);
            // Who was not told in time is told by members of the view before, while there are any.
            let untold = !self.auditor.is_settled(slot)
                && self.auditor.before(slot).is_some_and(|view| view.members().iter().all(gone));
            if untold || view.members().iter().any(gone) {
                self.propose(world, slot, true);
            }
        }
        self.at(world, world.now().plus_us(2_000_000), Deed::Mend);
    }
}

impl Director<Resident> for Chaos {
    fn wake(&mut self, world: &mut Registers, token: u64) {
        let Some(deed) = usize::try_from(token).ok().and_then(|at| self.deeds.get(at).copied())
        else {
            return;
        };
        if self.fault.is_some() {
            return;
        }
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
            Deed::Cut => self.cut(world),
            Deed::View => self.propose_something(world),
            Deed::Lose => self.lose(world),
            Deed::Move => self.shift(world),
            Deed::Mend => self.mend(world),
        }
        if again {
            self.later(world, mean, deed);
        }
    }

    fn event(&mut self, world: &mut Registers, node: Node, event: Event) {
        if self.fault.is_some() {
            return;
        }
        match event {
            Event::Saved(saves) => self.save(world.now(), node.index(), &saves),
            Event::Told(slot, epoch, key, promise) => {
                let disk = &self.disks[node.index()];
                let judged = self.auditor.told(disk, slot, epoch, &key, promise);
                self.judge(world.now(), judged);
            }
            Event::Ended(id, outcome) => self.ended(world, id, outcome),
        }
    }
}
