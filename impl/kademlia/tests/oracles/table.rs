//! The routing table after any sequence of answers, requests and deaths.

use cloakroom_kademlia::{Entry, Moment, Parameters, Placed, SubnetLimits, Table};
use cloakroom_specs::kademlia::{
    Limits, Seat, Seats, closest, entries_are_kept, shared_bits, table_is_sound,
};
use cloakroom_wire::Contact;
use proptest::prelude::*;

use crate::{config, contact, id};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// This id answers from this subnet.
    Answers(u8, u8),
    /// This id sends a request from this subnet.
    Asks(u8, u8),
    /// This id leaves a request unanswered.
    Silent(u8),
    /// This id is taken for dead.
    Dies(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<u8>(), 0..12_u8).prop_map(|(id, subnet)| Step::Answers(id, subnet)),
        2 => (any::<u8>(), 0..12_u8).prop_map(|(id, subnet)| Step::Asks(id, subnet)),
        1 => any::<u8>().prop_map(Step::Silent),
        2 => any::<u8>().prop_map(Step::Dies),
    ];
    prop::collection::vec(step, 1..200)
}

fn seats(table: &Table) -> Vec<Seats> {
    let seat = |entry: &Entry| Seat {
        id: entry.contact.id.0[0].into(),
        subnet: match entry.contact.address.ip() {
            core::net::IpAddr::V4(ip) => ip.octets()[2].into(),
            core::net::IpAddr::V6(_) => unreachable!("none here"),
        },
    };
    let bucket = |bucket: &cloakroom_kademlia::Bucket| Seats {
        entries: bucket.entries().map(seat).collect(),
        waiting: bucket.replacements().iter().map(seat).collect(),
    };
    table.buckets().iter().map(bucket).collect()
}

fn ids(contacts: &[Contact]) -> Vec<u64> {
    contacts.iter().map(|contact| contact.id.0[0].into()).collect()
}

/// The table answers what a search through all its entries would.
fn finds_the_closest(table: &Table, target: u8, count: usize) -> Result<(), TestCaseError> {
    let point = u64::from(target);
    let all: Vec<u64> = table.entries().map(|entry| entry.contact.id.0[0].into()).collect();
    let nearest = ids(&table.nearest(id(target), count));
    prop_assert_eq!(nearest, closest(point, count, &all));
    let answering = table.entries().filter(|entry| entry.unanswered == 0);
    let answering: Vec<u64> = answering.map(|entry| entry.contact.id.0[0].into()).collect();
    let mut found = Vec::new();
    table.closest(id(target), count, &mut found);
    let mut found = ids(&found);
    found.sort_unstable_by_key(|id| id ^ point);
    prop_assert_eq!(found, closest(point, count, &answering));
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_table_is_sound_after_any_steps(
        own in any::<u8>(), k in 1..5_u8, replacements in 0..3_u8, most_buckets in 1..9_u16,
        steps in steps(), targets in prop::collection::vec((any::<u8>(), 0..12_usize), 4),
    ) {
        let subnets = Some(SubnetLimits { bucket: 2, table: 3 });
        let parameters =
            Parameters { k, replacements, most_buckets, subnets, fresh_ms: 10, ..Parameters::default() };
        let waiting = replacements.into();
        let limits = Limits { bits: 8, k: k.into(), waiting, subnet: (2, 3) };
        let mut table = Table::new(id(own), &parameters);
        let (mut now, mut before) = (Moment(0), seats(&table));
        // For each bucket who was pinged for a newcomer's sake, as long as it is its oldest and was not seen.
        let mut pinged: Vec<Option<Contact>> = vec![None; most_buckets.into()];
        for step in steps {
            now = now.plus_ms(7);
            let (mut answered, mut dead) = (None, None);
            match step {
                Step::Answers(first, subnet) => {
                    answered = Some(u64::from(first));
                    let contact = contact(first, subnet);
                    let placed = table.answered(now, contact, Some(5));
                    let known = before.iter().flat_map(|b| &b.entries).any(|s| s.id == u64::from(first));
                    prop_assert_eq!(placed == Placed::Own, first == own);
                    prop_assert!(!(known && placed == Placed::Added));
                    if let Placed::Known | Placed::Added = placed {
                        prop_assert_eq!(table.entry(id(first)).unwrap().contact, contact);
                    }
                    // KAD-2: the one that was silent for longest is pinged, once, and only if it was.
                    if let Placed::Waits(ping) = placed {
                        let shared = shared_bits(8, own.into(), first.into()) as usize;
                        let at = shared.min(table.buckets().len() - 1);
                        let oldest = table.buckets()[at].entries().next().unwrap();
                        let idle = now.since_ms(oldest.seen) >= 10 && pinged[at].is_none();
                        prop_assert_eq!(ping, idle.then_some(oldest.contact));
                        pinged[at] = ping.or(pinged[at]);
                    }
                }
                Step::Asks(first, subnet) => {
                    let asking = contact(first, subnet);
                    let length = table.len();
                    table.heard(now, &asking);
                    prop_assert_eq!(length, table.len());
                }
                Step::Silent(first) => {
                    table.missed(id(first), false);
                }
                Step::Dies(first) => {
                    dead = Some(u64::from(first));
                    table.remove(id(first));
                    prop_assert!(table.entry(id(first)).is_none());
                }
            }
            let after = seats(&table);
            for judged in [
                table_is_sound(own.into(), limits, &after),
                entries_are_kept(&before, &after, answered, dead),
            ] {
                prop_assert!(judged.is_ok(), "{:?}: {}", step, judged.unwrap_err());
            }
            for bucket in table.buckets() {
                prop_assert!(bucket.entries().is_sorted_by_key(|entry| entry.seen));
                prop_assert!(bucket.replacements().is_sorted_by_key(|entry| entry.seen));
            }
            for (bucket, pinged) in table.buckets().iter().zip(&mut pinged) {
                let oldest = bucket.entries().next().filter(|oldest| oldest.seen < now);
                *pinged = pinged.filter(|pinged| oldest.is_some_and(|it| it.contact.id == pinged.id));
            }
            before = after;
        }
        for (target, count) in targets {
            finds_the_closest(&table, target, count)?;
        }
    }

    #[test]
    fn a_target_shares_as_many_bits_as_asked_for(own in any::<u8>(), bits in 0..256_u16) {
        let table = Table::new(id(own), &Parameters::default());
        let target = table.target_at(bits, &mut cloakroom_kademlia::Random::new(bits.into()));
        prop_assert_eq!(target.distance(id(own)).shared_bits(), bits);
    }
}

/// A bucket is refreshed when no lookup went to it for an hour, and once.
#[test]
fn each_idle_bucket_is_refreshed_once_and_not_one_that_was_used() {
    let parameters = Parameters { k: 1, subnets: None, ..Parameters::default() };
    let mut table = Table::new(id(0), &parameters);
    for first in [1, 2, 4, 8, 16, 32, 64, 128] {
        assert_eq!(table.answered(Moment(0), contact(first, 0), None), Placed::Added);
    }
    let buckets = u16::try_from(table.buckets().len()).unwrap();
    assert_eq!(buckets, 8);
    let (hour_ms, mut random) = (60 * 60_000, cloakroom_kademlia::Random::new(1));
    let mut refreshed = |table: &mut Table, now: Moment| -> Vec<u16> {
        let targets = core::iter::from_fn(|| table.refresh(now, hour_ms, &mut random));
        targets.take(20).map(|target| target.distance(id(0)).shared_bits()).collect()
    };
    let soon = Moment(0).plus_ms(hour_ms - 1);
    assert_eq!(refreshed(&mut table, soon), []);
    // A lookup goes into the fourth.
    table.mark_used(soon, id(16));
    // The last one's target is ourselves.
    let all_but_one = [0, 1, 2, 4, 5, 6, 256];
    assert_eq!(refreshed(&mut table, Moment(0).plus_ms(hour_ms)), all_but_one);
    assert_eq!(refreshed(&mut table, soon.plus_ms(hour_ms)), [3]);
    assert_eq!(refreshed(&mut table, Moment(0).plus_ms(2 * hour_ms)), all_but_one);
}

/// The greatest table that a network of 100,000 gives: twelve full buckets, and one with the rest.
#[test]
fn a_full_table_is_as_small_as_stated() {
    let mut table = Table::new(id(0), &Parameters::default());
    let mut random = cloakroom_kademlia::Random::new(1);
    for shared in (0..13).rev() {
        for number in 0..60_u8 {
            let mut contact = contact(0, 0);
            contact.id = table.target_at(shared, &mut random);
            let high = u8::try_from(shared).unwrap();
            contact.address = cloakroom_wire::Address::v4([10, high, number, 1], 1);
            table.answered(Moment(0), contact, None);
        }
    }
    assert_eq!((table.len(), table.buckets().len()), (260, 14));
    // 24 places for each bucket.
    assert!(table.bytes() <= 36 * 1024, "{}", table.bytes());
    assert_eq!(size_of::<Entry>(), 104);
}

/// Ids can be made, and told apart only by their last bytes.
#[test]
fn ids_that_begin_alike_are_told_apart_by_their_distance() {
    let made = |last| {
        let mut id = id(128);
        id.0[31] = last;
        id
    };
    let mut table = Table::new(id(0), &Parameters { subnets: None, ..Parameters::default() });
    for last in 0..20 {
        let contact = Contact { id: made(last * 7 % 20), ..contact(128, last) };
        assert_eq!(table.answered(Moment(0), contact, None), Placed::Added);
    }
    for target in 0..32 {
        let mut found = Vec::new();
        table.closest(made(target), 5, &mut found);
        let mut found: Vec<u8> = found.iter().map(|contact| contact.id.0[31] ^ target).collect();
        found.sort_unstable();
        let mut expected: Vec<u8> = (0..20).map(|last| last ^ target).collect();
        expected.sort_unstable();
        assert_eq!(found, expected[..5], "{target}");
    }
}

/// KAD-2: who waited for long may be older than the oldest beside it, which was pinged meanwhile.
#[test]
fn who_gets_a_place_as_the_oldest_is_pinged_although_another_was() {
    let parameters = Parameters {
        k: 3,
        replacements: 3,
        most_buckets: 1,
        subnets: None,
        fresh_ms: 10,
        ..Parameters::default()
    };
    let mut table = Table::new(id(0), &parameters);
    let answers = |table: &mut Table, ms: u64, first| {
        table.answered(Moment(0).plus_ms(ms), contact(first, 0), None)
    };
    for first in 1..=3 {
        assert_eq!(answers(&mut table, 0, first), Placed::Added);
    }
    assert_eq!(answers(&mut table, 1, 4), Placed::Waits(None), "nobody is idle");
    for first in 1..=3 {
        assert_eq!(answers(&mut table, 2, first), Placed::Known);
    }
    assert_eq!(answers(&mut table, 20, 5), Placed::Waits(Some(contact(1, 0))));
    assert_eq!(answers(&mut table, 21, 6), Placed::Waits(None), "once");
    for dead in [2, 3, 6] {
        table.remove(id(dead));
    }
    assert_eq!(table.entries().next().unwrap().contact, contact(4, 0));
    assert_eq!(answers(&mut table, 22, 7), Placed::Waits(Some(contact(4, 0))));
}
