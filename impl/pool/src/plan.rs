//! A plan for many calls as one: a slot for each, by what its host remembers of the pool.
//!
//! Invariants:
//! * POOL-1: a slot that a plan frees goes to nobody in the same plan;
//! * POOL-2: a slot is freed only if it is remembered under the tag that frees it;
//! * a block is in the plan only if all nodes above it are known to be there.
//!
//! What it does not do: write ([`Combined`](crate::Combined)), or say that the pool is full.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::allocate::Allocate;
use crate::tag::{Id, Tag};
use crate::tree::{Place, Tree};
use crate::value::{Block, Node, Value};

/// What a host remembers of a place: `None` nothing, `Some(None)` that nothing was there.
pub(crate) type Remembered = Option<Option<Value>>;

/// A plan in the making.
pub(crate) struct Planner<'a> {
    pub(crate) tree: Tree,
    pub(crate) remembered: &'a dyn Fn(Place) -> Remembered,
    pub(crate) missing: BTreeSet<Place>,
    pub(crate) nodes: BTreeMap<Place, Node>,
    /// The same, as far as the plan has filled them, or found them full.
    pub(crate) filled: BTreeMap<Place, Node>,
    pub(crate) blocks: BTreeMap<Place, Edit>,
}

/// A block before and after.
pub(crate) struct Edit {
    pub(crate) old: Option<Block>,
    pub(crate) new: Block,
    pub(crate) calls: Vec<(usize, Id)>,
}

impl Planner<'_> {
    pub(crate) fn free(&mut self, number: usize, id: Id, tag: &Tag) {
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

    pub(crate) fn allocate(&mut self, number: usize, call: &Allocate, tag: &Tag) {
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
