//! `cluster_seeds`: clusters of whole nodes in the simulator: seeds that pass, the same twice, seeds that once failed.
//!
//! * SIM-1: a seed has one trace;
//! * the first seeds see what they are there for: choices, changes of view, joins, drains, removals.

use sim::cluster::{plan, run};
use sim::registers::Outcome;

fn passes(seed: u64) -> Outcome {
    let outcome = run(seed, false);
    let command = format!("cargo run --release -- sim cluster --seeds {seed}");
    assert_eq!(outcome.fault, None, "seed {seed} ({}); {command}", plan(seed));
    outcome
}

#[test]
fn a_seed_has_one_trace() {
    for seed in [3, 4, 14] {
        let (once, again) = (run(seed, false), run(seed, true));
        assert_eq!((once.hash, once.messages), (again.hash, again.messages), "seed {seed}");
        assert!(once.log.is_empty() && again.log.len() > 100);
    }
    assert_ne!(run(3, false).hash, run(4, false).hash);
}

#[test]
fn the_first_seeds_pass_and_see_what_they_are_for() {
    let outcomes: Vec<Outcome> = (1..=60).map(passes).collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    assert!(sum(|it| it.calls) > 3_000, "{}", sum(|it| it.calls));
    assert!(sum(|it| it.choices) > 2_000, "{}", sum(|it| it.choices));
    assert!(sum(|it| it.retired) > 1_000, "{}", sum(|it| it.retired));
    assert!(sum(|it| it.faults) > 1_000, "{}", sum(|it| it.faults));
    assert!(sum(|it| it.records) > 2_000, "{}", sum(|it| it.records));
    assert_eq!(sum(|it| it.undecided), 0);
}

/// The operator of the simulator named a newcomer's disk, and named it again when that was lost already.
#[test]
fn a_newcomer_names_its_disk_itself() {
    for seed in [4, 14] {
        passes(seed);
    }
}

/// A drained node waited to learn in a view that was over.
#[test]
fn who_drains_need_not_learn_any_more() {
    passes(18);
}

/// A member that had just begun took founders that were long gone for there, and gave them a majority.
#[test]
fn who_has_just_begun_seats_nobody_unheard() {
    for seed in [514, 656, 671, 705] {
        passes(seed);
    }
}

/// A member with an old list of members undid every half second what the others did, and could not read
/// the new one for that.
#[test]
fn an_old_list_moves_nothing() {
    for seed in [1042, 1505] {
        passes(seed);
    }
}

/// Changes of the list that came to one member at once refused each other for minutes.
#[test]
fn writes_of_one_key_wait_for_each_other() {
    for seed in [5999, 7677] {
        passes(seed);
    }
}

/// A node without a seat, that had lost its disk, did not say so to one that had begun anew and asked it: that one seated
/// the old disk.
#[test]
fn a_new_disk_is_told_to_whoever_asks() {
    passes(9668);
}

/// That a node had lost its disk was forgotten while only late messages of it came, and before the list had it.
#[test]
fn a_new_disk_is_remembered_until_the_list_has_it() {
    passes(2229);
}
