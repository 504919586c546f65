//! Nodes of which the list says nothing.

use cloakroom_kademlia::{Moment, Peer};
use cloakroom_node::{Input, Timer};
use cloakroom_register::{
    Body, Boot, Call, Epoch, Forwarded, Incarnation, Key, Message, Operation, OperationId, Slot,
    Start, Told, pack, unpack,
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
    let [sent] = &effects.first[..] else { panic!("expected one message, got {effects:?}") };
    assert_eq!(sent.to, from);
    let OwnedBody::Notice(_) = &sent.message.body else { panic!("{sent:?}") };
    let wire::Body::Notice(wire::Notice::Slots { parts }) = sent.message.borrow().body else {
        panic!("{sent:?}")
    };
    let [told] = &unpack(parts).unwrap()[..] else { panic!("expected one answer") };
    let Body::Called(told) = &told.body else { panic!("{told:?}") };
    assert_eq!((told.to, told.number), (start, 3));
    assert!(matches!(told.told, Told::Ended(_)), "{told:?}");
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
