//! Whom a node knows by name: founders, members, and whoever it was told of; also those who were members.
//!
//! What it does not do: forget. The routing table has the rest of the world.

use alloc::collections::BTreeMap;

use cloakroom_wire::{Contact, NodeId};

/// Contacts by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    contacts: BTreeMap<NodeId, Contact>,
    /// A bit for the first six of each id. Most of those who send are strangers: they are told without a look
    /// into the map.
    firsts: u64,
}

const fn first(node: NodeId) -> u64 {
    1 << (node.0[0] >> 2)
}

impl Known {
    /// Where a node is.
    pub(crate) fn get(&self, node: NodeId) -> Option<Contact> {
        self.contacts.get(&node).copied()
    }

    /// Whether it is known.
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.firsts & first(node) != 0 && self.contacts.contains_key(&node)
    }

    /// All of them, by id.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.contacts.keys().copied()
    }
}

impl Extend<Contact> for Known {
    fn extend<T: IntoIterator<Item = Contact>>(&mut self, contacts: T) {
        for contact in contacts {
            self.firsts |= first(contact.id);
            self.contacts.insert(contact.id, contact);
        }
    }
}
