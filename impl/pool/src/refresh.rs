//! Bringing counts up to date, from a place up to the root.
//!
//! One edge at a time: read the parent; *then* read the child; then compare-and-set the parent
//! with the child's total, its version raised; again until it succeeds. This is load-linked /
//! store-conditional by version (Jayanti, "f-arrays: implementation and applications", PODC 2002).
//!
//! A call that comes down from the root has read all parents before it reads or writes the place
//! below them, and its own write of a child is a read of it at that moment. So its refresh begins
//! with the write of the nearest parent, and goes on with that of the next. Where another's write
//! came between, the edge is done from its beginning.
//!
//! Invariants:
//! * a write that succeeds carries a total read after the write before it: totals of one child
//!   reach its parent in the order in which they were true;
//! * hence, once a refresh has returned, every later count of that edge was read when the refresh
//!   knew the child, or later. POOL-3 and POOL-4 rest on this;
//! * POOL-5: a write fails only because another write of the same node has succeeded.
//!
//! Reading the child before the parent, or leaving out the write because the count is already
//! right, breaks both (`specs/pool.md`, faults 1 and 3). What was read of a parent may be old, as
//! long as it is older than what is known of the child: the write is bound to its version. What is
//! known of the child may not.

use crate::machine::{Interrupted, Machine, Next, Request, Response, unexpected, visit_value};
use crate::path::Path;
use crate::seen::{Change, Seen};
use crate::tree::{Place, Tree};
use crate::value::{Value, Version};

/// Refreshes the counts above a place.
///
/// Returns whether the last edge's count was wrong at the write, or [`Interrupted`]. Alone it costs
/// one map operation an edge where parent and child are known, else three; each repetition costs
/// two and means that another caller's write of that node has succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refresh<S: Seen = Value> {
    tree: Tree,
    child: Place,
    parent: Place,
    side: u16,
    top: u8,
    /// What was read of the nodes above `parent`, before anything that is known of `child`.
    above: Path<S>,
    state: State<S>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State<S> {
    ReadParent,
    ReadChild { node: Option<S> },
    Write { node: Option<S>, total: u64 },
}

impl Refresh {
    /// The one edge from `child` to its parent; `None` when `child` is the root.
    pub fn edge(tree: Tree, child: Place) -> Option<Self> {
        let (parent, side) = tree.parent(child)?;
        let (top, above) = (parent.level(), Path::default());
        Some(Self { tree, child, parent, side, top, above, state: State::ReadParent })
    }
}

impl<S: Seen> Refresh<S> {
    /// All edges from `child` up to the root; `None` when `child` is the root. `total` is what
    /// `child` held at a moment after all nodes above it had been read as they stand in `above`.
    #[inline]
    pub(crate) fn path(tree: Tree, child: Place, total: u64, mut above: Path<S>) -> Option<Self> {
        let (parent, side) = tree.parent(child)?;
        let state = State::first(&mut above, total);
        Some(Self { tree, child, parent, side, top: tree.height(), above, state })
    }

    #[inline]
    fn written(&self, node: Option<&S>, total: u64) -> S::New {
        S::changed(node, Change::Count { child: self.side, total }, &self.tree, self.parent)
    }
}

impl<S: Seen> State<S> {
    /// Where an edge begins whose child is known to hold `total`, after its parent was read.
    #[inline]
    fn first(above: &mut Path<S>, total: u64) -> Self {
        above.pop().map_or(Self::ReadParent, |node| Self::Write { node: Some(node), total })
    }
}

impl<S: Seen> Machine<S> for Refresh<S> {
    type Output = Result<bool, Interrupted>;

    #[inline]
    fn request(&self) -> Request<S> {
        match &self.state {
            State::ReadParent => Request::Get(self.parent),
            State::ReadChild { .. } => Request::Get(self.child),
            State::Write { node, total } => Request::CompareAndSet {
                place: self.parent,
                expected: node.clone(),
                new: self.written(node.as_ref(), *total),
            },
        }
    }

    #[inline]
    fn step(&mut self, response: Response<S>) -> Next<Self::Output> {
        // The usual case, looked at where it stands: to move it out and back costs more than all else.
        if let (State::Write { node, total }, Response::Set) = (&self.state, &response) {
            let (before, sum) =
                node.as_ref().map_or((0, 0), |node| (node.count(self.side), node.total()));
            let (changed, total) = (before != *total, sum - before + total);
            match self.tree.parent(self.parent) {
                Some((parent, side)) if self.parent.level() < self.top => {
                    self.child = core::mem::replace(&mut self.parent, parent);
                    self.side = side;
                }
                _ => return Next::Done(Ok(changed)),
            }
            // Its own write is a read of the child, at that moment.
            self.state = State::first(&mut self.above, total);
            return Next::Ask;
        }
        let state = core::mem::replace(&mut self.state, State::ReadParent);
        self.state = match (state, response) {
            (_, Response::Unavailable) => return Next::Done(Err(Interrupted)),
            (State::ReadParent, Response::Value(value)) => State::ReadChild { node: value },
            (State::ReadChild { node }, Response::Value(value)) => {
                State::Write { node, total: value.map_or(0, |value| value.total()) }
            }
            // POOL-5: another caller's write has succeeded; alone, the next attempt does. What the
            // map held at the mismatch is a read of the parent.
            (State::Write { .. }, Response::Mismatch(value)) => State::ReadChild { node: value },
            // Done or not, or still to come: only the same version can still be replaced by it, and
            // then it is as good as a write of our own.
            (State::Write { .. }, Response::Unknown) => State::ReadParent,
            (state, response) => {
                self.state = state;
                unexpected(&self.request(), &response)
            }
        };
        Next::Ask
    }

    fn versions(&mut self, visit: &mut dyn FnMut(Place, &mut Version)) {
        match &mut self.state {
            State::ReadParent => {}
            State::ReadChild { node } | State::Write { node, .. } => {
                visit_value(self.parent, node.as_mut().and_then(Seen::version_mut), visit);
            }
        }
        self.above.versions(&self.tree, self.parent, visit);
    }
}
