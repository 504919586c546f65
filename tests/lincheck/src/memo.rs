//! The configurations that the search has seen, in flat arrays; and numbers for states.
//!
//! A configuration is what the future depends on: the first return that is still ahead, which of the
//! operations under way there are not yet linearized, the object's state, and which pending
//! operations have been used.
//!
//! Invariants:
//! * LIN-2: a configuration is refused only if one that is at least as good was seen: equal but for
//!   pending operations, of which it had used no others. What the worse one can do, the better can;
//! * nothing here depends on addresses or on a random seed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Multiply and rotate: short keys, no adversary, the same on every run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mixer(u64);

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(ODD);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        (self.0 ^ self.0 >> 29).wrapping_mul(ODD)
    }
}

/// A number for each state.
#[derive(Debug)]
pub(crate) struct States<S> {
    numbers: HashMap<S, u32, BuildHasherDefault<Mixer>>,
    states: Vec<S>,
}

impl<S: Clone + Eq + Hash> States<S> {
    pub(crate) fn new() -> Self {
        Self { numbers: HashMap::default(), states: Vec::new() }
    }

    pub(crate) fn number(&mut self, state: &S) -> u32 {
        if let Some(&number) = self.numbers.get(state) {
            return number;
        }
        let number = u32::try_from(self.states.len()).expect("fewer than 2^32 states");
        match self.numbers.entry(state.clone()) {
            Entry::Vacant(entry) => *entry.insert(number),
            Entry::Occupied(entry) => *entry.get(),
        };
        self.states.push(state.clone());
        number
    }

    pub(crate) fn state(&self, number: u32) -> &S {
        &self.states[number as usize]
    }
}

/// No set, in a chain of sets.
const NONE: u32 = u32::MAX;
const FIRST_SLOTS: usize = 64;

/// The configurations seen.
#[derive(Debug)]
pub(crate) struct Memo {
    /// Words of a key, and of a set of pending operations.
    width: usize,
    pending: usize,
    /// One key after the other, and for each the first of its sets.
    keys: Vec<u64>,
    heads: Vec<u32>,
    /// One set after the other, and for each the next one of the same key.
    sets: Vec<u64>,
    links: Vec<u32>,
    /// A hash table: numbers of keys plus one; a power of two, at most three quarters full.
    slots: Vec<u32>,
}

impl Memo {
    /// For keys of `width` words and sets of `pending` words.
    pub(crate) fn new(width: usize, pending: usize) -> Self {
        Self {
            width,
            pending,
            keys: Vec::new(),
            heads: Vec::new(),
            sets: Vec::new(),
            links: Vec::new(),
            slots: vec![0; FIRST_SLOTS],
        }
    }

    /// Whether the configuration is new: no other with this key had used a subset of `used`.
    pub(crate) fn insert(&mut self, key: &[u64], used: &[u64]) -> bool {
        debug_assert_eq!((key.len(), used.len()), (self.width, self.pending));
        let slot = self.slot(key);
        match self.slots[slot].checked_sub(1) {
            None => {
                let head = if self.pending == 0 { NONE } else { self.push(used, NONE) };
                self.keys.extend_from_slice(key);
                self.heads.push(head);
                self.slots[slot] = narrow(self.heads.len());
                if self.heads.len() * 4 > self.slots.len() * 3 {
                    self.grow();
                }
                true
            }
            Some(_) if self.pending == 0 => false,
            Some(number) => self.insert_set(number as usize, used),
        }
    }

    fn insert_set(&mut self, key: usize, used: &[u64]) -> bool {
        let mut at = self.heads[key];
        let mut worse = None;
        while at != NONE {
            let seen = self.set(at);
            if is_subset(seen, used) {
                return false;
            }
            if is_subset(used, seen) {
                worse = Some(at as usize * self.pending);
            }
            at = self.links[at as usize];
        }
        match worse {
            // Whatever the old set would refuse, the new one does.
            Some(at) => self.sets[at..][..self.pending].copy_from_slice(used),
            None => self.heads[key] = self.push(used, self.heads[key]),
        }
        true
    }

    fn push(&mut self, used: &[u64], next: u32) -> u32 {
        self.sets.extend_from_slice(used);
        self.links.push(next);
        narrow(self.links.len() - 1)
    }

    fn set(&self, at: u32) -> &[u64] {
        &self.sets[at as usize * self.pending..][..self.pending]
    }

    fn key(&self, number: usize) -> &[u64] {
        &self.keys[number * self.width..][..self.width]
    }

    /// The slot of a key, or the free one where it would go.
    fn slot(&self, key: &[u64]) -> usize {
        let mask = self.slots.len() - 1;
        let mut hash = Mixer::default();
        for &word in key {
            hash.write_u64(word);
        }
        // The mixer's high bits are its best.
        let mut slot = usize::try_from(hash.finish() >> 32).expect("32 bits") & mask;
        while let Some(number) = self.slots[slot].checked_sub(1) {
            if self.key(number as usize) == key {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        for number in 0..self.heads.len() {
            let slot = self.slot(self.key(number));
            self.slots[slot] = narrow(number + 1);
        }
    }
}

fn is_subset(part: &[u64], whole: &[u64]) -> bool {
    part.iter().zip(whole).all(|(part, whole)| part & !whole == 0)
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).ok().filter(|&number| number != NONE).expect("fewer than 2^32 - 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_configurations_are_new_only_once() {
        let mut memo = Memo::new(2, 0);
        for round in 0..2 {
            for word in 0..10_000_u64 {
                assert_eq!(memo.insert(&[word % 100, word / 100], &[]), round == 0, "{word}");
            }
        }
    }

    #[test]
    fn a_configuration_that_used_more_is_refused_and_one_that_used_others_is_not() {
        let mut memo = Memo::new(1, 2);
        assert!(memo.insert(&[7], &[0b110, 1]));
        assert!(!memo.insert(&[7], &[0b110, 1]));
        assert!(!memo.insert(&[7], &[0b111, 1]));
        assert!(memo.insert(&[7], &[0b101, 1]));
        assert!(memo.insert(&[7], &[0b110, 0]));
        assert!(memo.insert(&[8], &[0b111, 1]));
        assert!(memo.insert(&[7], &[0, 0]));
        assert!(!memo.insert(&[7], &[1 << 40, 0]));
    }

    #[test]
    fn a_state_keeps_its_number() {
        let mut states = States::new();
        assert_eq!([states.number(&"a"), states.number(&"b"), states.number(&"a")], [0, 1, 0]);
        assert_eq!(*states.state(1), "b");
    }
}
