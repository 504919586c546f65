//! Opening the file of a [`Durable`](crate::Durable) map, or creating it.
//!
//! An open goes through these steps, and a failure in 1 to 4 changes nothing on disk:
//! 1. it must be a regular file, or none; none is created, empty;
//! 2. take the file's lock, which is held as long as the file is open;
//! 3. an empty file, or one that says it is still being created, gets the image of an empty map;
//!    an open that must not create refuses it, and in step 1 it refuses that there is no file;
//! 4. rehearse: redb opens, verifies, repairs and closes a stand-in of the file (`rehearsal`),
//!    and the format marker is read from it;
//! 5. redb does the same with the file itself, on the same bytes with the same code.
//!
//! Invariants:
//! * a file that is refused has the bytes that it had before, and a file that is not ours is
//!   always refused;
//! * a crash while the file is being created leaves a file that the next open takes for none:
//!   the marker of an unfinished file stands in the first page until all else is on disk.
//!
//! What it does not do: mend a damaged file. It holds acknowledged writes, and guessing which of
//! them to give up is for a person to decide. Only what a crash can leave is repaired.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend,
    StorageError, TableDefinition, TableError, TableHandle,
};
use thiserror::Error;

use crate::rehearsal::Rehearsal;

/// The map itself.
pub(crate) const MAP: TableDefinition<&[u8], &[u8]> = TableDefinition::new("map");
/// What tells our files from other files of redb.
const FORMAT: TableDefinition<&str, &[u8]> = TableDefinition::new("format");
const MAGIC: &[u8] = b"cloakroom map";
const VERSION: u32 = 1;

/// The first bytes of every file of redb.
const REDB_MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// The first bytes of a file of ours until it is complete.
const UNFINISHED: &[u8] = b"cloakroom: this file is being created and holds nothing yet\n";
/// The first page holds redb's magic number; it is written last.
const FIRST_PAGE: usize = 4096;

/// How much of the file may be kept in memory.
const CACHE_BYTES: usize = 256 << 20;

/// Why a file was not opened. Nothing in it was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The caller's fault: this is somebody else's file.
    #[error(
        "{}: not a file of Cloakroom: expected {expected}, got {got}; it was left as it is",
        path.display()
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What a file of ours has.
        expected: &'static str,
        /// What this one has.
        got: String,
    },
    /// A file of ours that another version of Cloakroom has written.
    #[error(
        "{}: written by another version of Cloakroom: expected format {expected}, got {got}; \
         it was left as it is",
        path.display()
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// The format that this version reads and writes.
        expected: u32,
        /// The format of the file.
        got: u32,
    },
    /// The disk's fault, or that of whoever wrote into the file.
    #[error(
        "{}: the file is damaged: expected {expected}, got {got}; it was left as it is, \
         restore it from a copy",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What a whole file has.
        expected: &'static str,
        /// What was found instead.
        got: String,
    },
    /// Another process, or another part of this one, has the file open.
    #[error("{}: the file is in use: expected {expected}, got {got}", path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
        /// What an open needs.
        expected: &'static str,
        /// What it met.
        got: &'static str,
    },
    /// The caller's fault: there is nothing to open, and creating was not asked for.
    #[error("{}: expected a file with a map, got {got}; nothing has been created", path.display())]
    Nothing {
        /// Which file.
        path: PathBuf,
        /// What there is.
        got: &'static str,
    },
    /// The operating system refused.
    #[error("{}: cannot {tried}: {got}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        tried: &'static str,
        /// What the operating system said.
        #[source]
        got: io::Error,
    },
}

/// What to do where there is no map yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Create,
    Refuse,
}

/// Opens the file, or creates it. See the module for the steps.
pub(crate) fn open(path: &Path, absent: Absent) -> Result<Database, OpenError> {
    let file = claim(path, absent)?;
    match (is_blank(path, &file)?, absent) {
        (false, _) => {}
        (true, Absent::Create) => create(path, &file)?,
        (true, Absent::Refuse) => {
            let got = "one that holds nothing";
            return Err(OpenError::Nothing { path: path.to_owned(), got });
        }
    }
    rehearse(path, &file)?;
    let backend = FileBackend::new(file).map_err(|cause| refusal(path, cause))?;
    start(backend).map_err(|cause| refusal(path, cause))
}

/// redb on `backend`, with every page verified.
pub(crate) fn start(backend: impl StorageBackend) -> Result<Database, DatabaseError> {
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(backend)
}

/// Opens the file and takes its lock.
fn claim(path: &Path, absent: Absent) -> Result<File, OpenError> {
    // Asked before the open, which has effects on some things that are no files.
    if let Ok(metadata) = std::fs::metadata(path)
        && !metadata.is_file()
    {
        let got = if metadata.is_dir() { "a folder" } else { "something else" }.to_owned();
        return Err(OpenError::Foreign { path: path.to_owned(), expected: "a regular file", got });
    }
    let tried = match absent {
        Absent::Create => "open or create it",
        Absent::Refuse => "open it for reading and writing",
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(absent == Absent::Create)
        .truncate(false)
        .open(path)
        .map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound if absent == Absent::Refuse => {
                OpenError::Nothing { path: path.to_owned(), got: "none" }
            }
            _ => io_error(path, tried)(cause),
        })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(locked(path)),
        // No locks on this file system; redb tries its own kind when it opens the file.
        Err(TryLockError::Error(cause)) if cause.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(cause)) => Err(io_error(path, "lock it")(cause)),
    }
}

/// Whether the file holds nothing: it is empty, or was never completed.
///
/// # Errors
/// [`OpenError::Foreign`] if it begins as no file of ours does.
fn is_blank(path: &Path, mut file: &File) -> Result<bool, OpenError> {
    let most = UNFINISHED.len().max(REDB_MAGIC.len());
    let mut head = Vec::with_capacity(most);
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.take(most as u64).read_to_end(&mut head))
        .map_err(io_error(path, "read its first bytes"))?;
    if head.is_empty() || head.starts_with(UNFINISHED) {
        return Ok(true);
    }
    if head.starts_with(REDB_MAGIC) {
        return Ok(false);
    }
    head.truncate(REDB_MAGIC.len());
    Err(OpenError::Foreign {
        path: path.to_owned(),
        expected: "the first bytes of a redb file, 72 65 64 62 1a 0a a9 0d 0a",
        got: head.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    })
}

/// Writes an empty map into a file that holds nothing.
fn create(path: &Path, mut file: &File) -> Result<(), OpenError> {
    let image = empty_map().map_err(|cause| io_error(path, "make an empty map")(into_io(cause)))?;
    let (first, rest) = image.split_at(FIRST_PAGE);
    let written = (|| {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(UNFINISHED)?;
        file.sync_data()?;
        file.seek(SeekFrom::Start(FIRST_PAGE as u64))?;
        file.write_all(rest)?;
        file.sync_data()?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(first)?;
        file.sync_all()?;
        sync_folder(path)
    })();
    written.map_err(io_error(path, "write an empty map into it"))
}

/// The bytes of a file with an empty map.
fn empty_map() -> Result<Vec<u8>, redb::Error> {
    let image = Rehearsal::blank();
    let database = start(image.clone())?;
    lay_out(&database)?;
    database.close()?;
    Ok(image.bytes()?)
}

/// Puts the format marker and an empty map into an empty database.
pub(crate) fn lay_out(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut format = transaction.open_table(FORMAT)?;
        format.insert("magic", MAGIC)?;
        format.insert("version", VERSION.to_be_bytes().as_slice())?;
        transaction.open_table(MAP)?;
    }
    Ok(transaction.commit()?)
}

/// The name of a new file must be on disk too before anything in it is acknowledged.
fn sync_folder(path: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened as a file, and the system keeps names in order itself.
    if cfg!(unix) {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Lets redb open, repair and close a stand-in of the file, and reads the format marker from it.
fn rehearse(path: &Path, file: &File) -> Result<(), OpenError> {
    let stage = file.try_clone().and_then(Rehearsal::of).map_err(io_error(path, "read it"))?;
    // redb promises errors, not panics, where it verifies; bytes from outside must not depend on
    // a promise. The stand-in and all that was in it end here, so no broken state is left.
    let rehearsed = catch_unwind(AssertUnwindSafe(|| {
        let database = start(stage).map_err(|cause| refusal(path, cause))?;
        let transaction = database.begin_read().map_err(|cause| damaged(path, &cause))?;
        check_format(path, &transaction)
    }));
    rehearsed.unwrap_or_else(|_| Err(damaged(path, &"content that redb panics on")))
}

/// Whether the tables of a redb file are ours.
fn check_format(path: &Path, transaction: &ReadTransaction) -> Result<(), OpenError> {
    let foreign = |got: String| OpenError::Foreign {
        path: path.to_owned(),
        expected: "the format marker of Cloakroom",
        got,
    };
    let format = match transaction.open_table(FORMAT) {
        Ok(table) => table,
        Err(TableError::Storage(cause)) => return Err(damaged(path, &cause)),
        Err(_) => {
            let tables = transaction.list_tables().map_err(|cause| damaged(path, &cause))?;
            let names: Vec<_> = tables.map(|table| table.name().to_owned()).collect();
            return Err(foreign(format!("a redb file with the tables {names:?}")));
        }
    };
    let value = |key| {
        let value = format.get(key).map_err(|cause| damaged(path, &cause))?;
        Ok(value.map(|value| value.value().to_vec()))
    };
    if value("magic")?.as_deref() != Some(MAGIC) {
        return Err(foreign("a redb file with another marker".to_owned()));
    }
    let version = value("version")?.and_then(|bytes| bytes.try_into().ok());
    match version.map(u32::from_be_bytes) {
        Some(VERSION) => {}
        Some(got) => {
            return Err(OpenError::Version { path: path.to_owned(), expected: VERSION, got });
        }
        None => return Err(damaged(path, &"a format marker without a version")),
    }
    transaction.open_table(MAP).map(drop).map_err(|cause| damaged(path, &cause))
}

/// What redb's refusal means to the caller.
fn refusal(path: &Path, cause: DatabaseError) -> OpenError {
    match cause {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => locked(path),
        DatabaseError::UpgradeRequired(got) => OpenError::Foreign {
            path: path.to_owned(),
            expected: "redb file format 3",
            got: format!("redb file format {got}"),
        },
        // redb's word, and the stand-in's, for bytes that are not there or make no sense.
        DatabaseError::Storage(StorageError::Io(cause))
            if !matches!(
                cause.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            io_error(path, "read and write it")(cause)
        }
        cause => damaged(path, &cause),
    }
}

fn damaged(path: &Path, got: &dyn std::fmt::Display) -> OpenError {
    let expected = "pages that match their checksums";
    OpenError::Damaged { path: path.to_owned(), expected, got: got.to_string() }
}

fn locked(path: &Path) -> OpenError {
    OpenError::Locked {
        path: path.to_owned(),
        expected: "a file that nobody has open",
        got: "the lock of another process that has it open",
    }
}

fn io_error(path: &Path, tried: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |got| OpenError::Io { path: path.to_owned(), tried, got }
}

fn into_io(cause: redb::Error) -> io::Error {
    match cause {
        redb::Error::Io(cause) => cause,
        cause => io::Error::other(cause),
    }
}
