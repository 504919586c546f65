//! A disk that takes its time: what a step persists is durable first, then its messages and answers leave.
//!
//! Invariants:
//! * a work leaves after everything that was persisted before it, also one that persists nothing: it
//!   may tell what an earlier one has written;
//! * a crash loses what waits, but for whatever part of it had reached the disk: the world decides
//!   how much.
//!
//! What it does not do: keep the disk.

use std::collections::VecDeque;

use crate::engine::Time;
use crate::random::Random;

/// Works that wait for their sync, in their order.
pub(crate) struct Syncs<W> {
    waiting: VecDeque<(Time, W)>,
    sync_ms: u64,
    random: Random,
}

/// What a work does when its time comes.
pub(crate) trait Synced {
    /// Whether it changes the disk.
    fn persists(&self) -> bool;
    /// Whether it does nothing at all.
    fn is_idle(&self) -> bool;
}

impl<W: Synced> Syncs<W> {
    /// A sync takes at most so long.
    pub(crate) fn new(sync_ms: u64, random: Random) -> Self {
        Self { waiting: VecDeque::new(), sync_ms, random }
    }

    /// A number at random.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random.next()
    }

    /// A work has been made; it comes back if it may leave at once.
    pub(crate) fn take(&mut self, now: Time, work: W) -> Option<W> {
        let last = self.waiting.back().map_or(now, |(at, _)| (*at).max(now));
        if !work.persists() {
            if self.waiting.is_empty() {
                return Some(work);
            }
            if !work.is_idle() {
                self.waiting.push_back((last, work));
            }
            return None;
        }
        if self.sync_ms == 0 {
            return Some(work);
        }
        // What comes while a sync runs waits for the next one, and shares it.
        let shares =
            self.waiting.back().is_some_and(|(at, _)| *at > now.plus_us(self.sync_ms * 1000));
        let takes = if shares { 0 } else { self.random.below(self.sync_ms * 1000) };
        self.waiting.push_back((last.plus_us(takes), work));
        None
    }

    /// The next work whose time has come.
    pub(crate) fn poll(&mut self, now: Time) -> Option<W> {
        let is_due = self.waiting.front().is_some_and(|(at, _)| *at <= now);
        if is_due { self.waiting.pop_front().map(|(_, work)| work) } else { None }
    }

    /// When the next one's comes.
    pub(crate) fn due(&self) -> Time {
        self.waiting.front().map_or(Time::NEVER, |(at, _)| *at)
    }

    /// What a crash meets.
    pub(crate) fn into_waiting(self) -> impl Iterator<Item = W> {
        self.waiting.into_iter().map(|(_, work)| work)
    }
}
