//! In what form a machine has the values that its host shows it: as its own, or by reference into the
//! host's memory.
//!
//! * the machines are the same in both; what the models explore with values of their own is what a
//!   host in one process runs on references, without a copy of anything that it only reads;
//! * a machine writes nothing into a value: it says what is to change, and [`Value::after`] makes the new
//!   one, wherever it is to stand.
//!
//! What it does not do: read. A host does.

use core::fmt::Debug;
use core::hash::Hash;

use crate::tag::Tag;
use crate::tree::{Place, Tree};
use crate::value::{Value, Version};

/// How a write differs from what stood there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A node that was missing, with all counts zero.
    Create,
    /// The count of a child.
    Count {
        /// Which.
        child: u16,
        /// Ids held below it.
        total: u64,
    },
    /// What stands in a slot of a block.
    Slot {
        /// Which.
        slot: u16,
        /// Who holds it from now on.
        tag: Option<Tag>,
    },
}

/// A node at an inner place, or a block at level 0, as a machine has it. A host that shows the one for
/// the other has broken the contract of [`Response`](crate::Response).
pub trait Seen: Clone + Debug + Eq + Hash {
    /// What shall be there: the value, or what is to change.
    type New: Clone + Debug + Eq + Hash;

    /// What the machine asks to put where it has seen `seen`.
    fn changed(seen: Option<&Self>, change: Change, tree: &Tree, at: Place) -> Self::New;

    /// A node that this machine has just created; `None`: it has to read it.
    fn created(tree: &Tree, at: Place) -> Option<Self>;

    /// The value.
    fn value(&self) -> &Value;

    /// Its version, for a model checker to renumber; `None`: it is not the machine's.
    fn version_mut(&mut self) -> Option<&mut Version>;

    /// How often the key has been written.
    #[inline]
    fn version(&self) -> Version {
        self.value().version()
    }

    /// Ids held at and below the place.
    #[inline]
    fn total(&self) -> u64 {
        self.value().total()
    }

    /// The count of a child, in a node.
    #[inline]
    fn count(&self, child: u16) -> u64 {
        self.value().node().counts.of(child)
    }

    /// Who holds a slot, in a block.
    #[inline]
    fn tag(&self, slot: u16) -> Option<&Tag> {
        self.value().block().slots[usize::from(slot)].as_ref()
    }
}

impl Seen for Value {
    type New = Self;

    #[inline]
    fn changed(seen: Option<&Self>, change: Change, tree: &Tree, at: Place) -> Self {
        Self::after(seen, change, tree, at)
    }

    fn created(tree: &Tree, at: Place) -> Option<Self> {
        Some(Self::after(None, Change::Create, tree, at))
    }

    #[inline]
    fn value(&self) -> &Value {
        self
    }

    fn version_mut(&mut self) -> Option<&mut Version> {
        Some(self.version_mut())
    }
}

impl Seen for &Value {
    type New = Change;

    #[inline]
    fn changed(_: Option<&Self>, change: Change, _: &Tree, _: Place) -> Change {
        change
    }

    /// A reference to it is to be had of the host alone. To read what one has created is what a machine
    /// does after an unknown outcome too.
    fn created(_: &Tree, _: Place) -> Option<Self> {
        None
    }

    #[inline]
    fn value(&self) -> &Value {
        self
    }

    fn version_mut(&mut self) -> Option<&mut Version> {
        None
    }
}
