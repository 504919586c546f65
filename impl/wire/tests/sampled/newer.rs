//! What a newer node would write: an encoder of its own, a few lines over the grammar of
//! `specs/wire.md`, which shares nothing with the crate's. The fuzzer uses it too.

use cloakroom_wire::Kind;

/// Tags, ascending, and what stands under them.
pub(crate) type Added = Vec<(u8, Vec<u8>)>;

/// The highest tag of a kind, from the tables of `specs/wire.md`.
pub(crate) fn highest(kind: Kind) -> u8 {
    match kind.0 {
        0x01 | 0x40 | 0x82 => 1,
        0x02 | 0x03 | 0x83 | 0x84 | 0xff => 2,
        0x04 => 3,
        _ => 0,
    }
}

/// Fields as they stand on the wire.
pub(crate) fn bytes(fields: &Added) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, content) in fields {
        let length = u32::try_from(content.len()).expect("short").to_be_bytes();
        bytes.push(*tag);
        bytes.extend(&length[1..]);
        bytes.extend(content);
    }
    bytes
}

/// A known message with those fields behind that lie above `highest`.
pub(crate) fn with(known: &[u8], highest: u8, fields: &Added) -> Vec<u8> {
    let above = fields.iter().filter(|(tag, _)| *tag > highest).cloned().collect();
    [known, &bytes(&above)].concat()
}

/// A message of any kind with these fields.
pub(crate) fn of_kind(kind: u8, request_id: u64, fields: &Added) -> Vec<u8> {
    [&[1, kind], &request_id.to_be_bytes()[..], &bytes(fields)].concat()
}
