//! Races, explored. The same scenarios run with real threads, under loom and under shuttle.
//!
//! * built as usual: each scenario a number of rounds with real threads, and then
//!   `under_the_checkers`: builds this test for loom and for shuttle in target folders of their
//!   own, and runs it there;
//! * under loom: exhaustive within the stated bound on preemptions, in both modes of loads (see
//!   `sync::Plan`), with pinned numbers of executions;
//! * under shuttle: random and PCT schedules, every history judged linearizable.
//!
//! Each scenario publishes plain data through the map: who sees a value, or its absence, reads what
//! its writer wrote before. loom reports a missing edge as a data race. Freed memory has a canary.

mod scenario;
mod scenarios;

use std::time::Instant;

use cloakroom_shards::sync::{CHECKER, Checker, Plan, explore};

use scenario::Scenario;
use scenarios::SCENARIOS;

fn plan() -> Plan {
    Plan { preemptions: None, rmw: false, spurious: 0, schedules: 0, pct_depth: 0 }
}

/// Explores a scenario in every way of this build; answers where a pinned number differs.
fn explore_all(scenario: &'static Scenario) -> Vec<String> {
    match CHECKER {
        Checker::None => {
            explore(&Plan { schedules: 300, ..plan() }, || scenario.run());
            Vec::new()
        }
        Checker::Shuttle => {
            sample(scenario);
            Vec::new()
        }
        Checker::Loom => exhaust(scenario),
    }
}

fn sample(scenario: &'static Scenario) {
    for (kind, pct_depth, spurious) in [("random", 0, 0), ("random", 0, 3), ("pct", 3, 0)] {
        let schedules = schedules();
        let ran = explore(&Plan { schedules, pct_depth, spurious, ..plan() }, || scenario.run());
        assert_eq!(ran, schedules, "{}: an exploration that ended early", scenario.name);
        eprintln!("{}: {kind}, spurious {spurious}: {ran} schedules", scenario.name);
    }
}

fn exhaust(scenario: &'static Scenario) -> Vec<String> {
    let name = scenario.name;
    let mut wrong = Vec::new();
    for (kind, rmw, search) in [("plain", false, scenario.plain), ("rmw", true, scenario.rmw)] {
        let plan = Plan { preemptions: search.preemptions, rmw, ..plan() };
        let begun = Instant::now();
        let got = explore(&plan, || scenario.run());
        let bound = search.preemptions.map_or("none".into(), |most| most.to_string());
        let took = begun.elapsed().as_millis();
        eprintln!("{name}: {kind}, preemption bound {bound}: {got} executions, {took} ms");
        if got != search.executions {
            let expected = search.executions;
            wrong.push(format!("{name}: {kind}: expected {expected} executions, got {got}"));
        }
    }
    wrong
}

/// More of them in a deep run.
fn schedules() -> usize {
    let asked = std::env::var("CLOAKROOM_SCHEDULES");
    asked.map_or(3_000, |number| number.parse().expect("CLOAKROOM_SCHEDULES: a number"))
}

#[test]
fn every_scenario_holds() {
    let only = std::env::var("CLOAKROOM_SCENARIO").unwrap_or_default();
    let (mut ran, mut wrong) = (0, Vec::new());
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.name.contains(&*only)) {
        eprintln!("-- {}", scenario.name);
        wrong.extend(explore_all(scenario));
        ran += 1;
    }
    assert!(wrong.is_empty(), "the search has changed:\n{}", wrong.join("\n"));
    assert!(ran > 0, "no scenario is named {only}");
}

/// Builds and runs this test under a checker.
fn under(checker: &str) {
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(checker);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command
        .args(["test", "-p", "cloakroom-shards", "--test", "race", "--"])
        .args(["--nocapture", "--test-threads=1", "every_scenario_holds", "a_broken_reclaimer"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // It is built anew with each change, and not debugged.
        .env("CARGO_PROFILE_TEST_DEBUG", "0")
        .env("RUSTFLAGS", format!("--cfg cloakroom_{checker}"))
        .env("CARGO_TARGET_DIR", target);
    let output = command.output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    eprintln!("{said}");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "under {checker}:\n{told}\n{said}");
    // An empty filter would pass too.
    assert!(told.contains("test result: ok. 2 passed"), "under {checker}:\n{told}");
}

#[test]
fn under_loom() {
    if CHECKER == Checker::None {
        under("loom");
    }
}

#[test]
fn under_shuttle() {
    if CHECKER == Checker::None {
        under("shuttle");
    }
}

/// The check of the check: reclaimers that free too early are noticed, by the same scenarios.
#[test]
fn a_broken_reclaimer_is_noticed() {
    if CHECKER == Checker::None {
        // With real threads it would be undefined behaviour.
        return;
    }
    let noticed = |preemptions, reclaimer: fn(&'static Scenario)| {
        SCENARIOS.iter().filter(|scenario| scenario.frees).any(|scenario| {
            let plan = Plan { preemptions: Some(preemptions), schedules: 1_000, ..plan() };
            std::panic::catch_unwind(move || explore(&plan, move || reclaimer(scenario))).is_err()
        })
    };
    assert!(noticed(2, Scenario::run_hasty), "no grace period, and nobody notices");
    assert!(!noticed(1, Scenario::run_leaking), "nothing is freed, and somebody complains");
}
