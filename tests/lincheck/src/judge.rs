//! Verdicts: whether a history is linearizable, with an order that shows it; and if it is not, from
//! where on.
//!
//! Invariants:
//! * LIN-1: `Linearizable` carries its witness;
//! * LIN-3: `Violation::prefix` fails, and no shorter prefix does. That some prefix is enough, and
//!   that it ends with a return, holds because what was under way at its end is pending, and pending
//!   operations may be left out.

use crate::history::History;
use crate::search::{Found, Search};
use crate::specification::Specification;

/// How much a search may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many configurations one search may look at, those that open calls lead to included. Each
    /// takes 40 to 60 bytes with up to 64 operations under way at once and as many pending ones.
    pub configurations: u64,
}

impl Default for Limit {
    /// About a gigabyte.
    fn default() -> Self {
        Self { configurations: 20_000_000 }
    }
}

/// What is said of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<S> {
    /// In this order the operations, by their numbers, are legal. Pending operations that it does not
    /// need are left out.
    Linearizable(Vec<usize>),
    /// There is no such order.
    Violated(Violation<S>),
    /// The limit came first. Nothing is said.
    Undecided,
}

/// Where a history goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation<S> {
    /// The smallest number of events, from the first, that already fail.
    pub prefix: usize,
    /// The operation whose return is the last of them.
    pub operation: usize,
    /// An order of what came before, without that operation's answer.
    pub order: Vec<usize>,
    /// All states that the object may have had before the operation returned.
    pub states: Vec<S>,
}

/// A verdict, and what it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement<S> {
    /// What is said.
    pub verdict: Verdict<S>,
    /// How many configurations were looked at.
    pub configurations: u64,
}

/// Judges a history.
pub fn judge<S: Specification>(
    specification: &S,
    history: &History<S::Call, S::Answer>,
    limit: Limit,
) -> Judgement<S::State> {
    judge_with(specification, history, limit, &mut |_, _| {})
}

/// The same; `progress` is told now and then how many configurations, and how many returns at most,
/// have been seen.
pub fn judge_with<S: Specification>(
    specification: &S,
    history: &History<S::Call, S::Answer>,
    limit: Limit,
    progress: &mut dyn FnMut(u64, usize),
) -> Judgement<S::State> {
    let mut search = Search::new(specification, history, limit.configurations);
    let found = search.run(progress);
    let mut configurations = search.configurations();
    let verdict = match found {
        Found::Order(order) => Verdict::Linearizable(order),
        Found::TooMany => Verdict::Undecided,
        Found::Nothing => {
            let reached = search.furthest();
            drop(search);
            let ran =
                Prefixes { specification, history, limit, progress, ran: 0 }.smallest(reached);
            configurations += ran.1;
            ran.0.map_or(Verdict::Undecided, Verdict::Violated)
        }
    };
    Judgement { verdict, configurations }
}

/// Searches of prefixes of a history that is not linearizable.
struct Prefixes<'a, S: Specification> {
    specification: &'a S,
    history: &'a History<S::Call, S::Answer>,
    limit: Limit,
    progress: &'a mut dyn FnMut(u64, usize),
    /// Configurations so far.
    ran: u64,
}

impl<S: Specification> Prefixes<'_, S> {
    /// The violation, if the limit allows to find it; and the configurations that it took.
    ///
    /// The search passed `reached` returns with the answers that the whole history has; so the
    /// prefix before the next return is linearizable. A longer one may be too: there, operations
    /// that answer later may still have any answer. So steps that double, then halves.
    fn smallest(mut self, reached: usize) -> (Option<Violation<S::State>>, u64) {
        let returns = self.history.returns();
        let end = |at: usize| self.history.operations()[returns[at]].end().expect("it returned");
        // The prefix up to the return of this rank is linearizable (one less), or fails.
        let (mut good, mut bad) = (reached, returns.len() - 1);
        let mut step = 1;
        while good < bad {
            let at = (good + step - 1).min(good.midpoint(bad));
            match self.fails(end(at) + 1) {
                Some(true) => (bad, step) = (at, 1),
                Some(false) => (good, step) = (at + 1, step * 2),
                None => return (None, self.ran),
            }
        }
        let violation = self.describe(end(bad), returns[bad]);
        (violation, self.ran)
    }

    fn fails(&mut self, events: usize) -> Option<bool> {
        let prefix = self.history.prefix(events);
        let mut search = Search::new(self.specification, &prefix, self.limit.configurations);
        let found = search.run(self.progress);
        self.ran += search.configurations();
        match found {
            Found::Order(_) => Some(false),
            Found::Nothing => Some(true),
            Found::TooMany => None,
        }
    }

    fn describe(&mut self, end: usize, operation: usize) -> Option<Violation<S::State>> {
        let prefix = self.history.prefix(end + 1);
        let mut failing = Search::new(self.specification, &prefix, self.limit.configurations);
        let found = failing.run(self.progress);
        self.ran += failing.configurations();
        if found == Found::TooMany {
            return None;
        }
        assert_eq!(found, Found::Nothing, "LIN-3: the prefix of {} events fails", end + 1);
        let states = failing.states_there();
        // Without the call itself, so that the order does not show it with an answer it did not have.
        let before = self.history.prefix(end);
        let mut search = Search::new(self.specification, &before, self.limit.configurations);
        let found = search.run(self.progress);
        self.ran += search.configurations();
        match found {
            Found::Order(order) => Some(Violation { prefix: end + 1, operation, order, states }),
            Found::TooMany => None,
            Found::Nothing => panic!("LIN-3: the prefix of {end} events does not fail"),
        }
    }
}
