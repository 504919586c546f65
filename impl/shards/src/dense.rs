//! The store of one pool within one process: its places are dense, so nothing has to be looked for,
//! and its values stay as they are, so nothing has to be encoded.
//!
//! * one pool, whose tree is known from the start; memory for the words of all places is taken at
//!   once, for values as they come;
//! * the contract is that of every [`AtomicMap`]: by bytes too, with the keys and the encoding of
//!   the pool. What is no key, or no value, of this pool is refused and nothing is done;
//! * a call of allocate or free runs on references to what stands here, under one guard from its first
//!   read to its last write: it copies nothing but what it changes, and a place that has what it saw is
//!   known by the address (`Look`);
//! * SHARD-1, SHARD-3, SHARD-4: by [`Cells`].
//!
//! What it does not do: keep anything after the process, and keep other keys.

use std::fmt;

use cloakroom_pool::{
    Allocate, AllocateFailure, AtomicMap, Cas, Ended, Exchange, Free, FreeOutcome, Id, Interrupted,
    Machine, MapError, Next, Place, Request, Response, Tree, Value,
};

use crate::cells::{Cells, CellsHandle, Look};
use crate::error::ShardsError;
use crate::reclaim::{Epoch, Guard, Reclaim};

/// Places of inner nodes are so far apart that no two share a cache line: all callers write the
/// upper ones.
const APART: usize = 4;

/// All places of one pool.
///
/// ```
/// use cloakroom_pool::{Policy, Pool, PoolId, Shape, Tag, Tree};
/// use cloakroom_shards::Dense;
///
/// let tree = Tree::new(PoolId(1), 1_000, Shape::default())?;
/// let store = Dense::new(tree)?;
/// let pool = Pool::new(store.handle()?, tree, Policy::Spread);
/// assert!(pool.allocate(&Tag::new("coat")?).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Dense<R: Reclaim = Epoch> {
    tree: Tree,
    /// By level: the cell of its first place.
    firsts: Vec<usize>,
    cells: Cells<Value, R>,
}

impl Dense {
    /// An empty store for the pool with this tree.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub fn new(tree: Tree) -> Result<Self, ShardsError> {
        Self::with_reclaimer(tree)
    }
}

impl<R: Reclaim> Dense<R> {
    /// As [`Dense::new`], with a reclaimer of the caller's choice.
    ///
    /// # Errors
    /// As there.
    pub fn with_reclaimer(tree: Tree) -> Result<Self, ShardsError> {
        let too_many = ShardsError::OutOfMemory { bytes: usize::MAX };
        let (mut firsts, mut next) = (Vec::new(), 0_usize);
        for level in 0..=tree.height() {
            firsts.push(next);
            let places = usize::try_from(tree.places(level)).map_err(|_| too_many)?;
            let apart = if level == 0 { 1 } else { APART };
            let cells = places.checked_mul(apart).ok_or(too_many)?;
            // A line of its own for each level.
            next = next.checked_add(cells.next_multiple_of(APART)).ok_or(too_many)?;
        }
        Ok(Self { tree, firsts, cells: Cells::new(next)? })
    }

    /// A seat for one thread: its operations are faster, and its reads are wait-free.
    ///
    /// # Errors
    /// [`ShardsError::OutOfMemory`].
    pub fn handle(&self) -> Result<DenseHandle<'_, R>, ShardsError> {
        Ok(DenseHandle { dense: self, cells: self.cells.handle()? })
    }

    /// The pool's tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Bytes on the heap, without those of counts and tags themselves. An estimate while somebody
    /// writes.
    pub fn memory_usage(&self) -> usize {
        self.cells.memory_usage()
    }

    /// The cell of a place.
    #[inline]
    fn cell(&self, place: Place) -> usize {
        let apart = if place.is_block() { 1 } else { APART };
        // `with_reclaimer` counted all places in a usize.
        let index = usize::try_from(place.index()).expect("a place of the tree");
        self.firsts[usize::from(place.level())] + index * apart
    }

    /// Whether that is the pool that is kept here.
    #[inline]
    fn knows(&self, tree: &Tree) -> Result<(), MapError> {
        if *tree == self.tree {
            return Ok(());
        }
        let cause = format!("store: expected pool {}, got {}", self.tree.pool(), tree.pool());
        Err(MapError::Unavailable { cause })
    }

    fn place(&self, key: &[u8]) -> Result<Place, MapError> {
        self.tree.place(key).ok_or_else(|| MapError::Unavailable {
            cause: format!("key: no place of pool {} has it", self.tree.pool()),
        })
    }

    fn decode(&self, bytes: &[u8], place: Place) -> Result<Value, MapError> {
        Value::decode(bytes, &self.tree, place).map_err(|problem| MapError::Corrupt {
            pool: self.tree.pool(),
            place,
            key: self.tree.key(place),
            problem,
        })
    }
}

/// A thread's way to the store.
pub struct DenseHandle<'m, R: Reclaim + 'm = Epoch> {
    dense: &'m Dense<R>,
    cells: CellsHandle<'m, Value, R>,
}

impl<R: Reclaim> fmt::Debug for DenseHandle<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DenseHandle").field("tree", &self.dense.tree).finish_non_exhaustive()
    }
}

impl<'m, R: Reclaim> DenseHandle<'m, R> {
    /// The store.
    pub fn dense(&self) -> &'m Dense<R> {
        self.dense
    }
}

impl<R: Reclaim> AtomicMap for DenseHandle<'_, R> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        let place = self.dense.place(key)?;
        let encode = |value: &Value| value.encode(&self.dense.tree, place);
        Ok(self.cells.read(self.dense.cell(place), |value| value.map(encode)))
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        let dense = self.dense;
        let (place, tree) = (dense.place(key)?, &dense.tree);
        let new = new.map(|bytes| dense.decode(bytes, place)).transpose()?;
        let encode = |value: Option<&Value>| value.map(|value| value.encode(tree, place));
        // One value has one encoding: what does not decode is no value that a place can have.
        let wanted = expected.map(|bytes| Value::decode(bytes, tree, place)).transpose();
        let Ok(expected) = wanted else {
            return Ok(Cas::Mismatch(self.cells.read(dense.cell(place), encode)));
        };
        let done = self.cells.exchange(dense.cell(place), expected.as_ref(), new)?;
        Ok(done.map_or_else(|other| Cas::Mismatch(encode(other.as_ref())), |()| Cas::Set))
    }

    #[inline]
    fn value(&self, tree: &Tree, place: Place) -> Result<Option<Value>, MapError> {
        self.dense.knows(tree)?;
        Ok(self.cells.read(self.dense.cell(place), |value| Some(value?.clone())))
    }

    #[inline]
    fn exchange(
        &self,
        tree: &Tree,
        place: Place,
        expected: Option<&Value>,
        new: Value,
    ) -> Result<Exchange, MapError> {
        self.dense.knows(tree)?;
        let done = self.cells.exchange(self.dense.cell(place), expected, Some(new))?;
        Ok(done.map_or_else(Exchange::Mismatch, |()| Exchange::Set))
    }

    fn allocate(&self, tree: &Tree, call: Allocate) -> Ended<Result<Id, AllocateFailure>> {
        self.run(tree, &self.cells.look(), call.seeing())
    }

    fn free(&self, tree: &Tree, call: Free) -> Ended<Result<FreeOutcome, Interrupted>> {
        self.run(tree, &self.cells.look(), call.seeing())
    }
}

impl<R: Reclaim> DenseHandle<'_, R> {
    /// Runs a machine to its end, on references to what stands here.
    #[inline]
    fn run<'a, K: Machine<&'a Value>>(
        &self,
        tree: &Tree,
        look: &'a Look<'_, Value, R, impl Guard>,
        mut machine: K,
    ) -> Ended<K::Output> {
        let mut cause = self.dense.knows(tree).err();
        loop {
            let response = match machine.request() {
                _ if cause.is_some() => Response::Unavailable,
                Request::Get(place) | Request::Recall(place) => {
                    Response::Value(look.read(self.dense.cell(place)))
                }
                Request::CompareAndSet { place, expected, new } => {
                    let new = Value::after(expected, new, tree, place);
                    match look.exchange(self.dense.cell(place), expected, new) {
                        Ok(Ok(())) => Response::Set,
                        Ok(Err(other)) => Response::Mismatch(other),
                        Err(error) => {
                            cause = Some(error.into());
                            Response::Unavailable
                        }
                    }
                }
                Request::IsLive(tag) => panic!("machine: asked whether {tag:?} is live"),
            };
            if let Next::Done(output) = machine.step(response) {
                return (output, cause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloakroom_pool::{Policy, Pool, PoolId, Shape, Tag};

    fn tree(pool: u64, size: u64) -> Tree {
        Tree::new(PoolId(pool), size, Shape::new(4, 3).unwrap()).unwrap()
    }

    #[test]
    fn places_have_cells_of_their_own() {
        for size in [1, 3, 4, 12, 13, 200] {
            let dense = Dense::new(tree(1, size)).unwrap();
            let mut cells: Vec<usize> = dense.tree.all().map(|place| dense.cell(place)).collect();
            cells.sort_unstable();
            assert!(cells.is_sorted_by(|a, b| a < b), "{size}: {cells:?}");
            assert!(cells.iter().all(|&cell| cell < dense.cells.places()));
        }
    }

    #[test]
    fn bytes_and_values_are_the_same_store() {
        let tree = tree(1, 50);
        let dense = Dense::new(tree).unwrap();
        let handle = dense.handle().unwrap();
        let pool = Pool::new(&handle, tree, Policy::LowestFirst);
        let tag = Tag::new("a tag that is too long to stand in a slot itself").unwrap();
        let id = pool.allocate(&tag).unwrap();
        let (block, _) = tree.slot(id).unwrap();
        let (key, held) = (tree.key(block), handle.get(&tree.key(block)).unwrap());
        let value = handle.value(&tree, block).unwrap().unwrap();
        assert_eq!(held, Some(value.encode(&tree, block)));
        // By bytes, as any other map: what is there, what differs, what is no value at all.
        let differs = handle.compare_and_set(&key, None, held.as_deref()).unwrap();
        assert_eq!(differs, Cas::Mismatch(held.clone()));
        let differs = handle.compare_and_set(&key, Some(b"no value"), None).unwrap();
        assert_eq!(differs, Cas::Mismatch(held.clone()));
        let refused = handle.compare_and_set(&key, held.as_deref(), Some(b"no value"));
        assert!(matches!(refused, Err(MapError::Corrupt { .. })), "{refused:?}");
        assert_eq!(handle.compare_and_set(&key, held.as_deref(), None), Ok(Cas::Set));
        assert_eq!((handle.get(&key), pool.find(&tag)), (Ok(None), Ok(vec![])));
        assert_eq!(handle.compare_and_set(&key, None, held.as_deref()), Ok(Cas::Set));
        assert_eq!(pool.free(id, &tag), Ok(FreeOutcome::Freed));
    }

    #[test]
    fn another_pool_is_refused() {
        let dense = Dense::new(tree(1, 50)).unwrap();
        let handle = dense.handle().unwrap();
        let other = tree(2, 50);
        assert!(handle.get(&other.key(other.root())).is_err());
        assert!(handle.value(&other, other.root()).is_err());
        assert!(handle.get(b"no key").is_err());
        assert!(Pool::new(&handle, other, Policy::Spread).usage().is_err());
    }
}
