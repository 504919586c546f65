//! The test vectors of `specs/vectors/wire.json`, which are there for other languages too, and the
//! examples of `specs/wire.md`.
//!
//! The vectors were written by a program of its own in another language, over the grammar. Here:
//!
//! * each message decodes to what stands beside it, and encodes to the very same bytes;
//! * each refused message is refused at the offset and for the reason that stand beside it, and
//!   answered as it says;
//! * each stream gives its messages, then its error;
//! * each answer to who asks for a certificate says what stands beside it, or is refused;
//! * each example of the page is a vector of the same name, and every kind has one.

use cloakroom_wire::{
    Answer, Body, Class, Contact, Content, DecodeError, Fault, Fields, FrameReader, Kind, Message,
    Notice, Record, Renewal, Request,
};
use serde_json::{Value, json};

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from_digit(digit.into(), 16).expect("below 16")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn read(path: &str) -> String {
    let path = format!("{}/../../specs/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

fn vectors(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(&read("vectors/wire.json")).expect("JSON");
    all[kind].as_array().expect("a list").clone()
}

fn contact(contact: Contact) -> Value {
    let address = contact.address.to_string();
    json!({ "id": hex(&contact.id.0), "key": hex(&contact.key.0), "address": address })
}

fn fields(fields: Fields<'_>) -> Value {
    fields.iter().map(|(tag, bytes)| json!({ "tag": tag, "hex": hex(bytes) })).collect()
}

fn record(record: &Record<'_>) -> Value {
    let value = match record.content {
        Content::Value(bytes) => json!(hex(bytes)),
        Content::Tombstone => Value::Null,
    };
    json!({
        "key": hex(&record.key.0),
        "origin": hex(&record.origin.0),
        "sequence": record.sequence.to_string(),
        "expires_in_ms": record.expires_in_ms.to_string(),
        "value": value,
        "later": fields(record.later),
    })
}

/// The message as the vectors have it: 64-bit numbers as text, bytes as hex.
fn told(message: &Message<'_>) -> Value {
    let mut told = match message.body {
        Body::Request { from, request } => {
            let mut told = match request {
                Request::Ping => json!({}),
                Request::FindNode { target } => json!({ "target": hex(&target.0) }),
                Request::FindValue { key } => json!({ "key": hex(&key.0) }),
                Request::Store { purpose, record: it } => {
                    json!({ "purpose": purpose.0, "record": record(&it) })
                }
            };
            told["from"] = from.map_or(Value::Null, contact);
            told
        }
        Body::Notice(Notice::Slots { parts }) => {
            json!({ "parts": parts.iter().map(|part| json!(hex(part))).collect::<Value>() })
        }
        Body::Answer(answer) => match answer {
            Answer::Pong => json!({}),
            Answer::Nodes { contacts } => {
                json!({ "contacts": contacts.iter().map(contact).collect::<Value>() })
            }
            Answer::Found { records, contacts } => json!({
                "records": records.iter().map(|it| record(&it)).collect::<Value>(),
                "contacts": contacts.iter().map(contact).collect::<Value>(),
            }),
            Answer::Stored { status, held } => {
                json!({ "status": status.0, "held": held.map(|held| held.to_string()) })
            }
            Answer::Error { code, detail } => json!({ "code": code.0, "detail": detail }),
        },
        Body::Unknown(unknown) => {
            let class = match unknown.kind.class() {
                Class::Request => "request",
                Class::Notice => "notice",
                Class::Answer => "answer",
            };
            json!({ "class": class, "fields": fields(unknown.fields) })
        }
    };
    told["request_id"] = json!(message.request_id.0.to_string());
    if let Some(name) = message.kind().name() {
        told["kind"] = json!(name);
        told["later"] = fields(message.later);
    } else {
        told["kind"] = json!(message.kind().0);
    }
    told
}

fn word(error: &DecodeError) -> &'static str {
    match error.fault {
        Fault::Version { .. } => "version",
        Fault::Short { .. } => "short",
        Fault::Length { .. } => "length",
        Fault::TooMuch { .. } => "too_much",
        Fault::Field { .. } => "field",
        Fault::Order { .. } => "order",
        Fault::Required { .. } => "required",
        Fault::Family { .. } => "family",
        Fault::Mapped => "mapped",
        Fault::Text { .. } => "text",
        Fault::Choice { .. } => "choice",
        _ => "not in the vectors",
    }
}

#[test]
fn each_message_decodes_to_what_is_told_and_back_to_its_bytes() {
    let vectors = vectors("messages");
    for vector in &vectors {
        let (name, bytes) = (text(vector, "name"), bytes(text(vector, "hex")));
        let message = Message::decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(told(&message), vector["message"], "{name}");
        let mut again = Vec::new();
        message.encode(&mut again).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(hex(&again), text(vector, "hex"), "{name}");
    }
    for kind in (0..=255).map(Kind).filter_map(Kind::name) {
        let has = vectors.iter().any(|vector| vector["message"]["kind"] == kind);
        assert!(has, "no vector of kind {kind}");
    }
}

#[test]
fn each_refused_message_is_refused_where_and_why_it_says_and_answered() {
    let vectors = vectors("refused");
    for vector in &vectors {
        let (name, bytes) = (text(vector, "name"), bytes(text(vector, "hex")));
        let error = Message::decode(&bytes).expect_err(name);
        let got = (json!(error.offset), word(&error));
        assert_eq!(got, (vector["offset"].clone(), text(vector, "fault")), "{name}: {error}");
        assert_eq!(Message::receive(&bytes), Err(error), "{name}: nor does who acts on it take it");
        assert_eq!(answered(&error, &bytes), vector["answer"], "{name}");
    }
    assert!(vectors.len() >= 30, "{}", vectors.len());
}

/// The code with which bytes are refused, or nothing. The answer can be sent, and has their request's id.
fn answered(error: &DecodeError, bytes: &[u8]) -> Value {
    let Some(answer) = error.answer(bytes) else { return Value::Null };
    let mut sent = Vec::new();
    answer.borrow().encode(&mut sent).expect("within the limits");
    assert_eq!(sent[2..10], bytes[2..10], "{error}");
    let Body::Answer(Answer::Error { code, detail }) = answer.borrow().body else {
        panic!("{answer:?}")
    };
    assert_eq!(detail, error.to_string());
    json!(code.0)
}

#[test]
fn who_acts_on_messages_takes_all_but_unknown_kinds_and_answers_those_that_ask() {
    let mut unknown = 0;
    for vector in vectors("messages") {
        let (name, bytes) = (text(&vector, "name"), bytes(text(&vector, "hex")));
        let class = vector["message"]["class"].as_str();
        match (class, Message::receive(&bytes)) {
            (None, received) => assert_eq!(received, Message::decode(&bytes), "{name}"),
            (Some(class), Err(error)) => {
                let expected = if class == "request" { json!(2) } else { Value::Null };
                assert_eq!(answered(&error, &bytes), expected, "{name}");
                unknown += 1;
            }
            (Some(_), Ok(message)) => panic!("{name}: {message:?}"),
        }
    }
    assert!(unknown >= 4, "{unknown}");
}

#[test]
fn errors_say_offset_expected_and_got() {
    let said = |name: &str| {
        let vectors = vectors("refused");
        let vector = vectors.iter().find(|vector| text(vector, "name") == name).expect(name);
        Message::decode(&bytes(text(vector, "hex"))).expect_err(name).to_string()
    };
    assert_eq!(said("version-2"), "byte 0: expected version 1, got 2");
    assert_eq!(said("header-cut"), "byte 0: expected 10 more bytes, got 9");
    assert_eq!(said("target-missing"), "byte 10: expected field 2, got the end");
    assert_eq!(said("target-too-short"), "byte 14: expected a length of 32, got 31");
    assert_eq!(said("target-twice"), "byte 46: expected a field above 2, got field 2");
    assert_eq!(said("family-5"), "byte 78: expected address family 4 or 6, got 5");
    assert_eq!(said("contacts-65"), "byte 4558: contacts in a list: expected at most 64, got 65");
    assert_eq!(
        said("odd-field-unknown"),
        "byte 10: expected a known field or an even tag, got field 3"
    );
    assert_eq!(said("detail-not-utf8"), "byte 22: expected UTF-8, got byte 255");
}

#[test]
fn each_stream_gives_its_messages_then_its_error() {
    for vector in vectors("streams") {
        let (name, stream) = (text(&vector, "name"), bytes(text(&vector, "hex")));
        for piece in [1, 5, stream.len()] {
            let (mut reader, mut messages, mut error) = (FrameReader::new(), vec![], Value::Null);
            for piece in stream.chunks(piece) {
                reader.push(piece);
                loop {
                    match reader.next_frame() {
                        Ok(Some(message)) => messages.push(json!(hex(message))),
                        Ok(None) => break,
                        Err(refused) => {
                            error = json!(refused.offset);
                            break;
                        }
                    }
                }
            }
            assert_eq!(
                (json!(messages), error),
                (vector["messages"].clone(), vector["error_at"].clone()),
                "{name}"
            );
        }
    }
}

#[test]
fn each_answer_to_who_asks_for_a_certificate_says_what_is_told_or_is_refused() {
    let vectors = vectors("renewals");
    for vector in &vectors {
        let (name, bytes) = (text(vector, "name"), bytes(text(vector, "hex")));
        match Renewal::decode(&bytes) {
            Ok(renewal) => {
                let told = match renewal {
                    Renewal::Renewed(certificate) => json!({ "renewed": hex(certificate) }),
                    Renewal::NotHere => json!({ "not_here": null }),
                    Renewal::Refused(why) => json!({ "refused": why }),
                };
                assert_eq!(told, vector["told"], "{name}");
                assert_eq!(renewal.encode().as_ref(), Ok(&bytes), "{name}");
            }
            Err(error) => {
                let got = (json!(error.offset), word(&error));
                assert_eq!(got, (vector["offset"].clone(), text(vector, "fault")), "{name}");
            }
        }
    }
    assert!(vectors.len() >= 10, "{}", vectors.len());
}

/// A block of the page is ```` ```hex NAME ````, then bytes in hex with notes behind `;`.
#[test]
fn each_example_of_the_page_is_a_vector() {
    let page = read("wire.md");
    let vectors: Vec<Value> = vectors("messages").into_iter().chain(vectors("refused")).collect();
    let mut examples = 0;
    for block in page.split("```hex ").skip(1) {
        let (name, rest) = block.split_once('\n').expect("a name");
        let (block, _) = rest.split_once("```").expect("an end");
        let digits: String = block
            .lines()
            .filter_map(|line| line.split(';').next())
            .flat_map(|bytes| bytes.split_whitespace())
            .collect();
        let vector = vectors.iter().find(|vector| text(vector, "name") == name);
        let vector = vector.unwrap_or_else(|| panic!("wire.md: no vector is named {name}"));
        assert_eq!(digits, text(vector, "hex"), "wire.md: {name}");
        examples += 1;
    }
    assert!(examples >= 8, "wire.md: {examples} examples");
}
