//! What both checkers share: canaries, the quarantine, what was never given back, and exchanges that
//! fail on demand.
//!
//! The atomics in here are std's on purpose: they belong to the check, not to what is checked, and
//! must not be points where the checker switches threads. Relaxed, all of them: both checkers run
//! all threads of a scenario on one thread of the system, and nothing is published by them.

use std::alloc::{Layout, dealloc};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::Mode;

/// Tells whether its memory was given back.
#[derive(Debug)]
pub struct Canary {
    dead: AtomicBool,
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}

impl Canary {
    /// Alive.
    pub fn new() -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Self { dead: AtomicBool::new(false) }
    }

    /// Panics when the memory was given back.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn check(&self) {
        // Relaxed: a checker runs one thread at a time, and this is no access that it should know of.
        assert!(!self.dead.load(Ordering::Relaxed), "SHARD-4: used after it was freed");
    }
}

struct Quarantined {
    memory: (*mut u8, Layout),
    object: *mut u8,
    drop: unsafe fn(*mut u8),
}

thread_local! {
    static QUARANTINE: RefCell<Vec<Quarantined>> = const { RefCell::new(Vec::new()) };
    /// Canaries of this execution that are not dead.
    static ALIVE: Cell<usize> = const { Cell::new(0) };
}

/// Kills the canary and keeps the memory until [`drain`].
///
/// # Safety
/// The memory comes from `std::alloc::alloc` with this layout, `drop` may be called on the object in it once, and
/// `canary` stands in it.
///
/// # Panics
/// When it is freed for the second time.
pub unsafe fn release(
    memory: (*mut u8, Layout),
    object: *mut u8,
    drop: unsafe fn(*mut u8),
    canary: *const Canary,
) {
    // SAFETY: the canary stands in memory that is still allocated: only `drain` gives it back.
    let canary = unsafe { &*canary };
    // Relaxed: as in `Canary::check`.
    assert!(!canary.dead.swap(true, Ordering::Relaxed), "SHARD-4: freed twice");
    ALIVE.set(ALIVE.get() - 1);
    QUARANTINE.with_borrow_mut(|all| all.push(Quarantined { memory, object, drop }));
}

/// Gives back what is in quarantine: at the end of an execution, when no thread uses the map, and
/// all that it had was given back.
///
/// # Panics
/// When something was not.
pub fn drain() {
    let alive = ALIVE.get();
    assert!(alive == 0 || std::thread::panicking(), "SHARD-4: {alive} never given back");
    for Quarantined { memory, object, drop } in QUARANTINE.take() {
        // SAFETY: the promise made to `release`; it was put here once, as `release` asserts.
        unsafe {
            drop(object);
            dealloc(memory.0, memory.1);
        }
    }
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
        super::fence(Ordering::SeqCst);
    }

    /// A SeqCst fence.
    #[track_caller]
    pub fn heavy(self) -> bool {
        super::fence(Ordering::SeqCst);
        true
    }
}

/// [`Mode`], as a number.
static MODE: AtomicU8 = AtomicU8::new(0);

/// A new exploration begins.
pub(super) fn enter(mode: Mode) {
    // Relaxed: the threads of an exploration are started after this.
    MODE.store(mode as u8, Ordering::Relaxed);
}

/// A new execution begins.
pub(super) fn begin() {
    ALIVE.set(0);
    QUARANTINE.take();
}

pub(super) fn is(mode: Mode) -> bool {
    // Relaxed: see `enter`.
    MODE.load(Ordering::Relaxed) == mode as u8
}

/// Atomics of a checker, in a type of our own: with a site for each access, loads that become
/// exchanges in [`Mode::Rmw`], and exchanges that fail in [`Mode::Failing`].
///
/// From around it come the functions `before`, called before each access, and `turn`, which counts
/// a thread's weak exchanges.
macro_rules! atomic {
    ($name:ident, $inner:ty, $value:ty, $never:expr $(, $generic:ident)?) => {
        /// The checker's.
        #[derive(Debug)]
        pub struct $name$(<$generic>)?($inner);

        impl$(<$generic>)? $name$(<$generic>)? {
            /// A new one.
            #[track_caller]
            pub fn new(value: $value) -> Self {
                Self(<$inner>::new(value))
            }

            /// As std.
            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                let order = sites::order(Role::Load, order);
                before();
                self.look(order)
            }

            /// A load, or an exchange that fails.
            #[track_caller]
            fn look(&self, order: Ordering) -> $value {
                if checked::is(Mode::Rmw) {
                    // Nothing of ours has this value.
                    let never = $never;
                    return self.0.compare_exchange(never, never, order, order).unwrap_or_else(|it| it);
                }
                self.0.load(order)
            }

            /// As std.
            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                let order = sites::order(Role::Store, order);
                before();
                self.0.store(value, order);
            }

            /// As std.
            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                let order = sites::order(Role::Rmw, order);
                before();
                self.0.swap(value, order)
            }

            /// As std; when exchanges fail on demand, it may fail by an old value, as any load may
            /// see one.
            ///
            /// # Errors
            /// The value that it has instead.
            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let (success, failure) = sites::orders(success, failure);
                before();
                if checked::is(Mode::Failing) {
                    let seen = self.look(failure);
                    if seen != current {
                        return Err(seen);
                    }
                }
                self.0.compare_exchange(current, new, success, failure)
            }

            /// As std; when exchanges fail on demand, a thread's first fails, and then every second.
            ///
            /// # Errors
            /// The value that it has instead, or has.
            #[track_caller]
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let (success, failure) = sites::orders(success, failure);
                before();
                if checked::is(Mode::Failing) && turn().is_multiple_of(2) {
                    return Err(self.look(failure));
                }
                self.0.compare_exchange(current, new, success, failure)
            }
        }
    };
}
pub(super) use atomic;

/// The arithmetic of an integer.
macro_rules! arithmetic {
    ($name:ident, $value:ty) => {
        impl $name {
            /// As std.
            #[track_caller]
            pub fn fetch_add(&self, more: $value, order: Ordering) -> $value {
                let order = sites::order(Role::Rmw, order);
                before();
                self.0.fetch_add(more, order)
            }
        }
    };
}
pub(super) use arithmetic;
