//! What a node must not forget, in a file.
//!
//! One ordered map: the entries of its registers, as [`kept`] has them, and of its records of the DHT:
//!
//! | key | value |
//! |---|---|
//! | `c` | how often the node has written here (8) |
//! | `k`, the record's key (32), its origin (32) | when it was written, in ms since 1970 (8), and [`Held::to_bytes`] |
//!
//! Invariants:
//! * REG-8 and KAD-12 rest on this: what [`NodeDisk::write`] has returned from is on disk, whole, in its order;
//! * KAD-9: the system's clock says how long a node was away, and lives end by it. Where that clock was set back
//!   meanwhile, the time away counts as nothing: a record then lives longer by as long as the node was away;
//! * a disk of which nothing is known is a new incarnation, never the first one again: only
//!   [`NodeDisk::create`], which refuses a file that is there, makes a first one;
//! * REG-6: nor is a disk that was rolled back to an older copy the same life again: it is moved aside, and a new
//!   incarnation begins. `life.rs` says what is noticed, and what is not.
//!
//! What it does not do: bring back what a disk has lost. The others of the cluster do, if they have it.

mod life;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use cloakroom_kademlia::{Held, Moment, Name};
use cloakroom_node::Effects;
use cloakroom_pool::MapError;
use cloakroom_register::kept::{self, Change};
use cloakroom_register::{Disk, Incarnation, Member};
use cloakroom_stores::{Durable, OpenError};
use cloakroom_wire::NodeId;
use thiserror::Error;
use tracing::error;

use self::life::Life;
use crate::files;
use crate::transport::lock;

/// Why a node has no disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiskError {
    /// See there.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file system's.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The caller's: a first disk is made once.
    #[error("{path}: expected no file, got one; nothing was changed")]
    Exists {
        /// Where.
        path: String,
    },
    /// The file is damaged, or whoever wrote into it is at fault.
    #[error("{path}: the entry {entry:02x?} is damaged: {cause}; it was left as it is")]
    Damaged {
        /// Where.
        path: String,
        /// The entry's key.
        entry: Vec<u8>,
        /// What is wrong with it.
        cause: String,
    },
    /// The caller's: it is another node's.
    #[error("{path}: expected the disk of {expected}, got that of {got}; it was left as it is")]
    Foreign {
        /// Where.
        path: String,
        /// Who opens it.
        expected: NodeId,
        /// Whose it is.
        got: NodeId,
    },
    /// The file system's: the file beside it.
    #[error(transparent)]
    Life(#[from] crate::error::Error),
    /// The file system's: an older copy cannot be moved aside.
    #[error("{path}: an older copy was put back, and cannot be moved aside: {source}")]
    Aside {
        /// Where.
        path: String,
        /// What it says.
        source: std::io::Error,
    },
    /// The system has no entropy for a new incarnation.
    #[error("cannot name a new incarnation: the system gives no entropy")]
    Entropy,
}

/// Keys of records begin so; none of the registers' does.
const RECORD: u8 = b'k';
/// The key of the count of marks.
const MARKS: u8 = b'c';

/// What a write was of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Entries that were put or removed; none: nothing was to be written, and nothing was synced.
    pub entries: usize,
    /// Bytes of their keys and values.
    pub bytes: usize,
}

/// A node's disk.
#[derive(Debug)]
pub struct NodeDisk {
    file: Durable,
    life: Mutex<Life>,
}

impl NodeDisk {
    /// The first disk of a node that has never run: one of a cluster's founders.
    ///
    /// # Errors
    /// [`DiskError::Exists`], [`DiskError::Open`], [`DiskError::Map`]
    pub fn create(path: &Path, node: NodeId) -> Result<(Self, Disk), DiskError> {
        let shown = path.display().to_string();
        if path.exists() {
            return Err(DiskError::Exists { path: shown });
        }
        Self::begin(path, Member { node, incarnation: Incarnation(0) })
    }

    /// The disk of a node. Where there is none, or one that holds nothing, a new incarnation begins; so it does
    /// where there is an older copy, which is moved aside.
    ///
    /// # Errors
    /// [`DiskError`]: then nothing was changed, but that an older copy may have been moved aside.
    pub fn open(path: &Path, node: NodeId) -> Result<(Self, Disk), DiskError> {
        let file = Durable::open(path)?;
        let entries = file.scan(b"")?;
        let entries = entries.iter().map(|(key, value)| (&key[..], &value[..]));
        let ours = |key: &[u8]| [Some(&RECORD), Some(&MARKS)].contains(&key.first());
        let entries = entries.filter(|(key, _)| !ours(key));
        let shown = path.display().to_string();
        let disk = kept::disk(entries).map_err(|(entry, cause)| {
            let cause = cause.to_string();
            DiskError::Damaged { path: shown.clone(), entry, cause }
        })?;
        let Some(disk) = disk else {
            drop(file);
            return Self::begin_again(path, node);
        };
        if disk.me().node != node {
            let got = disk.me().node;
            return Err(DiskError::Foreign { path: shown, expected: node, got });
        }
        let marks = match file.scan(&[MARKS])?.first() {
            None => 0,
            Some((entry, value)) => {
                u64::from_be_bytes(value[..].try_into().map_err(|_| DiskError::Damaged {
                    path: shown.clone(),
                    entry: entry.clone(),
                    cause: format!("expected 8 bytes, got {}", value.len()),
                })?)
            }
        };
        let life = Life::new(path, disk.me().incarnation, marks);
        // REG-6
        if life.is_rolled_back()? {
            drop(file);
            let moved =
                put_aside(path).map_err(|source| DiskError::Aside { path: shown, source })?;
            error!(
                path = %path.display(), aside = %moved.display(), marks,
                "the data file is an older copy than this node has had, and has forgotten promises: it was moved \
                 aside, and the node begins anew, without a seat until the others give it one"
            );
            return Self::begin_again(path, node);
        }
        Ok((Self { file, life: Mutex::new(life) }, disk))
    }

    fn begin_again(path: &Path, node: NodeId) -> Result<(Self, Disk), DiskError> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| DiskError::Entropy)?;
        // Never the first one's number.
        let incarnation = Incarnation(u64::from_be_bytes(random) | 1);
        Self::begin(path, Member { node, incarnation })
    }

    fn begin(path: &Path, me: Member) -> Result<(Self, Disk), DiskError> {
        // NET-4: tags and values are nobody else's either. An empty file counts as none.
        files::empty(path)?;
        let file = Durable::open(path)?;
        file.write(&[stored(kept::owner(me))])?;
        let mut life = Life::new(path, me.incarnation, 0);
        life.note()?;
        Ok((Self { file, life: Mutex::new(life) }, Disk::new(me)))
    }

    /// The records of the DHT, as they are at a moment of the node's clock.
    ///
    /// # Errors
    /// [`DiskError::Map`], [`DiskError::Damaged`]
    pub fn records(&self, now: Moment) -> Result<Vec<Held>, DiskError> {
        let today_ms = since_1970_ms();
        let read = |(entry, value): (Vec<u8>, Vec<u8>)| {
            let held = value.split_first_chunk().map(|(written_ms, bytes)| {
                let away_ms = today_ms.saturating_sub(u64::from_be_bytes(*written_ms));
                Held::from_bytes(bytes, now, away_ms.saturating_mul(1000))
            });
            let damaged = |cause: String| {
                let path = self.file.path().display().to_string();
                DiskError::Damaged { path, entry: entry.clone(), cause }
            };
            let held = held.ok_or_else(|| damaged("expected 8 bytes or more".to_string()))?;
            let held = held.map_err(|cause| damaged(cause.to_string()))?;
            if record_key(held.name()) == entry {
                Ok(held)
            } else {
                Err(damaged("it is a record of another key or origin".to_string()))
            }
        };
        self.file.scan(&[RECORD])?.into_iter().map(read).collect()
    }

    /// Makes what is to be durable of all of it durable, in its order, with one sync, or none where there is
    /// nothing. `now` is the node's clock.
    ///
    /// # Errors
    /// [`MapError`]: the node must not go on, since nobody knows what is on its disk.
    pub fn write(&self, now: Moment, batch: &[Effects]) -> Result<Written, MapError> {
        let refused = |cause: String| MapError::Unavailable { cause };
        let written_ms = since_1970_ms();
        let mut changes = Vec::new();
        for save in batch.iter().flat_map(|effects| &effects.persist) {
            let made = kept::changes(save).map_err(|cause| refused(cause.to_string()))?;
            changes.extend(made.into_iter().map(stored));
        }
        for (name, held) in batch.iter().flat_map(|effects| &effects.keep) {
            let key = record_key(*name);
            changes.push(match held {
                None => cloakroom_stores::Change::Remove(key),
                Some(held) => {
                    let bytes = held.to_bytes(now).map_err(|cause| refused(cause.to_string()))?;
                    let value = [&written_ms.to_be_bytes()[..], &bytes].concat();
                    cloakroom_stores::Change::Put(key, value)
                }
            });
        }
        if changes.is_empty() {
            return Ok(Written::default());
        }
        let mut life = lock(&self.life);
        let due = life.due();
        changes.extend(due.map(mark));
        let written = Written { entries: changes.len(), bytes: changes.iter().map(length).sum() };
        self.file.write(&changes)?;
        life.has_written(due).map_err(|cause| refused(cause.to_string()))?;
        Ok(written)
    }
}

impl Drop for NodeDisk {
    fn drop(&mut self) {
        let mut life = lock(&self.life);
        // Without it the last marks count, which are true as well.
        if let Some(last) = life.last()
            && self.file.write(&[mark(last)]).is_ok()
        {
            let _ = life.has_written(Some(last));
        }
    }
}

fn mark(number: u64) -> cloakroom_stores::Change {
    cloakroom_stores::Change::Put(vec![MARKS], number.to_be_bytes().to_vec())
}

/// Moves a file to where none is.
fn put_aside(path: &Path) -> std::io::Result<PathBuf> {
    let mut number = 1_u64;
    loop {
        let mut name: OsString = path.as_os_str().to_owned();
        name.push(format!(".rolled-back-{number}"));
        let aside = PathBuf::from(name);
        if !aside.try_exists()? {
            std::fs::rename(path, &aside)?;
            return Ok(aside);
        }
        number += 1;
    }
}

fn record_key((key, origin): Name) -> Vec<u8> {
    [&[RECORD][..], &key.0, &origin.0].concat()
}

fn length(change: &cloakroom_stores::Change) -> usize {
    match change {
        cloakroom_stores::Change::Put(key, value) => key.len() + value.len(),
        cloakroom_stores::Change::Remove(key) | cloakroom_stores::Change::RemoveAll(key) => {
            key.len()
        }
    }
}

fn since_1970_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn stored(change: Change) -> cloakroom_stores::Change {
    match change {
        Change::Put(key, value) => cloakroom_stores::Change::Put(key, value),
        Change::Remove(key) => cloakroom_stores::Change::Remove(key),
        Change::RemoveAll(prefix) => cloakroom_stores::Change::RemoveAll(prefix),
    }
}
