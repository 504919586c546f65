//! The clients of a measurement: what they call, what they hold, what is left in doubt.
//!
//! Invariants:
//! * an id is known to exactly one client: nobody frees what another one holds;
//! * a tag of which an allocation may hold an id is kept until a recovery was told of it.
//!
//! What it does not do: decide when it is over.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use cloakroom_client::{Client, ClientError};
use cloakroom_kademlia::Random;

use super::report::Tally;

/// By kind of call.
pub(super) type Tallies = [Tally; 3];

/// What all clients share.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) client: Client,
    /// The pool's name, and what all tags and keys begin with.
    pub(super) name: String,
    /// Nobody begins another call.
    pub(super) over: Cell<bool>,
    /// Calls that have ended, for whoever watches.
    pub(super) ended: Cell<u64>,
    /// Names given so far.
    pub(super) made: Cell<u64>,
}

/// One client.
#[derive(Debug)]
pub(super) struct Caller {
    bench: Rc<Bench>,
    random: Random,
    pub(super) held: Vec<(u64, String)>,
    pub(super) doubted: Vec<String>,
    /// By kind of call, in the workload's order.
    pub(super) tallies: Tallies,
    pub(super) an_error: Option<String>,
}

impl Caller {
    pub(super) fn new(bench: &Rc<Bench>, seed: u64) -> Self {
        Self {
            bench: Rc::clone(bench),
            random: Random::new(seed),
            held: Vec::new(),
            doubted: Vec::new(),
            tallies: Default::default(),
            an_error: None,
        }
    }

    /// Takes so many ids, or as many as there are until it is over.
    pub(super) async fn fill(mut self, wanted: u64) -> Self {
        for _ in 0..wanted {
            if self.bench.over.get() {
                break;
            }
            self.allocate().await;
        }
        self
    }

    /// Allocates and frees until it is over.
    pub(super) async fn ids(mut self) -> Self {
        while !self.bench.over.get() {
            self.allocate().await;
            if !self.held.is_empty() && !self.bench.over.get() {
                let place = self.random.below(self.held.len() as u64);
                self.free(usize::try_from(place).expect("below a length")).await;
            }
        }
        self
    }

    /// Frees all that it holds, unless it is over before.
    pub(super) async fn empty(mut self) -> Self {
        let mut failures = 0;
        while !self.held.is_empty() && failures < 3 && !self.bench.over.get() {
            let before = self.held.len();
            self.free(before - 1).await;
            failures += u32::from(self.held.len() == before);
        }
        self
    }

    /// Makes, replaces and removes keys until it is over.
    pub(super) async fn keys(mut self) -> Self {
        while !self.bench.over.get() {
            let key = self.next_name();
            let begun = Instant::now();
            let put = self.bench.client.put_if_absent(&key, b"first").await;
            let Some(version) = self.ended(0, begun, put) else { continue };
            let begun = Instant::now();
            let set = self.bench.client.compare_and_set(&key, version, b"second").await;
            let version = self.ended(1, begun, set).unwrap_or(version);
            let begun = Instant::now();
            let removed = self.bench.client.remove(&key, version).await;
            self.ended(2, begun, removed);
        }
        self
    }

    async fn allocate(&mut self) {
        let tag = self.next_name();
        let begun = Instant::now();
        let taken = self.bench.client.allocate(&self.bench.name, &tag).await;
        let may_hold = matches!(taken, Err(ClientError::Unknown(_)));
        match self.ended(0, begun, taken) {
            Some(id) => self.held.push((id, tag)),
            None if may_hold => self.doubted.push(tag),
            None => {}
        }
    }

    async fn free(&mut self, place: usize) {
        let (id, tag) = self.held.swap_remove(place);
        let begun = Instant::now();
        let freed = self.bench.client.free(&self.bench.name, id, &tag).await;
        // An attempt whose answer was lost has freed it, and then somebody else was given it.
        let is_not_ours = matches!(&freed, Err(error) if error.is_refusal("not-owner"));
        if self.ended(1, begun, freed).is_none() && !is_not_ours {
            // Call it again until it returns.
            self.held.push((id, tag));
        }
    }

    /// A name that no call had before.
    fn next_name(&self) -> String {
        let made = &self.bench.made;
        made.set(made.get() + 1);
        format!("{}/{}", self.bench.name, made.get())
    }

    fn ended<T>(&mut self, kind: usize, begun: Instant, got: Result<T, ClientError>) -> Option<T> {
        self.bench.ended.set(self.bench.ended.get() + 1);
        let tally = &mut self.tallies[kind];
        let error = match got {
            Ok(done) => {
                tally.latencies.add(begun.elapsed());
                return Some(done);
            }
            Err(error) => error,
        };
        if error.is_refusal("pool-full") {
            tally.full += 1;
            return None;
        }
        if error.is_refusal("not-owner") {
            tally.not_owner += 1;
            return None;
        }
        if matches!(error, ClientError::Unknown(_)) {
            tally.unknown += 1;
        } else {
            tally.errors += 1;
        }
        self.an_error = Some(error.to_string());
        None
    }
}
