//! Histories of registers from files.
//!
//! Invariants:
//! * LIN-4: a file is read as a whole or refused, with line, expected and got. Nothing is skipped, but
//!   what an operation's own file says did not happen, and reads without an answer: neither can
//!   make a difference;
//! * a process has one operation under way at a time, except one that it has given up.
//!
//! What it does not do: read histories of other objects than registers. The library judges those.

mod jepsen;
mod jsonl;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::history::{History, Timed};
use crate::register::{Answer, Call};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of Jepsen's log: `INFO  jepsen.util - 3  :invoke  :cas  [1 2]`, one register.
    JepsenEtcd,
    /// Our own: one event or one operation in each line, in JSON.
    Jsonl,
}

/// A number that stands for a value of a [`Trace`].
pub type Value = u32;

/// The history of one key.
pub type Registers = History<Call<Value>, Answer<Value>>;

/// An operation of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who called.
    pub process: u64,
    /// On which register.
    pub key: String,
    /// What.
    pub call: Call<Value>,
    /// When: the line, or by the file's clock.
    pub begin: u64,
    /// The answer and when, if there is one.
    pub outcome: Option<(Answer<Value>, u64)>,
    /// The line of the answer; without one, that of the call.
    pub line: usize,
}

/// A file's operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    records: Vec<Record>,
    names: Vec<String>,
}

/// A file that cannot be read: its author's fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{line}: expected {expected}, got {got}")]
#[non_exhaustive]
pub struct FormatError {
    /// From 1.
    pub line: usize,
    /// What should stand there.
    pub expected: String,
    /// What does.
    pub got: String,
}

impl FormatError {
    fn new(line: usize, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { line, expected: expected.into(), got: got.into() }
    }
}

impl Trace {
    /// Reads a file's text; without a format, one that begins with a brace is JSON.
    ///
    /// # Errors
    /// The first line that cannot be read, or a file without operations.
    pub fn parse(text: &str, format: Option<Format>) -> Result<Self, FormatError> {
        let guess =
            if text.trim_start().starts_with('{') { Format::Jsonl } else { Format::JepsenEtcd };
        match format.unwrap_or(guess) {
            Format::JepsenEtcd => jepsen::parse(text),
            Format::Jsonl => jsonl::parse(text),
        }
    }

    /// All operations.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What a value is called.
    pub fn name(&self, value: Option<Value>) -> &str {
        value.map_or("nil", |value| &self.names[value as usize])
    }

    /// For each key its history, and the records of its operations in the same order.
    pub fn histories(&self) -> BTreeMap<&str, (Registers, Vec<&Record>)> {
        let mut keys: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in &self.records {
            keys.entry(&record.key).or_default().push(record);
        }
        let histories = keys.into_iter().map(|(key, mut records)| {
            records.sort_by_key(|record| record.begin);
            let timed = records.iter().map(|record| Timed {
                process: record.process,
                call: record.call,
                begin: record.begin,
                outcome: record.outcome,
            });
            (key, (History::of(timed.collect()), records))
        });
        histories.collect()
    }
}

/// What came of an operation.
enum Outcome {
    Answered(Answer<Value>),
    /// It did not happen and will not.
    Failed,
    /// Nobody knows.
    Unknown,
}

/// Makes a trace, event by event or operation by operation.
#[derive(Default)]
struct Reader {
    records: Vec<Record>,
    names: Vec<String>,
    numbers: BTreeMap<String, Value>,
    open: BTreeMap<u64, Record>,
}

impl Reader {
    fn value(&mut self, name: &str) -> Value {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = Value::try_from(self.names.len()).expect("fewer than 2^32 values");
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    fn invoke(
        &mut self,
        line: usize,
        process: u64,
        key: String,
        call: Call<Value>,
    ) -> Result<(), FormatError> {
        let record = Record { process, key, call, begin: line as u64, outcome: None, line };
        match self.open.insert(process, record) {
            None => Ok(()),
            Some(before) => Err(FormatError::new(
                line,
                format!("the end of process {process}'s operation of line {}", before.line),
                "another invocation",
            )),
        }
    }

    /// What a process has under way.
    fn open(&self, line: usize, process: u64) -> Result<Call<Value>, FormatError> {
        let open = self.open.get(&process).map(|record| record.call);
        open.ok_or_else(|| {
            FormatError::new(line, format!("an invocation by process {process}"), "the end of one")
        })
    }

    fn end(&mut self, line: usize, process: u64, outcome: &Outcome) -> Result<(), FormatError> {
        self.open(line, process)?;
        if let Some(mut record) = self.open.remove(&process) {
            if let Outcome::Answered(answer) = outcome {
                record.outcome = Some((*answer, line as u64));
                record.line = line;
            }
            if !matches!(outcome, Outcome::Failed) {
                self.keep(record);
            }
        }
        Ok(())
    }

    /// A read without an answer says nothing and does nothing.
    fn keep(&mut self, record: Record) {
        if record.call != Call::Read || record.outcome.is_some() {
            self.records.push(record);
        }
    }

    /// What is still open stays pending.
    fn finish(mut self, lines: usize) -> Result<Trace, FormatError> {
        for record in std::mem::take(&mut self.open).into_values() {
            self.keep(record);
        }
        if self.records.is_empty() {
            return Err(FormatError::new(lines.max(1), "operations", "the end of the file"));
        }
        self.records.sort_by_key(|record| record.begin);
        Ok(Trace { records: self.records, names: self.names })
    }
}
