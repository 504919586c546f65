//! The scenario with cuts, in small: what the cuts do must be seen, and must heal.

use std::path::Path;

use sim::run::{Outcome, simulate};
use sim::scenario::{Scenario, minutes};

/// Of the lookups and reads that ended between two minutes of the measured part, those that ended well.
fn good_share(outcome: &Outcome, from_min: f64, until_min: f64) -> f64 {
    let begin = outcome.measured.0;
    let (from, until) = (begin.plus_us(minutes(from_min).0), begin.plus_us(minutes(until_min).0));
    let within = || outcome.moments.iter().filter(|moment| from < moment.at && moment.at <= until);
    let (good, ended) =
        (within().map(|it| it.good).sum::<u64>(), within().map(|it| it.ended).sum::<u64>());
    assert!(ended > 200, "from minute {from_min} until {until_min}: {ended}");
    // Some thousands.
    #[allow(clippy::cast_precision_loss)]
    let share = good as f64 / ended as f64;
    share
}

#[test]
fn a_network_that_was_cut_in_parts_heals_when_the_cuts_end() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/partition.toml");
    let scenario = Scenario::read(Path::new(file)).unwrap();
    let small = Scenario { nodes: 300, lookups: 10_000, ..scenario }.checked().unwrap();
    let outcome = simulate(&small, &mut |_, _, _| {});
    let share = |from, until| good_share(&outcome, from, until);
    assert!(share(0.0, 15.0) > 0.995, "before: {}", share(0.0, 15.0));
    // Witnesses: both cuts hurt.
    assert!(share(16.0, 35.0) < 0.97, "cut one way: {}", share(16.0, 35.0));
    assert!(share(51.0, 60.0) < 0.95, "cut both ways: {}", share(51.0, 60.0));
    assert!(share(40.0, 50.0) > 0.98, "after the first: {}", share(40.0, 50.0));
    assert!(share(70.0, 90.0) > 0.999, "after the second: {}", share(70.0, 90.0));
    // Tables take longer than lookups: who was taken for dead must be met again. After half an hour a node knew
    // 96 % of its 20 closest; without the refresh of idle buckets it would know 97 % at the end.
    let (_, living, neighbours) = outcome.table;
    assert!(living > 0.999 && neighbours > 0.99, "{living} up, {neighbours} of the closest known");
}
