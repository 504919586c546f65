//! The plain reference map: a mutex around an ordered map. For tests, and as the oracle that
//! other stores are compared with.
//!
//! Invariants:
//! * an operation holds the one lock from its first read to its last write, so operations are
//!   atomic on every key, and even across keys (callers must not lean on the latter);
//! * an answer is always definite: this map never says `Unknown` or `Unavailable`.
//!
//! What it does not do: outlive its process. It meets the pool's assumption of an atomic map
//! (POOL-1 to POOL-7 rest on it) as long as the process lives.

use std::collections::BTreeMap;

use cloakroom_pool::{AtomicMap, Cas, MapError};
use parking_lot::Mutex;

/// A mutex around an ordered map: the reference that other stores are compared with.
///
/// Keys and values are any bytes of any length that memory holds.
#[derive(Debug, Default)]
pub struct Memory {
    map: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl AtomicMap for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        Ok(self.map.lock().get(key).cloned())
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        let mut map = self.map.lock();
        let current = map.get(key);
        if current.map(Vec::as_slice) != expected {
            return Ok(Cas::Mismatch(current.cloned()));
        }
        match new {
            Some(value) => map.insert(key.to_vec(), value.to_vec()),
            None => map.remove(key),
        };
        Ok(Cas::Set)
    }
}
