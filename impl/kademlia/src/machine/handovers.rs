//! Records that wait to be given to somebody, in the order in which they came.
//!
//! Invariants:
//! * KAD-5: no record waits twice for the same node, so there are never more than records times nodes that
//!   ought to hold them;
//! * what was tried says how often, wherever it waits.
//!
//! What it does not do: decide what is given to whom, or how often it is tried.

use alloc::collections::{BTreeSet, VecDeque};

use cloakroom_wire::{Contact, NodeId};

use crate::records::Name;

/// A record to give to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handover {
    pub(super) name: Name,
    pub(super) to: Contact,
    /// How often it was sent in vain.
    pub(super) tries: u8,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Handovers {
    queue: VecDeque<Handover>,
    /// The same without order.
    queued: BTreeSet<(Name, NodeId)>,
}

impl Handovers {
    /// Behind the others, unless it waits already.
    pub(super) fn push(&mut self, handover: Handover) {
        if self.queued.insert((handover.name, handover.to.id)) {
            self.queue.push_back(handover);
        }
    }

    /// What was never tried.
    pub(super) fn begin(&mut self, name: Name, to: Contact) {
        self.push(Handover { name, to, tries: 0 });
    }

    pub(super) fn pop(&mut self) -> Option<Handover> {
        let handover = self.queue.pop_front()?;
        self.queued.remove(&(handover.name, handover.to.id));
        Some(handover)
    }

    pub(super) fn has(&self, name: &Name, to: NodeId) -> bool {
        self.queued.contains(&(*name, to))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of memory beside this, as if the set's nodes were full.
    pub(super) fn bytes(&self) -> usize {
        self.queue.capacity() * size_of::<Handover>()
            + self.queued.len() * size_of::<(Name, NodeId)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use cloakroom_wire::{Address, NodeKey, RecordKey};

    #[test]
    fn a_record_waits_once_for_each_node_in_the_order_in_which_it_came() {
        let name = |number: u8| (RecordKey([number; 32]), NodeId([7; 32]));
        let to = |number: u8| Contact {
            id: NodeId([number; 32]),
            address: Address::v4([10, 0, 0, number], 1),
            key: NodeKey([number; 32]),
        };
        let mut handovers = Handovers::default();
        for _ in 0..2 {
            handovers.begin(name(2), to(1));
            handovers.begin(name(1), to(2));
            handovers.begin(name(1), to(1));
        }
        let first = handovers.pop().unwrap();
        assert_eq!((first.name, first.to, first.tries), (name(2), to(1), 0));
        // What was taken out may come in again, behind the others.
        handovers.push(Handover { tries: 1, ..first });
        handovers.begin(name(2), to(1));
        let rest: Vec<Handover> = core::iter::from_fn(|| handovers.pop()).collect();
        let rest: Vec<_> = rest.iter().map(|it| (it.name, it.to, it.tries)).collect();
        assert_eq!(rest, [(name(1), to(2), 0), (name(1), to(1), 0), (name(2), to(1), 1)]);
        assert!(handovers.is_empty());
    }
}
