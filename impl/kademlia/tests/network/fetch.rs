//! A record's known holders, one of which takes long.

use cloakroom_kademlia::{Balance, Event, Kademlia, Moment, Parameters, Peer, Transmit};
use cloakroom_wire::{
    NodeId, OwnedAnswer, OwnedBody, OwnedMessage, OwnedRequest, RecordKey, RequestId,
};

use crate::world::{contact, judge, record};

const KEY: RecordKey = RecordKey([0; 32]);

/// Reads of the key that were asked for: of whom, under which number.
fn asked(kademlia: &mut Kademlia) -> Vec<(NodeId, RequestId)> {
    let is_read = |sent: &Transmit| {
        let OwnedBody::Request { request, .. } = &sent.message.body else { return false };
        matches!(request, OwnedRequest::FindValue { .. })
    };
    let sent = core::iter::from_fn(|| kademlia.poll_transmit()).filter(is_read);
    sent.map(|sent| (sent.to.id, sent.message.request_id)).collect()
}

#[test]
fn what_a_slow_holder_answers_counts_also_when_others_are_looked_for_already() {
    let [own, slow, quick] = [9, 1, 2].map(|byte| contact(NodeId([byte; 32]), byte.into()));
    let mut kademlia = Kademlia::new(Moment(0), own, Parameters::default(), judge(), 1);
    let mut closest = Balance::named("closest").unwrap();
    let holders = [(slow, 1), (quick, 1)];
    let query = kademlia.fetch(Moment(0), KEY, &holders, &mut closest).unwrap();
    let [(id, first)] = asked(&mut kademlia)[..] else { panic!("the closest is asked") };
    assert_eq!(id, slow.id);
    let mut now = kademlia.poll_timeout();
    let second = loop {
        kademlia.handle_timeout(now);
        match asked(&mut kademlia)[..] {
            [] => now = kademlia.poll_timeout(),
            [(id, second)] if id == quick.id => break second,
            ref other => panic!("the other one is asked beside, not {other:?}"),
        }
    };
    let mut answer = |kademlia: &mut Kademlia, from: cloakroom_wire::Contact, id, records| {
        let answer = OwnedAnswer::Found { records, contacts: Vec::new() };
        let message = OwnedMessage { request_id: id, body: OwnedBody::Answer(answer) };
        let from = Peer { id: from.id, address: from.address };
        now = now.plus_ms(1);
        kademlia.handle_message(now, from, &message.borrow());
    };
    answer(&mut kademlia, quick, second, Vec::new());
    assert!(!asked(&mut kademlia).is_empty(), "others are looked for");
    let written = record(KEY, NodeId([3; 32]), 1, 60_000);
    answer(&mut kademlia, slow, first, vec![written.clone()]);
    let Some(Event::Value { query: of, records, from, cost }) = kademlia.poll_event() else {
        panic!("it had the record")
    };
    assert_eq!((of, from, cost.hops, records), (query, slow.id, 1, vec![written]));
}
