//! The main experiment: a network under churn that is asked to find things.
//!
//! # Life of a run
//! 1. Nodes start ([`Start`]): with filled tables, or by joining.
//! 2. Warm-up: churn and upkeep work, records are published; nothing is measured.
//! 3. Measured part: exactly as many lookups of random points and reads of records as were asked for,
//!    each at a random moment and a random node, while churn goes on.
//! 4. A minute more, so that the last ones end.
//!
//! # What counts as success
//! * Lookup: the node closest to the point is among the answer, of all honest nodes that could be
//!   found and were up from its begin to its end.
//! * Read: the record that was published is among what was found, and nothing else.
//!
//! Invariants: the same scenario gives the same [`Outcome`], to the last bit.
//!
//! What it does not do: print.

mod churn;
pub mod figures;
mod judge;
pub mod people;
pub mod tally;
mod wake;

use std::collections::BTreeMap;

use cloakroom_kademlia::{Cost, Event, Kademlia, QueryId};
use cloakroom_wire::{NodeId, RecordKey};

use self::people::People;
use self::tally::{Moment, Open, Question, Story, Tally, What};
use self::wake::Wake;
use crate::engine::{Director, Node, Time, Traffic, World};
use crate::kad::identity;
use crate::kad::liar::Behaviour;
use crate::kad::resident::{Disk, Resident, moment};
use crate::random::{Random, exp, power, to_f64, to_u64};
use crate::scenario::{Scenario, Start, minutes};

/// Parts into which the measured time is divided for the time line.
const MOMENTS: u64 = 120;
/// Lookups and reads that are watched step by step.
const STORIES: u32 = 32;
/// Time for the last lookups to end.
const AFTER: Time = Time(60_000_000);

/// What a run has shown.
pub struct Outcome {
    /// What was run.
    pub scenario: Scenario,
    /// Lookups of points.
    pub lookups: Tally,
    /// Share of the 20 closest that lookups found.
    pub recall: Option<f64>,
    /// Reads of records.
    pub reads: Tally,
    /// Records that all holders said to have, when published.
    pub published: u64,
    /// The measured part.
    pub measured: (Time, Time),
    /// The time line.
    pub moments: Vec<Moment>,
    /// Lookups step by step.
    pub stories: Vec<Story>,
    /// Everybody who ever was.
    pub people: People,
    /// Messages that each node was given in the measured part, of honest nodes up all the time.
    pub load: Vec<(Node, u64)>,
    /// Messages and bytes of all in the measured part.
    pub traffic: Traffic,
    /// Entries of a table; those that are up; true neighbours that are known.
    pub table: (f64, f64, f64),
    /// Bytes of a machine, on average at the end.
    pub memory: f64,
    /// Messages that made no sense to their receiver.
    pub garbled: u64,
    /// Regions by index.
    pub regions: Vec<&'static str>,
    /// Region of each node.
    pub region_of: Vec<u8>,
    /// The trace's hash and length.
    pub trace: (u64, u64),
}

/// Hears how far a run has come: the share of virtual time, lookups ended, the share of good ones.
pub type Progress<'a> = &'a mut dyn FnMut(f64, u64, f64);

/// Runs a scenario.
///
/// # Panics
/// If the scenario was not [`checked`](Scenario::checked).
pub fn simulate(scenario: &Scenario, progress: Progress<'_>) -> Outcome {
    let mut random = Random::stream(scenario.seed, "records", 0);
    let keys: Vec<_> = (0..scenario.records.count).map(|_| RecordKey(random.bytes())).collect();
    let network = scenario.network.build(Time(0)).expect("a checked scenario");
    let mut world = World::new(network, scenario.seed);
    let (people, last_join) = People::settle(scenario, &keys, &mut world);
    let begin = last_join.plus_us(minutes(scenario.warm_up_min).0);
    let end = begin.plus_us(minutes(scenario.minutes).0);
    world.network_mut().cuts = scenario.network.build(begin).expect("a checked scenario").cuts;
    let mut run = Run::new(scenario, people, keys, (begin, end));
    run.plan(last_join, &mut world);
    // One part more for what comes before the measured part.
    let parts = MOMENTS + 1;
    world.run(&mut run, begin);
    for part in 1..parts {
        progress(to_f64(part) / to_f64(parts), run.lookups.ended, run.lookups.success_so_far());
        world.run(&mut run, Time(begin.0 + (end.0 - begin.0) * part / MOMENTS));
    }
    run.close(&world);
    let (table, memory) = (run.people.table_quality(&world, 1000), run.people.memory(&world));
    world.run(&mut run, end.plus_us(AFTER.0));
    progress(1.0, run.lookups.ended, run.lookups.success_so_far());
    run.outcome(&mut world, table, memory)
}

struct Run<'a> {
    scenario: &'a Scenario,
    people: People,
    keys: Vec<RecordKey>,
    /// For each record who published it, once it is.
    origins: Vec<Option<NodeId>>,
    popularity: Vec<f64>,
    open: Open,
    disks: BTreeMap<Node, Disk>,
    measured: (Time, Time),
    lookups: Tally,
    recalled: (u64, u64),
    reads: Tally,
    /// Lookups and reads that are still to come.
    to_come: (u32, u32),
    published: u64,
    moments: Vec<Moment>,
    now: Moment,
    before: Traffic,
    loads: Vec<(Node, u64)>,
    traffic: Traffic,
    stories: Vec<Story>,
    churn: Random,
    calls: Random,
}

impl<'a> Run<'a> {
    fn new(
        scenario: &'a Scenario,
        people: People,
        keys: Vec<RecordKey>,
        measured: (Time, Time),
    ) -> Self {
        let mut sum = 0.0;
        let weight = |rank: usize| 1.0 / power(to_f64(rank as u64 + 1), scenario.records.skew);
        let victims = match scenario.hostile.behaviour {
            Behaviour::Eclipse if scenario.hostile.share > 0.0 => scenario.hostile.victims as usize,
            _ => keys.len(),
        };
        let popularity = (0..keys.len().min(victims)).map(|rank| {
            sum += weight(rank);
            sum
        });
        Self {
            popularity: popularity.collect(),
            origins: vec![None; keys.len()],
            scenario,
            people,
            keys,
            open: Open::new(),
            disks: BTreeMap::new(),
            measured,
            lookups: Tally::default(),
            recalled: (0, 0),
            reads: Tally::default(),
            to_come: (scenario.lookups, 0),
            published: 0,
            moments: Vec::new(),
            now: Moment::default(),
            before: Traffic::default(),
            loads: Vec::new(),
            traffic: Traffic::default(),
            stories: Vec::new(),
            churn: Random::stream(scenario.seed, "churn", 0),
            calls: Random::stream(scenario.seed, "calls", 0),
        }
    }

    /// What is known in advance to happen.
    fn plan(&mut self, last_join: Time, world: &mut World<Resident>) {
        let honest = self.people.all.iter().filter(|person| !person.liar).count();
        for number in 0..u32::try_from(honest).expect("numbers of nodes") {
            let node = Node(number);
            let joins = match self.scenario.start {
                Start::Filled => Time(0),
                Start::Joining => {
                    let at = People::joins_at(node);
                    world.wake(at, Wake::Come(node).token());
                    at
                }
            };
            if let Some(mean) = self.mean_session_us() {
                let rest = self.scenario.churn.sessions.rest(mean, &mut self.churn);
                world.wake(joins.plus_us(to_u64(rest)), Wake::Go(node).token());
            }
        }
        let warm_up = self.measured.0.since_us(last_join);
        for record in 0..self.scenario.records.count {
            // In the middle of the warm-up: the network has settled, and settles again.
            let at = warm_up / 4 + self.calls.below(warm_up / 2 + 1);
            world.wake(last_join.plus_us(at), Wake::Publish(record).token());
        }
        world.wake(self.measured.0, Wake::Measure.token());
    }

    fn is_measuring(&self, now: Time) -> bool {
        self.measured.0 <= now && now < self.measured.1
    }

    fn tally(&mut self, what: What) -> &mut Tally {
        match what {
            What::Point(_) => &mut self.lookups,
            What::Record(_) | What::Publish(_) => &mut self.reads,
        }
    }

    /// Somebody asks something.
    fn call(&mut self, what: What, world: &mut World<Resident>) {
        let Some(node) = self.people.anybody(&mut self.calls) else { return };
        let target = match what {
            What::Point(point) => point,
            What::Record(record) | What::Publish(record) => self.keys[record as usize].point(),
        };
        let measured = self.is_measuring(world.now()) && !matches!(what, What::Publish(_));
        let watched = measured && self.is_story(what);
        let origin = self.people.all[node.index()].contact.id;
        let bytes = self.scenario.records.bytes as usize;
        let asked = world.command(node, 3, |resident, now| {
            if watched {
                resident.watch(target);
            }
            let begin = |dht: &mut Kademlia| match what {
                What::Point(point) => dht.find_node(moment(now), point),
                What::Record(_) => dht.find_value(moment(now), RecordKey(target.0)),
                What::Publish(_) => {
                    let record = identity::record(RecordKey(target.0), origin, 1, bytes);
                    dht.publish(moment(now), record)
                }
            };
            resident.ask(now, begin)?.ok()
        });
        let Some(Some(QueryId(query))) = asked else { return };
        if let What::Publish(record) = what {
            self.origins[record as usize] = Some(origin);
        }
        if measured {
            self.tally(what).begun += 1;
        }
        let question = Question { what, began: world.now(), measured, watched };
        self.open.insert((node, query), question);
    }

    /// Whether this one is to be watched: now and then one, spread over the measured part.
    fn is_story(&self, what: What) -> bool {
        let (begun, all) = match what {
            What::Point(_) => (self.lookups.begun, self.scenario.lookups),
            What::Record(_) | What::Publish(_) => (self.reads.begun, self.scenario.records.reads),
        };
        begun.is_multiple_of(u64::from((all / (STORIES / 2)).max(1)))
    }

    fn draw_record(&mut self) -> Option<u32> {
        let whole = *self.popularity.last()?;
        let drawn = self.calls.unit() * whole;
        let rank = self.popularity.partition_point(|&below| below < drawn);
        u32::try_from(rank.min(self.popularity.len() - 1)).ok()
    }

    /// The next call of one kind: the first of those that are to come, each at a random moment of the
    /// time that is left, so that they come as if without memory and are as many as was said.
    fn again(&mut self, wake: Wake, to_come: u32, world: &mut World<Resident>) {
        if to_come > 0 {
            let left = self.measured.1.since_us(world.now());
            let first = 1.0 - exp(-self.calls.exponential(1.0) / f64::from(to_come));
            let gap = to_u64(to_f64(left) * first).min(left.saturating_sub(1));
            world.wake(world.now().plus_us(gap), wake.token());
        }
    }

    fn sample(&mut self, world: &mut World<Resident>) {
        let total = world.total();
        let mut moment = std::mem::take(&mut self.now);
        moment.at = world.now();
        moment.up = self.people.callers.len() as u64;
        moment.sent = total.sent - self.before.sent;
        moment.sent_bytes = total.sent_bytes - self.before.sent_bytes;
        self.before = total;
        self.moments.push(moment);
        let span = self.measured.1.since_us(self.measured.0);
        let next = self.measured.0.plus_us(span * (self.moments.len() as u64 + 1) / MOMENTS);
        if self.moments.len() as u64 + 1 < MOMENTS {
            world.wake(next, Wake::Sample.token());
        }
    }

    fn measure(&mut self, world: &mut World<Resident>) {
        self.traffic = world.total();
        self.before = self.traffic;
        self.now = Moment::default();
        let up = self.people.callers.iter();
        self.loads = up.map(|&node| (node, world.traffic(node).received)).collect();
        self.loads.sort_unstable();
        let span = self.measured.1.since_us(self.measured.0);
        world.wake(self.measured.0.plus_us(span / MOMENTS), Wake::Sample.token());
        if !self.popularity.is_empty() {
            self.to_come.1 = self.scenario.records.reads;
        }
        self.again(Wake::Lookup, self.to_come.0, world);
        self.again(Wake::Read, self.to_come.1, world);
    }

    /// The measured part is over.
    fn close(&mut self, world: &World<Resident>) {
        let total = world.total();
        let before = self.traffic;
        self.traffic = Traffic {
            sent: total.sent - before.sent,
            sent_bytes: total.sent_bytes - before.sent_bytes,
            arrived: total.arrived - before.arrived,
            received: total.received - before.received,
            received_bytes: total.received_bytes - before.received_bytes,
        };
        let (people, begin) = (&self.people, self.measured.0);
        self.loads.retain(|(node, _)| people.all[node.index()].since <= begin);
        for (node, load) in &mut self.loads {
            *load = world.traffic(*node).received - *load;
        }
    }

    fn ended(
        &mut self,
        world: &mut World<Resident>,
        (node, query): (Node, QueryId),
        cost: &Cost,
        judge: impl FnOnce(&mut Self, &Question) -> bool,
    ) {
        let Some(question) = self.open.remove(&(node, query.0)) else { return };
        if !question.measured {
            return;
        }
        let good = judge(self, &question);
        self.tally(question.what).end(good, cost);
        self.now.ended += 1;
        self.now.good += u64::from(good);
        self.now.took_us.add(cost.took_us);
        if !question.watched {
            return;
        }
        let (target, read) = match question.what {
            What::Point(point) => (point, false),
            What::Record(record) | What::Publish(record) => {
                (self.keys[record as usize].point(), true)
            }
        };
        let watch = world.command(node, 4, |resident, _| resident.watched(target)).flatten();
        let Some(watch) = watch else { return };
        let (began, hops, took_us) = (question.began, cost.hops, cost.took_us);
        self.stories.push(Story { caller: node, target, read, began, good, hops, took_us, watch });
    }

    fn outcome(self, world: &mut World<Resident>, table: (f64, f64, f64), memory: f64) -> Outcome {
        let nodes = (0..u32::try_from(world.len()).expect("numbers of nodes")).map(Node);
        let garbled = nodes.clone().filter_map(|node| world.machine(node));
        Outcome {
            garbled: garbled.map(|resident| u64::from(resident.garbled())).sum(),
            region_of: nodes.map(|node| world.end(node).region).collect(),
            regions: world.network_mut().regions.names().to_vec(),
            trace: (world.trace().hash(), world.trace().steps()),
            recall: crate::stats::share_of_some(self.recalled.0, self.recalled.1),
            scenario: self.scenario.clone(),
            lookups: self.lookups,
            reads: self.reads,
            published: self.published,
            measured: self.measured,
            moments: self.moments,
            stories: self.stories,
            people: self.people,
            load: self.loads,
            traffic: self.traffic,
            table,
            memory,
        }
    }
}

impl Director<Resident> for Run<'_> {
    fn wake(&mut self, world: &mut World<Resident>, token: u64) {
        match Wake::of(token) {
            Wake::Come(node) => self.come(node, world),
            Wake::Go(node) => self.go(node, world),
            Wake::Publish(record) => self.call(What::Publish(record), world),
            Wake::Lookup => {
                let point = NodeId(self.calls.bytes());
                self.call(What::Point(point), world);
                self.to_come.0 -= 1;
                self.again(Wake::Lookup, self.to_come.0, world);
            }
            Wake::Read => {
                let drawn = self.draw_record();
                if let Some(record) = drawn.filter(|&at| self.origins[at as usize].is_some()) {
                    self.call(What::Record(record), world);
                }
                self.to_come.1 -= 1;
                self.again(Wake::Read, self.to_come.1, world);
            }
            Wake::Measure => self.measure(world),
            Wake::Sample => self.sample(world),
        }
    }

    fn event(&mut self, world: &mut World<Resident>, node: Node, event: Event) {
        match event {
            Event::Found { query, closest, cost } => {
                let found: Vec<NodeId> = closest.iter().map(|contact| contact.id).collect();
                self.ended(world, (node, query), &cost, |run, question| {
                    run.judge_lookup(node, question, &found)
                });
            }
            Event::Value { query, records, cost, .. } => {
                self.ended(world, (node, query), &cost, |run, question| {
                    run.judge_read(question, &records)
                });
            }
            Event::Absent { query, cost } => {
                self.ended(world, (node, query), &cost, |_, _| false);
            }
            Event::Published { query, holders, .. } => {
                self.open.remove(&(node, query.0));
                self.published += u64::from(holders >= 3);
            }
            Event::Joined { .. } => self.people.found(node, world.now()),
            Event::Left { .. } => {
                self.stop(node, world);
                self.replace(world);
            }
            _ => {}
        }
    }
}
