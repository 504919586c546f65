//! Who is dead: evidence that accrues with each unanswered request.
//!
//! A node of a DHT hears from a contact when it asks it, not at a steady beat. The phi-accrual detector
//! of Hayashibara et al. (2004) fits a distribution to the time between heartbeats, which here would
//! need heartbeats to hundreds of contacts; SWIM (2002) needs third parties who ping in our place and
//! everybody to learn the verdict, which fits one group and not a table of contacts that are each
//! known to others. What we keep of both: phi's scale (evidence = the logarithm of how unlikely the
//! silence is if the contact lives, adapted to what is measured), and SWIM's two steps (first
//! *suspected*: not told to others, pinged again; then *dead*).
//!
//! The evidence of one unanswered request is log2(1 / loss), loss being the share of requests to living
//! contacts that stayed unanswered: measured over all contacts, known once a silent contact speaks
//! again. Twenty bits need four misses at 3 % loss and ten at 25 %.
//!
//! Invariants:
//! * KAD-8: a contact is dead only with `dead_bits` of evidence; an answer takes all of it back;
//! * a miss counts only if somebody else answered since the request was sent: when nobody answers, it is
//!   we who are cut off (the driver of [`Losses`] sees to it).
//!
//! Assumes: losses are independent. They are not in a partition; therefore a silent contact is pinged at
//! doubling distances, and only a partition that outlasts them looks like a death.
//!
//! What it does not do: floats. Logarithms are in 1/256 bits, exact to one unit.

/// How often requests to living contacts stay unanswered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Losses {
    lost: u32,
    sent: u32,
}

/// What is thought of a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It answers.
    Alive,
    /// It owes an answer: not told to others, pinged again.
    Suspected,
    /// It is gone.
    Dead,
}

/// Above this both numbers are halved: the last thousand requests count most.
const MEMORY: u32 = 1024;
/// One miss is at most so much evidence, however few were lost so far: three misses at least for the
/// default of 20 bits.
const MOST_EACH: u32 = 8 << 8;
/// And at least so much, however many are lost, so that a dead contact is found at all.
const LEAST_EACH: u32 = 1 << 7;

impl Default for Losses {
    /// Before anything was measured: one request in sixteen is lost.
    fn default() -> Self {
        Self { lost: 4, sent: 64 }
    }
}

impl Losses {
    /// A contact has answered. `unanswered`: requests to it before this one that were lost, since it
    /// lives.
    pub fn answered(&mut self, unanswered: u8) {
        self.lost += u32::from(unanswered);
        self.sent += u32::from(unanswered) + 1;
        if self.sent > MEMORY {
            self.lost = self.lost.div_ceil(2);
            self.sent /= 2;
        }
    }

    /// The evidence of one miss, in 1/256 bits.
    pub fn evidence_each(&self) -> u32 {
        // At least one in `MEMORY` is taken for lost: never having lost anything proves nothing.
        let bits = log2(self.sent).saturating_sub(log2(self.lost.max(1)));
        bits.clamp(LEAST_EACH, MOST_EACH)
    }

    /// What is thought of a contact with so many misses in a row, of which so many count.
    pub fn verdict(&self, unanswered: u8, evidence: u8, dead_bits: u8) -> Verdict {
        if unanswered == 0 {
            return Verdict::Alive;
        }
        // KAD-8
        let bits = u32::from(evidence) * self.evidence_each();
        if bits >= u32::from(dead_bits) << 8 { Verdict::Dead } else { Verdict::Suspected }
    }
}

/// The binary logarithm in 1/256, rounded down; zero of zero.
fn log2(number: u32) -> u32 {
    let Some(whole) = number.checked_ilog2() else { return 0 };
    // Squaring a number in [1, 2) doubles its logarithm: eight squarings give eight bits.
    let mut fraction = (u64::from(number) << 31) >> whole;
    let mut bits = whole;
    for _ in 0..8 {
        fraction = (fraction * fraction) >> 31;
        let carry = fraction >> 32;
        fraction >>= carry;
        bits = bits << 1 | u32::from(carry == 1);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const DEAD_BITS: u8 = 20;

    /// Misses until the verdict, after so many requests of which this share in a thousand is lost.
    fn misses_until_dead(per_thousand: u64) -> u8 {
        let (mut losses, mut random) = (Losses::default(), Random::new(1));
        let mut unanswered = 0;
        for _ in 0..20_000 {
            if random.below(1000) < per_thousand {
                unanswered += 1;
            } else {
                losses.answered(unanswered);
                unanswered = 0;
            }
        }
        (1..=u8::MAX).find(|&n| losses.verdict(n, n, DEAD_BITS) == Verdict::Dead).unwrap()
    }

    #[test]
    fn logarithms_are_exact_to_a_unit() {
        for number in 1..5000_u32 {
            let exact = (f64::from(number).log2() * 256.0).floor();
            assert!((f64::from(log2(number)) - exact).abs() <= 1.0, "{number}");
        }
        assert_eq!(log2(0), 0);
    }

    #[test]
    fn the_more_is_lost_the_more_misses_it_takes() {
        let misses: Vec<u8> = [0, 10, 30, 100, 250, 500].map(misses_until_dead).into();
        assert!(misses.is_sorted(), "{misses:?}");
        assert_eq!(misses[0], 3);
        assert!((4..=5).contains(&misses[2]), "{misses:?}");
        assert!((9..=12).contains(&misses[4]), "{misses:?}");
        assert!(misses[5] < 30, "a dead contact is found at half of all lost: {misses:?}");
    }

    #[test]
    fn a_living_contact_is_seldom_taken_for_dead_whatever_is_lost() {
        for per_thousand in [10, 50, 200, 400] {
            let (mut losses, mut random) = (Losses::default(), Random::new(per_thousand));
            let (mut unanswered, mut false_verdicts) = (0_u8, 0);
            for _ in 0..1_000_000 {
                if random.below(1000) >= per_thousand {
                    losses.answered(unanswered);
                    unanswered = 0;
                    continue;
                }
                unanswered += 1;
                if losses.verdict(unanswered, unanswered, DEAD_BITS) == Verdict::Dead {
                    false_verdicts += 1;
                    unanswered = 0;
                }
            }
            // 2^-20 for each run of misses; a little more while the loss is still being learnt.
            assert!(false_verdicts <= 6, "{per_thousand} in 1000: {false_verdicts}");
        }
    }

    #[test]
    fn without_evidence_a_silent_contact_is_suspected_for_ever() {
        let losses = Losses::default();
        assert_eq!(losses.verdict(200, 0, DEAD_BITS), Verdict::Suspected);
        assert_eq!(losses.verdict(0, 0, DEAD_BITS), Verdict::Alive);
    }

    extern crate std;
    use std::vec::Vec;
}
