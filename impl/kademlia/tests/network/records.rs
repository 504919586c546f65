//! Records: kept by as many as ought to, found, replaced, deleted, handed over.

use cloakroom_kademlia::{Balance, Event, Kademlia, Parameters};
use cloakroom_wire::{NodeId, OwnedContent, OwnedRecord, RecordKey};

use crate::world::{World, record};

const HOUR_MS: u64 = 60 * 60_000;

fn key(world: &mut World) -> RecordKey {
    RecordKey(world.random.bytes())
}

/// Publishes and gives how many hold it now, and a newer sequence number that was met.
fn publish(world: &mut World, node: usize, record: &OwnedRecord) -> (u8, Option<u64>) {
    let query = world.with(node, |it, now| it.publish(now, record.clone())).unwrap();
    match world.finish(node, query) {
        Event::Published { holders, newer, .. } => (holders, newer),
        other => panic!("{other:?}"),
    }
}

/// The newest record that a read finds.
fn read(world: &mut World, node: usize, key: RecordKey) -> Option<OwnedRecord> {
    let query = world.with(node, |it, now| it.find_value(now, key)).unwrap();
    match world.finish(node, query) {
        Event::Value { mut records, .. } => records.pop(),
        Event::Absent { .. } => None,
        other => panic!("{other:?}"),
    }
}

fn tombstone(of: &OwnedRecord, sequence: u64, life_ms: u64) -> OwnedRecord {
    let content = OwnedContent::Tombstone;
    OwnedRecord { sequence, content, expires_in_ms: life_ms, ..of.clone() }
}

#[test]
fn a_record_is_held_by_the_closest_and_found_by_everybody() {
    let mut world = World::joined(100, Parameters::default(), 10);
    for origin in 0..20 {
        let key = key(&mut world);
        let written = record(key, world.node(origin).own().id, 1, HOUR_MS);
        assert_eq!(publish(&mut world, origin, &written), (3, None));
        let mut closest = world.closest(key.point(), 3);
        closest.sort_unstable();
        assert_eq!(world.holders(key), closest);
        let found = read(&mut world, 99 - origin, key).expect("it is there");
        assert_eq!((found.sequence, found.content), (1, written.content));
    }
    let absent = key(&mut world);
    assert_eq!(read(&mut world, 3, absent), None);
}

#[test]
fn a_record_expires_and_copies_beside_the_path_sooner() {
    let mut world = World::joined(100, Parameters::default(), 11);
    let key = key(&mut world);
    let written = record(key, NodeId([1; 32]), 1, HOUR_MS / 2);
    publish(&mut world, 0, &written);
    for reader in 0..100 {
        assert!(read(&mut world, reader, key).is_some());
    }
    let copies = |world: &World| {
        let holds = |&node: &usize| world.node(node).records().shown(world.now, key).count() > 0;
        world.living().into_iter().filter(holds).count()
    };
    assert!(copies(&world) > 3, "reading left copies");
    world.run_ms(5 * 60_000);
    assert_eq!(copies(&world), 3, "they lived five minutes at most");
    world.run_ms(HOUR_MS / 2);
    assert_eq!(copies(&world), 0);
    assert_eq!(read(&mut world, 5, key), None);
}

#[test]
fn a_copy_lives_half_as_long_for_each_bit_that_its_holder_is_farther_than_whom_it_came_from() {
    let mut world = World::joined(100, Parameters::default(), 14);
    let cache_ms = Parameters::default().records.cache_ms;
    let mut shortened = 0;
    for origin in 0..20 {
        let key = key(&mut world);
        publish(&mut world, origin, &record(key, NodeId([1; 32]), 1, HOUR_MS));
        let shared = |world: &World, node: usize| {
            world.node(node).own().id.distance(key.point()).shared_bits()
        };
        // One of these gave it, since it is the first read.
        let (nearest, farthest) = {
            let bits = world.holders(key).into_iter().map(|node| shared(&world, node));
            (bits.clone().max().unwrap(), bits.min().unwrap())
        };
        let reader = world.closest(key.point(), 100)[99];
        assert!(read(&mut world, reader, key).is_some());
        world.run_ms(100);
        for node in world.living() {
            let held = world.node(node).records().held(&(key, NodeId([1; 32])));
            let Some(copy) = held.filter(|held| !held.is_replica()) else { continue };
            let left_ms = copy.to_send(world.now).expires_in_ms;
            let halved = |bits: u16| cache_ms >> bits.saturating_sub(shared(&world, node));
            assert!(left_ms <= halved(farthest), "{left_ms} ms, {}", halved(farthest));
            assert!(left_ms + 500 >= halved(nearest), "{left_ms} ms, {}", halved(nearest));
            shortened += u32::from(halved(farthest) < cache_ms);
        }
    }
    assert!(
        shortened >= 5,
        "{shortened} copies with a holder farther than all that had the record"
    );
}

#[test]
fn a_stale_republish_never_wins_and_a_deletion_stays() {
    let mut world = World::joined(60, Parameters::default(), 12);
    let key = key(&mut world);
    let first = record(key, NodeId([1; 32]), 1, 3 * HOUR_MS);
    let second = record(key, NodeId([1; 32]), 2, HOUR_MS);
    publish(&mut world, 0, &first);
    assert_eq!(publish(&mut world, 1, &second), (3, None));
    assert_eq!(publish(&mut world, 2, &first), (0, Some(2)));
    assert_eq!(read(&mut world, 7, key).map(|found| found.sequence), Some(2));

    let deleted = tombstone(&second, 3, 60_000);
    assert_eq!(publish(&mut world, 3, &deleted), (3, None));
    assert_eq!(publish(&mut world, 4, &second), (0, Some(3)));
    // Two hours on: the deletion was to live a minute, what it deleted would have lived three hours.
    world.run_ms(2 * HOUR_MS);
    assert_eq!(publish(&mut world, 5, &first), (0, Some(3)));
    let found = read(&mut world, 6, key).map(|found| found.content);
    assert_eq!(found, Some(OwnedContent::Tombstone));
    world.run_ms(2 * HOUR_MS);
    assert_eq!(read(&mut world, 8, key), None);
}

#[test]
fn a_holder_that_was_away_comes_to_the_newer_version() {
    let mut world = World::joined(60, Parameters::default(), 13);
    let key = key(&mut world);
    publish(&mut world, 0, &record(key, NodeId([1; 32]), 1, 20 * HOUR_MS));
    let away = world.closest(key.point(), 1)[0];
    world.cut[away] = true;
    world.run_ms(10 * 60_000);
    let writer = world.closest(key.point(), 60)[59];
    publish(&mut world, writer, &record(key, NodeId([1; 32]), 2, 20 * HOUR_MS));
    world.cut[away] = false;
    world.run_ms(2 * HOUR_MS);
    for holder in world.holders(key) {
        let held = world.node(holder).records().held(&(key, NodeId([1; 32]))).unwrap();
        assert_eq!(held.sequence(), 2, "node {holder}");
    }
    assert!(world.holders(key).contains(&away));
}

#[test]
fn crashes_one_after_the_other_lose_nothing_and_nobody_has_to_do_anything() {
    let mut world = World::joined(100, Parameters::default(), 14);
    let keys: Vec<RecordKey> = (0..50).map(|_| key(&mut world)).collect();
    for (at, &key) in keys.iter().enumerate() {
        publish(&mut world, at, &record(key, NodeId([1; 32]), 1, 20 * HOUR_MS));
    }
    for _ in 0..30 {
        let living = world.living();
        let at = usize::try_from(world.random.below(living.len() as u64)).unwrap();
        world.crash(living[at]);
        world.run_ms(5 * 60_000);
    }
    for key in keys {
        assert!(world.holders(key).len() >= 3, "{key}: {:?}", world.holders(key));
        let reader = world.living()[0];
        assert!(read(&mut world, reader, key).is_some(), "{key}");
    }
}

#[test]
fn a_closer_newcomer_gets_the_records_that_are_its_own() {
    let mut world = World::joined(50, Parameters::default(), 15);
    let keys: Vec<RecordKey> = (0..50).map(|_| key(&mut world)).collect();
    for &key in &keys {
        publish(&mut world, 0, &record(key, NodeId([1; 32]), 1, 20 * HOUR_MS));
    }
    for _ in 0..30 {
        let newcomer = world.add();
        world.join(newcomer, 1);
        world.run_ms(10_000);
    }
    world.run_ms(60_000);
    let mut handed = 0;
    for key in keys {
        let holders = world.holders(key);
        for node in world.closest(key.point(), 3) {
            assert!(holders.contains(&node), "{key}: {node} not in {holders:?}");
            handed += usize::from(node >= 50);
        }
    }
    assert!(handed > 20, "{handed}");
    // Who holds what is no longer its own lets go of it, once the others have it.
    world.run_ms(4 * HOUR_MS);
    let all: usize = world
        .living()
        .iter()
        .map(|&node| world.node(node).records().replicas(world.now).count())
        .sum();
    assert!(all <= 50 * 3 + 5, "{all} replicas of 50 records");
}

#[test]
fn a_handover_whose_message_is_lost_is_tried_again() {
    let mut world = World::joined(60, Parameters::default(), 18);
    let keys: Vec<RecordKey> = (0..1000).map(|_| key(&mut world)).collect();
    for &key in &keys {
        publish(&mut world, 0, &record(key, NodeId([1; 32]), 1, 20 * HOUR_MS));
    }
    world.loss_per_thousand = 100;
    for _ in 0..4 {
        let gone = world.holders(keys[0])[0];
        world.crash(gone);
        // Far less than the hour after which holders look at their records.
        world.run_ms(10 * 60_000);
    }
    for key in keys {
        assert!(world.holders(key).len() >= 3, "{key}: {:?}", world.holders(key));
    }
}

#[test]
fn a_holder_that_was_relieved_takes_the_record_again_when_it_is_needed() {
    let mut world = World::joined(50, Parameters::default(), 19);
    let keys: Vec<RecordKey> = (0..50).map(|_| key(&mut world)).collect();
    for &key in &keys {
        publish(&mut world, 0, &record(key, NodeId([1; 32]), 1, 20 * HOUR_MS));
    }
    let before: Vec<Vec<usize>> = keys.iter().map(|&key| world.holders(key)).collect();
    for _ in 0..50 {
        let newcomer = world.add();
        world.join(newcomer, 1);
        world.run_ms(10_000);
    }
    // Holders that are not among the closest any more let go, and their copies end.
    world.run_ms(3 * HOUR_MS);
    let relieved = keys.iter().zip(&before).filter(|(key, before)| {
        let now = world.holders(**key);
        before.iter().any(|node| !now.contains(node))
    });
    assert!(relieved.count() > 30);
    for newcomer in 50..100 {
        world.crash(newcomer);
        world.run_ms(5 * 60_000);
    }
    for key in keys {
        assert!(world.holders(key).len() >= 3, "{key}: {:?}", world.holders(key));
    }
}

#[test]
fn who_starts_again_with_its_disk_holds_what_it_acknowledged() {
    let mut world = World::joined(50, Parameters::default(), 20);
    let key = key(&mut world);
    let first = record(key, NodeId([1; 32]), 1, 20 * HOUR_MS);
    let second = record(key, NodeId([1; 32]), 2, 10 * HOUR_MS);
    publish(&mut world, 0, &first);
    publish(&mut world, 0, &second);
    let holders = world.holders(key);
    for &holder in &holders {
        world.restart(holder, true);
    }
    assert_eq!(world.holders(key), holders);
    // The number is remembered as well as the value, and nothing lives longer than it would have.
    assert_eq!(publish(&mut world, 7, &first), (0, Some(2)));
    assert_eq!(read(&mut world, 7, key).map(|found| found.sequence), Some(2));
    world.run_ms(11 * HOUR_MS);
    assert_eq!(read(&mut world, 8, key), None);
    assert_eq!(publish(&mut world, 9, &first), (0, Some(2)), "as the first would still live");
    for holder in holders {
        world.restart(holder, false);
    }
    assert_eq!(world.holders(key), []);
}

#[test]
fn who_leaves_hands_its_records_over_first() {
    let mut world = World::joined(50, Parameters::default(), 16);
    let keys: Vec<RecordKey> = (0..50).map(|_| key(&mut world)).collect();
    for &key in &keys {
        publish(&mut world, 0, &record(key, NodeId([1; 32]), 1, 20 * HOUR_MS));
    }
    // Nobody is told that it has left, so each has the former ones to find out about.
    for node in 0..30 {
        world.with(node, Kademlia::leave);
        world.run_ms(15_000);
        let left = |(of, event): &(usize, Event)| {
            *of == node && matches!(event, Event::Left { kept: 0, .. })
        };
        assert!(world.events.iter().any(left), "node {node}: {:?}", world.events);
        world.crash(node);
    }
    for key in keys {
        assert!(world.holders(key).len() >= 3, "{key}: {:?}", world.holders(key));
        assert!(read(&mut world, 49, key).is_some(), "{key}");
    }
}

#[test]
fn known_holders_are_asked_first_and_others_found_if_they_fail() {
    let mut world = World::joined(50, Parameters::default(), 17);
    let key = key(&mut world);
    publish(&mut world, 0, &record(key, NodeId([1; 32]), 1, HOUR_MS));
    let holders: Vec<_> =
        world.holders(key).iter().map(|&node| (*world.node(node).own(), 1)).collect();
    let reader = world.closest(key.point(), 50)[49];
    let fetch = |world: &mut World| {
        let balance = &mut Balance::default();
        let query = world.with(reader, |it, now| it.fetch(now, key, &holders, balance)).unwrap();
        world.finish(reader, query)
    };
    let Event::Value { from, cost, .. } = fetch(&mut world) else { panic!() };
    assert!(holders.iter().any(|(holder, _)| holder.id == from));
    assert_eq!((cost.lookup.asked, cost.hops), (0, 1));
    let closest = world.closest(key.point(), 3);
    world.crash(closest[0]);
    world.crash(closest[2]);
    assert!(matches!(fetch(&mut world), Event::Value { .. }), "one is left");
    world.crash(closest[1]);
    assert!(matches!(fetch(&mut world), Event::Absent { .. }), "all three crashed at once");
}
