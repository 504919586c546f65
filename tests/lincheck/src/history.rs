//! A history: who called what, when, and what came of it.
//!
//! Invariants:
//! * operations stand in the order of their calls; calls and returns have distinct positions in one
//!   order, the *events*, numbered from 0 without gaps;
//! * an operation has an answer exactly if it has a return. Without, it is *pending*: it may have
//!   happened at any time after its call, may happen after the history's end, or never. An answer
//!   `Unknown`, a timeout and a caller that died are all this;
//! * an operation that is known not to have happened has no place in a history.

/// A call with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<C, A> {
    /// Who called. Only for display: a caller may have several calls under way.
    pub process: u64,
    /// What was called.
    pub call: C,
    /// What it answered, and the position of that event; none if it is pending.
    pub outcome: Option<(A, usize)>,
    /// The position of the call.
    pub begin: usize,
}

impl<C, A> Operation<C, A> {
    /// What it answered.
    pub fn answer(&self) -> Option<&A> {
        self.outcome.as_ref().map(|(answer, _)| answer)
    }

    /// The position of its return.
    pub fn end(&self) -> Option<usize> {
        self.outcome.as_ref().map(|&(_, end)| end)
    }
}

/// An operation with the times of a clock, as [`History::of`] takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed<C, A> {
    /// Who called.
    pub process: u64,
    /// What was called.
    pub call: C,
    /// When.
    pub begin: u64,
    /// What it answered and when, if it did.
    pub outcome: Option<(A, u64)>,
}

/// Calls and their answers in the order in which they were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<C, A> {
    operations: Vec<Operation<C, A>>,
    events: usize,
}

impl<C, A> Default for History<C, A> {
    fn default() -> Self {
        Self { operations: Vec::new(), events: 0 }
    }
}

impl<C, A> History<C, A> {
    /// A call, now. Returns the operation's number.
    pub fn invoke(&mut self, process: u64, call: C) -> usize {
        let begin = self.tick();
        self.operations.push(Operation { process, call, outcome: None, begin });
        self.operations.len() - 1
    }

    /// The answer of an operation, now. One that never gets its answer stays pending.
    ///
    /// # Panics
    /// If there is no such operation, or it has its answer.
    pub fn answer(&mut self, operation: usize, answer: A) {
        let end = self.tick();
        let outcome = &mut self.operations[operation].outcome;
        assert!(outcome.is_none(), "operation {operation}: expected one answer, got a second one");
        *outcome = Some((answer, end));
    }

    /// The history of operations that were under way from `begin` to `end` by some clock. One that
    /// ended at the moment when another began overlaps it: such a clock does not tell which was
    /// first. The order of operations is that of their calls, then that of `timed`.
    ///
    /// # Panics
    /// If an operation ends before it begins.
    pub fn of(timed: Vec<Timed<C, A>>) -> Self {
        let mut timed = timed;
        timed.sort_by_key(|operation| operation.begin);
        // At one time, calls first.
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * timed.len());
        for (at, operation) in timed.iter().enumerate() {
            events.push((operation.begin, false, at));
            if let Some((_, end)) = operation.outcome {
                let begin = operation.begin;
                assert!(begin <= end, "expected an end after the begin at {begin}, got {end}");
                events.push((end, true, at));
            }
        }
        events.sort_unstable();
        let mut positions = vec![(0, 0); timed.len()];
        for (position, &(_, is_return, at)) in events.iter().enumerate() {
            if is_return { positions[at].1 = position } else { positions[at].0 = position }
        }
        let placed = timed.into_iter().zip(positions).map(|(operation, (begin, end))| Operation {
            process: operation.process,
            call: operation.call,
            outcome: operation.outcome.map(|(answer, _)| (answer, end)),
            begin,
        });
        Self { operations: placed.collect(), events: events.len() }
    }

    fn tick(&mut self) -> usize {
        self.events += 1;
        self.events - 1
    }

    /// The operations in the order of their calls.
    pub fn operations(&self) -> &[Operation<C, A>] {
        &self.operations
    }

    /// How many events there are: calls and returns.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Operations by their returns, first return first.
    pub fn returns(&self) -> Vec<usize> {
        let mut returns: Vec<usize> = (0..self.operations.len())
            .filter(|&at| self.operations[at].outcome.is_some())
            .collect();
        returns.sort_unstable_by_key(|&at| self.operations[at].end());
        returns
    }
}

impl<C: Clone, A: Clone> History<C, A> {
    /// The first so many events. What was under way then is pending.
    #[must_use]
    pub fn prefix(&self, events: usize) -> Self {
        let begun = self.operations.partition_point(|operation| operation.begin < events);
        let mut operations = self.operations[..begun].to_vec();
        for operation in &mut operations {
            if operation.end().is_some_and(|end| end >= events) {
                operation.outcome = None;
            }
        }
        Self { operations, events: events.min(self.events) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_and_sorting_give_the_same_history() {
        let mut recorded = History::default();
        let first = recorded.invoke(1, "a");
        let second = recorded.invoke(2, "b");
        recorded.answer(second, 20);
        recorded.answer(first, 10);
        recorded.invoke(3, "c");
        let timed = |process, call, begin, outcome| Timed { process, call, begin, outcome };
        let sorted = History::of(vec![
            timed(3, "c", 40, None),
            timed(1, "a", 5, Some((10, 35))),
            timed(2, "b", 30, Some((20, 30))),
        ]);
        assert_eq!(recorded, sorted);
        assert_eq!(recorded.returns(), [1, 0]);
    }

    #[test]
    fn what_ends_when_another_begins_overlaps_it() {
        let timed = |begin, end| Timed { process: 0, call: (), begin, outcome: Some(((), end)) };
        let history = History::of(vec![timed(1, 2), timed(2, 3)]);
        let [first, second] = history.operations() else { panic!("two operations") };
        assert!(second.begin < first.end().unwrap());
    }

    #[test]
    fn a_prefix_forgets_what_came_later() {
        let mut history = History::default();
        let first = history.invoke(1, 'a');
        history.invoke(2, 'b');
        history.answer(first, ());
        assert_eq!(history.prefix(3), history);
        let prefix = history.prefix(2);
        assert_eq!((prefix.operations().len(), prefix.events(), prefix.returns().len()), (2, 2, 0));
        assert_eq!(history.prefix(1).operations().len(), 1);
    }
}
