//! Records of the DHT beside the calls: published and read at whatever node, through crashes and lost disks.
//!
//! What is demanded:
//! * KAD-12: a publication that was told to be held stands on a disk, and from then on it or a newer one does, as
//!   long as no disk is lost that had it last: nobody drops the last copy;
//! * a read tells what was published, and nothing else;
//! * after the faults each node finds each record that a disk has.
//!
//! What it does not do: demand the newest of a read. Holders that were apart hear of each other in time, and the hour
//! that they have for it is longer than a run.

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_kademlia::{Busy, Event, Held, Kademlia, Moment, Name, QueryId};
use cloakroom_wire::{NodeId, OwnedContent, OwnedFields, OwnedRecord, RecordKey};

use super::chaos::{Chaos, Nodes, number};
use crate::engine::{Node, Time};
use crate::random::{Random, hash};
use crate::registers::ran::Fault;

/// Far longer than a run.
const LIFE_MS: u64 = 24 * 3_600_000;
/// It must be found again within so long.
const FINDING_MS: u64 = 120_000;

/// What is known of the records of a run.
pub(super) struct Records {
    random: Random,
    /// By node: what its disk has.
    disks: Vec<BTreeMap<Name, Held>>,
    all: Vec<Record>,
    under: BTreeMap<(usize, QueryId), Under>,
    /// Disks lost until now.
    losses: u64,
    /// Who has not found which record yet, after the faults.
    unfound: BTreeSet<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// The last sequence number that somebody was asked to publish.
    begun: u64,
    /// The highest that a disk must have.
    floor: u64,
}

/// What was asked of a node.
#[derive(Clone, Copy, Debug)]
enum Under {
    Publish { record: usize, sequence: u64, losses: u64 },
    Read { record: usize },
}

fn key_of(record: usize) -> RecordKey {
    RecordKey(hash(&[b'r', record.to_le_bytes()[0]]))
}

/// All are one's.
fn origin() -> NodeId {
    NodeId(hash(b"origin"))
}

fn content_of(sequence: u64) -> OwnedContent {
    OwnedContent::Value(sequence.to_be_bytes().into())
}

impl Records {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::stream(seed, "records", 0);
        let count = 1 + random.index(5);
        let (disks, under, unfound) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        let all = vec![Record::default(); count];
        Self { random, disks, all, under, losses: 0, unfound }
    }

    pub(super) fn settle(&mut self) {
        self.disks.push(BTreeMap::new());
    }

    /// What a node has when it starts.
    pub(super) fn of(&self, node: usize) -> Vec<Held> {
        self.disks[node].values().cloned().collect()
    }

    /// A node's disk has it. What is wrong with that, in words.
    pub(super) fn keep(&mut self, node: usize, name: Name, held: Option<Held>) -> Option<String> {
        match held {
            Some(held) => drop(self.disks[node].insert(name, held)),
            None => drop(self.disks[node].remove(&name)),
        }
        let of_name = |record: &usize| (key_of(*record), origin()) == name;
        let record = (0..self.all.len()).find(of_name)?;
        let (floor, best) = (self.all[record].floor, self.best(record));
        (best < floor).then(|| {
            format!(
                "KAD-12: n{node} drops the last copy of record {record}: {best} is left of {floor}"
            )
        })
    }

    /// A disk is lost, and with it what stood nowhere else.
    pub(super) fn lose(&mut self, node: usize) {
        self.disks[node].clear();
        self.losses += 1;
        for record in 0..self.all.len() {
            let best = self.best(record);
            self.all[record].floor = self.all[record].floor.min(best);
            self.unfound.retain(|(_, of)| *of != record || best > 0);
        }
    }

    pub(super) fn crash(&mut self, node: usize) {
        self.under.retain(|(at, _), _| *at != node);
        // Who has drained goes, also while all others look for records.
        self.unfound.retain(|(at, _)| *at != node);
    }

    /// The highest sequence number that a disk has.
    fn best(&self, record: usize) -> u64 {
        let name = (key_of(record), origin());
        let held = self.disks.iter().filter_map(|disk| disk.get(&name));
        held.map(Held::sequence).max().unwrap_or(0)
    }

    /// A query has ended. What is wrong with that, in words.
    fn ended(&mut self, node: usize, event: &Event) -> Option<String> {
        let query = match event {
            Event::Value { query, .. } | Event::Absent { query, .. } => *query,
            Event::Published { query, .. } => *query,
            _ => return None,
        };
        match (self.under.remove(&(node, query))?, event) {
            (
                Under::Publish { record, sequence, losses },
                Event::Published { holders: 1.., newer: None, .. },
            ) if losses == self.losses => {
                let best = self.best(record);
                self.all[record].floor = self.all[record].floor.max(sequence);
                (best < sequence).then(|| {
                    format!("KAD-12: record {record} is said to be held as {sequence}, disks have {best}")
                })
            }
            (Under::Read { record }, Event::Value { records, .. }) => {
                self.unfound.remove(&(node, record));
                let is_ours = |told: &OwnedRecord| {
                    let number = told.sequence;
                    (1..=self.all[record].begun).contains(&number)
                        && (told.key, told.origin) == (key_of(record), origin())
                        && told.content == content_of(number)
                };
                let foreign = records.iter().find(|told| !is_ours(told))?;
                Some(format!("n{node} reads what nobody has published: {foreign:?}"))
            }
            _ => None,
        }
    }
}

impl Chaos {
    /// Somebody publishes or reads a record, at whatever node.
    pub(super) fn publish_or_read(&mut self, world: &mut Nodes) {
        let up = self.up(world);
        if up.is_empty() {
            return;
        }
        let records = &mut self.records;
        let (node, record) =
            (up[records.random.index(up.len())], records.random.index(records.all.len()));
        if records.random.below(2) == 0 {
            self.read(world, node, record);
            return;
        }
        records.all[record].begun += 1;
        let (sequence, losses) = (records.all[record].begun, records.losses);
        let published = OwnedRecord {
            key: key_of(record),
            origin: origin(),
            sequence,
            expires_in_ms: LIFE_MS,
            content: content_of(sequence),
            later: OwnedFields::default(),
        };
        let what = || format!("n{node} is to publish record {record} as {sequence}");
        self.ran.say(world.now(), what);
        let begin = |dht: &mut Kademlia, now: Moment| dht.publish(now, published);
        let under = Under::Publish { record, sequence, losses };
        self.begin_query(world, node, under, begin);
    }

    fn read(&mut self, world: &mut Nodes, node: usize, record: usize) {
        let begin = |dht: &mut Kademlia, now: Moment| dht.find_value(now, key_of(record));
        self.begin_query(world, node, Under::Read { record }, begin);
    }

    fn begin_query(
        &mut self,
        world: &mut Nodes,
        node: usize,
        under: Under,
        begin: impl FnOnce(&mut Kademlia, Moment) -> Result<QueryId, Busy>,
    ) {
        let at = Node(number(node));
        let query =
            world.command(at, at.0.into(), |resident, now| resident.begin_query(now, begin));
        // Too many may be under way there.
        if let Some(query) = query.flatten() {
            self.records.under.insert((node, query), under);
        }
    }

    pub(super) fn query_ended(&mut self, now: Time, node: usize, event: &Event) {
        self.ran.say(now, || format!("n{node} is told {event:?}"));
        let is_success = matches!(
            event,
            Event::Value { .. } | Event::Published { holders: 1.., newer: None, .. }
        );
        self.ran.counts.records += u64::from(is_success);
        if let Some(what) = self.records.ended(node, event) {
            self.ran.fault = Some(Fault::Record(what));
        }
    }

    /// Without faults: every node finds each record that a disk has.
    pub(super) fn find_all(&mut self, world: &mut Nodes) {
        let up = self.up(world);
        let there: Vec<usize> =
            (0..self.records.all.len()).filter(|record| self.records.best(*record) > 0).collect();
        let pairs = up.iter().flat_map(|node| there.iter().map(move |record| (*node, *record)));
        self.records.unfound = pairs.collect();
        let limit = world.now().plus_us(FINDING_MS * 1000);
        while let Some((node, record)) = self.records.unfound.first().copied() {
            if self.ran.fault.is_some() {
                return;
            }
            if world.now() > limit {
                let what = format!("without faults n{node} does not find record {record}");
                self.ran.fault = Some(Fault::Record(what));
                return;
            }
            let busy: BTreeSet<usize> = self.records.under.keys().map(|(node, _)| *node).collect();
            for (node, record) in self.records.unfound.clone() {
                if !busy.contains(&node) {
                    self.read(world, node, record);
                }
            }
            let until = world.now().plus_us(500_000);
            world.run(self, until);
        }
    }
}
