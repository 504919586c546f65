//! The list of members: joining, draining, removing; and calls that other nodes run.

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_node::{Change, ChangeFault, Standing, Zone};
use cloakroom_register::{Incarnation, Life, Member, Outcome, Slot, View};

use crate::APART;
use crate::world::{World, contact, hash};

/// Members of the newest views, whatever their order.
fn seats(world: &World) -> BTreeMap<u16, BTreeSet<Member>> {
    let members = |(view, _): &(View, usize)| view.members().iter().copied().collect();
    world.views().iter().map(|(slot, view)| (*slot, members(view))).collect()
}

/// Whether each slot has the members that are closest, and all of them vote.
fn is_at_rest(world: &World) -> bool {
    let (roster, _) = world.nodes.values().next().expect("somebody is up").roster();
    let candidates: Vec<_> = roster.candidates().collect();
    let genesis = &world.setup.genesis;
    world.views().values().all(|(view, active)| {
        let point = genesis.point_of(view.slot());
        let closest = cloakroom_node::place(point, genesis.replicas(), &[], &candidates);
        let closest: BTreeSet<Member> = closest.into_iter().collect();
        *active == closest.len()
            && view.members().iter().copied().collect::<BTreeSet<_>>() == closest
    })
}

fn rest(world: &mut World) {
    for _ in 0..60 {
        world.pass_ms(5_000);
        if is_at_rest(world) {
            return;
        }
    }
    panic!("not at rest: {:?}", world.views());
}

fn fill(world: &mut World) {
    for key in 0..40 {
        let number = *world.nodes.keys().nth(key % world.nodes.len()).unwrap();
        assert!(matches!(world.put(number, &format!("key {key}"), "coat"), Outcome::Set(_)));
    }
}

fn is_all_there(world: &mut World) {
    for key in 0..40 {
        let number = *world.nodes.keys().nth(key % world.nodes.len()).unwrap();
        assert_eq!(world.get(number, &format!("key {key}")).as_deref(), Some("coat"), "{key}");
    }
}

#[test]
fn a_call_reaches_any_node_which_has_it_run_by_one_that_can() {
    let mut world = World::new(&APART, 16, 3);
    let key = "a key with three of five nodes in its view";
    let view = world.nodes[&0].view_of(&key.as_bytes().into());
    let strangers = (0..5).filter(|&number| view.seat_at(contact(number).id).is_none());
    let strangers: Vec<u8> = strangers.collect();
    assert_eq!(strangers.len(), 2);
    assert!(matches!(world.put_at(strangers[0], key, "coat"), Ok(Outcome::Set(_))));
    assert!(matches!(world.put_at(strangers[1], key, "hat"), Ok(Outcome::Mismatch(Some(_)))));
    assert!(world.elsewhere.is_empty() && world.lost.is_empty());
}

#[test]
fn a_call_is_run_once_although_its_messages_come_twice_and_late() {
    let mut world = World::new(&APART, 1, 3);
    let view = world.nodes[&0].view_of(&b"key"[..].into());
    let (members, strangers): (Vec<u8>, Vec<u8>) =
        (0..5).partition(|&number| view.seat_at(contact(number).id).is_some());
    // So many that each member has told which start of it runs operations.
    let keys: Vec<String> = (0..20).map(|key| format!("key {key}")).collect();
    world.twins_after_ms = Some(10_000);
    for key in &keys {
        assert!(matches!(world.put_at(strangers[0], key, "coat"), Ok(Outcome::Set(_))));
        assert!(matches!(world.remove_at(members[0], key, "coat"), Ok(Outcome::Set(_))));
    }
    world.twins_after_ms = None;
    world.pass_ms(30_000);
    for key in &keys {
        assert_eq!(world.get(strangers[1], key), None, "NODE-8: the put was run again");
    }
}

#[test]
fn an_operation_whose_node_dies_is_lost_and_not_run_again() {
    let mut world = World::new(&APART, 16, 3);
    let key = "a key with three of five nodes in its view";
    let view = world.nodes[&0].view_of(&key.as_bytes().into());
    let stranger = (0..5).find(|&number| view.seat_at(contact(number).id).is_none()).unwrap();
    for put in 0..6 {
        // Each member has told which start of it runs operations.
        let _ = world.put_at(stranger, key, &format!("coat {put}"));
    }
    for member in view.members() {
        world.cut.insert((0..5).find(|&number| contact(number).id == member.node).unwrap());
    }
    let ended = world.put_at(stranger, key, "hat");
    assert_eq!(ended, Err(()), "it may have begun");
    world.cut.clear();
    world.pass_ms(5_000);
    assert_eq!(world.get(stranger, key).as_deref(), Some("coat 0"));
}

#[test]
fn who_has_started_again_is_not_handed_what_an_earlier_start_could_have_begun() {
    // Those who ask each other whether they live soon hear of a new start, and whatever comes late of an earlier one is
    // none; a guest, whom nobody asks, takes nobody for what it was long ago.
    for (guest, twins_after_ms) in [(false, None), (true, None), (false, Some(5_000))] {
        let mut world = World::new(&APART, 16, 3);
        let key = "a key with three of five nodes in its view";
        let view = world.nodes[&0].view_of(&key.as_bytes().into());
        let (members, strangers): (Vec<u8>, Vec<u8>) =
            (0..5).partition(|&number| view.seat_at(contact(number).id).is_some());
        let caller = if guest { 9 } else { strangers[0] };
        if guest {
            world.add(9, "d", 0);
            (0..5).for_each(|member| world.meet(9, member));
        }
        world.twins_after_ms = twins_after_ms;
        for put in 0..6 {
            // Each member has told which start of it runs operations.
            let _ = world.put_at(caller, key, &format!("coat {put}"));
        }
        world.pass_ms(3_000);
        for &member in &members {
            world.crash(member);
            world.start(member);
        }
        world.twins_after_ms = None;
        world.pass_ms(if guest { 10_000 } else { 2_000 });
        for put in 0..20 {
            world.pass_ms(100);
            let again = world.put_at(caller, key, &format!("hat {put}"));
            assert!(
                matches!(again, Ok(Outcome::Mismatch(Some(_)))),
                "guest {guest}, {twins_after_ms:?}: {again:?}"
            );
        }
    }
}

#[test]
fn the_list_of_members_is_not_for_clients_to_write() {
    let mut world = World::new(&APART, 4, 3);
    assert_eq!(world.put_at(0, "\0cloakroom/members", "me"), Ok(Outcome::Unavailable));
}

#[test]
fn who_joins_gets_the_seats_that_it_is_closest_to_and_no_other_slot_moves() {
    let mut world = World::new(&APART, 64, 3);
    fill(&mut world);
    rest(&mut world);
    let before = seats(&world);
    world.add(5, "f", 1);
    assert!(world.change(5, world.join(5, "f")).is_ok());
    rest(&mut world);
    let after = seats(&world);
    let new = Member { node: contact(5).id, incarnation: Incarnation(1) };
    let (mut moved, mut kept) = (0, 0);
    for (slot, members) in &after {
        if members == &before[slot] {
            kept += 1;
            continue;
        }
        moved += 1;
        assert!(members.contains(&new), "NODE-7: slot {slot} moved, and not to the newcomer");
        assert_eq!(members.intersection(&before[slot]).count(), 2, "NODE-7: slot {slot}");
    }
    assert!(moved > 8 && kept > 8, "{moved} moved, {kept} did not");
    let versions: BTreeSet<u64> = world.nodes.values().map(|node| node.roster().1.0).collect();
    assert_eq!(versions, BTreeSet::from([1]), "NODE-5: not everybody has the list");
    is_all_there(&mut world);
}

#[test]
fn a_cluster_of_one_that_others_join_has_each_key_on_as_many_as_were_asked_for() {
    let mut world = World::new(&["a"], 16, 3);
    fill(&mut world);
    for number in 1..4 {
        world.add(number, "b", u64::from(number));
        world.meet(number, 0);
        assert!(world.change(number, world.join(number, "b")).is_ok());
        rest(&mut world);
        let members: BTreeSet<usize> = seats(&world).values().map(BTreeSet::len).collect();
        assert_eq!(members, BTreeSet::from([usize::from(number + 1).min(3)]));
    }
    world.crash(0);
    world.pass_ms(60_000);
    is_all_there(&mut world);
}

#[test]
fn who_drains_gives_up_its_seats_and_may_go() {
    let mut world = World::new(&APART, 16, 3);
    fill(&mut world);
    assert!(world.is_named(2) && !world.nodes[&2].is_drained());
    assert!(world.change(4, Change::Drain(contact(2).id)).is_ok());
    for _ in 0..60 {
        world.pass_ms(2_000);
        if world.nodes[&2].is_drained() {
            break;
        }
    }
    assert!(world.nodes[&2].is_drained(), "{:?}", world.views());
    assert!(!world.is_named(2), "it still has seats");
    assert!(world.change(2, Change::Remove(contact(2).id)).is_ok());
    world.crash(2);
    rest(&mut world);
    is_all_there(&mut world);
    world.pass_ms(10_000);
    assert_eq!(world.nodes[&0].roster().0.places().count(), 4);
}

#[test]
fn who_has_drained_takes_seats_again_when_that_is_undone() {
    let mut world = World::new(&APART, 16, 3);
    fill(&mut world);
    let drains = contact(2).id;
    assert!(world.change(4, Change::Drain(drains)).is_ok());
    let until = |world: &mut World, is: &dyn Fn(&World) -> bool| {
        for _ in 0..60 {
            world.pass_ms(2_000);
            if is(world) {
                return;
            }
        }
        panic!("{:?}", world.views());
    };
    until(&mut world, &|world| world.nodes[&2].is_drained());
    assert!(!world.is_named(2), "it still has seats");
    let version = world.change(0, Change::Activate(drains)).unwrap();
    assert_eq!(world.change(2, Change::Activate(drains)), Ok(version), "made twice, it is as once");
    assert!(!world.nodes[&2].is_drained());
    until(&mut world, &|world| world.is_named(2));
    rest(&mut world);
    is_all_there(&mut world);
    // Removed, it has nothing that could be undone.
    assert!(world.change(0, Change::Remove(drains)).is_ok());
    let fault = Err(ChangeFault::NoMember(drains));
    assert_eq!(world.change(0, Change::Activate(drains)), fault);
}

#[test]
fn whoever_has_called_forgets_those_who_have_left() {
    let mut world = World::new(&APART, 16, 3);
    world.pass_ms(20_000);
    let newcomer = 6;
    world.add(newcomer, "f", 7);
    for other in 0..5 {
        world.meet(newcomer, other);
    }
    let join = world.join(newcomer, "f");
    world.change(newcomer, join).unwrap();
    let mut keys = 0_u32..;
    let mut call_everywhere = |world: &mut World| {
        for (slot, at) in (0..16).flat_map(|slot| (0..5).map(move |at| (Slot(slot), at))) {
            let is_in = |key: &String| world.setup.genesis.slot_of(&hash(key.as_bytes())) == slot;
            let key = keys.by_ref().map(|key| format!("key {key}")).find(is_in).unwrap();
            let put = world.put_at(at, &key, "coat");
            let is_set = matches!(put, Ok(Outcome::Set(_)));
            assert!(is_set, "REG-14: asked who has left: {slot} at node {at}: {put:?}");
        }
    };
    rest(&mut world);
    call_everywhere(&mut world);
    let gone = contact(newcomer).id;
    let hints = |world: &World| {
        let views = (0..16).flat_map(|slot| (0..5).map(move |at| (Slot(slot), at)));
        let named = views.filter(|(slot, at)| {
            let newest = world.nodes[at].registers().newest(*slot);
            newest.is_some_and(|view| view.seat_at(gone).is_some())
        });
        named.collect::<Vec<_>>()
    };
    let before = hints(&world);
    assert!(before.iter().any(|(_, at)| *at > 0), "a witness: {before:?}");
    world.change(0, Change::Drain(gone)).unwrap();
    while !world.nodes[&newcomer].is_drained() {
        world.pass_ms(500);
    }
    world.change(0, Change::Remove(gone)).unwrap();
    // The list has reached everybody.
    world.pass_ms(6_000);
    world.crash(newcomer);
    call_everywhere(&mut world);
    assert_eq!(hints(&world), [], "REG-14: they are never told of a newer view");
}

#[test]
fn who_was_removed_has_no_seat_and_never_comes_back_on_the_same_disk() {
    let mut world = World::new(&APART, 16, 3);
    fill(&mut world);
    world.crash(3);
    assert!(world.change(0, Change::Remove(contact(3).id)).is_ok());
    rest(&mut world);
    assert!(!world.is_named(3));
    world.start(3);
    world.pass_ms(60_000);
    assert!(!world.is_named(3), "NODE-6: it was removed");
    let me = Member { node: contact(3).id, incarnation: Incarnation(0) };
    assert_eq!(world.change(3, world.join(3, "d")), Err(ChangeFault::Banned(me)));
    world.add(3, "d", 7);
    assert!(world.change(3, world.join(3, "d")).is_ok());
    rest(&mut world);
    assert!(world.is_named(3));
    is_all_there(&mut world);
}

#[test]
fn who_comes_back_with_a_new_disk_says_so_and_gets_its_seats() {
    let mut world = World::new(&APART, 16, 3);
    fill(&mut world);
    world.crash(1);
    world.add(1, "b", 9);
    rest(&mut world);
    let (roster, _) = world.nodes[&0].roster();
    let (new, old) = (Incarnation(9), Incarnation(0));
    let node = contact(1).id;
    assert_eq!(roster.standing(Member { node, incarnation: new }), Some(Standing::Active));
    assert_eq!(roster.banned().collect::<Vec<_>>(), [Member { node, incarnation: old }]);
    for (view, _) in world.views().values() {
        assert_eq!(view.seat_of(Member { node, incarnation: old }), None, "{view}");
    }
    is_all_there(&mut world);
}

#[test]
fn all_founders_can_be_replaced_one_after_the_other() {
    let mut world = World::new(&["a", "b", "c"], 8, 3);
    fill(&mut world);
    for number in 3..6 {
        world.add(number, "d", u64::from(number));
        // Whom it knows from outside: the one that came before it.
        world.meet(number, number - 1);
        assert!(world.change(number, world.join(number, "d")).is_ok());
        let old = number - 3;
        assert!(world.change(number, Change::Drain(contact(old).id)).is_ok());
        for _ in 0..60 {
            world.pass_ms(2_000);
            if world.nodes[&old].is_drained() {
                break;
            }
        }
        assert!(world.nodes[&old].is_drained());
        assert!(world.change(number, Change::Remove(contact(old).id)).is_ok());
        world.crash(old);
    }
    rest(&mut world);
    is_all_there(&mut world);
    // And who knows only the founders, and one member.
    world.add(6, "e", 6);
    world.meet(6, 4);
    assert_eq!(world.get(6, "key 7").as_deref(), Some("coat"));
    let retired = |number: u8| {
        let replicas = world.nodes[&number].registers().replicas();
        replicas.filter(|replica| replica.durable().life == Life::Active).count()
    };
    assert_eq!((3..6).map(retired).collect::<Vec<_>>(), [8, 8, 8]);
}

#[test]
fn a_change_that_nobody_can_make_ends_as_not_made() {
    let mut world = World::new(&APART, 4, 3);
    world.pass_ms(3_000);
    world.cut.extend(0..5);
    let drain = Change::Drain(contact(1).id);
    let ended = world.change(0, drain.clone());
    assert!(matches!(ended, Err(ChangeFault::Unreachable | ChangeFault::Unknown)), "{ended:?}");
    world.cut.clear();
    world.pass_ms(10_000);
    assert!(world.change(0, drain.clone()).is_ok());
    assert!(world.change(4, drain).is_ok(), "made twice");
    let stranger = Change::Drain(contact(77).id);
    assert_eq!(world.change(0, stranger), Err(ChangeFault::NoMember(contact(77).id)));
    assert!(world.change(0, world.join(9, "z")).is_ok());
    assert_eq!(world.nodes[&0].roster().0.place(contact(9).id).unwrap().zone, Zone("z".into()));
}
