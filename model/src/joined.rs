//! stateright, behind one door.
//!
//! Its traps are fenced off here, for all models:
//! * it is always joined: a checker that nobody waits for has visited nothing yet, and says that all is
//!   well;
//! * it has no timeout, no target count and no depth limit: an unfinished run passes silently;
//! * it runs on one thread: several do not visit in the order of depth, and the first trace found
//!   would not be the shortest;
//! * no `eventually` among the properties: it is not judged on cycles and where runs meet;
//! * the unique states and the transitions are what it has counted, as exact numbers.
//!
//! The tidiness tests let nobody else ask for a checker. stateright's explorer is served from here
//! too; it shows, and judges nothing. Upholds nothing; it is how properties are checked.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, Model, Path};

/// In which order states are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The way to what is found is a shortest one.
    BreadthFirst,
    /// With less memory.
    DepthFirst,
}

/// What was found when all was visited, or when every property was discovered.
pub(crate) struct Visited<M: Model> {
    /// Unique states.
    pub(crate) states: u64,
    /// Transitions, and one for each initial state.
    pub(crate) transitions: u64,
    /// By the name of a property: the way to a state that breaks it, or that it says there is.
    pub(crate) discoveries: HashMap<&'static str, Path<M::State, M::Action>>,
}

/// Visits what a model can reach, to the end.
///
/// # Panics
/// When a property is an `eventually`, or beyond 2^64 states.
pub(crate) fn joined<M>(model: M, order: Order) -> Visited<M>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let properties = model.properties();
    let eventually = properties.iter().find(|p| p.expectation == Expectation::Eventually);
    assert!(eventually.is_none(), "stateright does not judge `eventually` on cycles");
    let builder = model.checker().threads(1);
    match order {
        Order::BreadthFirst => visited(&builder.spawn_bfs().join()),
        Order::DepthFirst => visited(&builder.spawn_dfs().join()),
    }
}

/// Opens stateright's explorer on a model, and never returns.
pub(crate) fn served<M>(model: M, address: &str)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    model.checker().serve(address);
}

fn visited<M: Model>(checker: &impl Checker<M>) -> Visited<M>
where
    M::State: Clone + Hash + PartialEq,
    M::Action: Clone + PartialEq,
{
    let count = |count: usize| u64::try_from(count).expect("a count of states");
    Visited {
        states: count(checker.unique_state_count()),
        transitions: count(checker.state_count()),
        discoveries: checker.discoveries(),
    }
}

#[cfg(test)]
mod tests {
    use stateright::Property;

    use super::*;

    /// Counts to `0`, in steps of one and two.
    struct Count(u8, fn() -> Property<Count>);

    impl Model for Count {
        type State = u8;
        type Action = u8;

        fn init_states(&self) -> Vec<u8> {
            vec![0]
        }

        fn actions(&self, _: &u8, actions: &mut Vec<u8>) {
            actions.extend([1, 2]);
        }

        fn next_state(&self, at: &u8, by: u8) -> Option<u8> {
            Some(at + by).filter(|next| *next <= self.0)
        }

        fn properties(&self) -> Vec<Property<Self>> {
            vec![(self.1)()]
        }
    }

    #[test]
    fn all_is_visited_in_either_order_and_counted() {
        let holds = || Property::<Count>::always("small", |model, at| *at <= model.0);
        for order in [Order::BreadthFirst, Order::DepthFirst] {
            let visited = joined(Count(100, holds), order);
            assert_eq!((visited.states, visited.transitions), (101, 200));
            assert!(visited.discoveries.is_empty());
        }
    }

    #[test]
    fn breadth_first_finds_a_shortest_way() {
        let below = || Property::<Count>::always("below", |_, at| *at < 9);
        let mut visited = joined(Count(100, below), Order::BreadthFirst);
        let way = visited.discoveries.remove("below").expect("9 is reached");
        assert_eq!(way.into_actions().len(), 5);
    }

    #[test]
    #[should_panic(expected = "does not judge `eventually`")]
    fn what_it_does_not_judge_is_refused() {
        let _ = joined(
            Count(3, || Property::<Count>::eventually("three", |_, at| *at == 3)),
            Order::DepthFirst,
        );
    }
}
