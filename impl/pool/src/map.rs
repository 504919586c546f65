//! The atomic map that a pool lives in, and how a request becomes one of its operations.

use alloc::{boxed::Box, string::String, vec::Vec};
use thiserror::Error;

use crate::allocate::{Allocate, AllocateFailure};
use crate::free::{Free, FreeOutcome};
use crate::machine::{Interrupted, Machine, Next, Request, Response};
use crate::tag::Id;
use crate::tree::{Place, Tree};
use crate::value::{Value, ValueError};

/// A shared map of byte strings in which every operation on a single key is atomic
/// (linearizable). Nothing joins two keys.
pub trait AtomicMap {
    /// The value of a key.
    ///
    /// # Errors
    /// [`MapError`] when no answer could be had.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError>;

    /// Hands the value of a key to `f`, once, if there is an answer. A map that has its values in
    /// memory does so without a copy.
    ///
    /// # Errors
    /// As [`AtomicMap::get`].
    fn read(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), MapError> {
        f(self.get(key)?.as_deref());
        Ok(())
    }

    /// Makes `new` the value of a key if it has exactly the value `expected`; `None` is absence, so
    /// this is also put-if-absent and compare-and-remove.
    ///
    /// # Errors
    /// [`MapError::Unavailable`] when nothing was and nothing will be done; [`MapError::Unknown`]
    /// when the operation may have happened, may still happen once later, or never.
    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError>;

    /// The value at a place of a pool: [`AtomicMap::get`] by another name. A map that keeps values as
    /// they are need not encode them.
    ///
    /// # Errors
    /// As [`AtomicMap::get`], and [`MapError::Corrupt`].
    fn value(&self, tree: &Tree, place: Place) -> Result<Option<Value>, MapError> {
        let mut value = Ok(None);
        self.read(&tree.key(place), &mut |bytes| value = decode(bytes, tree, place))?;
        value
    }

    /// Puts `new` at a place if it holds `expected`: [`AtomicMap::compare_and_set`] by another name.
    ///
    /// # Errors
    /// As there, and [`MapError::Corrupt`].
    fn exchange(
        &self,
        tree: &Tree,
        place: Place,
        expected: Option<&Value>,
        new: Value,
    ) -> Result<Exchange, MapError> {
        let expected = expected.map(|value| value.encode(tree, place));
        let new = new.encode(tree, place);
        match self.compare_and_set(&tree.key(place), expected.as_deref(), Some(&new))? {
            Cas::Set => Ok(Exchange::Set),
            Cas::Mismatch(bytes) => decode(bytes.as_deref(), tree, place).map(Exchange::Mismatch),
        }
    }

    /// Runs a call to its end; beside its output the last error of this map. A map whose values stand in
    /// memory runs the same machine on references to them: see [`Seen`](crate::Seen).
    fn allocate(&self, tree: &Tree, call: Allocate) -> Ended<Result<Id, AllocateFailure>> {
        run(self, tree, call)
    }

    /// As [`AtomicMap::allocate`].
    fn free(&self, tree: &Tree, call: Free) -> Ended<Result<FreeOutcome, Interrupted>> {
        run(self, tree, call)
    }
}

/// What a call has returned, and the last error that the map gave meanwhile.
pub type Ended<T> = (T, Option<MapError>);

impl<M: AtomicMap + ?Sized> AtomicMap for &M {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        (**self).get(key)
    }

    fn read(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), MapError> {
        (**self).read(key, f)
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        (**self).compare_and_set(key, expected, new)
    }

    fn value(&self, tree: &Tree, place: Place) -> Result<Option<Value>, MapError> {
        (**self).value(tree, place)
    }

    fn exchange(
        &self,
        tree: &Tree,
        place: Place,
        expected: Option<&Value>,
        new: Value,
    ) -> Result<Exchange, MapError> {
        (**self).exchange(tree, place, expected, new)
    }

    fn allocate(&self, tree: &Tree, call: Allocate) -> Ended<Result<Id, AllocateFailure>> {
        (**self).allocate(tree, call)
    }

    fn free(&self, tree: &Tree, call: Free) -> Ended<Result<FreeOutcome, Interrupted>> {
        (**self).free(tree, call)
    }
}

impl<M: AtomicMap + ?Sized> AtomicMap for Box<M> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        (**self).get(key)
    }

    fn read(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), MapError> {
        (**self).read(key, f)
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        (**self).compare_and_set(key, expected, new)
    }

    fn value(&self, tree: &Tree, place: Place) -> Result<Option<Value>, MapError> {
        (**self).value(tree, place)
    }

    fn exchange(
        &self,
        tree: &Tree,
        place: Place,
        expected: Option<&Value>,
        new: Value,
    ) -> Result<Exchange, MapError> {
        (**self).exchange(tree, place, expected, new)
    }

    fn allocate(&self, tree: &Tree, call: Allocate) -> Ended<Result<Id, AllocateFailure>> {
        (**self).allocate(tree, call)
    }

    fn free(&self, tree: &Tree, call: Free) -> Ended<Result<FreeOutcome, Interrupted>> {
        (**self).free(tree, call)
    }
}

/// The definite outcomes of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cas {
    /// The key now has the new value.
    Set,
    /// The key had this value instead, and keeps it.
    Mismatch(Option<Vec<u8>>),
}

/// [`Cas`], of a place's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The place now holds the new value.
    Set,
    /// The place held this instead, and keeps it.
    Mismatch(Option<Value>),
}

/// Why a map gave no definite answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MapError {
    /// The map could not be reached; the operation did not and will not happen.
    #[error("map unavailable: {cause}")]
    Unavailable {
        /// In the map's words.
        cause: String,
    },
    /// No answer came back; the operation may have happened, may still happen once, or never.
    #[error("outcome unknown: {cause}")]
    Unknown {
        /// In the map's words.
        cause: String,
    },
    /// The map holds bytes that this pool cannot have written.
    #[error("{place} of pool {pool} (key {}) is no value of this pool: {problem}", Hex(key))]
    Corrupt {
        /// Whose key.
        pool: crate::tree::PoolId,
        /// Which place.
        place: Place,
        /// Its key.
        key: [u8; 16],
        /// What is wrong with the bytes.
        problem: ValueError,
    },
}

struct Hex<'a>(&'a [u8]);

impl core::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Carries out a map request and puts its outcome as a [`Response`]. Where that is
/// [`Response::Unknown`] or [`Response::Unavailable`], the error beside it tells why.
///
/// # Panics
/// On [`Request::IsLive`], which is not for the map but for the caller's notebook.
pub fn perform<M: AtomicMap + ?Sized>(
    map: &M,
    tree: &Tree,
    request: &Request,
) -> (Response, Option<MapError>) {
    carry_out(map, tree, request.clone())
}

/// Runs a machine that asks the map alone to its end; beside its output the last error of the map.
pub(crate) fn run<M: AtomicMap + ?Sized, K: Machine>(
    map: &M,
    tree: &Tree,
    mut machine: K,
) -> Ended<K::Output> {
    let mut cause = None;
    loop {
        let (response, error) = carry_out(map, tree, machine.request());
        cause = error.or(cause);
        if let Next::Done(output) = machine.step(response) {
            return (output, cause);
        }
    }
}

/// As [`perform`], without a copy of what shall be there.
#[inline]
pub(crate) fn carry_out<M: AtomicMap + ?Sized>(
    map: &M,
    tree: &Tree,
    request: Request,
) -> (Response, Option<MapError>) {
    let outcome = match request {
        Request::Get(place) | Request::Recall(place) => map.value(tree, place).map(Response::Value),
        Request::CompareAndSet { place, expected, new } => {
            match map.exchange(tree, place, expected.as_ref(), new) {
                Ok(Exchange::Set) => Ok(Response::Set),
                Ok(Exchange::Mismatch(value)) => Ok(Response::Mismatch(value)),
                Err(error @ MapError::Unknown { .. }) => return (Response::Unknown, Some(error)),
                Err(error) => Err(error),
            }
        }
        Request::IsLive(tag) => panic!("host: asked the map whether {tag:?} is live"),
    };
    match outcome {
        Ok(response) => (response, None),
        Err(error) => (Response::Unavailable, Some(error)),
    }
}

fn decode(bytes: Option<&[u8]>, tree: &Tree, place: Place) -> Result<Option<Value>, MapError> {
    bytes.map(|bytes| Value::decode(bytes, tree, place)).transpose().map_err(|problem| {
        MapError::Corrupt { pool: tree.pool(), place, key: tree.key(place), problem }
    })
}
