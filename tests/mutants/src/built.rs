//! What was built of other people's packages is the same wherever our own stand: a copy of the tree need not build
//! it again.
//!
//! Invariants:
//! * cargo decides: what it does not take for fresh, it builds;
//! * nothing of our own packages is taken over, for those are what a mutant changes;
//! * files keep their times, by which cargo tells what is fresh.
//!
//! What it does not do: link. What is built later in the copy may be written over what stands there.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// The folders that both `cargo test` and `cargo build --release` write.
const PROFILES: [&str; 2] = ["debug", "release"];

/// Copies what stands in one target folder of packages that `lock`, a `Cargo.lock`, has from elsewhere, to another
/// one. A target folder that is not there has nothing.
///
/// # Errors
/// The first file that could not be read or written.
pub(crate) fn take_over(lock: &str, from: &Path, to: &Path) -> io::Result<()> {
    let foreign = foreign(lock);
    for (from, to) in PROFILES.map(|profile| (from.join(profile), to.join(profile))) {
        let mut hashes: Vec<String> = Vec::new();
        for name in names(&from.join(".fingerprint"))? {
            // A package's name, and a hash of all that its building depends on.
            if let Some((package, hash)) = name.rsplit_once('-')
                && foreign.contains(&package)
            {
                hashes.push(hash.to_owned());
            }
        }
        for folder in [".fingerprint", "build", "deps"] {
            for name in names(&from.join(folder))? {
                let stem = name.split('.').next().unwrap_or(&name);
                if hashes.iter().any(|hash| stem.ends_with(hash.as_str())) {
                    copy(&from.join(folder).join(&name), &to.join(folder).join(&name))?;
                }
            }
        }
    }
    Ok(())
}

/// The packages that come from somewhere.
fn foreign(lock: &str) -> Vec<&str> {
    let packages = lock.split("[[package]]").filter(|package| package.contains("\nsource = "));
    packages.filter_map(|package| package.split('"').nth(1)).collect()
}

/// What stands in a folder, if it is there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        names(from)?.iter().try_for_each(|name| copy(&from.join(name), &to.join(name)))?;
    } else {
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(from, to)?;
    }
    File::open(to)?.set_modified(from.metadata()?.modified()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_made_is_taken_over_and_nothing_of_ours() {
        let lock = "version = 4\n\n[[package]]\nname = \"theirs\"\nversion = \"1.0.0\"\nsource = \"x\"\n\n\
            [[package]]\nname = \"ours\"\nversion = \"0.1.0\"\ndependencies = [\n \"theirs\",\n]\n";
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        let put = |path: &str| {
            let path = from.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "built").unwrap();
            let before = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(9);
            File::open(&path).unwrap().set_modified(before).unwrap();
        };
        let theirs = [
            "debug/.fingerprint/theirs-0a/lib-theirs",
            "debug/build/theirs-0a/out/made.rs",
            "debug/deps/libtheirs-0a.rlib",
            "release/.fingerprint/theirs-0b/lib-theirs",
            "release/deps/theirs-0b.d",
        ];
        let ours = [
            "debug/.fingerprint/ours-0c/lib-ours",
            "debug/deps/libours-0c.rlib",
            "debug/deps/libtheirs-0b.rlib",
            "release/ours",
        ];
        theirs.iter().chain(&ours).copied().for_each(put);
        take_over(lock, &from, &to).unwrap();
        for path in theirs {
            let (from, to) = (from.join(path), to.join(path));
            assert_eq!(fs::read(&to).unwrap(), b"built", "{path}");
            let at = |path: &Path| path.metadata().unwrap().modified().unwrap();
            assert_eq!(at(&to), at(&from), "{path}");
        }
        for path in ours {
            assert!(!to.join(path).exists(), "{path}");
        }
        take_over(lock, &home.path().join("nowhere"), &to).unwrap();
    }
}
