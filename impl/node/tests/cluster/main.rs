//! Whole clusters of nodes in virtual time, over encoded bytes.

mod members;
mod strangers;
mod world;

use std::collections::BTreeSet;

use cloakroom_node::Input;
use cloakroom_register::{Epoch, Member, Outcome, View};

use world::{File, World, contact, read};

pub(crate) const APART: [&str; 5] = ["a", "b", "c", "d", "e"];

#[test]
fn what_was_put_at_any_node_is_read_at_every_other() {
    let mut world = World::new(&APART, 16, 3);
    for number in 0..5 {
        let key = format!("key {number}");
        assert!(matches!(world.put(number, &key, "coat"), Outcome::Set(_)));
        for reader in 0..5 {
            assert_eq!(world.get(reader, &key).as_deref(), Some("coat"));
        }
        assert!(matches!(world.put(number, &key, "hat"), Outcome::Mismatch(Some(_))));
    }
}

#[test]
fn a_cluster_of_one_is_the_same_code_with_one_replica() {
    let mut world = World::new(&["a"], 16, 3);
    assert!(matches!(world.put(0, "key", "coat"), Outcome::Set(_)));
    world.crash(0);
    world.start(0);
    assert_eq!(world.get(0, "key").as_deref(), Some("coat"), "lost by a crash");
}

#[test]
fn members_of_a_slot_are_in_different_zones_while_there_are_enough() {
    let world = World::new(&["a", "a", "a", "b", "c"], 64, 3);
    assert_eq!(world.views().len(), 64);
    for (view, active) in world.views().values() {
        assert_eq!(*active, 3);
        let in_a = (0..3).filter(|&number| view.seat_at(contact(number).id).is_some()).count();
        assert_eq!(in_a, 1, "{view}");
    }
}

#[test]
fn who_dies_is_replaced_in_every_slot_and_nothing_is_lost() {
    let mut world = World::new(&APART, 16, 3);
    for key in 0..40 {
        assert!(matches!(world.put(key % 5, &format!("key {key}"), "coat"), Outcome::Set(_)));
    }
    world.pass_ms(5_000);
    for dead in [3, 1] {
        world.crash(dead);
        // A majority of each slot is there: calls go on at once.
        let alive = *world.nodes.keys().next().unwrap();
        assert_eq!(world.get(alive, "key 7").as_deref(), Some("coat"));
        world.pass_ms(60_000);
        assert!(!world.is_named(dead), "node {dead} is still a member: {:?}", world.views());
        for (view, active) in world.views().values() {
            assert_eq!((view.members().len(), *active), (3, 3), "{view}");
        }
    }
    for key in 0..40 {
        let reader = if key % 2 == 0 { 0 } else { 4 };
        assert_eq!(world.get(reader, &format!("key {key}")).as_deref(), Some("coat"));
    }
}

#[test]
fn a_node_that_comes_back_in_time_keeps_its_seats() {
    let mut world = World::new(&APART, 16, 3);
    world.pass_ms(5_000);
    let before = world.views();
    world.crash(2);
    world.pass_ms(5_000);
    world.start(2);
    world.pass_ms(60_000);
    assert_eq!(world.views(), before);
}

#[test]
fn a_view_that_is_proposed_for_no_reason_is_taken_and_undone() {
    let mut world = World::new(&APART, 1, 3);
    assert!(matches!(world.put(0, "key", "coat"), Outcome::Set(_)));
    world.pass_ms(5_000);
    let (before, _) = world.views()[&0].clone();
    let seats: BTreeSet<Member> = before.members().iter().copied().collect();
    let is_outside = |number: &u8| before.seat_at(contact(*number).id).is_none();
    let others = (0..5).filter(is_outside).map(|number| world.nodes[&number].me());
    let members: Vec<Member> = others.chain([before.members()[0]]).collect();
    let next = View::new(before.slot(), Epoch(1), &members).unwrap();
    let proposer = (0..5).find(|number| !is_outside(number)).unwrap();
    let input = Input::Propose(next.clone());
    let effects = world.nodes.get_mut(&proposer).unwrap().step(world.now, input);
    world.follow(proposer, effects);
    world.pass_ms(5_000);
    assert_eq!(world.views()[&0], (next, 3));
    assert_eq!(world.get(0, "key").as_deref(), Some("coat"));
    world.pass_ms(120_000);
    let (after, active) = world.views()[&0].clone();
    assert_eq!(after.members().iter().copied().collect::<BTreeSet<_>>(), seats, "the closest");
    assert_eq!((after.epoch(), active), (Epoch(3), 3), "one member at a time");
    assert_eq!(world.get(0, "key").as_deref(), Some("coat"));
}

#[test]
fn who_is_cut_off_proposes_nothing_and_the_others_go_on_without_it() {
    let mut world = World::new(&APART, 16, 3);
    world.pass_ms(5_000);
    world.cut.insert(4);
    world.pass_ms(60_000);
    let alone = &world.nodes[&4];
    for replica in alone.registers().replicas() {
        assert_eq!(replica.durable().vote, cloakroom_register::Vote::NONE, "it has voted on views");
    }
    world.cut.clear();
    world.pass_ms(15_000);
    assert!(!world.is_named(4), "not before it has been heard for long enough");
    assert!(matches!(world.put(4, "key", "coat"), Outcome::Set(_)), "it finds those who can");
    world.pass_ms(60_000);
    assert!(world.is_named(4), "it is closest again");
}

#[test]
fn a_damaged_disk_is_refused_and_never_read_as_one_that_has_forgotten_something() {
    let mut world = World::new(&APART, 4, 3);
    for key in 0..8 {
        assert!(matches!(world.put(0, &format!("key {key}"), "coat"), Outcome::Set(_)));
    }
    world.crash(1);
    world.pass_ms(60_000);
    let letters: BTreeSet<u8> =
        world.files.values().flat_map(|file| file.keys().map(|key| key[0])).collect();
    assert_eq!(letters, BTreeSet::from(*b"mbvplfdr"), "every kind of entry is there");
    for (number, file) in &world.files {
        assert_eq!(read(file), Ok(Some(world.disks[number].clone())));
        for (key, value) in file {
            let mut damaged = file.clone();
            damaged.insert(key.clone(), value[..value.len() - 1].to_vec());
            assert!(read(&damaged).is_err(), "one byte short: {key:?}");
            damaged.insert(key.clone(), [value, &b"x"[..]].concat());
            assert!(read(&damaged).is_err(), "one byte long: {key:?}");
            damaged.remove(key);
            // A record that is gone leaves no trace: a checksum's affair.
            assert!(read(&damaged).is_err() || key[0] == b'r', "lost: {key:?}");
        }
    }
    assert_eq!(read(&File::new()), Ok(None));
}
