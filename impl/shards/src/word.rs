//! One word that stands for a value: the byte string itself when it is short, else its address.
//!
//! | low bits | means |
//! |---|---|
//! | all 64 are 0 | empty: no value |
//! | `00` | address of a [`Blob`] |
//! | `01`, bit 3 is 0 | 0 to 7 bytes: length in bits 4 to 6, bytes from bit 8 |
//! | `01`, bit 3 is 1 | 8 bytes that, big-endian, are below 2^60: from bit 4 |
//! | `10` | 8 bytes that, little-endian, are below 2^61: from bit 3 |
//! | bit 2 | frozen, beside any of them: the word never changes again |
//!
//! Invariants:
//! * a byte string has one representation only: two words of short strings are equal exactly when
//!   the strings are, and no string on the heap equals a short one.
//!
//! What it does not do: own. A `Word` is as free to copy as an integer; [`Owned`] is one that has
//! not been shared yet.

// Measured, see `map`.
#![allow(clippy::inline_always)]

use std::ptr::{self, NonNull};

use crate::blob::Blob;
use crate::error::ShardsError;

/// The payload needs 61 bits beside the tag, and so do keys.
const _: () = assert!(usize::BITS == 64, "the words of this map are 64 bits wide");

/// What an atomic of a slot holds; a pointer, so that provenance is kept.
pub(crate) type Bits = *mut ();

const KIND: usize = 0b11;
const ADDRESS: usize = 0b00;
const SHORT: usize = 0b01;
const EIGHT: usize = 0b10;
const FROZEN: usize = 0b100;
/// Beside [`SHORT`]: 8 bytes, big-endian.
const BIG: u64 = 0b1000;

/// A value, or the lack of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(Bits);

impl Word {
    /// Nothing.
    pub(crate) const EMPTY: Self = Self(ptr::null_mut());

    #[inline]
    pub(crate) fn from_bits(bits: Bits) -> Self {
        Self(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> Bits {
        self.0
    }

    /// The word of a byte string that needs no heap.
    #[inline]
    pub(crate) fn inline(bytes: &[u8]) -> Option<Self> {
        let number = match bytes.len() {
            // The length is below 8.
            0..=7 => number_of(bytes) << 8 | (bytes.len() as u64) << 4 | SHORT as u64,
            8 => match number_of(bytes) {
                little if little >> 61 == 0 => little << 3 | EIGHT as u64,
                little if little.swap_bytes() >> 60 == 0 => {
                    little.swap_bytes() << 4 | BIG | SHORT as u64
                }
                _ => return None,
            },
            _ => return None,
        };
        // 64 bits, as asserted above.
        #[allow(clippy::cast_possible_truncation)]
        Some(Self(ptr::without_provenance_mut(number as usize)))
    }

    #[inline]
    pub(crate) fn is_frozen(self) -> bool {
        self.0.addr() & FROZEN != 0
    }

    #[inline]
    pub(crate) fn frozen(self) -> Self {
        Self(self.0.map_addr(|bits| bits | FROZEN))
    }

    #[inline]
    pub(crate) fn thawed(self) -> Self {
        Self(self.0.map_addr(|bits| bits & !FROZEN))
    }

    /// Whether it is not empty, frozen or not.
    #[inline]
    pub(crate) fn is_present(self) -> bool {
        self.thawed() != Self::EMPTY
    }

    /// The blob that it is the address of.
    #[inline]
    pub(crate) fn blob(self) -> Option<NonNull<Blob>> {
        let bits = self.thawed().0;
        if bits.addr() & KIND != ADDRESS {
            return None;
        }
        NonNull::new(bits.cast())
    }

    /// The byte string, if it is 8 bytes that, little-endian, are a small number.
    #[inline]
    pub(crate) fn eight(self) -> Option<[u8; 8]> {
        let bits = self.0.addr() as u64;
        (self.0.addr() & KIND == EIGHT).then(|| (bits >> 3).to_le_bytes())
    }

    /// The byte string, if it is one that needs no heap; written to `eight`.
    #[inline(always)]
    fn short(self, eight: &mut [u8; 8]) -> Option<&[u8]> {
        let bits = self.0.addr() as u64;
        if let Some(bytes) = self.eight() {
            *eight = bytes;
            return Some(eight);
        }
        if self.0.addr() & KIND != SHORT {
            return None;
        }
        if bits & BIG != 0 {
            *eight = (bits >> 4).to_be_bytes();
            return Some(eight);
        }
        *eight = (bits >> 8).to_le_bytes();
        // The mask is 3 bits wide.
        Some(&eight[..(bits >> 4 & 0b111) as usize])
    }

    /// Hands the byte string to `f`; `None` when there is none.
    ///
    /// # Safety
    /// If it is the address of a blob: as [`Blob::read`].
    #[inline(always)]
    pub(crate) unsafe fn read<A>(self, f: impl FnOnce(Option<&[u8]>) -> A) -> A {
        if let Some(eight) = self.eight() {
            return f(Some(&eight));
        }
        let mut eight = [0; 8];
        let short = self.short(&mut eight);
        if short.is_some() {
            return f(short);
        }
        match self.blob() {
            None => f(None),
            // SAFETY: the caller's promise.
            Some(blob) => unsafe { Blob::read(blob, |bytes| f(Some(bytes))) },
        }
    }
}

/// Bytes as a little-endian number; at most 8.
#[inline]
pub(crate) fn number_of(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        // 4 to 7 bytes: the two halves may overlap, where they agree.
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (bytes.len() - 4));
    }
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// A byte string, or absence, that a value is compared with.
pub(crate) trait Wanted: Copy {
    fn is_absence(&self) -> bool;

    /// Whether `word`, frozen or not, stands for it.
    ///
    /// # Safety
    /// As [`Word::read`].
    unsafe fn is(&self, word: Word) -> bool;
}

/// The word of absence, or of a string that needs no heap; not frozen.
impl Wanted for Word {
    #[inline]
    fn is_absence(&self) -> bool {
        *self == Self::EMPTY
    }

    #[inline]
    unsafe fn is(&self, word: Word) -> bool {
        word.thawed() == *self
    }
}

impl Wanted for Option<&[u8]> {
    fn is_absence(&self) -> bool {
        self.is_none()
    }

    unsafe fn is(&self, word: Word) -> bool {
        // SAFETY: the caller's promise.
        unsafe { word.read(|value| value == *self) }
    }
}

/// What shall stand in a table.
pub(crate) trait New {
    fn word(&self) -> Word;

    /// It now stands in a table, which owns it. Answers what it takes on the heap.
    fn share(&mut self) -> usize;
}

/// Nothing on the heap.
impl New for Word {
    #[inline]
    fn word(&self) -> Word {
        *self
    }

    #[inline]
    fn share(&mut self) -> usize {
        0
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
        Self::on_heap(bytes)
    }

    /// On the heap, also when it is short.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub(crate) fn on_heap(bytes: &[u8]) -> Result<Self, ShardsError> {
        let word = Word(Blob::new(bytes)?.as_ptr().cast());
        Ok(Self { word, footprint: Blob::footprint(bytes.len()) })
    }

    /// The word of a removal.
    pub(crate) fn removal() -> Self {
        Self { word: Word::EMPTY, footprint: 0 }
    }
}

impl New for Owned {
    fn word(&self) -> Word {
        self.word
    }

    fn share(&mut self) -> usize {
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
        let wide = [
            [0xff; 8],
            [0; 8],
            (1_u64 << 61).to_le_bytes(),
            ((1_u64 << 61) - 1).to_le_bytes(),
            (1_u64 << 60).to_be_bytes(),
            ((1_u64 << 60) - 1).to_be_bytes(),
            17_u64.to_be_bytes(),
            0xf0_u64.to_be_bytes(),
        ];
        for bytes in all.iter().map(Vec::as_slice).chain(wide.iter().map(<[u8; 8]>::as_slice)) {
            let owned = Owned::new(bytes).unwrap();
            for word in [owned.word(), owned.word().frozen()] {
                // SAFETY: `owned` outlives the reads.
                unsafe {
                    assert!(Some(bytes).is(word), "{bytes:?}");
                    assert!(!None::<&[u8]>.is(word) && !Word::EMPTY.is(word));
                    assert!(!Some(&b"something else"[..]).is(word));
                    assert_eq!(
                        Word::inline(bytes).is_some_and(|it| it.is(word)),
                        word.blob().is_none()
                    );
                }
                assert!(word.is_present());
                assert_eq!(word.thawed(), owned.word());
            }
            assert_eq!(owned.word().blob().is_some(), Word::inline(bytes).is_none());
        }
    }

    #[test]
    fn every_number_of_8_bytes_below_2_to_the_60_is_inline_in_both_orders() {
        for bit in 0..60 {
            for number in [1_u64 << bit, (1 << bit) - 1] {
                assert!(Word::inline(&number.to_le_bytes()).is_some(), "{number}");
                assert!(Word::inline(&number.to_be_bytes()).is_some(), "{number}");
            }
        }
    }

    #[test]
    fn absence_is_told_from_every_string_and_frozen_from_not() {
        for word in [Word::EMPTY, Word::EMPTY.frozen()] {
            assert!(!word.is_present() && word.blob().is_none());
            // SAFETY: no blob.
            assert!(unsafe { Word::EMPTY.is(word) && !Some(&b""[..]).is(word) });
        }
        assert!(Word::EMPTY.frozen().is_frozen() && !Word::EMPTY.is_frozen());
        assert_ne!(Word::inline(b""), Word::inline(b"\0"));
    }
}
