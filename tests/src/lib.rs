//! Checks across crates; they stand in `tests/`. Here is what they read the repository with.
//!
//! * [`Repository`]: its files.
//! * [`register::Register`]: the property register of `specs/README.md`.
//!
//! Nothing here is written to, and nothing is built.

#![forbid(unsafe_code)]

pub mod register;

use std::fs;
use std::path::{Path, PathBuf};

/// The working tree.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
}

/// A file with its path from the root, with `/` between names.
#[derive(Clone, Debug)]
pub struct Source {
    /// From the root.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Repository {
    /// The repository that this crate stands in.
    ///
    /// # Panics
    /// When the crate is not a folder of it.
    pub fn here() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the root");
        Self { root: root.into() }
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The text of a file.
    ///
    /// # Panics
    /// When it cannot be read, with its path.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
    }

    /// All files below a folder (`""` is the root) whose name ends so, in the order of their paths.
    /// Build output and hidden folders are left out.
    ///
    /// # Panics
    /// When a folder or file cannot be read, with its path.
    pub fn sources(&self, below: &str, ending: &str) -> Vec<Source> {
        let mut paths = Vec::new();
        walk(&self.root.join(below), &mut paths);
        let paths = paths.iter().map(|path| {
            let path = path.strip_prefix(&self.root).expect("below the root");
            path.components().map(|name| name.as_os_str().to_string_lossy()).collect::<Vec<_>>()
        });
        let mut paths: Vec<String> = paths.map(|names| names.join("/")).collect();
        paths.retain(|path| path.ends_with(ending));
        paths.sort();
        paths.into_iter().map(|path| Source { text: self.read(&path), path }).collect()
    }
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    let unreadable = |cause| -> ! { panic!("{}: {cause}", folder.display()) };
    for entry in fs::read_dir(folder).unwrap_or_else(|cause| unreadable(cause)) {
        let path = entry.unwrap_or_else(|cause| unreadable(cause)).path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_file() {
            paths.push(path);
        } else if path.is_dir() && name != "target" && !name.starts_with('.') {
            walk(&path, paths);
        }
    }
}
