//! What a node counts of its memory.

use cloakroom_kademlia::{Held, Kademlia, Name, Parameters};
use cloakroom_wire::{Contact, NodeId, RecordKey};

use crate::world::{World, record};

#[test]
fn records_lookups_and_handovers_under_way_are_counted_and_gone_when_they_are() {
    let parameters = Parameters { most_handovers: 1, ..Parameters::default() };
    let mut world = World::joined(4, parameters, 60);
    let before = world.node(0).bytes();

    // All four are asked, and have room for sixty beside.
    let query = world.with(0, |it, now| it.find_node(now, NodeId([7; 32]))).unwrap();
    let looking = world.node(0).bytes();
    assert!(looking >= before + 60 * size_of::<Contact>(), "{before}, {looking}");
    world.finish(0, query);
    let ended = world.node(0).bytes();
    assert!(ended < before + 60 * size_of::<Contact>(), "{before}, {ended}");

    for number in 0..100 {
        let key = RecordKey(world.random.bytes());
        let written = record(key, NodeId([number; 32]), 1, 60 * 60_000);
        let query = world.with(0, |it, now| it.publish(now, written)).unwrap();
        world.finish(0, query);
    }
    let held = world.node(0).records().len();
    assert!(held >= 50, "{held}");
    let holding = world.node(0).bytes();
    assert!(holding >= ended + held * size_of::<(Name, Held)>(), "{ended}, {holding}");

    // Each waits to be given to three others, one after the other.
    world.with(0, Kademlia::leave);
    let leaving = world.node(0).bytes();
    let waiting = 3 * held - 10;
    assert!(leaving >= holding + waiting * size_of::<(Name, Contact)>(), "{holding}, {leaving}");
}
