//! What crashes cost: records on three nodes each, and nodes that die one after the other or at once.
//!
//! # Life
//! 1. Tables are filled, all records are published by random nodes.
//! 2. Nodes crash, at the given distance of time or at once: for good, their records with them, or to come
//!    back as themselves after a while, some of them with an empty disk.
//! 3. Twenty minutes later every record is read once by a random node.
//!
//! Theory, at once: a record is lost if all its three holders are among the f of n nodes that crash, and
//! each of these loses its disk, with chance d: d³ f (f - 1) (f - 2) / (n (n - 1) (n - 2)).
//!
//! What it does not do: lose writes that a disk has acknowledged, or only a part of a disk.

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_kademlia::{Event, Kademlia, QueryId};
use cloakroom_wire::{NodeId, RecordKey};
use serde::Serialize;

use crate::args::RecordsArgs;
use crate::engine::{Director, Node, Time, World};
use crate::kad::identity;
use crate::kad::resident::{Disk, Resident, moment};
use crate::random::{Chance, Random, to_f64, to_u64};
use crate::run::Progress;
use crate::run::people::People;
use crate::scenario::{Scenario, ScenarioError, minutes};

/// Over which time the records are published.
const PUBLISHING: Time = Time(600_000_000);
/// How long the network has to recover after the last crash.
const RECOVERY: Time = Time(1_200_000_000);
/// Over which time the reads are spread.
const READING: Time = Time(600_000_000);

/// The figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Nodes at the beginning.
    pub nodes: u32,
    /// Records published with three holders.
    pub records: u64,
    /// Nodes that crashed.
    pub crashed: u64,
    /// Seconds between two crashes; 0: all at once.
    pub gap_s: u32,
    /// Minutes after which a node came back; 0: none did.
    pub down_min: f64,
    /// How likely its disk was empty then.
    pub disk_loss: f64,
    /// Nodes that came back.
    pub came_back: u64,
    /// Of these, with an empty disk.
    pub came_back_empty: u64,
    /// Records with fewer than three holders just before the first crash.
    pub short_before: u64,
    /// Records that nobody holds any more.
    pub lost: u64,
    /// Records that nobody held any more in the moment of the last crash: more lost in the end would be
    /// lost by the living.
    pub lost_at_the_last_crash: u64,
    /// Records that theory expects to be lost when all crash at once.
    pub lost_in_theory_at_once: f64,
    /// Records that their read did not find.
    pub unread: u64,
    /// Holders of a record that is not lost, on average.
    pub holders_mean: f64,
    /// Records that are not lost and have fewer than three holders.
    pub short: u64,
    /// Virtual hours.
    pub virtual_hours: f64,
    /// Messages that a node sent in a second.
    pub messages_per_second_per_node: f64,
    /// The trace's hash.
    pub trace_hash: String,
}

struct Crashes {
    people: People,
    keys: Vec<RecordKey>,
    calls: Random,
    open: BTreeMap<(Node, u64), (u32, bool)>,
    published: BTreeSet<u32>,
    found: BTreeSet<u32>,
    gone: u64,
    to_go: u64,
    down: Option<Time>,
    disk_loss: Chance,
    disks: BTreeMap<Node, Disk>,
    short_before: u64,
    came_back: u64,
    came_back_empty: u64,
    lost_at_the_last_crash: u64,
}

const PUBLISH: u64 = 0;
const CRASH: u64 = 1;
const READ: u64 = 2;
const COME: u64 = 3;

/// Runs it.
///
/// # Errors
/// Numbers out of their range.
pub fn run(args: &RecordsArgs, progress: Progress<'_>) -> Result<Figures, ScenarioError> {
    let mut scenario = Scenario { nodes: args.nodes, seed: args.seed, ..Scenario::default() };
    scenario.network.loss = args.loss.0;
    let scenario = scenario.checked()?;
    let mut random = Random::stream(args.seed, "records", 0);
    let keys: Vec<_> = (0..args.records).map(|_| RecordKey(random.bytes())).collect();
    let mut world = World::new(scenario.network.build(Time(0))?, args.seed);
    let (people, _) = People::settle(&scenario, &keys, &mut world);
    let mut director = Crashes {
        people,
        keys,
        calls: Random::stream(args.seed, "calls", 0),
        open: BTreeMap::new(),
        published: BTreeSet::new(),
        found: BTreeSet::new(),
        gone: 0,
        to_go: to_u64(f64::from(args.nodes) * args.crash.0),
        down: (args.down > 0.0).then(|| minutes(args.down)),
        disk_loss: Chance::of(args.disk_loss.0),
        disks: BTreeMap::new(),
        short_before: 0,
        came_back: 0,
        came_back_empty: 0,
        lost_at_the_last_crash: 0,
    };
    let crashes = director.to_go;
    let end = plan(&mut director, args, crashes, &mut world);
    let parts = 100;
    for part in 1..=parts {
        world.run(&mut director, Time(end.0 / parts * part));
        progress(to_f64(part) / to_f64(parts), director.found.len() as u64, 1.0);
    }
    Ok(director.figures(args, &world))
}

/// Says what happens when; when all is over.
fn plan(
    director: &mut Crashes,
    args: &RecordsArgs,
    crashes: u64,
    world: &mut World<Resident>,
) -> Time {
    for record in 0..u64::from(args.records) {
        let at = Time(director.calls.below(PUBLISHING.0));
        world.wake(at, PUBLISH << 32 | record);
    }
    let begin = PUBLISHING.plus_us(60_000_000);
    let gap_us = u64::from(args.gap) * 1_000_000;
    for crash in 0..crashes {
        world.wake(begin.plus_us(gap_us * crash), CRASH << 32);
    }
    let down = director.down.unwrap_or(Time(0));
    let reading = begin.plus_us(gap_us * crashes).plus_us(down.0).plus_us(RECOVERY.0);
    for record in 0..u64::from(args.records) {
        let at = reading.plus_us(director.calls.below(READING.0));
        world.wake(at, READ << 32 | record);
    }
    reading.plus_us(READING.0 + 60_000_000)
}

impl Crashes {
    fn call(&mut self, record: u32, read: bool, world: &mut World<Resident>) {
        let Some(node) = self.people.anybody(&mut self.calls) else { return };
        let key = self.keys[record as usize];
        let origin = self.people.all[node.index()].contact.id;
        let query = world.command(node, 3, |resident, now| {
            let begin = |dht: &mut Kademlia| {
                if read {
                    dht.find_value(moment(now), key)
                } else {
                    dht.publish(moment(now), identity::record(key, origin, 1, 16))
                }
            };
            resident.ask(now, begin)?.ok()
        });
        if let Some(Some(QueryId(query))) = query {
            self.open.insert((node, query), (record, read));
        }
    }

    /// Somebody crashes.
    fn crash(&mut self, world: &mut World<Resident>) {
        if self.gone == 0 {
            let holders = self.holders(world);
            self.short_before = holders.iter().filter(|&&count| count < 3).count() as u64;
        }
        if let Some(node) = self.people.anybody(&mut self.calls) {
            let disk = self.people.go(node, world);
            self.gone += 1;
            if let Some(down) = self.down {
                if !self.calls.happens(self.disk_loss) {
                    self.disks.extend(disk.map(|disk| (node, disk)));
                }
                world.wake(world.now().plus_us(down.0), COME << 32 | u64::from(node.0));
            }
        }
        if self.gone == self.to_go {
            let holders = self.holders(world);
            let lost = holders.iter().filter(|&&count| count == 0).count();
            self.lost_at_the_last_crash = lost as u64;
        }
    }

    /// Who crashed comes back.
    fn come(&mut self, node: Node, world: &mut World<Resident>) {
        let disk = self.disks.remove(&node);
        self.came_back += 1;
        self.came_back_empty += u64::from(disk.is_none());
        self.people.come(node, disk, world);
    }

    /// How many nodes hold each of the records that were published.
    fn holders(&self, world: &World<Resident>) -> Vec<u64> {
        let mut holders: BTreeMap<NodeId, u64> = BTreeMap::new();
        for &node in &self.people.callers {
            let Some(kademlia) = world.machine(node).and_then(Resident::kademlia) else { continue };
            for (name, _) in kademlia.records().replicas(moment(world.now())) {
                *holders.entry(name.0.point()).or_default() += 1;
            }
        }
        let of =
            |&record: &u32| holders.get(&self.keys[record as usize].point()).copied().unwrap_or(0);
        self.published.iter().map(of).collect()
    }

    fn figures(&self, args: &RecordsArgs, world: &World<Resident>) -> Figures {
        let (mut lost, mut short, mut sum) = (0, 0, 0);
        for count in self.holders(world) {
            lost += u64::from(count == 0);
            short += u64::from((1..3).contains(&count));
            sum += count;
        }
        let records = self.published.len() as u64;
        let (n, f) = (f64::from(args.nodes), to_f64(self.gone));
        let empty = if self.down.is_some() { args.disk_loss.0 } else { 1.0 };
        let at_once = f * (f - 1.0) * (f - 2.0) / (n * (n - 1.0) * (n - 2.0)) * empty.powi(3);
        let seconds = to_f64(world.now().0) / 1e6;
        Figures {
            nodes: args.nodes,
            records,
            crashed: self.gone,
            gap_s: args.gap,
            down_min: args.down,
            disk_loss: args.disk_loss.0,
            came_back: self.came_back,
            came_back_empty: self.came_back_empty,
            short_before: self.short_before,
            lost,
            lost_at_the_last_crash: self.lost_at_the_last_crash,
            lost_in_theory_at_once: at_once.max(0.0) * to_f64(records),
            unread: self.published.difference(&self.found).count() as u64,
            holders_mean: crate::stats::share(sum, records - lost),
            short,
            virtual_hours: seconds / 3600.0,
            messages_per_second_per_node: to_f64(world.total().sent) / seconds / n,
            trace_hash: format!("{:016x}", world.trace().hash()),
        }
    }
}

impl Director<Resident> for Crashes {
    fn wake(&mut self, world: &mut World<Resident>, token: u64) {
        let record = u32::try_from(token & u64::from(u32::MAX)).expect("32 bits");
        match token >> 32 {
            PUBLISH => self.call(record, false, world),
            READ => self.call(record, true, world),
            COME => self.come(Node(record), world),
            _ => self.crash(world),
        }
    }

    fn event(&mut self, world: &mut World<Resident>, node: Node, event: Event) {
        match event {
            Event::Joined { .. } => self.people.found(node, world.now()),
            Event::Published { query, holders, .. } => {
                let open = self.open.remove(&(node, query.0));
                self.published.extend(open.filter(|_| holders >= 3).map(|(record, _)| record));
            }
            Event::Value { query, records, .. } => {
                let open = self.open.remove(&(node, query.0));
                self.found.extend(open.filter(|_| !records.is_empty()).map(|(record, _)| record));
            }
            Event::Absent { query, .. } => {
                self.open.remove(&(node, query.0));
            }
            _ => {}
        }
    }
}

impl Figures {
    /// For people.
    pub fn table(&self) -> String {
        let how = match self.gap_s {
            0 => "all at once".to_owned(),
            gap => format!("one every {gap} s"),
        };
        let back = match self.came_back {
            0 => "for good".to_owned(),
            count => format!(
                "{count} back after {} min, {} of them with an empty disk",
                self.down_min, self.came_back_empty
            ),
        };
        format!(
            "records           {} on three of {} nodes each, {} on fewer before the first crash\n\
             crashes           {} ({how}; {back})\n\
             lost              {} held by nobody ({} in the moment of the last crash), {} not found by their read\n\
             theory            {:.0} lost if all crash at once\n\
             holders           {:.3} of a record, {} records with fewer than three\n\
             traffic           {:.1} messages a second and node, over {:.1} virtual hours\n\
             run               trace {}\n",
            self.records,
            self.nodes,
            self.short_before,
            self.crashed,
            self.lost,
            self.lost_at_the_last_crash,
            self.unread,
            self.lost_in_theory_at_once,
            self.holders_mean,
            self.short,
            self.messages_per_second_per_node,
            self.virtual_hours,
            self.trace_hash
        )
    }
}
