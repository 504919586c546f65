//! Which of a record's holders to ask: eight strategies behind one trait.
//!
//! | strategy | when to use it |
//! |---|---|
//! | [`RoundRobin`] | holders are alike and requests cost the same; needs nothing measured |
//! | [`Uniform`] | the same with many askers: theirs do not fall into step |
//! | [`Weighted`] | holders have known, different strength |
//! | [`LeastOutstanding`] | requests cost differently, or a holder may be slow: it is the first to notice |
//! | [`LowestLatency`] | holders are at different distances, and load is far from what they can take |
//! | [`TwoChoices`] | nothing is known beforehand: nearly as even as the least loaded of all, without a herd running to it |
//! | [`Closest`] | the holder must be the same for all askers, so that its copy is warm; hot keys make hot nodes |
//! | [`SameZone`] | traffic between zones costs money or time |
//!
//! [`Balance`] has [`TwoChoices`] if no other is named. A cluster's clients have [`Closest`]: one node carries out all
//! calls about a pool together.
//!
//! Invariants: a choice is one of those offered; the same numbers and the same chance give the same
//! choice. A strategy chooses whom to ask, never how many must answer.
//!
//! What it does not do: ask. [`Kademlia::fetch`](crate::Kademlia::fetch) does, one after the other.

use core::cmp::Reverse;
use core::net::IpAddr;

use cloakroom_wire::{Address, Contact, NodeId};

use crate::random::Random;

/// A holder that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Who.
    pub contact: Contact,
    /// Its strength beside the others', at least 1.
    pub weight: u16,
    /// Requests of ours that it has not answered yet.
    pub outstanding: u16,
    /// Its smoothed round trip; zero if none was measured.
    pub rtt_us: u32,
}

/// What a strategy may look at beside the holders.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The record's place.
    pub point: NodeId,
    /// Where we are.
    pub own: Address,
    /// How many holders were chosen before these, for the same request.
    pub tried: usize,
    /// Chance.
    pub random: &'a mut Random,
}

/// Chooses whom to ask.
pub trait Strategy {
    /// The place of the chosen one; `None` only if nobody is offered.
    fn choose(&mut self, choices: &[Choice], situation: &mut Situation<'_>) -> Option<usize>;
}

/// One after the other: each request begins with the holder after the one that the request before it
/// began with, however many that one had to try.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    /// Where the next request begins.
    next: usize,
}

/// Any, each as likely.
#[derive(Clone, Debug, Default)]
pub struct Uniform;

/// Any, as likely as it is strong.
#[derive(Clone, Debug, Default)]
pub struct Weighted;

/// Who has the fewest requests of ours to answer.
#[derive(Clone, Debug, Default)]
pub struct LeastOutstanding;

/// Who answers soonest. One request in sixteen goes to any, so that a holder that was slow once is
/// measured again; who was never measured goes first.
#[derive(Clone, Debug, Default)]
pub struct LowestLatency;

/// Of two any the one with fewer requests to answer, and then the faster (Mitzenmacher 2001).
#[derive(Clone, Debug, Default)]
pub struct TwoChoices;

/// Who is closest to the record by XOR.
#[derive(Clone, Debug, Default)]
pub struct Closest;

/// Who shares most of our address, by whole bytes; of those, one of any two with fewer requests.
#[derive(Clone, Debug, Default)]
pub struct SameZone;

fn any(count: usize, random: &mut Random) -> Option<usize> {
    (count > 0).then(|| usize::try_from(random.below(count as u64)).unwrap_or(0))
}

/// The place of the least; the first of equals is one that chance says, so that nobody is preferred.
fn least<K: Ord>(
    choices: &[Choice],
    random: &mut Random,
    by: impl Fn(&Choice) -> K,
) -> Option<usize> {
    let first = any(choices.len(), random)?;
    let turned = (first..choices.len()).chain(0..first);
    turned.min_by_key(|&at| by(&choices[at]))
}

impl Strategy for RoundRobin {
    fn choose(&mut self, choices: &[Choice], situation: &mut Situation<'_>) -> Option<usize> {
        // KAD-13: an order is one request, however many holders it names.
        if situation.tried == 0 {
            self.next = self.next.checked_rem(choices.len())? + 1;
        }
        // Who was chosen is offered no more: the one after it stands in its place, and after the last
        // comes the first.
        let begun = self.next.saturating_sub(1);
        (!choices.is_empty()).then_some(if begun < choices.len() { begun } else { 0 })
    }
}

impl Strategy for Uniform {
    fn choose(&mut self, choices: &[Choice], situation: &mut Situation<'_>) -> Option<usize> {
        any(choices.len(), situation.random)
    }
}

impl Strategy for Weighted {
    fn choose(&mut self, choices: &[Choice], situation: &mut Situation<'_>) -> Option<usize> {
        let weight = |choice: &Choice| u64::from(choice.weight.max(1));
        let mut left = situation.random.below(choices.iter().map(weight).sum());
        choices.iter().position(|choice| {
            let here = left < weight(choice);
            left = left.saturating_sub(weight(choice));
            here
        })
    }
}

impl Strategy for LeastOutstanding {
    fn choose(&mut self, choices: &[Choice], situation: &mut Situation<'_>) -> Option<usize> {
        least(choices, situation.random, |choice| choice.outstanding)
    }
}

impl Strategy for LowestLatency {
    fn choose(&mut self, choices: &[Choice], situation: &mut Situation<'_>) -> Option<usize> {
        if situation.random.below(16) == 0 {
            return any(choices.len(), situation.random);
        }
        least(choices, situation.random, |choice| choice.rtt_us)
    }
}

impl Strategy for TwoChoices {
    fn choose(&mut self, choices: &[Choice], situation: &mut Situation<'_>) -> Option<usize> {
        let first = any(choices.len(), situation.random)?;
        let Some(other) = any(choices.len() - 1, situation.random) else { return Some(first) };
        let second = other + usize::from(other >= first);
        let cost = |at: usize| (choices[at].outstanding, choices[at].rtt_us);
        Some(if cost(second) < cost(first) { second } else { first })
    }
}

impl Strategy for Closest {
    fn choose(&mut self, choices: &[Choice], situation: &mut Situation<'_>) -> Option<usize> {
        let distance = |at: &usize| choices[*at].contact.id.distance(situation.point);
        (0..choices.len()).min_by_key(distance)
    }
}

impl Strategy for SameZone {
    fn choose(&mut self, choices: &[Choice], situation: &mut Situation<'_>) -> Option<usize> {
        let own = situation.own;
        let cost = |choice: &Choice| {
            (Reverse(shared_bytes(own, choice.contact.address)), choice.outstanding)
        };
        least(choices, situation.random, cost)
    }
}

/// How many leading bytes two addresses share.
fn shared_bytes(one: Address, other: Address) -> usize {
    fn count<const N: usize>(one: [u8; N], other: [u8; N]) -> usize {
        one.iter().zip(other).take_while(|(one, other)| *one == other).count()
    }
    match (one.ip(), other.ip()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => count(one.octets(), other.octets()),
        (IpAddr::V6(one), IpAddr::V6(other)) => count(one.octets(), other.octets()),
        _ => 0,
    }
}

/// One of the eight, to be named in a configuration.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is a strategy's name, and said there")]
pub enum Balance {
    RoundRobin(RoundRobin),
    Uniform(Uniform),
    Weighted(Weighted),
    LeastOutstanding(LeastOutstanding),
    LowestLatency(LowestLatency),
    TwoChoices(TwoChoices),
    Closest(Closest),
    SameZone(SameZone),
}

impl Default for Balance {
    fn default() -> Self {
        Self::TwoChoices(TwoChoices)
    }
}

impl Balance {
    /// All, by name.
    pub const ALL: [(&'static str, Self); 8] = [
        ("round-robin", Self::RoundRobin(RoundRobin { next: 0 })),
        ("random", Self::Uniform(Uniform)),
        ("weighted", Self::Weighted(Weighted)),
        ("least-outstanding", Self::LeastOutstanding(LeastOutstanding)),
        ("lowest-latency", Self::LowestLatency(LowestLatency)),
        ("two-choices", Self::TwoChoices(TwoChoices)),
        ("closest", Self::Closest(Closest)),
        ("same-zone", Self::SameZone(SameZone)),
    ];

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(own, _)| *own == name).map(|(_, balance)| balance)
    }
}

impl Strategy for Balance {
    fn choose(&mut self, choices: &[Choice], situation: &mut Situation<'_>) -> Option<usize> {
        match self {
            Self::RoundRobin(strategy) => strategy.choose(choices, situation),
            Self::Uniform(strategy) => strategy.choose(choices, situation),
            Self::Weighted(strategy) => strategy.choose(choices, situation),
            Self::LeastOutstanding(strategy) => strategy.choose(choices, situation),
            Self::LowestLatency(strategy) => strategy.choose(choices, situation),
            Self::TwoChoices(strategy) => strategy.choose(choices, situation),
            Self::Closest(strategy) => strategy.choose(choices, situation),
            Self::SameZone(strategy) => strategy.choose(choices, situation),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use cloakroom_wire::NodeKey;

    use super::*;

    /// Five holders; number n has weight n + 1, n requests outstanding, and is n bytes from us.
    fn holders() -> Vec<Choice> {
        let holder = |n: u8| {
            let mut ip = [10, 1, 2, 3];
            ip.iter_mut().rev().take(n.into()).for_each(|byte| *byte = 99);
            Choice {
                contact: Contact {
                    id: NodeId([n ^ 2; 32]),
                    address: Address::v4(ip, 1),
                    key: NodeKey([n; 32]),
                },
                weight: u16::from(n) + 1,
                outstanding: n.into(),
                rtt_us: 1000 - u32::from(n),
            }
        };
        (0..5).map(holder).collect()
    }

    /// How often each of the five is chosen in 15,000 times.
    fn chosen(name: &str) -> [usize; 5] {
        let (mut balance, holders) = (Balance::named(name).unwrap(), holders());
        let mut random = Random::new(5);
        let (point, own) = (NodeId([0; 32]), Address::v4([10, 1, 2, 3], 7));
        let mut counts = [0; 5];
        for _ in 0..15_000 {
            let mut situation = Situation { point, own, tried: 0, random: &mut random };
            counts[balance.choose(&holders, &mut situation).unwrap()] += 1;
        }
        counts
    }

    fn near(got: [usize; 5], expected: [usize; 5]) {
        let off = got.iter().zip(expected).all(|(&got, expected)| got.abs_diff(expected) <= 300);
        assert!(off, "expected about {expected:?}, got {got:?}");
    }

    #[test]
    fn each_strategy_chooses_as_it_says() {
        assert_eq!(chosen("round-robin"), [3000; 5]);
        near(chosen("random"), [3000; 5]);
        near(chosen("weighted"), [1000, 2000, 3000, 4000, 5000]);
        assert_eq!(chosen("least-outstanding"), [15_000, 0, 0, 0, 0]);
        near(chosen("lowest-latency"), [188, 188, 188, 188, 14_248]);
        // Of n holders the one in place i wins against the n - 1 - i behind it.
        near(chosen("two-choices"), [6000, 4500, 3000, 1500, 0]);
        assert_eq!(chosen("closest"), [0, 0, 15_000, 0, 0]);
        assert_eq!(chosen("same-zone"), [15_000, 0, 0, 0, 0]);
    }

    #[test]
    fn round_robin_begins_with_each_holder_in_turn_and_then_tries_the_others() {
        let (mut balance, mut random) = (Balance::named("round-robin").unwrap(), Random::new(5));
        let (point, own) = (NodeId([0; 32]), Address::v4([10, 1, 2, 3], 7));
        let mut order = || {
            let (mut left, mut order) = (holders(), Vec::new());
            while !left.is_empty() {
                let tried = order.len();
                let mut situation = Situation { point, own, tried, random: &mut random };
                let at = balance.choose(&left, &mut situation).unwrap();
                order.push(left.remove(at).weight - 1);
            }
            order
        };
        assert_eq!(order(), [0, 1, 2, 3, 4]);
        assert_eq!(order(), [1, 2, 3, 4, 0]);
        assert_eq!(order(), [2, 3, 4, 0, 1]);
        assert_eq!(order(), [3, 4, 0, 1, 2]);
        assert_eq!(order(), [4, 0, 1, 2, 3]);
        assert_eq!(order(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn nobody_is_chosen_of_none_and_the_only_one_always() {
        let mut random = Random::new(5);
        for (name, mut balance) in Balance::ALL {
            let (point, own) = (NodeId([0; 32]), Address::v4([10, 1, 2, 3], 7));
            let mut situation = Situation { point, own, tried: 0, random: &mut random };
            assert_eq!(balance.choose(&[], &mut situation), None, "{name}");
            assert_eq!(balance.choose(&holders()[..1], &mut situation), Some(0), "{name}");
        }
    }

    #[test]
    fn equals_are_chosen_as_often() {
        let mut equal = holders();
        for holder in &mut equal {
            (holder.outstanding, holder.rtt_us) = (3, 500);
        }
        let mut random = Random::new(5);
        let (point, own) = (NodeId([0; 32]), Address::v4([10, 1, 2, 3], 7));
        let mut counts = [0; 5];
        for _ in 0..15_000 {
            let mut situation = Situation { point, own, tried: 0, random: &mut random };
            counts[LeastOutstanding.choose(&equal, &mut situation).unwrap()] += 1;
        }
        near(counts, [3000; 5]);
    }
}
