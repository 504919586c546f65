//! One word that stands for a key or a value: the byte string itself when it is short, else its
//! address.
//!
//! | low bits | means |
//! |---|---|
//! | all 64 are 0 | empty: no key yet, no value ever |
//! | `00` | address of a [`Blob`] |
//! | `01` | 0 to 7 bytes: length in bits 4 to 6, bytes from bit 8 |
//! | `10` | 8 bytes that, little-endian, are below 2^61: from bit 3 |
//! | `11` | removed: no value any more |
//! | bit 2 | frozen, beside any of them in a value: the word never changes again |
//!
//! Invariants:
//! * a byte string has one representation only: short ones are never on the heap, so two words of
//!   short strings are equal exactly when the strings are;
//! * `EMPTY` is never written over another word: a copier that comes late finds that it is late
//!   (SHARD-5).
//!
//! What it does not do: own. A `Word` is as free to copy as an integer; [`Owned`] is one that has
//! not been shared yet.

use std::ptr::{self, NonNull};

use crate::blob::Blob;
use crate::error::ShardsError;

/// The payload needs 61 bits beside the tag.
const _: () = assert!(usize::BITS == 64, "the words of this map are 64 bits wide");

/// What an atomic of a slot holds; a pointer, so that provenance is kept.
pub(crate) type Bits = *mut ();

const KIND: usize = 0b11;
const ADDRESS: usize = 0b00;
const SHORT: usize = 0b01;
const EIGHT: usize = 0b10;
const GONE: usize = 0b11;
const FROZEN: usize = 0b100;

/// A key or value, or the lack of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(Bits);

impl Word {
    /// Nothing yet.
    pub(crate) const EMPTY: Self = Self(ptr::null_mut());
    /// Nothing any more.
    pub(crate) const REMOVED: Self = Self(ptr::without_provenance_mut(GONE));

    pub(crate) fn from_bits(bits: Bits) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> Bits {
        self.0
    }

    /// The word of a byte string that needs no heap.
    pub(crate) fn inline(bytes: &[u8]) -> Option<Self> {
        let mut eight = [0; 8];
        let bits = match bytes.len() {
            length @ 0..=7 => {
                eight[1..=length].copy_from_slice(bytes);
                u64::from_le_bytes(eight) | (length as u64) << 4 | SHORT as u64
            }
            8 => {
                eight.copy_from_slice(bytes);
                let number = u64::from_le_bytes(eight);
                if number >> 61 != 0 {
                    return None;
                }
                number << 3 | EIGHT as u64
            }
            _ => return None,
        };
        // 64 bits, as asserted above.
        Some(Self(ptr::without_provenance_mut(usize::try_from(bits).ok()?)))
    }

    pub(crate) fn is_frozen(self) -> bool {
        self.0.addr() & FROZEN != 0
    }

    pub(crate) fn frozen(self) -> Self {
        Self(self.0.map_addr(|bits| bits | FROZEN))
    }

    pub(crate) fn thawed(self) -> Self {
        Self(self.0.map_addr(|bits| bits & !FROZEN))
    }

    /// Neither empty nor removed, frozen or not.
    pub(crate) fn is_present(self) -> bool {
        let bits = self.thawed().0.addr();
        bits != 0 && bits & KIND != GONE
    }

    /// Whether it was never written, frozen or not.
    pub(crate) fn is_empty(self) -> bool {
        self.thawed() == Self::EMPTY
    }

    /// The blob that it is the address of.
    pub(crate) fn blob(self) -> Option<NonNull<Blob>> {
        let bits = self.thawed().0;
        if bits.addr() & KIND != ADDRESS {
            return None;
        }
        NonNull::new(bits.cast())
    }

    /// Hands the byte string to `f`; `None` when there is none.
    ///
    /// # Safety
    /// If it is the address of a blob: as [`Blob::read`].
    pub(crate) unsafe fn read<A>(self, f: impl FnOnce(Option<&[u8]>) -> A) -> A {
        let bits = self.thawed().0.addr() as u64;
        match self.thawed().0.addr() & KIND {
            SHORT => {
                // The mask is 3 bits wide.
                let length = (bits >> 4 & 0b111) as usize;
                f(Some(&(bits >> 8).to_le_bytes()[..length]))
            }
            EIGHT => f(Some(&(bits >> 3).to_le_bytes())),
            GONE => f(None),
            _ => match self.blob() {
                None => f(None),
                // SAFETY: the caller's promise.
                Some(blob) => unsafe { Blob::read(blob, |bytes| f(Some(bytes))) },
            },
        }
    }

    /// Whether it stands for this byte string, or for none.
    ///
    /// # Safety
    /// As [`Word::read`].
    pub(crate) unsafe fn is(self, wanted: Option<&[u8]>) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.read(|bytes| bytes == wanted) }
    }
}

/// A word that nobody else has seen. Its blob is given back unless [`Owned::share`] was called.
#[derive(Debug)]
pub(crate) struct Owned {
    word: Word,
    /// What its blob takes, or 0.
    footprint: usize,
}

impl Owned {
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, ShardsError> {
        if let Some(word) = Word::inline(bytes) {
            return Ok(Self { word, footprint: 0 });
        }
        let word = Word(Blob::new(bytes)?.as_ptr().cast());
        Ok(Self { word, footprint: Blob::footprint(bytes.len()) })
    }

    /// The word of a removal.
    pub(crate) fn removal() -> Self {
        Self { word: Word::REMOVED, footprint: 0 }
    }

    pub(crate) fn word(&self) -> Word {
        self.word
    }

    /// It now stands in a table, which owns it. Answers what its blob takes.
    pub(crate) fn share(&mut self) -> usize {
        self.word = Word::EMPTY;
        std::mem::take(&mut self.footprint)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(blob) = self.word.blob() {
            // SAFETY: made by `new` and never shared, so nobody reads it and it is given back once.
            unsafe { Blob::free(blob) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_string_comes_back_as_it_went_in() {
        let all: Vec<Vec<u8>> = (0..40).map(|length| (0..length).collect()).collect();
        let wide =
            [[0xff; 8], [0; 8], (1_u64 << 61).to_le_bytes(), ((1_u64 << 61) - 1).to_le_bytes()];
        for bytes in all.iter().map(Vec::as_slice).chain(wide.iter().map(<[u8; 8]>::as_slice)) {
            let owned = Owned::new(bytes).unwrap();
            for word in [owned.word(), owned.word().frozen()] {
                // SAFETY: `owned` outlives the reads.
                unsafe {
                    assert!(word.is(Some(bytes)), "{bytes:?}");
                    assert!(!word.is(None) && !word.is(Some(b"something else")));
                }
                assert!(word.is_present() && !word.is_empty());
                assert_eq!(word.thawed(), owned.word());
            }
            assert_eq!(owned.word().blob().is_some(), Word::inline(bytes).is_none());
        }
    }

    #[test]
    fn absence_is_told_from_every_string_and_frozen_from_not() {
        for word in [Word::EMPTY, Word::REMOVED, Word::EMPTY.frozen(), Word::REMOVED.frozen()] {
            assert!(!word.is_present() && word.blob().is_none());
            // SAFETY: no blob.
            assert!(unsafe { word.is(None) && !word.is(Some(b"")) });
        }
        assert!(Word::EMPTY.frozen().is_frozen() && !Word::REMOVED.is_frozen());
        assert!(Word::EMPTY.frozen().is_empty() && !Word::REMOVED.is_empty());
        assert_ne!(Word::inline(b""), Word::inline(b"\0"));
    }
}
