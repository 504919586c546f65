//! Where atomics, cells, threads and memory come from: std, loom or shuttle.
//!
//! Chosen here and nowhere else, by `--cfg cloakroom_loom` or `--cfg cloakroom_shuttle`; no other
//! file of this crate has a cfg for a checker, and clippy refuses any other way to an atomic.
//!
//! Invariants:
//! * the three implementations have the same items; the one for std adds nothing to what it wraps;
//! * in a checked build, memory that was given back stays readable, with a [`Canary`] that is dead,
//!   until [`drain`]: an access after the free is a panic there, not undefined behaviour;
//! * in a checked build, exchanges fail as std allows when the [`Plan`] says so, because neither
//!   checker does that by itself; and every ordering can be weakened (`sites.rs`).
//!
//! What it does not do: locks. The map has none; [`Unseen`] is for checks.

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
mod sites;

#[cfg(any(cloakroom_loom, cloakroom_shuttle))]
pub use checked::{Canary, Fences, drain, release};
#[cfg(cloakroom_loom)]
pub use loom::*;
#[cfg(not(any(cloakroom_loom, cloakroom_shuttle)))]
pub use native::*;
#[cfg(cloakroom_shuttle)]
pub use shuttle::*;
#[cfg(any(cloakroom_loom, cloakroom_shuttle))]
pub use sites::{seen, watch};

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

/// How accesses behave under a checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As the checker has them: loom shows old values to loads.
    Plain,
    /// Loads become failing exchanges. loom misses interleavings of `load x ‖ load x; cas x`; as
    /// exchanges it explores them, and then loads see no old values. Both modes are needed.
    Rmw,
    /// Exchanges fail as std allows, which no checker does by itself: weak ones for no reason, the
    /// first of each thread and then every second; strong ones by an old value.
    Failing,
}

/// Which schedules shuttle runs; loom runs all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedules {
    /// All, within the bound on preemptions.
    DepthFirst,
    /// Uniformly random choices, from a fixed seed.
    Random,
    /// Random priorities that change at random points.
    Pct {
        /// How many points, plus one.
        depth: usize,
    },
}

/// What an ordering is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A load.
    Load,
    /// A store.
    Store,
    /// A read-modify-write that cannot fail.
    Rmw,
    /// An exchange that succeeds.
    Success,
    /// An exchange that fails.
    Failure,
    /// A fence.
    Fence,
}

/// An ordering in the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// From the workspace's root.
    pub file: String,
    /// From 1, of the method's name.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// Which of the call's orderings.
    pub role: Role,
}

/// An ordering that a check makes weaker than the source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weaker {
    /// Which.
    pub site: Site,
    /// What it is instead; `None`: the fence is left out.
    pub order: Option<Ordering>,
}

/// How a scenario is explored.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How accesses behave.
    pub mode: Mode,
    /// At most so many preemptions; `None` is no bound.
    pub preemptions: Option<usize>,
    /// shuttle only.
    pub schedules: Schedules,
    /// An end after so many executions: how many are sampled, or where an exploration is given up.
    pub most: Option<usize>,
    /// shuttle: stops this thread, by its index, before this access of it, until [`resume`].
    pub stop: Option<(usize, usize)>,
    /// Weakens an ordering.
    pub weaker: Option<Weaker>,
}

/// What came of an exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// How many executions.
    pub executions: usize,
    /// Whether those were all.
    pub whole: bool,
}

/// What no checker sees: shared by the threads of a scenario without any order between them.
#[derive(Debug, Default)]
pub struct Unseen<T>(std::sync::Mutex<T>);

impl<T> Unseen<T> {
    /// A value.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Hands it to `f`, which makes no step that a checker sees.
    pub fn with<A>(&self, f: impl FnOnce(&mut T) -> A) -> A {
        // A thread that panicked has failed the check; what it left does not matter.
        f(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
