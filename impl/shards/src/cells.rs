//! Values at numbered places: what a map is when its keys are few, dense, and known beforehand.
//!
//! * a place is a slot of one table that never grows, read and exchanged by the very accesses of
//!   the map's slots; there is no key to find, and nothing is ever frozen;
//! * a value is any type, kept on the heap, written before it is shared and never again; it is
//!   handed out by reference under a guard;
//! * SHARD-1: a change takes effect in its exchange of the place's word; a read, and a comparison
//!   that fails, in its read of it;
//! * SHARD-3, SHARD-4: as for the map, by the same words and the same reclaimer.
//!
//! What it does not do: grow. All places take their words from the start.

use std::alloc::{Layout, alloc};
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::bounds::GROUP;
use crate::error::ShardsError;
use crate::reclaim::{Epoch, Garbage, Guard, Local, Reclaim, Reuse};
use crate::slot::Place;
use crate::slots::Slots;
use crate::sync::{Canary, UnsafeCell, release};
use crate::table::Table;
use crate::word::Word;

/// A fixed number of places, each with a value or none.
///
/// ```
/// use cloakroom_shards::Cells;
///
/// let cells = Cells::<String>::new(8)?;
/// assert_eq!(cells.exchange(3, None, Some("coat".into()))?, Ok(()));
/// assert_eq!(cells.exchange(3, None, None)?, Err(Some("coat".into())));
/// # Ok::<(), cloakroom_shards::ShardsError>(())
/// ```
pub struct Cells<V, R: Reclaim = Epoch> {
    table: NonNull<Table>,
    count: usize,
    /// Dropped after the table: what is retired is given back when no place leads to it any more.
    domain: R,
    values: PhantomData<V>,
}

// SAFETY: values are shared by reference and dropped by any thread, which `V` allows; the table is
// atomics, and stands as long as this.
unsafe impl<V: Send + Sync, R: Reclaim> Sync for Cells<V, R> {}
// SAFETY: as above.
unsafe impl<V: Send + Sync, R: Reclaim> Send for Cells<V, R> {}

impl<V, R: Reclaim> fmt::Debug for Cells<V, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<V, R: Reclaim> Cells<V, R> {
    /// So many places without a value. Four that follow each other may share a cache line. Values have a byte
    /// at least.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub fn new(count: usize) -> Result<Self, ShardsError> {
        const { assert!(size_of::<V>() > 0, "values: expected a type of a byte at least") };
        let slots = count.max(GROUP).checked_next_power_of_two();
        let slots = slots.ok_or(ShardsError::OutOfMemory { bytes: usize::MAX })?;
        let table = Table::new(slots, 1)?;
        Ok(Self { table, count, domain: R::new(), values: PhantomData })
    }
}

impl<V: PartialEq + Send + Sync, R: Reclaim> Cells<V, R> {
    /// How many places there are.
    pub fn places(&self) -> usize {
        self.count
    }

    /// An estimate of the number of values; exact while nobody writes.
    pub fn len(&self) -> usize {
        self.domain.tally().entries
    }

    /// Whether [`Cells::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap, without what values have there themselves. An estimate while somebody
    /// writes.
    pub fn memory_usage(&self) -> usize {
        self.table().footprint() + self.domain.tally().bytes
    }

    /// A seat for one thread, as [`Shards::handle`](crate::Shards::handle).
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub fn handle(&self) -> Result<CellsHandle<'_, V, R>, ShardsError> {
        Ok(CellsHandle { cells: self, local: self.domain.register()? })
    }

    /// Hands the value of a place to `f`. Lock-free; [`CellsHandle::read`] is wait-free.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`] as [`Reclaim::pin`].
    ///
    /// # Panics
    /// When there is no such place: the caller's fault.
    pub fn read<A>(&self, at: usize, f: impl FnOnce(Option<&V>) -> A) -> Result<A, ShardsError> {
        Ok(self.read_under(&self.domain.pin()?, at, f))
    }

    /// Makes `new` the value of a place if it has exactly the value `expected`; `None` is absence.
    /// Else answers a copy of what it has. Lock-free.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`]: nothing was done.
    ///
    /// # Panics
    /// When there is no such place: the caller's fault.
    pub fn exchange(
        &self,
        at: usize,
        expected: Option<&V>,
        new: Option<V>,
    ) -> Result<Result<(), Option<V>>, ShardsError>
    where
        V: Clone,
    {
        self.exchange_under(&mut self.domain.pin()?, at, expected, new)
    }

    fn table(&self) -> &Table {
        // SAFETY: made by `new`, and given back by the drop only.
        unsafe { self.table.as_ref() }
    }

    #[inline]
    fn place(&self, at: usize) -> Place<'_> {
        assert!(at < self.count, "place: expected below {}, got {at}", self.count);
        // SAFETY: as in `table`, and made with one key word.
        unsafe { Slots::of(self.table, 1) }.place(at)
    }

    #[inline]
    fn read_under<A>(&self, _: &impl Guard, at: usize, f: impl FnOnce(Option<&V>) -> A) -> A {
        let word = self.place(at).value();
        // SAFETY: acquired under the guard, and made by `exchange_under`.
        unsafe { Kept::read(word, f) }
    }

    #[inline]
    fn exchange_under(
        &self,
        guard: &mut impl Guard,
        at: usize,
        expected: Option<&V>,
        new: Option<V>,
    ) -> Result<Result<(), Option<V>>, ShardsError>
    where
        V: Clone,
    {
        let place = self.place(at);
        // On the heap as soon as the place has what is expected: who finds another value needs none.
        let (mut new, mut fresh) = (new, None);
        let mut seen = place.value();
        loop {
            let compare = |value: Option<&V>| (value != expected).then(|| value.cloned());
            // SAFETY: acquired under the guard, and made here.
            if let Some(other) = unsafe { Kept::read(seen, compare) } {
                return Ok(Err(other));
            }
            if let Some(new) = new.take() {
                fresh = Some(Fresh::new(new, guard)?);
            }
            let word = fresh.as_ref().map_or(Word::EMPTY, Fresh::word);
            if !seen.is_present() && !word.is_present() {
                return Ok(Ok(()));
            }
            if seen.is_present() {
                guard.reserve()?;
            }
            match place.swap(seen, word) {
                // SHARD-1: here the operation took effect.
                Ok(()) => break,
                Err(other) => seen = other,
            }
        }
        Self::replaced(guard, seen, fresh);
        Ok(Ok(()))
    }

    /// An exchange took `seen` out of its place, and put `fresh` there, if there is one.
    #[inline]
    fn replaced(guard: &mut impl Guard, seen: Word, fresh: Option<Fresh<V>>) {
        let word = fresh.as_ref().map_or(Word::EMPTY, Fresh::word);
        // It stands in the table, which owns it.
        std::mem::forget(fresh);
        let entries = isize::from(word.is_present()) - isize::from(seen.is_present());
        let bytes = if word.is_present() { Kept::<V>::LAYOUT.size() } else { 0 };
        guard.count(entries, bytes.cast_signed());
        if let Some(old) = seen.blob() {
            // SAFETY: the exchange took the only word that led to it; `Kept::free` may be called
            // once, or `Kept::empty`.
            unsafe {
                let bytes = Kept::<V>::LAYOUT.size();
                let garbage = Garbage::new(old.as_ptr().cast(), bytes, Kept::<V>::free);
                guard.retire(garbage.reusable(&Kept::<V>::REUSE));
            }
        }
    }
}

impl<V, R: Reclaim> Drop for Cells<V, R> {
    fn drop(&mut self) {
        // SAFETY: made by `new`; `&mut self`: no guard is left, so nobody reads it, nor any value.
        unsafe {
            for place in self.table.as_ref().places() {
                if let Some(kept) = place.quiet().1.blob() {
                    Kept::<V>::free(kept.as_ptr().cast());
                }
            }
            Table::free(self.table);
        }
    }
}

/// A value on the heap; its address stands in a [`Word`], as a blob's does.
#[repr(C, align(8))]
struct Kept<V> {
    /// In a cell although it never changes: the checker sees a read that the write of the maker did
    /// not happen before.
    value: UnsafeCell<V>,
    canary: Canary,
}

impl<V> Kept<V> {
    const LAYOUT: Layout = Layout::new::<Self>();
    // SAFETY: `empty` drops it, and `Fresh::new` has it from the global allocator.
    const REUSE: Reuse = unsafe { Reuse::new(Self::empty, Self::LAYOUT) };

    /// Hands the value that a word leads to to `f`.
    ///
    /// # Safety
    /// If the word has an address, it is one of this type that is not given back while `f` runs,
    /// and its making happened before.
    #[inline]
    unsafe fn read<A>(word: Word, f: impl FnOnce(Option<&V>) -> A) -> A {
        let Some(kept) = word.blob() else { return f(None) };
        // SAFETY: the caller's promise.
        let kept = unsafe { kept.cast::<Self>().as_ref() };
        kept.canary.check();
        // SAFETY: nobody writes it but its maker, before, and `free`, after.
        let answer = kept.value.with(|value| f(Some(unsafe { &*value })));
        // Looked at after each use too: a free that came between would go unseen.
        kept.canary.check();
        answer
    }

    /// As [`Kept::read`], for as long as nobody gives it back.
    ///
    /// # Safety
    /// As there, all the while.
    #[inline]
    unsafe fn show<'a>(word: Word) -> Option<&'a V> {
        // SAFETY: the caller's promise.
        let kept = unsafe { word.blob()?.cast::<Self>().as_ref() };
        // SAFETY: nobody writes it but its maker, before, and `free`, after.
        let value = kept.value.with(|value| unsafe { &*value });
        kept.canary.check();
        Some(value)
    }

    /// Gives it back and answers how many bytes that were, without the value's own.
    ///
    /// # Safety
    /// `kept` is the address of one; it was not given back before, and nobody reads it from now on:
    /// all reads happened before.
    unsafe fn free(kept: *mut ()) -> usize {
        let kept = kept.cast::<Self>();
        // SAFETY: still allocated, by `Fresh::new` with this layout. To look at it as a writer does
        // tells the checker that every read must have happened before.
        unsafe {
            (*kept).value.with_mut(|_| ());
            let canary = &raw const (*kept).canary;
            let drop = |it: *mut u8| ptr::drop_in_place(it.cast::<Self>());
            release((kept.cast(), Self::LAYOUT), kept.cast(), drop, canary);
        }
        Self::LAYOUT.size()
    }

    /// Drops it, and leaves its memory.
    ///
    /// # Safety
    /// As [`Kept::free`], instead of it.
    unsafe fn empty(kept: *mut ()) {
        // SAFETY: the caller's promise.
        unsafe { ptr::drop_in_place(kept.cast::<Self>()) };
    }
}

/// A value on the heap that nobody else has seen. Given back when it is dropped.
struct Fresh<V>(NonNull<Kept<V>>);

impl<V> Fresh<V> {
    #[inline]
    fn new(value: V, guard: &mut impl Guard) -> Result<Self, ShardsError> {
        let layout = Kept::<V>::LAYOUT;
        // SAFETY: the layout is not empty: `Cells::new` has looked at the value's.
        let fresh = || NonNull::new(unsafe { alloc(layout) });
        let kept = guard.spare(layout).or_else(fresh);
        let kept = kept.ok_or(ShardsError::OutOfMemory { bytes: layout.size() })?.cast::<Kept<V>>();
        // SAFETY: fresh memory of this layout, ours alone.
        unsafe { kept.write(Kept { value: UnsafeCell::new(value), canary: Canary::new() }) };
        Ok(Self(kept))
    }

    fn word(&self) -> Word {
        Word::from_bits(self.0.as_ptr().cast())
    }
}

impl<V> Drop for Fresh<V> {
    fn drop(&mut self) {
        // SAFETY: made by `new` and never shared.
        unsafe { Kept::<V>::free(self.0.as_ptr().cast()) };
    }
}

/// See [`Cells::handle`].
#[derive(Debug)]
pub struct CellsHandle<'m, V, R: Reclaim + 'm = Epoch> {
    cells: &'m Cells<V, R>,
    local: R::Local<'m>,
}

impl<'m, V: PartialEq + Send + Sync, R: Reclaim> CellsHandle<'m, V, R> {
    /// The places.
    pub fn cells(&self) -> &'m Cells<V, R> {
        self.cells
    }

    /// As [`Cells::read`], and wait-free.
    ///
    /// # Panics
    /// As there.
    #[inline]
    pub fn read<A>(&self, at: usize, f: impl FnOnce(Option<&V>) -> A) -> A {
        self.cells.read_under(&self.local.pin(), at, f)
    }

    /// As [`Cells::exchange`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    #[inline]
    pub fn exchange(
        &self,
        at: usize,
        expected: Option<&V>,
        new: Option<V>,
    ) -> Result<Result<(), Option<V>>, ShardsError>
    where
        V: Clone,
    {
        self.cells.exchange_under(&mut self.local.pin(), at, expected, new)
    }

    /// Keeps all that it shows where it is, until it is dropped. Looks may be dropped in any order, by the
    /// thread that has taken them:
    ///
    /// ```compile_fail,E0277
    /// let cells = cloakroom_shards::Cells::<u64>::new(1).unwrap();
    /// let handle = cells.handle().unwrap();
    /// let look = handle.look();
    /// std::thread::scope(|scope| scope.spawn(move || look.read(0).copied()).join());
    /// ```
    #[inline]
    pub fn look(&self) -> Look<'_, V, R, impl Guard> {
        Look { cells: self.cells, guard: RefCell::new(self.local.pin()) }
    }
}

/// Several reads and exchanges under one guard: see [`CellsHandle::look`].
///
/// What it shows is known by where it stands: nothing that a place has had meanwhile is given back, so
/// no other value can come to stand there.
#[derive(Debug)]
pub struct Look<'m, V, R: Reclaim, G> {
    cells: &'m Cells<V, R>,
    guard: RefCell<G>,
}

impl<V: PartialEq + Send + Sync, R: Reclaim, G: Guard> Look<'_, V, R, G> {
    /// The value of a place. Wait-free.
    ///
    /// # Panics
    /// When there is no such place: the caller's fault.
    #[inline]
    pub fn read(&self, at: usize) -> Option<&V> {
        // SAFETY: acquired under the guard, and made by an exchange; the guard stays as long as `self`.
        unsafe { Kept::show(self.cells.place(at).value()) }
    }

    /// Makes `new` the value of a place if it still has the very value that was shown as `expected`. Else
    /// answers what it has. Lock-free.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`]: nothing was done.
    ///
    /// # Panics
    /// As [`Look::read`].
    #[inline]
    pub fn exchange<'a>(
        &'a self,
        at: usize,
        expected: Option<&'a V>,
        new: V,
    ) -> Result<Result<(), Option<&'a V>>, ShardsError> {
        let place = self.cells.place(at);
        let mut guard = self.guard.borrow_mut();
        let mut seen = place.value();
        // SAFETY: as in `read`.
        let shown = |word| unsafe { Kept::<V>::show(word) };
        let is_expected = |word| match (shown(word), expected) {
            (Some(one), Some(other)) => ptr::eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if !is_expected(seen) {
            return Ok(Err(shown(seen)));
        }
        if seen.is_present() {
            guard.reserve()?;
        }
        let fresh = Fresh::new(new, &mut *guard)?;
        // SHARD-1: here the operation took effect, or in the read of what differs.
        while let Err(other) = place.swap(seen, fresh.word()) {
            if !is_expected(other) {
                return Ok(Err(shown(other)));
            }
            seen = other;
        }
        Cells::<V, R>::replaced(&mut *guard, seen, Some(fresh));
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::BATCH;

    #[test]
    fn the_look_that_goes_last_keeps_what_it_shows() {
        let cells = Cells::<String>::new(1).unwrap();
        let handle = cells.handle().unwrap();
        assert_eq!(handle.exchange(0, None, Some("first".into())), Ok(Ok(())));
        let (one, other) = (handle.look(), handle.look());
        drop(one);
        let shown = other.read(0);
        // Enough for many batches: whatever nobody holds is given back meanwhile.
        for number in 0..4 * BATCH {
            let next = number.to_string();
            let writer = cells.handle().unwrap();
            let seen = writer.look().read(0).cloned();
            assert_eq!(writer.exchange(0, seen.as_ref(), Some(next)), Ok(Ok(())));
        }
        assert_eq!(shown.map(String::as_str), Some("first"));
    }

    #[test]
    fn a_look_knows_a_value_by_where_it_stands() {
        let cells = Cells::<u64>::new(2).unwrap();
        let handle = cells.handle().unwrap();
        let look = handle.look();
        assert_eq!(look.exchange(0, None, 7), Ok(Ok(())));
        let first = look.read(0);
        assert_eq!((first, look.exchange(0, None, 8)), (Some(&7), Ok(Err(Some(&7)))));
        assert_eq!(look.exchange(0, first, 7), Ok(Ok(())));
        // Equal, and not the same.
        assert_eq!((look.exchange(0, first, 9), look.read(0)), (Ok(Err(Some(&7))), Some(&7)));
        assert_eq!((look.exchange(1, first, 9), first), (Ok(Err(None)), Some(&7)));
        assert_eq!(cells.len(), 1);
    }
}
