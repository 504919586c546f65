//! shuttle: random and PCT schedules, sequentially consistent, many and fast.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use ::shuttle::scheduler::{PctScheduler, RandomScheduler};
use ::shuttle::{Config, Runner};

use super::checked::{self, weak_exchange};
use super::{Checker, Plan};

pub use super::native_cell::UnsafeCell;
pub use ::shuttle::sync::Arc;
pub use ::shuttle::sync::atomic::fence;

/// This build runs under shuttle.
pub const CHECKER: Checker = Checker::Shuttle;

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

/// shuttle's.
#[derive(Debug)]
pub struct AtomicPtr<T>(::shuttle::sync::atomic::AtomicPtr<T>);

weak_exchange!(AtomicPtr, ::shuttle::sync::atomic::AtomicPtr<T>, *mut T, T);

impl<T> AtomicPtr<T> {
    /// As std.
    #[track_caller]
    pub fn load(&self, order: Ordering) -> *mut T {
        self.0.load(order)
    }
}

/// shuttle's.
#[derive(Debug)]
pub struct AtomicUsize(::shuttle::sync::atomic::AtomicUsize);

weak_exchange!(AtomicUsize, ::shuttle::sync::atomic::AtomicUsize, usize);

impl AtomicUsize {
    /// As std.
    #[track_caller]
    pub fn load(&self, order: Ordering) -> usize {
        self.0.load(order)
    }

    /// As std.
    #[track_caller]
    pub fn fetch_add(&self, more: usize, order: Ordering) -> usize {
        self.0.fetch_add(more, order)
    }
}

/// Where the random schedules begin.
const SEED: u64 = 0x00c1_0a4b_0033;

/// Runs a scenario under `schedules` schedules and answers that number.
pub fn explore(plan: &Plan, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    checked::fail_weak_exchanges(plan.spurious);
    let execution = move || {
        checked::begin();
        scenario();
    };
    let config = Config::new();
    if plan.pct_depth == 0 {
        let scheduler = RandomScheduler::new_from_seed(SEED, plan.schedules);
        return Runner::new(scheduler, config).run(execution);
    }
    let scheduler = PctScheduler::new_from_seed(SEED, plan.pct_depth, plan.schedules);
    Runner::new(scheduler, config).run(execution)
}

::shuttle::thread_local! {
    static INDEX: Cell<usize> = Cell::new(0);
}

/// What `spawn` was told; 0 for the first thread.
pub fn thread_index() -> usize {
    INDEX.with(Cell::get)
}

/// Threads with an index.
pub mod thread {
    pub use ::shuttle::thread::JoinHandle;

    /// Starts a thread with an index.
    pub fn spawn<A: Send + 'static>(
        index: usize,
        f: impl FnOnce() -> A + Send + 'static,
    ) -> JoinHandle<A> {
        ::shuttle::thread::spawn(move || {
            super::INDEX.with(|own| own.set(index));
            f()
        })
    }
}
