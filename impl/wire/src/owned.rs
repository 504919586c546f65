//! Messages to keep: the same nouns with their contents on the heap.
//!
//! Invariants:
//! * `borrow` of an owned message and `to_owned` of a borrowed one are inverse, but for
//!   [`Message::later`], which was meant for this node and is dropped (a record's is kept);
//! * a copy takes at most 8 times the bytes that it came in: on the heap 84 bytes for each
//!   contact (71 or 83 on the wire), 112 and its value for each record (99 and its value on the wire),
//!   24 and its bytes for each part (3 and its bytes on the wire).
use alloc::string::String;
use alloc::vec::Vec;

use crate::contact::Contact;
use crate::fields::{Fields, OwnedFields};
use crate::id::{NodeId, RecordKey};
use crate::message::{
    Answer, Body, ErrorCode, Kind, Message, Notice, Request, RequestId, StorePurpose, StoreStatus,
    Unknown,
};
use crate::record::OwnedRecord;

/// A [`Message`] to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnedMessage {
    /// The request that this is or answers.
    pub request_id: RequestId,
    /// What it says.
    pub body: OwnedBody,
}

/// A [`Body`] to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnedBody {
    /// Has one answer.
    Request {
        /// Where the asking node takes requests itself, if it does.
        from: Option<Contact>,
        /// What is asked.
        request: OwnedRequest,
    },
    /// Has no answer.
    Notice(OwnedNotice),
    /// Answers a request.
    Answer(OwnedAnswer),
    /// Of a newer node.
    Unknown {
        /// Its kind.
        kind: Kind,
        /// What it says.
        fields: OwnedFields,
    },
}

/// A [`Notice`] to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnedNotice {
    /// To the replicas and coordinators of slots.
    Slots {
        /// In the order in which the sender put them.
        parts: Vec<Vec<u8>>,
    },
}

/// A [`Request`] to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnedRequest {
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
        record: OwnedRecord,
    },
}

/// An [`Answer`] to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnedAnswer {
    /// To PING.
    Pong,
    /// To FIND_NODE.
    Nodes {
        /// The closest that are known.
        contacts: Vec<Contact>,
    },
    /// To FIND_VALUE.
    Found {
        /// What is held under the key: at most one record of each origin.
        records: Vec<OwnedRecord>,
        /// The closest that are known.
        contacts: Vec<Contact>,
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
        /// The same for people.
        detail: String,
    },
}

impl Message<'_> {
    /// A copy to keep, without [`Message::later`].
    pub fn to_owned(&self) -> OwnedMessage {
        let body = match &self.body {
            Body::Request { from, request } => {
                OwnedBody::Request { from: *from, request: request.to_owned() }
            }
            Body::Notice(Notice::Slots { parts }) => {
                let parts = parts.iter().map(<[u8]>::to_vec).collect();
                OwnedBody::Notice(OwnedNotice::Slots { parts })
            }
            Body::Answer(answer) => OwnedBody::Answer(answer.to_owned()),
            Body::Unknown(Unknown { kind, fields }) => {
                OwnedBody::Unknown { kind: *kind, fields: fields.to_owned() }
            }
        };
        OwnedMessage { request_id: self.request_id, body }
    }
}

impl Request<'_> {
    /// A copy to keep.
    pub fn to_owned(&self) -> OwnedRequest {
        match self {
            Self::Ping => OwnedRequest::Ping,
            Self::FindNode { target } => OwnedRequest::FindNode { target: *target },
            Self::FindValue { key } => OwnedRequest::FindValue { key: *key },
            Self::Store { purpose, record } => {
                OwnedRequest::Store { purpose: *purpose, record: record.to_owned() }
            }
        }
    }
}

impl Answer<'_> {
    /// A copy to keep.
    pub fn to_owned(&self) -> OwnedAnswer {
        match *self {
            Self::Pong => OwnedAnswer::Pong,
            Self::Nodes { contacts } => OwnedAnswer::Nodes { contacts: contacts.iter().collect() },
            Self::Found { records, contacts } => OwnedAnswer::Found {
                records: records.iter().map(|record| record.to_owned()).collect(),
                contacts: contacts.iter().collect(),
            },
            Self::Stored { status, held } => OwnedAnswer::Stored { status, held },
            Self::Error { code, detail } => OwnedAnswer::Error { code, detail: detail.into() },
        }
    }
}

impl OwnedMessage {
    /// The message, to send.
    pub fn borrow(&self) -> Message<'_> {
        let body = match &self.body {
            OwnedBody::Request { from, request } => {
                Body::Request { from: *from, request: request.borrow() }
            }
            OwnedBody::Notice(OwnedNotice::Slots { parts }) => {
                Body::Notice(Notice::Slots { parts: parts[..].into() })
            }
            OwnedBody::Answer(answer) => Body::Answer(answer.borrow()),
            OwnedBody::Unknown { kind, fields } => {
                Body::Unknown(Unknown { kind: *kind, fields: fields.borrow() })
            }
        };
        Message { request_id: self.request_id, body, later: Fields::NONE }
    }
}

impl OwnedRequest {
    /// The request, to send.
    pub fn borrow(&self) -> Request<'_> {
        match self {
            Self::Ping => Request::Ping,
            Self::FindNode { target } => Request::FindNode { target: *target },
            Self::FindValue { key } => Request::FindValue { key: *key },
            Self::Store { purpose, record } => {
                Request::Store { purpose: *purpose, record: record.borrow() }
            }
        }
    }
}

impl OwnedAnswer {
    /// The answer, to send.
    pub fn borrow(&self) -> Answer<'_> {
        match self {
            Self::Pong => Answer::Pong,
            Self::Nodes { contacts } => Answer::Nodes { contacts: contacts[..].into() },
            Self::Found { records, contacts } => {
                Answer::Found { records: records[..].into(), contacts: contacts[..].into() }
            }
            Self::Stored { status, held } => Answer::Stored { status: *status, held: *held },
            Self::Error { code, detail } => Answer::Error { code: *code, detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_as_small_as_documented() {
        assert_eq!((size_of::<Contact>(), size_of::<OwnedRecord>()), (84, 112));
    }
}
