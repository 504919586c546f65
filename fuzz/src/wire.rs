//! The targets of the wire format: WIRE-1 to WIRE-4.

use cloakroom_wire::{
    Answer, Body, Class, ErrorCode, Fault, FrameError, FrameReader, Header, Message, OwnedBody,
    OwnedMessage, Renewal, VERSION, split_frame,
};

use crate::choices::Choices;
use crate::{messages, newer, reference};

/// Both decoders agree on what a message is and what it says; an error lies within the bytes.
///
/// # Panics
/// When they do not.
pub fn decode(bytes: &[u8]) {
    let ours = Message::decode(bytes);
    if let Err(error) = ours {
        assert!(error.offset <= bytes.len(), "WIRE-2: {error}");
        assert!(!error.to_string().is_empty());
        if let Some(answer) = error.answer(bytes) {
            // What is answered to rubbish must not be rubbish.
            assert_eq!(again(&encoded(&answer)), answer);
        }
    }
    let ours = ours.ok().map(|message| (message.to_owned(), message.later.as_bytes().to_vec()));
    assert_eq!(ours, reference::decode(bytes), "WIRE-1, WIRE-3: ours, and by the grammar");
}

/// What was decoded has one encoding, borrowed and owned; so has an answer to who asks for a certificate.
///
/// # Panics
/// When it has another.
pub fn canonical(bytes: &[u8]) {
    if let Ok(renewal) = Renewal::decode(bytes) {
        assert_eq!(renewal.encode().as_deref(), Ok(bytes), "WIRE-1: an answer of section 9");
    }
    let Ok(message) = Message::decode(bytes) else { return };
    let mut written = Vec::new();
    message.encode(&mut written).expect("it was decoded");
    assert_eq!(written, bytes, "WIRE-1: decoded, then encoded");
    if message.later.is_empty() {
        assert_eq!(encoded(&message.to_owned()), bytes, "WIRE-1: decoded, kept, then encoded");
    }
}

/// A message comes back from its bytes, by both decoders. A shorter front of them is none, or another;
/// and with one field damaged, its length right, both decoders still agree.
///
/// # Panics
/// When it does not, or they do not.
pub fn round_trip(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let message = messages::message(&mut choices);
    let bytes = encoded(&message);
    assert_eq!(again(&bytes), message, "WIRE-1: encoded, then decoded");
    assert_eq!(reference::decode(&bytes), Some((message.clone(), vec![])), "by the grammar");
    let cut = u16::from_be_bytes(choices.array());
    let cut = &bytes[..usize::from(cut) % bytes.len()];
    assert_ne!(reference::decode(cut).map(|(message, _)| message), Some(message));
    decode(cut);
    if let Some(damaged) = damaged(&bytes, &mut choices) {
        decode(&damaged);
        canonical(&damaged);
    }
}

/// The message with one of its fields cut, longer, gone, doubled, out of place or under another tag;
/// all lengths are right. Blind damage seldom gets so far.
fn damaged(bytes: &[u8], choices: &mut Choices<'_>) -> Option<Vec<u8>> {
    let (header, fields) = bytes.split_at(10);
    let mut fields = reference::fields(fields)?;
    let at = choices.below(fields.len().max(1));
    let (tag, content) = fields.get_mut(at)?;
    match choices.below(6) {
        0 => content.truncate(content.len().saturating_sub(choices.below(90))),
        1 => content.extend(choices.bytes(90)),
        2 => {
            fields.remove(at);
        }
        3 => {
            let field = (*tag, content.clone());
            fields.insert(at, field);
        }
        4 => {
            let other = choices.below(fields.len());
            fields.swap(at, other);
        }
        _ => *tag = choices.byte(),
    }
    Some([header, &newer::bytes(&fields)].concat())
}

/// Whatever comes out of a stream, messages or an error, does not depend on where it was cut.
///
/// # Panics
/// When it does.
pub fn stream(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let cuts: Vec<usize> =
        (0..choices.below(12)).map(|_| usize::from(choices.byte()) * 3 + 1).collect();
    let mut stream = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..choices.below(4) {
        let message = messages::message(&mut choices);
        message.borrow().encode_frame(&mut stream).expect("within the limits");
        sent.push(encoded(&message));
    }
    // Behind them whatever is left: frames, or rubbish.
    stream.extend_from_slice(choices.rest());
    let whole = drain(&mut FrameReader::new(), std::iter::once(&stream[..]));
    let mut pieces = Vec::new();
    let mut rest = &stream[..];
    for length in cuts.iter().cycle().take(stream.len() * usize::from(!cuts.is_empty())) {
        let (piece, behind) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    let cut = drain(&mut FrameReader::new(), pieces.into_iter());
    assert_eq!(cut, whole, "WIRE-4: cut, and in one piece");
    assert_eq!(split(&stream), whole, "WIRE-4: by reader, and by hand");
    assert!(whole.0.starts_with(&sent), "WIRE-4: what was sent comes first");
}

type Drained = (Vec<Vec<u8>>, Option<FrameError>);

fn drain<'a>(reader: &mut FrameReader, pieces: impl Iterator<Item = &'a [u8]>) -> Drained {
    let mut messages = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        // WIRE-2: one unfinished frame at most.
        assert!(reader.waiting() < 4 + 131_072, "WIRE-2: {} bytes wait", reader.waiting());
    }
    (messages, None)
}

/// The same without a reader.
fn split(stream: &[u8]) -> Drained {
    let mut messages = Vec::new();
    let mut rest = stream;
    loop {
        match split_frame(rest) {
            Ok(Some((message, behind))) => {
                messages.push(message.to_vec());
                rest = behind;
            }
            Ok(None) => return (messages, None),
            Err(error) => {
                let offset = u64::try_from(stream.len() - rest.len()).expect("small");
                return (messages, Some(FrameError { offset, ..error }));
            }
        }
    }
}

/// A newer node's fields and kinds: skipped, or refused by the rule; never misread. Another version is
/// refused as a whole.
///
/// # Panics
/// When they are not.
pub fn versions(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let added = messages::added(&mut choices);
    let kind = choices.byte();
    let newer = newer::of_kind(kind, choices.number(), &added);
    let header = Header::peek(&newer).expect("ten bytes");
    let asks = header.kind.class() == Class::Request;
    if header.kind.name().is_none() {
        let message = Message::decode(&newer).expect("WIRE-3: an unknown kind is no error");
        assert_eq!(message.header(), header);
        let error = Message::receive(&newer).expect_err("WIRE-3: but nobody can act on it");
        assert_eq!(error.code(), ErrorCode::KIND, "WIRE-3: why");
        assert_eq!(error.answer(&newer).is_some(), asks, "WIRE-3: who is answered");
        canonical(&newer);
    }
    let message = messages::message(&mut choices);
    of_another_version(encoded(&message), choices.byte());
    if matches!(message.body, OwnedBody::Unknown { .. }) {
        return;
    }
    let highest = newer::highest(message.borrow().kind());
    let newer = newer::with(&encoded(&message), highest, &added);
    let decoded = Message::decode(&newer);
    if let Some((tag, _)) = added.iter().find(|(tag, _)| *tag > highest && tag % 2 == 1) {
        let error = decoded.expect_err("WIRE-3: an odd tag must be understood");
        let expected = (Fault::Required { got: *tag }, ErrorCode::FIELD);
        assert_eq!((error.fault, error.code()), expected, "WIRE-3: why");
    } else {
        let decoded = decoded.expect("WIRE-3: even tags are skipped");
        assert_eq!(decoded.to_owned(), message, "WIRE-3: the known part");
        let kept = decoded.later.iter().map(|(tag, bytes)| (tag, bytes.to_vec()));
        assert!(kept.eq(added.into_iter().filter(|(tag, _)| *tag > highest)), "WIRE-3: kept");
    }
    decode(&newer);
    canonical(&newer);
}

/// Nothing after the header of another version is read, whatever it says, and only who asks is told.
fn of_another_version(mut bytes: Vec<u8>, version: u8) {
    if version == VERSION {
        return;
    }
    bytes[0] = version;
    let error = Message::decode(&bytes).expect_err("WIRE-3: another version is refused");
    let expected = Fault::Version { expected: VERSION, got: version }.at(0);
    assert_eq!((error, error.code()), (expected, ErrorCode::VERSION), "WIRE-3: why");
    let header = Header::peek(&bytes).expect("ten bytes");
    let refusal = header.refusal(error.code(), "");
    let asks = header.kind.class() == Class::Request;
    assert_eq!(refusal.is_some(), asks, "WIRE-3: who is answered");
    if let Some(refusal) = refusal {
        let Body::Answer(Answer::Error { code, .. }) = refusal.body else { panic!("{refusal:?}") };
        assert_eq!((code, refusal.request_id), (ErrorCode::VERSION, header.request_id), "WIRE-3");
        // In our version: an older node need not know a newer one's errors.
        assert_eq!(encoded(&refusal.to_owned())[0], VERSION, "WIRE-3: how it is answered");
    }
}

fn encoded(message: &OwnedMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.borrow().encode(&mut bytes).expect("within the limits");
    bytes
}

fn again(bytes: &[u8]) -> OwnedMessage {
    Message::decode(bytes).expect("WIRE-1: the encoder writes what the decoder takes").to_owned()
}
