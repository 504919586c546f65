//! The plain names of the register: slots, nodes, keys, versions, operations.
//!
//! Invariants:
//! * no two of them are one type, and none is a bare number across this crate's edge;
//! * the shown form has a short prefix: `s7`, `e3`, `n1f000000`, `i2`, `v5`, `o…`.
//!
//! What it does not do: order votes; that is [`Ballot`](crate::Ballot).

use alloc::sync::Arc;
use core::fmt;

pub use cloakroom_wire::NodeId;

/// A part of the key space with one group of replicas: the first bits of a key's hash. Ownership is
/// by slot, not by key, because absence needs an owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// Which view of a slot: 0 stands in the genesis, each decree adds one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The one after it; `None` after the last.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

/// Which life of a node's disk. A disk that is lost or rolled back is a new incarnation, and no
/// member of any view of the old one: it has forgotten its promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// Who votes: a node in one life of its disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its disk.
    pub incarnation: Incarnation,
}

/// Which start of a node: a durable counter that is raised before the first ballot after a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(pub u32);

/// Which of the states that a key has had: every write raises it, also through absence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The one after it.
    ///
    /// # Panics
    /// After 2^64 - 1 writes of one key.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("REG-10: fewer than 2^64 writes of a key"))
    }
}

/// One call of a client, in all its attempts. Chosen by the client, at random or by counting: never
/// used for two calls.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub [u8; 16]);

/// What a register is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Arc<[u8]>);

/// What a register holds. An empty value is a value: only a missing one is absence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub Arc<[u8]>);

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if f.alternate() { self.0.len() } else { 4 };
        write!(f, "o")?;
        self.0.iter().take(shown).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.incarnation)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! shown {
    ($($name:ident $prefix:literal),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

shown!(Slot "s", Epoch "e", Incarnation "i", Boot "t", Version "v");
