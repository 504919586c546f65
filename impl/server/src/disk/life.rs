//! How far a node's disk has come, in a file beside it: by it a disk that was rolled back is noticed.
//!
//! The file `node.life` has the incarnation and a number of writes, in hexadecimal. The disk counts its writes itself.
//! One that has counted fewer than stand beside it is an older copy that was put back.
//!
//! Invariants:
//! * REG-6: what stands here was reached by the disk before: it is written after the disk's own sync, never before;
//! * it is written before anything that follows from the first write of a start leaves, then every [`PAUSE`] in
//!   which something is written, and at the end: a copy is noticed if it is older than the last of these.
//!
//! What it does not do: notice a folder that was put back whole, or a copy that is younger than that. Both have
//! forgotten promises, and nobody knows.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cloakroom_register::Incarnation;

use crate::error::Error;
use crate::files::{self, Readers};

/// So old, what stands in the file is written anew.
const PAUSE: Duration = Duration::from_secs(5);

/// The file.
#[derive(Debug)]
pub(super) struct Life {
    path: PathBuf,
    incarnation: Incarnation,
    /// Writes of the disk.
    writes: u64,
    /// As many stand in the file, if it was written by this start, and since when.
    noted: Option<(u64, Instant)>,
}

impl Life {
    /// Of a disk that has counted so many writes.
    pub(super) fn new(disk: &Path, incarnation: Incarnation, writes: u64) -> Self {
        Self { path: beside(disk), incarnation, writes, noted: None }
    }

    /// Whether the disk is another one than stands in the file, or has come less far.
    pub(super) fn is_rolled_back(&self) -> Result<bool, Error> {
        if !self.path.try_exists().map_err(files::at(&self.path))? {
            // As on the first day; later nobody knows how far the disk had come.
            return Ok(self.writes > 0);
        }
        let text = files::read(&self.path)?;
        let number = |word: Option<&str>| u64::from_str_radix(word?, 16).ok();
        let mut words = text.split_whitespace();
        // What nobody has written says nothing, as if there were none.
        let (incarnation, writes) = (number(words.next()), number(words.next()));
        Ok(incarnation != Some(self.incarnation.0)
            || writes.is_none_or(|noted| self.writes < noted))
    }

    /// How many writes the disk will have counted after the next one.
    pub(super) fn next(&self) -> u64 {
        self.writes + 1
    }

    /// The disk has counted one more.
    pub(super) fn has_written(&mut self) -> Result<(), Error> {
        self.writes += 1;
        match self.noted {
            Some((_, at)) if at.elapsed() < PAUSE => Ok(()),
            _ => self.note(),
        }
    }

    /// Writes the file, if it does not say so already.
    pub(super) fn note(&mut self) -> Result<(), Error> {
        if self.noted.is_some_and(|(writes, _)| writes == self.writes) {
            return Ok(());
        }
        let text = format!("{:016x} {:016x}\n", self.incarnation.0, self.writes);
        files::replace(&self.path, text.as_bytes(), Readers::Owner)?;
        self.noted = Some((self.writes, Instant::now()));
        Ok(())
    }
}

fn beside(disk: &Path) -> PathBuf {
    disk.with_extension("life")
}
