//! The counts of an inner node: few small ones stand where the node stands, others are shared until
//! they are written.
//!
//! * which of both it is follows from the counts, so equal counts have equal forms;
//! * a copy costs no memory; of the shared form, the first write to one of several copies does.
//!
//! A node of up to [`FEW`] children fits a cache line with its version: a tree of such nodes is what
//! a pool within one process wants.
//!
//! What it does not do: grow.

use alloc::{sync::Arc, vec::Vec};
use core::fmt;

/// Counts that need no memory of their own, if each fits 16 bits.
const FEW: usize = 16;

/// Aligned as the node around it: it is copied in whole words.
#[derive(Clone, PartialEq, Eq, Hash)]
#[repr(align(8))]
struct Padded([u16; FEW]);

/// One count for each child; see the file's head.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Counts(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// Zeros follow the counts.
    Few { length: u8, padded: Padded },
    /// More than [`FEW`], or one that is larger.
    Many(Arc<[u64]>),
}

impl Counts {
    /// So many zeros.
    pub fn zeros(length: usize) -> Self {
        match u8::try_from(length) {
            Ok(few) if length <= FEW => Self(Form::Few { length: few, padded: Padded([0; FEW]) }),
            _ => Self(Form::Many((0..length).map(|_| 0).collect())),
        }
    }

    /// How many.
    #[allow(clippy::len_without_is_empty)] // A node has children.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Few { length, .. } => usize::from(*length),
            Form::Many(counts) => counts.len(),
        }
    }

    /// The count of a child.
    ///
    /// # Panics
    /// When there is no such child: the caller's fault.
    #[inline]
    pub fn of(&self, child: u16) -> u64 {
        let child = usize::from(child);
        match &self.0 {
            Form::Few { length, padded } => padded.0[..usize::from(*length)][child].into(),
            Form::Many(counts) => counts[child],
        }
    }

    /// Writes the count of a child.
    ///
    /// # Panics
    /// As [`Counts::of`].
    #[inline]
    pub fn set(&mut self, child: u16, count: u64) {
        let at = usize::from(child);
        match (&mut self.0, u16::try_from(count)) {
            (Form::Few { length, padded }, Ok(count)) => {
                padded.0[..usize::from(*length)][at] = count;
            }
            (Form::Many(counts), _) if counts.len() > FEW => Arc::make_mut(counts)[at] = count,
            _ => self.set_in_other_form(at, count),
        }
    }

    #[cold]
    fn set_in_other_form(&mut self, at: usize, count: u64) {
        let mut counts: Vec<u64> = self.iter().collect();
        counts[at] = count;
        *self = counts.into_iter().collect();
    }

    /// All, from the first child on.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let (few, many) = match &self.0 {
            Form::Few { length, padded } => (&padded.0[..usize::from(*length)], &[][..]),
            Form::Many(counts) => (&[][..], &counts[..]),
        };
        few.iter().map(|&count| u64::from(count)).chain(many.iter().copied())
    }

    /// Their sum.
    #[inline]
    pub fn sum(&self) -> u64 {
        match &self.0 {
            Form::Few { padded, .. } => padded.0.iter().map(|&count| u64::from(count)).sum(),
            Form::Many(counts) => counts.iter().sum(),
        }
    }
}

impl FromIterator<u64> for Counts {
    fn from_iter<I: IntoIterator<Item = u64>>(counts: I) -> Self {
        let (mut length, mut padded) = (0, [0; FEW]);
        let mut counts = counts.into_iter();
        while let Some(count) = counts.next() {
            let (Some(place), Ok(small)) = (padded.get_mut(length), u16::try_from(count)) else {
                let before = padded[..length].iter().map(|&count| u64::from(count));
                return Self(Form::Many(before.chain([count]).chain(counts).collect()));
            };
            *place = small;
            length += 1;
        }
        let length = u8::try_from(length).expect("at most FEW");
        Self(Form::Few { length, padded: Padded(padded) })
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_are_what_a_list_of_them_is(
            mut list in prop::collection::vec(
                prop_oneof![0..9_u64, 65_530..65_540_u64, any::<u64>()], 1..20),
            writes in prop::collection::vec(
                (any::<prop::sample::Index>(), prop_oneof![0..9_u64, 65_530..65_540_u64]), 0..40),
        ) {
            let mut counts: Counts = list.iter().copied().collect();
            for (at, count) in writes {
                let at = at.index(list.len());
                list[at] = count;
                counts.set(u16::try_from(at).unwrap(), count);
                // Equal counts have one form, however they came about.
                prop_assert_eq!(&counts, &list.iter().copied().collect());
                prop_assert_eq!(counts.of(u16::try_from(at).unwrap()), count);
            }
            prop_assert_eq!(counts.iter().collect::<Vec<u64>>(), &list[..]);
            prop_assert_eq!(counts.len(), list.len());
            let small = list.iter().all(|&count| count < 1 << 58);
            prop_assert!(!small || counts.sum() == list.iter().sum());
        }
    }

    #[test]
    fn a_write_to_one_copy_leaves_the_other() {
        for length in [FEW, FEW + 1] {
            let one = Counts::zeros(length);
            let mut other = one.clone();
            other.set(1, 7);
            assert_eq!((one.of(1), other.of(1), one.len()), (0, 7, length));
            assert_ne!(one, other);
            other.set(1, 0);
            assert_eq!(one, other);
        }
        let large: Counts = vec![1, 1 << 40].into_iter().collect();
        assert_eq!(format!("{large:?}"), "[1, 1099511627776]");
    }

    #[test]
    #[should_panic(expected = "index")]
    fn a_child_that_is_not_there_has_no_count() {
        let mut counts = Counts::zeros(2);
        counts.set(2, 1);
    }

    #[test]
    fn a_small_node_fits_a_cache_line() {
        assert_eq!(size_of::<Counts>(), 40);
        assert_eq!(size_of::<crate::value::Value>(), 48);
    }
}
