//! Who is silent for how long, and the views that follow from it.
//!
//! Invariants:
//! * what stands here decides only which views are *proposed*. That a proposal is harmless is the
//!   registers' affair, and that one is decided needs a majority of the view;
//! * NODE-2: a node that hears nobody takes nobody for gone: it is cut off itself, and proposes nothing;
//! * one member proposes at a time, as long as the others are not much slower: each further seat waits
//!   as long again.
//!
//! What it does not do: judge who is faulty. Silence for a stated time is all it knows; loss of single
//! answers does not make silence, since everybody is asked many times within it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use cloakroom_kademlia::Moment;
use cloakroom_register::{Life, Member, Replica, View};
use cloakroom_wire::NodeId;

use crate::genesis::Genesis;
use crate::placement::{Candidate, place};

/// How long a node waits before it takes another for gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patience {
    /// Between two questions to the same node.
    pub ask_ms: u64,
    /// Who is silent for so long is gone: some multiple of `ask_ms`.
    pub silent_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { ask_ms: 1000, silent_ms: 10_000 }
    }
}

/// When each of the others was last heard.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    patience: Patience,
    began: Moment,
    heard: BTreeMap<NodeId, Moment>,
    pub(crate) next: Moment,
}

impl Watch {
    pub(crate) fn new(now: Moment, patience: Patience) -> Self {
        Self { patience, began: now, heard: BTreeMap::new(), next: now }
    }

    /// A node has sent something.
    pub(crate) fn heard(&mut self, now: Moment, node: NodeId) {
        self.heard.insert(node, now);
    }

    /// When it was last heard.
    pub(crate) fn heard_at(&self, node: NodeId) -> Option<Moment> {
        self.heard.get(&node).copied()
    }

    /// It is time to look around again.
    pub(crate) fn look(&mut self, now: Moment) {
        self.next = now.plus_ms(self.patience.ask_ms);
    }

    /// How often over a node has been silent for as long as it may.
    fn patience_lost(&self, now: Moment, node: NodeId) -> u64 {
        let last = self.heard.get(&node).copied().unwrap_or(self.began);
        now.since_ms(last) / self.patience.silent_ms.max(1)
    }

    fn is_gone(&self, now: Moment, node: NodeId) -> bool {
        self.patience_lost(now, node) > 0
    }

    /// The view that ought to follow that of an active replica of ours, if another ought to and it is
    /// our turn to propose it.
    pub(crate) fn successor(
        &self,
        now: Moment,
        genesis: &Genesis,
        replica: &Replica,
        candidates: &[Candidate],
    ) -> Option<View> {
        let view = replica.view();
        let me = replica.durable().me;
        if replica.durable().life != Life::Active {
            return None;
        }
        let lives = |member: &Member| *member == me || !self.is_gone(now, member.node);
        let stay: Vec<Member> = view.members().iter().copied().filter(lives).collect();
        let gone = view.members().iter().filter(|member| !lives(member));
        // As often over as there are members before us that may propose it themselves.
        let turn = stay.iter().position(|member| *member == me)?;
        let waited = gone.map(|member| self.patience_lost(now, member.node)).min();
        let is_short = view.members().len() < genesis.replicas();
        let is_due = waited.map_or(is_short && turn == 0, |waited| waited > turn as u64);
        // NODE-2: a node that is cut off is not to speak.
        if !is_due || stay.len() <= view.members().len() / 2 {
            return None;
        }
        let candidates: Vec<Candidate> =
            candidates.iter().filter(|candidate| lives(&candidate.member)).cloned().collect();
        let point = genesis.point_of(view.slot());
        let members = place(point, genesis.replicas(), &stay, &candidates);
        // A view that only lost members would be easier to lose altogether.
        if members.len() < view.members().len() || members == view.members() {
            return None;
        }
        View::new(view.slot(), view.epoch().next()?, &members).ok()
    }
}
