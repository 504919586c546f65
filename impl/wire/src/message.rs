//! Messages: what nodes ask and answer.
//!
//! Invariants:
//! * an answer has the id of its request; a request's kind and its answer's differ in one bit;
//! * WIRE-3: a kind that is not known here is no error: [`Body::Unknown`]. Whoever acts on messages takes
//!   [`Message::receive`], which refuses it.
//!
//! Borrowed from the bytes of a message or from an [`OwnedMessage`](crate::OwnedMessage).
//!
//! What it does not do: match answers with requests, or know who sent a message; the connection does.

use core::fmt;

use crate::contact::Contact;
use crate::fields::Fields;
use crate::id::{NodeId, RecordKey};
use crate::list::{Contacts, Parts, Records};
use crate::record::Record;

/// The version of the format that this crate speaks. Newer fields and kinds do not change it.
pub const VERSION: u8 = 1;

/// Bytes of a [`Header`].
pub const HEADER_BYTES: usize = 10;

/// Tells the answers to one node's requests apart; chosen by the asking node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}", self.0)
    }
}

/// The kind of a message. Registered in `specs/wire.md`, with room for messages of registers,
/// views and membership.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

/// What a [`Kind`] is, known or not: its two highest bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 00: has one answer.
    Request,
    /// 01: has none.
    Notice,
    /// 10 and 11: answers a request.
    Answer,
}

impl Kind {
    /// Are you there?
    pub const PING: Self = Self(0x01);
    /// Who is closest to this point?
    pub const FIND_NODE: Self = Self(0x02);
    /// What is held under this key, or who is closest to it?
    pub const FIND_VALUE: Self = Self(0x03);
    /// Hold this record.
    pub const STORE: Self = Self(0x04);
    /// For the replicas and coordinators of slots.
    pub const SLOTS: Self = Self(0x40);
    /// Answers PING.
    pub const PONG: Self = Self::PING.answer();
    /// Answers FIND_NODE.
    pub const NODES: Self = Self::FIND_NODE.answer();
    /// Answers FIND_VALUE.
    pub const FOUND: Self = Self::FIND_VALUE.answer();
    /// Answers STORE.
    pub const STORED: Self = Self::STORE.answer();
    /// Answers any request.
    pub const ERROR: Self = Self(0xff);

    /// The kind that answers this request.
    #[must_use]
    pub const fn answer(self) -> Self {
        Self(self.0 | 0x80)
    }

    /// What it is.
    pub const fn class(self) -> Class {
        match self.0 >> 6 {
            0 => Class::Request,
            1 => Class::Notice,
            _ => Class::Answer,
        }
    }

    /// Its name, if it is known here.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::PING => "PING",
            Self::FIND_NODE => "FIND_NODE",
            Self::FIND_VALUE => "FIND_VALUE",
            Self::STORE => "STORE",
            Self::SLOTS => "SLOTS",
            Self::PONG => "PONG",
            Self::NODES => "NODES",
            Self::FOUND => "FOUND",
            Self::STORED => "STORED",
            Self::ERROR => "ERROR",
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => name.fmt(f),
            None => write!(f, "kind {:#04x}", self.0),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What every message of every version begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of the format.
    pub version: u8,
    /// Of the message.
    pub kind: Kind,
    /// The request that this is or answers.
    pub request_id: RequestId,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The request that this is or answers.
    pub request_id: RequestId,
    /// What it says.
    pub body: Body<'a>,
    /// What a newer node wrote beside; tags even, and above those known. None in an unknown kind.
    pub later: Fields<'a>,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Has one answer.
    Request {
        /// Where the asking node takes requests itself. A node that does not (behind NAT, or a mere
        /// client) leaves it out, and is not taken into routing tables.
        from: Option<Contact>,
        /// What is asked.
        request: Request<'a>,
    },
    /// Has no answer.
    Notice(Notice<'a>),
    /// Answers a request.
    Answer(Answer<'a>),
    /// Of a newer node.
    Unknown(Unknown<'a>),
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// To the replicas and coordinators of slots: each part is one message within one view of one
    /// slot, of fixed layout. Registers know what it says; here it is bytes.
    Slots {
        /// In the order in which the sender put them, which means nothing.
        parts: Parts<'a>,
    },
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Are you there?
    Ping,
    /// Who is closest to this point?
    FindNode {
        /// The point.
        target: NodeId,
    },
    /// What is held under this key, and who is closest to it?
    FindValue {
        /// The key.
        key: RecordKey,
    },
    /// Hold this record.
    Store {
        /// As what.
        purpose: StorePurpose,
        /// The record.
        record: Record<'a>,
    },
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// To PING.
    Pong,
    /// To FIND_NODE.
    Nodes {
        /// The closest that are known.
        contacts: Contacts<'a>,
    },
    /// To FIND_VALUE.
    Found {
        /// What is held under the key: at most one record of each origin. Often none.
        records: Records<'a>,
        /// The closest that are known.
        contacts: Contacts<'a>,
    },
    /// To STORE.
    Stored {
        /// What became of it.
        status: StoreStatus,
        /// The sequence number that is held now, of the record's key and origin, if any.
        held: Option<u64>,
    },
    /// To any request.
    Error {
        /// Why.
        code: ErrorCode,
        /// The same for people, at most [`MAX_DETAIL_BYTES`](crate::MAX_DETAIL_BYTES).
        detail: &'a str,
    },
}

/// A message of a kind that is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// Its kind.
    pub kind: Kind,
    /// What it says.
    pub fields: Fields<'a>,
}

/// As what a record is to be held. A purpose that is not known is refused with
/// [`ErrorCode::MALFORMED`] by whoever would have to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePurpose(pub u8);

impl StorePurpose {
    /// One of the record's replicas: republished, handed over.
    pub const REPLICA: Self = Self(0);
    /// A copy on the path of a lookup: expires, and no more.
    pub const CACHE: Self = Self(1);
}

/// What became of a STORE. One that is not known counts as not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreStatus(pub u8);

impl StoreStatus {
    /// It is held.
    pub const STORED: Self = Self(0);
    /// A newer record of this key and origin is held.
    pub const OUTDATED: Self = Self(1);
    /// There is no room for it.
    pub const FULL: Self = Self(2);
    /// It is not for this node: others are closer, or a limit on its origin is reached.
    pub const REFUSED: Self = Self(3);
}

/// Why a request has no proper answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// Another version of the format.
    pub const VERSION: Self = Self(1);
    /// A kind that is not known.
    pub const KIND: Self = Self(2);
    /// A field that is not known and must be.
    pub const FIELD: Self = Self(3);
    /// No message.
    pub const MALFORMED: Self = Self(4);
    /// Too much to do: ask later, or somebody else.
    pub const BUSY: Self = Self(5);
    /// The asking node may not.
    pub const FORBIDDEN: Self = Self(6);
    /// The answering node's own fault.
    pub const INTERNAL: Self = Self(7);
}

impl Header {
    /// The header at the front of a message, also of one that cannot be decoded; `None` when there
    /// are fewer than [`HEADER_BYTES`].
    pub fn peek(message: &[u8]) -> Option<Self> {
        let &[version, kind, ref request_id @ ..] = message.first_chunk::<HEADER_BYTES>()?;
        let request_id = RequestId(u64::from_be_bytes(*request_id));
        Some(Self { version, kind: Kind(kind), request_id })
    }

    /// What to answer to a message with this header that is not understood: an error to a request,
    /// nothing to a notice or an answer. Else two nodes that do not understand each other would
    /// exchange errors for ever. `detail` has at most
    /// [`MAX_DETAIL_BYTES`](crate::MAX_DETAIL_BYTES), or the answer cannot be encoded.
    pub fn refusal(self, code: ErrorCode, detail: &str) -> Option<Message<'_>> {
        (self.kind.class() == Class::Request).then_some(Message {
            request_id: self.request_id,
            body: Body::Answer(Answer::Error { code, detail }),
            later: Fields::NONE,
        })
    }
}

impl Message<'_> {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match &self.body {
            Body::Request { request, .. } => request.kind(),
            Body::Notice(notice) => notice.kind(),
            Body::Answer(answer) => answer.kind(),
            Body::Unknown(unknown) => unknown.kind,
        }
    }

    /// Its header.
    pub const fn header(&self) -> Header {
        Header { version: VERSION, kind: self.kind(), request_id: self.request_id }
    }
}

impl Request<'_> {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ping => Kind::PING,
            Self::FindNode { .. } => Kind::FIND_NODE,
            Self::FindValue { .. } => Kind::FIND_VALUE,
            Self::Store { .. } => Kind::STORE,
        }
    }
}

impl Notice<'_> {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Slots { .. } => Kind::SLOTS,
        }
    }
}

impl Answer<'_> {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Pong => Kind::PONG,
            Self::Nodes { .. } => Kind::NODES,
            Self::Found { .. } => Kind::FOUND,
            Self::Stored { .. } => Kind::STORED,
            Self::Error { .. } => Kind::ERROR,
        }
    }
}
