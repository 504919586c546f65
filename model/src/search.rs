//! Two searches over one model, and what they must agree on.
//!
//! * **stateright** visits every reachable state and judges each, behind the door that fences its traps
//!   off (`joined.rs`), and by `always` properties, of which at least one is left undiscovered unless
//!   something is wrong: so it goes on to the end.
//! * **Our own search** visits every reachable state once more, depth first, with other hashes. It
//!   finds cycles (a caller could run for ever without a call returning), the longest run, and for
//!   every state and caller how many steps the caller takes when it runs alone: POOL-5, which rests
//!   on this search alone. Its bound catches calls that do not end; how tight they are is held by
//!   the pinned number of steps.
//!
//! Both count unique states; the counts must be equal, and are pinned where the checks are listed.
//! States are told apart by 64-bit hashes, different ones in the two searches: both would
//! have to lose equally many states.
//!
//! Neither search knows of symmetry. Where it is used, in `check_views`, a state writes itself down in a
//! canonical way (`check_views/symmetry.rs`), and both searches tell states apart by that. The pool's callers
//! could be permuted as well while they have equal scripts and the policy is *lowest first*: there tags are
//! only compared for equality. (Under *spread* a tag's hash chooses the slot, and callers differ.) It is left
//! out, so that what both searches count, and Spin beside them, are plain states.

mod hash;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::{Debug, Display};
use std::hash::{BuildHasherDefault, Hash};

use cloakroom_specs::{kademlia, pool as spec, register};
use stateright::{Model, Property};

pub(crate) use hash::Folded;
use hash::{Keyed, key};

use crate::joined::{Order, joined};

/// A finite system that can be explored.
pub trait Explore: Clone + Send + Sync + 'static {
    /// A state.
    type State: Clone + Debug + PartialEq + Eq + Hash + Send + Sync + 'static;
    /// A transition.
    type Action: Copy + Debug + PartialEq + Send + Sync + 'static;
    /// What can be wrong with a state.
    type Objection: Objection;
    /// The properties that are judged: names, and the numbers that objections have, from 1 on.
    const PROPERTIES: &'static [(&'static str, u8)];
    /// What a cycle of states breaks; `None` where the system may go round for ever.
    const CYCLE: Option<&'static str>;

    /// Where it begins.
    fn start(&self) -> Self::State;
    /// What can happen next.
    fn offers(&self, state: &Self::State, actions: &mut Vec<Self::Action>);
    /// What follows, and what a witness would call it; `None` when the action changes nothing, and is
    /// no transition.
    fn follow(
        &self,
        state: &Self::State,
        action: Self::Action,
    ) -> Option<(Self::State, Option<Event>)>;
    /// The transition in words, for counterexamples.
    fn tell(&self, state: &Self::State, action: Self::Action) -> String;
    /// What is wrong with a state.
    fn objection(&self, state: &Self::State) -> Option<Self::Objection>;
    /// How many callers there are.
    fn callers(&self) -> usize {
        0
    }
    /// How a caller with a call under way goes on when it is left alone.
    fn alone(&self, _state: &Self::State, _caller: usize) -> Option<Self::Action> {
        None
    }
    /// The most steps that a call of this caller may take alone.
    fn solo_bound(&self, _caller: usize) -> u64 {
        0
    }
}

/// The properties of registers that a state can break. REG-14 is none of them: it is that they hold whoever
/// is asked, so what shows it is that messages stray, in `check_views`.
pub const REGISTERS: [(&str, u8); 13] = [
    ("REG-1", 1),
    ("REG-2", 2),
    ("REG-3", 3),
    ("REG-4", 4),
    ("REG-5", 5),
    ("REG-6", 6),
    ("REG-7", 7),
    ("REG-8", 8),
    ("REG-9", 9),
    ("REG-10", 10),
    ("REG-11", 11),
    ("REG-12", 12),
    ("REG-13", 13),
];

/// What is wrong, with the number of the property that it breaks.
pub trait Objection: Copy + Display {
    /// The property's number.
    fn property(&self) -> u8;
}

impl Objection for spec::Objection {
    fn property(&self) -> u8 {
        self.property
    }
}

impl Objection for kademlia::Objection {
    fn property(&self) -> u8 {
        self.property
    }
}

impl Objection for register::Objection {
    fn property(&self) -> u8 {
        self.property
    }
}

/// What a witness may have seen on the way. A check that never saw what it is about shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// An allocate returned an id.
    Allocated,
    /// An allocate returned Full.
    Full,
    /// An allocate returned that the map is unreachable.
    Unreachable,
    /// An allocate returned that its outcome is unknown.
    Unknown,
    /// A free returned Freed.
    Freed,
    /// A free returned AlreadyFree.
    AlreadyFree,
    /// A free returned NotOwner.
    NotOwner,
    /// A free returned that it is not finished.
    Unfinished,
    /// An allocate began to help.
    Help,
    /// A compare-and-set met another value.
    Mismatch,
    /// A late compare-and-set was applied.
    LateApplied,
    /// A late compare-and-set found another value.
    LateRefused,
    /// A request was answered from a host's memory.
    Recalled,
    /// One write of a block served several calls.
    Together,
    /// Calls joined a turn under way.
    Joined,
    /// A call was left to its host's next turn.
    Later,
    /// A free whose write had an unknown outcome, together with others, returned Freed.
    Settled,
    /// An operation on a register was tried again by the map.
    TriedAgain,
    /// An attempt was answered and still tells nothing: its register has gone on by two versions.
    Overtaken,
    /// A caller died.
    Died,
    /// A recovery freed something.
    Recovered,
    /// A contact got a place in the table.
    Added,
    /// A contact waits for room.
    Waits,
    /// A contact got no place because of its subnet.
    Crowded,
    /// A dead contact's place went to one that waited.
    Promoted,
    /// A sender is to be pinged, because it may get a place.
    Greeted,
    /// A message was lost.
    Lost,
    /// A request takes long.
    Slow,
    /// A lookup has ended.
    Ended,
    /// A get returned what a register holds.
    Got,
    /// A compare-and-set of a register returned that it is done.
    Set,
    /// A compare-and-set of a register returned that it failed.
    Missed,
    /// An operation on a register returned that it was not and will not be done.
    Unavailable,
    /// A coordinator began another round.
    Retried,
    /// A tombstone was dropped.
    Collected,
    /// A view was decided.
    Decided,
    /// A member of a view was sealed.
    Sealed,
    /// A member of a view became active.
    Activated,
    /// A member of a view dropped its snapshot.
    Retired,
    /// A member voted.
    Voted,
}

/// What a step that changes something is called, if it has a name.
pub(crate) struct Named(pub(crate) Option<Event>);

/// What both searches found.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Unique states.
    pub states: u64,
    /// Transitions.
    pub transitions: u64,
    /// Steps of the longest run.
    pub depth: u32,
    /// The most steps that a call took alone, from any state.
    pub solo: u32,
    /// How often each event was seen, once for each transition.
    pub events: BTreeMap<Event, u64>,
    /// What is wrong, if anything.
    pub wrong: Option<Wrong>,
}

/// A counterexample.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// What is wrong at its end.
    pub what: String,
    /// Its steps, one a line.
    pub trace: Vec<String>,
}

/// stateright's view of a model.
#[derive(Clone, Debug)]
pub struct Stateright<E>(pub E);

impl<E: Explore> Model for Stateright<E> {
    type State = E::State;
    type Action = E::Action;

    fn init_states(&self) -> Vec<Self::State> {
        vec![self.0.start()]
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>) {
        self.0.offers(state, actions);
    }

    fn next_state(&self, state: &Self::State, action: Self::Action) -> Option<Self::State> {
        Some(self.0.follow(state, action)?.0)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let property = |&(name, number): &(&'static str, u8)| {
            Property::always(name, keeps::<E>(usize::from(number)))
        };
        E::PROPERTIES.iter().map(property).collect()
    }
}

/// Judges one property. A function for each number, since stateright takes no closures.
fn keeps<E: Explore>(number: usize) -> fn(&Stateright<E>, &E::State) -> bool {
    fn keeps<E: Explore, const N: u8>(model: &Stateright<E>, state: &E::State) -> bool {
        model.0.objection(state).is_none_or(|objection| objection.property() != N)
    }
    let all = [
        keeps::<E, 1>,
        keeps::<E, 2>,
        keeps::<E, 3>,
        keeps::<E, 4>,
        keeps::<E, 5>,
        keeps::<E, 6>,
        keeps::<E, 7>,
        keeps::<E, 8>,
        keeps::<E, 9>,
        keeps::<E, 10>,
        keeps::<E, 11>,
        keeps::<E, 12>,
        keeps::<E, 13>,
    ];
    all[number - 1]
}

/// Visits every state with stateright. Returns the number of unique states and the names of the
/// properties that do not hold.
pub fn with_stateright<E: Explore>(model: &E) -> (u64, Vec<&'static str>) {
    let visited = joined(Stateright(model.clone()), Order::DepthFirst);
    let mut broken: Vec<_> = visited.discoveries.into_keys().collect();
    broken.sort_unstable();
    (visited.states, broken)
}

/// The shortest counterexample, and how many unique states were seen until it was found. Breadth
/// first and of our own, since stateright goes on to the end of a block of states after a discovery,
/// and keeps the last.
///
/// # Panics
/// When a model does not follow an action twice in the same way.
pub fn shortest<E: Explore>(model: &E) -> Option<(Wrong, u64)> {
    let start = model.start();
    let mut seen = HashSet::<u64, BuildHasherDefault<Keyed>>::default();
    seen.insert(key(&start));
    // By number of arrival: where a state came from, and by which action.
    let mut came: Vec<(usize, Option<E::Action>)> = vec![(0, None)];
    let mut waiting = VecDeque::from([(0, start)]);
    let mut actions = Vec::new();
    while let Some((number, state)) = waiting.pop_front() {
        if let Some(objection) = model.objection(&state) {
            let mut path = Vec::new();
            let mut at = number;
            while let (from, Some(action)) = came[at] {
                path.push(action);
                at = from;
            }
            path.reverse();
            let mut state = model.start();
            let mut trace = Vec::new();
            for action in path {
                trace.push(model.tell(&state, action));
                state = model.follow(&state, action).expect("it was followed before").0;
            }
            return Some((Wrong { what: objection.to_string(), trace }, seen.len() as u64));
        }
        model.offers(&state, &mut actions);
        for action in actions.drain(..) {
            let Some((next, _)) = model.follow(&state, action) else { continue };
            if seen.insert(key(&next)) {
                waiting.push_back((came.len(), next));
                came.push((number, Some(action)));
            }
        }
    }
    None
}

/// Keeps the first objection.
pub fn object<O>(objection: &mut Option<O>, judged: Result<(), O>) {
    if let Err(found) = judged {
        objection.get_or_insert(found);
    }
}

/// Our own depth-first search.
struct Search<'a, E: Explore> {
    model: &'a E,
    visited: HashMap<u64, u32, BuildHasherDefault<Keyed>>,
    /// For each state: steps of the longest run from it that was seen so far.
    depth: Vec<u16>,
    /// For each state: whether all that follows it has been visited.
    closed: Vec<bool>,
    /// For each state and caller: steps alone until its call returns.
    solo: Vec<u16>,
    found: Explored,
}

struct Frame<E: Explore> {
    state: E::State,
    number: u32,
    /// How each caller with a call under way would go on alone.
    alone: Vec<Option<E::Action>>,
    actions: Vec<E::Action>,
    next: usize,
}

/// Visits every state with our own search, which ends at the first thing that is wrong.
/// `progress` is called now and then with the number of states.
pub fn with_our_own<E: Explore>(model: &E, mut progress: impl FnMut(u64)) -> Explored {
    let found = Explored {
        states: 0,
        transitions: 0,
        depth: 0,
        solo: 0,
        events: BTreeMap::new(),
        wrong: None,
    };
    let mut search = Search {
        model,
        visited: HashMap::default(),
        depth: Vec::new(),
        closed: Vec::new(),
        solo: Vec::new(),
        found,
    };
    let mut stack = Vec::new();
    search.open(&mut stack, model.start());
    while search.found.wrong.is_none() && search.advance(&mut stack) {
        if search.found.states.is_multiple_of(1 << 16) {
            progress(search.found.states);
        }
    }
    // Where runs may go round there is no longest one.
    let longest = search.depth.first().filter(|_| E::CYCLE.is_some());
    search.found.depth = longest.copied().map_or(0, u32::from);
    search.found
}

impl<E: Explore> Search<'_, E> {
    /// A state seen for the first time.
    fn open(&mut self, stack: &mut Vec<Frame<E>>, state: E::State) {
        let number = u32::try_from(self.depth.len()).expect("fewer than 2^32 states");
        self.visited.insert(key(&state), number);
        self.depth.push(0);
        self.closed.push(false);
        self.solo.resize(self.solo.len() + self.model.callers(), 0);
        self.found.states += 1;
        if let Some(objection) = self.model.objection(&state) {
            self.object(stack, objection.to_string());
        }
        let mut actions = Vec::new();
        self.model.offers(&state, &mut actions);
        let alone = self.alone(&state);
        stack.push(Frame { state, number, alone, actions, next: 0 });
    }

    fn alone(&self, state: &E::State) -> Vec<Option<E::Action>> {
        (0..self.model.callers()).map(|caller| self.model.alone(state, caller)).collect()
    }

    /// Follows the next action of the topmost state, or closes it; whether there is more to do.
    fn advance(&mut self, stack: &mut Vec<Frame<E>>) -> bool {
        let Some(top) = stack.last_mut() else { return false };
        let Some(&action) = top.actions.get(top.next) else {
            let closed = stack.pop().expect("the topmost");
            self.closed[closed.number as usize] = true;
            self.edge(stack, &closed.alone, closed.number);
            return true;
        };
        top.next += 1;
        let Some((state, event)) = self.model.follow(&top.state, action) else { return true };
        self.found.transitions += 1;
        if let Some(event) = event {
            *self.found.events.entry(event).or_default() += 1;
        }
        match self.visited.get(&key(&state)) {
            None => self.open(stack, state),
            Some(&number) if self.closed[number as usize] => {
                let alone = self.alone(&state);
                self.edge(stack, &alone, number);
            }
            // Every returned call uses up one of finitely many, so none returns on a cycle.
            Some(_) => {
                if let Some(what) = E::CYCLE {
                    self.object(stack, what.into());
                }
            }
        }
        true
    }

    /// The topmost state's last action led to a state that has been visited with all that follows
    /// it, where the callers would go on by `goes`.
    fn edge(&mut self, stack: &[Frame<E>], goes: &[Option<E::Action>], number: u32) {
        let Some(from) = stack.last() else { return };
        let depth = self.depth[number as usize].saturating_add(1);
        let above = &mut self.depth[from.number as usize];
        *above = depth.max(*above);
        self.count_alone(stack, from, goes, number);
    }

    /// POOL-5: counts the steps of callers that go on alone by this action, or begin with it.
    fn count_alone(
        &mut self,
        stack: &[Frame<E>],
        from: &Frame<E>,
        goes: &[Option<E::Action>],
        number: u32,
    ) {
        let callers = goes.len();
        let action = from.actions[from.next - 1];
        for (caller, (went, goes)) in from.alone.iter().zip(goes).enumerate() {
            let after =
                if goes.is_some() { self.solo[number as usize * callers + caller] } else { 0 };
            let steps = after + 1;
            match (went, goes) {
                (Some(step), _) if *step == action => {
                    self.solo[from.number as usize * callers + caller] = steps;
                }
                (None, Some(_)) => {}
                _ => continue,
            }
            self.found.solo = self.found.solo.max(u32::from(steps));
            let bound = self.model.solo_bound(caller);
            if let Err(objection) = spec::returns_alone(steps.into(), bound) {
                self.object(stack, objection.to_string());
            }
        }
    }

    fn object(&mut self, stack: &[Frame<E>], what: String) {
        let trace = stack.iter().filter_map(|frame| {
            let action = frame.actions.get(frame.next.wrapping_sub(1))?;
            Some(self.model.tell(&frame.state, *action))
        });
        let trace = trace.collect();
        self.found.wrong.get_or_insert(Wrong { what, trace });
    }
}
