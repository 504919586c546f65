//! The first eight bytes of an id or a distance: nearly always enough to tell two apart.
//!
//! Invariants: comparing heads and then, where they are equal, the whole is comparing the whole.
//!
//! What it does not do: replace the whole. Ids with equal heads can be made.

use cloakroom_wire::NodeId;

/// The first eight bytes as a number.
pub(crate) fn head(id: NodeId) -> u64 {
    u64::from_be_bytes(*id.0.first_chunk().expect("32 bytes have eight"))
}

/// The first four bytes as a number.
pub(crate) fn short_head(id: NodeId) -> u32 {
    u32::from_be_bytes(*id.0.first_chunk().expect("32 bytes have four"))
}

/// Whether two ids are the same, told word by word and without a call to compare memory.
pub(crate) fn same(one: NodeId, other: NodeId) -> bool {
    let (one, other) = (one.0.as_chunks::<8>().0, other.0.as_chunks::<8>().0);
    let apart = |at: usize| u64::from_ne_bytes(one[at]) ^ u64::from_ne_bytes(other[at]);
    apart(0) == 0 && apart(1) | apart(2) | apart(3) == 0
}

/// How far two ids are apart, as far as heads tell.
pub(crate) fn head_distance(one: NodeId, other: NodeId) -> u64 {
    head(one) ^ head(other)
}
