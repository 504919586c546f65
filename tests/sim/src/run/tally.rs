//! What a run has shown, while it runs.
//!
//! Invariants:
//! * only lookups that began in the measured part count; one whose caller went before it ended is
//!   counted apart, since nobody was left to be answered.

use std::collections::BTreeMap;

use cloakroom_kademlia::Cost;
use cloakroom_wire::NodeId;

use crate::engine::{Node, Time};
use crate::kad::resident::Watch;
use crate::stats::Samples;

/// Lookups of one kind.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Begun.
    pub begun: u64,
    /// Ended.
    pub ended: u64,
    /// Ended well.
    pub good: u64,
    /// Whose caller went.
    pub orphaned: u64,
    /// Hops to the result.
    pub hops: Samples,
    /// Requests and answers of each.
    pub messages: Samples,
    /// Microseconds from begin to end.
    pub took_us: Samples,
    /// Requests that stayed unanswered.
    pub failed_requests: u64,
}

impl Tally {
    /// One has ended.
    pub fn end(&mut self, good: bool, cost: &Cost) {
        self.ended += 1;
        self.good += u64::from(good);
        self.hops.add(cost.hops.into());
        let counts = cost.lookup;
        self.messages.add(u64::from(counts.asked) + u64::from(counts.answered));
        self.failed_requests += u64::from(counts.failed);
        self.took_us.add(cost.took_us);
    }

    /// The share that ended well, of those that have ended.
    pub fn success_so_far(&self) -> f64 {
        crate::stats::share(self.good, self.ended)
    }

    /// The share that ended well, of those whose caller stayed, if there were any.
    pub fn success(&self) -> Option<f64> {
        crate::stats::share_of_some(self.good, self.begun - self.orphaned)
    }
}

/// A lookup that was watched.
#[derive(Clone, Debug)]
pub struct Story {
    /// Who.
    pub caller: Node,
    /// What for.
    pub target: NodeId,
    /// Whether it was a read.
    pub read: bool,
    /// When it began.
    pub began: Time,
    /// Whether it ended well.
    pub good: bool,
    /// Hops.
    pub hops: u8,
    /// Microseconds.
    pub took_us: u64,
    /// Every request.
    pub watch: Watch,
}

/// How things stood in one part of the measured time.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// When it ended.
    pub at: Time,
    /// Who could be found.
    pub up: u64,
    /// Who came since the moment before.
    pub came: u64,
    /// Who went.
    pub went: u64,
    /// Lookups and reads that ended.
    pub ended: u64,
    /// Of these, well.
    pub good: u64,
    /// How long they took.
    pub took_us: Samples,
    /// Messages sent.
    pub sent: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

/// A question that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) what: What,
    pub(crate) began: Time,
    pub(crate) measured: bool,
    pub(crate) watched: bool,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Point(NodeId),
    Record(u32),
    Publish(u32),
}

/// Questions by who asked and what the machine calls them; in order, so that nothing depends on
/// hashing.
pub(crate) type Open = BTreeMap<(Node, u64), Question>;
