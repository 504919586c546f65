//! From messages to bytes.
//!
//! Invariants:
//! * WIRE-1: fields are written in the order of their tags, each in its one form;
//! * what is written can be decoded: whatever could not is an [`EncodeError`], and nothing is written.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::contact::Contact;
use crate::decode::{CONTACT_V4_BYTES, CONTACT_V6_BYTES};
use crate::error::{EncodeError, Limit};
use crate::fields::{Fields, HEAD_BYTES, LENGTH_BYTES};
use crate::frame::FRAME_HEAD_BYTES;
use crate::id::POINT_BYTES;
use crate::list::{Contacts, Parts, Records, Source};
use crate::message::{Answer, Body, HEADER_BYTES, Message, Notice, Request, VERSION};
use crate::record::{Content, Record};
use crate::tag;

impl Message<'_> {
    /// Appends the message.
    ///
    /// # Errors
    /// [`EncodeError`] for what no peer would take; nothing is appended.
    pub fn encode(&self, to: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = to.len();
        let written = self.write(to).and_then(|()| limit(Limit::Message, to.len() - start));
        if written.is_err() {
            to.truncate(start);
        }
        written
    }

    /// Appends the message as a frame: its length in four bytes, then the message.
    ///
    /// # Errors
    /// [`EncodeError`] for what no peer would take; nothing is appended.
    pub fn encode_frame(&self, to: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = to.len();
        to.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
        let written = self.encode(to);
        if written.is_err() {
            to.truncate(start);
        } else {
            patch::<FRAME_HEAD_BYTES>(to, start + FRAME_HEAD_BYTES);
        }
        written
    }

    fn write(&self, to: &mut Vec<u8>) -> Result<(), EncodeError> {
        let kind = self.kind();
        let mut header = [0; HEADER_BYTES];
        header[0] = VERSION;
        header[1] = kind.0;
        header[2..].copy_from_slice(&self.request_id.0.to_be_bytes());
        to.extend_from_slice(&header);
        let highest = match &self.body {
            Body::Request { from, request } => {
                if let Some(from) = from {
                    nest(to, tag::FROM, |to| {
                        write_contact(to, from);
                        Ok(())
                    })?;
                }
                write_request(to, request)?;
                tag::highest(kind)
            }
            Body::Notice(Notice::Slots { parts }) => {
                nest(to, tag::PARTS, |to| write_parts(to, parts))?;
                tag::highest(kind)
            }
            Body::Answer(answer) => {
                write_answer(to, answer)?;
                tag::highest(kind)
            }
            Body::Unknown(unknown) if kind.name().is_some() => {
                return Err(EncodeError::Known { got: unknown.kind });
            }
            Body::Unknown(unknown) => {
                to.extend_from_slice(unknown.fields.as_bytes());
                // All its fields are in its body.
                u8::MAX
            }
        };
        write_later(to, self.later, highest)
    }
}

pub(crate) fn limit(what: Limit, got: usize) -> Result<(), EncodeError> {
    what.check(got).map_err(|_| EncodeError::TooMuch { what, got })
}

fn write_request(to: &mut Vec<u8>, request: &Request<'_>) -> Result<(), EncodeError> {
    match request {
        Request::Ping => {}
        Request::FindNode { target } => write_field(to, tag::TARGET, &target.0),
        Request::FindValue { key } => write_field(to, tag::TARGET, &key.0),
        Request::Store { purpose, record } => {
            write_field(to, tag::PURPOSE, &[purpose.0]);
            nest(to, tag::RECORD, |to| write_record(to, record))?;
        }
    }
    Ok(())
}

fn write_answer(to: &mut Vec<u8>, answer: &Answer<'_>) -> Result<(), EncodeError> {
    match answer {
        Answer::Pong => {}
        Answer::Nodes { contacts } => {
            nest(to, tag::CONTACTS, |to| write_contacts(to, contacts))?;
        }
        Answer::Found { records, contacts } => {
            nest(to, tag::RECORDS, |to| write_records(to, records))?;
            nest(to, tag::FOUND_CONTACTS, |to| write_contacts(to, contacts))?;
        }
        Answer::Stored { status, held } => {
            write_field(to, tag::STATUS, &[status.0]);
            if let Some(held) = held {
                write_field(to, tag::HELD, &held.to_be_bytes());
            }
        }
        Answer::Error { code, detail } => {
            limit(Limit::Detail, detail.len())?;
            write_field(to, tag::CODE, &code.0.to_be_bytes());
            write_field(to, tag::DETAIL, detail.as_bytes());
        }
    }
    Ok(())
}

fn write_record(to: &mut Vec<u8>, record: &Record<'_>) -> Result<(), EncodeError> {
    write_field(to, tag::KEY, &record.key.0);
    write_field(to, tag::ORIGIN, &record.origin.0);
    write_field(to, tag::SEQUENCE, &record.sequence.to_be_bytes());
    write_field(to, tag::EXPIRES_IN_MS, &record.expires_in_ms.to_be_bytes());
    if let Content::Value(bytes) = record.content {
        limit(Limit::Value, bytes.len())?;
        write_field(to, tag::VALUE, bytes);
    }
    write_later(to, record.later, tag::VALUE)
}

fn write_records(to: &mut Vec<u8>, records: &Records<'_>) -> Result<(), EncodeError> {
    limit(Limit::Records, records.len())?;
    match records.0 {
        Source::Wire(bytes, _) => to.extend_from_slice(bytes),
        Source::Slice(items) => {
            for record in items {
                to.extend_from_slice(&[0; LENGTH_BYTES]);
                let start = to.len();
                write_record(to, &record.borrow())?;
                close(to, start)?;
            }
        }
    }
    Ok(())
}

fn write_parts(to: &mut Vec<u8>, parts: &Parts<'_>) -> Result<(), EncodeError> {
    limit(Limit::Parts, parts.len())?;
    match parts.0 {
        Source::Wire(bytes, _) => to.extend_from_slice(bytes),
        Source::Slice(items) => {
            for part in items {
                to.extend_from_slice(&[0; LENGTH_BYTES]);
                let start = to.len();
                to.extend_from_slice(part);
                close(to, start)?;
            }
        }
    }
    Ok(())
}

fn write_contacts(to: &mut Vec<u8>, contacts: &Contacts<'_>) -> Result<(), EncodeError> {
    limit(Limit::Contacts, contacts.len())?;
    match contacts.0 {
        Source::Wire(bytes, _) => to.extend_from_slice(bytes),
        Source::Slice(items) => {
            to.reserve(items.len() * CONTACT_V6_BYTES);
            for contact in items {
                write_contact(to, contact);
            }
        }
    }
    Ok(())
}

/// Put together on the stack, so that the vector is asked for room once, and for a length that the
/// compiler knows.
fn write_contact(to: &mut Vec<u8>, contact: &Contact) {
    const NAME_BYTES: usize = 2 * POINT_BYTES;
    let mut bytes = [0; CONTACT_V6_BYTES];
    let port = contact.address.port().to_be_bytes();
    bytes[..POINT_BYTES].copy_from_slice(&contact.id.0);
    bytes[POINT_BYTES..NAME_BYTES].copy_from_slice(&contact.key.0);
    match contact.address.ip() {
        IpAddr::V4(ip) => {
            bytes[NAME_BYTES] = 4;
            bytes[NAME_BYTES + 1..CONTACT_V4_BYTES - 2].copy_from_slice(&ip.octets());
            bytes[CONTACT_V4_BYTES - 2..CONTACT_V4_BYTES].copy_from_slice(&port);
            to.extend_from_slice(&bytes[..CONTACT_V4_BYTES]);
        }
        IpAddr::V6(ip) => {
            bytes[NAME_BYTES] = 6;
            bytes[NAME_BYTES + 1..CONTACT_V6_BYTES - 2].copy_from_slice(&ip.octets());
            bytes[CONTACT_V6_BYTES - 2..].copy_from_slice(&port);
            to.extend_from_slice(&bytes);
        }
    }
}

/// Fields of a newer node: only those that a peer skips.
fn write_later(to: &mut Vec<u8>, later: Fields<'_>, above: u8) -> Result<(), EncodeError> {
    // They ascend since they were parsed.
    if let Some((got, _)) = later.iter().find(|&(tag, _)| tag <= above || tag % 2 == 1) {
        return Err(EncodeError::Later { above, got });
    }
    to.extend_from_slice(later.as_bytes());
    Ok(())
}

/// A field of at most [`MAX_VALUE_BYTES`](crate::MAX_VALUE_BYTES).
fn write_field(to: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    let [.., high, middle, low] = bytes.len().to_be_bytes();
    to.extend_from_slice(&[tag, high, middle, low]);
    to.extend_from_slice(bytes);
}

/// A field whose length is known when it stands there.
fn nest(
    to: &mut Vec<u8>,
    tag: u8,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    to.extend_from_slice(&[tag, 0, 0, 0]);
    let start = to.len();
    write(to)?;
    close(to, start)
}

/// Writes the length of what begins at `start` in front of it.
fn close(to: &mut [u8], start: usize) -> Result<(), EncodeError> {
    // No three bytes say more; and it would be too much for a message in any case.
    limit(Limit::Message, to.len() - start)?;
    patch::<LENGTH_BYTES>(to, start);
    Ok(())
}

/// The last `N` bytes of the length of what begins at `start`, which are all that are not zero.
fn patch<const N: usize>(to: &mut [u8], start: usize) {
    let length = (to.len() - start).to_be_bytes();
    to[start - N..start].copy_from_slice(&length[length.len() - N..]);
}

const _: () = assert!(HEAD_BYTES == 1 + LENGTH_BYTES);
