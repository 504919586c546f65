//! The verdict: after the last recovery, with nothing under way, the pool against the ledger.
//!
//! * POOL-1, POOL-7: what the pool lists is exactly what the ledger says is held;
//! * POOL-4: every count is what is held below it, counted here from the values in the map, and a
//!   repair that runs after the recovery finds nothing to put right.
//!
//! The predicates are those of `cloakroom_specs::pool`, which know neither the pool nor the replay.

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_pool::{
    Id, MapError, Place, Policy, Pool, Request, Response, Tag, Tree, Value, perform,
};
use cloakroom_specs::pool::{counts_exact, holders_keep_their_ids, nothing_leaked};
use serde::Serialize;

use super::ledger::Books;
use super::worker::SharedMap;

/// What the oracle found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Verdict {
    /// Ids handed out while they were held.
    pub(crate) double_held: u64,
    /// Held pairs that were gone when their holder freed them.
    pub(crate) taken: u64,
    /// `Full` answered while there was room.
    pub(crate) false_full: u64,
    /// Pairs in the pool that nobody holds.
    pub(crate) leaked: u64,
    /// Pairs that are held and not in the pool.
    pub(crate) lost: u64,
    /// Counts that differ from what is held below.
    pub(crate) counts_wrong: u64,
    /// Pairs held to the end.
    pub(crate) held_at_end: u64,
    /// The most pairs held at once.
    pub(crate) peak_held: u64,
    /// Every objection in words; empty is acquittal.
    #[serde(skip)]
    pub(crate) objections: Vec<String>,
}

/// What the pool shows in the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    listed: Vec<(Id, Tag)>,
    /// Each count with what is held below it; the last is the root's total, as `usage` tells it.
    counts: Vec<(u64, u64)>,
    /// How many counts a repair found wrong.
    repaired: u64,
}

impl Evidence {
    /// Looks at a pool in which nothing is under way.
    pub(crate) fn gather(map: SharedMap<'_>, tree: Tree) -> Result<Self, MapError> {
        let pool = Pool::new(map, tree, Policy::default());
        let mut counts = Vec::new();
        let held = count(map, &tree, tree.root(), &mut counts)?;
        counts.push((pool.usage()?.held, held));
        Ok(Self { listed: pool.list()?, counts, repaired: pool.repair()?.counts_repaired })
    }
}

/// What is held below a place; notes each count on the way.
fn count(
    map: SharedMap<'_>,
    tree: &Tree,
    at: Place,
    counts: &mut Vec<(u64, u64)>,
) -> Result<u64, MapError> {
    let (response, error) = perform(map, tree, &Request::Get(at));
    let node = match (response, error) {
        (Response::Value(None), _) => return Ok(0),
        (Response::Value(Some(Value::Block(block))), _) => return Ok(block.total()),
        (Response::Value(Some(Value::Node(node))), _) => node,
        (_, Some(error)) => return Err(error),
        (response, None) => panic!("map: expected a value, got {response:?}"),
    };
    let mut below = 0;
    for (side, promised) in (0..).zip(node.counts.iter()) {
        let held = count(map, tree, tree.child(at, side), counts)?;
        counts.push((promised, held));
        below += held;
    }
    Ok(below)
}

/// Judges.
pub(crate) fn judge(mut books: Books, evidence: &Evidence) -> Verdict {
    let held: BTreeSet<(Id, &Tag)> = books.held().collect();
    let listed: BTreeSet<(Id, &Tag)> = evidence.listed.iter().map(|(id, tag)| (*id, tag)).collect();
    let leaked = listed.difference(&held).count() as u64;
    let lost = held.difference(&listed).count() as u64;
    let wrong = evidence.counts.iter().filter(|(count, held)| count != held).count() as u64;
    let counts_wrong = wrong.max(evidence.repaired);
    let held_at_end = held.len() as u64;

    let mut words = differences(&held, &listed);
    let by_specs = [
        by_the_predicates(&held, &listed),
        counts_exact(evidence.counts.iter().copied()).map_err(|objection| objection.to_string()),
    ];
    words.extend(by_specs.into_iter().filter_map(Result::err));
    if evidence.repaired > 0 {
        words.push(format!("POOL-4: a second repair found {} wrong counts", evidence.repaired));
    }
    for objection in words {
        books.object(objection);
    }
    Verdict {
        double_held: books.double_held,
        taken: books.taken,
        false_full: books.false_full,
        leaked,
        lost,
        counts_wrong,
        held_at_end,
        peak_held: books.peak,
        objections: books.objections,
    }
}

/// What the predicates say, in their own plain integers: ids renumbered into ranks, since a pool may
/// have 2^48 of them, and tags into numbers.
fn by_the_predicates(
    held: &BTreeSet<(Id, &Tag)>,
    listed: &BTreeSet<(Id, &Tag)>,
) -> Result<(), String> {
    let rank = |number: usize| u64::try_from(number).expect("an index");
    let ids: BTreeSet<Id> = held.union(listed).map(|&(id, _)| id).collect();
    let ids: BTreeMap<Id, usize> = ids.into_iter().enumerate().map(|(n, id)| (id, n)).collect();
    let tags: BTreeSet<&Tag> = held.union(listed).map(|&(_, tag)| tag).collect();
    let tags: BTreeMap<&Tag, u64> =
        tags.into_iter().enumerate().map(|(n, tag)| (tag, rank(n))).collect();
    let mut slots = vec![None; ids.len()];
    for (id, tag) in listed {
        slots[ids[id]] = Some(tags[tag]);
    }
    let live: BTreeSet<u64> = held.iter().map(|(_, tag)| tags[tag]).collect();
    let holdings = held.iter().map(|(id, tag)| (rank(ids[id]), tags[tag]));
    holders_keep_their_ids(&slots, holdings)
        .and_then(|()| nothing_leaked(&slots, |tag| live.contains(&tag)))
        .map_err(|objection| {
            format!(
                "{objection} (ids and tags by rank, of {} ids and {} tags)",
                ids.len(),
                tags.len()
            )
        })
}

/// Each pair that is on one side only, in words.
fn differences(held: &BTreeSet<(Id, &Tag)>, listed: &BTreeSet<(Id, &Tag)>) -> Vec<String> {
    let leaked = listed.difference(held);
    let leaked = leaked.map(|(id, tag)| format!("POOL-7: {id} leaked: {tag} does not hold it"));
    let lost = held.difference(listed);
    let lost = lost.map(|(id, tag)| format!("POOL-1: {id} is lost: {tag} holds it"));
    leaked.chain(lost).collect()
}
