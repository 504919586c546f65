//! What replicas and coordinators say to each other, as values.
//!
//! Invariants:
//! * REG-3: every message carries (slot, epoch), and each part of it is for that view alone;
//! * a reply names the ballot of its request, and a ballot belongs to one request of one
//!   coordinator: nothing else ties the two together, so loss, repetition and any order are harmless;
//! * parts about several keys of one slot travel in one message.
//!
//! What it does not do: bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::ballot::Ballot;
use crate::forward::{Called, Forwarded, Start};
use crate::id::{Epoch, Key, NodeId, Slot, Version};
use crate::record::{Accepted, Floor, State};
use crate::view::View;

/// A message to a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Envelope {
    /// To whom. Its incarnation follows from the view of the message.
    pub to: NodeId,
    /// What.
    pub message: Message,
}

/// A message within one view of one slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    /// Which slot.
    pub slot: Slot,
    /// Which view of it.
    pub epoch: Epoch,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// A coordinator asks a member about keys.
    Ask(Vec<Ask>),
    /// The member answers.
    Reply(Vec<Reply>),
    /// The slot has a newer view than the message that this answers.
    Newer(View),
    /// A member of `e` asks another about the decree of the next view.
    Decree(DecreeAsk),
    /// It answers.
    Decreed(DecreeReply),
    /// The view after `previous` is decided.
    Decided {
        /// Whose members decided.
        previous: View,
        /// What.
        next: View,
    },
    /// A member of the next view wants the snapshot of a member of this one, which is sealed by it.
    Pull {
        /// The next view, which is decided.
        next: View,
        /// From behind this key.
        after: Option<Key>,
    },
    /// A learner wants what an active member of its own view has.
    Copy {
        /// From behind this key.
        after: Option<Key>,
    },
    /// Answers both.
    Page(Page),
    /// A sealed member asks a member of the next view, in that view, whether it is active.
    AreYouActive,
    /// It answers, in the view of the sealed member: it is, or was.
    IsActive,
    /// Collection of tombstones: asks a member about keys.
    Collect(Vec<Collect>),
    /// The member agrees that these tombstones, by key, are what it has.
    Agreed(Vec<(Key, Ballot)>),
    /// A node asks another to run an operation. For nodes, not for replicas.
    Call(Box<Forwarded>),
    /// What became of it.
    Called(Box<Called>),
    /// Which start of a node sends this. For nodes, not for replicas.
    Start(Start),
}

/// What is asked in a decree. Its ballots are ordered like those of keys and have nothing else to do
/// with them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecreeAsk {
    /// Promise this ballot; what have you accepted?
    Prepare(Ballot),
    /// Accept this view.
    Accept(Ballot, View),
}

/// What is answered in a decree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecreeReply {
    /// Promised; and this is accepted.
    Promised(Ballot, Option<(Ballot, View)>),
    /// Accepted.
    Accepted(Ballot),
    /// A higher ballot is promised.
    Refused(Ballot, Ballot),
}

/// A part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Page {
    /// In which view its sender voted.
    pub source: Epoch,
    /// It begins behind this key.
    pub after: Option<Key>,
    /// What is accepted, by ascending keys.
    pub records: Vec<(Key, Accepted)>,
    /// Of the keys that are not there.
    pub floor: Floor,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// What is asked about a tombstone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collect {
    /// Is exactly this accepted? A member with nothing does not agree, however high its floor.
    Check {
        /// Of which key.
        key: Key,
        /// The ballot of the tombstone.
        tombstone: Ballot,
        /// Its version.
        version: Version,
    },
    /// Every member agrees: drop it.
    Drop {
        /// Of which key.
        key: Key,
        /// The ballot of the tombstone.
        tombstone: Ballot,
    },
}

/// What a coordinator asks about a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// What have you accepted? Promises nothing.
    Read {
        /// Of which key.
        key: Key,
        /// Names this request.
        ballot: Ballot,
    },
    /// Promise this ballot; what have you accepted?
    Prepare {
        /// For which key.
        key: Key,
        /// The ballot.
        ballot: Ballot,
    },
    /// Accept this state, and promise `next` with it.
    Accept {
        /// For which key.
        key: Key,
        /// The ballot, promised by a majority.
        ballot: Ballot,
        /// The state.
        state: State,
        /// The ballot of the coordinator's next accept, whose prepare this one takes the place of.
        next: Option<Ballot>,
    },
}

/// What a member answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reply {
    /// To a read: this is accepted.
    Held {
        /// Of which key.
        key: Key,
        /// Of the request.
        ballot: Ballot,
        /// What.
        found: Found,
    },
    /// Promised; and this is accepted.
    Promised {
        /// For which key.
        key: Key,
        /// Of the request.
        ballot: Ballot,
        /// What.
        found: Found,
    },
    /// Accepted, and `next` promised if it was asked for.
    Accepted {
        /// For which key.
        key: Key,
        /// Of the request.
        ballot: Ballot,
        /// What is promised with it.
        next: Option<Ballot>,
    },
    /// A higher ballot is promised.
    Refused {
        /// For which key.
        key: Key,
        /// Of the request.
        ballot: Ballot,
        /// The higher one.
        promise: Ballot,
    },
}

/// What one member, or a majority of them, has of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Found {
    /// What is accepted under the highest ballot, if anything.
    pub accepted: Option<Accepted>,
    /// The version floor of the slot.
    pub floor: Version,
}

impl Found {
    /// Nothing, of a slot in which nothing was ever dropped.
    pub const NOTHING: Self = Self { accepted: None, floor: Version(0) };

    /// REG-10: the version that the next write must be above: the record's or, without a record,
    /// the floor's.
    pub fn version(&self) -> Version {
        self.accepted.as_ref().map_or(self.floor, |accepted| accepted.state.version)
    }

    /// The ballot, if anything is accepted.
    pub fn ballot(&self) -> Option<Ballot> {
        self.accepted.as_ref().map(|accepted| accepted.ballot)
    }

    /// What both together show: the highest *ballot* counts, not the first answer nor the highest
    /// version.
    pub fn join(&mut self, other: &Self) {
        if other.ballot() > self.ballot() {
            self.accepted.clone_from(&other.accepted);
        }
        self.floor = self.floor.max(other.floor);
    }
}

impl Reply {
    /// The ballot of the request that it answers.
    pub fn ballot(&self) -> Ballot {
        match self {
            Self::Held { ballot, .. }
            | Self::Promised { ballot, .. }
            | Self::Accepted { ballot, .. }
            | Self::Refused { ballot, .. } => *ballot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Boot, OperationId};
    use crate::view::Seat;

    #[test]
    fn of_two_answers_the_higher_ballot_counts_and_of_two_floors_the_higher() {
        let found = |round, version, floor| {
            let ballot = Ballot { epoch: Epoch(0), round, seat: Seat(0), boot: Boot(0) };
            let version = Version(version);
            let state = State { version, content: None, operation: OperationId([0; 16]) };
            Found { accepted: Some(Accepted { ballot, state }), floor: Version(floor) }
        };
        let (low, high) = (found(1, 9, 3), found(2, 4, 1));
        for (mut one, other) in [(low.clone(), high.clone()), (high, low)] {
            one.join(&other);
            assert_eq!(one, found(2, 4, 3));
        }
        let mut nothing = Found::NOTHING;
        nothing.join(&found(1, 9, 3));
        assert_eq!(nothing.version(), Version(9));
    }
}
