//! Points of the key space: nodes and records, and how far apart they are.
//!
//! Invariants:
//! * nodes and records share one space of 256 bits, and never one type: what is closest to a record
//!   is asked for by [`RecordKey::point`];
//! * [`Distance`] is XOR read as a number: symmetric, zero only to itself, and for each point and
//!   distance there is exactly one other point.
//!
//! What it does not do: hash. An id is given by whoever knows the key.

use core::cmp::Ordering;
use core::fmt;

/// Bytes of an id, a key or a distance.
pub(crate) const POINT_BYTES: usize = 32;

/// A node: the hash (SHA-256) of its public key in the form that certificates have it
/// (`SubjectPublicKeyInfo`, DER). Displayed short (`n1f3a09c2`), in full with `{:#}`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; POINT_BYTES]);

/// A record's place: the hash of its name. Displayed short (`k1f3a09c2`), in full with `{:#}`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(pub [u8; POINT_BYTES]);

/// A node's public key: 32 bytes of Ed25519. Displayed short (`p1f3a09c2`), in full with `{:#}`.
///
/// A contact has id *and* key: the key lets its reader check the id before the first packet, and
/// later check what the node has signed without asking it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub [u8; POINT_BYTES]);

/// How far apart two points are: their XOR as a number, greatest byte first. Displayed by the
/// number of leading zero bits it has (`d256` is no distance at all).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Distance([u8; POINT_BYTES]);

impl NodeId {
    /// How far this node is from another, or from [`RecordKey::point`].
    #[inline]
    pub fn distance(self, other: Self) -> Distance {
        let mut distance = self.0;
        for (byte, other) in distance.iter_mut().zip(other.0) {
            *byte ^= other;
        }
        Distance(distance)
    }

    /// The bit at `index`, 0 being the greatest; `None` from 256 on.
    pub fn bit(self, index: u16) -> Option<bool> {
        let byte = self.0.get(usize::from(index / 8))?;
        Some(byte >> (7 - index % 8) & 1 == 1)
    }
}

impl RecordKey {
    /// The id of an imagined node in the record's place: its holders are the nodes closest to it.
    pub const fn point(self) -> NodeId {
        NodeId(self.0)
    }
}

/// Lookups sort by distance: nearly always the first eight bytes decide, in one register.
impl Ord for Distance {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        let (words, others) = (self.0.as_chunks::<8>().0, other.0.as_chunks::<8>().0);
        let head = |words: &[[u8; 8]]| u64::from_be_bytes(words[0]);
        match head(words).cmp(&head(others)) {
            Ordering::Equal => self.0.cmp(&other.0),
            unequal => unequal,
        }
    }
}

impl PartialOrd for Distance {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Distance {
    /// The number in two parts, the greater first.
    #[inline]
    const fn halves(&self) -> (u128, u128) {
        let (halves, _) = self.0.as_chunks();
        (u128::from_be_bytes(halves[0]), u128::from_be_bytes(halves[1]))
    }

    /// From a point to itself.
    pub const ZERO: Self = Self([0; POINT_BYTES]);
    /// From a point to its complement.
    pub const MAX: Self = Self([0xff; POINT_BYTES]);

    /// How many leading bits two points share: 0 to 256.
    #[inline]
    pub fn shared_bits(self) -> u16 {
        let (high, low) = self.halves();
        let bits = if high == 0 { 128 + low.leading_zeros() } else { high.leading_zeros() };
        // At most 256.
        u16::try_from(bits).unwrap_or(256)
    }

    /// The number, greatest byte first.
    pub const fn to_bytes(self) -> [u8; POINT_BYTES] {
        self.0
    }
}

/// Four bytes say which one is meant to a reader of a log; `{:#}` shows all.
fn show(f: &mut fmt::Formatter<'_>, prefix: char, bytes: &[u8; POINT_BYTES]) -> fmt::Result {
    let shown = if f.alternate() { POINT_BYTES } else { 4 };
    write!(f, "{prefix}")?;
    bytes.iter().take(shown).try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, 'n', &self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, 'n', &self.0)
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, 'k', &self.0)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, 'k', &self.0)
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, 'p', &self.0)
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, 'p', &self.0)
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.shared_bits())
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, 'd', &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    fn number(bits: &[usize]) -> [u8; POINT_BYTES] {
        let mut bytes = [0; POINT_BYTES];
        for bit in bits {
            bytes[bit / 8] |= 0x80 >> (bit % 8);
        }
        bytes
    }

    proptest! {
        #[test]
        fn distance_is_a_metric_with_one_point_at_each_distance(
            a in any::<[u8; 32]>(), b in any::<[u8; 32]>(), c in any::<[u8; 32]>(),
        ) {
            let (a, b, c) = (NodeId(a), NodeId(b), NodeId(c));
            prop_assert_eq!(a.distance(b), b.distance(a));
            prop_assert_eq!(a.distance(b) == Distance::ZERO, a == b);
            prop_assert_eq!(NodeId(a.distance(b).to_bytes()).distance(a), RecordKey(b.0).point().distance(NodeId([0; 32])));
            // Of a, b and c, the two that are not closest to each other differ first at one bit.
            let mut shared = [a.distance(b), b.distance(c), a.distance(c)].map(Distance::shared_bits);
            shared.sort_unstable();
            prop_assert_eq!(shared[0], shared[1]);
        }
    }

    #[test]
    fn bits_count_from_the_greatest() {
        let id = NodeId(number(&[0, 9, 255]));
        let bits: alloc::vec::Vec<u16> = (0..256).filter(|&bit| id.bit(bit).unwrap()).collect();
        assert_eq!(bits, [0, 9, 255]);
        assert_eq!(id.bit(256), None);
        let shared = |bits| NodeId([0; 32]).distance(NodeId(number(bits))).shared_bits();
        assert_eq!((shared(&[]), shared(&[255]), shared(&[9, 20]), shared(&[0])), (256, 255, 9, 0));
    }

    #[test]
    fn points_are_shown_short_and_in_full() {
        let id = NodeId(number(&[3, 4, 5, 6, 7]));
        assert_eq!(format!("{id}"), "n1f000000");
        assert_eq!(format!("{id:#}"), format!("n1f{}", "0".repeat(62)));
        assert_eq!(format!("{} {}", RecordKey(id.0), NodeKey(id.0)), "k1f000000 p1f000000");
        assert_eq!(format!("{}", id.distance(NodeId([0; 32]))), "d3");
    }
}
