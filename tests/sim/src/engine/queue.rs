//! What happens next, in virtual time.
//!
//! A radix heap: time only goes forward, so an entry needs comparing only in the highest digit (of six
//! bits) in which its time differs from the present; it moves down at most eleven times in its life,
//! and mostly two or three times.
//!
//! Invariants:
//! * SIM-1: entries come out by time, and those of one time in the order in which they were put in:
//!   nothing depends on memory or hashing;
//! * nothing is put before the present (it would have happened already): that asserts.
//!
//! What it does not do: take entries back. Who armed a timer must know which one still counts.

use std::collections::VecDeque;

use super::Time;

/// Entries by time.
#[derive(Debug)]
pub struct Queue<T> {
    /// The time of the last entry taken.
    now: Time,
    /// Those of the present, first in, first out.
    present: VecDeque<T>,
    /// At `64 i + d`, in the order of arrival: those whose time differs from the present in digit `i`
    /// first, where it is `d`.
    later: Vec<Vec<(Time, T)>>,
    /// For each digit, as bits: which of its buckets are not empty.
    occupied: [u64; DIGITS],
    length: usize,
}

/// Bits of a digit.
const BITS: u32 = 6;
/// Digits of a time.
const DIGITS: usize = u64::BITS.div_ceil(BITS) as usize;

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let later = (0..DIGITS << BITS).map(|_| Vec::new()).collect();
        Self { now: Time(0), present: VecDeque::new(), later, occupied: [0; DIGITS], length: 0 }
    }
}

impl<T> Queue<T> {
    /// The present.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// How many entries wait.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether none waits.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts an entry in.
    ///
    /// # Panics
    /// If its time has passed.
    pub fn put(&mut self, at: Time, entry: T) {
        assert!(at >= self.now, "{at} is past, it is {}", self.now);
        self.length += 1;
        self.place(at, entry);
    }

    fn place(&mut self, at: Time, entry: T) {
        match (at.0 ^ self.now.0).checked_ilog2() {
            None => self.present.push_back(entry),
            Some(bit) => {
                let digit = bit / BITS;
                let value = at.0 >> (digit * BITS) & ((1 << BITS) - 1);
                self.occupied[digit as usize] |= 1 << value;
                self.later[(digit << BITS) as usize | value as usize].push((at, entry));
            }
        }
    }

    /// Takes the next entry, if it is due at or before `until`; the present moves to its time.
    pub fn take(&mut self, until: Time) -> Option<T> {
        if self.present.is_empty() && !self.advance(until) {
            return None;
        }
        // The present itself may lie after `until` only if somebody asked for the past.
        if self.now > until {
            return None;
        }
        self.length -= 1;
        self.present.pop_front()
    }

    /// Moves the present to the next entry's time, if that is not after `until`.
    fn advance(&mut self, until: Time) -> bool {
        let Some(digit) = self.occupied.iter().position(|&values| values != 0) else {
            return false;
        };
        let value = self.occupied[digit].trailing_zeros();
        let at = digit << BITS | value as usize;
        // All in a lower bucket are earlier than all in a higher one.
        let next = self.later[at].iter().map(|&(at, _)| at).min().expect("an occupied bucket");
        if next > until {
            return false;
        }
        self.now = next;
        self.occupied[digit] &= !(1 << value);
        // They all go to lower buckets, which are empty, in the order in which they came: so each
        // bucket stays in the order of arrival, and so does the present.
        let mut bucket = std::mem::take(&mut self.later[at]);
        for (at, entry) in bucket.drain(..) {
            self.place(at, entry);
        }
        self.later[at] = bucket;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn entries_come_out_by_time_and_at_one_time_in_the_order_of_arrival() {
        let mut random = Random::new(3);
        let mut queue = Queue::default();
        let mut naive: Vec<(Time, u64)> = Vec::new();
        let mut number = 0;
        let (mut taken, mut equal) = (0, 0);
        for _ in 0..20_000 {
            for _ in 0..random.below(3) {
                let spread = [1, 4, 1000, 1 << 40][random.index(4)];
                let at = Time(queue.now().0 + random.below(spread));
                queue.put(at, number);
                naive.push((at, number));
                number += 1;
            }
            let until = Time(queue.now().0 + random.below(2000));
            let first = naive.iter().copied().min().filter(|&(at, _)| at <= until);
            assert_eq!(queue.take(until), first.map(|(_, number)| number));
            if let Some(first) = first {
                naive.retain(|&entry| entry != first);
                assert_eq!(queue.now(), first.0);
                taken += 1;
                equal += usize::from(naive.iter().any(|&(at, _)| at == first.0));
            }
            assert_eq!((queue.len(), queue.is_empty()), (naive.len(), naive.is_empty()));
        }
        assert!(taken > 5000 && equal > 200, "{taken} {equal}");
    }

    #[test]
    #[should_panic(expected = "is past")]
    fn the_past_takes_no_entries() {
        let mut queue = Queue::default();
        queue.put(Time(5), ());
        queue.take(Time(9));
        queue.put(Time(4), ());
    }
}
