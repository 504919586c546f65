//! What pending operations can do before the next completed one: the states that they lead to from
//! one configuration, with few of them used.
//!
//! Invariants:
//! * LIN-2: every state that some pending operations lead to is reached with those, or with a subset
//!   that leads there too. Fewer come first: breadth first, each round with one more. (Depth first
//!   would see large sets before the small ones that make them needless.)
//! * of equal calls that are unused, only the first is tried: it can do all that the others can;
//! * only what has begun is tried, and nothing that changes nothing.

use crate::history::Operation;
use crate::memo::{Memo, States};
use crate::specification::Specification;

/// The pending operations of a history, in the order of their calls. Their numbers here are the bits
/// in sets of them.
#[derive(Debug)]
pub(crate) struct Pending {
    operations: Vec<usize>,
    /// The last one before it that is equal.
    twins: Vec<Option<usize>>,
}

const WORD: usize = u64::BITS as usize;

fn has(set: &[u64], at: usize) -> bool {
    set[at / WORD] >> (at % WORD) & 1 == 1
}

impl Pending {
    pub(crate) fn new<C: Eq, A>(all: &[Operation<C, A>]) -> Self {
        let operations: Vec<usize> =
            (0..all.len()).filter(|&at| all[at].outcome.is_none()).collect();
        let twins = operations.iter().enumerate().map(|(at, &operation)| {
            let equal = |&other: &usize| all[operations[other]].call == all[operation].call;
            (0..at).rev().find(equal)
        });
        Self { twins: twins.collect(), operations }
    }

    /// How many words a set of them has.
    pub(crate) fn words(&self) -> usize {
        self.operations.len().div_ceil(WORD)
    }

    /// Those that may be used next, by number and operation: begun before `end`, and not in `used`.
    fn candidates<'a, C, A>(
        &'a self,
        all: &'a [Operation<C, A>],
        end: usize,
        used: &'a [u64],
    ) -> impl Iterator<Item = (usize, usize)> + 'a {
        let begun = self.operations.partition_point(|&operation| all[operation].begin < end);
        let is_next =
            |at: usize| !has(used, at) && self.twins[at].is_none_or(|twin| has(used, twin));
        (0..begun).filter(move |&at| is_next(at)).map(|at| (at, self.operations[at]))
    }
}

/// The states reached so far; number 0 is the configuration's own, with nothing used there.
#[derive(Debug)]
pub(crate) struct Reached {
    elements: Vec<Element>,
    /// Their sets, one after the other.
    sets: Vec<u64>,
    memo: Memo,
    /// All before it have been expanded.
    expanded: usize,
    /// What is used begins before this event.
    end: usize,
}

#[derive(Debug)]
struct Element {
    state: u32,
    /// From which element, and by which operation.
    from: usize,
    operation: usize,
}

impl Reached {
    /// From a state with these pending operations used; `end` is the event of the first return.
    pub(crate) fn new(state: u32, used: &[u64], end: usize) -> Self {
        let mut memo = Memo::new(1, used.len());
        memo.insert(&[state.into()], used);
        let start = Element { state, from: 0, operation: 0 };
        Self { elements: vec![start], sets: used.to_vec(), memo, expanded: 0, end }
    }

    /// The state of an element, if it is reached yet.
    pub(crate) fn state(&self, element: usize) -> Option<u32> {
        Some(self.elements.get(element)?.state)
    }

    /// Goes one operation further from the first element that was not expanded, and says how many new
    /// ones that gave; none when all are expanded.
    pub(crate) fn expand<S: Specification>(
        &mut self,
        pending: &Pending,
        specification: &S,
        all: &[Operation<S::Call, S::Answer>],
        states: &mut States<S::State>,
    ) -> Option<u64> {
        let from = self.expanded;
        let known = self.elements.len();
        let before = self.elements.get(from)?.state;
        self.expanded += 1;
        let mut used = self.set(from, pending.words()).to_vec();
        let mut next = Vec::new();
        let candidates: Vec<_> = pending.candidates(all, self.end, &used).collect();
        for (at, operation) in candidates {
            specification.step(states.state(before), &all[operation].call, None, &mut next);
            used[at / WORD] |= 1 << (at % WORD);
            for after in next.drain(..) {
                let state = states.number(&after);
                if state != before && self.memo.insert(&[state.into()], &used) {
                    self.elements.push(Element { state, from, operation });
                    self.sets.extend_from_slice(&used);
                }
            }
            used[at / WORD] &= !(1 << (at % WORD));
        }
        Some((self.elements.len() - known) as u64)
    }

    /// Which pending operations are used at an element.
    pub(crate) fn set(&self, element: usize, words: usize) -> &[u64] {
        &self.sets[element * words..][..words]
    }

    /// The operations that lead to an element, in order.
    pub(crate) fn way(&self, element: usize) -> Vec<usize> {
        let mut way = Vec::new();
        let mut at = element;
        while at != 0 {
            way.push(self.elements[at].operation);
            at = self.elements[at].from;
        }
        way.reverse();
        way
    }
}
