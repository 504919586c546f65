//! Who is taken for dead, and who is not.

use cloakroom_kademlia::{Event, Parameters};

use crate::world::World;

fn deaths(world: &World) -> usize {
    world.events.iter().filter(|(_, event)| matches!(event, Event::Dead { .. })).count()
}

/// Every node asks for its own place every so often.
fn busy(world: &mut World, rounds: usize, every_ms: u64) {
    for _ in 0..rounds {
        for node in world.living() {
            let id = world.node(node).own().id;
            world.with(node, |it, now| it.find_node(now, id)).unwrap();
        }
        world.run_ms(every_ms);
    }
}

#[test]
fn lost_messages_do_not_make_anybody_dead() {
    for (loss, seed) in [(10, 20), (50, 21), (150, 22)] {
        let mut world = World::joined(40, Parameters::default(), seed);
        world.loss_per_thousand = loss;
        busy(&mut world, 60, 10_000);
        let sent = world.sent;
        assert_eq!(deaths(&world), 0, "{loss} in 1000 lost, {sent} sent");
    }
}

/// KAD-8: of the living, a fifth of the share of lost messages is suspected at any time, at most; and not
/// because nobody ever is.
#[test]
fn lost_messages_make_few_suspected_and_nobody_for_long() {
    for (loss, seed) in [(10, 25), (50, 26), (150, 27)] {
        let mut world = World::joined(40, Parameters::default(), seed);
        world.loss_per_thousand = loss;
        let (mut suspected, mut all) = (0, 0);
        for second in 0..300 {
            if second % 10 == 0 {
                busy(&mut world, 1, 0);
            }
            world.run_ms(1000);
            for node in world.living() {
                let table = world.node(node).table();
                all += table.len() as u64;
                suspected += table.entries().filter(|entry| entry.unanswered > 0).count() as u64;
            }
        }
        assert!(suspected * 5000 <= all * loss, "{loss} in 1000 lost: {suspected} of {all}");
        assert!(suspected > 0 || loss < 50, "{loss} in 1000 lost, and nobody was ever suspected");
    }
}

#[test]
fn the_dead_are_found_and_their_places_given_away() {
    let mut world = World::joined(60, Parameters::default(), 23);
    let gone = [3, 14, 15];
    let ids = gone.map(|node| world.node(node).own().id);
    for node in gone {
        world.crash(node);
    }
    // By the next refresh of each bucket at the latest.
    world.run_ms(3 * 60 * 60_000);
    for node in world.living() {
        for id in ids {
            assert!(world.node(node).table().entry(id).is_none(), "node {node} keeps {id}");
        }
    }
}

#[test]
fn who_is_cut_off_itself_takes_nobody_for_dead() {
    let mut world = World::joined(40, Parameters::default(), 24);
    let before = world.node(7).table().len();
    world.cut[7] = true;
    for _ in 0..30 {
        let id = world.node(7).own().id;
        world.with(7, |it, now| it.find_node(now, id)).unwrap();
        world.run_ms(10_000);
    }
    assert_eq!(world.node(7).table().len(), before);
    assert!(
        !world.events.iter().any(|(node, event)| *node == 7 && matches!(event, Event::Dead { .. }))
    );
    world.cut[7] = false;
    world.run_ms(120_000);
    let suspected = world.node(7).table().entries().filter(|entry| entry.unanswered > 0).count();
    assert_eq!(suspected, 0, "all have answered again");
}

/// KAD-2: long before the next refresh, which comes after an hour.
#[test]
fn a_newcomer_has_the_oldest_pinged_and_gets_its_place_only_if_that_is_dead() {
    let parameters = Parameters {
        k: 2,
        replication: 1,
        most_buckets: 1,
        subnets: None,
        ..Parameters::default()
    };
    let mut world = World::joined(3, parameters, 28);
    let known = |world: &World| {
        let entries = world.node(0).table().entries();
        let mut ids: Vec<_> = entries.map(|entry| entry.contact.id).collect();
        ids.sort_unstable();
        ids
    };
    let before = known(&world);
    world.run_ms(70_000);
    let newcomer = world.add();
    world.join(newcomer, 0);
    world.run_ms(5 * 60_000);
    assert_eq!(known(&world), before, "all live, and keep their places");
    let oldest = world.node(0).table().entries().next().unwrap().contact.id;
    let dead = (1..3).find(|&node| world.node(node).own().id == oldest).unwrap();
    world.crash(dead);
    let newcomer = world.add();
    world.join(newcomer, 0);
    world.run_ms(5 * 60_000);
    let after = known(&world);
    assert!(!after.contains(&oldest), "it was not pinged");
    assert!(after.len() == 2 && after.contains(&world.node(newcomer).own().id), "{after:?}");
}
