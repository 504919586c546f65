//! A record as bytes for a disk, and back.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | what is left of the time in which it is shown, in microseconds |
//! | 8 | what is left of the time in which its sequence number is remembered |
//! | 8 | what is left of its life as a replica; all ones if it has none |
//! | 32 | who sent it |
//! | the rest | the record, as the message that offers it |
//!
//! Numbers are big-endian.
//!
//! Invariants:
//! * KAD-9: what is read back lives no longer than what was written, less the time in between;
//! * bytes that were not written here are an error that says where, never a panic.
//!
//! What it does not do: know how long a node was away. Whoever has a clock that goes on meanwhile says so.

use alloc::vec::Vec;

use cloakroom_wire::{
    Body, DecodeError, EncodeError, Fault, Fixed, Got, Message, NodeId, OwnedBody, OwnedMessage,
    OwnedRequest, Request, RequestId, StorePurpose,
};

use super::{Held, Name};
use crate::time::Moment;

/// Instead of a time that is left.
const NONE: u64 = u64::MAX;

impl Held {
    /// What it is found by.
    pub fn name(&self) -> Name {
        (self.record.key, self.record.origin)
    }

    /// The bytes that a disk keeps of it, as it is at a moment.
    ///
    /// # Errors
    /// [`EncodeError`]: never for a record that came in a message.
    pub fn to_bytes(&self, now: Moment) -> Result<Vec<u8>, EncodeError> {
        let ends = self.ends.map_or(NONE, |ends| ends.since_us(now));
        let mut bytes = Vec::new();
        for left in [self.expires.since_us(now), self.guard.since_us(now), ends] {
            bytes.extend_from_slice(&left.to_be_bytes());
        }
        bytes.extend_from_slice(&self.by.0);
        let purpose = if self.replica { StorePurpose::REPLICA } else { StorePurpose::CACHE };
        let request = OwnedRequest::Store { purpose, record: self.record.clone() };
        let body = OwnedBody::Request { from: None, request };
        OwnedMessage { request_id: RequestId(0), body }.borrow().encode(&mut bytes)?;
        Ok(bytes)
    }

    /// What [`Held::to_bytes`] has written, so many microseconds ago.
    ///
    /// # Errors
    /// [`DecodeError`]: whoever wrote the bytes is at fault, or they are damaged.
    pub fn from_bytes(bytes: &[u8], now: Moment, ago_us: u64) -> Result<Self, DecodeError> {
        let from = &mut Fixed::new(bytes);
        // KAD-9: its time has gone on.
        let later = |left: u64| now.plus_us(left.saturating_sub(ago_us));
        let (expires, guard) = (later(from.u64()?), later(from.u64()?));
        let ends = Some(from.u64()?).filter(|left| *left != NONE).map(later);
        let by = NodeId(from.array()?);
        let Body::Request { request: Request::Store { purpose, record }, .. } =
            Message::decode(from.rest())?.body
        else {
            let got = Got::Word("another message");
            return Err(Fault::Sense { expected: "a record that is offered", got }.at(0));
        };
        let (record, replica) = (record.to_owned(), purpose == StorePurpose::REPLICA);
        let (checked, handed) = (None, Vec::new());
        Ok(Self { record, expires, guard, replica, ends, by, checked, handed })
    }
}
