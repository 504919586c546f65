//! Fields: a tag, a length, that many bytes; tags ascend. Every message and record is made of them.
//!
//! Invariants:
//! * WIRE-1: tags ascend strictly and lengths have one form, so a set of fields has one encoding;
//! * WIRE-3: a field that is not known here stands behind all that are. It is skipped if its tag is
//!   even, and refused if it is odd.
//!
//! What it does not do: know what any field means.

use alloc::boxed::Box;
use core::fmt;

use crate::error::{DecodeError, Fault};

/// Bytes of a field's tag and length.
pub(crate) const HEAD_BYTES: usize = 4;

/// Bytes of an item's length in a list.
pub(crate) const LENGTH_BYTES: usize = 3;

/// Fields as they stand on the wire, in order and whole. What they mean is not known here.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields<'a>(&'a [u8]);

/// [`Fields`] to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct OwnedFields(Box<[u8]>);

impl<'a> Fields<'a> {
    /// None.
    pub const NONE: Self = Self(&[]);

    /// Fields in their order: whole, tags from 1 on and ascending.
    ///
    /// # Errors
    /// [`Fault::Short`] or [`Fault::Order`], with its offset from the start of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Reader::new(bytes, 0).any()
    }

    /// As they stand on the wire.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Tags with what stands under them.
    pub fn iter(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut reader = Reader::new(self.0, 0);
        core::iter::from_fn(move || reader.field().ok().flatten())
    }

    /// A copy to keep.
    pub fn to_owned(self) -> OwnedFields {
        OwnedFields(self.0.into())
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl OwnedFields {
    /// The fields, to send.
    pub fn borrow(&self) -> Fields<'_> {
        Fields(&self.0)
    }
}

/// Reads fields from the front of some bytes. `offset` counts from the start of the message.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Of `rest`.
    pub(crate) offset: usize,
}

/// What stands in a field, and where.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(rest: &'a [u8], offset: usize) -> Self {
        Self { rest, offset }
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// So many bytes.
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let short = Fault::Short { expected: count, got: self.rest.len() };
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(short.at(self.offset))?;
        self.rest = rest;
        self.offset += count;
        Ok(taken)
    }

    /// The next field, whatever its tag.
    fn field(&mut self) -> Result<Option<(u8, &'a [u8])>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let &[tag, high, middle, low] = self.take(HEAD_BYTES)? else { return Ok(None) };
        Ok(Some((tag, self.take(length([high, middle, low]))?)))
    }

    /// The field with this tag, if it is the next.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Content<'a>>, DecodeError> {
        if self.rest.first() != Some(&tag) {
            return Ok(None);
        }
        let field = self.field()?;
        Ok(field.map(|(_, bytes)| Content { bytes, offset: self.offset - bytes.len() }))
    }

    /// The field with this tag, which must be the next.
    pub(crate) fn required(&mut self, tag: u8) -> Result<Content<'a>, DecodeError> {
        let got = self.rest.first().copied();
        let missing = Fault::Field { expected: tag, got }.at(self.offset);
        self.optional(tag)?.ok_or(missing)
    }

    /// The next item of a list.
    pub(crate) fn item(&mut self) -> Result<Content<'a>, DecodeError> {
        let &[high, middle, low] = self.take(LENGTH_BYTES)? else {
            return Err(Fault::Short { expected: LENGTH_BYTES, got: 0 }.at(self.offset));
        };
        let bytes = self.take(length([high, middle, low]))?;
        Ok(Content { bytes, offset: self.offset - bytes.len() })
    }

    /// What is left, in a message of an unknown kind.
    pub(crate) fn any(self) -> Result<Fields<'a>, DecodeError> {
        let fields = self.rest;
        self.check(0, |_| Ok(()))?;
        Ok(Fields(fields))
    }

    /// What is left: fields of a newer node, behind the `highest` known tag.
    pub(crate) fn later(self, highest: u8) -> Result<Fields<'a>, DecodeError> {
        let fields = self.rest;
        // WIRE-3: odd is for what changes the meaning of the rest.
        self.check(
            highest,
            |tag| {
                if tag % 2 == 1 { Err(Fault::Required { got: tag }) } else { Ok(()) }
            },
        )?;
        Ok(Fields(fields))
    }

    /// That the rest is whole fields with tags ascending from `above`.
    fn check(
        mut self,
        mut above: u8,
        allowed: impl Fn(u8) -> Result<(), Fault>,
    ) -> Result<(), DecodeError> {
        while !self.rest.is_empty() {
            let head = self.offset;
            let Some((tag, _)) = self.field()? else { break };
            // WIRE-1: what has a known tag here is out of order or repeated.
            if tag <= above {
                return Err(Fault::Order { above, got: tag }.at(head));
            }
            allowed(tag).map_err(|fault| fault.at(head))?;
            above = tag;
        }
        Ok(())
    }
}

impl<'a> Content<'a> {
    /// Exactly so many bytes.
    pub(crate) fn array<const N: usize>(self) -> Result<[u8; N], DecodeError> {
        let wrong = Fault::Length { expected: N, got: self.bytes.len() }.at(self.offset);
        self.bytes.try_into().map_err(|_| wrong)
    }

    /// The fields or items inside.
    pub(crate) const fn reader(self) -> Reader<'a> {
        Reader::new(self.bytes, self.offset)
    }
}

fn length([high, middle, low]: [u8; 3]) -> usize {
    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
}
