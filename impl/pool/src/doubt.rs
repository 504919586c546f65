//! A write of a block for many calls, whose outcome is unknown: what has become of it, and of each of them.
//!
//! It does what a call by itself does in doubt: it reads the block back, and where the write may still come
//! it writes the same once more, which buries the first.
//!
//! Invariants:
//! * POOL-1, POOL-2: it ends with what the block held when the first write had happened or could not happen any
//!   more, so a call that is not in it may be begun anew: no phantom second id (`specs/pool.md`, fault 4);
//! * what it writes is what was written before, against the same value: whichever of the two happens, the
//!   other never does.
//!
//! What it does not do: refresh the counts above.

use alloc::vec::Vec;

use crate::machine::{Interrupted, Machine, Next, Request, Response, unexpected, visit_value};
use crate::tag::{Id, Tag};
use crate::tree::{Place, Tree};
use crate::value::{Block, Value, Version};

/// A write in doubt, with the calls that it was to carry out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Doubt {
    place: Place,
    expected: Option<Value>,
    new: Value,
    calls: Vec<(usize, Id)>,
    /// The block was read as it had been before: the write may still come.
    is_to_come: bool,
}

impl Doubt {
    /// A write of a block from `expected` to `new` has had an unknown outcome.
    pub(crate) fn new(
        place: Place,
        expected: Option<Value>,
        new: Value,
        calls: Vec<(usize, Id)>,
    ) -> Self {
        Self { place, expected, new, calls, is_to_come: false }
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The numbers of its calls, and their ids.
    pub(crate) fn calls(&self) -> &[(usize, Id)] {
        &self.calls
    }

    /// The block holds this now.
    fn read(&mut self, value: Option<Value>) -> Next<<Self as Machine>::Output> {
        if value.as_ref().map(Value::version) == self.expected.as_ref().map(Value::version) {
            // Not yet, and perhaps still to come: only a write here can bury it.
            self.is_to_come = true;
            return Next::Ask;
        }
        // The version has moved: the write has happened, or is dead.
        Next::Done(Ok(value.map(Value::into_block)))
    }
}

/// Whether a tag holds an id, by what its block has.
pub(crate) fn is_held(tree: &Tree, id: Id, tag: &Tag, block: Option<&Block>) -> bool {
    let slot = tree.slot(id).map(|(_, slot)| usize::from(slot));
    block.zip(slot).is_some_and(|(block, slot)| block.slots[slot].as_ref() == Some(tag))
}

impl Machine for Doubt {
    /// What the block has, of which no write is in doubt any more.
    type Output = Result<Option<Block>, Interrupted>;

    fn request(&self) -> Request {
        if !self.is_to_come {
            return Request::Get(self.place);
        }
        let (expected, new) = (self.expected.clone(), self.new.clone());
        Request::CompareAndSet { place: self.place, expected, new }
    }

    fn step(&mut self, response: Response) -> Next<Self::Output> {
        match (self.is_to_come, response) {
            (_, Response::Unavailable) => Next::Done(Err(Interrupted)),
            (false, Response::Value(value)) | (true, Response::Mismatch(value)) => self.read(value),
            (true, Response::Set) => Next::Done(Ok(Some(self.new.clone().into_block()))),
            (true, Response::Unknown) => {
                self.is_to_come = false;
                Next::Ask
            }
            (_, response) => unexpected(&self.request(), &response),
        }
    }

    fn versions(&mut self, visit: &mut dyn FnMut(Place, &mut Version)) {
        visit_value(self.place, self.expected.as_mut().map(Value::version_mut), visit);
        visit(self.place, self.new.version_mut());
    }
}
