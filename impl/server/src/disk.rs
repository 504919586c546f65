//! What a node must not forget, in a file.
//!
//! Invariants:
//! * REG-8 rests on this: what [`NodeDisk::write`] has returned from is on disk, whole, in its order;
//! * a disk of which nothing is known is a new incarnation, never the first one again: only
//!   [`NodeDisk::create`], which refuses a file that is there, makes a first one.
//!
//! What it does not do: notice a file that was rolled back to an older copy. Whoever restores one makes a
//! member that has forgotten its promises; assumptions.md says so.

use std::path::Path;

use cloakroom_pool::MapError;
use cloakroom_register::kept::{self, Change};
use cloakroom_register::{Disk, Incarnation, Member, Save};
use cloakroom_stores::{Durable, OpenError};
use cloakroom_wire::NodeId;
use thiserror::Error;

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
    /// The system has no entropy for a new incarnation.
    #[error("cannot name a new incarnation: the system gives no entropy")]
    Entropy,
}

/// A node's disk.
#[derive(Debug)]
pub struct NodeDisk {
    file: Durable,
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

    /// The disk of a node; where there is none, or one that holds nothing, a new incarnation begins.
    ///
    /// # Errors
    /// [`DiskError`]: then nothing was changed.
    pub fn open(path: &Path, node: NodeId) -> Result<(Self, Disk), DiskError> {
        let file = Durable::open(path)?;
        let entries = file.scan(b"")?;
        let entries = entries.iter().map(|(key, value)| (&key[..], &value[..]));
        let shown = path.display().to_string();
        let disk = kept::disk(entries).map_err(|(entry, cause)| {
            let cause = cause.to_string();
            DiskError::Damaged { path: shown.clone(), entry, cause }
        })?;
        match disk {
            Some(disk) if disk.me().node == node => Ok((Self { file }, disk)),
            Some(disk) => {
                let got = disk.me().node;
                Err(DiskError::Foreign { path: shown, expected: node, got })
            }
            None => {
                let mut random = [0; 8];
                aws_lc_rs::rand::fill(&mut random).map_err(|_| DiskError::Entropy)?;
                drop(file);
                // Never the first one's number.
                let incarnation = Incarnation(u64::from_be_bytes(random) | 1);
                Self::begin(path, Member { node, incarnation })
            }
        }
    }

    fn begin(path: &Path, me: Member) -> Result<(Self, Disk), DiskError> {
        let file = Durable::open(path)?;
        file.write(&[stored(kept::owner(me))])?;
        Ok((Self { file }, Disk::new(me)))
    }

    /// Makes all of it durable, in its order, with one sync.
    ///
    /// # Errors
    /// [`MapError`]: the node must not go on, since nobody knows what is on its disk.
    pub fn write<'a>(&self, saves: impl IntoIterator<Item = &'a Save>) -> Result<(), MapError> {
        let mut changes = Vec::new();
        for save in saves {
            let made = kept::changes(save)
                .map_err(|cause| MapError::Unavailable { cause: cause.to_string() })?;
            changes.extend(made.into_iter().map(stored));
        }
        if changes.is_empty() { Ok(()) } else { self.file.write(&changes) }
    }
}

fn stored(change: Change) -> cloakroom_stores::Change {
    match change {
        Change::Put(key, value) => cloakroom_stores::Change::Put(key, value),
        Change::Remove(key) => cloakroom_stores::Change::Remove(key),
        Change::RemoveAll(prefix) => cloakroom_stores::Change::RemoveAll(prefix),
    }
}
