//! Small networks against the ratios that the large ones must reach, and one seed against itself.
//!
//! The large ones are measured by hand (README, figures): they take minutes. What holds here holds at
//! 300 to 1,000 nodes.

use std::process::Command;

use serde_json::Value;

/// The figures of one run of the command.
fn figures(arguments: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(arguments.split_whitespace())
        .args(["--output", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(figures: &Value, key: &str) -> f64 {
    figures[key].as_f64().unwrap_or_else(|| panic!("{key} in {figures}"))
}

const CHURN: &str =
    "--nodes 1000 --lookups 3000 --records 300 --reads 2000 --churn 10%/h --minutes 10";

#[test]
fn under_churn_and_loss_nearly_every_lookup_and_read_succeeds_in_few_hops() {
    let run = figures(CHURN);
    assert!(number(&run, "success_rate") >= 0.999, "{run}");
    assert!(number(&run, "read_success_rate") >= 0.999, "{run}");
    assert!(number(&run, "hops_mean") <= 4.0, "{run}");
    assert!(number(&run, "read_latency_ms_p95") < 600.0, "{run}");
    assert!(number(&run, "load_max_over_mean") < 3.0, "{run}");
    assert!(number(&run, "table_live_share") > 0.9, "{run}");
    assert!(number(&run, "memory_per_node_bytes") < 65_536.0, "{run}");
    assert!(number(&run, "garbled").abs() < 0.5, "{run}");
    let counts = ["lookups", "reads"].map(|key| number(&run, key));
    let exact = (counts[0] - 3000.0).abs() < 0.5 && (counts[1] - 2000.0).abs() < 0.5;
    assert!(exact, "expected as many calls as were asked for, got {counts:?}");
    // Witnesses: there were churn, and loss that had to be made good.
    assert!(number(&run, "went") > 5.0 && number(&run, "unanswered_rate") > 0.0, "{run}");
}

#[test]
fn the_same_seed_gives_the_same_trace_and_figures_and_another_seed_others() {
    let run = "--nodes 300 --lookups 500 --records 50 --reads 300 --churn 100%/h --minutes 5 \
               --malicious 5%";
    let without_clock = |run: &str| {
        let mut figures = figures(run);
        let all = figures.as_object_mut().unwrap();
        all.remove("wall_seconds");
        all.remove("process_peak_bytes");
        figures
    };
    let first = without_clock(run);
    assert_eq!(first, without_clock(run));
    let other = without_clock(&format!("{run} --seed 2"));
    assert_ne!(first["trace_hash"], other["trace_hash"]);
}

#[test]
fn the_figures_are_one_flat_object_with_the_promised_keys() {
    let run = figures("--nodes 50 --lookups 50 --records 5 --reads 10 --minutes 1 --warm-up 1");
    let keys = [
        "success_rate",
        "hops_mean",
        "hops_p95",
        "messages_mean",
        "latency_ms_p50",
        "latency_ms_p95",
        "latency_ms_p99",
        "load_max_over_mean",
        "memory_per_node_bytes",
        "trace_hash",
    ];
    for key in keys {
        assert!(!run[key].is_null(), "{key}");
    }
    assert!(run.as_object().unwrap().values().all(|value| !value.is_object() && !value.is_array()));
}

#[test]
fn reads_within_one_region_take_less_than_100_ms() {
    let run = figures(&format!("{CHURN} --regions Frankfurt"));
    assert!(number(&run, "read_latency_ms_p95") < 100.0, "{run}");
    assert!(number(&run, "read_success_rate") >= 0.999, "{run}");
}

#[test]
fn a_network_that_joins_node_by_node_is_as_good_as_a_filled_one() {
    let run =
        figures("--nodes 300 --lookups 2000 --records 50 --reads 200 --minutes 5 --start joining");
    assert!(number(&run, "success_rate") >= 0.999, "{run}");
    assert!(number(&run, "table_neighbour_share") > 0.95, "{run}");
}

#[test]
fn with_a_fifth_of_the_nodes_lying_lookups_still_find_the_closest() {
    const RUN: &str = "hostile --nodes 1000 --lookups 3000 --records 300 --reads 300 --minutes 10";
    let run = figures(RUN);
    assert!(number(&run, "success_rate") >= 0.99, "{run}");
    // What three paths gain is not seen in so few lookups; what five do, is.
    let run = figures(&format!("{RUN} --paths 5"));
    assert!(number(&run, "success_rate") > number(&run, "success_rate_one_path"), "{run}");
}

#[test]
fn lookups_among_liars_only_are_counted_as_failures() {
    let run =
        figures("--nodes 300 --lookups 1000 --records 50 --reads 300 --minutes 5 --malicious 85%");
    assert!(number(&run, "success_rate") < 0.9, "{run}");
    assert!(number(&run, "read_success_rate") < 0.9, "{run}");
}

#[test]
fn no_record_is_lost_when_nodes_crash_one_after_the_other_and_many_are_when_at_once() {
    let slowly = figures("records --nodes 200 --records 2000 --gap 60");
    assert!(number(&slowly, "crashed") > 59.0, "{slowly}");
    assert!(number(&slowly, "lost").abs() < 0.5, "{slowly}");
    assert!(number(&slowly, "unread").abs() < 0.5, "{slowly}");
    // The witness: the same crashes do lose records if nobody has time to notice.
    let at_once = figures("records --nodes 200 --records 2000 --gap 0");
    let theory = number(&at_once, "lost_in_theory_at_once");
    let lost = number(&at_once, "lost");
    assert!(lost > theory / 3.0 && lost < theory * 3.0, "{at_once}");
}

#[test]
fn who_starts_again_with_its_disk_has_its_records_and_who_lost_it_has_none() {
    // Nearly all nodes are down at once: what is found afterwards came from disks.
    let crash = "records --nodes 200 --records 2000 --crash 90% --gap 0 --down 5";
    let kept = figures(crash);
    assert!(number(&kept, "lost_at_the_last_crash") > 1000.0, "{kept}");
    assert!(number(&kept, "came_back") > 179.0, "{kept}");
    assert!(number(&kept, "lost").abs() < 0.5, "{kept}");
    assert!(number(&kept, "unread").abs() < 0.5, "{kept}");
    let emptied = figures(&format!("{crash} --disk-loss 100%"));
    let theory = number(&emptied, "lost_in_theory_at_once");
    let lost = number(&emptied, "lost");
    assert!(lost > theory * 0.9 && lost < theory * 1.1, "{emptied}");
}

#[test]
fn a_strategy_that_looks_at_load_serves_more_than_one_that_does_not() {
    let run = figures("balance --requests 10000");
    let rows = run["strategies"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    let row = |name: &str| rows.iter().find(|row| row["strategy"] == name).unwrap();
    for row in rows {
        assert!(number(row, "success_rate") > 0.999, "{row}");
    }
    let served = |name: &str| number(row(name), "requests_per_second");
    assert!(served("two-choices") > served("random"), "{run}");
    assert!(served("least-outstanding") > served("closest"), "{run}");
    // Who chooses blindly asks the slow node as often as the others: a third of a sixth of the
    // wishes is its part of the most wanted record alone. Loads tell who was asked, not who served.
    let slow = |name: &str| number(row(name), "slow_share");
    assert!(slow("random") > 0.04, "{run}");
    assert!(slow("weighted") < slow("random") / 2.0, "{run}");
}

#[test]
fn every_scenario_that_is_shipped_can_be_run() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let small = "--nodes 60 --lookups 60 --records 10 --reads 20 --minutes 3 --warm-up 1";
        let run = figures(&format!("--scenario {} {small}", path.display()));
        assert!(number(&run, "lookups") > 10.0, "{}: {run}", path.display());
        count += 1;
    }
    assert!(count >= 5, "{count}");
}

#[test]
fn what_cannot_be_run_is_refused_with_exit_code_2() {
    for arguments in ["--nodes 1", "--regions Atlantis", "--churn 10%", "--scenario /nowhere.toml"]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_sim"))
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(output.stdout.is_empty(), "{arguments}");
    }
}
