//! A run in one number: what happened, when, to whom, in which order.
//!
//! Two runs of one seed must have the same; a run that differs in one byte of one message, in one
//! microsecond or in the order of two events must have another, up to the chance of 2^-64.
//!
//! Invariants:
//! * SIM-1: everything that a machine is told goes in: each message with its time, sender, receiver and
//!   bytes, each timer, each start and crash. Decisions of the network show by what they change.
//!
//! What it does not do: withstand an adversary. It is a checksum.

use super::{Node, Time};

/// The hash so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    hash: u64,
    steps: u64,
}

/// What kind of step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message reached a machine.
    Message = 1,
    /// A machine's timer ran out.
    Timer = 2,
    /// A node started.
    Start = 3,
    /// A node stopped.
    Stop = 4,
    /// Whoever directs the run asked for something.
    Command = 5,
}

const LANES: [u64; 4] =
    [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

/// Both halves of the product of two words, as one.
pub(super) const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product >> 64) as u64 ^ a.wrapping_mul(b)
}

impl Default for Trace {
    fn default() -> Self {
        Self { hash: LANES[0], steps: 0 }
    }
}

impl Trace {
    /// Takes in one step.
    pub fn absorb(&mut self, at: Time, step: Step, from: Node, to: Node, bytes: &[u8]) {
        self.steps += 1;
        let who = u64::from(from.0) << 32 | u64::from(to.0);
        let what = (step as u64) << 48 ^ bytes.len() as u64;
        let mut hash = fold(self.hash ^ at.0, LANES[1] ^ who);
        hash = fold(hash ^ what, LANES[2]);
        self.hash = fold(hash ^ digest(bytes), LANES[3] ^ self.steps);
    }

    /// How many steps went in.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The hash of all of them.
    pub const fn hash(&self) -> u64 {
        self.hash
    }
}

/// The hash of some bytes; two lanes, since one multiplication waits for the other.
fn digest(bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let (mut a, mut b) = (LANES[1], LANES[2]);
    let mut chunks = bytes.chunks_exact(32);
    for chunk in &mut chunks {
        a = fold(word(&chunk[..8]) ^ LANES[0], word(&chunk[8..16]) ^ a);
        b = fold(word(&chunk[16..24]) ^ LANES[3], word(&chunk[24..]) ^ b);
    }
    let (words, rest) = chunks.remainder().as_chunks::<8>();
    for chunk in words {
        a = fold(word(chunk) ^ LANES[0], a ^ LANES[3]);
    }
    if !rest.is_empty() {
        let padded = rest.iter().rev().fold(0, |padded, &byte| padded << 8 | u64::from(byte));
        a = fold(padded ^ LANES[0], a ^ LANES[3]);
    }
    fold(a, b ^ LANES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(steps: &[(u64, Step, u32, u32, &[u8])]) -> u64 {
        let mut trace = Trace::default();
        for &(at, step, from, to, bytes) in steps {
            trace.absorb(Time(at), step, Node(from), Node(to), bytes);
        }
        assert_eq!(trace.steps(), steps.len() as u64);
        trace.hash()
    }

    #[test]
    fn whatever_differs_shows_in_the_hash() {
        let long: Vec<u8> = (0..100).collect();
        let base = (7, Step::Message, 1, 2, &long[..]);
        let mut hashes = vec![of(&[]), of(&[base]), of(&[base, base])];
        for at in 0..long.len() {
            let mut changed = long.clone();
            changed[at] ^= 1;
            hashes.push(of(&[(7, Step::Message, 1, 2, &changed)]));
            hashes.push(of(&[(7, Step::Message, 1, 2, &long[..at])]));
        }
        hashes.push(of(&[(8, Step::Message, 1, 2, &long)]));
        hashes.push(of(&[(7, Step::Timer, 1, 2, &long)]));
        hashes.push(of(&[(7, Step::Message, 2, 1, &long)]));
        hashes.push(of(&[(7, Step::Message, 1, 3, &long)]));
        let other = (9, Step::Stop, 0, 2, &long[..0]);
        hashes.push(of(&[base, other]));
        hashes.push(of(&[other, base]));
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }
}
