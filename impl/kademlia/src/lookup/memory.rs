//! What a lookup has on the heap.
//!
//! Invariants: it follows from the bounds of a lookup, whatever is answered.
//!
//! What it does not do: count what an allocator takes beside.

use alloc::vec::Vec;

use cloakroom_wire::Contact;

use super::{Candidate, Lookup};

impl Lookup {
    /// Bytes of memory beside the lookup itself.
    pub fn bytes(&self) -> usize {
        let Self { candidates, contacts, known, places, .. } = self;
        room::<Candidate>(candidates) + room::<Contact>(contacts) + room(known) + places.len()
    }
}

fn room<T>(vector: &Vec<T>) -> usize {
    vector.capacity() * size_of::<T>()
}
