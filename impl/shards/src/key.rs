//! How a key stands in a slot: in the slot's own words when they are enough, else on the heap.
//!
//! A table has one to nine key words in each slot, as suits the keys that it holds. The first word
//! tells, by its low bits:
//!
//! | low bits | means |
//! |---|---|
//! | all 64 are 0 | empty: no key yet |
//! | `00` | address of a [`Blob`](crate::blob::Blob), which has the key |
//! | `01` | 0 to 7 bytes: the mixed number of bytes and length, without the shard's bits |
//! | `10` | 8 bytes: their mixed number, without the shard's bits |
//! | `11` | 9 to 64 bytes: length in bits 2 to 8, from bit 17 on the hash without the shard's bits |
//!
//! Further words have 63 bits of 8 bytes of a key each, and their lowest bit set; the highest bits
//! of the 8 bytes stand in bits 9 to 16 of the first word.
//!
//! Invariants:
//! * in one table a key has one form, by its length and the table's words: two inline keys are
//!   equal exactly when their words are;
//! * no word of a key is 0, so a word that is 0 was not written yet;
//! * the highest bits of a first word that is no address are the hash's, so a key finds its place
//!   in a larger table without being read.
//!
//! What it does not do: own. A key on the heap belongs to the tables that have its address.

// Measured, see `map`.
#![allow(clippy::inline_always)]

use std::ptr;

use crate::blob::Blob;
use crate::error::{MAX_KEY_BYTES, ShardsError};
use crate::hash::Hasher;
use crate::slot::Place;
use crate::table::Table;
use crate::word::{Bits, New, Owned, Word, number_of};

const KIND: u64 = 0b11;
const SHORT: u64 = 0b01;
const EIGHT: u64 = 0b10;
const WIDE: u64 = 0b11;

/// So many of the highest bits must be left over from the shard, for the kind.
pub(crate) const KIND_BITS: u32 = 2;

const LENGTH_AT: u32 = 2;
const HIGH_BITS_AT: u32 = 9;
/// Below it in the first word of a wide key there is no hash.
const HASH_AT: u32 = 17;

/// Key words at most: the first one, and one for each 8 bytes.
pub(crate) const MOST_WORDS: usize = 1 + MAX_KEY_BYTES / 8;

/// A key that is looked for.
pub(crate) trait Probe {
    /// The hash without the shard's bits.
    fn local(&self) -> u64;

    /// Its slot in a table.
    fn find<'t>(&self, table: &'t Table) -> Option<Place<'t>>;

    /// Puts it into a slot, with `pending` as its copy on the heap if it needs one there. Answers
    /// whether it stands there, by whomever; if not, another key does.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    fn claim(&self, place: Place<'_>, pending: &mut Option<Owned>) -> Result<bool, ShardsError>;
}

/// A key of up to 8 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Short {
    /// The hash without the shard's bits.
    local: u64,
    /// The only word.
    word: u64,
}

impl Short {
    /// And the shard. `bytes` are at most 8.
    #[inline(always)]
    pub(crate) fn new(bytes: &[u8], hasher: &Hasher) -> (usize, Self) {
        let length = bytes.len() as u64;
        let (number, kind) = if length == 8 { (0, EIGHT) } else { (length << 56, SHORT) };
        let hash = hasher.mixed(number_of(bytes) | number);
        let local = hasher.local(hash);
        (hasher.shard(hash), Self { local, word: local | kind })
    }
}

impl Probe for Short {
    #[inline(always)]
    fn local(&self) -> u64 {
        self.local
    }

    #[inline(always)]
    fn find<'t>(&self, table: &'t Table) -> Option<Place<'t>> {
        let word = bits(self.word);
        table.find(self.local, move |place| place.first_bits() == word)
    }

    fn claim(&self, place: Place<'_>, _: &mut Option<Owned>) -> Result<bool, ShardsError> {
        Ok(place.claim_first(bits(self.word)))
    }
}

/// A key of more than 8 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Long<'a> {
    bytes: &'a [u8],
    pub(crate) shard: usize,
    /// The hash without the shard's bits.
    pub(crate) local: u64,
    /// The words of the inline form, as many as [`Long::words`].
    inline: [u64; MOST_WORDS],
}

impl<'a> Long<'a> {
    /// `bytes` are more than 8.
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8], hasher: &Hasher) -> Self {
        let hash = hasher.hash(bytes);
        let (shard, local) = (hasher.shard(hash), hasher.local(hash));
        // Filled where it stands: a copy would have to wait for its words.
        let mut key = Self { bytes, shard, local, inline: [0; MOST_WORDS] };
        let mut first = local >> HASH_AT << HASH_AT | (bytes.len() as u64) << LENGTH_AT | WIDE;
        let (eights, rest) = bytes.as_chunks::<8>();
        for (at, eight) in eights.iter().enumerate() {
            let number = u64::from_le_bytes(*eight);
            key.inline[at + 1] = number << 1 | 1;
            first |= number >> 63 << (HIGH_BITS_AT as usize + at);
        }
        if !rest.is_empty() {
            key.inline[eights.len() + 1] = number_of(rest) << 1 | 1;
        }
        key.inline[0] = first;
        key
    }

    /// How many words the inline form takes.
    #[inline]
    pub(crate) fn words(&self) -> usize {
        words_of(self.bytes.len())
    }

    /// A word of the inline form, below [`Long::words`].
    #[inline]
    pub(crate) fn word(&self, at: usize) -> Bits {
        bits(self.inline[at])
    }

    /// Whether a first key word is the address of this key.
    fn is_blob(&self, first: Word) -> bool {
        // SAFETY: acquired just now, by a caller whose guard led to the table: keys live as long as
        // the tables that have them.
        first.blob().is_some_and(|blob| unsafe { Blob::read(blob, |bytes| bytes == self.bytes) })
    }
}

impl Probe for Long<'_> {
    fn local(&self) -> u64 {
        self.local
    }

    #[inline(always)]
    fn find<'t>(&self, table: &'t Table) -> Option<Place<'t>> {
        let words = self.words();
        if words > table.key_words() {
            return table.find(self.local, |place| self.is_blob(place.first()));
        }
        table.find(self.local, |place| {
            place.first_bits() == self.word(0)
                // A word that is 0 is not the key's either: nobody has decided whose the slot is.
                && (1..words).fold(true, |all, at| all & (place.further(at) == self.word(at)))
        })
    }

    fn claim(&self, place: Place<'_>, pending: &mut Option<Owned>) -> Result<bool, ShardsError> {
        if self.words() <= place.table().key_words() {
            return Ok(place.claim_first(self.word(0))
                && (1..self.words()).all(|at| place.claim_further(at, self.word(at))));
        }
        // SHARD-2: who came first may have brought this key, with an address of his own.
        let there = place.first();
        if there.is_present() {
            return Ok(self.is_blob(there));
        }
        let key = match pending {
            Some(key) => key,
            None => pending.insert(Owned::on_heap(self.bytes)?),
        };
        Ok(place.claim_first(key.word().bits()) || self.is_blob(place.first()))
    }
}

/// How many words the inline form of so many bytes takes.
#[inline]
pub(crate) fn words_of(length: usize) -> usize {
    if length <= 8 { 1 } else { 1 + length.div_ceil(8) }
}

/// How many words an inline key takes, by its first one.
pub(crate) fn words_by(first: Bits) -> usize {
    let first = first.addr() as u64;
    if first & KIND == WIDE { words_of(length(first)) } else { 1 }
}

/// The hash without the shard's bits, as far as the first word of an inline key has it.
pub(crate) fn local_by(first: Bits) -> u64 {
    first.addr() as u64
}

fn length(first: u64) -> usize {
    // 7 bits.
    (first >> LENGTH_AT & 0x7f) as usize
}

/// An inline key of 8 bytes.
#[inline]
pub(crate) fn eight(hasher: &Hasher, shard: usize, first: Word) -> Option<[u8; 8]> {
    let first = first.bits().addr() as u64;
    let mixed = || hasher.unmixed(hasher.joined(shard, first & !KIND));
    (first & KIND == EIGHT).then(|| mixed().to_le_bytes())
}

/// Writes an inline key to `bytes`, and answers how long it is; `further` answers the words of its slot
/// from 1 on. `None` for one on the heap.
#[inline(always)]
pub(crate) fn inline(
    hasher: &Hasher,
    shard: usize,
    first: Word,
    further: impl Fn(usize) -> Bits,
    bytes: &mut [u8; MAX_KEY_BYTES],
) -> Option<usize> {
    let first = first.bits().addr() as u64;
    let mixed = || hasher.unmixed(hasher.joined(shard, first & !KIND));
    let mut write = |at: usize, number: u64| {
        bytes[8 * at..8 * at + 8].copy_from_slice(&number.to_le_bytes());
    };
    match first & KIND {
        EIGHT => {
            write(0, mixed());
            Some(8)
        }
        WIDE => {
            let length = length(first).min(MAX_KEY_BYTES);
            for at in 0..length.div_ceil(8) {
                let high = first >> (HIGH_BITS_AT as usize + at) << 63;
                write(at, further(at + 1).addr() as u64 >> 1 | high);
            }
            Some(length)
        }
        SHORT => {
            write(0, mixed());
            Some(usize::from(bytes[7]))
        }
        _ => None,
    }
}

/// How many key words the slots of a table should have, for the keys that it will hold: as few bytes
/// as possible for so many slots and the keys that do not fit; not fewer than `at_least`.
/// `lengths` counts the keys by the words that they take.
pub(crate) fn best_words(
    lengths: &[usize; MOST_WORDS + 1],
    slots: usize,
    at_least: usize,
    footprint: impl Fn(usize) -> usize,
) -> usize {
    let cost = |words: usize| {
        let inside = slots * (words + 1) * size_of::<Bits>();
        let longer = words + 1..=MOST_WORDS;
        let outside = longer.map(|more| lengths[more] * footprint(8 * (more - 1))).sum::<usize>();
        inside + outside
    };
    (at_least..=MOST_WORDS).min_by_key(|&words| cost(words)).unwrap_or(at_least)
}

#[inline]
fn bits(number: u64) -> Bits {
    // 64 bits, as `word` asserts.
    #[allow(clippy::cast_possible_truncation)]
    ptr::without_provenance_mut(number as usize)
}
