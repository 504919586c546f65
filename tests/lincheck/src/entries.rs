//! The calls and returns that are not yet linearized, as a linked list (Lowe's): an operation is
//! lifted out and put back in constant time, without moving anything else.
//!
//! Invariants:
//! * the list is in the order of events, and has each completed operation with call and return;
//!   pending ones are never in it;
//! * operations are put back in the reverse order of their lifting. Then a lifted node still knows
//!   its neighbours, and the list is exactly what it was.

use crate::history::History;

/// A node: both ends of the list, one that is never used, then two nodes for each operation.
pub(crate) type Node = usize;

/// Both ends of the list.
pub(crate) const END: Node = 0;

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
    /// All completed operations of a history.
    pub(crate) fn new<C, A>(history: &History<C, A>) -> Self {
        let operations = history.operations();
        let mut events = vec![END; history.events()];
        for (at, operation) in operations.iter().enumerate() {
            if let Some(end) = operation.end() {
                events[operation.begin] = call(at);
                events[end] = call(at) + 1;
            }
        }
        let nodes = 2 + 2 * operations.len();
        let mut entries = Self { next: vec![0; nodes], back: vec![0; nodes] };
        let mut last = END;
        for node in events.into_iter().filter(|&node| node != END) {
            entries.join(last, node);
            last = node;
        }
        entries.join(last, END);
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
    pub(crate) fn lift(&mut self, operation: usize) {
        self.unlink(call(operation));
        self.unlink(call(operation) + 1);
    }

    /// Puts the operation back that was taken out last and is still out.
    pub(crate) fn unlift(&mut self, operation: usize) {
        self.relink(call(operation) + 1);
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

    fn walk(entries: &Entries) -> Vec<Entry> {
        let nodes = std::iter::successors(Some(entries.after(END)), |&node| {
            (node != END).then(|| entries.after(node))
        });
        nodes.map(Entries::entry).collect()
    }

    #[test]
    fn lifting_and_putting_back_leaves_the_list_as_it_was() {
        use Entry::{Call, End, Return};
        let mut history = History::default();
        let first = history.invoke(0, ());
        history.invoke(1, ());
        let second = history.invoke(2, ());
        history.answer(second, ());
        history.answer(first, ());
        let mut entries = Entries::new(&history);
        let whole = [Call(first), Call(second), Return(second), Return(first), End];
        assert_eq!(walk(&entries), whole);
        entries.lift(first);
        assert_eq!(walk(&entries), [Call(second), Return(second), End]);
        entries.lift(second);
        assert_eq!(walk(&entries), [End]);
        entries.unlift(second);
        entries.unlift(first);
        assert_eq!(walk(&entries), whole);
    }
}
