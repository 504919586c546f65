//! The Rust half of the registers' Spin twin: the real members and coordinators of `impl/register`,
//! explored in exactly the abstraction of `specs/spin/register.pml`, so that the two counts of states
//! must be equal.
//!
//! Invariants:
//! * one view of three members, one key, two coordinators with one call each; one action delivers one
//!   ask to one member, with its answer or without, begins a call, or begins a round again;
//! * what was asked stays on its way for ever, and every ask may reach every member at any time, also
//!   where nothing comes of it: such a step is a transition as well;
//! * a state is the members, the coordinators, the asks, the outcomes, one history bit for each call
//!   and the retries left, and nothing else.
//!
//! `check_register` explores more (crashes, copied records, several calls) with fewer messages; this
//! is for a second checker to agree on. Upholds nothing; judges that all answers agree on the one
//! value, that a majority has it before and ever after, and that it is not missed by who begins when
//! it is known: REG-7, REG-9.

use cloakroom_register::{
    Ask, Body, Boot, Call, Coordinator, Envelope, Epoch, Expected, Key, Message, Operation,
    OperationId, Outcome, Replica, Seat, Slot, Steps, Value, View,
};
use cloakroom_specs::register as spec;
use stateright::{Model, Property};

use crate::check_register::{member, node};
use crate::joined::{Order, joined};
use crate::twin::Explored;

/// What both sides explore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// By coordinator: whether its call is a get, else a put-if-absent.
    pub gets: [bool; 2],
    /// How many rounds may be begun again.
    pub retries: u8,
}

/// One view with its coordinators.
#[derive(Clone, Debug)]
pub struct RegisterTwin {
    bounds: Bounds,
    view: View,
    key: Key,
}

/// A state of [`RegisterTwin`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    members: [Replica; 3],
    callers: [Caller; 2],
    retries: u8,
}

/// A coordinator with its one call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Caller {
    coordinator: Coordinator,
    /// What it has asked, each of all members, in the order of asking.
    asked: Vec<Message>,
    begun: bool,
    outcome: Option<Outcome>,
    /// When it began the other had ended, with a value.
    late: bool,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A call begins.
    Begin(u8),
    /// A coordinator begins its round again.
    Retry(u8),
    /// An ask of a coordinator, by number, reaches a member; whether its answer comes.
    Deliver(u8, u8, u8, bool),
}

impl Bounds {
    /// Explores every state of these bounds.
    ///
    /// # Errors
    /// The first state found in which the answers do not agree.
    ///
    /// # Panics
    /// Beyond 2^64 states.
    pub fn explore(self) -> Result<Explored, String> {
        let mut visited = joined(RegisterTwin::new(self), Order::BreadthFirst);
        if let Some(path) = visited.discoveries.remove(PROPERTY) {
            let outcomes = path.last_state().callers.each_ref().map(|c| c.outcome.clone());
            return Err(format!("{outcomes:?} after {:?}", path.into_actions()));
        }
        Ok(Explored { states: visited.states, transitions: visited.transitions })
    }
}

const PROPERTY: &str = "REG-7, REG-9";

impl RegisterTwin {
    /// The model within these bounds.
    ///
    /// # Panics
    /// When three members are no view.
    pub fn new(bounds: Bounds) -> Self {
        let members: Vec<_> = (0..3).map(member).collect();
        let view = View::new(Slot(0), Epoch(0), &members).expect("three nodes");
        Self { bounds, view, key: Key::from(&b"k"[..]) }
    }

    fn operation(&self, caller: u8) -> Operation {
        let call = if self.bounds.gets[usize::from(caller)] {
            Call::Get
        } else {
            let new = Some(Value::from(&[caller + 1][..]));
            Call::CompareAndSet { expected: Expected::Absent, new }
        };
        let id = OperationId([caller + 1; 16]);
        Operation { id, key: self.key.clone(), call, bound: None }
    }

    fn deliver(state: &mut State, [caller, ask, to]: [u8; 3], answered: bool) {
        let from = node(caller.into());
        let message = state.callers[usize::from(caller)].asked[usize::from(ask)].clone();
        let effects = state.members[usize::from(to)].handle(from, &message);
        for envelope in effects.send.iter().filter(|_| answered) {
            let caller = &mut state.callers[usize::from(caller)];
            let steps = caller.coordinator.handle(node(to.into()), &envelope.message);
            caller.take(steps);
        }
    }

    fn agree(&self, state: &State) -> bool {
        let holds = state.members.each_ref().map(|member| {
            let accepted = member.durable().record(&self.key).accepted;
            accepted.and_then(|accepted| accepted.state.content).map(|value| value.0[0])
        });
        let values = state.callers.iter().filter_map(Caller::value).filter(|value| *value != 0);
        let mut values = values.peekable();
        let first = values.peek().copied();
        let is_held = |value: u8| {
            let holders = holds.iter().filter(|held| **held == Some(value)).count();
            holders >= spec::majority(holds.len())
        };
        let misses = |caller: &Caller| caller.late && caller.value() == Some(0);
        values.all(|value| Some(value) == first && is_held(value))
            && !state.callers.iter().any(misses)
    }
}

impl Caller {
    /// Takes what its coordinator brings. Every ask is for all members.
    fn take(&mut self, steps: Steps) {
        for Envelope { to, message } in steps.send {
            if to == node(0) {
                assert!(matches!(&message.body, Body::Ask(asks) if asks.len() == 1));
                self.asked.push(message);
            }
        }
        for (_, outcome) in steps.ended {
            self.outcome = Some(outcome);
        }
    }

    /// The value that its outcome tells of, which says who put it; 0 for absence.
    fn value(&self) -> Option<u8> {
        match self.outcome.as_ref()? {
            Outcome::Got(held) | Outcome::Mismatch(held) => {
                Some(held.as_ref().map_or(0, |held| held.value.0[0]))
            }
            Outcome::Set(_) => {
                let accepts = self.asked.iter().rev().find_map(|message| match &message.body {
                    Body::Ask(asks) => match &asks[0] {
                        Ask::Accept { state, .. } => state.content.as_ref().map(|value| value.0[0]),
                        _ => None,
                    },
                    _ => None,
                });
                Some(accepts.expect("what is set was accepted"))
            }
            outcome => unreachable!("nobody gives up: {outcome:?}"),
        }
    }
}

impl Model for RegisterTwin {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let caller = |seat| Caller {
            coordinator: Coordinator::new(self.view.clone(), Seat(seat), Boot(0)),
            asked: Vec::new(),
            begun: false,
            outcome: None,
            late: false,
        };
        let members = [0, 1, 2].map(|seat| {
            Replica::genesis(member(seat), self.view.clone()).expect("a member of the view")
        });
        vec![State { members, callers: [0, 1].map(caller), retries: self.bounds.retries }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (name, caller) in (0..).zip(&state.callers) {
            if !caller.begun {
                actions.push(Action::Begin(name));
            } else if caller.outcome.is_none() && state.retries > 0 {
                actions.push(Action::Retry(name));
            }
            for ask in 0..u8::try_from(caller.asked.len()).expect("few") {
                let to = |to| [true, false].map(|a| Action::Deliver(name, ask, to, a));
                actions.extend((0..3).flat_map(to));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut state = state.clone();
        match action {
            Action::Begin(name) => {
                let ended = state.callers[usize::from(1 - name)].value();
                let caller = &mut state.callers[usize::from(name)];
                (caller.begun, caller.late) = (true, ended.is_some_and(|value| value != 0));
                let steps = caller.coordinator.begin([self.operation(name)]);
                caller.take(steps);
            }
            Action::Retry(name) => {
                state.retries -= 1;
                let caller = &mut state.callers[usize::from(name)];
                let steps = caller.coordinator.retry(self.operation(name).id);
                caller.take(steps);
            }
            Action::Deliver(name, ask, to, answered) => {
                Self::deliver(&mut state, [name, ask, to], answered);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(PROPERTY, Self::agree)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_puts_agree() {
        let found = Bounds { gets: [false, false], retries: 0 }.explore();
        assert_eq!(found, Ok(Explored { states: 20_464, transitions: 420_483 }));
    }
}
