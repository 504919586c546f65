//! What clients have called and been told: in memory while it runs, as files when it is over.
//!
//! | file | one line | who reads it |
//! |---|---|---|
//! | `keys.jsonl` | a call on a key, in the judge's own format | `cloakroom-lincheck`, `--judge` |
//! | `versions.jsonl` | a version of a key, and the value that was seen under it | `--judge` |
//! | `pools.jsonl` | a call on a pool | `--judge` |
//! | `end.json` | what a pool held at the end, and what it ought to | `--judge` |
//!
//! Invariants:
//! * what is known not to have happened is left out; what may have happened stays without an answer;
//! * times are of one clock, taken before a request is made and after its answer is there.
//!
//! What it does not do: judge.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// A call on a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PoolCall {
    Allocate { tag: u64 },
    Free { id: u64, tag: u64 },
}

/// What it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PoolAnswer {
    Id(u64),
    Full,
    Freed,
    /// It had been free, or an earlier attempt of the same call has freed it.
    Free,
}

/// A call on a pool, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolEntry {
    pub(crate) pool: String,
    pub(crate) process: u64,
    pub(crate) call: PoolCall,
    /// Microseconds.
    pub(crate) begin: u64,
    /// None: it may have happened, may still happen, or never.
    pub(crate) outcome: Option<(PoolAnswer, u64)>,
}

/// A pool at the end, when nothing is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolEnd {
    pub(crate) pool: String,
    pub(crate) size: u64,
    /// What it holds, by id.
    pub(crate) slots: Vec<Option<u64>>,
    /// What its callers hold: (id, tag).
    pub(crate) holdings: Vec<(u64, u64)>,
    /// What `usage` said.
    pub(crate) usage: u64,
    /// How many could be taken then, before it was full.
    pub(crate) taken: u64,
}

/// A value that was seen under a version of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) key: String,
    pub(crate) version: u64,
    /// None: it was removed then.
    pub(crate) value: Option<String>,
}

/// All that is judged.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    pub(crate) keys: Vec<String>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) pools: Vec<PoolEntry>,
    pub(crate) ends: Vec<PoolEnd>,
    /// Of small pools, which are judged whole: their sizes.
    pub(crate) sizes: BTreeMap<String, u64>,
    /// What was wrong in itself, in words.
    pub(crate) faults: Vec<String>,
    /// Calls by what came of them.
    pub(crate) counts: BTreeMap<String, u64>,
}

/// The book of a run, for all its clients.
#[derive(Debug)]
pub(crate) struct Book {
    begun: Instant,
    pages: Mutex<Pages>,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), pages: Mutex::default() }
    }

    /// Microseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// No code that holds the lock can leave what it guards half changed.
    pub(crate) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that must not be, whatever was asked.
    pub(crate) fn fault(&self, what: impl std::fmt::Display) {
        let at = self.begun.elapsed().as_secs_f64();
        self.pages().faults.push(format!("after {at:.1} s: {what}"));
    }

    pub(crate) fn count(&self, what: &str) {
        *self.pages().counts.entry(what.to_string()).or_default() += 1;
    }

    /// A read that was answered.
    pub(crate) fn read(&self, process: u64, key: &str, begin: u64, value: Option<&str>) {
        let end = self.now();
        let line = json!({
            "process": process, "op": "read", "key": key, "begin": begin, "end": end,
            "answer": "ok", "value": value,
        });
        self.pages().keys.push(line.to_string());
    }

    /// A compare-and-set. `done`: whether it was done; none if nobody knows.
    pub(crate) fn set(
        &self,
        (process, key, begin): (u64, &str, u64),
        (expected, new): (Option<&str>, Option<&str>),
        done: Option<bool>,
    ) {
        let mut line = json!({
            "process": process, "op": "cas", "key": key, "begin": begin,
            "expected": expected, "new": new, "answer": "unknown",
        });
        if let Some(done) = done {
            line["end"] = self.now().into();
            line["answer"] = Json::from(if done { "ok" } else { "mismatch" });
        }
        self.pages().keys.push(line.to_string());
    }

    pub(crate) fn seen(&self, key: &str, version: u64, value: Option<&str>) {
        let (key, value) = (key.to_string(), value.map(str::to_string));
        self.pages().seen.push(Seen { key, version, value });
    }

    /// A call on a pool; `answer` is none if nobody knows.
    pub(crate) fn pool(
        &self,
        (process, pool, begin): (u64, &str, u64),
        call: PoolCall,
        answer: Option<PoolAnswer>,
    ) {
        let outcome = answer.map(|answer| (answer, self.now()));
        let pool = pool.to_string();
        self.pages().pools.push(PoolEntry { pool, process, call, begin, outcome });
    }
}

impl Pages {
    /// Writes it into a folder.
    pub(crate) fn save(&self, folder: &Path) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("keys.jsonl"), joined(self.keys.iter().cloned()))?;
        fs::write(folder.join("versions.jsonl"), lines(&self.seen))?;
        fs::write(folder.join("pools.jsonl"), lines(&self.pools))?;
        let end = json!({ "pools": self.ends, "sizes": self.sizes, "faults": self.faults });
        fs::write(folder.join("end.json"), end.to_string())
    }

    /// Reads what was written.
    pub(crate) fn load(folder: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|cause| format!("{}: {cause}", path.display()))
        };
        let end: Json = parse(&read("end.json")?, "end.json")?;
        let part = |name: &str| end[name].to_string();
        Ok(Self {
            keys: read("keys.jsonl")?.lines().map(str::to_string).collect(),
            seen: parse_lines(&read("versions.jsonl")?, "versions.jsonl")?,
            pools: parse_lines(&read("pools.jsonl")?, "pools.jsonl")?,
            ends: parse(&part("pools"), "end.json")?,
            sizes: parse(&part("sizes"), "end.json")?,
            faults: parse(&part("faults"), "end.json")?,
            counts: BTreeMap::new(),
        })
    }
}

fn lines(entries: &[impl Serialize]) -> String {
    let line = |entry| serde_json::to_string(entry).expect("texts and numbers are JSON");
    joined(entries.iter().map(line))
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

fn parse<T: DeserializeOwned>(text: &str, name: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|cause| format!("{name}: {cause}"))
}

fn parse_lines<T: DeserializeOwned>(text: &str, name: &str) -> Result<Vec<T>, String> {
    (1..).zip(text.lines()).map(|(at, line)| parse(line, &format!("{name}:{at}"))).collect()
}
