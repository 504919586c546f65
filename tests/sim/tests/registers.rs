//! Registers in the simulator: seeds that pass, the same twice, seeds that once failed.
//!
//! * SIM-1: a seed has one trace;
//! * the first seeds see what they are there for: choices, changes of view, tombstones that go,
//!   crashes; and no history is left undecided;
//! * what once failed passes. What failed while this drove registers alone, without the rest of a node, stands in the
//!   unit tests of `impl/register`: a seed means something else now.

use sim::registers::{Outcome, Plan, run};

fn passes(seed: u64) -> Outcome {
    let outcome = run(seed, false);
    let command = format!("cargo run --release -- sim registers --seeds {seed}");
    assert_eq!(outcome.fault, None, "seed {seed} ({}); {command}", Plan::of(seed));
    outcome
}

#[test]
fn a_seed_has_one_trace() {
    for seed in [3, 16, 148] {
        let (once, again) = (run(seed, false), run(seed, true));
        assert_eq!((once.hash, once.messages), (again.hash, again.messages), "seed {seed}");
        assert!(once.log.is_empty() && again.log.len() > 100);
    }
    assert_ne!(run(3, false).hash, run(4, false).hash);
}

#[test]
fn the_first_seeds_pass_and_see_what_they_are_for() {
    let outcomes: Vec<Outcome> = (1..=150).map(passes).collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    assert!(sum(|it| it.choices) > 5_000, "{}", sum(|it| it.choices));
    assert!(sum(|it| it.retired) > 1_000, "{}", sum(|it| it.retired));
    assert!(sum(|it| it.drops) > 500, "{}", sum(|it| it.drops));
    assert!(sum(|it| it.faults) > 3_000, "{}", sum(|it| it.faults));
    assert_eq!(sum(|it| it.undecided), 0);
}

#[test]
fn plans_are_small_and_large() {
    let plans: Vec<Plan> = (1..=2_000).map(Plan::of).collect();
    let some = |test: fn(&Plan) -> bool| plans.iter().any(test);
    assert!(some(|it| it.nodes == 5) && some(|it| it.nodes > 150));
    assert!(some(|it| it.members == 3) && some(|it| it.members == 5));
    assert!(some(|it| it.slots == 1) && some(|it| it.slots == 64));
    assert!(some(|it| it.pool_clients > 0) && some(|it| it.waits.collect_ms > 0));
}

/// A member that had lost its disk got no seat again: with none it told nobody of its new disk, and those who had
/// heard of the old one took it for gone.
#[test]
fn a_new_disk_gets_seats_in_a_large_cluster() {
    passes(109);
}

/// A node that had drained went while it looked for a record, which the simulator still demanded of it: its own fault.
#[test]
fn who_has_drained_need_not_find_records_any_more() {
    passes(2856);
}

/// Nodes handed writes to starts of others that were long over, and could then not say whether those had begun them.
#[test]
fn writes_are_not_handed_to_starts_that_are_over() {
    passes(15_027_310_860_083);
}
