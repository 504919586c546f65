//! Bringing counts up to date, from a place up to the root.
//!
//! One edge at a time: read the parent; *then* read the child; then compare-and-set the parent
//! with the child's total, its version raised; again until it succeeds. This is load-linked /
//! store-conditional by version (Jayanti, "f-arrays: implementation and applications", PODC 2002).
//!
//! Invariants:
//! * a write that succeeds carries a total read after the write before it: totals of one child
//!   reach its parent in the order in which they were true;
//! * hence, once a refresh has returned, every later count of that edge was read after it began.
//!   POOL-3 and POOL-4 rest on this;
//! * POOL-5: a write fails only because another write of the same node has succeeded.
//!
//! Reading the child before the parent, or leaving out the write because the count is already
//! right, breaks both (`specs/pool.md`, faults 1 and 3).

use crate::machine::{Interrupted, Machine, Next, Request, Response, unexpected, visit_value};
use crate::tree::{Place, Tree};
use crate::value::{Node, Value, Version};

/// Refreshes the counts above a place.
///
/// Returns whether the last edge's count was wrong at the write, or [`Interrupted`]. Costs three
/// map operations an edge when alone; each repetition costs two and means that another caller's
/// write of that node has succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refresh {
    tree: Tree,
    child: Place,
    parent: Place,
    side: u16,
    top: u8,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    ReadParent,
    ReadChild { node: Option<Node> },
    Write { node: Option<Node>, total: u64 },
}

impl Refresh {
    /// All edges from `from` up to the root; `None` when `from` is the root.
    pub fn path(tree: Tree, from: Place) -> Option<Self> {
        Self::new(tree, from, tree.height())
    }

    /// The one edge from `child` to its parent; `None` when `child` is the root.
    pub fn edge(tree: Tree, child: Place) -> Option<Self> {
        Self::new(tree, child, child.level() + 1)
    }

    fn new(tree: Tree, child: Place, top: u8) -> Option<Self> {
        let (parent, side) = tree.parent(child)?;
        Some(Self { tree, child, parent, side, top, state: State::ReadParent })
    }

    fn written(&self, node: Option<Node>, total: u64) -> Node {
        let mut node = node.unwrap_or_else(|| Node::absent(&self.tree, self.parent));
        node.counts[usize::from(self.side)] = total;
        // The version rises even when the count was right: whoever read the child before this
        // write must not be able to write after it.
        node.version += 1;
        node
    }
}

impl Machine for Refresh {
    type Output = Result<bool, Interrupted>;

    fn request(&self) -> Request {
        match &self.state {
            State::ReadParent => Request::Get(self.parent),
            State::ReadChild { .. } => Request::Get(self.child),
            State::Write { node, total } => Request::CompareAndSet {
                place: self.parent,
                expected: node.clone().map(Value::Node),
                new: Value::Node(self.written(node.clone(), *total)),
            },
        }
    }

    fn step(&mut self, response: Response) -> Next<Self::Output> {
        let state = core::mem::replace(&mut self.state, State::ReadParent);
        self.state = match (state, response) {
            (_, Response::Unavailable) => return Next::Done(Err(Interrupted)),
            (State::ReadParent, Response::Value(value)) => {
                State::ReadChild { node: value.map(Value::into_node) }
            }
            (State::ReadChild { node }, Response::Value(value)) => {
                State::Write { node, total: value.map_or(0, |value| value.total()) }
            }
            (State::Write { node, total }, Response::Set) => {
                let side = usize::from(self.side);
                let changed = node.map_or(0, |node| node.counts[side]) != total;
                match self.tree.parent(self.parent) {
                    Some((parent, side)) if self.parent.level() < self.top => {
                        self.child = core::mem::replace(&mut self.parent, parent);
                        self.side = side;
                    }
                    _ => return Next::Done(Ok(changed)),
                }
                State::ReadParent
            }
            // POOL-5: another caller's write has succeeded; alone, the next attempt does. What the
            // map held at the mismatch is a read of the parent.
            (State::Write { .. }, Response::Mismatch(value)) => {
                State::ReadChild { node: value.map(Value::into_node) }
            }
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
                visit_value(self.parent, node.as_mut().map(|node| &mut node.version), visit);
            }
        }
    }
}
