//! Opening a file: what is kept, what is created, and what is refused. A refused file has the
//! bytes that it had before, and no content of a file makes the open panic.

use std::fs;
use std::path::Path;

use cloakroom_pool::{AtomicMap, Cas};
use cloakroom_stores::{Durable, Entry, OpenError};
use redb::TableDefinition;

const ENTRIES: u32 = 400;

fn key(index: u32) -> Vec<u8> {
    format!("key {index:05}").into_bytes()
}

fn value(index: u32) -> Vec<u8> {
    format!("the value of {index:05}").into_bytes()
}

/// Writes the first key alone, and all others after it.
fn fill(map: &Durable) {
    for index in 0..ENTRIES {
        let outcome = map.compare_and_set(&key(index), None, Some(&value(index)));
        assert_eq!(outcome, Ok(Cas::Set));
    }
}

fn content() -> Vec<Entry> {
    (0..ENTRIES).map(|index| (key(index), value(index))).collect()
}

/// The bytes of a file that was closed, and of one whose process was killed.
fn closed_and_killed() -> [Vec<u8>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map");
    let map = Durable::open(&path).unwrap();
    fill(&map);
    let killed = fs::read(&path).unwrap();
    drop(map);
    [fs::read(&path).unwrap(), killed]
}

/// Opens a file with these bytes. If it is refused, it must not have changed.
fn open_bytes(bytes: &[u8]) -> Result<Vec<Entry>, OpenError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map");
    fs::write(&path, bytes).unwrap();
    let outcome = Durable::open(&path).map(|map| map.scan(b"").unwrap());
    if outcome.is_err() {
        assert!(fs::read(&path).unwrap() == bytes, "a refused open has changed the file");
        let others = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(others, 1, "a refused open has created another file");
    }
    outcome
}

fn assert_foreign(bytes: &[u8], says: &str) {
    let error = open_bytes(bytes).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(says) && message.contains("map: not a file of"), "{message}");
}

fn assert_damaged(bytes: &[u8], why: &str) {
    let error = open_bytes(bytes).expect_err(why);
    assert!(matches!(error, OpenError::Damaged { .. }), "{why}: {error:?}");
    assert!(error.to_string().contains("map: the file is damaged: expected"), "{error}");
}

/// The bytes of a file that redb writes for somebody.
fn redb_file(write: impl FnOnce(&redb::WriteTransaction)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    write(&transaction);
    transaction.commit().unwrap();
    drop(database);
    fs::read(&path).unwrap()
}

/// Numbers for which a fixed seed is enough (xorshift).
fn noise(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn opening_creates_the_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map");
    drop(Durable::open(&path).unwrap());
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["map"]);

    let nowhere = folder.path().join("no such folder").join("map");
    let error = Durable::open(&nowhere).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    assert!(
        error.to_string().contains("no such folder/map: cannot open or create it: "),
        "{error}"
    );
    assert!(!nowhere.parent().unwrap().exists());
}

#[test]
fn closing_and_opening_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map");
    fill(&Durable::open(&path).unwrap());
    for _ in 0..3 {
        let map = Durable::open(&path).unwrap();
        assert_eq!(map.scan(b"").unwrap(), content());
        assert_eq!(map.get(&key(7)), Ok(Some(value(7))));
        assert_eq!(map.syncs(), 0, "opening does not count");
    }
}

#[test]
fn the_file_of_a_killed_process_opens_with_everything() {
    let [_, killed] = closed_and_killed();
    assert_eq!(open_bytes(&killed).unwrap(), content());
}

#[test]
fn an_empty_file_and_one_never_completed_count_as_none() {
    assert_eq!(open_bytes(b"").unwrap(), []);
    let unfinished = b"cloakroom: this file is being created and holds nothing yet\n";
    assert_eq!(open_bytes(unfinished).unwrap(), []);
    // Killed before the first page was written: the rest of an empty map is already there.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map");
    drop(Durable::open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[..4096].fill(0);
    bytes[..unfinished.len()].copy_from_slice(unfinished);
    assert_eq!(open_bytes(&bytes).unwrap(), []);
}

#[test]
fn an_open_that_must_not_create_leaves_what_holds_nothing_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map");
    let refused = |says: &str| {
        let error = Durable::open_existing(&path).unwrap_err();
        assert!(matches!(error, OpenError::Nothing { .. }), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    };
    refused("map: expected a file with a map, got none;");
    assert!(!path.exists());
    let unfinished = &b"cloakroom: this file is being created and holds nothing yet\n"[..];
    for blank in [b"", unfinished] {
        fs::write(&path, blank).unwrap();
        refused("map: expected a file with a map, got one that holds nothing;");
        assert_eq!(fs::read(&path).unwrap(), blank);
    }
    fill(&Durable::open(&path).unwrap());
    assert_eq!(Durable::open_existing(&path).unwrap().scan(b"").unwrap(), content());
}

#[test]
fn a_file_of_another_program_is_refused_untouched() {
    let first_bytes = "expected the first bytes of a redb file";
    assert_foreign(b"x", first_bytes);
    assert_foreign(b"redb", "got 72 65 64 62;");
    assert_foreign(b"name,start,end\nworker,0,1\n", "got 6e 61 6d 65");
    assert_foreign(&vec![0; 1 << 16], "got 00 00 00 00 00 00 00 00 00;");
    let mut seed = 0x1234_5678_9abc_def1;
    for len in [1, 8, 9, 60, 4096, 100_000] {
        let bytes: Vec<u8> = (0..len).map(|_| noise(&mut seed).to_le_bytes()[3]).collect();
        assert_foreign(&bytes, first_bytes);
    }

    let folder = tempfile::tempdir().unwrap();
    let error = Durable::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("expected a regular file, got a folder"), "{error}");
}

#[test]
fn a_redb_file_of_another_program_is_refused_untouched() {
    let orders = redb_file(|transaction| {
        let table = TableDefinition::<u64, &str>::new("orders");
        transaction.open_table(table).unwrap().insert(7, "coat").unwrap();
    });
    assert_foreign(&orders, "a redb file with the tables [\"orders\"]");
    assert_foreign(&redb_file(|_| {}), "a redb file with the tables []");
    let same_name = redb_file(|transaction| {
        let table = TableDefinition::<u64, u64>::new("format");
        transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    });
    assert_foreign(&same_name, "a redb file with the tables [\"format\"]");
    let other_marker = redb_file(|transaction| {
        let table = TableDefinition::<&str, &[u8]>::new("format");
        transaction.open_table(table).unwrap().insert("magic", b"hat check".as_slice()).unwrap();
    });
    assert_foreign(&other_marker, "a redb file with another marker");
}

#[test]
fn a_file_of_another_version_is_refused_with_both_versions() {
    let newer = redb_file(|transaction| {
        let table = TableDefinition::<&str, &[u8]>::new("format");
        let mut table = transaction.open_table(table).unwrap();
        table.insert("magic", b"cloakroom map".as_slice()).unwrap();
        table.insert("version", 2u32.to_be_bytes().as_slice()).unwrap();
    });
    let error = open_bytes(&newer).unwrap_err();
    assert!(matches!(error, OpenError::Version { expected: 1, got: 2, .. }), "{error:?}");
}

#[test]
fn a_truncated_or_padded_file_is_refused_untouched() {
    for bytes in closed_and_killed() {
        let len = bytes.len();
        for cut in [9, 64, 319, 320, 4095, 4096, 8192, len / 2, len - 4096, len - 1] {
            assert_damaged(&bytes[..cut], &format!("cut at {cut} of {len}"));
        }
        let mut padded = bytes.clone();
        padded.extend([0; 100]);
        assert_damaged(&padded, "padded");
    }
}

#[test]
fn a_flipped_bit_in_a_value_is_noticed() {
    for (index, bytes) in closed_and_killed().into_iter().enumerate() {
        // redb copies a page when it changes it, so the file holds older copies too.
        let value = value(0);
        let places: Vec<_> =
            (0..bytes.len() - value.len()).filter(|at| bytes[*at..].starts_with(&value)).collect();
        assert!(!places.is_empty());
        let mut flipped = bytes.clone();
        for at in places {
            flipped[at + 3] ^= 0x10;
        }
        assert_damaged(&flipped, ["closed", "killed"][index]);
    }
}

/// Not every bit is in use, so a flipped one may go unnoticed; but it changes nothing then.
#[test]
fn a_closed_file_with_a_flipped_bit_is_refused_or_whole() {
    let [bytes, _] = closed_and_killed();
    let mut seed = 0x0bad_5eed_0bad_5eed;
    let header = (0..320).map(|at| (at, at % 8));
    let anywhere: Vec<_> = (0..200)
        .map(|_| (usize::try_from(noise(&mut seed)).unwrap() % bytes.len(), at_most_7(&mut seed)))
        .collect();
    let (mut refused, mut whole) = (0, 0);
    for (at, bit) in header.chain(anywhere) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        match open_bytes(&flipped) {
            Err(OpenError::Damaged { .. } | OpenError::Foreign { .. }) => refused += 1,
            Err(error) => panic!("bit {bit} of byte {at}: {error:?}"),
            Ok(found) => {
                assert!(found == content(), "bit {bit} of byte {at}: content lost or changed");
                whole += 1;
            }
        }
    }
    assert!(refused > 50, "{refused} refused, {whole} whole: the check has no teeth");
}

fn at_most_7(seed: &mut u64) -> usize {
    usize::try_from(noise(seed) % 8).unwrap()
}

#[test]
fn a_second_handle_on_an_open_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map");
    let map = Durable::open(&path).unwrap();
    let error = Durable::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains("map: the file is in use"), "{error}");
    assert_eq!(map.compare_and_set(b"key", None, Some(b"value")), Ok(Cas::Set));
    drop(map);
    assert_eq!(reopened(&path), Some(b"value".to_vec()));
}

fn reopened(path: &Path) -> Option<Vec<u8>> {
    Durable::open(path).unwrap().get(b"key").unwrap()
}
