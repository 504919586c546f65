//! Random messages and random damage: WIRE-1 to WIRE-4.
//!
//! SAMPLED: proptest's cases, with a seed that `PROPTEST_RNG_SEED` chooses.
//!
//! * whatever decodes encodes to the very same bytes, from the borrowed and from the owned form;
//! * whatever encodes decodes to the same message, and an encoder that refuses has written nothing;
//! * damaged messages never panic, and an error's offset lies within them;
//! * a newer node's fields and kinds do not change what the known ones say;
//! * a stream gives the same messages wherever it is cut.

mod newer;
mod strategies;

use cloakroom_wire::{
    Body, Class, ErrorCode, Fault, Fields, FrameReader, Header, MAX_CONTACTS, MAX_DETAIL_BYTES,
    MAX_MESSAGE_BYTES, MAX_RECORDS, MAX_VALUE_BYTES, Message, NodeId, OwnedAnswer, OwnedBody,
    OwnedContent, OwnedMessage, OwnedRecord, OwnedRequest, RecordKey, RequestId, StorePurpose,
};
use proptest::prelude::*;
use proptest::sample::Index;
use strategies::{contact, fields, message, record};

fn encoded(message: &OwnedMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.borrow().encode(&mut bytes).expect("a message within the limits");
    bytes
}

/// WIRE-1 of bytes that may be anything.
fn has_one_encoding(bytes: &[u8]) -> Result<(), TestCaseError> {
    match Message::decode(bytes) {
        Err(error) => prop_assert!(error.offset <= bytes.len(), "{error}"),
        Ok(message) => {
            let mut again = Vec::new();
            message.encode(&mut again).expect("it was decoded");
            prop_assert_eq!(&again, bytes);
            if message.later.is_empty() {
                prop_assert_eq!(&encoded(&message.to_owned()), bytes);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_message_comes_back_from_its_bytes(message in message()) {
        let bytes = encoded(&message);
        let decoded = Message::decode(&bytes).expect("the encoder writes what the decoder takes");
        prop_assert_eq!(decoded, message.borrow());
        prop_assert_eq!(Header::peek(&bytes), Some(message.borrow().header()));
        prop_assert_eq!(decoded.to_owned(), message);
        has_one_encoding(&bytes)?;
    }

    #[test]
    fn a_message_cut_short_or_with_bytes_behind_is_none_or_another(
        message in message(), cut in any::<Index>(), behind in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let mut bytes = encoded(&message);
        let cut = &bytes[..cut.index(bytes.len())];
        // A cut may fall between a request's fields and an optional last one.
        prop_assert_ne!(Message::decode(cut).map(|message| message.to_owned()).ok(), Some(message.clone()));
        has_one_encoding(cut)?;
        bytes.extend(behind);
        has_one_encoding(&bytes)?;
    }

    #[test]
    fn damage_never_panics_and_never_makes_a_second_encoding(
        message in message(), damage in prop::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let mut bytes = encoded(&message);
        for (at, byte, how) in damage {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.insert(at, byte),
                _ => bytes.truncate(at + 1),
            }
            has_one_encoding(&bytes)?;
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error_with_its_place(
        kind in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        has_one_encoding(&bytes)?;
        has_one_encoding(&[&[1, kind], &bytes[..]].concat())?;
    }

    #[test]
    fn what_a_newer_node_adds_changes_nothing_that_is_known(
        message in message(), added in fields(),
    ) {
        // WIRE-3: even tags behind the known ones are skipped, odd ones refused.
        let known = encoded(&message);
        prop_assume!(!matches!(message.body, OwnedBody::Unknown { .. }));
        let highest = newer::highest(message.borrow().kind());
        let newer = newer::with(&known, highest, &added);
        let decoded = Message::decode(&newer);
        if let Some((tag, _)) = added.iter().find(|(tag, _)| tag % 2 == 1 && *tag > highest) {
            let fault = decoded.expect_err("an odd tag must be understood").fault;
            prop_assert_eq!(fault, Fault::Required { got: *tag });
        } else {
            let decoded = decoded.expect("even tags are skipped");
            prop_assert_eq!(decoded.to_owned(), message);
            let kept: Vec<_> = decoded.later.iter().collect();
            let added: Vec<_> = added.iter().filter(|(tag, _)| *tag > highest)
                .map(|(tag, bytes)| (*tag, &bytes[..])).collect();
            prop_assert_eq!(kept, added);
        }
        has_one_encoding(&newer)?;
    }

    #[test]
    fn a_kind_of_a_newer_node_is_read_and_refused_by_its_class(
        kind in any::<u8>(), id in any::<u64>(), added in fields(),
    ) {
        let bytes = newer::of_kind(kind, id, &added);
        has_one_encoding(&bytes)?;
        let header = Header::peek(&bytes).expect("a header");
        let refusal = header.refusal(ErrorCode::KIND, "unknown");
        prop_assert_eq!(refusal.is_some(), header.kind.class() == Class::Request);
        prop_assert!(refusal.is_none_or(|refusal| refusal.request_id.0 == id));
        if header.kind.name().is_none() {
            let message = Message::decode(&bytes).expect("whole fields in order");
            prop_assert_eq!(message.kind().0, kind);
            prop_assert!(matches!(message.body, Body::Unknown(_)));
        }
    }

    #[test]
    fn a_stream_gives_the_same_messages_wherever_it_is_cut(
        messages in prop::collection::vec(message(), 0..6),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        for message in &messages {
            message.borrow().encode_frame(&mut stream).expect("within the limits");
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let (mut reader, mut got) = (FrameReader::new(), Vec::new());
        for piece in cuts.windows(2) {
            reader.push(&stream[piece[0]..piece[1]]);
            while let Some(bytes) = reader.next_frame().expect("right lengths") {
                got.push(Message::decode(bytes).expect("whole messages").to_owned());
            }
        }
        prop_assert_eq!(reader.waiting(), 0);
        prop_assert_eq!(got, messages);
    }

    #[test]
    fn what_a_peer_would_refuse_is_not_written(
        contact in contact(), record in record(), over in 0..2_usize, front in 0..3_usize,
    ) {
        let answer = |answer| OwnedBody::Answer(answer);
        let request = |request| OwnedBody::Request { from: Some(contact), request };
        let mut record = record;
        record.content = OwnedContent::Value(vec![7; MAX_VALUE_BYTES + over].into());
        let purpose = StorePurpose::REPLICA;
        let code = ErrorCode::BUSY;
        let bodies = [
            answer(OwnedAnswer::Nodes { contacts: vec![contact; MAX_CONTACTS + over] }),
            answer(OwnedAnswer::Error { code, detail: "x".repeat(MAX_DETAIL_BYTES + over) }),
            request(OwnedRequest::Store { purpose, record: record.clone() }),
            answer(OwnedAnswer::Found {
                records: vec![tombstone(&record); MAX_RECORDS + over],
                contacts: vec![],
            }),
        ];
        for body in bodies {
            let message = OwnedMessage { request_id: RequestId(1), body };
            let mut bytes = vec![9; front];
            let mut framed = bytes.clone();
            let written = message.borrow().encode(&mut bytes);
            prop_assert_eq!(message.borrow().encode_frame(&mut framed), written);
            prop_assert_eq!(written.is_ok(), over == 0, "{:?}", written);
            if over == 0 {
                prop_assert_eq!(Message::decode(&bytes[front..]).map(|it| it.to_owned()), Ok(message));
                prop_assert_eq!(&framed[front + 4..], &bytes[front..]);
            } else {
                prop_assert_eq!((bytes.len(), framed.len()), (front, front));
            }
        }
    }
}

/// A small record, so that only the number of records is too much.
fn tombstone(record: &OwnedRecord) -> OwnedRecord {
    let later = Fields::NONE.to_owned();
    OwnedRecord { content: OwnedContent::Tombstone, later, ..record.clone() }
}

#[test]
fn a_message_of_many_large_records_is_refused_as_a_whole() {
    let record = OwnedRecord {
        key: RecordKey([1; 32]),
        origin: NodeId([2; 32]),
        sequence: 1,
        expires_in_ms: 1,
        content: OwnedContent::Value(vec![0; MAX_VALUE_BYTES].into()),
        later: Fields::NONE.to_owned(),
    };
    let found = OwnedAnswer::Found { records: vec![record.clone(), record], contacts: vec![] };
    let message = OwnedMessage { request_id: RequestId(1), body: OwnedBody::Answer(found) };
    let mut bytes = Vec::new();
    let error = message.borrow().encode(&mut bytes).unwrap_err();
    assert!(error.to_string().starts_with("bytes of a message: expected at most 131072, got 131"));
    assert!(bytes.is_empty());
    let long = vec![1; MAX_MESSAGE_BYTES + 1];
    assert_eq!(Message::decode(&long).unwrap_err().offset, 0);
}
