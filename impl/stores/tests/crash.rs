//! Real processes on one file: one that is killed without warning, and two at once.
//!
//! The test binary starts itself again in the role of the other process. A kill loses what the
//! process held in memory, not what it gave to the operating system; that a call waits for the
//! disk itself is shown by the unit tests of `faults`.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use cloakroom_pool::{AtomicMap, Cas};
use cloakroom_stores::Durable;

const ROLE: &str = "CLOAKROOM_TEST_ROLE";
const FILE: &str = "CLOAKROOM_TEST_FILE";
const ROUND: &str = "CLOAKROOM_TEST_ROUND";
const WRITERS: usize = 24;

/// Starts this binary as the other process.
fn start(role: &str, file: &Path, round: usize) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["the_other_process", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FILE, file)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Not a test by itself: what the other process does. Without a role there is nothing to do.
#[test]
fn the_other_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let file = env::var_os(FILE).expect("a file to work on");
    match role.as_str() {
        "write until killed" => write_until_killed(Path::new(&file)),
        "open" => match Durable::open(&file) {
            Ok(_) => println!("\nsaid opened"),
            Err(error) => println!("\nsaid {error}"),
        },
        role => panic!("no such role: {role}"),
    }
}

/// Many writers put one key after the other, and tell each that was acknowledged.
fn write_until_killed(file: &Path) {
    let round = env::var(ROUND).expect("a round");
    let map = Durable::open(file).unwrap();
    println!();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (map, round) = (&map, &round);
            scope.spawn(move || {
                for number in 0u64.. {
                    let key = format!("{round} {writer} {number}");
                    let outcome = map.compare_and_set(key.as_bytes(), None, Some(key.as_bytes()));
                    assert_eq!(outcome, Ok(Cas::Set));
                    // One write of one line: it is out before the next call begins.
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acknowledged {key}").and_then(|()| out.flush()).unwrap();
                }
            });
        }
    });
}

/// Of each writer of each round, how many of its keys are known, checked to be without gaps.
fn count(keys: impl IntoIterator<Item = String>) -> BTreeMap<(usize, usize), u64> {
    let mut numbers = BTreeMap::<_, Vec<u64>>::new();
    for key in keys {
        let mut words = key.split(' ').map(|word| word.parse::<u64>().unwrap());
        let mut next = || words.next().unwrap();
        let writer = (usize::try_from(next()).unwrap(), usize::try_from(next()).unwrap());
        numbers.entry(writer).or_default().push(next());
    }
    let counted = numbers.into_iter().map(|(writer, mut numbers)| {
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "{writer:?}: a gap");
        (writer, numbers.len() as u64)
    });
    counted.collect()
}

#[test]
fn every_acknowledged_write_survives_a_kill() {
    const ROUNDS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("map");
    let mut seed: u64 = 0x00c1_0ac2_00c1_0ac3;
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let kill_after = usize::try_from(seed >> 54).unwrap() + 1;
        let mut child = start("write until killed", &file, round);
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut heard = 0;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
                break;
            }
            if let Some(key) = line.trim_end().strip_prefix("acknowledged ") {
                acknowledged.push(key.to_owned());
                heard += 1;
                if heard == kill_after {
                    // SIGKILL. What it said before is still read.
                    child.kill().unwrap();
                }
            }
        }
        assert!(!child.wait().unwrap().success(), "the writers end only by the kill");
        assert!(heard >= kill_after, "round {round}: died by itself after {heard} writes");

        let map = Durable::open(&file).unwrap();
        let entries = map.scan(b"").unwrap();
        let found = count(entries.into_iter().map(|(key, value)| {
            assert_eq!(key, value);
            String::from_utf8(key).unwrap()
        }));
        for (writer, said) in count(acknowledged.iter().cloned()) {
            let there = found.get(&writer).copied().unwrap_or(0);
            assert!(there >= said, "{writer:?}: {said} acknowledged, {there} there");
            assert!(there <= said + 1, "{writer:?}: {there} there, only {said} were answered");
        }
    }
}

#[test]
fn two_processes_on_one_file_is_a_clear_error_for_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("map");
    let said = || {
        let output = start("open", &file, 0).wait_with_output().unwrap();
        assert!(output.status.success());
        let output = String::from_utf8(output.stdout).unwrap();
        let said = output.lines().find_map(|line| line.strip_prefix("said "));
        said.expect("the other process says how it went").to_owned()
    };
    let map = Durable::open(&file).unwrap();
    let refused = said();
    assert!(refused.starts_with(&file.display().to_string()), "{refused}");
    assert!(refused.contains("in use"), "{refused}");
    assert!(refused.contains("the lock of another process"), "{refused}");
    assert_eq!(map.compare_and_set(b"key", None, Some(b"value")), Ok(Cas::Set));
    drop(map);
    assert_eq!(said(), "opened");
    assert_eq!(Durable::open(&file).unwrap().get(b"key"), Ok(Some(b"value".to_vec())));
}
