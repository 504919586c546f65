//! Ids and tags.
//!
//! A [`Tag`] names one allocation: 1 to 128 bytes, written down durably by its caller *before*
//! `allocate`, and not used by two calls of `allocate` at the same time, nor again before every
//! free of it has returned (`specs/assumptions.md`; a fresh tag for each call is always right). An
//! [`Id`] is the number handed out.
//!
//! A tag of up to [`SHORT`] bytes stands where the [`Tag`] stands; a longer one is shared. Which of
//! both it is follows from its length, and equality, order and hash are those of its bytes.

use alloc::{string::String, sync::Arc};
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
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

/// The longest tag that needs no memory of its own: a tag takes three words in any case.
const SHORT: usize = 22;

/// The name under which an id is held: 1 to [`MAX_TAG_BYTES`] bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Tag(Bytes);

/// One form for each length, so that equal tags have equal forms.
#[derive(Clone, PartialEq, Eq)]
enum Bytes {
    /// Zeros follow the tag.
    Short { length: u8, padded: [u8; SHORT] },
    /// More than [`SHORT`].
    Long(Arc<[u8]>),
}

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
            // At most SHORT.
            #[allow(clippy::cast_possible_truncation)]
            length if length <= SHORT => {
                Ok(Self(Bytes::Short { length: length as u8, padded: padded(bytes) }))
            }
            length if length <= MAX_TAG_BYTES => Ok(Self(Bytes::Long(bytes.into()))),
            bytes => Err(TagError::TooLong { bytes }),
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { length, padded } => &padded[..usize::from(*length)],
            Bytes::Long(bytes) => bytes,
        }
    }

    /// A 64-bit hash, the same on every machine and in every version: FNV-1a, finished by
    /// SplitMix64 so that short tags spread over all bits. Not for adversaries: a caller who picks
    /// tags to collide only slows itself down.
    pub(crate) fn hash(&self) -> u64 {
        let fnv = self.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// At most [`SHORT`] bytes, and zeros. In steps of 8: blocks have many tags, and a copy of unknown
/// length is a call.
fn padded(bytes: &[u8]) -> [u8; SHORT] {
    let mut padded = [0; SHORT];
    let (eights, rest) = bytes.as_chunks::<8>();
    for (to, eight) in padded.as_chunks_mut::<8>().0.iter_mut().zip(eights) {
        *to = *eight;
    }
    if !rest.is_empty() {
        let from = bytes.len() - rest.len();
        padded[from..bytes.len()].copy_from_slice(rest);
    }
    padded
}

impl Hash for Tag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Ord for Tag {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Tag {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use alloc::{vec, vec::Vec};

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
    fn a_tag_is_its_bytes_in_both_forms() {
        let all: Vec<Vec<u8>> = (1..=40).map(|length| vec![b'a'; length]).collect();
        let zeros = (1..=40).map(|length| vec![0; length]);
        let mut all: Vec<Vec<u8>> = all.into_iter().chain(zeros).collect();
        all.extend([b"b".to_vec(), vec![b'b'; 23], b"ab".to_vec()]);
        let hashed = |value: &dyn Fn(&mut std::hash::DefaultHasher)| {
            let mut hasher = std::hash::DefaultHasher::new();
            value(&mut hasher);
            hasher.finish()
        };
        for one in &all {
            let tag = Tag::new(one).unwrap();
            assert_eq!(tag.as_bytes(), one);
            assert_eq!(
                hashed(&|hasher| Hash::hash(&tag, hasher)),
                hashed(&|hasher| one[..].hash(hasher))
            );
            for other in &all {
                let other_tag = Tag::new(other).unwrap();
                assert_eq!(tag.cmp(&other_tag), one.cmp(other));
                assert_eq!(tag == other_tag, one == other);
            }
        }
        assert_eq!((size_of::<Tag>(), size_of::<Option<Tag>>()), (24, 24));
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(Tag::new("a").unwrap().hash(), 0x02c0_bdbf_4814_20f8);
    }
}
