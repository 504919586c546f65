//! Our own reclaimer: epochs over seats, no global queue; threads may register, and need not.
//!
//! A *seat* is a word and a bag. Who enters takes a free seat with one exchange that writes the
//! epoch it saw into the word; who leaves writes FREE. Who registers keeps a seat: it enters by a
//! store, and leaves it RESTING. The bag stays with the seat: what a thread leaves behind is the next
//! one's to free, so threads come and go without limit, and nothing is orphaned.
//!
//! Life of garbage:
//! 1. *open*: in the bag of whoever retired it;
//! 2. *sealed*: after every `BATCH` retirements or `BATCH_BYTES`, a heavy fence, then the epoch is
//!    read and noted for the batch;
//! 3. *freed*: by the owner of the seat when the epoch has moved on by two. Of what says how, the memory may stay with the
//!    seat and serve again.
//!
//! The epoch moves from e to e + 1 only when every seat that somebody is inside with shows e.
//!
//! # Why that is safe (SHARD-4)
//!
//! Let R be a guard, P its light fence in `pin`, and let O be unlinked before the heavy fence S of
//! the `advance` that seals it. Call A(e) the heavy fence of the move from e to e + 1, between its
//! read of the epoch and its look at the seats; one fence is S of a batch and A of a move. Of P and a
//! heavy fence X one comes before the other, as `sync::Fences` promises: what stands before the
//! earlier one is seen by what stands after the later one. And if X comes before P and P before Y,
//! then what stands before X is seen after Y.
//! * **S before P**: R's reads come after P, so they see the unlinking. R never gets to O.
//! * **P before S**: let m be the largest e with A(e) before P. R read its epoch r ≤ m + 1 before P: a
//!   larger one was written after a heavy fence after P. Moves whose fence comes after P see R's seat
//!   as R wrote it or later; while R is inside they succeed for e = r only. So while R is inside the
//!   epoch is at most m + 2 if r = m + 1, and else at most m + 1. The batch's epoch b was read after
//!   S, so it is at least r (R read r before P) and at least m (A(m) came after a read of m, and
//!   before P). So b + 2 is at least m + 3 in the first case and m + 2 in the second: not reached
//!   while R is inside.
//! * **R's reads happen before the free**: reaching b + 2 took a move that saw R's seat after R had
//!   left: its read met R's release, or a later word of the same owner, written with release, or a
//!   later owner's word in the release sequence of R's or of an owner who had acquired R's. It then
//!   wrote the epoch with release, and who frees has read that epoch, or a later one in its release
//!   sequence, before a heavy fence, which acquires; or has itself looked at all seats.
//!
//! # Bounds
//!
//! * Seats: a block of `SEATS`, and one more of the same size whenever a thread finds all taken.
//!   They are never given back before the domain is, so memory follows the most threads ever inside
//!   at once.
//! * Garbage: a seat holds less than one batch open: fewer than `BATCH` objects, and fewer than
//!   `BATCH_BYTES` before the last one came. While nobody stays inside, a sealed batch is freed by
//!   the second batch after it that its seat seals, so at most 3 · BATCH − 1 objects wait at each
//!   seat, with at most 3 · (BATCH_BYTES + one object) bytes: a value has at most 64 KiB and a
//!   table is as large as its shard. **A guard that is held delays all of that**: nothing that is
//!   retired from two moves after its pin on is freed before it leaves, so garbage grows with what is
//!   retired meanwhile. It delays memory, never progress: nobody waits for it. So does a system that refuses
//!   the heavy fence after it has once granted it.
//! * Memory that serves again: of `SPARES` objects of up to `BATCH_BYTES` together, at each seat.
//! * A bag keeps room for the most garbage that it ever had, four words for each, and three for each object whose memory serves
//!   again: with the smallest ones 150 KiB at a seat, which no figure counts.
//!
//! What it does not do: free what waits at a seat that nobody takes again, before the domain is
//! dropped.

// Memory is allocated with the layout of what it is cast to.
#![allow(clippy::cast_ptr_alignment)]

use std::alloc::{Layout, alloc};
use std::cell::Cell;
use std::ptr::{self, NonNull};

use super::bag::Bag;
use super::{Garbage, Guard, Local, Reclaim, Tally};
use crate::bounds::{CHECKED, SEATS};
use crate::error::ShardsError;
use crate::sync::{self, AtomicPtr, AtomicUsize, Fences, Ordering, UnsafeCell};

/// The reclaimer that ships.
pub type Epoch = EpochAfter<2>;
/// For tests: frees nothing before the map is dropped.
pub type Leaking = EpochAfter<{ usize::MAX }>;
/// For tests, broken: frees what others may be reading. In an ordinary build there is none.
pub type Hasty = EpochAfter<0>;

/// The word of a seat that nobody has.
const FREE: usize = 0;

/// The word of a seat whose owner is not inside.
const RESTING: usize = 2;

/// The word of an owner who is inside.
const fn inside(epoch: usize) -> usize {
    epoch << 2 | 1
}

const fn is_inside(word: usize) -> bool {
    word & 1 != 0
}

/// Two cache lines, because processors fetch them in pairs.
#[repr(align(128))]
#[derive(Debug)]
struct Seat {
    /// [`FREE`], [`RESTING`], or [`inside`] at an epoch.
    word: AtomicUsize,
    /// The owner's.
    bag: UnsafeCell<Bag>,
    /// Wrapping sums, written by the owner only.
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

// SAFETY: the bag is the owner's. An owner took the seat with an acquiring exchange from FREE,
// which the owner before it wrote with release; so their accesses to the bag are in order. What is
// in the bag may be freed by any thread (`Garbage::new`).
unsafe impl Sync for Seat {}
// SAFETY: as above.
unsafe impl Send for Seat {}

impl Seat {
    fn new() -> Self {
        Self {
            word: AtomicUsize::new(FREE),
            bag: UnsafeCell::new(Bag::default()),
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }
}

/// Seats, and the block that was there before.
#[derive(Debug)]
struct Block {
    seats: [Seat; SEATS],
    /// Written before the block is shared, and never again.
    older: *const Block,
}

/// Epochs; `GRACE` is how far they move before something is freed. Less than 2 is wrong, and more is late.
#[derive(Debug)]
pub struct EpochAfter<const GRACE: usize> {
    epoch: AtomicUsize,
    fences: Fences,
    /// Inside, so that the usual case follows no pointer.
    first: [Seat; SEATS],
    /// The newest block that was appended, or null. Blocks live as long as the domain.
    more: AtomicPtr<Block>,
}

// SAFETY: `Seat` and `Block` may be shared, see `Seat`; a block's `older` is not written once
// shared.
unsafe impl<const GRACE: usize> Sync for EpochAfter<GRACE> {}
// SAFETY: as above.
unsafe impl<const GRACE: usize> Send for EpochAfter<GRACE> {}

// SAFETY: the file's head.
unsafe impl<const GRACE: usize> Reclaim for EpochAfter<GRACE> {
    type Guard<'a> = EpochGuard<'a, GRACE>;
    type Local<'a> = EpochLocal<'a, GRACE>;

    /// # Panics
    /// With a `GRACE` that is wrong, outside a checker's build.
    fn new() -> Self {
        assert!(GRACE >= 2 || CHECKED, "grace: expected 2 epochs at least, got {GRACE}");
        Self {
            epoch: AtomicUsize::new(0),
            fences: Fences::new(),
            first: std::array::from_fn(|_| Seat::new()),
            more: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline]
    fn pin(&self) -> Result<EpochGuard<'_, GRACE>, ShardsError> {
        // Relaxed: an old epoch is safe, it only holds moves up (see the file's head); nothing is
        // read by way of it.
        let epoch = self.epoch.load(Ordering::Relaxed);
        let home = sync::thread_index();
        let own = &self.first[home % SEATS];
        let seat = if Self::take(own, epoch) { own } else { self.take_another(home, epoch)? };
        // The fence P of the file's head; its partners are S and A in `advance`.
        self.fences.light();
        Ok(EpochGuard { domain: self, seat, held: None })
    }

    fn register(&self) -> Result<EpochLocal<'_, GRACE>, ShardsError> {
        let guard = self.pin()?;
        let seat = guard.seat;
        std::mem::forget(guard);
        // Release: as in the guard's drop.
        seat.word.store(RESTING, Ordering::Release);
        Ok(EpochLocal { domain: self, seat, held: Cell::new(0) })
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for seat in self.seats(0) {
            // Relaxed: an estimate. What a thread did before is in it by coherence.
            tally.entries = tally.entries.wrapping_add(seat.entries.load(Ordering::Relaxed));
            tally.bytes = tally.bytes.wrapping_add(seat.bytes.load(Ordering::Relaxed));
        }
        // Removals may be seen before what they remove.
        let or_none = |sum: usize| if sum > isize::MAX.unsigned_abs() { 0 } else { sum };
        let seats = self.seats(0).count();
        let bytes = or_none(tally.bytes).saturating_add(seats * size_of::<Seat>());
        Tally { entries: or_none(tally.entries), bytes }
    }
}

impl<const GRACE: usize> EpochAfter<GRACE> {
    /// All seats that this thread can know of, its own of the first block first.
    fn seats(&self, home: usize) -> impl Iterator<Item = &Seat> {
        let own = home % SEATS;
        // Acquire: the block's seats and `older`; partner: Release in `append`.
        let newest = self.more.load(Ordering::Acquire).cast_const();
        // SAFETY: null, or a block that was shared by `append` after it was made, and acquired; its
        // `older` was once what is said here of it. Blocks live as long as `self`.
        let block = |block: *const Block| unsafe { block.as_ref() };
        let blocks = std::iter::successors(block(newest), move |newer| block(newer.older));
        let first = self.first[own..].iter().chain(&self.first[..own]);
        first.chain(blocks.flat_map(|block| &block.seats))
    }

    #[cold]
    fn take_another(&self, home: usize, epoch: usize) -> Result<&Seat, ShardsError> {
        let free = self.seats(home).find(|seat| Self::take(seat, epoch));
        free.map_or_else(|| self.append(epoch), Ok)
    }

    #[inline]
    fn take(seat: &Seat, epoch: usize) -> bool {
        // Relaxed: a look that saves an exchange which would fail; nothing follows from it.
        seat.word.load(Ordering::Relaxed) == FREE
            // Acquire: the bag, and all that earlier owners read, which this owner's release then
            // covers; partner: Release in the guard's drop. An exchange, so that it stays in the
            // release sequence of that store. Relaxed: a failure tells nothing but that.
            && seat
                .word
                .compare_exchange(FREE, inside(epoch), Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    /// A new block, with its first seat taken.
    #[cold]
    fn append(&self, epoch: usize) -> Result<&Seat, ShardsError> {
        let layout = Layout::new::<Block>();
        // SAFETY: a block is not empty.
        let block = NonNull::new(unsafe { alloc(layout) }.cast::<Block>())
            .ok_or(ShardsError::OutOfMemory { bytes: layout.size() })?;
        // Relaxed: only the expected value of the exchange below.
        let mut older = self.more.load(Ordering::Relaxed);
        let mut seats: [Seat; SEATS] = std::array::from_fn(|_| Seat::new());
        seats[0].word = AtomicUsize::new(inside(epoch));
        // SAFETY: fresh memory for a block, ours alone until the exchange.
        unsafe { block.write(Block { seats, older }) };
        loop {
            // Release: the block; partner: Acquire in `seats`. It also hands on the older blocks:
            // an exchange stays in the release sequences of theirs. Relaxed: a failure gives the
            // next expected value only.
            match self.more.compare_exchange_weak(
                older,
                block.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                // SAFETY: made above, and lives as long as the domain.
                Ok(_) => return Ok(unsafe { &block.as_ref().seats[0] }),
                Err(newer) => {
                    older = newer;
                    // SAFETY: still ours alone.
                    unsafe { (*block.as_ptr()).older = older };
                }
            }
        }
    }

    /// Moves the epoch on if every seat that somebody is inside with shows it. Answers at which epoch
    /// what was unlinked before may be noted, and where the epoch now is at least. Nothing, if the system
    /// refuses the fence. By somebody who is inside.
    fn advance(&self) -> Option<(usize, usize)> {
        // Relaxed: the fence behind it acquires. Who frees by this epoch must come after the moves
        // to it; partner: Release below.
        let epoch = self.epoch.load(Ordering::Relaxed);
        // The fences S and A of the file's head, in one; their partner is P in `pin`.
        if !self.fences.heavy() {
            return None;
        }
        // Relaxed: the fences order it (see the file's head); nothing is read by way of it.
        let noted = self.epoch.load(Ordering::Relaxed);
        for seat in self.seats(0) {
            // Acquire: what the seat's earlier owners read happened before; partner: Release in the
            // guard's drop or in a later pin by the same owner, directly or by the release sequence
            // that `take` stays in.
            let word = seat.word.load(Ordering::Acquire);
            if is_inside(word) && word != inside(epoch) {
                return Some((noted, epoch));
            }
        }
        // Release: what was acquired from the seats; partner: the first load above and the fence
        // behind it, in whoever frees without having seen all seats itself. Relaxed otherwise: who
        // comes here has. A guard that may hold what is freed by the answer had entered with an
        // older epoch before the fence that sealed it; so its seat was met with a later word, which
        // was acquired.
        //
        // Who fails has been forestalled: by one epoch, for its own seat shows this one.
        let next = epoch + 1;
        let _ = self.epoch.compare_exchange(epoch, next, Ordering::Release, Ordering::Relaxed);
        Some((noted, next))
    }
}

impl<const GRACE: usize> Drop for EpochAfter<GRACE> {
    fn drop(&mut self) {
        for seat in self.seats(0) {
            // SAFETY: `&mut self`: no guard is left, so nobody reads and nobody else has the bag.
            let bag = seat.bag.with_mut(|bag| std::mem::take(unsafe { &mut *bag }));
            // SAFETY: as above.
            unsafe { bag.free() };
        }
        // Relaxed: `&mut self` came by something that orders it.
        let mut block = self.more.load(Ordering::Relaxed);
        while let Some(one) = NonNull::new(block) {
            // SAFETY: a block of ours, allocated in `append` as a box would be; nobody has it any
            // more.
            let one = unsafe { Box::from_raw(one.as_ptr()) };
            block = one.older.cast_mut();
        }
        sync::drain();
    }
}

/// A seat that one thread keeps.
#[derive(Debug)]
pub struct EpochLocal<'a, const GRACE: usize> {
    domain: &'a EpochAfter<GRACE>,
    seat: &'a Seat,
    /// Its guards: they may be dropped in any order. A cell, so it may move to another thread, but not be
    /// used by two.
    held: Cell<usize>,
}

// SAFETY: as above; the last guard leaves.
unsafe impl<const GRACE: usize> Local for EpochLocal<'_, GRACE> {
    type Guard<'a>
        = EpochGuard<'a, GRACE>
    where
        Self: 'a;

    #[inline]
    fn pin(&self) -> EpochGuard<'_, GRACE> {
        let (domain, seat) = (self.domain, self.seat);
        let guard = EpochGuard { domain, seat, held: Some(&self.held) };
        self.held.set(self.held.get() + 1);
        if self.held.get() > 1 {
            // Beside another guard: the seat says since when.
            return guard;
        }
        // Relaxed: as in `EpochAfter::pin`.
        let epoch = domain.epoch.load(Ordering::Relaxed);
        // Release: what earlier guards of this seat read; partner: Acquire in `advance`, which
        // may meet this word and not the one that the last guard left.
        seat.word.store(inside(epoch), Ordering::Release);
        // The fence P of the file's head; its partners are S and A in `advance`.
        domain.fences.light();
        guard
    }
}

impl<const GRACE: usize> Drop for EpochLocal<'_, GRACE> {
    fn drop(&mut self) {
        // Release: as in the guard's drop. No guard is left, for they borrow this.
        self.seat.word.store(FREE, Ordering::Release);
    }
}

/// A taken seat.
#[derive(Debug)]
pub struct EpochGuard<'a, const GRACE: usize> {
    domain: &'a EpochAfter<GRACE>,
    seat: &'a Seat,
    /// Of an owner who stays: its guards, the last of which leaves. Not to be sent to another thread, where
    /// it would have the bag beside them.
    held: Option<&'a Cell<usize>>,
}

impl<const GRACE: usize> EpochGuard<'_, GRACE> {
    fn bag<A>(&mut self, f: impl FnOnce(&mut Bag) -> A) -> A {
        // SAFETY: the seat is ours from `take` to drop. All its guards are of one thread, for they cannot be
        // sent; and `f` gets none of them, so it does not come back here: this is the only borrow.
        self.seat.bag.with_mut(|bag| f(unsafe { &mut *bag }))
    }

    /// Seals the open batch, tries to move the epoch on, and frees what is old enough.
    #[cold]
    fn seal(&mut self) {
        // What is in the bag was unlinked before. Without a fence it stays, until the next is retired.
        let Some((epoch, now)) = self.domain.advance() else { return };
        let is_over = |epoch: usize| epoch.saturating_add(GRACE) <= now;
        let old = self.bag(|bag| bag.seal(epoch, is_over));
        for _ in 0..old {
            let garbage = self.bag(Bag::pop).expect("batches are in the bag");
            // What is dropped may come back here: the bag is not borrowed meanwhile.
            let reuse = self.bag(|bag| bag.reuse(&garbage));
            if let Some(reuse) = reuse {
                // SAFETY: `now` is two past the batch's epoch and was acquired: see the file's head.
                unsafe { (reuse.empty)(garbage.pointer) };
                self.bag(|bag| bag.keep(&garbage, reuse));
            } else {
                // SAFETY: as above.
                let bytes = unsafe { garbage.free() };
                self.count(0, -bytes.cast_signed());
            }
        }
    }
}

// SAFETY: what is retired is sealed behind a heavy fence, and freed two epochs later.
unsafe impl<const GRACE: usize> Guard for EpochGuard<'_, GRACE> {
    #[inline]
    fn reserve(&mut self) -> Result<(), ShardsError> {
        self.bag(Bag::reserve)
    }

    #[inline]
    unsafe fn retire(&mut self, garbage: Garbage) {
        if self.bag(|bag| bag.push(garbage)) {
            self.seal();
        }
    }

    #[inline]
    fn spare(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let spare = self.bag(|bag| bag.spare(layout))?;
        self.count(0, -layout.size().cast_signed());
        Some(spare)
    }

    #[inline]
    fn count(&mut self, entries: isize, bytes: isize) {
        let add = |sum: &AtomicUsize, more: isize| {
            if more != 0 {
                // Relaxed, and no exchange: only the owner writes, and owners are in order (see
                // `Seat`); readers want an estimate.
                let value = sum.load(Ordering::Relaxed).wrapping_add(more.cast_unsigned());
                sum.store(value, Ordering::Relaxed);
            }
        };
        add(&self.seat.entries, entries);
        add(&self.seat.bytes, bytes);
    }
}

impl<const GRACE: usize> Drop for EpochGuard<'_, GRACE> {
    #[inline]
    fn drop(&mut self) {
        if let Some(held) = self.held {
            held.set(held.get() - 1);
            if held.get() > 0 {
                return;
            }
        }
        let leaves = if self.held.is_some() { RESTING } else { FREE };
        // Release: all that this guard read, and those beside it, and the bag; partners: Acquire in `take`
        // and in `advance`.
        self.seat.word.store(leaves, Ordering::Release);
    }
}
