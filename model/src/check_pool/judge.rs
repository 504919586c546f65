//! What is judged in `check_pool`, and the ghosts that it takes.

use cloakroom_pool::{AllocateFailure, FreeOutcome, Id};
use cloakroom_specs::pool as spec;

use super::{Caller, CheckPool, Life, Pair, State, dead_allocating, life};
use crate::judge::{Seen, at_rest, full_now, never_happened};
use crate::search::{Event, object};
use crate::world::plain;

impl CheckPool {
    /// What a caller's request writes into slots, for POOL-2: the tag it allocates for, the pair it
    /// frees.
    fn rights(&self, caller: u8, life: &Life) -> (Option<u64>, Option<(u64, u64)>) {
        match life {
            Life::Allocating { tag, .. } | Life::Dead { late: Some(tag), .. } => {
                (Some(plain(self.tag(caller, *tag))), None)
            }
            Life::Freeing { pair, .. } | Life::Dead { unfinished: Some(pair), .. } => {
                (None, Some(self.pair(caller, *pair)))
            }
            _ => (None, None),
        }
    }

    /// A write of `caller` may have changed slots: judges POOL-2 and keeps `freeing`.
    /// `late`: it was on its way, perhaps (on registers: certainly) from an earlier call.
    pub(super) fn wrote(&self, state: &mut State, before: &[Option<u64>], caller: u8, late: bool) {
        let after = self.ground.plain_slots(&state.world);
        let (allocating, freeing) = self.rights(caller, &state.callers[usize::from(caller)].life);
        for (at, (from, to)) in before.iter().zip(after.iter()).enumerate() {
            if from == to {
                continue;
            }
            let id = at as u64;
            let freeing = freeing.filter(|&(freed, _)| freed == id).map(|(_, tag)| tag);
            object(
                &mut state.objection,
                spec::change_is_allowed(id, *from, *to, allocating, freeing),
            );
            state.freeing[at] = to.is_none().then_some(caller);
            if to.is_none()
                && let Life::Freeing { seen, .. } = life(state, caller)
            {
                // A late write is this call's own only if this call lost an answer.
                seen.cleared |= !late || seen.doubt && self.bounds.attempts == 0;
            }
        }
    }

    /// Every call under way takes note of this moment.
    pub(super) fn note_moment(&self, state: &mut State) {
        let slots = self.ground.plain_slots(&state.world);
        let full_now = full_now(&self.ground, &state.world, &state.freeing).is_ok();
        for (name, caller) in (0..).zip(&mut state.callers) {
            match &mut caller.life {
                Life::Allocating { full, .. } => *full |= full_now,
                Life::Freeing { pair, seen, .. } => {
                    let (id, tag) = self.pair(name, *pair);
                    seen.note(slots[usize::try_from(id).expect("small")], tag);
                }
                _ => {}
            }
        }
    }

    pub(super) fn allocated(
        &self,
        state: &mut State,
        caller: u8,
        tag: u8,
        full: bool,
        outcome: Result<Id, AllocateFailure>,
    ) -> Event {
        let plain = plain(self.tag(caller, tag));
        *life(state, caller) = Life::Idle;
        match outcome {
            Ok(id) => {
                let holds = &mut state.callers[usize::from(caller)].holds;
                holds.push(Pair { id, tag });
                holds.sort_unstable();
                Event::Allocated
            }
            Err(AllocateFailure::Full) => {
                // POOL-3: at some moment during the call. This one is such a moment.
                if !full {
                    let judged = full_now(&self.ground, &state.world, &state.freeing);
                    object(&mut state.objection, judged);
                }
                never_happened(&self.ground, &state.world, caller, plain, &mut state.objection);
                Event::Full
            }
            Err(AllocateFailure::Unreachable) => {
                never_happened(&self.ground, &state.world, caller, plain, &mut state.objection);
                Event::Unreachable
            }
            Err(AllocateFailure::Unknown(_)) => {
                *life(state, caller) = dead_allocating(state, caller, tag);
                Event::Unknown
            }
        }
    }

    pub(super) fn freed(
        &self,
        state: &mut State,
        caller: u8,
        pair: Pair,
        seen: Seen,
        outcome: Option<FreeOutcome>,
    ) -> Event {
        let Some(outcome) = outcome else {
            *life(state, caller) = Life::Dead { unfinished: Some(pair), late: None };
            return Event::Unfinished;
        };
        let slot =
            self.ground.plain_slots(&state.world)[usize::try_from(pair.id.0).expect("small")];
        let (id, tag) = self.pair(caller, pair);
        let (judged, event) = seen.judge(outcome);
        object(&mut state.objection, judged);
        // POOL-6: a free that has returned has done its work.
        object(&mut state.objection, spec::free_is_done(slot, id, tag));
        for freeing in &mut state.freeing {
            if *freeing == Some(caller) {
                *freeing = None;
            }
        }
        *life(state, caller) = Life::Idle;
        if self.bounds.again {
            state.callers[usize::from(caller)].freed = Some(pair);
        }
        event
    }

    /// Judges what must hold in every state, and what must hold when nothing is under way.
    pub(super) fn judge(&self, state: &mut State) {
        let slots = self.ground.plain_slots(&state.world);
        for (name, caller) in (0..).zip(&state.callers) {
            let holdings = caller.holds.iter().map(|&pair| self.pair(name, pair));
            object(&mut state.objection, spec::holders_keep_their_ids(&slots, holdings));
        }
        let quiet = |caller: &Caller| {
            matches!(caller.life, Life::Idle | Life::Dead { unfinished: None, .. })
        };
        if !state.callers.iter().all(quiet) || !state.world.late.is_empty() {
            return;
        }
        let is_whole = state.callers.iter().all(|caller| caller.life == Life::Idle)
            && state.cuts == self.bounds.cuts;
        at_rest(&self.ground, &state.world, is_whole, &mut state.objection);
    }
}
