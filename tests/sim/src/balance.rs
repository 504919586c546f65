//! Eight strategies that choose among a record's holders, under skewed load and one slow node.
//!
//! 30 nodes in three regions hold 300 records, three each; 24 clients that hold nothing keep four
//! requests each in flight: when one is answered the next begins, so that a strategy that
//! waits for the slow node serves less. Which record is asked for follows Zipf's law. Each node takes
//! 1 ms to work on a message, one of the holders of the most wanted record takes 20 ms.
//!
//! Invariants:
//! * all strategies see the same nodes, the same records and the same order of wishes;
//! * a node's load is what reached it from the first wish to the last answer, whether or not it has
//!   come to it: what a node has served says how fast it is, not how much was asked of it.
//!
//! What it does not do: several slow nodes, or ones that become slow meanwhile.

use std::collections::BTreeSet;

use cloakroom_kademlia::{Balance, Event, Kademlia, Parameters, Peer, QueryId};
use cloakroom_wire::{Address, Contact, NodeKey, RecordKey};
use serde::Serialize;

use crate::args::BalanceArgs;
use crate::engine::{Director, End, Node, Regions, Time, World};
use crate::kad::census::Census;
use crate::kad::identity;
use crate::kad::resident::{Disk, Honest, Made, Resident, genesis, moment};
use crate::random::{Random, to_f64};
use crate::scenario::NetworkKnobs;
use crate::stats::{Samples, share};

const HOLDERS: u32 = 30;
const CLIENTS: u32 = 24;
const IN_FLIGHT: u32 = 4;
const RECORDS: usize = 300;
const REGIONS: [&str; 3] = ["Frankfurt", "London", "Madrid"];
const SERVICE_US: u32 = 1000;
const SLOW_US: u32 = 20_000;
/// When the records are published and the requests may begin.
const BEGIN: Time = Time(120_000_000);

/// The figures of all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// One row for each strategy.
    pub strategies: Vec<Row>,
}

/// Those of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub strategy: &'static str,
    /// Requests answered with the record, of all.
    pub success_rate: f64,
    /// Requests answered in a virtual second.
    pub requests_per_second: f64,
    /// Median latency.
    pub latency_ms_p50: f64,
    /// The same, 99th percentile.
    pub latency_ms_p99: f64,
    /// Messages that reached the busiest node over the mean.
    pub load_max_over_mean: f64,
    /// Share of these messages that reached the slow node.
    pub slow_share: f64,
    /// The trace's hash.
    pub trace_hash: String,
}

struct Wishes {
    keys: Vec<RecordKey>,
    holders: Vec<Vec<(Contact, u16)>>,
    popularity: Vec<f64>,
    balances: Vec<Balance>,
    random: Random,
    left: u32,
    open: BTreeSet<(Node, u64)>,
    good: u64,
    took_us: Samples,
    last: Time,
    /// What had reached each holder at the last answer.
    loads: Vec<u64>,
}

/// Runs all eight.
pub fn run(args: &BalanceArgs) -> Figures {
    let row = |(name, balance): (&'static str, Balance)| one(args, name, &balance);
    Figures { strategies: Balance::ALL.into_iter().map(row).collect() }
}

fn one(args: &BalanceArgs, strategy: &'static str, balance: &Balance) -> Row {
    let mut random = Random::stream(args.seed, "balance", 0);
    let knobs = NetworkKnobs {
        regions: REGIONS.map(str::to_owned).into(),
        loss: 0.0,
        ..NetworkKnobs::default()
    };
    let network = knobs.build(Time(0)).expect("regions of the table");
    let mut world = World::new(network, args.seed);
    let contacts = settle(args.seed, &mut random, &mut world);
    let keys: Vec<_> = (0..RECORDS).map(|_| RecordKey(random.bytes())).collect();
    let everybody =
        Census::of(contacts.iter().zip(0..HOLDERS).map(|(contact, at)| (contact.id, Node(at))));
    let closest = |key: &RecordKey| everybody.closest(key.point(), 3, |_| true);
    let slow = closest(&keys[0])[0];
    world.end_mut(slow).service_us = SLOW_US;
    let weight = |node: Node| if node == slow { 1 } else { 20 };
    let holders = keys.iter().map(|key| {
        closest(key).into_iter().map(|node| (contacts[node.index()], weight(node))).collect()
    });
    let mut sum = 0.0;
    let popularity = (1..=RECORDS).map(|rank| {
        sum += 1.0 / to_f64(rank as u64);
        sum
    });
    let mut wishes = Wishes {
        holders: holders.collect(),
        popularity: popularity.collect(),
        balances: vec![balance.clone(); CLIENTS as usize],
        random,
        left: args.requests,
        open: BTreeSet::new(),
        good: 0,
        took_us: Samples::default(),
        last: BEGIN,
        loads: Vec::new(),
        keys,
    };
    for record in 0..RECORDS as u64 {
        world.wake(Time(100_000 * record), record);
    }
    for call in 0..CLIENTS * IN_FLIGHT {
        world.wake(BEGIN, 1 << 32 | u64::from(HOLDERS + call % CLIENTS));
    }
    world.run(&mut wishes, Time(BEGIN.0 - 1));
    let before = loads(&world);
    wishes.loads.clone_from(&before);
    // More than enough: it ends when nobody wishes for anything more.
    while wishes.left > 0 || !wishes.open.is_empty() {
        let until = world.now().plus_us(10_000_000);
        world.run(&mut wishes, until);
    }
    let loads = wishes.loads.iter().zip(&before).map(|(after, before)| after - before);
    let loads: Vec<u64> = loads.collect();
    let mut load = Samples::default();
    for &messages in &loads {
        load.add(messages);
    }
    let seconds = to_f64(wishes.last.since_us(BEGIN)) / 1e6;
    Row {
        strategy,
        success_rate: share(wishes.good, args.requests.into()),
        requests_per_second: to_f64(wishes.good) / seconds,
        latency_ms_p50: f64::from(wishes.took_us.percentile(50)) / 1000.0,
        latency_ms_p99: f64::from(wishes.took_us.percentile(99)) / 1000.0,
        load_max_over_mean: load.max_over_mean(),
        slow_share: share(loads[slow.index()], loads.iter().sum()),
        trace_hash: format!("{:016x}", world.trace().hash()),
    }
}

/// Messages that have reached each holder.
fn loads(world: &World<Resident>) -> Vec<u64> {
    (0..HOLDERS).map(|at| world.traffic(Node(at)).arrived).collect()
}

/// Nodes and clients, spread over the regions; an address says the region.
fn settle(seed: u64, random: &mut Random, world: &mut World<Resident>) -> Vec<Contact> {
    let regions = Regions::some(&REGIONS.map(str::to_owned)).expect("regions of the table");
    let mut contacts = Vec::new();
    for number in 0..HOLDERS + CLIENTS {
        let region = u8::try_from(number as usize % regions.count()).expect("three");
        let key = NodeKey(random.bytes());
        let place = u8::try_from(number).expect("fewer than 256");
        let address = Address::v4([10, region, place, 1], 4433);
        contacts.push(Contact { id: identity::id_of(key), address, key });
        let service_us = if number < HOLDERS { SERVICE_US } else { 0 };
        let end = End { region, service_us, ..End::default() };
        world.settle(Peer { id: contacts[number as usize].id, address }, end);
    }
    for number in 0..HOLDERS + CLIENTS {
        let own = contacts[number as usize];
        let seed = Random::stream(seed, "kademlia", number.into()).next();
        let holders = &contacts[..HOLDERS as usize];
        let (parameters, judge) = (Parameters::default(), identity::judge());
        let made = Made { contact: own, parameters, judge, reachable: number < HOLDERS, seed };
        let disk = Disk { contacts: holders.to_vec(), ..Disk::empty(own.id, 0) };
        let cluster = genesis(holders.iter().copied());
        world.start(Node(number), Resident::honest(Honest::start(Time(0), made, cluster, disk)));
    }
    contacts
}

impl Wishes {
    fn wish(&mut self, client: Node, world: &mut World<Resident>) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let whole = self.popularity.last().copied().unwrap_or(0.0);
        let drawn = self.random.unit() * whole;
        let record = self.popularity.partition_point(|&below| below < drawn).min(RECORDS - 1);
        let (key, holders) = (self.keys[record], &self.holders[record]);
        let balance = &mut self.balances[client.index() - HOLDERS as usize];
        let query = world.command(client, 5, |resident, now| {
            let fetch = |dht: &mut Kademlia| dht.fetch(moment(now), key, holders, balance);
            resident.ask(now, fetch)?.ok()
        });
        if let Some(Some(QueryId(query))) = query {
            self.open.insert((client, query));
        }
    }
}

impl Director<Resident> for Wishes {
    fn wake(&mut self, world: &mut World<Resident>, token: u64) {
        let number = u32::try_from(token & u64::from(u32::MAX)).expect("32 bits");
        if token >> 32 == 1 {
            return self.wish(Node(number), world);
        }
        let (key, publisher) = (self.keys[number as usize], Node(0));
        world.command(publisher, 3, |resident, now| {
            let publish = |dht: &mut Kademlia| {
                dht.publish(moment(now), identity::record(key, dht.own().id, 1, 100))
            };
            resident.ask(now, publish)?.ok()
        });
    }

    fn event(&mut self, world: &mut World<Resident>, node: Node, event: Event) {
        let (query, good, cost) = match event {
            Event::Value { query, cost, .. } => (query, true, cost),
            Event::Absent { query, cost } => (query, false, cost),
            _ => return,
        };
        if self.open.remove(&(node, query.0)) {
            self.good += u64::from(good);
            self.took_us.add(cost.took_us);
            self.last = world.now();
            self.wish(node, world);
            if self.open.is_empty() {
                self.loads = loads(world);
            }
        }
    }
}

impl Figures {
    /// For people.
    pub fn table(&self) -> String {
        let head = format!(
            "{:<18}  {:>9}  {:>8}  {:>8}  {:>8}  {:>9}  {:>10}\n",
            "strategy", "success", "req/s", "p50 ms", "p99 ms", "max/mean", "slow share"
        );
        self.strategies.iter().fold(head, |table, row| {
            table
                + &format!(
                    "{:<18}  {:>7.3} %  {:>8.0}  {:>8.1}  {:>8.1}  {:>9.2}  {:>8.2} %\n",
                    row.strategy,
                    row.success_rate * 100.0,
                    row.requests_per_second,
                    row.latency_ms_p50,
                    row.latency_ms_p99,
                    row.load_max_over_mean,
                    row.slow_share * 100.0
                )
        })
    }
}
