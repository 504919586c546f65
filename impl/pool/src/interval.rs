//! Interval arithmetic of the published binary tree.
//!
//! A node of the tree over `[0, N)`, `N = 2^n`, *is* its interval: left, right and up are
//! arithmetic on start and length, so the tree needs no pointers. The generalisation to wide nodes
//! and blocks of slots is [`Tree`](crate::Tree).
//!
//! Invariants, proved for every 64-bit size in `specs/smt`:
//! * the length is a power of two and divides the start;
//! * `left` and `right` partition their parent; `up` undoes both.

use thiserror::Error;

/// The interval `[start, start + len)`: a node of the binary tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    start: u64,
    len: u64,
}

/// Which child of its parent an interval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The lower half.
    Left,
    /// The upper half.
    Right,
}

/// An interval that is no node of any binary tree: the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IntervalError {
    /// The length is not a power of two.
    #[error("interval length: expected a power of two, got {len}")]
    Length {
        /// What came.
        len: u64,
    },
    /// The start is not a multiple of the length.
    #[error("interval start: expected a multiple of the length {len}, got {start}")]
    Start {
        /// What came.
        start: u64,
        /// What must divide it.
        len: u64,
    },
    /// The interval passes the end of the 64-bit numbers.
    #[error("interval [{start}, {start} + {len}) passes 2^64")]
    End {
        /// Its start.
        start: u64,
        /// Its length.
        len: u64,
    },
}

impl Interval {
    /// The node `[start, start + len)`.
    ///
    /// # Errors
    /// [`IntervalError`] unless `len` is a power of two that divides `start`.
    pub const fn new(start: u64, len: u64) -> Result<Self, IntervalError> {
        if !len.is_power_of_two() {
            return Err(IntervalError::Length { len });
        }
        if !start.is_multiple_of(len) {
            return Err(IntervalError::Start { start, len });
        }
        if start.checked_add(len).is_none() {
            return Err(IntervalError::End { start, len });
        }
        Ok(Self { start, len })
    }

    /// The first number.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// How many numbers.
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Never: an interval of the tree has at least one number. (Clippy wants it beside `len`.)
    pub const fn is_empty(self) -> bool {
        false
    }

    /// One past the last number.
    pub const fn end(self) -> u64 {
        self.start + self.len
    }

    /// Whether this is a single number.
    pub const fn is_leaf(self) -> bool {
        self.len == 1
    }

    /// The lower half; `None` for a leaf.
    pub const fn left(self) -> Option<Self> {
        if self.is_leaf() {
            return None;
        }
        Some(Self { start: self.start, len: self.len / 2 })
    }

    /// The upper half; `None` for a leaf.
    pub const fn right(self) -> Option<Self> {
        if self.is_leaf() {
            return None;
        }
        Some(Self { start: self.start + self.len / 2, len: self.len / 2 })
    }

    /// Left iff the start is divisible by twice the length. (For the root the answer is `Left` of a
    /// tree twice as large.)
    pub const fn side(self) -> Side {
        // A length of 2^63 has a start of 0, or `new` would have refused its end.
        if self.len > u64::MAX / 2 || self.start.is_multiple_of(self.len * 2) {
            Side::Left
        } else {
            Side::Right
        }
    }

    /// The parent in the tree over `[0, size)`; `None` for its root.
    pub const fn up(self, size: u64) -> Option<Self> {
        if self.len >= size {
            return None;
        }
        Some(match self.side() {
            Side::Left => Self { start: self.start, len: self.len * 2 },
            Side::Right => Self { start: self.start - self.len, len: self.len * 2 },
        })
    }
}

impl core::fmt::Display for Interval {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "[{}, {})", self.start, self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn children_partition_their_parent_and_up_undoes_both(n in 1_u32..63, at in any::<u64>()) {
            let len = 1_u64 << n;
            let size = 1_u64 << 63;
            let node = Interval::new(at % (size / len) * len, len).unwrap();
            let (left, right) = (node.left().unwrap(), node.right().unwrap());
            prop_assert_eq!((left.start(), left.end()), (node.start(), right.start()));
            prop_assert_eq!(right.end(), node.end());
            prop_assert_eq!((left.side(), right.side()), (Side::Left, Side::Right));
            prop_assert_eq!(left.up(size), Some(node));
            prop_assert_eq!(right.up(size), Some(node));
        }
    }

    #[test]
    fn what_is_no_node_is_refused_by_name() {
        assert_eq!(Interval::new(0, 3), Err(IntervalError::Length { len: 3 }));
        assert_eq!(Interval::new(0, 0), Err(IntervalError::Length { len: 0 }));
        assert_eq!(Interval::new(2, 4), Err(IntervalError::Start { start: 2, len: 4 }));
        assert_eq!(
            Interval::new(1 << 63, 1 << 63),
            Err(IntervalError::End { start: 1 << 63, len: 1 << 63 })
        );
        let leaf = Interval::new(5, 1).unwrap();
        assert_eq!((leaf.left(), leaf.right()), (None, None));
        assert_eq!(Interval::new(0, 8).unwrap().up(8), None);
        assert_eq!(Interval::new(0, 1 << 63).unwrap().side(), Side::Left);
    }
}
