//! Callers on one map, and the judge who watches every step.
//!
//! The judge keeps what no caller knows: what stands in each slot, who holds what, which clears are
//! not yet covered by a refresh. Every step is judged by the predicates of `cloakroom_specs`.
//!
//! Callers keep the four rules of `specs/pool.md`: a tag is written down before its allocate; an id
//! is out of use before its free; a free is called again until one call has returned; recovery asks
//! the notebook. A dead allocate's tag is struck out at once, so that recovery meets it.

mod answers;
mod ending;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use cloakroom_pool::{
    Allocate, Free, Id, List, Memory, Policy, Recover, Request, Response, Tag, Tree, Value, perform,
};
use cloakroom_specs::pool::{self as specs, Objection};

use crate::call::{Call, Pair, Purpose, Running, Status};
use crate::map::{Fault, Map};

/// The tag of a stranger who never allocates.
const STRANGER: u64 = 0;

/// What a caller calls. Numbers choose among what there is, modulo how many.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Under a new tag, or under one whose earlier life is over.
    Allocate {
        policy: Policy,
        reuse: bool,
    },
    /// One of the ids held.
    Free(usize),
    /// Calls a free again that did not return.
    FreeAgain(usize),
    /// An id, by a tag that never had it.
    FreeByStranger(usize),
    /// A pair that was freed long ago, once more.
    FreeOnceMore(usize),
    /// A pair that is being freed, or one that a dead allocate left, freed by somebody else too.
    FreeBeside(usize),
    Recover,
    Repair,
    List,
}

/// What was met: a schedule without these shows little.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    pub(crate) full: usize,
    pub(crate) unknown_allocates: usize,
    pub(crate) landed: usize,
    pub(crate) freed_again: usize,
    pub(crate) phantoms: usize,
    pub(crate) counts_repaired: u64,
    pub(crate) quiet_moments: usize,
    pub(crate) tags_used_again: usize,
    pub(crate) recalled: usize,
}

impl std::ops::Add for Met {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            full: self.full + other.full,
            unknown_allocates: self.unknown_allocates + other.unknown_allocates,
            landed: self.landed + other.landed,
            freed_again: self.freed_again + other.freed_again,
            phantoms: self.phantoms + other.phantoms,
            counts_repaired: self.counts_repaired + other.counts_repaired,
            quiet_moments: self.quiet_moments + other.quiet_moments,
            tags_used_again: self.tags_used_again + other.tags_used_again,
            recalled: self.recalled + other.recalled,
        }
    }
}

/// A slot that was cleared, until a refresh that began later is known to have ended.
#[derive(Clone, Copy, Debug)]
struct Clear {
    pair: Pair,
    by: usize,
    at: usize,
}

/// The host of all callers. One that does not take note answers with what has long been over.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    memory: Memory,
    pub(crate) takes_note: bool,
    pub(crate) answers: bool,
}

impl Host {
    fn answer(&mut self, request: &Request) -> Option<Response> {
        if self.answers { self.memory.answer(request) } else { None }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    tree: Tree,
    map: Map,
    pub(crate) host: Host,
    slots: Vec<Option<u64>>,
    notebook: BTreeSet<u64>,
    holdings: Vec<Pair>,
    unfinished: Vec<Pair>,
    doubtful: Vec<u64>,
    /// Tags whose whole life is over, with their last id.
    over: Vec<Pair>,
    clears: Vec<Clear>,
    calls: Vec<Call>,
    callers: Vec<Option<usize>>,
    last_tag: u64,
    clock: usize,
    /// Whether a caller died, or could not reach the map.
    stopped: bool,
    /// Whether one of these may have cleared a slot, and nobody is bound to call it again: then only a
    /// recovery puts its counts right.
    abandoned: bool,
    pub(crate) met: Met,
    pub(crate) story: Option<Vec<String>>,
}

/// The first property broken, in words.
pub(crate) type Judged<T = ()> = Result<T, String>;

fn judged(objection: Objection) -> String {
    objection.to_string()
}

fn tag(number: u64) -> Tag {
    Tag::new(number.to_be_bytes()).expect("eight bytes")
}

fn number(tag: &Tag) -> u64 {
    u64::from_be_bytes(tag.as_bytes().try_into().expect("eight bytes"))
}

impl World {
    pub(crate) fn new(tree: Tree, callers: usize, story: bool) -> Self {
        let size = usize::try_from(tree.size()).expect("a small pool");
        Self {
            tree,
            map: Map::default(),
            host: Host {
                memory: Memory::new(NonZeroUsize::new(4).expect("not zero")),
                takes_note: false,
                answers: false,
            },
            slots: vec![None; size],
            notebook: BTreeSet::new(),
            holdings: Vec::new(),
            unfinished: Vec::new(),
            doubtful: Vec::new(),
            over: Vec::new(),
            clears: Vec::new(),
            calls: Vec::new(),
            callers: vec![None; callers],
            last_tag: STRANGER,
            clock: 0,
            stopped: false,
            abandoned: false,
            met: Met::default(),
            story: story.then(Vec::new),
        }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(what());
        }
    }

    /// An idle caller begins a call; a busy one, or one for which there is nothing to do, does not.
    pub(crate) fn begin(&mut self, caller: usize, op: Op) {
        let caller = caller % self.callers.len();
        if self.callers[caller].is_none()
            && let Some((purpose, machine)) = self.purpose(op)
        {
            self.callers[caller] = Some(self.calls.len());
            self.tell(|| format!("caller {caller} begins {purpose:?}"));
            let pairs: BTreeSet<Pair> =
                (0..).zip(&self.slots).filter_map(|(id, tag)| Some((id, (*tag)?))).collect();
            let dead =
                pairs.iter().filter(|(_, tag)| !self.notebook.contains(tag)).copied().collect();
            self.calls.push(Call {
                misled: false,
                recalled: false,
                purpose,
                status: Status::Running,
                machine,
                begun: self.clock,
                saw_full: self.full().is_ok(),
                throughout: pairs.clone(),
                ever: pairs,
                dead,
            });
        }
    }

    fn purpose(&mut self, op: Op) -> Option<(Purpose, Running)> {
        fn take(from: &mut Vec<Pair>, at: usize) -> Option<Pair> {
            (!from.is_empty()).then(|| from.swap_remove(at % from.len()))
        }
        let tree = self.tree;
        let purpose = match op {
            Op::Allocate { policy, reuse } => {
                let again = if reuse { self.over.pop() } else { None }.map(|(_, tag)| tag);
                self.met.tags_used_again += usize::from(again.is_some());
                let number = again.unwrap_or(self.last_tag + 1);
                self.last_tag = self.last_tag.max(number);
                self.notebook.insert(number);
                let machine = Running::Allocate(Allocate::new(tree, policy, tag(number)));
                return Some((Purpose::Allocate { tag: number }, machine));
            }
            Op::Recover => return Some((Purpose::Recover, Running::Recover(Recover::new(tree)))),
            Op::Repair => return Some((Purpose::Repair, Running::Recover(Recover::repair(tree)))),
            Op::List => return Some((Purpose::List, Running::List(List::new(tree)))),
            Op::Free(at) => Purpose::Free { pair: take(&mut self.holdings, at)?, retried: false },
            Op::FreeAgain(at) => {
                Purpose::Free { pair: take(&mut self.unfinished, at)?, retried: true }
            }
            Op::FreeByStranger(at) => {
                Purpose::Vain { pair: ((at % self.slots.len()) as u64, STRANGER) }
            }
            Op::FreeOnceMore(at) => Purpose::Vain { pair: take(&mut self.over, at)? },
            Op::FreeBeside(at) => {
                let pairs = self.pairs_to_free_beside();
                Purpose::Beside { pair: *pairs.get(at % pairs.len().max(1))? }
            }
        };
        let (Purpose::Free { pair, .. } | Purpose::Vain { pair } | Purpose::Beside { pair }) =
            purpose
        else {
            unreachable!("the others have returned")
        };
        let machine = Free::new(tree, Id(pair.0), tag(pair.1)).expect("an id of the pool");
        Some((purpose, Running::Free(machine)))
    }

    fn pairs_to_free_beside(&self) -> Vec<Pair> {
        let freeing =
            self.callers.iter().flatten().filter_map(|&at| match self.calls[at].purpose {
                Purpose::Free { pair, .. } => Some(pair),
                _ => None,
            });
        let dead = (0..).zip(&self.slots).filter_map(|(id, tag)| Some((id, (*tag)?)));
        freeing.chain(dead.filter(|(_, tag)| !self.notebook.contains(tag))).collect()
    }

    /// Whether somebody else called free for this pair too.
    fn was_freed_beside(&self, pair: Pair) -> bool {
        let beside = Purpose::Beside { pair };
        self.calls.iter().any(|call| call.purpose == beside)
    }

    /// A caller takes a step, in which its map operation meets a fault. Says whether it did.
    pub(crate) fn step(&mut self, caller: usize, fault: &mut Option<Fault>) -> Judged<bool> {
        let caller = caller % self.callers.len();
        let Some(at) = self.callers[caller] else { return Ok(false) };
        self.clock += 1;
        let request = self.calls[at].machine.request();
        let recalled = self.host.answer(&request);
        self.met.recalled += usize::from(recalled.is_some());
        let response = match &request {
            _ if let Some(recalled) = recalled => recalled,
            Request::IsLive(tag) => Response::Live(self.notebook.contains(&number(tag))),
            Request::Get(_) | Request::Recall(_) => {
                self.ask(at, &request, fault, Fault::Unavailable)
            }
            Request::CompareAndSet { place, .. } => {
                let met = fault.unwrap_or(Fault::Never);
                let response = self.ask(at, &request, fault, met);
                if place.is_block() {
                    self.observe(at)?;
                }
                response
            }
        };
        let call = &mut self.calls[at];
        call.recalled |= matches!(response, Response::Recalled(Value::Block(_)));
        call.misled |= call.recalled && response == Response::Unknown;
        if self.host.takes_note {
            self.host.memory.note(&request, &response);
        }
        self.tell(|| format!("caller {caller}: {request:?} -> {response:?}"));
        if response == Response::Unavailable {
            self.stopped = true;
            self.abandoned |= self.calls[at].may_be_abandoned();
        }
        if let Some(output) = self.calls[at].machine.step(response) {
            self.callers[caller] = None;
            self.tell(|| format!("caller {caller} is answered {output:?}"));
            self.returned(at, output)?;
        }
        self.watch()?;
        Ok(true)
    }

    /// Asks the map; the fault is met if it is of a kind that this request can meet.
    fn ask(
        &mut self,
        by: usize,
        request: &Request,
        fault: &mut Option<Fault>,
        can: Fault,
    ) -> Response {
        let met = if *fault == Some(can) { fault.take() } else { None };
        self.map.prepare(by, met);
        perform(&self.map, &self.tree, request).0
    }

    /// A caller dies.
    pub(crate) fn crash(&mut self, caller: usize) {
        let caller = caller % self.callers.len();
        let Some(at) = self.callers[caller].take() else { return };
        self.tell(|| format!("caller {caller} dies"));
        self.stopped = true;
        self.calls[at].status = Status::Stopped;
        self.abandoned |= self.calls[at].may_be_abandoned();
        match self.calls[at].purpose {
            Purpose::Allocate { tag } => {
                self.notebook.remove(&tag);
            }
            Purpose::Free { pair, .. } => self.unfinished.push(pair),
            Purpose::Recover
            | Purpose::Vain { .. }
            | Purpose::Beside { .. }
            | Purpose::Repair
            | Purpose::List => {}
        }
    }

    /// An operation that was on its way happens now, or is lost.
    pub(crate) fn land(&mut self, at: usize, lost: bool) -> Judged {
        let on_their_way = self.map.on_their_way();
        if on_their_way == 0 {
            return Ok(());
        }
        self.clock += 1;
        let late = self.map.land(at % on_their_way, lost);
        self.tell(|| format!("lands{}: {late:?}", if lost { " never" } else { "" }));
        self.met.landed += usize::from(!lost);
        self.observe(late.by)?;
        self.watch()
    }

    /// POOL-5: a running call, if all others paused for ever.
    pub(crate) fn alone(&self, caller: usize) -> Judged {
        let Some(at) = self.callers[caller % self.callers.len()] else { return Ok(()) };
        let bound = match self.calls[at].machine {
            Running::Allocate(_) | Running::Free(_) => {
                specs::solo_bound(u64::from(self.tree.height()), self.others(at))
            }
            Running::Recover(_) => specs::solo_recovery_bound(
                self.tree.all().count() as u64,
                self.tree.size(),
                u64::from(self.tree.shape().block()),
            ),
            Running::List(_) => return Ok(()),
        };
        let map = self.map.clone();
        map.prepare(at, None);
        let mut host = self.host.clone();
        let mut machine = self.calls[at].machine.clone();
        for steps in 1.. {
            specs::returns_alone(steps, bound).map_err(judged)?;
            let request = machine.request();
            let response = match &request {
                Request::IsLive(tag) => Response::Live(self.notebook.contains(&number(tag))),
                _ => match host.answer(&request) {
                    Some(recalled) => recalled,
                    None => perform(&map, &self.tree, &request).0,
                },
            };
            if machine.step(response).is_some() {
                break;
            }
        }
        Ok(())
    }

    /// The other calls that may have stopped half-way.
    fn others(&self, at: usize) -> u64 {
        let half_way = |call: &&Call| call.status != Status::Returned;
        (self.calls[..at].iter().chain(&self.calls[at + 1..]).filter(half_way)).count() as u64
    }

    /// POOL-2: the slots have changed as the author of the last write may change them.
    fn observe(&mut self, author: usize) -> Judged {
        for place in self.tree.all().take_while(|place| place.is_block()) {
            let Some(bytes) = self.map.value(&self.tree.key(place)) else { continue };
            let value = Value::decode(&bytes, &self.tree, place).map_err(|e| e.to_string())?;
            let Value::Block(block) = value else { return Err(format!("{place} is a node")) };
            for (id, to) in self.tree.ids(place).zip(&block.slots) {
                self.change(author, id, to.as_ref().map(number))?;
            }
        }
        Ok(())
    }

    fn change(&mut self, author: usize, id: u64, to: Option<u64>) -> Judged {
        let at = usize::try_from(id).expect("a small pool");
        let from = std::mem::replace(&mut self.slots[at], to);
        if from == to {
            return Ok(());
        }
        let call = &self.calls[author];
        let freeing = call.may_clear(id, from, &self.notebook);
        specs::change_is_allowed(id, from, to, call.may_put(id), freeing).map_err(judged)?;
        if let Some(tag) = from {
            self.clears.push(Clear { pair: (id, tag), by: author, at: self.clock });
        }
        for &call in self.callers.iter().flatten() {
            let call = &mut self.calls[call];
            from.map(|tag| call.throughout.remove(&(id, tag)));
            call.ever.extend(to.map(|tag| (id, tag)));
        }
        Ok(())
    }

    /// POOL-3, at this moment.
    fn full(&self) -> Result<(), Objection> {
        specs::full(
            (0..).zip(&self.slots).map(|(id, slot)| {
                slot.is_some() || self.clears.iter().any(|clear| clear.pair.0 == id)
            }),
        )
    }

    /// What holds at every moment.
    fn watch(&mut self) -> Judged {
        specs::holders_keep_their_ids(&self.slots, self.holdings.iter().copied())
            .map_err(judged)?;
        if self.full().is_ok() {
            for &call in self.callers.iter().flatten() {
                self.calls[call].saw_full = true;
            }
        }
        if !self.stopped && self.callers.iter().all(Option::is_none) {
            self.met.quiet_moments += 1;
            specs::counts_exact(self.counts()?).map_err(judged)?;
        }
        Ok(())
    }

    /// Each count with what is held below it. Exact means all are; also of nodes never written.
    fn counts(&self) -> Judged<Vec<(u64, u64)>> {
        let mut counts = Vec::new();
        for place in self.tree.all().filter(|place| !place.is_block()) {
            let node = match self.map.value(&self.tree.key(place)) {
                Some(bytes) => match Value::decode(&bytes, &self.tree, place) {
                    Ok(Value::Node(node)) => Some(node),
                    other => return Err(format!("{place}: {other:?}")),
                },
                None => None,
            };
            for side in 0..self.tree.width(place) {
                let held = (self.tree.ids(self.tree.child(place, side)))
                    .filter(|&id| self.slots[usize::try_from(id).expect("small")].is_some());
                let count = node.as_ref().map_or(0, |node| node.counts.of(side));
                counts.push((count, held.count() as u64));
            }
        }
        Ok(counts)
    }
}
