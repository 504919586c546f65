//! `sim registers`: many seeds, one after the other, until one fails.
//!
//! Invariants:
//! * what it says it ran, it ran: each seed is counted when it has ended;
//! * a seed that fails is run again with every step written down, and the command that does so is
//!   printed.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use thiserror::Error;

use super::lanes::escaped;
use super::{Outcome, Plan};
use crate::args::OutputArgs;
use crate::random::{Random, to_f64};

/// `sim registers`.
#[derive(Clone, Debug, Args)]
pub struct RegistersArgs {
    /// Seeds from the first to the last, or one seed
    #[arg(long, env = "CLOAKROOM_SEEDS", hide_env_values = true, value_name = "A..B")]
    #[arg(default_value = "1..1000")]
    pub seeds: Seeds,
    /// Run fresh seeds for so many minutes instead
    #[arg(long, env = "CLOAKROOM_MINUTES", hide_env_values = true, value_name = "MIN")]
    pub minutes: Option<f64>,
    /// Folder for the page of a seed that fails
    #[arg(long, env = "CLOAKROOM_TIMELINE", hide_env_values = true, value_name = "DIR")]
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub timeline: PathBuf,
    /// Go on after a seed that fails
    #[arg(long, env = "CLOAKROOM_KEEP_GOING", hide_env_values = true)]
    pub keep_going: bool,
    /// How to print the figures.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Seeds, the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// A text that names no seeds: the user's fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected seeds such as 1..1000 or 7, got {0:?}")]
pub struct SeedsError(String);

impl FromStr for Seeds {
    type Err = SeedsError;
    fn from_str(text: &str) -> Result<Self, SeedsError> {
        let fault = || SeedsError(text.to_owned());
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| text.parse().map_err(|_| fault());
        let seeds = Self { first: number(first)?, last: number(last)? };
        if seeds.first > seeds.last { Err(fault()) } else { Ok(seeds) }
    }
}

/// What many seeds came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Seeds run.
    pub seeds: u64,
    /// Of them, those that failed.
    pub failed: Vec<u64>,
    /// Virtual seconds.
    pub simulated_s: f64,
    /// Wall seconds.
    pub wall_s: f64,
    /// The same of clusters of five nodes.
    pub five_simulated_s: f64,
    /// The same.
    pub five_wall_s: f64,
    /// Messages that reached a node.
    pub messages: u64,
    /// Calls of clients.
    pub calls: u64,
    /// Durable states judged.
    pub states: u64,
    /// States chosen.
    pub choices: u64,
    /// Tombstones dropped, at one member each.
    pub drops: u64,
    /// Snapshots dropped.
    pub retired: u64,
    /// Crashes, lost disks, proposals, cuts, joins and leaves.
    pub faults: u64,
    /// The first and the last.
    pub range: Option<(u64, u64)>,
    /// Histories that the judge did not decide.
    pub undecided: u64,
    /// The seeds that they are of.
    pub undecided_seeds: Vec<u64>,
}

impl Figures {
    fn add(&mut self, outcome: &Outcome, wall_s: f64) {
        let simulated_s = to_f64(outcome.simulated_ms) / 1000.0;
        self.seeds += 1;
        self.range = Some((self.range.map_or(outcome.seed, |(first, _)| first), outcome.seed));
        self.simulated_s += simulated_s;
        self.wall_s += wall_s;
        if outcome.nodes == 5 {
            self.five_simulated_s += simulated_s;
            self.five_wall_s += wall_s;
        }
        if outcome.fault.is_some() {
            self.failed.push(outcome.seed);
        }
        self.messages += outcome.messages;
        self.calls += outcome.calls;
        self.states += outcome.states;
        self.choices += outcome.choices;
        self.drops += outcome.drops;
        self.retired += outcome.retired;
        self.faults += outcome.faults;
        self.undecided += outcome.undecided;
        if outcome.undecided > 0 {
            self.undecided_seeds.push(outcome.seed);
        }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "{name:34} {value}");
        };
        let range = self.range.map_or(String::new(), |(first, last)| format!(": {first}..{last}"));
        row("seeds", format!("{}{range}", self.seeds));
        row("failed", self.failed.len().to_string());
        row("simulated", format!("{:.0} s in {:.1} s", self.simulated_s, self.wall_s));
        let speed = |simulated: f64, wall: f64| format!("{:.0}", simulated / wall.max(1e-9));
        row("simulated seconds a second", speed(self.simulated_s, self.wall_s));
        row("  of clusters of 5 nodes", speed(self.five_simulated_s, self.five_wall_s));
        row("calls", self.calls.to_string());
        row("messages", self.messages.to_string());
        row("durable states judged", self.states.to_string());
        row("states chosen", self.choices.to_string());
        row("tombstones dropped, by member", self.drops.to_string());
        row("snapshots dropped", self.retired.to_string());
        row("crashes, cuts, changes of view …", self.faults.to_string());
        let seeds: Vec<String> = self.undecided_seeds.iter().map(u64::to_string).collect();
        let of = if seeds.is_empty() { String::new() } else { format!(": {}", seeds.join(", ")) };
        row("histories undecided", format!("{}{of}", self.undecided));
        text
    }
}

/// Why it stopped.
#[derive(Debug, Error)]
#[error("{failed} of {seeds} seeds failed, the first is {first}: {what}\n{replay}")]
pub struct Failed {
    /// How many.
    pub failed: usize,
    /// Of how many.
    pub seeds: u64,
    /// The first of them.
    pub first: u64,
    /// What went wrong there.
    pub what: String,
    /// How to see it again, and where its page is.
    pub replay: String,
}

/// What is run of each seed.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// The command's name.
    pub(crate) name: &'static str,
    /// Runs a seed, with every step written down or not.
    pub(crate) run: fn(u64, bool) -> Outcome,
    /// What a seed means.
    pub(crate) plan: fn(u64) -> Plan,
}

/// Runs them. The figures are there also when some failed.
pub fn carry_out(args: &RegistersArgs) -> (Figures, Option<Failed>) {
    carry_out_of(args, Scenario { name: "registers", run: super::run, plan: Plan::of })
}

/// Runs seeds of a scenario.
pub(crate) fn carry_out_of(args: &RegistersArgs, scenario: Scenario) -> (Figures, Option<Failed>) {
    let begun = Instant::now();
    let limit = args.minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0));
    let seeds = match limit {
        None => args.seeds,
        Some(_) => fresh(),
    };
    let bar = bar(scenario.name, seeds, limit);
    let mut figures = Figures::default();
    let mut first: Option<Outcome> = None;
    for seed in seeds.first..=seeds.last {
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            break;
        }
        let at = Instant::now();
        let outcome = (scenario.run)(seed, false);
        figures.add(&outcome, at.elapsed().as_secs_f64());
        if outcome.fault.is_some() {
            let what = outcome.fault.clone().unwrap_or_default();
            bar.suspend(|| eprintln!("seed {seed}: {what}"));
            first.get_or_insert(outcome);
            if !args.keep_going {
                break;
            }
        }
        match limit {
            None => bar.inc(1),
            Some(_) => bar.set_position(begun.elapsed().as_secs()),
        }
        bar.set_prefix(format!("{} seeds, {} failed", figures.seeds, figures.failed.len()));
    }
    bar.finish_and_clear();
    let failed = first.map(|outcome| Failed {
        failed: figures.failed.len(),
        seeds: figures.seeds,
        first: outcome.seed,
        what: outcome.fault.clone().unwrap_or_default(),
        replay: show(args, scenario, &outcome),
    });
    (figures, failed)
}

/// Seeds that nobody has run: from the clock, so that a command says which it ran.
fn fresh() -> Seeds {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = now.map_or(0, |now| now.as_secs() << 20 | u64::from(now.subsec_micros()));
    let first = Random::new(seed).next() >> 16;
    Seeds { first, last: first + (1 << 40) }
}

fn bar(name: &str, seeds: Seeds, limit: Option<Duration>) -> ProgressBar {
    let length = limit.map_or(seeds.last - seeds.first + 1, |limit| limit.as_secs());
    let bar = ProgressBar::new(length);
    let style = "{msg} [{bar:32}] {percent} %  {prefix}  {elapsed} gone, {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(name.to_owned());
    bar
}

/// Runs it again with every step written down, and says where that is.
fn show(args: &RegistersArgs, scenario: Scenario, outcome: &Outcome) -> String {
    let (name, again) = (scenario.name, (scenario.run)(outcome.seed, true));
    let command = format!("cargo run --release -- sim {name} --seeds {}", outcome.seed);
    if again.hash != outcome.hash {
        return format!("SIM-1: it ran another way the second time; {command}");
    }
    let path = args.timeline.join(format!("{name}-{}.html", outcome.seed));
    let written = std::fs::create_dir_all(&args.timeline)
        .and_then(|()| std::fs::write(&path, page(scenario, &again)));
    match written {
        Ok(()) => format!("{command}\npage: {}", path.display()),
        Err(cause) => format!("{command}\n{}: {cause}", path.display()),
    }
}

/// The timeline, and every step.
fn page(scenario: Scenario, outcome: &Outcome) -> String {
    let fault = escaped(outcome.fault.as_deref().unwrap_or("no fault"));
    let plan = escaped(&(scenario.plan)(outcome.seed).to_string());
    let (seed, mut page) = (outcome.seed, outcome.picture.clone());
    let _ = write!(page, "<h2>seed {seed}: {fault}</h2>\n<p>{plan}</p>\n<pre>\n");
    for line in &outcome.log {
        page.push_str(&escaped(line));
        page.push('\n');
    }
    page.push_str("</pre>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_as_they_are_written() {
        assert_eq!("1..10000".parse(), Ok(Seeds { first: 1, last: 10_000 }));
        assert_eq!("7".parse(), Ok(Seeds { first: 7, last: 7 }));
        for bad in ["", "..", "5..4", "a..b", "1..=2"] {
            assert!(bad.parse::<Seeds>().is_err(), "{bad}");
        }
    }
}
