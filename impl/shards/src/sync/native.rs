//! std: what ships. Every item is the one of std or compiles to it.

use std::alloc::{Layout, dealloc};
use std::cell::Cell;
use std::collections::BTreeSet;

use super::{Checker, Explored, Ordering, Plan, Site};

pub use super::native_cell::UnsafeCell;
pub use std::sync::Arc;

/// This build runs real threads.
pub const CHECKER: Checker = Checker::None;

/// std's.
#[inline]
pub fn fence(order: Ordering) {
    std::sync::atomic::fence(order);
}

/// How two fences meet of which one is passed often and the other one seldom.
///
/// Where the kernel has `membarrier`, the light one only holds the compiler, and the heavy one makes
/// every running thread of the process pass a full barrier: whatever a thread does before its light
/// fence is seen after the heavy one, or what it does after sees all from before the heavy one. That
/// is what two SeqCst fences promise each other, which they are where the kernel has it not. Two
/// light ones promise each other nothing.
#[derive(Clone, Copy, Debug)]
pub struct Fences {
    light: bool,
}

impl Fences {
    /// Asks the kernel, once for each map.
    #[allow(clippy::new_without_default)] // It asks the kernel: no plain value.
    pub fn new() -> Self {
        Self { light: membarrier::register() }
    }

    /// Passed often.
    #[inline]
    pub fn light(self) {
        // SeqCst; partner: `heavy`. The compiler's is enough where the kernel makes all others pass a fence.
        if self.light {
            std::sync::atomic::compiler_fence(Ordering::SeqCst);
        } else {
            std::sync::atomic::fence(Ordering::SeqCst);
        }
    }

    /// Passed seldom. SHARD-4: whether it was; the system may have no memory for it, or forbid it from now on.
    pub fn heavy(self) -> bool {
        // SeqCst; partner: `light`.
        std::sync::atomic::fence(Ordering::SeqCst);
        !self.light || membarrier::pass()
    }
}

#[cfg(target_os = "linux")]
mod membarrier {
    use libc::{
        MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
        SYS_membarrier, c_int, c_long, syscall,
    };

    fn call(command: c_int) -> c_long {
        // SAFETY: the call takes these three numbers and touches no memory of ours.
        unsafe { syscall(SYS_membarrier, command, 0, 0) }
    }

    /// Whether the kernel has it and lets this process use it: a sandbox may not.
    pub(super) fn register() -> bool {
        call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 && pass()
    }

    pub(super) fn pass() -> bool {
        call(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0
    }
}

#[cfg(not(target_os = "linux"))]
mod membarrier {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn pass() -> bool {
        false
    }
}

/// std's, in a type of our own: clippy looks through a re-export and would refuse it elsewhere.
macro_rules! atomic {
    ($name:ident, $inner:ty, $value:ty $(, $generic:ident)?) => {
        /// As std.
        #[derive(Debug)]
        #[repr(transparent)]
        pub struct $name$(<$generic>)?($inner);

        impl$(<$generic>)? $name$(<$generic>)? {
            /// As std.
            #[inline]
            pub const fn new(value: $value) -> Self {
                Self(<$inner>::new(value))
            }

            /// As std.
            #[inline]
            pub fn load(&self, order: Ordering) -> $value {
                self.0.load(order)
            }

            /// As std.
            #[inline]
            pub fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, order);
            }

            /// As std.
            #[inline]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.0.swap(value, order)
            }

            /// As std.
            ///
            /// # Errors
            /// The value that it has instead.
            #[inline]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange(current, new, success, failure)
            }

            /// As std.
            ///
            /// # Errors
            /// The value that it has instead, or has.
            #[inline]
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange_weak(current, new, success, failure)
            }
        }
    };
}

atomic!(AtomicPtr, std::sync::atomic::AtomicPtr<T>, *mut T, T);
atomic!(AtomicUsize, std::sync::atomic::AtomicUsize, usize);

impl AtomicUsize {
    /// As std.
    #[inline]
    pub fn fetch_add(&self, more: usize, order: Ordering) -> usize {
        self.0.fetch_add(more, order)
    }
}

/// Nothing here; in a checked build it tells whether its memory was given back.
#[derive(Debug, Default)]
pub struct Canary;

impl Canary {
    /// Alive.
    pub const fn new() -> Self {
        Self
    }

    /// In a checked build: panics when the memory was given back.
    #[inline]
    #[allow(clippy::unused_self)] // The checked build has state here.
    pub const fn check(&self) {}
}

/// Drops an object and gives back the memory that it stands in.
///
/// # Safety
/// The memory comes from `std::alloc::alloc` with this layout, `drop` may be called on the object once, and
/// nobody uses it from now on.
pub unsafe fn release(
    (memory, layout): (*mut u8, Layout),
    object: *mut u8,
    drop: unsafe fn(*mut u8),
    _: *const Canary,
) {
    // SAFETY: the caller's promise, both.
    unsafe {
        drop(object);
        dealloc(memory, layout);
    }
}

/// In a checked build: gives back what is in quarantine.
pub const fn drain() {}

/// Runs a scenario with real threads, `most` times.
pub fn explore(plan: &Plan, scenario: impl Fn() + Send + Sync + 'static) -> Explored {
    let executions = plan.most.unwrap_or(1);
    for _ in 0..executions {
        scenario();
    }
    Explored { executions, whole: false }
}

/// Nobody is stopped here.
pub const fn resume() -> bool {
    false
}

/// Sites are for checked builds.
pub const fn watch(_on: bool) {}

/// None: sites are for checked builds.
pub const fn seen() -> BTreeSet<Site> {
    BTreeSet::new()
}

/// A small number of this thread's own, from 0, where threads are few; else shared.
#[inline]
pub fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    INDEX.with(|index| {
        if index.get() == usize::MAX {
            // Relaxed: only that the numbers differ matters; nothing is published with them.
            index.set(NEXT.fetch_add(1, Ordering::Relaxed) % (1 << 20));
        }
        index.get()
    })
}

/// Threads with an index.
pub mod thread {
    pub use std::thread::JoinHandle;

    /// Starts a thread. The index is for checked builds; std gives its own.
    pub fn spawn<A: Send + 'static>(
        _index: usize,
        f: impl FnOnce() -> A + Send + 'static,
    ) -> JoinHandle<A> {
        std::thread::spawn(f)
    }
}
