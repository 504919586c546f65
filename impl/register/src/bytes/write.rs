//! From messages to parts.
//!
//! Invariants:
//! * WIRE-1: one form for each message;
//! * a part is never longer than it may be: lists are split between items. What cannot be split fits,
//!   since a page is cut by bytes and keys when it is made;
//! * on an error nothing is appended.

use alloc::vec;
use alloc::vec::Vec;

use cloakroom_wire::fixed::{put_short, put_value};
use cloakroom_wire::{EncodeError, Got};

use super::{call, says};
use crate::ballot::Ballot;
use crate::id::{Key, Slot};
use crate::message::{Ask, Body, Collect, DecreeAsk, DecreeReply, Found, Message, Page, Reply};
use crate::record::{Accepted, State};
use crate::view::View;

/// Parts of one message, the last one open.
struct Parts<'a> {
    head: [u8; 7],
    most: usize,
    done: &'a mut Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Parts<'_> {
    /// Adds an item to the open part, or opens another one for it.
    fn item(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = self.open.len();
        write(&mut self.open)?;
        if self.open.len() > self.most && start > self.head.len() {
            let item = self.open.split_off(start);
            let full = core::mem::replace(&mut self.open, self.head.to_vec());
            self.done.push(full);
            self.open.extend_from_slice(&item);
        }
        Ok(())
    }

    fn list<T>(
        &mut self,
        items: &[T],
        write: impl Fn(&mut Vec<u8>, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        items.iter().try_for_each(|item| self.item(|to| write(to, item)))
    }
}

pub(super) fn message(
    message: &Message,
    most: usize,
    parts: &mut Vec<Vec<u8>>,
) -> Result<(), EncodeError> {
    let before = parts.len();
    let [s0, s1] = message.slot.0.to_be_bytes();
    let [e0, e1, e2, e3] = message.epoch.0.to_be_bytes();
    let head = [s0, s1, e0, e1, e2, e3, said(&message.body)];
    let mut made = Parts { head, most, done: parts, open: head.to_vec() };
    match body(&mut made, message.slot, &message.body) {
        Ok(()) => {
            let last = core::mem::take(&mut made.open);
            parts.push(last);
            Ok(())
        }
        Err(error) => {
            parts.truncate(before);
            Err(error)
        }
    }
}

fn said(body: &Body) -> u8 {
    match body {
        Body::Ask(_) => says::ASK,
        Body::Reply(_) => says::REPLY,
        Body::Newer(_) => says::NEWER,
        Body::Decree(_) => says::DECREE,
        Body::Decreed(_) => says::DECREED,
        Body::Decided { .. } => says::DECIDED,
        Body::Pull { .. } => says::PULL,
        Body::Copy { .. } => says::COPY,
        Body::Page(_) => says::PAGE,
        Body::AreYouActive => says::ARE_YOU_ACTIVE,
        Body::IsActive => says::IS_ACTIVE,
        Body::Collect(_) => says::COLLECT,
        Body::Agreed(_) => says::AGREED,
        Body::Call(_) => says::CALL,
        Body::Called(_) => says::CALLED,
        Body::Start(_) => says::START,
    }
}

fn body(parts: &mut Parts<'_>, slot: Slot, body: &Body) -> Result<(), EncodeError> {
    let (to, most) = (&mut parts.open, parts.most);
    match body {
        Body::Ask(asks) => parts.list(asks, ask),
        Body::Reply(replies) => parts.list(replies, reply),
        Body::Newer(next) => view(to, slot, next),
        Body::Decree(ask) => match ask {
            DecreeAsk::Prepare(it) => choose(to, 0, |to| ballot(to, *it)),
            DecreeAsk::Accept(it, next) => choose(to, 1, |to| {
                ballot(to, *it)?;
                view(to, slot, next)
            }),
        },
        Body::Decreed(reply) => decreed(to, slot, reply),
        Body::Decided { previous, next } => {
            view(to, slot, previous)?;
            view(to, slot, next)
        }
        Body::Pull { next, after } => {
            view(to, slot, next)?;
            option(to, after.as_ref(), key)
        }
        Body::Copy { after } => option(to, after.as_ref(), key),
        Body::Page(it) => page(to, it),
        Body::AreYouActive | Body::IsActive => Ok(()),
        Body::Collect(asks) => parts.list(asks, collect),
        Body::Agreed(agreed) => parts.list(agreed, |to, (name, tombstone)| {
            key(to, name)?;
            ballot(to, *tombstone)
        }),
        Body::Call(it) => call::write_call(to, most, it),
        Body::Called(it) => call::write_called(to, most, slot, it),
        Body::Start(it) => call::start(to, *it),
    }
}

fn ask(to: &mut Vec<u8>, ask: &Ask) -> Result<(), EncodeError> {
    match ask {
        Ask::Read { key: name, ballot: it } => choose(to, 0, |to| named(to, name, *it)),
        Ask::Prepare { key: name, ballot: it } => choose(to, 1, |to| named(to, name, *it)),
        Ask::Accept { key: name, ballot: it, state: made, next } => choose(to, 2, |to| {
            named(to, name, *it)?;
            state(to, made)?;
            option(to, next.as_ref(), |to, next| ballot(to, *next))
        }),
    }
}

fn reply(to: &mut Vec<u8>, reply: &Reply) -> Result<(), EncodeError> {
    match reply {
        Reply::Held { key: name, ballot: it, found: has } => choose(to, 0, |to| {
            named(to, name, *it)?;
            found(to, has)
        }),
        Reply::Promised { key: name, ballot: it, found: has } => choose(to, 1, |to| {
            named(to, name, *it)?;
            found(to, has)
        }),
        Reply::Accepted { key: name, ballot: it, next } => choose(to, 2, |to| {
            named(to, name, *it)?;
            option(to, next.as_ref(), |to, next| ballot(to, *next))
        }),
        Reply::Refused { key: name, ballot: it, promise } => choose(to, 3, |to| {
            named(to, name, *it)?;
            ballot(to, *promise)
        }),
    }
}

fn decreed(to: &mut Vec<u8>, slot: Slot, reply: &DecreeReply) -> Result<(), EncodeError> {
    match reply {
        DecreeReply::Promised(it, has) => choose(to, 0, |to| {
            ballot(to, *it)?;
            option(to, has.as_ref(), |to, (it, next)| {
                ballot(to, *it)?;
                view(to, slot, next)
            })
        }),
        DecreeReply::Accepted(it) => choose(to, 1, |to| ballot(to, *it)),
        DecreeReply::Refused(it, promise) => choose(to, 2, |to| {
            ballot(to, *it)?;
            ballot(to, *promise)
        }),
    }
}

fn page(to: &mut Vec<u8>, page: &Page) -> Result<(), EncodeError> {
    to.extend_from_slice(&page.source.0.to_be_bytes());
    option(to, page.after.as_ref(), key)?;
    ballot(to, page.floor.ballot)?;
    to.extend_from_slice(&page.floor.version.0.to_be_bytes());
    to.push(page.is_last.into());
    page.records.iter().try_for_each(|(name, has)| {
        key(to, name)?;
        accepted(to, has)
    })
}

fn collect(to: &mut Vec<u8>, ask: &Collect) -> Result<(), EncodeError> {
    match ask {
        Collect::Check { key: name, tombstone, version } => choose(to, 0, |to| {
            named(to, name, *tombstone)?;
            to.extend_from_slice(&version.0.to_be_bytes());
            Ok(())
        }),
        Collect::Drop { key: name, tombstone } => choose(to, 1, |to| named(to, name, *tombstone)),
    }
}

pub(super) fn choose(
    to: &mut Vec<u8>,
    which: u8,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    to.push(which);
    write(to)
}

pub(super) fn option<T>(
    to: &mut Vec<u8>,
    it: Option<&T>,
    write: impl FnOnce(&mut Vec<u8>, &T) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    match it {
        None => choose(to, 0, |_| Ok(())),
        Some(it) => choose(to, 1, |to| write(to, it)),
    }
}

pub(super) fn key(to: &mut Vec<u8>, key: &Key) -> Result<(), EncodeError> {
    put_short(to, &key.0)
}

fn named(to: &mut Vec<u8>, name: &Key, it: Ballot) -> Result<(), EncodeError> {
    key(to, name)?;
    ballot(to, it)
}

#[expect(clippy::unnecessary_wraps, reason = "so that it stands in line with the others")]
pub(super) fn ballot(to: &mut Vec<u8>, ballot: Ballot) -> Result<(), EncodeError> {
    to.extend_from_slice(&ballot.epoch.0.to_be_bytes());
    to.extend_from_slice(&ballot.round.to_be_bytes());
    to.push(ballot.seat.0);
    to.extend_from_slice(&ballot.boot.0.to_be_bytes());
    Ok(())
}

fn state(to: &mut Vec<u8>, state: &State) -> Result<(), EncodeError> {
    to.extend_from_slice(&state.version.0.to_be_bytes());
    to.extend_from_slice(&state.operation.0);
    option(to, state.content.as_ref(), |to, value| put_value(to, &value.0))
}

pub(super) fn accepted(to: &mut Vec<u8>, accepted: &Accepted) -> Result<(), EncodeError> {
    ballot(to, accepted.ballot)?;
    state(to, &accepted.state)
}

fn found(to: &mut Vec<u8>, found: &Found) -> Result<(), EncodeError> {
    to.extend_from_slice(&found.floor.0.to_be_bytes());
    option(to, found.accepted.as_ref(), accepted)
}

pub(super) fn view(to: &mut Vec<u8>, slot: Slot, view: &View) -> Result<(), EncodeError> {
    if view.slot() != slot {
        let got = Got::Number(view.slot().0.into());
        return Err(EncodeError::Sense { expected: "a view of the message's slot", got });
    }
    let mut bytes = vec![];
    bytes.extend_from_slice(&view.epoch().0.to_be_bytes());
    let [.., members] = view.members().len().to_be_bytes();
    bytes.push(members);
    for member in view.members() {
        bytes.extend_from_slice(&member.node.0);
        bytes.extend_from_slice(&member.incarnation.0.to_be_bytes());
    }
    to.extend_from_slice(&bytes);
    Ok(())
}
