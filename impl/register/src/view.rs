//! Views: who holds a slot, and how many of them are a majority.
//!
//! Invariants:
//! * REG-13: the members of a view are different nodes; RF of them, and never more than
//!   [`MAX_MEMBERS`];
//! * a majority is counted by seats of the view, never by who is alive, and two of one view share a
//!   member.
//!
//! What it does not do: choose members, or know who is alive.

use alloc::sync::Arc;
use core::fmt;

use thiserror::Error;

use crate::id::{Epoch, Member, NodeId, Slot};

/// The most members of a view.
pub const MAX_MEMBERS: usize = 15;

/// A position among the members of a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(pub u8);

/// The members of a slot in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View {
    slot: Slot,
    epoch: Epoch,
    members: Arc<[Member]>,
}

/// Why members are no view: whoever proposed them is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ViewError {
    /// Too few or too many.
    #[error("expected 1 to {MAX_MEMBERS} members, got {0}")]
    Size(usize),
    /// A node twice, with whatever incarnations.
    #[error("expected different nodes, got {0} twice")]
    Twice(Member),
}

impl View {
    /// The view of these members.
    ///
    /// # Errors
    /// [`ViewError`]
    pub fn new(slot: Slot, epoch: Epoch, members: &[Member]) -> Result<Self, ViewError> {
        if members.is_empty() || members.len() > MAX_MEMBERS {
            return Err(ViewError::Size(members.len()));
        }
        // REG-13: a node with two seats would vote twice.
        for (at, member) in members.iter().enumerate() {
            if members[..at].iter().any(|other| other.node == member.node) {
                return Err(ViewError::Twice(*member));
            }
        }
        Ok(Self { slot, epoch, members: members.into() })
    }

    /// Whose members they are.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Which view of the slot.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// By seat.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Every seat with its member.
    pub fn seats(&self) -> impl Iterator<Item = (Seat, Member)> {
        (0..).map(Seat).zip(self.members.iter().copied())
    }

    /// The seat of a member: of exactly this incarnation.
    pub fn seat_of(&self, member: Member) -> Option<Seat> {
        self.seats().find(|&(_, other)| other == member).map(|(seat, _)| seat)
    }

    /// The seat of a node, whichever incarnation of it is the member.
    pub fn seat_at(&self, node: NodeId) -> Option<Seat> {
        self.seats().find(|(_, other)| other.node == node).map(|(seat, _)| seat)
    }

    /// Whether these seats are a majority of the view.
    pub fn is_majority(&self, seats: Seats) -> bool {
        seats.len() > self.members.len() / 2
    }

    /// Whether too few are left for a majority without these seats.
    pub fn is_blocked_by(&self, seats: Seats) -> bool {
        self.members.len() - seats.len() <= self.members.len() / 2
    }

    /// Whether these seats are all of the view.
    pub fn is_all(&self, seats: Seats) -> bool {
        seats.len() == self.members.len()
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{:?}", self.slot, self.epoch, self.members)
    }
}

/// A set of seats. Whoever answers twice is in it once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seats(u16);

impl Seats {
    /// Adds one; whether it was not there yet.
    pub fn add(&mut self, seat: Seat) -> bool {
        let before = self.0;
        self.0 |= 1 << seat.0;
        self.0 != before
    }

    /// Whether it is there.
    pub fn has(self, seat: Seat) -> bool {
        self.0 >> seat.0 & 1 == 1
    }

    /// How many.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Incarnation;
    use alloc::vec::Vec;

    fn member(node: u8, incarnation: u64) -> Member {
        Member { node: NodeId([node; 32]), incarnation: Incarnation(incarnation) }
    }

    fn view(members: &[Member]) -> Result<View, ViewError> {
        View::new(Slot(7), Epoch(3), members)
    }

    #[test]
    fn a_node_has_one_seat_whatever_its_incarnations() {
        let twice = [member(1, 0), member(2, 0), member(1, 1)];
        assert_eq!(view(&twice), Err(ViewError::Twice(member(1, 1))));
        assert_eq!(view(&[]), Err(ViewError::Size(0)));
        let many: Vec<_> = (0..16).map(|node| member(node, 0)).collect();
        assert_eq!(view(&many), Err(ViewError::Size(16)));
        assert!(view(&many[..15]).is_ok());
    }

    #[test]
    fn a_seat_belongs_to_one_incarnation() {
        let view = view(&[member(1, 0), member(2, 5)]).unwrap();
        assert_eq!(view.seat_of(member(2, 5)), Some(Seat(1)));
        assert_eq!(view.seat_of(member(2, 6)), None);
    }

    #[test]
    fn two_majorities_share_a_seat() {
        for size in 1..=7_u8 {
            let members: Vec<_> = (0..size).map(|node| member(node, 0)).collect();
            let view = view(&members).unwrap();
            let sets = (0..1 << size).map(Seats).filter(|&seats| view.is_majority(seats));
            let majorities: Vec<_> = sets.collect();
            assert!(majorities.iter().all(|a| majorities.iter().all(|b| a.0 & b.0 != 0)));
            assert!(majorities.iter().any(|seats| seats.len() == usize::from(size) / 2 + 1));
        }
    }
}
