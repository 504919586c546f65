//! The replay as a whole: it holds on an honest map whatever dies, and the oracle objects to each
//! kind of map that lies. Without the second half the first would show little.

use std::fmt::Write;
use std::sync::Mutex;

use cloakroom_pool::{AtomicMap, Cas, Id, MapError, Place, PoolId, Shape, Tag, Value};
use cloakroom_stores::Memory;

use super::*;

const COLUMNS: Columns<'_> = Columns { tag: "name", start: "start", end: "end" };

/// `count` workloads, one a second, each for `length` seconds; every tenth stays to the end.
fn trace(count: u64, length: u64) -> Trace {
    let mut text = "name,start,end\n".to_owned();
    for number in 0..count {
        let end = (number + length).to_string();
        let end = if number % 10 == 9 { "" } else { &end };
        writeln!(text, "w{number},{number},{end}").unwrap();
    }
    Trace::parse("test", text.as_bytes(), COLUMNS).unwrap()
}

fn tree(size: u64, fanout: u16, block: u16) -> Tree {
    Tree::new(PoolId(1), size, Shape::new(fanout, block).unwrap()).unwrap()
}

fn run(
    map: SharedMap<'_>,
    tree: Tree,
    trace: &Trace,
    workers: usize,
    rate: &str,
) -> Result<Outcome, MapError> {
    let chance = Chance { seed: 1, rate: rate.parse().unwrap() };
    let policy = Policy::LowestFirst;
    Replay { map, tree, policy, workers, chance, progress: &|_| {} }.run(trace)
}

#[test]
fn the_promise_is_held_and_nobody_refused_at_the_peaks_size_whatever_dies() {
    // In the end 20 stay and 7 are still to end: 27 at once.
    let trace = trace(200, 8);
    for (fanout, block) in [(2, 1), (3, 4), (64, 64)] {
        for (workers, rate) in [(1, "0"), (8, "0"), (8, "0.05"), (8, "0.5"), (3, "0.9")] {
            for policy in [Policy::LowestFirst, Policy::Spread] {
                for seed in 0..5 {
                    let map = Memory::default();
                    let chance = Chance { seed, rate: rate.parse().unwrap() };
                    let tree = tree(27, fanout, block);
                    let replay =
                        Replay { map: &map, tree, policy, workers, chance, progress: &|_| {} };
                    let outcome = replay.run(&trace).unwrap();
                    let case = format!("({fanout}, {block}) {workers} {rate} {policy:?} {seed}");
                    assert_eq!(outcome.objections(), [""; 0], "{case}");
                    assert_eq!(
                        (outcome.tally.allocations, outcome.tally.refused),
                        (200, 0),
                        "{case}"
                    );
                    assert_eq!(outcome.verdict.held_at_end, 20, "{case}");
                    assert_eq!(outcome.tally.callers_killed > 0, rate != "0", "{case}");
                }
            }
        }
    }
}

#[test]
fn a_pool_below_the_peak_refuses_and_holds_the_promise_all_the_same() {
    let trace = trace(300, 8);
    for (workers, rate) in [(1, "0"), (8, "0"), (8, "0.2")] {
        for size in [1, 5, 20] {
            let map = Memory::default();
            let outcome = run(&map, tree(size, 2, 2), &trace, workers, rate).unwrap();
            assert_eq!(outcome.objections(), [""; 0], "{size} {workers} {rate}");
            let tally = &outcome.tally;
            assert!(tally.refused > 0, "{size} {workers} {rate}");
            assert_eq!(tally.allocations + tally.refused, 300, "{size} {workers} {rate}");
            assert!(outcome.verdict.peak_held <= size);
            assert_eq!(tally.frees + outcome.verdict.held_at_end, tally.allocations);
        }
    }
}

#[test]
fn one_worker_alone_never_meets_a_full_pool_at_the_peaks_size() {
    let outcome = run(&Memory::default(), tree(27, 2, 2), &trace(200, 8), 1, "0").unwrap();
    assert_eq!((outcome.tally.full_answers, outcome.verdict.peak_held), (0, 27));
}

#[test]
fn phantoms_are_recovered_when_they_fill_the_pool_and_in_the_end() {
    let outcome = run(&Memory::default(), tree(27, 3, 4), &trace(200, 8), 4, "0.3").unwrap();
    assert!(outcome.tally.recoveries > 1, "{:?}", outcome.tally.recoveries);
    assert!(outcome.tally.phantoms_recovered > 10, "{:?}", outcome.tally.phantoms_recovered);
}

#[test]
fn a_death_may_come_after_its_operation_was_carried_out() {
    // One block: an allocate is a read and a write, so a phantom is a write without an answer.
    let outcome = run(&Memory::default(), tree(64, 64, 64), &trace(200, 8), 1, "0.5").unwrap();
    let (killed, phantoms) = (outcome.tally.callers_killed, outcome.tally.phantoms_recovered);
    assert!(phantoms > 10 && phantoms < killed / 2, "{phantoms} of {killed}");
}

/// A map that lies.
struct Liar<F> {
    memory: Memory,
    tree: Tree,
    /// How many compare-and-sets have come.
    writes: Mutex<u64>,
    lie: F,
}

/// What a liar does with a compare-and-set.
enum Lie {
    /// Does it.
    None,
    /// Says that it is done, and does nothing.
    Drop,
    /// Does it, and then takes a slot from its holder.
    Forget(Id),
}

impl<F: Fn(u64, Place, &Value) -> Lie + Sync> AtomicMap for Liar<F> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        self.memory.get(key)
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        let number = {
            let mut writes = self.writes.lock().unwrap();
            *writes += 1;
            *writes
        };
        let place = self.tree.all().find(|&at| self.tree.key(at) == key).unwrap();
        let value = Value::decode(new.unwrap(), &self.tree, place).unwrap();
        match (self.lie)(number, place, &value) {
            Lie::None => self.memory.compare_and_set(key, expected, new),
            Lie::Drop => Ok(Cas::Set),
            Lie::Forget(id) => {
                let answer = self.memory.compare_and_set(key, expected, new);
                let (block, slot) = self.tree.slot(id).unwrap();
                let key = self.tree.key(block);
                let current = self.memory.get(&key).unwrap().expect("a block that is in use");
                let mut value = Value::decode(&current, &self.tree, block).unwrap();
                if let Value::Block(block) = &mut value {
                    block.slots[usize::from(slot)] = None;
                    block.version += 1;
                }
                let emptied = value.encode(&self.tree, block);
                self.memory.compare_and_set(&key, Some(&current), Some(&emptied)).unwrap();
                answer
            }
        }
    }
}

/// Replays 100 workloads, of which ten stay, on a liar; alone, so that the verdict is the same
/// each time.
fn on_liar(lie: impl Fn(u64, Place, &Value) -> Lie + Sync, rate: &str) -> Outcome {
    let tree = tree(64, 2, 64);
    // Two blocks, so that there is a count above each.
    let tree = Tree::new(tree.pool(), 128, tree.shape()).unwrap();
    let liar = Liar { memory: Memory::default(), tree, writes: Mutex::new(0), lie };
    run(&liar, tree, &trace(100, 8), 1, rate).unwrap()
}

fn holds(value: &Value, tag: &str) -> bool {
    let tag = Tag::new(tag).unwrap();
    matches!(value, Value::Block(block) if block.slots.contains(&Some(tag)))
}

#[test]
fn a_map_that_tells_the_truth_is_acquitted() {
    let outcome = on_liar(|_, _, _| Lie::None, "0.1");
    assert_eq!(outcome.objections(), [""; 0]);
    assert_eq!(outcome.report(setting()).verdict, "kept");
}

#[test]
fn a_map_that_drops_an_allocation_is_caught_giving_its_id_twice() {
    // The put of w30, and every write of that block that still would bring it.
    let outcome = on_liar(
        |_, at, value| if at.is_block() && holds(value, "w30") { Lie::Drop } else { Lie::None },
        "0",
    );
    assert!(outcome.verdict.double_held > 0, "{:?}", outcome.objections());
    assert!(outcome.verdict.taken > 0, "{:?}", outcome.objections());
    assert!(outcome.objections()[0].starts_with("POOL-1: "), "{:?}", outcome.objections());
    assert_eq!(outcome.report(setting()).verdict, "broken");
}

#[test]
fn a_map_that_forgets_a_slot_is_caught_by_its_holders_free_or_in_the_end() {
    // Slot 0 is w0's, then somebody's, now and then; long before the end it is forgotten.
    let outcome =
        on_liar(|write, _, _| if write == 9 { Lie::Forget(Id(0)) } else { Lie::None }, "0");
    let verdict = &outcome.verdict;
    assert!(verdict.taken + verdict.double_held > 0, "{:?}", outcome.objections());

    // Just before the end, so that nobody comes to free it: w99 never ends.
    let lost = |_: u64, at: Place, value: &Value| {
        if at.is_block() && holds(value, "w99") && !holds(value, "w98") {
            let Value::Block(block) = value else { unreachable!("a block holds tags") };
            let w99 = Some(Tag::new("w99").unwrap());
            let slot = block.slots.iter().position(|slot| *slot == w99).unwrap();
            Lie::Forget(Id(slot as u64))
        } else {
            Lie::None
        }
    };
    let outcome = on_liar(lost, "0");
    assert_eq!(outcome.verdict.lost, 1, "{:?}", outcome.objections());
    assert!(
        outcome.objections().iter().any(|words| words.ends_with("is lost: w99 holds it")),
        "{:?}",
        outcome.objections()
    );
}

#[test]
fn a_map_that_keeps_what_was_freed_is_caught_leaking() {
    let held = Mutex::new(false);
    let keeps = |_: u64, at: Place, value: &Value| {
        let mut held = held.lock().unwrap();
        *held |= holds(value, "w95");
        // From the day w95 came, no write of the block that is without it.
        if at.is_block() && *held && !holds(value, "w95") { Lie::Drop } else { Lie::None }
    };
    let outcome = on_liar(keeps, "0");
    assert!(outcome.verdict.leaked > 0, "{:?}", outcome.objections());
    assert!(
        outcome.objections().iter().any(|words| words.contains("leaked: w95 does not hold it")),
        "{:?}",
        outcome.objections()
    );
}

#[test]
fn a_map_whose_counts_stand_still_is_caught_miscounting() {
    let outcome = on_liar(
        |write, at, _| if write > 20 && !at.is_block() { Lie::Drop } else { Lie::None },
        "0",
    );
    assert!(outcome.verdict.counts_wrong > 0, "{:?}", outcome.objections());
    assert_eq!((outcome.verdict.leaked, outcome.verdict.lost), (0, 0));
    assert!(outcome.objections().iter().all(|words| words.starts_with("POOL-4")));
}

/// A map whose root says once, at the read number `at`, that all is held.
struct SaysFull {
    memory: Memory,
    tree: Tree,
    reads: Mutex<u64>,
    at: u64,
}

impl AtomicMap for SaysFull {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        let value = self.memory.get(key)?;
        let root = self.tree.root();
        if self.tree.key(root) != key {
            return Ok(value);
        }
        let mut reads = self.reads.lock().unwrap();
        *reads += 1;
        let mut value = value.map(|bytes| Value::decode(&bytes, &self.tree, root).unwrap());
        match &mut value {
            Some(Value::Node(node)) if *reads == self.at => {
                (0..self.tree.width(root)).for_each(|side| node.counts.set(side, 64));
            }
            _ => {}
        }
        Ok(value.map(|value| value.encode(&self.tree, root)))
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        self.memory.compare_and_set(key, expected, new)
    }
}

#[test]
fn full_while_there_is_room_is_caught() {
    let tree = tree(128, 2, 64);
    // Some reads of the root are of a refresh, where the lie does no harm; one of these is not.
    let caught = (28..=31).any(|at| {
        let map = SaysFull { memory: Memory::default(), tree, reads: Mutex::new(0), at };
        let outcome = run(&map, tree, &trace(100, 8), 1, "0").unwrap();
        let verdict = &outcome.verdict;
        verdict.false_full == 1 && outcome.objections()[0].starts_with("POOL-3: full answered to w")
    });
    assert!(caught);
}

/// A map that fails at the last of so many writes: with an error, and then for good; or with a
/// panic, and only then: whoever else is at work meets no fault, and must be told to stop.
struct Breaks {
    memory: Memory,
    left: Mutex<u64>,
    panics: bool,
}

impl AtomicMap for Breaks {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        self.memory.get(key)
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        let left = {
            let mut left = self.left.lock().unwrap();
            let now = left.checked_sub(1);
            *left = now.unwrap_or(0);
            now
        };
        assert!(left != Some(0) || !self.panics, "planted");
        if left.is_none_or(|left| left == 0) && !self.panics {
            return Err(MapError::Unavailable { cause: "planted".to_owned() });
        }
        self.memory.compare_and_set(key, expected, new)
    }
}

fn on_breaking(panics: bool) -> Result<Outcome, MapError> {
    let map = Breaks { memory: Memory::default(), left: Mutex::new(50), panics };
    run(&map, tree(27, 2, 2), &trace(200, 8), 8, "0.1")
}

#[test]
fn a_map_that_fails_ends_the_replay_with_its_error() {
    let error = on_breaking(false).err().expect("no verdict without a map");
    assert_eq!(error, MapError::Unavailable { cause: "planted".to_owned() });
}

#[test]
#[should_panic(expected = "planted")]
fn a_worker_that_panics_stops_the_others() {
    let _ = on_breaking(true);
}

fn setting() -> Setting {
    Setting {
        trace: "test".to_owned(),
        size: 128,
        fanout: 2,
        block: 64,
        policy: "lowest-first",
        store: "memory",
        workers: 1,
        crash_rate: 0.0,
        seed: 1,
        rows: 100,
        skipped: 0,
        skipped_why: None,
    }
}
