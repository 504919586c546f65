//! Memory that runs out is an error, and what was asked for before stays as it was.
//!
//! * an allocator of its own fails from a chosen allocation on, for the thread that asks it to;
//! * every allocation of a run is made to fail in turn, so each place that asks for memory is met.

mod allocator;

use cloakroom_pool::Cas;
use cloakroom_shards::{Cells, Shards, ShardsError};

/// Runs `f` with so many allocations.
fn with<A>(left: usize, f: impl FnOnce() -> A) -> A {
    allocator::watched(left, f).0
}

const KEYS: u8 = 120;

fn key(number: u8) -> Vec<u8> {
    // 3 bytes, 8 bytes, 20 bytes, 64 bytes.
    vec![number; [3, 8, 20, 64][usize::from(number % 4)]]
}

fn value(number: u8) -> Vec<u8> {
    vec![number; 1 + usize::from(number % 40)]
}

/// Puts, replaces, reads and removes until memory runs out. Answers how far it got, and the error.
fn run(map: &Shards, all: &[(Vec<u8>, Vec<u8>)]) -> (usize, Result<(), ShardsError>) {
    let mut done = 0;
    let steps = || -> Result<(), ShardsError> {
        let handle = map.handle()?;
        for (key, value) in all {
            assert_eq!(handle.compare_and_set(key, None, Some(value))?, Cas::Set);
            done += 1;
            assert!(handle.get(key)?.as_ref() == Some(value));
        }
        Ok(())
    };
    let answer = { steps }();
    (done, answer)
}

#[test]
fn memory_that_runs_out_is_an_error_and_loses_nothing() {
    let all: Vec<_> = (0..KEYS).map(|number| (key(number), value(number))).collect();
    let mut failed = 0;
    for left in 0.. {
        let made = with(left, || Shards::with_shards(4));
        let map = match made {
            Ok(map) => map,
            Err(error) => {
                assert!(matches!(error, ShardsError::OutOfMemory { .. }), "{error}");
                failed += 1;
                continue;
            }
        };
        // What making it took is not known here: fail after `left` more.
        let (done, answer) = with(left, || run(&map, &all));
        for (number, (key, value)) in all.iter().enumerate() {
            let got = map.get(key).unwrap();
            // The one that failed may stand: its answer was what there was no room for.
            let expected = (number < done).then_some(value);
            assert!(got.as_ref() == expected, "key {number}, {done} done, {left} allocations");
        }
        match answer {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, ShardsError::OutOfMemory { .. }), "{error}"),
        }
        failed += 1;
        // And the map goes on as if nothing had been.
        for (key, value) in &all[done..] {
            assert_eq!(map.compare_and_set(key, None, Some(value)).unwrap(), Cas::Set);
        }
        assert_eq!(map.len(), all.len());
    }
    assert!(failed > 100, "only {failed} allocations were made to fail");
}

#[test]
fn garbage_that_cannot_be_noted_is_not_made() {
    let map = Shards::with_shards(4).unwrap();
    let long = |number: u64| number.to_le_bytes().repeat(4);
    assert_eq!(map.compare_and_set(b"key", None, Some(&long(0))).unwrap(), Cas::Set);
    let mut current = 0;
    let mut refused = 0;
    for left in (0..3).cycle().take(3_000) {
        let (old, new) = (long(current), long(current + 1));
        match with(left, || map.compare_and_set(b"key", Some(&old), Some(&new))) {
            Ok(Cas::Set) => current += 1,
            Ok(Cas::Mismatch(other)) => panic!("expected {current}, got {other:?}"),
            Err(error) => {
                assert!(matches!(error, ShardsError::OutOfMemory { .. }), "{error}");
                refused += 1;
            }
        }
        assert!(map.get(b"key").unwrap().unwrap() == long(current));
    }
    assert!(refused >= 1_000 && current >= 1_000, "{refused} refused, {current} done");
}

const PLACES: usize = 3;

/// Writes these numbers to one place after the other, and looks at what was written to the others.
fn change<V: PartialEq + Send + Sync>(
    cells: &Cells<V>,
    numbers: std::ops::Range<u64>,
    new: impl Fn(u64) -> V,
    number_of: impl Fn(&V) -> u64,
) {
    let handle = cells.handle().unwrap();
    for number in numbers {
        let at = |number: u64| usize::try_from(number).unwrap() % PLACES;
        let look = handle.look();
        let place = at(number);
        assert!(look.exchange(place, look.read(place), new(number)) == Ok(Ok(())));
        for before in number.saturating_sub(PLACES as u64 - 1)..=number {
            assert_eq!(look.read(at(before)).map(&number_of), Some(before), "of {number}");
        }
    }
}

/// Objects that are sealed together.
const BATCH: usize = 1_024;
/// More than wait in the batches of a seat.
const MANY: u64 = 16_000;

#[test]
fn memory_of_cells_serves_again_for_one_value_at_a_time() {
    let cells = Cells::<u64>::new(PLACES).unwrap();
    let change = |numbers| change(&cells, numbers, |number| number, |number| *number);
    change(0..MANY);
    let used = cells.memory_usage();
    let ((), asked) = allocator::watched(usize::MAX, || change(MANY..2 * MANY));
    assert_eq!(asked, 0, "bytes that were asked for although as many had been given back");
    assert!(cells.memory_usage().abs_diff(used) < 1 << 14, "something is counted twice, or never");
}

/// Bytes with which a batch is sealed, if it has fewer than [`BATCH`] objects; and as many serve again.
const BATCH_BYTES: usize = 64 * 1024;

#[test]
fn memory_that_serves_again_is_bounded_by_bytes_too() {
    const LARGE: usize = 4 * 1024;
    let cells = Cells::<[u8; LARGE]>::new(1_000).unwrap();
    let handle = cells.handle().unwrap();
    let empty = cells.memory_usage();
    let value = [1; LARGE];
    for at in 0..cells.places() {
        assert_eq!(handle.exchange(at, None, Some(value)), Ok(Ok(())));
    }
    for at in 0..cells.places() {
        assert_eq!(handle.exchange(at, Some(&value), None), Ok(Ok(())));
    }
    let left = cells.memory_usage() - empty;
    // Three batches that may wait, and what serves again.
    assert!(left < 4 * (BATCH_BYTES + LARGE), "{left} bytes of values that were removed");
}

// std's count tells who was dropped; nothing is shared between threads.
#[allow(clippy::disallowed_types)]
#[test]
fn what_had_the_memory_that_serves_again_was_dropped_once() {
    use std::sync::Arc;
    let cells = Cells::<(u64, Arc<()>)>::new(PLACES).unwrap();
    let alive = Arc::new(());
    change(&cells, 0..MANY, |number| (number, Arc::clone(&alive)), |(number, _)| *number);
    let waiting = Arc::strong_count(&alive) - 1 - PLACES;
    assert!(waiting < 3 * BATCH, "not dropped: {waiting}, more than two batches and an open one");
    drop(cells);
    assert_eq!(Arc::strong_count(&alive), 1);
}
