//! Real threads, many operations, invariants of every key. Sampled: what the machine happens to do.
//!
//! * both reclaimers, but for the bound on garbage, which only ours has;
//! * what many threads were answered about a key is linearizable, in every round (SHARD-1);
//! * counters that threads raise by compare-and-set lose nothing, in tables that grow meanwhile;
//! * a walk meets once what stays, in tables that are replaced meanwhile (SHARD-6);
//! * a held reader delays memory and nothing else; when it leaves, the bound on garbage holds
//!   again.

// Real threads, on purpose: `race` has the checkers'.
#![allow(clippy::disallowed_methods)]
// Numbers of keys, threads and steps: small.
#![allow(clippy::cast_possible_truncation)]

use std::thread;

use cloakroom_pool::Cas;
use cloakroom_shards::Shards;
use cloakroom_shards::reclaim::{Crossbeam, Epoch, Reclaim};
use cloakroom_shards::sync::{AtomicUsize, Ordering};
use cloakroom_specs::map as history;

const THREADS: u64 = 4;

/// A counter's bytes: on the heap for odd keys.
fn encode(key: u64, count: u64) -> Vec<u8> {
    if key.is_multiple_of(2) { count.to_le_bytes().to_vec() } else { count.to_le_bytes().repeat(3) }
}

fn count(bytes: &[u8]) -> u64 {
    assert!(bytes.chunks_exact(8).all(|word| word == &bytes[..8]), "torn: {bytes:?}");
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

fn raise<R: Reclaim>(map: &Shards<R>, key: u64) {
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
    raise_counters::<Epoch>();
    raise_counters::<Crossbeam>();
}

fn raise_counters<R: Reclaim>() {
    const KEYS: u64 = 500;
    const ROUNDS: u64 = 60;
    let map = &Shards::<R>::with_reclaimer(1).unwrap();
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
fn a_walk_meets_once_what_stays_while_others_come_and_go() {
    walk::<Epoch>();
    walk::<Crossbeam>();
}

/// SHARD-6, of both ways to walk.
fn walk<R: Reclaim>() {
    const STAY: u64 = 300;
    const ROUNDS: u64 = 40;
    let map = &Shards::<R>::with_reclaimer(1).unwrap();
    for key in 0..STAY {
        assert_eq!(map.compare_and_set(&key.to_le_bytes(), None, Some(&[7])).unwrap(), Cas::Set);
    }
    let walking = &AtomicUsize::new(1);
    thread::scope(|scope| {
        scope.spawn(move || {
            for round in 0..ROUNDS {
                let mut met = vec![0; STAY as usize];
                let mut count = |key: &[u8]| {
                    let key = u64::from_le_bytes(key.try_into().unwrap());
                    if key < STAY {
                        met[key as usize] += 1;
                    }
                };
                if round % 2 == 0 {
                    map.for_each(|key, _| count(key)).unwrap();
                } else {
                    map.iter().for_each(|entry| count(&entry.unwrap().0));
                }
                assert!(met.iter().all(|&times| times == 1), "round {round}: {met:?}");
            }
            // Relaxed: it ends the others' work, and says nothing else.
            walking.store(0, Ordering::Relaxed);
        });
        for start in 1..THREADS {
            scope.spawn(move || {
                // Keys that are not used again: tables fill up and are replaced. Relaxed: as above.
                let mut step = 0_u64;
                while walking.load(Ordering::Relaxed) == 1 {
                    let own = (start << 40 | step).to_le_bytes();
                    assert_eq!(map.compare_and_set(&own, None, Some(&own)).unwrap(), Cas::Set);
                    assert_eq!(map.compare_and_set(&own, Some(&own), None).unwrap(), Cas::Set);
                    step += 1;
                }
            });
        }
    });
    assert_eq!(map.len() as u64, STAY);
}

#[test]
fn an_id_is_never_held_twice() {
    hold_ids::<Epoch>();
    hold_ids::<Crossbeam>();
}

fn hold_ids<R: Reclaim>() {
    let map = &Shards::<R>::with_reclaimer(4).unwrap();
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

/// What one value of 64 bytes takes.
const ONE: usize = 72;
/// A batch is sealed at the value with which it takes 64 KiB or more.
const BATCH_BYTES: usize = (64_usize * 1024).next_multiple_of(ONE);

/// Alone, each sealing moves the epoch, and frees the batch before.
#[test]
fn while_nobody_reads_two_batches_wait_at_most() {
    let map = Shards::with_shards(1).unwrap();
    let handle = map.handle().unwrap();
    let value = |step: u64| step.to_le_bytes().repeat(8);
    assert_eq!(handle.compare_and_set(b"hot", None, Some(&value(0))).unwrap(), Cas::Set);
    let before = map.memory_usage();
    let waiting = (0..10_000).map(|step| {
        let set = handle.compare_and_set(b"hot", Some(&value(step)), Some(&value(step + 1)));
        assert_eq!(set.unwrap(), Cas::Set);
        map.memory_usage() - before
    });
    let most = waiting.max().unwrap();
    assert!((BATCH_BYTES..=2 * BATCH_BYTES).contains(&most), "{most} bytes wait");
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
        change(0, 40_000);
        assert_eq!(held, Some(&*value(0)), "what a reader holds does not change");
        // All of it was there when the reader came, or came later.
        assert!(map.memory_usage() >= before + 40_000 * ONE, "freed under a reader");
    })
    .unwrap();
    // The second seat took the writes of the closure; nobody sits there now. Its garbage is bounded
    // by what was retired meanwhile, and goes when the seat's next owner seals two batches.
    map.read(b"hot", |_| change(40_000, 44_000)).unwrap();
    change(44_000, 48_000);
    map.read(b"hot", |_| change(48_000, 52_000)).unwrap();
    let after = map.memory_usage();
    // Two seats with at most 3 batches each, and one guard's delay.
    assert!(after < before + 2 * 6 * BATCH_BYTES, "{before} -> {after}: garbage stays");
}

/// Guards within guards: each takes a seat of its own.
fn nest<R: Reclaim>(map: &Shards<R>, depth: u64) {
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
    crowd::<Epoch>();
    crowd::<Crossbeam>();
}

fn crowd<R: Reclaim>() {
    let map = &Shards::<R>::with_reclaimer(1).unwrap();
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

/// A few keys, so that threads meet; few enough calls on each for the judge.
const KEYS: u64 = 4;
const CALLS: u64 = 40;

/// What one thread calls, in an order of its own, and what it is answered, by key.
fn history<R: Reclaim>(
    map: &Shards<R>,
    clock: &AtomicUsize,
    caller: usize,
    round: u64,
) -> Vec<(u64, history::Done)> {
    // SeqCst: a call that ended before another began must have the smaller number.
    let now = || clock.fetch_add(1, Ordering::SeqCst) as u64;
    let bytes = |value: u64| value.to_le_bytes().repeat(1 + value as usize % 2);
    let number = |bytes: Vec<u8>| u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let mut state = round << 8 | caller as u64;
    let mut guesses = [None; KEYS as usize];
    let mut history = Vec::new();
    for step in 0..CALLS {
        // A linear congruential generator: the rounds differ, and repeat.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (key, choice) = ((step + caller as u64) % KEYS, state >> 60);
        let guess = guesses[key as usize];
        let call = match choice {
            0..4 => history::Call::Get,
            4..8 => history::Call::CompareAndSet { expected: guess, new: None },
            _ => history::Call::CompareAndSet { expected: guess, new: Some(state >> 40 << 3) },
        };
        // On the heap for odd keys; the key is new in each round, so tables grow.
        let name = (round << 8 | key).to_le_bytes().repeat(1 + key as usize % 2);
        let begin = now();
        let answer = match call {
            history::Call::Get => history::Answer::Value(map.get(&name).unwrap().map(number)),
            history::Call::CompareAndSet { expected, new } => {
                let (old, new) = (expected.map(bytes), new.map(bytes));
                match map.compare_and_set(&name, old.as_deref(), new.as_deref()).unwrap() {
                    Cas::Set => history::Answer::Set,
                    Cas::Mismatch(current) => history::Answer::Mismatch(current.map(number)),
                }
            }
        };
        let end = now();
        guesses[key as usize] = match (answer, call) {
            (history::Answer::Value(value) | history::Answer::Mismatch(value), _) => value,
            (history::Answer::Set, history::Call::CompareAndSet { new, .. }) => new,
            (history::Answer::Set, history::Call::Get) => unreachable!(),
        };
        history.push((key, history::Done { call, answer, caller, begin, end }));
    }
    history
}

#[test]
fn histories_of_real_threads_are_linearizable() {
    judge_histories::<Epoch>();
    judge_histories::<Crossbeam>();
}

fn judge_histories<R: Reclaim>() {
    let (map, clock) = (&Shards::<R>::with_reclaimer(1).unwrap(), &AtomicUsize::new(0));
    for round in 0..2_000 {
        let all = thread::scope(|scope| {
            let start = |caller| scope.spawn(move || history(map, clock, caller, round));
            let started: Vec<_> = (1..=THREADS as usize).map(start).collect();
            started.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for key in 0..KEYS {
            let calls: Vec<history::Done> =
                all.iter().filter(|(its, _)| *its == key).map(|&(_, done)| done).collect();
            assert_eq!(calls.len() as u64, THREADS * CALLS / KEYS);
            let explained = history::explainable(None, &calls, history::Order::RealTime);
            assert!(explained, "SHARD-1: no order explains round {round}, key {key}: {calls:#?}");
        }
    }
}
