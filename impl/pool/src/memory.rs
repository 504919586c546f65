//! What a host remembers of a pool, for [`Request::Recall`].
//!
//! Invariants:
//! * each value stood at its place at some moment before;
//! * of one place the newest that was met, by its version;
//! * at most so many places as were allowed; the one that was not asked for or met for the longest
//!   time is forgotten first.
//!
//! Nothing rests on it but speed. A host that has several callers may keep one for all of them, or
//! none. Absence is not remembered.

use alloc::collections::BTreeMap;
use core::num::NonZeroUsize;

use crate::machine::{Request, Response};
use crate::tree::Place;
use crate::value::Value;

/// The values of one pool that a host has met last; see the file's head.
#[derive(Clone, Debug)]
pub struct Memory {
    most: NonZeroUsize,
    clock: u64,
    /// When it was last used, and the value.
    values: BTreeMap<Place, (u64, Value)>,
    /// The same places, by when they were last used.
    used: BTreeMap<u64, Place>,
}

impl Memory {
    /// Of at most so many places.
    pub const fn new(most: NonZeroUsize) -> Self {
        Self { most, clock: 0, values: BTreeMap::new(), used: BTreeMap::new() }
    }

    /// The answer to a [`Request::Recall`] whose place is remembered. `None` to anything else: ask
    /// the map.
    pub fn answer(&mut self, request: &Request) -> Option<Response> {
        let Request::Recall(place) = request else { return None };
        let value = self.values.get(place)?.1.clone();
        self.touch(*place);
        Some(Response::Recalled(value))
    }

    /// Takes note of what the map has answered.
    pub fn note(&mut self, request: &Request, response: &Response) {
        let (place, value) = match (request, response) {
            (Request::Get(place) | Request::Recall(place), Response::Value(Some(value)))
            | (Request::CompareAndSet { place, .. }, Response::Mismatch(Some(value))) => {
                (*place, value)
            }
            (Request::CompareAndSet { place, new, .. }, Response::Set) => (*place, new),
            _ => return,
        };
        match self.values.get_mut(&place) {
            Some((_, known)) if known.version() < value.version() => *known = value.clone(),
            Some(_) => {}
            // The clock never showed 0.
            None => _ = self.values.insert(place, (0, value.clone())),
        }
        self.touch(place);
        if self.values.len() > self.most.get()
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.values.remove(&oldest);
        }
    }

    /// How many places are remembered.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn touch(&mut self, place: Place) {
        self.clock += 1;
        if let Some((used, _)) = self.values.get_mut(&place) {
            self.used.remove(used);
            *used = self.clock;
            self.used.insert(self.clock, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Id;
    use crate::tree::{PoolId, Shape, Tree};
    use crate::value::Node;

    fn place(index: u64) -> Place {
        let tree = Tree::new(PoolId(1), 64, Shape::new(2, 1).unwrap()).unwrap();
        tree.above(Id(2 * index), 1)
    }

    fn node(version: u64) -> Value {
        Value::Node(Node { version, counts: [0, 0].into_iter().collect() })
    }

    fn memory(most: usize) -> Memory {
        Memory::new(NonZeroUsize::new(most).unwrap())
    }

    fn recalled(memory: &mut Memory, index: u64) -> Option<u64> {
        match memory.answer(&Request::Recall(place(index)))? {
            Response::Recalled(value) => Some(value.version()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_read_met_or_written_is_recalled_and_the_newest_wins() {
        let mut memory = memory(8);
        let at = place(0);
        let write = |new| Request::CompareAndSet { place: at, expected: None, new };
        assert_eq!(recalled(&mut memory, 0), None);
        memory.note(&Request::Get(at), &Response::Value(None));
        memory.note(&write(node(9)), &Response::Unknown);
        memory.note(&write(node(9)), &Response::Mismatch(None));
        assert!(memory.is_empty());
        memory.note(&Request::Recall(at), &Response::Value(Some(node(1))));
        assert_eq!(recalled(&mut memory, 0), Some(1));
        memory.note(&write(node(9)), &Response::Mismatch(Some(node(3))));
        assert_eq!(recalled(&mut memory, 0), Some(3));
        memory.note(&write(node(4)), &Response::Set);
        memory.note(&Request::Get(at), &Response::Value(Some(node(2))));
        assert_eq!(recalled(&mut memory, 0), Some(4));
        assert_eq!(memory.answer(&Request::Get(at)), None, "a get is for the map");
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_is_forgotten() {
        let mut memory = memory(2);
        let meet = |memory: &mut Memory, index, version| {
            memory.note(&Request::Get(place(index)), &Response::Value(Some(node(version))));
        };
        meet(&mut memory, 0, 1);
        meet(&mut memory, 1, 1);
        assert_eq!(recalled(&mut memory, 0), Some(1));
        meet(&mut memory, 2, 1);
        assert_eq!(memory.len(), 2);
        assert_eq!([0, 1, 2].map(|index| recalled(&mut memory, index)), [Some(1), None, Some(1)]);
        // An older value of a known place is no news, but it is a use.
        meet(&mut memory, 0, 1);
        meet(&mut memory, 3, 7);
        assert_eq!([0, 2, 3].map(|index| recalled(&mut memory, index)), [Some(1), None, Some(7)]);
    }
}
