//! Two searches over one model, and what they must agree on.
//!
//! * **stateright** visits every reachable state and judges each. Its traps are fenced off here:
//!   always joined, no timeout, no target count or depth, no `eventually`, at least one `always`
//!   property left undiscovered unless something is wrong, the visited states counted exactly.
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
//! Symmetry is not used: callers differ by their tags, which stand in the map and, under the policy
//! *spread*, choose the slot.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use stateright::{Checker, Model, Property};

use crate::complaint::Complaint;

/// A finite system that can be explored.
pub trait Explore: Clone + Send + Sync + 'static {
    /// A state.
    type State: Clone + Debug + PartialEq + Eq + Hash + Send + Sync + 'static;
    /// A transition.
    type Action: Copy + Debug + PartialEq + Send + Sync + 'static;

    /// The properties that a state can break.
    const PROPERTIES: &'static [&'static str];
    /// What a cycle of states would break.
    const CYCLE: &'static str;

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
    fn objection(&self, state: &Self::State) -> Option<Complaint>;

    /// How many callers there are whose steps alone are counted.
    fn callers(&self) -> usize {
        0
    }
    /// How a caller with a call under way goes on when it is left alone.
    fn alone(&self, _state: &Self::State, _caller: usize) -> Option<Self::Action> {
        None
    }
    /// What is wrong with a call of this caller that took so many steps alone.
    fn took_alone(&self, _caller: usize, _steps: u64) -> Option<Complaint> {
        None
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
    /// A caller died.
    Died,
    /// A recovery freed something.
    Recovered,
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
        assert!(E::PROPERTIES.len() <= KEEPS, "at most {KEEPS} properties");
        let all = E::PROPERTIES.iter().zip(keeps::<E>());
        all.map(|(name, keeps)| Property::always(name, keeps)).collect()
    }
}

/// Whether a state keeps a property.
type Keeps<E> = fn(&Stateright<E>, &<E as Explore>::State) -> bool;

/// The most properties of a model.
const KEEPS: usize = 16;

/// For each number, whether a state keeps the property of that number: stateright takes functions
/// that know nothing but model and state.
fn keeps<E: Explore>() -> [Keeps<E>; KEEPS] {
    fn keep<E: Explore, const NUMBER: usize>(model: &Stateright<E>, state: &E::State) -> bool {
        let complaint = model.0.objection(state);
        complaint.is_none_or(|complaint| complaint.property != E::PROPERTIES[NUMBER])
    }
    [
        keep::<E, 0>,
        keep::<E, 1>,
        keep::<E, 2>,
        keep::<E, 3>,
        keep::<E, 4>,
        keep::<E, 5>,
        keep::<E, 6>,
        keep::<E, 7>,
        keep::<E, 8>,
        keep::<E, 9>,
        keep::<E, 10>,
        keep::<E, 11>,
        keep::<E, 12>,
        keep::<E, 13>,
        keep::<E, 14>,
        keep::<E, 15>,
    ]
}

/// Visits every state with stateright. Returns the number of unique states and the names of the
/// properties that do not hold.
pub fn with_stateright<E: Explore>(model: &E, threads: usize) -> (u64, Vec<&'static str>) {
    let checker = Stateright(model.clone()).checker().threads(threads).spawn_dfs().join();
    let mut broken: Vec<_> = checker.discoveries().into_keys().collect();
    broken.sort_unstable();
    (checker.unique_state_count() as u64, broken)
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

/// A hash that is a key already.
#[derive(Default)]
struct Keyed(u64);

impl Hasher for Keyed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only 64-bit keys are hashed")
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
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
    search.found.depth = search.depth.first().copied().map_or(0, u32::from);
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
            Some(_) => self.object(stack, E::CYCLE.into()),
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
            if let Some(complaint) = self.model.took_alone(caller, steps.into()) {
                self.object(stack, complaint.to_string());
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

/// A 64-bit hash: for each word one multiplication, and SplitMix64's finish; stateright uses another.
pub(crate) struct Folded(u64);

impl Default for Folded {
    fn default() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }
}

impl Folded {
    fn fold(&mut self, word: u64) {
        // For each word a permutation of all 64-bit numbers: what differs stays different until a
        // word differs again.
        let mixed = (self.0 ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        let mixed = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.fold(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.fold(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }
}

fn key(state: &impl Hash) -> u64 {
    let mut hasher = Folded::default();
    state.hash(&mut hasher);
    hasher.finish()
}
