//! What runs in a checked build: searches, samples, stopped threads, weakened orderings.
//!
//! * under loom: every search of `searches.txt` that the set asks for, with exactly the pinned
//!   number of executions;
//! * under shuttle: depth-first searches likewise, then random and PCT schedules; and one thread
//!   stopped for ever at each of its steps in turn, while the others come to their end;
//! * the outcomes of each scenario are left in a file, for the comparison of both checkers.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use cloakroom_shards::sync::{CHECKER, Checker, Mode, Plan, Schedules, Unseen, explore};
use cloakroom_specs::map::Order;

use crate::orderings;
use crate::scenario::{Reclaimer, Run, Scenario, Seen};
use crate::scenarios::SCENARIOS;
use crate::searches::{self, MOST, Row, Search, Set};

/// Outcomes by scenario.
pub(crate) type Outcomes = BTreeMap<String, BTreeSet<String>>;

/// What the outer test, or a person, asks for.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn set() -> Set {
    match variable("CLOAKROOM_SET").as_deref() {
        None | Some("quick") => Set::Quick,
        Some("whole") => Set::Whole,
        Some("deep") => Set::Deep,
        Some(other) => panic!("CLOAKROOM_SET: expected quick, whole or deep, got {other}"),
    }
}

pub(crate) fn scenario(name: &str) -> &'static Scenario {
    let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
    found.unwrap_or_else(|| panic!("no scenario is named {name}"))
}

/// One exploration: the executions, whether those were all, and what was seen.
pub(crate) fn exploration(
    scenario: &'static Scenario,
    by: Reclaimer,
    plan: &Plan,
) -> (usize, bool, Seen) {
    // Under weak memory, time is no order that threads could know of; when every load is an
    // exchange it sees the newest value.
    let order = match (CHECKER, plan.mode) {
        (Checker::Loom, Mode::Plain | Mode::Failing) => Order::Program,
        _ => Order::RealTime,
    };
    let seen = Arc::new(Unseen::default());
    let run = Run { order, stopped: plan.stop.map(|(thread, _)| thread), seen: Arc::clone(&seen) };
    let explored = explore(plan, move || scenario.run(by, &run));
    (explored.executions, explored.whole, seen.with(std::mem::take))
}

/// Runs a search of the table. Answers the number of executions and what was seen.
pub(crate) fn search(row: &Row, plan: &Plan) -> (usize, Seen) {
    let begun = Instant::now();
    let (executions, _, seen) = exploration(scenario(&row.scenario), row.reclaimer, plan);
    eprintln!("{}: {executions} executions, {} ms", row.name(), begun.elapsed().as_millis());
    (executions, seen)
}

/// For each scenario, reclaimer and search the largest of the set.
fn chosen(set: Set) -> Vec<Row> {
    let rows = searches::all();
    let same = |a: &Row, b: &Row| {
        (&a.scenario, a.reclaimer, a.search) == (&b.scenario, b.reclaimer, b.search)
    };
    let named = variable("CLOAKROOM_SCENARIO").unwrap_or_default();
    let in_set = |row: &&Row| {
        let larger = |other: &&Row| same(row, other) && other.set > row.set && other.set <= set;
        row.set <= set && !rows.iter().any(|other| larger(&other))
    };
    let ours = |row: &&Row| searches::ours(row.search) && row.scenario.contains(&named);
    rows.iter().filter(ours).filter(in_set).cloned().collect()
}

/// Runs the searches of the set.
pub(crate) fn run_searches() -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut wrong = String::new();
    let rows = chosen(set());
    for row in &rows {
        let (executions, seen) = search(row, &row.plan());
        if executions != row.executions {
            writeln!(wrong, "{row}: got {executions}").expect("a String takes all");
        }
        outcomes.entry(row.scenario.clone()).or_default().extend(seen.outcomes);
    }
    assert!(!rows.is_empty(), "nothing to search");
    assert!(wrong.is_empty(), "the searches have changed:\n{wrong}");
    outcomes
}

/// shuttle: random and PCT schedules of every scenario.
pub(crate) fn sample(outcomes: &mut Outcomes) {
    let most = match set() {
        Set::Quick => 600,
        Set::Whole => 10_000,
        Set::Deep => 100_000,
    };
    let named = variable("CLOAKROOM_SCENARIO").unwrap_or_default();
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.name.contains(&named)) {
        let begun = Instant::now();
        let all = outcomes.entry(scenario.name.clone()).or_default();
        for mode in [Mode::Plain, Mode::Failing] {
            for schedules in [Schedules::Random, Schedules::Pct { depth: 3 }] {
                let plan = Plan { schedules, most: Some(most), ..plan(mode) };
                let (ran, _, seen) = exploration(scenario, Reclaimer::Epoch, &plan);
                assert_eq!(ran, most, "{}: an exploration that ended early", scenario.name);
                all.extend(seen.outcomes);
            }
        }
        let took = begun.elapsed().as_millis();
        eprintln!("{}: 4 times {most} schedules, {took} ms", scenario.name);
    }
}

/// A plan for which something else is changed.
pub(crate) fn plan(mode: Mode) -> Plan {
    Plan {
        mode,
        preemptions: None,
        schedules: Schedules::DepthFirst,
        most: None,
        stop: None,
        weaker: None,
    }
}

/// shuttle: stops each thread of each scenario before each of its accesses in turn; the others
/// must come to their end without it. Answers how often a thread was stopped.
pub(crate) fn stop_at_every_step() -> usize {
    let most = match set() {
        Set::Quick => 20,
        Set::Whole => 200,
        Set::Deep => 2_000,
    };
    let mut stops = 0;
    // A thread is stopped by its index, which is its own unless all begin at one seat.
    for scenario in SCENARIOS.iter().filter(|scenario| !scenario.one_seat) {
        let (mut stopped_at, begun) = (0, Instant::now());
        for thread in 1..=scenario.callers() {
            // Some steps are rare: an exchange that is tried again.
            let mut none = 0;
            for step in 1.. {
                let even = step % 2 == 0;
                let schedules = if even { Schedules::Random } else { Schedules::Pct { depth: 3 } };
                let stop = Some((thread, step));
                let plan = Plan { schedules, most: Some(most), stop, ..plan(Mode::Plain) };
                let (_, _, seen) = exploration(scenario, Reclaimer::Epoch, &plan);
                stops += seen.stops;
                stopped_at += usize::from(seen.stops > 0);
                none = if seen.stops > 0 { 0 } else { none + 1 };
                if none == 4 {
                    break;
                }
            }
        }
        let took = begun.elapsed().as_millis();
        eprintln!("{}: stopped at {stopped_at} steps, {took} ms", scenario.name);
        assert!(stopped_at > 0, "{}: nobody was stopped", scenario.name);
    }
    stops
}

/// What is searched with crossbeam-epoch too: its own steps are many, so the bounds are low. shuttle
/// does not see them at all.
const WITH_CROSSBEAM: [&str; 4] =
    ["retire pin", "retire pin, by handles", "alone: read, unlink", "registered: read, unlink"];

/// Tries all searches of this checker that have a bound once without: those that end within
/// [`searches::most_without_bound`], which is about a minute, have none from now on.
fn pin_without_bound() {
    let named = variable("CLOAKROOM_SCENARIO").unwrap_or_default();
    let wanted = variable("CLOAKROOM_SEARCH").unwrap_or_default();
    let mut rows: Vec<Row> =
        searches::all().into_iter().filter(|row| searches::ours(row.search)).collect();
    let mut tried = BTreeSet::new();
    for row in rows.clone() {
        let same = |other: &Row| {
            (&other.scenario, other.reclaimer, other.search)
                == (&row.scenario, row.reclaimer, row.search)
        };
        let has_none = rows.iter().any(|it| same(it) && it.preemptions.is_none());
        let asked = row.scenario.contains(&named) && row.name().contains(&wanted);
        if has_none || !asked || !tried.insert((row.scenario.clone(), row.reclaimer, row.search)) {
            continue;
        }
        let most = searches::most_without_bound(row.search);
        if let Some(found) = tried_with(scenario(&row.scenario), &row, None, most) {
            rows.retain(|it| !(same(it) && it.set == Set::Deep));
            rows.push(Row { set: Set::Deep, ..found });
            searches::pin(rows.clone());
        }
    }
}

/// Runs a search with a bound; `None` when it takes more than `most` executions.
fn tried_with(
    scenario: &'static Scenario,
    row: &Row,
    preemptions: Option<usize>,
    most: usize,
) -> Option<Row> {
    let row = Row { preemptions, ..row.clone() };
    let plan = Plan { most: Some(most + 1), ..row.plan() };
    let begun = Instant::now();
    let (executions, whole, _) = exploration(scenario, row.reclaimer, &plan);
    let took = begun.elapsed().as_millis();
    eprintln!("{}: {executions} executions, {took} ms, whole: {whole}", row.name());
    whole.then_some(Row { executions, ..row })
}

/// Finds the bounds and numbers of all searches of this checker, and writes the table.
pub(crate) fn pin() {
    if set() == Set::Deep {
        return pin_without_bound();
    }
    let deepest = variable("CLOAKROOM_MOST").map_or(usize::MAX, |most| most.parse().unwrap());
    let named = variable("CLOAKROOM_SCENARIO").unwrap_or_default();
    let (mut rows, others): (Vec<Row>, Vec<Row>) = (Vec::new(), searches::all());
    for scenario in SCENARIOS.iter() {
        if !scenario.name.contains(&named) {
            let kept = |row: &&Row| row.scenario == scenario.name && searches::ours(row.search);
            rows.extend(others.iter().filter(kept).cloned());
            continue;
        }
        let alone = !scenario.deeds.is_empty();
        for reclaimer in [Reclaimer::Still, Reclaimer::Epoch, Reclaimer::Crossbeam] {
            if alone && reclaimer == Reclaimer::Still {
                continue;
            }
            let crossbeam = reclaimer == Reclaimer::Crossbeam;
            if crossbeam && !WITH_CROSSBEAM.contains(&&*scenario.name) {
                continue;
            }
            for search in [Search::Plain, Search::Rmw, Search::Failing, Search::Dfs] {
                // Depth-first without a guard's steps: with them it does not end. Exchanges that
                // fail are the map's, but for the one that appends seats.
                let appends = scenario.name.contains("seat");
                let apart = crossbeam && search == Search::Dfs
                    || !alone
                        && reclaimer != Reclaimer::Still
                        && (search == Search::Dfs || search == Search::Failing && !appends);
                if searches::ours(search) && !apart {
                    rows.extend(bounds(scenario, reclaimer, search, deepest));
                }
            }
        }
        searches::pin(rows.clone());
    }
    searches::pin(rows);
}

fn bounds(
    scenario: &'static Scenario,
    reclaimer: Reclaimer,
    search: Search,
    deepest: usize,
) -> Vec<Row> {
    let (name, preemptions, executions) = (scenario.name.clone(), None, 0);
    let row = Row { scenario: name, reclaimer, search, preemptions, executions, set: Set::Quick };
    let ran = |preemptions, most| tried_with(scenario, &row, preemptions, most);
    let (mut found, mut bound): (Vec<Row>, usize) = (Vec::new(), 0);
    for (set, most) in MOST {
        if set < Set::Deep && most > deepest {
            break;
        }
        let most = most.min(deepest);
        let deep = set == Set::Deep;
        let without = if deep { searches::most_without_bound(search) } else { most };
        if let Some(row) = ran(None, without.min(deepest)) {
            found.push(Row { set, ..row });
            break;
        }
        let mut largest = None;
        while bound < 40
            && let Some(row) = ran(Some(bound), most)
        {
            largest = Some(Row { set, ..row });
            bound += 1;
        }
        found.extend(largest);
    }
    found
}

/// What a checked build does, by `CLOAKROOM_TASK`.
pub(crate) fn task() {
    match (variable("CLOAKROOM_TASK").as_deref(), CHECKER) {
        (None | Some("search"), Checker::Loom) => leave(&run_searches()),
        (None | Some("search"), Checker::Shuttle) => {
            let mut outcomes = run_searches();
            sample(&mut outcomes);
            leave(&outcomes);
        }
        (Some("stop"), Checker::Shuttle) => {
            let stops = stop_at_every_step();
            eprintln!("stopped {stops} times");
        }
        (Some("pin"), _) => pin(),
        (Some("sites"), Checker::Loom) => orderings::leave_sites(),
        (Some("weaken"), Checker::Loom) => orderings::weaken(),
        (Some("broken"), _) => broken_reclaimers(),
        (other, checker) => panic!("CLOAKROOM_TASK: {other:?} under {checker:?}"),
    }
}

fn leave(outcomes: &Outcomes) {
    let Some(path) = variable("CLOAKROOM_OUTCOMES") else { return };
    let lines: String = outcomes
        .iter()
        .flat_map(|(name, all)| all.iter().map(move |outcome| format!("{name}\t{outcome}\n")))
        .collect();
    fs::write(path, lines).expect("the file of outcomes");
}

/// The check of the check: reclaimers that free too early are noticed, by the same scenarios.
fn broken_reclaimers() {
    let noticed = |preemptions: usize, reclaimer: Reclaimer| {
        let frees = |scenario: &&'static Scenario| scenario.heap || !scenario.deeds.is_empty();
        SCENARIOS.iter().filter(frees).any(|scenario| {
            let (preemptions, schedules) = (Some(preemptions), Schedules::Random);
            let plan = Plan { preemptions, schedules, most: Some(1_000), ..plan(Mode::Plain) };
            std::panic::catch_unwind(move || drop(exploration(scenario, reclaimer, &plan))).is_err()
        })
    };
    assert!(noticed(2, Reclaimer::Hasty), "no grace period, and nobody notices");
    assert!(!noticed(1, Reclaimer::Leaking), "nothing is freed, and somebody complains");
}
