//! The calls of the scripts, and the records that members begin with, as the real code has them.

use cloakroom_register::{
    Accepted, Ballot, Boot, Call, Durable, Epoch, Expected, Floor, Life, Operation, OperationId,
    Record, Replica, Seat, State, Value, Version, Vote,
};
use cloakroom_specs::register as spec;

use super::bounds::{Begin, Do, EARLIER};
use super::{CheckRegister, EPOCH, member};
use crate::seated::Seated;

impl CheckRegister {
    pub(super) fn call(&self, number: u64) -> (spec::Expected, Option<u64>, Do) {
        if EARLIER.contains(&number) {
            let second = number == EARLIER[1];
            return match self.bounds.begin {
                Begin::Chosen(_) if second => {
                    (spec::Expected::Value(EARLIER[0]), Some(number), Do::Swap(EARLIER[0]))
                }
                Begin::Removed(_) if second => {
                    (spec::Expected::Value(EARLIER[0]), None, Do::Remove(EARLIER[0]))
                }
                _ => (spec::Expected::Absent, Some(number), Do::Put),
            };
        }
        let (seat, at) = (number / 10 - 1, number % 10);
        let script = self.bounds.scripts[usize::try_from(seat).expect("a seat")];
        let call = script[usize::try_from(at).expect("small")];
        match call {
            Do::Get | Do::Put => (spec::Expected::Absent, Some(number), call),
            Do::Swap(from) => (spec::Expected::Value(from), Some(number), call),
            Do::SwapVersion(from) => (spec::Expected::Version(from), Some(number), call),
            Do::Remove(from) => (spec::Expected::Value(from), None, call),
            Do::RemoveAgain => (spec::Expected::Absent, None, call),
        }
    }

    pub(super) fn operation(&self, number: u64) -> Operation {
        let value = |number: u64| Value::from(&number.to_be_bytes()[6..]);
        let (expected, new, call) = self.call(number);
        let call = if call == Do::Get {
            Call::Get
        } else {
            let expected = match expected {
                spec::Expected::Absent => Expected::Absent,
                spec::Expected::Value(from) => Expected::Value(value(from)),
                spec::Expected::Version(from) => Expected::Version(Version(from)),
            };
            Call::CompareAndSet { expected, new: new.map(value) }
        };
        Operation {
            id: OperationId(u128::from(number).to_be_bytes()),
            key: self.key.clone(),
            call,
            bound: None,
        }
    }

    /// The records that members begin with, by number of the earlier state.
    pub(super) fn copied(&self, which: u8) -> Accepted {
        let from_first = self.first_is_chosen() && which == 1;
        let number = EARLIER[usize::from(which)];
        let operation = self.operation(number);
        let Call::CompareAndSet { new, .. } = operation.call else { unreachable!("a put") };
        let version = Version(if from_first { 2 } else { 1 });
        let ballot = Ballot {
            epoch: Epoch(EPOCH.0 - 1),
            round: u32::from(which) + 1,
            seat: Seat(which),
            boot: Boot(0),
        };
        let state = State { version, content: new, operation: operation.id };
        Accepted { ballot, state }
    }

    pub(super) fn first_is_chosen(&self) -> bool {
        matches!(self.bounds.begin, Begin::Chosen(_) | Begin::Removed(_))
    }

    pub(super) fn begins_with(&self, seat: usize) -> Option<u8> {
        match self.bounds.begin {
            Begin::Empty => None,
            Begin::Copied(which) => which[seat],
            Begin::Chosen(which) | Begin::Removed(which) => Some(which[seat]),
        }
    }

    pub(super) fn seated(&self, seat: usize) -> Seated {
        let record = self.begins_with(seat).map(|which| {
            let accepted = self.copied(which);
            let promise = accepted.ballot;
            (self.key.clone(), Record { promise, accepted: Some(accepted) })
        });
        let durable = Durable {
            me: member(seat),
            view: self.view.clone(),
            life: Life::Active,
            floor: Floor::ZERO,
            records: record.into_iter().collect(),
            vote: Vote::NONE,
        };
        Seated::new(Replica::restore(durable).expect("a member"))
    }
}
