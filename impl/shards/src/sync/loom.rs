//! loom: every interleaving and every stale value that its memory model allows.

use std::cell::Cell;
use std::ptr::without_provenance_mut;
use std::sync::atomic::{AtomicUsize as Counter, Ordering};

use super::checked::{self, arithmetic, atomic};
use super::{Checker, Explored, Mode, Plan, Role, sites};

pub use ::loom::cell::UnsafeCell;
pub use ::loom::sync::Arc;

/// This build runs under loom.
pub const CHECKER: Checker = Checker::Loom;

/// loom's.
#[track_caller]
pub fn fence(order: Ordering) {
    if let Some(order) = sites::fence(order) {
        ::loom::sync::atomic::fence(order);
    }
}

fn before() {}

/// How many weak exchanges this thread has tried before. Its own count: what a thread does may
/// depend on nothing that loom does not see.
fn turn() -> usize {
    TURN.with(|turn| turn.replace(turn.get() + 1))
}

// No pointer of ours has all bits set, and no count gets there.
atomic!(
    AtomicPtr,
    ::loom::sync::atomic::AtomicPtr<T>,
    *mut T,
    without_provenance_mut(usize::MAX),
    T
);
atomic!(AtomicUsize, ::loom::sync::atomic::AtomicUsize, usize, usize::MAX);
arithmetic!(AtomicUsize, usize);

/// Explores a scenario as planned.
pub fn explore(plan: &Plan, scenario: impl Fn() + Send + Sync + 'static) -> Explored {
    // Relaxed: the harness's own, as in `checked`.
    static EXECUTIONS: Counter = Counter::new(0);
    checked::enter(plan.mode);
    sites::weaken(plan.weaker.as_ref());
    // Relaxed, all: loom runs every execution on this thread.
    EXECUTIONS.store(0, Ordering::Relaxed);
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = plan.preemptions;
    builder.max_branches = 10_000;
    builder.max_duration = None;
    // It is looked at once in an interval only, and before an execution.
    builder.max_permutations = plan.most;
    builder.checkpoint_interval = plan.most.map_or(usize::MAX, |most| most + 1);
    builder.check(move || {
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        checked::begin();
        scenario();
    });
    let executions = EXECUTIONS.load(Ordering::Relaxed);
    Explored { executions, whole: plan.most.is_none_or(|most| executions < most) }
}

::loom::thread_local! {
    static INDEX: Cell<usize> = Cell::new(0);
    static TURN: Cell<usize> = Cell::new(0);
}

/// What `spawn` was told; 0 for the first thread.
pub fn thread_index() -> usize {
    INDEX.with(Cell::get)
}

/// Nobody is stopped under loom.
pub const fn resume() -> bool {
    false
}

/// Threads with an index.
pub mod thread {
    pub use ::loom::thread::JoinHandle;

    /// Starts a thread with an index.
    pub fn spawn<A: Send + 'static>(
        index: usize,
        f: impl FnOnce() -> A + Send + 'static,
    ) -> JoinHandle<A> {
        ::loom::thread::spawn(move || {
            super::INDEX.with(|own| own.set(index));
            f()
        })
    }
}
