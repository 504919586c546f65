//! Messages as parts of a notice, and back. `specs/wire.md`, section 8, is the normative text; the
//! frame around the parts and the letters in them are `impl/wire`'s.
//!
//! Invariants:
//! * WIRE-1: a message has one encoding as a part, and whatever decodes encodes to the same bytes;
//! * WIRE-2: a list has no count to believe, room is taken item by item as its bytes are read, and
//!   all that is asked for is at most 27 times the bytes that came, a list that grows with all its sizes;
//! * WIRE-3: a part that says what is not known here is left out, and the others count;
//! * several keys of one slot travel in one part, several slots in one notice. What does not fit is
//!   split, which is harmless: answers name the ballots of their requests.
//!
//! What it does not do: frames, connections, who sent what.

mod call;
pub mod kept;
mod read;
mod write;

use alloc::vec::Vec;

use cloakroom_wire::{
    Body, DecodeError, EncodeError, Fields, HEADER_BYTES, MAX_MESSAGE_BYTES, MAX_PARTS, Notice,
    Parts, RequestId,
};

use crate::message::Message;

/// Bytes around the parts of a notice: its header, and the tag and length of their field.
const NOTICE_BYTES: usize = HEADER_BYTES + 4;

/// Bytes in front of a part: its length.
const LENGTH_BYTES: usize = 3;

/// What a part says. Given in ascending order and never again.
mod says {
    pub(super) const ASK: u8 = 0;
    pub(super) const REPLY: u8 = 1;
    pub(super) const NEWER: u8 = 2;
    pub(super) const DECREE: u8 = 3;
    pub(super) const DECREED: u8 = 4;
    pub(super) const DECIDED: u8 = 5;
    pub(super) const PULL: u8 = 6;
    pub(super) const COPY: u8 = 7;
    pub(super) const PAGE: u8 = 8;
    pub(super) const ARE_YOU_ACTIVE: u8 = 9;
    pub(super) const IS_ACTIVE: u8 = 10;
    pub(super) const COLLECT: u8 = 11;
    pub(super) const AGREED: u8 = 12;
    pub(super) const CALL: u8 = 13;
    pub(super) const CALLED: u8 = 14;
    pub(super) const START: u8 = 15;
}

impl Message {
    /// The message that a part is; `None` when a newer node says in it what is not known here.
    ///
    /// # Errors
    /// [`DecodeError`], with its offset from the start of the part.
    pub fn decode(part: &[u8]) -> Result<Option<Self>, DecodeError> {
        read::message(part)
    }

    /// Appends the message as a part; one that does not fit into a notice beside others or alone as
    /// several.
    ///
    /// # Errors
    /// [`EncodeError`] for what no peer would take: a key of more than 255 bytes, a value of more
    /// than 65,536, a view of another slot.
    pub fn encode(&self, parts: &mut Vec<Vec<u8>>) -> Result<(), EncodeError> {
        let most = MAX_MESSAGE_BYTES - NOTICE_BYTES - LENGTH_BYTES;
        write::message(self, most, parts)
    }
}

/// The messages in a notice, without those that only newer nodes know.
///
/// # Errors
/// [`DecodeError`] of the first part that is none, with its offset from the start of that part. Then
/// none of them counts.
pub fn unpack(parts: Parts<'_>) -> Result<Vec<Message>, DecodeError> {
    // WIRE-2: the parts are there and were counted, so there is room for all and none for more.
    let mut messages = Vec::with_capacity(parts.len());
    for part in parts {
        messages.extend(Message::decode(part)?);
    }
    Ok(messages)
}

/// Parts for one node, as notices: as few as their order allows.
pub fn pack(parts: &[Vec<u8>]) -> impl Iterator<Item = cloakroom_wire::Message<'_>> {
    let mut rest = parts;
    core::iter::from_fn(move || {
        let mut bytes = NOTICE_BYTES;
        let fits = |part: &&Vec<u8>| {
            bytes += LENGTH_BYTES + part.len();
            bytes <= MAX_MESSAGE_BYTES
        };
        let count = rest.iter().take(MAX_PARTS).take_while(fits).count();
        // A part that never fits would be the fault of whoever made it: encoding refuses it.
        let (now, later) = rest.split_at(count.max(1).min(rest.len()));
        rest = later;
        let body = Body::Notice(Notice::Slots { parts: now.into() });
        let notice =
            cloakroom_wire::Message { request_id: RequestId(0), body, later: Fields::NONE };
        (!now.is_empty()).then_some(notice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ballot::Ballot;
    use crate::id::{Boot, Epoch, Key, NodeId, OperationId, Slot, Value, Version};
    use crate::message::{Ask, Body, Found, Page, Reply};
    use crate::record::{Accepted, Floor, State};
    use crate::view::Seat;
    use alloc::vec;

    fn accepted(bytes: usize) -> Accepted {
        let ballot = Ballot { epoch: Epoch(3), round: 1, seat: Seat(2), boot: Boot(9) };
        let content = Some(Value::from(&vec![7; bytes][..]));
        Accepted {
            ballot,
            state: State { version: Version(4), content, operation: OperationId([1; 16]) },
        }
    }

    fn message(body: Body) -> Message {
        Message { slot: Slot(7), epoch: Epoch(3), body }
    }

    fn whole(messages: &[Message]) -> Vec<Message> {
        let mut parts = Vec::new();
        for message in messages {
            message.encode(&mut parts).unwrap();
        }
        let mut back = Vec::new();
        for notice in pack(&parts) {
            let mut bytes = Vec::new();
            notice.encode(&mut bytes).unwrap();
            let again = cloakroom_wire::Message::decode(&bytes).unwrap();
            let cloakroom_wire::Body::Notice(Notice::Slots { parts }) = again.body else {
                panic!()
            };
            back.extend(unpack(parts).unwrap());
        }
        back
    }

    #[test]
    fn answers_that_do_not_fit_into_a_message_are_split_between_keys() {
        let found = |key: u8| Reply::Held {
            key: Key::from(&[key][..]),
            ballot: Ballot::ZERO,
            found: Found { accepted: Some(accepted(60_000)), floor: Version(1) },
        };
        let replies: Vec<Reply> = (0..9).map(found).collect();
        let back = whole(&[message(Body::Reply(replies.clone()))]);
        assert!(back.len() >= 5, "{}", back.len());
        let heard = back.into_iter().flat_map(|message| match message.body {
            Body::Reply(replies) => replies,
            other => panic!("{other:?}"),
        });
        assert_eq!(heard.collect::<Vec<_>>(), replies);
    }

    #[test]
    fn the_largest_page_fits_into_a_message() {
        // 48 KiB are nearly full after 255 keys, and then the longest key with the longest value.
        let record = |at: u8| {
            let key = [&[at][..], &[0; 254]].concat();
            let bytes = if at == 255 { 65_536 } else { 0 };
            (Key::from(&key[..]), accepted(bytes))
        };
        let mut records: Vec<_> = (1..=192).map(record).collect();
        records.push(record(255));
        let floor = Floor { ballot: Ballot::ZERO, version: Version(0) };
        let after = Some(Key::from(&[0; 255][..]));
        let page = Page { source: Epoch(3), after, records, floor, is_last: false };
        let sent = [message(Body::Page(page))];
        assert_eq!(whole(&sent), sent);
    }

    #[test]
    fn many_slots_travel_in_one_notice_and_too_many_in_several() {
        let of_slot = |slot| Message { slot: Slot(slot), ..message(Body::AreYouActive) };
        let many: Vec<Message> = (0..3000).map(of_slot).collect();
        let mut parts = Vec::new();
        for message in &many {
            message.encode(&mut parts).unwrap();
        }
        assert_eq!(pack(&parts).count(), 3);
        assert_eq!(whole(&many), many);
    }

    #[test]
    fn what_no_peer_would_take_is_not_written() {
        let read = |key: &[u8]| Ask::Read { key: Key::from(key), ballot: Ballot::ZERO };
        let mut parts = Vec::new();
        let long = message(Body::Ask(vec![read(b"a"), read(&[0; 256])]));
        assert!(long.encode(&mut parts).is_err() && parts.is_empty());
        let member =
            crate::id::Member { node: NodeId([1; 32]), incarnation: crate::id::Incarnation(0) };
        let other = crate::view::View::new(Slot(8), Epoch(3), &[member]).unwrap();
        assert!(message(Body::Newer(other)).encode(&mut parts).is_err() && parts.is_empty());
    }
}
