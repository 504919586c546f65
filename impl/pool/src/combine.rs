//! Many calls of one pool as one: each block that they touch is written once, then each node above once.
//!
//! 1. [`Combined::plan`] gives each call a slot, by what its host remembers of the pool. What it would have
//!    to know beside that, it says: [`Combined::missing`].
//! 2. [`Combined::begin`] begins the writes of one level, which are [to be carried out](Combined::requests) all
//!    at once: first the blocks, then the nodes above them, level by level, up to the root.
//!    [`Combined::answer`] takes the outcomes.
//! 3. When the blocks are written others may [join](Combined::join): their blocks are written while the nodes
//!    above those of before are. [`Combined::settled`] says whose end is known.
//! 4. [`Combined::end`] says what has become of the others, and which places are to be refreshed by
//!    themselves before those below them may return.
//!
//! It is the short way, and gives up where it is not short: whatever does not go as it was remembered is
//! [`Served::Again`], for [`Allocate`](crate::Allocate) and [`Free`](crate::Free), which know what to do.
//!
//! Invariants:
//! * POOL-1, POOL-2: a block is written by one compare-and-set against all that was remembered of it; in the
//!   new value free slots have got tags, and slots that held the tag of a free have become free. No slot goes
//!   from one tag to another;
//! * POOL-3, POOL-4: a node is written with the totals of its children that writes from here have made, bound
//!   to a version of the node that was remembered before these, or that was made from here of such a one, by
//!   one write after the other: as a refresh that reads the node, then the child. One write for several
//!   children is a refresh of each of them. When a write of a node fails, nothing is known of it any more;
//! * it never answers that the pool is full, that an id is free, or that it is another's: what is remembered
//!   is no reason for that;
//! * an inner node that is not known to be there has nothing written below it.
//!
//! What it does not do: help, read, create nodes, settle what is unknown: that is [`Doubt`]'s.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::allocate::{Allocate, Policy};
use crate::doubt::Doubt;
use crate::machine::{Machine, Request, Response};
use crate::plan::{Edit, Planner, Remembered};
use crate::tag::{Id, Tag};
use crate::tree::{Place, Tree};
use crate::value::{Node, Value, Version};

/// One of many calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// An id for a tag, which its caller has already written down.
    Allocate(Tag),
    /// An id that is out of use, from its tag.
    Free(Id, Tag),
}

/// What has become of one of many calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Served {
    /// The tag holds this id.
    Taken(Id),
    /// The tag held the id, and no longer does. The places above it count that: if it is
    /// [`Combined::settled`]; at the end, unless they are [`Ending::stale`].
    Freed,
    /// Nothing was done, and will be: it is to be called by itself.
    Again,
    /// It may have been done to this id, may still be done once, or never: one of [`Ending::doubts`] says.
    Unknown(Id),
}

/// What has become of all that have not settled before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ending {
    /// Of each call, in their order, also of those that have settled.
    pub served: Vec<Served>,
    /// Places whose total may not have reached their parent: all edges from there up to the root are to be
    /// refreshed before a call below them returns.
    pub stale: BTreeSet<Place>,
    /// Blocks that could not be reached.
    pub unreached: BTreeSet<Place>,
    /// Writes of blocks of which nobody has said what became of them.
    pub doubts: Vec<Doubt>,
}

/// Many calls, as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Combined {
    tree: Tree,
    policy: Policy,
    wants: Vec<Want>,
    missing: BTreeSet<Place>,
    /// Nodes as they were remembered before anything was written below them, or as they were written from here
    /// since then.
    nodes: BTreeMap<Place, Node>,
    /// Writes of blocks that have not begun.
    blocks: Vec<Write>,
    /// What nodes that are known are to take.
    due: BTreeMap<Place, Due>,
    /// The writes under way, by their level.
    sent: BTreeMap<u8, Vec<Write>>,
    /// Calls whose end has come to be known, until that was told.
    settled: Vec<(usize, Served)>,
    ending: Ending,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Write {
    place: Place,
    expected: Option<Value>,
    new: Value,
    /// Of a block: the calls that it carries out. Of a node: those of which it counts what they have done.
    calls: Vec<(usize, Id)>,
    /// Of a node: the children whose totals it takes.
    children: Vec<Place>,
}

/// Totals of children, for their node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Due {
    totals: BTreeMap<Place, u64>,
    /// The calls that have made them so.
    calls: Vec<(usize, Id)>,
}

impl Combined {
    /// Gives each call a slot, as far as that can be said. `remembered` is what stood at a place at some moment
    /// before, if that is known; `Some(None)`: nothing.
    pub fn plan(
        tree: Tree,
        policy: Policy,
        wants: Vec<Want>,
        remembered: &dyn Fn(Place) -> Option<Option<Value>>,
    ) -> Self {
        let mut combined = Self {
            tree,
            policy,
            wants: Vec::new(),
            missing: BTreeSet::new(),
            nodes: BTreeMap::new(),
            blocks: Vec::new(),
            due: BTreeMap::new(),
            sent: BTreeMap::new(),
            settled: Vec::new(),
            ending: Ending::default(),
        };
        let (missing, blocks) = combined.write_for(&wants, remembered);
        combined.ending.served = alloc::vec![Served::Again; wants.len()];
        (combined.wants, combined.missing, combined.blocks) = (wants, missing, blocks);
        combined
    }

    /// Whether others may [join](Self::join): all has gone as it was planned, and no block is being written.
    pub fn is_open(&self) -> bool {
        let Ending { served, stale, unreached, doubts } = &self.ending;
        let is_done = |served: &Served| matches!(served, Served::Taken(_) | Served::Freed);
        self.blocks.is_empty()
            && !self.sent.contains_key(&0)
            && stale.is_empty()
            && unreached.is_empty()
            && doubts.is_empty()
            && served.iter().all(is_done)
    }

    /// Gives other calls slots as well. To be called while it [is open](Self::is_open). Whether each of them has
    /// got one and the next number: who has not is to be served another time. `remembered` is that of
    /// [`Self::plan`].
    ///
    /// # Panics
    /// When it is not open: the host's fault.
    pub fn join(
        &mut self,
        wants: Vec<Want>,
        remembered: &dyn Fn(Place) -> Option<Option<Value>>,
    ) -> Vec<bool> {
        assert!(self.is_open(), "host: expected to be asked before others join");
        let (_, mut blocks) = self.write_for(&wants, remembered);
        let mut numbers = alloc::vec![None; wants.len()];
        for &(number, _) in blocks.iter().flat_map(|write| &write.calls) {
            numbers[number] = Some(0);
        }
        let joined: Vec<bool> = numbers.iter().map(Option::is_some).collect();
        for (number, want) in numbers.iter_mut().zip(wants).filter(|(number, _)| number.is_some()) {
            *number = Some(self.wants.len());
            self.wants.push(want);
            self.ending.served.push(Served::Again);
        }
        for (number, _) in blocks.iter_mut().flat_map(|write| &mut write.calls) {
            *number = numbers[*number].expect("numbered just now");
        }
        self.blocks = blocks;
        joined
    }

    /// What is missing, and the writes of blocks that carry out these calls, as far as that can be said.
    fn write_for(
        &mut self,
        wants: &[Want],
        remembered: &dyn Fn(Place) -> Remembered,
    ) -> (BTreeSet<Place>, Vec<Write>) {
        let (tree, nodes) = (self.tree, core::mem::take(&mut self.nodes));
        let mut filled = nodes.clone();
        // What they are about to be.
        for write in self.sent.values().flatten().filter(|write| !write.place.is_block()) {
            filled.insert(write.place, write.new.node().clone());
        }
        for (place, due) in &self.due {
            if let Some(node) = filled.get_mut(place) {
                due.count(&tree, node);
            }
        }
        let (missing, blocks) = (BTreeSet::new(), BTreeMap::new());
        let mut planner = Planner { tree, remembered, missing, nodes, filled, blocks };
        // Frees first: what else is free in a block that is written anyway costs no write.
        for (number, want) in wants.iter().enumerate() {
            if let Want::Free(id, tag) = want {
                planner.free(number, *id, tag);
            }
        }
        for (number, want) in wants.iter().enumerate() {
            if let Want::Allocate(tag) = want {
                planner.allocate(number, &Allocate::new(tree, self.policy, tag.clone()), tag);
            }
        }
        let Planner { missing, nodes, blocks, .. } = planner;
        self.nodes = nodes;
        let write = |(place, edit): (Place, Edit)| {
            let Edit { old, mut new, calls } = edit;
            new.version += 1;
            let (expected, new) = (old.map(Value::Block), Value::Block(new));
            Write { place, expected, new, calls, children: Vec::new() }
        };
        let touched = blocks.into_iter().filter(|(_, edit)| !edit.calls.is_empty());
        (missing, touched.map(write).collect())
    }

    /// Places of which more ought to be known: whoever reads them, and plans again, serves more calls.
    pub fn missing(&self) -> &BTreeSet<Place> {
        &self.missing
    }

    /// Begins the next writes, if some can begin; their level. Others may be under way, of other levels.
    pub fn begin(&mut self) -> Option<u8> {
        if !self.blocks.is_empty() && !self.sent.contains_key(&0) {
            self.sent.insert(0, core::mem::take(&mut self.blocks));
            return Some(0);
        }
        let is_idle = |place: &&Place| !self.sent.contains_key(&place.level());
        let level = self.due.keys().find(is_idle)?.level();
        let is_there = |place: &Place, _: &mut Due| place.level() == level;
        let due: BTreeMap<Place, Due> = self.due.extract_if(.., is_there).collect();
        let write = |(place, due): (Place, Due)| {
            let old = self.nodes[&place].clone();
            let mut new = old.clone();
            due.count(&self.tree, &mut new);
            // Also when no count changes: whoever read a child before must not write after it.
            new.version += 1;
            let (expected, new) = (Some(Value::Node(old)), Value::Node(new));
            let children = due.totals.into_keys().collect();
            Write { place, expected, new, calls: due.calls, children }
        };
        let writes = due.into_iter().map(write).collect();
        self.sent.insert(level, writes);
        Some(level)
    }

    /// Whether nothing is under way, and nothing can begin.
    pub fn is_over(&self) -> bool {
        self.blocks.is_empty() && self.due.is_empty() && self.sent.is_empty()
    }

    /// What is under way of a level, to be carried out all at once: compare-and-sets of different places.
    pub fn requests(&self, level: u8) -> Vec<Request> {
        let request = |write: &Write| Request::CompareAndSet {
            place: write.place,
            expected: write.expected.clone(),
            new: write.new.clone(),
        };
        self.sent.get(&level).into_iter().flatten().map(request).collect()
    }

    /// Takes the outcomes of [`Combined::requests`], in their order, when all of them are there.
    ///
    /// # Panics
    /// When they are not as many, or do not fit: the host's fault.
    pub fn answer(&mut self, level: u8, responses: &[Response]) {
        let writes = self.sent.remove(&level).unwrap_or_default();
        assert_eq!(writes.len(), responses.len(), "host: expected an answer to each request");
        for (write, response) in writes.iter().zip(responses) {
            let is_set = match response {
                Response::Set => true,
                Response::Mismatch(_) | Response::Unavailable | Response::Unknown => false,
                other => panic!("host: expected an answer to a compare-and-set, got {other:?}"),
            };
            match response {
                Response::Unavailable if write.place.is_block() => {
                    self.ending.unreached.insert(write.place);
                }
                Response::Unknown if write.place.is_block() => {
                    let Write { place, expected, new, calls, .. } = write.clone();
                    self.ending.doubts.push(Doubt::new(place, expected, new, calls));
                }
                _ => {}
            }
            for &(number, id) in write.calls.iter().filter(|_| write.place.is_block()) {
                self.ending.served[number] = match (&self.wants[number], response) {
                    (Want::Allocate(_), Response::Set) => {
                        // Counts that are too low for a moment cost others a detour, and nobody an id.
                        self.settled.push((number, Served::Taken(id)));
                        Served::Taken(id)
                    }
                    (Want::Free(..), Response::Set) => Served::Freed,
                    (_, Response::Unknown) => Served::Unknown(id),
                    _ => Served::Again,
                };
            }
            if is_set {
                if let Value::Node(node) = &write.new {
                    self.nodes.insert(write.place, node.clone());
                }
                self.tell_parent(write);
            } else {
                // POOL-3: whoever has written it may have read its children before they were written here.
                self.nodes.remove(&write.place);
                // POOL-4: of a block that was not written nothing has changed here.
                self.ending.stale.extend(&write.children);
            }
        }
        let is_lost = |place: &Place, _: &mut Due| !self.nodes.contains_key(place);
        for (_, lost) in self.due.extract_if(.., is_lost) {
            self.ending.stale.extend(lost.totals.into_keys());
        }
    }

    /// Calls whose end has come to be known since this was last asked, by their numbers: an id that is taken, or
    /// that is free and counted so up to the root.
    pub fn settled(&mut self) -> Vec<(usize, Served)> {
        core::mem::take(&mut self.settled)
    }

    /// Shows every version in its memory with its place, as [`Machine::versions`](crate::Machine::versions) does.
    pub fn versions(&mut self, visit: &mut dyn FnMut(Place, &mut Version)) {
        for (place, node) in &mut self.nodes {
            visit(*place, &mut node.version);
        }
        let writes = self.sent.values_mut().flatten().chain(&mut self.blocks);
        for Write { place, expected, new, .. } in writes {
            if let Some(expected) = expected {
                visit(*place, expected.version_mut());
            }
            visit(*place, new.version_mut());
        }
        for doubt in &mut self.ending.doubts {
            doubt.versions(visit);
        }
    }

    /// What has become of all.
    pub fn end(self) -> Ending {
        self.ending
    }

    /// POOL-3: what a place holds since it was written just now goes into its parent, as that was remembered
    /// before.
    fn tell_parent(&mut self, write: &Write) {
        if let Some((parent, _)) = self.tree.parent(write.place) {
            let due = self.due.entry(parent).or_default();
            due.totals.insert(write.place, write.new.total());
            due.calls.extend(&write.calls);
            return;
        }
        let freed = write.calls.iter().map(|(number, _)| *number);
        let freed = freed.filter(|number| matches!(self.wants[*number], Want::Free(..)));
        // POOL-6: all above it count it as free.
        self.settled.extend(freed.map(|number| (number, Served::Freed)));
    }
}

impl Due {
    /// Writes the totals into the node.
    fn count(&self, tree: &Tree, node: &mut Node) {
        for (child, total) in &self.totals {
            if let Some((_, side)) = tree.parent(*child) {
                node.counts.set(side, *total);
            }
        }
    }
}
