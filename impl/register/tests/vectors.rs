//! The parts of `specs/vectors/wire.json`, which another program wrote over the page's grammar, and
//! random messages with random damage: WIRE-1, WIRE-2, WIRE-3.
//!
//! * each part says what stands beside it, and encodes to the very same bytes;
//! * each that is none is refused where and why it says;
//! * whatever decodes, damaged or not, encodes to the very same bytes; whatever encodes decodes.

use cloakroom_register::{
    Accepted, Ask, Ballot, Body, Call, Called, Collect, DecreeAsk, DecreeReply, Expected,
    Forwarded, Found, Held, Key, Message, Outcome, Reply, Start, State, Told, View,
};
use cloakroom_wire::{DecodeError, Fault};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from_digit(digit.into(), 16).expect("below 16")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn vectors(kind: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/vectors/wire.json");
    let all: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect(path)).expect("JSON");
    all[kind].as_array().expect("a list").clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn key(key: &Key) -> Value {
    json!(hex(&key.0))
}

fn ballot(it: &Ballot) -> Value {
    json!({ "epoch": it.epoch.0, "round": it.round, "seat": it.seat.0, "boot": it.boot.0 })
}

fn view(view: &View) -> Value {
    let members = view.members().iter().map(|member| {
        json!({ "node": hex(&member.node.0), "incarnation": member.incarnation.0.to_string() })
    });
    json!({ "epoch": view.epoch().0, "members": members.collect::<Value>() })
}

fn state(state: &State) -> Value {
    json!({
        "version": state.version.0.to_string(),
        "operation": hex(&state.operation.0),
        "content": state.content.as_ref().map(|value| hex(&value.0)),
    })
}

fn accepted(accepted: &Accepted) -> Value {
    json!({ "ballot": ballot(&accepted.ballot), "state": state(&accepted.state) })
}

fn found(found: &Found) -> Value {
    json!({ "floor": found.floor.0.to_string(), "accepted": found.accepted.as_ref().map(accepted) })
}

fn item(one: &str, name: &Key, it: &Ballot) -> Value {
    json!({ "one": one, "key": key(name), "ballot": ballot(it) })
}

fn with(mut item: Value, name: &str, it: Value) -> Value {
    item[name] = it;
    item
}

fn ask(ask: &Ask) -> Value {
    match ask {
        Ask::Read { key, ballot } => item("ask-read", key, ballot),
        Ask::Prepare { key, ballot } => item("ask-prepare", key, ballot),
        Ask::Accept { key, ballot: it, state: made, next } => {
            let item = with(item("ask-accept", key, it), "state", state(made));
            with(item, "next", json!(next.as_ref().map(ballot)))
        }
    }
}

fn reply(reply: &Reply) -> Value {
    match reply {
        Reply::Held { key, ballot, found: has } => {
            with(item("reply-held", key, ballot), "found", found(has))
        }
        Reply::Promised { key, ballot, found: has } => {
            with(item("reply-promised", key, ballot), "found", found(has))
        }
        Reply::Accepted { key, ballot: it, next } => {
            with(item("reply-accepted", key, it), "next", json!(next.as_ref().map(ballot)))
        }
        Reply::Refused { key, ballot: it, promise } => {
            with(item("reply-refused", key, it), "promise", ballot(promise))
        }
    }
}

fn collect(ask: &Collect) -> Value {
    match ask {
        Collect::Check { key, tombstone, version } => {
            with(item("collect-check", key, tombstone), "version", json!(version.0.to_string()))
        }
        Collect::Drop { key, tombstone } => item("collect-drop", key, tombstone),
    }
}

fn decreed(reply: &DecreeReply) -> Value {
    match reply {
        DecreeReply::Promised(it, has) => {
            let has =
                has.as_ref().map(|(it, next)| json!({ "ballot": ballot(it), "view": view(next) }));
            json!({ "one": "promised", "ballot": ballot(it), "has": has })
        }
        DecreeReply::Accepted(it) => json!({ "one": "accepted", "ballot": ballot(it) }),
        DecreeReply::Refused(it, promise) => {
            json!({ "one": "refused", "ballot": ballot(it), "promise": ballot(promise) })
        }
    }
}

fn start(start: &Start) -> Value {
    json!({ "incarnation": start.incarnation.0.to_string(), "boot": start.boot.0 })
}

fn held(held: &Held) -> Value {
    json!({ "version": held.version.0.to_string(), "value": hex(&held.value.0) })
}

fn forwarded(it: &Forwarded) -> Value {
    let operation = &it.operation;
    let mut told = json!({
        "to": it.to.as_ref().map(start),
        "from": start(&it.from),
        "number": it.number.to_string(),
        "patience_ms": it.patience_ms,
        "operation": hex(&operation.id.0),
        "key": key(&operation.key),
        "bound": operation.bound.map(|bound| bound.0.to_string()),
        "one": "get",
    });
    if let Call::CompareAndSet { expected, new } = &operation.call {
        told["one"] = json!("compare-and-set");
        told["expected"] = match expected {
            Expected::Absent => json!("absent"),
            Expected::Value(value) => json!({ "value": hex(&value.0) }),
            Expected::Version(version) => json!({ "version": version.0.to_string() }),
        };
        told["new"] = json!(new.as_ref().map(|new| hex(&new.0)));
    }
    told
}

fn called(it: &Called) -> Value {
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Got(it) => json!({ "one": "got", "held": it.as_ref().map(held) }),
        Outcome::Set(it) => json!({ "one": "set", "version": it.0.to_string() }),
        Outcome::Mismatch(it) => json!({ "one": "mismatch", "held": it.as_ref().map(held) }),
        Outcome::Unavailable => json!({ "one": "unavailable" }),
        Outcome::Unknown(it) => json!({ "one": "unknown", "version": it.0.to_string() }),
    };
    let told = match &it.told {
        Told::Ended(it) => json!({ "ended": outcome(it) }),
        Told::Elsewhere(it) => json!({ "elsewhere": view(it) }),
        Told::Start(it) => json!({ "start": start(it) }),
    };
    json!({ "to": start(&it.to), "number": it.number.to_string(), "told": told })
}

/// The message as the vectors have it.
fn told(message: &Message) -> Value {
    let (says, it) = match &message.body {
        Body::Ask(asks) => ("ask", asks.iter().map(ask).collect()),
        Body::Reply(replies) => ("reply", replies.iter().map(reply).collect()),
        Body::Newer(next) => ("newer", view(next)),
        Body::Decree(DecreeAsk::Prepare(it)) => {
            ("decree", json!({ "one": "prepare", "ballot": ballot(it) }))
        }
        Body::Decree(DecreeAsk::Accept(it, next)) => {
            ("decree", json!({ "one": "accept", "ballot": ballot(it), "view": view(next) }))
        }
        Body::Decreed(reply) => ("decreed", decreed(reply)),
        Body::Decided { previous, next } => {
            ("decided", json!({ "previous": view(previous), "next": view(next) }))
        }
        Body::Pull { next, after } => {
            ("pull", json!({ "next": view(next), "after": after.as_ref().map(key) }))
        }
        Body::Copy { after } => ("copy", json!({ "after": after.as_ref().map(key) })),
        Body::Page(page) => {
            let record = |(name, has): &(Key, Accepted)| with(accepted(has), "key", key(name));
            let floor = json!({
                "ballot": ballot(&page.floor.ballot),
                "version": page.floor.version.0.to_string(),
            });
            let it = json!({
                "source": page.source.0,
                "after": page.after.as_ref().map(key),
                "floor": floor,
                "is_last": page.is_last,
                "records": page.records.iter().map(record).collect::<Value>(),
            });
            ("page", it)
        }
        Body::AreYouActive => ("are-you-active", Value::Null),
        Body::IsActive => ("is-active", Value::Null),
        Body::Collect(asks) => ("collect", asks.iter().map(collect).collect()),
        Body::Agreed(agreed) => {
            let one =
                |(name, it): &(Key, Ballot)| json!({ "key": key(name), "ballot": ballot(it) });
            ("agreed", agreed.iter().map(one).collect())
        }
        Body::Call(it) => ("call", forwarded(it)),
        Body::Called(it) => ("called", called(it)),
        Body::Start(it) => ("start", start(it)),
    };
    json!({ "slot": message.slot.0, "epoch": message.epoch.0, "says": says, "it": it })
}

fn word(error: &DecodeError) -> &'static str {
    match error.fault {
        Fault::Short { .. } => "short",
        Fault::Length { .. } => "length",
        Fault::TooMuch { .. } => "too_much",
        Fault::Choice { .. } => "choice",
        Fault::Sense { .. } => "sense",
        _ => "not in the vectors",
    }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut parts = Vec::new();
    message.encode(&mut parts).expect("within the limits");
    let [part] = &parts[..] else { panic!("expected one part, got {}", parts.len()) };
    part.clone()
}

#[test]
fn each_part_says_what_is_told_and_encodes_to_its_bytes() {
    let parts = vectors("parts");
    for vector in &parts {
        let (name, bytes) = (text(vector, "name"), bytes(text(vector, "hex")));
        let decoded = Message::decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(json!(decoded.as_ref().map(told)), vector["told"], "{name}");
        if let Some(message) = decoded {
            assert_eq!(hex(&encoded(&message)), text(vector, "hex"), "{name}");
        }
    }
    assert!(parts.len() >= 20, "{}", parts.len());
}

#[test]
fn each_part_that_is_none_is_refused_where_and_why_it_says() {
    for vector in vectors("no_parts") {
        let (name, bytes) = (text(&vector, "name"), bytes(text(&vector, "hex")));
        let error = Message::decode(&bytes).expect_err(name);
        let got = (json!(error.offset), word(&error));
        assert_eq!(got, (vector["offset"].clone(), text(&vector, "fault")), "{name}: {error}");
    }
}

#[test]
fn errors_say_what_stands_where_something_else_would_make_sense() {
    let said = |name: &str| {
        let vectors = vectors("no_parts");
        let vector = vectors.iter().find(|vector| text(vector, "name") == name).expect(name);
        let error = Message::decode(&bytes(text(vector, "hex"))).expect_err(name).to_string();
        error.split_once(": ").expect("behind its place").1.to_owned()
    };
    assert_eq!(said("seat-15"), "expected a seat below 15, got 15");
    assert_eq!(said("view-of-sixteen"), "expected 1 to 15 members, got 16");
    assert_eq!(said("view-of-nobody"), "expected 1 to 15 members, all different nodes, got none");
    assert_eq!(
        said("view-with-a-node-twice"),
        "expected 1 to 15 members, all different nodes, got a node twice"
    );
    assert_eq!(
        said("page-with-a-key-twice"),
        "expected keys in ascending order, got one that is not above the one before"
    );
}

/// WIRE-1 of bytes that may be anything.
fn has_one_encoding(part: &[u8]) -> Result<(), TestCaseError> {
    match Message::decode(part) {
        Err(error) => prop_assert!(error.offset <= part.len(), "{error}"),
        Ok(Some(message)) => prop_assert_eq!(hex(&encoded(&message)), hex(part)),
        Ok(None) => prop_assert!(part[6] > 15),
    }
    Ok(())
}

proptest! {
    #[test]
    fn damage_never_panics_and_never_makes_a_second_encoding(
        which in any::<Index>(),
        damage in prop::collection::vec((any::<Index>(), any::<u8>(), 0..5_u8), 0..5),
    ) {
        let parts = vectors("parts");
        let mut part = bytes(text(&parts[which.index(parts.len())], "hex"));
        for (at, byte, how) in damage {
            let at = at.index(part.len());
            match how {
                0 => part[at] = byte,
                1 => part[at] ^= 1 << (byte % 8),
                2 => part.insert(at, byte),
                3 => part[at] = byte % 3,
                _ => part.truncate(at + 1),
            }
            has_one_encoding(&part)?;
        }
    }

    #[test]
    fn any_bytes_are_a_part_or_an_error_with_its_place(
        says in 0..17_u8, rest in prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..120),
    ) {
        has_one_encoding(&rest)?;
        has_one_encoding(&[&[0, 7, 0, 0, 0, 3, says], &rest[..]].concat())?;
    }
}
