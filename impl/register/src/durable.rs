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
use alloc::vec::Vec;

use crate::ballot::Ballot;
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
    /// Its part in the decree of the next view.
    pub vote: Vote,
}

/// The life of a replica: it votes in one view, and only while it is active.
///
/// 1. A member of a new view is a learner: it pulls from the view before.
/// 2. It is active once it has the snapshots of a sealed majority, or that of an active peer.
/// 3. The first pull of a member of the next view seals it: its records do not change any more.
/// 4. It drops them when a majority of the next view is active, and still tells who that is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Does not vote yet.
    Learner {
        /// Whom to pull from.
        previous: View,
        /// How far, by seat of the view before.
        pulled: Vec<Pulled>,
        /// How far, by seat of its own view.
        copied: Vec<Pulled>,
    },
    /// Votes.
    Active,
    /// Does not vote any more; serves its snapshot.
    Sealed {
        /// The view after it.
        next: View,
    },
    /// Has dropped its snapshot.
    Retired {
        /// The view after it.
        next: View,
    },
}

/// How much of a snapshot has been merged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pulled {
    /// All up to this key; up to none at the beginning.
    UpTo(Option<Key>),
    /// All.
    All,
}

/// What a member remembers of the decree of the next view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    /// Nothing below it is accepted any more.
    pub promise: Ballot,
    /// The highest that was accepted, if any.
    pub accepted: Option<(Ballot, View)>,
}

impl Vote {
    /// Of a member that has heard of no decree.
    pub const NONE: Self = Self { promise: Ballot::ZERO, accepted: None };
}

/// One change of a [`Durable`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// This is remembered of a key.
    Record(Key, Record),
    /// This is remembered of keys without a record.
    Floor(Floor),
    /// The record of a key is dropped.
    Drop(Key),
    /// It has come so far in its life.
    Life(Life),
    /// It has voted on the next view.
    Vote(Vote),
    /// All records are dropped: its life is over.
    Retire(View),
}

impl Durable {
    /// Makes a change.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Record(key, record) => {
                self.records.insert(key.clone(), record.clone());
            }
            Write::Floor(floor) => self.floor = *floor,
            Write::Drop(key) => {
                self.records.remove(key);
            }
            Write::Life(life) => self.life = life.clone(),
            Write::Vote(vote) => self.vote = vote.clone(),
            Write::Retire(next) => {
                self.life = Life::Retired { next: next.clone() };
                self.records.clear();
            }
        }
    }

    /// What is remembered of a key, or of one that was never heard of.
    pub fn record(&self, key: &Key) -> Record {
        let floor = self.floor.ballot;
        match self.records.get(key) {
            // REG-11: a floor counts for every key of which nothing is accepted, also where an older
            // promise stands: what was dropped elsewhere must not come back here.
            Some(Record { promise, accepted: None }) => {
                Record { promise: floor.max(*promise), accepted: None }
            }
            Some(record) => record.clone(),
            None => Record { promise: floor, accepted: None },
        }
    }
}
