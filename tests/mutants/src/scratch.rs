//! A copy of the tracked tree in which mutants are applied, built and checked.
//!
//! Invariants:
//! * the tree that is copied is never written;
//! * after [`Scratch::restore`] the copy is again what was copied, also without files that a check
//!   has left behind;
//! * builds go to a directory of the copy's own and are kept between mutants. It begins with what was built of other
//!   people's packages (`built.rs`).
//!
//! The copy is a git index of its own, without a commit: that is what patches are applied to and
//! what restoring goes back to.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

use crate::built;

/// Why a mutant could not be tried.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum ScratchError {
    #[error("{path}: {cause}")]
    File { path: PathBuf, cause: std::io::Error },
    #[error("`git {arguments}` failed: {output}")]
    Git { arguments: String, output: String },
}

/// The copy.
#[derive(Debug)]
pub(crate) struct Scratch {
    tree: PathBuf,
    target: PathBuf,
}

impl Scratch {
    /// Copies what git tracks, and what it neither tracks nor ignores, from `root` into `directory`.
    ///
    /// # Errors
    /// The first file or git command that failed.
    pub(crate) fn copy(root: &Path, directory: &Path) -> Result<Self, ScratchError> {
        let scratch = Self { tree: directory.join("tree"), target: directory.join("target") };
        let listed = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        for file in git(root, &listed)?.split('\0').filter(|file| !file.is_empty()) {
            let (from, to) = (root.join(file), scratch.tree.join(file));
            // In the index and deleted since.
            if !from.is_file() {
                continue;
            }
            let parent = to.parent().unwrap_or(&scratch.tree);
            fs::create_dir_all(parent)
                .and_then(|()| fs::copy(&from, &to))
                .map_err(|cause| ScratchError::File { path: to, cause })?;
        }
        let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
        let built = env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
        built::take_over(&lock, &built, &scratch.target)
            .map_err(|cause| ScratchError::File { path: built, cause })?;
        git(&scratch.tree, &["init", "--quiet"])?;
        git(&scratch.tree, &["add", "--all"])?;
        Ok(scratch)
    }

    /// Applies a patch.
    ///
    /// # Errors
    /// git's, which names file and line.
    pub(crate) fn apply(&self, patch: &Path) -> Result<(), ScratchError> {
        git(&self.tree, &["apply", "--whitespace=nowarn", &patch.to_string_lossy()]).map(drop)
    }

    /// Undoes everything since the copy.
    ///
    /// # Errors
    /// git's.
    pub(crate) fn restore(&self) -> Result<(), ScratchError> {
        git(&self.tree, &["checkout-index", "--all", "--force"])?;
        git(&self.tree, &["clean", "-d", "--force", "--quiet"]).map(drop)
    }

    /// A command that runs in the copy and builds in its own directory.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&self.tree);
        command.env("CARGO_TARGET_DIR", &self.target);
        // A shrinking property test panics often; a backtrace each time is most of its time.
        command.env("RUST_BACKTRACE", "0");
        // Release builds too: between two mutants one file differs.
        command.env("CARGO_INCREMENTAL", "1").env("CARGO_TERM_COLOR", "never");
        command
    }
}

/// Runs git in a directory, and not in a repository that the environment names.
///
/// # Errors
/// git's.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> Result<String, ScratchError> {
    let failed = |output: String| ScratchError::Git { arguments: arguments.join(" "), output };
    let mut command = Command::new("git");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(variable);
    }
    let output = (command.args(arguments).current_dir(directory).output())
        .map_err(|cause| failed(cause.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().into()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_mutated_and_restored_and_its_source_is_not_touched() {
        let home = tempfile::tempdir().unwrap();
        let (root, patch) = (home.path().join("root"), home.path().join("m.patch"));
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(root.join("src/f"), "one\ntwo\n").unwrap();
        fs::write(
            &patch,
            "Mutant: x\n\n--- a/src/f\n+++ b/src/f\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n",
        )
        .unwrap();
        git(&root, &["init", "--quiet"]).unwrap();
        let scratch = Scratch::copy(&root, &home.path().join("scratch")).unwrap();
        let copied = || fs::read_to_string(scratch.tree.join("src/f")).unwrap();
        scratch.apply(&patch).unwrap();
        assert_eq!(copied(), "one\n2\n");
        let again = scratch.apply(&patch).unwrap_err().to_string();
        assert!(again.contains("src/f"), "names the file: {again}");
        fs::write(scratch.tree.join("left-behind"), "").unwrap();
        scratch.restore().unwrap();
        assert_eq!(copied(), "one\ntwo\n");
        assert!(!scratch.tree.join("left-behind").exists());
        assert_eq!(fs::read_to_string(root.join("src/f")).unwrap(), "one\ntwo\n");
    }
}
