//! `check_pool_on_registers`: the pool over the register map's specification.
//!
//! The machines ask, and what answers is the real `RegisterMap` with the real bytes of keys and
//! values, over registers that are `cloakroom_specs::attempts::Register`: whatever the rules of
//! registers allow, and nothing else. One transition is one *attempt* of a map operation: answered;
//! or given up with an accept of it on its way, which may be chosen as long as nothing else has
//! followed the state that it found; or given up before that; or sent after a state that is over, by a coordinator that keeps a promise,
//! and refused. The map then tries again, with other
//! callers' steps between, up to its number of attempts.
//!
//! What a map of registers may do and the plain one of the other checks never does: answer `Set` for
//! what happened before, at any time since the call began; answer `Unknown` although it was reached, once
//! others have gone on by two versions, be it before the call; end a doubt by itself, as a definite failure; be unreachable
//! in one attempt and not in the next. A late accept follows one version, not one value.
//!
//! Of versions of registers only the distance from a bound one matters: 0, 1 or more. So states have
//! these, and stay as few as with a plain map.
//!
//! That the registers keep this specification is the business of `check_register`: REG-7 to REG-10.
//! Tombstones are not here: a pool never removes a key.

use std::cell::{Cell, RefCell};

use cloakroom_pool::{Machine, Place, Request, Response, perform};
use cloakroom_register::{
    Call, Expected, Held, Operation, OperationId, Outcome, RegisterMap, Registers, Version,
};
use cloakroom_specs::attempts::{Answer, Attempt, Reach, Register};

use super::{Action, Caller, CheckPool, Life, Lost, State, life};
use crate::search::Event;
use crate::world::{Late, Origin};

/// The attempts so far of a caller's map operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tried {
    attempts: u8,
    bound: Option<Bound>,
}

/// An accept of the operation was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Bound {
    /// States of the register since the one that the operation follows, up to 2.
    since: u64,
    /// It made the first of them.
    made: bool,
}

impl Tried {
    /// Before the first attempt.
    pub(super) const NONE: Self = Self { attempts: 0, bound: None };
}

/// The version of every register, now; bound ones are as much lower as they are behind.
const NOW: u64 = 2;
/// The operation of the caller that steps.
const OWN: u64 = 1;

/// The registers, for one attempt: those before it are played back, and whether the map asks for
/// one more is noted.
struct OneAttempt {
    register: RefCell<Register<Vec<u8>>>,
    tried: Tried,
    reach: Reach,
    begun: Cell<u8>,
    /// What the operation is bound to after this attempt.
    bound: Cell<Option<u64>>,
    told_nothing: Cell<bool>,
}

impl OneAttempt {
    fn is_to_be_continued(&self) -> bool {
        self.begun.get() > self.tried.attempts + 1
    }

    fn present(&self, operation: &Operation) -> Outcome {
        let held = |content: Option<Vec<u8>>| {
            content.map(|bytes| Held { version: Version(NOW), value: bytes.as_slice().into() })
        };
        let mut register = self.register.borrow_mut();
        let Call::CompareAndSet { expected, new } = &operation.call else {
            return match self.reach {
                Reach::Whole => Outcome::Got(held(register.content.clone())),
                Reach::Sent | Reach::Nowhere | Reach::Stale(_) => Outcome::Unavailable,
            };
        };
        let expected = match expected {
            Expected::Absent => None,
            Expected::Value(value) => Some(value.0.to_vec()),
            Expected::Version(_) => unreachable!("the map compares values"),
        };
        let new = new.as_ref().map(|value| value.0.to_vec());
        let bound = operation.bound.map(|version| version.0);
        let attempt = Attempt { operation: OWN, expected, new, bound };
        match register.attempt(&attempt, self.reach) {
            Answer::Set => Outcome::Set(Version(register.version)),
            Answer::Mismatch(content) => Outcome::Mismatch(held(content)),
            Answer::Unavailable => Outcome::Unavailable,
            Answer::Unknown(bound) => {
                self.told_nothing.set(self.reach == Reach::Whole);
                self.bound.set(Some(bound));
                Outcome::Unknown(Version(bound))
            }
        }
    }
}

impl Registers for &OneAttempt {
    fn operation_id(&self) -> OperationId {
        OperationId([1; 16])
    }

    fn run(&self, operation: &Operation) -> Outcome {
        let number = self.begun.get();
        self.begun.set(number + 1);
        if number == self.tried.attempts {
            return self.present(operation);
        }
        // Played back, or not yet.
        self.bound.get().map_or(Outcome::Unavailable, |bound| Outcome::Unknown(Version(bound)))
    }
}

impl CheckPool {
    /// One attempt of the caller's map operation.
    pub(super) fn attempt(&self, state: &mut State, caller: u8, reach: Reach) -> Option<Event> {
        let own = &state.callers[usize::from(caller)];
        let (request, tried) = (own.request()?, own.tried);
        let place = place(&request);
        let content = self.ground.read(&state.world, place);
        let content = content.map(|value| value.encode(&self.ground.tree, place));
        let made = tried.bound.is_some_and(|bound| bound.made);
        let maker = made.then_some(OWN);
        let register = Register { version: NOW, content, maker, sent: Vec::new() };
        let attempt = OneAttempt {
            register: RefCell::new(register),
            tried,
            reach,
            begun: Cell::new(0),
            bound: Cell::new(tried.bound.map(|bound| NOW - bound.since)),
            told_nothing: Cell::new(false),
        };
        let map = RegisterMap::new(&attempt, self.bounds.attempts.into());
        let (response, _) = perform(&map, &self.ground.tree, &request);

        let before = self.ground.plain_slots(&state.world);
        let Register { version, sent, .. } = attempt.register.borrow().clone();
        let bound = attempt.bound.get().map(|bound| {
            let since = NOW - bound;
            Bound { since, made: made && since == 1 }
        });
        state.callers[usize::from(caller)].tried = Tried { attempts: tried.attempts + 1, bound };
        if version > NOW {
            self.write(state, &request);
            Self::passed(state, place, None);
        }
        if !sent.is_empty() {
            Self::send(state, caller, request);
        }
        if response == Response::Unknown {
            Self::doubt(state, caller);
        }
        self.wrote(state, &before, caller, false);
        self.note_moment(state);
        let mismatch = matches!(response, Response::Mismatch(_)).then_some(Event::Mismatch);
        let told_nothing = attempt.told_nothing.get().then_some(Event::Overtaken);
        if attempt.is_to_be_continued() {
            return told_nothing.or(Some(Event::TriedAgain));
        }
        Self::forget(state, caller, Origin::Call);
        let event = self.answer(state, caller, response);
        if state.callers[usize::from(caller)].request().is_none() {
            Self::forget(state, caller, Origin::Past);
        }
        event.or(told_nothing).or(mismatch)
    }

    /// How an attempt of this request may be lost with an accept of its own sent: after the present
    /// state; or, where it expects something else and none was sent before, after one that is over.
    /// That what it expects was there once is not asked.
    pub(super) fn offer_losses(
        &self,
        state: &State,
        name: u8,
        request: &Request,
        actions: &mut Vec<Action>,
    ) {
        let Request::CompareAndSet { place, expected, .. } = request else { return };
        let unbound = state.callers[usize::from(name)].tried.bound.is_none();
        if state.unknowns == 0 {
            return;
        }
        if self.ground.read(&state.world, *place) == *expected {
            actions.push(Action::Lose(name, Lost::Later));
        } else if unbound {
            actions.extend([1, 2].map(|behind| Action::Stale(name, behind)));
        }
    }

    fn write(&self, state: &mut State, request: &Request) {
        let Request::CompareAndSet { place, expected, new } = request else {
            unreachable!("a get writes nothing")
        };
        let expected = expected.as_ref();
        let done = self.ground.compare_and_set(&mut state.world, *place, expected, new);
        assert!(done, "bytes and values differ");
    }

    /// A caller's free does not know what its clear has done: `Freed` then stands for `AlreadyFree` too.
    fn doubt(state: &mut State, caller: u8) {
        if let Life::Freeing { seen, .. } = life(state, caller) {
            seen.doubt = true;
        }
    }

    /// An accept of a caller's operation is on its way: once, however often it was sent.
    fn send(state: &mut State, caller: u8, request: Request) {
        Self::doubt(state, caller);
        let Request::CompareAndSet { place, expected, new } = request else { return };
        let late = &mut state.world.late;
        if !late.iter().any(|late| late.caller == caller && late.origin == Origin::Operation) {
            let origin = Origin::Operation;
            late.push(Late { caller, place, expected, new, origin });
        }
    }

    /// The register of a place has a new state: by an operation that is still being tried by its
    /// caller, or by another.
    pub(super) fn passed(state: &mut State, place: Place, by: Option<u8>) {
        // REG-7: nothing follows the state before any more.
        state.world.late.retain(|late| late.place != place);
        for (name, caller) in (0..).zip(&mut state.callers) {
            if caller.request().is_none_or(|request| self::place(&request) != place) {
                continue;
            }
            if let Some(bound) = &mut caller.tried.bound {
                bound.since = (bound.since + 1).min(NOW);
                bound.made = by == Some(name) && bound.since == 1;
            }
        }
    }

    /// A caller's map operation is over, and with [`Origin::Past`] its call; what it has sent is not.
    pub(super) fn forget(state: &mut State, caller: u8, origin: Origin) {
        state.callers[usize::from(caller)].tried = Tried::NONE;
        for late in state.world.late.iter_mut().filter(|late| late.caller == caller) {
            late.origin = late.origin.max(origin);
        }
    }
}

impl Caller {
    /// The map operation that it waits for.
    pub(super) fn request(&self) -> Option<Request> {
        match &self.life {
            Life::Allocating { machine, .. } => Some(machine.request()),
            Life::Freeing { machine, .. } => Some(machine.request()),
            Life::Idle | Life::Dead { .. } => None,
        }
    }
}

fn place(request: &Request) -> Place {
    match request {
        Request::Get(place) | Request::Recall(place) | Request::CompareAndSet { place, .. } => {
            *place
        }
        Request::IsLive(_) => unreachable!("asked of the notebook, not of the map"),
    }
}
