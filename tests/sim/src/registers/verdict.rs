//! What the judge of histories says of what clients were told.
//!
//! Invariants:
//! * every key's history and the pool's are judged, each by itself: keys know nothing of each other;
//! * what the judge cannot decide within its limit is counted, and is no pass.
//!
//! What it does not do: look at nodes.

use std::collections::BTreeMap;
use std::fmt::Write;

use cloakroom_lincheck::format::{Format, Trace};
use cloakroom_lincheck::pool::{self, Pool, begin_free, end_free};
use cloakroom_lincheck::register::{Answer, Call, Register};
use cloakroom_lincheck::{History, Limit, Timed, Verdict, judge, report, timeline};
use cloakroom_register::Key;

use super::client::{Book, Entry, PoolCall};

/// Configurations of a search: about 100 megabytes for a key. What that leaves open of a key is searched
/// once more, within the judge's own limit; not so of the pool, whose states are many times as large.
const LIMIT: Limit = Limit { configurations: 2_000_000 };

/// Of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    /// What is not linearizable, in words, and its picture.
    pub(crate) wrong: Option<(String, String)>,
    /// Histories judged.
    pub(crate) histories: u64,
    /// Of them, undecided.
    pub(crate) undecided: u64,
}

/// Judges all histories of a run.
pub(crate) fn verdict(book: &Book, ids: u64, name: &str) -> Judged {
    let mut judged = Judged::default();
    let mut keys: BTreeMap<&Key, Vec<&Entry>> = BTreeMap::new();
    for entry in book.entries.iter().filter(|entry| entry.counts) {
        keys.entry(&entry.key).or_default().push(entry);
    }
    for (key, entries) in keys {
        let timed = |entry: &&Entry| Timed {
            process: entry.process,
            call: entry.call,
            begin: entry.begin,
            outcome: entry.outcome,
        };
        let history = History::of(entries.iter().map(timed).collect());
        judged.histories += 1;
        let found = match judge(&Register::empty(), &history, LIMIT).verdict {
            Verdict::Undecided => judge(&Register::empty(), &history, Limit::default()).verdict,
            verdict => verdict,
        };
        match found {
            Verdict::Linearizable(_) => {}
            Verdict::Undecided => judged.undecided += 1,
            Verdict::Violated(violation) => {
                let words = format!("key {key:?}: the first {} events", violation.prefix);
                judged.wrong = Some((words, picture(&entries, name)));
                return judged;
            }
        }
    }
    if !book.pool.is_empty() {
        judged.histories += 1;
        let history = of_pool(book);
        match judge(&Pool { size: usize::try_from(ids).unwrap_or(0) }, &history, LIMIT).verdict {
            Verdict::Linearizable(_) => {}
            Verdict::Undecided => judged.undecided += 1,
            Verdict::Violated(violation) => {
                let words = format!("the pool: the first {} events", violation.prefix);
                judged.wrong = Some((words, String::new()));
            }
        }
    }
    judged
}

fn of_pool(book: &Book) -> History<pool::Call, pool::Answer> {
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (at, entry) in book.pool.iter().enumerate().filter(|(_, entry)| entry.counts) {
        events.push((entry.begin, at, false));
        events.extend(entry.outcome.map(|(_, end)| (end, at, true)));
    }
    events.sort_unstable();
    let mut history = History::default();
    let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, at, returns) in events {
        let entry = &book.pool[at];
        match (entry.call, entry.outcome.filter(|_| returns)) {
            (PoolCall::Allocate(tag), None) => {
                numbers.insert(at, history.invoke(entry.process, pool::Call::Allocate { tag }));
            }
            (PoolCall::Free(id, tag), None) => {
                let id = usize::try_from(id).unwrap_or(0);
                numbers.insert(at, begin_free(&mut history, entry.process, id, tag));
            }
            (PoolCall::Allocate(_), Some((answer, _))) => history.answer(numbers[&at], answer),
            (PoolCall::Free(..), Some((answer, _))) => end_free(&mut history, numbers[&at], answer),
        }
    }
    history
}

/// The judge's own timeline of the key that fails.
fn picture(entries: &[&Entry], name: &str) -> String {
    let mut text = String::new();
    let value = |value: Option<u64>| value.map_or("null".to_owned(), |it| format!("\"{it:x}\""));
    for entry in entries {
        let (process, begin) = (entry.process, entry.begin);
        let _ = write!(text, "{{\"process\":{process},\"key\":\"\",\"begin\":{begin},");
        let _ = match entry.call {
            Call::Read => write!(text, "\"op\":\"read\","),
            Call::Write(new) => write!(text, "\"op\":\"write\",\"value\":{},", value(new)),
            Call::CompareAndSet { expected, new } => {
                let (expected, new) = (value(expected), value(new));
                write!(text, "\"op\":\"cas\",\"expected\":{expected},\"new\":{new},")
            }
        };
        let _ = match entry.outcome {
            None => writeln!(text, "\"answer\":\"unknown\"}}"),
            Some((answer, end)) => {
                let _ = write!(text, "\"end\":{end},");
                match answer {
                    Answer::Value(it) => {
                        writeln!(text, "\"answer\":\"ok\",\"value\":{}}}", value(it))
                    }
                    Answer::Done => writeln!(text, "\"answer\":\"ok\"}}"),
                    Answer::Mismatch => writeln!(text, "\"answer\":\"mismatch\"}}"),
                    Answer::Found(it) => {
                        writeln!(text, "\"answer\":\"mismatch\",\"found\":{}}}", value(it))
                    }
                }
            }
        };
    }
    let Ok(trace) = Trace::parse(&text, Some(Format::Jsonl)) else { return String::new() };
    let report = report::report(&trace, LIMIT, &mut |_, _, _| {});
    report.violation.map_or(String::new(), |fault| timeline::page(&trace, &fault, name))
}
