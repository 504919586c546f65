//! A node's group commits beside redb alone: `cargo bench -p cloakroom-server --bench commits`.
//!
//! * 1, 8 or 64 callers in the node's own process, each of which writes a key of its own again and again; no
//!   HTTP and no pool is between (for those see `benches -- redb`);
//! * then redb alone goes on in the file that the node has left, which has the same pages: it commits as many of
//!   the callers' entries at a time as the node did, as they are but for a byte, one commit after the other. Both
//!   wait for a sync in each commit;
//! * medians of the rounds, in turn; the ratios are of commits in a second, and in a second that the node spends in
//!   them.

#![allow(missing_docs)] // A program.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cloakroom_kademlia::Parameters;
use cloakroom_node::Patience;
use cloakroom_register::{Call, Expected, Outcome, Value, Waits};
use cloakroom_server::{Attempt, Limits, NodeFolder, Server, ServerConfig, Synced};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use tokio::time::sleep;

/// As `serve` has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;

const ROUNDS: usize = 5;
/// Until the callers are at their pace, and then for so long.
const WARM: Duration = Duration::from_secs(1);
const SPAN: Duration = Duration::from_secs(3);

/// The name of a caller's key begins so, and stands in that of its entry.
const CALLER: &str = "caller ";

/// What a disk did.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    commits: u32,
    entries: usize,
    bytes: usize,
    busy: Duration,
}

/// The same, in a second and in the mean.
#[derive(Clone, Copy, Debug)]
struct Commits {
    per_second: f64,
    per_busy_second: f64,
    entries: f64,
    bytes: f64,
}

fn main() -> Result<(), Failure> {
    println!(
        "| callers | a node: commits a second, entries each, bytes each | while in them | redb alone | ratios |"
    );
    println!("|---|---|---|---|---|");
    for callers in [1, 8, 64] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let folder = tempfile::tempdir()?;
            let node = node(callers, folder.path())?;
            rounds.push((node, redb_alone(&data(folder.path()), callers, node)?));
        }
        let ratio = |(node, alone): &(Commits, f64)| node.per_second / alone;
        rounds.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
        let (node, alone) = rounds[ROUNDS / 2];
        let Commits { per_second, per_busy_second, entries, bytes } = node;
        let (wall, busy) = (per_second / alone, per_busy_second / alone);
        println!(
            "| {callers} | {per_second:.0}, {entries:.1}, {bytes:.0} | {per_busy_second:.0} | {alone:.0} \
             | {wall:.2}, {busy:.2} |"
        );
    }
    Ok(())
}

/// Where a node in this folder has what it must not forget.
fn data(folder: &Path) -> PathBuf {
    folder.join("node").join("node.redb")
}

fn node(callers: usize, folder: &Path) -> Result<Commits, Failure> {
    // As `serve` has on two processors.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(called(callers, folder))
}

async fn called(callers: usize, folder: &Path) -> Result<Commits, Failure> {
    let of_node = folder.join("node");
    let NodeFolder { credentials, genesis, .. } = NodeFolder::found_alone(&of_node, 64)?;
    let server = Arc::new(Server::start(ServerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        credentials,
        genesis,
        data: data(folder),
        parameters: Parameters { subnets: None, ..Parameters::default() },
        waits: Waits::default(),
        patience: Patience::default(),
        limits: Limits::default(),
    })?);
    let sums = Arc::new(Mutex::new(Sums::default()));
    let told = Arc::clone(&sums);
    server.watch_disk(move |Synced { took, written, .. }| {
        let mut sums = told.lock().unwrap_or_else(PoisonError::into_inner);
        sums.commits += 1;
        sums.entries += written.entries;
        sums.bytes += written.bytes;
        sums.busy += took;
    });
    let tasks: Vec<_> =
        (0..callers).map(|caller| tokio::spawn(write(Arc::clone(&server), caller))).collect();
    sleep(WARM).await;
    // From here on.
    let take = || std::mem::take(&mut *sums.lock().unwrap_or_else(PoisonError::into_inner));
    take();
    let began = Instant::now();
    sleep(SPAN).await;
    let (done, took) = (take(), began.elapsed());
    let has_failed = tasks.iter().any(tokio::task::JoinHandle::is_finished);
    for task in &tasks {
        task.abort();
    }
    server.stop().await;
    if has_failed {
        return Err("a caller was not answered".into());
    }
    let (commits, entries) = (f64::from(done.commits), number(done.entries)?);
    Ok(Commits {
        per_second: commits / took.as_secs_f64(),
        per_busy_second: commits / done.busy.as_secs_f64(),
        entries: entries / commits,
        bytes: number(done.bytes)? / entries,
    })
}

fn number(count: usize) -> Result<f64, Failure> {
    Ok(f64::from(u32::try_from(count)?))
}

/// Ends only when a write is not answered with success.
async fn write(server: Arc<Server>, caller: usize) {
    let key = format!("{CALLER}{caller}");
    let mut expected = Expected::Absent;
    loop {
        let new = Some(Value::from(&[7; 64][..]));
        let call = Call::CompareAndSet { expected, new };
        let Ok(operation) = Server::operation(key.as_bytes(), call) else { return };
        match server.attempt(&operation, 10_000).await {
            Attempt::Ended(Outcome::Set(version), _) => expected = Expected::Version(version),
            _ => return,
        }
    }
}

/// Commits a second of redb alone.
fn redb_alone(file: &Path, callers: usize, like: Commits) -> Result<f64, Failure> {
    let database = Database::open(file)?;
    let (name, entries) = entries(&database)?;
    if entries.len() != callers {
        return Err(format!("expected an entry for each caller, got {}", entries.len()).into());
    }
    let table = TableDefinition::<&[u8], &[u8]>::new(&name);
    // Small.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let batch = like.entries.round().max(1.0) as usize;
    let (mut next, mut commits) = (0, 0_u32);
    let began = Instant::now();
    while began.elapsed() < SPAN {
        let writing = database.begin_write()?;
        {
            let mut table = writing.open_table(table)?;
            for _ in 0..batch {
                let (key, value) = &entries[next % callers];
                let mut value = value.clone();
                if let Some(last) = value.last_mut() {
                    *last = next.to_le_bytes()[0];
                }
                table.insert(&key[..], &value[..])?;
                next += 1;
            }
        }
        writing.commit()?;
        commits += 1;
    }
    Ok(f64::from(commits) / began.elapsed().as_secs_f64())
}

type Entry = (Vec<u8>, Vec<u8>);

/// The table's name, and of its entries those of the callers.
fn entries(database: &Database) -> Result<(String, Vec<Entry>), Failure> {
    let reading = database.begin_read()?;
    let mut found = Err("expected a table with the callers' entries, got none".into());
    for table in reading.list_tables()? {
        let name = table.name().to_string();
        let Ok(table) = reading.open_table(TableDefinition::<&[u8], &[u8]>::new(&name)) else {
            continue;
        };
        let mut entries = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let is_callers = |part: &[u8]| part == CALLER.as_bytes();
            if key.value().windows(CALLER.len()).any(is_callers) {
                entries.push((key.value().to_vec(), value.value().to_vec()));
            }
        }
        if !entries.is_empty() {
            found = Ok((name, entries));
        }
    }
    found
}
