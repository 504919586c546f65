//! What a node holds after any sequence of offers.

use std::collections::BTreeMap;

use cloakroom_kademlia::{Held, Moment, Name, RecordLimits, Records};
use cloakroom_specs::kademlia::History;
use cloakroom_wire::{
    OwnedContent, OwnedFields, OwnedRecord, RecordKey, StorePurpose, StoreStatus,
};
use proptest::prelude::*;

use crate::{config, id};

/// An offer: key, origin, peer, sequence number, length of the value or none, life, and whether as a
/// replica; and how long until the next.
type Offer = (u8, u8, u8, u64, Option<u8>, u64, bool, u64);

fn offers() -> impl Strategy<Value = Vec<Offer>> {
    let value = prop::option::weighted(0.8, 0..8_u8);
    let replica = prop::bool::weighted(0.8);
    let offer = (0..3_u8, 0..3_u8, 0..3_u8, 0..6_u64, value, 0..120_u64, replica, 0..40_u64);
    prop::collection::vec(offer, 1..80)
}

fn record((key, origin, _, sequence, value, life, ..): Offer) -> OwnedRecord {
    let content = match value {
        Some(length) => OwnedContent::Value(vec![9; length.into()].into()),
        None => OwnedContent::Tombstone,
    };
    OwnedRecord {
        key: RecordKey(id(key).0),
        origin: id(origin),
        sequence,
        expires_in_ms: life,
        content,
        later: OwnedFields::default(),
    }
}

fn purpose(replica: bool) -> StorePurpose {
    if replica { StorePurpose::REPLICA } else { StorePurpose::CACHE }
}

const ROOMY: RecordLimits = RecordLimits {
    record_bytes: 100,
    count: 1000,
    bytes: 100_000,
    peer_count: 1000,
    peer_bytes: 100_000,
    origins: 8,
    life_ms: 100,
    cache_ms: 10,
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_stale_version_never_wins_and_a_deletion_stays(offers in offers()) {
        let mut records = Records::new(ROOMY);
        let mut histories: BTreeMap<(u8, u8), History> = BTreeMap::new();
        let mut now = Moment(0);
        for offer in offers {
            let (key, origin, by, sequence, value, life, ..) = offer;
            let before = records.held(&(RecordKey(id(key).0), id(origin))).cloned();
            // As replicas only: a copy may become one, and then lives longer.
            let offered = records.offer(now, id(by), StorePurpose::REPLICA, &record(offer).borrow());
            let after = records.held(&(RecordKey(id(key).0), id(origin))).cloned();
            // The same version once more is stored, and no new one.
            let taken = offered.status == StoreStatus::STORED
                && before.as_ref().is_none_or(|before| before.sequence() < sequence);
            let history = histories.entry((key, origin)).or_default();
            let value = value.map(u64::from);
            let judged = history.offered(now.0 / 1000, sequence, value, life.min(100), taken);
            prop_assert!(judged.is_ok(), "{:?}: {}", offer, judged.unwrap_err());
            prop_assert_eq!(offered.held, after.as_ref().map(Held::sequence));
            now = now.plus_ms(offer.7);
            if offer.7 % 2 == 0 {
                records.sweep(now);
            }
            for ((key, origin), history) in &histories {
                let shown = records.shown(now, RecordKey(id(*key).0));
                let mut shown = shown.map(|held| held.to_send(now)).filter(|r| r.origin == id(*origin));
                let shown = shown.next().map(|record| match record.content {
                    OwnedContent::Value(value) => (record.sequence, Some(value.len() as u64)),
                    OwnedContent::Tombstone => (record.sequence, None),
                });
                let judged = history.shows(now.0 / 1000, shown);
                prop_assert!(judged.is_ok(), "{:?}: {}", offer, judged.unwrap_err());
            }
        }
    }

    #[test]
    fn limits_are_kept_and_copies_make_room_for_replicas(offers in offers()) {
        let limits =
            RecordLimits { count: 5, bytes: 20, peer_count: 3, peer_bytes: 14, origins: 2, ..ROOMY };
        let mut records = Records::new(limits);
        let mut owners: BTreeMap<(u8, u8), u8> = BTreeMap::new();
        let mut now = Moment(0);
        for offer in offers {
            let (key, origin, by, _, _, _, replica, wait) = offer;
            let replicas = records.replicas(now).count();
            let name = (RecordKey(id(key).0), id(origin));
            let before = records.held(&name).map(Held::sequence);
            let kept: Vec<(Name, u64)> =
                records.kept().map(|held| (held.name(), held.sequence())).collect();
            let offered = records.offer(now, id(by), purpose(replica), &record(offer).borrow());
            prop_assert!(replicas <= records.replicas(now).count(), "a replica made room");
            for (name, sequence) in kept {
                let held = records.held(&name).map(Held::sequence);
                prop_assert!(held >= Some(sequence), "KAD-7: {:?} fell to {:?}", sequence, held);
            }
            let after = records.held(&name).map(Held::sequence);
            if offered.status == StoreStatus::STORED && before != after {
                owners.insert((key, origin), by);
            }
            owners.retain(|(key, origin), _| {
                records.held(&(RecordKey(id(*key).0), id(*origin))).is_some()
            });
            let bytes = |name: &(u8, u8)| {
                records.held(&(RecordKey(id(name.0).0), id(name.1))).unwrap().content_bytes()
            };
            // Counted once more, from what is there.
            let all: u64 = owners.keys().map(bytes).sum();
            prop_assert_eq!(records.size(), (u32::try_from(owners.len()).unwrap(), all));
            prop_assert!(records.size().0 <= 5 && records.size().1 <= 20);
            for peer in 0..3 {
                let own = owners.iter().filter(|(_, by)| **by == peer).map(|(name, _)| name);
                prop_assert!(own.clone().count() <= 3 && own.map(bytes).sum::<u64>() <= 14);
            }
            for key in 0..3 {
                prop_assert!(owners.keys().filter(|name| name.0 == key).count() <= 2);
            }
            now = now.plus_ms(wait);
            if wait % 2 == 0 {
                records.sweep(now);
            }
            owners.retain(|(key, origin), _| {
                records.held(&(RecordKey(id(*key).0), id(*origin))).is_some()
            });
        }
        now = now.plus_ms(1000);
        records.sweep(now);
        prop_assert_eq!(records.size(), (0, 0));
    }

    #[test]
    fn a_disk_that_is_told_each_change_has_what_must_be_kept(offers in offers(), small: bool) {
        let limits = if small { RecordLimits { count: 5, bytes: 20, ..ROOMY } } else { ROOMY };
        let mut records = Records::new(limits);
        records.tell_changes();
        let mut disk: BTreeMap<Name, (Moment, Vec<u8>)> = BTreeMap::new();
        let mut now = Moment(0);
        for offer in offers {
            let (_, _, by, _, _, _, replica, wait) = offer;
            records.offer(now, id(by), purpose(replica), &record(offer).borrow());
            now = now.plus_ms(wait);
            records.sweep(now);
            for (name, held) in records.changed() {
                match held {
                    Some(held) => disk.insert(name, (now, held.to_bytes(now).unwrap())),
                    None => disk.remove(&name),
                };
            }
            prop_assert_eq!(records.changed(), Vec::new(), "each change is told once");
            prop_assert!(disk.keys().copied().eq(records.kept().map(Held::name)));
            // A node that starts again now, whose clock begins anew.
            let start = Moment(77);
            let mut again = Records::new(limits);
            for (written, bytes) in disk.values() {
                let held = Held::from_bytes(bytes, start, now.since_us(*written)).unwrap();
                again.put_back(start, held);
            }
            let kept = |records: &Records, now: Moment| -> Vec<(Name, Vec<u8>)> {
                records.kept().map(|held| (held.name(), held.to_bytes(now).unwrap())).collect()
            };
            prop_assert_eq!(kept(&records, now), kept(&again, start));
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Held::from_bytes(&bytes, Moment(0), 0).is_err());
    }

    #[test]
    fn a_copy_lives_no_longer_than_copies_do(offers in offers()) {
        let mut records = Records::new(ROOMY);
        let mut now = Moment(0);
        for offer in offers {
            let name = (RecordKey(id(offer.0).0), id(offer.1));
            let fresh = records.held(&name).is_none();
            records.offer(now, id(offer.2), StorePurpose::CACHE, &record(offer).borrow());
            if fresh && offer.4.is_some() && records.held(&name).is_some() {
                prop_assert!(!records.held(&name).unwrap().is_shown(now.plus_ms(10)));
                prop_assert!(!records.held(&name).unwrap().is_replica());
            }
            now = now.plus_ms(offer.7);
            records.sweep(now);
        }
    }
}

#[test]
fn what_lapsed_as_a_copy_is_taken_as_a_replica_and_what_lived_as_one_is_not_raised_from_the_dead() {
    let mut records = Records::new(ROOMY);
    let key = RecordKey(id(1).0);
    let of = |sequence, life| record((1, 2, 3, sequence, Some(4), life, true, 0));
    let at = |ms| Moment(0).plus_ms(ms);
    let mut offer = |ms, replica, sequence, life| {
        records.sweep(at(ms));
        let offered =
            records.offer(at(ms), id(3), purpose(replica), &of(sequence, life).borrow()).status;
        let shown =
            records.shown(at(ms), key).next().map(|held| held.to_send(at(ms)).expires_in_ms);
        (offered, shown)
    };
    // The first keeps the number of the second in mind until 100, beyond the second's life as a copy.
    let (stored, refused) = (StoreStatus::STORED, StoreStatus::REFUSED);
    assert_eq!(offer(0, true, 1, 100), (stored, Some(100)));
    assert_eq!(offer(5, false, 2, 60), (stored, Some(10)));
    assert_eq!(offer(30, false, 2, 60), (refused, None), "a copy is no reason to begin anew");
    assert_eq!(offer(30, true, 2, 60), (stored, Some(60)));
    assert_eq!(offer(70, true, 2, 60), (stored, Some(20)), "no longer life");
    assert_eq!(offer(95, true, 2, 60), (refused, None), "its life was over at 90");
    assert_eq!(offer(95, true, 1, 60), (StoreStatus::OUTDATED, None));
}
