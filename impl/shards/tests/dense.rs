//! The pool on its own store, beside the pool on the map: the same answers, and the same bytes.
//!
//! * sequentially: random shapes and calls, sampled by proptest;
//! * with real threads, under both reclaimers: no id is held twice (POOL-1), and when all calls have
//!   returned the counts are exact (POOL-4).

// Real threads, on purpose: `race` has the checkers'.
#![allow(clippy::disallowed_methods)]

use std::thread;

use cloakroom_pool::{AtomicMap, FreeOutcome, Id, Policy, Pool, PoolId, Shape, Tag, Tree};
use cloakroom_shards::reclaim::{Crossbeam, Epoch, Reclaim};
use cloakroom_shards::sync::{AtomicUsize, Ordering};
use cloakroom_shards::{Dense, Shards};
use proptest::prelude::*;

/// A short tag, or one that is too long to stand in a slot.
fn tag(number: u64) -> Tag {
    Tag::new(number.to_be_bytes().repeat(if number.is_multiple_of(2) { 4 } else { 1 })).unwrap()
}

proptest! {
    #[test]
    fn a_pool_on_its_own_store_answers_as_on_the_map(
        size in 1_u64..200, fanout in 2_u16..6, block in 1_u16..6, spread in any::<bool>(),
        calls in prop::collection::vec((0_u8..5, 0_u64..400), 1..120),
    ) {
        let tree = Tree::new(PoolId(7), size, Shape::new(fanout, block).unwrap()).unwrap();
        let policy = if spread { Policy::Spread } else { Policy::LowestFirst };
        let (map, dense) = (Shards::with_shards(4).unwrap(), Dense::new(tree).unwrap());
        let (map, dense) = (&map, &dense.handle().unwrap());
        let (one, other) = (Pool::new(map, tree, policy), Pool::new(dense, tree, policy));
        let mut held = Vec::new();
        for (number, (choice, pick)) in (0..).zip(calls) {
            if choice < 3 || held.is_empty() {
                let id = one.allocate(&tag(number));
                prop_assert_eq!(&other.allocate(&tag(number)), &id);
                held.extend(id.map(|id| (id, tag(number))));
            } else {
                let at = usize::try_from(pick).unwrap() % held.len();
                // Of its holder mostly, else of nobody.
                let (id, tag) = held[at].clone();
                let tag = if choice == 3 { tag } else { Tag::new("a stranger").unwrap() };
                let freed = one.free(id, &tag);
                prop_assert_eq!(&other.free(id, &tag), &freed);
                if freed == Ok(FreeOutcome::Freed) {
                    held.swap_remove(at);
                }
            }
        }
        prop_assert_eq!(one.list(), other.list());
        for key in tree.all().map(|place| tree.key(place)) {
            prop_assert_eq!(AtomicMap::get(map, &key), AtomicMap::get(dense, &key));
        }
        let only_even = |tag: &Tag| tag.as_bytes().len() > 8;
        prop_assert_eq!(one.recover(only_even), other.recover(only_even));
        prop_assert_eq!(one.list(), other.list());
    }
}

fn callers_meet<R: Reclaim>() {
    const THREADS: usize = 4;
    const SIZE: u64 = 24;
    let tree = Tree::new(PoolId(7), SIZE, Shape::new(3, 2).unwrap()).unwrap();
    let dense = &Dense::<R>::with_reclaimer(tree).unwrap();
    let holders: &Vec<AtomicUsize> = &(0..SIZE).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for thread in 1..=THREADS {
            scope.spawn(move || {
                let pool = Pool::new(dense.handle().unwrap(), tree, Policy::Spread);
                let mut mine: Vec<(Id, Tag)> = Vec::new();
                for step in 0..4_000 {
                    let tag = tag((thread as u64) << 32 | step);
                    // 28 of 24 in all: the pool is full now and then.
                    if mine.len() < 7
                        && let Ok(id) = pool.allocate(&tag)
                    {
                        // SeqCst: whoever else held it has been seen.
                        // SeqCst, all: an observer should not be weaker than what it observes.
                        let before =
                            holders[usize::try_from(id.0).unwrap()].swap(thread, Ordering::SeqCst);
                        assert_eq!(before, 0, "POOL-1: {id} is held twice");
                        mine.push((id, tag));
                    } else if !mine.is_empty() {
                        let at = usize::try_from(step).unwrap() * 7 % mine.len();
                        let (id, tag) = mine.swap_remove(at);
                        holders[usize::try_from(id.0).unwrap()].store(0, Ordering::SeqCst);
                        assert_eq!(pool.free(id, &tag), Ok(FreeOutcome::Freed));
                    }
                }
                // SeqCst: as above.
                for (id, tag) in mine {
                    holders[usize::try_from(id.0).unwrap()].store(0, Ordering::SeqCst);
                    assert_eq!(pool.free(id, &tag), Ok(FreeOutcome::Freed));
                }
            });
        }
    });
    let pool = Pool::new(dense.handle().unwrap(), tree, Policy::Spread);
    assert_eq!((pool.list(), pool.usage().unwrap().held), (Ok(vec![]), 0), "POOL-4");
}

#[test]
fn no_id_is_held_twice_when_callers_meet() {
    callers_meet::<Epoch>();
    callers_meet::<Crossbeam>();
}
