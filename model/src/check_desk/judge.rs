//! What is judged in `check_desk`, and the ghosts that it takes.

use cloakroom_pool::{AllocateFailure, Done, FreeOutcome, Id};
use cloakroom_specs::pool as spec;

use super::host::{Call, Host, Pair, Serving};
use super::{CheckDesk, State};
use crate::judge::{Seen, at_rest, full_now, never_happened};
use crate::search::{Event, object};
use crate::world::plain;

impl CheckDesk {
    fn pair(&self, host: u8, pair: Pair) -> (u64, u64) {
        (pair.id.0, plain(self.tag(host, pair.tag)))
    }

    /// What a host's requests may write into the slot of an id, for POOL-2: tags it allocates for, the tag
    /// that it frees there.
    fn rights(&self, name: u8, host: &Host, id: u64) -> (Vec<u64>, Option<u64>) {
        let allocating = host.serves.iter().filter_map(|call| match call {
            Call::Allocate { tag, .. } => Some(*tag),
            Call::Free { .. } => None,
        });
        let allocating = allocating.chain(host.doubted.iter().copied());
        let freeing = host.serves.iter().filter_map(|call| match call {
            Call::Free { pair, .. } => Some(*pair),
            Call::Allocate { .. } => None,
        });
        let freeing = freeing.chain(host.unfinished.iter().copied());
        let mut freeing = freeing.map(|pair| self.pair(name, pair));
        let freeing = freeing.find(|&(freed, _)| freed == id).map(|(_, tag)| tag);
        (allocating.map(|tag| plain(self.tag(name, tag))).collect(), freeing)
    }

    /// A write of `host` may have changed slots: judges POOL-2, keeps `freeing`, and tells how many slots
    /// have changed. `late`: it was on its way, perhaps from an earlier call.
    pub(super) fn wrote(
        &self,
        state: &mut State,
        before: &[Option<u64>],
        host: u8,
        late: bool,
    ) -> usize {
        let after = self.ground.plain_slots(&state.world);
        let mut changed = 0;
        for (at, (from, to)) in before.iter().zip(after.iter()).enumerate() {
            if from == to {
                continue;
            }
            changed += 1;
            let id = at as u64;
            let (allocating, freeing) = self.rights(host, &state.hosts[usize::from(host)], id);
            let allocating = to.filter(|tag| allocating.contains(tag));
            object(
                &mut state.objection,
                spec::change_is_allowed(id, *from, *to, allocating, freeing),
            );
            state.freeing[at] = to.is_none().then_some(host);
            for call in &mut state.hosts[usize::from(host)].serves {
                if let Call::Free { pair, seen } = call
                    && pair.id == Id(id)
                    && to.is_none()
                {
                    // A late write is this call's own only if this call lost an answer.
                    seen.cleared |= !late || seen.doubt;
                }
            }
        }
        changed
    }

    /// Every call under way takes note of this moment.
    pub(super) fn note_moment(&self, state: &mut State) {
        let slots = self.ground.plain_slots(&state.world);
        let full_now = full_now(&self.ground, &state.world, &state.freeing).is_ok();
        for (name, host) in (0..).zip(&mut state.hosts) {
            for call in &mut host.serves {
                match call {
                    // Those that a turn has left have begun with it.
                    Call::Allocate { full, is_new, .. } => *full |= full_now && !*is_new,
                    Call::Free { pair, seen } => {
                        let (id, tag) = self.pair(name, *pair);
                        seen.note(slots[usize::try_from(id).expect("small")], tag);
                    }
                }
            }
        }
    }

    /// Calls of a turn return, or go to the next.
    pub(super) fn ended(
        &self,
        state: &mut State,
        host: u8,
        serving: &mut Serving,
    ) -> Option<Event> {
        let mut event = None;
        for (number, done) in serving.turn.ended() {
            let at = serving.numbers.iter().position(|it| *it == number).expect("told once");
            let own = &mut state.hosts[usize::from(host)];
            let seen = if done == Done::Later {
                Event::Later
            } else {
                serving.numbers.remove(at);
                match (own.serves.remove(at), done) {
                    (Call::Allocate { tag, full, .. }, Done::Allocated(outcome)) => {
                        serving.has_allocated |= outcome.is_ok();
                        self.allocated(state, host, (tag, full), outcome)
                    }
                    (Call::Free { pair, seen }, Done::Freed(outcome)) => {
                        self.freed(state, host, (pair, seen), outcome.ok())
                    }
                    (call, done) => unreachable!("{call:?} ended with {done:?}"),
                }
            };
            // The rarer one is the one to be seen.
            event = event.max(Some(seen));
        }
        event
    }

    fn allocated(
        &self,
        state: &mut State,
        host: u8,
        (tag, full): (u8, bool),
        outcome: Result<Id, AllocateFailure>,
    ) -> Event {
        let plain = plain(self.tag(host, tag));
        let was_cut = state.cuts < self.bounds.cuts;
        let own = &mut state.hosts[usize::from(host)];
        match outcome {
            Ok(id) => {
                own.holds.push(Pair { id, tag });
                own.holds.sort_unstable();
                Event::Allocated
            }
            Err(AllocateFailure::Full) => {
                // POOL-3: at some moment during the call. This one is such a moment.
                if !full {
                    let judged = full_now(&self.ground, &state.world, &state.freeing);
                    object(&mut state.objection, judged);
                }
                never_happened(&self.ground, &state.world, host, plain, &mut state.objection);
                Event::Full
            }
            Err(AllocateFailure::Unreachable) => {
                never_happened(&self.ground, &state.world, host, plain, &mut state.objection);
                Event::Unreachable
            }
            Err(AllocateFailure::Unknown(_)) => {
                object(&mut state.objection, spec::has_returned(false, was_cut));
                own.lost(Call::Allocate { tag, is_new: false, full });
                Event::Unknown
            }
        }
    }

    fn freed(
        &self,
        state: &mut State,
        host: u8,
        (pair, seen): (Pair, Seen),
        outcome: Option<FreeOutcome>,
    ) -> Event {
        let own = &mut state.hosts[usize::from(host)];
        let Some(outcome) = outcome else {
            own.lost(Call::Free { pair, seen });
            let was_cut = state.cuts < self.bounds.cuts;
            object(&mut state.objection, spec::has_returned(false, was_cut));
            return Event::Unfinished;
        };
        let at = usize::try_from(pair.id.0).expect("small");
        let slot = self.ground.plain_slots(&state.world)[at];
        let (id, tag) = self.pair(host, pair);
        let (judged, event) = seen.judge(outcome);
        object(&mut state.objection, judged);
        // POOL-6: a free that has returned has done its work.
        object(&mut state.objection, spec::free_is_done(slot, id, tag));
        if state.freeing[at] == Some(host) {
            state.freeing[at] = None;
        }
        if event == Event::Freed && seen.doubt { Event::Settled } else { event }
    }

    /// Judges what must hold in every state, and what must hold when nothing is under way.
    pub(super) fn judge(&self, state: &mut State) {
        let State { world, hosts, objection, .. } = state;
        let slots = self.ground.plain_slots(world);
        for (name, host) in (0..).zip(hosts.iter()) {
            let holdings = host.holds.iter().map(|&pair| self.pair(name, pair));
            object(objection, spec::holders_keep_their_ids(&slots, holdings));
        }
        // A turn may go on when its calls have returned.
        let is_quiet = |host: &Host| {
            host.turn.is_none() && host.serves.is_empty() && host.unfinished.is_empty()
        };
        if !state.hosts.iter().all(is_quiet) || !state.world.late.is_empty() {
            return;
        }
        // No allocate has died or lost the map.
        let is_whole =
            state.hosts.iter().all(|host| host.doubted.is_empty() && !host.has_left_counts)
                && state.cuts == self.bounds.cuts;
        at_rest(&self.ground, &state.world, is_whole, &mut state.objection);
    }
}
