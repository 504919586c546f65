//! `searches.txt`: how each scenario is explored, and the pinned number of executions.
//!
//! ```text
//! scenario | reclaimer | search | preemption bound | executions | set
//! ```
//!
//! * `search` is loom's `plain`, `rmw` or `failing` (see `sync::Mode`), or shuttle's `dfs`;
//! * a search that ends without a bound within [`most_without_bound`] executions has none. Otherwise the table
//!   has, for the quick and for the whole set, the search with the highest bound that has no more than its limit, or had
//!   when it was pinned: one that has become smaller may keep its bound. Some have a higher one for the deep set;
//! * the table is written by `CLOAKROOM_PIN=1 cargo test -p cloakroom-shards --test race pin`, and a
//!   search that takes another number of executions than the table says fails. With `CLOAKROOM_SET=deep` beside it,
//!   what has a bound is tried once without one, within that limit, which is about a minute; nothing else is
//!   looked for. `CLOAKROOM_SEARCH` names some, by a part of their cells.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use cloakroom_shards::sync::{CHECKER, Checker, Mode, Plan, Schedules};

use crate::scenario::Reclaimer;

/// When a search is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    /// By `cargo test`.
    Quick,
    /// By `.ci/run`.
    Whole,
    /// By `.ci/run --deep`.
    Deep,
}

/// Executions that a search of a set may take.
pub(crate) const MOST: [(Set, usize); 3] =
    [(Set::Quick, 1_000), (Set::Whole, 4_000), (Set::Deep, 300_000)];

/// Of the deep set, without a bound: about a minute, in which shuttle runs more of them than loom.
pub(crate) fn most_without_bound(search: Search) -> usize {
    if search == Search::Dfs { 3_000_000 } else { MOST[2].1 }
}

/// How the accesses behave, and who makes the schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Search {
    Plain,
    Rmw,
    Failing,
    Dfs,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) reclaimer: Reclaimer,
    pub(crate) search: Search,
    pub(crate) preemptions: Option<usize>,
    pub(crate) executions: usize,
    pub(crate) set: Set,
}

const RECLAIMERS: [(&str, Reclaimer); 3] =
    [("still", Reclaimer::Still), ("epoch", Reclaimer::Epoch), ("crossbeam", Reclaimer::Crossbeam)];
const SEARCHES: [(&str, Search); 4] = [
    ("plain", Search::Plain),
    ("rmw", Search::Rmw),
    ("failing", Search::Failing),
    ("dfs", Search::Dfs),
];
const SETS: [(&str, Set); 3] = [("quick", Set::Quick), ("whole", Set::Whole), ("deep", Set::Deep)];

fn word<A: PartialEq>(words: &[(&'static str, A)], wanted: &A) -> &'static str {
    words.iter().find(|(_, it)| it == wanted).expect("every variant that is in the table").0
}

fn meaning<A: Copy>(words: &[(&'static str, A)], word: &str) -> Result<A, String> {
    let found = words.iter().find(|(it, _)| *it == word);
    found.map(|&(_, it)| it).ok_or_else(|| format!("no such word: `{word}`"))
}

impl Row {
    /// What the search is, without what came of it.
    pub(crate) fn name(&self) -> String {
        let bound = self.preemptions.map_or("none".into(), |most| most.to_string());
        let (reclaimer, search) =
            (word(&RECLAIMERS, &self.reclaimer), word(&SEARCHES, &self.search));
        format!("{} | {reclaimer} | {search} | {bound}", self.scenario)
    }

    pub(crate) fn plan(&self) -> Plan {
        let mode = match self.search {
            Search::Plain | Search::Dfs => Mode::Plain,
            Search::Rmw => Mode::Rmw,
            Search::Failing => Mode::Failing,
        };
        Plan {
            mode,
            preemptions: self.preemptions,
            schedules: Schedules::DepthFirst,
            most: None,
            stop: None,
            weaker: None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} | {}", self.name(), self.executions, word(&SETS, &self.set))
    }
}

impl FromStr for Row {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split(" | ").collect();
        let [scenario, reclaimer, search, bound, executions, set] = words[..] else {
            return Err(format!("expected six cells: {line}"));
        };
        let number = |text: &str| text.parse::<usize>().map_err(|error| format!("{text}: {error}"));
        Ok(Self {
            scenario: scenario.into(),
            reclaimer: meaning(&RECLAIMERS, reclaimer)?,
            search: meaning(&SEARCHES, search)?,
            preemptions: if bound == "none" { None } else { Some(number(bound)?) },
            executions: number(executions)?,
            set: meaning(&SETS, set)?,
        })
    }
}

fn path() -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/race/searches.txt")
}

/// The searches of this build's checker.
pub(crate) fn ours(search: Search) -> bool {
    (search == Search::Dfs) == (CHECKER == Checker::Shuttle)
}

/// The table.
pub(crate) fn all() -> Vec<Row> {
    let text = std::fs::read_to_string(path()).expect("searches.txt");
    let rows: Result<Vec<Row>, String> =
        text.lines().filter(|line| !line.starts_with('#')).map(Row::from_str).collect();
    rows.expect("searches.txt")
}

/// Writes the table anew, but for the searches of other checkers.
pub(crate) fn pin(mut rows: Vec<Row>) {
    rows.extend(all().into_iter().filter(|row| !ours(row.search)));
    let order = |row: &Row| crate::scenarios::SCENARIOS.iter().position(|s| s.name == row.scenario);
    rows.sort_by_key(|row| (order(row), row.clone()));
    let mut text = String::from(
        "# scenario | reclaimer | search | preemption bound | executions | set: see searches.rs\n",
    );
    for row in rows.iter().filter(|row| order(row).is_some()) {
        writeln!(text, "{row}").expect("a String takes all");
    }
    std::fs::write(path(), text).expect("searches.txt");
}
