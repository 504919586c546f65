//! What a member remembers of one key, and of a whole slot.
//!
//! Invariants:
//! * REG-6: a record's promise is never below the ballot that it has accepted;
//! * a key without a record is as if it had promised the slot's floor and accepted nothing, at the
//!   floor's version: REG-10, REG-11.

use crate::ballot::Ballot;
use crate::id::{OperationId, Value, Version};

/// One of the states that a key has had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// Which.
    pub version: Version,
    /// The value; `None` is a tombstone.
    pub content: Option<Value>,
    /// Who made it: REG-7, REG-8.
    pub operation: OperationId,
}

/// A state, and the ballot under which it was accepted here or, if of an older epoch, somewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Accepted {
    /// When.
    pub ballot: Ballot,
    /// What.
    pub state: State,
}

/// What a member remembers of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// Nothing below it is accepted any more.
    pub promise: Ballot,
    /// The highest that was accepted, if any.
    pub accepted: Option<Accepted>,
}

/// What survives of keys whose tombstones were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Floor {
    /// At least as high as every promise that was dropped with a record.
    pub ballot: Ballot,
    /// At least as high as every version that was dropped with a record.
    pub version: Version,
}

impl Floor {
    /// Of a slot in which nothing was ever dropped.
    pub const ZERO: Self = Self { ballot: Ballot::ZERO, version: Version(0) };

    /// The higher of both, part by part.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { ballot: self.ballot.max(other.ballot), version: self.version.max(other.version) }
    }
}

impl Accepted {
    /// Whether it says that the key was removed.
    pub fn is_tombstone(&self) -> bool {
        self.state.content.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Key;

    #[test]
    fn a_key_costs_at_most_128_bytes_of_memory_beside_key_and_value() {
        // Key and value stand elsewhere, each behind two reference counts. What the nodes of the map
        // leave free is not in it, nor is the allocator's part.
        let counts = 2 * size_of::<usize>();
        let bytes = size_of::<(Key, Record)>() + 2 * counts;
        assert!(bytes <= 128, "{bytes}");
    }
}
