//! What the search knows of each operation before it begins: its place among the returns, and a bit for
//! sets of operations under way.
//!
//! Invariants:
//! * LIN-2: operations that are under way at one moment have different bits, so that equal sets of bits
//!   between the same returns are equal sets of operations;
//! * pending operations have none: `pending.rs` numbers them.

use std::collections::BTreeSet;

use crate::history::History;

/// What is known of each operation before the search.
pub(crate) struct Marks {
    /// Its place among the returns.
    pub(crate) rank: Vec<usize>,
    /// A bit that no other has that is under way at one of its moments.
    pub(crate) bit: Vec<usize>,
    /// How many bits there are.
    pub(crate) open: usize,
}

impl Marks {
    pub(crate) fn new<C, A>(history: &History<C, A>) -> Self {
        let operations = history.operations();
        let count = operations.len();
        let mut marks = Self { rank: vec![0; count], bit: vec![0; count], open: 0 };
        let returns = history.returns();
        for (rank, &operation) in returns.iter().enumerate() {
            marks.rank[operation] = rank;
        }
        // Bits are given at calls and taken back at returns, the lowest first.
        let mut ends = returns.into_iter().peekable();
        let mut free = BTreeSet::new();
        for (at, operation) in operations.iter().enumerate() {
            while let Some(ended) =
                ends.next_if(|&other| operations[other].end() < Some(operation.begin))
            {
                free.insert(marks.bit[ended]);
            }
            if operation.outcome.is_some() {
                marks.bit[at] = free.pop_first().unwrap_or_else(|| {
                    marks.open += 1;
                    marks.open - 1
                });
            }
        }
        marks
    }
}
