//! How far a node's disk has come, in a file beside it: by it a disk that was rolled back is noticed.
//!
//! The file `node.life` has the incarnation and a number of marks, in hexadecimal. The disk counts its marks itself: a
//! mark is written together with something else, and then noted here. One that has counted fewer than stand
//! beside it is an older copy that was put back.
//!
//! Invariants:
//! * REG-6: what stands here was reached by the disk before: it is written after the disk's own sync, never before;
//! * a mark comes with the first write of a start, and is noted before anything that follows from it leaves;
//!   then every [`PAUSE`] in which something is written, and at the end: a copy is noticed if it is older than
//!   the last of these.
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
    /// Marks of the disk.
    marks: u64,
    /// When the file was written last, if by this start.
    noted: Option<Instant>,
    /// The disk has been written since its last mark.
    is_ahead: bool,
}

impl Life {
    /// Of a disk that has counted so many marks.
    pub(super) fn new(disk: &Path, incarnation: Incarnation, marks: u64) -> Self {
        Self { path: beside(disk), incarnation, marks, noted: None, is_ahead: false }
    }

    /// Whether the disk is another one than stands in the file, or has come less far.
    pub(super) fn is_rolled_back(&self) -> Result<bool, Error> {
        if !self.path.try_exists().map_err(files::at(&self.path))? {
            // As on the first day; later nobody knows how far the disk had come.
            return Ok(self.marks > 0);
        }
        let text = files::read(&self.path)?;
        let number = |word: Option<&str>| u64::from_str_radix(word?, 16).ok();
        let mut words = text.split_whitespace();
        // What nobody has written says nothing, as if there were none.
        let (incarnation, marks) = (number(words.next()), number(words.next()));
        Ok(incarnation != Some(self.incarnation.0) || marks.is_none_or(|noted| self.marks < noted))
    }

    /// The mark that the next write of the disk is to take along, if it is time for one.
    pub(super) fn due(&self) -> Option<u64> {
        let is_due = self.noted.is_none_or(|at| at.elapsed() >= PAUSE);
        is_due.then_some(self.marks + 1)
    }

    /// The mark for the end, if something was written since the last one.
    pub(super) fn last(&self) -> Option<u64> {
        self.is_ahead.then_some(self.marks + 1)
    }

    /// The disk has been written, without a mark or with the next one, which is noted now.
    pub(super) fn has_written(&mut self, mark: Option<u64>) -> Result<(), Error> {
        self.is_ahead = mark.is_none();
        let Some(mark) = mark else { return Ok(()) };
        self.marks = mark;
        self.note()
    }

    /// Writes the file.
    pub(super) fn note(&mut self) -> Result<(), Error> {
        let text = format!("{:016x} {:016x}\n", self.incarnation.0, self.marks);
        files::replace(&self.path, text.as_bytes(), Readers::Owner)?;
        self.noted = Some(Instant::now());
        Ok(())
    }
}

fn beside(disk: &Path) -> PathBuf {
    disk.with_extension("life")
}
