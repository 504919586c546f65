//! Ids and tags.
//!
//! A [`Tag`] names one allocation: 1 to 128 bytes, written down durably by its caller *before*
//! `allocate`, and not used by two calls of `allocate` at the same time, nor again before every
//! free of it has returned (`specs/assumptions.md`; a fresh tag for each call is always right). An
//! [`Id`] is the number handed out.

use alloc::{string::String, sync::Arc};
use core::fmt;
use thiserror::Error;

/// The longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 128;

/// A number handed out by a pool, in `[0, size)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name under which an id is held: 1 to [`MAX_TAG_BYTES`] bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<[u8]>);

/// Bytes that are no tag: the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TagError {
    /// No bytes.
    #[error("tag: expected 1 to {MAX_TAG_BYTES} bytes, got none")]
    Empty,
    /// Too many bytes.
    #[error("tag: expected 1 to {MAX_TAG_BYTES} bytes, got {bytes}")]
    TooLong {
        /// How many came.
        bytes: usize,
    },
}

impl Tag {
    /// A tag of these bytes.
    ///
    /// # Errors
    /// [`TagError`] when there are none or more than [`MAX_TAG_BYTES`].
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, TagError> {
        let bytes = bytes.as_ref();
        match bytes.len() {
            0 => Err(TagError::Empty),
            1..=MAX_TAG_BYTES => Ok(Self(bytes.into())),
            bytes => Err(TagError::TooLong { bytes }),
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A 64-bit hash, the same on every machine and in every version: FNV-1a, finished by
    /// SplitMix64 so that short tags spread over all bits. Not for adversaries: a caller who picks
    /// tags to collide only slows itself down.
    pub(crate) fn hash(&self) -> u64 {
        let fnv = self.0.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_1_to_128_bytes() {
        assert_eq!(Tag::new(""), Err(TagError::Empty));
        assert_eq!(Tag::new([7; 129]), Err(TagError::TooLong { bytes: 129 }));
        assert_eq!(Tag::new([7; 128]).unwrap().as_bytes().len(), 128);
        assert_eq!(
            alloc::format!("{}", Tag::new([7; 129]).unwrap_err()),
            "tag: expected 1 to 128 bytes, got 129"
        );
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(Tag::new("a").unwrap().hash(), 0x02c0_bdbf_4814_20f8);
    }
}
