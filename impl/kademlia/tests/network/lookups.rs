//! Joining and lookups.

use cloakroom_kademlia::{Event, Parameters, Random};
use cloakroom_wire::NodeId;

use crate::world::World;

/// How many of these lookups, each by another node, found exactly the `k` closest living nodes; and
/// their mean hops times 100.
fn exact_lookups(world: &mut World, lookups: usize) -> (usize, u64) {
    let mut random = Random::new(99);
    let k = usize::from(world.parameters.k);
    let (mut exact, mut hops) = (0, 0);
    for _ in 0..lookups {
        let target = NodeId(random.bytes());
        let living = world.living();
        let node = living[usize::try_from(random.below(living.len() as u64)).unwrap()];
        let query = world.with(node, |it, now| it.find_node(now, target)).unwrap();
        let Event::Found { closest, cost, .. } = world.finish(node, query) else { panic!() };
        let mut expected = world.closest(target, k + 1);
        expected.retain(|&other| other != node);
        expected.truncate(k);
        let expected: Vec<NodeId> =
            expected.into_iter().map(|node| world.node(node).own().id).collect();
        exact += usize::from(closest.iter().map(|contact| contact.id).eq(expected));
        hops += u64::from(cost.hops);
    }
    (exact, hops * 100 / lookups as u64)
}

#[test]
fn who_has_joined_finds_exactly_the_closest() {
    let mut world = World::joined(200, Parameters::default(), 1);

    for node in world.living() {
        assert!(world.node(node).table().len() > 50, "{node}: {}", world.node(node).table().len());
    }
    let (exact, hops) = exact_lookups(&mut world, 100);
    assert!(exact >= 99, "{exact} of 100 exact");
    assert!(hops <= 300, "{hops} hundredths of a hop");
}
