//! What requests to other nodes name: a number, and the start that may run them.
//!
//! Invariants:
//! * NODE-8: a number is given once;
//! * a start that is over is not named if that can be known: the node would answer with its new one, and nobody could
//!   say any more whether the earlier one has begun the request. So none is named that was not heard of lately;
//! * what peers can make this node remember is bounded by those that it has called.
//!
//! What it does not do: find out at once that a node has started again. What it is handed meanwhile is lost.

use alloc::collections::BTreeMap;

use cloakroom_kademlia::Moment;
use cloakroom_register::{NodeId, Start};

#[derive(Debug)]
pub(crate) struct Peers {
    /// How many requests each was sent.
    numbers: BTreeMap<NodeId, u64>,
    /// Which start of each runs operations, as it has said itself, and when that was last heard.
    starts: BTreeMap<NodeId, (Start, Moment)>,
    /// After so long what was heard may be over.
    silent_ms: u64,
}

impl Peers {
    pub(crate) fn new(silent_ms: u64) -> Self {
        Self { numbers: BTreeMap::new(), starts: BTreeMap::new(), silent_ms }
    }

    /// The number of the next request to a peer, and the start that may run it, if it is known.
    pub(crate) fn next(&mut self, now: Moment, peer: NodeId) -> (u64, Option<Start>) {
        let number = self.numbers.entry(peer).or_insert(0);
        *number += 1;
        let heard = self.starts.get(&peer);
        let lately = heard.filter(|(_, at)| now.since_ms(*at) < self.silent_ms);
        (*number, lately.map(|(start, _)| *start))
    }

    /// A peer has answered a request with the start that is to be asked.
    pub(crate) fn told(&mut self, now: Moment, peer: NodeId, start: Start) {
        self.starts.insert(peer, (start, now));
    }

    /// A start of a peer was heard, perhaps late.
    pub(crate) fn heard(&mut self, now: Moment, peer: NodeId, start: Start) {
        let Some(known) = self.starts.get_mut(&peer) else { return };
        // An earlier one of the same disk is over.
        if known.0.incarnation != start.incarnation || known.0.boot <= start.boot {
            *known = (start, now);
        }
    }
}
