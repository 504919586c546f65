//! Which fault comes when: two lanes, of processes and of the network, so that faults overlap.
//!
//! Invariants: a seed, the number of nodes and the faults that are wanted decide all steps; each wanted
//! fault comes once before any comes again.
//!
//! What it does not do: repeat a run exactly. When a fault hits what, is up to the machine.

use clap::ValueEnum;

use crate::random::Random;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// `kill -9` of a node, and a start with what its disk has.
    Kill,
    /// `kill -9` of all nodes.
    Power,
    /// SIGSTOP of some nodes, and SIGCONT.
    Pause,
    /// SIGTERM of one node after the other, each started again.
    Restart,
    /// The clock on a node's wall jumps.
    Clock,
    /// A node's disk has no room.
    Disk,
    /// A node joins, drains and leaves.
    Members,
    /// A node's certificate expires.
    Expiry,
    /// A node joins, and its certificate is revoked.
    Revocation,
    /// Some nodes do not hear some others; also one way only.
    Partition,
    /// Packets are lost.
    Loss,
    /// Some links are slow.
    Slow,
}

impl Kind {
    /// Whether it is the network's.
    pub(crate) fn is_network(self) -> bool {
        matches!(self, Self::Partition | Self::Loss | Self::Slow)
    }
}

/// A fault, with all that is drawn of it. Nodes by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill {
        nodes: Vec<usize>,
        ms: u64,
    },
    Pause {
        nodes: Vec<usize>,
        ms: u64,
    },
    Restart,
    Clock {
        seconds: i64,
        ms: u64,
    },
    Disk {
        ms: u64,
    },
    Members,
    Expiry {
        node: usize,
    },
    Revocation,
    /// From, to; and how many in a hundred packets are lost.
    Loss {
        links: Vec<(usize, usize)>,
        percent: u8,
        ms: u64,
    },
    Slow {
        links: Vec<(usize, usize)>,
        ms: u64,
    },
}

/// Some time, and then a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) after_ms: u64,
    pub(crate) fault: Fault,
}

/// The steps of one lane, without an end.
#[derive(Debug)]
pub(crate) struct Lane {
    random: Random,
    nodes: usize,
    kinds: Vec<Kind>,
    deck: Vec<Kind>,
}

impl Lane {
    /// The lane of these kinds.
    pub(crate) fn new(seed: u64, nodes: usize, kinds: &[Kind], is_network: bool) -> Self {
        let kinds: Vec<Kind> =
            kinds.iter().copied().filter(|kind| kind.is_network() == is_network).collect();
        Self { random: Random::new(seed, u64::from(is_network)), nodes, kinds, deck: Vec::new() }
    }

    fn fault(&mut self, kind: Kind) -> Fault {
        let Self { random, nodes, .. } = self;
        let nodes = *nodes;
        match kind {
            Kind::Kill => {
                Fault::Kill { nodes: vec![random.index(nodes)], ms: random.between(200, 6000) }
            }
            Kind::Power => {
                Fault::Kill { nodes: (0..nodes).collect(), ms: random.between(200, 2000) }
            }
            Kind::Pause => {
                Fault::Pause { nodes: some(random, nodes), ms: random.between(500, 9000) }
            }
            Kind::Restart => Fault::Restart,
            Kind::Clock => {
                let days = i64::try_from(random.between(0, 60)).unwrap_or(0) - 30;
                Fault::Clock { seconds: days * 86_400 + 1234, ms: random.between(3000, 8000) }
            }
            Kind::Disk => Fault::Disk { ms: random.between(3000, 9000) },
            Kind::Members => Fault::Members,
            Kind::Expiry => Fault::Expiry { node: random.index(nodes) },
            Kind::Revocation => Fault::Revocation,
            Kind::Partition => Fault::Loss {
                links: cut(random, nodes),
                percent: 100,
                ms: random.between(2000, 12_000),
            },
            Kind::Loss => {
                let percent = u8::try_from(random.between(5, 60)).unwrap_or(50);
                Fault::Loss {
                    links: links(nodes, |_, _| true),
                    percent,
                    ms: random.between(2000, 10_000),
                }
            }
            Kind::Slow => {
                let slow = some(random, nodes);
                let links = links(nodes, |from, to| slow.contains(&from) || slow.contains(&to));
                Fault::Slow { links, ms: random.between(3000, 10_000) }
            }
        }
    }
}

impl Iterator for Lane {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.deck.is_empty() {
            let mut left = self.kinds.clone();
            while !left.is_empty() {
                self.deck.push(left.swap_remove(self.random.index(left.len())));
            }
        }
        let kind = self.deck.pop()?;
        let after_ms = self.random.between(500, 4000);
        Some(Step { after_ms, fault: self.fault(kind) })
    }
}

/// One node or more, in order.
fn some(random: &mut Random, nodes: usize) -> Vec<usize> {
    let mask = random.between(1, (1 << nodes) - 1);
    (0..nodes).filter(|node| mask >> node & 1 == 1).collect()
}

fn links(nodes: usize, is: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let all = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
    all.filter(|&(from, to)| from != to && is(from, to)).collect()
}

/// The links of a partition of some shape.
fn cut(random: &mut Random, nodes: usize) -> Vec<(usize, usize)> {
    let side = some(random, nodes);
    let lone = random.index(nodes);
    let is_across = |from: usize, to: usize| side.contains(&from) != side.contains(&to);
    match random.below(5) {
        0 => links(nodes, |from, to| from == lone || to == lone),
        1 => links(nodes, |from, _| from == lone),
        2 => links(nodes, |_, to| to == lone),
        3 => links(nodes, is_across),
        // Each hears only its neighbours in a ring; with three nodes: one way round.
        _ => links(nodes, |from, to| {
            let step = (to + nodes - from) % nodes;
            step != 1 && (nodes == 3 || step != nodes - 1)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, is_network: bool) -> Vec<Step> {
        Lane::new(seed, 5, Kind::value_variants(), is_network).take(60).collect()
    }

    #[test]
    fn a_seed_decides_all_steps_and_every_kind_comes_before_any_comes_again() {
        assert_eq!(steps(1, false), steps(1, false));
        assert_ne!(steps(1, false), steps(2, false));
        let mut lane = Lane::new(3, 5, Kind::value_variants(), false);
        let kinds = lane.kinds.len();
        for _ in 0..kinds {
            assert!(lane.next().is_some());
        }
        assert!(lane.deck.is_empty() && kinds == 9);
        assert_eq!(Lane::new(1, 5, &[], true).next(), None);
    }

    #[test]
    fn a_partition_cuts_some_link_and_never_all_and_also_one_way() {
        let mut random = Random::new(1, 2);
        let (mut one_way, mut both) = (0, 0);
        for _ in 0..500 {
            let links = cut(&mut random, 5);
            assert!(links.len() < 20, "{links:?}");
            let is_one_way = links.iter().any(|&(from, to)| !links.contains(&(to, from)));
            if is_one_way { one_way += 1 } else { both += usize::from(!links.is_empty()) }
        }
        assert!(one_way > 100 && both > 100, "{one_way} {both}");
    }
}
