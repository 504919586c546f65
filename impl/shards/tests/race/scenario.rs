//! What a scenario is, and one run of it.
//!
//! * every value is put by one step only (but [`Step::Back`]), so whoever sees a value knows its
//!   writer;
//! * before a step puts a value, it writes a plain cell of that value; who sees the value reads it
//!   (SHARD-3). The same for the one step that removes a key, and its absence;
//! * at the end every key's calls are judged by the oracle of `specs` (SHARD-1), and the map by
//!   iteration (SHARD-2, SHARD-5, SHARD-6).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cloakroom_pool::Cas;
use cloakroom_shards::reclaim::{Crossbeam, Epoch, Hasty, Leaking, Reclaim, Still};
use cloakroom_shards::sync::{Arc, UnsafeCell, Unseen, resume, thread};
use cloakroom_specs::map::{Answer, Call, Done, Order, explainable};

use crate::deeds::{self, Deed};
use crate::via::{On, Store, Via};

use Step::{Back, Cas as Swap, Each, Get, Hold, Iterate, Put, Remove};

/// Keys and values are numbers below 48. Under a checker a key's slot is its number, modulo the
/// slots.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Put if absent.
    Put(u8, u8),
    /// From one value to another.
    Cas(u8, u8, u8),
    /// As `Cas`, to a value that the key has had: its only second writer, and the thread's step
    /// before must have changed it away.
    Back(u8, u8, u8),
    /// From a value to absence.
    Remove(u8, u8),
    Get(u8),
    Iterate,
    /// As `Iterate`, without copies.
    Each,
    /// Reads a key, and makes these steps while it holds the value.
    Hold(u8, Vec<Step>),
}

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// Keys and values on the heap.
    pub(crate) heap: bool,
    pub(crate) on: On,
    /// Threads register: each has a handle.
    pub(crate) registered: bool,
    /// All threads begin at one seat.
    pub(crate) one_seat: bool,
    pub(crate) setup: Vec<Step>,
    pub(crate) threads: Vec<Vec<Step>>,
    /// Instead of steps on a map: deeds on a reclaimer alone.
    pub(crate) deeds: Vec<Vec<Deed>>,
}

/// Who frees memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reclaimer {
    /// Nobody, and no guard makes a step.
    Still,
    /// What ships.
    Epoch,
    /// Broken: frees at once.
    Hasty,
    /// As `Epoch`, and frees nothing.
    Leaking,
    /// The other one, by crossbeam-epoch.
    Crossbeam,
}

/// What differs between runs.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) order: Order,
    /// The thread that the plan stops: the others are waited for first.
    pub(crate) stopped: Option<usize>,
    pub(crate) seen: std::sync::Arc<Unseen<Seen>>,
}

/// What came of the runs of an exploration.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// All answers and the entries left, in words.
    pub(crate) outcomes: BTreeSet<String>,
    /// In how many runs the stopped thread was stopped.
    pub(crate) stops: usize,
}

/// The cells that are published.
struct Cells(Vec<UnsafeCell<u64>>);

// SAFETY: that accesses are in order is what the scenario checks: loom and the map's promise.
unsafe impl Sync for Cells {}
// SAFETY: as above.
unsafe impl Send for Cells {}

/// Values and keys are below this.
const NUMBERS: usize = 48;

#[derive(Clone, Copy)]
enum Cell {
    Value(u8),
    /// Of a key that one step removes.
    Absence(u8),
    /// Of a key that has a value for the second time.
    Again(u8),
}

impl Cells {
    fn new() -> Self {
        Self((0..3 * NUMBERS).map(|_| UnsafeCell::new(0)).collect())
    }

    fn at(cell: Cell) -> usize {
        match cell {
            Cell::Value(value) => usize::from(value),
            Cell::Absence(key) => NUMBERS + usize::from(key),
            Cell::Again(key) => 2 * NUMBERS + usize::from(key),
        }
    }

    fn publish(&self, cell: Cell) {
        let at = Self::at(cell);
        // SAFETY: one step only writes it, before anybody can see that the step was done.
        self.0[at].with_mut(|it| unsafe { *it = at as u64 + 1 });
    }

    fn read(&self, cell: Cell) {
        let at = Self::at(cell);
        // SAFETY: its writer happened before, by the map's promise (SHARD-3).
        let seen = self.0[at].with(|it| unsafe { *it });
        assert_eq!(seen, at as u64 + 1, "SHARD-3: seen before it was published");
    }
}

/// What no checker sees.
#[derive(Default)]
struct Hidden {
    clock: u64,
    /// Keys with the value that they have again, or are about to.
    again: BTreeMap<u8, u8>,
}

struct World<R: Reclaim> {
    map: Store<R>,
    cells: Cells,
    hidden: Unseen<Hidden>,
    heap: bool,
    /// Keys that one step removes, which is the only way to their absence.
    removed_once: Vec<u8>,
    /// Keys that are there from before the threads begin to the end.
    lasting: Vec<u8>,
}

type History = Vec<(u8, Done)>;

impl<R: Reclaim> World<R> {
    /// Numbers that differ by 16 are twins: under a checker one hash, and one first word of a key
    /// that stands in its slot. They differ from the second word on, those of 64 bytes from the third.
    /// From 40 on they are so long that a table of short keys has them by their address; from 64 on they fill the
    /// words of a slot that has two.
    fn bytes(&self, number: u8) -> Vec<u8> {
        let length = match number {
            64.. => 16,
            40.. => 64,
            _ if self.heap => 12,
            _ => return vec![number],
        };
        let mut bytes = vec![number; length];
        bytes[0] = number % 16;
        if number >= 40 {
            // All of these choose the place.
            bytes[1..8].fill(0);
        }
        bytes
    }

    fn now(&self) -> u64 {
        self.hidden.with(|hidden| {
            hidden.clock += 1;
            hidden.clock
        })
    }

    /// A key's or value's number.
    fn number(&self, bytes: &[u8]) -> u8 {
        let number = bytes[bytes.len() - 1];
        assert_eq!(bytes, self.bytes(number), "SHARD-3: torn");
        number
    }

    fn saw(&self, caller: usize, key: u8, value: Option<u8>) {
        match value {
            Some(value) => self.cells.read(Cell::Value(value)),
            // Caller 0 saw absence before it put the key.
            None if caller != 0 && self.removed_once.contains(&key) => {
                self.cells.read(Cell::Absence(key));
            }
            None => {}
        }
    }

    fn step(&self, via: &Via<'_, R>, caller: usize, step: &Step, history: &mut History) {
        let (key, call) = match *step {
            Iterate => return self.iterate(false, caller, history),
            Each => return self.iterate(true, caller, history),
            Hold(key, ref steps) => return self.hold(via, caller, key, steps, history),
            Get(key) => (key, Call::Get),
            Put(key, new) => {
                self.cells.publish(Cell::Value(new));
                (key, Call::CompareAndSet { expected: None, new: Some(new.into()) })
            }
            Swap(key, from, new) => {
                self.cells.publish(Cell::Value(new));
                (key, Call::CompareAndSet { expected: Some(from.into()), new: Some(new.into()) })
            }
            Back(key, from, new) => {
                if history.last().is_some_and(|(_, done)| done.answer == Answer::Set) {
                    self.cells.publish(Cell::Again(key));
                    self.hidden.with(|hidden| hidden.again.insert(key, new));
                }
                (key, Call::CompareAndSet { expected: Some(from.into()), new: Some(new.into()) })
            }
            Remove(key, from) => {
                if self.removed_once.contains(&key) {
                    self.cells.publish(Cell::Absence(key));
                }
                (key, Call::CompareAndSet { expected: Some(from.into()), new: None })
            }
        };
        let begin = self.now();
        let answer = self.call(via, key, call);
        let end = self.now();
        match (call, answer) {
            (_, Answer::Value(value) | Answer::Mismatch(value)) => {
                self.saw(caller, key, value.map(small));
            }
            // Set: the expected value was seen.
            (Call::CompareAndSet { expected, .. }, Answer::Set) => {
                self.saw(caller, key, expected.map(small));
                let again = self.hidden.with(|hidden| hidden.again.get(&key).copied());
                if again.is_some() && expected == again.map(u64::from) {
                    // It was changed away before, and this step found it: so it was there again.
                    self.cells.read(Cell::Again(key));
                }
            }
            (Call::Get, Answer::Set) => unreachable!(),
        }
        history.push((key, Done { call, answer, caller, begin, end }));
    }

    fn call(&self, via: &Via<'_, R>, key: u8, call: Call) -> Answer {
        let number = |value: Option<Vec<u8>>| value.map(|value| self.number(&value).into());
        match call {
            Call::Get => {
                let value = via.read(&self.bytes(key), |value| value.map(<[u8]>::to_vec));
                Answer::Value(number(value))
            }
            Call::CompareAndSet { expected, new } => {
                let bytes = |value: Option<u64>| value.map(|value| self.bytes(small(value)));
                let (expected, new) = (bytes(expected), bytes(new));
                let key = self.bytes(key);
                match via.set(&key, expected.as_deref(), new.as_deref()) {
                    Cas::Set => Answer::Set,
                    Cas::Mismatch(current) => Answer::Mismatch(number(current)),
                }
            }
        }
    }

    /// What is seen is a read of its key; no key is seen twice.
    fn iterate(&self, each: bool, caller: usize, history: &mut History) {
        let begin = self.now();
        let mut seen = BTreeMap::new();
        let key = |number| self.bytes(number);
        self.map.iterate(each, key, |key, value| {
            let (key, value) = (self.number(key), self.number(value));
            // Under the guard that the iteration holds.
            self.saw(caller, key, Some(value));
            assert_eq!(seen.insert(key, value), None, "SHARD-6: key {key} is seen twice");
        });
        let end = self.now();
        for key in &self.lasting {
            assert!(seen.contains_key(key), "SHARD-6: key {key} was there and is not seen");
        }
        for &key in self.removed_once.iter().filter(|key| !seen.contains_key(key)) {
            self.saw(caller, key, None);
        }
        for (key, value) in seen {
            let answer = Answer::Value(Some(value.into()));
            history.push((key, Done { call: Call::Get, answer, caller, begin, end }));
        }
    }

    fn hold(
        &self,
        via: &Via<'_, R>,
        caller: usize,
        key: u8,
        steps: &[Step],
        history: &mut History,
    ) {
        let begin = self.now();
        let mut end = begin;
        let value = via.read(&self.bytes(key), |held| {
            end = self.now();
            let value = held.map(|held| self.number(held));
            self.saw(caller, key, value);
            for step in steps {
                self.step(via, caller, step, history);
            }
            assert_eq!(held.map(|held| self.number(held)), value, "SHARD-4: what is held changed");
            value
        });
        let answer = Answer::Value(value.map(u64::from));
        history.push((key, Done { call: Call::Get, answer, caller, begin, end }));
    }
}

fn small(number: u64) -> u8 {
    u8::try_from(number).expect("a scenario's numbers are small")
}

/// Steps, those within others too.
fn flat(steps: &[Step]) -> Vec<&Step> {
    let mut all = Vec::new();
    for step in steps {
        all.push(step);
        if let Hold(_, inner) = step {
            all.extend(flat(inner));
        }
    }
    all
}

impl Scenario {
    /// How many threads it starts.
    pub(crate) fn callers(&self) -> usize {
        self.threads.len() + self.deeds.len()
    }

    pub(crate) fn run(&'static self, reclaimer: Reclaimer, run: &Run) {
        if !self.deeds.is_empty() {
            return deeds::run(self, reclaimer, run);
        }
        match reclaimer {
            Reclaimer::Still => self.run_with::<Still>(run),
            Reclaimer::Epoch => self.run_with::<Epoch>(run),
            Reclaimer::Hasty => self.run_with::<Hasty>(run),
            Reclaimer::Leaking => self.run_with::<Leaking>(run),
            Reclaimer::Crossbeam => self.run_with::<Crossbeam>(run),
        }
    }

    fn world<R: Reclaim>(&self) -> World<R> {
        let threads = self.threads.iter().flat_map(|steps| flat(steps));
        let all: Vec<&Step> = self.setup.iter().chain(threads).collect();
        let removals =
            |key: u8| all.iter().filter(|step| matches!(step, Remove(it, _) if *it == key)).count();
        let put_first = || {
            let put = |step: &Step| if let Put(key, _) = step { Some(*key) } else { None };
            self.setup.iter().filter_map(put)
        };
        World {
            map: Store::new(self.on),
            cells: Cells::new(),
            hidden: Unseen::default(),
            heap: self.heap,
            removed_once: put_first().filter(|&key| removals(key) == 1).collect(),
            lasting: put_first().filter(|&key| removals(key) == 0).collect(),
        }
    }

    fn run_with<R: Reclaim + 'static>(&'static self, run: &Run) {
        let world = Arc::new(self.world::<R>());
        let mut history = History::new();
        for step in &self.setup {
            world.step(&world.map.via(false), 0, step, &mut history);
        }
        let mut started: Vec<_> = (1..)
            .zip(&self.threads)
            .map(|(caller, steps)| {
                let world = Arc::clone(&world);
                let index = if self.one_seat { 1 } else { caller };
                let thread = thread::spawn(index, move || {
                    let mut history = History::new();
                    let via = world.map.via(self.registered);
                    for step in steps {
                        world.step(&via, caller, step, &mut history);
                    }
                    drop(via);
                    history
                });
                (caller, thread)
            })
            .collect();
        // Who is stopped comes last: all others must come to their end.
        started.sort_by_key(|&(caller, _)| run.stopped == Some(caller));
        let mut stopped = false;
        for (caller, thread) in started {
            if run.stopped == Some(caller) {
                stopped = resume();
            }
            history.extend(thread.join().unwrap());
        }
        let left = Self::judge(&world, &mut history, run.order);
        let outcome = outcome(&history, &left);
        run.seen.with(|seen| {
            seen.stops += usize::from(stopped);
            seen.outcomes.insert(outcome)
        });
    }

    fn judge<R: Reclaim>(
        world: &World<R>,
        history: &mut History,
        order: Order,
    ) -> BTreeMap<u8, u8> {
        let mut left = BTreeMap::new();
        let key = |number| world.bytes(number);
        world.map.iterate(false, key, |key, value| {
            let twice = left.insert(world.number(key), world.number(value));
            assert_eq!(twice, None, "SHARD-2: key {key:?} has two slots");
        });
        assert_eq!(world.map.len(), left.len(), "SHARD-1: the count of entries");
        let keys: BTreeSet<u8> = history.iter().map(|&(key, _)| key).collect();
        for &key in &keys {
            world.step(&world.map.via(false), 0, &Get(key), history);
            let answer = Answer::Value(left.get(&key).map(|&value| value.into()));
            let (begin, end) = (world.now(), world.now());
            history.push((key, Done { call: Call::Get, answer, caller: 0, begin, end }));
        }
        for key in keys {
            let calls: Vec<Done> =
                history.iter().filter(|&&(its, _)| its == key).map(|&(_, done)| done).collect();
            assert!(
                explainable(None, &calls, order),
                "SHARD-1: no order of these calls on key {key} explains their answers: {calls:#?}"
            );
        }
        left
    }
}

/// All answers of the threads, and what is left, in words.
fn outcome(history: &History, left: &BTreeMap<u8, u8>) -> String {
    let mut calls: Vec<&(u8, Done)> = history.iter().filter(|(_, done)| done.caller > 0).collect();
    // Stable: the entries of one iteration keep their order.
    calls.sort_by_key(|(_, done)| (done.caller, done.begin));
    let mut text = String::new();
    let mut last = 0;
    for (key, done) in calls {
        if done.caller != last {
            last = done.caller;
            write!(text, "{last}: ").expect("a String takes all");
        }
        match done.answer {
            Answer::Set => text.push_str("set "),
            Answer::Value(value) | Answer::Mismatch(value) => {
                let value = value.map_or("none".into(), |value| value.to_string());
                write!(text, "{key}={value} ").expect("a String takes all");
            }
        }
    }
    write!(text, "left {left:?}").expect("a String takes all");
    text
}
