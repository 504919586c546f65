//! The judges: what clients were told, and what the pools held at the end.
//!
//! | judge | of what | finds |
//! |---|---|---|
//! | linearizability of a register | every key | lost and doubled writes, stale reads |
//! | one value to a version | every key | a version that was given twice |
//! | linearizability of a pool | small pools, whole | also a false `full` |
//! | held once | all pools | an id that two callers hold at one moment |
//! | the oracle's predicates | the large pool at the end | POOL-1, POOL-4, POOL-7: taken, miscounted, leaked |
//!
//! Invariants: what a judge cannot decide within its limit is counted, and is no pass.
//!
//! What it does not do: talk to nodes. A run that was saved is judged again by the same code.

use std::collections::BTreeMap;

use cloakroom_lincheck::format::{Format, Trace};
use cloakroom_lincheck::pool::{self, Pool, begin_free, end_free};
use cloakroom_lincheck::report::{Word, report};
use cloakroom_lincheck::{History, Limit, Verdict, judge, timeline};
use cloakroom_specs::pool::{counts_exact, holders_keep_their_ids, nothing_leaked};

use crate::book::{Pages, PoolAnswer, PoolCall, PoolEnd, PoolEntry, Seen};

/// Of one search.
const LIMIT: Limit = Limit { configurations: 4_000_000 };

/// What the judges say.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// What is wrong, in words. Nothing: nothing was found.
    pub(crate) wrong: Vec<String>,
    /// Histories that were decided.
    pub(crate) decided: usize,
    /// And those that were not.
    pub(crate) undecided: usize,
    /// Of a key that fails, a page that shows it.
    pub(crate) picture: Option<String>,
}

/// Judges a run.
pub(crate) fn verdict(pages: &Pages) -> Judged {
    let mut judged = Judged { wrong: pages.faults.clone(), ..Judged::default() };
    keys(&pages.keys, &mut judged);
    judged.wrong.extend(versions(&pages.seen));
    let mut pools: BTreeMap<&str, Vec<&PoolEntry>> = BTreeMap::new();
    for entry in &pages.pools {
        pools.entry(&entry.pool).or_default().push(entry);
    }
    for (name, entries) in &pools {
        judged.wrong.extend(held_once(name, entries));
        let Some(&size) = pages.sizes.get(*name) else { continue };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        match judge(&Pool { size }, &of_pool(entries), LIMIT).verdict {
            Verdict::Linearizable(_) => judged.decided += 1,
            Verdict::Undecided => judged.undecided += 1,
            Verdict::Violated(violation) => {
                let events = violation.prefix;
                judged
                    .wrong
                    .push(format!("POOL-3: {name}: the first {events} events are no pool's"));
            }
        }
    }
    judged.wrong.extend(pages.ends.iter().flat_map(at_the_end));
    judged
}

fn keys(lines: &[String], judged: &mut Judged) {
    if lines.is_empty() {
        return;
    }
    let trace = match Trace::parse(&lines.join("\n"), Some(Format::Jsonl)) {
        Ok(trace) => trace,
        Err(cause) => return judged.wrong.push(format!("keys.jsonl:{cause}")),
    };
    let report = report(&trace, LIMIT, &mut |_, _, _| {});
    match report.verdict {
        Word::Linearizable => judged.decided += report.keys,
        // One or more.
        Word::Undecided => judged.undecided += 1,
        Word::Not => {}
    }
    if let Some(fault) = report.violation {
        judged.wrong.push(format!("key {}: not linearizable: {}", fault.key, fault.explain(6)));
        judged.picture = Some(timeline::page(&trace, &fault, "keys.jsonl"));
    }
}

/// REG-7: a version of a key has one value, whoever saw it.
fn versions(seen: &[Seen]) -> Vec<String> {
    let mut known: BTreeMap<(&str, u64), &Option<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for Seen { key, version, value } in seen {
        let first = *known.entry((key, *version)).or_insert(value);
        if first != value {
            wrong.push(format!("REG-7: {key}: version {version} was {first:?} and {value:?}"));
        }
    }
    wrong
}

/// POOL-1: from the return of an allocate to the call of the free nobody else is given the id.
fn held_once(name: &str, entries: &[&PoolEntry]) -> Vec<String> {
    let mut begins: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for entry in entries {
        if let PoolCall::Free { id, tag } = entry.call {
            let begin = begins.entry((id, tag)).or_insert(entry.begin);
            *begin = entry.begin.min(*begin);
        }
    }
    // By id: from, until, tag.
    let mut held: BTreeMap<u64, Vec<(u64, u64, u64)>> = BTreeMap::new();
    for entry in entries {
        if let (PoolCall::Allocate { tag }, Some((PoolAnswer::Id(id), end))) =
            (entry.call, entry.outcome)
        {
            let until = begins.get(&(id, tag)).copied().unwrap_or(u64::MAX);
            held.entry(id).or_default().push((end, until, tag));
        }
    }
    let mut wrong = Vec::new();
    for (id, mut spans) in held {
        spans.sort_unstable();
        for pair in spans.windows(2) {
            let ((_, until, first), (from, _, second)) = (pair[0], pair[1]);
            if from < until {
                wrong.push(format!(
                    "POOL-1: {name}: id {id} was given to tag {second} after {from} us, while tag {first} held it"
                ));
            }
        }
    }
    wrong
}

/// As the judge of pools has it.
fn of_pool(entries: &[&PoolEntry]) -> History<pool::Call, pool::Answer> {
    // At one time, calls first: they overlap.
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        events.push((entry.begin, false, at));
        events.extend(entry.outcome.map(|(_, end)| (end, true, at)));
    }
    events.sort_unstable();
    let number = |id: u64| usize::try_from(id).unwrap_or(usize::MAX);
    let mut history = History::default();
    let mut operations: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, returns, at) in events {
        let entry = entries[at];
        match (entry.call, entry.outcome.filter(|_| returns)) {
            (PoolCall::Allocate { tag }, None) => {
                operations.insert(at, history.invoke(entry.process, pool::Call::Allocate { tag }));
            }
            (PoolCall::Free { id, tag }, None) => {
                operations.insert(at, begin_free(&mut history, entry.process, number(id), tag));
            }
            (PoolCall::Allocate { .. }, Some((answer, _))) => {
                let answer = match answer {
                    PoolAnswer::Id(id) => pool::Answer::Id(number(id)),
                    _ => pool::Answer::Full,
                };
                history.answer(operations[&at], answer);
            }
            (PoolCall::Free { .. }, Some((answer, _))) => {
                let answer = match answer {
                    PoolAnswer::Freed => pool::Answer::Freed,
                    // An attempt whose answer was lost may have freed it.
                    _ => pool::Answer::FreedOrAlreadyFree,
                };
                end_free(&mut history, operations[&at], answer);
            }
        }
    }
    history
}

/// When nothing is under way, frees were retried, and a recovery has run.
fn at_the_end(end: &PoolEnd) -> Vec<String> {
    let held = end.slots.iter().flatten().count() as u64;
    let is_live = |tag| end.holdings.iter().any(|&(_, live)| live == tag);
    let judged = [
        holders_keep_their_ids(&end.slots, end.holdings.iter().copied()),
        counts_exact([(end.usage, held)]),
        nothing_leaked(&end.slots, is_live),
    ];
    let mut wrong: Vec<String> = judged
        .into_iter()
        .filter_map(Result::err)
        .map(|objection| format!("{}: {objection}", end.pool))
        .collect();
    if end.taken != end.size - held {
        let (taken, free) = (end.taken, end.size - held);
        wrong
            .push(format!("POOL-6: {}: {free} ids are free, and {taken} could be taken", end.pool));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Book;

    fn entry(call: PoolCall, begin: u64, outcome: Option<(PoolAnswer, u64)>) -> PoolEntry {
        PoolEntry { pool: "p".into(), process: 0, call, begin, outcome }
    }

    fn allocated(tag: u64, id: u64, begin: u64) -> PoolEntry {
        entry(PoolCall::Allocate { tag }, begin, Some((PoolAnswer::Id(id), begin + 1)))
    }

    fn wrong(pages: &Pages) -> String {
        verdict(pages).wrong.join("\n")
    }

    #[test]
    fn an_id_that_two_hold_is_found_and_one_that_was_freed_between_is_not() {
        let free = |answer| entry(PoolCall::Free { id: 3, tag: 1 }, 10, answer);
        let pools = vec![allocated(1, 3, 0), allocated(2, 3, 20)];
        let mut pages = Pages { pools, ..Pages::default() };
        assert!(wrong(&pages).contains("POOL-1: p: id 3 was given to tag 2"));
        pages.pools.push(free(None));
        assert_eq!(wrong(&pages), "");
        pages.sizes.insert("p".into(), 4);
        assert_eq!(wrong(&pages), "");
        pages.pools[2] = free(Some((PoolAnswer::Freed, 30)));
        assert_eq!(wrong(&pages), "");
        pages.pools.push(entry(PoolCall::Allocate { tag: 5 }, 40, Some((PoolAnswer::Full, 41))));
        assert!(wrong(&pages).contains("POOL-3"), "three are free");
    }

    #[test]
    fn a_pool_that_leaks_loses_or_miscounts_at_the_end_is_found() {
        let good = PoolEnd {
            pool: "p".into(),
            size: 3,
            slots: vec![Some(7), None, None],
            holdings: vec![(0, 7)],
            usage: 1,
            taken: 2,
        };
        let of = |end: PoolEnd| at_the_end(&end).join("\n");
        assert_eq!(of(good.clone()), "");
        assert!(of(PoolEnd { holdings: vec![], ..good.clone() }).contains("POOL-7"));
        assert!(of(PoolEnd { holdings: vec![(0, 7), (1, 8)], ..good.clone() }).contains("POOL-1"));
        assert!(of(PoolEnd { usage: 2, ..good.clone() }).contains("POOL-4"));
        assert!(of(PoolEnd { taken: 1, ..good }).contains("POOL-6"));
    }

    #[test]
    fn a_write_that_was_acknowledged_and_is_gone_is_found_after_a_folder_was_read_too() {
        let book = Book::new();
        let begin = book.now();
        book.set((0, "k", begin), (None, Some("a")), Some(true));
        book.seen("k", 1, Some("a"));
        assert_eq!(wrong(&book.pages()), "");
        let written = book.now();
        while book.now() <= written {
            std::hint::spin_loop();
        }
        book.read(1, "k", book.now(), None);
        book.seen("k", 1, Some("b"));
        let folder = tempfile::tempdir().unwrap();
        book.pages().save(folder.path()).unwrap();
        let found = verdict(&Pages::load(folder.path()).unwrap());
        assert!(found.picture.is_some());
        assert!(found.wrong[0].starts_with("key k: not linearizable"), "{found:?}");
        assert!(found.wrong[1].contains("REG-7: k: version 1 was"), "{found:?}");
    }
}
