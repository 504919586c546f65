//! `free(id, tag)`: clear the slot if it holds the tag, refresh the path in any case.
//!
//! Invariants:
//! * POOL-2: a slot is cleared only by a compare-and-set whose expected block holds this tag there;
//!   the version keeps a late copy of it from ever clearing a later holder;
//! * POOL-6: the path is refreshed also when the slot was already empty, because an earlier free
//!   may have died between its clear and its refresh.

use crate::machine::{Interrupted, Machine, Next, Request, Response, unexpected, visit_value};
use crate::refresh::Refresh;
use crate::tag::{Id, Tag};
use crate::tree::{Place, Tree};
use crate::value::{Block, Value, Version};

/// What a free found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FreeOutcome {
    /// The tag held the id, and no longer does. After an unknown outcome this may have been the
    /// work of another free of the same pair.
    Freed,
    /// Nobody held the id: freed before, or never allocated.
    AlreadyFree,
    /// Another tag holds the id, and keeps it.
    NotOwner,
}

/// One call of free. Repeat it until one call has returned.
///
/// Returns the outcome, or [`Interrupted`]: then it must be called again. Alone it costs
/// `3 * height + 2` map operations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Free {
    tree: Tree,
    at: Place,
    slot: u16,
    tag: Tag,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Reads the block. `tried`: the version on which a clear had an unknown outcome.
    Read { tried: Option<Version> },
    /// Clears the slot. `doubt`: an attempt on the same version may still be on its way.
    Clear { block: Block, doubt: bool },
    /// Refreshes the path, then answers.
    Settle { refresh: Refresh, outcome: FreeOutcome },
}

impl Free {
    /// A call that shall free `id` from `tag`; `None` when the pool has no such id. The id must
    /// already be out of use.
    pub fn new(tree: Tree, id: Id, tag: Tag) -> Option<Self> {
        let (at, slot) = tree.slot(id)?;
        Some(Self { tree, at, slot, tag, state: State::Read { tried: None } })
    }

    /// Goes on with the block's value. `tried`: as in [`State::Read`].
    fn visit(
        &mut self,
        value: Option<Value>,
        tried: Option<Version>,
    ) -> Next<<Self as Machine>::Output> {
        // Never written, so never held: no count above can be too high, and a stranger's free
        // shall not create keys.
        let Some(value) = value else { return Next::Done(Ok(FreeOutcome::AlreadyFree)) };
        let block = value.into_block();
        let outcome = match &block.slots[usize::from(self.slot)] {
            Some(holder) if *holder == self.tag => {
                let doubt = tried == Some(block.version);
                self.state = State::Clear { block, doubt };
                return Next::Ask;
            }
            _ if tried.is_some() => FreeOutcome::Freed,
            Some(_) => FreeOutcome::NotOwner,
            None => FreeOutcome::AlreadyFree,
        };
        self.settle(outcome)
    }

    fn settle(&mut self, outcome: FreeOutcome) -> Next<<Self as Machine>::Output> {
        // POOL-6: in any case.
        match Refresh::path(self.tree, self.at) {
            Some(refresh) => self.state = State::Settle { refresh, outcome },
            None => return Next::Done(Ok(outcome)),
        }
        Next::Ask
    }
}

impl Machine for Free {
    type Output = Result<FreeOutcome, Interrupted>;

    fn request(&self) -> Request {
        match &self.state {
            State::Read { .. } => Request::Get(self.at),
            State::Clear { block, .. } => {
                let mut new = block.clone();
                new.slots[usize::from(self.slot)] = None;
                new.version += 1;
                Request::CompareAndSet {
                    place: self.at,
                    expected: Some(Value::Block(block.clone())),
                    new: Value::Block(new),
                }
            }
            State::Settle { refresh, .. } => refresh.request(),
        }
    }

    fn step(&mut self, response: Response) -> Next<Self::Output> {
        let state = core::mem::replace(&mut self.state, State::Read { tried: None });
        match (state, response) {
            (State::Settle { mut refresh, outcome }, response) => match refresh.step(response) {
                Next::Ask => self.state = State::Settle { refresh, outcome },
                Next::Done(Ok(_)) => return Next::Done(Ok(outcome)),
                Next::Done(Err(Interrupted)) => return Next::Done(Err(Interrupted)),
            },
            (_, Response::Unavailable) => return Next::Done(Err(Interrupted)),
            (State::Read { tried }, Response::Value(value)) => return self.visit(value, tried),
            (State::Clear { .. }, Response::Set) => return self.settle(FreeOutcome::Freed),
            (State::Clear { block, doubt }, Response::Mismatch(value)) => {
                return self.visit(value, doubt.then_some(block.version));
            }
            (State::Clear { block, .. }, Response::Unknown) => {
                self.state = State::Read { tried: Some(block.version) };
            }
            (state, response) => {
                self.state = state;
                unexpected(&self.request(), &response)
            }
        }
        Next::Ask
    }

    fn versions(&mut self, visit: &mut dyn FnMut(Place, &mut Version)) {
        match &mut self.state {
            State::Read { tried } => visit_value(self.at, tried.as_mut(), visit),
            State::Clear { block, .. } => visit(self.at, &mut block.version),
            State::Settle { refresh, .. } => refresh.versions(visit),
        }
    }
}
