//! The slots of a block: a slice that is shared until it is written; but one alone stands where it
//! is.
//!
//! * a copy costs no memory; the first write to one of several copies of more than one does;
//! * which form it has follows from the length; equality, hash and debug output are those of the
//!   slice.
//!
//! What it does not do: grow.

use alloc::{sync::Arc, vec::Vec};
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Deref, DerefMut};

/// A slice of fixed length; see the file's head.
#[derive(Clone, PartialEq, Eq)]
pub struct Row<T>(Form<T>);

#[derive(Clone, PartialEq, Eq)]
enum Form<T> {
    One(T),
    /// None, or more than one.
    Many(Arc<[T]>),
}

impl<T: Clone> Row<T> {
    /// So many times the same.
    pub fn filled(value: &T, length: usize) -> Self {
        (0..length).map(|_| value.clone()).collect()
    }
}

impl<T> Deref for Row<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Form::One(value) => core::slice::from_ref(value),
            Form::Many(values) => values,
        }
    }
}

impl<T: Clone> DerefMut for Row<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Form::One(value) => core::slice::from_mut(value),
            Form::Many(values) => Arc::make_mut(values),
        }
    }
}

impl<T> FromIterator<T> for Row<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut values = values.into_iter();
        Self(match (values.next(), values.next()) {
            (Some(one), None) => Form::One(one),
            (first, second) => Form::Many(first.into_iter().chain(second).chain(values).collect()),
        })
    }
}

impl<T> From<Vec<T>> for Row<T> {
    fn from(values: Vec<T>) -> Self {
        values.into_iter().collect()
    }
}

impl<'a, T> IntoIterator for &'a Row<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Hash> Hash for Row<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Row<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
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

    #[test]
    fn one_alone_is_a_slice_too() {
        let one: Row<u64> = vec![1].into();
        let mut other = one.clone();
        other[0] = 7;
        assert_eq!((&one[..], &other[..]), (&[1][..], &[7][..]));
        assert_eq!(Row::filled(&1, 1), one);
        assert!(Row::<u64>::filled(&1, 0).is_empty());
    }
}
