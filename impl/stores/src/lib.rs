//! The atomic map of a pool: [`Memory`], the plain reference.

use std::collections::BTreeMap;

use cloakroom_pool::{AtomicMap, Cas, MapError};
use parking_lot::Mutex;

/// A mutex around an ordered map: the reference that other stores are compared with.
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
