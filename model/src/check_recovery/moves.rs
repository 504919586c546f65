//! The transitions of `check_recovery`.

use cloakroom_pool::{
    Allocate, AllocateFailure, Free, Id, Machine, Next, Recover, Request, Response,
};

use super::{Action, Caller, CheckRecovery, Life, Recovery, Rule, State};
use crate::search::Event;
use crate::world::{Late, Origin, World, plain, tag};

impl CheckRecovery {
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
                let origin = Origin::Past;
                world.late.push(Late { caller, place, expected, new, origin });
                Response::Unknown
            }
            (Some(false), request) => unreachable!("only writes are lost: {request:?}"),
        }
    }

    fn step(&self, state: &mut State, name: u8, lost: Option<bool>) -> Option<Event> {
        let before = self.ground.plain_slots(&state.world);
        let request = match &state.callers[usize::from(name)].life {
            Life::Allocating { machine, .. } => machine.request(),
            Life::Freeing(machine, _) => machine.request(),
            _ => return None,
        };
        let response = self.perform(&mut state.world, name, request, lost);
        self.wrote(state, &before, name, false);
        self.note_moment(state);
        let own = &mut state.callers[usize::from(name)];
        match &mut own.life {
            Life::Allocating { machine, full } => {
                let helping = machine.is_helping();
                match machine.step(response) {
                    Next::Ask => (machine.is_helping() && !helping).then_some(Event::Help),
                    Next::Done(Ok(id)) => {
                        // Against rule 1 it is written down only now.
                        own.written = true;
                        own.life = Life::Using(id);
                        Some(Event::Allocated)
                    }
                    Next::Done(Err(AllocateFailure::Full)) => {
                        let allowed = *full;
                        own.life = Life::Finished(None);
                        self.answered_full(state, allowed);
                        Some(Event::Full)
                    }
                    Next::Done(Err(failure)) => {
                        unreachable!("the map is always there: {failure:?}")
                    }
                }
            }
            Life::Freeing(machine, id) => {
                let Next::Done(outcome) = machine.step(response) else { return None };
                assert!(outcome.is_ok(), "the map is always there");
                own.life = Life::Finished(Some(*id));
                returned(state, name);
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

    /// A recovery's next operation, or its look into the notebook.
    pub(super) fn recovery_step(
        &self,
        state: &mut State,
        which: u8,
        lost: Option<bool>,
    ) -> Option<Event> {
        let written = Self::written(state);
        let name = self.recovery_name(which);
        let before = self.ground.plain_slots(&state.world);
        let recovery = state.running[usize::from(which)].as_mut()?;
        let response = match recovery.machine.request() {
            // Rule 4: now, after the tag was read.
            Request::IsLive(tag) => {
                Response::Live(recovery.copy.as_ref().unwrap_or(&written).contains(&plain(&tag)))
            }
            request => self.perform(&mut state.world, name, request, lost),
        };
        let next = recovery.machine.step(response);
        self.wrote(state, &before, name, false);
        self.note_moment(state);
        let Next::Done(outcome) = next else { return None };
        let recovery = state.running[usize::from(which)].take()?;
        state.owed &= !recovery.clean;
        returned(state, name);
        let done = outcome.expect("the map is always there");
        (!done.freed.is_empty()).then_some(Event::Recovered)
    }

    /// A write of unknown outcome happens after all.
    fn arrive(&self, state: &mut State, which: u8) -> Event {
        let late = state.world.late.remove(usize::from(which));
        let before = self.ground.plain_slots(&state.world);
        let expected = late.expected.as_ref();
        let world = &mut state.world;
        let done = self.ground.compare_and_set(world, late.place, expected, &late.new);
        self.wrote(state, &before, late.caller, true);
        self.note_moment(state);
        // Of a call that is over, so nobody will put the counts above it right.
        if done && !Self::is_calling(state, late.caller) {
            owe(state);
        }
        if done { Event::LateApplied } else { Event::LateRefused }
    }

    /// Who died is there again, with what its notebook has.
    fn come_back(&self, state: &mut State, name: u8) -> Option<Event> {
        let Life::Dead { freeing } = state.callers[usize::from(name)].life else {
            return None;
        };
        match freeing {
            // Rule 3.
            Some(id) if self.keeps(Rule::UntilReturned) => self.begin_free(state, name, id),
            // Against rule 3: it goes on as if that free had returned, and leaves its tag.
            Some(_) => {
                state.callers[usize::from(name)].life = Life::Gone;
                None
            }
            // It does not know whether its tag holds an id, and gives it up.
            None => {
                owe(state);
                self.act(state, Action::Strike(name))
            }
        }
    }

    fn begin_recovery(&self, state: &mut State) -> Option<Event> {
        state.recoveries -= 1;
        let dead = |caller: &Caller| matches!(caller.life, Life::Dead { .. });
        let clean = state.world.late.is_empty() && !state.callers.iter().any(dead);
        let copy = (!self.keeps(Rule::LookAfterReading)).then(|| Self::written(state));
        let machine = Recover::new(self.ground.tree);
        let place = (0..).zip(&state.running).find(|(_, running)| running.is_none());
        let (which, _) = place.expect("offered only then");
        state.running[usize::from(which)] = Some(Recovery { machine, clean, copy });
        self.recovery_step(state, which, None)
    }

    /// Does it, and says what a witness would call it.
    pub(super) fn act(&self, state: &mut State, action: Action) -> Option<Event> {
        match action {
            Action::Write(name) => {
                state.callers[usize::from(name)].written = true;
                None
            }
            Action::Allocate(name) => {
                let own = &mut state.callers[usize::from(name)];
                let tag = tag(usize::from(name), own.session);
                let machine = Allocate::new(self.ground.tree, self.bounds.policy, tag);
                own.life = Life::Allocating { machine, full: false };
                self.note_moment(state);
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
            Action::Arrive(which) => Some(self.arrive(state, which)),
            Action::Strike(name) => {
                let own = &mut state.callers[usize::from(name)];
                *own = Caller { session: own.session + 1, written: false, life: Life::Idle };
                None
            }
            Action::Die(name) => {
                state.deaths -= 1;
                owe(state);
                let own = &mut state.callers[usize::from(name)];
                let freeing = match own.life {
                    Life::Freeing(_, id) | Life::Finished(Some(id)) => Some(id),
                    _ => None,
                };
                own.life = Life::Dead { freeing };
                Some(Event::Died)
            }
            Action::Return(name) => self.come_back(state, name),
            Action::Recover => self.begin_recovery(state),
            Action::RecoveryStep(which) => self.recovery_step(state, which, None),
            Action::RecoveryLose(which, applied) => {
                state.unknowns -= 1;
                self.recovery_step(state, which, Some(applied))
            }
            Action::RecoveryDies(which) => {
                state.deaths -= 1;
                owe(state);
                state.running[usize::from(which)] = None;
                Some(Event::Died)
            }
        }
    }
}

/// Something that a later recovery may have to put right.
fn owe(state: &mut State) {
    state.owed = true;
    for recovery in state.running.iter_mut().flatten() {
        recovery.clean = false;
    }
}

/// A free, or the recovery, has returned: what it cleared is free now.
fn returned(state: &mut State, name: u8) {
    for freeing in &mut state.freeing {
        if *freeing == Some(name) {
            *freeing = None;
        }
    }
}
