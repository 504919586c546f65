//! `list()` and `find(tag)`: walk the blocks that exist.
//!
//! Invariants:
//! * a missing node is skipped with all below it: nothing below it was ever written;
//! * counts are not looked at, so what a dead caller left behind is seen too (POOL-7 needs that);
//! * nothing is written.
//!
//! The walk is not one atomic look: every pair held throughout the call is listed, and every pair
//! listed was held at some moment during it.

use alloc::vec::Vec;

use crate::machine::{Interrupted, Machine, Next, Request, Response, unexpected};
use crate::tag::{Id, Tag};
use crate::tree::{Place, Tree};
use crate::value::{Value, Version};

/// Lists every held id with its tag, in the order of the ids.
///
/// Costs one map operation for each child of each existing inner node, and one for the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct List {
    tree: Tree,
    at: Place,
    /// The lowest id that is wanted.
    first: Id,
    /// It ends when it has so many.
    enough: usize,
    found: Vec<(Id, Tag)>,
}

/// Finds the ids held under a tag, in their order. Costs as much as [`List`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Find {
    list: List,
    tag: Tag,
}

impl List {
    /// A call that lists a whole pool.
    pub fn new(tree: Tree) -> Self {
        Self { tree, at: tree.root(), first: Id(0), enough: usize::MAX, found: Vec::new() }
    }

    /// A call that lists the ids from `first` on: all of them if there are fewer than `enough`, else at least
    /// so many. Costs one map operation for each child from there on of each node on the way. `None`: the
    /// pool has no such id.
    pub fn page(tree: Tree, first: Id, enough: usize) -> Option<Self> {
        let (at, _) = tree.slot(first)?;
        Some(Self { at, first, enough, ..Self::new(tree) })
    }

    fn walk(
        &mut self,
        response: Response,
        wanted: Option<&Tag>,
    ) -> Next<<Self as Machine>::Output> {
        let next = match response {
            Response::Unavailable => return Next::Done(Err(Interrupted)),
            Response::Value(Some(Value::Node(_))) => Some(self.tree.child(self.at, 0)),
            Response::Value(Some(Value::Block(block))) => {
                let (tree, at) = (&self.tree, self.at);
                let held =
                    (0..).zip(&block.slots).filter_map(|(slot, tag)| Some((slot, tag.clone()?)));
                let held = held.filter(|(_, tag)| wanted.is_none_or(|wanted| wanted == tag));
                let held = held.map(|(slot, tag)| (tree.id(at, slot), tag));
                self.found.extend(held.filter(|(id, _)| *id >= self.first));
                after(tree, at).filter(|_| self.found.len() < self.enough)
            }
            Response::Value(None) => after(&self.tree, self.at),
            response => unexpected(&self.request(), &response),
        };
        match next {
            Some(at) => self.at = at,
            None => return Next::Done(Ok(core::mem::take(&mut self.found))),
        }
        Next::Ask
    }
}

/// The next place in order that is not below `at`.
fn after(tree: &Tree, at: Place) -> Option<Place> {
    let mut at = at;
    loop {
        match tree.sibling(at) {
            Some(sibling) => return Some(sibling),
            None => at = tree.parent(at)?.0,
        }
    }
}

impl Machine for List {
    type Output = Result<Vec<(Id, Tag)>, Interrupted>;

    fn request(&self) -> Request {
        Request::Get(self.at)
    }

    fn step(&mut self, response: Response) -> Next<Self::Output> {
        self.walk(response, None)
    }

    fn versions(&mut self, _visit: &mut dyn FnMut(Place, &mut Version)) {}
}

impl Find {
    /// A call that looks through a whole pool for `tag`.
    pub fn new(tree: Tree, tag: Tag) -> Self {
        Self { list: List::new(tree), tag }
    }
}

impl Machine for Find {
    type Output = Result<Vec<Id>, Interrupted>;

    fn request(&self) -> Request {
        self.list.request()
    }

    fn step(&mut self, response: Response) -> Next<Self::Output> {
        match self.list.walk(response, Some(&self.tag)) {
            Next::Ask => Next::Ask,
            Next::Done(found) => {
                Next::Done(found.map(|found| found.into_iter().map(|(id, _)| id).collect()))
            }
        }
    }

    fn versions(&mut self, _visit: &mut dyn FnMut(Place, &mut Version)) {}
}
