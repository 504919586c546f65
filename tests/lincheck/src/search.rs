//! The search for a linearization: Wing and Gong's, with Lowe's list and memory.
//!
//! A *configuration* is a set of operations that are linearized, in an order that is legal, and the
//! state after them. At the list's front stand calls, then the *first return*: one of these calls is
//! the next completed operation, perhaps after some pending ones that have begun. The search takes
//! it, and goes on; where none is left to try, it undoes the last one. It ends when no return is left:
//! pending operations may stay out.
//!
//! Invariants:
//! * LIN-1: only calls in front of the first return are taken, so no operation is put before one that
//!   ended before it began; and the state only changes as the specification says;
//! * LIN-2: what the search leaves out could not succeed where what it tries fails. Take, of all
//!   configurations that it visits, one from which the fewest operations lead to the end: some
//!   pending ones, then a completed one, then others.
//!   - The pending ones lead to a state that they, or some of them, are found to lead to
//!     (`pending.rs`). From there the completed one is tried. So the configuration after it, or one
//!     that used fewer, is either visited, or refused by the memory because one is visited that is
//!     at least as good. The rest leads from that one to the end, too, and is shorter: contradiction.
//!   - Unless a call that only observes was right, and taken alone. Put first in its order, it
//!     disturbs nothing, and so leads to a configuration that is closer: contradiction.
//! * an undone step leaves list and used pending operations as they were, and the next choice starts
//!   from the state before it;
//! * no recursion: the depth of the search is in `frames`, on the heap.
//!
//! Taking the operation of the first return first, and then those that make it possible, keeps
//! other operations for later, when they may be needed. That is order, not choice: all have their
//! turn.

use std::collections::BTreeSet;

use crate::entries::{END, Entries, Entry, Node};
use crate::history::{History, Operation};
use crate::marks::Marks;
use crate::memo::{Memo, States};
use crate::pending::{Pending, Reached};
use crate::specification::Specification;

/// What a search says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// These operations, in this order. Pending ones that it does not need are left out.
    Order(Vec<usize>),
    /// There is none.
    Nothing,
    /// More configurations than allowed.
    TooMany,
}

/// The choices of a configuration, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A call that observes, and is right. There is no other choice.
    Observing,
    /// The operation whose return is first.
    First,
    /// Calls after which it is possible.
    Near,
    /// It, after pending operations.
    FirstAfterPending,
    /// The other calls.
    Far,
    /// Calls after pending operations.
    AfterPending,
}

/// A configuration on the way, with its choices.
struct Frame {
    state: u32,
    /// The operation of the first return.
    first: usize,
    stage: Stage,
    /// The call that is next, in the list.
    node: Node,
    /// The state after pending operations that is next.
    element: usize,
    /// Which of the states after the call is next.
    outcome: usize,
    reached: Option<Box<Reached>>,
    /// What was chosen: a completed operation, after how many pending ones.
    taken: usize,
    pendings: usize,
}

/// A choice.
struct Choice {
    element: usize,
    operation: usize,
    state: u32,
}

pub(crate) struct Search<'a, S: Specification> {
    specification: &'a S,
    operations: &'a [Operation<S::Call, S::Answer>],
    marks: Marks,
    pending: Pending,
    entries: Entries,
    states: States<S::State>,
    memo: Memo,
    frames: Vec<Frame>,
    order: Vec<usize>,
    /// After the last step taken.
    state: u32,
    /// Which pending operations are linearized.
    used: Vec<u64>,
    /// The furthest first return, by rank, and the states that were met there.
    furthest: usize,
    states_there: BTreeSet<u32>,
    configurations: u64,
    most: u64,
    // Scratch, kept for its memory.
    key: Vec<u64>,
    next: Vec<S::State>,
    after: Vec<S::State>,
}

const WORD: usize = u64::BITS as usize;

impl<'a, S: Specification> Search<'a, S> {
    /// Looks at no more than `most` configurations.
    pub(crate) fn new(
        specification: &'a S,
        history: &'a History<S::Call, S::Answer>,
        most: u64,
    ) -> Self {
        let marks = Marks::new(history);
        let pending = Pending::new(history.operations());
        let mut states = States::new();
        let state = states.number(&specification.start());
        let width = 1 + marks.open.div_ceil(WORD);
        Self {
            specification,
            operations: history.operations(),
            memo: Memo::new(width, pending.words()),
            used: vec![0; pending.words()],
            marks,
            pending,
            entries: Entries::new(history),
            states,
            frames: Vec::new(),
            order: Vec::new(),
            state,
            furthest: 0,
            states_there: BTreeSet::new(),
            configurations: 0,
            most,
            key: vec![0; width],
            next: Vec::new(),
            after: Vec::new(),
        }
    }

    /// How many configurations were looked at.
    pub(crate) fn configurations(&self) -> u64 {
        self.configurations
    }

    /// How many returns could be passed, on the way that went furthest.
    pub(crate) fn furthest(&self) -> usize {
        self.furthest
    }

    /// All states that the object may have had before the return that no way passes.
    pub(crate) fn states_there(&self) -> Vec<S::State> {
        self.states_there.iter().map(|&number| self.states.state(number).clone()).collect()
    }

    /// Searches; `progress` is told now and then how many configurations and returns were seen.
    pub(crate) fn run(&mut self, progress: &mut dyn FnMut(u64, usize)) -> Found {
        let mut told = 0;
        loop {
            match self.arrive() {
                Arrival::End => return Found::Order(std::mem::take(&mut self.order)),
                Arrival::Seen => {}
                Arrival::New(first) => {
                    self.configurations += 1;
                    if self.is_spent() {
                        return Found::TooMany;
                    }
                    if self.configurations >= told + (1 << 14) {
                        told = self.configurations;
                        progress(told, self.furthest);
                    }
                    self.frames.push(Frame::new(self.state, first, Stage::First));
                    if self.go_on() {
                        continue;
                    }
                    // Choices end early once the limit is reached: that there is none says nothing.
                    if self.is_spent() {
                        return Found::TooMany;
                    }
                    self.frames.pop();
                }
            }
            // The last frame's step led nowhere.
            while self.undo() {
                if self.go_on() {
                    break;
                }
                if self.is_spent() {
                    return Found::TooMany;
                }
                self.frames.pop();
            }
            if self.frames.is_empty() {
                return Found::Nothing;
            }
        }
    }

    fn is_spent(&self) -> bool {
        self.configurations >= self.most
    }

    /// Takes all that can only observe; then tells whether the configuration is new.
    fn arrive(&mut self) -> Arrival {
        loop {
            let Some((first, observer)) = self.look() else { return Arrival::End };
            if let Some(operation) = observer {
                self.frames.push(Frame::new(self.state, first, Stage::Observing));
                self.take(&Choice { element: 0, operation, state: self.state });
                continue;
            }
            let rank = self.marks.rank[first];
            if rank > self.furthest {
                self.furthest = rank;
                self.states_there.clear();
            }
            if rank == self.furthest {
                self.states_there.insert(self.state);
            }
            self.key[0] = (rank as u64) << 32 | u64::from(self.state);
            let is_new = self.memo.insert(&self.key, &self.used);
            return if is_new { Arrival::New(first) } else { Arrival::Seen };
        }
    }

    /// The operation of the first return, and a call before it that observes and is right here. Also
    /// writes into the key which calls stand before it. None if no return is left.
    fn look(&mut self) -> Option<(usize, Option<usize>)> {
        self.key[1..].fill(0);
        let mut observer = None;
        let mut node = self.entries.after(END);
        loop {
            match Entries::entry(node) {
                Entry::Call(operation) => {
                    let bit = self.marks.bit[operation];
                    self.key[1 + bit / WORD] |= 1 << (bit % WORD);
                    if observer.is_none() && self.only_observes(operation) {
                        observer = Some(operation);
                    }
                }
                Entry::Return(operation) => return Some((operation, observer)),
                Entry::End => return None,
            }
            node = self.entries.after(node);
        }
    }

    /// Whether a call is right here, and disturbs nothing here or anywhere.
    fn only_observes(&mut self, operation: usize) -> bool {
        let Operation { call, outcome, .. } = &self.operations[operation];
        let Some((answer, _)) = outcome else { return false };
        if !self.specification.observes(call, answer) {
            return false;
        }
        self.step(operation, self.state);
        let state = self.states.state(self.state);
        assert!(
            self.next.iter().all(|next| next == state),
            "LIN-2: {call:?} with {answer:?} observes and changes {state:?} to {:?}",
            self.next
        );
        !self.next.is_empty()
    }

    /// The states after an operation, in `next`.
    fn step(&mut self, operation: usize, state: u32) {
        let operation = &self.operations[operation];
        self.next.clear();
        let state = self.states.state(state);
        self.specification.step(state, &operation.call, operation.answer(), &mut self.next);
    }

    /// Takes the last frame's next choice, if it has one left.
    fn go_on(&mut self) -> bool {
        let Some(mut frame) = self.frames.pop() else { return false };
        let choice = self.choose(&mut frame);
        self.frames.push(frame);
        if let Some(choice) = &choice {
            self.take(choice);
        }
        choice.is_some()
    }

    fn choose(&mut self, frame: &mut Frame) -> Option<Choice> {
        loop {
            let choice = match frame.stage {
                Stage::Observing => return None,
                Stage::First => self.outcome_of(frame, frame.first, 0),
                Stage::Near => self.call(frame, 0, Some(true)),
                Stage::FirstAfterPending => self.after_pending(frame, Self::first_at),
                Stage::Far => self.call(frame, 0, Some(false)),
                Stage::AfterPending => {
                    self.after_pending(frame, |search, frame, at| search.call(frame, at, None))
                }
            };
            if choice.is_some() {
                return choice;
            }
            frame.stage = match frame.stage {
                Stage::First => Stage::Near,
                Stage::Near => Stage::FirstAfterPending,
                Stage::FirstAfterPending => Stage::Far,
                Stage::Far => Stage::AfterPending,
                Stage::AfterPending | Stage::Observing => return None,
            };
            (frame.node, frame.outcome) = (self.entries.after(END), 0);
            // Number 0 is the configuration itself: that is for the other stages.
            frame.element = 1;
        }
    }

    fn first_at(&mut self, frame: &mut Frame, element: usize) -> Option<Choice> {
        if self.marks.rank[frame.first] == self.furthest {
            let state = self.state_at(frame, element)?;
            self.states_there.insert(state);
        }
        self.outcome_of(frame, frame.first, element)
    }

    /// The next choice after an element's pending operations, element by element.
    fn after_pending(
        &mut self,
        frame: &mut Frame,
        choose: impl Fn(&mut Self, &mut Frame, usize) -> Option<Choice>,
    ) -> Option<Choice> {
        if self.pending.words() == 0 {
            return None;
        }
        loop {
            self.state_at(frame, frame.element)?;
            let choice = choose(self, frame, frame.element);
            if choice.is_some() {
                return choice;
            }
            frame.element += 1;
            (frame.node, frame.outcome) = (self.entries.after(END), 0);
        }
    }

    /// The state of a frame's element; none if there are no more, or the limit is reached first. What
    /// pending operations lead to is looked at too, and counts.
    fn state_at(&mut self, frame: &mut Frame, element: usize) -> Option<u32> {
        if element == 0 {
            return Some(frame.state);
        }
        let end = self.operations[frame.first].end().expect("its return is in the list");
        let reached = frame
            .reached
            .get_or_insert_with(|| Box::new(Reached::new(frame.state, &self.used, end)));
        loop {
            if let Some(state) = reached.state(element) {
                return Some(state);
            }
            if self.is_spent() {
                return None;
            }
            self.configurations += reached.expand(
                &self.pending,
                self.specification,
                self.operations,
                &mut self.states,
            )?;
        }
    }

    /// The next call in the list, not the first return's; `near`: only those after which that one is
    /// possible, or is not.
    fn call(&mut self, frame: &mut Frame, element: usize, near: Option<bool>) -> Option<Choice> {
        while let Entry::Call(operation) = Entries::entry(frame.node) {
            if operation != frame.first {
                while let Some(choice) = self.outcome_of(frame, operation, element) {
                    if near.is_none_or(|near| near == self.is_possible(frame.first, choice.state)) {
                        return Some(choice);
                    }
                }
            }
            (frame.node, frame.outcome) = (self.entries.after(frame.node), 0);
        }
        None
    }

    /// The next state after an operation at an element.
    fn outcome_of(
        &mut self,
        frame: &mut Frame,
        operation: usize,
        element: usize,
    ) -> Option<Choice> {
        let before = self.state_at(frame, element)?;
        self.step(operation, before);
        let next = self.next.get(frame.outcome)?;
        frame.outcome += 1;
        Some(Choice { element, operation, state: self.states.number(next) })
    }

    fn is_possible(&mut self, operation: usize, state: u32) -> bool {
        let operation = &self.operations[operation];
        self.after.clear();
        let state = self.states.state(state);
        self.specification.step(state, &operation.call, operation.answer(), &mut self.after);
        !self.after.is_empty()
    }

    /// LIN-1: the operation happens now, after the element's pending ones.
    fn take(&mut self, choice: &Choice) {
        let frame = self.frames.last_mut().expect("a choice is one of a frame");
        frame.pendings = 0;
        if choice.element != 0 {
            let reached = frame.reached.as_ref().expect("the element is in it");
            let way = reached.way(choice.element);
            frame.pendings = way.len();
            self.order.extend(way);
            self.used.copy_from_slice(reached.set(choice.element, self.pending.words()));
        }
        frame.taken = choice.operation;
        self.order.push(choice.operation);
        self.entries.lift(choice.operation);
        self.state = choice.state;
    }

    /// Undoes the last frame's step. The state needs no undoing: choices start from that of their
    /// frame. False if there is no frame.
    fn undo(&mut self) -> bool {
        let Some(frame) = self.frames.last() else { return false };
        self.entries.unlift(frame.taken);
        self.order.truncate(self.order.len() - 1 - frame.pendings);
        if let (Some(reached), 1..) = (&frame.reached, frame.pendings) {
            self.used.copy_from_slice(reached.set(0, self.pending.words()));
        }
        true
    }
}

impl Frame {
    fn new(state: u32, first: usize, begin: Stage) -> Self {
        Self {
            state,
            first,
            stage: begin,
            node: END,
            element: 0,
            outcome: 0,
            reached: None,
            taken: 0,
            pendings: 0,
        }
    }
}

enum Arrival {
    /// With the operation of the first return.
    New(usize),
    Seen,
    /// No return is left.
    End,
}
