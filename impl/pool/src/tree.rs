//! Where things stand: the shape of a pool's tree, as arithmetic alone.
//!
//! Ids `[0, size)` are cut into *blocks* of `block` slots (level 0); `fanout` places of a level
//! form one inner node of the level above, up to a single root. `Shape { fanout: 2, block: 1 }`
//! over a power of two is the published binary tree, whose node at `(level, index)` is the
//! [`Interval`](crate::Interval) `[index * 2^level, (index + 1) * 2^level)`.
//!
//! Invariants:
//! * the children of a place partition its ids; `parent` undoes `child`;
//! * the last place of each level may be ragged: it has only the ids below `size`, so capacities
//!   sum up to `size` at every level.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Range;
use thiserror::Error;

use crate::tag::Id;

/// The most ids in a pool.
pub const MAX_SIZE: u64 = 1 << 48;
/// The fewest children of an inner node.
pub const MIN_FANOUT: u16 = 2;
/// The most children of an inner node.
pub const MAX_FANOUT: u16 = 1024;
/// The most slots in a block.
pub const MAX_BLOCK: u16 = 256;

/// Which pool: the first eight bytes of all its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u64);

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{:x}", self.0)
    }
}

/// How wide the tree is. Fixed when a pool is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    fanout: u16,
    block: u16,
}

impl Default for Shape {
    /// 64 children to a node, 64 slots to a block: 65,536 ids are two levels above the blocks.
    fn default() -> Self {
        Self { fanout: 64, block: 64 }
    }
}

/// Numbers that are no shape or size of a pool: the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Too few or too many children.
    #[error("fanout: expected {MIN_FANOUT} to {MAX_FANOUT} children to a node, got {fanout}")]
    Fanout {
        /// What came.
        fanout: u16,
    },
    /// No slots, or too many.
    #[error("block: expected 1 to {MAX_BLOCK} slots to a block, got {block}")]
    Block {
        /// What came.
        block: u16,
    },
    /// No ids, or too many.
    #[error("size: expected 1 to {MAX_SIZE} ids, got {size}")]
    Size {
        /// What came.
        size: u64,
    },
}

impl Shape {
    /// `fanout` children to a node ([`MIN_FANOUT`] to [`MAX_FANOUT`]), `block` slots to a block (1
    /// to [`MAX_BLOCK`]).
    ///
    /// Wider is shallower: fewer map operations to a call, larger values, more callers that meet on
    /// one key.
    ///
    /// # Errors
    /// [`ShapeError`] when a number is out of its range.
    pub const fn new(fanout: u16, block: u16) -> Result<Self, ShapeError> {
        if fanout < MIN_FANOUT || fanout > MAX_FANOUT {
            return Err(ShapeError::Fanout { fanout });
        }
        if block == 0 || block > MAX_BLOCK {
            return Err(ShapeError::Block { block });
        }
        Ok(Self { fanout, block })
    }

    /// Children to an inner node.
    pub const fn fanout(self) -> u16 {
        self.fanout
    }

    /// Slots to a block.
    pub const fn block(self) -> u16 {
        self.block
    }
}

/// A place in the tree: level 0 has the blocks, the highest level the root alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    level: u8,
    index: u64,
}

impl Place {
    /// Levels above the blocks.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Which of its level, from 0.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Whether this is a block of slots, not an inner node.
    pub const fn is_block(self) -> bool {
        self.level == 0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_block() {
            write!(f, "block {}", self.index)
        } else {
            write!(f, "node {}.{}", self.level, self.index)
        }
    }
}

/// The tree of one pool: its arithmetic and its keys. Holds no ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    pool: PoolId,
    size: u64,
    shape: Shape,
    height: u8,
}

impl Hash for Tree {
    /// A pool has one tree, so its name stands for it: every machine carries its tree, and a model
    /// hashes millions of them.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pool.hash(state);
    }
}

impl Tree {
    /// The tree of `pool` over the ids `[0, size)`.
    ///
    /// # Errors
    /// [`ShapeError::Size`] unless `size` is 1 to [`MAX_SIZE`].
    pub fn new(pool: PoolId, size: u64, shape: Shape) -> Result<Self, ShapeError> {
        if size == 0 || size > MAX_SIZE {
            return Err(ShapeError::Size { size });
        }
        let mut tree = Self { pool, size, shape, height: 0 };
        while tree.places(tree.height) > 1 {
            tree.height += 1;
        }
        Ok(tree)
    }

    /// Which pool.
    pub const fn pool(&self) -> PoolId {
        self.pool
    }

    /// How many ids.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How wide.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Levels of inner nodes above the blocks; 0 when one block holds all ids.
    pub const fn height(&self) -> u8 {
        self.height
    }

    /// The root: an inner node, or the one block of a tree of height 0.
    #[inline]
    pub const fn root(&self) -> Place {
        Place { level: self.height, index: 0 }
    }

    /// The block and slot of an id; `None` when it is not below `size`.
    #[inline]
    pub fn slot(&self, id: Id) -> Option<(Place, u16)> {
        let block = u64::from(self.shape.block);
        let (index, slot) = divide(id.0, block);
        (id.0 < self.size).then_some((Place { level: 0, index }, slot.try_into().ok()?))
    }

    /// The id of a slot of a block.
    #[inline]
    pub fn id(&self, block: Place, slot: u16) -> Id {
        debug_assert!(block.is_block());
        Id(block.index * u64::from(self.shape.block) + u64::from(slot))
    }

    /// The ids below a place.
    #[inline]
    pub fn ids(&self, at: Place) -> Range<u64> {
        let span = self.span(at.level);
        at.index * span..self.size.min((at.index + 1) * span)
    }

    /// How many ids are below a place.
    #[inline]
    pub fn capacity(&self, at: Place) -> u64 {
        let ids = self.ids(at);
        ids.end - ids.start
    }

    /// How many children a node has, or slots a block.
    #[inline]
    pub fn width(&self, at: Place) -> u16 {
        let Some(below) = at.level.checked_sub(1) else {
            return narrow(self.capacity(at));
        };
        let fanout = u64::from(self.shape.fanout);
        narrow(fanout.min(self.places(below) - at.index * fanout))
    }

    /// The child number `side` of an inner node.
    #[inline]
    pub fn child(&self, at: Place, side: u16) -> Place {
        debug_assert!(!at.is_block() && side < self.width(at));
        Place {
            level: at.level - 1,
            index: at.index * u64::from(self.shape.fanout) + u64::from(side),
        }
    }

    /// The parent, and which of its children this place is; `None` for the root.
    #[inline]
    pub fn parent(&self, at: Place) -> Option<(Place, u16)> {
        if at.level == self.height {
            return None;
        }
        let (index, side) = divide(at.index, self.shape.fanout.into());
        Some((Place { level: at.level + 1, index }, narrow(side)))
    }

    /// The place on `level` that has this id below it.
    #[inline]
    pub fn above(&self, id: Id, level: u8) -> Place {
        Place { level, index: divide(id.0, self.span(level)).0 }
    }

    /// The next sibling to the right; `None` for the last child and for the root.
    pub fn sibling(&self, at: Place) -> Option<Place> {
        let (parent, side) = self.parent(at)?;
        (side + 1 < self.width(parent)).then(|| self.child(parent, side + 1))
    }

    /// All places, children before their parents. For checks over small trees.
    pub fn all(&self) -> impl Iterator<Item = Place> + use<> {
        let tree = *self;
        (0..=tree.height)
            .flat_map(move |level| (0..tree.places(level)).map(move |index| Place { level, index }))
    }

    /// The key of a place: pool (8 bytes), level (1), index (7), big-endian, so that keys sort by
    /// pool, then level, then index.
    pub fn key(&self, at: Place) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.pool.0.to_be_bytes());
        key[8..].copy_from_slice(&at.index.to_be_bytes());
        key[8] = at.level;
        key
    }

    /// The place that has a key; `None` when no place of this tree has it.
    pub fn place(&self, key: &[u8]) -> Option<Place> {
        let (_, number) = key.split_last_chunk()?;
        // The level is its highest byte.
        let level = *number.first()?;
        let index = u64::from_be_bytes(*number) & (u64::MAX >> 8);
        let place = Place { level, index };
        let there = level <= self.height && index < self.places(level);
        (there && self.key(place) == key).then_some(place)
    }

    /// How many places a level has; `level` is at most [`Tree::height`].
    #[inline]
    pub fn places(&self, level: u8) -> u64 {
        let (whole, ragged) = divide(self.size, self.span(level));
        whole + u64::from(ragged > 0)
    }

    /// How many ids a full place of a level has. No overflow: a level exists only while the one
    /// below has more than one place, so the root's span is below `size * fanout` or is one block.
    #[inline]
    fn span(&self, level: u8) -> u64 {
        let (block, fanout) = (u64::from(self.shape.block), u64::from(self.shape.fanout));
        if fanout.is_power_of_two() {
            return block << (fanout.trailing_zeros() * u32::from(level));
        }
        block * fanout.pow(u32::from(level))
    }
}

/// Quotient and remainder. Shapes are mostly powers of two, and a call divides at each level.
#[inline]
fn divide(number: u64, by: u64) -> (u64, u64) {
    if by.is_power_of_two() {
        return (number >> by.trailing_zeros(), number & (by - 1));
    }
    (number / by, number % by)
}

/// A number that arithmetic bounds by 1024.
fn narrow(number: u64) -> u16 {
    u16::try_from(number).expect("fanout and block are at most 1024")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn shapes() -> impl Strategy<Value = Shape> {
        (MIN_FANOUT..=MAX_FANOUT, 1..=MAX_BLOCK).prop_map(|(f, b)| Shape::new(f, b).unwrap())
    }

    proptest! {
        #[test]
        fn children_partition_their_parent(shape in shapes(), size in 1..=MAX_SIZE, at in any::<u64>()) {
            let tree = Tree::new(PoolId(0), size, shape).unwrap();
            let mut place = tree.root();
            while !place.is_block() {
                let mut next = tree.ids(place).start;
                for side in 0..tree.width(place) {
                    let child = tree.child(place, side);
                    prop_assert_eq!(tree.parent(child), Some((place, side)));
                    prop_assert_eq!(tree.ids(child).start, next);
                    prop_assert!(tree.capacity(child) > 0);
                    next = tree.ids(child).end;
                }
                prop_assert_eq!(tree.ids(place).end, next);
                place = tree.child(place, narrow(at % u64::from(tree.width(place))));
            }
            prop_assert_eq!(u64::from(tree.width(place)), tree.capacity(place));
        }

        #[test]
        fn the_root_has_all_ids(shape in shapes(), size in 1..=MAX_SIZE, id in any::<u64>()) {
            let tree = Tree::new(PoolId(0), size, shape).unwrap();
            let id = Id(id % size);
            prop_assert_eq!(tree.ids(tree.root()), 0..size);
            prop_assert!(tree.height() == 0 || tree.places(tree.height() - 1) > 1);
            let (block, slot) = tree.slot(id).unwrap();
            prop_assert!(slot < tree.width(block));
            prop_assert_eq!(tree.id(block, slot), id);
            prop_assert_eq!(tree.above(id, 0), block);
            prop_assert_eq!(tree.slot(Id(size)), None);
        }

        #[test]
        fn no_two_places_share_a_key(shape in shapes(), size in 1..5_000_u64) {
            let tree = Tree::new(PoolId(7), size, shape).unwrap();
            let keys: Vec<_> = tree.all().map(|at| tree.key(at)).collect();
            prop_assert!(keys.is_sorted_by(|a, b| a < b));
            for (at, key) in tree.all().zip(&keys) {
                prop_assert_eq!(tree.place(key), Some(at));
                prop_assert_eq!(tree.place(&key[1..]), None);
            }
            let beyond = tree.root();
            let beyond = [Place { index: 1, ..beyond }, Place { level: beyond.level + 1, ..beyond }];
            prop_assert!(beyond.iter().all(|&at| tree.place(&tree.key(at)).is_none()));
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        assert_eq!(Shape::new(1, 1), Err(ShapeError::Fanout { fanout: 1 }));
        assert_eq!(Shape::new(1025, 1), Err(ShapeError::Fanout { fanout: 1025 }));
        assert_eq!(Shape::new(2, 0), Err(ShapeError::Block { block: 0 }));
        assert_eq!(Shape::new(2, 257), Err(ShapeError::Block { block: 257 }));
        let tree = |size| Tree::new(PoolId(0), size, Shape::default()).map(|tree| tree.height());
        assert_eq!(tree(0), Err(ShapeError::Size { size: 0 }));
        assert_eq!(tree(MAX_SIZE + 1), Err(ShapeError::Size { size: MAX_SIZE + 1 }));
        assert_eq!((tree(64), tree(65), tree(65_536)), (Ok(0), Ok(1), Ok(2)));
    }

    #[test]
    fn the_published_tree_is_the_shape_2_1() {
        use crate::interval::{Interval, Side};
        let tree = Tree::new(PoolId(0), 16, Shape::new(2, 1).unwrap()).unwrap();
        for at in tree.all() {
            let ids = tree.ids(at);
            let node = Interval::new(ids.start, ids.end - ids.start).unwrap();
            let up = tree.parent(at).map(|(parent, side)| {
                assert_eq!(side == 0, node.side() == Side::Left);
                tree.ids(parent)
            });
            assert_eq!(node.up(16).map(|up| up.start()..up.end()), up);
        }
    }
}
