//! What a node sends back to what it does not understand: the vectors of `specs/vectors/wire.json`, which another
//! program wrote.

use cloakroom_node::{Founder, Zone};
use cloakroom_register::{Disk, Incarnation, Member};
use cloakroom_wire::{NodeKey, OwnedAnswer, OwnedBody};
use serde_json::Value;

use super::*;

fn contact(number: u8) -> Contact {
    let address = Address::v4([10, 0, 0, number], 7400);
    Contact { id: NodeId([number; 32]), address, key: NodeKey([number; 32]) }
}

fn node() -> Node {
    let contact = contact(1);
    let founder = Founder { contact, zone: Zone("zone".into()) };
    let setup = Setup {
        genesis: Genesis::new(&[founder], 8, 1).unwrap(),
        contact,
        reachable: true,
        table: Vec::new(),
        parameters: Parameters::default(),
        judge: Judge { contact: |_| true, record: |_| true },
        waits: Waits::default(),
        patience: Patience::default(),
        hash: sha256,
        seed: 1,
    };
    let disk = Disk::new(Member { node: contact.id, incarnation: Incarnation(0) });
    Node::start(Moment(0), setup, &disk, Vec::new()).unwrap().0
}

/// The name and the bytes of each vector of a kind, and the vector.
fn vectors(kind: &str) -> Vec<(String, Vec<u8>, Value)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/vectors/wire.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let read = |vector: &Value| {
        let (name, hex) = (vector["name"].as_str().unwrap(), vector["hex"].as_str().unwrap());
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes = (0..hex.len()).step_by(2).map(byte).collect();
        (name.to_owned(), bytes, vector.clone())
    };
    all[kind].as_array().unwrap().iter().map(read).collect()
}

/// To whom, which request and with which code a node answers these bytes; `None` if with nothing.
fn refused(node: &mut Node, bytes: &[u8]) -> Option<(NodeId, u64, u64)> {
    let from = Peer { id: contact(2).id, address: contact(2).address };
    let mut effects = hear_one(node, Moment(0), from, bytes);
    let send = std::mem::take(&mut effects.send);
    assert_eq!(effects, Effects::default(), "nothing else comes of it");
    assert!(send.len() <= 1, "{send:?}");
    let Transmit { to, message } = send.into_iter().next()?;
    let OwnedBody::Answer(OwnedAnswer::Error { code, detail }) = message.body else {
        panic!("expected an error, got {:?}", message.body)
    };
    assert!(!detail.is_empty());
    Some((to.id, message.request_id.0, code.0.into()))
}

#[test]
fn what_is_not_understood_is_answered_as_the_format_says_and_only_if_it_asks() {
    let mut node = node();
    let mut heard = 0;
    let mut hear = |name: &str, bytes: &[u8], code: Option<u64>| {
        let request = bytes.get(2..10).map(|id| u64::from_be_bytes(id.try_into().unwrap()));
        let expected = code.map(|code| (contact(2).id, request.expect("it asks"), code));
        assert_eq!(refused(&mut node, bytes), expected, "{name}");
        heard += 1;
    };
    for (name, bytes, vector) in vectors("refused") {
        hear(&name, &bytes, vector["answer"].as_u64());
    }
    for (name, bytes, vector) in vectors("messages") {
        let class = vector["message"]["class"].as_str();
        if class.is_some() {
            hear(&name, &bytes, class.filter(|class| *class == "request").map(|_| 2));
        }
    }
    assert!(heard >= 43, "{heard}");
}
