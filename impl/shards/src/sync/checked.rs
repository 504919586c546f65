//! What both checkers share: canaries, the quarantine, and spurious failures on demand.
//!
//! The atomics in here are std's on purpose: they belong to the check, not to what is checked, and
//! must not be points where the checker switches threads.

use std::alloc::{Layout, dealloc};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Tells whether its memory was given back.
#[derive(Debug, Default)]
pub struct Canary {
    dead: AtomicBool,
}

impl Canary {
    /// Alive.
    pub const fn new() -> Self {
        Self { dead: AtomicBool::new(false) }
    }

    /// Panics when the memory was given back.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn check(&self) {
        // Both checkers run all threads of a scenario on one thread of the system.
        assert!(!self.dead.load(Ordering::Relaxed), "SHARD-4: used after it was freed");
    }
}

struct Quarantined {
    pointer: *mut u8,
    layout: Layout,
    drop: unsafe fn(*mut u8),
}

thread_local! {
    static QUARANTINE: RefCell<Vec<Quarantined>> = const { RefCell::new(Vec::new()) };
}

/// Kills the canary and keeps the memory until [`drain`].
///
/// # Safety
/// `pointer` comes from `std::alloc::alloc` with this layout, `drop` may be called on it once, and
/// `canary` stands in it.
///
/// # Panics
/// When it is freed for the second time.
pub unsafe fn release(
    pointer: *mut u8,
    layout: Layout,
    drop: unsafe fn(*mut u8),
    canary: *const Canary,
) {
    // SAFETY: the canary stands in memory that is still allocated: only `drain` gives it back.
    let canary = unsafe { &*canary };
    assert!(!canary.dead.swap(true, Ordering::Relaxed), "SHARD-4: freed twice");
    QUARANTINE.with_borrow_mut(|all| all.push(Quarantined { pointer, layout, drop }));
}

/// Gives back what is in quarantine: at the end of an execution, when no thread uses the map.
pub fn drain() {
    for Quarantined { pointer, layout, drop } in QUARANTINE.take() {
        // SAFETY: the promise made to `release`; it was put here once, as `release` asserts.
        unsafe {
            drop(pointer);
            dealloc(pointer, layout);
        }
    }
}

// Relaxed, here and in the canary: the harness's own counters, on the one thread of the system that
// runs all threads of a scenario; the checkers do not see them, and nothing is published by them.
static EVERY: AtomicUsize = AtomicUsize::new(0);
static SO_FAR: AtomicUsize = AtomicUsize::new(0);

/// Every so manieth weak exchange fails from now on; 0 is never.
pub(super) fn fail_weak_exchanges(every: usize) {
    EVERY.store(every, Ordering::Relaxed);
}

/// A new execution begins: a checker must meet the same failures when it replays one.
pub(super) fn begin() {
    SO_FAR.store(0, Ordering::Relaxed);
    QUARANTINE.take();
}

/// Whether this weak exchange is one that fails.
pub(super) fn fails() -> bool {
    let every = EVERY.load(Ordering::Relaxed);
    every != 0 && SO_FAR.fetch_add(1, Ordering::Relaxed).is_multiple_of(every)
}

/// An atomic of the checker, with weak exchanges that fail on demand.
macro_rules! weak_exchange {
    ($name:ident, $inner:ty, $value:ty $(, $generic:ident)?) => {
        impl$(<$generic>)? $name$(<$generic>)? {
            /// A new one.
            pub fn new(value: $value) -> Self {
                Self(<$inner>::new(value))
            }

            /// As std.
            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, order);
            }

            /// As std.
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
                self.0.compare_exchange(current, new, success, failure)
            }

            /// As std, and fails on demand.
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
                if $crate::sync::checked::fails() {
                    return Err(self.load(failure));
                }
                self.0.compare_exchange(current, new, success, failure)
            }
        }
    };
}
pub(super) use weak_exchange;
