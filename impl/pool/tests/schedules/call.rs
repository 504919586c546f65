//! One call of a caller: its machine, and what the judge knows about it.
//!
//! Nothing here is seen by the machines.

use std::collections::BTreeSet;

use cloakroom_pool::{
    Allocate, AllocateFailure, Free, FreeOutcome, Id, Interrupted, List, Machine, Next, Recover,
    Recovered, Request, Response, Tag,
};

/// A pair of an id and its tag's number.
pub(crate) type Pair = (u64, u64);

/// What a call is for. Pairs are kept because the judge asks who may write what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Takes an id for a tag that is written down.
    Allocate { tag: u64 },
    /// The holder's own free, `retried` when an earlier one did not return.
    Free { pair: Pair, retried: bool },
    /// A free that must not free: by a tag that never held the id, or of a pair freed before.
    Vain { pair: Pair },
    /// A second free of a pair that is being freed, or of one that a dead allocate left.
    Beside { pair: Pair },
    /// Frees what is not written down.
    Recover,
    /// Brings counts up to date.
    Repair,
    /// Lists every pair.
    List,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Under way.
    Running,
    /// Its caller died, or it could not go on: an operation of its own may still land.
    Stopped,
    /// An allocate that returned `Unknown` of this id.
    Doubtful(u64),
    /// Returned; nothing of it may ever happen again.
    Returned,
}

/// A step machine of any kind.
#[derive(Clone, Debug)]
pub(crate) enum Running {
    Allocate(Allocate),
    Free(Free),
    Recover(Recover),
    List(List),
}

/// What a machine of any kind returned.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    Allocate(Result<Id, AllocateFailure>),
    Free(Result<FreeOutcome, Interrupted>),
    Recover(Result<Recovered, Interrupted>),
    List(Result<Vec<(Id, Tag)>, Interrupted>),
}

impl Running {
    pub(crate) fn request(&self) -> Request {
        match self {
            Self::Allocate(machine) => machine.request(),
            Self::Free(machine) => machine.request(),
            Self::Recover(machine) => machine.request(),
            Self::List(machine) => machine.request(),
        }
    }

    pub(crate) fn step(&mut self, response: Response) -> Option<Output> {
        fn done<T>(next: Next<T>) -> Option<T> {
            match next {
                Next::Ask => None,
                Next::Done(output) => Some(output),
            }
        }
        match self {
            Self::Allocate(machine) => done(machine.step(response)).map(Output::Allocate),
            Self::Free(machine) => done(machine.step(response)).map(Output::Free),
            Self::Recover(machine) => done(machine.step(response)).map(Output::Recover),
            Self::List(machine) => done(machine.step(response)).map(Output::List),
        }
    }
}

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Its block came from its host's memory, and then an outcome was unknown: a free cannot tell
    /// what it has done from what was done before.
    pub(crate) misled: bool,
    /// Its block came from its host's memory.
    pub(crate) recalled: bool,
    pub(crate) purpose: Purpose,
    pub(crate) status: Status,
    pub(crate) machine: Running,
    /// When it began, in steps of the whole schedule.
    pub(crate) begun: usize,
    /// POOL-3: whether at some moment so far every id was held or being freed.
    pub(crate) saw_full: bool,
    /// The pairs held throughout so far.
    pub(crate) throughout: BTreeSet<Pair>,
    /// The pairs held at some moment so far.
    pub(crate) ever: BTreeSet<Pair>,
    /// The pairs whose tag was not written down when it began.
    pub(crate) dead: BTreeSet<Pair>,
}

impl Call {
    /// The tag that this call may put into the slot of `id`, now.
    pub(crate) fn may_put(&self, id: u64) -> Option<u64> {
        match (self.purpose, self.status) {
            (Purpose::Allocate { tag }, Status::Running | Status::Stopped) => Some(tag),
            (Purpose::Allocate { tag }, Status::Doubtful(tried)) if tried == id => Some(tag),
            _ => None,
        }
    }

    /// The tag that this call may clear from the slot of `id`, which holds `held`, now.
    pub(crate) fn may_clear(
        &self,
        id: u64,
        held: Option<u64>,
        notebook: &BTreeSet<u64>,
    ) -> Option<u64> {
        match (self.purpose, self.status) {
            (_, Status::Returned | Status::Doubtful(_)) => None,
            (Purpose::Free { pair, .. } | Purpose::Vain { pair } | Purpose::Beside { pair }, _)
                if pair.0 == id =>
            {
                Some(pair.1)
            }
            (Purpose::Recover, _) => held.filter(|tag| !notebook.contains(tag)),
            _ => None,
        }
    }

    /// Whether it may clear a slot, and nobody is bound to call it again when it stops.
    pub(crate) fn may_be_abandoned(&self) -> bool {
        matches!(self.purpose, Purpose::Recover | Purpose::Beside { .. })
    }
}
