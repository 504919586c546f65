//! A byte string on the heap, written once before it is shared and never again.
//!
//! Invariants:
//! * its bytes are written before [`Blob::new`] answers, so whoever has its address by an acquiring
//!   load of a word that was written by a release sees them whole (SHARD-3);
//! * it is given back once: by its maker when it was never shared, else by the reclaimer or by the
//!   map's drop (SHARD-4).
//!
//! What it does not do: count references. The reclaimer knows when nobody reads it any more.

// Memory is allocated with the layout of what it is cast to.
#![allow(clippy::cast_ptr_alignment)]

use std::alloc::{Layout, alloc};
use std::ptr::{self, NonNull};
use std::slice;

use crate::error::ShardsError;
use crate::sync::{Canary, UnsafeCell, release};

/// The head of the allocation; the bytes follow it. Eight-aligned, so that a word has room for a
/// tag.
#[repr(C, align(8))]
pub(crate) struct Blob {
    /// In a cell although it never changes: the checker sees a read that the write of the maker did
    /// not happen before.
    length: UnsafeCell<usize>,
    canary: Canary,
}

impl Blob {
    fn layout(length: usize) -> Layout {
        let bytes = Layout::array::<u8>(length).expect("at most MAX_VALUE_BYTES");
        let (layout, _) = Layout::new::<Self>().extend(bytes).expect("at most MAX_VALUE_BYTES");
        layout.pad_to_align()
    }

    /// What an allocation for so many bytes takes.
    pub(crate) fn footprint(length: usize) -> usize {
        Self::layout(length).size()
    }

    /// Copies bytes to the heap.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub(crate) fn new(bytes: &[u8]) -> Result<NonNull<Self>, ShardsError> {
        let layout = Self::layout(bytes.len());
        // SAFETY: the layout has the head's size at least, so it is not empty.
        let blob = NonNull::new(unsafe { alloc(layout) }.cast::<Self>())
            .ok_or(ShardsError::OutOfMemory { bytes: layout.size() })?;
        // SAFETY: fresh memory of this layout, ours alone: room for the head and then the bytes.
        unsafe {
            blob.write(Self { length: UnsafeCell::new(bytes.len()), canary: Canary::new() });
            let to = blob.as_ptr().add(1).cast::<u8>();
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        Ok(blob)
    }

    /// Hands the bytes to `f`.
    ///
    /// # Safety
    /// The blob was not given back and is not while `f` runs, and its making happened before.
    pub(crate) unsafe fn read<A>(this: NonNull<Self>, f: impl FnOnce(&[u8]) -> A) -> A {
        // SAFETY: the caller's promise. The head is only shared from now on.
        let head = unsafe { this.as_ref() };
        head.canary.check();
        // SAFETY: nobody writes the length but its maker, before, and `free`, after.
        let length = head.length.with(|length| unsafe { *length });
        // SAFETY: `new` wrote so many bytes behind the head, in the allocation that `this` points
        // to.
        let bytes = unsafe { slice::from_raw_parts(this.as_ptr().add(1).cast::<u8>(), length) };
        let answer = f(bytes);
        // Looked at after each use too: a free that came between would go unseen.
        head.canary.check();
        answer
    }

    /// Gives it back and answers how many bytes that were.
    ///
    /// # Safety
    /// It was not given back before, and nobody reads it from now on: all reads happened before.
    pub(crate) unsafe fn free(this: NonNull<Self>) -> usize {
        // SAFETY: still allocated. Writing tells the checker that every read must have happened
        // before; the value stays.
        let length = unsafe { this.as_ref() }.length.with_mut(|length| unsafe { *length });
        let layout = Self::layout(length);
        // SAFETY: `new` allocated it with this layout; it is given back once by the caller's
        // promise.
        unsafe {
            let canary = &raw const (*this.as_ptr()).canary;
            let this = this.as_ptr().cast();
            let drop = |it: *mut u8| ptr::drop_in_place(it.cast::<Self>());
            release((this, layout), this, drop, canary);
        }
        layout.size()
    }

    /// As [`Blob::free`], for whoever knows the address only.
    ///
    /// # Safety
    /// As there; `blob` is the address of one.
    pub(crate) unsafe fn free_at(blob: *mut ()) -> usize {
        // SAFETY: the caller's promise.
        NonNull::new(blob.cast::<Self>()).map_or(0, |blob| unsafe { Self::free(blob) })
    }
}
