//! Unit tests of the durable map on a disk that obeys: it holds a sync until it is let go, fails
//! it, or panics in it.
//!
//! What they show: no answer and no read runs ahead of the disk, also not that of a follower; a
//! failed or panicked commit is told as what it is; how many syncs calls cost. All of it holds
//! for every schedule of the threads; nothing here waits for time to pass.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cloakroom_pool::{AtomicMap, Cas, MapError};
use parking_lot::{Condvar, Mutex};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use crate::batch::Answer;
use crate::{Durable, open};

/// What a sync does when it is let go.
#[derive(Clone, Copy, Debug)]
enum Sync {
    Succeed,
    Fail,
    Panic,
}

#[derive(Debug, Default)]
struct Control {
    /// Syncs that have begun, and those that have succeeded.
    begun: u64,
    done: u64,
    /// How many more syncs may go on; `None` lets all go.
    permits: Option<u64>,
    /// What the next syncs do; all further ones succeed.
    plan: VecDeque<Sync>,
    /// The file may not grow.
    full: bool,
}

/// A disk in memory under the tests' control. Clones are the same disk.
#[derive(Clone, Debug)]
struct Disk {
    content: Arc<InMemoryBackend>,
    control: Arc<(Mutex<Control>, Condvar)>,
}

impl Disk {
    fn new() -> Self {
        Self { content: Arc::new(InMemoryBackend::new()), control: Arc::default() }
    }

    /// A new map on this disk, and its counts from zero.
    fn map(&self) -> Arc<Durable> {
        let database = open::start(self.clone()).unwrap();
        open::lay_out(&database).unwrap();
        *self.control.0.lock() = Control::default();
        Arc::new(Durable::over(Path::new("disk"), database))
    }

    /// The map that is on this disk, as a new process would open it.
    fn reopen(&self) -> Arc<Durable> {
        *self.control.0.lock() = Control::default();
        Arc::new(Durable::over(Path::new("disk"), open::start(self.clone()).unwrap()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Control) -> T) -> T {
        let result = act(&mut self.control.0.lock());
        self.control.1.notify_all();
        result
    }

    fn hold(&self) {
        self.with(|control| control.permits = Some(0));
    }

    fn let_one_go(&self) {
        self.with(|control| *control.permits.as_mut().expect("a held disk") += 1);
    }

    fn let_all_go(&self) {
        self.with(|control| control.permits = None);
    }

    fn plan(&self, syncs: impl IntoIterator<Item = Sync>) {
        self.with(|control| control.plan = syncs.into_iter().collect());
    }

    fn done(&self) -> u64 {
        self.with(|control| control.done)
    }

    /// Waits until `many` syncs have begun.
    fn await_sync(&self, many: u64) {
        await_that("a sync begins", || self.with(|control| control.begun == many));
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.content.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.content.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.with(|control| control.full) && len > self.content.len()? {
            return Err(io::Error::other("the disk is full"));
        }
        self.content.set_len(len)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.content.write(offset, data)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (control, changed) = &*self.control;
        let mut control = control.lock();
        control.begun += 1;
        changed.notify_all();
        changed.wait_while(&mut control, |control| control.permits == Some(0));
        if let Some(permits) = &mut control.permits {
            *permits -= 1;
        }
        match control.plan.pop_front().unwrap_or(Sync::Succeed) {
            Sync::Succeed => {
                control.done += 1;
                Ok(())
            }
            Sync::Fail => Err(io::Error::other("the disk said no")),
            Sync::Panic => {
                drop(control);
                panic!("the disk driver panics, as planned")
            }
        }
    }
}

/// Waits for what must come; a test that would wait for ever fails instead.
fn await_that(what: &str, mut comes: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !comes() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::yield_now();
    }
}

fn put(map: &Durable, key: &str, from: Option<&str>, to: &str) -> Answer {
    map.compare_and_set(key.as_bytes(), from.map(str::as_bytes), Some(to.as_bytes()))
}

fn get(map: &Durable, key: &str) -> Option<String> {
    map.get(key.as_bytes()).unwrap().map(|value| String::from_utf8(value).unwrap())
}

/// A call on its way. Its thread is not scoped: one that is never answered fails the test
/// instead of hanging it.
struct Caller(JoinHandle<Answer>);

impl Caller {
    fn start(map: &Arc<Durable>, key: &str, from: Option<&str>, to: &str) -> Self {
        let map = Arc::clone(map);
        let (key, from, to) = (key.to_owned(), from.map(str::to_owned), to.to_owned());
        Self(thread::spawn(move || put(&map, &key, from.as_deref(), &to)))
    }

    /// Starts a caller and waits until its operation is the last in the queue.
    fn queue(map: &Arc<Durable>, key: &str, from: Option<&str>, to: &str) -> Self {
        let before = map.waiting();
        let caller = Self::start(map, key, from, to);
        await_that("the caller queues", || map.waiting() == before + 1);
        caller
    }

    /// Starts a caller that leads a batch alone, and waits until the disk holds its sync.
    fn lead(disk: &Disk, map: &Arc<Durable>) -> Self {
        disk.hold();
        let caller = Self::start(map, "leader", None, "done");
        disk.await_sync(1);
        caller
    }

    fn outcome(self) -> thread::Result<Answer> {
        await_that("the caller is answered", || self.0.is_finished());
        self.0.join()
    }

    fn answer(self) -> Answer {
        self.outcome().expect("a caller that does not panic")
    }
}

fn unknown(answer: &Answer) -> bool {
    matches!(answer, Err(MapError::Unknown { .. }))
}

fn unavailable(answer: &Answer) -> bool {
    matches!(answer, Err(MapError::Unavailable { .. }))
}

fn mismatch(current: &str) -> Cas {
    Cas::Mismatch(Some(current.as_bytes().to_vec()))
}

#[test]
fn a_lone_call_that_writes_takes_one_sync_and_one_that_does_not_takes_none() {
    let disk = Disk::new();
    let map = disk.map();
    for call in 1..=20 {
        let key = format!("key {call}");
        assert_eq!(put(&map, &key, None, "one"), Ok(Cas::Set));
        assert_eq!((disk.done(), map.syncs()), (call, call), "synced when answered");
        assert_eq!(put(&map, &key, None, "two"), Ok(mismatch("one")));
        assert_eq!(get(&map, &key).as_deref(), Some("one"));
        assert_eq!((disk.done(), map.syncs()), (call, call), "nothing to sync");
    }
}

#[test]
fn nobody_reads_a_value_before_it_is_on_disk() {
    let disk = Disk::new();
    let map = disk.map();
    assert_eq!(put(&map, "key", None, "old"), Ok(Cas::Set));
    disk.hold();
    let writer = Caller::start(&map, "key", Some("old"), "new");
    disk.await_sync(2);
    assert_eq!(get(&map, "key").as_deref(), Some("old"));
    assert_eq!(map.scan(b"").unwrap(), [(b"key".to_vec(), b"old".to_vec())]);
    assert_eq!(map.syncs(), 1);
    let waits = Caller::queue(&map, "key", Some("new"), "newer");
    assert_eq!(get(&map, "key").as_deref(), Some("old"));
    disk.let_all_go();
    assert_eq!(writer.answer(), Ok(Cas::Set));
    assert_eq!(waits.answer(), Ok(Cas::Set));
    assert_eq!(get(&map, "key").as_deref(), Some("newer"));
}

#[test]
fn callers_that_wait_together_are_committed_with_one_sync() {
    const FOLLOWERS: usize = 255;
    let disk = Disk::new();
    let map = disk.map();
    let leader = Caller::lead(&disk, &map);
    let followers: Vec<_> = (0..FOLLOWERS)
        .map(|caller| Caller::start(&map, &format!("key {caller}"), None, "value"))
        .collect();
    await_that("all callers queue", || map.waiting() == FOLLOWERS);
    disk.let_all_go();
    assert_eq!(leader.answer(), Ok(Cas::Set));
    for follower in followers {
        assert_eq!(follower.answer(), Ok(Cas::Set));
    }
    assert_eq!((disk.done(), map.syncs()), (2, 2), "one for the leader, one for all others");
}

#[test]
fn a_batch_is_applied_in_the_order_of_its_queue() {
    let disk = Disk::new();
    let map = disk.map();
    let values = ["a", "b", "c", "d", "e", "f", "g"];
    let leader = Caller::lead(&disk, &map);
    let first = Caller::queue(&map, "key", None, values[0]);
    let chain: Vec<_> =
        values.windows(2).map(|pair| Caller::queue(&map, "key", Some(pair[0]), pair[1])).collect();
    let late = Caller::queue(&map, "key", Some("a"), "z");
    disk.let_all_go();
    assert_eq!(leader.answer(), Ok(Cas::Set));
    assert_eq!(first.answer(), Ok(Cas::Set));
    assert!(chain.into_iter().all(|caller| caller.answer() == Ok(Cas::Set)));
    assert_eq!(late.answer(), Ok(mismatch("g")));
    assert_eq!(get(&map, "key").as_deref(), Some("g"));
    assert_eq!(disk.done(), 2);
}

#[test]
fn a_batch_in_which_nothing_succeeds_takes_no_sync() {
    let disk = Disk::new();
    let map = disk.map();
    let leader = Caller::lead(&disk, &map);
    let losers: Vec<_> =
        (0..5).map(|_| Caller::queue(&map, "leader", Some("never"), "x")).collect();
    disk.let_all_go();
    assert_eq!(leader.answer(), Ok(Cas::Set));
    assert!(losers.into_iter().all(|caller| caller.answer() == Ok(mismatch("done"))));
    assert_eq!((disk.done(), map.syncs()), (1, 1));
}

/// The check against an answer before the commit: these followers wait in a batch whose sync
/// will fail, so any definite answer of theirs was given too early.
#[test]
fn no_follower_is_answered_before_the_sync_that_decides() {
    let disk = Disk::new();
    let map = disk.map();
    let leader = Caller::lead(&disk, &map);
    let put_first = Caller::queue(&map, "key", None, "one");
    let saw_first = Caller::queue(&map, "key", None, "two");
    let put_other = Caller::queue(&map, "other", None, "three");
    disk.plan([Sync::Succeed, Sync::Fail]);
    disk.let_one_go();
    disk.await_sync(2);
    assert_eq!(leader.answer(), Ok(Cas::Set));
    let behind = Caller::queue(&map, "behind", None, "four");
    disk.let_all_go();

    assert!(unknown(&put_first.answer()));
    assert!(unknown(&put_other.answer()));
    // It has met a value that perhaps never was, and has done nothing itself.
    assert!(unavailable(&saw_first.answer()));
    assert!(unavailable(&behind.answer()));
    assert_eq!(map.syncs(), 1);
    drop(map);

    let map = disk.reopen();
    assert_eq!(get(&map, "leader").as_deref(), Some("done"));
    let key = get(&map, "key");
    assert!(key.is_none() || key.as_deref() == Some("one"), "{key:?}");
    assert_eq!(key.is_some(), get(&map, "other").is_some(), "a batch is all or nothing");
    assert_eq!(get(&map, "behind"), None);
}

#[test]
fn after_a_failed_commit_nothing_is_promised_until_the_file_is_opened_again() {
    let disk = Disk::new();
    let map = disk.map();
    assert_eq!(put(&map, "key", None, "old"), Ok(Cas::Set));
    disk.plan([Sync::Fail]);
    let failed = put(&map, "key", Some("old"), "new");
    assert!(unknown(&failed), "{failed:?}");
    assert!(failed.unwrap_err().to_string().contains("the disk said no"));
    let later = put(&map, "other", None, "value");
    assert!(unavailable(&later), "{later:?}");
    assert!(later.unwrap_err().to_string().contains("open the file again"));
    assert!(matches!(map.get(b"key"), Err(MapError::Unavailable { .. })));
    assert!(matches!(map.scan(b""), Err(MapError::Unavailable { .. })));
    assert_eq!(map.syncs(), 1);
    drop(map);

    let map = disk.reopen();
    let key = get(&map, "key").unwrap();
    assert!(key == "old" || key == "new", "{key}");
    assert_eq!(get(&map, "other"), None);
    assert_eq!(put(&map, "key", Some(&key), "newer"), Ok(Cas::Set));
}

#[test]
fn a_batch_that_fails_before_its_commit_was_not_done() {
    let disk = Disk::new();
    let map = disk.map();
    assert_eq!(put(&map, "key", None, "old"), Ok(Cas::Set));
    disk.with(|control| control.full = true);
    let answer = put(&map, "key", Some("old"), &"x".repeat(1 << 20));
    assert!(unavailable(&answer), "{answer:?}");
    assert_eq!(map.syncs(), 1);
    drop(map);
    assert_eq!(get(&disk.reopen(), "key").as_deref(), Some("old"));
}

#[test]
fn a_leader_that_panics_leaves_nobody_asleep() {
    let disk = Disk::new();
    let map = disk.map();
    let first = Caller::lead(&disk, &map);
    let leader = Caller::queue(&map, "a", None, "one");
    let followers = ["b", "c", "d"].map(|key| Caller::queue(&map, key, None, "two"));
    disk.plan([Sync::Succeed, Sync::Panic]);
    disk.let_one_go();
    disk.await_sync(2);
    let behind = Caller::queue(&map, "behind", None, "three");
    disk.let_all_go();

    assert_eq!(first.answer(), Ok(Cas::Set));
    assert!(leader.outcome().is_err(), "the panic stays with the caller that led");
    for follower in followers {
        assert!(unknown(&follower.answer()));
    }
    assert!(unavailable(&behind.answer()));
    assert!(unavailable(&put(&map, "later", None, "four")));
    drop(map);
    assert_eq!(get(&disk.reopen(), "leader").as_deref(), Some("done"));
}
