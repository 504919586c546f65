//! What is judged in `check_recovery`.

use cloakroom_pool::Recover;
use cloakroom_specs::pool::{self as spec, Objection};

use super::{Caller, CheckRecovery, Life, Recovery, Rule, State};
use crate::search::object;
use crate::world::{World, plain, tag};

impl CheckRecovery {
    /// A write may have emptied or filled slots: keeps `freeing`. `late`: it was on its way.
    pub(super) fn wrote(&self, state: &mut State, before: &[Option<u64>], name: u8, late: bool) {
        let after = self.ground.plain_slots(&state.world);
        // The running recovery may have passed by what an earlier one had on its way: nobody's.
        let nobody = self.recovery_name(self.bounds.at_once);
        let name = if late && name >= self.recovery_name(0) { nobody } else { name };
        for (at, (from, to)) in before.iter().zip(after.iter()).enumerate() {
            if from != to {
                state.freeing[at] = to.is_none().then_some(name);
            }
        }
    }

    /// Every allocate under way takes note of whether `Full` is allowed at this moment.
    pub(super) fn note_moment(&self, state: &mut State) {
        let now = self.full_now(state).is_ok();
        for caller in &mut state.callers {
            if let Life::Allocating { full, .. } = &mut caller.life {
                *full |= now;
            }
        }
    }

    /// POOL-3: at some moment during the call.
    pub(super) fn answered_full(&self, state: &mut State, allowed: bool) {
        if !allowed {
            let judged = self.full_now(state);
            object(&mut state.objection, judged);
        }
    }

    fn full_now(&self, state: &State) -> Result<(), Objection> {
        let slots = self.ground.plain_slots(&state.world);
        spec::full(slots.iter().zip(&state.freeing).map(|(slot, f)| slot.is_some() || f.is_some()))
    }

    /// Whether a caller, or a recovery, has a call under way.
    pub(super) fn is_calling(state: &State, name: u8) -> bool {
        let name = usize::from(name);
        match state.callers.get(name) {
            Some(caller) => matches!(caller.life, Life::Allocating { .. } | Life::Freeing(..)),
            None => state.running[name - state.callers.len()].is_some(),
        }
    }

    /// POOL-1 in every state; POOL-7 when nothing is under way and no session is open.
    pub(super) fn judge(&self, state: &mut State) {
        let slots = self.ground.plain_slots(&state.world);
        for (name, caller) in state.callers.iter().enumerate() {
            let id = match caller.life {
                Life::Using(id) => id,
                // Against rule 2 it still uses what it frees.
                Life::Freeing(_, id) if !self.keeps(Rule::FreeUnused) => id,
                _ => continue,
            };
            let holding = (id.0, plain(&tag(name, caller.session)));
            let judged = spec::holders_keep_their_ids(&slots, [holding]);
            object(&mut state.objection, judged);
        }
        let quiet = state.running.iter().all(Option::is_none) && state.world.late.is_empty();
        let still = |caller: &Caller| {
            matches!(caller.life, Life::Idle | Life::Using(_) | Life::Finished(_))
        };
        // POOL-7: what the recoveries have achieved that ran beside the callers.
        if quiet && !state.owed && state.callers.iter().all(still) {
            let written = Self::written(state);
            let judged = spec::nothing_leaked(&slots, |tag| written.contains(&tag));
            object(&mut state.objection, judged);
            let held: Vec<bool> = slots.iter().map(Option::is_some).collect();
            let judged = spec::counts_exact(self.ground.counts(&state.world, &held));
            let judged = judged.map_err(|objection| Objection { property: 7, ..objection });
            object(&mut state.objection, judged);
        }
        let closed = |caller: &Caller| match caller.life {
            Life::Idle => !caller.written,
            Life::Gone => true,
            _ => false,
        };
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
        end.running[0] = Some(Recovery { machine, clean: false, copy: None });
        while end.running[0].is_some() {
            self.recovery_step(&mut end, 0, None);
        }
        end.world
    }
}
