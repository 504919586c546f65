//! The abstract atomic map of the models: cells by place, and compare-and-sets still on their way.
//!
//! Invariants:
//! * every operation on a cell is one atomic step, as the contract of `AtomicMap` promises;
//! * an operation with an unknown outcome happens now, or later once, or never;
//! * versions are ranks: of the versions of one place that anybody remembers, the smallest is 1,
//!   the next 2, and so on. Machines compare versions for equality alone and derive new ones only
//!   from the one that a successful write replaces, which is the greatest: so states that differ in
//!   version numbers but not in their ranks behave alike, and the graph is finite.
//!
//! Versions are renumbered, not forgotten: a mutant that fails to raise one shows.

use std::ops::Deref;
use std::sync::Arc;

use cloakroom_pool::{Place, Request, Response, Tag, Tree, Value, Version};

/// The map, and what is on its way to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    cells: Vec<Option<Arc<Value>>>,
    /// Compare-and-sets with unknown outcomes that may still be applied, in the order of sending.
    pub late: Vec<Late>,
    /// What a host remembers of places, by their order: of each one value that it once had.
    pub memory: Vec<(usize, Value)>,
}

/// A compare-and-set that its caller has given up waiting for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Late {
    /// Who sent it.
    pub caller: u8,
    /// Where.
    pub place: Place,
    /// What must be there.
    pub expected: Option<Value>,
    /// What shall be there.
    pub new: Value,
    /// On registers: of what it is.
    pub origin: Origin,
}

/// What a late compare-and-set is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The map operation that its caller is still trying.
    Operation,
    /// An earlier operation of the call that its caller is still in.
    Call,
    /// A call that is over; or nobody asks.
    Past,
}

/// The most ids of a pool in a model.
const MOST_IDS: usize = 8;

/// Who is in the slots. Held in place, since every transition looks at it more than once.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    tags: [Option<u64>; MOST_IDS],
    count: usize,
}

impl Deref for Slots {
    type Target = [Option<u64>];

    fn deref(&self) -> &Self::Target {
        &self.tags[..self.count]
    }
}

/// The arithmetic that all states of a model share: places in a fixed order, the root last.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The pool's tree.
    pub tree: Tree,
    places: Vec<Place>,
}

impl Ground {
    /// The ground of a small tree.
    ///
    /// # Panics
    /// With more ids than a model has room for: bounds are written in this crate.
    pub fn new(tree: Tree) -> Self {
        assert!(tree.size() <= MOST_IDS as u64, "at most {MOST_IDS} ids, got {}", tree.size());
        Self { tree, places: tree.all().collect() }
    }

    fn cell(&self, place: Place) -> usize {
        self.places.iter().position(|&at| at == place).expect("a place of this tree")
    }

    /// The empty map.
    pub fn empty(&self) -> World {
        World { cells: vec![None; self.places.len()], late: Vec::new(), memory: Vec::new() }
    }

    /// Carries out a map request.
    pub fn perform(&self, world: &mut World, request: &Request) -> Response {
        match request {
            Request::Get(place) | Request::Recall(place) => {
                Response::Value(self.read(world, *place))
            }
            Request::CompareAndSet { place, expected, new } => {
                if self.compare_and_set(world, *place, expected.as_ref(), new) {
                    Response::Set
                } else {
                    Response::Mismatch(self.read(world, *place))
                }
            }
            Request::IsLive(_) => unreachable!("asked of the notebook, not of the map"),
        }
    }

    /// Applies a compare-and-set; whether it found what it expected.
    pub fn compare_and_set(
        &self,
        world: &mut World,
        place: Place,
        expected: Option<&Value>,
        new: &Value,
    ) -> bool {
        let cell = &mut world.cells[self.cell(place)];
        let found = cell.as_deref() == expected;
        if found {
            *cell = Some(Arc::new(new.clone()));
        }
        found
    }

    /// The value at a place.
    pub fn read(&self, world: &World, place: Place) -> Option<Value> {
        world.cells[self.cell(place)].as_deref().cloned()
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// The place number `cell`.
    pub fn place(&self, cell: usize) -> Place {
        self.places[cell]
    }

    /// The host remembers what a place has now, in place of what it remembered of it; whether that is
    /// news.
    pub fn remember(&self, world: &mut World, cell: usize) -> bool {
        let Some(value) = world.cells[cell].as_deref().cloned() else { return false };
        let at = world.memory.partition_point(|(known, _)| *known < cell);
        match world.memory.get_mut(at) {
            Some((known, old)) if *known == cell => {
                let news = *old != value;
                *old = value;
                news
            }
            _ => {
                world.memory.insert(at, (cell, value));
                true
            }
        }
    }

    /// What the host remembers of a place.
    pub fn recall(&self, world: &World, place: Place) -> Option<Value> {
        let cell = self.cell(place);
        let known = world.memory.iter().find(|(known, _)| *known == cell);
        known.map(|(_, value)| value.clone())
    }

    /// The tag in each id's slot, in the order of the ids, as the specification takes them.
    pub fn plain_slots(&self, world: &World) -> Slots {
        let mut slots = Slots { tags: [None; MOST_IDS], count: 0 };
        for (&place, cell) in self.places.iter().zip(&world.cells) {
            if !place.is_block() {
                continue;
            }
            if let Some(Value::Block(block)) = cell.as_deref() {
                for (slot, tag) in slots.tags[slots.count..].iter_mut().zip(&block.slots) {
                    *slot = tag.as_ref().map(plain);
                }
            }
            slots.count += usize::from(self.tree.width(place));
        }
        slots
    }

    /// Every count with the number of ids that are held below its child, given who is in the slots.
    pub fn counts(&self, world: &World, held: &[bool]) -> Vec<(u64, u64)> {
        let mut counts = Vec::new();
        for (&place, cell) in self.places.iter().zip(&world.cells) {
            if place.is_block() {
                continue;
            }
            for side in 0..self.tree.width(place) {
                let count = match cell.as_deref() {
                    Some(Value::Node(node)) => node.counts.of(side),
                    _ => 0,
                };
                let ids = self.tree.ids(self.tree.child(place, side));
                let below = (0..).zip(held).filter(|(id, held)| **held && ids.contains(id));
                counts.push((count, below.count() as u64));
            }
        }
        counts
    }
}

/// The tag number `number` of a caller: a letter and a digit.
///
/// # Panics
/// Beyond 8 callers: bounds are written in this crate.
pub fn tag(caller: usize, number: u8) -> Tag {
    Tag::new([b"PQRSTUVW"[caller], b'1' + number]).expect("two bytes are a tag")
}

/// A caller's name.
pub fn name(caller: u8) -> char {
    char::from(b"PQRSTUVW"[usize::from(caller)])
}

/// A request in words, for counterexamples.
pub fn tell(request: &Request) -> String {
    match request {
        Request::Get(place) => format!("get {place}"),
        Request::Recall(place) => format!("recall {place}"),
        Request::CompareAndSet { place, new, .. } => match new {
            Value::Node(node) => {
                format!("compare-and-set {place} to v{} {:?}", node.version, node.counts)
            }
            Value::Block(block) => {
                format!("compare-and-set {place} to v{} {:?}", block.version, block.slots)
            }
        },
        Request::IsLive(tag) => format!("is {tag} written down?"),
    }
}

/// A tag as the plain integer of the specification.
pub fn plain(tag: &Tag) -> u64 {
    tag.as_bytes().iter().fold(0, |plain, &byte| plain << 8 | u64::from(byte))
}

/// Shows the version in an answer that a host has, and its machine has not taken yet.
pub fn visit_answer(
    request: &Request,
    answer: &mut Option<Response>,
    visit: &mut dyn FnMut(Place, &mut Version),
) {
    let (Request::Get(place) | Request::Recall(place) | Request::CompareAndSet { place, .. }) =
        request
    else {
        return;
    };
    if let Some(
        Response::Value(Some(value)) | Response::Mismatch(Some(value)) | Response::Recalled(value),
    ) = answer
    {
        visit(*place, version_in(value));
    }
}

fn version_in(value: &mut Value) -> &mut Version {
    match value {
        Value::Node(node) => &mut node.version,
        Value::Block(block) => &mut block.version,
    }
}

/// Collects the versions of each place, then replaces each by its rank.
pub struct Ranks {
    seen: Vec<(usize, Version)>,
}

impl Ranks {
    /// Renumbers the map, what is on its way, and what `machines` remember. `visit` must show every
    /// version in every machine's memory; it is called twice.
    pub fn renumber(
        ground: &Ground,
        world: &mut World,
        mut visit: impl FnMut(&mut dyn FnMut(Place, &mut Version)),
    ) {
        let mut ranks = Self { seen: Vec::with_capacity(16) };
        visit(&mut |place, version| ranks.seen.push((ground.cell(place), *version)));
        for late in &world.late {
            let cell = ground.cell(late.place);
            ranks.seen.extend(late.expected.as_ref().map(|value| (cell, value.version())));
            ranks.seen.push((cell, late.new.version()));
        }
        ranks.seen.extend(world.memory.iter().map(|(cell, value)| (*cell, value.version())));
        for (cell, value) in world.cells.iter().enumerate() {
            ranks.seen.extend(value.as_ref().map(|value| (cell, value.version())));
        }
        ranks.seen.sort_unstable();
        ranks.seen.dedup();
        visit(&mut |place, version| *version = ranks.rank(ground.cell(place), *version));
        for late in &mut world.late {
            let cell = ground.cell(late.place);
            if let Some(expected) = &mut late.expected {
                ranks.set(cell, expected);
            }
            ranks.set(cell, &mut late.new);
        }
        for (cell, value) in &mut world.memory {
            ranks.set(*cell, value);
        }
        for (cell, value) in world.cells.iter_mut().enumerate() {
            if let Some(value) = value
                && ranks.rank(cell, value.version()) != value.version()
            {
                ranks.set(cell, Arc::make_mut(value));
            }
        }
    }

    fn rank(&self, cell: usize, version: Version) -> Version {
        let first = self.seen.partition_point(|&(seen, _)| seen < cell);
        let at = self.seen[first..].iter().position(|&seen| seen == (cell, version));
        at.expect("collected before") as Version + 1
    }

    fn set(&self, cell: usize, value: &mut Value) {
        let version = version_in(value);
        *version = self.rank(cell, *version);
    }
}
