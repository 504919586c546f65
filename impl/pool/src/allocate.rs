//! `allocate(tag)`: descend, take a free slot, refresh the path.
//!
//! Invariants:
//! * POOL-1: only a free slot is ever given a tag, by one compare-and-set on its block;
//! * POOL-3: `Full` is answered only on a root that was read full within this call, in the map;
//! * POOL-5: a place met full below a parent that promised room is refreshed up to the root before
//!   the descent starts again: that is the help which keeps a dead caller from stopping others;
//! * POOL-5: a descent that its host's memory led to where no room is starts again, and from then on
//!   the call asks the map alone;
//! * an inner node is created before anything below it is written;
//! * the call never leaves a block while an attempt of its own may still take a slot there: no
//!   phantom second id (`specs/pool.md`, fault 4).

use crate::machine::{Interrupted, Machine, Next, Request, Response, unexpected, visit_value};
use crate::path::Path;
use crate::refresh::Refresh;
use crate::seen::{Change, Seen};
use crate::tag::{Id, Tag};
use crate::tree::{Place, Tree};
use crate::value::{Value, Version};

/// Which free id to prefer. A hint for speed: safety and `Full` do not depend on it, and callers
/// of one pool may differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The lowest id that the counts promise: dense, and all callers meet on the same block.
    #[default]
    LowestFirst,
    /// Start where a hash of the tag says and go round: callers seldom meet.
    Spread,
}

/// Why an allocate returned without an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllocateFailure {
    /// POOL-3: at some moment during the call every id was held, or was being freed by a call that
    /// had not returned.
    Full,
    /// The map could not be reached; no id is held under this call's tag.
    Unreachable,
    /// The map could not be reached after an attempt on this id whose outcome is unknown: the tag
    /// may hold it now or later. If [`Find`](crate::Find) shows the tag, it holds that id; if not,
    /// the attempt may still be on its way. Strike the tag out, never allocate under it again, and
    /// let recovery free what it may come to hold.
    Unknown(Id),
}

/// One call of allocate.
///
/// Returns the id, or why there is none. Alone and with exact counts it costs `2 * height + 2` map
/// operations, of which its host's memory may answer the first `height + 1`, and `height` more on
/// the first visit of each subtree. Each stale path that a dead caller left costs one more round;
/// each lost race means that another caller's write succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Allocate<S: Seen = Value> {
    tree: Tree,
    tag: Tag,
    /// Where the policy starts.
    start: Id,
    source: Source,
    /// The nodes above the place that the state is about, while it goes down.
    path: Path<S>,
    state: State<S>,
}

/// Where the values of a descent come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    /// The host's memory may answer, and has not yet.
    Any,
    /// It has answered.
    Memory,
    /// The map alone, since the memory was of no use.
    Map,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State<S: Seen> {
    /// Reads a place that is said to have room.
    Enter { at: Place },
    /// Creates the missing inner node at a place.
    Create { at: Place },
    /// Takes a slot. `doubt`: an attempt with the same expected value may still be on its way.
    Put { at: Place, block: Option<S>, slot: u16, doubt: bool },
    /// Reads the block back after an attempt on this version had an unknown outcome.
    Resolve { at: Place, block: Option<S>, slot: u16 },
    /// Refreshes a path whose counts promised room that is not there.
    Help { refresh: Refresh<S> },
    /// Refreshes the path above the slot that was taken.
    Settle { refresh: Refresh<S>, id: Id },
}

impl Allocate {
    /// A call that shall take an id for `tag`, which its caller has already written down.
    pub fn new(tree: Tree, policy: Policy, tag: Tag) -> Self {
        let start = match policy {
            Policy::LowestFirst => Id(0),
            Policy::Spread => spread(&tag, &tree),
        };
        Self::at_root(tree, tag, start)
    }

    /// The same call, which has not begun, with another start than its policy's.
    #[must_use]
    pub fn starting_at(self, start: Id) -> Self {
        Self::at_root(self.tree, self.tag, Id(start.0 % self.tree.size()))
    }

    /// The same call, which has not begun, for a host that shows values in another form.
    #[inline]
    pub fn seeing<S: Seen>(self) -> Allocate<S> {
        Allocate::at_root(self.tree, self.tag, self.start)
    }
}

impl<S: Seen> Allocate<S> {
    #[inline]
    fn at_root(tree: Tree, tag: Tag, start: Id) -> Self {
        let state = State::Enter { at: tree.root() };
        Self { tree, tag, start, source: Source::Any, path: Path::default(), state }
    }

    /// Whether it refreshes a path that promised room where there is none: work that a caller who
    /// died or paused has left.
    pub fn is_helping(&self) -> bool {
        matches!(self.state, State::Help { .. })
    }

    /// The child with room to descend into, by the counts of a node.
    pub(crate) fn child_with_room(&self, at: Place, count: impl Fn(u16) -> u64) -> Option<Place> {
        let first = self.tree.above(self.start, at.level() - 1).index();
        // Ragged or not, a child has no more than its first sibling.
        let most = self.tree.capacity(self.tree.child(at, 0));
        let has_room = |side| {
            let count = count(side);
            count < most && count < self.tree.capacity(self.tree.child(at, side))
        };
        self.around(at, first, has_room).map(|side| self.tree.child(at, side))
    }

    /// The free slot to take.
    fn free_slot(&self, at: Place, block: Option<&S>) -> Option<u16> {
        self.slot_where(at, |slot| block.is_none_or(|block| block.tag(slot).is_none()))
    }

    /// The first slot of a block, in the order of the policy, that is free by this measure.
    pub(crate) fn slot_where(&self, at: Place, is_free: impl Fn(u16) -> bool) -> Option<u16> {
        self.around(at, self.start.0, is_free)
    }

    /// The first child or slot of a place that is so, once round from number `first` of the level below.
    #[inline]
    fn around(&self, at: Place, first: u64, is_so: impl Fn(u16) -> bool) -> Option<u16> {
        let width = self.tree.width(at);
        let shape = self.tree.shape();
        let wide = if at.is_block() { shape.block() } else { shape.fanout() };
        let first = u16::try_from(first % u64::from(wide)).expect("below fanout or block") % width;
        let is_so = |&side: &u16| is_so(side);
        (first..width).find(is_so).or_else(|| (0..first).find(is_so))
    }

    /// Goes on with a place's value: down, into a slot, or back up.
    #[inline]
    fn visit(&mut self, at: Place, value: Option<S>) -> Next<<Self as Machine<S>>::Output> {
        if at.is_block() {
            let block = value;
            match self.free_slot(at, block.as_ref()) {
                Some(slot) => self.state = State::Put { at, block, slot, doubt: false },
                None => return self.no_room(at, self.tree.capacity(at)),
            }
        } else if let Some(node) = value {
            let Some(child) = self.child_with_room(at, |child| node.count(child)) else {
                return self.no_room(at, node.total());
            };
            self.path.push(node);
            self.state = State::Enter { at: child };
        } else {
            self.state = State::Create { at };
        }
        Next::Ask
    }

    /// A place that was said to have room has none: it holds `total`.
    fn no_room(&mut self, at: Place, total: u64) -> Next<<Self as Machine<S>>::Output> {
        let above = core::mem::take(&mut self.path);
        if self.source == Source::Memory {
            // POOL-3, POOL-5: what was is no reason to answer or to help.
            self.source = Source::Map;
            self.state = State::Enter { at: self.tree.root() };
            return Next::Ask;
        }
        match Refresh::path(self.tree, at, total, above) {
            // POOL-5: each path that a stopped call left stale is met at most once.
            Some(refresh) => self.state = State::Help { refresh },
            // POOL-3: the root itself, read within this call, says that there is no room.
            None => return Next::Done(Err(AllocateFailure::Full)),
        }
        Next::Ask
    }

    /// The slot is ours, in a block that holds `total`: refresh its path, then answer.
    #[inline]
    fn settle(&mut self, at: Place, slot: u16, total: u64) -> Next<<Self as Machine<S>>::Output> {
        let id = self.tree.id(at, slot);
        match Refresh::path(self.tree, at, total, core::mem::take(&mut self.path)) {
            Some(refresh) => self.state = State::Settle { refresh, id },
            None => return Next::Done(Ok(id)),
        }
        Next::Ask
    }

    /// Goes on with a block's value when an earlier attempt on `slot` of `tried` may have happened
    /// or may still happen.
    fn resolve(
        &mut self,
        at: Place,
        tried: Option<S>,
        slot: u16,
        value: Option<S>,
    ) -> Next<<Self as Machine<S>>::Output> {
        if value.as_ref().map(Seen::version) == tried.as_ref().map(Seen::version) {
            // Not yet, and perhaps still to come: only a write here can bury it.
            self.state = State::Put { at, block: tried, slot, doubt: true };
            return Next::Ask;
        }
        match &value {
            Some(block) if block.tag(slot) == Some(&self.tag) => {
                self.settle(at, slot, block.total())
            }
            // The version has moved without us: the attempt is dead.
            _ => self.visit(at, value),
        }
    }
}

/// The id at which the tag's hash says to start.
fn spread(tag: &Tag, tree: &Tree) -> Id {
    let scaled = u128::from(tag.hash()) * u128::from(tree.size());
    Id(u64::try_from(scaled >> 64).expect("a fraction of a 64-bit size"))
}

impl<S: Seen> Machine<S> for Allocate<S> {
    type Output = Result<Id, AllocateFailure>;

    #[inline]
    fn request(&self) -> Request<S> {
        match &self.state {
            State::Enter { at } if self.source == Source::Map => Request::Get(*at),
            State::Enter { at } => Request::Recall(*at),
            State::Resolve { at, .. } => Request::Get(*at),
            State::Create { at } => {
                let new = S::changed(None, Change::Create, &self.tree, *at);
                Request::CompareAndSet { place: *at, expected: None, new }
            }
            State::Put { at, block, slot, .. } => {
                let put = Change::Slot { slot: *slot, tag: Some(self.tag.clone()) };
                Request::CompareAndSet {
                    place: *at,
                    expected: block.clone(),
                    new: S::changed(block.as_ref(), put, &self.tree, *at),
                }
            }
            State::Help { refresh } | State::Settle { refresh, .. } => refresh.request(),
        }
    }

    #[inline]
    fn step(&mut self, response: Response<S>) -> Next<Self::Output> {
        let restart = State::Enter { at: self.tree.root() };
        match &mut self.state {
            State::Help { refresh } => {
                match refresh.step(response) {
                    Next::Ask => {}
                    Next::Done(Ok(_)) => self.state = restart,
                    Next::Done(Err(Interrupted)) => {
                        return Next::Done(Err(AllocateFailure::Unreachable));
                    }
                }
                return Next::Ask;
            }
            State::Settle { refresh, id } => {
                return match refresh.step(response) {
                    Next::Ask => Next::Ask,
                    // The slot is taken, whatever becomes of the counts: left too low, they only
                    // cost the next caller a round of help.
                    Next::Done(_) => Next::Done(Ok(*id)),
                };
            }
            // The usual cases, looked at where they stand: see `Refresh::step`.
            State::Enter { at } => {
                let at = *at;
                match response {
                    Response::Value(value) => return self.visit(at, value),
                    Response::Recalled(value) if self.source != Source::Map => {
                        self.source = Source::Memory;
                        return self.visit(at, Some(value));
                    }
                    Response::Unavailable => {
                        return Next::Done(Err(AllocateFailure::Unreachable));
                    }
                    response => unexpected(&self.request(), &response),
                }
            }
            _ => {}
        }
        let state = core::mem::replace(&mut self.state, restart);
        match (state, response) {
            (
                State::Put { at, slot, doubt: true, .. } | State::Resolve { at, slot, .. },
                Response::Unavailable,
            ) => return Next::Done(Err(AllocateFailure::Unknown(self.tree.id(at, slot)))),
            (_, Response::Unavailable) => return Next::Done(Err(AllocateFailure::Unreachable)),
            (State::Create { at }, Response::Set) => match S::created(&self.tree, at) {
                Some(node) => return self.visit(at, Some(node)),
                None => self.state = State::Enter { at },
            },
            (State::Create { at }, Response::Mismatch(value)) => return self.visit(at, value),
            (State::Create { at }, Response::Unknown) => self.state = State::Enter { at },
            (State::Put { at, block, slot, .. }, Response::Set) => {
                let total = block.map_or(0, |block| block.total()) + 1;
                return self.settle(at, slot, total);
            }
            (State::Put { at, block, slot, doubt: true }, Response::Mismatch(value))
            | (State::Resolve { at, block, slot }, Response::Value(value)) => {
                return self.resolve(at, block, slot, value);
            }
            (State::Put { at, doubt: false, .. }, Response::Mismatch(value)) => {
                return self.visit(at, value);
            }
            (State::Put { at, block, slot, .. }, Response::Unknown) => {
                self.state = State::Resolve { at, block, slot };
            }
            (state, response) => {
                self.state = state;
                unexpected(&self.request(), &response)
            }
        }
        Next::Ask
    }

    fn versions(&mut self, visit: &mut dyn FnMut(Place, &mut Version)) {
        let below = match &mut self.state {
            State::Enter { at } | State::Create { at } => *at,
            State::Put { at, block, .. } | State::Resolve { at, block, .. } => {
                visit_value(*at, block.as_mut().and_then(Seen::version_mut), visit);
                *at
            }
            State::Help { refresh } | State::Settle { refresh, .. } => {
                return refresh.versions(visit);
            }
        };
        self.path.versions(&self.tree, below, visit);
    }
}
