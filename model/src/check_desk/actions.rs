//! The transitions of `check_desk`: what they are, when they are offered, and how they are told.

use cloakroom_pool::Request;

use super::host::{Host, Serving};
use super::{CheckDesk, State};
use crate::check_pool::{By, Lost};
use crate::world::{self, name};

/// One transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A host begins a turn with those calls that the last one has left, and these.
    Serve(u8, New),
    /// These calls join a host's turn.
    Join(u8, New, By),
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

impl New {
    fn count(self) -> u8 {
        self.allocates + u8::try_from(self.frees.iter().flatten().count()).expect("two")
    }
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
        let news = Self::news(host, most).into_iter();
        let news = news.filter(|new| left + new.count() > 0);
        actions.extend(news.map(|new| Action::Serve(name, new)));
    }

    /// What may join a host's turn.
    pub(super) fn offer_joins(&self, state: &State, name: u8, actions: &mut Vec<Action>) {
        let host = &state.hosts[usize::from(name)];
        let is_open = |serving: &Serving| serving.turn.is_open();
        if !self.bounds.joins || host.is_dead || !host.turn.as_ref().is_some_and(is_open) {
            return;
        }
        let news = Self::news(host, host.calls.min(self.bounds.together)).into_iter();
        let all = news.filter(|new| new.count() > 0);
        let all = all.flat_map(|new| [By::Map, By::Memory].map(|by| (new, by)));
        let could = |&(new, by): &(New, By)| {
            let memory = by == By::Map || self.bounds.memories > 0;
            memory && self.join(&mut state.clone(), name, new, by)
        };
        actions.extend(all.filter(could).map(|(new, by)| Action::Join(name, new, by)));
    }

    /// At most so many calls that may come to a host, none among them.
    fn news(host: &Host, most: u8) -> Vec<New> {
        let holds = u8::try_from(host.holds.len()).expect("few");
        let mut frees = vec![[None; 2]];
        frees.extend((0..holds).map(|one| [Some(one), None]));
        let both = (0..holds).flat_map(|one| (one + 1..holds).map(move |two| (one, two)));
        frees.extend(both.map(|(one, two)| [Some(one), Some(two)]));
        let new = |frees| (0..=most).map(move |allocates| New { allocates, frees });
        frees.into_iter().flat_map(new).filter(|new| new.count() <= most).collect()
    }

    pub(super) fn offer_answers(
        &self,
        state: &State,
        name: u8,
        serving: &Serving,
        actions: &mut Vec<Action>,
    ) {
        for (which, (request, answer)) in (0..).zip(serving.requests()) {
            if answer.is_some() {
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
            Action::Join(host, new, by) => format!(
                "{} allocates and frees of {:?} of {:?} join the turn of {}, by {by:?}",
                new.allocates,
                new.frees,
                state.hosts[usize::from(host)].holds,
                name(host)
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
