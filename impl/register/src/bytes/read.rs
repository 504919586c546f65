//! From parts to messages.
//!
//! Invariants:
//! * WIRE-1: only what is written by the other side of this file is taken, and all of it is read;
//! * WIRE-2: the depth is fixed, and a list takes room for what has been read of it;
//! * REG-13: a view that is read has different nodes, and not too many; a ballot's seat is one that a
//!   view can have.

use alloc::vec::Vec;

use cloakroom_wire::{DecodeError, Fault, Fixed, Got, NodeId};

use super::{call, says};
use crate::ballot::Ballot;
use crate::id::{Boot, Epoch, Incarnation, Key, Member, OperationId, Slot, Value, Version};
use crate::message::{Ask, Body, Collect, DecreeAsk, DecreeReply, Found, Message, Page, Reply};
use crate::record::{Accepted, Floor, State};
use crate::view::{MAX_MEMBERS, Seat, View};

type Read<T> = Result<T, DecodeError>;

pub(super) fn message(part: &[u8]) -> Read<Option<Message>> {
    let from = &mut Fixed::new(part);
    let (slot, epoch) = (Slot(from.u16()?), Epoch(from.u32()?));
    let body = match from.u8()? {
        says::ASK => Body::Ask(list(from, ask)?),
        says::REPLY => Body::Reply(list(from, reply)?),
        says::NEWER => Body::Newer(view(from, slot)?),
        says::DECREE => Body::Decree(match from.choice(1)? {
            0 => DecreeAsk::Prepare(ballot(from)?),
            _ => DecreeAsk::Accept(ballot(from)?, view(from, slot)?),
        }),
        says::DECREED => Body::Decreed(decreed(from, slot)?),
        says::DECIDED => Body::Decided { previous: view(from, slot)?, next: view(from, slot)? },
        says::PULL => Body::Pull { next: view(from, slot)?, after: option(from, key)? },
        says::COPY => Body::Copy { after: option(from, key)? },
        says::PAGE => Body::Page(page(from)?),
        says::ARE_YOU_ACTIVE => Body::AreYouActive,
        says::IS_ACTIVE => Body::IsActive,
        says::COLLECT => Body::Collect(list(from, collect)?),
        says::AGREED => Body::Agreed(list(from, |from| Ok((key(from)?, ballot(from)?)))?),
        says::CALL => call::read_call(from)?,
        says::CALLED => call::read_called(from, slot)?,
        says::START => Body::Start(call::read_start(from)?),
        // WIRE-3: of a newer node.
        _ => return Ok(None),
    };
    from.end()?;
    Ok(Some(Message { slot, epoch, body }))
}

/// Items until the end.
fn list<T>(from: &mut Fixed<'_>, item: impl Fn(&mut Fixed<'_>) -> Read<T>) -> Read<Vec<T>> {
    let mut items = Vec::new();
    while !from.is_done() {
        items.push(item(from)?);
    }
    Ok(items)
}

fn ask(from: &mut Fixed<'_>) -> Read<Ask> {
    let which = from.choice(2)?;
    let (key, ballot) = (key(from)?, ballot(from)?);
    Ok(match which {
        0 => Ask::Read { key, ballot },
        1 => Ask::Prepare { key, ballot },
        _ => Ask::Accept { key, ballot, state: state(from)?, next: option(from, self::ballot)? },
    })
}

fn reply(from: &mut Fixed<'_>) -> Read<Reply> {
    let which = from.choice(3)?;
    let (key, ballot) = (key(from)?, ballot(from)?);
    Ok(match which {
        0 => Reply::Held { key, ballot, found: found(from)? },
        1 => Reply::Promised { key, ballot, found: found(from)? },
        2 => Reply::Accepted { key, ballot, next: option(from, self::ballot)? },
        _ => Reply::Refused { key, ballot, promise: self::ballot(from)? },
    })
}

fn decreed(from: &mut Fixed<'_>, slot: Slot) -> Read<DecreeReply> {
    let which = from.choice(2)?;
    let it = ballot(from)?;
    Ok(match which {
        0 => {
            let has = option(from, |from| Ok((ballot(from)?, view(from, slot)?)))?;
            DecreeReply::Promised(it, has)
        }
        1 => DecreeReply::Accepted(it),
        _ => DecreeReply::Refused(it, ballot(from)?),
    })
}

fn page(from: &mut Fixed<'_>) -> Read<Page> {
    let source = Epoch(from.u32()?);
    let after = option(from, key)?;
    let floor = Floor { ballot: ballot(from)?, version: Version(from.u64()?) };
    let is_last = from.choice(1)? == 1;
    let mut records: Vec<(Key, Accepted)> = Vec::new();
    while !from.is_done() {
        let at = from.offset();
        let (key, accepted) = (key(from)?, accepted(from)?);
        // What comes next is asked for behind the last key: a page in disorder would skip some.
        if records.last().map(|(key, _)| key).or(after.as_ref()).is_some_and(|last| *last >= key) {
            let expected = "keys in ascending order";
            let got = Got::Word("one that is not above the one before");
            return Err(Fault::Sense { expected, got }.at(at));
        }
        records.push((key, accepted));
    }
    Ok(Page { source, after, records, floor, is_last })
}

fn collect(from: &mut Fixed<'_>) -> Read<Collect> {
    let which = from.choice(1)?;
    let (key, tombstone) = (key(from)?, ballot(from)?);
    Ok(match which {
        0 => Collect::Check { key, tombstone, version: Version(from.u64()?) },
        _ => Collect::Drop { key, tombstone },
    })
}

pub(super) fn option<T>(
    from: &mut Fixed<'_>,
    read: impl FnOnce(&mut Fixed<'_>) -> Read<T>,
) -> Read<Option<T>> {
    if from.choice(1)? == 0 { Ok(None) } else { read(from).map(Some) }
}

pub(super) fn key(from: &mut Fixed<'_>) -> Read<Key> {
    from.short().map(Key::from)
}

pub(super) fn ballot(from: &mut Fixed<'_>) -> Read<Ballot> {
    let (epoch, round, at) = (Epoch(from.u32()?), from.u32()?, from.offset());
    let seat = Seat(from.u8()?);
    if usize::from(seat.0) >= MAX_MEMBERS {
        let got = Got::Number(seat.0.into());
        return Err(Fault::Sense { expected: "a seat below 15", got }.at(at));
    }
    Ok(Ballot { epoch, round, seat, boot: Boot(from.u32()?) })
}

fn state(from: &mut Fixed<'_>) -> Read<State> {
    let version = Version(from.u64()?);
    let operation = OperationId(from.array()?);
    let content = option(from, |from| from.value().map(Value::from))?;
    Ok(State { version, content, operation })
}

pub(super) fn accepted(from: &mut Fixed<'_>) -> Read<Accepted> {
    Ok(Accepted { ballot: ballot(from)?, state: state(from)? })
}

fn found(from: &mut Fixed<'_>) -> Read<Found> {
    let floor = Version(from.u64()?);
    Ok(Found { accepted: option(from, accepted)?, floor })
}

pub(super) fn view(from: &mut Fixed<'_>, slot: Slot) -> Read<View> {
    let (epoch, at) = (Epoch(from.u32()?), from.offset());
    let count = from.u8()?;
    if usize::from(count) > MAX_MEMBERS {
        let got = Got::Number(count.into());
        return Err(Fault::Sense { expected: "1 to 15 members", got }.at(at));
    }
    let mut members = Vec::new();
    for _ in 0..count {
        let node = NodeId(from.array()?);
        members.push(Member { node, incarnation: Incarnation(from.u64()?) });
    }
    View::new(slot, epoch, &members).map_err(|_| {
        let got = Got::Word(if count == 0 { "none" } else { "a node twice" });
        Fault::Sense { expected: "1 to 15 members, all different nodes", got }.at(at)
    })
}
