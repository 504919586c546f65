//! A trace as a text that a reader follows without having seen the code.
//!
//! The form: `#` comments, five header lines, one line a step, the mark of a cycle or of what comes
//! after the fault, and a closing line `finally: …`. Blank lines and comments say nothing to the
//! parser.
//!
//! Invariant: a trace's text read again has that text.
//!
//! Here is no meaning: [`replay`](super::replay()) runs a trace on the machines.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::event::Event;
use super::faults::{FAULTS, Fault};
use super::machine::Caller;

/// A way to a fault, step by step, and what follows from it.
#[derive(Clone, Debug)]
pub struct Trace {
    pub(super) fault: Fault,
    pub(super) steps: Vec<Step>,
    pub(super) verdict: String,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) part: Part,
    pub(super) event: Event,
}

/// Where in a trace a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// On the way to the state that shows the fault.
    Stem,
    /// From that state back to it.
    Cycle,
    /// What happens to the next call.
    After,
}

impl Part {
    /// The line before the first step of the part.
    pub(super) fn mark(self) -> Option<&'static str> {
        match self {
            Self::Stem => None,
            Self::Cycle => Some("cycle: these steps lead back to here, and so on for ever"),
            Self::After => Some("after: what follows from it"),
        }
    }
}

/// A text that is no trace: whoever wrote the file is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[error("trace, line {line}: expected {expected}, got {got}")]
pub struct TraceError {
    /// The line, from 1.
    pub line: usize,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub got: String,
}

const LEGEND: &str = "\
# One line is one step: the start of a call, one operation on the map, a return, or a death.
# P, Q are callers; p1 is the tag of P's first call. [0, 1) is the leaf of id 0 and holds a tag or
# nothing. A longer interval is an inner node and holds how many ids are taken below it.
";
const LEGEND_OF_VERSIONS: &str = "\
# v2:1 is a count of 1 in a node of version 2; every swap raises the version.
";
const LEGEND_OF_UNKNOWNS: &str = "\
# An operation whose outcome is unknown may take effect later, once; its line then says `late`.
";

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = &self.fault.setting;
        write!(f, "# {}\n#\n{LEGEND}", self.fault.title)?;
        if setting.algorithm.has_versions() {
            f.write_str(LEGEND_OF_VERSIONS)?;
        }
        if setting.unknowns > 0 {
            f.write_str(LEGEND_OF_UNKNOWNS)?;
        }
        writeln!(f)?;
        for (key, value) in header(&self.fault) {
            writeln!(f, "{key}: {value}")?;
        }
        writeln!(f)?;
        let mut part = Part::Stem;
        for step in &self.steps {
            if step.part != part {
                part = step.part;
                writeln!(f, "\n{}", part.mark().unwrap_or_default())?;
            }
            writeln!(f, "{}", step.event)?;
        }
        writeln!(f, "\nfinally: {}", self.verdict)
    }
}

/// The header lines after `fault: NAME` has named the fault, and that line itself.
fn header(fault: &Fault) -> [(&'static str, String); 5] {
    let callers = (0..fault.setting.callers).map(|caller| Caller(caller).to_string());
    [
        ("fault", fault.name.to_owned()),
        ("property", fault.property.to_owned()),
        ("size", fault.setting.size.to_string()),
        ("callers", callers.collect::<Vec<_>>().join(" ")),
        ("shows", fault.shows.to_owned()),
    ]
}

impl FromStr for Trace {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        read(text).map(|(trace, _)| trace)
    }
}

impl Trace {
    /// Reads a trace file. O(length).
    ///
    /// # Errors
    /// [`TraceError`] at the first line that is not what a trace has there.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        text.parse()
    }
}

/// The lines of a text that say something, with their numbers.
struct Lines<'a> {
    said: Vec<(usize, &'a str)>,
    end: usize,
    next: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let says = |line: &(usize, &str)| !line.1.is_empty() && !line.1.starts_with('#');
        let said = (1..).zip(text.lines().map(str::trim_end)).filter(says).collect();
        Self { said, end: text.lines().count() + 1, next: 0 }
    }

    fn next(&mut self, expected: &str) -> Result<(usize, &'a str), TraceError> {
        let line = self.said.get(self.next).copied();
        self.next += 1;
        line.ok_or_else(|| TraceError {
            line: self.end,
            expected: expected.to_owned(),
            got: "the end of the file".to_owned(),
        })
    }

    fn header(&mut self, key: &str, value: &str) -> Result<(), TraceError> {
        let expected = format!("{key}: {value}");
        let (line, got) = self.next(&format!("`{expected}`"))?;
        if got == expected {
            return Ok(());
        }
        Err(TraceError { line, expected: format!("`{expected}`"), got: format!("`{got}`") })
    }
}

/// A trace, and the number of the line of each step and of the verdict.
pub(super) fn read(text: &str) -> Result<(Trace, Vec<usize>), TraceError> {
    let mut lines = Lines::new(text);
    let fault = named(&mut lines)?;
    for (key, value) in &header(&fault)[1..] {
        lines.header(key, value)?;
    }
    let mut part = Part::Stem;
    let mut steps = Vec::new();
    let mut numbers = Vec::new();
    loop {
        let (line, got) = lines.next("a step or `finally: …`")?;
        let error = |expected: &str| TraceError {
            line,
            expected: expected.to_owned(),
            got: format!("`{got}`"),
        };
        if let Some(verdict) = got.strip_prefix("finally: ") {
            numbers.push(line);
            if let Ok((line, got)) = lines.next("") {
                let expected = "the end of the file".to_owned();
                return Err(TraceError { line, expected, got: format!("`{got}`") });
            }
            return Ok((Trace { fault, steps, verdict: verdict.to_owned() }, numbers));
        }
        let marked = [Part::Cycle, Part::After].into_iter().find(|part| part.mark() == Some(got));
        match marked {
            Some(marked) if marked > part => part = marked,
            Some(_) => return Err(error("no second part of this kind")),
            None => {
                numbers.push(line);
                steps.push(Step { part, event: got.parse().map_err(error)? });
            }
        }
    }
}

fn named(lines: &mut Lines<'_>) -> Result<Fault, TraceError> {
    let names: Vec<_> = FAULTS.iter().map(|fault| fault.name).collect();
    let expected = format!("`fault: ` and one of {}", names.join(", "));
    let (line, got) = lines.next(&expected)?;
    let name = got.strip_prefix("fault: ");
    let fault = FAULTS.iter().find(|fault| Some(fault.name) == name);
    fault.copied().ok_or_else(|| TraceError { line, expected, got: format!("`{got}`") })
}
