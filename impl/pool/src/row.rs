//! What a node or block has for each child or slot: a slice that is shared until it is written.
//!
//! * a copy costs no memory; the first write to one of several copies does;
//! * equality, hash and debug output are those of the slice.
//!
//! What it does not do: grow.

use alloc::{sync::Arc, vec::Vec};
use core::fmt;
use core::ops::{Deref, DerefMut};

/// A slice of fixed length; see the file's head.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Row<T>(Arc<[T]>);

impl<T: Clone> Row<T> {
    /// So many times the same.
    pub fn filled(value: &T, length: usize) -> Self {
        (0..length).map(|_| value.clone()).collect()
    }
}

impl<T> Deref for Row<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Clone> DerefMut for Row<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> FromIterator<T> for Row<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T> From<Vec<T>> for Row<T> {
    fn from(values: Vec<T>) -> Self {
        Self(values.into())
    }
}

impl<'a, T> IntoIterator for &'a Row<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for Row<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};

    #[test]
    fn a_write_to_one_copy_leaves_the_other() {
        let one: Row<u64> = vec![1, 2, 3].into();
        let mut other = one.clone();
        assert_eq!(one.as_ptr(), other.as_ptr());
        other[1] = 7;
        assert_eq!((&one[..], &other[..]), (&[1, 2, 3][..], &[1, 7, 3][..]));
        assert_ne!(one, other);
        assert_eq!(format!("{other:?}"), "[1, 7, 3]");
        assert_eq!(Row::filled(&4, 2), vec![4, 4].into());
    }
}
