//! `check_recovery`: callers with a durable notebook that keep the four rules, dying anywhere, and
//! recoveries that run, and die, at the same time. POOL-7, and POOL-1 beside it.
//!
//! A caller's session: write a tag down; allocate under it; use the id; free it; strike the tag
//! out. A caller that died comes back with nothing but its notebook: a free that was under way it
//! calls again, anything else it gives up by striking the tag out, and recovery must find what the
//! tag holds.
//!
//! POOL-7 is judged twice over:
//! * when nobody has a call under way and a recovery has returned that began after the last death,
//!   late write and tag given up, only tags that are written down hold ids and every count is exact:
//!   what the recovery achieved that ran beside the callers;
//! * whenever nothing is under way and no tag is written down, a last recovery runs alone: then no
//!   id may be held and every count must be zero.
//!
//! POOL-3 is judged here too, since a recovery frees. Of the outcomes of frees nothing is judged
//! beside their effect.
//!
//! Of the three meanings of Unknown two are transitions: it happened, and it may arrive later. That it
//! *never* happens adds no state that is judged. Until it arrives the write is on its way, and POOL-1 and
//! POOL-3 are judged in that state as in any other. POOL-7 waits for it, and then there are two cases. If
//! the caller goes on, its call returns only when the write has happened or is buried, and a buried one
//! that arrives changes nothing: the state after it is the one where it never came. If the caller
//! dies, a write that never happens is one that was not asked for, and it may die one step earlier, too.
//!
//! Each [`Rule`] can be broken. A broken rule must be seen to break a property: else
//! the rule would be superstition, or the model blind. What breaks need not be POOL-7. Without rule 3 it is:
//! an id stays held for nobody. Without the others the harm comes sooner, and is worse: recovery takes an
//! id from a live holder whose tag it did not find (rules 1 and 4), or the pool gives it to the next
//! while it is still in use (rule 2). Both are POOL-1, and the shortest counterexample has that;
//! POOL-7 says that nothing leaks, and nothing does there.

mod judge;
mod moves;

use cloakroom_pool::{
    Allocate, Free, Id, Machine, Place, Policy, PoolId, Recover, Request, Shape, Tree, Version,
};
use cloakroom_specs::pool::{self as spec, Objection};

use crate::search::{Event, Explore};
use crate::world::{self, Ground, Ranks, World, name, plain, tag};

/// One of the caller's rules (`specs/pool.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Rule 1: the tag is written down before allocate is called.
    WriteFirst,
    /// Rule 2: an id passed to free is already out of use.
    FreeUnused,
    /// Rule 3: free is called again until one call has returned; only then is the tag struck out.
    /// Broken, the caller leaves for good and its tag stays. (One that strikes its tag out without
    /// calling again is put right by recovery.)
    UntilReturned,
    /// Rule 4: recovery looks for a tag in the notebook after it has read the tag from its slot.
    LookAfterReading,
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
    /// How many of them may run at the same time.
    pub at_once: u8,
    /// Which rule is broken, if any.
    pub broken: Option<Rule>,
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
    /// As many places as recoveries may run at the same time.
    running: Vec<Option<Recovery>>,
    /// Something happened that a recovery that began later may have to put right.
    owed: bool,
    /// For each id: whose clear emptied its slot, until that call has returned.
    freeing: Vec<Option<u8>>,
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
    Allocating {
        machine: Allocate,
        /// `Full` was allowed at some moment of this call.
        full: bool,
    },
    Using(Id),
    Freeing(Free, Id),
    /// The session is over; the tag is still written down. The id that it freed, if it had one.
    Finished(Option<Id>),
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
    /// Nothing that a later recovery may have to put right has happened since it began, and nothing
    /// was under way then that could: when it returns, nothing is owed.
    clean: bool,
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
    /// A recovery's map operation happens, or it looks into the notebook.
    RecoveryStep(u8),
    /// A recovery's compare-and-set is answered Unknown; it happened, or may happen later.
    RecoveryLose(u8, bool),
    /// A recovery dies.
    RecoveryDies(u8),
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

    fn keeps(&self, rule: Rule) -> bool {
        self.bounds.broken != Some(rule)
    }

    /// Who stands for a running recovery among the senders of late messages.
    fn recovery_name(&self, which: u8) -> u8 {
        u8::try_from(self.bounds.sessions.len()).expect("few") + which
    }

    /// The tags in the callers' notebooks.
    fn written(state: &State) -> Vec<u64> {
        let callers = state.callers.iter().enumerate().filter(|(_, caller)| caller.written);
        callers.map(|(name, caller)| plain(&tag(name, caller.session))).collect()
    }
}

impl Explore for CheckRecovery {
    type State = State;
    type Action = Action;
    type Objection = Objection;
    const PROPERTIES: &'static [(&'static str, u8)] =
        &[("POOL-1", 1), ("POOL-2", 2), ("POOL-3", 3), ("POOL-4", 4), ("POOL-6", 6), ("POOL-7", 7)];
    const CYCLE: Option<&'static str> = Some("POOL-5: a cycle on which no call returns");

    fn start(&self) -> State {
        let caller = Caller { session: 0, written: false, life: Life::Idle };
        State {
            world: self.ground.empty(),
            callers: vec![caller; self.bounds.sessions.len()],
            running: vec![None; self.bounds.at_once.into()],
            owed: false,
            freeing: vec![None; usize::try_from(self.bounds.size).expect("small")],
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
                Life::Idle if caller.written || !self.keeps(Rule::WriteFirst) => {
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
                Life::Finished(_) => {
                    actions.push(Action::Strike(name));
                    false
                }
                Life::Dead { .. } => {
                    actions.push(Action::Return(name));
                    continue;
                }
                Life::Allocating { machine, .. } => {
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
        if state.recoveries > 0 && state.running.iter().any(Option::is_none) {
            actions.push(Action::Recover);
        }
        for (which, recovery) in (0..).zip(&state.running) {
            let Some(recovery) = recovery else { continue };
            actions.push(Action::RecoveryStep(which));
            if state.deaths > 0 {
                actions.push(Action::RecoveryDies(which));
            }
            if state.unknowns > 0 && writes(recovery.machine.request()) {
                actions.extend([true, false].map(|applied| Action::RecoveryLose(which, applied)));
            }
        }
        let late = 0..u8::try_from(state.world.late.len()).expect("few");
        actions.extend(late.map(Action::Arrive));
    }

    fn follow(&self, before: &State, action: Action) -> Option<(State, Option<Event>)> {
        let mut state = before.clone();
        let event = self.act(&mut state, action);
        self.judge(&mut state);
        let State { world, callers, running, .. } = &mut state;
        let mut memory = |visit: &mut dyn FnMut(Place, &mut Version)| {
            for caller in callers.iter_mut() {
                match &mut caller.life {
                    Life::Allocating { machine, .. } => machine.versions(visit),
                    Life::Freeing(machine, _) => machine.versions(visit),
                    _ => {}
                }
            }
            for recovery in running.iter_mut().flatten() {
                recovery.machine.versions(visit);
            }
        };
        Ranks::renumber(&self.ground, world, &mut memory);
        Some((state, event))
    }

    fn tell(&self, state: &State, action: Action) -> String {
        let pending = |caller: u8| match &state.callers[usize::from(caller)].life {
            Life::Allocating { machine, .. } => world::tell(&machine.request()),
            Life::Freeing(machine, _) => world::tell(&machine.request()),
            _ => "anything more".into(),
        };
        let recovering = |which: u8| match &state.running[usize::from(which)] {
            Some(recovery) => {
                format!("recovery {}: {}", which + 1, world::tell(&recovery.machine.request()))
            }
            None => String::new(),
        };
        let when = |applied: bool| if applied { "but it happened" } else { "and it may come late" };
        match action {
            Action::Write(caller) => format!("{} writes its tag down", name(caller)),
            Action::Allocate(caller) => format!("{} allocates", name(caller)),
            Action::Free(caller) => format!("{} frees its id", name(caller)),
            Action::Step(caller) => format!("{}: {}", name(caller), pending(caller)),
            Action::Lose(caller, applied) => {
                let (name, pending) = (name(caller), pending(caller));
                format!("{name}: {pending}, answered Unknown, {}", when(applied))
            }
            Action::Arrive(which) => {
                let late = &state.world.late[usize::from(which)];
                format!("what was on its way to {} arrives", late.place)
            }
            Action::Strike(caller) => format!("{} strikes its tag out", name(caller)),
            Action::Die(caller) => format!("{} dies before: {}", name(caller), pending(caller)),
            Action::Return(caller) => format!("{} comes back", name(caller)),
            Action::Recover => "a recovery begins".into(),
            Action::RecoveryStep(which) => recovering(which),
            Action::RecoveryLose(which, applied) => {
                format!("{}, answered Unknown, {}", recovering(which), when(applied))
            }
            Action::RecoveryDies(which) => format!("dies before this: {}", recovering(which)),
        }
    }

    fn objection(&self, state: &State) -> Option<Objection> {
        state.objection
    }

    /// The callers, and the recoveries as the last.
    fn callers(&self) -> usize {
        self.bounds.sessions.len() + usize::from(self.bounds.at_once)
    }

    fn alone(&self, state: &State, caller: usize) -> Option<Action> {
        let action = match state.callers.get(caller) {
            Some(own) if matches!(own.life, Life::Allocating { .. } | Life::Freeing(..)) => {
                Action::Step(u8::try_from(caller).expect("few"))
            }
            None => {
                let which = caller - state.callers.len();
                state.running[which].as_ref()?;
                Action::RecoveryStep(u8::try_from(which).expect("few"))
            }
            Some(_) => return None,
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
