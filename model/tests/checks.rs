//! The quick checks, under `cargo test`; `cargo run --release -p cloakroom-model -- check` runs
//! these and the larger ones.

use cloakroom_model::bounds::CHECKS;
use cloakroom_model::checks::Tier;

/// Runs the quick checks whose names begin so.
fn run(named: &str) {
    let checks = CHECKS.iter().filter(|check| check.tier == Tier::Quick && check.is_named(named));
    let mut ran = 0;
    for check in checks {
        let outcome = check.run(|_| {});
        let steps = outcome.wrong.map(|wrong| wrong.trace.join("\n"));
        assert!(outcome.problem.is_none(), "{}: {:?}\n{steps:?}", check.name, outcome.problem);
        ran += 1;
    }
    assert!(ran > 0, "no quick check is named {named}");
}

#[test]
fn check_pool() {
    run("pool");
}

#[test]
fn check_desk() {
    run("desk");
}

#[test]
fn check_recovery() {
    run("recovery");
}

#[test]
fn check_register() {
    run("register");
}

#[test]
fn check_collection() {
    run("collection");
}

#[test]
fn check_views() {
    run("views");
}

#[test]
fn check_table() {
    run("table");
}

#[test]
fn check_lookup() {
    run("lookup");
}

#[test]
fn check_article() {
    run("article");
}

#[test]
fn names_are_unique_and_every_check_sees_what_it_is_about() {
    let mut names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    for check in CHECKS {
        if let cloakroom_model::checks::Expected::Holds { states, seen, .. } = check.expected {
            assert!(states > 0 && !seen.is_empty(), "{} pins nothing", check.name);
        }
    }
}
