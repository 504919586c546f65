//! The plain API: every operation run to its end on a synchronous map.

use alloc::vec::Vec;
use thiserror::Error;

use crate::allocate::{Allocate, AllocateFailure, Policy};
use crate::free::{Free, FreeOutcome};
use crate::list::{Find, List};
use crate::machine::{Interrupted, Machine, Next, Request, Response};
use crate::map::{AtomicMap, MapError, carry_out, run};
use crate::recover::{Recover, Recovered};
use crate::tag::{Id, Tag};
use crate::tree::Tree;

/// A pool of ids in a map. Any number of these, in any number of processes, may share one pool if
/// they agree on its [`Tree`].
///
/// Costs are given in map operations for a call that runs alone with exact counts; `h` is
/// [`Tree::height`]. A call that races repeats one operation for a write of another that got in
/// between on its block, two for one on an inner node, and a round where its block became full.
#[derive(Clone, Debug)]
pub struct Pool<M> {
    map: M,
    tree: Tree,
    policy: Policy,
    start: Option<Id>,
}

/// Why there is no id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocateError {
    /// POOL-3: at some moment during the call every id was held, or was being freed by a call that
    /// had not returned.
    #[error("pool full: all {size} ids are held")]
    Full {
        /// How many ids the pool has.
        size: u64,
    },
    /// The map could not be reached; no id is held under this call's tag.
    #[error("nothing allocated: {cause}")]
    Unreachable {
        /// The map's error.
        cause: MapError,
    },
    /// The map could not be reached after an attempt on `id`: the tag may hold it now or later.
    /// If [`Pool::find`] shows the tag, it holds that id; if not, the attempt may still be on its
    /// way. Strike the tag out, never allocate under it again, and let recovery free what it may
    /// come to hold.
    #[error("outcome unknown: the tag may hold id {id}, now or later: {cause}")]
    Unknown {
        /// The id of the attempt.
        id: Id,
        /// The map's error.
        cause: MapError,
    },
}

/// Why a free did not finish.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FreeError {
    /// The pool has no such id: the caller's fault.
    #[error("id: expected 0 to {}, got {id}", size - 1)]
    OutOfRange {
        /// What came.
        id: Id,
        /// How many ids the pool has.
        size: u64,
    },
    /// The map could not be reached. The id may or may not be free: call again.
    #[error("free not finished, call again: {cause}")]
    Unfinished {
        /// The map's error.
        cause: MapError,
    },
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Ids held, by the root's counts: exact when nobody is at work and none has died.
    pub held: u64,
    /// Ids in all.
    pub size: u64,
}

impl<M: AtomicMap> Pool<M> {
    /// The pool with this tree in this map. Creates nothing: a pool that nobody used is empty.
    pub fn new(map: M, tree: Tree, policy: Policy) -> Self {
        Self { map, tree, policy, start: None }
    }

    /// The same, but allocates go round from this id on, whatever the policy says. A thread with a start of
    /// its own finds again what it has freed itself, and meets others in the upper nodes alone. Like the
    /// policy it is a hint.
    #[must_use]
    pub fn starting_at(self, start: Id) -> Self {
        Self { start: Some(start), ..self }
    }

    /// Its tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Its map.
    pub fn map(&self) -> &M {
        &self.map
    }

    /// Hands out an id that nobody holds, and holds it under `tag`, which the caller has written
    /// down durably before. Costs `2h + 2`.
    ///
    /// # Errors
    /// [`AllocateError`]: full, unreachable, or unknown.
    pub fn allocate(&self, tag: &Tag) -> Result<Id, AllocateError> {
        let mut call = Allocate::new(self.tree, self.policy, tag.clone());
        if let Some(start) = self.start {
            call = call.starting_at(start);
        }
        let (outcome, cause) = self.map.allocate(&self.tree, call);
        outcome.map_err(|failure| match failure {
            AllocateFailure::Full => AllocateError::Full { size: self.tree.size() },
            AllocateFailure::Unreachable => AllocateError::Unreachable { cause: known(cause) },
            AllocateFailure::Unknown(id) => AllocateError::Unknown { id, cause: known(cause) },
        })
    }

    /// Frees `id` if `tag` holds it. The id must already be out of use. Call it again and again
    /// until one call has returned `Ok`. Costs `2h + 2`.
    ///
    /// # Errors
    /// [`FreeError`]: no such id, or not finished.
    pub fn free(&self, id: Id, tag: &Tag) -> Result<FreeOutcome, FreeError> {
        let call = Free::new(self.tree, id, tag.clone())
            .ok_or(FreeError::OutOfRange { id, size: self.tree.size() })?;
        let (outcome, cause) = self.map.free(&self.tree, call);
        outcome.map_err(|Interrupted| FreeError::Unfinished { cause: known(cause) })
    }

    /// Every held id with its tag, in the order of the ids. Every pair held throughout the call is
    /// listed, every pair listed was held at some moment during it. Costs one for each child of each
    /// inner node that was ever used, and one.
    ///
    /// # Errors
    /// The map's.
    pub fn list(&self) -> Result<Vec<(Id, Tag)>, MapError> {
        self.run_whole(List::new(self.tree))
    }

    /// The ids held under a tag, in their order. Costs what [`Pool::list`] does.
    ///
    /// # Errors
    /// The map's.
    pub fn find(&self, tag: &Tag) -> Result<Vec<Id>, MapError> {
        self.run_whole(Find::new(self.tree, tag.clone()))
    }

    /// Frees every id whose tag is not live, and brings every count up to date. Safe beside live
    /// callers if `is_live` looks into the callers' notebook at the moment it is asked: an answer
    /// from an older copy may free the id of a caller that wrote its tag down since. Costs what
    /// [`Pool::list`] does, three for each place that was ever used, and one for each block with
    /// something to free.
    ///
    /// # Errors
    /// The map's. What was freed until then stays freed; run it again.
    pub fn recover(&self, mut is_live: impl FnMut(&Tag) -> bool) -> Result<Recovered, MapError> {
        let (outcome, cause) = self.run_asking(Recover::new(self.tree), &mut is_live);
        outcome.map_err(|Interrupted| known(cause))
    }

    /// Brings every count up to date and frees nothing: safe beside live callers. Costs what
    /// [`Pool::recover`] does without freeing.
    ///
    /// # Errors
    /// The map's.
    pub fn repair(&self) -> Result<Recovered, MapError> {
        self.run_whole(Recover::repair(self.tree))
    }

    /// How full the pool is. Costs one.
    ///
    /// # Errors
    /// The map's.
    pub fn usage(&self) -> Result<Usage, MapError> {
        let (response, error) = carry_out(&self.map, &self.tree, Request::Get(self.tree.root()));
        match response {
            Response::Value(root) => {
                Ok(Usage { held: root.map_or(0, |root| root.total()), size: self.tree.size() })
            }
            _ => Err(known(error)),
        }
    }

    fn run_whole<K, T>(&self, machine: K) -> Result<T, MapError>
    where
        K: Machine<Output = Result<T, Interrupted>>,
    {
        let (outcome, cause) = run(&self.map, &self.tree, machine);
        outcome.map_err(|Interrupted| known(cause))
    }

    /// Runs a machine to its end; beside its output the last error that the map gave.
    fn run_asking<K: Machine>(
        &self,
        mut machine: K,
        is_live: &mut dyn FnMut(&Tag) -> bool,
    ) -> (K::Output, Option<MapError>) {
        let mut cause = None;
        loop {
            let response = match machine.request() {
                Request::IsLive(tag) => Response::Live(is_live(&tag)),
                request => {
                    let (response, error) = carry_out(&self.map, &self.tree, request);
                    if error.is_some() {
                        cause = error;
                    }
                    response
                }
            };
            if let Next::Done(output) = machine.step(response) {
                return (output, cause);
            }
        }
    }
}

/// A machine stops for want of a map only after the map gave an error.
fn known(cause: Option<MapError>) -> MapError {
    cause.expect("a machine is interrupted only by an error of the map")
}
