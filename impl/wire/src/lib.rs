//! Bytes and messages: the words that nodes use among themselves, and how they look on the wire.
//!
//! One versioned binary format for every message of the system; `specs/wire.md` is its normative
//! text. A message is a header and fields, a field a tag, a length and bytes. Decoding borrows:
//! [`Message::decode`] allocates nothing, and lists are checked once and then iterated in place.
//!
//! | file | what |
//! |---|---|
//! | `id.rs` | [`NodeId`], [`RecordKey`], [`NodeKey`], [`Distance`] |
//! | `contact.rs` | [`Address`], [`Contact`] |
//! | `record.rs` | [`Record`] and [`OwnedRecord`] |
//! | `message.rs`, `owned.rs` | [`Message`], and [`OwnedMessage`] for whoever keeps one |
//! | `fields.rs`, `tag.rs` | tags, lengths, and what stands behind the known ones |
//! | `decode.rs`, `encode.rs`, `list.rs` | from bytes and back, lists read in place |
//! | `fixed.rs` | [`Fixed`]: contents of fixed layout, for whoever owns what stands in a part |
//! | `frame.rs` | [`FrameReader`]: messages out of a stream |
//! | `renewal.rs` | [`Renewal`]: what is answered to who asks for a newer certificate |
//! | `receive.rs` | [`Message::receive`]: what can be acted on, and what is answered to the rest |
//!
//! Properties: WIRE-1 to WIRE-4, in `specs/README.md`.
//!
//! # Example
//!
//! ```
//! use cloakroom_wire::{Body, Message, NodeId, OwnedBody, OwnedMessage, OwnedRequest, Request, RequestId};
//!
//! let question = OwnedMessage {
//!     request_id: RequestId(7),
//!     body: OwnedBody::Request {
//!         from: None,
//!         request: OwnedRequest::FindNode { target: NodeId([0x1f; 32]) },
//!     },
//! };
//! let mut bytes = Vec::new();
//! question.borrow().encode(&mut bytes)?;
//!
//! let message = Message::decode(&bytes)?;
//! assert!(matches!(message.body, Body::Request { request: Request::FindNode { .. }, .. }));
//! assert_eq!(message.to_owned(), question);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not do: sockets, encryption, hashing. Nothing here checks that a node's id is the
//! hash of its key: whoever learns a contact must.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod contact;
mod decode;
mod encode;
mod error;
mod fields;
pub mod fixed;
mod frame;
mod id;
mod list;
mod message;
mod owned;
mod receive;
mod record;
mod renewal;
mod tag;

pub use contact::{Address, Contact};
pub use error::{DecodeError, EncodeError, Fault, Got, Limit};
pub use fields::{Fields, OwnedFields};
pub use fixed::Fixed;
pub use frame::{FRAME_HEAD_BYTES, FrameError, FrameReader, Split, split_frame};
pub use id::{Distance, NodeId, NodeKey, RecordKey};
pub use list::{Contacts, ContactsIter, Parts, PartsIter, Records, RecordsIter};
pub use message::{
    Answer, Body, Class, ErrorCode, HEADER_BYTES, Header, Kind, Message, Notice, Request,
    RequestId, StorePurpose, StoreStatus, Unknown, VERSION,
};
pub use owned::{OwnedAnswer, OwnedBody, OwnedMessage, OwnedNotice, OwnedRequest};
pub use record::{Content, OwnedContent, OwnedRecord, Record};
pub use renewal::{MAX_RENEWAL_BYTES, RENEW, Renewal};

/// The longest message, in bytes, without its frame's length.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// The longest value of a record, in bytes.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// The longest text of an error, in bytes.
pub const MAX_DETAIL_BYTES: usize = 256;

/// The most contacts in a list.
pub const MAX_CONTACTS: usize = 64;

/// The most records in a list, if they fit into a message.
pub const MAX_RECORDS: usize = 16;

/// The most parts of a notice, if they fit into a message.
pub const MAX_PARTS: usize = 1024;

/// The longest certificate that is sent to its holder, in bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// The longest string whose length stands in one byte.
pub const MAX_SHORT_BYTES: usize = 255;
