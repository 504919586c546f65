//! What is seen in one step, and its line in a trace file.
//!
//! Invariant: an event's text read again is that event; the unit test below says so for each kind.
//!
//! Here is no meaning: whether an event can happen is for `World` to say.

use std::fmt;
use std::str::FromStr;

use cloakroom_pool::Interval;

use super::machine::{Answer, Call, Caller, Node, Operation, Outcome, Tag, Value};
use super::world::{Action, Happens};

/// One step of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) caller: Caller,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Starts(Call),
    Does(Operation, Outcome),
    /// An operation of unknown outcome happens after all.
    TakesEffect(Operation, Outcome),
    Returns(Answer),
    Dies,
}

impl Event {
    /// The action that shows itself as this event, or as another one if the event is not true.
    pub(super) fn action(&self) -> Action {
        let happens = match self.what {
            What::Starts(call) => Happens::Start(call),
            What::Does(_, Outcome::Unknown) => Happens::LoseOutcome,
            What::Does(..) | What::Returns(_) => Happens::Step,
            What::TakesEffect(operation, _) => Happens::TakeEffect(operation),
            What::Dies => Happens::Die,
        };
        Action { caller: self.caller, happens }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ", self.caller)?;
        match self.what {
            What::Starts(call) => write!(f, "{call}"),
            What::Does(operation, outcome) => write!(f, "{operation} -> {outcome}"),
            What::TakesEffect(operation, outcome) => write!(f, "late {operation} -> {outcome}"),
            What::Returns(Answer::Id(id)) => write!(f, "allocate returns {id}"),
            What::Returns(Answer::Full) => f.write_str("allocate returns Full"),
            What::Returns(Answer::Freed) => f.write_str("free returns"),
            What::Dies => f.write_str("dies"),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", char::from(b'P' + self.0))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", char::from(b'p' + self.caller.0), self.call)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            0 => write!(f, "{}", self.count),
            version => write!(f, "v{version}:{}", self.count),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allocate(tag) => write!(f, "allocate with tag {tag}"),
            Self::Free(id, tag) => write!(f, "free {id} with tag {tag}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(at) => write!(f, "get {at}"),
            Self::PutIfAbsent(at, tag) => write!(f, "put-if-absent {at} {tag}"),
            Self::CompareAndRemove(at, tag) => write!(f, "compare-and-remove {at} {tag}"),
            Self::CompareAndSwap(at, from, to) => {
                write!(f, "compare-and-swap {at} {from} to {to}")
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(Value::Leaf(None)) => f.write_str("nothing"),
            Self::Value(Value::Leaf(Some(tag))) => write!(f, "{tag}"),
            Self::Value(Value::Node(node)) => write!(f, "{node}"),
            Self::Done => f.write_str("done"),
            Self::Failed => f.write_str("failed"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What a text should have been.
type Expected = &'static str;

const STEP: Expected = "a step: CALLER, two spaces, and one of `allocate with tag TAG`, \
    `free ID with tag TAG`, `allocate returns ID or Full`, `free returns`, `dies`, \
    `OPERATION -> OUTCOME`, `late OPERATION -> OUTCOME`";
const OPERATION: Expected = "an operation: `get INTERVAL`, `put-if-absent INTERVAL TAG`, \
    `compare-and-remove INTERVAL TAG` or `compare-and-swap INTERVAL NODE to NODE`";

impl FromStr for Event {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let (caller, what) = text.split_once("  ").ok_or(STEP)?;
        Ok(Self { caller: caller.parse()?, what: what.parse()? })
    }
}

impl FromStr for What {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        Ok(match text {
            "dies" => Self::Dies,
            "free returns" => Self::Returns(Answer::Freed),
            "allocate returns Full" => Self::Returns(Answer::Full),
            _ => {
                if let Some(id) = text.strip_prefix("allocate returns ") {
                    Self::Returns(Answer::Id(number(id)?))
                } else if let Some(tag) = text.strip_prefix("allocate with tag ") {
                    Self::Starts(Call::Allocate(tag.parse()?))
                } else if let Some(free) = text.strip_prefix("free ") {
                    let (id, tag) = free.split_once(" with tag ").ok_or(STEP)?;
                    Self::Starts(Call::Free(number(id)?, tag.parse()?))
                } else {
                    let (operation, outcome) = text.split_once(" -> ").ok_or(STEP)?;
                    match operation.strip_prefix("late ") {
                        Some(late) => Self::TakesEffect(late.parse()?, outcome.parse()?),
                        None => Self::Does(operation.parse()?, outcome.parse()?),
                    }
                }
            }
        })
    }
}

impl FromStr for Caller {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match text.as_bytes() {
            [letter @ b'P'..=b'Z'] => Ok(Self(letter - b'P')),
            _ => Err("a caller: one letter from P to Z"),
        }
    }
}

impl FromStr for Tag {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        const TAG: Expected = "a tag: a caller's letter in lower case, and the call's number";
        let letter = text.bytes().next().filter(|letter| (b'p'..=b'z').contains(letter));
        let caller = Caller(letter.ok_or(TAG)? - b'p');
        let call = text[1..].parse().map_err(|_| TAG)?;
        Ok(Self { caller, call })
    }
}

impl FromStr for Node {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        const NODE: Expected = "a count, or vVERSION:COUNT";
        let (version, count) = match text.strip_prefix('v') {
            None => (0, text),
            Some(versioned) => {
                let (version, count) = versioned.split_once(':').ok_or(NODE)?;
                (version.parse().map_err(|_| NODE)?, count)
            }
        };
        Ok(Self { version, count: number(count).map_err(|_| NODE)? })
    }
}

impl FromStr for Operation {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let (name, operands) = text.split_once(' ').ok_or(OPERATION)?;
        let (at, rest) = interval(operands)?;
        let rest = rest.trim_start();
        Ok(match name {
            "get" if rest.is_empty() => Self::Get(at),
            "put-if-absent" => Self::PutIfAbsent(at, rest.parse()?),
            "compare-and-remove" => Self::CompareAndRemove(at, rest.parse()?),
            "compare-and-swap" => {
                let (from, to) = rest.split_once(" to ").ok_or(OPERATION)?;
                Self::CompareAndSwap(at, from.parse()?, to.parse()?)
            }
            _ => return Err(OPERATION),
        })
    }
}

impl FromStr for Outcome {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        Ok(match text {
            "done" => Self::Done,
            "failed" => Self::Failed,
            "unknown" => Self::Unknown,
            "nothing" => Self::Value(Value::Leaf(None)),
            _ => Self::Value(match (text.parse(), text.parse()) {
                (Ok(node), _) => Value::Node(node),
                (_, Ok(tag)) => Value::Leaf(Some(tag)),
                (Err(_), Err(_)) => {
                    return Err("an outcome: done, failed, unknown, nothing, a tag, or a count");
                }
            }),
        })
    }
}

/// The interval that a text begins with, and what follows it.
fn interval(text: &str) -> Result<(Interval, &str), Expected> {
    const INTERVAL: Expected = "an interval of the tree: [START, END)";
    let (bounds, rest) = text.split_once(')').ok_or(INTERVAL)?;
    let (start, end) =
        bounds.strip_prefix('[').and_then(|bounds| bounds.split_once(", ")).ok_or(INTERVAL)?;
    let (start, end) = (number(start)?, number(end)?);
    let len = end.checked_sub(start).ok_or(INTERVAL)?;
    Ok((Interval::new(start, len).map_err(|_| INTERVAL)?, rest))
}

fn number(text: &str) -> Result<u64, Expected> {
    text.parse().map_err(|_| "a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_read_again_is_that_event() {
        for text in [
            "P  allocate with tag p1",
            "R  free 3 with tag r12",
            "P  get [0, 2) -> 1",
            "P  get [0, 2) -> v3:1",
            "P  get [1, 2) -> nothing",
            "P  get [1, 2) -> q2",
            "Q  put-if-absent [1, 2) q1 -> unknown",
            "Q  late put-if-absent [1, 2) q1 -> failed",
            "P  compare-and-remove [0, 1) p1 -> done",
            "P  compare-and-swap [0, 4) v1:0 to v2:3 -> done",
            "P  allocate returns 7",
            "P  allocate returns Full",
            "P  free returns",
            "P  dies",
        ] {
            assert_eq!(text.parse::<Event>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for text in [
            "",
            "P dies",
            "A  dies",
            "P  sleeps",
            "P  get [0, 3) -> 1",
            "P  get [0, 2) 1 -> 1",
            "P  get [0, 2)",
            "P  put-if-absent [0, 1) -> done",
            "P  put-if-absent [0, 1) p1 -> perhaps",
            "P  compare-and-swap [0, 2) 0 1 -> done",
            "P  allocate with tag \u{e9}1",
            "P  free 0 with tag p",
            "P  allocate returns later",
        ] {
            assert!(text.parse::<Event>().is_err(), "{text:?}");
        }
    }
}
