//! The transitions of `check_pool`, and how they are told.

use super::{CheckPool, Pair, State};
use crate::world::{self, name};

/// One transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A caller begins to allocate.
    Allocate(u8, By),
    /// A caller begins to free one of its ids.
    Free(u8, u8, By),
    /// A caller frees again what it freed last.
    FreeAgain(u8, By),
    /// A caller's request is answered.
    Step(u8, By),
    /// A caller's compare-and-set has an unknown outcome.
    Lose(u8, Lost),
    /// On registers: it follows a state that was there so many versions ago.
    Stale(u8, u8),
    /// A caller finds the map unreachable.
    Cut(u8),
    /// What was on its way arrives.
    Arrive(u8),
    /// A caller dies.
    Die(u8),
    /// A caller that died in a free calls it again.
    Retry(u8, By),
    /// The callers' host remembers what this place has.
    Remember(u8),
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The map, with what is there.
    Map,
    /// The host, with what it remembers.
    Memory,
}

/// The three meanings of an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It never happens.
    Never,
    /// It has happened.
    Applied,
    /// It may happen later, once.
    Later,
}

impl CheckPool {
    /// A transition in words.
    pub(super) fn told(&self, state: &State, action: Action) -> String {
        let pending = |caller: u8| {
            let request = state.callers[usize::from(caller)].request();
            request.map_or_else(String::new, |request| world::tell(&request))
        };
        let free = |caller: u8, pair: Pair| {
            format!("{} frees {} from {}", name(caller), pair.id, self.tag(caller, pair.tag))
        };
        let told = match action {
            Action::Allocate(caller, _) => {
                let number = Self::unused_tag(&state.callers[usize::from(caller)]);
                format!("{} allocates for {}", name(caller), self.tag(caller, number))
            }
            Action::Free(caller, which, _) => {
                free(caller, state.callers[usize::from(caller)].holds[usize::from(which)])
            }
            Action::FreeAgain(caller, _) => match state.callers[usize::from(caller)].freed {
                Some(pair) => format!("{} again", free(caller, pair)),
                None => String::new(),
            },
            Action::Step(caller, _) => format!("{}: {}", name(caller), pending(caller)),
            Action::Lose(caller, lost) => {
                format!("{}: {}, answered Unknown: {lost:?}", name(caller), pending(caller))
            }
            Action::Stale(caller, behind) => {
                format!("{}: {}, {behind} too late", name(caller), pending(caller))
            }
            Action::Cut(caller) => format!("{}: {}, unreachable", name(caller), pending(caller)),
            Action::Arrive(which) => {
                let late = &state.world.late[usize::from(which)];
                format!("what {} had sent to {} arrives", name(late.caller), late.place)
            }
            Action::Die(caller) => format!("{} dies before: {}", name(caller), pending(caller)),
            Action::Retry(caller, _) => format!("{} comes back and frees again", name(caller)),
            Action::Remember(cell) => {
                format!("the host remembers {}", self.ground.place(usize::from(cell)))
            }
        };
        match action {
            Action::Allocate(_, By::Memory)
            | Action::Free(_, _, By::Memory)
            | Action::FreeAgain(_, By::Memory)
            | Action::Retry(_, By::Memory)
            | Action::Step(_, By::Memory) => format!("{told}, from memory"),
            _ => told,
        }
    }
}
