//! One conformance suite for every atomic map: what `compare_and_set` and `get` mean, alone and
//! with many callers. Both maps pass it, and the durable one passes it again after a reopen.

use std::collections::BTreeMap;
use std::thread;

use cloakroom_pool::{AtomicMap, Cas};
use cloakroom_stores::{Durable, MAX_KEY_BYTES, MAX_VALUE_BYTES, Memory};
use proptest::prelude::*;

type Bytes = Vec<u8>;

/// Runs a claim on a fresh map of each kind.
fn on_both(claim: impl Fn(&(dyn AtomicMap + Sync))) {
    claim(&Memory::default());
    let folder = tempfile::tempdir().unwrap();
    claim(&Durable::open(folder.path().join("map")).unwrap());
}

fn set(map: &dyn AtomicMap, key: &[u8], from: Option<&[u8]>, to: Option<&[u8]>) {
    assert_eq!(map.compare_and_set(key, from, to), Ok(Cas::Set), "{key:?}: {from:?} to {to:?}");
}

fn mismatch(map: &dyn AtomicMap, key: &[u8], from: Option<&[u8]>, current: Option<&[u8]>) {
    for to in [None, Some(b"new".as_slice()), current, from] {
        let outcome = map.compare_and_set(key, from, to);
        assert_eq!(outcome, Ok(Cas::Mismatch(current.map(<[u8]>::to_vec))), "{key:?}: {from:?}");
    }
    assert_eq!(map.get(key), Ok(current.map(<[u8]>::to_vec)), "a mismatch changes nothing");
}

#[test]
fn a_key_never_written_is_absent() {
    on_both(|map| {
        assert_eq!(map.get(b"key"), Ok(None));
        mismatch(map, b"key", Some(b"value"), None);
        mismatch(map, b"key", Some(b""), None);
    });
}

#[test]
fn put_if_absent_swap_and_remove_are_one_operation() {
    on_both(|map| {
        set(map, b"key", None, Some(b"one"));
        assert_eq!(map.get(b"key"), Ok(Some(b"one".to_vec())));
        mismatch(map, b"key", None, Some(b"one"));
        mismatch(map, b"key", Some(b"two"), Some(b"one"));

        set(map, b"key", Some(b"one"), Some(b"two"));
        mismatch(map, b"key", Some(b"one"), Some(b"two"));
        set(map, b"key", Some(b"two"), Some(b"two"));

        set(map, b"key", Some(b"two"), None);
        assert_eq!(map.get(b"key"), Ok(None));
        mismatch(map, b"key", Some(b"two"), None);
        set(map, b"key", None, None);
        set(map, b"key", None, Some(b"three"));
    });
}

#[test]
fn keys_and_values_are_exact_bytes() {
    let odd: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"A", b"\xff", b"\xff\xff\0\xfe"];
    on_both(|map| {
        for (index, key) in odd.into_iter().enumerate() {
            set(map, key, None, Some(odd[(index + 3) % odd.len()]));
        }
        for (index, key) in odd.into_iter().enumerate() {
            let value = odd[(index + 3) % odd.len()];
            assert_eq!(map.get(key), Ok(Some(value.to_vec())));
            let longer: Bytes = [value, b"\0"].concat();
            mismatch(map, key, Some(&longer), Some(value));
        }
    });
}

#[test]
fn the_longest_key_and_value_fit() {
    on_both(|map| {
        let key = vec![b'k'; MAX_KEY_BYTES];
        let (one, two) = (vec![1; MAX_VALUE_BYTES], vec![2; MAX_VALUE_BYTES]);
        set(map, &key, None, Some(&one));
        set(map, &key, Some(&one), Some(&two));
        assert!(map.get(&key) == Ok(Some(two)));
    });
}

/// Keys from a small set, so that operations meet; values that differ in one byte or in length.
fn operation() -> impl Strategy<Value = (Bytes, Option<Bytes>, Option<Bytes>)> {
    let bytes = || proptest::collection::vec(0..2u8, 0..3);
    let value = || proptest::option::of(bytes());
    (bytes(), value(), value())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_sequence_of_operations_does_what_an_ordered_map_does(
        operations in proptest::collection::vec(operation(), 1..60),
        guess in any::<u64>(),
    ) {
        on_both(|map| {
            let mut oracle = BTreeMap::<Bytes, Bytes>::new();
            for (index, (key, expected, new)) in operations.iter().enumerate() {
                // Half of the time expect what is there, so that writes succeed.
                let current = oracle.get(key).cloned();
                let right = guess >> (index % 64) & 1 == 1;
                let expected = if right { current.clone() } else { expected.clone() };
                let outcome = map.compare_and_set(key, expected.as_deref(), new.as_deref());
                if expected == current {
                    assert_eq!(outcome, Ok(Cas::Set));
                    match new {
                        Some(value) => oracle.insert(key.clone(), value.clone()),
                        None => oracle.remove(key),
                    };
                } else {
                    assert_eq!(outcome, Ok(Cas::Mismatch(current)));
                }
                assert_eq!(map.get(key), Ok(oracle.get(key).cloned()));
            }
        });
    }

    #[test]
    fn scan_lists_the_keys_with_a_prefix_in_order(
        entries in proptest::collection::btree_map(
            proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(255u8)], 0..4),
            proptest::collection::vec(any::<u8>(), 0..4),
            0..20,
        ),
        prefix in proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(255u8)], 0..3),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map");
        let map = Durable::open(&path).unwrap();
        for (key, value) in &entries {
            set(&map, key, None, Some(value));
        }
        let expected: Vec<_> =
            entries.clone().into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
        prop_assert_eq!(map.scan(&prefix).unwrap(), expected.clone());

        drop(map);
        let map = Durable::open(&path).unwrap();
        prop_assert_eq!(map.scan(&prefix).unwrap(), expected);
        prop_assert_eq!(map.scan(b"").unwrap(), entries.into_iter().collect::<Vec<_>>());
    }
}

/// Adds one to a counter by compare-and-set, again until it succeeds.
fn increment(map: &dyn AtomicMap, key: &[u8]) {
    let mut current = map.get(key).unwrap();
    loop {
        let count = current.as_deref().map_or(0, |bytes| {
            u64::from_be_bytes(bytes.try_into().expect("a counter has eight bytes"))
        });
        let next = (count + 1).to_be_bytes();
        match map.compare_and_set(key, current.as_deref(), Some(&next)).unwrap() {
            Cas::Set => return,
            Cas::Mismatch(now) => {
                assert_ne!(now, current, "a mismatch tells what else is there");
                current = now;
            }
        }
    }
}

#[test]
fn no_increment_of_many_callers_is_lost() {
    const CALLERS: usize = 32;
    const ROUNDS: usize = 20;
    on_both(|map| {
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        increment(map, b"everyone");
                        increment(map, format!("key {}", (caller + round) % 5).as_bytes());
                    }
                });
            }
        });
        let count = |key: &[u8]| {
            let bytes = map.get(key).unwrap().unwrap();
            u64::from_be_bytes(bytes.try_into().unwrap())
        };
        let all = (CALLERS * ROUNDS) as u64;
        assert_eq!(count(b"everyone"), all);
        let sum: u64 = (0..5).map(|key| count(format!("key {key}").as_bytes())).sum();
        assert_eq!(sum, all);
    });
}

#[test]
fn a_key_or_value_too_long_is_refused_with_its_limit_and_fails_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let map = Durable::open(folder.path().join("map")).unwrap();
    let long_key = vec![0; MAX_KEY_BYTES + 1];
    let refused = map.compare_and_set(&long_key, None, Some(b"")).unwrap_err().to_string();
    assert!(refused.contains("key: expected at most 65536 bytes, got 65537"), "{refused}");
    assert_eq!(map.get(&long_key), Ok(None));
    let long_value = vec![0; MAX_VALUE_BYTES + 1];
    let refused = map.compare_and_set(b"key", None, Some(&long_value)).unwrap_err().to_string();
    assert!(refused.contains("value: expected at most 16777216 bytes"), "{refused}");
    set(&map, b"key", None, Some(b"short"));
}
