//! Messages made from choices: every kind, within the limits.

use std::net::IpAddr;

use cloakroom_wire::{
    Address, Contact, ErrorCode, Fields, Kind, NodeId, NodeKey, OwnedAnswer, OwnedBody,
    OwnedContent, OwnedFields, OwnedMessage, OwnedNotice, OwnedRecord, OwnedRequest, RecordKey,
    RequestId, StorePurpose, StoreStatus,
};

use crate::choices::Choices;
use crate::newer::{self, Added};

/// A message.
pub(crate) fn message(choices: &mut Choices<'_>) -> OwnedMessage {
    let kind = choices.byte();
    let body = match kind % 16 {
        0..4 => OwnedBody::Request {
            from: choices.flag().then(|| contact(choices)),
            request: request(kind % 16, choices),
        },
        4..9 => OwnedBody::Answer(answer(kind % 16, choices)),
        9 | 10 => {
            let part = |choices: &mut Choices<'_>| {
                let length = choices.below(60);
                choices.bytes(length).to_vec()
            };
            let parts = (0..choices.below(4)).map(|_| part(choices)).collect();
            OwnedBody::Notice(OwnedNotice::Slots { parts })
        }
        _ => unknown(choices),
    };
    OwnedMessage { request_id: RequestId(choices.number()), body }
}

fn request(kind: u8, choices: &mut Choices<'_>) -> OwnedRequest {
    match kind {
        0 => OwnedRequest::Ping,
        1 => OwnedRequest::FindNode { target: NodeId(choices.point()) },
        2 => OwnedRequest::FindValue { key: RecordKey(choices.point()) },
        _ => OwnedRequest::Store { purpose: StorePurpose(choices.byte()), record: record(choices) },
    }
}

fn answer(kind: u8, choices: &mut Choices<'_>) -> OwnedAnswer {
    match kind {
        4 => OwnedAnswer::Pong,
        5 => OwnedAnswer::Nodes { contacts: contacts(choices) },
        6 => OwnedAnswer::Found {
            records: (0..choices.below(5)).map(|_| record(choices)).collect(),
            contacts: contacts(choices),
        },
        7 => OwnedAnswer::Stored {
            status: StoreStatus(choices.byte()),
            held: choices.flag().then(|| choices.number()),
        },
        _ => OwnedAnswer::Error {
            code: ErrorCode(u16::from_be_bytes(choices.array())),
            detail: {
                let length = choices.below(64);
                String::from_utf8_lossy(choices.bytes(length)).into_owned()
            },
        },
    }
}

/// Of a kind that is not known, or a PING where the choice fell on one that is.
fn unknown(choices: &mut Choices<'_>) -> OwnedBody {
    let kind = Kind(choices.byte());
    let fields = fields(&added(choices));
    if kind.name().is_some() {
        return OwnedBody::Request { from: None, request: OwnedRequest::Ping };
    }
    OwnedBody::Unknown { kind, fields }
}

pub(crate) fn contacts(choices: &mut Choices<'_>) -> Vec<Contact> {
    (0..choices.below(65)).map(|_| contact(choices)).collect()
}

pub(crate) fn contact(choices: &mut Choices<'_>) -> Contact {
    let ip = match choices.below(3) {
        0 => IpAddr::from(choices.array::<4>()),
        1 => IpAddr::from(choices.array::<16>()),
        _ => std::net::Ipv4Addr::from(choices.array::<4>()).to_ipv6_mapped().into(),
    };
    Contact {
        id: NodeId(choices.point()),
        address: Address::new(ip, u16::from_be_bytes(choices.array())),
        key: NodeKey(choices.point()),
    }
}

fn record(choices: &mut Choices<'_>) -> OwnedRecord {
    let content = if choices.flag() {
        let length = choices.below(200);
        OwnedContent::Value(choices.bytes(length).into())
    } else {
        OwnedContent::Tombstone
    };
    let mut later = added(choices);
    later.retain(|(tag, _)| *tag > 5 && tag % 2 == 0);
    OwnedRecord {
        key: RecordKey(choices.point()),
        origin: NodeId(choices.point()),
        sequence: choices.number(),
        expires_in_ms: choices.number(),
        content,
        later: fields(&later),
    }
}

/// What a newer node adds: tags ascending.
pub(crate) fn added(choices: &mut Choices<'_>) -> Added {
    let mut above = 0_u8;
    let mut added = Added::new();
    for _ in 0..choices.below(4) {
        let Some(tag) = above.checked_add(1 + choices.byte() % 16) else { break };
        let length = choices.below(20);
        added.push((tag, choices.bytes(length).to_vec()));
        above = tag;
    }
    added
}

fn fields(added: &Added) -> OwnedFields {
    Fields::parse(&newer::bytes(added)).expect("in order").to_owned()
}
