//! The map, the callers, and everything that can happen to them in one step.
//!
//! A step is the start of a call, one operation on the map, the return of a call, the death of a
//! caller inside a call, or an operation of unknown outcome taking effect.
//!
//! Invariants:
//! * callers keep the rules: a tag is used for one allocate, and only an id that an allocate
//!   answered is freed, once;
//! * an operation of unknown outcome takes effect at most once, at any later step or never;
//! * calls are numbered, so a start, a return and a death change the state for good: what lies on a
//!   cycle of states is operations alone.
//!
//! Not modelled: an unknown outcome of anything but a put-if-absent; the death of an idle caller,
//! which is the same as its doing nothing more.

use std::collections::BTreeMap;

use cloakroom_pool::Interval;

use super::event::{Event, What};
use super::machine::{
    Algorithm, Answer, Call, Caller, Machine, Next, Node, Operation, Outcome, Tag, Value, root,
};

/// Bounds of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) algorithm: Algorithm,
    /// N, a power of two, at least 2.
    pub(super) size: u64,
    pub(super) callers: u8,
    /// Calls that each caller may start.
    pub(super) calls: u8,
    pub(super) deaths: u8,
    /// Puts whose outcome is unknown.
    pub(super) unknowns: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    leaves: Vec<Option<Tag>>,
    /// Inner nodes that are not zeros.
    nodes: BTreeMap<Interval, Node>,
    callers: Vec<CallerState>,
    /// Puts of unknown outcome that may still take effect.
    late: Vec<(Caller, Operation)>,
    unknowns: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CallerState {
    /// Calls started.
    calls: u8,
    /// What allocate has answered and no free was called for.
    held: Vec<(u64, Tag)>,
    doing: Doing,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Doing {
    Nothing,
    Call(Machine),
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) caller: Caller,
    pub(super) happens: Happens,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happens {
    /// A call starts.
    Start(Call),
    /// The call's next operation, or its return.
    Step,
    /// The call's next operation has an unknown outcome.
    LoseOutcome,
    /// An operation of unknown outcome takes effect.
    TakeEffect(Operation),
    Die,
}

impl World {
    pub(super) fn new(setting: &Setting) -> Self {
        let idle = CallerState { calls: 0, held: Vec::new(), doing: Doing::Nothing };
        Self {
            leaves: (0..setting.size).map(|_| None).collect(),
            nodes: BTreeMap::new(),
            callers: vec![idle; usize::from(setting.callers)],
            late: Vec::new(),
            unknowns: 0,
        }
    }

    /// What may happen within the bounds, in a fixed order.
    pub(super) fn actions(&self, setting: &Setting, actions: &mut Vec<Action>) {
        let deaths = self.callers.iter().filter(|state| state.doing == Doing::Dead).count();
        for (caller, state) in self.callers() {
            let mut may = |happens| actions.push(Action { caller, happens });
            match &state.doing {
                Doing::Dead => {}
                Doing::Nothing if state.calls < setting.calls => {
                    may(Happens::Start(Call::Allocate(self.next_tag(caller))));
                    for &(id, tag) in &state.held {
                        may(Happens::Start(Call::Free(id, tag)));
                    }
                }
                Doing::Nothing => {}
                Doing::Call(machine) => {
                    may(Happens::Step);
                    let next = machine.next(setting.algorithm, setting.size);
                    if self.unknowns < setting.unknowns && can_lose_outcome(next) {
                        may(Happens::LoseOutcome);
                    }
                    if deaths < usize::from(setting.deaths) {
                        may(Happens::Die);
                    }
                }
            }
        }
        for &(caller, operation) in &self.late {
            actions.push(Action { caller, happens: Happens::TakeEffect(operation) });
        }
    }

    /// Whether an action may happen within the bounds.
    pub(super) fn may(&self, setting: &Setting, action: Action) -> bool {
        let mut actions = Vec::new();
        self.actions(setting, &mut actions);
        actions.contains(&action)
    }

    /// Does an action and says what was seen; `None` if it cannot happen here. The bounds on
    /// calls, deaths and unknown outcomes are for [`World::actions`] to keep.
    pub(super) fn apply(&mut self, setting: &Setting, action: Action) -> Option<Event> {
        let caller = action.caller;
        let index = usize::from(caller.0);
        let state = self.callers.get(index)?;
        let what = match (action.happens, &state.doing) {
            (Happens::Start(call), Doing::Nothing) => {
                self.start(caller, call)?;
                What::Starts(call)
            }
            (Happens::Step, Doing::Call(machine)) => {
                match machine.next(setting.algorithm, setting.size) {
                    Next::Ask(operation) => {
                        let outcome = self.perform(operation);
                        self.tell(setting, caller, outcome);
                        What::Does(operation, outcome)
                    }
                    Next::Return(answer) => {
                        let call = machine.call;
                        let state = &mut self.callers[index];
                        state.doing = Doing::Nothing;
                        if let (Call::Allocate(tag), Answer::Id(id)) = (call, answer) {
                            state.held.push((id, tag));
                        }
                        What::Returns(answer)
                    }
                }
            }
            (Happens::LoseOutcome, Doing::Call(machine)) => {
                let next = machine.next(setting.algorithm, setting.size);
                let Next::Ask(operation) = next else { return None };
                if !can_lose_outcome(next) {
                    return None;
                }
                self.unknowns += 1;
                self.late.push((caller, operation));
                self.tell(setting, caller, Outcome::Unknown);
                What::Does(operation, Outcome::Unknown)
            }
            (Happens::TakeEffect(operation), _) => {
                let at = self.late.iter().position(|late| *late == (caller, operation))?;
                self.late.remove(at);
                What::TakesEffect(operation, self.perform(operation))
            }
            (Happens::Die, Doing::Call(_)) => {
                self.callers[index].doing = Doing::Dead;
                What::Dies
            }
            _ => return None,
        };
        Some(Event { caller, what })
    }

    fn start(&mut self, caller: Caller, call: Call) -> Option<()> {
        let next_tag = self.next_tag(caller);
        let state = &mut self.callers[usize::from(caller.0)];
        // A trace file may ask for more calls than there are numbers.
        let calls = state.calls.checked_add(1)?;
        match call {
            Call::Allocate(tag) if tag == next_tag => {}
            Call::Allocate(_) => return None,
            Call::Free(id, tag) => {
                let at = state.held.iter().position(|held| *held == (id, tag))?;
                state.held.remove(at);
            }
        }
        state.calls = calls;
        state.doing = Doing::Call(Machine::start(call));
        Some(())
    }

    fn tell(&mut self, setting: &Setting, caller: Caller, outcome: Outcome) {
        if let Doing::Call(machine) = &mut self.callers[usize::from(caller.0)].doing {
            machine.step(setting.algorithm, setting.size, outcome);
        }
    }

    fn perform(&mut self, operation: Operation) -> Outcome {
        match operation {
            Operation::Get(at) => Outcome::Value(self.value(at)),
            Operation::PutIfAbsent(at, tag) => self.replace(at, None, Some(tag)),
            Operation::CompareAndRemove(at, tag) => self.replace(at, Some(tag), None),
            Operation::CompareAndSwap(at, from, to) => {
                if self.node(at) != from {
                    return Outcome::Failed;
                }
                // Absent and zeros are one state.
                if to == Node::default() {
                    self.nodes.remove(&at);
                } else {
                    self.nodes.insert(at, to);
                }
                Outcome::Done
            }
        }
    }

    fn replace(&mut self, at: Interval, from: Option<Tag>, to: Option<Tag>) -> Outcome {
        let slot = &mut self.leaves[index(at)];
        if *slot != from {
            return Outcome::Failed;
        }
        *slot = to;
        Outcome::Done
    }

    fn value(&self, at: Interval) -> Value {
        if at.is_leaf() { Value::Leaf(self.leaves[index(at)]) } else { Value::Node(self.node(at)) }
    }

    fn node(&self, at: Interval) -> Node {
        self.nodes.get(&at).copied().unwrap_or_default()
    }

    fn callers(&self) -> impl Iterator<Item = (Caller, &CallerState)> {
        (0..).map(Caller).zip(&self.callers)
    }
}

/// What can be seen of a world.
impl World {
    /// The tag of the next call that a caller starts.
    pub(super) fn next_tag(&self, caller: Caller) -> Tag {
        Tag { caller, call: self.callers[usize::from(caller.0)].calls.saturating_add(1) }
    }

    /// What the leaves hold, by id.
    pub(super) fn leaves(&self) -> &[Option<Tag>] {
        &self.leaves
    }

    /// Whether two worlds have the same map, whatever their callers do.
    pub(super) fn has_the_map_of(&self, other: &Self) -> bool {
        self.leaves == other.leaves && self.nodes == other.nodes
    }

    /// What the root counts.
    pub(super) fn counted(&self) -> u64 {
        self.counted_at(root(self.leaves.len() as u64))
    }

    /// What an inner node counts.
    pub(super) fn counted_at(&self, at: Interval) -> u64 {
        self.node(at).count
    }

    /// How many ids below a node are held.
    pub(super) fn held_below(&self, at: Interval) -> u64 {
        let below = &self.leaves[index(at)..][..usize::try_from(at.len()).expect("a small tree")];
        below.iter().map(|tag| u64::from(tag.is_some())).sum()
    }

    /// The ids that nobody holds.
    pub(super) fn free_ids(&self) -> Vec<u64> {
        (0..).zip(&self.leaves).filter(|(_, tag)| tag.is_none()).map(|(id, _)| id).collect()
    }

    /// Every (id, tag) that an allocate has answered and no free was called for.
    pub(super) fn told(&self) -> impl Iterator<Item = (u64, Tag)> {
        self.callers.iter().flat_map(|state| state.held.iter().copied())
    }

    /// The callers that are inside a call and alive.
    pub(super) fn busy(&self) -> Vec<Caller> {
        let busy = |(caller, state): (_, &CallerState)| {
            matches!(state.doing, Doing::Call(_)).then_some(caller)
        };
        self.callers().filter_map(busy).collect()
    }

    /// Whether no caller is inside a call, alive or dead.
    pub(super) fn every_call_has_returned(&self) -> bool {
        self.callers.iter().all(|state| state.doing == Doing::Nothing)
    }

    /// What a caller can do here, for a message.
    pub(super) fn what_can(&self, setting: &Setting, caller: Caller) -> String {
        let Some(state) = self.callers.get(usize::from(caller.0)) else {
            return format!("one of the {} callers", self.callers.len());
        };
        match &state.doing {
            Doing::Dead => format!("nothing of {caller}, which is dead"),
            Doing::Nothing => {
                let mut calls = vec![Call::Allocate(self.next_tag(caller)).to_string()];
                calls.extend(state.held.iter().map(|&(id, tag)| Call::Free(id, tag).to_string()));
                format!("{caller} to start a call ({})", calls.join(", or "))
            }
            Doing::Call(machine) => match machine.next(setting.algorithm, setting.size) {
                Next::Ask(operation) => format!("{caller}  {operation}"),
                Next::Return(answer) => Event { caller, what: What::Returns(answer) }.to_string(),
            },
        }
    }
}

/// Only a put: it alone can make an allocate hold what it does not know of.
fn can_lose_outcome(next: Next) -> bool {
    matches!(next, Next::Ask(Operation::PutIfAbsent(..)))
}

fn index(at: Interval) -> usize {
    usize::try_from(at.start()).expect("a small tree")
}
