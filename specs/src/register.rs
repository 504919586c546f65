//! The properties REG-1 to REG-13, over plain integers. (REG-14 is all of them, with arbitrary
//! answers from routing: no predicate here is told what routing said.)
//!
//! A ballot is a `u128` in the order of ballots, 0 for none; nodes, incarnations, operations and
//! values are numbers. The *chain* of a key is the list of states that led to a chosen one, oldest
//! first: a state is in it if a majority accepted it, or a state that was made from it.
//!
//! * [`one_chain`] and its neighbours judge what a key's votes amount to.
//! * [`Line`] judges the answers of calls on one key against the chain, in real time: REG-9.
//! * The rest judge views, handover and collection.

use alloc::vec::Vec;
use core::fmt;

/// A property that does not hold, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Objection {
    /// The property's number: 1 for REG-1.
    pub property: u8,
    /// What was seen.
    pub what: What,
}

/// What an [`Objection`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    /// Two views follow one.
    TwoSuccessors {
        /// Of the two.
        epoch: u32,
    },
    /// A member is active, with so many sealed members of the view before.
    Unsealed {
        /// How many are sealed.
        sealed: usize,
        /// How many a majority is.
        majority: usize,
    },
    /// A member that must not vote has voted.
    Voted {
        /// In the epoch that it voted in.
        active: bool,
        /// The same.
        sealed: bool,
        /// Of the message.
        epoch: u32,
        /// Of the member.
        own: u32,
    },
    /// An active member has less than was chosen before its view.
    Behind {
        /// What it has.
        holds: u128,
        /// What was chosen.
        chosen: u128,
    },
    /// One ballot, two states.
    TwoStates {
        /// The ballot.
        ballot: u128,
    },
    /// A promise, or a vote, that was told and is forgotten.
    Forgotten {
        /// What was told.
        told: u128,
        /// What is left of it.
        left: u128,
    },
    /// Two chosen ballots with different states of one version, or one that misses a state.
    Fork {
        /// The first version in which they differ.
        version: u64,
    },
    /// A chain whose versions do not rise.
    NotRising {
        /// The version that is not above the one before.
        version: u64,
    },
    /// An operation in the chain for the second time.
    Twice {
        /// The operation.
        operation: u64,
    },
    /// A state that does not follow from the one before it.
    DoesNotFollow {
        /// Its version.
        version: u64,
    },
    /// An operation that was acknowledged, and is not in the chain.
    Lost {
        /// The operation.
        operation: u64,
    },
    /// An operation that definitely failed, and is in the chain.
    Happened {
        /// The operation.
        operation: u64,
    },
    /// An answer that no moment of the call explains.
    NotLinearizable {
        /// What had been answered before the call began.
        least: u64,
        /// The version that was answered; 0 for absence.
        answered: u64,
    },
    /// A record was dropped while a member had another state of its key, or a floor below it.
    Dropped {
        /// The tombstone.
        tombstone: u128,
        /// What the member has.
        holds: u128,
        /// Its floor.
        floor: u128,
    },
    /// A snapshot was dropped, with so many active members in the next view.
    Retired {
        /// How many are active.
        active: usize,
        /// How many a majority is.
        majority: usize,
    },
    /// A node with two seats, or a view of another size.
    NoView {
        /// How many different nodes.
        nodes: usize,
        /// How many there must be.
        expected: usize,
    },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "REG-{}: {:?}", self.property, self.what)
    }
}

fn judge(holds: bool, property: u8, what: What) -> Result<(), Objection> {
    if holds { Ok(()) } else { Err(Objection { property, what }) }
}

/// How many members are a majority.
pub const fn majority(members: usize) -> usize {
    members / 2 + 1
}

/// A state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// Its version; the absence that every key begins with has version 0 and is no state.
    pub version: u64,
    /// The value; `None` for a tombstone.
    pub content: Option<u64>,
    /// The operation that made it.
    pub operation: u64,
}

/// What a compare-and-set must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// No value.
    Absent,
    /// This value.
    Value(u64),
    /// A value of this version.
    Version(u64),
}

impl Expected {
    /// Whether a state, or the absence before all states, is what is expected.
    pub fn is_met_by(self, state: Option<State>) -> bool {
        let content = state.and_then(|state| state.content);
        match self {
            Self::Absent => content.is_none(),
            Self::Value(value) => content == Some(value),
            Self::Version(version) => {
                content.is_some() && state.is_some_and(|state| state.version == version)
            }
        }
    }
}

/// REG-1: two views that follow the same one are the same, member by member.
///
/// # Errors
/// REG-1.
pub fn one_successor<M: PartialEq>(epoch: u32, one: &[M], other: &[M]) -> Result<(), Objection> {
    judge(one == other, 1, What::TwoSuccessors { epoch })
}

/// REG-2: a member of a view is active only if so many of the `members` of the view before have
/// durably sealed it. `sealed` counts those.
///
/// # Errors
/// REG-2.
pub fn sealed_before_active(sealed: usize, members: usize) -> Result<(), Objection> {
    let majority = majority(members);
    judge(sealed >= majority, 2, What::Unsealed { sealed, majority })
}

/// REG-3: a vote, cast on a message of `epoch` by a member of the view `own`.
///
/// # Errors
/// REG-3.
pub fn may_vote(active: bool, sealed: bool, epoch: u32, own: u32) -> Result<(), Objection> {
    judge(active && !sealed && epoch == own, 3, What::Voted { active, sealed, epoch, own })
}

/// REG-4: what an active member holds of a key, or its floor if it holds nothing, is not below the
/// highest ballot that was chosen in earlier views.
///
/// # Errors
/// REG-4.
pub fn not_behind(holds: u128, chosen: u128) -> Result<(), Objection> {
    judge(holds >= chosen, 4, What::Behind { holds, chosen })
}

/// REG-5: two votes under one ballot are for one state.
///
/// # Errors
/// REG-5.
pub fn one_state(ballot: u128, one: State, other: State) -> Result<(), Objection> {
    judge(one == other, 5, What::TwoStates { ballot })
}

/// REG-6: what a member has told, of a promise or a vote, is not above what it has now.
///
/// # Errors
/// REG-6.
pub fn not_forgotten(told: u128, left: u128) -> Result<(), Objection> {
    judge(told <= left, 6, What::Forgotten { told, left })
}

/// REG-7: of two chosen ballots, the chain of the lower is the beginning of the chain of the higher.
///
/// # Errors
/// REG-7.
pub fn one_chain(lower: &[State], higher: &[State]) -> Result<(), Objection> {
    let end = State { version: u64::MAX, content: None, operation: u64::MAX };
    for (at, state) in lower.iter().enumerate() {
        let other = higher.get(at).copied().unwrap_or(end);
        let version = state.version.min(other.version);
        judge(*state == other, 7, What::Fork { version })?;
    }
    Ok(())
}

/// REG-7 and REG-10: of two chosen states, the one under the higher ballot is the same, or has a
/// higher version and another operation. For whoever knows the chain with gaps.
///
/// # Errors
/// REG-7 or REG-10.
pub fn follows(lower: State, higher: State) -> Result<(), Objection> {
    if lower == higher {
        return Ok(());
    }
    let version = higher.version;
    judge(lower.version != version, 7, What::Fork { version })?;
    judge(lower.version < version, 10, What::NotRising { version })?;
    let operation = higher.operation;
    judge(lower.operation != operation, 7, What::Twice { operation })
}

/// REG-7 and REG-10: a chain's versions rise, no operation is in it twice, and each state follows
/// from the one before it by the operation that made it. `expected` tells what an operation expects
/// and what it makes of that.
///
/// # Errors
/// REG-7 or REG-10.
pub fn is_chain(
    chain: &[State],
    expected: impl Fn(u64) -> Option<(Expected, Option<u64>)>,
) -> Result<(), Objection> {
    for (at, state) in chain.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| chain[before]);
        let above = state.version > before.map_or(0, |before| before.version);
        judge(above, 10, What::NotRising { version: state.version })?;
        let once = chain[..at].iter().all(|other| other.operation != state.operation);
        judge(once, 7, What::Twice { operation: state.operation })?;
        let follows = expected(state.operation)
            .is_some_and(|(expected, new)| expected.is_met_by(before) && state.content == new);
        judge(follows, 7, What::DoesNotFollow { version: state.version })?;
    }
    Ok(())
}

/// REG-8: an operation that definitely failed is not in the chain.
///
/// # Errors
/// REG-8.
pub fn never_happened(chain: &[State], operation: u64) -> Result<(), Objection> {
    let happened = chain.iter().any(|state| state.operation == operation);
    judge(!happened, 8, What::Happened { operation })
}

/// REG-8: an operation that was acknowledged, in this version, is in the chain.
///
/// # Errors
/// REG-8.
pub fn happened(chain: &[State], operation: u64, version: u64) -> Result<(), Objection> {
    let there = |state: &State| (state.operation, state.version) == (operation, version);
    judge(chain.iter().any(there), 8, What::Lost { operation })
}

/// REG-9: a compare-and-set that failed answers something else than it expected: this version and
/// value, or absence.
///
/// # Errors
/// REG-9.
pub fn differs(expected: Expected, answered: Option<(u64, u64)>) -> Result<(), Objection> {
    let state = |(version, value)| State { version, content: Some(value), operation: 0 };
    let met = expected.is_met_by(answered.map(state));
    let version = answered.map_or(0, |(version, _)| version);
    judge(!met, 9, What::NotLinearizable { least: 0, answered: version })
}

/// What calls on one key have answered: their real-time order, as far as it matters.
///
/// The chain already is an order of all states; a call's place in it is the version that it answers
/// or makes. A history is linearizable if the places can be chosen so that no call's place is below
/// that of a call that had returned when it began, and a write's place is above. Choosing the lowest
/// place that a call allows is best for all later ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Line {
    /// The highest place of a call that has returned.
    returned: u64,
}

impl Line {
    /// A call begins: its place is to be at or above this.
    pub fn begin(self) -> u64 {
        self.returned
    }

    /// A call that began at `least` has read this version, or absence, in the present `chain`.
    ///
    /// # Errors
    /// REG-9.
    pub fn read(
        &mut self,
        chain: &[State],
        least: u64,
        answered: Option<(u64, u64)>,
    ) -> Result<(), Objection> {
        let wrong = What::NotLinearizable { least, answered: answered.map_or(0, |(v, _)| v) };
        let place = match answered {
            Some((version, value)) => {
                let there =
                    |state: &&State| (state.version, state.content) == (version, Some(value));
                chain.iter().find(there).map(|state| state.version)
            }
            None => absent_from(chain, least),
        };
        let place = place.filter(|&place| place >= least);
        self.place(place, wrong)
    }

    /// A call that began at `least` has made this version.
    ///
    /// # Errors
    /// REG-9.
    pub fn write(&mut self, least: u64, version: u64) -> Result<(), Objection> {
        let wrong = What::NotLinearizable { least, answered: version };
        self.place((version > least).then_some(version), wrong)
    }

    fn place(&mut self, place: Option<u64>, wrong: What) -> Result<(), Objection> {
        let place = place.ok_or(Objection { property: 9, what: wrong })?;
        self.returned = self.returned.max(place);
        Ok(())
    }
}

/// The lowest place at or above `least` at which the key is absent.
fn absent_from(chain: &[State], least: u64) -> Option<u64> {
    let before: Vec<&State> = chain.iter().filter(|state| state.version <= least).collect();
    if before.last().is_none_or(|state| state.content.is_none()) {
        return Some(least);
    }
    let after = chain.iter().find(|state| state.version > least && state.content.is_none());
    after.map(|state| state.version)
}

/// REG-11: a record was dropped on the word that every member has exactly this tombstone, or nothing
/// with a floor not below it. `holds` is 0 for nothing. Members may have gone on since: upwards.
///
/// # Errors
/// REG-11.
pub fn may_drop(
    tombstone: u128,
    members: impl IntoIterator<Item = (u128, u128)>,
) -> Result<(), Objection> {
    members.into_iter().try_for_each(|(holds, floor)| {
        let wrong = What::Dropped { tombstone, holds, floor };
        judge(floor >= tombstone && (holds == 0 || holds >= tombstone), 11, wrong)
    })
}

/// REG-12: a snapshot was dropped when so many of the `members` of the next view were active.
///
/// # Errors
/// REG-12.
pub fn may_retire(active: usize, members: usize) -> Result<(), Objection> {
    let majority = majority(members);
    judge(active >= majority, 12, What::Retired { active, majority })
}

/// REG-13: the members of a view, as (node, incarnation), are `expected` different nodes.
///
/// # Errors
/// REG-13.
pub fn is_view(members: &[(u64, u64)], expected: usize) -> Result<(), Objection> {
    let first = |at: usize| members[..at].iter().all(|(node, _)| *node != members[at].0);
    let nodes = (0..members.len()).filter(|&at| first(at)).count();
    judge(nodes == expected && members.len() == expected, 13, What::NoView { nodes, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: State = State { version: 1, content: Some(10), operation: 1 };
    const B: State = State { version: 2, content: None, operation: 2 };
    const C: State = State { version: 3, content: Some(30), operation: 3 };

    fn calls(operation: u64) -> Option<(Expected, Option<u64>)> {
        match operation {
            1 => Some((Expected::Absent, Some(10))),
            2 => Some((Expected::Value(10), None)),
            3 => Some((Expected::Absent, Some(30))),
            _ => None,
        }
    }

    #[test]
    fn of_two_chosen_states_the_higher_repeats_the_lower_or_goes_on() {
        let wrong = |lower, higher| follows(lower, higher).map_err(|wrong| wrong.property);
        assert_eq!((wrong(A, A), wrong(A, B), wrong(A, C)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(wrong(A, State { operation: 9, ..A }), Err(7));
        assert_eq!(wrong(B, A), Err(10));
        assert_eq!(wrong(A, State { version: 5, ..A }), Err(7));
    }

    #[test]
    fn a_chain_rises_and_each_state_follows_from_the_one_before() {
        assert_eq!(is_chain(&[A, B, C], calls), Ok(()));
        let broken = |chain: &[State]| is_chain(chain, calls).map_err(|wrong| wrong.property);
        assert_eq!(broken(&[A, C]), Err(7), "expects absence");
        assert_eq!(broken(&[B]), Err(7), "expects a value");
        assert_eq!(broken(&[A, State { version: 1, ..B }]), Err(10));
        assert_eq!(broken(&[A, B, State { version: 3, ..A }]), Err(7), "twice");
        assert_eq!(broken(&[State { content: Some(11), ..A }]), Err(7));
    }

    #[test]
    fn the_chain_of_a_lower_ballot_is_the_beginning_of_that_of_a_higher() {
        assert_eq!(one_chain(&[A], &[A, B]), Ok(()));
        let wrong = |lower: &[State], higher: &[State]| one_chain(lower, higher).unwrap_err().what;
        assert_eq!(wrong(&[A, B], &[A]), What::Fork { version: 2 });
        assert_eq!(wrong(&[A, B], &[A, C]), What::Fork { version: 2 });
    }

    #[test]
    fn an_answer_is_true_at_some_moment_of_its_call() {
        let mut line = Line::default();
        assert!(line.read(&[A], 0, None).is_ok(), "before the put");
        assert!(line.write(0, 1).is_ok());
        assert_eq!(line.begin(), 1);
        assert!(line.read(&[A], 1, None).is_err(), "after it");
        assert!(line.write(1, 1).is_err(), "a version is made once");
        assert!(line.read(&[A, B], 1, None).is_ok(), "removed meanwhile");
        assert_eq!(line.begin(), 2);
        assert!(line.read(&[A, B, C], 2, Some((1, 10))).is_err(), "stale");
        assert!(line.read(&[A, B], 2, Some((3, 30))).is_err(), "not chosen");
        assert!(line.read(&[A, B, C], 2, Some((3, 30))).is_ok());
    }

    #[test]
    fn an_operation_happened_or_not() {
        assert!(happened(&[A, B], 2, 2).is_ok() && happened(&[A, B], 2, 3).is_err());
        assert!(never_happened(&[A, B], 3).is_ok() && never_happened(&[A, B], 2).is_err());
    }

    #[test]
    fn views_seals_and_floors_are_counted() {
        assert!(sealed_before_active(2, 3).is_ok() && sealed_before_active(1, 3).is_err());
        assert!(may_retire(2, 3).is_ok() && may_retire(1, 2).is_err());
        assert!(is_view(&[(1, 0), (2, 0)], 2).is_ok());
        assert!(is_view(&[(1, 0), (1, 1)], 2).is_err() && is_view(&[(1, 0)], 2).is_err());
        assert!(one_successor(4, &[1, 2], &[1, 2]).is_ok());
        assert!(one_successor(4, &[1, 2], &[1, 3]).is_err());
        assert!(may_vote(true, false, 3, 3).is_ok());
        assert!(may_vote(true, false, 2, 3).is_err() && may_vote(true, true, 3, 3).is_err());
        assert!(may_drop(5, [(5, 5), (0, 6), (7, 5)]).is_ok());
        assert!(may_drop(5, [(5, 4)]).is_err() && may_drop(5, [(4, 5)]).is_err());
        assert!(not_behind(4, 5).is_err() && not_forgotten(4, 3).is_err());
        assert!(one_state(4, A, A).is_ok() && one_state(4, A, B).is_err());
    }
}
