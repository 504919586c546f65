//! What can go wrong, and whose fault it is.
//!
//! * [`DecodeError`]: the peer's. Where in the message, what was expected, what stands there.
//! * [`EncodeError`]: the caller's: a message that no peer would take.

use thiserror::Error;

use crate::message::{ErrorCode, Kind};
use crate::{
    MAX_CERTIFICATE_BYTES, MAX_CONTACTS, MAX_DETAIL_BYTES, MAX_MESSAGE_BYTES, MAX_PARTS,
    MAX_RECORDS, MAX_SHORT_BYTES, MAX_VALUE_BYTES,
};

/// Bytes that are no message: the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("byte {offset}: {fault}")]
pub struct DecodeError {
    /// Of the byte, from the start of the message, from which on it makes no sense.
    pub offset: usize,
    /// Why.
    pub fault: Fault,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// Another format altogether: nothing after the header can be read.
    #[error("expected version {expected}, got {got}")]
    Version {
        /// The one that this crate speaks.
        expected: u8,
        /// What stands there.
        got: u8,
    },
    /// Of a kind that is not known here, where one has to be: [`Message::receive`](crate::Message::receive).
    #[error("expected a known kind, got {got}")]
    Kind {
        /// What stands there.
        got: Kind,
    },
    /// Ends too early.
    #[error("expected {expected} more bytes, got {got}")]
    Short {
        /// How many are needed from here.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// A field or item whose length is not the one that its layout has.
    #[error("expected a length of {expected}, got {got}")]
    Length {
        /// What the layout has.
        expected: usize,
        /// What was announced.
        got: usize,
    },
    /// More of something than is allowed.
    #[error("{what}: expected at most {most}, got {got}")]
    TooMuch {
        /// Of what.
        what: Limit,
        /// The most.
        most: usize,
        /// How much there is; at least, for counts, which are not counted on.
        got: usize,
    },
    /// Not the field that must come here.
    #[error("expected field {expected}, got {}", Tag(*got))]
    Field {
        /// Its tag.
        expected: u8,
        /// The tag that stands there; `None` is the end.
        got: Option<u8>,
    },
    /// A field out of order, repeated, or with a tag that was never given.
    #[error("expected a field above {above}, got field {got}")]
    Order {
        /// The tag before, or the highest known one.
        above: u8,
        /// What stands there.
        got: u8,
    },
    /// A field that must be understood (its tag is odd) and is not known here.
    #[error("expected a known field or an even tag, got field {got}")]
    Required {
        /// Its tag.
        got: u8,
    },
    /// Neither IPv4 nor IPv6.
    #[error("expected address family 4 or 6, got {got}")]
    Family {
        /// What stands there.
        got: u8,
    },
    /// IPv4 inside IPv6, which must be written as IPv4.
    #[error("expected IPv4 as family 4, got it inside family 6")]
    Mapped,
    /// Text that is not UTF-8.
    #[error("expected UTF-8, got byte {got}")]
    Text {
        /// The first byte that is none: the offset's.
        got: u8,
    },
    /// A choice among fewer.
    #[error("expected a choice of 0 to {most}, got {got}")]
    Choice {
        /// The last one.
        most: u8,
        /// What stands there.
        got: u8,
    },
    /// Laid out well, and yet nothing that can be said.
    #[error("expected {expected}, got {got}")]
    Sense {
        /// What would make sense here.
        expected: &'static str,
        /// What stands there.
        got: Got,
    },
}

/// What stands where something else would make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Got {
    /// A number.
    #[error("{0}")]
    Number(u64),
    /// What is no number.
    #[error("{0}")]
    Word(&'static str),
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Limit {
    /// Bytes of a message: [`MAX_MESSAGE_BYTES`].
    #[error("bytes of a message")]
    Message,
    /// Bytes of a value: [`MAX_VALUE_BYTES`].
    #[error("bytes of a value")]
    Value,
    /// Bytes of an error's text: [`MAX_DETAIL_BYTES`].
    #[error("bytes of an error's text")]
    Detail,
    /// Contacts in a list: [`MAX_CONTACTS`].
    #[error("contacts in a list")]
    Contacts,
    /// Records in a list: [`MAX_RECORDS`].
    #[error("records in a list")]
    Records,
    /// Parts in a list: [`MAX_PARTS`].
    #[error("parts in a list")]
    Parts,
    /// Bytes of a short string: [`MAX_SHORT_BYTES`].
    #[error("bytes of a short string")]
    Short,
    /// Bytes of a certificate: [`MAX_CERTIFICATE_BYTES`].
    #[error("bytes of a certificate")]
    Certificate,
}

impl Limit {
    /// The most that is allowed.
    pub const fn most(self) -> usize {
        match self {
            Self::Message => MAX_MESSAGE_BYTES,
            Self::Value => MAX_VALUE_BYTES,
            Self::Detail => MAX_DETAIL_BYTES,
            Self::Contacts => MAX_CONTACTS,
            Self::Records => MAX_RECORDS,
            Self::Parts => MAX_PARTS,
            Self::Short => MAX_SHORT_BYTES,
            Self::Certificate => MAX_CERTIFICATE_BYTES,
        }
    }

    /// Whether there may be so much.
    pub(crate) const fn check(self, got: usize) -> Result<(), Fault> {
        let most = self.most();
        if got > most { Err(Fault::TooMuch { what: self, most, got }) } else { Ok(()) }
    }
}

impl Fault {
    /// The fault with its place.
    pub const fn at(self, offset: usize) -> DecodeError {
        DecodeError { offset, fault: self }
    }
}

impl DecodeError {
    /// What a request with this fault is answered.
    pub const fn code(&self) -> ErrorCode {
        match self.fault {
            Fault::Version { .. } => ErrorCode::VERSION,
            Fault::Kind { .. } => ErrorCode::KIND,
            Fault::Required { .. } => ErrorCode::FIELD,
            _ => ErrorCode::MALFORMED,
        }
    }
}

/// A message that no peer would take: the caller's fault. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// More of something than is allowed.
    #[error("{what}: expected at most {}, got {got}", what.most())]
    TooMuch {
        /// Of what.
        what: Limit,
        /// How much there is.
        got: usize,
    },
    /// A field for newer nodes whose tag older ones do not skip.
    #[error("expected fields with even tags above {above}, got field {got}")]
    Later {
        /// The highest known tag.
        above: u8,
        /// The field's tag.
        got: u8,
    },
    /// An unknown message whose kind is known.
    #[error("expected an unknown kind, got {got}")]
    Known {
        /// Its kind.
        got: Kind,
    },
    /// What no reader would make sense of.
    #[error("expected {expected}, got {got}")]
    Sense {
        /// What would make sense.
        expected: &'static str,
        /// What was given.
        got: Got,
    },
}

/// A tag, or the end.
struct Tag(Option<u8>);

impl core::fmt::Display for Tag {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(tag) => write!(f, "field {tag}"),
            None => write!(f, "the end"),
        }
    }
}
