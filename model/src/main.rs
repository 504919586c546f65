//! The `cloakroom-model` command: check, explore, replay, opinions, evidence.

#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use cloakroom_model::bounds::CHECKS;
use cloakroom_model::checks::{self, Check, Outcome, Tier};
use cloakroom_model::opinions::Opinion;
use cloakroom_model::{article, evidence};

/// Exhaustive models of Cloakroom's pool and registers.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Explore every state within the bounds and print one table; exit 1 if a check fails.
    ///
    /// A check fails when a property does not hold, when its exact counts differ from the pinned
    /// ones, when it did not see what it is about, or when a counterexample that must exist is not
    /// found.
    Check {
        /// Only this check, or all whose names begin with it ("pool", "recovery", "article", "register",
        /// "collection", "views").
        name: Option<String>,
        /// Also the checks that take many minutes.
        #[arg(long)]
        deep: bool,
        /// Only the checks that `cargo test` runs.
        #[arg(long, conflicts_with = "deep")]
        quick: bool,
    },
    /// Open stateright's explorer on a check.
    Explore {
        /// The check.
        name: String,
        /// Where to listen: this machine only, unless you say otherwise.
        #[arg(long, default_value = "127.0.0.1:3000")]
        address: String,
    },
    /// Step through a committed trace in words, comparing each step with the model.
    Replay {
        /// A file of `model/traces`.
        file: std::path::PathBuf,
    },
    /// Ask Spin, z3 and cvc5 for their opinion; exit 1 if one disagrees.
    Opinions {
        /// Fail also where a tool is not installed.
        #[arg(long)]
        require_all: bool,
        /// Also about bounds that take many minutes, of the registers' twin.
        #[arg(long)]
        deep: bool,
    },
    /// Run all checks and opinions, and rewrite `specs/CLAIMS.md` and `model/traces` from them.
    Evidence {
        /// Also the checks that take many minutes.
        #[arg(long)]
        deep: bool,
        /// Write nothing; exit 1 if the files differ from what would be written. Rows of checks that
        /// were not run are left out of the comparison.
        #[arg(long)]
        verify: bool,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Check { name, deep, quick } => check(name.as_deref(), tier(deep, quick)),
        Command::Explore { name, address } => explore(&name, &address),
        Command::Replay { file } => replay(&file),
        Command::Opinions { require_all, deep } => Ok(opinions(require_all, deep)),
        Command::Evidence { deep, verify } => rewrite(tier(deep, false), verify),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("cloakroom-model: {problem}");
            ExitCode::from(2)
        }
    }
}

fn tier(deep: bool, quick: bool) -> Tier {
    match (deep, quick) {
        (true, _) => Tier::Deep,
        (_, true) => Tier::Quick,
        _ => Tier::Push,
    }
}

/// The checks of this name; without a name, all of the tier and below.
fn chosen(name: Option<&str>, tier: Tier) -> Result<Vec<&'static Check>, String> {
    let chosen: Vec<_> = CHECKS
        .iter()
        .filter(|check| match name {
            // A check named in full runs whatever its tier.
            Some(name) => check.name == name || check.is_named(name) && check.tier <= tier,
            None => check.tier <= tier,
        })
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        let name = name.unwrap_or_default();
        return Err(format!("no check is named {name:?}; there are: {}", names.join(", ")));
    }
    Ok(chosen)
}

/// Runs one check with its progress on the terminal.
fn run(check: &Check) -> (Outcome, Duration) {
    let begun = Instant::now();
    let shows = std::io::stderr().is_terminal();
    let outcome = check.run(|states| {
        if shows {
            eprint!("\r{}: {states} states, {:.0} s ", check.name, begun.elapsed().as_secs_f64());
        }
    });
    if shows {
        eprint!("\r\x1b[K");
    }
    (outcome, begun.elapsed())
}

fn check(name: Option<&str>, tier: Tier) -> Result<bool, String> {
    let ran = run_all(&chosen(name, tier)?, name.is_some());
    Ok(ran.iter().all(|(_, outcome)| outcome.problem.is_none()))
}

/// Runs checks and prints the table as they end; `steps`: also of the counterexamples that must be
/// found.
fn run_all(checks: &[&'static Check], steps: bool) -> Vec<(&'static Check, Outcome)> {
    say(row(["check", "property", "states", "depth", "alone", "time", "verdict"]));
    let mut ran = Vec::new();
    for check in checks {
        let (outcome, took) = run(check);
        say(row([
            check.name,
            check.properties,
            &evidence::states(&outcome),
            &outcome.depth.to_string(),
            &outcome.solo.map_or_else(|| "-".into(), |solo| solo.to_string()),
            &format!("{:.1} s", took.as_secs_f64()),
            &evidence::verdict(check, &outcome),
        ]));
        say(format!("    {}", check.bounds));
        if let Some(problem) = &outcome.problem {
            say(format!("    {problem}"));
        }
        if let Some(wrong) = outcome.wrong.as_ref().filter(|_| steps || outcome.problem.is_some()) {
            for (number, step) in (1..).zip(&wrong.trace) {
                say(format!("    {number:>3}  {step}"));
            }
            say(format!("    {:>3}  {}", "=>", wrong.what));
        }
        ran.push((*check, outcome));
    }
    ran
}

/// Prints a line. A reader that has gone away has seen enough.
fn say(line: impl std::fmt::Display) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("cloakroom-model: standard output: {error}");
        std::process::exit(2);
    }
}

fn row([name, property, states, depth, alone, time, verdict]: [&str; 7]) -> String {
    format!("{name:<26} {property:<22} {states:>12} {depth:>6} {alone:>6} {time:>9}  {verdict}")
}

fn explore(name: &str, address: &str) -> Result<bool, String> {
    let check = CHECKS.iter().find(|check| check.name == name);
    let check = check.ok_or_else(|| chosen(Some(name), Tier::Deep).err().unwrap_or_default())?;
    eprintln!("explorer of {} on http://{address}/ (Ctrl-C ends it)", check.name);
    checks::explore(check, address);
    Ok(true)
}

fn replay(file: &std::path::Path) -> Result<bool, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    match article::replay(&text) {
        Ok(lines) => {
            for line in lines {
                say(line);
            }
            Ok(true)
        }
        Err(problem) => Err(format!("{}: {problem}", file.display())),
    }
}

fn opinions(require_all: bool, deep: bool) -> bool {
    evidence::agree(&ask_all(deep), require_all)
}

/// Asks all tools and prints what they say.
fn ask_all(deep: bool) -> Vec<Opinion> {
    let opinions = evidence::opinions(deep);
    for opinion in &opinions {
        say(evidence::opinion_line(opinion));
    }
    opinions
}

fn rewrite(tier: Tier, verify: bool) -> Result<bool, String> {
    let ran = run_all(&chosen(None, tier)?, false);
    evidence::rewrite(&ran, &ask_all(tier == Tier::Deep), tier, verify)
}
