//! `allocate(tag)`: descend, take a free slot, refresh the path.
//!
//! Invariants:
//! * POOL-1: only a free slot is ever given a tag, by one compare-and-set on its block;
//! * POOL-3: `Full` is answered only on a root that was read full within this call;
//! * POOL-5: a place met full below a parent that promised room is refreshed up to the root before
//!   the descent starts again: that is the help which keeps a dead caller from stopping others;
//! * an inner node is created before anything below it is written;
//! * the call never leaves a block while an attempt of its own may still take a slot there: no
//!   phantom second id (`specs/pool.md`, fault 4).

use crate::machine::{Interrupted, Machine, Next, Request, Response, unexpected, visit_value};
use crate::refresh::Refresh;
use crate::tag::{Id, Tag};
use crate::tree::{Place, Tree};
use crate::value::{Block, Node, Value, Version};

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
/// Returns the id, or why there is none. Alone and with exact counts it costs `4 * height + 2` map
/// operations, and `height` more on the first visit of each subtree. Each stale path that a dead
/// caller left costs one more round; each lost race means that another caller's write succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Allocate {
    tree: Tree,
    policy: Policy,
    tag: Tag,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Reads a place that is said to have room.
    Enter { at: Place },
    /// Creates the missing inner node at a place.
    Create { at: Place },
    /// Takes a slot. `doubt`: an attempt with the same expected value may still be on its way.
    Put { at: Place, block: Option<Block>, slot: u16, doubt: bool },
    /// Reads the block back after an attempt on this version had an unknown outcome.
    Resolve { at: Place, block: Option<Block>, slot: u16 },
    /// Refreshes a path whose counts promised room that is not there.
    Help { refresh: Refresh },
    /// Refreshes the path above the slot that was taken.
    Settle { refresh: Refresh, id: Id },
}

impl Allocate {
    /// A call that shall take an id for `tag`, which its caller has already written down.
    pub fn new(tree: Tree, policy: Policy, tag: Tag) -> Self {
        Self { tree, policy, tag, state: State::Enter { at: tree.root() } }
    }

    /// Whether it refreshes a path that promised room where there is none: work that a caller who
    /// died or paused has left.
    pub fn is_helping(&self) -> bool {
        matches!(self.state, State::Help { .. })
    }

    /// The child with room to descend into.
    fn child_with_room(&self, at: Place, node: &Node) -> Option<Place> {
        let first = match self.policy {
            Policy::LowestFirst => 0,
            Policy::Spread => self.start_above(at.level() - 1).index(),
        };
        self.around(at, first)
            .map(|side| (self.tree.child(at, side), node.counts[usize::from(side)]))
            .find(|&(child, count)| count < self.tree.capacity(child))
            .map(|(child, _)| child)
    }

    /// The free slot to take.
    fn free_slot(&self, at: Place, block: Option<&Block>) -> Option<u16> {
        let first = match self.policy {
            Policy::LowestFirst => 0,
            Policy::Spread => self.start().0,
        };
        self.around(at, first)
            .find(|&slot| block.is_none_or(|block| block.slots[usize::from(slot)].is_none()))
    }

    /// The children or slots of a place, once round from number `first` of the level below.
    fn around(&self, at: Place, first: u64) -> impl Iterator<Item = u16> + use<> {
        let width = self.tree.width(at);
        let shape = self.tree.shape();
        let wide = if at.is_block() { shape.block() } else { shape.fanout() };
        let first = u16::try_from(first % u64::from(wide)).expect("below fanout or block") % width;
        (0..width).map(move |step| (first + step) % width)
    }

    /// The id at which the tag's hash says to start.
    fn start(&self) -> Id {
        let scaled = u128::from(self.tag.hash()) * u128::from(self.tree.size());
        Id(u64::try_from(scaled >> 64).expect("a fraction of a 64-bit size"))
    }

    fn start_above(&self, level: u8) -> Place {
        self.tree.above(self.start(), level)
    }

    /// Goes on with a place's value: down, into a slot, or back up to help.
    fn visit(&mut self, at: Place, value: Option<Value>) -> Next<<Self as Machine>::Output> {
        let next = if at.is_block() {
            let block = value.map(Value::into_block);
            self.free_slot(at, block.as_ref()).map(|slot| State::Put {
                at,
                block,
                slot,
                doubt: false,
            })
        } else {
            match value.map(Value::into_node) {
                Some(node) => self.child_with_room(at, &node).map(|at| State::Enter { at }),
                None => Some(State::Create { at }),
            }
        };
        match (next, Refresh::path(self.tree, at)) {
            (Some(state), _) => self.state = state,
            // POOL-5: each path that a stopped call left stale is met at most once.
            (None, Some(refresh)) => self.state = State::Help { refresh },
            // POOL-3: the root itself, read within this call, says that there is no room.
            (None, None) => return Next::Done(Err(AllocateFailure::Full)),
        }
        Next::Ask
    }

    /// The slot is ours: refresh its path, then answer.
    fn settle(&mut self, at: Place, slot: u16) -> Next<<Self as Machine>::Output> {
        let id = self.tree.id(at, slot);
        match Refresh::path(self.tree, at) {
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
        tried: Option<Block>,
        slot: u16,
        value: Option<Value>,
    ) -> Next<<Self as Machine>::Output> {
        if value.as_ref().map(Value::version) == tried.as_ref().map(|block| block.version) {
            // Not yet, and perhaps still to come: only a write here can bury it.
            self.state = State::Put { at, block: tried, slot, doubt: true };
            return Next::Ask;
        }
        let block = value.map(Value::into_block);
        let holder = block.as_ref().and_then(|block| block.slots[usize::from(slot)].as_ref());
        if holder == Some(&self.tag) {
            return self.settle(at, slot);
        }
        // The version has moved without us: the attempt is dead.
        self.visit(at, block.map(Value::Block))
    }
}

impl Machine for Allocate {
    type Output = Result<Id, AllocateFailure>;

    fn request(&self) -> Request {
        match &self.state {
            State::Enter { at } | State::Resolve { at, .. } => Request::Get(*at),
            State::Create { at } => {
                let mut node = Node::absent(&self.tree, *at);
                node.version = 1;
                Request::CompareAndSet { place: *at, expected: None, new: Value::Node(node) }
            }
            State::Put { at, block, slot, .. } => {
                let mut new = block.clone().unwrap_or_else(|| Block::absent(&self.tree, *at));
                new.slots[usize::from(*slot)] = Some(self.tag.clone());
                new.version += 1;
                Request::CompareAndSet {
                    place: *at,
                    expected: block.clone().map(Value::Block),
                    new: Value::Block(new),
                }
            }
            State::Help { refresh } | State::Settle { refresh, .. } => refresh.request(),
        }
    }

    fn step(&mut self, response: Response) -> Next<Self::Output> {
        let restart = State::Enter { at: self.tree.root() };
        let state = core::mem::replace(&mut self.state, restart);
        match (state, response) {
            (State::Help { mut refresh }, response) => match refresh.step(response) {
                Next::Ask => self.state = State::Help { refresh },
                Next::Done(Ok(_)) => {}
                Next::Done(Err(Interrupted)) => {
                    return Next::Done(Err(AllocateFailure::Unreachable));
                }
            },
            (State::Settle { mut refresh, id }, response) => match refresh.step(response) {
                Next::Ask => self.state = State::Settle { refresh, id },
                // The slot is taken, whatever becomes of the counts: left too low, they only cost
                // the next caller a round of help.
                Next::Done(_) => return Next::Done(Ok(id)),
            },
            (
                State::Put { at, slot, doubt: true, .. } | State::Resolve { at, slot, .. },
                Response::Unavailable,
            ) => return Next::Done(Err(AllocateFailure::Unknown(self.tree.id(at, slot)))),
            (_, Response::Unavailable) => return Next::Done(Err(AllocateFailure::Unreachable)),
            (State::Enter { at }, Response::Value(value)) => return self.visit(at, value),
            (State::Create { at }, Response::Set) => {
                let node = Node::absent(&self.tree, at);
                return self.visit(at, Some(Value::Node(node)));
            }
            (State::Create { at }, Response::Mismatch(value)) => return self.visit(at, value),
            (State::Create { at }, Response::Unknown) => self.state = State::Enter { at },
            (State::Put { at, slot, .. }, Response::Set) => return self.settle(at, slot),
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
        match &mut self.state {
            State::Enter { .. } | State::Create { .. } => {}
            State::Put { at, block, .. } | State::Resolve { at, block, .. } => {
                visit_value(*at, block.as_mut().map(|block| &mut block.version), visit);
            }
            State::Help { refresh } | State::Settle { refresh, .. } => refresh.versions(visit),
        }
    }
}
