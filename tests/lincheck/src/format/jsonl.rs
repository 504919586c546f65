//! Our own format: in each line a JSON object, one event or one whole operation. A file has only one
//! of these kinds.
//!
//! An event stands where it was seen; the order of lines is the order of time:
//!
//! ```text
//! {"process":0,"event":"invoke","op":"write","key":"a","value":1}
//! {"process":1,"event":"invoke","op":"cas","key":"a","expected":1,"new":null}
//! {"process":0,"event":"ok"}
//! {"process":1,"event":"mismatch","found":null}
//! {"process":0,"event":"invoke","op":"read","key":"a"}
//! {"process":0,"event":"ok","value":1}
//! ```
//!
//! An operation has its own times, by any clock, in whole numbers; one that ends when another begins
//! overlaps it:
//!
//! ```text
//! {"process":0,"op":"write","key":"a","value":1,"begin":10,"end":17,"answer":"ok"}
//! {"process":1,"op":"read","key":"a","begin":12,"end":14,"answer":"ok","value":1}
//! {"process":2,"op":"cas","key":"a","expected":1,"new":2,"begin":12,"answer":"unknown"}
//! ```
//!
//! * `op`: `read`, `write` with `value`, `cas` with `expected` and `new`. `key` is `""` if it is left
//!   out. A value is a number, a string, true, false, or null: there is none.
//! * `event` beside `invoke`, and `answer`: `ok`, for a read with `value`; `mismatch`, only for cas, with
//!   or without `found`, which is what was there; `fail`: it has not happened and never will;
//!   `unknown`: it may have happened, may still happen once, or never will.
//! * An event that never comes is `unknown`, too.

use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use crate::register::{Answer, Call};

use super::{FormatError, Outcome, Reader, Record, Trace, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    process: u64,
    event: Option<Event>,
    op: Option<Op>,
    key: Option<String>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Json>,
    #[serde(default, deserialize_with = "present")]
    expected: Option<Json>,
    #[serde(default, deserialize_with = "present")]
    new: Option<Json>,
    #[serde(default, deserialize_with = "present")]
    found: Option<Json>,
    begin: Option<u64>,
    end: Option<u64>,
    answer: Option<Ended>,
}

/// Null is a value; only a field that is left out is none.
fn present<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(json).map(Some)
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Read,
    Write,
    Cas,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Invoke,
    Ok,
    Mismatch,
    Fail,
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ended {
    Ok,
    Mismatch,
    Fail,
    Unknown,
}

pub(super) fn parse(text: &str) -> Result<Trace, FormatError> {
    let mut reader = Reader::default();
    let mut lines = 0;
    let mut of_events = None;
    for (number, text) in (1..).zip(text.lines()) {
        lines = number;
        if text.trim().is_empty() {
            continue;
        }
        let mut line: Line = serde_json::from_str(text).map_err(|error| {
            let got = format!("`{}`: {error}", text.chars().take(120).collect::<String>());
            FormatError::new(number, "an event or operation", got)
        })?;
        let is_event = line.event.is_some();
        let expected = *of_events.get_or_insert(is_event);
        if expected != is_event {
            let name = |is_event| if is_event { "an event" } else { "an operation" };
            let expected = format!("{}, as in the first line", name(expected));
            return Err(FormatError::new(number, expected, name(is_event)));
        }
        match line.event {
            Some(event) => line.event(&mut reader, number, event)?,
            None => line.operation(&mut reader, number)?,
        }
        line.nothing_left(number)?;
    }
    reader.finish(lines)
}

impl Line {
    fn event(
        &mut self,
        reader: &mut Reader,
        number: usize,
        event: Event,
    ) -> Result<(), FormatError> {
        if event == Event::Invoke {
            let call = self.call(reader, number)?;
            let key = self.key.take().unwrap_or_default();
            return reader.invoke(number, self.process, key, call);
        }
        let call = reader.open(number, self.process)?;
        let ended = match event {
            Event::Ok => Ended::Ok,
            Event::Mismatch => Ended::Mismatch,
            Event::Fail => Ended::Fail,
            Event::Unknown | Event::Invoke => Ended::Unknown,
        };
        let outcome = self.outcome(reader, number, call, ended)?;
        reader.end(number, self.process, &outcome)
    }

    fn operation(&mut self, reader: &mut Reader, number: usize) -> Result<(), FormatError> {
        let missing = |field: &str| FormatError::new(number, format!("`{field}`"), "none");
        let ended = self.answer.take().ok_or_else(|| missing("event` or `answer"))?;
        let begin = self.begin.take().ok_or_else(|| missing("begin"))?;
        let end = self.end.take();
        // A read's `value` is what it answers, a write's is what it is called with.
        let call = self.call(reader, number)?;
        let outcome = match self.outcome(reader, number, call, ended)? {
            Outcome::Failed => {
                return {
                    self.key = None;
                    Ok(())
                };
            }
            Outcome::Unknown => None,
            Outcome::Answered(answer) => {
                let end = end.ok_or_else(|| missing("end"))?;
                if end < begin {
                    let expected = format!("an end after the begin at {begin}");
                    return Err(FormatError::new(number, expected, end.to_string()));
                }
                Some((answer, end))
            }
        };
        let key = self.key.take().unwrap_or_default();
        reader.keep(Record { process: self.process, key, call, begin, outcome, line: number });
        Ok(())
    }

    fn call(&mut self, reader: &mut Reader, number: usize) -> Result<Call<Value>, FormatError> {
        match self.op.take() {
            None => Err(FormatError::new(number, "`op`", "none")),
            Some(Op::Read) => Ok(Call::Read),
            Some(Op::Write) => Ok(Call::Write(value(reader, number, "value", self.value.take())?)),
            Some(Op::Cas) => Ok(Call::CompareAndSet {
                expected: value(reader, number, "expected", self.expected.take())?,
                new: value(reader, number, "new", self.new.take())?,
            }),
        }
    }

    fn outcome(
        &mut self,
        reader: &mut Reader,
        number: usize,
        call: Call<Value>,
        ended: Ended,
    ) -> Result<Outcome, FormatError> {
        let answer = match (ended, call) {
            (Ended::Fail, _) => return Ok(Outcome::Failed),
            (Ended::Unknown, _) => return Ok(Outcome::Unknown),
            (Ended::Ok, Call::Read) => {
                Answer::Value(value(reader, number, "value", self.value.take())?)
            }
            (Ended::Ok, _) => Answer::Done,
            (Ended::Mismatch, Call::CompareAndSet { .. }) => match self.found.take() {
                None => Answer::Mismatch,
                found => Answer::Found(value(reader, number, "found", found)?),
            },
            (Ended::Mismatch, _) => {
                return Err(FormatError::new(number, "a mismatch of a cas only", "one of another"));
            }
        };
        Ok(Outcome::Answered(answer))
    }

    /// LIN-4: a field that means nothing here may be a mistake.
    fn nothing_left(&self, number: usize) -> Result<(), FormatError> {
        let left = [
            ("op", self.op.is_some()),
            ("key", self.key.is_some()),
            ("value", self.value.is_some()),
            ("expected", self.expected.is_some()),
            ("new", self.new.is_some()),
            ("found", self.found.is_some()),
            ("begin", self.begin.is_some()),
            ("end", self.end.is_some()),
            ("answer", self.answer.is_some()),
        ];
        match left.iter().find(|(_, is_left)| *is_left) {
            None => Ok(()),
            Some((field, _)) => Err(FormatError::new(
                number,
                "only fields that mean something here",
                format!("`{field}`"),
            )),
        }
    }
}

fn value(
    reader: &mut Reader,
    number: usize,
    field: &str,
    json: Option<Json>,
) -> Result<Option<Value>, FormatError> {
    match json {
        Some(Json::Null) => Ok(None),
        // As JSON, so that "1" and 1 are two values.
        Some(scalar @ (Json::Bool(_) | Json::Number(_) | Json::String(_))) => {
            Ok(Some(reader.value(&scalar.to_string())))
        }
        Some(other) => {
            Err(FormatError::new(number, format!("a scalar as `{field}`"), format!("`{other}`")))
        }
        None => Err(FormatError::new(number, format!("`{field}`"), "none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documented() -> Vec<String> {
        let source = include_str!("jsonl.rs");
        let blocks = source.split("//! ```").skip(1).step_by(2).take(2);
        blocks
            .map(|block| {
                let lines = block.lines().skip(1).filter_map(|line| line.strip_prefix("//! "));
                lines.collect::<Vec<_>>().join("\n")
            })
            .collect()
    }

    #[test]
    fn the_documented_examples_are_read() {
        let [events, operations] = &documented()[..] else { panic!("two examples") };
        let trace = parse(events).unwrap();
        assert_eq!(trace.records().len(), 3);
        let cas = &trace.records()[1];
        assert_eq!(cas.call, Call::CompareAndSet { expected: Some(0), new: None });
        assert_eq!(cas.outcome, Some((Answer::Found(None), 4)));
        let trace = parse(operations).unwrap();
        let begins: Vec<_> = trace.records().iter().map(|record| record.begin).collect();
        assert_eq!(begins, [10, 12, 12]);
        assert_eq!(trace.records()[2].outcome, None);
    }

    #[test]
    fn a_line_that_is_not_whole_is_refused() {
        let invoke = r#"{"process":0,"event":"invoke","op":"write","value":1}"#;
        let refused = |lines: &[&str]| parse(&lines.join("\n")).unwrap_err().to_string();
        let op = r#"{"process":0,"op":"read","begin":1,"end":0,"answer":"ok","value":1}"#;
        assert_eq!(refused(&[op]), "1: expected an end after the begin at 1, got 0");
        assert_eq!(
            refused(&[invoke, op]),
            "2: expected an event, as in the first line, got an operation"
        );
        assert_eq!(refused(&[&invoke.replace("write", "cas")]), "1: expected `expected`, got none");
        assert_eq!(
            refused(&[&invoke.replace("1}", "[]}")]),
            "1: expected a scalar as `value`, got `[]`"
        );
        assert!(refused(&[&invoke.replace("op", "opp")]).contains("unknown field `opp`"));
        assert!(refused(&["{"]).starts_with("1: expected an event or operation, got `{`: EOF"));
        let ok = r#"{"process":0,"event":"ok","value":1}"#;
        assert!(refused(&[invoke, ok]).ends_with("mean something here, got `value`"));
        let mismatch = r#"{"process":0,"event":"mismatch"}"#;
        assert!(refused(&[invoke, mismatch]).starts_with("2: expected a mismatch of a cas only"));
    }

    #[test]
    fn what_failed_is_left_out_and_what_is_unknown_is_pending() {
        let line = |answer| {
            format!(
                r#"{{"process":0,"op":"write","key":"k","value":1,"begin":1,"answer":"{answer}"}}"#
            )
        };
        let trace = parse(&format!("{}\n{}", line("fail"), line("unknown"))).unwrap();
        assert_eq!(trace.records().len(), 1);
        assert_eq!((trace.records()[0].outcome, trace.records()[0].line), (None, 2));
    }
}
