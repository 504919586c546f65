//! Every seed, and every input that once failed, without a fuzzer: `cargo test --manifest-path
//! fuzz/Cargo.toml`.
//!
//! A regression is a file `regressions/TARGET/NAME`, its name a claim of what once went wrong.

use std::fs;
use std::path::Path;

use cloakroom_fuzz::TARGETS;

fn inputs(folder: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a folder that can be read").path());
    let mut inputs: Vec<(String, Vec<u8>)> =
        paths.map(|path| (path.display().to_string(), fs::read(&path).expect("a file"))).collect();
    inputs.sort();
    inputs
}

#[test]
fn no_oracle_objects_to_a_seed_or_to_what_once_failed() {
    for target in TARGETS {
        let seeds = inputs("seeds", target.name);
        assert!(!seeds.is_empty(), "seeds/{}: expected a file, got none", target.name);
        for (path, bytes) in seeds.into_iter().chain(inputs("regressions", target.name)) {
            println!("{path}");
            (target.run)(&bytes);
        }
    }
}

#[test]
fn no_oracle_objects_to_short_or_plain_input() {
    for target in TARGETS {
        for length in 0..64 {
            for byte in [0, 1, 2, 0x7f, 0x80, 0xff] {
                (target.run)(&vec![byte; length]);
            }
        }
    }
}

#[test]
fn every_regression_and_seed_belongs_to_a_target() {
    for kind in ["seeds", "regressions"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind);
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            assert!(
                TARGETS.iter().any(|target| target.name == name) || name == "README.md",
                "{name}"
            );
        }
    }
}

#[test]
fn every_target_is_fuzzed_by_night() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows/fuzz.yml");
    let text = fs::read_to_string(path).expect("the workflow");
    let line = text.lines().find_map(|line| line.trim().strip_prefix("target: [")).expect("a list");
    let listed: Vec<&str> = line.trim_end_matches(']').split(", ").collect();
    let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    for target in &targets {
        assert!(listed.contains(target), "{target}: expected in {listed:?}");
    }
    assert_eq!(listed.len(), targets.len(), "expected {targets:?}, got {listed:?}");
}
