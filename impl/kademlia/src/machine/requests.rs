//! Requests under way: to whom, why, and until when.
//!
//! Invariants:
//! * KAD-6: an answer is taken once, from the one who was asked, and of the kind that was asked for;
//! * they stand in the order in which they fall due.
//!
//! What it does not do: send. How long a request may take follows from how long others took, as in
//! TCP (RFC 6298): smoothed time plus four times its variation.

use alloc::collections::VecDeque;

use cloakroom_wire::{Contact, Kind, NodeId, RequestId};

use crate::machine::QueryId;
use crate::parameters::Parameters;
use crate::records::Name;
use crate::table::smoothed;
use crate::time::Moment;

/// What a request was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Why {
    /// A lookup, or what follows it.
    Query(QueryId),
    /// Somebody unknown sent us a request, and may get a place in the table if it answers.
    Greeting,
    /// To hear whether it lives.
    Probe,
    /// The same, for a caller who waits for it.
    Caller(QueryId),
    /// A holder is to have this record, and would say so; how often it was sent in vain before.
    Handover(Name, u8),
    /// A copy beside the path: whether it is kept is its own affair.
    Cache,
    /// It has a newer version of this record than we.
    Pull(Name),
}

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) id: RequestId,
    pub(super) to: Contact,
    pub(super) kind: Kind,
    pub(super) why: Why,
    pub(super) sent: Moment,
    due: Moment,
    ends: Moment,
}

/// What falls due.
pub(super) enum Due {
    /// It takes longer than most.
    Slow(Pending),
    /// It counts as unanswered.
    Unanswered(Pending),
}

/// All requests under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pending: VecDeque<Pending>,
    rtt_us: u32,
    variation_us: u32,
}

impl Requests {
    pub(super) fn insert(
        &mut self,
        now: Moment,
        parameters: &Parameters,
        (id, to, kind, why): (RequestId, Contact, Kind, Why),
    ) {
        let (slow_us, timeout_us) = self.patience_us(parameters);
        let ends = now.plus_us(timeout_us);
        let due = if matches!(why, Why::Query(_)) { now.plus_us(slow_us).min(ends) } else { ends };
        self.put(Pending { id, to, kind, why, sent: now, due, ends });
    }

    fn put(&mut self, pending: Pending) {
        let mut at = self.pending.len();
        // Patience changes slowly: nearly always the last place.
        while at > 0 && self.pending[at - 1].due > pending.due {
            at -= 1;
        }
        self.pending.insert(at, pending);
    }

    /// After what time a request is slow, and after what unanswered.
    fn patience_us(&self, parameters: &Parameters) -> (u64, u64) {
        let (least, most) = parameters.timeout_ms;
        if self.rtt_us == 0 {
            return (least * 1000, most * 1000);
        }
        let (rtt, variation) = (u64::from(self.rtt_us), u64::from(self.variation_us));
        let timeout = (2 * (rtt + 4 * variation)).clamp(least * 1000, most * 1000);
        let slow = (rtt + 2 * variation).max(parameters.slow_ms * 1000);
        (slow.min(timeout), timeout)
    }

    /// KAD-6: the request that this answers.
    pub(super) fn take(&mut self, id: RequestId, from: NodeId, kind: Kind) -> Option<Pending> {
        let answers = |pending: &Pending| {
            pending.id == id
                && pending.to.id == from
                && (kind == pending.kind.answer() || kind == Kind::ERROR)
        };
        let at = self.pending.iter().position(answers)?;
        self.pending.remove(at)
    }

    /// An answer took so long.
    pub(super) fn took(&mut self, us: u32) {
        if self.rtt_us == 0 {
            (self.rtt_us, self.variation_us) = (us.max(1), us / 2);
            return;
        }
        let off = self.rtt_us.abs_diff(us);
        self.variation_us = self.variation_us - self.variation_us / 4 + off / 4;
        self.rtt_us = smoothed(self.rtt_us, us).max(1);
    }

    /// What has fallen due, one at a time.
    pub(super) fn poll_due(&mut self, now: Moment) -> Option<Due> {
        let first = self.pending.front().filter(|pending| pending.due <= now)?;
        let slow = first.due < first.ends && now < first.ends;
        let mut pending = self.pending.pop_front()?;
        if !slow {
            return Some(Due::Unanswered(pending));
        }
        pending.due = pending.ends;
        self.put(pending);
        Some(Due::Slow(pending))
    }

    pub(super) fn next_due(&self) -> Moment {
        self.pending.front().map_or(Moment::NEVER, |pending| pending.due)
    }

    pub(super) fn count(&self, is: impl Fn(&Why) -> bool) -> usize {
        self.pending.iter().filter(|pending| is(&pending.why)).count()
    }

    pub(super) fn outstanding(&self, id: NodeId) -> u16 {
        let count = self.pending.iter().filter(|pending| pending.to.id == id).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// Whether this record is on its way to it.
    pub(super) fn is_handing(&self, name: &Name, to: NodeId) -> bool {
        let hands = |why: &Why| matches!(why, Why::Handover(handed, _) if handed == name);
        self.pending.iter().any(|pending| pending.to.id == to && hands(&pending.why))
    }

    pub(super) fn is_pinging(&self, id: NodeId) -> bool {
        self.pending.iter().any(|pending| pending.to.id == id && pending.kind == Kind::PING)
    }

    pub(super) fn bytes(&self) -> usize {
        self.pending.capacity() * size_of::<Pending>()
    }

    /// Gives back memory that a burst took.
    pub(super) fn shrink(&mut self) {
        if self.pending.is_empty() && self.pending.capacity() > 16 {
            self.pending = VecDeque::new();
        }
    }
}
