//! What people use in one process to hand out numbers. None keeps a tag, none survives a caller.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cloakroom_shards::{Cells, CellsHandle};
use crossbeam_queue::{ArrayQueue, SegQueue};

/// Something that hands out ids.
pub(crate) trait Ids: Sync {
    /// As one thread uses it.
    fn worker(&self, thread: u64) -> impl Worker;
}

pub(crate) trait Worker {
    fn allocate(&mut self) -> Option<u64>;
    fn free(&mut self, id: u64);
}

/// No rival: a pair of ours if all but the root cost nothing, and the root were one word. An allocate and
/// a free each read it and exchange it, so callers on two processors fetch its cache line from each other.
#[derive(Default)]
pub(crate) struct Root(AtomicU64);

impl Root {
    /// Acquire, AcqRel: as the pool's store reads and exchanges a root.
    fn exchange(&self) {
        let mut seen = self.0.load(Ordering::Acquire);
        while let Err(other) =
            self.0.compare_exchange(seen, seen + 1, Ordering::AcqRel, Ordering::Acquire)
        {
            seen = other;
        }
    }
}

impl Ids for Root {
    fn worker(&self, _: u64) -> impl Worker {
        self
    }
}

impl Worker for &Root {
    fn allocate(&mut self) -> Option<u64> {
        self.exchange();
        Some(0)
    }

    fn free(&mut self, _: u64) {
        self.exchange();
    }
}

/// No rival: the writes of a pair of ours, of nodes of 16 children and blocks of one slot, without anything that tells
/// what to write. A value of 48 bytes takes the place of another one, where it stands in `Dense`.
pub(crate) struct Writes(Cells<[u64; 6]>);

/// Where a level begins, and how far apart its places are.
const LEVELS: [(usize, usize); 5] = [(0, 1), (65_536, 4), (81_920, 4), (82_944, 4), (83_008, 4)];

impl Writes {
    pub(crate) fn new() -> Self {
        let cells = Cells::new(83_012).expect("memory");
        for at in 0..cells.places() {
            assert_eq!(cells.exchange(at, None, Some([0; 6])), Ok(Ok(())));
        }
        Self(cells)
    }
}

pub(crate) struct WritesWorker<'a> {
    cells: CellsHandle<'a, [u64; 6]>,
    next: u64,
}

impl Ids for Writes {
    fn worker(&self, thread: u64) -> impl Worker {
        WritesWorker { cells: self.0.handle().expect("memory"), next: thread << 40 }
    }
}

impl Worker for WritesWorker<'_> {
    /// Each id in turn, spread as by a hash.
    fn allocate(&mut self) -> Option<u64> {
        self.next += 1;
        let id = self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        self.free(id);
        Some(id)
    }

    fn free(&mut self, id: u64) {
        let look = self.cells.look();
        for (level, (first, apart)) in LEVELS.into_iter().enumerate() {
            let at = first + apart * usize::try_from(id >> (4 * level)).expect("an id");
            let mut seen = look.read(at);
            let written = |seen: &[u64; 6]| [seen[0] + 1, seen[1], seen[2], seen[3], id, seen[5]];
            while let Err(other) =
                look.exchange(at, seen, written(seen.expect("filled"))).expect("memory")
            {
                seen = other;
            }
        }
    }
}

/// One bit for each id.
pub(crate) struct Bitmap(Vec<AtomicU64>);

impl Bitmap {
    pub(crate) fn new(size: usize) -> Self {
        Self((0..size / 64).map(|_| AtomicU64::new(0)).collect())
    }
}

/// The word where it found one, to go on from.
pub(crate) struct BitmapWorker<'a> {
    map: &'a Bitmap,
    at: usize,
}

impl Ids for Bitmap {
    fn worker(&self, thread: u64) -> impl Worker {
        BitmapWorker { map: self, at: usize::try_from(thread).expect("few") * self.0.len() / 2 }
    }
}

/// Takes the lowest free bit of a word.
///
/// Relaxed looks: the exchange tests what they saw. The exchange acquires what the last holder of the id did
/// before it let go, as users of ids expect.
fn take(word: &AtomicU64) -> Option<u64> {
    let mut seen = word.load(Ordering::Relaxed);
    while seen != u64::MAX {
        let bit = (!seen).trailing_zeros();
        let new = seen | 1 << bit;
        match word.compare_exchange_weak(seen, new, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return Some(u64::from(bit)),
            Err(other) => seen = other,
        }
    }
    None
}

impl Worker for BitmapWorker<'_> {
    fn allocate(&mut self) -> Option<u64> {
        let words = &self.map.0;
        for _ in 0..words.len() {
            if let Some(bit) = take(&words[self.at]) {
                return Some(self.at as u64 * 64 + bit);
            }
            self.at = (self.at + 1) % words.len();
        }
        None
    }

    fn free(&mut self, id: u64) {
        let at = usize::try_from(id / 64).expect("small");
        // Releases what the holder did.
        self.map.0[at].fetch_and(!(1 << (id % 64)), Ordering::AcqRel);
    }
}

/// Above the bits one bit for each word that is full, as a hint.
pub(crate) struct TwoLevels {
    bits: Bitmap,
    full: Vec<AtomicU64>,
}

impl TwoLevels {
    pub(crate) fn new(size: usize) -> Self {
        let full = (0..size / 64 / 64).map(|_| AtomicU64::new(0)).collect();
        Self { bits: Bitmap::new(size), full }
    }
}

pub(crate) struct TwoLevelsWorker<'a> {
    map: &'a TwoLevels,
    at: usize,
}

impl Ids for TwoLevels {
    fn worker(&self, thread: u64) -> impl Worker {
        TwoLevelsWorker {
            map: self,
            at: usize::try_from(thread).expect("few") * self.full.len() / 2,
        }
    }
}

impl Worker for TwoLevelsWorker<'_> {
    fn allocate(&mut self) -> Option<u64> {
        let TwoLevels { bits, full } = self.map;
        for _ in 0..full.len() {
            loop {
                // Relaxed: a hint; the bits say what is free.
                let seen = full[self.at].load(Ordering::Relaxed);
                if seen == u64::MAX {
                    break;
                }
                let word = self.at * 64 + (!seen).trailing_zeros() as usize;
                if let Some(bit) = take(&bits.0[word]) {
                    return Some(word as u64 * 64 + bit);
                }
                // Somebody may have freed one meanwhile, and cleared the hint before it was set: then this
                // acquires that clearing, and the look below sees what was freed before it.
                full[self.at].fetch_or(1 << (word % 64), Ordering::AcqRel);
                if bits.0[word].load(Ordering::Acquire) != u64::MAX {
                    // Releases what was freed to whoever sets the hint next.
                    full[self.at].fetch_and(!(1 << (word % 64)), Ordering::AcqRel);
                }
            }
            self.at = (self.at + 1) % full.len();
        }
        None
    }

    fn free(&mut self, id: u64) {
        let word = usize::try_from(id / 64).expect("small");
        // The bit first, which releases what the holder did; then the hint, which releases the bit to whoever
        // sets the hint next.
        self.map.bits.0[word].fetch_and(!(1 << (id % 64)), Ordering::AcqRel);
        self.map.full[word / 64].fetch_and(!(1 << (word % 64)), Ordering::AcqRel);
    }
}

/// A slab's keys as ids.
#[derive(Default)]
pub(crate) struct SlabIds(sharded_slab::Slab<u64>);

impl Ids for SlabIds {
    fn worker(&self, _: u64) -> impl Worker {
        &self.0
    }
}

impl Worker for &sharded_slab::Slab<u64> {
    fn allocate(&mut self) -> Option<u64> {
        self.insert(0).map(|id| id as u64)
    }

    fn free(&mut self, id: u64) {
        assert!(self.remove(usize::try_from(id).expect("an id")));
    }
}

/// A queue of free ids.
pub(crate) struct SegIds(SegQueue<u64>);

impl SegIds {
    pub(crate) fn new(size: usize) -> Self {
        let queue = SegQueue::new();
        (0..size as u64).for_each(|id| queue.push(id));
        Self(queue)
    }
}

impl Ids for SegIds {
    fn worker(&self, _: u64) -> impl Worker {
        &self.0
    }
}

impl Worker for &SegQueue<u64> {
    fn allocate(&mut self) -> Option<u64> {
        self.pop()
    }

    fn free(&mut self, id: u64) {
        self.push(id);
    }
}

/// The same, of a fixed size.
pub(crate) struct ArrayIds(ArrayQueue<u64>);

impl ArrayIds {
    pub(crate) fn new(size: usize) -> Self {
        let queue = ArrayQueue::new(size);
        (0..size as u64).for_each(|id| queue.push(id).expect("room"));
        Self(queue)
    }
}

impl Ids for ArrayIds {
    fn worker(&self, _: u64) -> impl Worker {
        &self.0
    }
}

impl Worker for &ArrayQueue<u64> {
    fn allocate(&mut self) -> Option<u64> {
        self.pop()
    }

    fn free(&mut self, id: u64) {
        self.push(id).expect("it had room for all");
    }
}

/// A bitset behind a lock, with the word to begin at.
pub(crate) struct MutexedBitset(Mutex<(Vec<u64>, usize)>);

impl MutexedBitset {
    pub(crate) fn new(size: usize) -> Self {
        Self(Mutex::new((vec![0; size / 64], 0)))
    }
}

impl Ids for MutexedBitset {
    fn worker(&self, _: u64) -> impl Worker {
        &self.0
    }
}

impl Worker for &Mutex<(Vec<u64>, usize)> {
    fn allocate(&mut self) -> Option<u64> {
        let mut guard = self.lock().unwrap_or_else(PoisonError::into_inner);
        let (words, at) = &mut *guard;
        for _ in 0..words.len() {
            if words[*at] != u64::MAX {
                let bit = (!words[*at]).trailing_zeros();
                words[*at] |= 1 << bit;
                return Some(*at as u64 * 64 + u64::from(bit));
            }
            *at = (*at + 1) % words.len();
        }
        None
    }

    fn free(&mut self, id: u64) {
        let mut guard = self.lock().unwrap_or_else(PoisonError::into_inner);
        guard.0[usize::try_from(id / 64).expect("small")] &= !(1 << (id % 64));
    }
}
