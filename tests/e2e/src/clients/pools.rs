//! Clients on pools: they keep the four rules, and some of them die.
//!
//! * Small pools are new in each generation, and are judged whole, with every `full`. Nobody recovers
//!   them: what was left there stays.
//! * The large pool lives as long as the run: held ids, dead tags, recoveries beside it all.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom_client::{Client, ClientError, Policy};
use tokio::time::timeout;

use super::Shared;
use crate::book::{PoolAnswer, PoolCall};
use crate::random::Random;

/// The large pool.
pub(crate) const LARGE: &str = "large";
/// Its ids: some more than its clients hold, so that what leaks is missed.
pub(crate) const LARGE_SIZE: u64 = 200;
/// Ids that one client holds of it at most.
const MOST_HELD: usize = 6;
/// Of a small pool.
const SMALL_SIZE: u64 = 3;
/// Small pools of one generation.
const SMALL: u64 = 6;
/// A recovery comes so often.
const RECOVERY: Duration = Duration::from_secs(4);
/// One call in so many is of a caller that dies meanwhile.
const DEATHS: u64 = 25;

/// The callers' durable list of tags, of the large pool. Rule 1.
#[derive(Debug, Default)]
pub(crate) struct Notebook(Mutex<Tags>);

#[derive(Debug, Default)]
struct Tags {
    /// Struck out: nobody uses them any more.
    dead: BTreeSet<String>,
    /// (id, tag)
    held: BTreeSet<(u64, u64)>,
}

impl Notebook {
    fn tags(&self) -> MutexGuard<'_, Tags> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tags that hold nothing that anybody knows of.
    pub(crate) fn dead(&self) -> Vec<String> {
        self.tags().dead.iter().cloned().collect()
    }

    /// What is held: (id, tag).
    pub(crate) fn held(&self) -> Vec<(u64, u64)> {
        self.tags().held.iter().copied().collect()
    }
}

/// What became of an allocate.
enum Taken {
    Id(u64),
    Full,
    /// Nothing was done.
    Nothing,
    /// Nobody knows, or the caller is dead.
    Unknown,
}

/// A tag that nobody else uses.
fn tag(process: u64, number: u64) -> u64 {
    process << 32 | number
}

async fn allocate(
    shared: &Shared,
    client: &Client,
    (process, pool): (u64, &str),
    tag: u64,
    dies_after: Option<Duration>,
) -> Taken {
    let call = (process, pool, shared.book.now());
    let text = tag.to_string();
    let asked = client.allocate(pool, &text);
    let told = match dies_after {
        None => asked.await,
        Some(after) => match timeout(after, asked).await {
            Ok(told) => told,
            Err(_) => Err(ClientError::Unknown("the caller is dead".to_string())),
        },
    };
    let book = |answer| shared.book.pool(call, PoolCall::Allocate { tag }, answer);
    match told {
        Ok(id) => {
            book(Some(PoolAnswer::Id(id)));
            shared.book.count("allocated");
            Taken::Id(id)
        }
        Err(ClientError::Refused { kind, .. }) if kind == "pool-full" => {
            book(Some(PoolAnswer::Full));
            shared.book.count("full");
            Taken::Full
        }
        Err(error) if shared.may_have_happened("allocate", &error) => {
            book(None);
            Taken::Unknown
        }
        Err(_) => Taken::Nothing,
    }
}

/// Frees again and again until a call has returned: rule 3. `until_over`: gives up when the run is over.
async fn free(
    shared: &Shared,
    client: &Client,
    (process, pool): (u64, &str),
    (id, tag): (u64, u64),
    until_over: bool,
) {
    let call = (process, pool, shared.book.now());
    let book = |answer| shared.book.pool(call, PoolCall::Free { id, tag }, answer);
    let mut may_be_free = false;
    loop {
        match client.free(pool, id, &tag.to_string()).await {
            Ok(freed) => {
                book(Some(if freed { PoolAnswer::Freed } else { PoolAnswer::Free }));
                return shared.book.count("freed");
            }
            Err(ClientError::Refused { kind, .. }) if kind == "not-owner" => {
                // An earlier call has freed it, and then somebody else was given it.
                if !may_be_free {
                    let what =
                        format!("POOL-1: {tag} holds id {id} of {pool}, and is not its owner");
                    shared.book.fault(what);
                }
                book(None);
                return shared.book.count("freed");
            }
            Err(error) => {
                may_be_free |= shared.may_have_happened("free", &error);
                if until_over && shared.is_over() {
                    return book(None);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

pub(super) async fn run_small(
    shared: Shared,
    client: Arc<Client>,
    process: u64,
    mut random: Random,
) {
    let mut generation = u64::MAX;
    let mut held: Vec<(u64, u64)> = Vec::new();
    let mut number = 0;
    while !shared.is_over() {
        // Looked at once: a creation may take longer than a generation.
        let newest = shared.generation();
        let pool = format!("small-{newest}-{}", process % SMALL);
        if generation != newest {
            if !create(&shared, &client, (&pool, SMALL_SIZE), 4).await {
                continue;
            }
            shared.book.pages().sizes.insert(pool.clone(), SMALL_SIZE);
            generation = newest;
            // What is held in the pools of before, stays so.
            held.clear();
        }
        number += 1;
        if held.is_empty() || held.len() < 2 && random.below(2) == 0 {
            let tag = tag(process, number);
            if let Taken::Id(id) = allocate(&shared, &client, (process, &pool), tag, None).await {
                held.push((id, tag));
            }
        } else {
            let pair = held.swap_remove(random.index(held.len()));
            free(&shared, &client, (process, &pool), pair, true).await;
        }
        shared.think(&mut random).await;
    }
}

/// Whether a pool is there now; `width`: children of a node, and slots of a block.
async fn create(shared: &Shared, client: &Client, (pool, size): (&str, u64), width: u16) -> bool {
    match client.create_pool_shaped(pool, size, width, width, Policy::LowestFirst).await {
        Ok(_) => true,
        Err(ClientError::Refused { kind, .. }) if kind == "pool-exists" => true,
        Err(error) => {
            shared.may_have_happened("create a pool", &error);
            false
        }
    }
}

pub(super) async fn run_large(
    shared: Shared,
    client: Arc<Client>,
    process: u64,
    mut random: Random,
) {
    while !create(&shared, &client, (LARGE, LARGE_SIZE), 16).await {
        if shared.is_over() {
            return;
        }
    }
    let mut held: Vec<(u64, u64)> = Vec::new();
    let mut number = 0;
    while !shared.is_over() {
        number += 1;
        let room = MOST_HELD - held.len();
        if random.index(MOST_HELD) < room {
            let tag = tag(process, number);
            let dies_after =
                (random.below(DEATHS) == 0).then(|| Duration::from_micros(random.below(20_000)));
            match allocate(&shared, &client, (process, LARGE), tag, dies_after).await {
                Taken::Id(id) => {
                    held.push((id, tag));
                    shared.notebook.tags().held.insert((id, tag));
                }
                // Struck out: whatever it holds or will hold is for a recovery.
                Taken::Unknown => drop(shared.notebook.tags().dead.insert(tag.to_string())),
                Taken::Full | Taken::Nothing => {}
            }
        } else {
            let pair = held.swap_remove(random.index(held.len()));
            free(&shared, &client, (process, LARGE), pair, false).await;
            shared.notebook.tags().held.remove(&pair);
        }
        shared.think(&mut random).await;
    }
}

/// Frees what dead callers hold, while the living go on.
pub(super) async fn recover_now_and_then(shared: Shared, client: Arc<Client>) {
    let mut over = shared.over.clone();
    while !shared.is_over() {
        let dead = shared.notebook.dead();
        match client.recover(LARGE, &dead, false).await {
            Ok(recovered) => {
                let strange = recovered.freed.iter().find(|freed| !dead.contains(&freed.tag));
                if let Some(freed) = strange {
                    shared
                        .book
                        .fault(format!("POOL-2: a recovery freed {freed:?}, which is alive"));
                }
                shared.book.count("recovered");
            }
            // Nobody has created it yet.
            Err(ClientError::Refused { kind, .. }) if kind == "no-such-pool" => {}
            Err(error) => drop(shared.may_have_happened("recover", &error)),
        }
        // Whether it is over or time is up: the loop asks.
        let _ = timeout(RECOVERY, over.changed()).await;
    }
}
