//! The search for a linearization: Wing and Gong's, with Lowe's list and memory.
//!
//! A *configuration* is a set of operations that are linearized, in an order that is legal, and the
//! state after them. At the list's front stand calls, then the *first return*: one of these calls
//! must be next, or a pending one that has begun. The search takes one, and goes on; where none is
//! left to try, it undoes the last one. It ends when no return is left: pending operations may stay
//! out.
//!
//! Invariants:
//! * LIN-1: only calls in front of the first return are taken, so no operation is put before one that
//!   ended before it began; and the state only changes as the specification says;
//! * LIN-2: what the search leaves out could not succeed where what it tries fails. Take, of all
//!   configurations that it visits, one from which the fewest steps lead to the end. Its next step
//!   leads to a configuration that is closer, so that one was not visited, so it was refused:
//!   - by the memory, because one at least as good was visited, from which the same steps lead to the
//!     end: that one is closer. A contradiction;
//!   - because another call only observes and is right here: put first, it disturbs nothing, and as
//!     many steps lead to the end;
//!   - because the step was a pending call that changes nothing: without it, fewer do;
//!   - because it was a pending call of which an equal, earlier one was unused: in each other's place,
//!     they lead to the end as well;
//! * an undone step leaves list, state and used pending operations as they were;
//! * no recursion: the depth of the search is in `path`, on the heap.
//!
//! Taking the operation of the first return first, and then those that make it possible, keeps
//! other operations for later, when they may be needed. That is order, not choice: all have their
//! turn.

use std::collections::BTreeSet;

use crate::entries::{COMPLETED, Entries, Entry, Node, PENDING};
use crate::history::{History, Operation};
use crate::memo::{Memo, States};
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

/// Where a configuration's choices stand.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// The operation of the first return.
    first: usize,
    stage: Stage,
    /// In the stages that walk a list: where.
    node: Node,
    /// Which of the states after the operation is next.
    outcome: usize,
}

/// The choices of a configuration, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The step only observed. There is no other choice.
    Observing,
    /// The operation whose return is first.
    First,
    /// Walks a list for calls after which `First` is possible.
    Near(Node),
    /// Walks a list for the other calls.
    Far(Node),
    /// All had their turn.
    Over,
}

struct Step {
    operation: usize,
    /// The state before.
    state: u32,
    cursor: Cursor,
}

pub(crate) struct Search<'a, S: Specification> {
    specification: &'a S,
    operations: &'a [Operation<S::Call, S::Answer>],
    marks: Marks,
    entries: Entries,
    states: States<S::State>,
    memo: Memo,
    path: Vec<Step>,
    state: u32,
    /// Which pending operations are linearized: a bit set.
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

/// What is known of each operation before the search.
struct Marks {
    /// Its place among the returns.
    rank: Vec<usize>,
    /// A bit that no other operation has that is under way at one of its moments; for pending ones,
    /// of their own kind.
    bit: Vec<usize>,
    /// For a pending operation, the last one before it that is equal.
    twin: Vec<Option<usize>>,
    /// How many bits each kind needs.
    open: usize,
    pending: usize,
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
        let mut states = States::new();
        let state = states.number(&specification.start());
        let (open, pending) = (marks.open.div_ceil(WORD), marks.pending.div_ceil(WORD));
        Self {
            specification,
            operations: history.operations(),
            marks,
            entries: Entries::new(history),
            states,
            memo: Memo::new(1 + open, pending),
            path: Vec::new(),
            state,
            used: vec![0; pending],
            furthest: 0,
            states_there: BTreeSet::new(),
            configurations: 0,
            most,
            key: vec![0; 1 + open],
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

    /// The states that the object may have had before the return that no way passes.
    pub(crate) fn states_there(&self) -> Vec<S::State> {
        self.states_there.iter().map(|&number| self.states.state(number).clone()).collect()
    }

    /// Searches; `progress` is told now and then how many configurations and returns were seen.
    pub(crate) fn run(&mut self, progress: &mut dyn FnMut(u64, usize)) -> Found {
        let mut cursor = match self.arrive() {
            Arrival::New(cursor) => cursor,
            Arrival::Seen => unreachable!("nothing was seen before"),
            Arrival::End => return self.order(),
        };
        loop {
            let Some((operation, state)) = self.choose(&mut cursor) else {
                match self.undo() {
                    Some(before) => cursor = before,
                    None => return Found::Nothing,
                }
                continue;
            };
            self.take(operation, state, cursor);
            match self.arrive() {
                Arrival::New(new) => cursor = new,
                Arrival::Seen => cursor = self.undo().expect("a step was taken"),
                Arrival::End => return self.order(),
            }
            if self.configurations >= self.most {
                return Found::TooMany;
            }
            if self.configurations.is_multiple_of(1 << 16) {
                progress(self.configurations, self.furthest);
            }
        }
    }

    fn order(&self) -> Found {
        Found::Order(self.path.iter().map(|step| step.operation).collect())
    }

    /// Takes all that can only observe; then tells whether the configuration is new.
    fn arrive(&mut self) -> Arrival {
        loop {
            let Some((first, observer)) = self.look() else { return Arrival::End };
            if let Some(operation) = observer {
                let cursor = Cursor { first, stage: Stage::Observing, node: 0, outcome: 0 };
                self.take(operation, self.state, cursor);
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
            if !self.memo.insert(&self.key, &self.used) {
                return Arrival::Seen;
            }
            self.configurations += 1;
            return Arrival::New(Cursor { first, stage: Stage::First, node: 0, outcome: 0 });
        }
    }

    /// The operation of the first return, and a call before it that observes and is right here. Also
    /// writes into the key which calls stand before it. None if no return is left.
    fn look(&mut self) -> Option<(usize, Option<usize>)> {
        self.key[1..].fill(0);
        let mut observer = None;
        let mut node = self.entries.after(COMPLETED);
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

    /// The next choice, if one is left.
    fn choose(&mut self, cursor: &mut Cursor) -> Option<(usize, u32)> {
        loop {
            let operation = match cursor.stage {
                Stage::Observing | Stage::Over => return None,
                Stage::First => Some(cursor.first),
                Stage::Near(_) | Stage::Far(_) => self.candidate(cursor),
            };
            let Some(operation) = operation else {
                self.next_stage(cursor);
                continue;
            };
            self.step(operation, self.state);
            let is_pending = self.is_pending(operation);
            while let Some(next) = self.next.get(cursor.outcome).cloned() {
                cursor.outcome += 1;
                if is_pending && next == *self.states.state(self.state) {
                    continue;
                }
                let wanted = match cursor.stage {
                    Stage::Near(_) => self.is_near(cursor.first, &next),
                    Stage::Far(_) => !self.is_near(cursor.first, &next),
                    _ => true,
                };
                if wanted {
                    return Some((operation, self.states.number(&next)));
                }
            }
            cursor.outcome = 0;
            match cursor.stage {
                Stage::First => self.next_stage(cursor),
                _ => cursor.node = self.entries.after(cursor.node),
            }
        }
    }

    /// Whether `first` is possible in a state.
    fn is_near(&mut self, first: usize, state: &S::State) -> bool {
        let first = &self.operations[first];
        self.after.clear();
        self.specification.step(state, &first.call, first.answer(), &mut self.after);
        !self.after.is_empty()
    }

    /// The call at the cursor, or after it, that may be next; none where its list is over.
    fn candidate(&self, cursor: &mut Cursor) -> Option<usize> {
        loop {
            let Entry::Call(operation) = Entries::entry(cursor.node) else { return None };
            let may = if self.is_pending(operation) {
                let end = self.operations[cursor.first].end().expect("its return is in the list");
                if self.operations[operation].begin > end {
                    return None;
                }
                self.marks.twin[operation].is_none_or(|twin| self.is_used(twin))
            } else {
                operation != cursor.first
            };
            if may {
                return Some(operation);
            }
            cursor.node = self.entries.after(cursor.node);
        }
    }

    fn next_stage(&self, cursor: &mut Cursor) {
        cursor.stage = match cursor.stage {
            Stage::First => Stage::Near(COMPLETED),
            Stage::Near(COMPLETED) => Stage::Near(PENDING),
            Stage::Near(_) => Stage::Far(COMPLETED),
            Stage::Far(COMPLETED) => Stage::Far(PENDING),
            Stage::Far(_) | Stage::Over | Stage::Observing => Stage::Over,
        };
        if let Stage::Near(list) | Stage::Far(list) = cursor.stage {
            cursor.node = self.entries.after(list);
        }
        cursor.outcome = 0;
    }

    fn is_pending(&self, operation: usize) -> bool {
        self.operations[operation].outcome.is_none()
    }

    fn is_used(&self, pending: usize) -> bool {
        let bit = self.marks.bit[pending];
        self.used[bit / WORD] >> (bit % WORD) & 1 == 1
    }

    fn toggle(&mut self, pending: usize) {
        let bit = self.marks.bit[pending];
        self.used[bit / WORD] ^= 1 << (bit % WORD);
    }

    /// LIN-1: the operation happens now.
    fn take(&mut self, operation: usize, state: u32, cursor: Cursor) {
        let is_pending = self.is_pending(operation);
        self.entries.lift(operation, is_pending);
        if is_pending {
            self.toggle(operation);
        }
        self.path.push(Step { operation, state: self.state, cursor });
        self.state = state;
    }

    /// Undoes the last choice, and the steps after it that were none; where its choices stand.
    fn undo(&mut self) -> Option<Cursor> {
        loop {
            let Step { operation, state, cursor } = self.path.pop()?;
            let is_pending = self.is_pending(operation);
            self.entries.unlift(operation, is_pending);
            if is_pending {
                self.toggle(operation);
            }
            self.state = state;
            if cursor.stage != Stage::Observing {
                return Some(cursor);
            }
        }
    }
}

enum Arrival {
    New(Cursor),
    Seen,
    /// No return is left.
    End,
}

impl Marks {
    fn new<C: Eq, A>(history: &History<C, A>) -> Self {
        let operations = history.operations();
        let mut marks = Self {
            rank: vec![0; operations.len()],
            bit: vec![0; operations.len()],
            twin: vec![None; operations.len()],
            open: 0,
            pending: 0,
        };
        let returns = history.returns();
        for (rank, &operation) in returns.iter().enumerate() {
            marks.rank[operation] = rank;
        }
        // Bits are given at calls and taken back at returns, the lowest first.
        let mut returned = returns.into_iter().peekable();
        let mut free = BTreeSet::new();
        let mut pending: Vec<usize> = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            while let Some(ended) =
                returned.next_if(|&other| operations[other].end() < Some(operation.begin))
            {
                free.insert(marks.bit[ended]);
            }
            if operation.outcome.is_none() {
                let equal = |&&other: &&usize| operations[other].call == operation.call;
                marks.twin[at] = pending.iter().rev().find(equal).copied();
                marks.bit[at] = marks.pending;
                marks.pending += 1;
                pending.push(at);
            } else {
                marks.bit[at] = free.pop_first().unwrap_or_else(|| {
                    marks.open += 1;
                    marks.open - 1
                });
            }
        }
        marks
    }
}
