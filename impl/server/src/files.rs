//! Files that must not be lost, half written, or read by others.
//!
//! Invariants:
//! * NET-4: a file is written whole or not at all: first beside it, synced, then moved into its place, and
//!   the folder synced;
//! * NET-4: a secret is never, not for a moment, open to others than its owner.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::Error;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    Owner,
    All,
}

impl Readers {
    const fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::All => 0o644,
        }
    }
}

/// Writes a new file; one that is there is an error.
pub(crate) fn create(path: &Path, content: &[u8], readers: Readers) -> Result<(), Error> {
    if path.try_exists().map_err(at(path))? {
        return Err(Error::Exists(path.to_path_buf()));
    }
    replace(path, content, readers)
}

/// Writes a file, in place of one that may be there.
pub(crate) fn replace(path: &Path, content: &[u8], readers: Readers) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let write = || -> io::Result<()> {
        match fs::remove_file(beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(readers.mode()).open(beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(beside, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(at(path))
}

/// Makes an empty file that only its owner may read, unless there is one.
pub(crate) fn empty(path: &Path) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(Readers::Owner.mode()).open(path).map_err(at(path))?;
    Ok(())
}

/// Reads a text.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(at(path))
}

/// Reads a secret: refused if others may read it too.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<String>, Error> {
    let mode = fs::metadata(path).map_err(at(path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::Open { path: path.to_path_buf(), mode });
    }
    read(path).map(Zeroizing::new)
}

/// Makes a folder, unless it is there.
pub(crate) fn folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(at(path))
}

/// For `map_err`.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { path: path.to_path_buf(), source }
}
