//! A map that answers badly on request.
//!
//! Invariants:
//! * an operation without a fault is atomic and exact;
//! * an operation that is still on its way ([`Fault::Later`]) lands at most once, by
//!   [`Map::land`]; whoever lands it learns whose it was.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use cloakroom_pool::{AtomicMap, Cas, MapError};

/// What becomes of a map operation. The first three are the meanings of an unknown outcome; they
/// wait for the caller's next compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Unknown: it never happens.
    Never,
    /// Unknown: it has happened.
    Applied,
    /// Unknown: it happens once, at some later moment.
    Later,
    /// The map says that it did not and will not happen.
    Unavailable,
}

/// A compare-and-set that is still on its way.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    /// The number of the call that sent it.
    pub(crate) by: usize,
    key: Vec<u8>,
    expected: Option<Vec<u8>>,
    new: Vec<u8>,
}

/// The map. Cloned to see what a call would do if it ran alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map {
    values: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    late: RefCell<Vec<Late>>,
    asking: Cell<(usize, Option<Fault>)>,
}

impl Map {
    /// The next operation is one of call `by`, and meets this fault.
    pub(crate) fn prepare(&self, by: usize, fault: Option<Fault>) {
        self.asking.set((by, fault));
    }

    /// The value of a key.
    pub(crate) fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.values.borrow().get(key).cloned()
    }

    /// How many operations are on their way.
    pub(crate) fn on_their_way(&self) -> usize {
        self.late.borrow().len()
    }

    /// The operation number `at` of those on their way happens now, or is lost.
    pub(crate) fn land(&self, at: usize, lost: bool) -> Late {
        let late = self.late.borrow_mut().remove(at);
        if !lost {
            self.apply(&late.key, late.expected.as_deref(), &late.new);
        }
        late
    }

    fn apply(&self, key: &[u8], expected: Option<&[u8]>, new: &[u8]) -> Cas {
        let mut values = self.values.borrow_mut();
        let current = values.get(key);
        if current.map(Vec::as_slice) != expected {
            return Cas::Mismatch(current.cloned());
        }
        values.insert(key.to_vec(), new.to_vec());
        Cas::Set
    }
}

impl AtomicMap for Map {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        match self.asking.get() {
            (_, Some(Fault::Unavailable)) => Err(MapError::Unavailable { cause: String::new() }),
            _ => Ok(self.value(key)),
        }
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        let new = new.expect("POOL-1: the pool never removes a key");
        let (by, fault) = self.asking.get();
        match fault {
            None => return Ok(self.apply(key, expected, new)),
            Some(Fault::Unavailable) => {
                return Err(MapError::Unavailable { cause: String::new() });
            }
            Some(Fault::Never) => {}
            Some(Fault::Applied) => {
                self.apply(key, expected, new);
            }
            Some(Fault::Later) => self.late.borrow_mut().push(Late {
                by,
                key: key.to_vec(),
                expected: expected.map(<[u8]>::to_vec),
                new: new.to_vec(),
            }),
        }
        Err(MapError::Unknown { cause: String::new() })
    }
}
