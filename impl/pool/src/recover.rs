//! `recover(is_live)`: free what dead callers hold, and bring every count up to date.
//!
//! Walks the blocks that exist, children before parents. In each it asks for every held tag
//! whether the callers' notebook still has it, clears those that it has not, and refreshes the
//! edge above, whether or not it cleared anything.
//!
//! Invariants:
//! * POOL-2: a slot is cleared only on the version of the block on which its tag was judged dead,
//!   and the judgement is asked for after that version was read: a tag is written down before its
//!   allocate, so what was read from a slot and is then not in the notebook has no caller;
//! * POOL-7: every edge of the tree that was ever used is refreshed, so capacity that died with a
//!   half-done free, or with a half-done recovery, comes back too.
//!
//! Safe beside any number of callers and other recoveries.

use alloc::vec::Vec;

use crate::machine::{Interrupted, Machine, Next, Request, Response, unexpected};
use crate::refresh::Refresh;
use crate::tag::{Id, Tag};
use crate::tree::{Place, Tree};
use crate::value::{Block, Value, Version};

/// What a recovery did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recovered {
    /// The pairs that it freed, in the order of their ids.
    pub freed: Vec<(Id, Tag)>,
    /// How many ids it left with their holders.
    pub held: u64,
    /// How many counts it found wrong, and put right. Beside live callers some are wrong for a
    /// moment without fault.
    pub counts_repaired: u64,
}

/// One recovery, or (without judgement) one repair of counts.
///
/// Returns what it did, or [`Interrupted`]. Costs what [`List`](crate::List) does, three map
/// operations for each existing place below the root, and one for each block that it clears.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recover {
    tree: Tree,
    /// Whether tags are judged; if not, all are left.
    judge: bool,
    state: State,
    done: Recovered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Reads a place.
    Enter { at: Place },
    /// Asks about the tag in `slot`; the slots in `dead` have been judged.
    Judge { at: Place, block: Block, slot: u16, dead: Vec<u16> },
    /// Clears the dead slots. `doubt`: an attempt on this version may still be on its way.
    Clear { at: Place, block: Block, dead: Vec<u16>, doubt: bool },
    /// Reads the block back after an attempt on this version had an unknown outcome.
    Resolve { at: Place, block: Block, dead: Vec<u16> },
    /// Refreshes the edge above a place that exists, then goes on.
    Leave { at: Place, refresh: Refresh },
}

impl Recover {
    /// A recovery: frees every pair whose tag is not live.
    pub fn new(tree: Tree) -> Self {
        Self::start(tree, true)
    }

    /// Frees nothing, only brings every count up to date: safe beside live callers.
    pub fn repair(tree: Tree) -> Self {
        Self::start(tree, false)
    }

    fn start(tree: Tree, judge: bool) -> Self {
        let state = State::Enter { at: tree.root() };
        Self { tree, judge, state, done: Recovered::default() }
    }

    fn visit(&mut self, at: Place, value: Option<Value>) -> Next<<Self as Machine>::Output> {
        match value {
            None => return self.skip(at),
            Some(Value::Node(_)) => {
                self.state = State::Enter { at: self.tree.child(at, 0) };
            }
            Some(Value::Block(block)) => return self.judge(at, block, 0, Vec::new()),
        }
        Next::Ask
    }

    /// Asks about the next held slot from `from` on, or acts on the answers.
    fn judge(
        &mut self,
        at: Place,
        block: Block,
        from: u16,
        dead: Vec<u16>,
    ) -> Next<<Self as Machine>::Output> {
        let next = (from..).zip(&block.slots[usize::from(from)..]).find(|(_, tag)| tag.is_some());
        match next {
            Some((slot, _)) if self.judge => self.state = State::Judge { at, block, slot, dead },
            _ if dead.is_empty() => {
                self.done.held += block.total();
                return self.leave(at);
            }
            _ => self.state = State::Clear { at, block, dead, doubt: false },
        }
        Next::Ask
    }

    /// The dead slots are clear.
    fn cleared(
        &mut self,
        at: Place,
        block: &Block,
        dead: &[u16],
    ) -> Next<<Self as Machine>::Output> {
        self.done.held += block.total() - dead.len() as u64;
        self.report(at, block, dead.iter().copied());
        self.leave(at)
    }

    /// Counts the tags that stood in these slots as freed.
    fn report(&mut self, at: Place, block: &Block, slots: impl Iterator<Item = u16>) {
        let tag = |slot: u16| block.slots[usize::from(slot)].clone().expect("judged, hence held");
        let tree = &self.tree;
        self.done.freed.extend(slots.map(|slot| (tree.id(at, slot), tag(slot))));
    }

    /// Goes on with a block's value when an earlier clear of the slots `dead` of `tried` may have
    /// happened or may still happen.
    fn resolve(
        &mut self,
        at: Place,
        tried: &Block,
        dead: Vec<u16>,
        value: Option<Value>,
    ) -> Next<<Self as Machine>::Output> {
        let block = value.expect("POOL-1: a block that was read is never removed").into_block();
        if block.version == tried.version {
            self.state = State::Clear { at, block, dead, doubt: true };
            return Next::Ask;
        }
        let gone = |&slot: &u16| block.slots[usize::from(slot)] != tried.slots[usize::from(slot)];
        self.report(at, tried, dead.into_iter().filter(gone));
        self.judge(at, block, 0, Vec::new())
    }

    /// Refreshes the edge above a place that exists.
    fn leave(&mut self, at: Place) -> Next<<Self as Machine>::Output> {
        match Refresh::edge(self.tree, at) {
            Some(refresh) => self.state = State::Leave { at, refresh },
            None => return Next::Done(Ok(core::mem::take(&mut self.done))),
        }
        Next::Ask
    }

    /// Goes on to the next sibling, or up to the parent when there is none.
    fn skip(&mut self, at: Place) -> Next<<Self as Machine>::Output> {
        if let Some(at) = self.tree.sibling(at) {
            self.state = State::Enter { at };
            return Next::Ask;
        }
        match self.tree.parent(at) {
            Some((parent, _)) => self.leave(parent),
            None => Next::Done(Ok(core::mem::take(&mut self.done))),
        }
    }
}

impl Machine for Recover {
    type Output = Result<Recovered, Interrupted>;

    fn request(&self) -> Request {
        match &self.state {
            State::Enter { at } | State::Resolve { at, .. } => Request::Get(*at),
            State::Judge { block, slot, .. } => {
                let tag = block.slots[usize::from(*slot)].clone();
                Request::IsLive(tag.expect("only held slots are judged"))
            }
            State::Clear { at, block, dead, .. } => {
                let mut new = block.clone();
                for &slot in dead {
                    new.slots[usize::from(slot)] = None;
                }
                new.version += 1;
                Request::CompareAndSet {
                    place: *at,
                    expected: Some(Value::Block(block.clone())),
                    new: Value::Block(new),
                }
            }
            State::Leave { refresh, .. } => refresh.request(),
        }
    }

    fn step(&mut self, response: Response) -> Next<Self::Output> {
        let restart = State::Enter { at: self.tree.root() };
        let state = core::mem::replace(&mut self.state, restart);
        match (state, response) {
            (_, Response::Unavailable) => return Next::Done(Err(Interrupted)),
            (State::Leave { at, mut refresh }, response) => match refresh.step(response) {
                Next::Ask => self.state = State::Leave { at, refresh },
                Next::Done(Ok(changed)) => {
                    self.done.counts_repaired += u64::from(changed);
                    return self.skip(at);
                }
                Next::Done(Err(Interrupted)) => return Next::Done(Err(Interrupted)),
            },
            (State::Enter { at }, Response::Value(value)) => return self.visit(at, value),
            (State::Judge { at, block, slot, mut dead }, Response::Live(live)) => {
                dead.extend((!live).then_some(slot));
                return self.judge(at, block, slot + 1, dead);
            }
            (State::Clear { at, block, dead, .. }, Response::Set) => {
                return self.cleared(at, &block, &dead);
            }
            (State::Clear { at, block, dead, doubt: true }, Response::Mismatch(value))
            | (State::Resolve { at, block, dead }, Response::Value(value)) => {
                return self.resolve(at, &block, dead, value);
            }
            // The block has moved on: what was judged may be gone, and judged again it must be.
            (State::Clear { at, doubt: false, .. }, Response::Mismatch(value)) => {
                return self.visit(at, value);
            }
            (State::Clear { at, block, dead, .. }, Response::Unknown) => {
                self.state = State::Resolve { at, block, dead };
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
            State::Enter { .. } => {}
            State::Judge { at, block, .. }
            | State::Clear { at, block, .. }
            | State::Resolve { at, block, .. } => visit(*at, &mut block.version),
            State::Leave { refresh, .. } => refresh.versions(visit),
        }
    }
}
