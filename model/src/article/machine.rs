//! The published algorithm's `allocate` and `free`, one map operation at a time.
//!
//! A faithful private copy, kept only to show what is wrong with it; the pool that ships is
//! `cloakroom-pool`, and shares nothing with this but [`Interval`].
//!
//! The tree over `[0, N)`, `N = 2^n`: a leaf holds a tag or nothing, an inner node the number of
//! ids taken below it, absent = 0.
//!
//! * `allocate(tag)` reads the root. If it counts N the answer is `Full`. Else it descends: at each
//!   inner node it reads the left child alone, and goes left if that has room, else right, without
//!   a look at the right child. It puts its tag into the leaf by put-if-absent; if that fails it
//!   starts again from the root; if it is done it walks up and answers the id.
//! * `free(id, tag)` does compare-and-remove on the leaf, then walks up, also when the leaf was
//!   empty or another's.
//! * A walk, at each inner node from the leaf's parent to the root: read the node, read the left
//!   child, read the right child, compare-and-swap the sum into the node; again until it succeeds.
//! * A put-if-absent whose outcome is unknown is read back: the own tag there means done, anything
//!   else starts again from the root. The article is silent; this is its obvious completion.
//!
//! What the other [`Algorithm`]s change is said there. Upholds no property: that is the point.

use cloakroom_pool::Interval;

/// A caller: P, Q, R …
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Caller(pub(super) u8);

/// The tag of a caller's call: its letter and the call's number, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag {
    pub(super) caller: Caller,
    pub(super) call: u8,
}

/// What an inner node holds; absent = zeros. The published node is a count alone: its version
/// stays 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Node {
    pub(super) version: u16,
    pub(super) count: u64,
}

/// What is at an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Value {
    Leaf(Option<Tag>),
    Node(Node),
}

impl Value {
    /// How many ids it says are taken.
    pub(super) fn taken(self) -> u64 {
        match self {
            Self::Leaf(tag) => u64::from(tag.is_some()),
            Self::Node(node) => node.count,
        }
    }
}

/// An operation on the map, atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Operation {
    Get(Interval),
    PutIfAbsent(Interval, Tag),
    CompareAndRemove(Interval, Tag),
    CompareAndSwap(Interval, Node, Node),
}

/// How an operation came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Outcome {
    Value(Value),
    Done,
    Failed,
    Unknown,
}

/// A call of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Call {
    Allocate(Tag),
    Free(u64, Tag),
}

/// What a call returns. A free has nothing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Answer {
    Id(u64),
    Full,
    Freed,
}

/// The published algorithm, attempts to repair it, and what takes the cause of a fault away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Algorithm {
    /// As published: counts compared by value, no help.
    Published,
    /// As published; an allocate in doubt also takes a leaf that already has its tag when the
    /// descent meets one.
    ReadsBack,
    /// As published, but a node has a version; a swap compares it and raises it.
    Versions,
    /// As published, and whoever fails to put walks up from that leaf before it starts again.
    Helps,
    /// Versions and help; a walk leaves out the swap where the count is right already.
    HelperThatSkips,
    /// Versions and help; a walk swaps at every node.
    HelperThatWrites,
}

impl Algorithm {
    pub(super) const fn has_versions(self) -> bool {
        matches!(self, Self::Versions | Self::HelperThatSkips | Self::HelperThatWrites)
    }

    const fn helps(self) -> bool {
        matches!(self, Self::Helps | Self::HelperThatSkips | Self::HelperThatWrites)
    }

    const fn skips(self) -> bool {
        matches!(self, Self::HelperThatSkips)
    }

    const fn takes_its_own_tag(self) -> bool {
        matches!(self, Self::ReadsBack)
    }
}

/// Where a call stands: what it will do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    ReadRoot,
    /// At this inner node: read its left child.
    Descend(Interval),
    Put(Interval),
    ReadBack(Interval),
    Remove(Interval),
    ReadNode(Walk),
    ReadLeft(Walk, Node),
    ReadRight(Walk, Node, u64),
    Swap(Walk, Node, u64),
    Return(Answer),
}

/// A walk up, at this inner node, and what follows it: the answer, or the root again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Walk {
    node: Interval,
    then: Option<Answer>,
}

/// A call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Machine {
    pub(super) call: Call,
    stage: Stage,
}

/// What a call under way does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Next {
    Ask(Operation),
    Return(Answer),
}

impl Machine {
    pub(super) fn start(call: Call) -> Self {
        let stage = match call {
            Call::Allocate(_) => Stage::ReadRoot,
            Call::Free(id, _) => Stage::Remove(leaf(id)),
        };
        Self { call, stage }
    }

    pub(super) fn next(&self, algorithm: Algorithm, size: u64) -> Next {
        let tag = match self.call {
            Call::Allocate(tag) | Call::Free(_, tag) => tag,
        };
        Next::Ask(match self.stage {
            Stage::ReadRoot => Operation::Get(root(size)),
            Stage::Descend(node) => Operation::Get(left(node)),
            Stage::Put(leaf) => Operation::PutIfAbsent(leaf, tag),
            Stage::ReadBack(leaf) => Operation::Get(leaf),
            Stage::Remove(leaf) => Operation::CompareAndRemove(leaf, tag),
            Stage::ReadNode(walk) => Operation::Get(walk.node),
            Stage::ReadLeft(walk, _) => Operation::Get(left(walk.node)),
            Stage::ReadRight(walk, ..) => Operation::Get(right(walk.node)),
            Stage::Swap(walk, seen, count) => {
                let version = seen.version + u16::from(algorithm.has_versions());
                Operation::CompareAndSwap(walk.node, seen, Node { version, count })
            }
            Stage::Return(answer) => return Next::Return(answer),
        })
    }

    /// Takes the outcome of the operation that [`Machine::next`] asked for.
    pub(super) fn step(&mut self, algorithm: Algorithm, size: u64, outcome: Outcome) {
        self.stage = match (self.stage, outcome) {
            (Stage::ReadRoot, Outcome::Value(root_now)) if root_now.taken() >= size => {
                Stage::Return(Answer::Full)
            }
            (Stage::ReadRoot, Outcome::Value(_)) => Stage::Descend(root(size)),
            (Stage::Descend(node), Outcome::Value(value)) => {
                let child = left(node);
                if algorithm.takes_its_own_tag() && self.is_mine(value) {
                    walk_up(child, size, Some(Answer::Id(child.start())))
                } else {
                    let child = if value.taken() < child.len() { child } else { right(node) };
                    if child.is_leaf() { Stage::Put(child) } else { Stage::Descend(child) }
                }
            }
            (Stage::Put(leaf), Outcome::Done) => {
                walk_up(leaf, size, Some(Answer::Id(leaf.start())))
            }
            (Stage::Put(leaf), Outcome::Failed) if algorithm.helps() => walk_up(leaf, size, None),
            (Stage::Put(_), Outcome::Failed) => Stage::ReadRoot,
            (Stage::Put(leaf), Outcome::Unknown) => Stage::ReadBack(leaf),
            (Stage::ReadBack(leaf), Outcome::Value(value)) if self.is_mine(value) => {
                walk_up(leaf, size, Some(Answer::Id(leaf.start())))
            }
            (Stage::ReadBack(_), Outcome::Value(_)) => Stage::ReadRoot,
            (Stage::Remove(leaf), Outcome::Done | Outcome::Failed) => {
                walk_up(leaf, size, Some(Answer::Freed))
            }
            (Stage::ReadNode(walk), Outcome::Value(Value::Node(seen))) => {
                Stage::ReadLeft(walk, seen)
            }
            (Stage::ReadLeft(walk, seen), Outcome::Value(value)) => {
                Stage::ReadRight(walk, seen, value.taken())
            }
            (Stage::ReadRight(walk, seen, on_the_left), Outcome::Value(value)) => {
                let sum = on_the_left + value.taken();
                if algorithm.skips() && sum == seen.count {
                    walk_up(walk.node, size, walk.then)
                } else {
                    Stage::Swap(walk, seen, sum)
                }
            }
            (Stage::Swap(walk, ..), Outcome::Done) => walk_up(walk.node, size, walk.then),
            (Stage::Swap(walk, ..), Outcome::Failed) => Stage::ReadNode(walk),
            (stage, outcome) => panic!("model: {outcome:?} is no outcome of {stage:?}"),
        };
    }

    fn is_mine(&self, value: Value) -> bool {
        matches!((self.call, value), (Call::Allocate(mine), Value::Leaf(Some(tag))) if tag == mine)
    }
}

/// The walk at the parent of `from`, or what follows it above the root.
fn walk_up(from: Interval, size: u64, then: Option<Answer>) -> Stage {
    match (from.up(size), then) {
        (Some(node), then) => Stage::ReadNode(Walk { node, then }),
        (None, Some(answer)) => Stage::Return(answer),
        (None, None) => Stage::ReadRoot,
    }
}

pub(super) fn root(size: u64) -> Interval {
    Interval::new(0, size).expect("a size that is a power of two")
}

pub(super) fn leaf(id: u64) -> Interval {
    Interval::new(id, 1).expect("an id below 2^64 - 1")
}

fn left(node: Interval) -> Interval {
    node.left().expect("an inner node")
}

fn right(node: Interval) -> Interval {
    node.right().expect("an inner node")
}
