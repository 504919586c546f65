//! What runs in an ordinary build: builds this test for loom and for shuttle in target folders of
//! their own, runs it there, and compares what came of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use crate::explore::{Outcomes, set, variable};
use crate::orderings::{Weakening, sites, weakenings};
use crate::searches::{self, Row, Set};

fn folder(checker: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(checker)
}

/// The test, built for a checker.
fn built(checker: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut flags = format!("--cfg cloakroom_{checker}");
    if checker == "loom" {
        flags.push_str(" --cfg crossbeam_loom");
    }
    let mut command = Command::new(cargo);
    command
        .args(["test", "-p", "cloakroom-shards", "--test", "race", "--no-run"])
        .arg("--message-format=json")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // It is built anew with each change, and not debugged.
        .env("CARGO_PROFILE_TEST_DEBUG", "0")
        .env("RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", folder(checker));
    let output = command.output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "for {checker}:\n{said}");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let artifact = told.lines().rev().find(|line| line.contains(r#""executable":"/"#));
    let (_, path) = artifact.and_then(|line| line.split_once(r#""executable":""#)).expect("a test");
    path.split('"').next().expect("a path").into()
}

/// Built once in this process.
fn test_for(checker: &'static str) -> &'static Path {
    static LOOM: OnceLock<PathBuf> = OnceLock::new();
    static SHUTTLE: OnceLock<PathBuf> = OnceLock::new();
    let once = if checker == "loom" { &LOOM } else { &SHUTTLE };
    once.get_or_init(|| built(checker))
}

/// Runs one task under a checker.
fn output(checker: &'static str, task: &str, variables: &[(&str, OsString)]) -> Output {
    let mut command = Command::new(test_for(checker));
    command
        .args(["--nocapture", "--exact", "the_task_of_a_checked_build"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CLOAKROOM_TASK", task)
        .env("RUST_BACKTRACE", "0")
        .envs(variables.iter().cloned());
    command.output().expect("the test runs")
}

/// Runs a task that must succeed; its words are told.
fn run(checker: &'static str, task: &str, variables: &[(&str, OsString)]) {
    let output = output(checker, task, variables);
    let said = String::from_utf8_lossy(&output.stderr);
    eprintln!("{said}");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{task} under {checker}:\n{told}\n{said}");
    // An empty filter would pass too.
    assert!(told.contains("test result: ok. 1 passed"), "{task} under {checker}:\n{told}");
}

/// Runs the searches of a checker once in this process, and answers the outcomes.
pub(crate) fn searched(checker: &'static str) -> &'static Outcomes {
    static LOOM: OnceLock<Outcomes> = OnceLock::new();
    static SHUTTLE: OnceLock<Outcomes> = OnceLock::new();
    let once = if checker == "loom" { &LOOM } else { &SHUTTLE };
    once.get_or_init(|| {
        let file = folder(checker).with_extension("outcomes");
        run(checker, "search", &[("CLOAKROOM_OUTCOMES", file.clone().into())]);
        let text = fs::read_to_string(file).expect("the file of outcomes");
        let mut outcomes = Outcomes::new();
        for line in text.lines() {
            let (name, outcome) = line.split_once('\t').expect("a scenario and an outcome");
            outcomes.entry(name.into()).or_default().insert(outcome.into());
        }
        outcomes
    })
}

/// A task with no answer.
pub(crate) fn task(checker: &'static str, task: &str) {
    run(checker, task, &[]);
}

/// What shuttle saw and loom did not.
pub(crate) fn missed_by_loom() -> Vec<String> {
    let (loom, shuttle) = (searched("loom"), searched("shuttle"));
    let none = BTreeSet::new();
    let mut missed = Vec::new();
    for (name, outcomes) in shuttle {
        let seen = loom.get(name).unwrap_or(&none);
        missed.extend(outcomes.difference(seen).map(|outcome| format!("{name}: {outcome}")));
    }
    missed
}

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/race/orderings.txt")
}

/// What came of a weakening.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Killed { search: String, how: String },
    Survives { why: String },
}

/// The table, by the weakening's name.
fn verdicts() -> BTreeMap<String, Verdict> {
    let text = fs::read_to_string(table()).expect("orderings.txt");
    let mut verdicts = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, verdict) = if let Some((name, rest)) = line.split_once(" | killed | ") {
            let (search, how) = rest.rsplit_once(" | ").expect("a search, and how it fails");
            (name, Verdict::Killed { search: search.into(), how: how.into() })
        } else {
            let (name, why) = line.split_once(" | survives | ").expect("killed or survives");
            (name, Verdict::Survives { why: why.into() })
        };
        assert_eq!(verdicts.insert(name.into(), verdict), None, "twice: {name}");
    }
    verdicts
}

/// Runs the named search, or all of the set, with an ordering weakened.
fn weakened(weakening: &Weakening, search: Option<&str>, set: Set) -> Option<Verdict> {
    let mut variables = vec![("CLOAKROOM_WEAKER", OsString::from(weakening.to_string()))];
    variables.extend(search.map(|search| ("CLOAKROOM_SEARCH", search.into())));
    variables.push(("CLOAKROOM_SET", format!("{set:?}").to_lowercase().into()));
    let output = output("loom", "weaken", &variables);
    if output.status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().rev().find_map(|line| line.strip_prefix("search: "));
    let search =
        last.unwrap_or_else(|| panic!("{}: nothing was searched:\n{said}", weakening.name));
    let telling = ["SHARD-", "Causality violation"];
    let how = telling.iter().find_map(|text| {
        let at = said.find(text)?;
        let rest = said[at..].lines().next().unwrap_or_default();
        Some(rest.split([':', '.']).next().unwrap_or(rest).trim().to_owned())
    });
    let how = how.unwrap_or_else(|| panic!("{}: an unknown failure:\n{said}", weakening.name));
    Some(Verdict::Killed { search: search.into(), how })
}

/// Applies `f` to all, two at a time.
fn by_two<A: Send, B: Send>(all: Vec<A>, f: impl Fn(A) -> B + Sync) -> Vec<B> {
    let queue: Mutex<VecDeque<(usize, A)>> = Mutex::new(all.into_iter().enumerate().collect());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    while let Some((at, one)) = next() {
                        done.push((at, f(one)));
                    }
                    done
                })
            })
            .collect();
        let joined =
            workers.into_iter().flat_map(|worker| worker.join().expect("a worker's panic"));
        joined.collect::<Vec<_>>()
    });
    done.sort_by_key(|&(at, _)| at);
    done.into_iter().map(|(_, answer)| answer).collect()
}

/// What is wrong with the table, in words.
pub(crate) fn unearned() -> Vec<String> {
    let known = verdicts();
    let all = weakenings();
    let mut wrong: Vec<String> = known
        .keys()
        .filter(|name| all.iter().all(|weakening| weakening.name != **name))
        .map(|name| format!("not in the source any more: {name}"))
        .collect();
    wrong.extend(
        by_two(all, |weakening| {
            let name = &weakening.name;
            match known.get(name) {
                None => Some(format!("not in the table: {name}")),
                Some(Verdict::Survives { why }) if why.len() < 20 => {
                    Some(format!("no reason: {name}"))
                }
                Some(Verdict::Survives { .. }) if set() < Set::Deep => None,
                Some(Verdict::Survives { .. }) => weakened(&weakening, None, Set::Deep)
                    .map(|verdict| format!("does not survive: {name}: {verdict:?}")),
                Some(killed @ Verdict::Killed { search, .. }) => {
                    let got = weakened(&weakening, Some(search), Set::Deep);
                    (got.as_ref() != Some(killed))
                        .then(|| format!("{name}: got {got:?}, not {killed:?}"))
                }
            }
        })
        .into_iter()
        .flatten(),
    );
    wrong
}

/// Sites that the text has and no scenario meets, and the reverse.
pub(crate) fn sites_that_differ() -> Vec<String> {
    let file = folder("loom").with_extension("sites");
    run("loom", "sites", &[("CLOAKROOM_SITES", file.clone().into())]);
    let text = fs::read_to_string(file).expect("the file of sites");
    // Objects of the harness have accesses too.
    let ours = |line: &&str| line.contains("\"impl/shards/src/");
    let met: BTreeSet<String> = text.lines().filter(ours).map(String::from).collect();
    let written: BTreeSet<String> = sites().iter().map(|site| format!("{site:?}")).collect();
    met.symmetric_difference(&written).cloned().collect()
}

/// Finds a search that fails for each weakening, and writes the table.
pub(crate) fn pin_orderings() {
    let known = if table().exists() { verdicts() } else { BTreeMap::new() };
    let named = variable("CLOAKROOM_SCENARIO").unwrap_or_default();
    let searches: BTreeSet<String> = searches::all().iter().map(Row::name).collect();
    let found = by_two(weakenings(), |weakening| {
        let known = known.get(&weakening.name);
        let before = match known {
            Some(Verdict::Killed { search, .. }) if searches.contains(search) => {
                weakened(&weakening, Some(search), Set::Deep)
            }
            _ => None,
        };
        let why = match known {
            Some(Verdict::Survives { why }) => why.clone(),
            _ => "-".into(),
        };
        let skip = !named.is_empty() && !weakening.name.contains(&named);
        let verdict = before
            .or_else(|| if skip { known.cloned() } else { weakened(&weakening, None, set()) })
            .unwrap_or(Verdict::Survives { why });
        let line = match &verdict {
            Verdict::Killed { search, how } => {
                format!("{} | killed | {search} | {how}\n", weakening.name)
            }
            Verdict::Survives { why } => format!("{} | survives | {why}\n", weakening.name),
        };
        eprint!("{line}");
        line
    });
    let head = "# file | function | access | ordering -> weaker | verdict: see orderings.rs\n";
    fs::write(table(), format!("{head}{}", found.concat())).expect("orderings.txt");
}
