//! The registers as the pool's atomic map.
//!
//! Invariants:
//! * one call is one operation, whatever it takes: an attempt whose outcome is unknown is tried again
//!   under the same id and bound to the same version, so that it happens at most once (REG-7);
//! * REG-8: what stays unknown is answered as unknown, and never as a failure.
//!
//! [`Attempts`] is the call as a step machine, [`RegisterMap`] runs it to its end.
//!
//! What it does not do: find the members of a key's slot, wait, or choose ids. [`Registers`] does.

use alloc::string::ToString;
use alloc::vec::Vec;

use cloakroom_pool::{AtomicMap, Cas, MapError};

use crate::id::{Key, OperationId, Value};
use crate::operation::{Call, Expected, Held, Operation, Outcome};

/// Whoever can run an operation to its end, at some coordinator.
pub trait Registers {
    /// An id that no operation has had.
    fn operation_id(&self) -> OperationId;

    /// Runs one attempt of an operation. An operation that is bound was tried before: it is unavailable
    /// only if a coordinator says so, who has buried it; whoever reaches none answers that it is unknown,
    /// and bound as before.
    fn run(&self, operation: &Operation) -> Outcome;
}

/// One call of the map, in all its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    operation: Operation,
    left: u32,
}

impl Attempts {
    /// A call that makes at most so many attempts, and at least one.
    pub fn new(id: OperationId, key: Key, call: Call, attempts: u32) -> Self {
        Self { operation: Operation { id, key, call, bound: None }, left: attempts.max(1) }
    }

    /// What is to be run, at whatever coordinator.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// An attempt has ended; `None` means that another one follows.
    pub fn ended(&mut self, outcome: Outcome) -> Option<Result<Outcome, MapError>> {
        match outcome {
            // REG-7: bound to this version from now on, wherever it is tried.
            Outcome::Unknown(bound) => self.operation.bound = Some(bound),
            // Also of one that was bound: what it had begun is buried, and it has begun nothing since.
            Outcome::Unavailable => self.operation.bound = None,
            outcome => return Some(Ok(outcome)),
        }
        self.left -= 1;
        (self.left == 0).then(|| Err(self.given_up()))
    }

    /// Nobody will say how the attempt under way has ended: its coordinator is gone, and with it the
    /// version that the operation was bound to, without which it must not be tried again.
    pub fn lost(self) -> MapError {
        let cause = "the coordinator has not answered".to_string();
        if self.operation.call == Call::Get {
            return MapError::Unavailable { cause };
        }
        MapError::Unknown { cause }
    }

    fn given_up(&self) -> MapError {
        let cause = "no majority has answered".to_string();
        if self.operation.bound.is_some() {
            MapError::Unknown { cause }
        } else {
            MapError::Unavailable { cause }
        }
    }
}

/// The registers as a map.
#[derive(Clone, Debug)]
pub struct RegisterMap<R> {
    registers: R,
    attempts: u32,
}

impl<R: Registers> RegisterMap<R> {
    /// The map on these registers; a call makes at most so many attempts, and at least one.
    pub fn new(registers: R, attempts: u32) -> Self {
        Self { registers, attempts: attempts.max(1) }
    }

    fn call(&self, key: &[u8], call: Call) -> Result<Outcome, MapError> {
        let id = self.registers.operation_id();
        let mut attempts = Attempts::new(id, Key::from(key), call, self.attempts);
        loop {
            let outcome = self.registers.run(attempts.operation());
            if let Some(ended) = attempts.ended(outcome) {
                return ended;
            }
        }
    }
}

impl<R: Registers> AtomicMap for RegisterMap<R> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        match self.call(key, Call::Get)? {
            Outcome::Got(held) => Ok(held.as_ref().map(bytes)),
            other => unreachable!("a get ended with {other:?}"),
        }
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        let expected = expected.map_or(Expected::Absent, |value| Expected::Value(value.into()));
        let new = new.map(Value::from);
        match self.call(key, Call::CompareAndSet { expected, new })? {
            Outcome::Set(_) => Ok(Cas::Set),
            Outcome::Mismatch(held) => Ok(Cas::Mismatch(held.as_ref().map(bytes))),
            other => unreachable!("a compare-and-set ended with {other:?}"),
        }
    }
}

fn bytes(held: &Held) -> Vec<u8> {
    held.value.0.to_vec()
}
