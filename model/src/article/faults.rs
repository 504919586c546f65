//! The four faults: their bounds, the state that shows each, what follows from it, and why.
//!
//! Invariants:
//! * a state shows a fault by a predicate of `cloakroom-specs` where there is one;
//! * what follows is run on the same machines, never asserted.
//!
//! What is broken:
//! * POOL-4 when a count is wrong though all have returned, and by it POOL-3, a false `Full`;
//! * POOL-5 when an allocate that runs alone does not return;
//! * POOL-7 when one allocate takes two ids, and its caller can never free the second.

use cloakroom_specs::pool::{self, Oracle};

use super::event::{Event, What};
use super::machine::{Algorithm, Answer, Call, Caller, Tag};
use super::search::{explore, shortest};
use super::trace::{Part, Step, Trace};
use super::world::{Action, Happens, Setting, World};

/// A fault of the published algorithm, or of an attempt to repair it.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name on the command line, and the name of its trace file.
    pub name: &'static str,
    /// Its name in words.
    pub title: &'static str,
    /// The property that it breaks.
    pub property: &'static str,
    /// The bounds of its search.
    pub bounds: &'static str,
    /// What the last state of the trace must show.
    pub shows: &'static str,
    /// Why it comes to this.
    pub why: &'static str,
    /// What takes its cause away, in [`Fault::control`].
    pub cure: &'static str,
    pub(super) kind: Kind,
    pub(super) setting: Setting,
    pub(super) cured: Setting,
}

/// What [`Fault::search`] found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Unique states that the search had seen when it came to the fault.
    pub states: u64,
    /// Steps of the shortest trace; of a cycle, the stem and one round. A step is the start of a
    /// call, one operation on the map, a return, a death, or an operation of unknown outcome
    /// taking effect.
    pub depth: usize,
    /// The trace.
    pub trace: Trace,
}

/// What [`Fault::control`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Unique states: all there are within the bounds, if the fault was not shown.
    pub states: u64,
    /// Whether the fault was shown all the same.
    pub shown: bool,
}

/// Which state shows the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    LostCapacity,
    LiveLock,
    Phantom,
}

/// The published algorithm in the smallest tree, without a crash.
const SMALL: Setting = Setting {
    algorithm: Algorithm::Published,
    size: 2,
    callers: 2,
    calls: 2,
    deaths: 0,
    unknowns: 0,
};
const WITH_A_DEATH: Setting = Setting { size: 4, deaths: 1, ..SMALL };

/// The faults, in the order of the specification.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "lost-capacity",
        title: "Capacity is lost, though nobody crashed",
        property: "POOL-4",
        bounds: "N = 2, 2 callers, 2 calls each, no crash",
        shows: "every call has returned, an id is free, and the root says that none is",
        why: "A count is compared by its value. Between the reading and the swap of one caller \
              another one came by, saw that the sum was what the node already said, and swapped \
              it for itself; the first caller cannot see that, and writes a sum that is out of \
              date.",
        cure: "a node has a version, which a swap compares and raises",
        kind: Kind::LostCapacity,
        setting: SMALL,
        cured: Setting { algorithm: Algorithm::Versions, ..SMALL },
    },
    Fault {
        name: "live-lock",
        title: "One death between leaf and root, and allocate runs in a circle for ever",
        property: "POOL-5",
        bounds: "N = 4, 2 callers, 2 calls each, 1 crash",
        shows: "ids are free, and an allocate that runs alone comes back to where it was",
        why: "The dead caller wrote its leaf and not the nodes above it. They promise a free leaf \
              where there is none, every descent follows them, and nobody who fails there puts \
              them right.",
        cure: "whoever fails to put walks up from that leaf before it starts again",
        kind: Kind::LiveLock,
        setting: WITH_A_DEATH,
        cured: Setting { algorithm: Algorithm::Helps, ..WITH_A_DEATH },
    },
    Fault {
        name: "helper-that-skips",
        title: "With versions and help, capacity is lost again when a walk skips a right count",
        property: "POOL-4",
        bounds: "N = 2, 2 callers, 2 calls each, no crash",
        shows: "every call has returned, an id is free, and the root says that none is",
        why: "A walk that finds the count right leaves the node's version as it was. A swap that \
              was prepared before it, with a sum that is out of date, still finds the version \
              that it expects. The write that seems to change nothing is what stops the others.",
        cure: "a walk swaps at every node, also where the count is right",
        kind: Kind::LostCapacity,
        setting: Setting { algorithm: Algorithm::HelperThatSkips, ..SMALL },
        cured: Setting { algorithm: Algorithm::HelperThatWrites, ..SMALL },
    },
    Fault {
        name: "phantom",
        title: "A put of unknown outcome takes a second leaf behind its caller's back",
        property: "POOL-7",
        bounds: "N = 2, 2 callers, 2 calls each, no crash, 1 put of unknown outcome",
        shows: "every call has returned, and two leaves hold a tag that was answered one id",
        why: "The allocate read its leaf back, did not find its tag, and went on to another. Not \
              there did not mean never there: the put arrived later, found the leaf as empty as \
              it expected, and nothing in an empty leaf could tell it that it came too late.",
        cure: "every put is answered",
        kind: Kind::Phantom,
        setting: Setting { algorithm: Algorithm::ReadsBack, unknowns: 1, ..SMALL },
        cured: Setting { algorithm: Algorithm::ReadsBack, ..SMALL },
    },
];

impl Fault {
    /// Searches every interleaving within the bounds, breadth first on one thread, for the
    /// shortest way to the fault. Deterministic.
    ///
    /// # Panics
    /// When the fault is not there: then the machines are not the published ones.
    pub fn search(&self) -> Found {
        let (states, actions) = shortest(self.kind, self.setting);
        let actions =
            actions.unwrap_or_else(|| panic!("model: no {} in {}", self.name, self.bounds));
        let mut run = Run::new(self.setting);
        for action in actions {
            run.does(Part::Stem, action);
        }
        self.kind.goes_on(&mut run);
        let depth = run.steps.iter().filter(|step| step.part != Part::After).count();
        let verdict = self.kind.verdict(&run.world);
        Found { states, depth, trace: Trace { fault: *self, steps: run.steps, verdict } }
    }

    /// The same search within the same bounds, with the cause of the fault taken away: what shows
    /// that the search does not find its fault everywhere, and that the cause is the cause.
    pub fn control(&self) -> Control {
        let (states, actions) = shortest(self.kind, self.cured);
        Control { states, shown: actions.is_some() }
    }

    /// Opens stateright's explorer on the search, at `address`, and never returns.
    pub fn explore(&self, address: &str) {
        explore(self.kind, self.setting, address);
    }
}

/// A run of the machines that is being written down.
struct Run {
    setting: Setting,
    world: World,
    steps: Vec<Step>,
}

impl Run {
    fn new(setting: Setting) -> Self {
        Self { setting, world: World::new(&setting), steps: Vec::new() }
    }

    fn does(&mut self, part: Part, action: Action) -> Event {
        let event = self.world.apply(&self.setting, action).expect("an action that is possible");
        self.steps.push(Step { part, event });
        event
    }

    /// One call from its start to its return, alone.
    fn calls_alone(&mut self, caller: Caller, call: Call) {
        let mut event = self.does(Part::After, Action { caller, happens: Happens::Start(call) });
        while !matches!(event.what, What::Returns(_)) {
            event = self.does(Part::After, Action { caller, happens: Happens::Step });
        }
    }
}

impl Kind {
    /// Whether a state shows the fault.
    pub(super) fn is_shown(self, setting: &Setting, world: &World) -> bool {
        match self {
            Self::LostCapacity => {
                let held = setting.size - world.free_ids().len() as u64;
                world.every_call_has_returned()
                    && world.counted() == setting.size
                    && pool::counts_exact([(world.counted(), held)]).is_err()
            }
            Self::LiveLock => !world.free_ids().is_empty() && cycle(setting, world).is_some(),
            Self::Phantom => world.every_call_has_returned() && !phantoms(world).is_empty(),
        }
    }

    /// What follows from the state that shows it: the cycle, or a call that suffers.
    fn goes_on(self, run: &mut Run) {
        match self {
            Self::LostCapacity => {
                let caller = Caller(0);
                run.calls_alone(caller, Call::Allocate(run.world.next_tag(caller)));
            }
            Self::LiveLock => {
                for action in cycle(&run.setting, &run.world).expect("a state on a cycle") {
                    run.does(Part::Cycle, action);
                }
            }
            Self::Phantom => {
                let told: Vec<_> = run.world.told().collect();
                for (id, tag) in told {
                    run.calls_alone(tag.caller, Call::Free(id, tag));
                }
            }
        }
    }

    /// Whether what was seen after the state that shows the fault is what must be seen.
    pub(super) fn is_suffered(self, shown: &World, last: &World, after: &[Event]) -> bool {
        match self {
            _ if after.is_empty() => false,
            // POOL-3 is broken by the answer, and the map that made it so is unchanged.
            Self::LostCapacity => {
                let full = What::Returns(Answer::Full);
                after.last().is_some_and(|event| event.what == full)
                    && pool::full(last.leaves().iter().map(Option::is_some)).is_err()
                    && last.has_the_map_of(shown)
            }
            Self::LiveLock => last == shown,
            // Whatever was answered has been given back, and yet an id is held.
            Self::Phantom => {
                last.every_call_has_returned()
                    && last.told().next().is_none()
                    && last.free_ids().len() < last.leaves().len()
            }
        }
    }

    /// What is wrong with the last state, with its own numbers.
    pub(super) fn verdict(self, world: &World) -> String {
        let free = ids(&world.free_ids());
        let size = world.leaves().len();
        match self {
            Self::LostCapacity => format!(
                "{free} free, but the root counts {} of {size} taken; the allocate was answered \
                 Full falsely and changed nothing, so every further one will be too, until a \
                 free passes the root",
                world.counted()
            ),
            Self::LiveLock => format!(
                "{free} free, and the state is the one before the cycle, so the allocate goes \
                 round for ever"
            ),
            Self::Phantom => {
                let held: Vec<_> = (0_u64..)
                    .zip(world.leaves())
                    .filter_map(|(id, tag)| Some(format!("id {id} under {}", (*tag)?)))
                    .collect();
                format!(
                    "every id that was answered has been freed, but {} is held, which no call \
                     has answered",
                    held.join(" and ")
                )
            }
        }
    }
}

/// If one caller alone is inside a call and, moving alone, comes back to this very state: the
/// steps of that cycle. All others have returned or are dead, so nobody is waited for.
///
/// Ends, since a call alone comes to a state again or returns: it raises a version only by a swap,
/// and after one round of help its put can no longer fail.
fn cycle(setting: &Setting, world: &World) -> Option<Vec<Action>> {
    let [caller] = world.busy()[..] else { return None };
    let action = Action { caller, happens: Happens::Step };
    let mut seen: Vec<World> = Vec::new();
    let mut now = world.clone();
    loop {
        let event = now.apply(setting, action).expect("a step of a call under way");
        if matches!(event.what, What::Returns(_)) || seen.contains(&now) {
            return None;
        }
        if now == *world {
            return Some(vec![action; seen.len() + 1]);
        }
        seen.push(now.clone());
    }
}

/// The ids held under a tag that was answered another id: what the sequential pool, told every
/// answer, does not have.
fn phantoms(world: &World) -> Vec<u64> {
    let mut oracle = Oracle::new(world.leaves().len());
    for (id, tag) in world.told() {
        oracle.allocate(number(tag), Some(id)).expect("ids that were answered once");
    }
    let slots = (0..).zip(world.leaves());
    let held = slots.filter_map(|(id, slot)| Some((id, number((*slot)?))));
    held.filter(|&(id, tag)| oracle.find(tag).first().is_some_and(|&answered| answered != id))
        .map(|(id, _)| id)
        .collect()
}

/// A tag as the specification's plain integer.
fn number(tag: Tag) -> u64 {
    u64::from(tag.caller.0) << 8 | u64::from(tag.call)
}

fn ids(ids: &[u64]) -> String {
    let list = ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    if ids.len() == 1 { format!("id {list} is") } else { format!("ids {list} are") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_in_words_are_those_of_the_search() {
        for fault in FAULTS {
            for setting in
                [fault.setting, Setting { unknowns: fault.setting.unknowns, ..fault.cured }]
            {
                let Setting { size, callers, calls, deaths, unknowns, .. } = setting;
                let crashes =
                    if deaths == 0 { "no crash".to_owned() } else { format!("{deaths} crash") };
                let unknown = if unknowns == 0 {
                    String::new()
                } else {
                    format!(", {unknowns} put of unknown outcome")
                };
                let words = format!(
                    "N = {size}, {callers} callers, {calls} calls each, {crashes}{unknown}"
                );
                assert_eq!(fault.bounds, words, "{}", fault.name);
            }
        }
    }

    #[test]
    fn a_new_world_shows_no_fault() {
        for fault in FAULTS {
            assert!(!fault.kind.is_shown(&fault.setting, &World::new(&fault.setting)));
        }
    }

    #[test]
    fn an_allocate_that_overlooks_its_own_tag_has_a_phantom_sooner() {
        let overlooks = Setting { unknowns: 1, ..SMALL };
        let (states, way) = shortest(Kind::Phantom, overlooks);
        assert_eq!((states, way.map(|way| way.len())), (894, Some(14)));
    }
}
