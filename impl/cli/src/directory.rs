//! The pools of a data file: each name with what its pool is.
//!
//! A definition stands under the key `pool/NAME`, put there once and never changed until it is removed with
//! all that its pool has; the number of the last pool drawn stands under `pools`. Both are plain keys of the same atomic map
//! as the pools' own.
//!
//! Invariants:
//! * two creations of one name at the same time make one pool: the definition is put if absent;
//! * no two pools share a [`PoolId`], whoever dies: a number is drawn by raising the counter before
//!   it is used. One that is drawn and not used is lost, which is harmless;
//! * no key here is a key of a pool: those have 16 bytes and begin with the pool's number, which
//!   would have to be above 2^62 to begin with `pool`.
//!
//! What it does not do: resize a pool.

use cloakroom_pool::{AtomicMap, Cas, MapError, Policy, PoolId, Shape, ShapeError, Tree};
use cloakroom_stores::{Change, Durable};
use thiserror::Error;

use crate::error::Error;

/// What all keys of definitions begin with.
pub(crate) const PREFIX: &[u8] = b"pool/";
const COUNTER: &[u8] = b"pools";
const MAX_NAME: usize = 64;
/// The first byte of a definition and of the counter.
const FORMAT: u8 = 1;

/// The name of a pool: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

/// A text that is no name: the user's fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "pool name: expected 1 to {MAX_NAME} letters, digits, '.', '_' and '-', beginning with a \
     letter or digit, got {got:?}"
)]
pub struct NameError {
    /// What came.
    got: String,
}

impl Name {
    /// Checks a name.
    pub(crate) fn new(name: &str) -> Result<Self, NameError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && name.len() <= MAX_NAME && name.bytes().all(letter) {
            return Ok(Self(name.to_owned()));
        }
        Err(NameError { got: name.to_owned() })
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn key(&self) -> Vec<u8> {
        [PREFIX, self.0.as_bytes()].concat()
    }
}

/// What a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) tree: Tree,
    pub(crate) policy: Policy,
}

/// Bytes that are no definition: the file's fault, or a newer program has written them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// Too short or too long.
    #[error("definition: expected {expected} bytes, got {got}")]
    Length {
        /// How many it has.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// Another format.
    #[error("definition: expected format {FORMAT}, got {got}")]
    Format {
        /// What stands there.
        got: u8,
    },
    /// No policy.
    #[error("definition: expected policy 0 or 1, got {got}")]
    Policy {
        /// What stands there.
        got: u8,
    },
    /// No tree.
    #[error("definition: {0}")]
    Shape(ShapeError),
    /// A key that names no pool.
    #[error("definition: its key is no name")]
    Name,
}

impl Definition {
    const BYTES: usize = 22;

    /// Format (1), pool (8), size (8), fanout (2), block (2), policy (1); big-endian.
    fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [FORMAT; Self::BYTES];
        bytes[1..9].copy_from_slice(&self.tree.pool().0.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.tree.size().to_be_bytes());
        bytes[17..19].copy_from_slice(&self.tree.shape().fanout().to_be_bytes());
        bytes[19..21].copy_from_slice(&self.tree.shape().block().to_be_bytes());
        bytes[21] = match self.policy {
            Policy::LowestFirst => 0,
            Policy::Spread => 1,
        };
        bytes
    }

    /// Undoes `encode`; accepts nothing else.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DefinitionError> {
        let length = DefinitionError::Length { expected: Self::BYTES, got: bytes.len() };
        let bytes: &[u8; Self::BYTES] = bytes.try_into().map_err(|_| length)?;
        if bytes[0] != FORMAT {
            return Err(DefinitionError::Format { got: bytes[0] });
        }
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        let narrow = |from| u16::from_be_bytes([bytes[from], bytes[from + 1]]);
        let policy = match bytes[21] {
            0 => Policy::LowestFirst,
            1 => Policy::Spread,
            got => return Err(DefinitionError::Policy { got }),
        };
        let shape = Shape::new(narrow(17), narrow(19)).map_err(DefinitionError::Shape)?;
        let tree = Tree::new(PoolId(number(1, 9)), number(9, 17), shape);
        Ok(Self { tree: tree.map_err(DefinitionError::Shape)?, policy })
    }
}

/// Creates a pool. Four map operations when alone.
///
/// # Errors
/// [`Error::PoolExists`]; [`Error::Shape`]; the map's. Of an unknown outcome `pool list` tells more.
pub(crate) fn create(
    map: &impl AtomicMap,
    name: &Name,
    size: u64,
    shape: Shape,
    policy: Policy,
) -> Result<Definition, Error> {
    let exists = || Error::PoolExists { name: name.0.clone() };
    // Wrong numbers are refused, and a taken name is seen, before anything is written.
    Tree::new(PoolId(0), size, shape)?;
    if map.get(&name.key())?.is_some() {
        return Err(exists());
    }
    let definition = Definition { tree: Tree::new(draw(map)?, size, shape)?, policy };
    match map.compare_and_set(&name.key(), None, Some(&definition.encode()))? {
        Cas::Set => Ok(definition),
        Cas::Mismatch(_) => Err(exists()),
    }
}

/// Deletes a pool of which no id is held, and all its keys, in one commit. Its number is never drawn again.
///
/// # Errors
/// The map's.
pub(crate) fn remove(map: &Durable, name: &Name, pool: PoolId) -> Result<(), MapError> {
    let keys = pool.0.to_be_bytes().to_vec();
    map.write(&[Change::Remove(name.key()), Change::RemoveAll(keys)])
}

/// Draws a number that no pool has or will have.
fn draw(map: &impl AtomicMap) -> Result<PoolId, MapError> {
    let mut current = map.get(COUNTER)?;
    loop {
        let last = match current.as_deref() {
            None => 0,
            Some([FORMAT, number @ ..]) if number.len() == 8 => {
                number.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
            }
            Some(other) => {
                let cause = format!("the counter of pools is damaged: {} bytes", other.len());
                return Err(MapError::Unavailable { cause });
            }
        };
        let next = last + 1;
        let mut new = vec![FORMAT];
        new.extend(next.to_be_bytes());
        match map.compare_and_set(COUNTER, current.as_deref(), Some(&new))? {
            Cas::Set => return Ok(PoolId(next)),
            Cas::Mismatch(other) => current = other,
        }
    }
}

/// What the pool of this name is; `None` when there is none. One map operation.
pub(crate) fn look_up(map: &impl AtomicMap, name: &Name) -> Result<Option<Definition>, Error> {
    let decode = |bytes: Vec<u8>| Definition::decode(&bytes);
    let definition = map.get(&name.key())?.map(decode).transpose();
    definition.map_err(|cause| Error::Definition { name: name.0.clone(), cause })
}

/// The definitions among the entries of a scan for [`PREFIX`], in the order of their names.
pub(crate) fn listed(
    entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
) -> Result<Vec<(Name, Definition)>, Error> {
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        let text = String::from_utf8_lossy(&key[PREFIX.len()..]);
        let fault = |cause| Error::Definition { name: text.clone().into_owned(), cause };
        let name = Name::new(&text).map_err(|_| fault(DefinitionError::Name))?;
        Ok((name, Definition::decode(&value).map_err(fault)?))
    };
    entries.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloakroom_stores::Memory;
    use std::collections::BTreeSet;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_name_is_short_plain_and_begins_with_a_letter_or_digit() {
        for good in ["a", "7", "vlans.rack-12_b", &"x".repeat(64)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn many_creations_of_one_name_make_one_pool_and_every_pool_has_its_own_number() {
        let map = Memory::default();
        let shape = Shape::default();
        let made: Vec<_> = std::thread::scope(|scope| {
            let create = |caller: usize| {
                let name = if caller.is_multiple_of(2) {
                    name("one")
                } else {
                    name(&format!("p{caller}"))
                };
                create(&map, &name, 10, shape, Policy::Spread)
            };
            let callers: Vec<_> =
                (0..16).map(|caller| scope.spawn(move || create(caller))).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        let pools: Vec<_> = made.iter().filter_map(|made| made.as_ref().ok()).collect();
        assert_eq!(pools.len(), 9, "eight names of their own, and one that eight wanted");
        let numbers: BTreeSet<_> = pools.iter().map(|pool| pool.tree.pool()).collect();
        assert_eq!(numbers.len(), 9);
        let refused = made.iter().filter(|made| matches!(made, Err(Error::PoolExists { .. })));
        assert_eq!(refused.count(), 7);
        let one = look_up(&map, &name("one")).unwrap();
        assert!(pools.iter().any(|pool| Some(**pool) == one));
    }

    #[test]
    fn a_refused_creation_writes_nothing() {
        let map = Memory::default();
        let none = create(&map, &name("a"), 0, Shape::default(), Policy::Spread);
        assert!(matches!(none, Err(Error::Shape(ShapeError::Size { size: 0 }))));
        assert_eq!(map.get(COUNTER), Ok(None));
    }

    #[test]
    fn a_definition_is_decoded_strictly() {
        let shape = Shape::new(7, 9).unwrap();
        let tree = Tree::new(PoolId(3), 1000, shape).unwrap();
        let definition = Definition { tree, policy: Policy::Spread };
        let bytes = definition.encode();
        assert_eq!(Definition::decode(&bytes), Ok(definition));
        let broken = |at: usize, byte: u8| {
            let mut bytes = bytes;
            bytes[at] = byte;
            Definition::decode(&bytes)
        };
        assert_eq!(broken(0, 2), Err(DefinitionError::Format { got: 2 }));
        assert_eq!(broken(21, 2), Err(DefinitionError::Policy { got: 2 }));
        assert_eq!(broken(18, 1), Err(DefinitionError::Shape(ShapeError::Fanout { fanout: 1 })));
        let short = DefinitionError::Length { expected: 22, got: 21 };
        assert_eq!(Definition::decode(&bytes[..21]), Err(short));
    }

    #[test]
    fn a_damaged_counter_is_an_error() {
        let map = Memory::default();
        map.compare_and_set(COUNTER, None, Some(b"x")).unwrap();
        assert!(draw(&map).is_err());
    }
}
