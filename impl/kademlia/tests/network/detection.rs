//! Who is taken for dead, and who is not.

use cloakroom_kademlia::{Event, Parameters};

use crate::world::World;

fn deaths(world: &World) -> usize {
    world.events.iter().filter(|(_, event)| matches!(event, Event::Dead { .. })).count()
}

/// Every node asks for its own place every ten seconds.
fn busy(world: &mut World, rounds: usize) {
    for _ in 0..rounds {
        for node in world.living() {
            let id = world.node(node).own().id;
            world.with(node, |it, now| it.find_node(now, id)).unwrap();
        }
        world.run_ms(10_000);
    }
}

#[test]
fn lost_messages_do_not_make_anybody_dead() {
    for (loss, seed) in [(10, 20), (50, 21), (150, 22)] {
        let mut world = World::joined(40, Parameters::default(), seed);
        world.loss_per_thousand = loss;
        busy(&mut world, 60);
        let sent = world.sent;
        assert!(deaths(&world) <= 1, "{loss} in 1000 lost, {sent} sent: {} dead", deaths(&world));
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
