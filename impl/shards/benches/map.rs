//! What an operation costs, beside 64 maps of std behind std's mutexes: `cargo bench -p
//! cloakroom-shards`.
//!
//! * one process, interleaved rounds, medians of millions of operations a second, and the median of
//!   the paired ratios;
//! * 100,000 keys of 8 bytes, half of them there; values of 8 bytes.
//!
//! What it does not do: compare with other lock-free maps.

// Real threads, and the rival's locks.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use cloakroom_pool::Cas;
use cloakroom_shards::Shards;

const KEYS: u64 = 100_000;
const OPERATIONS: u64 = 400_000;
const ROUNDS: usize = 7;

trait Map: Sync {
    fn read(&self, key: u64) -> Option<u64>;
    fn compare_and_set(&self, key: u64, expected: Option<u64>, new: Option<u64>) -> bool;
}

impl Map for Shards {
    fn read(&self, key: u64) -> Option<u64> {
        let number = |value: &[u8]| u64::from_le_bytes(value.try_into().expect("8 bytes"));
        Shards::read(self, &key.to_le_bytes(), |value| value.map(number)).expect("memory")
    }

    fn compare_and_set(&self, key: u64, expected: Option<u64>, new: Option<u64>) -> bool {
        let (expected, new) = (expected.map(u64::to_le_bytes), new.map(u64::to_le_bytes));
        let (expected, new) = (expected.as_ref().map(|it| &it[..]), new.as_ref().map(|it| &it[..]));
        let done = Shards::compare_and_set(self, &key.to_le_bytes(), expected, new);
        done.expect("memory") == Cas::Set
    }
}

struct Mutexed(Vec<Mutex<HashMap<u64, u64>>>);

impl Mutexed {
    fn shard(&self, key: u64) -> std::sync::MutexGuard<'_, HashMap<u64, u64>> {
        let at = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        let at = usize::try_from(at).expect("6 bits");
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map for Mutexed {
    fn read(&self, key: u64) -> Option<u64> {
        self.shard(key).get(&key).copied()
    }

    fn compare_and_set(&self, key: u64, expected: Option<u64>, new: Option<u64>) -> bool {
        let mut shard = self.shard(key);
        if shard.get(&key).copied() != expected {
            return false;
        }
        match new {
            Some(new) => shard.insert(key, new),
            None => shard.remove(&key),
        };
        true
    }
}

#[derive(Clone, Copy, Debug)]
enum Load {
    Read95,
    PutRemove,
    HotKey,
}

/// xorshift: cheap, and the same for every map.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn work(map: &dyn Map, load: Load, start: u64) {
    let mut state = start;
    for _ in 0..OPERATIONS {
        let number = random(&mut state);
        let key = match load {
            Load::HotKey => 0,
            Load::Read95 | Load::PutRemove => number % KEYS,
        };
        match load {
            Load::Read95 if number >> 40 & 127 >= 6 => {
                black_box(map.read(key));
            }
            Load::Read95 | Load::HotKey => {
                let seen = map.read(key);
                black_box(map.compare_and_set(key, seen, Some(number >> 8)));
            }
            Load::PutRemove => {
                let seen = map.read(key);
                let new = if seen.is_some() { None } else { Some(key) };
                black_box(map.compare_and_set(key, seen, new));
            }
        }
    }
}

/// Millions of operations a second.
fn measure(map: &dyn Map, load: Load, threads: u64) -> f64 {
    let start = Barrier::new(usize::try_from(threads).expect("few") + 1);
    let begun = thread::scope(|scope| {
        for thread in 0..threads {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                work(map, load, 0x5eed_0000 + thread);
            });
        }
        start.wait();
        Instant::now()
    });
    // The scope has joined all threads.
    let operations = u32::try_from(threads * OPERATIONS).expect("few");
    f64::from(operations) / begun.elapsed().as_secs_f64() / 1e6
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    println!("load       threads     ours  mutexed  ratio  (million operations a second)");
    for load in [Load::Read95, Load::PutRemove, Load::HotKey] {
        for threads in [1, 2] {
            let ours = Shards::with_shards(64).expect("memory");
            let mutexed = Mutexed((0..64).map(|_| Mutex::default()).collect());
            for key in (0..KEYS).step_by(2) {
                for map in [&ours as &dyn Map, &mutexed] {
                    assert!(map.compare_and_set(key, None, Some(key)));
                }
            }
            let rounds: Vec<(f64, f64)> = (0..ROUNDS)
                .map(|_| (measure(&ours, load, threads), measure(&mutexed, load, threads)))
                .collect();
            println!(
                "{:10} {threads:7} {:8.2} {:8.2} {:6.2}",
                format!("{load:?}"),
                median(rounds.iter().map(|round| round.0).collect()),
                median(rounds.iter().map(|round| round.1).collect()),
                median(rounds.iter().map(|round| round.0 / round.1).collect()),
            );
        }
    }
}
