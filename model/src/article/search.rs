//! The search: stateright, breadth first, always to its end.
//!
//! Invariants:
//! * breadth first and on one thread, so that the first trace found is a shortest one;
//! * the search ends at the fault or when there is no further state (`joined.rs`).
//!
//! A live-lock is no `eventually`, which stateright does not judge on cycles: it is a state from
//! which a call that moves alone comes back to that state.

use stateright::{Model, Property};

use super::faults::Kind;
use super::world::{Action, Setting, World};
use crate::joined::{Order, joined, served};

struct Search {
    kind: Kind,
    setting: Setting,
}

impl Model for Search {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.setting)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(&self.setting, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.apply(&self.setting, action).map(|_| next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::sometimes(SHOWN, |search, world| {
            search.kind.is_shown(&search.setting, world)
        })]
    }
}

const SHOWN: &str = "the fault is shown";

/// The unique states seen, and the shortest way to a state that shows the fault if there is one.
pub(super) fn shortest(kind: Kind, setting: Setting) -> (u64, Option<Vec<Action>>) {
    let mut visited = joined(Search { kind, setting }, Order::BreadthFirst);
    let way = visited.discoveries.remove(SHOWN).map(stateright::Path::into_actions);
    (visited.states, way)
}

/// Opens the explorer on a search, and never returns. It goes on to what the search says is shown.
pub(super) fn explore(kind: Kind, setting: Setting, address: &str) {
    served(Search { kind, setting }, address);
}

#[cfg(test)]
mod tests {
    use std::collections::{HashSet, VecDeque};

    use super::super::faults::FAULTS;
    use super::*;

    /// Breadth first over whole states, where stateright keeps 64-bit fingerprints.
    fn plain(kind: Kind, setting: Setting) -> (u64, Option<usize>) {
        let mut seen = HashSet::from([World::new(&setting)]);
        let mut queue = VecDeque::from([(World::new(&setting), 0)]);
        while let Some((world, depth)) = queue.pop_front() {
            if kind.is_shown(&setting, &world) {
                return (seen.len() as u64, Some(depth));
            }
            let mut actions = Vec::new();
            world.actions(&setting, &mut actions);
            for action in actions {
                let mut next = world.clone();
                next.apply(&setting, action).expect("an action that is possible");
                if seen.insert(next.clone()) {
                    queue.push_back((next, depth + 1));
                }
            }
        }
        (seen.len() as u64, None)
    }

    #[test]
    fn a_plain_search_over_whole_states_counts_the_same() {
        for fault in FAULTS {
            for setting in [fault.setting, fault.cured] {
                let (states, way) = shortest(fault.kind, setting);
                let found = (states, way.map(|way| way.len()));
                assert_eq!(found, plain(fault.kind, setting), "{}", fault.name);
            }
        }
    }
}
