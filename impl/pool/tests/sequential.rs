//! One call at a time: `Pool` answers what the sequential oracle answers, at the documented cost.
//!
//! SAMPLED: random shapes, sizes, policies, tags and calls; the seed is fixed, so that a run can be
//! repeated; `PROPTEST_RNG_SEED` chooses another and `PROPTEST_CASES` more cases.
//!
//! * Answers: POOL-1, POOL-2, POOL-3, POOL-6 by `cloakroom_specs::pool::Oracle`.
//! * Counts are exact after every call: POOL-4.
//! * Costs in map operations are exactly those of the documentation: more is a defect too.
//! * Every write raises the version of its key by one, and no key is ever removed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use cloakroom_pool::{
    AllocateError, AtomicMap, Cas, FreeError, FreeOutcome, Id, List, MAX_TAG_BYTES, Machine,
    MapError, Next, Place, Policy, Pool, PoolId, Shape, Tag, Tree, Value, perform,
};
use cloakroom_specs::pool::{Freed, Objection, Oracle, counts_exact};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, contextualize_config};

/// A map that counts its operations and refuses a write that does not raise the version by one.
#[derive(Debug, Default)]
struct Counting {
    values: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    operations: Cell<u64>,
}

/// Map operations after which a call that runs alone is taken for one that never returns.
const FOR_EVER: u64 = 100_000;

impl Counting {
    fn count(&self) {
        self.operations.set(self.operations.get() + 1);
        assert!(self.operations.get() < FOR_EVER, "POOL-5: a call alone does not return");
    }
}

fn version(value: Option<&[u8]>) -> u64 {
    value.map_or(0, |value| u64::from_be_bytes(value[1..9].try_into().expect("a version")))
}

impl AtomicMap for Counting {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        self.count();
        Ok(self.values.borrow().get(key).cloned())
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        self.count();
        let mut values = self.values.borrow_mut();
        let current = values.get(key);
        if current.map(Vec::as_slice) != expected {
            return Ok(Cas::Mismatch(current.cloned()));
        }
        assert_eq!(version(new), version(expected) + 1, "a write raises the version by one");
        values.insert(key.to_vec(), new.expect("a key is never removed").to_vec());
        Ok(Cas::Set)
    }
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Allocate(u64, Policy),
    /// The id, by the tag that holds it.
    Free(u64),
    /// Any id, by any tag.
    FreeBy(u64, u64),
    Find(u64),
    /// Frees the tags whose number is divisible by this.
    Recover(u64),
    Repair,
}

fn calls() -> impl Strategy<Value = Call> {
    let policy = prop_oneof![Just(Policy::LowestFirst), Just(Policy::Spread)];
    prop_oneof![
        8 => (1..20_u64, policy).prop_map(|(tag, policy)| Call::Allocate(tag, policy)),
        4 => any::<u64>().prop_map(Call::Free),
        2 => (any::<u64>(), 1..20_u64).prop_map(|(id, tag)| Call::FreeBy(id, tag)),
        1 => (1..20_u64).prop_map(Call::Find),
        1 => (2..6_u64).prop_map(Call::Recover),
        1 => Just(Call::Repair),
    ]
}

fn trees() -> impl Strategy<Value = Tree> {
    let small = (2..=4_u16, 1..=4_u16, 1..=40_u64);
    let large = (2..=256_u16, 1..=256_u16, 1..=1_000_u64);
    // Children of exactly 256 ids: one more than a byte counts.
    let wide = prop_oneof![Just((4, 64)), Just((16, 16)), Just((2, 256)), Just((256, 1))];
    let edge = (wide, 250..=600_u64).prop_map(|((fanout, block), size)| (fanout, block, size));
    prop_oneof![20 => small, 4 => large, 1 => edge].prop_map(|(fanout, block, size)| {
        let shape = Shape::new(fanout, block).expect("a shape");
        Tree::new(PoolId(9), size, shape).expect("a size")
    })
}

/// Tags of every length: the number, then as much again as makes them differ in length.
fn tag(number: u64) -> Tag {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(if number == 19 { MAX_TAG_BYTES } else { 8 + bytes[7] as usize }, b'.');
    Tag::new(bytes).expect("1 to 128 bytes")
}

fn number(tag: &Tag) -> u64 {
    u64::from_be_bytes(tag.as_bytes()[..8].try_into().expect("eight bytes"))
}

/// A pool, its oracle, and what calls ought to cost.
struct Bench {
    map: Counting,
    tree: Tree,
    oracle: Oracle,
}

impl Bench {
    fn new(tree: Tree) -> Self {
        let size = usize::try_from(tree.size()).expect("a small pool");
        Self { map: Counting::default(), tree, oracle: Oracle::new(size) }
    }

    fn pool(&self, policy: Policy) -> Pool<&Counting> {
        self.map.operations.set(0);
        Pool::new(&self.map, self.tree, policy)
    }

    fn exists(&self, place: Place) -> bool {
        self.map.values.borrow().contains_key(&self.tree.key(place)[..])
    }

    fn existing(&self) -> Vec<Place> {
        self.tree.all().filter(|&place| self.exists(place)).collect()
    }

    fn height(&self) -> u64 {
        u64::from(self.tree.height())
    }

    /// One for each child of each existing inner node, and one for the root.
    fn cost_of_list(&self) -> u64 {
        let nodes = self.existing().into_iter().filter(|place| !place.is_block());
        1 + nodes.map(|node| u64::from(self.tree.width(node))).sum::<u64>()
    }

    /// Three for each existing place below the root, beside the list's.
    fn cost_of_repair(&self) -> u64 {
        let below = self.existing().into_iter().filter(|&place| place != self.tree.root());
        self.cost_of_list() + 3 * below.count() as u64
    }

    fn cost(&self, expected: u64) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.map.operations.get(), expected, "map operations");
        Ok(())
    }

    fn call(&mut self, call: Call) -> Result<(), TestCaseError> {
        match call {
            Call::Allocate(number, policy) => self.allocate(number, policy),
            Call::Free(pick) => {
                let held = self.oracle.list();
                if held.is_empty() {
                    return Ok(());
                }
                let (id, holder) = held[usize::try_from(pick % held.len() as u64).expect("small")];
                self.free(id, holder)
            }
            Call::FreeBy(id, number) => self.free(id % self.tree.size(), number),
            Call::Find(number) => {
                let found = self.pool(Policy::LowestFirst).find(&tag(number))?;
                let found: Vec<u64> = found.into_iter().map(|id| id.0).collect();
                prop_assert_eq!(found, self.oracle.find(number));
                self.cost(self.cost_of_list())
            }
            Call::Recover(divisor) => self.recover(divisor),
            Call::Repair => {
                let expected = self.cost_of_repair();
                let done = self.pool(Policy::LowestFirst).repair()?;
                prop_assert_eq!((done.held, done.counts_repaired), (self.oracle.usage(), 0));
                prop_assert_eq!(done.freed, []);
                self.cost(expected)
            }
        }
    }

    fn allocate(&mut self, number: u64, policy: Policy) -> Result<(), TestCaseError> {
        let lowest = self.oracle.lowest_free();
        let before = self.existing().iter().filter(|place| !place.is_block()).count();
        let answer = match self.pool(policy).allocate(&tag(number)) {
            Ok(id) => Some(id.0),
            Err(AllocateError::Full { size }) => {
                prop_assert_eq!(size, self.tree.size());
                None
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        if policy == Policy::LowestFirst {
            prop_assert_eq!(answer, lowest, "POOL-3: the lowest free id");
        }
        judge(self.oracle.allocate(number, answer))?;
        let created = self.existing().iter().filter(|place| !place.is_block()).count() - before;
        match answer {
            Some(_) => self.cost(2 * self.height() + 2 + created as u64),
            None => self.cost(1),
        }
    }

    fn free(&mut self, id: u64, number: u64) -> Result<(), TestCaseError> {
        let (block, _) = self.tree.slot(Id(id)).expect("an id of the pool");
        let above = (0..=self.tree.height()).map(|level| self.tree.above(Id(id), level));
        let missing = above.filter(|&place| !self.exists(place)).count() as u64;
        let (got, clears) = match self.pool(Policy::LowestFirst).free(Id(id), &tag(number)) {
            Ok(FreeOutcome::Freed) => (Freed::Freed, 1),
            Ok(FreeOutcome::AlreadyFree) => (Freed::AlreadyFree, 0),
            Ok(FreeOutcome::NotOwner) => (Freed::NotOwner, 0),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        judge(self.oracle.free(id, number, got))?;
        // Down to the block, or to the first place that is missing; and up again.
        let refresh = if self.exists(block) { self.height() } else { 0 };
        self.cost(self.height() + 1 - missing.saturating_sub(1) + clears + refresh)
    }

    fn recover(&mut self, divisor: u64) -> Result<(), TestCaseError> {
        let dead = |number: u64| number.is_multiple_of(divisor);
        let gone: Vec<_> = self.oracle.list().into_iter().filter(|&(_, tag)| dead(tag)).collect();
        let mut cleared: Vec<_> =
            gone.iter().map(|&(id, _)| self.tree.slot(Id(id)).expect("an id").0).collect();
        cleared.dedup();
        let expected = self.cost_of_repair() + cleared.len() as u64;
        let done = self.pool(Policy::LowestFirst).recover(|tag| !dead(self::number(tag)))?;
        self.cost(expected)?;
        let freed: Vec<_> = done.freed.iter().map(|(id, tag)| (id.0, self::number(tag))).collect();
        prop_assert_eq!(&freed, &gone, "POOL-7: what is not live is freed, and nothing else");
        for (id, number) in gone {
            judge(self.oracle.free(id, number, Freed::Freed))?;
        }
        prop_assert_eq!(done.held, self.oracle.usage());
        Ok(())
    }

    /// The whole pool is what the oracle says.
    fn compare(&self) -> Result<(), TestCaseError> {
        let listed = self.pool(Policy::LowestFirst).list()?;
        let listed: Vec<_> = listed.iter().map(|(id, tag)| (id.0, number(tag))).collect();
        prop_assert_eq!(&listed, &self.oracle.list());
        self.cost(self.cost_of_list())?;
        let usage = self.pool(Policy::LowestFirst).usage()?;
        let expected = (self.oracle.usage(), self.tree.size());
        prop_assert_eq!((usage.held, usage.size), expected, "POOL-4: usage");
        self.cost(1)?;
        for place in self.existing().into_iter().filter(|place| !place.is_block()) {
            let bytes = self.map.values.borrow()[&self.tree.key(place)[..]].clone();
            let value = Value::decode(&bytes, &self.tree, place).expect("a value of this pool");
            let Value::Node(node) = value else { unreachable!("an inner place") };
            judge(counts_exact((0..).zip(node.counts.iter()).map(|(side, count)| {
                let ids = self.tree.ids(self.tree.child(place, side));
                (count, listed.iter().filter(|(id, _)| ids.contains(id)).count() as u64)
            })))?;
        }
        Ok(())
    }
}

fn judge(judged: Result<(), Objection>) -> Result<(), TestCaseError> {
    judged.map_err(|objection| TestCaseError::fail(objection.to_string()))
}

fn config() -> Config {
    contextualize_config(Config {
        cases: 2_000,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_pool_answers_as_the_oracle_and_costs_what_is_documented(
        tree in trees(),
        calls in prop::collection::vec(calls(), 0..80),
    ) {
        let mut bench = Bench::new(tree);
        for call in calls {
            bench.call(call)?;
            bench.compare()?;
        }
    }

    #[test]
    fn every_id_is_handed_out_once_and_then_the_pool_is_full(tree in trees(), spread in any::<bool>()) {
        let policy = if spread { Policy::Spread } else { Policy::LowestFirst };
        let mut bench = Bench::new(tree);
        for number in 0..=tree.size() {
            bench.allocate(number % 100 + 20, policy)?;
        }
        prop_assert_eq!(bench.oracle.usage(), tree.size());
        bench.compare()?;
    }

    #[test]
    fn a_caller_with_a_start_begins_there_and_goes_round(
        tree in trees(), start in any::<u64>(), spread in any::<bool>(),
    ) {
        let policy = if spread { Policy::Spread } else { Policy::LowestFirst };
        let bench = Bench::new(tree);
        let pool = bench.pool(policy).starting_at(Id(start));
        let first = pool.allocate(&tag(0)).unwrap();
        prop_assert_eq!(first, Id(start % tree.size()));
        for number in 1..tree.size() {
            pool.allocate(&tag(number % 100 + 20)).unwrap();
        }
        prop_assert_eq!(pool.usage().unwrap().held, tree.size());
        // What it has freed itself it finds again.
        prop_assert_eq!(pool.free(first, &tag(0)), Ok(FreeOutcome::Freed));
        prop_assert_eq!(pool.allocate(&tag(1)), Ok(first));
    }
}

#[test]
fn spread_sends_callers_to_different_blocks() {
    let tree = Tree::new(PoolId(9), 64 * 64, Shape::new(8, 64).unwrap()).unwrap();
    let bench = Bench::new(tree);
    for number in 0..64 {
        bench.pool(Policy::Spread).allocate(&tag(number)).unwrap();
    }
    let blocks = bench.existing().into_iter().filter(|place| place.is_block()).count();
    // 64 throws at 64 blocks meet 40 of them on average; all callers of lowest first meet one.
    assert!(blocks > 32, "{blocks} of 64 blocks");
}

#[test]
fn an_id_out_of_range_is_refused_by_name_and_nothing_is_asked() {
    let tree = Tree::new(PoolId(9), 5, Shape::default()).unwrap();
    let bench = Bench::new(tree);
    let refused = bench.pool(Policy::LowestFirst).free(Id(5), &tag(1)).unwrap_err();
    assert_eq!(refused, FreeError::OutOfRange { id: Id(5), size: 5 });
    assert_eq!(refused.to_string(), "id: expected 0 to 4, got 5");
    assert_eq!(bench.map.operations.get(), 0);
}

#[test]
fn pages_one_after_the_other_are_the_whole_list() {
    let tree = Tree::new(PoolId(1), 100, Shape::new(3, 4).unwrap()).unwrap();
    let pool = Pool::new(Counting::default(), tree, Policy::Spread);
    for number in 0..60 {
        pool.allocate(&Tag::new(number.to_string()).unwrap()).unwrap();
    }
    let page = |first: Id, enough: usize| -> Option<Vec<(Id, Tag)>> {
        let mut page = List::page(tree, first, enough)?;
        loop {
            let (response, _) = perform(pool.map(), &tree, &page.request());
            if let Next::Done(found) = page.step(response) {
                return Some(found.unwrap());
            }
        }
    };
    let whole = pool.list().unwrap();
    for enough in [1, 7, 60, 61] {
        let (mut pages, mut first) = (Vec::new(), Id(0));
        while let Some(found) = page(first, enough) {
            assert!(found.iter().all(|(id, _)| *id >= first));
            // More than enough by a block at most.
            assert!(found.len() < enough + 4);
            let is_last = found.len() < enough;
            first = found.last().map_or(first, |(id, _)| Id(id.0 + 1));
            pages.extend(found);
            if is_last {
                break;
            }
        }
        assert_eq!(pages, whole, "{enough}");
    }
    assert_eq!(page(Id(100), 1), None);
}
