//! Joining and lookups.

use cloakroom_kademlia::{Event, Parameters, Random};
use cloakroom_wire::NodeId;

use crate::world::World;

/// How many of these lookups, each by another node, found exactly the `first` closest living nodes;
/// and their mean hops times 100.
fn exact_lookups(world: &mut World, lookups: usize, first: usize) -> (usize, u64) {
    let mut random = Random::new(99);
    let (mut exact, mut hops) = (0, 0);
    for _ in 0..lookups {
        let target = NodeId(random.bytes());
        let living = world.living();
        let node = living[usize::try_from(random.below(living.len() as u64)).unwrap()];
        let query = world.with(node, |it, now| it.find_node(now, target)).unwrap();
        let Event::Found { closest, cost, .. } = world.finish(node, query) else { panic!() };
        let mut expected = world.closest(target, first + 1);
        expected.retain(|&other| other != node);
        expected.truncate(first);
        let expected: Vec<NodeId> =
            expected.into_iter().map(|node| world.node(node).own().id).collect();
        exact += usize::from(closest.iter().map(|contact| contact.id).take(first).eq(expected));
        hops += u64::from(cost.hops);
    }
    (exact, hops * 100 / lookups as u64)
}

#[test]
fn who_has_joined_finds_exactly_the_closest() {
    let mut world = World::joined(200, Parameters::default(), 1);
    for node in world.living() {
        assert!(world.node(node).table().len() >= 40, "{node}: {}", world.node(node).table().len());
    }
    let (exact, hops) = exact_lookups(&mut world, 100, 20);
    assert!(exact >= 99, "{exact} of 100 exact");
    assert!(hops <= 300, "{hops} hundredths of a hop");
}

#[test]
fn lookups_find_the_closest_through_loss_and_crashes() {
    let mut world = World::joined(200, Parameters::default(), 2);
    world.loss_per_thousand = 20;
    for node in (0..200).step_by(5) {
        world.crash(node);
    }
    let (exact, hops) = exact_lookups(&mut world, 100, 10);
    // A closest node whose one answer was lost is missing; though it is asked twice.
    assert!(exact >= 90, "{exact} of 100 exact");
    assert!(hops <= 300, "{hops} hundredths of a hop");
}

#[test]
fn a_node_that_cannot_be_reached_looks_up_and_is_in_no_table() {
    let mut world = World::joined(50, Parameters::default(), 3);
    let client = world.add();
    world.node_mut(client).set_reachable(false);
    world.join(client, 0);
    world.run_ms(30_000);
    let id = world.node(client).own().id;
    assert!(world.node(client).table().len() >= 20);
    for node in 0..50 {
        assert!(world.node(node).table().entry(id).is_none());
    }
    let query = world.with(client, |it, now| it.find_node(now, id)).unwrap();
    let Event::Found { closest, .. } = world.finish(client, query) else { panic!() };
    assert_eq!(closest.len(), 20);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::joined(60, Parameters::default(), 4);
        world.loss_per_thousand = 50;
        let found = exact_lookups(&mut world, 20, 20);
        (found, world.sent, world.now)
    };
    assert_eq!(run(), run());
}
