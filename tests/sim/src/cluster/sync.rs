//! A disk that takes its time: what a step persists is durable first, then its messages and answers leave.
//!
//! Invariants:
//! * what follows from a step leaves after everything that was persisted before it, also if the step persists
//!   nothing: it may tell what an earlier one has written;
//! * a crash loses what waits, but for whatever part of it had reached the disk: the world decides
//!   how much.
//!
//! What it does not do: keep the disk.

use std::collections::VecDeque;

use cloakroom_node::Effects;

use crate::engine::Time;
use crate::random::Random;

/// Effects that wait for their sync, in their order.
pub(crate) struct Syncs {
    waiting: VecDeque<(Time, Effects)>,
    sync_ms: u64,
    random: Random,
}

/// Whether a step changes the disk.
pub(crate) fn persists(effects: &Effects) -> bool {
    !effects.persist.is_empty() || !effects.keep.is_empty()
}

impl Syncs {
    /// A sync takes at most so long.
    pub(crate) fn new(sync_ms: u64, random: Random) -> Self {
        Self { waiting: VecDeque::new(), sync_ms, random }
    }

    /// A step was made; its effects come back if they may leave at once.
    pub(crate) fn take(&mut self, now: Time, effects: Effects) -> Option<Effects> {
        let last = self.waiting.back().map_or(now, |(at, _)| (*at).max(now));
        if !persists(&effects) {
            if self.waiting.is_empty() {
                return Some(effects);
            }
            let Effects { send, events, votes, .. } = &effects;
            if !(send.is_empty() && events.is_empty() && votes.is_empty()) {
                self.waiting.push_back((last, effects));
            }
            return None;
        }
        if self.sync_ms == 0 {
            return Some(effects);
        }
        // What comes while a sync runs waits for the next one, and shares it.
        let shares =
            self.waiting.back().is_some_and(|(at, _)| *at > now.plus_us(self.sync_ms * 1000));
        let takes = if shares { 0 } else { self.random.below(self.sync_ms * 1000) };
        self.waiting.push_back((last.plus_us(takes), effects));
        None
    }

    /// The next effects whose time has come.
    pub(crate) fn poll(&mut self, now: Time) -> Option<Effects> {
        let is_due = self.waiting.front().is_some_and(|(at, _)| *at <= now);
        if is_due { self.waiting.pop_front().map(|(_, effects)| effects) } else { None }
    }

    /// When the next one's comes.
    pub(crate) fn due(&self) -> Time {
        self.waiting.front().map_or(Time::NEVER, |(at, _)| *at)
    }

    /// What a crash meets.
    pub(crate) fn into_waiting(self) -> impl Iterator<Item = Effects> {
        self.waiting.into_iter().map(|(_, effects)| effects)
    }
}
