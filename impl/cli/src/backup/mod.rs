//! The file of a backup: one entry a line, each with a checksum over all lines so far.
//!
//! ```text
//! 93a7…  {"head":{"cloakroom_backup":1,"cluster":"…","begun_unix_ms":…}}
//! 0c55…  {"pool":{"pool":"ports","number":1,"size":1000,…}}
//! 8e01…  {"held":{"id":0,"tag":"web-1"}}
//! 44d2…  {"key":{"key":"coat","value_hex":"726564"}}
//! f001…  {"end":{"ended_unix_ms":…,"pools":1,"allocations":1,"keys":1}}
//! ```
//!
//! Invariants:
//! * a file is read whole, or refused with the line that is wrong: a line that was changed, lost, added or
//!   moved has not the checksum that follows from those before it, and without its end the file is cut short;
//! * an entry that this version does not know is refused, not skipped.
//!
//! What it does not do: prove who wrote it; whoever can write the file can make its checksums.

mod restore;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use cloakroom_client::{Allocation, Pool};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use restore::{Restored, restore};

const VERSION: u32 = 1;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Entry {
    /// The first.
    Head {
        cloakroom_backup: u32,
        cluster: String,
        begun_unix_ms: u64,
    },
    /// A pool; what it holds follows.
    Pool(Pool),
    Held(Allocation),
    Key {
        key: String,
        value_hex: String,
    },
    /// The last.
    End(Total),
}

/// What a backup holds in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Total {
    pub(crate) ended_unix_ms: u64,
    pub(crate) pools: u64,
    pub(crate) allocations: u64,
    pub(crate) keys: u64,
}

/// A pool with what it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SavedPool {
    pub(crate) pool: Pool,
    pub(crate) held: Vec<Allocation>,
}

/// A backup that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backup {
    pub(crate) cluster: String,
    pub(crate) begun_unix_ms: u64,
    pub(crate) pools: Vec<SavedPool>,
    /// Keys with their values.
    pub(crate) keys: Vec<(String, Vec<u8>)>,
    pub(crate) total: Total,
    /// Of all lines.
    pub(crate) checksum: String,
}

/// A backup that cannot be used: its file is damaged, or was written by another version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}: expected {expected}, got {got}; nothing has been changed")]
pub struct BackupError {
    file: String,
    line: usize,
    expected: &'static str,
    got: String,
}

pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect())?
}

/// Of a line, after the checksum of the one before it.
fn checksum(before: &str, json: &str) -> String {
    hex(digest(&SHA256, format!("{before}\n{json}").as_bytes()).as_ref())
}

/// Writes a backup: beside the file, which is there only when it is whole.
pub(crate) struct Writer<'a> {
    path: &'a Path,
    file: BufWriter<File>,
    last: String,
    total: Total,
}

impl<'a> Writer<'a> {
    pub(crate) fn create(path: &'a Path) -> io::Result<Self> {
        if path.exists() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already"));
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(part(path))?;
        let (file, last) = (BufWriter::new(file), String::new());
        Ok(Self { path, file, last, total: Total::default() })
    }

    /// The first line.
    pub(crate) fn begin(&mut self, cluster: &str) -> io::Result<()> {
        let (cluster, begun_unix_ms) = (cluster.to_owned(), unix_ms());
        self.write(&Entry::Head { cloakroom_backup: VERSION, cluster, begun_unix_ms })
    }

    pub(crate) fn write(&mut self, entry: &Entry) -> io::Result<()> {
        match entry {
            Entry::Pool(_) => self.total.pools += 1,
            Entry::Held(_) => self.total.allocations += 1,
            Entry::Key { .. } => self.total.keys += 1,
            Entry::Head { .. } | Entry::End(_) => {}
        }
        let json = serde_json::to_string(entry).expect("texts and numbers");
        self.last = checksum(&self.last, &json);
        writeln!(self.file, "{} {json}", self.last)
    }

    /// The last line; then the file is on disk, under its name.
    pub(crate) fn finish(mut self) -> io::Result<Total> {
        self.total.ended_unix_ms = unix_ms();
        self.write(&Entry::End(self.total))?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        // Fails if it is there by now.
        std::fs::hard_link(part(self.path), self.path)?;
        std::fs::remove_file(part(self.path))?;
        Ok(self.total)
    }
}

fn part(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

/// Reads a file's text.
pub(crate) fn parse(bytes: &[u8], file: &str) -> Result<Backup, BackupError> {
    let wrong =
        |line, expected, got: String| BackupError { file: file.to_owned(), line, expected, got };
    let (mut pools, mut keys) = (Vec::<SavedPool>::new(), Vec::new());
    let (mut last, mut head, mut counted) = (String::new(), None, Total::default());
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').zip(1..);
    for (line, number) in &mut lines {
        let text = std::str::from_utf8(line)
            .map_err(|_| wrong(number, "UTF-8", "other bytes".to_owned()))?;
        let Some(text) = text.strip_suffix('\n') else {
            return Err(wrong(number, "a whole line", "the end of the file".to_owned()));
        };
        let (sum, json) = text.split_once(' ').unwrap_or((text, ""));
        last = checksum(&last, json);
        if last != sum {
            let got = "another one: this line or its place was changed".to_owned();
            return Err(wrong(number, "the checksum of all lines so far", got));
        }
        let entry = serde_json::from_str(json);
        let entry =
            entry.map_err(|cause| wrong(number, "an entry of version 1", cause.to_string()))?;
        match (entry, &head) {
            (Entry::Head { cloakroom_backup: VERSION, cluster, begun_unix_ms }, None) => {
                head = Some((cluster, begun_unix_ms));
            }
            (Entry::Pool(pool), Some(_)) => pools.push(SavedPool { pool, held: Vec::new() }),
            (Entry::Held(pair), Some(_)) if !pools.is_empty() => {
                counted.allocations += 1;
                pools.iter_mut().next_back().expect("one is there").held.push(pair);
            }
            (Entry::Key { key, value_hex }, Some(_)) => {
                let value = unhex(&value_hex);
                let value = value.ok_or_else(|| wrong(number, "hexadecimal digits", value_hex))?;
                keys.push((key, value));
            }
            (Entry::End(total), Some((cluster, begun))) => {
                counted = Total { pools: pools.len() as u64, keys: keys.len() as u64, ..counted };
                let ended_unix_ms = total.ended_unix_ms;
                if (Total { ended_unix_ms, ..counted }) != total {
                    return Err(wrong(
                        number,
                        "as many entries as were read",
                        format!("{total:?}"),
                    ));
                }
                if let Some((_, number)) = lines.next() {
                    return Err(wrong(
                        number,
                        "the end of the file",
                        "a line behind it".to_owned(),
                    ));
                }
                let (cluster, begun_unix_ms) = (cluster.clone(), *begun);
                return Ok(Backup { cluster, begun_unix_ms, pools, keys, total, checksum: last });
            }
            (other, _) => {
                return Err(wrong(number, "an entry that may stand here", format!("{other:?}")));
            }
        }
    }
    let number = bytes.split(|byte| *byte == b'\n').count();
    Err(wrong(number, "the backup's last entry", "the end of the file".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        let mut writer = Writer::create(&path).unwrap();
        writer.begin("c").unwrap();
        let policy = cloakroom_client::Policy::Spread;
        let pool = "p".to_owned();
        writer
            .write(&Entry::Pool(Pool { pool, number: 1, size: 9, fanout: 2, block: 2, policy }))
            .unwrap();
        writer.write(&Entry::Held(Allocation { id: 4, tag: "a\nä".to_owned() })).unwrap();
        writer.write(&Entry::Key { key: "k".to_owned(), value_hex: hex(b"\xff\x00") }).unwrap();
        assert!(!path.exists(), "it is not whole");
        writer.finish().unwrap();
        assert!(Writer::create(&path).is_err(), "it is there");
        std::fs::read(&path).unwrap()
    }

    #[test]
    fn what_was_written_is_read_whole() {
        let backup = parse(&saved(), "f").unwrap();
        assert_eq!((backup.total.pools, backup.total.allocations, backup.total.keys), (1, 1, 1));
        assert_eq!(backup.pools[0].held[0].tag, "a\nä");
        assert_eq!(backup.keys, [("k".to_owned(), vec![0xff, 0])]);
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused_by_its_line() {
        let whole = saved();
        for length in 0..whole.len() {
            let error = parse(&whole[..length], "f").unwrap_err();
            let line = whole[..length].split(|byte| *byte == b'\n').count();
            assert_eq!(error.line, line, "cut after {length} bytes: {error}");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            let error = parse(&flipped, "f").unwrap_err();
            let line = whole[..at].split(|byte| *byte == b'\n').count();
            assert_eq!(error.line, line, "byte {at} is flipped: {error}");
        }
    }

    #[test]
    fn lines_that_are_left_out_doubled_or_moved_are_refused() {
        let whole = String::from_utf8(saved()).unwrap();
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        for at in 0..lines.len() {
            let mut without = lines.clone();
            without.remove(at);
            assert!(parse(without.concat().as_bytes(), "f").is_err(), "{at}");
            let mut doubled = lines.clone();
            doubled.insert(at, lines[at]);
            assert!(parse(doubled.concat().as_bytes(), "f").is_err(), "{at}");
        }
        assert!(parse((whole.clone() + "x\n").as_bytes(), "f").is_err());
        let other = saved_with_version_2(&whole);
        let error = parse(other.as_bytes(), "f").unwrap_err();
        assert_eq!((error.line, error.expected), (1, "an entry that may stand here"));
    }

    fn saved_with_version_2(whole: &str) -> String {
        let first = whole.lines().next().unwrap().split_once(' ').unwrap().1;
        let first = first.replace("\"cloakroom_backup\":1", "\"cloakroom_backup\":2");
        format!("{} {first}\n", checksum("", &first))
    }
}
