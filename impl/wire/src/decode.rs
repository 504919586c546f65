//! From bytes to messages.
//!
//! Invariants:
//! * WIRE-1: only what the encoder writes is taken;
//! * WIRE-2: nothing is allocated, nothing panics, and the depth is fixed: a message, a list in it,
//!   a record in that;
//! * an error says the offset from the start of the message, what was expected and what stands there.

use crate::contact::{Address, Contact};
use crate::error::{DecodeError, Fault, Limit};
use crate::fields::{self, Fields, Reader};
use crate::id::{NodeId, NodeKey, POINT_BYTES, RecordKey};
use crate::list::{Contacts, Parts, Records, Source};
use crate::message::{
    Answer, Body, ErrorCode, HEADER_BYTES, Header, Kind, Message, Notice, Request, StorePurpose,
    StoreStatus, Unknown, VERSION,
};
use crate::record::{self, Record};
use crate::tag;

impl<'a> Message<'a> {
    /// The message that these bytes are, all of them. Allocates nothing.
    ///
    /// # Errors
    /// [`DecodeError`] says from where on they are none. [`Header::peek`] still reads the request's
    /// id, for [`Header::refusal`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Limit::Message.check(bytes.len()).map_err(|fault| fault.at(0))?;
        let short = Fault::Short { expected: HEADER_BYTES, got: bytes.len() }.at(0);
        let Header { version, kind, request_id } = Header::peek(bytes).ok_or(short)?;
        if version != VERSION {
            return Err(Fault::Version { expected: VERSION, got: version }.at(0));
        }
        let mut reader = Reader::new(&bytes[HEADER_BYTES..], HEADER_BYTES);
        let body = match kind {
            Kind::PING | Kind::FIND_NODE | Kind::FIND_VALUE | Kind::STORE => {
                let from = reader.optional(tag::FROM)?.map(whole_contact).transpose()?;
                Body::Request { from, request: request(kind, &mut reader)? }
            }
            Kind::SLOTS => {
                let parts = parts(reader.required(tag::PARTS)?)?;
                Body::Notice(Notice::Slots { parts })
            }
            Kind::PONG | Kind::NODES | Kind::FOUND | Kind::STORED | Kind::ERROR => {
                Body::Answer(answer(kind, &mut reader)?)
            }
            kind => {
                let fields = reader.any()?;
                return Ok(Self {
                    request_id,
                    body: Body::Unknown(Unknown { kind, fields }),
                    later: Fields::NONE,
                });
            }
        };
        Ok(Self { request_id, body, later: reader.later(tag::highest(kind))? })
    }
}

/// The kind is one of the four requests.
fn request<'a>(kind: Kind, reader: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    Ok(match kind {
        Kind::FIND_NODE => {
            Request::FindNode { target: NodeId(reader.required(tag::TARGET)?.array()?) }
        }
        Kind::FIND_VALUE => {
            Request::FindValue { key: RecordKey(reader.required(tag::TARGET)?.array()?) }
        }
        Kind::STORE => {
            let [purpose] = reader.required(tag::PURPOSE)?.array()?;
            let record = record(reader.required(tag::RECORD)?)?;
            Request::Store { purpose: StorePurpose(purpose), record }
        }
        _ => Request::Ping,
    })
}

/// The kind is one of the five answers.
fn answer<'a>(kind: Kind, reader: &mut Reader<'a>) -> Result<Answer<'a>, DecodeError> {
    Ok(match kind {
        Kind::NODES => Answer::Nodes { contacts: contacts(reader.required(tag::CONTACTS)?)? },
        Kind::FOUND => Answer::Found {
            records: records(reader.required(tag::RECORDS)?)?,
            contacts: contacts(reader.required(tag::FOUND_CONTACTS)?)?,
        },
        Kind::STORED => {
            let [status] = reader.required(tag::STATUS)?.array()?;
            let held = reader.optional(tag::HELD)?.map(number).transpose()?;
            Answer::Stored { status: StoreStatus(status), held }
        }
        Kind::ERROR => {
            let code = ErrorCode(u16::from_be_bytes(reader.required(tag::CODE)?.array()?));
            let content = reader.required(tag::DETAIL)?;
            Limit::Detail.check(content.bytes.len()).map_err(|fault| fault.at(content.offset))?;
            let detail =
                text(content.bytes).map_err(|(at, fault)| fault.at(content.offset + at))?;
            Answer::Error { code, detail }
        }
        _ => Answer::Pong,
    })
}

/// The text that bytes are; else where they are none.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, (usize, Fault)> {
    core::str::from_utf8(bytes).map_err(|error| {
        // What is cut short begins with a byte too.
        let at = error.valid_up_to();
        (at, Fault::Text { got: bytes[at] })
    })
}

fn number(content: fields::Content<'_>) -> Result<u64, DecodeError> {
    content.array().map(u64::from_be_bytes)
}

pub(crate) fn record(content: fields::Content<'_>) -> Result<Record<'_>, DecodeError> {
    let mut reader = content.reader();
    let key = RecordKey(reader.required(tag::KEY)?.array()?);
    let origin = NodeId(reader.required(tag::ORIGIN)?.array()?);
    let sequence = number(reader.required(tag::SEQUENCE)?)?;
    let expires_in_ms = number(reader.required(tag::EXPIRES_IN_MS)?)?;
    let content = match reader.optional(tag::VALUE)? {
        None => record::Content::Tombstone,
        Some(value) => {
            Limit::Value.check(value.bytes.len()).map_err(|fault| fault.at(value.offset))?;
            record::Content::Value(value.bytes)
        }
    };
    let later = reader.later(tag::VALUE)?;
    Ok(Record { key, origin, sequence, expires_in_ms, content, later })
}

fn records(content: fields::Content<'_>) -> Result<Records<'_>, DecodeError> {
    let mut reader = content.reader();
    let mut count = 0;
    while !reader.is_done() {
        count += 1;
        Limit::Records.check(count).map_err(|fault| fault.at(reader.offset))?;
        record(reader.item()?)?;
    }
    Ok(Records(Source::Wire(content.bytes, count)))
}

fn parts(content: fields::Content<'_>) -> Result<Parts<'_>, DecodeError> {
    let mut reader = content.reader();
    let mut count = 0;
    while !reader.is_done() {
        count += 1;
        Limit::Parts.check(count).map_err(|fault| fault.at(reader.offset))?;
        reader.item()?;
    }
    Ok(Parts(Source::Wire(content.bytes, count)))
}

fn contacts(content: fields::Content<'_>) -> Result<Contacts<'_>, DecodeError> {
    let (mut at, mut count) = (0, 0);
    while at < content.bytes.len() {
        count += 1;
        Limit::Contacts.check(count).map_err(|fault| fault.at(content.offset + at))?;
        at += contact_length(&content.bytes[at..])
            .map_err(|(within, fault)| fault.at(content.offset + at + within))?;
    }
    Ok(Contacts(Source::Wire(content.bytes, count)))
}

/// The one contact that fills a field.
fn whole_contact(content: fields::Content<'_>) -> Result<Contact, DecodeError> {
    let (contact, length) =
        contact(content.bytes).map_err(|(within, fault)| fault.at(content.offset + within))?;
    if length != content.bytes.len() {
        let fault = Fault::Length { expected: length, got: content.bytes.len() };
        return Err(fault.at(content.offset));
    }
    Ok(contact)
}

/// Id and key.
const NAME_BYTES: usize = 2 * POINT_BYTES;
/// A contact with an IPv4 address.
pub(crate) const CONTACT_V4_BYTES: usize = NAME_BYTES + 1 + 4 + 2;
/// A contact with an IPv6 address.
pub(crate) const CONTACT_V6_BYTES: usize = NAME_BYTES + 1 + 16 + 2;
/// What IPv4 inside IPv6 begins with.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// How long the contact at the front is, or what is wrong with it and where.
#[inline]
fn contact_length(bytes: &[u8]) -> Result<usize, (usize, Fault)> {
    let short = |expected| (0, Fault::Short { expected, got: bytes.len() });
    let length = match bytes.get(NAME_BYTES) {
        None => return Err(short(CONTACT_V4_BYTES)),
        Some(4) => CONTACT_V4_BYTES,
        Some(6) => CONTACT_V6_BYTES,
        Some(&got) => return Err((NAME_BYTES, Fault::Family { got })),
    };
    if bytes.len() < length {
        return Err(short(length));
    }
    // WIRE-1: one address has one form.
    if length == CONTACT_V6_BYTES && bytes[NAME_BYTES + 1..].starts_with(&MAPPED) {
        return Err((NAME_BYTES, Fault::Mapped));
    }
    Ok(length)
}

/// The contact at the front, and how long it is; or what is wrong with it and where.
#[inline]
pub(crate) fn contact(bytes: &[u8]) -> Result<(Contact, usize), (usize, Fault)> {
    let length = contact_length(bytes)?;
    let short = (0, Fault::Short { expected: length, got: bytes.len() });
    let parts = || {
        let (&id, rest) = bytes.split_first_chunk()?;
        let (&key, rest) = rest.split_first_chunk()?;
        let (_, rest) = rest.split_first()?;
        let address = if length == CONTACT_V4_BYTES {
            let (&ip, rest) = rest.split_first_chunk()?;
            Address::v4(ip, u16::from_be_bytes(*rest.first_chunk()?))
        } else {
            let (&ip, rest) = rest.split_first_chunk()?;
            Address::v6(ip, u16::from_be_bytes(*rest.first_chunk()?))
        };
        Some(Contact { id: NodeId(id), address, key: NodeKey(key) })
    };
    Ok((parts().ok_or(short)?, length))
}
