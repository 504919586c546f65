//! Many calls of one pool as one: each block that they touch is written once, then each node above once.
//!
//! 1. [`Combined::plan`] gives each call a slot, by what its host remembers of the pool. What it would have
//!    to know beside that, it says: [`Combined::missing`].
//! 2. Rounds of [`Combined::requests`], all of one level, to be carried out at once: first the blocks, then
//!    the nodes above them, level by level, up to the root. [`Combined::answer`] takes the outcomes.
//! 3. [`Combined::end`] says what has become of each call, and which places are to be refreshed by
//!    themselves before those below them may return.
//!
//! It is the short way, and gives up where it is not short: whatever does not go as it was remembered is
//! [`Served::Again`], for [`Allocate`](crate::Allocate) and [`Free`](crate::Free), which know what to do.
//!
//! Invariants:
//! * POOL-1, POOL-2: a block is written by one compare-and-set against all that was remembered of it; in the
//!   new value free slots have got tags, and slots that held the tag of a free have become free. No slot goes
//!   from one tag to another;
//! * POOL-3, POOL-4: a node is written with the totals of its children that the writes of this very call
//!   have made, bound to a version of the node that was remembered before: as a refresh that reads the
//!   node, then the child. One write for several children is a refresh of each of them;
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
use crate::tag::{Id, Tag};
use crate::tree::{Place, Tree};
use crate::value::{Block, Node, Value, Version};

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
    /// The tag held the id, and no longer does. The places above it count that, unless they are
    /// [`Ending::stale`].
    Freed,
    /// Nothing was done, and will be: it is to be called by itself.
    Again,
    /// It may have been done to this id, may still be done once, or never: one of [`Ending::doubts`] says.
    Unknown(Id),
}

/// What has become of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ending {
    /// Of each call, in their order.
    pub served: Vec<Served>,
    /// Places whose total may not have reached their parent: all edges from there up to the root are to be
    /// refreshed before a call below them returns.
    pub stale: BTreeSet<Place>,
    /// Blocks that could not be reached.
    pub unreached: BTreeSet<Place>,
    /// Writes of blocks of which nobody has said what became of them.
    pub doubts: Vec<Doubt>,
}

/// What a host remembers of a place: `None` nothing, `Some(None)` that nothing was there.
type Remembered = Option<Option<Value>>;

/// Many calls, as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Combined {
    tree: Tree,
    wants: Vec<Want>,
    missing: BTreeSet<Place>,
    /// Nodes as they were remembered before anything was written.
    nodes: BTreeMap<Place, Node>,
    /// The writes under way, of one level.
    writes: Vec<Write>,
    ending: Ending,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Write {
    place: Place,
    expected: Option<Value>,
    new: Value,
    /// Of a block: whose calls it carries out, and how those end.
    calls: Vec<(usize, Id)>,
    /// Of a node: the children whose totals it takes.
    children: Vec<Place>,
}

/// A plan in the making.
struct Planner<'a> {
    tree: Tree,
    remembered: &'a dyn Fn(Place) -> Remembered,
    missing: BTreeSet<Place>,
    nodes: BTreeMap<Place, Node>,
    /// The same, as far as the plan has filled them, or found them full.
    filled: BTreeMap<Place, Node>,
    blocks: BTreeMap<Place, Edit>,
}

/// A block before and after.
struct Edit {
    old: Option<Block>,
    new: Block,
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
        let mut planner = Planner {
            tree,
            remembered,
            missing: BTreeSet::new(),
            nodes: BTreeMap::new(),
            filled: BTreeMap::new(),
            blocks: BTreeMap::new(),
        };
        // Frees first: what else is free in a block that is written anyway costs no write.
        for (number, want) in wants.iter().enumerate() {
            if let Want::Free(id, tag) = want {
                planner.free(number, *id, tag);
            }
        }
        for (number, want) in wants.iter().enumerate() {
            if let Want::Allocate(tag) = want {
                planner.allocate(number, &Allocate::new(tree, policy, tag.clone()), tag);
            }
        }
        let Planner { missing, nodes, blocks, .. } = planner;
        let write = |(place, edit): (Place, Edit)| {
            let Edit { old, mut new, calls } = edit;
            new.version += 1;
            let (expected, new) = (old.map(Value::Block), Value::Block(new));
            Write { place, expected, new, calls, children: Vec::new() }
        };
        let touched = blocks.into_iter().filter(|(_, edit)| !edit.calls.is_empty());
        let writes = touched.map(write).collect();
        let served = alloc::vec![Served::Again; wants.len()];
        let ending = Ending { served, ..Ending::default() };
        Self { tree, wants, missing, nodes, writes, ending }
    }

    /// Places of which more ought to be known: whoever reads them, and plans again, serves more calls.
    pub fn missing(&self) -> &BTreeSet<Place> {
        &self.missing
    }

    /// What is to be carried out now, all at once: compare-and-sets of different places. None: it has ended.
    pub fn requests(&self) -> Vec<Request> {
        let request = |write: &Write| Request::CompareAndSet {
            place: write.place,
            expected: write.expected.clone(),
            new: write.new.clone(),
        };
        self.writes.iter().map(request).collect()
    }

    /// Takes the outcomes of [`Combined::requests`], in their order, when all of them are there.
    ///
    /// # Panics
    /// When they are not as many, or do not fit: the host's fault.
    pub fn answer(&mut self, responses: &[Response]) {
        let writes = core::mem::take(&mut self.writes);
        assert_eq!(writes.len(), responses.len(), "host: expected an answer to each request");
        let mut above: BTreeMap<Place, Write> = BTreeMap::new();
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
            for &(number, id) in &write.calls {
                self.ending.served[number] = match (&self.wants[number], response) {
                    (Want::Allocate(_), Response::Set) => Served::Taken(id),
                    (Want::Free(..), Response::Set) => Served::Freed,
                    (_, Response::Unknown) => Served::Unknown(id),
                    _ => Served::Again,
                };
            }
            if is_set {
                self.tell_parent(write, &mut above);
            } else {
                // POOL-4: of a block that was not written nothing has changed here.
                self.ending.stale.extend(&write.children);
            }
        }
        self.writes = above.into_values().collect();
    }

    /// Shows every version in its memory with its place, as [`Machine::versions`](crate::Machine::versions) does.
    pub fn versions(&mut self, visit: &mut dyn FnMut(Place, &mut Version)) {
        for (place, node) in &mut self.nodes {
            visit(*place, &mut node.version);
        }
        for Write { place, expected, new, .. } in &mut self.writes {
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
    fn tell_parent(&mut self, write: &Write, above: &mut BTreeMap<Place, Write>) {
        let Some((parent, side)) = self.tree.parent(write.place) else { return };
        let Some(old) = self.nodes.get(&parent) else {
            self.ending.stale.insert(write.place);
            return;
        };
        let entry = above.entry(parent).or_insert_with(|| {
            let mut new = old.clone();
            // Also when no count changes: whoever read a child before must not write after it.
            new.version += 1;
            let (expected, new) = (Some(Value::Node(old.clone())), Value::Node(new));
            Write { place: parent, expected, new, calls: Vec::new(), children: Vec::new() }
        });
        if let Value::Node(node) = &mut entry.new {
            node.counts.set(side, write.new.total());
        }
        entry.children.push(write.place);
    }
}

impl Planner<'_> {
    fn free(&mut self, number: usize, id: Id, tag: &Tag) {
        let Some((place, slot)) = self.tree.slot(id) else { return };
        if !self.knows_path(place) {
            return;
        }
        let Some(edit) = self.edit(place) else { return };
        let slot = usize::from(slot);
        // POOL-2. A second free of one id in one plan finds the slot free, and goes by itself.
        if edit.new.slots[slot].as_ref() == Some(tag) {
            edit.new.slots[slot] = None;
            edit.calls.push((number, id));
        }
    }

    fn allocate(&mut self, number: usize, call: &Allocate, tag: &Tag) {
        let tree = self.tree;
        let touched = self.blocks.iter().filter(|(_, edit)| !edit.calls.is_empty());
        let with_room =
            touched.filter_map(|(place, edit)| Some((*place, edit.room(call, *place)?)));
        let mut found = with_room.into_iter().next();
        while found.is_none() {
            let Some(place) = self.descend(call) else { return };
            let Some(edit) = self.edit(place) else { return };
            match edit.room(call, place) {
                Some(slot) => found = Some((place, slot)),
                // Fuller than its parent says, or filled by this plan.
                None if place == tree.root() => return,
                None => self.fill(place),
            }
        }
        let Some((place, slot)) = found else { return };
        if let Some(edit) = self.blocks.get_mut(&place) {
            edit.new.slots[usize::from(slot)] = Some(tag.clone());
            edit.calls.push((number, tree.id(place, slot)));
        }
    }

    /// The block to which the counts lead; `None`: none of those that are known, or not enough is known.
    fn descend(&mut self, call: &Allocate) -> Option<Place> {
        let root = self.tree.root();
        let mut at = root;
        while !at.is_block() {
            if !self.knows(at) {
                return None;
            }
            let counts = &self.filled[&at].counts;
            match call.child_with_room(at, |child| counts.of(child)) {
                Some(child) => at = child,
                None if at == root => return None,
                None => {
                    self.fill(at);
                    at = root;
                }
            }
        }
        Some(at)
    }

    /// From now on, this place counts as full.
    fn fill(&mut self, at: Place) {
        if let Some((parent, side)) = self.tree.parent(at)
            && let Some(node) = self.filled.get_mut(&parent)
        {
            node.counts.set(side, self.tree.capacity(at));
        }
    }

    fn knows_path(&mut self, place: Place) -> bool {
        let mut at = place;
        let mut knows = true;
        while let Some((parent, _)) = self.tree.parent(at) {
            // All that is missing is said at once.
            knows &= self.knows(parent);
            at = parent;
        }
        knows
    }

    /// Whether an inner node is known to be there.
    fn knows(&mut self, at: Place) -> bool {
        if self.nodes.contains_key(&at) {
            return true;
        }
        match (self.remembered)(at) {
            Some(Some(Value::Node(node))) => {
                self.filled.insert(at, node.clone());
                self.nodes.insert(at, node);
                true
            }
            Some(_) => false,
            None => {
                self.missing.insert(at);
                false
            }
        }
    }

    fn edit(&mut self, place: Place) -> Option<&mut Edit> {
        if !self.blocks.contains_key(&place) {
            let Some(old) = (self.remembered)(place) else {
                self.missing.insert(place);
                return None;
            };
            let old = old.map(Value::into_block);
            let new = old.clone().unwrap_or_else(|| Block::absent(&self.tree, place));
            self.blocks.insert(place, Edit { old, new, calls: Vec::new() });
        }
        self.blocks.get_mut(&place)
    }
}

impl Edit {
    /// A slot that was free before, and still is.
    fn room(&self, call: &Allocate, place: Place) -> Option<u16> {
        // POOL-1: a slot that this write frees goes to nobody in the same write.
        let taken = |slot: usize| {
            self.old.as_ref().is_some_and(|old| old.slots[slot].is_some())
                || self.new.slots[slot].is_some()
        };
        call.slot_where(place, |slot| !taken(usize::from(slot)))
    }
}
