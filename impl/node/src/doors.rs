//! Which calls of other nodes were let in: each at most once.
//!
//! Invariants:
//! * NODE-8: of one start of a peer each number is let in once. What is too old to be told from what was
//!   let in stays out, and so does an earlier start than one that was heard;
//! * WIRE-2: what a peer can make it remember is bounded: [`MOST_LIVES`] lives of its disk, 8 KiB each.
//!
//! What it does not do: survive a crash. A call names the start of the node that may run it, so that a new
//! start lets in nothing that an earlier one may have run.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use cloakroom_register::{Boot, Incarnation, NodeId, Start};

/// So many lives of a peer's disk are told apart. One that has had more is let in again when this
/// node starts again.
const MOST_LIVES: usize = 16;

/// Words of a window: 65,472 numbers at least are told apart. A call that was lost comes again after seconds,
/// in which its sender may have made ten thousand others.
const WORDS: usize = 1024;

/// Who was let in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doors(BTreeMap<NodeId, BTreeMap<Incarnation, (Boot, Window)>>);

/// The highest number that was let in, and which of those below it: a bit for each, in words that are used in
/// turn (RFC 6479). Those of the words behind the highest one's are of numbers before it.
#[derive(Clone, Debug, Default)]
struct Window {
    highest: u64,
    /// None before the first number, then [`WORDS`].
    seen: Vec<u64>,
}

impl Doors {
    /// Lets a call in, unless it was let in before or may have been.
    pub(crate) fn admit(&mut self, peer: NodeId, start: Start, number: u64) -> bool {
        let lives = self.0.entry(peer).or_default();
        if lives.len() >= MOST_LIVES && !lives.contains_key(&start.incarnation) {
            return false;
        }
        let new = || (start.boot, Window::default());
        let (boot, window) = lives.entry(start.incarnation).or_insert_with(new);
        if start.boot < *boot {
            return false;
        }
        if start.boot > *boot {
            (*boot, *window) = new();
        }
        window.admit(number)
    }
}

impl Window {
    fn admit(&mut self, number: u64) -> bool {
        self.seen.resize(WORDS, 0);
        let (word, newest) = (number / 64, self.highest / 64);
        if newest.saturating_sub(word) >= WORDS as u64 {
            return false;
        }
        // Words that come into use have bits of numbers that are now too old.
        for later in (newest + 1..=word).take(WORDS) {
            self.seen[at(later)] = 0;
        }
        self.highest = self.highest.max(number);
        let bit = 1 << (number % 64);
        let new = self.seen[at(word)] & bit == 0;
        self.seen[at(word)] |= bit;
        new
    }
}

/// Where a word stands.
fn at(word: u64) -> usize {
    usize::try_from(word % WORDS as u64).expect("below WORDS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    fn start(incarnation: u64, boot: u32) -> Start {
        Start { incarnation: Incarnation(incarnation), boot: Boot(boot) }
    }

    const PEER: NodeId = NodeId([1; 32]);

    #[test]
    fn a_number_is_let_in_once_in_whatever_order_it_comes() {
        let mut doors = Doors::default();
        for number in [1, 3, 2, 130, 100, 129] {
            assert!(doors.admit(PEER, start(0, 1), number), "{number}");
        }
        for number in [1, 2, 3, 100, 129, 130] {
            assert!(!doors.admit(PEER, start(0, 1), number), "{number} twice");
        }
        assert!(doors.admit(PEER, start(0, 1), u64::MAX));
        assert!(!doors.admit(PEER, start(0, 1), 131), "too old to tell");
        assert!(doors.admit(NodeId([2; 32]), start(0, 1), 1), "another peer counts for itself");
    }

    /// Against all that were let in, for ever.
    #[test]
    fn within_sixty_thousand_numbers_what_is_late_is_told_from_what_comes_twice() {
        let mut doors = Doors::default();
        let mut let_in = BTreeSet::new();
        let mut highest = 0_u64;
        for step in 0..300_000_u64 {
            // Mostly the next, sometimes a leap, and every third one late by up to 65,000.
            let late = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let number = match step % 3 {
                0 => highest.saturating_sub(late % 65_000),
                _ if step % 10_007 == 0 => highest + late % 200_000,
                _ => highest + 1 + late % 3,
            };
            highest = highest.max(number);
            assert_eq!(doors.admit(PEER, start(0, 1), number), let_in.insert(number), "{number}");
        }
        let old = highest - WORDS as u64 * 64;
        assert!(!doors.admit(PEER, start(0, 1), old), "too old to tell");
    }

    #[test]
    fn an_earlier_start_stays_out_once_a_later_one_was_heard() {
        let mut doors = Doors::default();
        assert!(doors.admit(PEER, start(7, 3), 5));
        assert!(doors.admit(PEER, start(7, 4), 5), "a new start counts anew");
        assert!(!doors.admit(PEER, start(7, 3), 6));
        assert!(doors.admit(PEER, start(2, 1), 5), "another life of the disk");
        assert!(!doors.admit(PEER, start(7, 3), 7));
        let lives = (100..200).filter(|life| doors.admit(PEER, start(*life, 1), 1)).count();
        assert_eq!(lives, MOST_LIVES - 2);
    }
}
