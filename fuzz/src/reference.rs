//! A second decoder: the grammar of `specs/wire.md`, written down as plainly as it can be. It copies,
//! is slow, says only yes or no, and shares no line with the one that it judges.
//!
//! Its numbers are written out here, not taken from the crate: a limit that moves must be noticed.

use std::net::{IpAddr, Ipv6Addr};

use cloakroom_wire::{
    Address, Contact, ErrorCode, Fields, Kind, NodeId, NodeKey, OwnedAnswer, OwnedBody,
    OwnedContent, OwnedFields, OwnedMessage, OwnedNotice, OwnedRecord, OwnedRequest, RecordKey,
    RequestId, StorePurpose, StoreStatus,
};

type Field = (u8, Vec<u8>);

/// The message that these bytes are, and the bytes of its fields that are not known.
pub(crate) fn decode(bytes: &[u8]) -> Option<(OwnedMessage, Vec<u8>)> {
    if bytes.len() < 10 || bytes.len() > 131_072 || bytes[0] != 1 {
        return None;
    }
    let kind = bytes[1];
    let request_id = RequestId(u64::from_be_bytes(bytes[2..10].try_into().ok()?));
    let all = fields(&bytes[10..])?;
    let highest = match kind {
        0x01 | 0x40 | 0x82 => 1,
        0x02 | 0x03 | 0x83 | 0x84 | 0xff => 2,
        0x04 => 3,
        0x81 => 0,
        _ => {
            let fields = owned(&bytes[10..])?;
            let body = OwnedBody::Unknown { kind: Kind(kind), fields };
            return Some((OwnedMessage { request_id, body }, vec![]));
        }
    };
    let (known, later) = known_and_later(all, highest)?;
    let body = match kind {
        0x01..=0x04 => OwnedBody::Request {
            from: match find(&known, 1) {
                Some(bytes) => Some(one(&contacts(bytes)?)?),
                None => None,
            },
            request: request(kind, &known)?,
        },
        0x40 => OwnedBody::Notice(OwnedNotice::Slots { parts: parts(find(&known, 1)?)? }),
        _ => OwnedBody::Answer(answer(kind, &known)?),
    };
    Some((OwnedMessage { request_id, body }, later))
}

fn request(kind: u8, known: &[Field]) -> Option<OwnedRequest> {
    Some(match kind {
        0x01 => OwnedRequest::Ping,
        0x02 => OwnedRequest::FindNode { target: NodeId(array(find(known, 2)?)?) },
        0x03 => OwnedRequest::FindValue { key: RecordKey(array(find(known, 2)?)?) },
        _ => OwnedRequest::Store {
            purpose: StorePurpose(array::<1>(find(known, 2)?)?[0]),
            record: record(find(known, 3)?)?,
        },
    })
}

fn answer(kind: u8, known: &[Field]) -> Option<OwnedAnswer> {
    Some(match kind {
        0x81 => OwnedAnswer::Pong,
        0x82 => OwnedAnswer::Nodes { contacts: contacts(find(known, 1)?)? },
        0x83 => OwnedAnswer::Found {
            records: records(find(known, 1)?)?,
            contacts: contacts(find(known, 2)?)?,
        },
        0x84 => OwnedAnswer::Stored {
            status: StoreStatus(array::<1>(find(known, 1)?)?[0]),
            held: match find(known, 2) {
                Some(bytes) => Some(u64::from_be_bytes(array(bytes)?)),
                None => None,
            },
        },
        _ => {
            let detail = String::from_utf8(find(known, 2)?.to_vec()).ok()?;
            let code = ErrorCode(u16::from_be_bytes(array(find(known, 1)?)?));
            (detail.len() <= 256).then_some(OwnedAnswer::Error { code, detail })?
        }
    })
}

/// `*(tag length content)`, tags from 1 and ascending.
pub(crate) fn fields(mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields: Vec<Field> = vec![];
    while !bytes.is_empty() {
        let tag = bytes[0];
        let (content, rest) = lengthy(&bytes[1..])?;
        if tag <= fields.last().map_or(0, |(tag, _)| *tag) {
            return None;
        }
        fields.push((tag, content.to_vec()));
        bytes = rest;
    }
    Some(fields)
}

/// `length content`, and what follows.
pub(crate) fn lengthy(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_be_bytes([0, *bytes.first()?, *bytes.get(1)?, *bytes.get(2)?]);
    let length = usize::try_from(length).ok()?;
    Some((bytes[3..].get(..length)?, bytes[3..].get(length..)?))
}

/// Those up to the highest known tag, and the bytes of the others, if all may be skipped.
fn known_and_later(all: Vec<Field>, highest: u8) -> Option<(Vec<Field>, Vec<u8>)> {
    let (known, later): (Vec<Field>, Vec<Field>) =
        all.into_iter().partition(|(tag, _)| *tag <= highest);
    if later.iter().any(|(tag, _)| tag % 2 == 1) {
        return None;
    }
    let mut bytes = vec![];
    for (tag, content) in later {
        bytes.push(tag);
        bytes.extend(&u32::try_from(content.len()).ok()?.to_be_bytes()[1..]);
        bytes.extend(content);
    }
    Some((known, bytes))
}

fn owned(bytes: &[u8]) -> Option<OwnedFields> {
    Some(Fields::parse(bytes).ok()?.to_owned())
}

fn find(fields: &[Field], tag: u8) -> Option<&[u8]> {
    fields.iter().find(|field| field.0 == tag).map(|field| &field.1[..])
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn one<T: Copy>(items: &[T]) -> Option<T> {
    if items.len() == 1 { Some(items[0]) } else { None }
}

/// `id key family ip port`, until the end.
fn contacts(mut bytes: &[u8]) -> Option<Vec<Contact>> {
    let mut contacts = vec![];
    while !bytes.is_empty() {
        let (ip, length): (IpAddr, usize) = match bytes.get(64)? {
            4 => (array::<4>(bytes.get(65..69)?)?.into(), 71),
            6 => {
                let ip = Ipv6Addr::from(array::<16>(bytes.get(65..81)?)?);
                if ip.to_ipv4_mapped().is_some() {
                    return None;
                }
                (ip.into(), 83)
            }
            _ => return None,
        };
        let port = u16::from_be_bytes(array(bytes.get(length - 2..length)?)?);
        contacts.push(Contact {
            id: NodeId(array(&bytes[..32])?),
            address: Address::new(ip, port),
            key: NodeKey(array(&bytes[32..64])?),
        });
        bytes = &bytes[length..];
    }
    (contacts.len() <= 64).then_some(contacts)
}

fn parts(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut parts = vec![];
    while !bytes.is_empty() {
        let (content, rest) = lengthy(bytes)?;
        parts.push(content.to_vec());
        bytes = rest;
    }
    (parts.len() <= 1024).then_some(parts)
}

fn records(mut bytes: &[u8]) -> Option<Vec<OwnedRecord>> {
    let mut records = vec![];
    while !bytes.is_empty() {
        let (content, rest) = lengthy(bytes)?;
        records.push(record(content)?);
        bytes = rest;
    }
    (records.len() <= 16).then_some(records)
}

fn record(bytes: &[u8]) -> Option<OwnedRecord> {
    let (known, later) = known_and_later(fields(bytes)?, 5)?;
    let content = match find(&known, 5) {
        None => OwnedContent::Tombstone,
        Some(value) if value.len() <= 65_536 => OwnedContent::Value(value.into()),
        Some(_) => return None,
    };
    Some(OwnedRecord {
        key: RecordKey(array(find(&known, 1)?)?),
        origin: NodeId(array(find(&known, 2)?)?),
        sequence: u64::from_be_bytes(array(find(&known, 3)?)?),
        expires_in_ms: u64::from_be_bytes(array(find(&known, 4)?)?),
        content,
        later: owned(&later)?,
    })
}
