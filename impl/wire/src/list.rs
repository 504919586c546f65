//! Lists inside messages: checked once when the message is decoded, then read in place; or built
//! from what the caller has.
//!
//! Invariants:
//! * a list from the wire was checked as a whole: reading it cannot fail;
//! * two lists are equal if their items are, wherever they come from.

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;

use crate::contact::Contact;
use crate::decode;
use crate::fields::Reader;
use crate::record::{OwnedRecord, Record};

/// Contacts, in the order in which the sender put them.
#[derive(Clone, Copy)]
pub struct Contacts<'a>(pub(crate) Source<'a, Contact>);

/// Records, in the order in which the sender put them.
#[derive(Clone, Copy)]
pub struct Records<'a>(pub(crate) Source<'a, OwnedRecord>);

/// Parts of a notice, as bytes.
#[derive(Clone, Copy)]
pub struct Parts<'a>(pub(crate) Source<'a, Vec<u8>>);

/// Where a list stands.
pub(crate) enum Source<'a, T> {
    /// On the wire, checked: so many items in these bytes.
    Wire(&'a [u8], usize),
    /// With the caller.
    Slice(&'a [T]),
}

impl<T> Clone for Source<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Source<'_, T> {}

impl<'a, T> Source<'a, T> {
    const fn len(&self) -> usize {
        match self {
            Self::Wire(_, count) => *count,
            Self::Slice(items) => items.len(),
        }
    }

    /// What is left after the first.
    fn split_first(items: &mut &'a [T]) -> Option<&'a T> {
        let (first, rest) = items.split_first()?;
        *items = rest;
        Some(first)
    }
}

/// Goes through [`Contacts`].
#[derive(Clone)]
pub struct ContactsIter<'a>(Source<'a, Contact>);

/// Goes through [`Records`].
#[derive(Clone)]
pub struct RecordsIter<'a>(Source<'a, OwnedRecord>);

/// Goes through [`Parts`].
#[derive(Clone)]
pub struct PartsIter<'a>(Source<'a, Vec<u8>>);

impl Iterator for ContactsIter<'_> {
    type Item = Contact;

    #[inline]
    fn next(&mut self) -> Option<Contact> {
        match &mut self.0 {
            Source::Slice(items) => Source::split_first(items).copied(),
            Source::Wire(bytes, count) => {
                let (contact, length) = decode::contact(bytes).ok()?;
                *bytes = &bytes[length..];
                *count -= 1;
                Some(contact)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl<'a> Iterator for RecordsIter<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        match &mut self.0 {
            Source::Slice(items) => Source::split_first(items).map(OwnedRecord::borrow),
            Source::Wire(bytes, count) => {
                let mut reader = Reader::new(bytes, 0);
                let record = decode::record(reader.item().ok()?).ok()?;
                *bytes = &bytes[reader.offset..];
                *count -= 1;
                Some(record)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl<'a> Iterator for PartsIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            Source::Slice(items) => Source::split_first(items).map(|part| &part[..]),
            Source::Wire(bytes, count) => {
                let mut reader = Reader::new(bytes, 0);
                let part = reader.item().ok()?.bytes;
                *bytes = &bytes[reader.offset..];
                *count -= 1;
                Some(part)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

macro_rules! list {
    ($list:ident, $iter:ident, $item:ty, $owned:ty) => {
        impl<'a> $list<'a> {
            /// How many.
            pub const fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there are none.
            pub const fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// One after the other.
            pub const fn iter(&self) -> $iter<'a> {
                $iter(self.0)
            }
        }

        impl<'a> From<&'a [$owned]> for $list<'a> {
            fn from(items: &'a [$owned]) -> Self {
                Self(Source::Slice(items))
            }
        }

        impl<'a> IntoIterator for $list<'a> {
            type Item = $item;
            type IntoIter = $iter<'a>;

            fn into_iter(self) -> $iter<'a> {
                self.iter()
            }
        }

        impl<'a> IntoIterator for &$list<'a> {
            type Item = $item;
            type IntoIter = $iter<'a>;

            fn into_iter(self) -> $iter<'a> {
                self.iter()
            }
        }

        impl ExactSizeIterator for $iter<'_> {}
        impl FusedIterator for $iter<'_> {}

        impl PartialEq for $list<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.iter().eq(other.iter())
            }
        }

        impl Eq for $list<'_> {}

        impl fmt::Debug for $list<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.iter()).finish()
            }
        }

        impl fmt::Debug for $iter<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.clone()).finish()
            }
        }
    };
}

list!(Contacts, ContactsIter, Contact, Contact);
list!(Records, RecordsIter, Record<'a>, OwnedRecord);
list!(Parts, PartsIter, &'a [u8], Vec<u8>);
