//! A file that can be written to without being changed: what is written stays in memory.
//!
//! redb repairs a file while it opens it. To refuse a damaged or foreign file untouched, `open`
//! first lets redb open, repair and close such a stand-in for the file, and only then the file.
//!
//! Invariants:
//! * the file beneath is only ever read;
//! * reads see what was written through this stand-in, and beneath it the file as it was.
//!
//! What it does not do: lock (its user holds the file's lock), or keep anything.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

const PAGE: usize = 4096;

/// The stand-in. Clones share one state.
#[derive(Clone, Debug)]
pub(crate) struct Rehearsal(Arc<Mutex<Stage>>);

#[derive(Debug)]
struct Stage {
    /// The file beneath, if any, and how much of it still shows.
    file: Option<File>,
    shows: u64,
    len: u64,
    /// Whole pages that were written, by their number.
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl Rehearsal {
    /// A stand-in for an empty file.
    pub(crate) fn blank() -> Self {
        let stage = Stage { file: None, shows: 0, len: 0, pages: BTreeMap::new() };
        Self(Arc::new(Mutex::new(stage)))
    }

    /// A stand-in for `file` as it is now.
    ///
    /// # Errors
    /// Those of asking the file for its length.
    pub(crate) fn of(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let stage = Stage { file: Some(file), shows: len, len, pages: BTreeMap::new() };
        Ok(Self(Arc::new(Mutex::new(stage))))
    }

    /// The whole content.
    ///
    /// # Errors
    /// Those of reading the file beneath.
    pub(crate) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut stage = self.0.lock();
        let len = usize::try_from(stage.len).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        stage.read(0, &mut bytes)?;
        Ok(bytes)
    }
}

impl Stage {
    fn read(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = end_of(offset, out.len())?;
        if end > self.len {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the file ends at byte {}, expected bytes up to {end}", self.len),
            ));
        }
        for (page, within, piece) in pieces(offset, out.len()) {
            let out = &mut out[piece];
            let len = out.len();
            match self.pages.get(&page) {
                Some(bytes) => out.copy_from_slice(&bytes[within..within + len]),
                None => self.read_beneath(page * PAGE as u64 + within as u64, out)?,
            }
        }
        Ok(())
    }

    fn read_beneath(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let shown = self.shows.saturating_sub(offset);
        let shown = usize::try_from(shown).unwrap_or(usize::MAX).min(out.len());
        let (from_file, past) = out.split_at_mut(shown);
        past.fill(0);
        if let Some(file) = self.file.as_mut().filter(|_| !from_file.is_empty()) {
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(from_file)?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.len = self.len.max(end_of(offset, data.len())?);
        for (page, within, piece) in pieces(offset, data.len()) {
            if !self.pages.contains_key(&page) {
                let mut bytes = Box::new([0; PAGE]);
                self.read_beneath(page * PAGE as u64, &mut bytes[..])?;
                self.pages.insert(page, bytes);
            }
            let bytes = self.pages.get_mut(&page).expect("rehearsal: the page was just added");
            bytes[within..within + piece.len()].copy_from_slice(&data[piece]);
        }
        Ok(())
    }

    /// What lies past the end reads as zeros if the length grows again.
    fn set_len(&mut self, len: u64) {
        self.shows = self.shows.min(len);
        let whole = len / PAGE as u64;
        let kept = usize::try_from(len % PAGE as u64).expect("less than a page");
        self.pages.retain(|page, _| *page < whole || (*page == whole && kept > 0));
        if let Some(last) = self.pages.get_mut(&whole) {
            last[kept..].fill(0);
        }
        self.len = len;
    }
}

impl StorageBackend for Rehearsal {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.lock().read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().set_len(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().write(offset, data)
    }
}

fn end_of(offset: u64, len: usize) -> io::Result<u64> {
    offset.checked_add(len as u64).ok_or_else(|| {
        io::Error::new(io::ErrorKind::UnexpectedEof, format!("no file has a byte {offset}"))
    })
}

/// Cuts `[offset, offset + len)` at page borders: page, offset in the page, range in the buffer.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % PAGE as u64).expect("less than a page");
        let piece = done..len.min(done + PAGE - within);
        done = piece.end;
        Some((at / PAGE as u64, within, piece))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let write = (0..20_000u64, proptest::collection::vec(any::<u8>(), 1..9000))
            .prop_map(|(offset, data)| Step::Write(offset, data));
        let set_len = (0..30_000u64).prop_map(Step::SetLen);
        proptest::collection::vec(prop_oneof![write, set_len], 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_rehearsal_reads_like_the_file_it_stands_for_and_leaves_it_alone(
            content in proptest::collection::vec(any::<u8>(), 0..20_000),
            steps in steps(),
        ) {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content).unwrap();
            let rehearsal = Rehearsal::of(file.try_clone().unwrap()).unwrap();
            let mut expected = content.clone();
            for step in steps {
                match step {
                    Step::Write(offset, data) => {
                        rehearsal.write(offset, &data).unwrap();
                        let offset = usize::try_from(offset).unwrap();
                        expected.resize(expected.len().max(offset + data.len()), 0);
                        expected[offset..offset + data.len()].copy_from_slice(&data);
                    }
                    Step::SetLen(len) => {
                        rehearsal.set_len(len).unwrap();
                        expected.resize(usize::try_from(len).unwrap(), 0);
                    }
                }
                prop_assert_eq!(&rehearsal.bytes().unwrap(), &expected);
            }
            let past_the_end = rehearsal.read(expected.len() as u64, &mut [0]).unwrap_err();
            prop_assert_eq!(past_the_end.kind(), io::ErrorKind::UnexpectedEof);

            let mut after = Vec::new();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_end(&mut after).unwrap();
            prop_assert_eq!(after, content);
        }
    }
}
