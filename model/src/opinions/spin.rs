//! Spin on `specs/spin/pool.pml`, against the real step machines in [`crate::twin`]; and the way to ask
//! it about any text, for [`registers`](super::registers) too.
//!
//! Invariants:
//! * at each bound both sides find exactly the pinned number of states and of transitions, and no
//!   objection;
//! * each mutant of the Promela text violates an assertion, and so does each witness, which asserts
//!   that something never happens;
//! * the search is complete: no partial order reduction, no hashing of states to bits, no depth
//!   limit that was met.
//!
//! Checks POOL-1 to POOL-4.

use std::process::Command;

use super::{Opinion, Question, Scratch, Trouble, Verdict, ask};
use crate::twin::{Bounds, Call, Explored};
use Call::{Allocate, Free};

/// A text: the file to begin with, and those that it includes.
pub(super) type Text = [(&'static str, &'static str)];

const MODEL: &Text = &[
    ("pool.pml", include_str!("../../../specs/spin/pool.pml")),
    ("state.pml", include_str!("../../../specs/spin/state.pml")),
];

const ONE_EACH: Bounds =
    Bounds { size: 2, callers: 2, script: &[Allocate, Free], crashes: 0, unknown: false };
const THREE: Bounds = Bounds { callers: 3, script: &[Allocate], ..ONE_EACH };
const ONE_UNKNOWN: Bounds = Bounds { unknown: true, ..ONE_EACH };

/// The twin's bounds, and what both sides must find.
const TWINS: [(Bounds, Explored); 9] = [
    (ONE_EACH, Explored { states: 1_013, transitions: 1_729 }),
    (THREE, Explored { states: 5_411, transitions: 12_166 }),
    // Ragged: the last node has one child.
    (
        Bounds { size: 3, script: &[Allocate, Allocate], ..ONE_EACH },
        Explored { states: 6_791, transitions: 12_079 },
    ),
    (
        Bounds { script: &[Allocate, Free, Allocate, Free], crashes: 1, ..ONE_EACH },
        Explored { states: 24_388, transitions: 66_199 },
    ),
    (ONE_UNKNOWN, Explored { states: 18_629, transitions: 44_535 }),
    // The second free comes too late: AlreadyFree or NotOwner.
    (
        Bounds { script: &[Allocate, Free, Free], crashes: 1, ..ONE_UNKNOWN },
        Explored { states: 98_149, transitions: 351_381 },
    ),
    (Bounds { unknown: true, ..THREE }, Explored { states: 122_067, transitions: 367_732 }),
    (
        Bounds { size: 4, crashes: 1, ..ONE_UNKNOWN },
        Explored { states: 184_171, transitions: 632_971 },
    ),
    (Bounds { size: 3, crashes: 1, ..THREE }, Explored { states: 145_906, transitions: 562_906 }),
];

/// What must violate an assertion, where, and what that shows.
const FAILURES: [(&str, Bounds, &str); 9] = [
    ("MUTANT_SKIP", ONE_EACH, "a refresh leaves out the write when the count is right"),
    ("MUTANT_CHILD_FIRST", ONE_EACH, "a refresh reads the child before the node"),
    ("MUTANT_NO_VERSION", ONE_EACH, "a write does not raise the version"),
    ("MUTANT_KEEP_TOTAL", ONE_EACH, "after a lost race a refresh writes what it knew before"),
    ("MUTANT_GIVE_UP", ONE_UNKNOWN, "Unknown at the slot is taken as failure"),
    ("WITNESS_FULL", THREE, "Full is reached"),
    ("WITNESS_HELP", ONE_EACH, "a caller helps"),
    ("WITNESS_RACE", ONE_EACH, "a refresh loses a race"),
    ("WITNESS_LATE", ONE_UNKNOWN, "a late write of a leaf succeeds"),
];

/// What a search by Spin ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// All states, no violation.
    Whole(Explored),
    /// A violated assertion.
    Violation,
}

pub(super) fn questions() -> Vec<Question> {
    let twin = |(bounds, pinned): (Bounds, Explored)| {
        let name = format!("pool.pml, {}", describe(bounds));
        let about = format!("spin: {name}");
        let ask = move || {
            let found = search(MODEL, &definitions(bounds), None);
            let verdict = judge_twin(bounds.explore(), found, pinned);
            let what = "Spin and the real step machines reach as many states";
            twin_opinion(name, what, verdict, pinned)
        };
        Question { about, ask: Box::new(ask) }
    };
    let failure = |(flag, bounds, what): (&'static str, Bounds, &'static str)| {
        let name = format!("pool.pml, {flag}, {}", describe(bounds));
        let about = format!("spin: {name}");
        let ask = move || {
            let verdict = judge_failure(search(MODEL, &definitions(bounds), Some(flag)));
            failure_opinion(name, what, verdict)
        };
        Question { about, ask: Box::new(ask) }
    };
    TWINS.into_iter().map(twin).chain(FAILURES.into_iter().map(failure)).collect()
}

/// What Spin says of a twin.
pub(super) fn twin_opinion(
    name: String,
    what: &str,
    verdict: Verdict,
    pinned: Explored,
) -> Opinion {
    let Explored { states, transitions } = pinned;
    let by = match &verdict {
        Verdict::Agrees => "both",
        Verdict::Disagrees(_) => "expected",
        Verdict::NotRun(_) => "step machines alone",
    };
    let detail = format!("{by}: {states} states, {transitions} transitions");
    Opinion { tool: "spin", name, what: what.to_owned(), verdict, detail }
}

/// What it says of a mutant or a witness.
pub(super) fn failure_opinion(name: String, what: &str, verdict: Verdict) -> Opinion {
    let what = format!("must fail: {what}");
    let violated = verdict == Verdict::Agrees;
    let detail = if violated { "an assertion is violated" } else { "" }.to_owned();
    Opinion { tool: "spin", name, what, verdict, detail }
}

/// Whether an assertion is violated that must be.
pub(super) fn judge_failure(found: Result<Search, Trouble>) -> Verdict {
    match found {
        Ok(Search::Violation) => Verdict::Agrees,
        Ok(Search::Whole(found)) => {
            let states = found.states;
            Verdict::Disagrees(format!("expected a violated assertion, got {states} states"))
        }
        Err(trouble) => trouble.into(),
    }
}

/// Both sides against what is pinned. Ours is judged also where Spin is missing.
pub(super) fn judge_twin(
    rust: Result<Explored, String>,
    spin: Result<Search, Trouble>,
    pinned: Explored,
) -> Verdict {
    match rust {
        Err(objection) => return Verdict::Disagrees(format!("step machines: {objection}")),
        Ok(found) if found != pinned => {
            return Verdict::Disagrees(format!(
                "step machines: expected {pinned:?}, got {found:?}"
            ));
        }
        Ok(_) => {}
    }
    match spin {
        Ok(Search::Whole(found)) if found == pinned => Verdict::Agrees,
        Ok(found) => Verdict::Disagrees(format!("spin: expected {pinned:?}, got {found:?}")),
        Err(trouble) => trouble.into(),
    }
}

/// `N = 2, 3 x (allocate, free), 1 crash, 1 unknown`
fn describe(bounds: Bounds) -> String {
    let Bounds { size, callers, script, crashes, unknown } = bounds;
    let calls: Vec<_> = script
        .iter()
        .map(|call| match call {
            Allocate => "allocate",
            Free => "free",
        })
        .collect();
    let crashes = if crashes > 0 { format!(", {crashes} crash") } else { String::new() };
    let unknown = if unknown { ", 1 unknown" } else { "" };
    format!("N = {size}, {callers} x ({}){crashes}{unknown}", calls.join(", "))
}

/// Has Spin write a checker of a text under these definitions, compiles it, and runs it.
pub(super) fn search(
    model: &Text,
    definitions: &[String],
    flag: Option<&str>,
) -> Result<Search, Trouble> {
    let file = model[0].0;
    // Questions are asked at the same time.
    let scratch = Scratch::new(&[file, &definitions.concat(), flag.unwrap_or("")].concat())?;
    for (name, text) in model {
        scratch.write(name, text)?;
    }
    let mut spin = Command::new("spin");
    spin.arg("-a").args(definitions).args(flag.map(|flag| format!("-D{flag}")));
    let written = ask("spin", spin.arg(file).current_dir(&scratch.0))?;
    if !scratch.0.join("pan.c").exists() {
        let said = String::from_utf8_lossy(&written.stdout);
        return Err(Trouble::Broken(format!("spin: wrote no checker: {said}")));
    }
    let mut gcc = Command::new("gcc");
    gcc.args(["-w", "-DSAFETY", "-DNOREDUCE", "-o", "pan", "pan.c"]);
    let compiled = ask("gcc", gcc.current_dir(&scratch.0))?;
    if !compiled.status.success() {
        let said = String::from_utf8_lossy(&compiled.stderr);
        return Err(Trouble::Broken(format!("gcc: refused the checker: {said}")));
    }
    let mut pan = Command::new(scratch.0.join("pan"));
    let found = ask("pan", pan.args(["-m1000000", "-w20"]).current_dir(&scratch.0))?;
    read(&String::from_utf8_lossy(&found.stdout))
}

/// The bounds as `pool.pml` takes them.
fn definitions(bounds: Bounds) -> [String; 6] {
    let Bounds { size, callers, script, crashes, unknown } = bounds;
    let frees = (0..).zip(script).filter(|&(_, &call)| call == Free);
    let frees: u32 = frees.map(|(at, _)| 1_u32 << at).sum();
    [
        format!("-DN={size}"),
        format!("-DCALLERS={callers}"),
        format!("-DCALLS={}", script.len()),
        format!("-DFREES={frees}"),
        format!("-DCRASHES={crashes}"),
        format!("-DUNKNOWN={}", u8::from(unknown)),
    ]
}

/// Reads what a checker printed.
fn read(said: &str) -> Result<Search, Trouble> {
    let number = |after: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_suffix(after));
        line.and_then(|number| number.trim().parse().ok())
    };
    let errors = said.lines().find_map(|line| line.rsplit_once("errors: ")?.1.trim().parse().ok());
    let whole = said.contains("Full statespace search") && !said.contains("search depth too small");
    match (errors, number("states, stored"), number("transitions (= stored+matched)")) {
        (Some(0_u64), Some(states), Some(transitions)) if whole => {
            Ok(Search::Whole(Explored { states, transitions }))
        }
        (Some(1), ..) if said.contains("assertion violated") => Ok(Search::Violation),
        _ => Err(Trouble::Broken(format!("pan: expected a complete search, got: {said}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: Explored = Explored { states: 5, transitions: 7 };

    const WHOLE: &str = "Full statespace search for:\n\
        State-vector 60 byte, depth reached 58, errors: 0\n        5 states, stored\n        \
        2 states, matched\n        7 transitions (= stored+matched)\n";

    #[test]
    fn a_search_is_whole_or_violated_or_no_answer() {
        assert_eq!(read(WHOLE), Ok(Search::Whole(FOUND)));
        let violated = "pan:1: assertion violated 0 (at depth 16)\n\
            State-vector 60 byte, depth reached 16, errors: 1\n";
        assert_eq!(read(violated), Ok(Search::Violation));
        for no_answer in [
            String::new(),
            WHOLE.replace("Full", "Bit"),
            format!("error: max search depth too small\n{WHOLE}"),
            WHOLE.replace("errors: 0", "errors: 1"),
            WHOLE.replace("5 states", "five states"),
        ] {
            assert!(matches!(read(&no_answer), Err(Trouble::Broken(_))), "{no_answer}");
        }
    }

    #[test]
    fn one_state_more_on_either_side_is_a_disagreement() {
        let more = Explored { states: 6, ..FOUND };
        let spin = |found| Ok(Search::Whole(found));
        let disagrees = |verdict| matches!(verdict, Verdict::Disagrees(_));
        assert_eq!(judge_twin(Ok(FOUND), spin(FOUND), FOUND), Verdict::Agrees);
        assert!(disagrees(judge_twin(Ok(more), spin(FOUND), FOUND)));
        assert!(disagrees(judge_twin(Ok(FOUND), spin(more), FOUND)));
        assert!(disagrees(judge_twin(Ok(FOUND), Ok(Search::Violation), FOUND)));
        // A missing tool excuses only itself.
        assert!(disagrees(judge_twin(Ok(more), Err(Trouble::Missing("spin")), FOUND)));
        assert_eq!(
            judge_twin(Ok(FOUND), Err(Trouble::Missing("spin")), FOUND),
            Verdict::NotRun("not run: spin missing".into())
        );
    }

    #[test]
    fn bounds_reach_spin_as_numbers() {
        let bounds = Bounds { script: &[Allocate, Free, Free], crashes: 1, ..ONE_UNKNOWN };
        assert_eq!(
            definitions(bounds).join(" "),
            "-DN=2 -DCALLERS=2 -DCALLS=3 -DFREES=6 -DCRASHES=1 -DUNKNOWN=1"
        );
        assert_eq!(describe(bounds), "N = 2, 2 x (allocate, free, free), 1 crash, 1 unknown");
    }
}
