//! What a cluster begins with: its founders, its slots, the first views.
//!
//! Invariants:
//! * NODE-1: every node of a cluster computes the same first views from the same genesis: all order in it is
//!   by id, whatever the order in which founders were named;
//! * no founder twice, and as many members to a view as there are replicas asked for, or as
//!   there are founders if they are fewer.
//!
//! What it does not do: files, signatures. Whoever reads a genesis has made sure of it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use cloakroom_register::{Epoch, Incarnation, MAX_MEMBERS, Member, Slot, View};
use cloakroom_wire::{Contact, NodeId};
use thiserror::Error;

use crate::placement::{Candidate, place};

/// The most slots of a cluster.
pub const MAX_SLOTS: u32 = 1 << 15;

/// What fails together: a rack, a room, a region. Two members of a view are in one only when there are
/// too few.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(pub Arc<str>);

/// A member from the beginning, on its first disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Founder {
    /// Who, and where.
    pub contact: Contact,
    /// What it fails together with.
    pub zone: Zone,
}

/// What a cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Genesis {
    founders: Vec<Founder>,
    slot_bits: u8,
    replicas: u8,
}

/// Why nothing can begin like this: whoever wrote the genesis is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// Nobody, of whom views could be made.
    #[error("expected at least one founder, got none")]
    Nobody,
    /// A node stands there twice.
    #[error("expected different founders, got {0} twice")]
    Twice(NodeId),
    /// No power of two, or too many.
    #[error("slots: expected a power of two from 1 to {MAX_SLOTS}, got {0}")]
    Slots(u32),
    /// Too few or too many.
    #[error("replicas: expected 1 to {MAX_MEMBERS}, got {0}")]
    Replicas(u8),
}

impl Genesis {
    /// A beginning with these founders, so many slots, and so many members to each.
    ///
    /// # Errors
    /// [`GenesisError`]
    pub fn new(founders: &[Founder], slots: u32, replicas: u8) -> Result<Self, GenesisError> {
        if founders.is_empty() {
            return Err(GenesisError::Nobody);
        }
        if !slots.is_power_of_two() || slots > MAX_SLOTS {
            return Err(GenesisError::Slots(slots));
        }
        if replicas == 0 || usize::from(replicas) > MAX_MEMBERS {
            return Err(GenesisError::Replicas(replicas));
        }
        let mut founders = founders.to_vec();
        founders.sort_by_key(|founder| founder.contact.id);
        if let Some(pair) =
            founders.windows(2).find(|pair| pair[0].contact.id == pair[1].contact.id)
        {
            return Err(GenesisError::Twice(pair[0].contact.id));
        }
        // At most 15.
        let slot_bits = u8::try_from(slots.trailing_zeros()).unwrap_or(u8::MAX);
        Ok(Self { founders, slot_bits, replicas })
    }

    /// By id.
    pub fn founders(&self) -> &[Founder] {
        &self.founders
    }

    /// How many members a slot ought to have.
    pub fn replicas(&self) -> usize {
        self.replicas.into()
    }

    /// All slots.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..1 << self.slot_bits).map(Slot)
    }

    /// The slot of a key with this hash: its first bits.
    pub fn slot_of(&self, hash: &[u8; 32]) -> Slot {
        let first = u16::from_be_bytes([hash[0], hash[1]]);
        // By 16 when there is one slot.
        Slot(first.checked_shr(self.behind()).unwrap_or(0))
    }

    /// Bits behind a slot's in the first two bytes of a hash.
    fn behind(&self) -> u32 {
        16 - u32::from(self.slot_bits)
    }

    /// The point of the id space to which the members of a slot ought to be close.
    pub fn point_of(&self, slot: Slot) -> NodeId {
        let first = slot.0.checked_shl(self.behind()).unwrap_or(0);
        let mut point = [0; 32];
        point[..2].copy_from_slice(&first.to_be_bytes());
        NodeId(point)
    }

    /// Those who can be members from the beginning.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.founders.iter().map(|founder| Candidate {
            member: Member { node: founder.contact.id, incarnation: Incarnation(0) },
            zone: founder.zone.clone(),
        })
    }

    /// The first view of a slot.
    ///
    /// # Panics
    /// Never: the founders are different nodes, and at least one.
    pub fn view(&self, slot: Slot) -> View {
        let candidates: Vec<Candidate> = self.candidates().collect();
        let members = place(self.point_of(slot), self.replicas(), &[], &candidates);
        View::new(slot, Epoch(0), &members).expect("NODE-1: different founders, and not too many")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloakroom_wire::{Address, NodeKey};

    fn founder(id: u8, zone: &str) -> Founder {
        let contact = Contact {
            id: NodeId([id; 32]),
            address: Address::v4([10, 0, 0, id], 1),
            key: NodeKey([id; 32]),
        };
        Founder { contact, zone: Zone(zone.into()) }
    }

    #[test]
    fn the_first_views_do_not_depend_on_the_order_in_which_founders_are_named() {
        let founders = [founder(9, "a"), founder(130, "b"), founder(70, "c"), founder(200, "a")];
        let mut other = founders.clone();
        other.reverse();
        let one = Genesis::new(&founders, 256, 3).unwrap();
        let two = Genesis::new(&other, 256, 3).unwrap();
        assert_eq!(one.slots().count(), 256);
        for slot in one.slots() {
            assert_eq!(one.view(slot), two.view(slot));
            assert_eq!(one.view(slot).members().len(), 3);
        }
    }

    #[test]
    fn a_key_is_in_the_slot_that_its_first_bits_name_whatever_the_number_of_slots() {
        for bits in 0..=15 {
            let genesis = Genesis::new(&[founder(1, "a")], 1 << bits, 3).unwrap();
            assert_eq!(genesis.slots().count(), 1 << bits);
            let last = Slot(u16::try_from((1_u32 << bits) - 1).unwrap());
            assert_eq!(genesis.slots().last(), Some(last));
            assert_eq!(genesis.slot_of(&[0xff; 32]), last);
            assert_eq!(genesis.slot_of(&[0; 32]), Slot(0));
            for slot in genesis.slots() {
                assert_eq!(genesis.slot_of(&genesis.point_of(slot).0), slot);
            }
        }
    }

    #[test]
    fn what_cannot_begin_is_refused_with_what_was_expected() {
        let one = [founder(1, "a")];
        assert_eq!(Genesis::new(&[], 1, 1), Err(GenesisError::Nobody));
        assert_eq!(Genesis::new(&one, 3, 1), Err(GenesisError::Slots(3)));
        assert_eq!(Genesis::new(&one, 0, 1), Err(GenesisError::Slots(0)));
        assert_eq!(Genesis::new(&one, 1 << 16, 1), Err(GenesisError::Slots(1 << 16)));
        assert_eq!(Genesis::new(&one, 1, 0), Err(GenesisError::Replicas(0)));
        assert_eq!(Genesis::new(&one, 1, 16), Err(GenesisError::Replicas(16)));
        let twice = [founder(1, "a"), founder(1, "b")];
        assert_eq!(Genesis::new(&twice, 1, 1), Err(GenesisError::Twice(NodeId([1; 32]))));
        let apart = [founder(1, "a"), founder(2, "a"), founder(1, "b")];
        assert_eq!(Genesis::new(&apart, 1, 1), Err(GenesisError::Twice(NodeId([1; 32]))));
    }
}
