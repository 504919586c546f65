//! One thread: the map answers what the oracle answers, whatever the keys' and values' forms.
//!
//! * keys and values of every representation: inline, 8 bytes inline, on the heap;
//! * few keys in few shards, so that tables grow and slots are used again;
//! * sampled: proptest's cases, with its seeds.

use std::collections::BTreeSet;

use cloakroom_pool::{AtomicMap, Cas, MapError};
use cloakroom_shards::reclaim::{Crossbeam, Epoch, Reclaim};
use cloakroom_shards::{MAX_KEY_BYTES, MAX_SHARDS, MAX_VALUE_BYTES, Shards, ShardsError};
use cloakroom_specs::map::{Answer, Call, Oracle};
use proptest::prelude::*;

/// The byte string of a number: 1, 5, 8, 8 with high bits, 16 or 40 bytes, by its last digit.
fn bytes(number: u64) -> Vec<u8> {
    let low = number.to_le_bytes();
    match number % 6 {
        0 => vec![low[0]],
        1 => low[..5].to_vec(),
        2 => low.to_vec(),
        3 => number.to_be_bytes().map(|byte| byte ^ 0xf0).to_vec(),
        4 => [low, [7; 8]].concat(),
        _ => low.repeat(5),
    }
}

fn number(string: &[u8], below: u64) -> u64 {
    (0..below).find(|&number| bytes(number) == string).expect("a byte string of this test")
}

const KEYS: u64 = 240;
const VALUES: u64 = 12;

fn ask<R: Reclaim>(map: &Shards<R>, key: u64, call: Call) -> Answer {
    let value = |value: Option<Vec<u8>>| value.map(|value| number(&value, VALUES));
    match call {
        Call::Get => Answer::Value(value(map.get(&bytes(key)).unwrap())),
        Call::CompareAndSet { expected, new } => {
            let (expected, new) = (expected.map(bytes), new.map(bytes));
            match map.compare_and_set(&bytes(key), expected.as_deref(), new.as_deref()).unwrap() {
                Cas::Set => Answer::Set,
                Cas::Mismatch(current) => Answer::Mismatch(value(current)),
            }
        }
    }
}

/// Mostly what succeeds, given what the key has.
fn call(choice: u8, guess: Option<u64>, new: u64) -> Call {
    match choice {
        0..=2 => Call::Get,
        3..=6 => Call::CompareAndSet { expected: guess, new: Some(new) },
        7..=8 => Call::CompareAndSet { expected: guess, new: None },
        9 => Call::CompareAndSet { expected: None, new: Some(new) },
        _ => Call::CompareAndSet { expected: Some(new), new: None },
    }
}

/// Asks both, and compares all answers and what is there at the end.
fn compare<R: Reclaim>(calls: &[(u64, u8, u64)]) -> Result<(), TestCaseError> {
    let map = Shards::<R>::with_reclaimer(1).unwrap();
    let mut oracle = Oracle::default();
    for (at, &(key, choice, new)) in calls.iter().enumerate() {
        let Answer::Value(guess) = oracle.call(key, Call::Get) else { unreachable!() };
        let call = call(choice, guess, new);
        prop_assert_eq!(ask(&map, key, call), oracle.call(key, call), "call {}: {:?}", at, call);
    }
    prop_assert_eq!(map.len(), oracle.len());
    let mut entries: Vec<(u64, u64)> = map
        .iter()
        .map(|entry| entry.unwrap())
        .map(|(key, value)| (number(&key, KEYS), number(&value, VALUES)))
        .collect();
    entries.sort_unstable();
    let mut at_once = Vec::new();
    let look = |key: &[u8], value: &[u8]| at_once.push((number(key, KEYS), number(value, VALUES)));
    map.for_each(look).unwrap();
    at_once.sort_unstable();
    prop_assert_eq!(&at_once, &entries);
    prop_assert_eq!(entries, oracle.entries().collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #[test]
    fn the_map_answers_what_the_oracle_answers(
        calls in prop::collection::vec((0..KEYS, 0_u8..11, 0..VALUES), 1..1_600),
    ) {
        compare::<Epoch>(&calls)?;
        compare::<Crossbeam>(&calls)?;
    }
}

#[test]
fn a_map_grows_and_keeps_every_key() {
    let map = Shards::with_shards(2).unwrap();
    let empty = map.memory_usage();
    for key in 0_u64..20_000 {
        let set = map.compare_and_set(&key.to_le_bytes(), None, Some(&[7; 20])).unwrap();
        assert_eq!(set, Cas::Set, "{key}");
    }
    assert_eq!(map.len(), 20_000);
    let keys: BTreeSet<Vec<u8>> = map.iter().map(|entry| entry.unwrap().0).collect();
    assert_eq!(keys.len(), 20_000);
    let full = map.memory_usage();
    // 16 bytes a slot, half of them used at least before the last doubling; 32 for a value.
    assert!(full > empty + 20_000 * 32 && full < empty + 20_000 * 140, "{empty} -> {full}");
    for key in 0_u64..20_000 {
        let removed = map.compare_and_set(&key.to_le_bytes(), Some(&[7; 20]), None).unwrap();
        assert_eq!(removed, Cas::Set, "{key}");
    }
    assert!(map.is_empty() && map.iter().next().is_none());
    let after = map.memory_usage();
    assert!(after < full - 20_000 * 31, "values were not given back: {full} -> {after}");
}

#[test]
fn keys_that_come_and_go_do_not_fill_the_map() {
    let map = Shards::with_shards(1).unwrap();
    for key in 0_u64..100_000 {
        let key = [key.to_be_bytes(), [1; 8]].concat();
        assert_eq!(map.compare_and_set(&key, None, Some(b"here")).unwrap(), Cas::Set);
        assert_eq!(map.compare_and_set(&key, Some(b"here"), None).unwrap(), Cas::Set);
    }
    let bytes = map.memory_usage();
    // Small tables, three batches of 64 KiB of which may wait to be freed.
    assert!(bytes < 200_000, "one key at a time, and {bytes} bytes");
}

#[test]
fn input_that_is_too_large_is_refused_and_does_nothing() {
    let map = Shards::with_shards(1).unwrap();
    let key = [1; MAX_KEY_BYTES + 1];
    assert_eq!(map.get(&key), Err(ShardsError::KeyTooLong { got: 65 }));
    let error = map.compare_and_set(&key, None, Some(b"v")).unwrap_err();
    assert_eq!(error.to_string(), "key: expected at most 64 bytes, got 65");
    let value = vec![1; MAX_VALUE_BYTES + 1];
    let error = map.compare_and_set(&key[1..], None, Some(&value)).unwrap_err();
    assert_eq!(error, ShardsError::ValueTooLong { got: 65_537 });
    assert!(map.is_empty());
    let set = map.compare_and_set(&key[1..], None, Some(&value[1..])).unwrap();
    assert_eq!((set, map.get(&key[1..]).unwrap()), (Cas::Set, Some(value[1..].to_vec())));
    // An expected value that no key can have is no error: it differs.
    let differs = map.compare_and_set(&key[1..], Some(&value), None).unwrap();
    assert_eq!(differs, Cas::Mismatch(Some(value[1..].to_vec())));
    assert!(matches!(AtomicMap::get(&map, &key), Err(MapError::Unavailable { .. })));
    for got in [0, 3, 2 * MAX_SHARDS] {
        let error = Shards::with_shards(got).unwrap_err();
        assert_eq!(error, ShardsError::ShardCount { most: MAX_SHARDS, got });
    }
}

#[test]
fn keys_that_filled_their_slots_stay_when_the_slots_become_wider() {
    let map = Shards::with_shards(1).unwrap();
    // Words that are 0, all ones, and what a number has.
    let full = |number: u64| {
        let words = [number, 0, u64::MAX, number.reverse_bits()];
        words.map(u64::to_le_bytes).concat()
    };
    let key = |number: u64| match number / 500 {
        0 => full(number)[..16].to_vec(),
        1..10 => full(number),
        10 => full(number)[..31].to_vec(),
        _ => full(number).repeat(2),
    };
    let (value, all) = (|number: u64| number.to_le_bytes(), 15_000);
    for number in 0..all {
        let set = map.compare_and_set(&key(number), None, Some(&value(number))).unwrap();
        assert_eq!(set, Cas::Set, "{number}");
        // Those before have been moved, some of them into other words.
        let earlier = number * 7 % (number + 1);
        assert_eq!(map.get(&key(earlier)).unwrap(), Some(value(earlier).to_vec()), "{earlier}");
    }
    let mut seen = BTreeSet::new();
    map.for_each(|key, value| {
        let number = u64::from_le_bytes(key[..8].try_into().unwrap());
        assert_eq!(value, number.to_le_bytes(), "of {key:?}");
        assert!(seen.insert(key.to_vec()), "{number} twice");
    })
    .unwrap();
    assert_eq!(seen, (0..all).map(key).collect());
}
