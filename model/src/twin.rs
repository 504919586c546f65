//! The Rust half of the Spin twin: the real step machines of `impl/pool`, explored in exactly the
//! abstraction of `specs/spin/pool.pml`, so that the two counts of states must be equal.
//!
//! Invariants:
//! * one action lets one caller carry out the one map operation that its machine asks for, and
//!   gives it the outcome; or starts its next call; or kills it inside a call; or leaves its
//!   compare-and-set to happen later, once, and answers `Unknown`; or lets that happen now;
//! * versions are absolute, not ranks: the scripts are finite, so versions are too;
//! * a state is the map, the callers, the late write and the crashes left, and nothing else; a caller that is
//!   dead or between calls remembers only what `pool.pml` remembers of it.
//!
//! It does not explore more than one `Unknown`, wider shapes, the policy `Spread`, `Recover`, a host's memory, or endless runs:
//! those are the business of the pool's own checks. Upholds nothing; judges POOL-1, POOL-2, POOL-3
//! and POOL-4 by the predicates of `cloakroom_specs`.

use cloakroom_pool::{
    Allocate, AllocateFailure, Free, FreeOutcome, Id, Machine, Next, Place, Policy, PoolId,
    Request, Response, Shape, ShapeError, Tag, Tree, Value,
};
use cloakroom_specs::pool::{
    Freed, Objection, What, change_is_allowed, counts_exact, full, holders_keep_their_ids,
};
use stateright::{Model, Property};

use crate::joined::{Order, joined};

/// What both sides explore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Ids, 2 to 4.
    pub size: u8,
    /// Callers, 2 or 3.
    pub callers: u8,
    /// Every caller's calls, in order.
    pub script: &'static [Call],
    /// How many callers may die, each at any step inside a call.
    pub crashes: u8,
    /// Whether one compare-and-set, any, may be answered `Unknown`: it happens at once, later, or
    /// never.
    pub unknown: bool,
}

/// One call of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `allocate` under the caller's tag.
    Allocate,
    /// `free` of the id that the caller's last allocate answered, freed already or not; passed over
    /// when that was `Full`.
    Free,
}

/// What an exploration found: the same two numbers that Spin prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// Different states.
    pub states: u64,
    /// Transitions, and one for the initial state.
    pub transitions: u64,
}

/// The pool, its callers, and a budget of crashes.
#[derive(Clone, Debug)]
pub struct Twin {
    tree: Tree,
    script: &'static [Call],
    callers: u8,
    crashes: u8,
    unknown: bool,
}

/// A state of [`Twin`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// By place, in the order of [`Tree::all`].
    map: Vec<Option<Value>>,
    callers: Vec<Caller>,
    crashes_left: u8,
    unknown: Unknown,
    objection: Option<Objection>,
}

/// The one compare-and-set that may be answered `Unknown`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Unknown {
    /// Not yet answered so.
    Unused,
    /// May still happen. If it never does, it stays.
    Late { by: u8, place: Place, expected: Option<Value>, new: Value },
    /// Has happened, or met a value that it did not expect; or none is allowed.
    Spent,
}

/// A caller: `next` is the number of calls begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Caller {
    /// `last`: what the last allocate answered; `holds`: and it has not been freed since.
    Between { next: u8, last: Option<Id>, holds: bool },
    /// `full_seen`: at some moment of this call the pool was full.
    Allocating { next: u8, machine: Allocate, full_seen: bool },
    /// `held`: when free was called.
    Freeing { next: u8, machine: Free, id: Id, held: bool },
    /// `freeing`: its call of free will never return.
    Dead { freeing: Option<Id> },
}

/// What happens next, and to which caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The caller starts its next call, or takes one step of the one under way.
    Step(u8),
    /// The caller's compare-and-set is answered `Unknown`, and may still happen.
    Doubt(u8),
    /// It happens.
    Land,
    /// The caller dies.
    Die(u8),
}

impl Bounds {
    /// Explores every state of these bounds.
    ///
    /// # Errors
    /// The first objection found, in words.
    ///
    /// # Panics
    /// When the bounds are no pool: the caller's fault.
    pub fn explore(self) -> Result<Explored, String> {
        let twin = Twin::new(self).expect("bounds of a pool");
        let mut visited = joined(twin, Order::BreadthFirst);
        if let Some(path) = visited.discoveries.remove(PROPERTY) {
            let actions = path.clone().into_actions();
            return Err(format!("{:?} after {actions:?}", path.last_state().objection));
        }
        Ok(Explored { states: visited.states, transitions: visited.transitions })
    }
}

const PROPERTY: &str = "POOL-1 to POOL-4";

impl Twin {
    /// The model within these bounds.
    ///
    /// # Errors
    /// [`ShapeError`] when there is no pool of that size.
    pub fn new(bounds: Bounds) -> Result<Self, ShapeError> {
        let tree = Tree::new(PoolId(1), u64::from(bounds.size), Shape::new(2, 1)?)?;
        let Bounds { size: _, callers, script, crashes, unknown } = bounds;
        Ok(Self { tree, script, callers, crashes, unknown })
    }

    fn index(&self, at: Place) -> usize {
        self.tree.all().position(|place| place == at).expect("a place of this tree")
    }

    /// Each id's holder.
    fn slots(&self, map: &[Option<Value>]) -> Vec<Option<u64>> {
        map.iter()
            .take(usize::try_from(self.tree.size()).expect("a small pool"))
            .map(|value| match value {
                Some(Value::Block(block)) => block.slots[0].as_ref().map(number),
                _ => None,
            })
            .collect()
    }

    /// POOL-3: whether `Full` may be answered at this moment.
    fn full(&self, state: &State) -> Result<(), Objection> {
        let being_freed = |id: u64| {
            state.callers.iter().any(|caller| match caller {
                Caller::Freeing { id: freeing, .. } | Caller::Dead { freeing: Some(freeing) } => {
                    freeing.0 == id
                }
                _ => false,
            })
        };
        full((0..).zip(self.slots(&state.map)).map(|(id, slot)| slot.is_some() || being_freed(id)))
    }

    /// Starts the next call of caller `who`.
    fn begin(&self, who: u8, next: u8, last: Option<Id>, holds: bool, full_now: bool) -> Caller {
        let call = self.script[usize::from(next)];
        let next = next + 1;
        match (call, last) {
            (Call::Allocate, _) => {
                let machine = Allocate::new(self.tree, Policy::LowestFirst, tag(who));
                Caller::Allocating { next, machine, full_seen: full_now }
            }
            (Call::Free, Some(id)) => {
                let machine = Free::new(self.tree, id, tag(who)).expect("an id of this pool");
                Caller::Freeing { next, machine, id, held: holds }
            }
            (Call::Free, None) => Caller::Between { next, last, holds },
        }
    }

    /// One map operation of caller `who`, or its postponement, and its machine's step.
    fn step(&self, state: &mut State, who: u8, doubt: bool) -> Caller {
        match state.callers[usize::from(who)].clone() {
            Caller::Between { next, last, holds } => {
                self.begin(who, next, last, holds, self.full(state).is_ok())
            }
            Caller::Allocating { next, mut machine, full_seen } => {
                let response = self.perform(state, who, machine.request(), doubt);
                match machine.step(response) {
                    Next::Ask => Caller::Allocating { next, machine, full_seen },
                    Next::Done(Ok(id)) => Caller::Between { next, last: Some(id), holds: true },
                    Next::Done(Err(AllocateFailure::Full)) => {
                        if !full_seen {
                            state.object(self.full(state));
                        }
                        Caller::Between { next, last: None, holds: false }
                    }
                    Next::Done(Err(failure)) => {
                        unreachable!("this map always answers: {failure:?}")
                    }
                }
            }
            Caller::Freeing { next, mut machine, id, held } => {
                let response = self.perform(state, who, machine.request(), doubt);
                match machine.step(response) {
                    Next::Ask => Caller::Freeing { next, machine, id, held },
                    Next::Done(outcome) => {
                        state.object(judge_free(held, outcome.expect("this map answers")));
                        Caller::Between { next, last: Some(id), holds: false }
                    }
                }
            }
            Caller::Dead { .. } => unreachable!("no action of a dead caller was offered"),
        }
    }

    /// Does one map operation, or leaves it for later.
    fn perform(&self, state: &mut State, by: u8, request: Request, doubt: bool) -> Response {
        match request {
            Request::Get(at) | Request::Recall(at) => {
                Response::Value(state.map[self.index(at)].clone())
            }
            Request::CompareAndSet { place, expected, new } if doubt => {
                state.unknown = Unknown::Late { by, place, expected, new };
                Response::Unknown
            }
            Request::CompareAndSet { place, expected, new } => {
                if state.map[self.index(place)] == expected {
                    self.write(state, by, place, new);
                    Response::Set
                } else {
                    Response::Mismatch(state.map[self.index(place)].clone())
                }
            }
            Request::IsLive(tag) => unreachable!("allocate and free never ask about {tag:?}"),
        }
    }

    /// Writes. Every change of a slot is judged by POOL-2. (Whether a caller may free just this id
    /// just now shows in its holdings: POOL-1.)
    fn write(&self, state: &mut State, by: u8, place: Place, new: Value) {
        let before = self.slots(&state.map);
        state.map[self.index(place)] = Some(new);
        let own = Some(number(&tag(by)));
        for (id, (from, to)) in (0..).zip(before.into_iter().zip(self.slots(&state.map))) {
            state.object(change_is_allowed(id, from, to, own, own));
        }
    }

    /// After every step: POOL-1, POOL-4, and the moments that POOL-3 is about.
    fn judge(&self, state: &mut State) {
        if self.full(state).is_ok() {
            for caller in &mut state.callers {
                if let Caller::Allocating { full_seen, .. } = caller {
                    *full_seen = true;
                }
            }
        }
        let holdings = (0..).zip(&state.callers).filter_map(|(who, caller)| match caller {
            Caller::Between { last: Some(id), holds: true, .. } => Some((id.0, number(&tag(who)))),
            _ => None,
        });
        let judged = holders_keep_their_ids(&self.slots(&state.map), holdings);
        state.object(judged);
        let quiet = state.callers.iter().all(|caller| matches!(caller, Caller::Between { .. }));
        if quiet {
            let total = |at| state.map[self.index(at)].as_ref().map_or(0, Value::total);
            let counts = self.tree.all().filter_map(|at| {
                let (parent, side) = self.tree.parent(at)?;
                let count = match &state.map[self.index(parent)] {
                    Some(Value::Node(node)) => node.counts.of(side),
                    _ => 0,
                };
                Some((count, total(at)))
            });
            let judged = counts_exact(counts);
            state.object(judged);
        }
    }
}

impl Caller {
    fn asks_to_write(&self) -> bool {
        let request = match self {
            Self::Allocating { machine, .. } => machine.request(),
            Self::Freeing { machine, .. } => machine.request(),
            Self::Between { .. } | Self::Dead { .. } => return false,
        };
        matches!(request, Request::CompareAndSet { .. })
    }
}

impl State {
    /// Keeps the first objection.
    fn object(&mut self, judged: Result<(), Objection>) {
        self.objection = self.objection.or(judged.err());
    }
}

impl Model for Twin {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let idle = Caller::Between { next: 0, last: None, holds: false };
        vec![State {
            map: self.tree.all().map(|_| None).collect(),
            callers: (0..self.callers).map(|_| idle.clone()).collect(),
            crashes_left: self.crashes,
            unknown: if self.unknown { Unknown::Unused } else { Unknown::Spent },
            objection: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, caller) in (0..).zip(&state.callers) {
            match caller {
                Caller::Between { next, .. } if usize::from(*next) < self.script.len() => {
                    actions.push(Action::Step(who));
                }
                Caller::Between { .. } | Caller::Dead { .. } => {}
                Caller::Allocating { .. } | Caller::Freeing { .. } => {
                    actions.push(Action::Step(who));
                    if state.unknown == Unknown::Unused && caller.asks_to_write() {
                        actions.push(Action::Doubt(who));
                    }
                    if state.crashes_left > 0 {
                        actions.push(Action::Die(who));
                    }
                }
            }
        }
        if matches!(state.unknown, Unknown::Late { .. }) {
            actions.push(Action::Land);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut state = state.clone();
        match action {
            Action::Step(who) | Action::Doubt(who) => {
                let doubt = matches!(action, Action::Doubt(_));
                let caller = self.step(&mut state, who, doubt);
                state.callers[usize::from(who)] = caller;
                self.judge(&mut state);
            }
            Action::Land => {
                let late = core::mem::replace(&mut state.unknown, Unknown::Spent);
                let Unknown::Late { by, place, expected, new } = late else {
                    unreachable!("nothing is late, yet it was offered to land")
                };
                if state.map[self.index(place)] == expected {
                    self.write(&mut state, by, place, new);
                }
                self.judge(&mut state);
            }
            Action::Die(who) => {
                let caller = &mut state.callers[usize::from(who)];
                let freeing = match caller {
                    Caller::Freeing { id, .. } => Some(*id),
                    _ => None,
                };
                *caller = Caller::Dead { freeing };
                state.crashes_left -= 1;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(PROPERTY, |_, state: &State| state.objection.is_none())]
    }
}

/// POOL-1, POOL-2: what was held is freed by its holder, and only what was held.
fn judge_free(held: bool, got: FreeOutcome) -> Result<(), Objection> {
    let got = match got {
        FreeOutcome::Freed => Freed::Freed,
        FreeOutcome::AlreadyFree => Freed::AlreadyFree,
        FreeOutcome::NotOwner => Freed::NotOwner,
    };
    if held == (got == Freed::Freed) {
        return Ok(());
    }
    let expected = if held { Freed::Freed } else { Freed::AlreadyFree };
    Err(Objection { property: 2, what: What::Free { expected, got } })
}

/// A caller's tag: its number and one, since a tag has at least one byte and 0 is a free slot.
fn tag(who: u8) -> Tag {
    Tag::new([who + 1]).expect("one byte")
}

fn number(tag: &Tag) -> u64 {
    u64::from(tag.as_bytes()[0])
}
