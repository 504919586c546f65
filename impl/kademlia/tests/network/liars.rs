//! Nodes that lie: about who is near, about where somebody is, about what a record says.

use cloakroom_kademlia::{Event, Judge, Parameters, Peer};
use cloakroom_wire::{
    Address, Contact, NodeId, OwnedAnswer, OwnedBody, OwnedContent, OwnedMessage, OwnedRequest,
    RecordKey, RequestId,
};

use crate::world::{Lie, World, contact, judge, record};

/// Tells twenty nodes that are nearer than anybody, and do not exist.
const NEARER: Lie = |world, node, message| {
    let OwnedBody::Answer(OwnedAnswer::Nodes { contacts } | OwnedAnswer::Found { contacts, .. }) =
        &mut message.body
    else {
        return;
    };
    let Some(near) = contacts.first().map(|contact| contact.id) else { return };
    for (at, told) in (0_u8..).zip(contacts.iter_mut()) {
        let mut id = near;
        id.0[20] ^= at + 1;
        id.0[21] ^= u8::try_from(node % 256).unwrap();
        *told = contact(id, world.nodes.len() + usize::from(at));
    }
};

/// Tells everybody's address wrong.
const ELSEWHERE: Lie = |world, _, message| {
    if let OwnedBody::Answer(OwnedAnswer::Nodes { contacts }) = &mut message.body {
        for told in contacts.iter_mut() {
            told.address = contact(told.id, world.nodes.len() + 7).address;
        }
    }
};

/// Tells keys that do not fit their ids.
const FORGED: Lie = |_, _, message| {
    if let OwnedBody::Answer(OwnedAnswer::Nodes { contacts }) = &mut message.body {
        for told in contacts.iter_mut() {
            told.id.0[31] ^= 1;
        }
    }
};

/// Answers everything but what it was given to store.
const DEAF: Lie = |_, _, message| {
    if matches!(message.body, OwnedBody::Answer(OwnedAnswer::Stored { .. })) {
        message.request_id.0 ^= 1;
    }
};

fn world_with(lie: Lie, share: usize, parameters: Parameters, seed: u64) -> World {
    let mut world = World::joined(200, parameters, seed);
    world.liars.extend((0..200).filter(|node| node % share == 1).map(|node| (node, lie)));
    world
}

fn honest(world: &World) -> Vec<usize> {
    world.living().into_iter().filter(|node| !world.liars.contains_key(node)).collect()
}

/// How many of 50 lookups by honest nodes found the closest honest node.
fn found(world: &mut World) -> usize {
    let honest = honest(world);
    let mut found = 0;
    for at in 0..50 {
        let target = NodeId(world.random.bytes());
        let node = honest[at];
        let query = world.with(node, |it, now| it.find_node(now, target)).unwrap();
        let Event::Found { closest, .. } = world.finish(node, query) else { panic!() };
        let nearest = |node: &usize| world.node(*node).own().id.distance(target);
        let others = honest.iter().filter(|other| **other != node);
        let expected = world.node(*others.min_by_key(|node| nearest(node)).unwrap()).own().id;
        found += usize::from(closest.iter().any(|contact| contact.id == expected));
    }
    found
}

#[test]
fn who_tells_of_nodes_that_do_not_exist_does_not_hide_those_that_do() {
    let with = found(&mut world_with(NEARER, 5, Parameters::default(), 30));
    assert!(with >= 49, "{with} of 50 with three paths");
}

#[test]
fn a_wrong_address_costs_a_timeout_and_hides_nobody() {
    let found = found(&mut world_with(ELSEWHERE, 5, Parameters::default(), 31));
    assert!(found >= 49, "{found} of 50");
}

#[test]
fn nobody_is_asked_whose_id_is_not_the_hash_of_its_key() {
    let mut world = world_with(FORGED, 5, Parameters::default(), 32);
    let found = found(&mut world);
    assert!(found >= 49, "{found} of 50");
    for node in world.living() {
        assert!(world.node(node).table().entries().all(|entry| (judge().contact)(&entry.contact)));
    }
}

#[test]
fn of_told_contacts_only_the_genuine_are_asked() {
    let mut world = World::joined(30, Parameters::default(), 37);
    let now = world.now;
    let node = world.node_mut(3);
    node.find_node(now, NodeId([7; 32])).unwrap();
    let asked = node.poll_transmit().unwrap();
    while node.poll_transmit().is_some() {}
    let near = |last: u8| {
        let mut id = NodeId([7; 32]);
        id.0[31] = last;
        contact(id, 500 + usize::from(last))
    };
    let own = *node.own();
    // Both nearer than the genuine one, and so asked before it if at all.
    let forged = Contact { id: near(6).id, ..near(2) };
    let nowhere = Contact { address: Address::v4([224, 0, 0, 1], 1), ..near(5) };
    let contacts = vec![forged, nowhere, own, near(1)];
    let body = OwnedBody::Answer(OwnedAnswer::Nodes { contacts });
    let answer = OwnedMessage { request_id: asked.message.request_id, body };
    node.handle_message(now, asked.to, &answer.borrow());
    assert_eq!(node.poll_transmit().expect("one is asked").to.id, near(1).id);
    assert!(node.poll_transmit().is_none());
}

#[test]
fn an_answer_is_taken_only_from_whom_it_was_asked_of_and_once() {
    let mut world = World::joined(30, Parameters::default(), 33);
    let target = NodeId([7; 32]);
    let now = world.now;
    let node = world.node_mut(3);
    node.find_node(now, target).unwrap();
    let asked = node.poll_transmit().unwrap();
    let nobody = contact(NodeId([9; 32]), 500);
    let answer = |request_id: RequestId| OwnedMessage {
        request_id,
        body: OwnedBody::Answer(OwnedAnswer::Nodes { contacts: vec![nobody] }),
    };
    let other = contact(NodeId([8; 32]), 501);
    let stranger = Peer { id: other.id, address: other.address };
    let request_id = asked.message.request_id;
    while node.poll_transmit().is_some() {}
    // Another peer with the right number; the right peer with another number; another kind.
    node.handle_message(now, stranger, &answer(request_id).borrow());
    node.handle_message(now, asked.to, &answer(RequestId(request_id.0 ^ 1)).borrow());
    let pong = OwnedMessage { request_id, body: OwnedBody::Answer(OwnedAnswer::Pong) };
    node.handle_message(now, asked.to, &pong.borrow());
    assert!(node.poll_transmit().is_none(), "none of these was taken");
    node.handle_message(now, asked.to, &answer(request_id).borrow());
    let next = node.poll_transmit().expect("this one was");
    assert_eq!(next.to.id, nobody.id);
    node.handle_message(now, asked.to, &answer(request_id).borrow());
    assert!(node.poll_transmit().is_none(), "once");
}

#[test]
fn a_stranger_makes_us_send_its_answer_and_a_few_pings_to_its_own_host() {
    let mut world = World::new(1, Parameters::default(), 34);
    let now = world.now;
    let node = world.node_mut(0);
    let mut sent = Vec::new();
    for number in 0..100_u8 {
        let stranger = contact(NodeId([number + 1; 32]), usize::from(number));
        let from = Peer { id: stranger.id, address: stranger.address };
        // In another's name; from another host; with a forged key; and as it ought to be.
        let other = contact(NodeId([200; 32]), usize::from(number));
        let elsewhere = Contact { address: contact(stranger.id, 900).address, ..stranger };
        let forged = Contact { key: other.key, ..stranger };
        for claimed in [Some(other), Some(elsewhere), Some(forged), None, Some(stranger)] {
            let request = OwnedRequest::FindNode { target: stranger.id };
            let body = OwnedBody::Request { from: claimed, request };
            let message = OwnedMessage { request_id: RequestId(1), body };
            node.handle_message(now, from, &message.borrow());
        }
        while let Some(transmit) = node.poll_transmit() {
            assert_eq!(transmit.to, from);
            sent.push(transmit.message);
        }
    }
    let pings = sent.iter().filter(|message| matches!(message.body, OwnedBody::Request { .. }));
    assert_eq!(pings.count(), usize::from(Parameters::default().most_greetings));
    assert_eq!(sent.len(), 500 + usize::from(Parameters::default().most_greetings));
    assert!(node.table().is_empty(), "nobody has answered");
}

#[test]
fn who_answers_all_but_records_is_not_given_them_for_ever() {
    const HOUR_MS: u64 = 60 * 60_000;
    let mut world = World::joined(50, Parameters::default(), 38);
    let deaf = 7;
    world.liars.insert(deaf, DEAF);
    let mut keys = Vec::new();
    while keys.len() < 2 {
        let key = RecordKey(world.random.bytes());
        if world.closest(key.point(), 3).contains(&deaf) {
            keys.push(key);
        }
    }
    for &key in &keys {
        let written = record(key, NodeId([1; 32]), 1, 20 * HOUR_MS);
        let query = world.with(0, |it, now| it.publish(now, written)).unwrap();
        world.finish(0, query);
    }
    world.run_ms(5 * HOUR_MS);
    let gone = |(_, event): &(usize, Event)| matches!(event, Event::Dead { contact } if contact.id == world.node(deaf).own().id);
    assert!(!world.events.iter().any(gone), "it answers, and so is never dead");
    // Three others hold each; each looks at it six times at most, and beside that when somebody comes.
    let most = 2 * 3 * 6 * u64::from(Parameters::default().handover_tries);
    let stores = world.stores[&deaf];
    assert!((2..=most).contains(&stores), "{stores} of {most} at most");
    let others = keys.iter().map(|&key| world.holders(key).len());
    assert!(others.min() >= Some(3), "what it says nothing about it has, and so have others");
}

#[test]
fn who_leaves_gives_up_on_those_who_answer_all_but_records() {
    let mut world = World::joined(30, Parameters::default(), 39);
    let key = RecordKey(world.random.bytes());
    let written = record(key, NodeId([1; 32]), 1, 20 * 60 * 60_000);
    let query = world.with(0, |it, now| it.publish(now, written)).unwrap();
    world.finish(0, query);
    let leaves = world.holders(key)[0];
    world.liars.extend((0..30).filter(|&node| node != leaves).map(|node| (node, DEAF)));
    world.with(leaves, cloakroom_kademlia::Kademlia::leave);
    world.run_ms(5 * 60_000);
    let left = |(of, event): &(usize, Event)| {
        *of == leaves && matches!(event, Event::Left { kept: 1, .. })
    };
    assert!(world.events.iter().any(left), "{:?}", world.events);
}

#[test]
fn a_record_that_is_not_what_was_asked_for_is_not_taken() {
    const OTHER: Lie = |_, _, message| {
        if let OwnedBody::Answer(OwnedAnswer::Found { records, .. }) = &mut message.body {
            for record in records.iter_mut() {
                record.key.0[0] ^= 1;
            }
        }
    };
    let mut world = World::joined(50, Parameters::default(), 35);
    let key = RecordKey([5; 32]);
    let written = record(key, NodeId([1; 32]), 1, 60_000);
    let query = world.with(0, |it, now| it.publish(now, written.clone())).unwrap();
    world.finish(0, query);
    let holders = world.holders(key);
    world.liars.extend(holders[..2].iter().map(|&node| (node, OTHER)));
    let reader = world.closest(key.point(), 50)[40];
    let query = world.with(reader, |it, now| it.find_value(now, key)).unwrap();
    let Event::Value { records, from, .. } = world.finish(reader, query) else { panic!() };
    assert_eq!((records[0].key, from), (key, world.node(holders[2]).own().id));
}

#[test]
fn a_record_that_the_judge_refuses_is_neither_stored_nor_taken() {
    let world = World::new(2, Parameters::default(), 36);
    let own = *world.node(1).own();
    // Only values of eight bytes are genuine.
    let judge = Judge {
        record: |record| match record.content {
            cloakroom_wire::Content::Value(value) => value.len() == 8,
            cloakroom_wire::Content::Tombstone => true,
        },
        ..judge()
    };
    let now = world.now;
    let mut node = cloakroom_kademlia::Kademlia::new(now, own, Parameters::default(), judge, 1);
    let mut forged = record(RecordKey([5; 32]), NodeId([1; 32]), 1, 60_000);
    forged.content = OwnedContent::Value([0; 9].into());
    let request =
        OwnedRequest::Store { purpose: cloakroom_wire::StorePurpose::REPLICA, record: forged };
    let body = OwnedBody::Request { from: None, request };
    let message = OwnedMessage { request_id: RequestId(1), body };
    let from = world.node(0).own();
    let from = Peer { id: from.id, address: from.address };
    node.handle_message(now, from, &message.borrow());
    assert_eq!(node.records().size(), (0, 0));
}
