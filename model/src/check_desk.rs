//! `check_desk`: hosts that have many callers each, and serve their calls together, turn by turn.
//!
//! A few hosts with a few calls each over a small tree. One transition is one map operation of one host, or
//! the loss of its answer, or a death. The requests of a batch are under way all at once, and so are batches:
//! they are carried out in any order, and whatever others do comes between them. Which calls make a turn, allocates and frees
//! of what the host's callers hold, is left open, and so is whether new ones come to those that a turn has
//! left, and whether others join it under way, by what is in the map then or what the hosts remember. A
//! call begins with the next map operation of its turn, and returns when the turn tells its end: longer calls
//! would only make POOL-3 easier to keep.
//!
//! The machine is the real [`Turn`], with the real plans and machines inside. The hosts share one memory,
//! which is as bad as that of `check_pool`. A host that dies has all its calls die, calls their frees again,
//! and nothing else.
//!
//! Upholds by judging every state and transition: POOL-1 to POOL-7 here, of POOL-5 only that a call whose
//! write has an unknown outcome has a definite answer as long as the map answers; the rest is in
//! [`search`](crate::search).

mod actions;
mod host;
mod judge;

use cloakroom_pool::{
    Place, Policy, PoolId, Request, Response, Shape, Tag, Tree, Turn, Version, Want,
};
use cloakroom_specs::pool::{self as spec, Objection};

use crate::check_pool::{By, Lost};
use crate::judge::Seen;
use crate::search::{Event, Explore};
use crate::world::{self, Ground, Late, Origin, Ranks, World, tag};

pub use actions::{Action, New};
use host::{Asked, Call, Host, Serving};

/// What is explored: the bounds of one check.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Ids in the pool.
    pub size: u64,
    /// Children to a node, slots to a block.
    pub shape: (u16, u16),
    /// Which free id is preferred.
    pub policy: Policy,
    /// How many calls come to each host.
    pub calls: &'static [u8],
    /// The most calls of a turn: 1 or 2.
    pub together: u8,
    /// How many hosts may die.
    pub deaths: u8,
    /// How many answers of a compare-and-set may be lost.
    pub unknowns: u8,
    /// How many requests may find the map unreachable.
    pub cuts: u8,
    /// How many values of places the hosts come to remember, each at any moment.
    pub memories: u8,
    /// Whether calls join turns under way.
    pub joins: bool,
}

/// The model.
#[derive(Clone, Debug)]
pub struct CheckDesk {
    bounds: Bounds,
    ground: Ground,
    /// `tags[host][number]`.
    tags: Vec<Vec<Tag>>,
}

/// A state of the whole system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    world: World,
    hosts: Vec<Host>,
    deaths: u8,
    unknowns: u8,
    cuts: u8,
    memories: u8,
    /// For each id: the host whose clear emptied its slot, until that free has returned.
    freeing: Vec<Option<u8>>,
    objection: Option<Objection>,
}

impl CheckDesk {
    /// The model within these bounds.
    ///
    /// # Panics
    /// When the bounds are no pool: they are written in this crate.
    pub fn new(bounds: Bounds) -> Self {
        assert!((1..=2).contains(&bounds.together), "expected turns of 1 or 2 calls");
        let shape = Shape::new(bounds.shape.0, bounds.shape.1).expect("a shape");
        let tree = Tree::new(PoolId(0), bounds.size, shape).expect("a size");
        let tags = bounds.calls.iter().enumerate();
        let tags = tags.map(|(host, &calls)| (0..=calls).map(|n| tag(host, n)).collect());
        Self { bounds, tags: tags.collect(), ground: Ground::new(tree) }
    }

    fn tag(&self, host: u8, number: u8) -> &Tag {
        &self.tags[usize::from(host)][usize::from(number)]
    }

    fn want(&self, host: u8, call: Call) -> Want {
        match call {
            Call::Allocate { tag, .. } => Want::Allocate(self.tag(host, tag).clone()),
            Call::Free { pair, .. } => Want::Free(pair.id, self.tag(host, pair.tag).clone()),
        }
    }

    fn begin(&self, state: &mut State, host: u8) {
        let own = &state.hosts[usize::from(host)];
        let wants = own.serves.iter().map(|&call| self.want(host, call)).collect();
        let turn = Turn::new(self.ground.tree, self.bounds.policy, wants);
        let (numbers, came) = ((0..own.serves.len()).collect(), own.serves.len());
        let (asked, has_allocated, has_begun) = (Vec::new(), false, false);
        let mut serving = Serving { turn, numbers, came, has_allocated, asked, has_begun };
        serving.ask();
        state.hosts[usize::from(host)].turn = Some(serving);
    }

    fn serve(&self, state: &mut State, host: u8, new: New) {
        state.hosts[usize::from(host)].come(new);
        self.begin(state, host);
    }

    /// Calls join the turn of a host; whether all of them could. `by` memory: where there is one.
    fn join(&self, state: &mut State, host: u8, new: New, by: By) -> bool {
        let own = &mut state.hosts[usize::from(host)];
        let Some(mut serving) = own.turn.take() else { return false };
        let before = own.serves.len();
        own.come(new);
        let wants = own.serves[before..].iter().map(|&call| self.want(host, call)).collect();
        let remembered = |place: Place| {
            let memory = self.ground.recall(&state.world, place).filter(|_| by == By::Memory);
            Some(memory.or_else(|| self.ground.read(&state.world, place)))
        };
        let joined = serving.turn.join(wants, &remembered);
        serving.numbers.extend(serving.came..serving.came + joined.len());
        serving.came += joined.len();
        serving.ask();
        state.hosts[usize::from(host)].turn = Some(serving);
        joined.iter().all(|joined| *joined)
    }

    /// Request number `which` of a host is answered, by the map unless `response` is there.
    fn answer(
        &self,
        state: &mut State,
        host: u8,
        which: u8,
        response: Option<Response>,
    ) -> Option<Event> {
        let request = state.hosts[usize::from(host)].request(which)?;
        let before = self.ground.plain_slots(&state.world);
        let is_carried_out = response.is_none();
        let response = response.unwrap_or_else(|| self.ground.perform(&mut state.world, &request));
        let changed = self.wrote(state, &before, host, false);
        let event = match &response {
            Response::Mismatch(_) => Some(Event::Mismatch),
            Response::Recalled(_) => Some(Event::Recalled),
            Response::Set if is_carried_out && changed > 1 => Some(Event::Together),
            _ => None,
        };
        let own = &mut state.hosts[usize::from(host)];
        for call in &mut own.serves {
            if let Call::Allocate { is_new, .. } = call {
                *is_new = false;
            }
        }
        let serving = own.turn.as_mut()?;
        serving.has_begun = true;
        *serving.asked.iter_mut().flat_map(|asked| &mut asked.answers).nth(which.into())? =
            Some(response);
        self.note_moment(state);
        // The rarer one is the one to be seen.
        self.go_on(state, host).max(event)
    }

    /// The turn goes on, if all requests of a batch are answered.
    fn go_on(&self, state: &mut State, host: u8) -> Option<Event> {
        let own = &mut state.hosts[usize::from(host)];
        let serving = own.turn.as_mut()?;
        let is_answered = |asked: &Asked| asked.answers.iter().all(Option::is_some);
        let at = serving.asked.iter().position(is_answered)?;
        let mut serving = own.turn.take()?;
        let Asked { batch, answers } = serving.asked.remove(at);
        serving.turn.answer(batch, answers.into_iter().flatten().collect());
        serving.ask();
        let event = self.ended(state, host, &mut serving);
        if !serving.asked.is_empty() {
            state.hosts[usize::from(host)].turn = Some(serving);
        }
        event
    }

    fn lose(&self, state: &mut State, host: u8, which: u8, lost: Lost) -> Option<Event> {
        let Request::CompareAndSet { place, expected, new } =
            state.hosts[usize::from(host)].request(which)?
        else {
            return None;
        };
        let before = self.ground.plain_slots(&state.world);
        for call in &mut state.hosts[usize::from(host)].serves {
            if let Call::Free { pair, seen } = call {
                let (block, _) = self.ground.tree.slot(pair.id)?;
                seen.doubt |= block == place;
            }
        }
        match lost {
            Lost::Never => {}
            Lost::Applied => {
                let world = &mut state.world;
                self.ground.compare_and_set(world, place, expected.as_ref(), &new);
                self.wrote(state, &before, host, false);
            }
            Lost::Later => {
                let origin = Origin::Past;
                state.world.late.push(Late { caller: host, place, expected, new, origin });
            }
        }
        self.answer(state, host, which, Some(Response::Unknown))
    }

    fn arrive(&self, state: &mut State, which: u8) -> Event {
        let late = state.world.late.remove(usize::from(which));
        let before = self.ground.plain_slots(&state.world);
        let expected = late.expected.as_ref();
        let done = self.ground.compare_and_set(&mut state.world, late.place, expected, &late.new);
        self.wrote(state, &before, late.caller, true);
        self.note_moment(state);
        if done { Event::LateApplied } else { Event::LateRefused }
    }

    fn die(state: &mut State, host: u8) {
        let own = &mut state.hosts[usize::from(host)];
        own.is_dead = true;
        own.has_left_counts = own.turn.take().is_some_and(|serving| serving.has_allocated);
        for call in std::mem::take(&mut own.serves) {
            own.lost(call);
        }
    }

    fn act(&self, state: &mut State, action: Action) -> Option<Event> {
        match action {
            Action::Serve(host, new) => {
                self.serve(state, host, new);
                None
            }
            Action::Join(host, new, by) => {
                self.join(state, host, new, by);
                Some(Event::Joined)
            }
            Action::Retry(host) => {
                let own = &mut state.hosts[usize::from(host)];
                let again = std::mem::take(&mut own.unfinished).into_iter();
                own.serves.extend(again.map(|pair| Call::Free { pair, seen: Seen::default() }));
                self.begin(state, host);
                None
            }
            Action::Answer(host, which, By::Map) => self.answer(state, host, which, None),
            Action::Answer(host, which, By::Memory) => {
                let Request::Recall(place) = state.hosts[usize::from(host)].request(which)? else {
                    return None;
                };
                let value = self.ground.recall(&state.world, place)?;
                self.answer(state, host, which, Some(Response::Recalled(value)))
            }
            Action::Lose(host, which, lost) => {
                state.unknowns -= 1;
                self.lose(state, host, which, lost)
            }
            Action::Cut(host, which) => {
                state.cuts -= 1;
                self.answer(state, host, which, Some(Response::Unavailable))
            }
            Action::Arrive(which) => Some(self.arrive(state, which)),
            Action::Die(host) => {
                state.deaths -= 1;
                Self::die(state, host);
                Some(Event::Died)
            }
            Action::Remember(cell) => {
                state.memories -= 1;
                self.ground.remember(&mut state.world, usize::from(cell));
                None
            }
        }
    }
}

impl Explore for CheckDesk {
    type State = State;
    type Action = Action;
    type Objection = Objection;
    const PROPERTIES: &'static [(&'static str, u8)] = &[
        ("POOL-1", 1),
        ("POOL-2", 2),
        ("POOL-3", 3),
        ("POOL-4", 4),
        ("POOL-5", 5),
        ("POOL-6", 6),
        ("POOL-7", 7),
    ];
    const CYCLE: Option<&'static str> = Some("POOL-5: a cycle on which no call returns");

    fn start(&self) -> State {
        let host = |&calls| Host {
            calls,
            holds: Vec::new(),
            unfinished: Vec::new(),
            doubted: Vec::new(),
            is_dead: false,
            has_left_counts: false,
            serves: Vec::new(),
            turn: None,
        };
        State {
            world: self.ground.empty(),
            hosts: self.bounds.calls.iter().map(host).collect(),
            deaths: self.bounds.deaths,
            unknowns: self.bounds.unknowns,
            cuts: self.bounds.cuts,
            memories: self.bounds.memories,
            freeing: vec![None; usize::try_from(self.bounds.size).expect("small")],
            objection: None,
        }
    }

    fn offers(&self, state: &State, actions: &mut Vec<Action>) {
        // What went wrong is kept, not gone on from: the shortest trace ends there.
        if state.objection.is_some() {
            return;
        }
        for (name, host) in (0..).zip(&state.hosts) {
            match &host.turn {
                Some(serving) => {
                    self.offer_answers(state, name, serving, actions);
                    self.offer_joins(state, name, actions);
                }
                None if !host.unfinished.is_empty() => actions.push(Action::Retry(name)),
                None if !host.is_dead => self.offer_turns(name, host, actions),
                None => {}
            }
        }
        let late = 0..u8::try_from(state.world.late.len()).expect("few");
        actions.extend(late.map(Action::Arrive));
        if state.memories > 0 {
            let news = |cell: &usize| {
                let mut world = state.world.clone();
                self.ground.remember(&mut world, *cell)
            };
            let cells = (0..self.ground.places()).filter(news);
            actions.extend(cells.map(|cell| Action::Remember(u8::try_from(cell).expect("few"))));
        }
    }

    fn follow(&self, before: &State, action: Action) -> Option<(State, Option<Event>)> {
        let mut state = before.clone();
        let event = self.act(&mut state, action);
        self.judge(&mut state);
        let State { world, hosts, .. } = &mut state;
        let mut memory = |visit: &mut dyn FnMut(Place, &mut Version)| {
            for host in hosts.iter_mut() {
                if let Some(Serving { turn, asked, .. }) = &mut host.turn {
                    for Asked { batch, answers } in asked {
                        for (request, answer) in turn.requests(*batch).iter().zip(answers) {
                            world::visit_answer(request, answer, visit);
                        }
                    }
                    turn.versions(visit);
                }
            }
        };
        Ranks::renumber(&self.ground, world, &mut memory);
        Some((state, event))
    }

    fn tell(&self, state: &State, action: Action) -> String {
        self.told(state, action)
    }

    fn objection(&self, state: &State) -> Option<Objection> {
        state.objection
    }

    fn callers(&self) -> usize {
        self.bounds.calls.len()
    }

    fn alone(&self, state: &State, caller: usize) -> Option<Action> {
        let (own, host) = (&state.hosts[caller], u8::try_from(caller).expect("few"));
        if state.objection.is_some() {
            return None;
        }
        let Some(serving) = &own.turn else {
            let nothing_new = Action::Serve(host, New { allocates: 0, frees: [None; 2] });
            return (!own.serves.is_empty()).then_some(nothing_new);
        };
        let (which, (request, _)) =
            serving.requests().enumerate().find(|(_, (_, answer))| answer.is_none())?;
        // From memory wherever that is possible: the worst that can be.
        let by = self.answerers(state, &request).last()?;
        Some(Action::Answer(host, u8::try_from(which).expect("few"), by))
    }

    fn solo_bound(&self, _caller: usize) -> u64 {
        // Each other host may have stopped, and each cut and unknown stopped something.
        let Bounds { cuts, unknowns, together, .. } = self.bounds;
        let others = self.callers() as u64 - 1 + u64::from(cuts) + u64::from(unknowns);
        let height = u64::from(self.ground.tree.height());
        let together = u64::from(together);
        // A turn looks at each place, writes each, and refreshes the edges above each; then it calls, and does
        // what is in doubt once more. Each call that a turn leaves takes another one.
        let places = self.ground.places() as u64;
        let turn = 2 * places * (2 + 3 * height * (others + 1));
        together * (1 + turn + together * spec::solo_bound(height, others))
    }
}
