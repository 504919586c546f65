//! The pool on the shards, beside what people use in one process: `cargo bench -p cloakroom-shards
//! --bench pool [-- FILTER]`.
//!
//! * 65,536 ids, of which 10, 90 or 99.9 % are held; a pair is an allocate, and a free of an id that
//!   this thread holds, chosen at random; million pairs a second, median of the rounds;
//! * ours keeps a tag of 8 bytes with each id, and survives callers that die anywhere. **No rival
//!   does either**: they are faster because they promise less;
//! * two lines are no rivals but bounds: `the writes alone` are those of a pair in `dense 16x1` (ten, each
//!   of a value that takes another one's place), without a read that decides and a step between them; `the root alone` is
//!   two exchanges of one word that all callers share;
//! * `ours` is the pool on the map, `dense` on the store that is made for one pool, by children to a
//!   node and slots to a block; with `apart` each thread starts its search at a part of its own, as a
//!   bitmap's does;
//! * last comes how long two threads take to hand a cache line over: a call that follows one of another
//!   thread cannot take less, for both write the root;
//! * memory comes from the allocator that the command has: what a thread gives back, another one has allocated, which
//!   the system's makes them wait for;
//! * one thread is measured by the clock of its own processor time, two by the wall's.
//!
//! `FILTER` is a part of a line's name, such as `two levels` or `64x`; the name ends with a space.

// Real threads, and the rivals' atomics and locks.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, missing_docs)]

mod rivals;

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use cloakroom_pool::{AtomicMap, FreeOutcome, Id, Policy, Pool, PoolId, Shape, Tag, Tree};
use cloakroom_shards::{Dense, Shards};

use rivals::{ArrayIds, Bitmap, Ids, MutexedBitset, Root, SegIds, SlabIds, TwoLevels, Writes};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZE: usize = 65_536;

/// The pool on the shards, with a handle for each thread.
struct Ours {
    map: Shards,
    tree: Tree,
}

impl Ours {
    fn new(fanout: u16, block: u16) -> Self {
        Self { map: Shards::new().expect("memory"), tree: tree(fanout, block) }
    }
}

fn tree(fanout: u16, block: u16) -> Tree {
    let shape = Shape::new(fanout, block).expect("a shape");
    Tree::new(PoolId(1), SIZE as u64, shape).expect("a tree")
}

impl Ids for Ours {
    fn worker(&self, thread: u64) -> impl rivals::Worker {
        OursWorker::new(self.map.handle().expect("memory"), self.tree, thread)
    }
}

/// The pool on the store of its own.
impl Ids for Dense {
    fn worker(&self, thread: u64) -> impl rivals::Worker {
        OursWorker::new(self.handle().expect("memory"), *self.tree(), thread)
    }
}

/// The same, where each thread has a start of its own.
struct Apart(Dense);

impl Ids for Apart {
    fn worker(&self, thread: u64) -> impl rivals::Worker {
        let mut worker = OursWorker::new(self.0.handle().expect("memory"), *self.0.tree(), thread);
        worker.pool = worker.pool.starting_at(Id(thread * SIZE as u64 / 2));
        worker
    }
}

/// Each allocation has a fresh tag, as the caller's rules want it.
struct OursWorker<M> {
    pool: Pool<M>,
    next: u64,
    /// The tag's number, by id.
    tags: Vec<u64>,
}

impl<M: AtomicMap> OursWorker<M> {
    fn new(handle: M, tree: Tree, thread: u64) -> Self {
        let pool = Pool::new(handle, tree, Policy::Spread);
        Self { pool, next: thread << 48, tags: vec![0; SIZE] }
    }
}

fn tag(number: u64) -> Tag {
    Tag::new(number.to_be_bytes()).expect("8 bytes")
}

impl<M: AtomicMap> rivals::Worker for OursWorker<M> {
    fn allocate(&mut self) -> Option<u64> {
        self.next += 1;
        let id = self.pool.allocate(&tag(self.next)).ok()?.0;
        self.tags[usize::try_from(id).expect("an id")] = self.next;
        Some(id)
    }

    fn free(&mut self, id: u64) {
        let tag = tag(self.tags[usize::try_from(id).expect("an id")]);
        assert_eq!(self.pool.free(Id(id), &tag), Ok(FreeOutcome::Freed));
    }
}

/// What this thread has had of a processor, in seconds.
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the structure that it is handed.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(done, 0, "clock_gettime");
    let number = |part: i64| f64::from(u32::try_from(part).expect("a short run"));
    number(time.tv_sec) + number(time.tv_nsec) / 1e9
}

/// xorshift: cheap, and the same for all.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Million pairs a second, in each round.
fn measure<I: Ids>(ids: &I, held: usize, threads: u64) -> Vec<f64> {
    let start = &Barrier::new(usize::try_from(threads).expect("few"));
    let share = held / usize::try_from(threads).expect("few");
    let run = |thread: u64| {
        let mut worker = ids.worker(thread);
        let mut mine: Vec<u64> =
            (0..share).map(|_| rivals::Worker::allocate(&mut worker).expect("room")).collect();
        let mut state = 0x5eed_0000 + thread;
        let mut pairs = 200;
        let mut rounds = Vec::new();
        for round in 0..ROUNDS + 2 {
            start.wait();
            let (begun, processor) = (Instant::now(), processor_time());
            for _ in 0..pairs {
                // With almost all ids held, the other thread may hold the last free ones for a moment.
                let Some(id) = rivals::Worker::allocate(&mut worker) else { continue };
                let at = usize::try_from(random(&mut state) >> 32).expect("32 bits") % mine.len();
                rivals::Worker::free(&mut worker, std::mem::replace(&mut mine[at], id));
            }
            let seconds = processor_time() - processor;
            rounds.push((begun, Instant::now(), pairs, seconds));
            if round < 2 {
                // Alone half a millisecond, so that seldom somebody else gets a processor in between; two so
                // long that it does not matter when each of them is woken.
                let wanted = if threads == 1 { 0.0005 } else { 0.005 };
                let scaled = f64::from(pairs) * wanted / seconds;
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Small.
                let scaled = scaled as u32;
                pairs = scaled.clamp(50, 1_000_000);
            }
        }
        for id in mine {
            rivals::Worker::free(&mut worker, id);
        }
        rounds.split_off(2)
    };
    let all: Vec<_> = thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        spawned.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    (0..ROUNDS)
        .map(|round| {
            let runs = all.iter().map(|rounds| &rounds[round]);
            let begun = runs.clone().map(|run| run.0).min().expect("a thread");
            let ended = runs.clone().map(|run| run.1).max().expect("a thread");
            let pairs: u32 = runs.clone().map(|run| run.2).sum();
            let wall = (ended - begun).as_secs_f64();
            f64::from(pairs) / if threads == 1 { all[0][round].3 } else { wall } / 1e6
        })
        .collect()
}

const ROUNDS: usize = 41;

/// Nanoseconds from one thread's write of a word to another one's that waited for it; median.
fn handover() -> f64 {
    const TURNS: usize = 20_000;
    let (word, start) = (&AtomicUsize::new(0), &Barrier::new(2));
    let run = move |own: usize| {
        start.wait();
        let begun = Instant::now();
        for turn in 0..TURNS {
            // Acquire, Release: as a store's root is read and written.
            while word.load(Ordering::Acquire) != 2 * turn + own {}
            word.store(2 * turn + own + 1, Ordering::Release);
        }
        begun.elapsed().as_secs_f64() * 1e9
    };
    let mut all: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            word.store(0, Ordering::Release);
            thread::scope(|scope| {
                let other = scope.spawn(move || run(1));
                run(0).max(other.join().expect("no panic"))
            })
        })
        .collect();
    all.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss)] // Few.
    let turns = 2.0 * TURNS as f64;
    all[all.len() / 2] / turns
}

fn line<I: Ids>(name: &str, filter: &str, ids: impl Fn() -> I) {
    if !format!("{name} ").contains(filter) {
        return;
    }
    print!("{name:<22}");
    for threads in [1, 2] {
        for held in [SIZE / 10, SIZE * 9 / 10, SIZE - SIZE / 1000] {
            eprint!("\r{name}: {threads} threads, {held} held    ");
            let mut figures = measure(&ids(), held, threads);
            eprint!("\r{:60}\r", "");
            figures.sort_by(f64::total_cmp);
            print!(" {:8.3}", figures[figures.len() / 2]);
        }
    }
    println!();
}

fn main() {
    // cargo adds `--bench`.
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    println!("million allocate+free pairs a second; median of {ROUNDS} rounds");
    println!("{:<22} {:^26} {:^26}", "", "1 thread", "2 threads");
    println!(
        "{:<22} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "held:", "10 %", "90 %", "99.9 %", "10 %", "90 %", "99.9 %"
    );
    for (fanout, block) in [(256, 1), (64, 1), (16, 1), (32, 4), (16, 16), (64, 16), (64, 64)] {
        let name = format!("ours {fanout}x{block}");
        line(&name, &filter, || Ours::new(fanout, block));
        let name = format!("dense {fanout}x{block}");
        line(&name, &filter, || Dense::new(tree(fanout, block)).expect("memory"));
        let name = format!("dense {fanout}x{block} apart");
        line(&name, &filter, || Apart(Dense::new(tree(fanout, block)).expect("memory")));
    }
    line("the writes alone", &filter, Writes::new);
    line("the root alone", &filter, Root::default);
    line("bitmap", &filter, || Bitmap::new(SIZE));
    line("bitmap, two levels", &filter, || TwoLevels::new(SIZE));
    line("sharded-slab", &filter, SlabIds::default);
    line("SegQueue", &filter, || SegIds::new(SIZE));
    line("ArrayQueue", &filter, || ArrayIds::new(SIZE));
    line("mutexed bitset", &filter, || MutexedBitset::new(SIZE));
    println!("a cache line handed over: {:.0} ns", handover());
}
