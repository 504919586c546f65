//! Short runs: a cluster of real processes under clients and all faults, judged; and that the judge of a
//! run that was kept says the same.

use std::path::Path;
use std::process::{Command, Output};

fn e2e(out: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e"));
    command.args(line.split(' ')).arg("--out").arg(out).output().unwrap()
}

/// What it says on stdout; the whole of stderr if it has failed.
fn ok(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    // Shown by --nocapture: what could not be run here.
    said.lines().filter(|line| line.starts_with("NOT RUN")).for_each(|line| println!("{line}"));
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn nothing_is_lost_or_held_twice_under_faults_and_all_is_well_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let run = e2e(folder.path(), "--seed 1 --minutes 0.5 --keep");
    let said = ok(&run);
    assert!(said.starts_with("nothing is wrong: "), "{said}");
    let kept = folder.path().join("seed-1");
    let journal = std::fs::read_to_string(kept.join("journal.txt")).unwrap();
    assert!(journal.contains("every node serves"), "{journal}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e"));
    let again = command.arg("--judge").arg(&kept).output().unwrap();
    assert_eq!(ok(&again), said);
    // A run in which an acknowledged write is lost.
    let keys = std::fs::read_to_string(kept.join("keys.jsonl")).unwrap();
    let is_write =
        |line: &&str| line.contains(r#""op":"cas""#) && line.contains(r#""answer":"ok""#);
    let lost = keys.lines().filter(is_write).nth(20).expect("more were written");
    std::fs::write(kept.join("keys.jsonl"), keys.replace(lost, "")).unwrap();
    let again = command.output().unwrap();
    assert_eq!(again.status.code(), Some(1), "{lost}");
}
