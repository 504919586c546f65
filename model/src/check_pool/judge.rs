//! What is judged in `check_pool`, and the ghosts that it takes.

use cloakroom_pool::{AllocateFailure, FreeOutcome, Id};
use cloakroom_specs::pool::{self as spec, Objection, What};

use super::{Caller, CheckPool, Life, Pair, Seen, State, dead_allocating, life};
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

    fn full_now(&self, state: &State) -> Result<(), Objection> {
        let slots = self.ground.plain_slots(&state.world);
        spec::full(slots.iter().zip(&state.freeing).map(|(slot, f)| slot.is_some() || f.is_some()))
    }

    /// Every call under way takes note of this moment.
    pub(super) fn note_moment(&self, state: &mut State) {
        let slots = self.ground.plain_slots(&state.world);
        let full_now = self.full_now(state).is_ok();
        for (name, caller) in (0..).zip(&mut state.callers) {
            match &mut caller.life {
                Life::Allocating { full, .. } => *full |= full_now,
                Life::Freeing { pair, seen, .. } => {
                    let (id, tag) = self.pair(name, *pair);
                    match slots[usize::try_from(id).expect("small")] {
                        None => seen.empty = true,
                        Some(holder) if holder == tag => seen.held = true,
                        Some(_) => seen.other = true,
                    }
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
                    let judged = self.full_now(state);
                    object(&mut state.objection, judged);
                }
                self.never_happened(state, caller, plain);
                Event::Full
            }
            Err(AllocateFailure::Unreachable) => {
                self.never_happened(state, caller, plain);
                Event::Unreachable
            }
            Err(AllocateFailure::Unknown(_)) => {
                *life(state, caller) = dead_allocating(state, caller, tag);
                Event::Unknown
            }
        }
    }

    /// A definite failure: the tag holds nothing, and nothing on its way can give it an id. An id
    /// held behind the caller's back is one that the caller can never free: POOL-7.
    fn never_happened(&self, state: &mut State, caller: u8, tag: u64) {
        let world = &state.world;
        let landing = world.late.iter().filter(|late| {
            let may_land = self.ground.read(world, late.place) == late.expected;
            late.caller == caller && late.place.is_block() && may_land
        });
        let landed = landing.map(|late| {
            let mut world = world.clone();
            let expected = late.expected.as_ref();
            self.ground.compare_and_set(&mut world, late.place, expected, &late.new);
            self.ground.plain_slots(&world)
        });
        let now = std::iter::once(self.ground.plain_slots(world));
        let leaks: Vec<_> = now
            .chain(landed)
            .map(|slots| spec::nothing_leaked(&slots, |held| held != tag))
            .collect();
        for judged in leaks {
            object(&mut state.objection, judged);
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
        let (right, got, event) = match outcome {
            // After a lost answer it may have been somebody else's free of the same pair.
            FreeOutcome::Freed => {
                let right = seen.cleared || seen.doubt && seen.held;
                (right, spec::Freed::Freed, Event::Freed)
            }
            FreeOutcome::AlreadyFree => {
                (seen.empty && !seen.cleared, spec::Freed::AlreadyFree, Event::AlreadyFree)
            }
            FreeOutcome::NotOwner => (seen.other, spec::Freed::NotOwner, Event::NotOwner),
        };
        if !right {
            let expected = match seen {
                Seen { cleared: true, .. } => spec::Freed::Freed,
                Seen { empty: true, .. } => spec::Freed::AlreadyFree,
                _ => spec::Freed::NotOwner,
            };
            object(
                &mut state.objection,
                Err(Objection { property: 2, what: What::Free { expected, got } }),
            );
        }
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
        let held: Vec<bool> = slots.iter().map(Option::is_some).collect();
        let counts = self.ground.counts(&state.world, &held);
        // POOL-6: whoever died, once the frees were called again no capacity is missing.
        object(&mut state.objection, spec::no_capacity_lost(counts.iter().copied()));
        // POOL-4: nobody has died or lost the map, so every count is exact.
        let whole = state.callers.iter().all(|caller| caller.life == Life::Idle);
        if whole && state.cuts == self.bounds.cuts {
            object(&mut state.objection, spec::counts_exact(counts));
        }
    }
}
