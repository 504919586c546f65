//! shuttle: depth-first, random and PCT schedules, sequentially consistent, many and fast.

use std::cell::{Cell, RefCell};
use std::ptr::without_provenance_mut;
use std::sync::atomic::Ordering;

use ::shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use ::shuttle::thread::Thread;
use ::shuttle::{Config, Runner};

use super::checked::{self, arithmetic, atomic};
use super::{Checker, Explored, Mode, Plan, Role, Schedules, sites};

pub use super::native_cell::UnsafeCell;
pub use ::shuttle::sync::Arc;

/// This build runs under shuttle.
pub const CHECKER: Checker = Checker::Shuttle;

/// shuttle's.
#[track_caller]
pub fn fence(order: Ordering) {
    if let Some(order) = sites::fence(order) {
        ::shuttle::sync::atomic::fence(order);
    }
}

/// How many weak exchanges this thread has tried before.
fn turn() -> usize {
    TURN.with(|turn| turn.replace(turn.get() + 1))
}

// No pointer of ours has all bits set, and no count gets there.
atomic!(
    AtomicPtr,
    ::shuttle::sync::atomic::AtomicPtr<T>,
    *mut T,
    without_provenance_mut(usize::MAX),
    T
);
atomic!(AtomicUsize, ::shuttle::sync::atomic::AtomicUsize, usize, usize::MAX);
arithmetic!(AtomicUsize, usize);

/// Where the random schedules begin.
const SEED: u64 = 0x00c1_0a4b_0033;

/// Runs a scenario as planned.
pub fn explore(plan: &Plan, scenario: impl Fn() + Send + Sync + 'static) -> Explored {
    checked::enter(plan.mode);
    sites::weaken(plan.weaker.as_ref());
    let stop = plan.stop;
    let execution = move || {
        checked::begin();
        STOP.set(stop);
        STOPPED.take();
        STEPS.set(0);
        scenario();
    };
    let mut config = Config::new();
    config.silence_warnings = true;
    let most = plan.most.unwrap_or(usize::MAX);
    let executions = match plan.schedules {
        Schedules::DepthFirst => {
            let scheduler =
                DepthFirst { preemptions: plan.preemptions, most, ..Default::default() };
            Runner::new(scheduler, config).run(execution)
        }
        Schedules::Random => {
            Runner::new(RandomScheduler::new_from_seed(SEED, most), config).run(execution)
        }
        Schedules::Pct { depth } => {
            Runner::new(PctScheduler::new_from_seed(SEED, depth, most), config).run(execution)
        }
    };
    let sampled = plan.schedules != Schedules::DepthFirst;
    Explored { executions, whole: sampled || executions < most }
}

/// Depth-first over all schedules with at most so many preemptions: switches away from a thread
/// that could go on.
#[derive(Debug, Default)]
struct DepthFirst {
    preemptions: Option<usize>,
    most: usize,
    executions: usize,
    /// The choices of this execution: which of how many.
    path: Vec<(usize, usize)>,
    depth: usize,
    /// Preemptions so far in this execution.
    so_far: usize,
}

impl Scheduler for DepthFirst {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.executions > 0 {
            while self.path.last().is_some_and(|&(chosen, of)| chosen + 1 == of) {
                self.path.pop();
            }
            self.path.last_mut()?.0 += 1;
        }
        if self.executions >= self.most {
            return None;
        }
        self.executions += 1;
        (self.depth, self.so_far) = (0, 0);
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        _is_yielding: bool,
    ) -> Option<TaskId> {
        let mut tasks: Vec<TaskId> = runnable.iter().map(|task| task.id()).collect();
        let goes_on = current.and_then(|current| tasks.iter().position(|&task| task == current));
        if let Some(own) = goes_on {
            // To go on is the first choice, and the only one when the preemptions are spent.
            tasks.swap(0, own);
            if self.preemptions.is_some_and(|most| self.so_far >= most) {
                tasks.truncate(1);
            }
        }
        if self.depth == self.path.len() {
            self.path.push((0, tasks.len()));
        }
        let (chosen, of) = self.path[self.depth];
        assert_eq!(of, tasks.len(), "a scenario does the same under the same schedule");
        self.depth += 1;
        self.so_far += usize::from(goes_on.is_some() && chosen > 0);
        Some(tasks[chosen])
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("a scenario draws nothing")
    }
}

thread_local! {
    /// Which thread stops, and before which of its accesses.
    static STOP: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    /// Accesses of that thread so far.
    static STEPS: Cell<usize> = const { Cell::new(0) };
    static STOPPED: RefCell<Option<Thread>> = const { RefCell::new(None) };
}

/// Before each access: the thread that the plan stops may stop here.
fn before() {
    let Some((thread, step)) = STOP.get() else { return };
    if thread_index() != thread {
        return;
    }
    STEPS.set(STEPS.get() + 1);
    if STEPS.get() == step {
        STOPPED.set(Some(::shuttle::thread::current()));
        ::shuttle::thread::park();
    }
}

/// Lets the stopped thread go on, or not stop any more. Whether it was stopped.
pub fn resume() -> bool {
    STOP.set(None);
    let stopped = STOPPED.take();
    if let Some(thread) = &stopped {
        thread.unpark();
    }
    stopped.is_some()
}

::shuttle::thread_local! {
    static INDEX: Cell<usize> = Cell::new(0);
    static TURN: Cell<usize> = Cell::new(0);
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
