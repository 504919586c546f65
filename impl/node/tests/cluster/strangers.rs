//! Nodes of which the list says nothing.

use cloakroom_kademlia::{Moment, Peer};
use cloakroom_node::{Effects, Input, Patience, Timer};
use cloakroom_register::{
    Body, Boot, Call, Called, Epoch, Forwarded, Incarnation, Key, Message, Operation, OperationId,
    Outcome, Slot, Start, Told, pack, unpack,
};
use cloakroom_wire as wire;
use cloakroom_wire::{Address, NodeId, OwnedBody, RequestId};

use super::world::{World, contact, hash};

fn stranger(number: u32) -> Peer {
    let id = NodeId(hash(&number.to_be_bytes()));
    let [_, high, low, last] = number.to_be_bytes();
    Peer { id, address: Address::v4([77, high, low, last], 7400) }
}

#[test]
fn who_is_in_nobodys_table_is_answered_where_it_has_asked_from() {
    let mut world = World::new(&["a"], 1, 1);
    let node = world.nodes.get_mut(&0).unwrap();
    let from = stranger(1);
    let start = Start { incarnation: Incarnation(5), boot: Boot(1) };
    let operation = Operation {
        id: OperationId([9; 16]),
        key: Key::from(&b"key"[..]),
        call: Call::Get,
        bound: None,
    };
    let asked = Forwarded { to: None, from: start, number: 3, patience_ms: 1000, operation };
    let body = Body::Call(Box::new(asked));
    let mut parts = Vec::new();
    Message { slot: Slot(0), epoch: Epoch(0), body }.encode(&mut parts).unwrap();
    let notice = pack(&parts).next().unwrap();
    let mut effects = node.step(world.now, Input::Message { from, message: &notice });
    while !effects.votes.is_empty() {
        effects = node.step(world.now, Input::Votes(effects.votes));
    }
    let told = only_answer(&effects, from);
    assert_eq!((told.to, told.number), (start, 3));
    assert!(matches!(told.told, Told::Ended(_)), "{told:?}");
}

/// The one message is an answer, to this peer.
fn only_answer(effects: &Effects, to: Peer) -> Called {
    let [sent] = &effects.first[..] else { panic!("expected one message, got {effects:?}") };
    assert_eq!(sent.to, to);
    let OwnedBody::Notice(_) = &sent.message.body else { panic!("{sent:?}") };
    let wire::Body::Notice(wire::Notice::Slots { parts }) = sent.message.borrow().body else {
        panic!("{sent:?}")
    };
    let [told] = &unpack(parts).unwrap()[..] else { panic!("expected one answer") };
    let Body::Called(told) = &told.body else { panic!("{told:?}") };
    (**told).clone()
}

#[test]
fn who_has_a_new_disk_says_so_to_whoever_it_does_not_ask() {
    let mut world = World::new(&["a", "b", "c"], 1, 3);
    world.add(3, "d", 7);
    let start = Start { incarnation: Incarnation(0), boot: Boot(2) };
    let mut parts = Vec::new();
    let message = Message { slot: Slot(0), epoch: Epoch(0), body: Body::Start(start) };
    message.encode(&mut parts).unwrap();
    let notice = pack(&parts).next().unwrap();
    let mut hear = |number: u8, from: Peer| {
        let node = world.nodes.get_mut(&number).unwrap();
        node.step(world.now, Input::Message { from, message: &notice })
    };
    let told = only_answer(&hear(3, stranger(1)), stranger(1));
    assert_eq!((told.to, told.number), (start, 0), "it answers no call");
    assert!(matches!(told.told, Told::Start(own) if own.incarnation == Incarnation(7)), "{told:?}");
    // Whom it asks itself it tells so, and a founder on its first disk is what everybody takes it for.
    let member = Peer { id: contact(0).id, address: contact(0).address };
    assert!(hear(3, member).first.is_empty());
    assert!(hear(0, stranger(1)).first.is_empty());
}

#[test]
fn when_strangers_were_heard_is_forgotten_after_a_silence() {
    let mut world = World::new(&["a", "b"], 1, 2);
    let node = world.nodes.get_mut(&0).unwrap();
    let request = wire::OwnedRequest::Ping;
    let body = OwnedBody::Request { from: None, request };
    let ping = wire::OwnedMessage { request_id: RequestId(1), body };
    let mut hear = |now: Moment, from: Peer| {
        let message = &ping.borrow();
        let _ = node.step(now, Input::Message { from, message });
    };
    let member = Peer { id: contact(1).id, address: contact(1).address };
    hear(Moment(0), member);
    for number in 0..1000 {
        hear(Moment(0), stranger(number));
    }
    hear(Moment(9_000_000), stranger(7));
    let heard = |node: &cloakroom_node::Node| {
        let strangers = (0..1000).filter(|number| node.heard_at(stranger(*number).id).is_some());
        (strangers.count(), node.heard_at(member.id))
    };
    let _ = node.step(Moment(9_999_999), Input::Timer(Timer::Watch));
    assert_eq!(heard(node), (1000, Some(Moment(0))));
    let _ = node.step(Moment(10_000_000), Input::Timer(Timer::Watch));
    assert_eq!(heard(node), (1, Some(Moment(0))), "all but the one that was heard since");
}

#[test]
fn who_has_a_table_of_an_earlier_life_does_not_join_again_and_a_guest_has_no_registers_to_keep() {
    let mut world = World::new(&["a", "b"], 1, 2);
    let asks = |world: &World, node: u8| {
        let of_it = world.on_the_way.values().filter(|(from, ..)| *from == node);
        let asks = of_it.filter(|(_, _, bytes)| {
            let message = wire::Message::decode(bytes).unwrap();
            matches!(
                message.body,
                wire::Body::Request { request: wire::Request::FindNode { .. }, .. }
            )
        });
        asks.count()
    };
    world.add(9, "c", 0);
    assert!(asks(&world, 9) > 0, "with none it joins");
    let registers =
        world.nodes[&9].timers().into_iter().find(|(timer, _)| *timer == Timer::Registers);
    assert_eq!(registers, Some((Timer::Registers, Moment::NEVER)));
    world.setup.table = vec![contact(0)];
    world.add(8, "c", 0);
    assert_eq!(asks(&world, 8), 0, "with one it does not");
    assert!(world.nodes[&8].dht().table().entry(contact(0).id).is_some());
}

#[test]
fn a_guest_knows_which_members_are_silent_and_calls_the_others() {
    let mut world = World::new(&["a", "b", "c"], 1, 3);
    world.add(9, "d", 0);
    for member in 0..3 {
        world.meet(9, member);
    }
    world.pass_ms(15_000);
    for member in 0..3 {
        let heard = world.nodes[&9].heard_at(contact(member).id);
        let is_lately = heard.is_some_and(|heard| world.now.since_ms(heard) < 2_000);
        assert!(is_lately, "of node {member} it has not heard lately: {heard:?}");
    }
    world.crash(1);
    let patience_ms = Patience::default().silent_ms;
    let silent = |world: &World| {
        let node = &world.nodes[&9];
        [9, 0, 1, 2, 77].map(|number| node.is_silent(world.now, contact(number).id))
    };
    world.pass_ms(patience_ms / 2);
    assert_eq!(silent(&world), [false, false, false, false, true], "of 77 nobody has ever heard");
    world.pass_ms(15_000 - patience_ms / 2);
    assert_eq!(silent(&world), [false, false, true, false, true]);
    for key in 0..9 {
        let begun = world.now;
        let put = world.put_at(9, &format!("key {key}"), "coat");
        assert!(matches!(put, Ok(Outcome::Set(_))), "{put:?}");
        let took_ms = world.now.since_ms(begun);
        assert!(took_ms < 1_000, "it asked the dead: {took_ms} ms");
    }
}

#[test]
fn who_cannot_know_yet_that_a_member_is_dead_does_not_wait_long_for_it() {
    let mut world = World::new(&["a", "b", "c"], 1, 3);
    world.crash(1);
    world.add(9, "d", 0);
    for member in 0..3 {
        world.meet(9, member);
    }
    let took_ms = |world: &mut World, key: u8| {
        let begun = world.now;
        let put = world.put_at(9, &format!("key {key}"), "coat");
        assert!(matches!(put, Ok(Outcome::Set(_))), "{put:?}");
        world.now.since_ms(begun)
    };
    let took: Vec<u64> = (0..9).map(|key| took_ms(&mut world, key)).collect();
    let waited: Vec<u64> = took.iter().copied().filter(|took_ms| *took_ms >= 1_000).collect();
    assert_eq!(waited.len(), 1, "it is asked until it has not answered: {took:?}");
    assert!(waited[0] < 3_000, "it was asked again: {took:?}");
}
