//! Clients of a cluster: on keys, on small pools that are judged whole, and on a large one.
//!
//! Invariants: each writes down what it asks before, and what it was told after; a call that may have
//! happened is never taken for one that has not.
//!
//! What it does not do: judge.

mod keys;
mod pools;

use std::sync::Arc;
use std::time::Duration;

use cloakroom_client::{Client, ClientError, Options};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::book::Book;
use crate::random::Random;

pub(crate) use keys::read_all;
pub(crate) use pools::{LARGE, LARGE_SIZE, Notebook};

/// A call's attempts take no longer.
const DEADLINE: Duration = Duration::from_secs(4);
/// Keys and small pools are used for so long, and then others: what is pending in a history makes it hard
/// to judge.
const GENERATION_US: u64 = 15_000_000;
const STRATEGIES: [&str; 4] = ["round-robin", "two-choices", "random", "lowest-latency"];

/// What all clients share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) book: Arc<Book>,
    pub(crate) notebook: Arc<Notebook>,
    /// True: no new calls.
    pub(crate) over: watch::Receiver<bool>,
    /// Milliseconds between two calls of one client, at most.
    pub(crate) pause_ms: u64,
}

impl Shared {
    fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Some time between two calls.
    async fn think(&self, random: &mut Random) {
        tokio::time::sleep(Duration::from_millis(random.below(self.pause_ms + 1))).await;
    }

    fn generation(&self) -> u64 {
        self.book.now() / GENERATION_US
    }

    /// What went wrong with a call, if that is no fault of anybody: whether it may have happened. What
    /// must not be is written down as a fault.
    fn may_have_happened(&self, what: &str, error: &ClientError) -> bool {
        match error {
            ClientError::Unavailable(_) => {
                self.book.count("unavailable");
                false
            }
            ClientError::Unknown(_) => {
                self.book.count("unknown");
                true
            }
            other => {
                self.book.fault(format!("{what}: {other}"));
                true
            }
        }
    }
}

/// A client of these endpoints.
pub(crate) fn client(endpoints: &[String], strategy: &str, deadline: Duration) -> Client {
    let (endpoints, strategy) = (endpoints.to_vec(), strategy.to_string());
    let options = Options { endpoints, strategy, deadline, ..Options::default() };
    Client::new(&options).expect("addresses and a strategy's name")
}

/// Starts so many clients. They end after `over`, when their frees are done.
pub(crate) fn start(shared: &Shared, endpoints: &[String], count: u64, seed: u64) -> JoinSet<()> {
    let clients: Vec<Arc<Client>> =
        STRATEGIES.iter().map(|strategy| Arc::new(client(endpoints, strategy, DEADLINE))).collect();
    let mut tasks = JoinSet::new();
    for process in 0..count {
        let client = Arc::clone(&clients[usize::try_from(process).unwrap_or(0) % clients.len()]);
        let (shared, random) = (shared.clone(), Random::new(seed, 100 + process));
        match process % 8 {
            0..=2 => tasks.spawn(keys::run(shared, client, process, random)),
            3 | 4 => tasks.spawn(pools::run_small(shared, client, process, random)),
            _ => tasks.spawn(pools::run_large(shared, client, process, random)),
        };
    }
    tasks.spawn(pools::recover_now_and_then(shared.clone(), Arc::clone(&clients[0])));
    tasks
}
