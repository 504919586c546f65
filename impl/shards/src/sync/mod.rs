//! Where atomics, cells, threads and memory come from: std, loom or shuttle.
//!
//! Chosen here and nowhere else, by `--cfg cloakroom_loom` or `--cfg cloakroom_shuttle`; no other
//! file of this crate has a cfg for a checker, and clippy refuses any other way to an atomic.
//!
//! Invariants:
//! * the three implementations have the same items; the one for std adds nothing to what it wraps;
//! * in a checked build, memory that was given back stays readable, with a [`Canary`] that is dead,
//!   until [`drain`]: an access after the free is a panic there, not undefined behaviour;
//! * in a checked build, weak exchanges fail spuriously when the [`Plan`] says so, because neither
//!   checker does that by itself.
//!
//! What it does not do: locks. The map has none.

// The one place that may name what the rest of the crate must not.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

#[cfg(any(cloakroom_loom, cloakroom_shuttle))]
mod checked;
#[cfg(cloakroom_loom)]
mod loom;
#[cfg(not(any(cloakroom_loom, cloakroom_shuttle)))]
mod native;
#[cfg(not(cloakroom_loom))]
mod native_cell;
#[cfg(cloakroom_shuttle)]
mod shuttle;

#[cfg(any(cloakroom_loom, cloakroom_shuttle))]
pub use checked::{Canary, drain, release};
#[cfg(cloakroom_loom)]
pub use loom::*;
#[cfg(not(any(cloakroom_loom, cloakroom_shuttle)))]
pub use native::*;
#[cfg(cloakroom_shuttle)]
pub use shuttle::*;

pub use std::sync::atomic::Ordering;

/// Who schedules the threads of this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checker {
    /// Nobody: real threads.
    None,
    /// loom: exhaustive, with weak memory.
    Loom,
    /// shuttle: sampled, sequentially consistent.
    Shuttle,
}

/// How a scenario is explored.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// loom: at most so many preemptions; `None` is no bound.
    pub preemptions: Option<usize>,
    /// loom: loads become failing exchanges. loom misses interleavings of `load x ‖ load x; cas x`;
    /// as exchanges it explores them, and then sees no stale values. Both modes are needed.
    pub rmw: bool,
    /// Checked builds: every so manieth weak exchange fails spuriously; 0 is never.
    pub spurious: usize,
    /// shuttle and std: how many schedules, or rounds of real threads.
    pub schedules: usize,
    /// shuttle: depth of the PCT scheduler; 0 is the uniformly random scheduler.
    pub pct_depth: usize,
}
