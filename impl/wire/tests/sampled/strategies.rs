//! Messages for proptest: every kind, every form of what stands in them, within the limits.

use std::net::IpAddr;

use cloakroom_wire::{
    Address, Contact, ErrorCode, Fields, Kind, NodeId, NodeKey, OwnedAnswer, OwnedBody,
    OwnedContent, OwnedFields, OwnedMessage, OwnedNotice, OwnedRecord, OwnedRequest, RecordKey,
    RequestId, StorePurpose, StoreStatus,
};
use proptest::prelude::*;

use crate::newer;

/// Fields in order, mostly with even tags.
pub(crate) fn fields() -> impl Strategy<Value = newer::Added> {
    let tag = prop_oneof![9 => (1..=127_u8).prop_map(|half| 2 * half), 1 => 1..=255_u8];
    prop::collection::btree_map(tag, prop::collection::vec(any::<u8>(), 0..20), 0..5)
        .prop_map(|fields| fields.into_iter().collect())
}

/// Any contact, with IPv4 inside IPv6 among them.
pub(crate) fn contact() -> impl Strategy<Value = Contact> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
    let mapped =
        any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_ipv6_mapped().into());
    (any::<[u8; 32]>(), any::<[u8; 32]>(), prop_oneof![v4, v6, mapped], any::<u16>()).prop_map(
        |(id, key, ip, port)| Contact {
            id: NodeId(id),
            address: Address::new(ip, port),
            key: NodeKey(key),
        },
    )
}

/// Any record with a small value.
pub(crate) fn record() -> impl Strategy<Value = OwnedRecord> {
    let content = prop_oneof![
        Just(OwnedContent::Tombstone),
        prop::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bytes| OwnedContent::Value(bytes.into())),
    ];
    let later = prop_oneof![3 => Just(Vec::new()), 1 => fields()];
    (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<u64>(), any::<u64>(), content, later).prop_map(
        |(key, origin, sequence, expires_in_ms, content, later)| OwnedRecord {
            key: RecordKey(key),
            origin: NodeId(origin),
            sequence,
            expires_in_ms,
            content,
            later: skipped(later, 5),
        },
    )
}

/// Those that are skipped behind `highest`.
fn skipped(mut fields: newer::Added, highest: u8) -> OwnedFields {
    fields.retain(|(tag, _)| *tag > highest && tag % 2 == 0);
    let bytes = newer::bytes(&fields);
    Fields::parse(&bytes).expect("in order").to_owned()
}

fn contacts() -> impl Strategy<Value = Vec<Contact>> {
    prop::collection::vec(contact(), 0..25)
}

fn request() -> impl Strategy<Value = OwnedRequest> {
    prop_oneof![
        Just(OwnedRequest::Ping),
        any::<[u8; 32]>().prop_map(|id| OwnedRequest::FindNode { target: NodeId(id) }),
        any::<[u8; 32]>().prop_map(|key| OwnedRequest::FindValue { key: RecordKey(key) }),
        (any::<u8>(), record()).prop_map(|(purpose, record)| OwnedRequest::Store {
            purpose: StorePurpose(purpose),
            record
        }),
    ]
}

fn answer() -> impl Strategy<Value = OwnedAnswer> {
    prop_oneof![
        Just(OwnedAnswer::Pong),
        contacts().prop_map(|contacts| OwnedAnswer::Nodes { contacts }),
        (prop::collection::vec(record(), 0..4), contacts())
            .prop_map(|(records, contacts)| OwnedAnswer::Found { records, contacts }),
        (any::<u8>(), any::<Option<u64>>())
            .prop_map(|(status, held)| OwnedAnswer::Stored { status: StoreStatus(status), held }),
        (any::<u16>(), "\\PC{0,40}")
            .prop_map(|(code, detail)| OwnedAnswer::Error { code: ErrorCode(code), detail }),
    ]
}

/// Any message.
pub(crate) fn message() -> impl Strategy<Value = OwnedMessage> {
    let unknown = (any::<u8>(), fields())
        .prop_filter("a kind that is known", |(kind, _)| Kind(*kind).name().is_none())
        .prop_map(|(kind, fields)| OwnedBody::Unknown {
            kind: Kind(kind),
            fields: Fields::parse(&newer::bytes(&fields)).expect("in order").to_owned(),
        });
    let body = prop_oneof![
        4 => (prop::option::of(contact()), request())
            .prop_map(|(from, request)| OwnedBody::Request { from, request }),
        4 => answer().prop_map(OwnedBody::Answer),
        2 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)
            .prop_map(|parts| OwnedBody::Notice(OwnedNotice::Slots { parts })),
        1 => unknown,
    ];
    (any::<u64>(), body).prop_map(|(id, body)| OwnedMessage { request_id: RequestId(id), body })
}
