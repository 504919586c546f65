//! The routing table's target: a sequence of answers, requests, silences and deaths, played on the
//! table and on a naive model; and each state judged by `cloakroom-specs`.
//!
//! The model is one flat list of who is known, searched through for everything. It has no buckets,
//! only their number: where somebody belongs is computed each time.

use std::net::IpAddr;

use cloakroom_kademlia::{Bucket, Moment, Parameters, Placed, SubnetLimits, Table};
use cloakroom_specs::kademlia::{
    Limits, Seat, Seats, closest, entries_are_kept, shared_bits, table_is_sound,
};
use cloakroom_wire::{Address, Contact, NodeId, NodeKey};

use crate::choices::Choices;

/// Of one subnet, in a bucket and in the table.
const SUBNET: (usize, usize) = (2, 3);

/// Who was seen before that is idle.
const FRESH_MS: u64 = 10;

/// The table is what the model says, and sound, after whatever the bytes describe.
///
/// # Panics
/// When it is not.
pub fn table(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let own = choices.byte();
    let (k, waiting) = (1 + choices.byte() % 4, choices.byte() % 3);
    let most_buckets = 1 + u16::from(choices.byte() % 9);
    let mut model = Model {
        own,
        k: k.into(),
        waiting: waiting.into(),
        most_buckets: most_buckets.into(),
        buckets: 0,
        known: Vec::new(),
        pinged: Vec::new(),
    };
    let subnets = SubnetLimits { bucket: 2, table: 3 };
    let parameters = Parameters {
        k,
        replacements: waiting,
        most_buckets,
        subnets: Some(subnets),
        fresh_ms: FRESH_MS,
        ..Parameters::default()
    };
    let mut table = Table::new(node(own), &parameters);
    let mut now = Moment(0);
    while !choices.is_done() {
        // Never twice at one time, so that the model can sort.
        now = now.plus_ms(1 + u64::from(choices.byte() % 20));
        step(&mut choices, now, &mut table, &mut model);
    }
    for target in [own, !own, own ^ 1, choices.byte()] {
        compare_closest(&table, &model, target);
    }
}

fn step(choices: &mut Choices<'_>, now: Moment, table: &mut Table, model: &mut Model) {
    let (what, id, subnet) = (choices.below(16), choices.byte(), choices.byte() % 12);
    let contact = contact(id, subnet);
    let before = seats(table);
    let (mut answered, mut dead) = (None, None);
    match what {
        0..10 => {
            answered = Some(id.into());
            let placed = table.answered(now, contact, Some(5));
            let word = match placed {
                Placed::Known => Answered::Known,
                Placed::Added => Answered::Added,
                Placed::Crowded => Answered::Crowded,
                Placed::Own => Answered::Own,
                Placed::Waits(ping) => Answered::Waits(ping.map(|ping| ping.id.0[0])),
            };
            assert_eq!(word, model.answered(now.0, id, subnet), "KAD-1: n{id:02x} of {subnet}");
        }
        10..12 => {
            table.heard(now, &contact);
            model.heard(now.0, id, subnet);
        }
        12 => {
            table.missed(node(id), false);
            if let Some(at) = model.placed(id) {
                model.known[at].silent = true;
            }
        }
        _ => {
            dead = Some(id.into());
            let removed = table.remove(node(id));
            assert_eq!(removed.map(|removed| removed.contact.id.0[0]), model.dies(id), "KAD-2");
        }
    }
    model.forget_pings(now.0);
    let after = seats(table);
    assert_eq!(after, model.seats(), "KAD-1: table, and model");
    let limits = Limits { bits: 8, k: model.k, waiting: model.waiting, subnet: SUBNET };
    for judged in [
        table_is_sound(model.own.into(), limits, &after),
        entries_are_kept(&before, &after, answered, dead),
    ] {
        assert!(judged.is_ok(), "{judged:?}");
    }
}

fn node(first: u8) -> NodeId {
    let mut id = [0; 32];
    id[0] = first;
    NodeId(id)
}

fn contact(first: u8, subnet: u8) -> Contact {
    let address = Address::v4([10, 0, subnet, first.max(1)], 1);
    Contact { id: node(first), address, key: NodeKey([0; 32]) }
}

/// The table, as the specification sees it; those who wait for a bucket stand in it.
fn seats(table: &Table) -> Vec<Seats> {
    let seat = |contact: &Contact| Seat {
        id: contact.id.0[0].into(),
        subnet: match contact.address.ip() {
            IpAddr::V4(ip) => ip.octets()[2].into(),
            IpAddr::V6(ip) => panic!("expected only IPv4, got {ip}"),
        },
    };
    let seats = |bucket: &Bucket| Seats {
        entries: bucket.entries().map(|entry| seat(&entry.contact)).collect(),
        waiting: bucket.replacements().iter().map(|entry| seat(&entry.contact)).collect(),
    };
    table.buckets().iter().map(seats).collect()
}

fn compare_closest(table: &Table, model: &Model, target: u8) {
    let ids = |silent: bool| {
        let placed = model.known.iter().filter(|known| known.placed && (silent || !known.silent));
        placed.map(|known| u64::from(known.id)).collect::<Vec<u64>>()
    };
    for count in [0, 1, 3, 20] {
        let told = |contacts: &[Contact]| {
            contacts.iter().map(|contact| u64::from(contact.id.0[0])).collect::<Vec<u64>>()
        };
        let nearest = told(&table.nearest(node(target), count));
        assert_eq!(nearest, closest(target.into(), count, &ids(true)), "nearest {target:#04x}");
        let mut found = Vec::new();
        table.closest(node(target), count, &mut found);
        let mut found = told(&found);
        found.sort_unstable_by_key(|id| id ^ u64::from(target));
        assert_eq!(found, closest(target.into(), count, &ids(false)), "closest {target:#04x}");
    }
}

/// What becomes of somebody who has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Known,
    Added,
    /// It waits, and this one is pinged.
    Waits(Option<u8>),
    Crowded,
    Own,
}

struct Known {
    id: u8,
    subnet: u8,
    seen: u64,
    silent: bool,
    placed: bool,
}

/// Who is known, with a place or waiting for one.
struct Model {
    own: u8,
    k: usize,
    waiting: usize,
    most_buckets: usize,
    /// How many there are; the last one has all that share more bits.
    buckets: usize,
    known: Vec<Known>,
    /// Those that were pinged for a newcomer's sake, and are still the oldest of their buckets.
    pinged: Vec<u8>,
}

impl Model {
    fn bucket(&self, id: u8) -> usize {
        let shared = shared_bits(8, self.own.into(), id.into()) as usize;
        shared.min(self.buckets.saturating_sub(1))
    }

    fn placed(&self, id: u8) -> Option<usize> {
        self.known.iter().position(|known| known.placed && known.id == id)
    }

    /// Those of a bucket, with a place or waiting, the least recently seen first.
    fn of(&self, bucket: usize, placed: bool) -> Vec<&Known> {
        let mut of: Vec<&Known> = (self.known.iter())
            .filter(|known| known.placed == placed && self.bucket(known.id) == bucket)
            .collect();
        of.sort_by_key(|known| known.seen);
        of
    }

    /// KAD-2: a newcomer waits, so the oldest beside it is pinged: if it is idle, and once.
    fn ping_oldest(&mut self, now: u64, id: u8) -> Option<u8> {
        let beside = self.of(self.bucket(id), true);
        let idle = beside.first().filter(|known| now - known.seen >= FRESH_MS * 1000)?;
        let oldest = idle.id;
        let asked = self.pinged.contains(&oldest);
        self.pinged.push(oldest);
        (!asked).then_some(oldest)
    }

    /// A ping counts until whom it went to is seen, or is the oldest of its bucket no longer.
    fn forget_pings(&mut self, now: u64) {
        let pinged = std::mem::take(&mut self.pinged).into_iter();
        let counts = |id: &u8| {
            let oldest =
                self.of(self.bucket(*id), true).first().map(|known| (known.id, known.seen));
            oldest.is_some_and(|(oldest, seen)| oldest == *id && seen < now)
        };
        self.pinged = pinged.filter(counts).collect();
    }

    /// Whether the limits allow `id` to stand in its bucket with this subnet.
    fn has_subnet_room(&self, id: u8, subnet: u8) -> bool {
        let others = || {
            let placed = self.known.iter().filter(|known| known.placed && known.id != id);
            placed.filter(|known| known.subnet == subnet)
        };
        let bucket = self.bucket(id);
        others().filter(|known| self.bucket(known.id) == bucket).count() < SUBNET.0
            && others().count() < SUBNET.1
    }

    fn answered(&mut self, now: u64, id: u8, subnet: u8) -> Answered {
        if id == self.own {
            return Answered::Own;
        }
        self.buckets = self.buckets.max(1);
        if let Some(at) = self.placed(id) {
            let moved = self.known[at].subnet != subnet;
            if moved && !self.has_subnet_room(id, subnet) {
                return Answered::Crowded;
            }
            self.known[at] = Known { id, subnet, seen: now, silent: false, placed: true };
            self.promote_all();
            return Answered::Known;
        }
        // A full last bucket is split, as long as there may be more.
        while self.of(self.bucket(id), true).len() >= self.k {
            let last = self.bucket(id) + 1 == self.buckets;
            if !last || self.buckets >= self.most_buckets {
                self.wait(now, id, subnet);
                return Answered::Waits(self.ping_oldest(now, id));
            }
            self.buckets += 1;
            self.promote_all();
        }
        if !self.has_subnet_room(id, subnet) {
            return Answered::Crowded;
        }
        self.known.retain(|known| known.id != id);
        self.known.push(Known { id, subnet, seen: now, silent: false, placed: true });
        Answered::Added
    }

    fn wait(&mut self, now: u64, id: u8, subnet: u8) {
        self.known.retain(|known| known.id != id);
        let waiting = self.of(self.bucket(id), false);
        let neighbours = waiting.iter().filter(|known| known.subnet == subnet).count();
        if self.waiting == 0 || neighbours >= SUBNET.0 {
            return;
        }
        if waiting.len() >= self.waiting {
            let oldest = waiting[0].id;
            self.known.retain(|known| known.id != oldest || known.placed);
        }
        self.known.push(Known { id, subnet, seen: now, silent: false, placed: false });
    }

    fn heard(&mut self, now: u64, id: u8, subnet: u8) {
        if let Some(at) = self.placed(id) {
            let known = &mut self.known[at];
            if known.subnet == subnet && !known.silent {
                known.seen = now;
            }
        }
    }

    fn dies(&mut self, id: u8) -> Option<u8> {
        let at = self.placed(id)?;
        self.known.remove(at);
        // The dead one's bucket first: the others only get what its subnet has left.
        self.promote(self.bucket(id));
        self.promote_all();
        Some(id)
    }

    /// Whoever waits gets the room that there is, the most recently seen first.
    fn promote(&mut self, bucket: usize) {
        let waiting: Vec<(u8, u8)> =
            self.of(bucket, false).iter().rev().map(|known| (known.id, known.subnet)).collect();
        for (id, subnet) in waiting {
            if self.of(bucket, true).len() < self.k && self.has_subnet_room(id, subnet) {
                for known in &mut self.known {
                    known.placed |= known.id == id;
                }
            }
        }
    }

    fn promote_all(&mut self) {
        for bucket in 0..self.buckets {
            self.promote(bucket);
        }
    }

    fn seats(&self) -> Vec<Seats> {
        let seats = |bucket, placed| {
            let seat = |known: &&Known| Seat { id: known.id.into(), subnet: known.subnet.into() };
            self.of(bucket, placed).iter().map(seat).collect()
        };
        (0..self.buckets)
            .map(|bucket| Seats { entries: seats(bucket, true), waiting: seats(bucket, false) })
            .collect()
    }
}
