//! What the machine tells its driver.

use alloc::vec::Vec;
use core::fmt;

use cloakroom_wire::{Contact, NodeId, OwnedRecord};
use thiserror::Error;

use crate::lookup::Counts;

/// Names a query, for its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "l{}", self.0)
    }
}

/// What a query has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cost {
    /// Requests of its lookup.
    pub lookup: Counts,
    /// Hops to where the result was found: one for a contact of our own table, zero for ourselves.
    pub hops: u8,
    /// Microseconds from its begin to its end.
    pub took_us: u64,
}

/// What has come of something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// [`find_node`](crate::Kademlia::find_node) has ended.
    Found {
        /// Which.
        query: QueryId,
        /// The `k` closest that answered, the closest first; without ourselves.
        closest: Vec<Contact>,
        /// What it has cost.
        cost: Cost,
    },
    /// [`find_value`](crate::Kademlia::find_value) has found records.
    Value {
        /// Which.
        query: QueryId,
        /// At most one of each origin. A tombstone says that the key was deleted.
        records: Vec<OwnedRecord>,
        /// Who had them; perhaps ourselves.
        from: NodeId,
        /// What it has cost.
        cost: Cost,
    },
    /// [`find_value`](crate::Kademlia::find_value) has found none with those who ought to have it.
    Absent {
        /// Which.
        query: QueryId,
        /// What it has cost.
        cost: Cost,
    },
    /// [`publish`](crate::Kademlia::publish) has ended.
    Published {
        /// Which.
        query: QueryId,
        /// How many hold the record now, ourselves included: fewer than asked for if too few would.
        holders: u8,
        /// A newer version of the record was met; its sequence number.
        newer: Option<u64>,
        /// What its lookup has cost.
        cost: Cost,
    },
    /// [`ping_contact`](crate::Kademlia::ping_contact) was answered.
    Answered {
        /// Which.
        query: QueryId,
        /// Microseconds from the request to its answer.
        took_us: u64,
    },
    /// [`ping_contact`](crate::Kademlia::ping_contact) was not answered in time.
    Unanswered {
        /// Which.
        query: QueryId,
        /// Microseconds that were waited.
        waited_us: u64,
    },
    /// [`join`](crate::Kademlia::join) has ended.
    Joined {
        /// How many contacts the table has now: with none, no bootstrap contact answered.
        contacts: usize,
    },
    /// [`leave`](crate::Kademlia::leave) has ended: what could be handed over was.
    Left {
        /// Records that as many others hold as ought to.
        handed: u32,
        /// Records of which that is not known.
        kept: u32,
    },
    /// A contact of the table is taken for dead.
    Dead {
        /// Who.
        contact: Contact,
    },
}

/// Too many queries are under way: the caller's fault, who may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected fewer than {most} queries under way, got {got}")]
pub struct Busy {
    /// The bound.
    pub most: usize,
    /// How many there are.
    pub got: usize,
}
