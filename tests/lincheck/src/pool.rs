//! The pool: ids that are held under tags. Its histories are judged by POOL-3: `Full` may also be
//! answered where ids are being freed by calls that have not returned.
//!
//! A free therefore happens twice, as two operations with one call and one return: it clears the slot,
//! and later it settles what it cleared. Between the two the id can be allocated, and yet does not
//! have to be. [`begin_free`] and [`end_free`] record both.
//!
//! What it does not do: restore capacity after a crashed free (POOL-6). An id that was cleared by a
//! call without a return may count as taken for ever.

use crate::history::History;
use crate::specification::Specification;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Takes some id.
    Allocate {
        /// Its holder.
        tag: u64,
    },
    /// The first half of a free.
    Clear {
        /// Which id.
        id: usize,
        /// Its holder.
        tag: u64,
        /// Which free: the number of this operation.
        free: usize,
    },
    /// The second half.
    Settle {
        /// Which free.
        free: usize,
    },
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// To an allocate: this id.
    Id(usize),
    /// To an allocate: none is free.
    Full,
    /// To a free: it was held under the tag.
    Freed,
    /// To a free: it was not held.
    AlreadyFree,
    /// To a free: it is held under another tag.
    NotOwner,
    /// To a free with an unknown step in it: `Freed` or `AlreadyFree`. What it has freed may count
    /// as being freed for ever: one answer does not tell whether there is something to settle.
    FreedOrAlreadyFree,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    Free,
    Held(u64),
    /// Cleared by a free that has not settled.
    Cleared(usize),
}

/// What a pool remembers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    slots: Vec<Slot>,
    /// Frees that have cleared a slot and not settled, in order.
    unsettled: Vec<usize>,
}

/// A pool of so many ids, all free at the start.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// How many.
    pub size: usize,
}

/// Records the call of a free.
pub fn begin_free(history: &mut History<Call, Answer>, process: u64, id: usize, tag: u64) -> usize {
    let free = history.operations().len();
    history.invoke(process, Call::Clear { id, tag, free });
    history.invoke(process, Call::Settle { free });
    free
}

/// Records the answer of the free that [`begin_free`] named so.
pub fn end_free(history: &mut History<Call, Answer>, free: usize, answer: Answer) {
    history.answer(free, answer);
    history.answer(free + 1, answer);
}

impl Specification for Pool {
    type State = State;
    type Call = Call;
    type Answer = Answer;

    fn start(&self) -> State {
        State { slots: vec![Slot::Free; self.size], unsettled: Vec::new() }
    }

    fn step(&self, state: &State, call: &Call, answer: Option<&Answer>, next: &mut Vec<State>) {
        match *call {
            Call::Allocate { tag } => allocate(state, tag, answer, next),
            Call::Clear { id, tag, free } => clear(state, id, tag, free, answer, next),
            Call::Settle { free } => settle(state, free, answer, next),
        }
    }

    fn observes(&self, call: &Call, answer: &Answer) -> bool {
        match call {
            Call::Allocate { .. } => *answer == Answer::Full,
            Call::Clear { .. } | Call::Settle { .. } => {
                matches!(answer, Answer::AlreadyFree | Answer::NotOwner)
            }
        }
    }
}

fn allocate(state: &State, tag: u64, answer: Option<&Answer>, next: &mut Vec<State>) {
    let is_held = |slot: &Slot| matches!(slot, Slot::Held(_));
    let taken = |id: usize| {
        let mut state = state.clone();
        state.slots[id] = Slot::Held(tag);
        state
    };
    match answer {
        Some(&Answer::Id(id)) if state.slots.get(id).is_some_and(|slot| !is_held(slot)) => {
            next.push(taken(id));
        }
        // POOL-3: what is being freed counts as held.
        Some(Answer::Full) if !state.slots.contains(&Slot::Free) => next.push(state.clone()),
        None => {
            let free = (0..state.slots.len()).filter(|&id| !is_held(&state.slots[id]));
            next.extend(free.map(taken));
        }
        Some(_) => {}
    }
}

fn clear(
    state: &State,
    id: usize,
    tag: u64,
    free: usize,
    answer: Option<&Answer>,
    next: &mut Vec<State>,
) {
    let Some(&slot) = state.slots.get(id) else { return };
    let (is_freed, got) = match slot {
        Slot::Held(holder) if holder == tag => (true, Answer::Freed),
        Slot::Held(_) => (false, Answer::NotOwner),
        Slot::Free | Slot::Cleared(_) => (false, Answer::AlreadyFree),
    };
    let is_right = match answer {
        None => true,
        Some(Answer::FreedOrAlreadyFree) => got != Answer::NotOwner,
        Some(answer) => *answer == got,
    };
    if is_right {
        let mut state = state.clone();
        if is_freed {
            state.slots[id] = Slot::Cleared(free);
            let at = state.unsettled.partition_point(|&other| other < free);
            state.unsettled.insert(at, free);
        }
        next.push(state);
    }
}

fn settle(state: &State, free: usize, answer: Option<&Answer>, next: &mut Vec<State>) {
    match (state.unsettled.binary_search(&free), answer) {
        (Ok(at), Some(Answer::Freed | Answer::FreedOrAlreadyFree) | None) => {
            let mut state = state.clone();
            state.unsettled.remove(at);
            for slot in state.slots.iter_mut().filter(|slot| **slot == Slot::Cleared(free)) {
                *slot = Slot::Free;
            }
            next.push(state);
        }
        // It has cleared nothing, and may never.
        (Err(_), Some(Answer::AlreadyFree | Answer::NotOwner | Answer::FreedOrAlreadyFree)) => {
            next.push(state.clone());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limit, Verdict, judge};

    fn is_linearizable(size: usize, history: &History<Call, Answer>) -> bool {
        let judgement = judge(&Pool { size }, history, Limit::default());
        matches!(judgement.verdict, Verdict::Linearizable(_))
    }

    fn allocate(history: &mut History<Call, Answer>, tag: u64, answer: Answer) {
        let operation = history.invoke(tag, Call::Allocate { tag });
        history.answer(operation, answer);
    }

    #[test]
    fn an_id_is_held_once_and_freed_by_its_holder() {
        let mut history = History::default();
        allocate(&mut history, 1, Answer::Id(0));
        let other = begin_free(&mut history, 2, 0, 2);
        end_free(&mut history, other, Answer::NotOwner);
        let own = begin_free(&mut history, 1, 0, 1);
        end_free(&mut history, own, Answer::Freed);
        assert!(is_linearizable(1, &history));
        allocate(&mut history, 2, Answer::Id(0));
        assert!(is_linearizable(1, &history));
        allocate(&mut history, 3, Answer::Id(0));
        assert!(!is_linearizable(1, &history));
    }

    #[test]
    fn full_may_be_answered_while_the_last_id_is_being_freed_and_not_after() {
        let mut history = History::default();
        allocate(&mut history, 1, Answer::Id(0));
        let free = begin_free(&mut history, 1, 0, 1);
        allocate(&mut history, 2, Answer::Id(0));
        let again = begin_free(&mut history, 2, 0, 2);
        allocate(&mut history, 3, Answer::Full);
        end_free(&mut history, again, Answer::Freed);
        end_free(&mut history, free, Answer::Freed);
        assert!(is_linearizable(1, &history));
        allocate(&mut history, 4, Answer::Full);
        assert!(!is_linearizable(1, &history));
    }

    #[test]
    fn an_allocate_without_an_answer_holds_any_id_or_none() {
        let mut history = History::default();
        history.invoke(1, Call::Allocate { tag: 1 });
        allocate(&mut history, 2, Answer::Id(1));
        let full = |mut history: History<_, _>| {
            allocate(&mut history, 3, Answer::Full);
            is_linearizable(2, &history)
        };
        assert!(full(history.clone()));
        allocate(&mut history, 4, Answer::Id(0));
        assert!(full(history.clone()));
        let free = begin_free(&mut history, 2, 1, 2);
        end_free(&mut history, free, Answer::Freed);
        assert!(full(history.clone()));
        let free = begin_free(&mut history, 4, 0, 4);
        end_free(&mut history, free, Answer::Freed);
        assert!(!full(history));
    }
}
