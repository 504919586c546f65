//! Registers in the simulator: seeds that pass, the same twice, seeds that once failed.
//!
//! * SIM-1: a seed has one trace;
//! * the first seeds see what they are there for: choices, changes of view, tombstones that go,
//!   crashes; and no history is left undecided;
//! * what once failed passes. A seed means what the plan makes of it: when that changes, these seeds
//!   are seeds like others, and the unit tests in `impl/register` still have what they found.

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
    let outcomes: Vec<Outcome> = (1..=300).map(passes).collect();
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

/// A promise that a learner never gave was taken for forgotten: the auditor's fault.
#[test]
fn what_a_learner_merges_is_no_promise() {
    for seed in [16, 19] {
        passes(seed);
    }
}

/// Members that were away when the view changed were never told once the others had retired.
#[test]
fn who_was_away_is_told() {
    for seed in [3, 4, 6, 13, 15, 20, 26, 29] {
        passes(seed);
    }
}

/// Nor when there was a view after that, though their snapshot was needed for it.
#[test]
fn who_is_late_may_be_needed_for_the_view_after() {
    for seed in [1913, 4178, 4296] {
        passes(seed);
    }
}

/// The only one to know that a view was decided lost its disk; those who had voted for it waited.
#[test]
fn a_vote_that_hears_no_more_is_taken_up() {
    passes(10_321);
}

/// Members that proposed in step refused each other for ever.
#[test]
fn proposals_wait_at_random() {
    for seed in [34, 39, 43, 45] {
        passes(seed);
    }
}

/// A member that missed a removal kept its tombstone from going; then members that all wrote it once
/// more kept each other from collecting it, and so did a pause shorter than the answers took.
#[test]
fn tombstones_go_although_a_member_missed_them() {
    for seed in [16, 44, 50, 1240, 3235, 14_186] {
        passes(seed);
    }
}

/// The register map held it for impossible that a bound operation is unavailable. It is possible: what
/// it had begun was buried, and it had begun nothing anew.
#[test]
fn a_bound_operation_may_be_buried_and_then_unavailable() {
    for seed in [2, 148, 232] {
        passes(seed);
    }
}

/// A host named its own operations by node and boot, both of which begin anew when the disk is lost.
#[test]
fn a_lost_disk_does_not_bring_back_ids_of_operations() {
    passes(2853);
}

/// The simulator took the disks of a majority of a first view before any of them knew that view: its own
/// fault, after which nothing could be demanded.
#[test]
fn a_first_view_counts_before_a_disk_knows_it() {
    for seed in [149_921_920_803_213, 149_921_920_815_737, 149_921_920_823_318, 240_842_618_250_918]
    {
        passes(seed);
    }
}

/// A member with nothing agreed to a collection: a version came twice (REG-7, REG-10).
#[test]
fn who_has_nothing_does_not_agree_to_a_collection() {
    for seed in [1_079_391, 1_082_787] {
        passes(seed);
    }
}

/// Chance kept the only member with a tombstone from removing its key once more.
#[test]
fn a_tombstone_that_one_member_has_goes() {
    passes(1_055_751);
}

/// Members that had voted for a view and then heard of it waited for being told that it was decided.
#[test]
fn a_hint_ends_no_proposal() {
    passes(1_029_528);
}

/// A client of the simulator made two attempts of one call at once.
#[test]
fn a_call_has_one_attempt_at_a_time() {
    passes(836);
}
