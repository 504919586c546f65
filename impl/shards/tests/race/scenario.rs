//! What a scenario is, and one run of it.
//!
//! * every value is put by one step only, so whoever sees a value knows its writer;
//! * before a step puts a value, it writes a plain cell of that value; who sees the value reads it
//!   (SHARD-3). The same for the one step that removes a key, and its absence;
//! * at the end every key's calls are judged by the oracle of `specs` (SHARD-1), and the map by
//!   iteration (SHARD-2, SHARD-5, SHARD-6).

// The clock belongs to the check, not to what is checked: it must be no point of the schedule.
#![allow(clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use cloakroom_pool::Cas;
use cloakroom_shards::Shards;
use cloakroom_shards::reclaim::{Epoch, Hasty, Leaking, Reclaim};
use cloakroom_shards::sync::{Arc, CHECKER, Checker, UnsafeCell, thread};
use cloakroom_specs::map::{Answer, Call, Done, Order, explainable};

use Step::{Cas as Swap, Get, Iterate, Put, Remove};

/// Keys and values are small numbers. Under a checker a key's slot is its number, modulo the slots.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Put if absent.
    Put(u8, u8),
    /// From one value to another.
    Cas(u8, u8, u8),
    /// From a value to absence.
    Remove(u8, u8),
    Get(u8),
    Iterate,
}

/// How loom explores it, and what that takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    pub(crate) preemptions: Option<usize>,
    pub(crate) executions: usize,
}

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Keys and values on the heap.
    pub(crate) heap: bool,
    /// Whether something is freed in it that another thread may be reading.
    pub(crate) frees: bool,
    pub(crate) setup: &'static [Step],
    pub(crate) threads: &'static [&'static [Step]],
    pub(crate) plain: Search,
    pub(crate) rmw: Search,
}

/// The cells that are published; by value, and by removed key.
struct Cells(Vec<UnsafeCell<u64>>);

// SAFETY: that accesses are in order is what the scenario checks: loom and the map's promise.
unsafe impl Sync for Cells {}
// SAFETY: as above.
unsafe impl Send for Cells {}

const CELLS: usize = 64;

impl Cells {
    fn publish(&self, cell: usize) {
        // SAFETY: one step only writes it, before anybody can see that the step was done.
        self.0[cell].with_mut(|it| unsafe { *it = cell as u64 + 1 });
    }

    fn read(&self, cell: usize) {
        // SAFETY: its writer happened before, by the map's promise (SHARD-3).
        let seen = self.0[cell].with(|it| unsafe { *it });
        assert_eq!(seen, cell as u64 + 1, "SHARD-3: seen before it was published");
    }
}

struct World<R: Reclaim> {
    map: Shards<R>,
    cells: Cells,
    clock: AtomicU64,
    heap: bool,
    /// Keys that one step removes, which is the only way to their absence.
    removed_once: Vec<u8>,
    /// Keys that are there from before the threads begin to the end.
    lasting: Vec<u8>,
}

type History = Vec<(u8, Done)>;

impl<R: Reclaim> World<R> {
    fn bytes(&self, number: u8) -> Vec<u8> {
        vec![number; if self.heap { 12 } else { 1 }]
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// A key's or value's number.
    fn number(&self, bytes: &[u8]) -> u8 {
        assert_eq!(bytes, self.bytes(bytes[0]), "torn");
        bytes[0]
    }

    fn saw(&self, caller: usize, key: u8, value: Option<u8>) {
        match value {
            Some(value) => self.cells.read(usize::from(value)),
            // Caller 0 saw absence before it put the key.
            None if caller != 0 && self.removed_once.contains(&key) => {
                self.cells.read(CELLS / 2 + usize::from(key));
            }
            None => {}
        }
    }

    fn step(&self, caller: usize, step: Step, history: &mut History) {
        let (key, call) = match step {
            Iterate => return self.iterate(caller, history),
            Get(key) => (key, Call::Get),
            Put(key, new) => {
                self.cells.publish(usize::from(new));
                (key, Call::CompareAndSet { expected: None, new: Some(new.into()) })
            }
            Swap(key, from, new) => {
                self.cells.publish(usize::from(new));
                (key, Call::CompareAndSet { expected: Some(from.into()), new: Some(new.into()) })
            }
            Remove(key, from) => {
                if self.removed_once.contains(&key) {
                    self.cells.publish(CELLS / 2 + usize::from(key));
                }
                (key, Call::CompareAndSet { expected: Some(from.into()), new: None })
            }
        };
        let begin = self.now();
        let answer = self.call(key, call);
        let end = self.now();
        match (call, answer) {
            (_, Answer::Value(value) | Answer::Mismatch(value)) => {
                self.saw(caller, key, value.map(small));
            }
            // Set: the expected value was seen.
            (Call::CompareAndSet { expected, .. }, Answer::Set) => {
                self.saw(caller, key, expected.map(small));
            }
            (Call::Get, Answer::Set) => unreachable!(),
        }
        history.push((key, Done { call, answer, caller, begin, end }));
    }

    fn call(&self, key: u8, call: Call) -> Answer {
        let number = |value: Option<Vec<u8>>| value.map(|value| self.number(&value).into());
        match call {
            Call::Get => Answer::Value(number(self.map.get(&self.bytes(key)).unwrap())),
            Call::CompareAndSet { expected, new } => {
                let bytes = |value: Option<u64>| value.map(|value| self.bytes(small(value)));
                let (expected, new) = (bytes(expected), bytes(new));
                let key = self.bytes(key);
                match self.map.compare_and_set(&key, expected.as_deref(), new.as_deref()).unwrap() {
                    Cas::Set => Answer::Set,
                    Cas::Mismatch(current) => Answer::Mismatch(number(current)),
                }
            }
        }
    }

    /// What is seen is a read of its key; no key is seen twice.
    fn iterate(&self, caller: usize, history: &mut History) {
        let begin = self.now();
        let mut seen = BTreeMap::new();
        for entry in &self.map {
            let (key, value) = entry.unwrap();
            let (key, value) = (self.number(&key), self.number(&value));
            assert_eq!(seen.insert(key, value), None, "SHARD-6: key {key} is seen twice");
        }
        let end = self.now();
        for key in &self.lasting {
            assert!(seen.contains_key(key), "SHARD-6: key {key} was there and is not seen");
        }
        for (key, value) in seen {
            self.saw(caller, key, Some(value));
            let answer = Answer::Value(Some(value.into()));
            history.push((key, Done { call: Call::Get, answer, caller, begin, end }));
        }
    }
}

fn small(number: u64) -> u8 {
    u8::try_from(number).expect("a scenario's numbers are small")
}

impl Scenario {
    pub(crate) fn run(&'static self) {
        self.run_with::<Epoch>();
    }

    pub(crate) fn run_hasty(&'static self) {
        self.run_with::<Hasty>();
    }

    pub(crate) fn run_leaking(&'static self) {
        self.run_with::<Leaking>();
    }

    fn run_with<R: Reclaim + 'static>(&'static self) {
        let all = || self.setup.iter().chain(self.threads.iter().copied().flatten());
        let removals =
            |key: u8| all().filter(|step| matches!(step, Remove(it, _) if *it == key)).count();
        let put_first = || {
            self.setup
                .iter()
                .filter_map(|step| if let Put(key, _) = step { Some(*key) } else { None })
        };
        let world = Arc::new(World::<R> {
            map: Shards::with_reclaimer(1).unwrap(),
            cells: Cells((0..CELLS).map(|_| UnsafeCell::new(0)).collect()),
            clock: AtomicU64::new(1),
            heap: self.heap,
            removed_once: put_first().filter(|&key| removals(key) == 1).collect(),
            lasting: put_first().filter(|&key| removals(key) == 0).collect(),
        });
        let mut history = History::new();
        for &step in self.setup {
            world.step(0, step, &mut history);
        }
        let started: Vec<_> = (1..)
            .zip(self.threads)
            .map(|(caller, &steps)| {
                let world = Arc::clone(&world);
                thread::spawn(caller, move || {
                    let mut history = History::new();
                    for &step in steps {
                        world.step(caller, step, &mut history);
                    }
                    history
                })
            })
            .collect();
        for thread in started {
            history.extend(thread.join().unwrap());
        }
        Self::judge(&world, history);
    }

    fn judge<R: Reclaim>(world: &World<R>, mut history: History) {
        let mut keys: Vec<u8> = history.iter().map(|&(key, _)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut left = BTreeMap::new();
        for entry in &world.map {
            let (key, value) = entry.unwrap();
            let twice = left.insert(world.number(&key), world.number(&value));
            assert_eq!(twice, None, "SHARD-2: key {key:?} has two slots");
        }
        assert_eq!(world.map.len(), left.len(), "the count of entries");
        for &key in &keys {
            world.step(0, Get(key), &mut history);
            let answer = Answer::Value(left.get(&key).map(|&value| value.into()));
            let (begin, end) = (world.now(), world.now());
            history.push((key, Done { call: Call::Get, answer, caller: 0, begin, end }));
        }
        let order = if CHECKER == Checker::Loom { Order::Program } else { Order::RealTime };
        for key in keys {
            let calls: Vec<Done> =
                history.iter().filter(|&&(its, _)| its == key).map(|&(_, done)| done).collect();
            assert!(
                explainable(None, &calls, order),
                "SHARD-1: no order of these calls on key {key} explains their answers: {calls:#?}"
            );
        }
    }
}
