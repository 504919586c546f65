//! The atomic map in a file: crash-safe, with group commit.
//!
//! Concurrent operations are applied in the order of their queue in one transaction of redb and
//! committed together with one sync of the file; each is answered after that. See `batch` for
//! who commits for whom.
//!
//! Invariants:
//! * an answer of [`Durable::compare_and_set`](AtomicMap::compare_and_set) is given only after
//!   every write it speaks of is on disk: its own, and those of its batch that it has seen;
//! * `get` and `scan` see only what is on disk;
//! * one sync to a batch that has written something, none to one that has not. A lone caller's
//!   successful call is a batch of its own: one sync;
//! * after a commit that failed, nobody knows what the file holds until it is opened again. The
//!   writes of that batch are `Unknown`, the others of the batch were not done and are
//!   `Unavailable`, and so is every later call.
//!
//! POOL-1 to POOL-7 assume an atomic map that keeps what it has answered across a crash; this
//! file makes that assumption good for one machine and one disk.
//!
//! What it does not do: survive the loss of the disk, or a disk that acknowledges a sync it has
//! not done; verify checksums while running (opening verifies all of them, see `open`); share
//! the file with another process.
//!
//! One-phase commit: redb writes pages and commit slot, with checksums, and syncs once (strace
//! counted 26,400 `fdatasync` for 26,384 lone calls; creating, opening and closing the file took
//! the other 16). After a crash the
//! newest slot whose pages verify counts. So if the process was killed and *then* the pages of
//! the very last commit are damaged on disk, that commit looks like one that never ended, and
//! the one before it is opened. A second sync per commit would be the price of telling the two
//! apart; after a clean close they are told apart.

use std::fmt::Display;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use cloakroom_pool::{AtomicMap, Cas, MapError};
use parking_lot::Mutex;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, WriteTransaction};

use crate::batch::{Answer, Operation, Queue, Verdict};
use crate::open::{self, Absent, MAP, OpenError};

/// The longest key of a [`Durable`] map, in bytes.
pub const MAX_KEY_BYTES: usize = 1 << 16;
/// The longest value of a [`Durable`] map, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 24;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// One of the changes of [`Durable::write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This key has this value.
    Put(Vec<u8>, Vec<u8>),
    /// This key has none.
    Remove(Vec<u8>),
    /// No key that begins so has one.
    RemoveAll(Vec<u8>),
}

/// An atomic map in one file.
///
/// Keys are any bytes up to [`MAX_KEY_BYTES`], values up to [`MAX_VALUE_BYTES`]; the empty key
/// and the empty value are as good as any. A longer one is refused as
/// [`MapError::Unavailable`], before anything is done.
///
/// `get` takes a look-up in a B-tree, O(log n) pages, most of them cached; `compare_and_set` a
/// look-up, a change, and its share of one sync.
///
/// ```
/// use cloakroom_pool::{AtomicMap, Cas};
/// use cloakroom_stores::Durable;
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("pool.cloakroom");
/// let map = Durable::open(&file)?;
/// assert_eq!(map.compare_and_set(b"key", None, Some(b"value"))?, Cas::Set);
/// drop(map);
///
/// let map = Durable::open(&file)?;
/// assert_eq!(map.get(b"key")?, Some(b"value".to_vec()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Durable {
    path: PathBuf,
    database: Database,
    queue: Queue,
    syncs: Mutex<u64>,
}

impl Durable {
    /// Opens the map in the file `path`, and creates the file if there is none (but no folder, and
    /// no other file). An empty file counts as none: it holds nothing that could be lost, and a
    /// process that dies while it creates the file can leave one.
    ///
    /// The whole file is read and its checksums verified: O(size of the file).
    ///
    /// # Errors
    /// [`OpenError`]: the file is not ours, of another version, damaged, open elsewhere, or cannot
    /// be read or written. A file that is refused has not been changed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        Ok(Self::over(path, open::open(path, Absent::Create)?))
    }

    /// Opens the map in the file `path`, as [`Durable::open`] does, but creates nothing: where
    /// there is no file, or an empty one, that is an error and stays as it is.
    ///
    /// # Errors
    /// [`OpenError::Nothing`], and those of [`Durable::open`].
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        Ok(Self::over(path, open::open(path, Absent::Refuse)?))
    }

    /// The map in a database that has been checked.
    pub(crate) fn over(path: &Path, database: Database) -> Self {
        Self { path: path.to_owned(), database, queue: Queue::default(), syncs: Mutex::default() }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many commits this handle has synced, each with one sync of the file. Those of opening
    /// and closing do not count.
    pub fn syncs(&self) -> u64 {
        *self.syncs.lock()
    }

    /// All keys that begin with `prefix`, and their values, in the order of the keys, as they were
    /// on disk at one moment during the call. O(log n) and the size of what is found.
    ///
    /// # Errors
    /// [`MapError::Unavailable`] if the file cannot be read or an earlier commit has failed.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, MapError> {
        self.refuse_if_broken()?;
        self.scan_committed(prefix).map_err(|cause| self.unavailable(cause))
    }

    /// Makes all of these changes together, in this order, whatever was there, and returns when they
    /// are on disk: one sync. For an owner who knows what the map holds and is the only one to change
    /// it; atomic operations are [`AtomicMap`]'s.
    ///
    /// # Errors
    /// [`MapError::Unavailable`]: nothing was changed. [`MapError::Unknown`]: all or nothing was, and
    /// the map has to be opened again, as after any commit that fails.
    pub fn write(&self, changes: &[Change]) -> Result<(), MapError> {
        self.refuse_if_broken()?;
        for change in changes {
            let (Change::Put(key, _) | Change::Remove(key) | Change::RemoveAll(key)) = change;
            self.refuse_if_long("key", key, MAX_KEY_BYTES)?;
            if let Change::Put(_, value) = change {
                self.refuse_if_long("value", value, MAX_VALUE_BYTES)?;
            }
        }
        let transaction = self.make(changes).map_err(|cause| self.unavailable(cause))?;
        transaction.commit().map_err(|cause| {
            let cause = format!("{}: the commit failed: {cause}", self.path.display());
            self.queue.break_off(cause.clone());
            MapError::Unknown { cause }
        })?;
        *self.syncs.lock() += 1;
        Ok(())
    }

    fn make(&self, changes: &[Change]) -> Result<WriteTransaction, redb::Error> {
        let transaction = self.begin()?;
        let mut table = transaction.open_table(MAP)?;
        for change in changes {
            match change {
                Change::Put(key, value) => drop(table.insert(&key[..], &value[..])?),
                Change::Remove(key) => drop(table.remove(&key[..])?),
                Change::RemoveAll(prefix) => {
                    let behind = behind(prefix);
                    let end = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                    let all = (Bound::Included(&prefix[..]), end);
                    table.retain_in::<&[u8], _>(all, |_, _| false)?;
                }
            }
        }
        drop(table);
        Ok(transaction)
    }

    fn begin(&self) -> Result<WriteTransaction, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // One sync to a commit. See the module about what the second would buy.
        transaction.set_two_phase_commit(false);
        transaction.set_quick_repair(false);
        Ok(transaction)
    }

    /// How many operations wait for the next batch.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    fn scan_committed(&self, prefix: &[u8]) -> Result<Vec<Entry>, redb::Error> {
        let table = self.database.begin_read()?.open_table(MAP)?;
        let mut found = Vec::new();
        for entry in table.range::<&[u8]>(prefix..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            found.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(found)
    }

    fn get_committed(&self, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = self.database.begin_read()?.open_table(MAP)?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    /// Applies a batch in its order, and commits it if it has changed anything.
    fn commit(&self, batch: &[Operation]) -> Verdict {
        let (transaction, outcomes) = match self.apply(batch) {
            Ok(applied) => applied,
            // The transaction was dropped before its commit: nothing of it is or will be visible.
            Err(cause) => {
                let answers = batch.iter().map(|_| Err(self.unavailable(&cause))).collect();
                return Verdict { answers, broken: None };
            }
        };
        if !outcomes.contains(&Cas::Set) {
            // Every outcome speaks of committed values only, so there is nothing to sync. An
            // abort that fails leaves redb refusing the next transaction, which is told then.
            let _ = transaction.abort();
            return Verdict { answers: outcomes.into_iter().map(Ok).collect(), broken: None };
        }
        match transaction.commit() {
            Ok(()) => {
                *self.syncs.lock() += 1;
                Verdict { answers: outcomes.into_iter().map(Ok).collect(), broken: None }
            }
            Err(cause) => {
                let answers = outcomes.into_iter().map(|outcome| self.doubt(&outcome, &cause));
                let answers = answers.collect();
                let broken = format!(
                    "{}: an earlier commit failed ({cause}); open the file again to learn what it \
                     holds",
                    self.path.display()
                );
                Verdict { answers, broken: Some(broken) }
            }
        }
    }

    fn apply(&self, batch: &[Operation]) -> Result<(WriteTransaction, Vec<Cas>), redb::Error> {
        let transaction = self.begin()?;
        let outcomes = {
            let mut table = transaction.open_table(MAP)?;
            batch
                .iter()
                .map(|operation| compare_and_set(&mut table, operation))
                .collect::<Result<Vec<_>, _>>()?
        };
        Ok((transaction, outcomes))
    }

    /// The answer to an operation of a batch whose commit has failed. A mismatch has changed
    /// nothing either way, but it may have seen a value that never was: so it was not done.
    fn doubt(&self, outcome: &Cas, cause: &impl Display) -> Answer {
        let cause = format!("{}: the commit failed: {cause}", self.path.display());
        match outcome {
            Cas::Set => Err(MapError::Unknown { cause }),
            Cas::Mismatch(_) => Err(MapError::Unavailable { cause }),
        }
    }

    fn unavailable(&self, cause: impl Display) -> MapError {
        MapError::Unavailable { cause: format!("{}: {cause}", self.path.display()) }
    }

    fn refuse_if_broken(&self) -> Result<(), MapError> {
        self.queue.broken().map_or(Ok(()), |cause| Err(MapError::Unavailable { cause }))
    }

    fn refuse_if_long(&self, what: &str, bytes: &[u8], most: usize) -> Result<(), MapError> {
        if bytes.len() <= most {
            return Ok(());
        }
        let got = bytes.len();
        Err(self.unavailable(format_args!("{what}: expected at most {most} bytes, got {got}")))
    }
}

impl AtomicMap for Durable {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        self.refuse_if_broken()?;
        self.get_committed(key).map_err(|cause| self.unavailable(cause))
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Cas, MapError> {
        // Refused alone: in a batch, redb's own limits would fail everybody's operation.
        self.refuse_if_long("key", key, MAX_KEY_BYTES)?;
        self.refuse_if_long("value", new.unwrap_or_default(), MAX_VALUE_BYTES)?;
        let operation = Operation {
            key: key.to_vec(),
            expected: expected.map(<[u8]>::to_vec),
            new: new.map(<[u8]>::to_vec),
        };
        self.queue.submit(operation, |batch| self.commit(batch))
    }
}

/// The first key behind all that begin so, if there is one.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

/// One operation within a transaction: it sees what those before it in the batch have written.
fn compare_and_set(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    operation: &Operation,
) -> Result<Cas, redb::StorageError> {
    let key = operation.key.as_slice();
    {
        let current = table.get(key)?;
        let current = current.as_ref().map(redb::AccessGuard::value);
        if current != operation.expected.as_deref() {
            return Ok(Cas::Mismatch(current.map(<[u8]>::to_vec)));
        }
    }
    match &operation.new {
        Some(value) => table.insert(key, value.as_slice())?,
        None => table.remove(key)?,
    };
    Ok(Cas::Set)
}
