//! Which calls of other nodes were let in: each at most once.
//!
//! Invariants:
//! * NODE-8: of one start of a peer each number is let in once. What is too old to be told from what was
//!   let in stays out, and so does an earlier start than one that was heard;
//! * WIRE-2: what a peer can make it remember is bounded: [`MOST_LIVES`] lives of its disk.
//!
//! What it does not do: survive a crash. A call names the start of the node that may run it, so that a new
//! start lets in nothing that an earlier one may have run.

use alloc::collections::BTreeMap;

use cloakroom_register::{Boot, Incarnation, NodeId, Start};

/// So many lives of a peer's disk are told apart. One that has had more is let in again when this
/// node starts again.
const MOST_LIVES: usize = 16;

/// Who was let in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doors(BTreeMap<NodeId, BTreeMap<Incarnation, (Boot, Window)>>);

/// The highest number that was let in, and which of those below it: bit `i` is that of `highest - i`.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    highest: u64,
    seen: u128,
}

impl Doors {
    /// Lets a call in, unless it was let in before or may have been.
    pub(crate) fn admit(&mut self, peer: NodeId, start: Start, number: u64) -> bool {
        let lives = self.0.entry(peer).or_default();
        if lives.len() >= MOST_LIVES && !lives.contains_key(&start.incarnation) {
            return false;
        }
        let new = (start.boot, Window::default());
        let (boot, window) = lives.entry(start.incarnation).or_insert(new);
        if start.boot < *boot {
            return false;
        }
        if start.boot > *boot {
            (*boot, *window) = new;
        }
        window.admit(number)
    }
}

impl Window {
    fn admit(&mut self, number: u64) -> bool {
        if number > self.highest {
            let by = u32::try_from(number - self.highest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            self.highest = number;
            return true;
        }
        let behind = u32::try_from(self.highest - number).unwrap_or(u32::MAX);
        let bit = 1_u128.checked_shl(behind).unwrap_or(0);
        let new = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(!doors.admit(PEER, start(0, 1), 2), "too old to tell");
        assert!(doors.admit(PEER, start(0, 1), u64::MAX));
        assert!(!doors.admit(PEER, start(0, 1), 131), "too old to tell");
        assert!(doors.admit(NodeId([2; 32]), start(0, 1), 1), "another peer counts for itself");
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
