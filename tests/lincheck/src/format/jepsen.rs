//! Jepsen's log of an etcd test: one register with read, write and cas.
//!
//! ```text
//! INFO  jepsen.util - 3   :invoke :cas    [1 2]
//! INFO  jepsen.util - 3   :fail   :cas    [1 2]
//! INFO  jepsen.util - 4   :invoke :write  2
//! INFO  jepsen.util - 4   :info   :write  :timed-out
//! ```
//!
//! * `:ok` is an answer; `:fail :cas` too: the value was another. `:fail` of a read or write: it did
//!   not happen. `:info`: nobody knows.
//! * What the nemesis does is left out.

use crate::register::{Answer, Call};

use super::{FormatError, Outcome, Reader, Trace};

const LINE: &str = "INFO  jepsen.util - PROCESS :invoke|:ok|:fail|:info :read|:write|:cas VALUE";

pub(super) fn parse(text: &str) -> Result<Trace, FormatError> {
    let mut reader = Reader::default();
    let mut lines = 0;
    for (number, line) in (1..).zip(text.lines()) {
        lines = number;
        if !line.trim().is_empty() {
            event(&mut reader, number, line)?;
        }
    }
    reader.finish(lines)
}

fn event(reader: &mut Reader, number: usize, line: &str) -> Result<(), FormatError> {
    let wrong = || FormatError::new(number, format!("`{LINE}`"), format!("`{line}`"));
    let mut words = line.split_whitespace();
    if !words.by_ref().take(3).eq(["INFO", "jepsen.util", "-"]) {
        return Err(wrong());
    }
    let process = words.next().ok_or_else(wrong)?;
    if process == ":nemesis" {
        return Ok(());
    }
    let process: u64 = process.parse().map_err(|_| wrong())?;
    let (kind, call) = (words.next().ok_or_else(wrong)?, words.next().ok_or_else(wrong)?);
    let value = words.collect::<Vec<_>>().join(" ");
    if kind == ":invoke" {
        let call = match call {
            ":read" if value == "nil" => Call::Read,
            _ => called(reader, call, &value).ok_or_else(wrong)?,
        };
        return reader.invoke(number, process, String::new(), call);
    }
    let open = reader.open(number, process)?;
    let is_same_kind = matches!(
        (open, call),
        (Call::Read, ":read") | (Call::Write(_), ":write") | (Call::CompareAndSet { .. }, ":cas")
    );
    if !is_same_kind {
        return Err(FormatError::new(number, format!("the end of {open:?}"), format!("`{line}`")));
    }
    let outcome = match (kind, open) {
        (":ok", Call::Read) => {
            let value = if value == "nil" {
                None
            } else {
                let number = is_number(&value).then(|| reader.value(&value));
                Some(number.ok_or_else(wrong)?)
            };
            Outcome::Answered(Answer::Value(value))
        }
        // It says again what was called.
        (":ok" | ":fail", _) if called(reader, call, &value) == Some(open) => match (kind, open) {
            (":ok", _) => Outcome::Answered(Answer::Done),
            (_, Call::CompareAndSet { .. }) => Outcome::Answered(Answer::Mismatch),
            _ => Outcome::Failed,
        },
        // A read that timed out.
        (":fail", Call::Read) => Outcome::Failed,
        (":info", _) => Outcome::Unknown,
        _ => return Err(wrong()),
    };
    reader.end(number, process, &outcome)
}

/// A write or cas.
fn called(reader: &mut Reader, call: &str, value: &str) -> Option<Call<super::Value>> {
    match call {
        ":write" if is_number(value) => Some(Call::Write(Some(reader.value(value)))),
        ":cas" => {
            let pair = value.strip_prefix('[')?.strip_suffix(']')?;
            let (expected, new) =
                pair.split_once(' ').filter(|&(a, b)| is_number(a) && is_number(b))?;
            let (expected, new) = (Some(reader.value(expected)), Some(reader.value(new)));
            Some(Call::CompareAndSet { expected, new })
        }
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(lines: &[&str]) -> String {
        let lines: Vec<String> =
            lines.iter().map(|line| format!("INFO  jepsen.util - {line}\n")).collect();
        parse(&lines.concat()).unwrap_err().to_string()
    }

    #[test]
    fn answers_failures_and_timeouts_are_told_apart() {
        let text = "\
INFO  jepsen.util - 0\t:invoke\t:write\t4
INFO  jepsen.util - 1\t:invoke\t:cas\t[4 2]
INFO  jepsen.util - 1\t:fail\t:cas\t[4 2]
INFO  jepsen.util - :nemesis\t:info\t:start\tnil
INFO  jepsen.util - 0\t:info\t:write\t:timed-out
INFO  jepsen.util - 1\t:invoke\t:read\tnil
INFO  jepsen.util - 2\t:invoke\t:read\tnil
INFO  jepsen.util - 2\t:fail\t:read\t:timed-out
INFO  jepsen.util - 1\t:ok\t:read\t4
";
        let trace = parse(text).unwrap();
        let seen: Vec<_> = trace.records().iter().map(|r| (r.call, r.outcome, r.line)).collect();
        let cas = Call::CompareAndSet { expected: Some(0), new: Some(1) };
        assert_eq!(
            seen,
            [
                (Call::Write(Some(0)), None, 1),
                (cas, Some((Answer::Mismatch, 3)), 3),
                (Call::Read, Some((Answer::Value(Some(0)), 9)), 9),
            ]
        );
    }

    #[test]
    fn what_is_not_such_a_log_is_refused_by_line() {
        assert!(
            refused(&["0 :invoke :read nil", "0 :ok :wait 3"]).starts_with("2: expected the end")
        );
        assert!(refused(&["0 :invoke :write x"]).starts_with("1: expected `INFO"));
        assert!(
            refused(&["0 :invoke :write 3", "0 :ok :write 4"]).starts_with("2: expected `INFO")
        );
        assert_eq!(
            refused(&["0 :invoke :write 3", "0 :invoke :read nil"]),
            "2: expected the end of process 0's operation of line 1, got another invocation"
        );
        assert_eq!(
            refused(&["3 :ok :read 1"]),
            "1: expected an invocation by process 3, got the end of one"
        );
        assert_eq!(refused(&[]), "1: expected operations, got the end of the file");
        assert!(parse("INFO  jep").unwrap_err().to_string().ends_with("got `INFO  jep`"));
    }
}
