//! Who is up, by id: the truth that lookups are measured against.
//!
//! Invariants (SIM-3):
//! * sorted by id, so that the nodes that share a prefix are one range and the closest to a point
//!   are found from the point outwards;
//! * ids differ in their first 128 bits, which are all that is kept.

use cloakroom_wire::NodeId;

use crate::engine::Node;
use crate::random::Random;

/// Nodes by id.
#[derive(Clone, Debug, Default)]
pub struct Census {
    sorted: Vec<(u128, Node)>,
}

fn prefix(id: NodeId) -> u128 {
    u128::from_be_bytes(*id.0.first_chunk().expect("an id has 32 bytes"))
}

impl Census {
    /// Of all these.
    pub fn of(nodes: impl IntoIterator<Item = (NodeId, Node)>) -> Self {
        let mut sorted: Vec<_> = nodes.into_iter().map(|(id, node)| (prefix(id), node)).collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// Somebody has come.
    pub fn add(&mut self, id: NodeId, node: Node) {
        let entry = (prefix(id), node);
        let at = self.sorted.partition_point(|other| *other < entry);
        self.sorted.insert(at, entry);
    }

    /// Somebody has gone.
    pub fn remove(&mut self, id: NodeId, node: Node) {
        if let Ok(at) = self.sorted.binary_search(&(prefix(id), node)) {
            self.sorted.remove(at);
        }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is nobody.
    pub const fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Any of them.
    pub fn any(&self, random: &mut Random) -> Option<Node> {
        self.sorted.get(random.index(self.sorted.len())).map(|&(_, node)| node)
    }

    /// The `count` closest to a point, the closest first, of those that `counts`.
    pub fn closest(
        &self,
        point: NodeId,
        count: usize,
        mut counts: impl FnMut(Node) -> bool,
    ) -> Vec<Node> {
        let mut found = Vec::with_capacity(count);
        // Ranges still to look at, the nearest on top: each shares more bits with the point than
        // all below it.
        let mut ranges = vec![(0, self.sorted.len(), 0)];
        let point = prefix(point);
        while let Some((from, to, bit)) = ranges.pop() {
            if found.len() >= count {
                break;
            }
            if to - from <= 1 || bit >= 128 {
                let nodes = self.sorted[from..to].iter().map(|&(_, node)| node);
                found.extend(nodes.filter(|&node| counts(node)));
                continue;
            }
            let zeros = |entry: &(u128, Node)| entry.0 << bit >> 127 == 0;
            let middle = from + self.sorted[from..to].partition_point(zeros);
            let (zero, one) = ((from, middle, bit + 1), (middle, to, bit + 1));
            let (near, far) = if point << bit >> 127 == 0 { (zero, one) } else { (one, zero) };
            for range in [far, near] {
                if range.0 < range.1 {
                    ranges.push(range);
                }
            }
        }
        found.truncate(count);
        found
    }

    /// Whom a table would know after running for long: of those that share exactly so many bits
    /// with us, up to `k` at random, and all of our own neighbourhood of at most `k`.
    pub fn table(&self, own: NodeId, k: usize, random: &mut Random, mut take: impl FnMut(Node)) {
        let own = prefix(own);
        let (mut from, mut to) = (0, self.sorted.len());
        for bit in 0..128 {
            if to - from <= k + 1 {
                break;
            }
            let zeros = |entry: &(u128, Node)| entry.0 << bit >> 127 == 0;
            let middle = from + self.sorted[from..to].partition_point(zeros);
            let (mine, others) = if own << bit >> 127 == 0 {
                ((from, middle), (middle, to))
            } else {
                ((middle, to), (from, middle))
            };
            (from, to) = mine;
            let span = others.1 - others.0;
            if span <= k {
                for &(_, node) in &self.sorted[others.0..others.1] {
                    take(node);
                }
                continue;
            }
            // Different ones (Floyd): few of many, without a list of all.
            let mut chosen: Vec<usize> = Vec::with_capacity(k);
            for most in span - k..span {
                let drawn = random.index(most + 1);
                chosen.push(if chosen.contains(&drawn) { most } else { drawn });
            }
            for at in chosen {
                take(self.sorted[others.0 + at].1);
            }
        }
        let mine = self.sorted[from..to].iter();
        for &(_, node) in mine.filter(|entry| entry.0 != own) {
            take(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: u32) -> Vec<(NodeId, Node)> {
        let mut random = Random::new(9);
        (0..count).map(|number| (NodeId(random.bytes()), Node(number))).collect()
    }

    #[test]
    fn the_closest_are_those_that_sorting_by_distance_finds() {
        let mut random = Random::new(5);
        let nodes = ids(500);
        let mut census = Census::of(nodes.iter().copied().take(400));
        for &(id, node) in &nodes[400..] {
            census.add(id, node);
        }
        for &(id, node) in &nodes[..50] {
            census.remove(id, node);
        }
        assert_eq!((census.len(), census.is_empty()), (450, false));
        for count in [1, 5, 20, 1000] {
            let point = NodeId(random.bytes());
            let mut naive: Vec<_> = nodes[50..].to_vec();
            naive.sort_by_key(|(id, _)| id.distance(point));
            let odd = |node: Node| node.0 % 2 == 1;
            let expected: Vec<_> =
                naive.iter().map(|&(_, node)| node).filter(|&node| odd(node)).take(count).collect();
            assert_eq!(census.closest(point, count, odd), expected);
        }
    }

    #[test]
    fn a_filled_table_has_k_of_each_distance_and_all_neighbours() {
        let nodes = ids(2000);
        let census = Census::of(nodes.iter().copied());
        let (own, own_node) = nodes[7];
        let mut table = Vec::new();
        census.table(own, 20, &mut Random::new(1), |node| table.push(node));
        let shared = |node: &Node| nodes[node.index()].0.distance(own).shared_bits();
        assert!(!table.contains(&own_node));
        let mut distinct = table.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), table.len());
        for bits in 0..6 {
            assert_eq!(table.iter().filter(|node| shared(node) == bits).count(), 20, "{bits}");
        }
        for neighbour in census.closest(own, 6, |node| node != own_node) {
            assert!(table.contains(&neighbour));
        }
    }
}
