//! What an operation costs, beside the maps that people use: `cargo bench -p cloakroom-shards
//! --bench map [-- FILTER]`.
//!
//! * one process; in each round all maps, one after the other, so that a slow moment hits all, and each
//!   time in another order, because the next one finds the caches and the allocator as the one before has
//!   left them; medians of millions of operations a second, and the median of the paired ratios of ours to the
//!   best rival's;
//! * 100,000 keys of 8 or 32 bytes, values of 8 bytes; `Read95` and `PutRemove` begin with half of
//!   the keys there. Ours is compiled for both lengths (and 16 bytes), and has a value in its slot where it is a
//!   number below 2^61, as all are here; rivals are compiled for the types that they are given;
//! * one thread is measured by the clock of its own processor time, so that whoever else is on the
//!   machine matters little; two by the wall's, from the first start to the last end;
//! * a round has as many operations for one map as for another, few enough that seldom somebody else
//!   gets a processor in the middle of it: each map finds the caches without it and fills them by the
//!   same keys; `Grow` has all its keys;
//! * `ours+cb` is ours with crossbeam-epoch as the reclaimer;
//! * `bytes` is what the allocator was asked for, for an entry of 100,000;
//! * `Grow/1/8, bound` is no rival's: at most so many keys a second a map of this design can take, see `bound`; and how many the
//!   same is without a locked exchange.
//!
//! `FILTER` is a part of a line's name, such as `HotKey/2/32` (load, threads, bytes of a key).
//! `CLOAKROOM_ROUNDS` sets the number of rounds, `CLOAKROOM_MAPS` names the maps (ours and one more
//! at least).

// Real threads, the rivals' locks, and the counter of the allocator.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, missing_docs)]

mod bound;
mod rivals;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Instant;

use cloakroom_shards::Shards;
use cloakroom_shards::reclaim::Crossbeam;

use bound::Bare;
use rivals::{Key, Map, Mutexed, Seeded, Worker};

const KEYS: u64 = 100_000;
/// Operations in a round, of all threads together.
const OPERATIONS: u64 = 20_000;

/// Counts what is asked for, while it is told to.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to `System` as they come.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Relaxed, all: one thread switches it on, fills a map, and reads it.
        if COUNTS.load(Ordering::Relaxed) {
            ASKED.fetch_add(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // Relaxed: as above.
        if COUNTS.load(Ordering::Relaxed) {
            ASKED.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// 95 of 100 read, 5 read and compare-and-set.
    Read95,
    /// Read, then put if absent or remove.
    PutRemove,
    /// Read and compare-and-set, all of one key.
    HotKey,
    /// An empty map gets all keys.
    Grow,
    /// Every entry of the map.
    Iterate,
}

/// xorshift: cheap, and the same for every map.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Numbers below `count` in an order by chance.
fn shuffled(count: usize, state: &mut u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    all.sort_by_cached_key(|_| random(state));
    all
}

/// What a thread does in a round.
struct Part {
    thread: u64,
    threads: u64,
    seed: u64,
    operations: u64,
}

/// Answers how many operations that were.
fn work<K: Key>(map: &mut impl Worker<K>, load: Load, part: &Part) -> u64 {
    let &Part { thread, threads, seed, operations } = part;
    let mut state = 0x5eed_0000 + seed * 64 + thread;
    match load {
        Load::Grow => {
            let share = KEYS / threads;
            for key in thread * share..(thread + 1) * share {
                assert!(map.compare_and_set(&K::new(key), None, Some(key)));
            }
            return share;
        }
        Load::Iterate => return map.iterate() as u64,
        Load::Read95 | Load::PutRemove | Load::HotKey => {}
    }
    for _ in 0..operations {
        let number = random(&mut state);
        let spread = u64::try_from((u128::from(number) * u128::from(KEYS)) >> 64).expect("below");
        let key = &K::new(if load == Load::HotKey { 0 } else { spread });
        match load {
            Load::Read95 if number & 127 >= 6 => {
                black_box(map.read(key));
            }
            Load::PutRemove => {
                let before = map.read(key);
                let new = if before.is_some() { None } else { Some(number >> 8) };
                black_box(map.compare_and_set(key, before, new));
            }
            _ => {
                let before = map.read(key);
                black_box(map.compare_and_set(key, before, Some(number >> 8)));
            }
        }
    }
    operations
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

/// Millions of operations a second.
fn measure<K: Key, M: Map<K>>(map: &M, load: Load, threads: u64, (seed, each): (u64, u64)) -> f64 {
    let start = &Barrier::new(usize::try_from(threads).expect("few"));
    let run = |thread| {
        let mut worker = map.worker();
        let part = Part { thread, threads, seed, operations: each };
        start.wait();
        let (begun, processor) = (Instant::now(), processor_time());
        let operations = work(&mut worker, load, &part);
        let processor = processor_time() - processor;
        (begun, Instant::now(), operations, processor)
    };
    let runs: Vec<_> = thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        spawned.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let begun = runs.iter().map(|run| run.0).min().expect("a thread");
    let ended = runs.iter().map(|run| run.1).max().expect("a thread");
    let operations = u32::try_from(runs.iter().map(|run| run.2).sum::<u64>()).expect("few");
    let seconds = if threads == 1 { runs[0].3 } else { (ended - begun).as_secs_f64() };
    f64::from(operations) / seconds / 1e6
}

fn fill<K: Key, M: Map<K>>(map: &M, every: usize) {
    let mut worker = map.worker();
    for key in (0..KEYS).step_by(every) {
        assert!(worker.compare_and_set(&K::new(key), None, Some(key)));
    }
}

/// One map in one line of the table: a round.
fn rounds<K: Key, M: Map<K> + 'static>(load: Load, threads: u64) -> Box<dyn FnMut(u64) -> f64> {
    let map = M::empty();
    match load {
        Load::Grow => {
            return Box::new(move |seed| measure::<K, M>(&M::empty(), load, threads, (seed, 0)));
        }
        Load::Iterate => fill::<K, M>(&map, 1),
        Load::Read95 | Load::PutRemove | Load::HotKey => fill::<K, M>(&map, 2),
    }
    Box::new(move |seed| measure::<K, M>(&map, load, threads, (seed, OPERATIONS / threads)))
}

fn bytes<K: Key, M: Map<K>>() -> f64 {
    // Relaxed, all: nobody else runs here.
    ASKED.store(0, Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
    let map = M::empty();
    fill::<K, M>(&map, 1);
    let asked = ASKED.load(Ordering::Relaxed);
    COUNTS.store(false, Ordering::Relaxed);
    drop(map);
    let number = |count: usize| f64::from(u32::try_from(count).expect("below 4 GiB"));
    number(asked) / number(usize::try_from(KEYS).expect("few"))
}

type Rounds = fn(Load, u64) -> Box<dyn FnMut(u64) -> f64>;

struct Rival {
    name: &'static str,
    rounds: Rounds,
    bytes: fn() -> f64,
}

impl Rival {
    const fn new<K: Key, M: Map<K> + 'static>(name: &'static str) -> Self {
        Self { name, rounds: rounds::<K, M>, bytes: bytes::<K, M> }
    }

    /// Ours first, then ours with the other reclaimer.
    fn all<K: Key>() -> Vec<Self> {
        vec![
            Self::new::<K, Shards>("ours"),
            Self::new::<K, Shards<Crossbeam>>("ours+cb"),
            Self::new::<K, Mutexed<Mutex<HashMap<K, u64, Seeded>>>>("mutex"),
            Self::new::<K, Mutexed<parking_lot::Mutex<HashMap<K, u64, Seeded>>>>("parking"),
            Self::new::<K, dashmap::DashMap<K, u64, Seeded>>("dashmap"),
            Self::new::<K, scc::HashMap<K, u64, Seeded>>("scc"),
            Self::new::<K, scc::HashIndex<K, u64, Seeded>>("index"),
            Self::new::<K, papaya::HashMap<K, u64, Seeded>>("papaya"),
            Self::new::<K, crossbeam_skiplist::SkipMap<K, u64>>("skiplist"),
        ]
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Medians, and the best rival with the median of the paired ratios to it.
fn line(name: &str, all: &[Vec<f64>], names: &[&str], least: bool) {
    print!("{name:<16}");
    let medians: Vec<f64> = all.iter().map(|rounds| median(rounds.clone())).collect();
    for figure in &medians {
        print!(" {figure:8.2}");
    }
    let ours = &all[0];
    let rivals = (0..all.len()).filter(|&at| !names[at].starts_with("ours"));
    let order = |a: &usize, b: &usize| medians[*a].total_cmp(&medians[*b]);
    let best = if least { rivals.min_by(order) } else { rivals.max_by(order) };
    let best = best.expect("a rival");
    let ratios = ours.iter().zip(&all[best]).map(|(ours, rival)| ours / rival).collect();
    println!("  {:5.2} of {}", median(ratios), names[best]);
}

fn table<K: Key>(filter: &str, rounds: u64) {
    let mut all = Rival::all::<K>();
    if let Ok(only) = std::env::var("CLOAKROOM_MAPS") {
        all.retain(|rival| only.split(',').any(|name| name == rival.name));
    }
    let names: Vec<&str> = all.iter().map(|rival| rival.name).collect();
    print!("{:<16}", format!("{} byte keys", K::NAME));
    for name in &names {
        print!(" {name:>8}");
    }
    println!("  ratio to the best");
    for load in [Load::Read95, Load::PutRemove, Load::HotKey, Load::Grow, Load::Iterate] {
        for threads in [1, 2] {
            let name = format!("{load:?}/{threads}/{}", K::NAME);
            if !name.contains(filter) {
                continue;
            }
            eprint!("\r{name}: filling       ");
            let mut maps: Vec<_> = all.iter().map(|rival| (rival.rounds)(load, threads)).collect();
            let mut figures = vec![Vec::new(); maps.len()];
            let mut order = 0x5eed;
            for round in [0, 0].into_iter().chain(0..=rounds) {
                eprint!("\r{name}: round {round} of {rounds}  ");
                for at in shuffled(maps.len(), &mut order) {
                    let figure = maps[at](round);
                    // The first ones warm up.
                    if round > 0 {
                        figures[at].push(figure);
                    }
                }
            }
            eprint!("\r{:40}\r", "");
            line(&name, &figures, &names, false);
        }
    }
    if "bytes".contains(filter) {
        let figures: Vec<_> = all.iter().map(|rival| vec![(rival.bytes)()]).collect();
        line("bytes an entry", &figures, &names, true);
    }
}

/// Millions a second, of one thread that does nothing but what a growing map of ours has to.
fn bound(rounds: u64) {
    let measure = |by_exchanges: bool| {
        // In a thread of its own, as all maps: so it has the same kind of memory.
        let run = move || {
            let mut shards = Bare::all();
            let begun = processor_time();
            Bare::grow(&mut shards, KEYS, by_exchanges);
            let seconds = processor_time() - begun;
            assert_eq!(shards.iter().map(Bare::len).sum::<usize>() as u64, KEYS);
            seconds
        };
        let seconds = thread::spawn(run).join().expect("no panic");
        f64::from(u32::try_from(KEYS).expect("few")) / seconds / 1e6
    };
    let mut figures = [Vec::new(), Vec::new()];
    for round in 0..rounds + 2 {
        for by_exchanges in [round % 2 == 0, round % 2 != 0] {
            let figure = measure(by_exchanges);
            // The first ones warm up.
            if round >= 2 {
                figures[usize::from(by_exchanges)].push(figure);
            }
        }
    }
    let [without, with] = figures.map(median);
    println!("{BOUND} {with:8.2}, without locked exchanges {without:.2}");
}

const BOUND: &str = "Grow/1/8, bound ";

fn main() {
    // cargo adds `--bench`.
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let rounds = std::env::var("CLOAKROOM_ROUNDS").map(|rounds| rounds.parse().expect("a number"));
    let rounds = rounds.unwrap_or(61);
    println!("million operations a second; median of {rounds} rounds");
    table::<[u8; 8]>(&filter, rounds);
    table::<[u8; 32]>(&filter, rounds);
    if BOUND.contains(&*filter) {
        bound(rounds);
    }
}
