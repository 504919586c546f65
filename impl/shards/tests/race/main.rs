//! Races, explored. The same scenarios run with real threads, under loom and under shuttle.
//!
//! * built as usual: each scenario a number of rounds with real threads; and then this test is
//!   built for loom and for shuttle in target folders of their own, and run there;
//! * under loom: exhaustive within the stated bound on preemptions, in three modes of accesses (see
//!   `sync::Mode`), with pinned numbers of executions (`searches.txt`);
//! * under shuttle: depth-first where that ends, random and PCT schedules, every history judged
//!   linearizable; and with one thread stopped at each of its steps in turn;
//! * loom must have seen every outcome that shuttle saw;
//! * every ordering is weakened in turn, and a search must fail (`orderings.txt`).
//!
//! Each scenario publishes plain data through the map: who sees a value, or its absence, reads what
//! its writer wrote before. loom reports a missing edge as a data race. Freed memory has a canary.
//!
//! `CLOAKROOM_SET` says how much: `quick` (if it is not set), `whole` or `deep`. The whole set takes five minutes and a
//! half of one processor, of which two minutes loom's, and both checkers run at once. `CLOAKROOM_SCENARIO` names a scenario.

// The harness is not what is checked: its own locks must be no points of a schedule.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod deeds;
mod explore;
mod orderings;
mod outer;
mod scenario;
mod scenarios;
mod searches;
mod via;

use cloakroom_shards::sync::{CHECKER, Checker, Mode, Plan};

use explore::variable;
use scenario::Reclaimer;
use scenarios::SCENARIOS;

/// Whether this is an ordinary build.
fn outer() -> bool {
    CHECKER == Checker::None
}

fn pins() -> bool {
    variable("CLOAKROOM_PIN").is_some()
}

#[test]
fn the_task_of_a_checked_build() {
    if !outer() {
        explore::task();
    }
}

#[test]
fn with_real_threads() {
    if outer() {
        for scenario in SCENARIOS.iter() {
            for reclaimer in [Reclaimer::Still, Reclaimer::Epoch, Reclaimer::Crossbeam] {
                let plan = Plan { most: Some(100), ..explore::plan(Mode::Plain) };
                drop(explore::exploration(scenario, reclaimer, &plan));
            }
        }
    }
}

#[test]
fn under_loom() {
    if outer() && !pins() {
        outer::searched("loom");
        outer::task("loom", "broken");
    }
}

#[test]
fn under_shuttle() {
    if outer() && !pins() {
        outer::searched("shuttle");
        outer::task("shuttle", "broken");
    }
}

#[test]
fn loom_sees_every_outcome_that_shuttle_sees() {
    if outer() && !pins() {
        let missed = outer::missed_by_loom();
        assert!(missed.is_empty(), "missed by loom:\n{}", missed.join("\n"));
    }
}

#[test]
fn a_thread_that_stops_for_ever_stops_nobody() {
    if outer() && !pins() {
        outer::task("shuttle", "stop");
    }
}

#[test]
fn every_ordering_earns_its_place() {
    if outer() && !pins() {
        let wrong = outer::unearned();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn every_ordering_is_met_by_a_scenario() {
    if outer() && !pins() {
        let differ = outer::sites_that_differ();
        assert!(differ.is_empty(), "in the text or met, not both:\n{}", differ.join("\n"));
    }
}

#[test]
fn pin_searches() {
    if outer() && pins() {
        outer::task("shuttle", "pin");
        outer::task("loom", "pin");
    }
}

#[test]
fn pin_orderings() {
    if outer() && pins() {
        outer::pin_orderings();
    }
}
