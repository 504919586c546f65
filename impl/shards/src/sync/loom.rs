//! loom: every interleaving and every stale value that its memory model allows.

use std::cell::Cell;
use std::ptr::without_provenance_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize as Counter, Ordering};

use super::checked::{self, weak_exchange};
use super::{Checker, Plan};

pub use ::loom::cell::UnsafeCell;
pub use ::loom::sync::Arc;
pub use ::loom::sync::atomic::fence;

/// This build runs under loom.
pub const CHECKER: Checker = Checker::Loom;

// Relaxed, here and in `explore`: the harness's own flags, set before an exploration begins and read
// on the one thread of the system that runs it; nothing is published by them.
static RMW: AtomicBool = AtomicBool::new(false);

fn rmw() -> bool {
    RMW.load(Ordering::Relaxed)
}

/// As std where the kernel has no `membarrier`, which no checker knows.
#[derive(Clone, Copy, Debug)]
pub struct Fences;

impl Fences {
    /// Asks nobody.
    #[allow(clippy::new_without_default)] // As that of std.
    pub fn new() -> Self {
        Self
    }

    /// A SeqCst fence.
    #[track_caller]
    pub fn light(self) {
        fence(Ordering::SeqCst);
    }

    /// A SeqCst fence.
    #[track_caller]
    pub fn heavy(self) {
        fence(Ordering::SeqCst);
    }
}

/// loom's, with loads that become exchanges in rmw mode.
#[derive(Debug)]
pub struct AtomicPtr<T>(::loom::sync::atomic::AtomicPtr<T>);

weak_exchange!(AtomicPtr, ::loom::sync::atomic::AtomicPtr<T>, *mut T, T);

impl<T> AtomicPtr<T> {
    /// As std.
    #[track_caller]
    pub fn load(&self, order: Ordering) -> *mut T {
        if rmw() {
            // No pointer of ours has all bits set: the exchange fails.
            let never = without_provenance_mut(usize::MAX);
            return self.0.compare_exchange(never, never, order, order).unwrap_or_else(|it| it);
        }
        self.0.load(order)
    }
}

/// loom's, with loads that become exchanges in rmw mode.
#[derive(Debug)]
pub struct AtomicUsize(::loom::sync::atomic::AtomicUsize);

weak_exchange!(AtomicUsize, ::loom::sync::atomic::AtomicUsize, usize);

impl AtomicUsize {
    /// As std.
    #[track_caller]
    pub fn load(&self, order: Ordering) -> usize {
        if rmw() {
            // No count of ours gets there: the exchange fails.
            let never = usize::MAX;
            return self.0.compare_exchange(never, never, order, order).unwrap_or_else(|it| it);
        }
        self.0.load(order)
    }

    /// As std.
    #[track_caller]
    pub fn fetch_add(&self, more: usize, order: Ordering) -> usize {
        self.0.fetch_add(more, order)
    }
}

/// Explores a scenario as planned and answers how many executions that took.
pub fn explore(plan: &Plan, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    static EXECUTIONS: Counter = Counter::new(0);
    RMW.store(plan.rmw, Ordering::Relaxed);
    checked::fail_weak_exchanges(plan.spurious);
    EXECUTIONS.store(0, Ordering::Relaxed);
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = plan.preemptions;
    builder.max_branches = 10_000;
    // No limit of time or number: an unfinished search would pass silently.
    builder.max_duration = None;
    builder.max_permutations = None;
    builder.check(move || {
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        checked::begin();
        scenario();
    });
    EXECUTIONS.load(Ordering::Relaxed)
}

::loom::thread_local! {
    static INDEX: Cell<usize> = Cell::new(0);
}

/// What `spawn` was told; 0 for the first thread.
pub fn thread_index() -> usize {
    INDEX.with(Cell::get)
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
