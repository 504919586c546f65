//! A turn of a host that has many callers: it serves many calls of one pool to their ends.
//!
//! 1. It learns what a plan must know, level by level: [`Request::Recall`]s, all at once.
//! 2. It carries out the plan: [`Combined`]. As long as all goes as planned, others may [join](Turn::join).
//! 3. It refreshes the counts that the plan could not bring to their parents.
//! 4. Who could not be served so is called by itself: each [`Free`], and one [`Allocate`]. What that one finds
//!    out, that the pool is full, holds for all. If it has found an id, the others wait for the next turn.
//! 5. It finds out what became of writes whose outcome was unknown ([`Doubt`]), and goes on with 3.
//!
//! A call is answered as soon as its own end is known: [`Turn::ended`]. That of an allocate is known when its id
//! is taken; the counts above are brought up after that. Until then, and if the host dies, they are too low,
//! which costs others a detour.
//!
//! Invariants:
//! * POOL-1: a call whose write is in doubt is not called by itself before that write has happened or never
//!   can;
//! * POOL-3: that the pool is full is answered only as an [`Allocate`] has said it that began after all calls
//!   of the turn had come: nobody joins after that;
//! * POOL-4, POOL-6: a free has returned [`FreeOutcome::Freed`] only when the counts above it have been
//!   refreshed, as it would by itself;
//! * POOL-5: each turn ends at least one of its calls;
//! * who depends on nothing that is in doubt, or cannot be reached, is served before anybody waits for that.
//!
//! What it does not do: remember anything for the next turn; that is the host's [`Memory`](crate::Memory).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::allocate::{Allocate, AllocateFailure, Policy};
use crate::combine::{Combined, Ending, Served, Want};
use crate::doubt::{self, Doubt};
use crate::free::{Free, FreeOutcome};
use crate::machine::{Interrupted, Machine, Next, Request, Response, unexpected};
use crate::refresh::Refresh;
use crate::tag::Id;
use crate::tree::{Place, Tree};
use crate::value::{Block, Value, Version};

/// How often a plan is made anew because not enough was known. Each time at least one level more is, and then
/// the next block that has no room.
const MOST_LOOKS: u32 = 12;

/// What has become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Done {
    /// Of an allocate.
    Allocated(Result<Id, AllocateFailure>),
    /// Of a free.
    Freed(Result<FreeOutcome, Interrupted>),
    /// Nothing yet: it is to be served in the next turn.
    Later,
}

/// Many calls, served together; see the file's head.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Turn {
    tree: Tree,
    policy: Policy,
    wants: Vec<Want>,
    fates: Vec<Fate>,
    phase: Phase,
    /// The requests of a phase that has one batch at a time are under way.
    is_asked: bool,
    doubts: Vec<Doubt>,
    /// Places that could not be reached, or whose total could not be brought to the root.
    broken: BTreeSet<Place>,
    has_allocated: bool,
    is_full: bool,
}

/// Which of the batches of requests that are under way at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Batch(u8);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Look {
        known: BTreeMap<Place, Option<Value>>,
        places: Vec<Place>,
        looks: u32,
    },
    Write(Combined),
    Refresh {
        from: Place,
        machine: Refresh,
        child: Place,
        left: Vec<Place>,
    },
    Allocate(usize, Allocate),
    Free(usize, Free),
    /// All that is in doubt.
    Settle,
    Over,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    /// Nothing is done, and nothing is on its way.
    Open,
    /// One of the writes in doubt is for it.
    Doubted,
    /// A free that has emptied its slot: it ends when the counts above have been refreshed.
    Cleared,
    /// It has ended so.
    Ended(Done),
    /// Its end has been told.
    Told,
}

impl Turn {
    /// A turn that serves these calls. A free of an id that the pool does not have is refused before.
    ///
    /// # Panics
    /// When the pool has not got the id of a free: the host's fault.
    pub fn new(tree: Tree, policy: Policy, wants: Vec<Want>) -> Self {
        assert_ids(tree, &wants);
        let fates = alloc::vec![Fate::Open; wants.len()];
        let (broken, doubts, phase) = (BTreeSet::new(), Vec::new(), Phase::Over);
        let (has_allocated, is_full) = (false, false);
        let is_asked = false;
        let mut turn = Self {
            tree,
            policy,
            wants,
            fates,
            phase,
            is_asked,
            doubts,
            broken,
            has_allocated,
            is_full,
        };
        turn.plan(BTreeMap::new(), 0);
        turn
    }

    /// Whether others may [join](Self::join) now.
    pub fn is_open(&self) -> bool {
        matches!(&self.phase, Phase::Write(combined) if combined.is_open())
    }

    /// Serves these calls as well. To be called while it [is open](Self::is_open). Whether each has joined, and
    /// got the next number: who has not is to be served in the next turn. `remembered` is what stood at a place
    /// at some moment before, if that is known; `Some(None)`: nothing.
    ///
    /// # Panics
    /// When it is not open, or the pool has not got the id of a free: the host's fault.
    pub fn join(
        &mut self,
        wants: Vec<Want>,
        remembered: &dyn Fn(Place) -> Option<Option<Value>>,
    ) -> Vec<bool> {
        assert_ids(self.tree, &wants);
        let Phase::Write(combined) = &mut self.phase else {
            panic!("host: expected to be asked before others join");
        };
        let joined = combined.join(wants.clone(), remembered);
        for (want, _) in wants.into_iter().zip(&joined).filter(|(_, joined)| **joined) {
            self.wants.push(want);
            self.fates.push(Fate::Open);
        }
        joined
    }

    /// Begins the next batch of requests, if one can begin. None, and none is under way: it has ended.
    pub fn begin(&mut self) -> Option<Batch> {
        match &mut self.phase {
            Phase::Over => None,
            Phase::Write(combined) => combined.begin().map(Batch),
            _ if self.is_asked => None,
            _ => {
                self.is_asked = true;
                Some(Batch(0))
            }
        }
    }

    /// The requests of a batch that is under way, about different places: to be carried out all at once.
    pub fn requests(&self, batch: Batch) -> Vec<Request> {
        match &self.phase {
            Phase::Write(combined) => combined.requests(batch.0),
            _ if !self.is_asked => Vec::new(),
            Phase::Look { places, .. } => places.iter().copied().map(Request::Recall).collect(),
            Phase::Refresh { machine, .. } => alloc::vec![machine.request()],
            Phase::Allocate(_, machine) => alloc::vec![machine.request()],
            Phase::Free(_, machine) => alloc::vec![machine.request()],
            Phase::Settle => self.doubts.iter().map(Machine::request).collect(),
            Phase::Over => Vec::new(),
        }
    }

    /// Whether nothing is left but to find out what became of writes in doubt: nobody else waits for that.
    pub fn is_settling(&self) -> bool {
        self.phase == Phase::Settle
    }

    /// Takes the outcomes of the [requests](Self::requests) of a batch, in their order, when all of them are there.
    ///
    /// # Panics
    /// When they are not as many, or do not fit: the host's fault.
    pub fn answer(&mut self, batch: Batch, responses: Vec<Response>) {
        let expected = self.requests(batch).len();
        assert_eq!(responses.len(), expected, "host: expected an answer to each request");
        self.is_asked = false;
        match core::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Look { known, places, looks } => self.learn(known, &places, looks, responses),
            Phase::Write(mut combined) => {
                combined.answer(batch.0, &responses);
                for (number, served) in combined.settled() {
                    self.fates[number] = Fate::Ended(match served {
                        Served::Taken(id) => Done::Allocated(Ok(id)),
                        _ => Done::Freed(Ok(FreeOutcome::Freed)),
                    });
                }
                self.go_on(combined);
            }
            Phase::Refresh { from, mut machine, child, left } => {
                match step(&mut machine, responses) {
                    Next::Ask => self.phase = Phase::Refresh { from, machine, child, left },
                    Next::Done(Ok(_)) => self.refresh(from, self.parent(child), left),
                    Next::Done(Err(Interrupted)) => {
                        self.broken.insert(from);
                        self.refresh_next(left);
                    }
                }
            }
            Phase::Allocate(number, mut machine) => match step(&mut machine, responses) {
                Next::Ask => self.phase = Phase::Allocate(number, machine),
                Next::Done(outcome) => {
                    self.has_allocated = true;
                    // POOL-3: all calls of this turn had come before it began.
                    self.is_full = outcome == Err(AllocateFailure::Full);
                    self.fates[number] = Fate::Ended(Done::Allocated(outcome));
                    self.call_next();
                }
            },
            Phase::Free(number, mut machine) => match step(&mut machine, responses) {
                Next::Ask => self.phase = Phase::Free(number, machine),
                Next::Done(outcome) => {
                    self.fates[number] = Fate::Ended(Done::Freed(outcome));
                    if let (Err(Interrupted), Some(place)) = (outcome, self.block(number)) {
                        self.broken.insert(place);
                    }
                    self.call_next();
                }
            },
            Phase::Settle => self.settle(responses),
            Phase::Over => {}
        }
    }

    /// The calls that have ended since this was last asked, by their numbers, and how. Once it has ended, also
    /// those that are to be served in the next turn.
    pub fn ended(&mut self) -> Vec<(usize, Done)> {
        let is_over = self.phase == Phase::Over;
        let mut ended = Vec::new();
        for (number, fate) in self.fates.iter_mut().enumerate() {
            match *fate {
                Fate::Ended(done) => ended.push((number, done)),
                Fate::Open if is_over => ended.push((number, Done::Later)),
                _ => continue,
            }
            *fate = Fate::Told;
        }
        ended
    }

    /// Shows every version in its memory with its place, as [`Machine::versions`] does.
    pub fn versions(&mut self, visit: &mut dyn FnMut(Place, &mut Version)) {
        match &mut self.phase {
            Phase::Look { known, .. } => {
                for (place, value) in known {
                    if let Some(value) = value {
                        visit(*place, value.version_mut());
                    }
                }
            }
            Phase::Write(combined) => combined.versions(visit),
            Phase::Refresh { machine, .. } => machine.versions(visit),
            Phase::Allocate(_, machine) => machine.versions(visit),
            Phase::Free(_, machine) => machine.versions(visit),
            Phase::Settle | Phase::Over => {}
        }
        for doubt in &mut self.doubts {
            doubt.versions(visit);
        }
    }

    fn plan(&mut self, known: BTreeMap<Place, Option<Value>>, looks: u32) {
        let remembered = |place| known.get(&place).cloned();
        let combined = Combined::plan(self.tree, self.policy, self.wants.clone(), &remembered);
        if combined.missing().is_empty() || looks == MOST_LOOKS {
            self.go_on(combined);
        } else {
            let places = combined.missing().iter().copied().collect();
            self.phase = Phase::Look { known, places, looks };
        }
    }

    fn learn(
        &mut self,
        mut known: BTreeMap<Place, Option<Value>>,
        places: &[Place],
        looks: u32,
        responses: Vec<Response>,
    ) {
        let mut looks = looks + 1;
        for (&place, response) in places.iter().zip(responses) {
            match response {
                Response::Value(value) => _ = known.insert(place, value),
                Response::Recalled(value) => _ = known.insert(place, Some(value)),
                // It is served with what is known.
                Response::Unavailable => {
                    looks = MOST_LOOKS;
                    self.broken.insert(place);
                }
                other => unexpected(&Request::Recall(place), &other),
            }
        }
        self.plan(known, looks);
    }

    /// The plan goes on, or has ended.
    fn go_on(&mut self, combined: Combined) {
        if !combined.is_over() {
            self.phase = Phase::Write(combined);
            return;
        }
        let Ending { served, stale, unreached, doubts } = combined.end();
        self.broken.extend(unreached);
        self.doubts = doubts;
        for (fate, served) in self.fates.iter_mut().zip(served) {
            match served {
                _ if *fate != Fate::Open => {}
                // Those that are taken have settled.
                Served::Again | Served::Taken(_) => {}
                Served::Unknown(_) => *fate = Fate::Doubted,
                Served::Freed => *fate = Fate::Cleared,
            }
        }
        self.refresh_next(stale.into_iter().rev().collect());
    }

    /// What was in doubt is answered.
    fn settle(&mut self, responses: Vec<Response>) {
        let mut stale = Vec::new();
        for (mut doubt, response) in core::mem::take(&mut self.doubts).into_iter().zip(responses) {
            match doubt.step(response) {
                Next::Ask => self.doubts.push(doubt),
                Next::Done(ended) => {
                    // POOL-4: its counts have not been brought to anybody.
                    stale.extend(ended.is_ok().then(|| doubt.place()));
                    self.broken.extend(ended.is_err().then(|| doubt.place()));
                    for &(number, id) in doubt.calls() {
                        self.fates[number] = self.fate(number, id, &ended);
                    }
                }
            }
        }
        self.refresh_next(stale);
    }

    /// Of a call whose write was in doubt: by what its block has, when that could be found out.
    fn fate(&self, number: usize, id: Id, block: &Result<Option<Block>, Interrupted>) -> Fate {
        let (Want::Allocate(tag) | Want::Free(_, tag)) = &self.wants[number];
        let is_held = block.as_ref().map(|it| doubt::is_held(&self.tree, id, tag, it.as_ref()));
        match (&self.wants[number], is_held) {
            (Want::Allocate(_), Ok(true)) => Fate::Ended(Done::Allocated(Ok(id))),
            (Want::Free(..), Ok(false)) => Fate::Cleared,
            // It was not done, and cannot be any more.
            (Want::Allocate(_), Ok(false)) | (Want::Free(..), Ok(true)) => Fate::Open,
            (Want::Allocate(_), Err(_)) => {
                Fate::Ended(Done::Allocated(Err(AllocateFailure::Unknown(id))))
            }
            (Want::Free(..), Err(_)) => Fate::Ended(Done::Freed(Err(Interrupted))),
        }
    }

    fn refresh_next(&mut self, mut left: Vec<Place>) {
        self.count(&left);
        if let Some(from) = left.pop() {
            self.refresh(from, Some(from), left);
        } else {
            self.call_next();
        }
    }

    /// The edge above a child, as one of those above `from`.
    fn refresh(&mut self, from: Place, child: Option<Place>, left: Vec<Place>) {
        let edge = child.and_then(|child| Some((child, Refresh::edge(self.tree, child)?)));
        match edge {
            Some((child, machine)) => {
                self.phase = Phase::Refresh { from, machine, child, left };
            }
            None => self.refresh_next(left),
        }
    }

    fn parent(&self, child: Place) -> Option<Place> {
        self.tree.parent(child).map(|(parent, _)| parent)
    }

    /// A free below none of the places that are left to be refreshed has ended.
    fn count(&mut self, left: &[Place]) {
        for number in 0..self.wants.len() {
            let (Fate::Cleared, Want::Free(id, _)) = (self.fates[number], &self.wants[number])
            else {
                continue;
            };
            if left.iter().any(|place| self.is_below(*id, *place)) {
                continue;
            }
            // POOL-6: a free below a place whose total did not reach the root is not finished.
            let is_cut = self.broken.iter().any(|place| self.is_below(*id, *place));
            let done = if is_cut { Err(Interrupted) } else { Ok(FreeOutcome::Freed) };
            self.fates[number] = Fate::Ended(Done::Freed(done));
        }
    }

    fn is_below(&self, id: Id, place: Place) -> bool {
        self.tree.above(id, place.level()) == place
    }

    /// The block of a free.
    fn block(&self, number: usize) -> Option<Place> {
        match &self.wants[number] {
            Want::Free(id, _) => self.tree.slot(*id).map(|(block, _)| block),
            Want::Allocate(_) => None,
        }
    }

    /// The next call that goes by itself, or what is in doubt.
    fn call_next(&mut self) {
        for (number, want) in self.wants.iter().enumerate() {
            match want {
                // POOL-1: not who is in doubt.
                _ if self.fates[number] != Fate::Open => {}
                // It would wait for the same in vain.
                Want::Free(id, _) if self.broken.iter().any(|place| self.is_below(*id, *place)) => {
                    self.fates[number] = Fate::Ended(Done::Freed(Err(Interrupted)));
                }
                Want::Free(id, tag) => {
                    if let Some(machine) = Free::new(self.tree, *id, tag.clone()) {
                        self.phase = Phase::Free(number, machine);
                        return;
                    }
                }
                Want::Allocate(_) if self.is_full => {
                    self.fates[number] = Fate::Ended(Done::Allocated(Err(AllocateFailure::Full)));
                }
                // It may have made room for the others, or shown that there is none.
                Want::Allocate(_) if self.has_allocated => {}
                Want::Allocate(tag) => {
                    let machine = Allocate::new(self.tree, self.policy, tag.clone());
                    self.phase = Phase::Allocate(number, machine);
                    return;
                }
            }
        }
        self.phase = if self.doubts.is_empty() { Phase::Over } else { Phase::Settle };
    }
}

/// What has the host to see to before.
fn assert_ids(tree: Tree, wants: &[Want]) {
    for want in wants {
        if let Want::Free(id, _) = want {
            assert!(tree.slot(*id).is_some(), "host: expected an id of the pool, got {id}");
        }
    }
}

fn step<K: Machine>(machine: &mut K, responses: Vec<Response>) -> Next<K::Output> {
    let mut responses = responses.into_iter();
    machine.step(responses.next().expect("counted before"))
}
