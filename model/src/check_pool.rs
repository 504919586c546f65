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
//! Ghosts (state that the machines do not see) are kept as small as the judgements allow:
//! * `freeing`: whose clear emptied a slot, until that caller's free has returned;
//! * on a caller: whether `Full` was allowed at some moment of its call, and what it could have
//!   seen in its slot.

mod judge;
mod registers;

use std::mem;

use cloakroom_pool::{
    Allocate, Free, Id, Machine, Next, Place, Policy, PoolId, Request, Response, Shape, Tag, Tree,
    Version,
};
use cloakroom_specs::attempts::Reach;
use cloakroom_specs::pool::{self as spec, Objection};

use crate::search::{Event, Explore};
use crate::world::{self, Ground, Late, Origin, Ranks, World, name, plain, tag};

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

/// What a free could have seen or done.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each a ghost bit")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    cleared: bool,
    doubt: bool,
    held: bool,
    empty: bool,
    other: bool,
}

/// One transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A caller begins to allocate.
    Allocate(u8),
    /// A caller begins to free one of its ids.
    Free(u8, u8),
    /// A caller frees again what it freed last.
    FreeAgain(u8),
    /// A caller's map operation happens and is answered.
    Step(u8),
    /// A caller's compare-and-set has an unknown outcome.
    Lose(u8, Lost),
    /// On registers: it follows a state that was there so many versions ago.
    Stale(u8, u8),
    /// A caller finds the map unreachable.
    Cut(u8),
    /// What was on its way arrives.
    Arrive(u8),
    /// A caller dies.
    Die(u8),
    /// A caller that died in a free calls it again.
    Retry(u8),
}

/// The three meanings of an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It never happens.
    Never,
    /// It has happened.
    Applied,
    /// It may happen later, once.
    Later,
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

    fn begin_free(&self, state: &mut State, caller: u8, pair: Pair) -> Option<Event> {
        let tag = self.tag(caller, pair.tag).clone();
        let machine = Free::new(self.ground.tree, pair.id, tag).expect("an id of this pool");
        *life(state, caller) = Life::Freeing { machine, pair, seen: Seen::default() };
        self.note_moment(state);
        self.step(state, caller, None)
    }

    fn act(&self, state: &mut State, action: Action) -> Option<Event> {
        match action {
            Action::Allocate(caller) => {
                let own = &mut state.callers[usize::from(caller)];
                own.calls -= 1;
                let number = Self::unused_tag(own);
                // A free of this pair would now be against the rules.
                own.freed = own.freed.filter(|pair| pair.tag != number);
                let tag = self.tag(caller, number).clone();
                let machine = Allocate::new(self.ground.tree, self.bounds.policy, tag);
                own.life = Life::Allocating { machine, tag: number, full: false };
                self.note_moment(state);
                self.step(state, caller, None)
            }
            Action::Free(caller, which) => {
                let own = &mut state.callers[usize::from(caller)];
                own.calls -= 1;
                let pair = own.holds.remove(usize::from(which));
                self.begin_free(state, caller, pair)
            }
            Action::FreeAgain(caller) => {
                let own = &mut state.callers[usize::from(caller)];
                own.calls -= 1;
                let pair = own.freed.take().expect("offered only then");
                self.begin_free(state, caller, pair)
            }
            Action::Step(caller) => self.step(state, caller, None),
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
            Action::Retry(caller) => {
                let Life::Dead { unfinished: Some(pair), .. } = *life(state, caller) else {
                    return None;
                };
                self.begin_free(state, caller, pair)
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
            freeing: vec![None; usize::try_from(self.bounds.size).expect("small")],
            objection: None,
        }
    }

    fn offers(&self, state: &State, actions: &mut Vec<Action>) {
        // What went wrong is kept, not gone on from: the shortest trace ends there.
        if state.objection.is_some() {
            return;
        }
        for (name, caller) in (0..).zip(&state.callers) {
            match &caller.life {
                Life::Idle => {
                    if caller.calls > 0 {
                        actions.push(Action::Allocate(name));
                        let holds = 0..u8::try_from(caller.holds.len()).expect("few");
                        actions.extend(holds.map(|which| Action::Free(name, which)));
                        actions.extend(caller.freed.map(|_| Action::FreeAgain(name)));
                    }
                    continue;
                }
                Life::Dead { unfinished, .. } => {
                    actions.extend(unfinished.map(|_| Action::Retry(name)));
                    continue;
                }
                Life::Allocating { .. } | Life::Freeing { .. } => {}
            }
            let writes = caller.request().expect("a call under way");
            actions.push(Action::Step(name));
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
        let pending = |caller: u8| {
            let request = state.callers[usize::from(caller)].request();
            request.map_or_else(String::new, |request| world::tell(&request))
        };
        let free = |caller: u8, pair: Pair| {
            format!("{} frees {} from {}", name(caller), pair.id, self.tag(caller, pair.tag))
        };
        match action {
            Action::Allocate(caller) => {
                let number = Self::unused_tag(&state.callers[usize::from(caller)]);
                format!("{} allocates for {}", name(caller), self.tag(caller, number))
            }
            Action::Free(caller, which) => {
                free(caller, state.callers[usize::from(caller)].holds[usize::from(which)])
            }
            Action::FreeAgain(caller) => match state.callers[usize::from(caller)].freed {
                Some(pair) => format!("{} again", free(caller, pair)),
                None => String::new(),
            },
            Action::Step(caller) => format!("{}: {}", name(caller), pending(caller)),
            Action::Lose(caller, lost) => {
                format!("{}: {}, answered Unknown: {lost:?}", name(caller), pending(caller))
            }
            Action::Stale(caller, behind) => {
                format!("{}: {}, {behind} too late", name(caller), pending(caller))
            }
            Action::Cut(caller) => format!("{}: {}, unreachable", name(caller), pending(caller)),
            Action::Arrive(which) => {
                let late = &state.world.late[usize::from(which)];
                format!("what {} had sent to {} arrives", name(late.caller), late.place)
            }
            Action::Die(caller) => format!("{} dies before: {}", name(caller), pending(caller)),
            Action::Retry(caller) => format!("{} comes back and frees again", name(caller)),
        }
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
        (active && state.objection.is_none()).then_some(Action::Step(name))
    }

    fn solo_bound(&self, _caller: usize) -> u64 {
        // Each other caller may have stopped, and each cut stopped a call.
        let others = self.callers() as u64 - 1 + u64::from(self.bounds.cuts);
        // On registers each map operation may take several attempts, which are steps here.
        let attempts = u64::from(self.bounds.attempts.max(1));
        spec::solo_bound(u64::from(self.ground.tree.height()), others) * attempts
    }
}
