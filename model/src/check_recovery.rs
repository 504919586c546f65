//! `check_recovery`: callers with a durable notebook that keep the four rules, dying anywhere, and
//! recoveries that run, and die, at the same time. POOL-7, and POOL-1 beside it.
//!
//! A caller's session: write a tag down; allocate under it; use the id; free it; strike the tag
//! out. A caller that died comes back with nothing but its notebook: a free that was under way it
//! calls again, anything else it gives up by striking the tag out, and recovery must find what the
//! tag holds.
//!
//! Whenever nothing is under way and no tag is written down, a last recovery runs alone: then no id
//! may be held and every count must be zero.
//!
//! [`Rules`] can be broken one at a time. Each broken rule must be seen to break a property: else
//! the rule would be superstition, or the model blind.

use cloakroom_pool::{
    Allocate, Free, Id, Machine, Next, Place, Policy, PoolId, Recover, Request, Response, Shape,
    Tree, Version,
};
use cloakroom_specs::pool::{self as spec, Objection};

use crate::search::{Event, Explore, object};
use crate::world::{Ground, Late, Ranks, World, plain, tag};

/// Which of the caller's rules are kept (`specs/pool.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Rule 1: the tag is written down before allocate is called.
    pub write_first: bool,
    /// Rule 2: an id passed to free is already out of use.
    pub free_unused: bool,
    /// Rule 3: free is called again until one call has returned; only then is the tag struck out.
    pub until_returned: bool,
    /// Rule 4: recovery looks for a tag in the notebook after it has read the tag from its slot.
    pub look_after_reading: bool,
}

impl Rules {
    /// All rules kept.
    pub const KEPT: Self = Self {
        write_first: true,
        free_unused: true,
        until_returned: true,
        look_after_reading: true,
    };
}

/// What is explored: the bounds of one check.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Ids in the pool.
    pub size: u64,
    /// Children to a node, slots to a block.
    pub shape: (u16, u16),
    /// Which free id is preferred.
    pub policy: Policy,
    /// How many sessions each caller begins.
    pub sessions: &'static [u8],
    /// How many deaths, of callers or recoveries.
    pub deaths: u8,
    /// How many answers of a compare-and-set may be lost.
    pub unknowns: u8,
    /// How many recoveries run beside the callers.
    pub recoveries: u8,
    /// Which rules are kept.
    pub rules: Rules,
}

/// The model.
#[derive(Clone, Debug)]
pub struct CheckRecovery {
    bounds: Bounds,
    ground: Ground,
}

/// A state of the whole system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    world: World,
    callers: Vec<Caller>,
    recovery: Option<Recovery>,
    recoveries: u8,
    deaths: u8,
    unknowns: u8,
    objection: Option<Objection>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Caller {
    /// Sessions begun: also the number of the present tag, which is fresh.
    session: u8,
    /// Whether the present tag is in the notebook.
    written: bool,
    life: Life,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Life {
    /// No session, or one that is about to begin.
    Idle,
    Allocating(Allocate),
    Using(Id),
    Freeing(Free, Id),
    /// The session is over; the tag is still written down.
    Finished,
    /// Died; what the notebook says of it.
    Dead {
        freeing: Option<Id>,
    },
    /// Against rule 3: gone for good, with its tag left in the notebook.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Recovery {
    machine: Recover,
    /// Against rule 4: the tags that were written down when it began.
    copy: Option<Vec<u64>>,
}

/// One transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A caller writes its next tag down.
    Write(u8),
    /// A caller begins to allocate.
    Allocate(u8),
    /// A caller stops using its id and begins to free it.
    Free(u8),
    /// A map operation of a caller happens and is answered.
    Step(u8),
    /// A caller's compare-and-set is answered Unknown; it happened, or may happen later.
    Lose(u8, bool),
    /// What was on its way arrives.
    Arrive(u8),
    /// A caller strikes its tag out.
    Strike(u8),
    /// A caller dies.
    Die(u8),
    /// A dead caller comes back.
    Return(u8),
    /// A recovery begins.
    Recover,
    /// The recovery's map operation happens, or it looks into the notebook.
    RecoveryStep,
    /// The recovery's compare-and-set is answered Unknown; it happened, or may happen later.
    RecoveryLose(bool),
    /// The recovery dies.
    RecoveryDies,
}

impl CheckRecovery {
    /// The model within these bounds.
    ///
    /// # Panics
    /// When the bounds are no pool: they are written in this crate.
    pub fn new(bounds: Bounds) -> Self {
        let shape = Shape::new(bounds.shape.0, bounds.shape.1).expect("a shape");
        let tree = Tree::new(PoolId(0), bounds.size, shape).expect("a size");
        Self { bounds, ground: Ground::new(tree) }
    }

    /// Who stands for the recovery among the senders of late messages.
    fn recovery_name(&self) -> u8 {
        u8::try_from(self.bounds.sessions.len()).expect("few")
    }

    /// The tags in the callers' notebooks.
    fn written(state: &State) -> Vec<u64> {
        let callers = state.callers.iter().enumerate().filter(|(_, caller)| caller.written);
        callers.map(|(name, caller)| plain(&tag(name, caller.session))).collect()
    }

    /// Carries out a request; `lost`: the answer does not arrive, and the operation has happened or
    /// may happen later.
    fn perform(
        &self,
        world: &mut World,
        caller: u8,
        request: Request,
        lost: Option<bool>,
    ) -> Response {
        match (lost, request) {
            (None, request) => self.ground.perform(world, &request),
            (Some(true), request) => {
                self.ground.perform(world, &request);
                Response::Unknown
            }
            (Some(false), Request::CompareAndSet { place, expected, new }) => {
                world.late.push(Late { caller, place, expected, new });
                Response::Unknown
            }
            (Some(false), request) => unreachable!("only writes are lost: {request:?}"),
        }
    }

    fn step(&self, state: &mut State, name: u8, lost: Option<bool>) -> Option<Event> {
        let own = &mut state.callers[usize::from(name)];
        match &mut own.life {
            Life::Allocating(machine) => {
                let request = machine.request();
                let response = self.perform(&mut state.world, name, request, lost);
                let helping = machine.is_helping();
                match machine.step(response) {
                    Next::Ask => return (machine.is_helping() && !helping).then_some(Event::Help),
                    Next::Done(Ok(id)) => {
                        // Against rule 1 it is written down only now.
                        own.written = true;
                        own.life = Life::Using(id);
                        Some(Event::Allocated)
                    }
                    Next::Done(Err(_)) => {
                        own.life = Life::Finished;
                        Some(Event::Full)
                    }
                }
            }
            Life::Freeing(machine, _) => {
                let request = machine.request();
                let response = self.perform(&mut state.world, name, request, lost);
                let Next::Done(_) = machine.step(response) else { return None };
                own.life = Life::Finished;
                Some(Event::Freed)
            }
            _ => None,
        }
    }

    fn begin_free(&self, state: &mut State, name: u8, id: Id) -> Option<Event> {
        let own = &mut state.callers[usize::from(name)];
        let tag = tag(usize::from(name), own.session);
        let machine = Free::new(self.ground.tree, id, tag).expect("an id of this pool");
        own.life = Life::Freeing(machine, id);
        self.step(state, name, None)
    }

    fn recovery_step(&self, state: &mut State, lost: Option<bool>) -> Option<Event> {
        let written = Self::written(state);
        let name = self.recovery_name();
        let recovery = state.recovery.as_mut()?;
        let response = match recovery.machine.request() {
            // Rule 4: now, after the tag was read.
            Request::IsLive(tag) => {
                Response::Live(recovery.copy.as_ref().unwrap_or(&written).contains(&plain(&tag)))
            }
            request => self.perform(&mut state.world, name, request, lost),
        };
        let Next::Done(outcome) = recovery.machine.step(response) else { return None };
        state.recovery = None;
        outcome.is_ok_and(|done| !done.freed.is_empty()).then_some(Event::Recovered)
    }

    fn act(&self, state: &mut State, action: Action) -> Option<Event> {
        match action {
            Action::Write(name) => {
                state.callers[usize::from(name)].written = true;
                None
            }
            Action::Allocate(name) => {
                let own = &mut state.callers[usize::from(name)];
                let tag = tag(usize::from(name), own.session);
                let machine = Allocate::new(self.ground.tree, self.bounds.policy, tag);
                own.life = Life::Allocating(machine);
                self.step(state, name, None)
            }
            Action::Free(name) => {
                let Life::Using(id) = state.callers[usize::from(name)].life else { return None };
                self.begin_free(state, name, id)
            }
            Action::Step(name) => self.step(state, name, None),
            Action::Lose(name, applied) => {
                state.unknowns -= 1;
                self.step(state, name, Some(applied))
            }
            Action::Arrive(which) => {
                let late = state.world.late.remove(usize::from(which));
                let expected = late.expected.as_ref();
                let world = &mut state.world;
                let done = self.ground.compare_and_set(world, late.place, expected, &late.new);
                Some(if done { Event::LateApplied } else { Event::LateRefused })
            }
            Action::Strike(name) => {
                let own = &mut state.callers[usize::from(name)];
                *own = Caller { session: own.session + 1, written: false, life: Life::Idle };
                None
            }
            Action::Die(name) => {
                state.deaths -= 1;
                let own = &mut state.callers[usize::from(name)];
                let freeing = match own.life {
                    Life::Freeing(_, id) => Some(id),
                    _ => None,
                };
                own.life = Life::Dead { freeing };
                Some(Event::Died)
            }
            Action::Return(name) => {
                let Life::Dead { freeing } = state.callers[usize::from(name)].life else {
                    return None;
                };
                match freeing {
                    // Rule 3.
                    Some(id) if self.bounds.rules.until_returned => {
                        self.begin_free(state, name, id)
                    }
                    // Against rule 3: it goes on as if that free had returned, and leaves its tag.
                    Some(_) => {
                        state.callers[usize::from(name)].life = Life::Gone;
                        None
                    }
                    // It does not know whether its tag holds an id, and gives it up.
                    None => self.act(state, Action::Strike(name)),
                }
            }
            Action::Recover => {
                state.recoveries -= 1;
                let look = self.bounds.rules.look_after_reading;
                let copy = (!look).then(|| Self::written(state));
                let machine = Recover::new(self.ground.tree);
                state.recovery = Some(Recovery { machine, copy });
                self.recovery_step(state, None)
            }
            Action::RecoveryStep => self.recovery_step(state, None),
            Action::RecoveryLose(applied) => {
                state.unknowns -= 1;
                self.recovery_step(state, Some(applied))
            }
            Action::RecoveryDies => {
                state.deaths -= 1;
                state.recovery = None;
                Some(Event::Died)
            }
        }
    }

    /// POOL-1 in every state; POOL-7 when nothing is under way and no session is open.
    fn judge(&self, state: &mut State) {
        let slots = self.ground.plain_slots(&state.world);
        for (name, caller) in state.callers.iter().enumerate() {
            let id = match caller.life {
                Life::Using(id) => id,
                // Against rule 2 it still uses what it frees.
                Life::Freeing(_, id) if !self.bounds.rules.free_unused => id,
                _ => continue,
            };
            let holding = (id.0, plain(&tag(name, caller.session)));
            let judged = spec::holders_keep_their_ids(&slots, [holding]);
            object(&mut state.objection, judged);
        }
        let closed = |caller: &Caller| match caller.life {
            Life::Idle => !caller.written,
            Life::Gone => true,
            _ => false,
        };
        let quiet = state.recovery.is_none() && state.world.late.is_empty();
        if quiet && state.callers.iter().all(closed) {
            let world = self.recovered(state);
            let slots = self.ground.plain_slots(&world);
            // Nobody uses an id any more, whatever the notebook says.
            object(&mut state.objection, spec::nothing_leaked(&slots, |_| false));
            let held: Vec<bool> = slots.iter().map(Option::is_some).collect();
            let counts = self.ground.counts(&world, &held);
            let judged = spec::counts_exact(counts);
            let judged = judged.map_err(|objection| Objection { property: 7, ..objection });
            object(&mut state.objection, judged);
        }
    }

    /// The map after a recovery that runs alone.
    fn recovered(&self, state: &State) -> World {
        let mut end = state.clone();
        let machine = Recover::new(self.ground.tree);
        end.recovery = Some(Recovery { machine, copy: None });
        while end.recovery.is_some() {
            self.recovery_step(&mut end, None);
        }
        end.world
    }
}

impl Explore for CheckRecovery {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        let caller = Caller { session: 0, written: false, life: Life::Idle };
        State {
            world: self.ground.empty(),
            callers: vec![caller; self.bounds.sessions.len()],
            recovery: None,
            recoveries: self.bounds.recoveries,
            deaths: self.bounds.deaths,
            unknowns: self.bounds.unknowns,
            objection: None,
        }
    }

    fn offers(&self, state: &State, actions: &mut Vec<Action>) {
        if state.objection.is_some() {
            return;
        }
        let writes = |request| matches!(request, Request::CompareAndSet { .. });
        for (name, caller) in (0..).zip(&state.callers) {
            let sessions = self.bounds.sessions[usize::from(name)];
            let may_lose = match &caller.life {
                Life::Idle if caller.session >= sessions => continue,
                Life::Gone => continue,
                Life::Idle if caller.written || !self.bounds.rules.write_first => {
                    actions.push(Action::Allocate(name));
                    continue;
                }
                Life::Idle => {
                    actions.push(Action::Write(name));
                    continue;
                }
                Life::Using(_) => {
                    actions.push(Action::Free(name));
                    false
                }
                Life::Finished => {
                    actions.push(Action::Strike(name));
                    continue;
                }
                Life::Dead { .. } => {
                    actions.push(Action::Return(name));
                    continue;
                }
                Life::Allocating(machine) => {
                    actions.push(Action::Step(name));
                    writes(machine.request())
                }
                Life::Freeing(machine, _) => {
                    actions.push(Action::Step(name));
                    writes(machine.request())
                }
            };
            if state.deaths > 0 {
                actions.push(Action::Die(name));
            }
            if may_lose && state.unknowns > 0 {
                actions.extend([true, false].map(|applied| Action::Lose(name, applied)));
            }
        }
        match &state.recovery {
            None if state.recoveries > 0 => actions.push(Action::Recover),
            None => {}
            Some(recovery) => {
                actions.push(Action::RecoveryStep);
                if state.deaths > 0 {
                    actions.push(Action::RecoveryDies);
                }
                if state.unknowns > 0 && writes(recovery.machine.request()) {
                    actions.extend([true, false].map(Action::RecoveryLose));
                }
            }
        }
        let late = 0..u8::try_from(state.world.late.len()).expect("few");
        actions.extend(late.map(Action::Arrive));
    }

    fn follow(&self, before: &State, action: Action) -> (State, Option<Event>) {
        let mut state = before.clone();
        let event = self.act(&mut state, action);
        self.judge(&mut state);
        let State { world, callers, recovery, .. } = &mut state;
        let mut memory = |visit: &mut dyn FnMut(Place, &mut Version)| {
            for caller in callers.iter_mut() {
                match &mut caller.life {
                    Life::Allocating(machine) => machine.versions(visit),
                    Life::Freeing(machine, _) => machine.versions(visit),
                    _ => {}
                }
            }
            if let Some(recovery) = recovery.as_mut() {
                recovery.machine.versions(visit);
            }
        };
        Ranks::renumber(&self.ground, world, &mut memory);
        (state, event)
    }

    fn objection(&self, state: &State) -> Option<Objection> {
        state.objection
    }

    /// The callers, and the recovery as the last.
    fn callers(&self) -> usize {
        self.bounds.sessions.len() + 1
    }

    fn alone(&self, state: &State, caller: usize) -> Option<Action> {
        let action = match state.callers.get(caller) {
            Some(own) if matches!(own.life, Life::Allocating(_) | Life::Freeing(..)) => {
                Action::Step(u8::try_from(caller).expect("few"))
            }
            None if state.recovery.is_some() => Action::RecoveryStep,
            _ => return None,
        };
        state.objection.is_none().then_some(action)
    }

    fn solo_bound(&self, caller: usize) -> u64 {
        let tree = &self.ground.tree;
        if caller < self.bounds.sessions.len() {
            // Each other caller and each recovery may have stopped, and each death stopped a call.
            let others = self.bounds.sessions.len() as u64 - 1
                + u64::from(self.bounds.recoveries)
                + u64::from(self.bounds.deaths);
            spec::solo_bound(u64::from(tree.height()), others)
        } else {
            let block = u64::from(tree.shape().block());
            spec::solo_recovery_bound(tree.all().count() as u64, tree.size(), block)
        }
    }
}
