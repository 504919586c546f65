//! What a call has read of the inner nodes on its way down.
//!
//! Invariants:
//! * one node for each level from the root on, each read before the next;
//! * each is what its place held at some moment before the read of the next, be it long ago: whoever
//!   writes on it is bound to its version.

use alloc::vec::Vec;

use crate::seen::Seen;
use crate::tree::{Place, Tree};
use crate::value::{Value, Version};

/// Inner nodes from the root down; see the file's head.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path<S = Value>(Vec<S>);

impl<S> Default for Path<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Seen> Path<S> {
    /// One level further down.
    pub(crate) fn push(&mut self, node: S) {
        self.0.push(node);
    }

    /// How many levels it has.
    pub(crate) fn len(&self) -> u8 {
        u8::try_from(self.0.len()).expect("one node for each level")
    }

    /// The lowest.
    pub(crate) fn pop(&mut self) -> Option<S> {
        self.0.pop()
    }

    /// Shows the versions of the nodes above `below`.
    pub(crate) fn versions(
        &mut self,
        tree: &Tree,
        below: Place,
        visit: &mut dyn FnMut(Place, &mut Version),
    ) {
        let mut at = below;
        for node in self.0.iter_mut().rev() {
            let Some((parent, _)) = tree.parent(at) else { return };
            at = parent;
            if let Some(version) = node.version_mut() {
                visit(at, version);
            }
        }
    }
}
