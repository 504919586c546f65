//! How a key stands in a slot: in the slot's own words when they are enough, else on the heap.
//!
//! A table has one to nine key words in each slot, as suits the keys that it holds. The first word
//! tells, by its low bits:
//!
//! | low bits | means |
//! |---|---|
//! | all 64 are 0 | empty: no key yet |
//! | `00` | address of a [`Blob`](crate::blob::Blob), which has the key; bit 2 beside it: see [`Place::mark_key`] |
//! | `001` | 0 to 7 bytes: the mixed number of bytes and length, without the shard's bits |
//! | `010` | 8 bytes: their mixed number, without the shard's bits |
//! | `111` | *full*: 8 bytes for each key word of the table, two words at least: the hash without the shard's bits |
//! | `011` | *wide*, 9 to 64 bytes: length in bits 3 to 9, from bit 18 on the hash without the shard's bits |
//!
//! The hash of a full key is a permutation of its first 8 bytes that the others choose: so they are found again.
//! Its further words are the others, by 8 bytes, each with a secret mask, so that none is 0; a key with a word that
//! still is, is never full.
//!
//! Further words of a wide key have 63 bits of 8 bytes each, from its beginning, and their lowest bit set; the
//! highest bits of the 8 bytes stand in bits 10 to 17 of the first word.
//!
//! Invariants:
//! * in one table a key has one form, by its bytes and the table's words: two inline keys are
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
use crate::bounds::MIN_SHARDS;
use crate::current::{Current, FirstLook};
use crate::error::{MAX_KEY_BYTES, ShardsError};
use crate::hash::Hasher;
use crate::slot::Place;
use crate::table::Table;
use crate::word::{Bits, New, Owned, Word, number_of};

const KIND: u64 = 0b111;
const SHORT: u64 = 0b001;
const EIGHT: u64 = 0b010;
const WIDE: u64 = 0b011;
const FULL: u64 = 0b111;

/// So many of the highest bits must be left over from the shard, for the kind.
pub(crate) const KIND_BITS: u32 = KIND.count_ones();

const LENGTH_AT: u32 = 3;
const HIGH_BITS_AT: u32 = 10;
/// Below it in the first word of a wide key there is no hash.
pub(crate) const HASH_AT: u32 = 18;

/// Key words at most: the first one, and one for each 8 bytes.
pub(crate) const MOST_WORDS: usize = 1 + MAX_KEY_BYTES / 8;

/// A key that is looked for.
///
/// # Safety
/// [`Probe::shard`] answers what a [`Hasher`] has answered; a map looks for it if that is its own.
pub(crate) unsafe trait Probe: Copy {
    /// Which shard has it: see [`Hasher::shard`].
    fn shard(&self) -> usize;

    /// The hash without the shard's bits.
    fn local(&self) -> u64;

    /// As [`Current::look_first`] where that is a few dozen instructions, else [`FirstLook::Apart`].
    ///
    /// # Safety
    /// The table is still allocated, for as long as the answer is used.
    unsafe fn look_first<'t>(&self, current: Current) -> FirstLook<'t>;

    /// As [`Current::look_first`], of any form in any table.
    ///
    /// # Safety
    /// As above.
    unsafe fn look_apart<'t>(self, current: Current) -> FirstLook<'t>;

    /// As [`Table::find_on`].
    fn find_on<'t>(&self, table: &'t Table) -> Option<Place<'t>>;

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
    shard: usize,
    /// The hash without the shard's bits.
    local: u64,
    /// The only word.
    word: u64,
}

impl Short {
    /// `bytes` are at most 8.
    #[inline(always)]
    pub(crate) fn new(bytes: &[u8], hasher: &Hasher) -> Self {
        let length = bytes.len() as u64;
        let (number, kind) = if length == 8 { (0, EIGHT) } else { (length << 56, SHORT) };
        let hash = hasher.mixed(number_of(bytes) | number);
        let local = hasher.local(hash);
        debug_assert!(local & KIND == 0, "the shard's bits have room for the kind");
        Self { shard: hasher.shard(hash), local, word: local | kind }
    }

    /// Whether a slot has it.
    #[inline(always)]
    fn is_in(self, place: Place<'_>) -> bool {
        place.first_bits() == bits(self.word)
    }
}

// SAFETY: `new` asks the hasher.
unsafe impl Probe for Short {
    #[inline(always)]
    fn shard(&self) -> usize {
        self.shard
    }

    #[inline(always)]
    fn local(&self) -> u64 {
        self.local
    }

    #[inline(always)]
    unsafe fn look_first<'t>(&self, current: Current) -> FirstLook<'t> {
        if !current.has_one_key_word() {
            return FirstLook::Apart;
        }
        // SAFETY: the caller's promise, and so many.
        unsafe { current.look_first(1, self.local, |place| self.is_in(place)) }
    }

    #[inline(never)]
    unsafe fn look_apart<'t>(self, current: Current) -> FirstLook<'t> {
        // SAFETY: the caller's promise, and so many key words.
        unsafe {
            let key_words = current.table().as_ref().key_words();
            current.look_first(key_words, self.local, |place| self.is_in(place))
        }
    }

    fn find_on<'t>(&self, table: &'t Table) -> Option<Place<'t>> {
        table.find_on(self.local, |place| self.is_in(place))
    }

    #[inline(always)]
    fn claim(&self, place: Place<'_>, _: &mut Option<Owned>) -> Result<bool, ShardsError> {
        Ok(place.claim_first(bits(self.word)))
    }
}

/// How a key of more than 8 bytes stands in a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// See the module.
    Full,
    /// See the module.
    Wide,
    /// By its address.
    Heap,
}

/// A key of more than 8 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Long<'a> {
    bytes: &'a [u8],
    shard: usize,
    /// The hash without the shard's bits.
    pub(crate) local: u64,
    /// See [`Hasher::mask`].
    mask: u64,
    /// Whether it can fill the words of a slot.
    can_be_full: bool,
}

impl<'a> Long<'a> {
    /// `bytes` are more than 8.
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8], hasher: &Hasher) -> Self {
        let hash = hasher.hash(bytes);
        let (shard, local) = (hasher.shard(hash), hasher.local(hash));
        let mask = hasher.mask();
        let (eights, rest) = bytes.as_chunks::<8>();
        let others = eights.get(1..).unwrap_or_default();
        let can_be_full =
            rest.is_empty() && others.iter().all(|eight| u64::from_le_bytes(*eight) != mask);
        debug_assert!(!can_be_full || local & KIND == 0, "the shard's bits have room for the kind");
        Self { bytes, shard, local, mask, can_be_full }
    }

    /// How it stands in a table with so many key words.
    #[inline(always)]
    pub(crate) fn form(&self, key_words: usize) -> Form {
        if self.can_be_full && self.bytes.len() == 8 * key_words {
            Form::Full
        } else if wide_words(self.bytes.len()) <= key_words {
            Form::Wide
        } else {
            Form::Heap
        }
    }

    /// The fewest key words that a table needs to have it in its slots.
    pub(crate) fn fewest_words(&self) -> usize {
        if self.can_be_full { self.bytes.len() / 8 } else { wide_words(self.bytes.len()) }
    }

    /// The first word of a form in the slot.
    #[inline(always)]
    fn first(&self, form: Form) -> Bits {
        if form == Form::Full {
            return bits(self.local | FULL);
        }
        let length = self.bytes.len() as u64;
        let mut first = self.local >> HASH_AT << HASH_AT | length << LENGTH_AT | WIDE;
        for (at, eight) in self.bytes.as_chunks::<8>().0.iter().enumerate() {
            first |= u64::from_le_bytes(*eight) >> 63 << (HIGH_BITS_AT as usize + at);
        }
        bits(first)
    }

    /// How many words a form in the slot takes.
    #[inline(always)]
    fn words(&self, form: Form) -> usize {
        if form == Form::Full { self.bytes.len() / 8 } else { wide_words(self.bytes.len()) }
    }

    /// A further word of a form in the slot, from 1 to below [`Long::words`].
    #[inline(always)]
    fn further(&self, form: Form, word: usize) -> Bits {
        if form == Form::Full {
            return bits(number_at(self.bytes, word) ^ self.mask);
        }
        bits(number_at(self.bytes, word - 1) << 1 | 1)
    }

    /// Puts it into an empty slot of a table that nobody else has seen, in a form that is in the slot.
    pub(crate) fn fill(&self, place: Place<'_>, form: Form, value: Word) {
        place.fill(self.first(form), value);
        for word in 1..self.words(form) {
            place.fill_further(word, self.further(form, word));
        }
    }

    /// Whether a slot has it, in a form that is in the slot.
    #[inline(always)]
    fn is_in(&self, place: Place<'_>, form: Form) -> bool {
        place.first_bits() == self.first(form)
            // A word that is 0 is not the key's either: nobody has decided whose the slot is.
            && (1..self.words(form)).all(|at| place.further(at) == self.further(form, at))
    }

    /// Whether a first key word is the address of this key.
    fn is_blob(&self, first: Word) -> bool {
        // SAFETY: acquired just now, by a caller whose guard led to the table: keys live as long as
        // the tables that have them.
        first.blob().is_some_and(|blob| unsafe { Blob::read(blob, |bytes| bytes == self.bytes) })
    }
}

// SAFETY: `new` asks the hasher.
unsafe impl Probe for Long<'_> {
    #[inline(always)]
    fn shard(&self) -> usize {
        self.shard
    }

    #[inline(always)]
    fn local(&self) -> u64 {
        self.local
    }

    #[inline(always)]
    unsafe fn look_first<'t>(&self, current: Current) -> FirstLook<'t> {
        // SAFETY: the caller's promise.
        let key_words = unsafe { current.table().as_ref() }.key_words();
        if self.form(key_words) != Form::Full {
            return FirstLook::Apart;
        }
        // Of a length that the compiler may know.
        let words = self.words(Form::Full);
        // SAFETY: the caller's promise, and a full key has as many words as a slot.
        unsafe { current.look_first(words, self.local, |place| self.is_in(place, Form::Full)) }
    }

    /// By value: what has an address cannot stay in registers.
    #[inline(never)]
    unsafe fn look_apart<'t>(self, current: Current) -> FirstLook<'t> {
        // SAFETY: the caller's promise.
        let key_words = unsafe { current.table().as_ref() }.key_words();
        let form = self.form(key_words);
        let is = |place: Place<'_>| match form {
            Form::Heap => self.is_blob(place.first()),
            form => self.is_in(place, form),
        };
        // SAFETY: the caller's promise, and so many.
        unsafe { current.look_first(key_words, self.local, is) }
    }

    fn find_on<'t>(&self, table: &'t Table) -> Option<Place<'t>> {
        let form = self.form(table.key_words());
        if form == Form::Heap {
            return table.find_on(self.local, |place| self.is_blob(place.first()));
        }
        table.find_on(self.local, |place| self.is_in(place, form))
    }

    fn claim(&self, place: Place<'_>, pending: &mut Option<Owned>) -> Result<bool, ShardsError> {
        let form = self.form(place.table().key_words());
        if form != Form::Heap {
            return Ok(place.claim_first(self.first(form))
                && (1..self.words(form))
                    .all(|at| place.claim_further(at, self.further(form, at))));
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

/// Up to 8 bytes from eight times `at` on, as a number.
#[inline(always)]
fn number_at(bytes: &[u8], at: usize) -> u64 {
    let (eights, rest) = bytes.as_chunks::<8>();
    eights.get(at).map_or_else(|| number_of(rest), |eight| u64::from_le_bytes(*eight))
}

/// How many words the wide form of so many bytes takes, more than 8.
#[inline]
fn wide_words(length: usize) -> usize {
    1 + length.div_ceil(8)
}

/// How many words of a slot of `key_words` an inline key takes, by its first one.
pub(crate) fn words_by(first: Bits, key_words: usize) -> usize {
    match first.addr() as u64 & KIND {
        FULL => key_words,
        WIDE => wide_words(length(first.addr() as u64)),
        _ => 1,
    }
}

/// Whether an inline key fills the words of its slot, by its first one.
pub(crate) fn is_full(first: Bits) -> bool {
    first.addr() as u64 & KIND == FULL
}

/// The hash without the shard's bits, as far as the first word of an inline key has it.
pub(crate) fn local_by(first: Bits) -> u64 {
    first.addr() as u64
}

fn length(first: u64) -> usize {
    // 7 bits.
    (first >> LENGTH_AT & 0x7f) as usize
}

/// What was mixed for a first word.
#[inline(always)]
fn unmixed(hasher: &Hasher, shard: usize, first: u64) -> u64 {
    // Where all maps have so many shards, the kind goes as the shard's bits come back.
    let local = if MIN_SHARDS >= 1 << KIND_BITS { first } else { first & !KIND };
    hasher.unmixed(hasher.joined(shard, local))
}

/// An inline key of 8 bytes.
#[inline]
pub(crate) fn eight(hasher: &Hasher, shard: usize, first: Word) -> Option<[u8; 8]> {
    let first = first.bits().addr() as u64;
    (first & KIND == EIGHT).then(|| unmixed(hasher, shard, first).to_le_bytes())
}

/// As [`inline`], of a key that fills its slot.
#[inline(always)]
pub(crate) fn full(
    hasher: &Hasher,
    shard: usize,
    first: Word,
    key_words: usize,
    further: impl Fn(usize) -> Bits,
    bytes: &mut [u8; MAX_KEY_BYTES],
) -> usize {
    let words = key_words.min(MAX_KEY_BYTES / 8);
    for at in 1..words {
        write(bytes, at, further(at).addr() as u64 ^ hasher.mask());
    }
    let others = hasher.of_others(&bytes[8..8 * words]);
    write(bytes, 0, unmixed(hasher, shard, first.bits().addr() as u64) ^ others);
    8 * words
}

#[inline(always)]
fn write(bytes: &mut [u8; MAX_KEY_BYTES], at: usize, number: u64) {
    bytes[8 * at..8 * at + 8].copy_from_slice(&number.to_le_bytes());
}

/// Writes an inline key to `bytes`, and answers how long it is; `further` answers the words of its slot
/// from 1 to below `key_words`. `None` for one on the heap.
#[inline(always)]
pub(crate) fn inline(
    hasher: &Hasher,
    shard: usize,
    first: Word,
    key_words: usize,
    further: impl Fn(usize) -> Bits,
    bytes: &mut [u8; MAX_KEY_BYTES],
) -> Option<usize> {
    let all = first.bits().addr() as u64;
    match all & KIND {
        EIGHT => {
            write(bytes, 0, unmixed(hasher, shard, all));
            Some(8)
        }
        FULL => Some(full(hasher, shard, first, key_words, further, bytes)),
        WIDE => {
            let length = length(all).min(MAX_KEY_BYTES);
            for at in 0..length.div_ceil(8) {
                let high = all >> (HIGH_BITS_AT as usize + at) << 63;
                write(bytes, at, further(at + 1).addr() as u64 >> 1 | high);
            }
            Some(length)
        }
        SHORT => {
            write(bytes, 0, unmixed(hasher, shard, all));
            Some(usize::from(bytes[7]))
        }
        _ => None,
    }
}

/// How many key words the slots of a table should have: as few bytes as possible for so many slots and the keys
/// that do not fit; not fewer than `at_least`. `heap` has what keys take on the heap, by the fewest words with which
/// they would be in the slots.
pub(crate) fn best_words(heap: &[usize; MOST_WORDS + 1], slots: usize, at_least: usize) -> usize {
    let cost = |words: usize| {
        let inside = slots * (words + 1) * size_of::<Bits>();
        inside + heap[words + 1..].iter().sum::<usize>()
    };
    (at_least..=MOST_WORDS).min_by_key(|&words| cost(words)).unwrap_or(at_least)
}

#[inline]
fn bits(number: u64) -> Bits {
    // 64 bits, as `word` asserts.
    #[allow(clippy::cast_possible_truncation)]
    ptr::without_provenance_mut(number as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_fills_as_many_words_unless_one_would_be_0() {
        let hasher = Hasher::new(4);
        for length in 9..=MAX_KEY_BYTES {
            let key = vec![7; length];
            let key = Long::new(&key, &hasher);
            let (eights, rest) = (length / 8, length % 8);
            let expected = |words: usize| match words {
                _ if rest == 0 && words == eights => Form::Full,
                _ if words > length.div_ceil(8) => Form::Wide,
                _ => Form::Heap,
            };
            for words in 1..=MOST_WORDS {
                assert!(key.form(words) == expected(words), "{length} bytes, {words} words");
            }
            assert!((1..key.fewest_words()).all(|words| key.form(words) == Form::Heap));
            assert!(key.form(key.fewest_words()) != Form::Heap);
        }
        let secret = [[7; 8], hasher.mask().to_le_bytes(), [7; 8]].concat();
        let secret = Long::new(&secret, &hasher);
        assert!(secret.form(3) == Form::Heap && secret.form(4) == Form::Wide);
        assert!(secret.further(Form::Full, 1).is_null(), "as a word that was not written yet");
    }
}
