//! A file that is written whole or not at all.
//!
//! Invariants:
//! * who cannot make the file learns it before the run, not after;
//! * what stood there stays until the new text stands beside it, and is then replaced in one step; where that
//!   fails, nothing is left behind.
//!
//! What it does not do: sync. A page can be made once more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where a file is to stand.
#[derive(Debug)]
pub(crate) struct WholeFile {
    path: PathBuf,
    /// Beside it; `None` where there is no file but a pipe or a device, which is written to as it is.
    beside: Option<PathBuf>,
}

impl WholeFile {
    /// A place where a file can be made, as far as the system says so now.
    ///
    /// # Errors
    /// The system's, as it would be later.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        // What a link leads to is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let there = fs::metadata(&path).ok();
        if there.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let beside = there.is_none_or(|there| there.is_file()).then(|| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}.part", std::process::id()));
            path.with_file_name(name)
        });
        if let Some(beside) = &beside {
            make(beside)?;
            fs::remove_file(beside)?;
        }
        Ok(Self { path, beside })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file has this text.
    ///
    /// # Errors
    /// The system's: then what stood there stands there still.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let Some(beside) = &self.beside else { return fs::write(&self.path, text) };
        let written = make(beside).and_then(|mut file| file.write_all(text.as_bytes()));
        let moved = written.and_then(|()| fs::rename(beside, &self.path));
        if moved.is_err() {
            // The first failure is the one to tell.
            let _ = fs::remove_file(beside);
        }
        moved
    }
}

/// A file that was not there: nobody else's is written over.
fn make(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().to_str().expect("a name of ours").to_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        let file = WholeFile::at(&folder.path().join("link")).unwrap();
        assert_eq!((names(folder.path()), fs::read_to_string(&path).unwrap()), {
            (vec!["link".to_owned(), "page.html".to_owned()], "old".to_owned())
        });
        file.write("new").unwrap();
        assert_eq!((names(folder.path()), fs::read_to_string(&path).unwrap()), {
            (vec!["link".to_owned(), "page.html".to_owned()], "new".to_owned())
        });
        assert!(fs::symlink_metadata(folder.path().join("link")).unwrap().is_symlink());
    }

    #[test]
    fn who_cannot_make_it_learns_so_first_and_what_fails_later_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let kind = |path: &Path| WholeFile::at(path).unwrap_err().kind();
        assert_eq!(kind(&folder.path().join("none/page.html")), io::ErrorKind::NotFound);
        assert_eq!(kind(folder.path()), io::ErrorKind::IsADirectory);
        let path = folder.path().join("page.html");
        let file = WholeFile::at(&path).unwrap();
        // Meanwhile a folder has come.
        fs::create_dir(&path).unwrap();
        assert!(file.write("new").is_err());
        assert_eq!(names(folder.path()), ["page.html"]);
    }
}
