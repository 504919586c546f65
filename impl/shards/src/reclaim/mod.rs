//! When memory that was taken out of the map may be given back.
//!
//! A [`Reclaim`] is a domain: one for each map. Whoever reads the map holds a [`Guard`] of it; what
//! is taken out is [retired](Guard::retire), and given back when no guard that was held at that
//! moment is held any more.
//!
//! Invariants (SHARD-4):
//! * what is retired was unlinked before: no guard that is taken from then on leads to it;
//! * it is freed after the last access of every guard that could lead to it has happened before.
//!
//! What it does not do: find out what is garbage. The map says so.

mod bag;
pub mod crossbeam;
pub mod epoch;
pub mod still;

pub use crossbeam::Crossbeam;
pub use epoch::{Epoch, EpochAfter, Hasty, Leaking};
pub use still::Still;

use std::alloc::Layout;
use std::ptr::NonNull;

use crate::error::ShardsError;

/// Something that was taken out of the map, and how to give it back.
#[derive(Debug)]
pub struct Garbage {
    pointer: *mut (),
    /// About how many bytes it takes.
    bytes: usize,
    /// Gives it back and answers how many bytes that were.
    free: unsafe fn(*mut ()) -> usize,
    /// Of what may serve again.
    reuse: Option<&'static Reuse>,
}

/// How garbage serves again: what it has is dropped, and its memory kept.
#[derive(Debug)]
pub struct Reuse {
    /// Drops what stands there.
    empty: unsafe fn(*mut ()),
    /// From the global allocator.
    layout: Layout,
}

impl Reuse {
    /// # Safety
    /// `empty` may be called instead of a garbage's `free`, and leaves memory that the global allocator has given out
    /// with this layout.
    pub const unsafe fn new(empty: unsafe fn(*mut ()), layout: Layout) -> Self {
        Self { empty, layout }
    }
}

impl Garbage {
    /// # Safety
    /// `free(pointer)` may be called once, by any thread, as soon as nobody reads it any more.
    pub unsafe fn new(pointer: *mut (), bytes: usize, free: unsafe fn(*mut ()) -> usize) -> Self {
        Self { pointer, bytes, free, reuse: None }
    }

    /// Whoever gives it back may keep its memory, for [`Guard::spare`].
    #[must_use]
    pub fn reusable(self, reuse: &'static Reuse) -> Self {
        Self { reuse: Some(reuse), ..self }
    }

    /// # Safety
    /// All accesses to it happened before.
    unsafe fn free(self) -> usize {
        // SAFETY: `new`'s promise and the caller's.
        unsafe { (self.free)(self.pointer) }
    }
}

/// What the guards of a domain have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries: written minus removed.
    pub entries: usize,
    /// Bytes on the heap, garbage included.
    pub bytes: usize,
}

/// A domain of reclamation.
///
/// # Safety
/// Nothing that was [retired](Guard::retire) is given back while a guard of this domain is held that was
/// taken before, be it by [`Reclaim::pin`] or by [`Local::pin`]; and what such a guard's owner has read of it
/// happened before.
pub unsafe trait Reclaim: Send + Sync + Sized {
    /// Keeps what it leads to from being given back.
    type Guard<'a>: Guard
    where
        Self: 'a;

    /// A thread that has registered.
    type Local<'a>: Local
    where
        Self: 'a;

    /// A domain that nobody uses yet.
    fn new() -> Self;

    /// From now on nothing that can be reached is given back, until the guard is dropped.
    /// Lock-free.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`] when more threads than ever before are inside, and there is no
    /// memory for their seats.
    fn pin(&self) -> Result<Self::Guard<'_>, ShardsError>;

    /// A place for one thread, which makes its pins wait-free. Lock-free.
    ///
    /// # Errors
    /// As [`Reclaim::pin`].
    fn register(&self) -> Result<Self::Local<'_>, ShardsError>;

    /// What all guards counted; an estimate while threads are inside.
    fn tally(&self) -> Tally;
}

/// A thread that has registered. It may hold several guards, and drop them in any order.
///
/// # Safety
/// As [`Reclaim`]'s.
pub unsafe trait Local {
    /// As [`Reclaim::Guard`].
    type Guard<'a>: Guard
    where
        Self: 'a;

    /// As [`Reclaim::pin`], and wait-free.
    fn pin(&self) -> Self::Guard<'_>;
}

/// Keeps what it leads to from being given back.
///
/// # Safety
/// As [`Reclaim`]'s.
pub unsafe trait Guard {
    /// Makes room, so that one more [`Guard::retire`] cannot fail.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    fn reserve(&mut self) -> Result<(), ShardsError>;

    /// Gives `garbage` back when nobody can read it any more. Needs a [`Guard::reserve`] before.
    ///
    /// # Safety
    /// It was unlinked: by now no guard that is taken from the map's root on leads to it; and it is
    /// retired once.
    unsafe fn retire(&mut self, garbage: Garbage);

    /// Memory of this layout that was given back under this guard's owner, if there is some: it is near the
    /// processor, where the allocator's mostly is not. No longer counted; to be given to the global allocator, or
    /// retired again.
    fn spare(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let _ = layout;
        None
    }

    /// Counts.
    fn count(&mut self, entries: isize, bytes: isize);
}
