//! `check_pool`: the real step machines of the pool, every interleaving and every crash point.
//!
//! A few callers with a few calls each over a small tree. One transition is one map operation of
//! one caller, or the loss of its answer, or a death. Calls begin with their first operation and
//! return with their last: longer calls would only make POOL-3 easier to keep, and to die before the
//! first operation is not to have begun.
//!
//! Upholds by judging every state and transition: POOL-1 to POOL-4 and POOL-6 here, POOL-5 in
//! [`search`](crate::search). What each caller may do next (allocate, free what it holds, free
//! again what it freed last) is left open, so all scripts of that length are explored.
//!
//! All callers share one host, whose memory is as bad as can be: it takes note of a place at any moment,
//! keeps that for as long as it likes, and answers by it or not. Who recalls a value that was there long
//! ago does what one does who read it then and paused.
//!
//! Ghosts (state that the machines do not see) are kept as small as the judgements allow:
//! * `freeing`: whose clear emptied a slot, until that caller's free has returned;
//! * on a caller: whether `Full` was allowed at some moment of its call, and what it could have
//!   seen in its slot.

mod actions;
mod judge;
mod registers;

use std::mem;

use cloakroom_pool::{
    Allocate, Free, Id, Machine, Next, Place, Policy, PoolId, Request, Response, Shape, Tag, Tree,
    Value, Version,
};
use cloakroom_specs::attempts::Reach;
use cloakroom_specs::pool::{self as spec, Objection};

use crate::judge::Seen;
use crate::search::{Event, Explore};
use crate::world::{Ground, Late, Origin, Ranks, World, plain, tag};

pub use actions::{Action, By, Lost};
use registers::Tried;

/// What is explored: the bounds of one check.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Ids in the pool.
    pub size: u64,
    /// Children to a node, slots to a block.
    pub shape: (u16, u16),
    /// Which free id is preferred.
    pub policy: Policy,
    /// How many calls each caller may begin.
    pub calls: &'static [u8],
    /// How many callers may die.
    pub deaths: u8,
    /// How many answers of a compare-and-set may be lost.
    pub unknowns: u8,
    /// How many calls may find the map unreachable half-way.
    pub cuts: u8,
    /// Whether a caller may free again what it freed last, although somebody else may hold it.
    pub again: bool,
    /// How many values of places a host comes to remember, each at any moment.
    pub memories: u8,
    /// 0: the map is a plain one. Else it is a map of registers, and makes so many attempts to a call.
    pub attempts: u8,
}

/// The model.
#[derive(Clone, Debug)]
pub struct CheckPool {
    bounds: Bounds,
    ground: Ground,
    /// `tags[caller][number]`.
    tags: Vec<Vec<Tag>>,
}

/// A state of the whole system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    world: World,
    callers: Vec<Caller>,
    deaths: u8,
    unknowns: u8,
    cuts: u8,
    memories: u8,
    /// For each id: the caller whose clear emptied its slot, until its free has returned.
    freeing: Vec<Option<u8>>,
    objection: Option<Objection>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Caller {
    calls: u8,
    /// What it holds: from the return of allocate to the call of free. Sorted.
    holds: Vec<Pair>,
    /// What it freed last, if `again` is on.
    freed: Option<Pair>,
    life: Life,
    /// On registers: the attempts so far of its map operation.
    tried: Tried,
}

/// An id and the number of a tag of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Pair {
    id: Id,
    tag: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Life {
    Idle,
    Allocating {
        machine: Allocate,
        tag: u8,
        /// `Full` was allowed at some moment of this call.
        full: bool,
    },
    Freeing {
        machine: Free,
        pair: Pair,
        seen: Seen,
    },
    /// Died half-way, or met an unreachable map with something left open.
    Dead {
        /// The free that must be called again.
        unfinished: Option<Pair>,
        /// The tag whose put may still be on its way.
        late: Option<u8>,
    },
}

impl CheckPool {
    /// The model within these bounds.
    ///
    /// # Panics
    /// When the bounds are no pool: they are written in this crate.
    pub fn new(bounds: Bounds) -> Self {
        let shape = Shape::new(bounds.shape.0, bounds.shape.1).expect("a shape");
        let tree = Tree::new(PoolId(0), bounds.size, shape).expect("a size");
        let tags = bounds.calls.iter().enumerate();
        let tags = tags.map(|(caller, &calls)| (0..=calls).map(|n| tag(caller, n)).collect());
        Self { bounds, tags: tags.collect(), ground: Ground::new(tree) }
    }

    fn tag(&self, caller: u8, number: u8) -> &Tag {
        &self.tags[usize::from(caller)][usize::from(number)]
    }

    fn pair(&self, caller: u8, pair: Pair) -> (u64, u64) {
        (pair.id.0, plain(self.tag(caller, pair.tag)))
    }

    /// The smallest number of a tag that the caller has no use for: tags are used again as soon as
    /// the rules allow, because that is the harder case.
    fn unused_tag(caller: &Caller) -> u8 {
        let used = |number| caller.holds.iter().any(|pair| pair.tag == number);
        (0..u8::MAX).find(|&number| !used(number)).expect("more tags than calls")
    }

    /// Carries out the request of a caller's machine and steps it. `lost`: the answer does not
    /// arrive.
    fn step(&self, state: &mut State, caller: u8, lost: Option<Lost>) -> Option<Event> {
        if self.bounds.attempts > 0 {
            let reach = if lost.is_some() { Reach::Sent } else { Reach::Whole };
            return self.attempt(state, caller, reach);
        }
        let request = state.callers[usize::from(caller)].request()?;
        let before = self.ground.plain_slots(&state.world);
        let response = match (lost, request) {
            (None, request) => self.ground.perform(&mut state.world, &request),
            (Some(lost), Request::CompareAndSet { place, expected, new }) => {
                match lost {
                    Lost::Never => {}
                    Lost::Applied => {
                        let world = &mut state.world;
                        self.ground.compare_and_set(world, place, expected.as_ref(), &new);
                    }
                    Lost::Later => {
                        let origin = Origin::Past;
                        state.world.late.push(Late { caller, place, expected, new, origin });
                    }
                }
                if let Life::Freeing { seen, .. } = life(state, caller) {
                    seen.doubt = true;
                }
                Response::Unknown
            }
            (Some(_), _) => return None,
        };
        let mismatch = matches!(response, Response::Mismatch(_));
        self.wrote(state, &before, caller, false);
        self.note_moment(state);
        let answer = self.answer(state, caller, response);
        answer.or(mismatch.then_some(Event::Mismatch))
    }

    /// A caller's request is answered.
    fn answered(&self, state: &mut State, caller: u8, by: By) -> Option<Event> {
        if by == By::Map {
            return self.step(state, caller, None);
        }
        let Request::Recall(place) = state.callers[usize::from(caller)].request()? else {
            return None;
        };
        let value = self.ground.recall(&state.world, place)?;
        if let Life::Freeing { pair, seen, .. } = life(state, caller)
            && let Value::Block(block) = &value
        {
            // A clear on this that is lost cannot tell what is from what was.
            let (_, slot) = self.ground.tree.slot(pair.id)?;
            let tag = self.tag(caller, pair.tag);
            seen.held |= block.slots[usize::from(slot)].as_ref() == Some(tag);
        }
        self.answer(state, caller, Response::Recalled(value)).or(Some(Event::Recalled))
    }

    /// Who can answer a request.
    fn answerers(&self, state: &State, request: &Request) -> impl Iterator<Item = By> + use<> {
        let remembered = match request {
            Request::Recall(place) => self.ground.recall(&state.world, *place).is_some(),
            _ => false,
        };
        std::iter::once(By::Map).chain(remembered.then_some(By::Memory))
    }

    /// The caller's machine takes the response; what its call returns is judged.
    fn answer(&self, state: &mut State, caller: u8, response: Response) -> Option<Event> {
        let helped = matches!(life(state, caller), Life::Allocating { machine, .. }
            if machine.is_helping());
        match mem::replace(life(state, caller), Life::Idle) {
            Life::Allocating { mut machine, tag, full } => {
                let next = machine.step(response);
                let Next::Done(outcome) = next else {
                    let help = machine.is_helping() && !helped;
                    *life(state, caller) = Life::Allocating { machine, tag, full };
                    return help.then_some(Event::Help);
                };
                Some(self.allocated(state, caller, tag, full, outcome))
            }
            Life::Freeing { mut machine, pair, seen } => {
                let Next::Done(outcome) = machine.step(response) else {
                    *life(state, caller) = Life::Freeing { machine, pair, seen };
                    return None;
                };
                Some(self.freed(state, caller, pair, seen, outcome.ok()))
            }
            life => {
                state.callers[usize::from(caller)].life = life;
                None
            }
        }
    }

    fn begin_free(&self, state: &mut State, caller: u8, pair: Pair, by: By) -> Option<Event> {
        let tag = self.tag(caller, pair.tag).clone();
        let machine = Free::new(self.ground.tree, pair.id, tag).expect("an id of this pool");
        *life(state, caller) = Life::Freeing { machine, pair, seen: Seen::default() };
        self.note_moment(state);
        self.answered(state, caller, by)
    }

    fn act(&self, state: &mut State, action: Action) -> Option<Event> {
        match action {
            Action::Allocate(caller, by) => {
                let own = &mut state.callers[usize::from(caller)];
                own.calls -= 1;
                let number = Self::unused_tag(own);
                // A free of this pair would now be against the rules.
                own.freed = own.freed.filter(|pair| pair.tag != number);
                let tag = self.tag(caller, number).clone();
                let machine = Allocate::new(self.ground.tree, self.bounds.policy, tag);
                own.life = Life::Allocating { machine, tag: number, full: false };
                self.note_moment(state);
                self.answered(state, caller, by)
            }
            Action::Free(caller, which, by) => {
                let own = &mut state.callers[usize::from(caller)];
                own.calls -= 1;
                let pair = own.holds.remove(usize::from(which));
                self.begin_free(state, caller, pair, by)
            }
            Action::FreeAgain(caller, by) => {
                let own = &mut state.callers[usize::from(caller)];
                own.calls -= 1;
                let pair = own.freed.take().expect("offered only then");
                self.begin_free(state, caller, pair, by)
            }
            Action::Step(caller, by) => self.answered(state, caller, by),
            Action::Lose(caller, lost) => {
                state.unknowns -= 1;
                self.step(state, caller, Some(lost))
            }
            Action::Stale(caller, behind) => {
                state.unknowns -= 1;
                self.attempt(state, caller, Reach::Stale(behind.into()))
            }
            Action::Cut(caller) => {
                state.cuts -= 1;
                if self.bounds.attempts > 0 {
                    return self.attempt(state, caller, Reach::Nowhere);
                }
                self.answer(state, caller, Response::Unavailable)
            }
            Action::Arrive(which) => {
                let late = state.world.late.remove(usize::from(which));
                let before = self.ground.plain_slots(&state.world);
                let world = &mut state.world;
                let expected = late.expected.as_ref();
                let done = self.ground.compare_and_set(world, late.place, expected, &late.new);
                if self.bounds.attempts > 0 {
                    let is_tried = late.origin == Origin::Operation;
                    Self::passed(state, late.place, is_tried.then_some(late.caller));
                }
                self.wrote(state, &before, late.caller, late.origin == Origin::Past);
                self.note_moment(state);
                Some(if done { Event::LateApplied } else { Event::LateRefused })
            }
            Action::Die(caller) => {
                state.deaths -= 1;
                Self::forget(state, caller, Origin::Past);
                *life(state, caller) = match *life(state, caller) {
                    Life::Freeing { pair, .. } => Life::Dead { unfinished: Some(pair), late: None },
                    Life::Allocating { tag, .. } => dead_allocating(state, caller, tag),
                    _ => return None,
                };
                Some(Event::Died)
            }
            Action::Remember(cell) => {
                state.memories -= 1;
                self.ground.remember(&mut state.world, usize::from(cell));
                None
            }
            Action::Retry(caller, by) => {
                let Life::Dead { unfinished: Some(pair), .. } = *life(state, caller) else {
                    return None;
                };
                self.begin_free(state, caller, pair, by)
            }
        }
    }
}

fn life(state: &mut State, caller: u8) -> &mut Life {
    &mut state.callers[usize::from(caller)].life
}

/// Dead in an allocate: its tag matters as long as a put of it may arrive.
fn dead_allocating(state: &State, caller: u8, tag: u8) -> Life {
    let late = state.world.late.iter().any(|late| late.caller == caller).then_some(tag);
    Life::Dead { unfinished: None, late }
}

impl Explore for CheckPool {
    type State = State;
    type Action = Action;
    type Objection = Objection;
    const PROPERTIES: &'static [(&'static str, u8)] =
        &[("POOL-1", 1), ("POOL-2", 2), ("POOL-3", 3), ("POOL-4", 4), ("POOL-6", 6), ("POOL-7", 7)];
    const CYCLE: Option<&'static str> = Some("POOL-5: a cycle on which no call returns");

    fn start(&self) -> State {
        let (life, tried) = (Life::Idle, Tried::NONE);
        let caller = |&calls| {
            let (life, holds) = (life.clone(), Vec::new());
            Caller { calls, holds, freed: None, life, tried }
        };
        State {
            world: self.ground.empty(),
            callers: self.bounds.calls.iter().map(caller).collect(),
            deaths: self.bounds.deaths,
            unknowns: self.bounds.unknowns,
            cuts: self.bounds.cuts,
            memories: self.bounds.memories,
            freeing: vec![None; usize::try_from(self.bounds.size).expect("small")],
            objection: None,
        }
    }

    fn offers(&self, state: &State, actions: &mut Vec<Action>) {
        // What went wrong is kept, not gone on from: the shortest trace ends there.
        if state.objection.is_some() {
            return;
        }
        // Every call begins with this.
        let first = Request::Recall(self.ground.tree.root());
        for (name, caller) in (0..).zip(&state.callers) {
            match &caller.life {
                Life::Idle if caller.calls > 0 => {
                    for by in self.answerers(state, &first) {
                        actions.push(Action::Allocate(name, by));
                        let holds = 0..u8::try_from(caller.holds.len()).expect("few");
                        actions.extend(holds.map(|which| Action::Free(name, which, by)));
                        actions.extend(caller.freed.map(|_| Action::FreeAgain(name, by)));
                    }
                    continue;
                }
                Life::Dead { unfinished: Some(_), .. } => {
                    let by = self.answerers(state, &first);
                    actions.extend(by.map(|by| Action::Retry(name, by)));
                    continue;
                }
                Life::Idle | Life::Dead { .. } => continue,
                Life::Allocating { .. } | Life::Freeing { .. } => {}
            }
            let writes = caller.request().expect("a call under way");
            let by = self.answerers(state, &writes);
            actions.extend(by.map(|by| Action::Step(name, by)));
            if state.deaths > 0 {
                actions.push(Action::Die(name));
            }
            if state.cuts > 0 {
                actions.push(Action::Cut(name));
            }
            if self.bounds.attempts > 0 {
                self.offer_losses(state, name, &writes, actions);
            } else if state.unknowns > 0 && matches!(writes, Request::CompareAndSet { .. }) {
                let all = [Lost::Never, Lost::Applied, Lost::Later];
                actions.extend(all.map(|lost| Action::Lose(name, lost)));
            }
        }
        let late = 0..u8::try_from(state.world.late.len()).expect("few");
        actions.extend(late.map(Action::Arrive));
        if state.memories > 0 {
            let news = |cell: &usize| {
                let mut world = state.world.clone();
                self.ground.remember(&mut world, *cell)
            };
            let cells = (0..self.ground.places()).filter(news);
            actions.extend(cells.map(|cell| Action::Remember(u8::try_from(cell).expect("few"))));
        }
    }

    fn follow(&self, before: &State, action: Action) -> Option<(State, Option<Event>)> {
        let mut state = before.clone();
        let event = self.act(&mut state, action);
        self.judge(&mut state);
        let State { world, callers, .. } = &mut state;
        let mut memory = |visit: &mut dyn FnMut(Place, &mut Version)| {
            for caller in callers.iter_mut() {
                match &mut caller.life {
                    Life::Allocating { machine, .. } => machine.versions(visit),
                    Life::Freeing { machine, .. } => machine.versions(visit),
                    _ => {}
                }
            }
        };
        Ranks::renumber(&self.ground, world, &mut memory);
        Some((state, event))
    }

    fn tell(&self, state: &State, action: Action) -> String {
        self.told(state, action)
    }

    fn objection(&self, state: &State) -> Option<Objection> {
        state.objection
    }

    fn callers(&self) -> usize {
        self.bounds.calls.len()
    }

    fn alone(&self, state: &State, caller: usize) -> Option<Action> {
        let active =
            matches!(state.callers[caller].life, Life::Allocating { .. } | Life::Freeing { .. });
        let name = u8::try_from(caller).expect("few");
        // From memory wherever that is possible: the worst that can be.
        let by = self.answerers(state, &state.callers[caller].request()?).last()?;
        (active && state.objection.is_none()).then_some(Action::Step(name, by))
    }

    fn solo_bound(&self, _caller: usize) -> u64 {
        // Each other caller may have stopped, and each cut stopped a call.
        let others = self.callers() as u64 - 1 + u64::from(self.bounds.cuts);
        // On registers each map operation may take several attempts, which are steps here.
        let attempts = u64::from(self.bounds.attempts.max(1));
        spec::solo_bound(u64::from(self.ground.tree.height()), others) * attempts
    }
}
