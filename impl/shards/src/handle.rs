//! The operations for a thread that has registered: one seat, kept from its making to its drop.
//!
//! * an operation enters and leaves by stores to the handle's own seat: nobody can be in its way,
//!   so a `get` is wait-free;
//! * a handle is used by one thread at a time; the compiler sees to it. It may move to another.
//!
//! What it does not do: keep anything from being freed between its operations.

// Measured, see `map`.
#![allow(clippy::inline_always)]

use cloakroom_pool::{AtomicMap, Cas, MapError};

use crate::error::ShardsError;
use crate::map::{Shards, answer, copied, mismatch};
use crate::reclaim::{Epoch, Local, Reclaim};

/// See [`Shards::handle`].
///
/// ```
/// let map = cloakroom_shards::Shards::new()?;
/// let handle = map.handle()?;
/// assert!(handle.try_set(b"coat", None, Some(b"17"))?);
/// assert_eq!(handle.read(b"coat", |value| value.map(<[u8]>::len))?, Some(2));
/// # Ok::<(), cloakroom_shards::ShardsError>(())
/// ```
#[derive(Debug)]
pub struct Handle<'m, R: Reclaim + 'm = Epoch> {
    map: &'m Shards<R>,
    local: R::Local<'m>,
}

impl<'m, R: Reclaim> Handle<'m, R> {
    pub(crate) fn new(map: &'m Shards<R>, domain: &'m R) -> Result<Self, ShardsError> {
        Ok(Self { map, local: domain.register()? })
    }

    /// The map.
    pub fn map(&self) -> &'m Shards<R> {
        self.map
    }

    /// As [`Shards::get`], and wait-free: at most two looks at each slot of one table.
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShardsError> {
        self.read(key, |value| value.map(copied).transpose())?
    }

    /// As [`Shards::read`], and wait-free.
    ///
    /// # Errors
    /// [`ShardsError::KeyTooLong`].
    #[inline(always)]
    pub fn read<A>(
        &self,
        key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> A,
    ) -> Result<A, ShardsError> {
        self.map.read_under(self.local.pin(), key, f)
    }

    /// As [`Shards::compare_and_set`].
    ///
    /// # Errors
    /// As there.
    pub fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, ShardsError> {
        self.map.set_under(self.local.pin(), key, expected, new, mismatch).map(answer)?
    }

    /// As [`Shards::try_set`].
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    pub fn try_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, ShardsError> {
        Ok(self.map.set_under(self.local.pin(), key, expected, new, |_| ())?.is_ok())
    }
}

impl<R: Reclaim> AtomicMap for Handle<'_, R> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        Self::get(self, key).map_err(MapError::from)
    }

    fn read(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), MapError> {
        Self::read(self, key, f).map_err(MapError::from)
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        Self::compare_and_set(self, key, expected, new).map_err(MapError::from)
    }
}
