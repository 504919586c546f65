//! When all faults have ended: everything must work again, within a bound, and then nothing may be missing.
//!
//! 1. The network is whole, every node runs, clocks are right.
//! 2. Every node serves: a write and a read of a key, at each node alone.
//! 3. All clients have ended; their frees are done.
//! 4. A recovery leaves in the large pool what callers hold, and nothing else.
//! 5. Every key is read, the pool is filled up: this goes into the book, and to the judges.
//! 6. An older copy of a node's data file is put back; every node serves, and nothing is missing.
//!
//! Invariants: time is counted in steps of this process, so that a machine that pauses everything is not
//! taken for a cluster that hangs.
//!
//! What it does not do: mend what a node ought to mend itself.

use std::sync::Arc;
use std::time::Duration;

use cloakroom_client::{Client, ClientError};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::book::PoolEnd;
use crate::clients::{self, LARGE, LARGE_SIZE, Shared};
use crate::cluster::Cluster;
use crate::nemesis::{self, Harm};
use crate::network;
use crate::rollback::Copy;

/// All is well again within so many tries of a tenth of a second or more.
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);
/// Of one call in here.
const DEADLINE: Duration = Duration::from_secs(10);
/// Processes that do not belong to any client, from here on.
const HEALER: u64 = 1 << 20;
/// So many fill a pool up together.
const FILLERS: u64 = 8;

/// Heals, and fills the last pages of the book.
pub(crate) async fn heal(
    harm: &Harm,
    shared: &Shared,
    cluster: &mut Cluster,
    founders: usize,
    clients: JoinSet<()>,
) -> Result<(), String> {
    network::heal().await;
    cluster.set_clock(0);
    nemesis::tell_fallen(&shared.book, cluster);
    cluster.start_all().await?;
    for number in 0..cluster.nodes.len() {
        cluster.signal(number, "-CONT").await;
    }
    while cluster.nodes.len() > founders {
        if let Some(cause) = nemesis::leave(harm, cluster, Duration::from_mins(1)).await? {
            return Err(format!("LIVENESS: {cause}"));
        }
    }
    let endpoints = cluster.endpoints();
    all_work(shared, &endpoints).await?;
    harm.note("every node serves");
    all_end(clients).await?;
    harm.note("all clients have ended");
    let client = Arc::new(clients::client(&endpoints, "round-robin", DEADLINE));
    let copy = Copy::take(cluster).await?;
    recover(shared, &client).await?;
    let read = clients::read_all(shared, &client).await?;
    let end = fill_up(shared, &client).await?;
    shared.book.pages().ends.push(end);
    harm.note(format_args!("{read} keys were read, the large pool was filled up"));
    if let Some(copy) = copy {
        copy.put_back(cluster).await?;
        all_work(shared, &endpoints).await?;
        let read = clients::read_all(shared, &client).await?;
        let usage = client.usage(LARGE).await.map_err(|cause| format!("usage: {cause}"))?;
        if usage.held != LARGE_SIZE {
            return Err(format!(
                "POOL-1: {} of {LARGE_SIZE} ids are held, after an older copy was put back; all were",
                usage.held
            ));
        }
        harm.note(format_args!(
            "an older copy was put back; {read} keys were read, all ids are held"
        ));
    }
    Ok(())
}

async fn all_work(shared: &Shared, endpoints: &[String]) -> Result<(), String> {
    for endpoint in endpoints {
        let client = clients::client(std::slice::from_ref(endpoint), "round-robin", DEADLINE);
        works(shared, &client).await.map_err(|cause| format!("LIVENESS: {endpoint}: {cause}"))?;
    }
    Ok(())
}

/// Whether a node can write and read, soon.
async fn works(shared: &Shared, client: &Client) -> Result<(), String> {
    let mut last = String::new();
    for number in 0..TRIES {
        let key = format!("healed-{}-{number}", shared.book.now());
        let written = client.put_if_absent(&key, b"well").await;
        match (written, client.get(&key).await) {
            (Ok(_), Ok(Some(held))) if &held.value[..] == b"well" => return Ok(()),
            // One whose outcome is unknown may be anything.
            (written, read) => last = format!("{written:?}, {read:?}"),
        }
        if last.contains("Unknown") || last.contains("Unavailable") {
            // Each of them has waited long enough by itself.
            if number >= TRIES / 60 {
                break;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(format!("cannot write and read when all is well again: {last}"))
}

async fn all_end(mut clients: JoinSet<()>) -> Result<(), String> {
    let mut tries = 0;
    while !clients.is_empty() {
        match timeout(PAUSE, clients.join_next()).await {
            Ok(Some(Err(cause))) => return Err(format!("a client has broken: {cause}")),
            Ok(_) => {}
            Err(_) => tries += 1,
        }
        if tries == TRIES {
            return Err(format!("LIVENESS: {} clients cannot free what they hold", clients.len()));
        }
    }
    Ok(())
}

/// POOL-7: what dead callers left goes, soon, and nothing else.
async fn recover(shared: &Shared, client: &Client) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..TRIES / 20 {
        let dead = shared.notebook.dead();
        let recovered = match client.recover(LARGE, &dead, false).await {
            Ok(recovered) => recovered,
            // No client came to make it.
            Err(error) if error.is_refusal("no-such-pool") => return Ok(()),
            Err(error) => {
                last = error.to_string();
                continue;
            }
        };
        // What is on its way still may come yet.
        if recovered.freed.is_empty() && recovered.held == shared.notebook.held().len() as u64 {
            return Ok(());
        }
        last = format!("{} are held and {} were freed", recovered.held, recovered.freed.len());
        tokio::time::sleep(PAUSE).await;
    }
    let held = shared.notebook.held().len();
    Err(format!("POOL-7: recoveries leave more than what callers hold, {held}: {last}"))
}

/// What the large pool holds; and how many ids can be taken until it is full.
async fn fill_up(shared: &Shared, client: &Arc<Client>) -> Result<PoolEnd, String> {
    let failed = |what: &str, error: ClientError| format!("{what} when all is well again: {error}");
    let mut slots = vec![None; usize::try_from(LARGE_SIZE).unwrap_or(0)];
    for held in client.list(LARGE, "").await.map_err(|it| failed("list", it))? {
        let slot = usize::try_from(held.id).ok().and_then(|id| slots.get_mut(id));
        *slot.ok_or_else(|| format!("POOL-1: no such id: {held:?}"))? = held.tag.parse().ok();
    }
    let usage = client.usage(LARGE).await.map_err(|it| failed("usage", it))?;
    let held = slots.iter().flatten().count() as u64;
    let mut fillers = JoinSet::new();
    for number in 0..FILLERS {
        fillers.spawn(take_all(Arc::clone(client), HEALER + number));
    }
    while let Some(filled) = fillers.join_next().await {
        filled.unwrap_or_else(|cause| Err(cause.to_string()))?;
    }
    // Counted in the end, so that an answer that was lost makes no difference.
    let all = client.list(LARGE, "").await.map_err(|it| failed("list", it))?;
    let taken = all.len() as u64 - held;
    let holdings = shared.notebook.held();
    let (pool, size, usage) = (LARGE.to_string(), LARGE_SIZE, usage.held);
    Ok(PoolEnd { pool, size, slots, holdings, usage, taken })
}

/// Takes ids until there are none.
async fn take_all(client: Arc<Client>, process: u64) -> Result<(), String> {
    let mut failures = 0;
    for number in 0.. {
        match client.allocate(LARGE, &(process << 32 | number).to_string()).await {
            Ok(_) => {}
            Err(error) if error.is_refusal("pool-full") => break,
            Err(error) if failures == TRIES / 60 => {
                return Err(format!("LIVENESS: allocate when all is well again: {error}"));
            }
            Err(_) => failures += 1,
        }
    }
    Ok(())
}
