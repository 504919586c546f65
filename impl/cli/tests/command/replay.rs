//! `replay`.

use std::collections::BTreeSet;

use crate::binary::{Desk, demo_trace};

/// The shape of these replays: small blocks, so that there are counts above them.
const SMALL: &str = "--fanout 4 --block 4";

fn demo(args: &str) -> String {
    format!("replay {} --crash-rate 0.05 --seed 1 {args}", demo_trace().display())
}

#[test]
fn the_demo_trace_is_served_on_both_stores_with_both_policies() {
    let desk = Desk::new();
    for store in ["memory", "durable"] {
        for policy in ["lowest-first", "spread"] {
            // The default shape keeps all 48 ids in one block.
            let shape = if store == "memory" && policy == "spread" { "" } else { SMALL };
            let args = demo(&format!("--size 48 {shape} --store {store} --policy {policy}"));
            let report = desk.json(&args);
            for figure in
                ["double_held", "taken", "false_full", "leaked", "lost", "counts_wrong", "refused"]
            {
                assert_eq!(report[figure], 0, "{store} {policy}: {figure} in {report}");
            }
            assert_eq!(report["verdict"], "kept");
            assert_eq!((&report["rows"], &report["skipped"]), (&400.into(), &25.into()));
            assert_eq!(report["allocations"], 375);
            assert!(report["callers_killed"].as_u64().unwrap() >= 20, "{report}");
        }
    }
    assert!(!desk.path("cloakroom.redb").exists(), "a replay touched a data file");
}

#[test]
fn a_pool_of_the_peaks_size_refuses_nobody() {
    let desk = Desk::new();
    let peak =
        desk.json(&demo(&format!("--size 400 {SMALL} --workers 1")))["peak_held"].as_u64().unwrap();
    assert!((36..=44).contains(&peak), "{peak}");
    assert_eq!(desk.json(&demo(&format!("--size {peak} --block 3")))["refused"], 0);
    // One below, whoever waits may still get what another leaves before its own end.
    assert_ne!(desk.json(&demo(&format!("--size {} {SMALL}", peak / 2)))["refused"], 0);
}

#[test]
fn the_json_is_flat_and_its_keys_are_pinned() {
    let report = Desk::new().json(&demo(&format!("--size 48 {SMALL}")));
    let keys: BTreeSet<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let pinned = "trace size fanout block policy store workers crash_rate seed rows skipped \
                  skipped_why allocations frees held_at_end peak_held full_answers refused \
                  callers_killed phantoms_recovered recoveries calls elapsed_ms calls_per_second \
                  p50_us p95_us p99_us double_held taken false_full leaked lost counts_wrong verdict";
    assert_eq!(keys, pinned.split_whitespace().collect());
    assert!(report.as_object().unwrap().values().all(|value| !value.is_object()));
    assert_eq!(report["skipped_why"], "never started: no scheduled_time");
}

#[test]
fn the_table_says_why_rows_were_skipped_and_no_bar_is_drawn_off_a_terminal() {
    let ran = Desk::new().run(&demo(&format!("--size 48 {SMALL}")));
    assert_eq!((ran.code, &*ran.err), (0, ""));
    assert!(
        ran.out.contains("skipped rows        25 (never started: no scheduled_time)\n"),
        "{}",
        ran.out
    );
    assert!(ran.out.ends_with("verdict             kept\n"), "{}", ran.out);
}

#[test]
fn nothing_is_left_behind_in_the_directory_for_temporary_files() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("tmp")).unwrap();
    let mut command = desk.command(&demo(&format!("--size 48 {SMALL} --store durable")));
    let output = command.env("TMPDIR", desk.path("tmp")).output().unwrap();
    assert!(output.status.success());
    assert_eq!(std::fs::read_dir(desk.path("tmp")).unwrap().count(), 0);
}

#[test]
fn a_trace_comes_from_stdin_and_its_columns_have_any_names() {
    let desk = Desk::new();
    let args = "replay - --size 1 --tag-column who --start-column from --end-column to \
                --output json";
    let csv = b"to,from,who\n5,1,a\n9,5,b\n,,c\n";
    let ran = desk.run_with_stdin(args, csv);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["trace"], "stdin");
    assert_eq!((&report["frees"], &report["skipped"]), (&2.into(), &1.into()));
    assert_eq!(report["skipped_why"], "never started: no from");
    let ran = desk.run_with_stdin(&format!("{args} --crash-rate .05"), b"to,from,who\n5,1,a\n");
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&report["crash_rate"], &report["skipped"]), (&0.05.into(), &0.into()));
    assert!(report["skipped_why"].is_null(), "{report}");
}

#[test]
fn wrong_input_names_file_line_and_column_and_exits_with_2() {
    let desk = Desk::new();
    let header = "name,scheduled_time,deletion_time";
    desk.write("a.csv", format!("{header}\nx,1,2\n\ny,3,soon\n"));
    desk.fails(
        "replay a.csv --size 4",
        2,
        "error: a.csv: line 4, column 3 (deletion_time): expected a decimal number",
    );
    desk.write("b.csv", format!("{header}\nx,1\n"));
    desk.fails("replay b.csv --size 4", 2, "b.csv: line 2, column 3: expected 3 fields, got 2");
    desk.write("q.csv", "scheduled_time,deletion_time,name\n1,2,\"c\n3,4,d\n5,6,e\n");
    desk.fails("replay q.csv --size 4", 2, "q.csv: line 2, column 3: expected a closing quote");
    desk.write("c.csv", "who,scheduled_time,deletion_time\n");
    desk.fails("replay c.csv --size 4", 2, "c.csv: line 1: expected a column \"name\"");
    desk.fails("replay none.csv --size 4", 2, "none.csv: expected a readable file");
    desk.fails("replay a.csv --size 0", 2, "size: expected 1 to");
    desk.fails("replay a.csv --size 4 --crash-rate 1", 2, "from 0 to 0.9");
    desk.fails("replay a.csv --size 4 --workers 0", 2, "1..=256");
    desk.fails("replay a.csv", 2, "--size <N>");
}
