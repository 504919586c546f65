//! An operation that another node shall run, and what became of it, as bytes: the question and the answer
//! of one stream between two nodes.
//!
//! Invariants:
//! * what decodes encodes to the same bytes, and there is nothing behind it;
//! * REG-8: the version that an operation is bound to travels with it, and comes back.
//!
//! What it does not do: choose whom to ask. All numbers are big-endian.

use cloakroom_register::{
    Call, Epoch, Expected, Held, Incarnation, Key, Member, Operation, OperationId, Outcome, Slot,
    Value, Version, View,
};
use cloakroom_wire::NodeId;

use crate::server::Reply;

/// The first byte of a question and of an answer.
const FORMAT: u8 = 1;

/// What is asked: an operation, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) operation: Operation,
    pub(crate) patience_ms: u64,
}

impl Question {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Operation { id, key, call, bound } = &self.operation;
        let mut out = Out(vec![FORMAT]);
        out.long(self.patience_ms);
        out.0.extend(id.0);
        out.version(*bound);
        out.text(&key.0);
        match call {
            Call::Get => out.0.push(0),
            Call::CompareAndSet { expected, new } => {
                match expected {
                    Expected::Absent => out.0.push(1),
                    Expected::Value(value) => {
                        out.0.push(2);
                        out.text(&value.0);
                    }
                    Expected::Version(version) => {
                        out.0.push(3);
                        out.long(version.0);
                    }
                }
                match new {
                    None => out.0.push(0),
                    Some(value) => {
                        out.0.push(1);
                        out.text(&value.0);
                    }
                }
            }
        }
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = In(bytes);
        rest.format()?;
        let patience_ms = rest.long()?;
        let id = OperationId(rest.array()?);
        let bound = if rest.yes()? { Some(Version(rest.long()?)) } else { None };
        let key = Key::from(rest.text()?);
        let expected = match rest.byte()? {
            0 => None,
            1 => Some(Expected::Absent),
            2 => Some(Expected::Value(Value::from(rest.text()?))),
            3 => Some(Expected::Version(Version(rest.long()?))),
            _ => return None,
        };
        let call = match expected {
            None => Call::Get,
            Some(expected) => {
                let new = match rest.byte()? {
                    0 => None,
                    1 => Some(Value::from(rest.text()?)),
                    _ => return None,
                };
                Call::CompareAndSet { expected, new }
            }
        };
        rest.end()?;
        Some(Self { operation: Operation { id, key, call, bound }, patience_ms })
    }
}

pub(crate) fn encode_reply(reply: &Reply) -> Vec<u8> {
    let mut out = Out(vec![FORMAT]);
    match reply {
        Reply::Ended(Outcome::Got(held)) => out.held(0, held.as_ref()),
        Reply::Ended(Outcome::Mismatch(held)) => out.held(2, held.as_ref()),
        Reply::Ended(Outcome::Set(version)) => {
            out.0.push(4);
            out.long(version.0);
        }
        Reply::Ended(Outcome::Unavailable) => out.0.push(5),
        Reply::Ended(Outcome::Unknown(bound)) => {
            out.0.push(6);
            out.long(bound.0);
        }
        Reply::Elsewhere(view) => {
            out.0.push(7);
            out.0.extend(view.slot().0.to_be_bytes());
            out.0.extend(view.epoch().0.to_be_bytes());
            for member in view.members() {
                out.0.extend(member.node.0);
                out.long(member.incarnation.0);
            }
        }
    }
    out.0
}

pub(crate) fn decode_reply(bytes: &[u8]) -> Option<Reply> {
    let mut rest = In(bytes);
    rest.format()?;
    let outcome = match rest.byte()? {
        0 => Outcome::Got(None),
        1 => Outcome::Got(Some(rest.held()?)),
        2 => Outcome::Mismatch(None),
        3 => Outcome::Mismatch(Some(rest.held()?)),
        4 => Outcome::Set(Version(rest.long()?)),
        5 => Outcome::Unavailable,
        6 => Outcome::Unknown(Version(rest.long()?)),
        7 => return rest.view().map(Reply::Elsewhere),
        _ => return None,
    };
    rest.end()?;
    Some(Reply::Ended(outcome))
}

struct Out(Vec<u8>);

impl Out {
    fn long(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn version(&mut self, version: Option<Version>) {
        self.0.push(version.is_some().into());
        if let Some(version) = version {
            self.long(version.0);
        }
    }

    /// Keys and values are far shorter than four bytes can say.
    fn text(&mut self, text: &[u8]) {
        self.0.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend(text);
    }

    fn held(&mut self, kind: u8, held: Option<&Held>) {
        let Some(Held { version, value }) = held else { return self.0.push(kind) };
        self.0.push(kind + 1);
        self.long(version.0);
        self.text(&value.0);
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn format(&mut self) -> Option<()> {
        (self.byte()? == FORMAT).then_some(())
    }

    fn yes(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn held(&mut self) -> Option<Held> {
        Some(Held { version: Version(self.long()?), value: Value::from(self.text()?) })
    }

    fn view(&mut self) -> Option<View> {
        let slot = Slot(self.array().map(u16::from_be_bytes)?);
        let epoch = Epoch(self.array().map(u32::from_be_bytes)?);
        let mut members = Vec::new();
        while !self.0.is_empty() {
            let node = NodeId(self.array()?);
            members.push(Member { node, incarnation: Incarnation(self.long()?) });
        }
        View::new(slot, epoch, &members).ok()
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::from(text.as_bytes())
    }

    fn calls() -> Vec<Call> {
        let expected =
            [Expected::Absent, Expected::Value(value("old")), Expected::Version(Version(7))];
        let news = [None, Some(value("")), Some(value("new"))];
        let pairs =
            expected.iter().flat_map(|expected| news.iter().map(move |new| (expected, new)));
        let cas = pairs.map(|(expected, new)| Call::CompareAndSet {
            expected: expected.clone(),
            new: new.clone(),
        });
        cas.chain([Call::Get]).collect()
    }

    #[test]
    fn a_question_comes_out_as_it_went_in_and_nothing_shorter_or_longer_does() {
        for (call, bound) in calls().into_iter().zip([None, Some(Version(5))].into_iter().cycle()) {
            let (id, key) = (OperationId([9; 16]), Key::from(&b"key"[..]));
            let operation = Operation { id, key, call, bound };
            let question = Question { operation, patience_ms: 1234 };
            let mut bytes = question.encode();
            assert_eq!(Question::decode(&bytes), Some(question));
            for shorter in 0..bytes.len() {
                assert_eq!(Question::decode(&bytes[..shorter]), None);
            }
            bytes.push(0);
            assert_eq!(Question::decode(&bytes), None);
        }
    }

    #[test]
    fn an_answer_comes_out_as_it_went_in_and_nothing_shorter_or_longer_does() {
        let held = Held { version: Version(3), value: value("coat") };
        let member = Member { node: NodeId([1; 32]), incarnation: Incarnation(4) };
        let view = View::new(Slot(5), Epoch(6), &[member]).unwrap();
        let replies = [
            Reply::Ended(Outcome::Got(None)),
            Reply::Ended(Outcome::Got(Some(held.clone()))),
            Reply::Ended(Outcome::Mismatch(None)),
            Reply::Ended(Outcome::Mismatch(Some(held))),
            Reply::Ended(Outcome::Set(Version(8))),
            Reply::Ended(Outcome::Unavailable),
            Reply::Ended(Outcome::Unknown(Version(2))),
            Reply::Elsewhere(view),
        ];
        for reply in replies {
            let mut bytes = encode_reply(&reply);
            assert_eq!(decode_reply(&bytes), Some(reply));
            for shorter in 0..bytes.len() {
                assert_eq!(decode_reply(&bytes[..shorter]), None);
            }
            bytes.push(0);
            assert_eq!(decode_reply(&bytes), None);
        }
    }
}
