//! Operations that are run by another node, and what becomes of them: the fixed layout of
//! `specs/wire.md`, section 8.
//!
//! Invariants:
//! * WIRE-1: one form for each, and all of it is read by whoever calls this;
//! * WIRE-2: what does not fit into a notice is refused when it is written, never cut.
//!
//! What it does not do: split. One operation is one part.

use alloc::boxed::Box;
use alloc::vec::Vec;

use cloakroom_wire::{DecodeError, EncodeError, Fixed, Limit, fixed::put_value};

use super::read::{key as read_key, option as read_option, view as read_view};
use super::write::{choose, key, option, view};
use crate::forward::{Called, Forwarded, Start, Told};
use crate::id::{Boot, Incarnation, OperationId, Slot, Value, Version};
use crate::message::Body;
use crate::operation::{Call, Expected, Held, Operation, Outcome};

type Read<T> = Result<T, DecodeError>;
type Written = Result<(), EncodeError>;

pub(super) fn write_call(to: &mut Vec<u8>, most: usize, it: &Forwarded) -> Written {
    let begin = to.len();
    option(to, it.to.as_ref(), |to, it| start(to, *it))?;
    start(to, it.from)?;
    to.extend_from_slice(&it.number.to_be_bytes());
    to.extend_from_slice(&it.patience_ms.to_be_bytes());
    let Operation { id, key: name, call, bound } = &it.operation;
    to.extend_from_slice(&id.0);
    key(to, name)?;
    option(to, bound.as_ref(), |to, bound| version(to, *bound))?;
    match call {
        Call::Get => choose(to, 0, |_| Ok(())),
        Call::CompareAndSet { expected, new } => choose(to, 1, |to| {
            match expected {
                Expected::Absent => choose(to, 0, |_| Ok(())),
                Expected::Value(value) => choose(to, 1, |to| put_value(to, &value.0)),
                Expected::Version(it) => choose(to, 2, |to| version(to, *it)),
            }?;
            option(to, new.as_ref(), |to, new| put_value(to, &new.0))
        }),
    }?;
    fits(to, begin, most)
}

pub(super) fn write_called(to: &mut Vec<u8>, most: usize, slot: Slot, it: &Called) -> Written {
    let begin = to.len();
    start(to, it.to)?;
    to.extend_from_slice(&it.number.to_be_bytes());
    match &it.told {
        Told::Ended(it) => choose(to, 0, |to| outcome(to, it)),
        Told::Elsewhere(it) => choose(to, 1, |to| view(to, slot, it)),
        Told::Start(it) => choose(to, 2, |to| start(to, *it)),
    }?;
    fits(to, begin, most)
}

/// What was written since is not too long for a part of so many bytes at most.
fn fits(to: &mut Vec<u8>, begin: usize, most: usize) -> Written {
    let got = to.len();
    if got <= most {
        return Ok(());
    }
    to.truncate(begin);
    Err(EncodeError::TooMuch { what: Limit::Message, got })
}

#[expect(clippy::unnecessary_wraps, reason = "so that it stands in line with the others")]
pub(super) fn start(to: &mut Vec<u8>, it: Start) -> Written {
    to.extend_from_slice(&it.incarnation.0.to_be_bytes());
    to.extend_from_slice(&it.boot.0.to_be_bytes());
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "so that it stands in line with the others")]
fn version(to: &mut Vec<u8>, it: Version) -> Written {
    to.extend_from_slice(&it.0.to_be_bytes());
    Ok(())
}

fn held(to: &mut Vec<u8>, it: &Held) -> Written {
    version(to, it.version)?;
    put_value(to, &it.value.0)
}

fn outcome(to: &mut Vec<u8>, it: &Outcome) -> Written {
    match it {
        Outcome::Got(it) => choose(to, 0, |to| option(to, it.as_ref(), held)),
        Outcome::Set(it) => choose(to, 1, |to| version(to, *it)),
        Outcome::Mismatch(it) => choose(to, 2, |to| option(to, it.as_ref(), held)),
        Outcome::Unavailable => choose(to, 3, |_| Ok(())),
        Outcome::Unknown(it) => choose(to, 4, |to| version(to, *it)),
    }
}

pub(super) fn read_call(from: &mut Fixed<'_>) -> Read<Body> {
    let to = read_option(from, read_start)?;
    let asks = read_start(from)?;
    let (number, patience_ms) = (from.u64()?, from.u32()?);
    let (id, key) = (OperationId(from.array()?), read_key(from)?);
    let bound = read_option(from, read_version)?;
    let call = match from.choice(1)? {
        0 => Call::Get,
        _ => Call::CompareAndSet {
            expected: match from.choice(2)? {
                0 => Expected::Absent,
                1 => Expected::Value(from.value().map(Value::from)?),
                _ => Expected::Version(read_version(from)?),
            },
            new: read_option(from, |from| from.value().map(Value::from))?,
        },
    };
    let operation = Operation { id, key, call, bound };
    Ok(Body::Call(Box::new(Forwarded { to, from: asks, number, patience_ms, operation })))
}

pub(super) fn read_called(from: &mut Fixed<'_>, slot: Slot) -> Read<Body> {
    let (to, number) = (read_start(from)?, from.u64()?);
    let told = match from.choice(2)? {
        0 => Told::Ended(read_outcome(from)?),
        1 => Told::Elsewhere(read_view(from, slot)?),
        _ => Told::Start(read_start(from)?),
    };
    Ok(Body::Called(Box::new(Called { to, number, told })))
}

pub(super) fn read_start(from: &mut Fixed<'_>) -> Read<Start> {
    Ok(Start { incarnation: Incarnation(from.u64()?), boot: Boot(from.u32()?) })
}

fn read_version(from: &mut Fixed<'_>) -> Read<Version> {
    from.u64().map(Version)
}

fn read_held(from: &mut Fixed<'_>) -> Read<Held> {
    Ok(Held { version: read_version(from)?, value: from.value().map(Value::from)? })
}

fn read_outcome(from: &mut Fixed<'_>) -> Read<Outcome> {
    Ok(match from.choice(4)? {
        0 => Outcome::Got(read_option(from, read_held)?),
        1 => Outcome::Set(read_version(from)?),
        2 => Outcome::Mismatch(read_option(from, read_held)?),
        3 => Outcome::Unavailable,
        _ => Outcome::Unknown(read_version(from)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Epoch, Key};
    use crate::message::Message;
    use alloc::vec;

    #[test]
    fn an_operation_that_does_not_fit_into_a_message_is_refused_and_nothing_is_written() {
        let start = Start { incarnation: Incarnation(1), boot: Boot(2) };
        let call = |bytes: usize| Call::CompareAndSet {
            expected: Expected::Value(Value::from(&vec![1; bytes][..])),
            new: Some(Value::from(&vec![2; 65_536][..])),
        };
        let message = |bytes: usize| {
            let id = OperationId([3; 16]);
            let operation =
                Operation { id, key: Key::from(&b"coat"[..]), call: call(bytes), bound: None };
            let (to, patience_ms) = (Some(start), 1000);
            let it = Forwarded { to, from: start, number: 1, patience_ms, operation };
            Message { slot: Slot(7), epoch: Epoch(3), body: Body::Call(Box::new(it)) }
        };
        let mut parts = Vec::new();
        assert!(message(65_536).encode(&mut parts).is_err() && parts.is_empty());
        let fits = message(65_000);
        fits.encode(&mut parts).unwrap();
        assert_eq!(Message::decode(&parts[0]), Ok(Some(fits)));
        assert_eq!(crate::pack(&parts).count(), 1);
    }
}
