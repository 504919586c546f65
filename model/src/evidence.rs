//! `specs/CLAIMS.md`: the table of claims, written from what has just been run.
//!
//! Invariants:
//! * nothing in it is written by hand but the words around the tables, and why an ordering of the
//!   shards survives;
//! * it has no times and no dates, so that two runs of the same sources write the same bytes, and
//!   a check can compare them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::article::FAULTS;
use crate::bounds::CHECKS;
use crate::checks::{Check, Expected, Outcome, Tier};
use crate::opinions::{self, Opinion, Verdict};
use crate::shards;

/// The number of states as the tables print it.
pub fn states(outcome: &Outcome) -> String {
    if outcome.states == 0 { "-".into() } else { outcome.states.to_string() }
}

/// The verdict as the tables print it.
pub fn verdict(check: &Check, outcome: &Outcome) -> String {
    match (&outcome.problem, check.must_fail()) {
        (Some(_), _) => "FAILED".into(),
        (None, true) => "found, as it must be".into(),
        (None, false) => "holds".into(),
    }
}

/// Asks all tools, with progress on the terminal.
pub fn opinions(deep: bool) -> Vec<Opinion> {
    use std::io::IsTerminal;
    let shows = std::io::stderr().is_terminal();
    let opinions = opinions::run(deep, &mut |what| {
        if shows {
            eprint!("\r\x1b[K{what} ");
        }
    });
    if shows {
        eprint!("\r\x1b[K");
    }
    opinions
}

/// Whether all tools agree. A tool that is not installed has no opinion, unless `require_all`.
pub fn agree(opinions: &[Opinion], require_all: bool) -> bool {
    opinions.iter().all(|opinion| match opinion.verdict {
        Verdict::Agrees => true,
        Verdict::Disagrees(_) => false,
        Verdict::NotRun(_) => !require_all,
    })
}

/// An opinion in one line.
pub fn opinion_line(opinion: &Opinion) -> String {
    let verdict = match &opinion.verdict {
        Verdict::Agrees => "agrees".into(),
        Verdict::Disagrees(difference) => format!("DISAGREES: {difference}"),
        Verdict::NotRun(reason) => reason.to_uppercase(),
    };
    let Opinion { tool, name, what, detail, .. } = opinion;
    format!("{tool:<5} {name:<44} {verdict}\n      {what}. {detail}")
}

/// Rewrites `specs/CLAIMS.md` and the traces, or with `verify` compares them. Whether all went well.
///
/// # Errors
/// When a file cannot be read or written.
pub fn rewrite(
    ran: &[(&Check, Outcome)],
    opinions: &[Opinion],
    tier: Tier,
    verify: bool,
) -> Result<bool, String> {
    for (check, outcome) in ran {
        if let Some(problem) = &outcome.problem {
            return Err(format!("{}: {problem}; nothing was written", check.name));
        }
    }
    if !agree(opinions, true) {
        return Err("a tool disagrees or is missing (see `opinions`); nothing was written".into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = from_runs(ran, opinions) + &from_files(&root)?;
    let mut files = vec![(root.join("specs/CLAIMS.md"), text)];
    for fault in FAULTS {
        let path = root.join("model/traces").join(fault.name).with_extension("trace");
        files.push((path, fault.search().trace.to_string()));
    }
    let mut same = true;
    for (path, text) in files {
        let name = |error| format!("{}: {error}", path.display());
        if !verify {
            fs::write(&path, text).map_err(name)?;
        } else if of_tier(&fs::read_to_string(&path).map_err(name)?, tier) != of_tier(&text, tier) {
            eprintln!("{} is not what these checks write; run `evidence`", path.display());
            same = false;
        }
    }
    Ok(same)
}

/// The text without the rows of checks that only a higher tier runs, and with no word on whether a
/// row was run when it was written: what can be compared after a run of this tier.
fn of_tier(text: &str, tier: Tier) -> String {
    let higher = |line: &&str| {
        let above = CHECKS.iter().filter(|check| check.tier > tier);
        above.into_iter().any(|check| line.starts_with(&format!("| `{}` |", check.name)))
    };
    let rows: String = text.split_inclusive('\n').filter(|line| !higher(line)).collect();
    // An opinion of which only the numbers are here, and then a check.
    rows.replace(&format!("{PINNED}: "), "both: ").replace(PINNED, "holds")
}

/// The verdict of a row whose numbers are the pinned ones, written without running its check.
const PINNED: &str = "pinned, not run for this table";

/// For each property, the names of the mutants that break it, from the headers of the patches.
fn mutants(folder: &Path) -> Result<BTreeMap<String, Vec<String>>, String> {
    let name = |path: &Path, error| format!("{}: {error}", path.display());
    let mut mutants: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|error| name(folder, error))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "patch"))
        .collect();
    paths.sort_unstable();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| name(&path, error))?;
        let property = text.lines().find_map(|line| line.strip_prefix("Property: "));
        let property = property.ok_or_else(|| format!("{}: no Property", path.display()))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for id in property.split([',', ' ']).filter(|id| !id.is_empty()) {
            mutants.entry(id.to_owned()).or_default().push(stem.clone());
        }
    }
    Ok(mutants)
}

/// Before the checks that hold.
const HEAD: &str = "# Claims\n\n\
         Generated by `cargo run --release -p cloakroom-model -- evidence` from what it had just run \
         (`--deep`: all of it). Do not edit.\n\
         Levels, properties and names of checks are explained in [README.md](README.md), the \
         assumptions in\n[assumptions.md](assumptions.md).\n\n\
         ## EXHAUSTIVE: the real step machines\n\n\
         Object: behind POOL ids `impl/pool` as it ships, over an abstract atomic map, with every \
         interleaving of map operations\nand every death within the bounds; behind REG ids \
         `impl/register` as it ships, with every loss, repetition and order of\nmessages; behind KAD \
         ids `impl/kademlia` as it ships, the table in any order of events and the lookup in any order \
         of messages.\nUnique states are counted by two searches, stateright's and our own, and must \
         agree with each other and with the number\npinned in `model/src/bounds.rs` and below it. `depth` is the \
         longest run; `alone` the most map operations that any call took\nalone from any state \
         (POOL-5; not counted behind REG and KAD ids), which must stay within the bound of\n\
         `cloakroom_specs::pool`. No state lies on a cycle, but in the checks `table-*`: a routing \
         table may go round for ever, and\nhas no longest run.\n\n\
         Command for a row: `cargo run --release -p cloakroom-model -- check NAME`. A row that says \
         *pinned* is run every night.\n\n\
         | check | properties | bounds | states | depth | alone | verdict |\n\
         |---|---|---|---:|---:|---:|---|\n";

/// Before those that must fail.
const MUST_FAIL: &str = "\nAssumptions: behind POOL ids A-1 to A-24; behind REG ids A-25 to A-34 and, of the checks, \
         A-21 to A-24; behind KAD ids\nthese four and what kademlia.md, section 7, does not promise. \
         Would miss: what needs more ids, callers, calls, deaths,\nunknown outcomes, members, keys, \
         messages or nodes than the bounds have; bytes (the models hold decoded values); two\nstates \
         with one 64-bit hash.\n\n\
         ## Must fail\n\n\
         Faults of the published algorithm, each with its shortest trace in `model/traces` \
         (`replay FILE` tells it in words),\nand the caller's rules, broken one at a time. `steps` \
         is the length of the shortest counterexample.\n\n\
         | check | property | bounds or broken rule | states | steps | verdict |\n\
         |---|---|---|---:|---:|---|\n";

/// Before the mutants.
const MUTANTS: &str = "\n## Mutants that must fail\n\n\
         Each is a small plausible bug in the code that ships; its header names the check that must \
         notice it.\nCommand: `cargo run --release -p mutants`.\n\n\
         | property | mutants |\n|---|---|\n";

/// The checks that hold, and their sums.
fn holds(text: &mut String, ran: &[(&Check, Outcome)]) {
    for check in CHECKS {
        let Expected::Holds { states, depth, solo, .. } = check.expected else { continue };
        // What was run has the pinned numbers, or nothing would be written.
        let was_run = ran.iter().any(|(other, _)| other.name == check.name);
        let cells: [&str; 7] = [
            &format!("`{}`", check.name),
            check.properties,
            check.bounds,
            &states.to_string(),
            &depth.to_string(),
            &solo.to_string(),
            if was_run { "holds" } else { PINNED },
        ];
        table_row(text, &cells);
    }
    let [push, deep] = [Tier::Push, Tier::Deep].map(|tier| grouped(together(tier)));
    writeln!(text, "\nTogether: {push} states on every push, {deep} in the deep run.")
        .expect("a String takes all");
}

/// What only a run can tell.
fn from_runs(ran: &[(&Check, Outcome)], opinions: &[Opinion]) -> String {
    let mut text = String::from(HEAD);
    holds(&mut text, ran);
    text.push_str(MUST_FAIL);
    for (check, outcome) in ran.iter().filter(|(check, _)| check.must_fail()) {
        let cells = [
            &format!("`{}`", check.name),
            check.properties,
            check.bounds,
            &states(outcome),
            &outcome.depth.to_string(),
            &verdict(check, outcome),
        ];
        table_row(&mut text, &cells);
    }
    second_opinions(&mut text, opinions);
    text
}

/// The rest, for which nothing is run here.
fn from_files(root: &Path) -> Result<String, String> {
    let mut text = shards::sections(root)?;
    text.push('\n');
    let runs = root.join("specs/runs.md");
    let name = |error| format!("{}: {error}", runs.display());
    text.push_str(&fs::read_to_string(&runs).map_err(name)?);
    text.push_str(MUTANTS);
    for (property, names) in mutants(&root.join("tests/mutants"))? {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        table_row(&mut text, &[&property, &names.join(", ")]);
    }
    text.push_str(NOT_VERIFIED);
    Ok(text)
}

/// The states of all checks that hold, up to a tier.
fn together(tier: Tier) -> u64 {
    let states = |check: &Check| match check.expected {
        Expected::Holds { states, .. } if check.tier <= tier => states,
        _ => 0,
    };
    CHECKS.iter().map(states).sum()
}

/// `26,461,820`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn second_opinions(text: &mut String, opinions: &[Opinion]) {
    text.push_str(
        "\n## Second opinions\n\n\
         Spin is EXHAUSTIVE on a Promela twin, with the counts of the real machines in the same \
         abstraction. The SMT files are\nPROVED for all sizes by z3 and cvc5, about formulas that \
         stand for the code. Command:\n`cargo run --release -p cloakroom-model -- opinions`.\n\n\
         | tool | object | shows | found |\n|---|---|---|---|\n",
    );
    let mut opinions = opinions.to_vec();
    for put_off in opinions::put_off(PINNED) {
        if !opinions.iter().any(|asked| asked.name == put_off.name) {
            opinions.push(put_off);
        }
    }
    for Opinion { tool, name, what, detail, .. } in &opinions {
        table_row(text, &[tool, &format!("`{name}`"), what, detail]);
    }
}

fn table_row(text: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    writeln!(text, "| {} |", cells.join(" | ")).expect("a String takes all");
}

const NOT_VERIFIED: &str = "
## Not verified

- `list`, `find` and `repair` in a model, and more; see README.md, *Not verified*.
- Larger bounds than above, except by SMT (uniqueness, the refresh argument, the arithmetic), by
  sampling (`sequential`, `schedules`) and by argument (`pool.md`, section 5).
- Registers: that the checked parts make the whole (register.md, section 7), more than one key, more
  than three members, progress, bytes. `Host`, which has all replicas and coordinators of a node and
  makes starts and disks of them, is in no model: SAMPLED. The models crash replicas and coordinators,
  and give each start its number; that a host counts its starts durably is SAMPLED.
- REG-1 and REG-5 in the SMT file, which takes views in one order and names a proposal by its ballot; it
  has no crashes and no collection. The registers' Spin twin has no crash either.
- That a given map is linearizable and durable. The durable store is tested with failing and
  blocking syncs and by `kill -9`, not against disks that lie.
- The bytes of nodes and blocks, except by property tests.
- That the SMT files and the Promela text say what the code does, except by equal state counts for
  the latter.
- rustc, the solvers, stateright, redb, the kernel, the hardware.
- Time: nothing here bounds how long a map operation takes, or promises fairness between callers.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let all = [0, 7, 999, 1_000, 26_461_820].map(grouped);
        assert_eq!(all, ["0", "7", "999", "1,000", "26,461,820"]);
    }

    /// `evidence --verify` compares all of it, but late in a run and not on every machine.
    #[test]
    fn claims_for_which_nothing_is_run_here_are_those_of_their_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let claims = fs::read_to_string(root.join("specs/CLAIMS.md")).expect("CLAIMS.md is there");
        let files = from_files(&root).expect("they can be read");
        let mut pairs = files.lines().rev().zip(claims.lines().rev());
        let differs = pairs.find(|(now, written)| now != written);
        assert_eq!(differs, None, "the last line that differs, now and as written; run `evidence`");
        assert!(claims.ends_with(&files), "CLAIMS.md is not what these files say; run `evidence`");
    }

    #[test]
    fn what_was_not_run_compares_as_if_it_had_been() {
        let row = |found: &str, verdict: &str| {
            format!("| spin | `x` | y | {found}: 1 states |\n| `z` | {verdict} |\n")
        };
        let [put_off, run] = [row(PINNED, PINNED), row("both", "holds")];
        assert_eq!(of_tier(&put_off, Tier::Push), of_tier(&run, Tier::Deep));
        assert_ne!(of_tier(&put_off, Tier::Push), of_tier(&row("expected", "holds"), Tier::Push));
    }
}
