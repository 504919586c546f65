//! The transitions of `check_desk`: what they are, when they are offered, and how they are told.

use cloakroom_pool::Request;

use super::{CheckDesk, Host, Serving, State};
use crate::check_pool::{By, Lost};
use crate::world::{self, name};

/// One transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A host begins a turn with those calls that the last one has left, and these.
    Serve(u8, New),
    /// A host calls again what was not finished.
    Retry(u8),
    /// One of a host's requests is answered.
    Answer(u8, u8, By),
    /// One of a host's compare-and-sets has an unknown outcome.
    Lose(u8, u8, Lost),
    /// One of a host's requests finds the map unreachable.
    Cut(u8, u8),
    /// What was on its way arrives.
    Arrive(u8),
    /// A host dies.
    Die(u8),
    /// The hosts remember what this place has.
    Remember(u8),
}

/// Calls that come to a turn: so many allocates, and frees of these holdings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct New {
    pub(super) allocates: u8,
    pub(super) frees: [Option<u8>; 2],
}

impl CheckDesk {
    /// Who can answer a request.
    pub(super) fn answerers(
        &self,
        state: &State,
        request: &Request,
    ) -> impl Iterator<Item = By> + use<> {
        let remembered = match request {
            Request::Recall(place) => self.ground.recall(&state.world, *place).is_some(),
            _ => false,
        };
        std::iter::once(By::Map).chain(remembered.then_some(By::Memory))
    }

    /// What may come to a host's next turn.
    pub(super) fn offer_turns(&self, name: u8, host: &Host, actions: &mut Vec<Action>) {
        let left = u8::try_from(host.serves.len()).expect("few");
        let most = host.calls.min(self.bounds.together.saturating_sub(left));
        let holds = u8::try_from(host.holds.len()).expect("few");
        let mut frees = vec![[None; 2]];
        frees.extend((0..holds).map(|one| [Some(one), None]));
        let both = (0..holds).flat_map(|one| (one + 1..holds).map(move |two| (one, two)));
        frees.extend(both.map(|(one, two)| [Some(one), Some(two)]));
        for frees in frees {
            let count = u8::try_from(frees.iter().flatten().count()).expect("two");
            for allocates in 0..=most.saturating_sub(count) {
                if count <= most && left + count + allocates > 0 {
                    actions.push(Action::Serve(name, New { allocates, frees }));
                }
            }
        }
    }

    pub(super) fn offer_answers(
        &self,
        state: &State,
        name: u8,
        serving: &Serving,
        actions: &mut Vec<Action>,
    ) {
        for (which, request) in (0..).zip(serving.turn.requests()) {
            if serving.answers[usize::from(which)].is_some() {
                continue;
            }
            let by = self.answerers(state, &request);
            actions.extend(by.map(|by| Action::Answer(name, which, by)));
            if state.cuts > 0 {
                actions.push(Action::Cut(name, which));
            }
            if state.unknowns > 0 && matches!(request, Request::CompareAndSet { .. }) {
                let all = [Lost::Never, Lost::Applied, Lost::Later];
                actions.extend(all.map(|lost| Action::Lose(name, which, lost)));
            }
        }
        if state.deaths > 0 && serving.has_begun {
            actions.push(Action::Die(name));
        }
    }

    /// A transition in words.
    pub(super) fn told(&self, state: &State, action: Action) -> String {
        let request = |host: u8, which: u8| {
            let request = state.hosts[usize::from(host)].request(which);
            request.map_or_else(String::new, |request| world::tell(&request))
        };
        match action {
            Action::Serve(host, new) => format!(
                "{} begins a turn: {} allocates, frees of {:?} of {:?}, and what was left",
                name(host),
                new.allocates,
                new.frees,
                state.hosts[usize::from(host)].holds
            ),
            Action::Retry(host) => format!("{} frees again what was not finished", name(host)),
            Action::Answer(host, which, By::Map) => {
                format!("{}: {}", name(host), request(host, which))
            }
            Action::Answer(host, which, By::Memory) => {
                format!("{}: {}, from memory", name(host), request(host, which))
            }
            Action::Lose(host, which, lost) => {
                format!("{}: {}, answered Unknown: {lost:?}", name(host), request(host, which))
            }
            Action::Cut(host, which) => {
                format!("{}: {}, unreachable", name(host), request(host, which))
            }
            Action::Arrive(which) => {
                let late = &state.world.late[usize::from(which)];
                format!("what {} had sent to {} arrives", name(late.caller), late.place)
            }
            Action::Die(host) => format!("{} dies", name(host)),
            Action::Remember(cell) => {
                format!("the hosts remember {}", self.ground.place(usize::from(cell)))
            }
        }
    }
}
