//! A record: what STORE and FIND_VALUE carry.
//!
//! Invariants:
//! * a record's life is told in what remains of it, since nodes share no clock;
//! * of one key and origin, the higher sequence number is the newer; a deletion is a record too;
//! * a holder passes on fields that it does not know ([`Record::later`]), so that a newer origin and
//!   a newer reader understand each other through older holders.
//!
//! What it does not do: compare, expire or hold records; that is Kademlia's.

use alloc::boxed::Box;

use crate::fields::{Fields, OwnedFields};
use crate::id::{NodeId, RecordKey};

/// A record, borrowed from the bytes of a message or from an [`OwnedRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place.
    pub key: RecordKey,
    /// Who wrote it.
    pub origin: NodeId,
    /// The origin's count of its writes to this key: the higher one is newer.
    pub sequence: u64,
    /// How long it still lives, from when the message was sent.
    pub expires_in_ms: u64,
    /// The value, or that it was deleted.
    pub content: Content<'a>,
    /// What a newer node wrote and this one passes on; tags even, and above those known.
    pub later: Fields<'a>,
}

/// What a [`Record`] says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// It has this value.
    Value(&'a [u8]),
    /// It was deleted, and stays so until the record expires.
    Tombstone,
}

/// A [`Record`] to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnedRecord {
    /// Its place.
    pub key: RecordKey,
    /// Who wrote it.
    pub origin: NodeId,
    /// The origin's count of its writes to this key: the higher one is newer.
    pub sequence: u64,
    /// How long it still lived when the message was sent.
    pub expires_in_ms: u64,
    /// The value, or that it was deleted.
    pub content: OwnedContent,
    /// What a newer node wrote and this one passes on.
    pub later: OwnedFields,
}

/// A [`Content`] to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnedContent {
    /// It has this value.
    Value(Box<[u8]>),
    /// It was deleted, and stays so until the record expires.
    Tombstone,
}

impl Record<'_> {
    /// A copy to keep.
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            key: self.key,
            origin: self.origin,
            sequence: self.sequence,
            expires_in_ms: self.expires_in_ms,
            content: match self.content {
                Content::Value(bytes) => OwnedContent::Value(bytes.into()),
                Content::Tombstone => OwnedContent::Tombstone,
            },
            later: self.later.to_owned(),
        }
    }
}

impl OwnedRecord {
    /// The record, to send.
    pub fn borrow(&self) -> Record<'_> {
        Record {
            key: self.key,
            origin: self.origin,
            sequence: self.sequence,
            expires_in_ms: self.expires_in_ms,
            content: match &self.content {
                OwnedContent::Value(bytes) => Content::Value(bytes),
                OwnedContent::Tombstone => Content::Tombstone,
            },
            later: self.later.borrow(),
        }
    }
}
