//! What the map holds: inner nodes and blocks, and their bytes.
//!
//! Invariants:
//! * one value has one encoding, since the map compares bytes;
//! * every successful write raises the version by one, so no two values that a key ever held are
//!   equal: a late or repeated compare-and-set can succeed at most once, and never after another.
//!
//! A missing node reads as version 0 with all counts zero, a missing block as version 0 with all
//! slots free; nothing that was written is ever removed.

use alloc::vec::Vec;
use thiserror::Error;

use crate::counts::Counts;
use crate::row::Row;
use crate::seen::Change;
use crate::tag::{MAX_TAG_BYTES, Tag};
use crate::tree::{Place, Tree};

/// How often a node or block has been written; 0 is absence.
pub type Version = u64;

/// An inner node: for each child, how many ids were held below it when it was last read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Raised by every successful write, also by one that changes no count.
    pub version: Version,
    /// One count for each child.
    pub counts: Counts,
}

/// A block of slots: for each id, the tag that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// Raised by every successful write.
    pub version: Version,
    /// One slot for each id; `None` is free.
    pub slots: Row<Option<Tag>>,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// At level 1 and above.
    Node(Node),
    /// At level 0.
    Block(Block),
}

/// Bytes in the map that this pool cannot have written: the map's fault, or two pools share a
/// [`PoolId`](crate::PoolId), or they disagree on size and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not the letter that opens a node (`N`) or block (`B`).
    #[error("byte 0: expected {expected:#04x}, got {got:#04x}")]
    Kind {
        /// `N` or `B`, by the key's level.
        expected: u8,
        /// What stands there.
        got: u8,
    },
    /// Ends too early.
    #[error("expected at least {expected} bytes, got {got}")]
    Short {
        /// How many are needed.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// Goes on past its end.
    #[error("expected {expected} bytes, got {got}")]
    Long {
        /// How many it takes.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// Version 0 stands for absence and is never written.
    #[error("version: expected at least 1, got 0")]
    Version,
    /// A count above what its child can hold.
    #[error("count of child {child}: expected at most {capacity}, got {got}")]
    Count {
        /// Which child.
        child: u16,
        /// How many ids it has.
        capacity: u64,
        /// What stands there.
        got: u64,
    },
    /// A tag longer than a tag can be.
    #[error("tag in slot {slot}: expected at most {MAX_TAG_BYTES} bytes, got {got}")]
    Tag {
        /// Which slot.
        slot: u16,
        /// What its length byte says.
        got: u8,
    },
}

impl Node {
    /// What a missing node stands for.
    pub fn absent(tree: &Tree, at: Place) -> Self {
        Self { version: 0, counts: Counts::zeros(usize::from(tree.width(at))) }
    }

    /// Ids held below this node, as far as it knows.
    pub fn total(&self) -> u64 {
        self.counts.sum()
    }
}

impl Block {
    /// What a missing block stands for.
    pub fn absent(tree: &Tree, at: Place) -> Self {
        Self { version: 0, slots: Row::filled(&None, usize::from(tree.width(at))) }
    }

    /// Ids held in this block.
    pub fn total(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(slot.is_some())).sum()
    }
}

impl Value {
    /// How often the key has been written.
    pub fn version(&self) -> Version {
        match self {
            Self::Node(node) => node.version,
            Self::Block(block) => block.version,
        }
    }

    pub(crate) fn version_mut(&mut self) -> &mut Version {
        match self {
            Self::Node(node) => &mut node.version,
            Self::Block(block) => &mut block.version,
        }
    }

    /// Ids held at and below the key.
    pub fn total(&self) -> u64 {
        match self {
            Self::Node(node) => node.total(),
            Self::Block(block) => block.total(),
        }
    }

    /// The bytes: a letter, the version (8, big-endian), then for a node each count in as many
    /// bytes as the capacity of a child needs, for a block each slot as a length byte (0 is free)
    /// and the tag.
    pub fn encode(&self, tree: &Tree, at: Place) -> Vec<u8> {
        match self {
            Self::Node(node) => {
                let width = count_bytes(tree, at);
                let mut bytes = Vec::with_capacity(9 + width * node.counts.len());
                bytes.push(b'N');
                bytes.extend(node.version.to_be_bytes());
                write_counts(&mut bytes, &node.counts, width);
                bytes
            }
            Self::Block(block) => {
                let tags = block.slots.iter().flatten().map(|tag| tag.as_bytes().len());
                let mut bytes = Vec::with_capacity(9 + block.slots.len() + tags.sum::<usize>());
                bytes.push(b'B');
                bytes.extend(block.version.to_be_bytes());
                for slot in &block.slots {
                    let tag = slot.as_ref().map_or(&[][..], Tag::as_bytes);
                    // MAX_TAG_BYTES is 128.
                    bytes.push(u8::try_from(tag.len()).unwrap_or(u8::MAX));
                    bytes.extend(tag);
                }
                bytes
            }
        }
    }

    /// Undoes [`Value::encode`]; accepts nothing else.
    ///
    /// # Errors
    /// [`ValueError`] says where the bytes stop making sense.
    pub fn decode(bytes: &[u8], tree: &Tree, at: Place) -> Result<Self, ValueError> {
        let expected = if at.is_block() { b'B' } else { b'N' };
        let (header, mut rest) =
            bytes.split_at_checked(9).ok_or(ValueError::Short { expected: 9, got: bytes.len() })?;
        if header[0] != expected {
            return Err(ValueError::Kind { expected, got: header[0] });
        }
        let version = header[1..].iter().fold(0, |version, &byte| version << 8 | u64::from(byte));
        if version == 0 {
            return Err(ValueError::Version);
        }
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count).ok_or(ValueError::Short {
                expected: bytes.len() - rest.len() + count,
                got: bytes.len(),
            })?;
            rest = left;
            Ok(taken)
        };
        let value = if at.is_block() {
            let mut slots = Vec::with_capacity(usize::from(tree.width(at)));
            for slot in 0..tree.width(at) {
                let length = take(1)?[0];
                if usize::from(length) > MAX_TAG_BYTES {
                    return Err(ValueError::Tag { slot, got: length });
                }
                // No bytes are no tag, hence a free slot; too many were refused above.
                slots.push(Tag::new(take(usize::from(length))?).ok());
            }
            Self::Block(Block { version, slots: slots.into() })
        } else {
            let width = count_bytes(tree, at);
            // Only the last child may be ragged.
            let last = tree.width(at) - 1;
            let (whole, ragged) = (tree.child(at, 0), tree.child(at, last));
            let (whole, ragged) = (tree.capacity(whole), tree.capacity(ragged));
            let counts = read_counts(&bytes[9..], width, usize::from(last) + 1);
            for (child, got) in (0..=last).zip(counts.iter()) {
                let capacity = if child == last { ragged } else { whole };
                if got > capacity {
                    return Err(ValueError::Count { child, capacity, got });
                }
            }
            // Less than one more count may be left, or what is too much.
            take(width * counts.len())?;
            if counts.len() <= usize::from(last) {
                take(width)?;
            }
            Self::Node(Node { version, counts })
        };
        if !rest.is_empty() {
            return Err(ValueError::Long { expected: bytes.len() - rest.len(), got: bytes.len() });
        }
        Ok(value)
    }

    /// The value after a change of `seen`, its version raised.
    #[inline]
    pub fn after(seen: Option<&Self>, change: Change, tree: &Tree, at: Place) -> Self {
        match change {
            Change::Create => Self::Node(Node { version: 1, ..Node::absent(tree, at) }),
            Change::Count { child, total } => {
                let node = seen.map(|seen| seen.node().clone());
                let mut node = node.unwrap_or_else(|| Node::absent(tree, at));
                node.counts.set(child, total);
                // The version rises even when the count was right: whoever read the child before this
                // write must not be able to write after it.
                node.version += 1;
                Self::Node(node)
            }
            Change::Slot { slot, tag } => {
                let block = seen.map(|seen| seen.block().clone());
                let mut block = block.unwrap_or_else(|| Block::absent(tree, at));
                block.slots[usize::from(slot)] = tag;
                block.version += 1;
                Self::Block(block)
            }
        }
    }

    /// The node at an inner place. A host that answers with a block has broken the contract of
    /// [`Response`](crate::Response).
    #[inline]
    pub(crate) fn node(&self) -> &Node {
        match self {
            Self::Node(node) => node,
            Self::Block(_) => panic!("host: expected a node at an inner place, got a block"),
        }
    }

    /// The block at level 0; see [`Value::node`].
    #[inline]
    pub(crate) fn block(&self) -> &Block {
        match self {
            Self::Block(block) => block,
            Self::Node(_) => panic!("host: expected a block at level 0, got a node"),
        }
    }

    /// As [`Value::block`].
    pub(crate) fn into_block(self) -> Block {
        match self {
            Self::Block(block) => block,
            Self::Node(_) => panic!("host: expected a block at level 0, got a node"),
        }
    }
}

/// Bytes of a count: enough for the capacity of the first child, which is never ragged below
/// another.
fn count_bytes(tree: &Tree, at: Place) -> usize {
    let bits = u64::BITS - tree.capacity(tree.child(at, 0)).leading_zeros();
    bits.div_ceil(8) as usize
}

/// Appends counts, big-endian. The usual widths are compiled apart: it is most of what a call costs
/// on a map in memory.
fn write_counts(bytes: &mut Vec<u8>, counts: &Counts, width: usize) {
    fn each<const WIDTH: usize>(bytes: &mut [u8], counts: &Counts) {
        for (to, count) in bytes.as_chunks_mut::<WIDTH>().0.iter_mut().zip(counts.iter()) {
            *to = *count.to_be_bytes().last_chunk().expect("at most 8 bytes");
        }
    }
    let from = bytes.len();
    bytes.resize(from + width * counts.len(), 0);
    let to = &mut bytes[from..];
    match width {
        1 => each::<1>(to, counts),
        2 => each::<2>(to, counts),
        _ => {
            for (to, count) in to.chunks_exact_mut(width).zip(counts.iter()) {
                to.copy_from_slice(&count.to_be_bytes()[8 - width..]);
            }
        }
    }
}

/// Undoes [`write_counts`]: as many as are there, at most `most`.
fn read_counts(bytes: &[u8], width: usize, most: usize) -> Counts {
    let number = |count: &[u8]| count.iter().fold(0, |count, &byte| count << 8 | u64::from(byte));
    match width {
        1 => bytes.iter().take(most).map(|&count| count.into()).collect(),
        2 => {
            let counts = bytes.as_chunks().0.iter().take(most);
            counts.map(|&count| u16::from_be_bytes(count).into()).collect()
        }
        _ => bytes.chunks_exact(width).take(most).map(number).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{PoolId, Shape};
    use proptest::prelude::*;

    fn tree(size: u64, fanout: u16, block: u16) -> Tree {
        Tree::new(PoolId(1), size, Shape::new(fanout, block).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn one_value_has_one_encoding(
            size in 1_u64..3000, fanout in 2_u16..9, block in 1_u16..9,
            seed in any::<u64>(), version in 1_u64.., tags in prop::collection::vec(
                prop::option::of(prop::collection::vec(any::<u8>(), 1..=MAX_TAG_BYTES)), 8),
            cut in any::<prop::sample::Index>(), flip in any::<u8>(),
        ) {
            let tree = tree(size, fanout, block);
            for at in [tree.root(), tree.slot(Id(seed % size)).unwrap().0] {
                let width = usize::from(tree.width(at));
                let value = if at.is_block() {
                    let slots = tags.iter().take(width)
                        .map(|tag| tag.as_ref().map(|tag| Tag::new(tag).unwrap())).collect();
                    Value::Block(Block { version, slots })
                } else {
                    let counts = (0..tree.width(at))
                        .map(|side| seed % (tree.capacity(tree.child(at, side)) + 1)).collect();
                    Value::Node(Node { version, counts })
                };
                let mut bytes = value.encode(&tree, at);
                prop_assert_eq!(Value::decode(&bytes, &tree, at), Ok(value.clone()));
                let cut = cut.index(bytes.len());
                prop_assert!(Value::decode(&bytes[..cut], &tree, at).is_err());
                // Whatever else decodes is a different value with exactly these bytes.
                bytes[cut] ^= flip;
                if let Ok(other) = Value::decode(&bytes, &tree, at) {
                    prop_assert_eq!(other.encode(&tree, at), bytes);
                }
            }
        }
    }

    use crate::tag::Id;

    #[test]
    fn foreign_bytes_are_refused_with_their_place() {
        let tree = tree(8, 2, 2);
        let (root, block) = (tree.root(), tree.slot(Id(0)).unwrap().0);
        let decode = |bytes: &[u8], at| Value::decode(bytes, &tree, at).unwrap_err();
        assert_eq!(decode(b"N", root), ValueError::Short { expected: 9, got: 1 });
        assert_eq!(
            decode(b"B\0\0\0\0\0\0\0\x01\0\0", root),
            ValueError::Kind { expected: b'N', got: b'B' }
        );
        assert_eq!(decode(b"N\0\0\0\0\0\0\0\0\0\0", root), ValueError::Version);
        assert_eq!(
            decode(b"N\0\0\0\0\0\0\0\x01\0\x05", root),
            ValueError::Count { child: 1, capacity: 4, got: 5 }
        );
        assert_eq!(
            decode(b"N\0\0\0\0\0\0\0\x01\0\0\0", root),
            ValueError::Long { expected: 11, got: 12 }
        );
        assert_eq!(
            decode(b"B\0\0\0\0\0\0\0\x01\x81", block),
            ValueError::Tag { slot: 0, got: 0x81 }
        );
        assert_eq!(
            decode(b"B\0\0\0\0\0\0\0\x01\x02a", block),
            ValueError::Short { expected: 12, got: 11 }
        );
    }
}
