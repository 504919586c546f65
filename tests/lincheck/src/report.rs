//! The verdict on a file: key by key, and in words.
//!
//! Invariants:
//! * LIN-3: of several keys that fail, the one is shown whose prefix ends first. So no shorter prefix of
//!   the file fails;
//! * a key that is undecided makes the file undecided, unless another one fails.

use std::fmt::Write;

use serde::Serialize;

use crate::format::{Record, Registers, Trace, Value};
use crate::judge::{Limit, Verdict, Violation, judge_with};
use crate::register::{Answer, Call, Register};

/// What is said of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// In one word or two.
    pub verdict: Word,
    /// How many operations were judged.
    pub operations: usize,
    /// On how many keys.
    pub keys: usize,
    /// How many configurations the searches looked at.
    pub configurations: u64,
    /// Where it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violation: Option<Fault>,
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Word {
    /// Some order explains all answers.
    #[serde(rename = "linearizable")]
    Linearizable,
    /// None does.
    #[serde(rename = "not linearizable")]
    Not,
    /// The limit came first.
    #[serde(rename = "undecided")]
    Undecided,
}

/// The smallest prefix that fails.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// The key on which.
    pub key: String,
    /// How many events of that key it has.
    pub events: usize,
    /// Of how many.
    pub of_events: usize,
    /// When it ends: a line, or a time by the file's clock.
    pub until: u64,
    /// The line of the operation that ends it.
    pub line: usize,
    /// Who called that.
    pub process: u64,
    /// What it was and answered.
    pub operation: String,
    /// Everything that the register may have held before it returned.
    pub states: Vec<String>,
    /// One order of what came before, in words.
    pub order: Vec<String>,
    /// The same for a picture.
    #[serde(skip)]
    pub violation: Violation<Option<Value>>,
}

/// Judges a file's operations. `progress` is told keys done, of how many, and configurations.
pub fn report(trace: &Trace, limit: Limit, progress: &mut dyn FnMut(usize, usize, u64)) -> Report {
    let histories = trace.histories();
    let mut report = Report {
        verdict: Word::Linearizable,
        operations: trace.records().len(),
        keys: histories.len(),
        configurations: 0,
        violation: None,
    };
    for (done, (key, (history, records))) in histories.iter().enumerate() {
        progress(done, histories.len(), report.configurations);
        let before = report.configurations;
        let judgement = judge_with(&Register::empty(), history, limit, &mut |now, _| {
            progress(done, histories.len(), before + now);
        });
        report.configurations += judgement.configurations;
        match judgement.verdict {
            Verdict::Linearizable(_) => {}
            Verdict::Undecided if report.verdict == Word::Linearizable => {
                report.verdict = Word::Undecided;
            }
            Verdict::Undecided => {}
            Verdict::Violated(violation) => {
                report.verdict = Word::Not;
                let fault = fault(trace, key, history, records, violation);
                if report.violation.as_ref().is_none_or(|other| fault.until < other.until) {
                    report.violation = Some(fault);
                }
            }
        }
    }
    report
}

fn fault(
    trace: &Trace,
    key: &str,
    history: &Registers,
    records: &[&Record],
    violation: Violation<Option<Value>>,
) -> Fault {
    let record = records[violation.operation];
    let until = record.outcome.map(|(_, until)| until).expect("LIN-3: it ends with a return");
    let words = |&at: &usize| {
        let answered =
            records[at].outcome.filter(|&(_, end)| end < until).map(|(answer, _)| answer);
        format!("{}: {}", records[at].process, in_words(trace, records[at].call, answered))
    };
    let mut states: Vec<String> =
        violation.states.iter().map(|&state| trace.name(state).into()).collect();
    states.sort();
    Fault {
        key: key.into(),
        events: violation.prefix,
        of_events: history.events(),
        until,
        line: record.line,
        process: record.process,
        operation: in_words(trace, record.call, record.outcome.map(|(answer, _)| answer)),
        states,
        order: violation.order.iter().map(words).collect(),
        violation,
    }
}

/// An operation in a few words: `read 4`, `cas 1→2 found 3`, `write 5 ?` without an answer.
pub fn in_words(trace: &Trace, call: Call<Value>, answer: Option<Answer<Value>>) -> String {
    let mut words = match call {
        Call::Read => "read".into(),
        Call::Write(value) => format!("write {}", trace.name(value)),
        Call::CompareAndSet { expected, new } => {
            format!("cas {}→{}", trace.name(expected), trace.name(new))
        }
    };
    match answer {
        Some(Answer::Value(value)) => words = format!("{words} {}", trace.name(value)),
        Some(Answer::Done) => {}
        Some(Answer::Mismatch) => words.push_str(" failed"),
        Some(Answer::Found(value)) => words = format!("{words} found {}", trace.name(value)),
        None => words.push_str(" ?"),
    }
    words
}

impl Word {
    /// The verdict in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Not => "not linearizable",
            Self::Undecided => "undecided",
        }
    }
}

impl Fault {
    /// Why it fails, for a person; `most` operations of the order, the last ones.
    pub fn explain(&self, most: usize) -> String {
        let mut text = format!("the first {} of {} events", self.events, self.of_events);
        if !self.key.is_empty() {
            let _ = write!(text, " of key {}", self.key);
        }
        let _ = write!(
            text,
            " fail, and no fewer; the last is in line {}: process {}, {}\n  before it the register \
             held {}",
            self.line,
            self.process,
            self.operation,
            self.states.join(" or ")
        );
        let left_out = self.order.len().saturating_sub(most);
        if !self.order.is_empty() {
            let dots = if left_out > 0 { "… " } else { "" };
            let _ = write!(text, "\n  for instance: {dots}{}", self.order[left_out..].join(", "));
        }
        text
    }
}
