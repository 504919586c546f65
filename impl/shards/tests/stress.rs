//! Real threads, many operations, invariants of every key. Sampled: what the machine happens to do.
//!
//! * counters that threads raise by compare-and-set lose nothing, in tables that grow meanwhile;
//! * a held reader delays memory and nothing else; when it leaves, the bound on garbage holds
//!   again.

// Real threads, on purpose: `race` has the checkers'.
#![allow(clippy::disallowed_methods)]

use std::thread;

use cloakroom_pool::Cas;
use cloakroom_shards::Shards;

const THREADS: u64 = 4;

/// A counter's bytes: on the heap for odd keys.
fn encode(key: u64, count: u64) -> Vec<u8> {
    if key.is_multiple_of(2) { count.to_le_bytes().to_vec() } else { count.to_le_bytes().repeat(3) }
}

fn count(bytes: &[u8]) -> u64 {
    assert!(bytes.chunks_exact(8).all(|word| word == &bytes[..8]), "torn: {bytes:?}");
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

fn raise(map: &Shards, key: u64) {
    let name = key.to_le_bytes();
    let mut seen = map.get(&name).unwrap();
    loop {
        let next = encode(key, seen.as_deref().map_or(0, count) + 1);
        match map.compare_and_set(&name, seen.as_deref(), Some(&next)).unwrap() {
            Cas::Set => return,
            Cas::Mismatch(current) => seen = current,
        }
    }
}

#[test]
fn counters_lose_nothing_while_tables_grow() {
    const KEYS: u64 = 500;
    const ROUNDS: u64 = 60;
    let map = &Shards::with_shards(1).unwrap();
    thread::scope(|scope| {
        for start in 0..THREADS {
            scope.spawn(move || {
                for step in 0..KEYS * ROUNDS {
                    // All keys, in an order of each thread's own.
                    raise(map, (step * (2 * start + 1) + start * 7) % KEYS);
                    // Keys of this thread only: they fill tables and go again.
                    let own = (1 << 40 | start << 32 | step).to_le_bytes();
                    assert_eq!(map.compare_and_set(&own, None, Some(&[9; 30])).unwrap(), Cas::Set);
                    assert_eq!(map.get(&own).unwrap().as_deref(), Some(&[9; 30][..]));
                    assert_eq!(map.compare_and_set(&own, Some(&[9; 30]), None).unwrap(), Cas::Set);
                    assert_eq!(map.get(&own).unwrap(), None);
                }
            });
        }
    });
    let mut total = 0;
    for entry in map {
        total += count(&entry.unwrap().1);
    }
    assert_eq!(total, THREADS * KEYS * ROUNDS);
    assert_eq!(map.len() as u64, KEYS);
}

#[test]
fn an_id_is_never_held_twice() {
    let map = &Shards::with_shards(4).unwrap();
    thread::scope(|scope| {
        for holder in 0..THREADS {
            scope.spawn(move || {
                let tag = [holder.to_le_bytes(); 4].concat();
                for step in 0..100_000_u64 {
                    let id = (step % 7).to_be_bytes();
                    if map.compare_and_set(&id, None, Some(&tag)).unwrap() == Cas::Set {
                        assert_eq!(map.get(&id).unwrap().as_ref(), Some(&tag));
                        assert_eq!(map.compare_and_set(&id, Some(&tag), None).unwrap(), Cas::Set);
                    }
                }
            });
        }
    });
    assert!(map.is_empty());
}

#[test]
fn a_held_reader_delays_memory_and_nothing_else() {
    let map = Shards::with_shards(1).unwrap();
    let value = |step: u64| step.to_le_bytes().repeat(8);
    assert_eq!(map.compare_and_set(b"hot", None, Some(&value(0))).unwrap(), Cas::Set);
    let change = |from: u64, to: u64| {
        for step in from..to {
            let set = map.compare_and_set(b"hot", Some(&value(step)), Some(&value(step + 1)));
            assert_eq!(set.unwrap(), Cas::Set);
        }
    };
    let before = map.memory_usage();
    map.read(b"hot", |held| {
        change(0, 10_000);
        assert_eq!(held, Some(&*value(0)), "what a reader holds does not change");
        // Two epochs at most may still be freed.
        assert!(map.memory_usage() > before + 9_900 * 72, "freed under a reader");
    })
    .unwrap();
    // The second seat took the writes of the closure; nobody sits there now. Its garbage is bounded
    // by what was retired meanwhile, and goes when the seat's next owner seals two batches.
    map.read(b"hot", |_| change(10_000, 11_000)).unwrap();
    change(11_000, 12_000);
    map.read(b"hot", |_| change(12_000, 13_000)).unwrap();
    let after = map.memory_usage();
    // Two seats with at most 3 batches each, and one guard's delay; a batch is sealed at 16 KiB.
    assert!(after < before + 2 * 6 * (16 * 1024 + 72), "{before} -> {after}: garbage stays");
}

/// Guards within guards: each takes a seat of its own.
fn nest(map: &Shards, depth: u64) {
    if depth == 0 {
        return;
    }
    map.read(b"key", |_| {
        raise(map, depth);
        nest(map, depth - 1);
    })
    .unwrap();
}

#[test]
fn more_threads_than_seats_are_served() {
    let map = &Shards::with_shards(1).unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(move || nest(map, 40));
        }
    });
    assert_eq!(map.len(), 40);
    // And threads that come and go, far more of them than seats.
    for _ in 0..200 {
        thread::scope(|scope| drop(scope.spawn(move || raise(map, 1))));
    }
    assert_eq!(count(&map.get(&1_u64.to_le_bytes()).unwrap().unwrap()), THREADS + 200);
}
