//! Breaks the code on purpose and requires that a check notices.
//!
//! Each `tests/mutants/*.patch` is a small plausible bug in production code. On a scratch copy of
//! the tree: the check passes without the patch; the patch applies; the code still builds; and then
//! the check fails. Anything else is an error or a survivor, and the exit code is 1.
//!
//! ```text
//! cargo run --release -p mutants                 # all
//! cargo run --release -p mutants -- --list
//! cargo run --release -p mutants -- no-help      # by name
//! cargo run --release -p mutants -- --within 5m  # starts none after that, says which it left out
//! ```
//!
//! With `--within` the start is another on each commit, so that over many pushes all have their turn.

#![forbid(unsafe_code)]

mod built;
mod check;
mod mutant;
mod scratch;
mod stream;
mod turn;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use thiserror::Error;

use crate::check::Run;
use crate::mutant::{Expect, HeaderError, Mutant};
use crate::scratch::{Scratch, ScratchError};
use crate::stream::{print, say};

/// Breaks the code on purpose and requires that a check notices.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Only these mutants; all when none is named.
    names: Vec<String>,
    /// Print the mutants and run nothing.
    #[arg(long)]
    list: bool,
    /// Start no mutant after this time (90s, 5m), and say which were left out. The first mutant
    /// depends on the seed, and from there it goes round, one check after the other: so all have
    /// their turn over many pushes.
    #[arg(long, value_parser = duration)]
    within: Option<Duration>,
    /// Decides which mutant is the first; with --within it is taken from the commit if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How long a check may take before it counts as one that does not end.
    #[arg(long, value_parser = duration, default_value = "5m")]
    patience: Duration,
    /// How many scratch copies at once, each with a build of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(number) => (number, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let number: u64 = number.parse().map_err(|_| format!("expected 90s or 5m, got `{text}`"))?;
    Ok(Duration::from_secs(number * unit))
}

/// Why a mutant shows nothing: the mutant's author's fault, or the machine's.
#[derive(Debug, Error)]
#[non_exhaustive]
enum TrialError {
    #[error("the check fails without the mutant too:\n{tail}")]
    Baseline { tail: String },
    #[error("the mutant does not apply: {0}")]
    Apply(ScratchError),
    #[error("the mutant does not build:\n{tail}")]
    Build { tail: String },
    #[error("the check fails, but its output lacks `{text}`:\n{tail}")]
    OtherFailure { text: String, tail: String },
    #[error("the check does not end within {patience:?}, and the header does not expect it")]
    Endless { patience: Duration },
    #[error("cannot run the check: {0}")]
    Start(#[from] std::io::Error),
    #[error(transparent)]
    Scratch(#[from] ScratchError),
}

/// What came of a mutant.
struct Trial<'a> {
    mutant: &'a Mutant,
    verdict: Result<Verdict, TrialError>,
    took: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Killed,
    Survived,
}

/// The checks, each with what came of it on the code as it is.
type Baselines<'a> = BTreeMap<&'a str, OnceLock<Result<(), String>>>;

fn main() -> ExitCode {
    match go(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(refused) => {
            say(format_args!("mutants: {refused}"));
            ExitCode::from(2)
        }
    }
}

fn go(arguments: &Arguments) -> Result<bool, Refused> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).unwrap_or(here);
    let all = Mutant::all(here)?;
    if let Some(unknown) = arguments.names.iter().find(|name| !all.iter().any(|m| m.name == **name))
    {
        return Err(Refused::Unknown(unknown.clone()));
    }
    let named =
        |mutant: &Mutant| arguments.names.is_empty() || arguments.names.contains(&mutant.name);
    let mutants: Vec<&Mutant> = all.iter().filter(|mutant| named(mutant)).collect();
    if mutants.is_empty() {
        return Err(Refused::None);
    }
    if arguments.list {
        print(&list(&mutants)).map_err(Refused::Output)?;
        return Ok(true);
    }
    let home = tempfile::tempdir().map_err(Refused::Home)?;
    let baselines: Baselines =
        mutants.iter().map(|mutant| (&*mutant.check, OnceLock::new())).collect();
    let queue = Mutex::new(in_turn(&mutants, arguments, root));
    let deadline = arguments.within.and_then(|within| Instant::now().checked_add(within));
    let trials = thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs)
            .map(|job| {
                let (queue, baselines) = (&queue, &baselines);
                let directory = home.path().join(job.to_string());
                scope.spawn(move || {
                    let scratch = Scratch::copy(root, &directory)?;
                    Ok(work(&scratch, queue, baselines, deadline, arguments.patience))
                })
            })
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join().expect("a worker's panic"));
        joined.collect::<Result<Vec<_>, ScratchError>>()
    })?;
    let trials: Vec<Trial> = trials.into_iter().flatten().collect();
    let left_out = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (table, all_killed) = report(&mutants, trials, &left_out);
    print(&table).map_err(Refused::Output)?;
    Ok(all_killed)
}

fn list(mutants: &[&Mutant]) -> String {
    let mut list = String::new();
    for Mutant { name, property, check, what, .. } in mutants {
        writeln!(list, "{name:<44} {property}  {check}\n    {what}")
            .expect("a String takes everything");
    }
    list
}

/// The mutants in the order in which they are tried.
fn in_turn<'a>(mutants: &[&'a Mutant], arguments: &Arguments, root: &Path) -> VecDeque<&'a Mutant> {
    let mut queue: VecDeque<_> = mutants.iter().copied().collect();
    let of_commit = || arguments.within.map(|_| turn::seed_of_commit(root));
    if let Some(seed) = arguments.seed.or_else(of_commit) {
        let start = turn::start(seed, queue.len());
        queue.rotate_left(start);
        let (number, of) = (start + 1, mutants.len());
        say(format_args!("--seed {seed}: starting with number {number} of {of}, then going round"));
    }
    queue
}

/// Why nothing was run: the caller's fault, a broken patch header's, or the machine's.
#[derive(Debug, Error)]
#[non_exhaustive]
enum Refused {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("no mutant is named `{0}`; see --list")]
    Unknown(String),
    #[error("expected at least one *.patch beside Cargo.toml, got none")]
    None,
    #[error("no scratch directory: {0}")]
    Home(std::io::Error),
    #[error("no scratch copy: {0}")]
    Copy(#[from] ScratchError),
    #[error("stdout: {0}")]
    Output(std::io::Error),
}

/// Tries mutants until there are none or the time is over.
fn work<'a>(
    scratch: &Scratch,
    queue: &Mutex<VecDeque<&'a Mutant>>,
    baselines: &Baselines,
    deadline: Option<Instant>,
    patience: Duration,
) -> Vec<Trial<'a>> {
    let mut trials = Vec::new();
    while deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(mutant) = next else { break };
        let begun = Instant::now();
        let verdict = attempt(scratch, mutant, &baselines[&*mutant.check], patience);
        let took = begun.elapsed();
        let (word, seconds) = (word(&verdict), took.as_secs_f64());
        say(format_args!("{:<44} {word:<9} {seconds:>6.1} s", mutant.name));
        trials.push(Trial { mutant, verdict, took });
    }
    trials
}

/// A build may take so many times as long as a check.
const BUILDS: u32 = 6;

fn attempt(
    scratch: &Scratch,
    mutant: &Mutant,
    baseline: &OnceLock<Result<(), String>>,
    patience: Duration,
) -> Result<Verdict, TrialError> {
    let whole = || check::run(scratch.command(&words(&mutant.check)), patience);
    // It may have to build all that the check needs, and must end in any case.
    let build = || check::run(scratch.command(&check::build(&mutant.check)), patience * BUILDS);
    let passed = baseline.get_or_init(|| {
        say(format_args!("without a mutant: {}", mutant.check));
        match build().and_then(|build| if build.passed() { whole() } else { Ok(build) }) {
            Ok(run) if run.passed() => Ok(()),
            Ok(run) => Err(run.tail(20)),
            Err(error) => Err(error.to_string()),
        }
    });
    if let Err(tail) = passed {
        return Err(TrialError::Baseline { tail: tail.clone() });
    }
    // A failed apply may have changed some files: restore in any case.
    let verdict = scratch.apply(&mutant.path).map_err(TrialError::Apply).and_then(|()| {
        let build = build()?;
        if !build.passed() {
            return Err(TrialError::Build { tail: build.tail(20) });
        }
        let run = whole()?;
        if let Expect::Text(text) = &mutant.expect
            && let Some(line) = run.output.lines().find(|line| line.contains(text))
        {
            say(format_args!("    {}", line.trim()));
        }
        judge(&mutant.expect, &run, patience)
    });
    scratch.restore()?;
    verdict
}

fn judge(expect: &Expect, run: &Run, patience: Duration) -> Result<Verdict, TrialError> {
    match (run.status, expect) {
        (Some(status), _) if status.success() => Ok(Verdict::Survived),
        (Some(_), Expect::Text(text)) if !run.output.contains(text) => {
            Err(TrialError::OtherFailure { text: text.clone(), tail: run.tail(20) })
        }
        (None, Expect::Failure | Expect::Text(_)) => Err(TrialError::Endless { patience }),
        (Some(_), _) | (None, Expect::Timeout) => Ok(Verdict::Killed),
    }
}

fn words(check: &str) -> Vec<&str> {
    check.split_whitespace().collect()
}

fn word(verdict: &Result<Verdict, TrialError>) -> &'static str {
    match verdict {
        Ok(Verdict::Killed) => "killed",
        Ok(Verdict::Survived) => "SURVIVED",
        Err(_) => "ERROR",
    }
}

/// The table, and whether all that were tried are killed.
fn report(
    mutants: &[&Mutant],
    mut trials: Vec<Trial>,
    left_out: &VecDeque<&Mutant>,
) -> (String, bool) {
    trials.sort_by_key(|trial| mutants.iter().position(|mutant| mutant.name == trial.mutant.name));
    let mut lines = vec![
        "| mutant | property | check | verdict | seconds |".to_owned(),
        "|---|---|---|---|---:|".to_owned(),
    ];
    for Trial { mutant, verdict, took } in &trials {
        let (name, property, check) = (&mutant.name, &mutant.property, &mutant.check);
        let (word, seconds) = (word(verdict), took.as_secs_f64());
        lines.push(format!("| {name} | {property} | `{check}` | {word} | {seconds:.1} |"));
        match verdict {
            Ok(Verdict::Killed) => {}
            Ok(Verdict::Survived) => say(format_args!("SURVIVED {name}")),
            Err(error) => say(format_args!("ERROR {name}: {error}")),
        }
    }
    let killed = |trial: &&Trial| matches!(trial.verdict, Ok(Verdict::Killed));
    let count = trials.iter().filter(killed).count();
    lines.push(format!("\n{count} of {} killed.", trials.len()));
    if !left_out.is_empty() {
        let names: Vec<&str> = left_out.iter().map(|mutant| &*mutant.name).collect();
        lines.push(format!("Left out, for want of time: {}.", names.join(", ")));
    }
    lines.push(String::new());
    (lines.join("\n"), count == trials.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn judged(script: &str, expect: &Expect) -> Result<Verdict, TrialError> {
        let patience = Duration::from_millis(300);
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        judge(expect, &check::run(command, patience).unwrap(), patience)
    }

    #[test]
    fn only_the_failure_that_is_expected_is_a_kill() {
        let text = Expect::Text("POOL-3".into());
        assert!(matches!(judged("exit 0", &Expect::Failure), Ok(Verdict::Survived)));
        assert!(matches!(judged("exit 101", &Expect::Failure), Ok(Verdict::Killed)));
        assert!(matches!(judged("echo POOL-3; exit 1", &text), Ok(Verdict::Killed)));
        assert!(matches!(
            judged("echo POOL-4; exit 1", &text),
            Err(TrialError::OtherFailure { .. })
        ));
        assert!(matches!(judged("echo POOL-3; sleep 9", &text), Err(TrialError::Endless { .. })));
        assert!(matches!(judged("sleep 9", &Expect::Timeout), Ok(Verdict::Killed)));
        assert!(matches!(judged("exit 0", &Expect::Timeout), Ok(Verdict::Survived)));
    }

    #[test]
    fn a_run_that_is_limited_in_time_goes_round_from_where_the_seed_says() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let all = Mutant::all(here).unwrap();
        let all: Vec<&Mutant> = all.iter().collect();
        let first = |words: &str| {
            let arguments = Arguments::parse_from(words.split_whitespace());
            let queue = in_turn(&all, &arguments, here);
            assert_eq!(queue.len(), all.len(), "{words}");
            let checks: Vec<&str> = queue.iter().map(|mutant| &*mutant.check).collect();
            let changes = checks.windows(2).filter(|pair| pair[0] != pair[1]).count();
            let kinds: std::collections::BTreeSet<_> = checks.iter().collect();
            assert!(changes <= kinds.len(), "{words}: {changes} builds in turn");
            queue[0].name.clone()
        };
        assert_eq!(first("mutants"), all[0].name);
        let last = all.len() - 1;
        assert_eq!(first(&format!("mutants --within 5m --seed {last}")), all[last].name);
        let of_commit = turn::start(turn::seed_of_commit(here), all.len());
        assert_eq!(first("mutants --within 5m"), all[of_commit].name);
    }

    #[test]
    fn durations_are_seconds_or_minutes() {
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(
            (duration("90s"), duration("90")),
            (Ok(Duration::from_secs(90)), Ok(Duration::from_secs(90)))
        );
        assert_eq!(duration("soon"), Err("expected 90s or 5m, got `soon`".into()));
    }

    #[test]
    fn every_patch_has_a_whole_header() {
        let mutants = Mutant::all(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(mutants.len() >= 20, "{} mutants", mutants.len());
    }
}
