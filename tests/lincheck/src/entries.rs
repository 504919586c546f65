//! The calls and returns that are not yet linearized, as linked lists (Lowe's): an operation is
//! lifted out and put back in constant time, without moving anything else.
//!
//! Invariants:
//! * each list is in the order of events; completed operations are in one list with call and return,
//!   pending ones in another with their call;
//! * operations are put back in the reverse order of their lifting. Then a lifted node still knows
//!   its neighbours, and each list is exactly what it was.

use crate::history::History;

/// A node: the ends of the two lists, then two nodes for each operation.
pub(crate) type Node = usize;

/// Both ends of the list of completed operations.
pub(crate) const COMPLETED: Node = 0;
/// Both ends of the list of pending operations.
pub(crate) const PENDING: Node = 1;

#[derive(Debug)]
pub(crate) struct Entries {
    next: Vec<u32>,
    back: Vec<u32>,
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The call of an operation.
    Call(usize),
    /// The return of an operation.
    Return(usize),
    /// The list is over.
    End,
}

fn call(operation: usize) -> Node {
    2 + 2 * operation
}

impl Entries {
    /// All operations of a history.
    pub(crate) fn new<C, A>(history: &History<C, A>) -> Self {
        let operations = history.operations();
        let mut events = vec![None; history.events()];
        for (at, operation) in operations.iter().enumerate() {
            let list = if operation.outcome.is_some() { COMPLETED } else { PENDING };
            events[operation.begin] = Some((list, call(at)));
            if let Some(end) = operation.end() {
                events[end] = Some((COMPLETED, call(at) + 1));
            }
        }
        let nodes = 2 + 2 * operations.len();
        let mut entries = Self { next: vec![0; nodes], back: vec![0; nodes] };
        let mut last = [COMPLETED, PENDING];
        for (list, node) in events.into_iter().flatten() {
            entries.join(last[list], node);
            last[list] = node;
        }
        entries.join(last[COMPLETED], COMPLETED);
        entries.join(last[PENDING], PENDING);
        entries
    }

    fn join(&mut self, left: Node, right: Node) {
        self.next[left] = narrow(right);
        self.back[right] = narrow(left);
    }

    /// The node after this one.
    pub(crate) fn after(&self, node: Node) -> Node {
        self.next[node] as Node
    }

    /// What a node stands for.
    pub(crate) fn entry(node: Node) -> Entry {
        match (node.checked_sub(2), node % 2) {
            (None, _) => Entry::End,
            (Some(at), 0) => Entry::Call(at / 2),
            (Some(at), _) => Entry::Return(at / 2),
        }
    }

    /// Takes an operation out.
    pub(crate) fn lift(&mut self, operation: usize, is_pending: bool) {
        self.unlink(call(operation));
        if !is_pending {
            self.unlink(call(operation) + 1);
        }
    }

    /// Puts the operation back that was taken out last and is still out.
    pub(crate) fn unlift(&mut self, operation: usize, is_pending: bool) {
        if !is_pending {
            self.relink(call(operation) + 1);
        }
        self.relink(call(operation));
    }

    fn unlink(&mut self, node: Node) {
        let (back, next) = (self.back[node], self.next[node]);
        self.next[back as Node] = next;
        self.back[next as Node] = back;
    }

    fn relink(&mut self, node: Node) {
        let (back, next) = (self.back[node], self.next[node]);
        self.next[back as Node] = narrow(node);
        self.back[next as Node] = narrow(node);
    }
}

/// Half the memory, and room for two thousand million operations.
fn narrow(node: Node) -> u32 {
    u32::try_from(node).expect("fewer than 2^31 operations in a history")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(entries: &Entries, list: Node) -> Vec<Entry> {
        let nodes = std::iter::successors(Some(entries.after(list)), |&node| {
            (node > PENDING).then(|| entries.after(node))
        });
        nodes.map(Entries::entry).collect()
    }

    #[test]
    fn lifting_and_putting_back_leaves_the_lists_as_they_were() {
        use Entry::{Call, End, Return};
        let mut history = History::default();
        let first = history.invoke(0, ());
        let lost = history.invoke(1, ());
        let second = history.invoke(2, ());
        history.answer(second, ());
        history.answer(first, ());
        let mut entries = Entries::new(&history);
        let whole = [Call(first), Call(second), Return(second), Return(first), End];
        assert_eq!(walk(&entries, COMPLETED), whole);
        assert_eq!(walk(&entries, PENDING), [Call(lost), End]);
        entries.lift(first, false);
        entries.lift(lost, true);
        assert_eq!(walk(&entries, COMPLETED), [Call(second), Return(second), End]);
        assert_eq!(walk(&entries, PENDING), [End]);
        entries.lift(second, false);
        assert_eq!(walk(&entries, COMPLETED), [End]);
        entries.unlift(second, false);
        entries.unlift(lost, true);
        entries.unlift(first, false);
        assert_eq!(walk(&entries, COMPLETED), whole);
        assert_eq!(walk(&entries, PENDING), [Call(lost), End]);
    }
}
