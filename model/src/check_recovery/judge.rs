//! What is judged in `check_recovery`.

use cloakroom_pool::Recover;
use cloakroom_specs::pool::{self as spec, Objection};

use super::{Caller, CheckRecovery, Life, Recovery, Rule, State};
use crate::search::object;
use crate::world::{World, plain, tag};

impl CheckRecovery {
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
