//! An allocator that counts what a thread asks for, and fails from a chosen allocation on.
//!
//! Shared by the tests of several crates, by path: only this folder may have `unsafe`.
//!
//! What it does not do: count what is given back. A vector that grows counts with all its sizes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Watched;

thread_local! {
    /// How many more allocations of this thread succeed.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    /// Bytes that this thread has asked for.
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

fn may(bytes: usize) -> bool {
    BYTES.with(|all| all.set(all.get().saturating_add(bytes)));
    LEFT.with(|left| match left.get() {
        usize::MAX => true,
        0 => false,
        more => {
            left.set(more - 1);
            true
        }
    })
}

// SAFETY: all calls go to `System`, or answer null, as an allocator may.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        if may(layout.size()) { unsafe { System.alloc(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Runs `f` with so many allocations; beside its answer, the bytes that it asked for.
pub(crate) fn watched<A>(left: usize, f: impl FnOnce() -> A) -> (A, usize) {
    let before = BYTES.get();
    LEFT.set(left);
    let answer = f();
    LEFT.set(usize::MAX);
    (answer, BYTES.get() - before)
}
