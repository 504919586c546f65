//! `free(id, tag)`: clear the slot if it holds the tag, refresh the path in any case.
//!
//! Invariants:
//! * POOL-2: a slot is cleared only by a compare-and-set whose expected block holds this tag there;
//!   the version keeps a late copy of it from ever clearing a later holder;
//! * POOL-6: the path is refreshed also when the slot was already empty, because an earlier free
//!   may have died between its clear and its refresh;
//! * that the slot has not the tag is answered only on a block that was read within this call, in
//!   the map.

use crate::machine::{Interrupted, Machine, Next, Request, Response, unexpected, visit_value};
use crate::path::Path;
use crate::refresh::Refresh;
use crate::seen::{Change, Seen};
use crate::tag::{Id, Tag};
use crate::tree::{Place, Tree};
use crate::value::{Value, Version};

/// What a free found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FreeOutcome {
    /// The tag held the id, and no longer does. After an unknown outcome this may have been the
    /// work of another free of the same pair, also of an earlier one.
    Freed,
    /// Nobody held the id: freed before, or never allocated.
    AlreadyFree,
    /// Another tag holds the id, and keeps it.
    NotOwner,
}

/// One call of free. Repeat it until one call has returned.
///
/// Returns the outcome, or [`Interrupted`]: then it must be called again. Alone it costs
/// `2 * height + 2` map operations, of which its host's memory may answer the first `height + 1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Free<S: Seen = Value> {
    tree: Tree,
    at: Place,
    slot: u16,
    tag: Tag,
    /// The nodes above the block, as far as it has gone down.
    path: Path<S>,
    state: State<S>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State<S: Seen> {
    /// Goes down to the block.
    Enter { at: Place },
    /// Reads the block, in the map. `tried`: the version on which a clear had an unknown outcome.
    Read { tried: Option<Version> },
    /// Clears the slot. `doubt`: an attempt on the same version may still be on its way.
    Clear { block: S, doubt: bool },
    /// Refreshes the path, then answers.
    Settle { refresh: Refresh<S>, outcome: FreeOutcome },
}

impl Free {
    /// A call that shall free `id` from `tag`; `None` when the pool has no such id. The id must
    /// already be out of use.
    pub fn new(tree: Tree, id: Id, tag: Tag) -> Option<Self> {
        let (at, slot) = tree.slot(id)?;
        Some(Self::at_root(tree, at, slot, tag))
    }

    /// The same call, which has not begun, for a host that shows values in another form.
    #[inline]
    pub fn seeing<S: Seen>(self) -> Free<S> {
        Free::at_root(self.tree, self.at, self.slot, self.tag)
    }
}

impl<S: Seen> Free<S> {
    #[inline]
    fn at_root(tree: Tree, at: Place, slot: u16, tag: Tag) -> Self {
        let state = State::Enter { at: tree.root() };
        Self { tree, at, slot, tag, path: Path::default(), state }
    }

    /// Goes on with what the map, or the host's memory, has at a place on the way.
    #[inline]
    fn enter(&mut self, at: Place, value: S, recalled: bool) -> Next<<Self as Machine<S>>::Output> {
        if !at.is_block() {
            self.path.push(value);
            let level = self.tree.height() - self.path.len();
            self.state = State::Enter { at: self.tree.above(self.id(), level) };
        } else if recalled && !self.is_held(&value) {
            // Only what it holds now may be answered.
            self.state = State::Read { tried: None };
        } else {
            return self.visit(value, None);
        }
        Next::Ask
    }

    fn id(&self) -> Id {
        self.tree.id(self.at, self.slot)
    }

    fn is_held(&self, block: &S) -> bool {
        block.tag(self.slot) == Some(&self.tag)
    }

    /// Goes on with the block. `tried`: as in [`State::Read`].
    #[inline]
    fn visit(&mut self, block: S, tried: Option<Version>) -> Next<<Self as Machine<S>>::Output> {
        if self.is_held(&block) {
            let doubt = tried == Some(block.version());
            self.state = State::Clear { block, doubt };
            return Next::Ask;
        }
        let outcome = match block.tag(self.slot) {
            _ if tried.is_some() => FreeOutcome::Freed,
            Some(_) => FreeOutcome::NotOwner,
            None => FreeOutcome::AlreadyFree,
        };
        self.settle(outcome, block.total())
    }

    /// The block holds `total`, none of it by this pair.
    #[inline]
    fn settle(&mut self, outcome: FreeOutcome, total: u64) -> Next<<Self as Machine<S>>::Output> {
        // POOL-6: in any case.
        match Refresh::path(self.tree, self.at, total, core::mem::take(&mut self.path)) {
            Some(refresh) => self.state = State::Settle { refresh, outcome },
            None => return Next::Done(Ok(outcome)),
        }
        Next::Ask
    }
}

impl<S: Seen> Machine<S> for Free<S> {
    type Output = Result<FreeOutcome, Interrupted>;

    #[inline]
    fn request(&self) -> Request<S> {
        match &self.state {
            State::Enter { at } => Request::Recall(*at),
            State::Read { .. } => Request::Get(self.at),
            State::Clear { block, .. } => {
                let clear = Change::Slot { slot: self.slot, tag: None };
                Request::CompareAndSet {
                    place: self.at,
                    expected: Some(block.clone()),
                    new: S::changed(Some(block), clear, &self.tree, self.at),
                }
            }
            State::Settle { refresh, .. } => refresh.request(),
        }
    }

    #[inline]
    fn step(&mut self, response: Response<S>) -> Next<Self::Output> {
        match &mut self.state {
            State::Settle { refresh, outcome } => {
                return match refresh.step(response) {
                    Next::Ask => Next::Ask,
                    Next::Done(Ok(_)) => Next::Done(Ok(*outcome)),
                    Next::Done(Err(Interrupted)) => Next::Done(Err(Interrupted)),
                };
            }
            // The usual cases, looked at where they stand: see `Refresh::step`.
            State::Enter { at } => {
                let at = *at;
                match response {
                    Response::Value(Some(value)) => return self.enter(at, value, false),
                    Response::Recalled(value) => return self.enter(at, value, true),
                    // Never written: as below.
                    Response::Value(None) => return Next::Done(Ok(FreeOutcome::AlreadyFree)),
                    Response::Unavailable => return Next::Done(Err(Interrupted)),
                    response => unexpected(&self.request(), &response),
                }
            }
            _ => {}
        }
        let state = core::mem::replace(&mut self.state, State::Read { tried: None });
        match (state, response) {
            (_, Response::Unavailable) => return Next::Done(Err(Interrupted)),
            // Never written, so never held, and nothing below it: no count above can be too high,
            // and a stranger's free shall not create keys.
            (State::Read { .. }, Response::Value(None))
            | (State::Clear { .. }, Response::Mismatch(None)) => {
                return Next::Done(Ok(FreeOutcome::AlreadyFree));
            }
            (State::Read { tried }, Response::Value(Some(value))) => {
                return self.visit(value, tried);
            }
            (State::Clear { block, .. }, Response::Set) => {
                return self.settle(FreeOutcome::Freed, block.total() - 1);
            }
            (State::Clear { block, doubt }, Response::Mismatch(Some(value))) => {
                return self.visit(value, doubt.then_some(block.version()));
            }
            (State::Clear { block, .. }, Response::Unknown) => {
                self.state = State::Read { tried: Some(block.version()) };
            }
            (state, response) => {
                self.state = state;
                unexpected(&self.request(), &response)
            }
        }
        Next::Ask
    }

    fn versions(&mut self, visit: &mut dyn FnMut(Place, &mut Version)) {
        let below = match &mut self.state {
            State::Enter { at } => *at,
            State::Read { tried } => {
                visit_value(self.at, tried.as_mut(), visit);
                self.at
            }
            State::Clear { block, .. } => {
                visit_value(self.at, block.version_mut(), visit);
                self.at
            }
            State::Settle { refresh, .. } => return refresh.versions(visit),
        };
        self.path.versions(&self.tree, below, visit);
    }
}
