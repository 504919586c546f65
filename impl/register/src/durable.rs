//! What must survive a crash, in one type, and how it changes.
//!
//! Invariants:
//! * a replica changes its [`Durable`] by [`Write`]s alone, and hands each of them to its host. The
//!   host makes them durable *before* it sends what came with them: REG-2, REG-3, REG-6 and REG-8
//!   rest on that;
//! * the same [`Durable::apply`] changes the replica's memory and what a store, a simulator or a
//!   model keeps, so that both are equal whenever nothing is under way.
//!
//! What it does not do: bytes, disks.

use alloc::collections::BTreeMap;

use crate::id::{Key, Member};
use crate::record::{Floor, Record};
use crate::view::View;

/// All that a replica remembers through a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Durable {
    /// Whose memory it is.
    pub me: Member,
    /// The view in which it votes.
    pub view: View,
    /// Whether it votes yet, or still.
    pub life: Life,
    /// Of all keys without a record.
    pub floor: Floor,
    /// By key.
    pub records: BTreeMap<Key, Record>,
}

/// The life of a replica: it votes in one view, and only while it is active.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Votes.
    Active,
}

/// One change of a [`Durable`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// This is remembered of a key.
    Record(Key, Record),
}

impl Durable {
    /// Makes a change.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Record(key, record) => {
                self.records.insert(key.clone(), record.clone());
            }
        }
    }

    /// What is remembered of a key, or of one that was never heard of.
    pub fn record(&self, key: &Key) -> Record {
        let unheard = || Record { promise: self.floor.ballot, accepted: None };
        self.records.get(key).cloned().unwrap_or_else(unheard)
    }
}
