//! One register as its callers see it: what an attempt of a compare-and-set may answer, and what may
//! come of it later. `register.md`, section 3, as a machine over plain values.
//!
//! * An operation is *bound*, by the first accept that is sent for it, to the version that it found: it
//!   makes the next one or nothing (REG-7). [`Sent`] is such an accept: it may be chosen while the
//!   version is still that one, and never after.
//! * An attempt that fails definitely, or is done, is so at one moment (REG-8, REG-9).
//! * One whose version two others have passed tells nothing, although it was answered: it may have
//!   made the first of them.
//! * A coordinator that keeps a promise takes what it found with it for the present state, and may be
//!   wrong. Its accept is refused then, but the operation is bound to a version that is over.
//!
//! What it does not do: take tombstones away. A register that was collected answers `Unknown` more
//! often, and begins above a floor.

use alloc::vec::Vec;

/// One register: its state, and what is on its way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register<V> {
    /// The state's version.
    pub version: u64,
    /// The value; `None` is absence.
    pub content: Option<V>,
    /// The operation that made this state, as far as anybody asks.
    pub maker: Option<u64>,
    /// Accepts that may still be chosen.
    pub sent: Vec<Sent<V>>,
}

/// An accept that may be chosen as the state after the present one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent<V> {
    /// Whose.
    pub operation: u64,
    /// The value that it puts.
    pub content: Option<V>,
}

/// One attempt of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt<V> {
    /// Of which operation.
    pub operation: u64,
    /// What must be there; `None` is absence.
    pub expected: Option<V>,
    /// What shall be there.
    pub new: Option<V>,
    /// The version that it is bound to, if an accept of it was ever sent.
    pub bound: Option<u64>,
}

/// How far an attempt comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// To its end.
    Whole,
    /// An accept of it is sent, and it is given up then.
    Sent,
    /// It is given up before that.
    Nowhere,
    /// An accept of it, the first one, is sent after a state that was the present one so many versions
    /// ago, and is refused.
    Stale(u64),
}

/// What an attempt answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<V> {
    /// Done.
    Set,
    /// Not done, and it never will be: this was there instead.
    Mismatch(Option<V>),
    /// No attempt of it was begun to be done.
    Unavailable,
    /// It may have happened, may still happen once, or never. It is bound to this version.
    Unknown(u64),
}

impl<V: Clone + PartialEq> Register<V> {
    /// Carries out an attempt, as far as it comes.
    pub fn attempt(&mut self, attempt: &Attempt<V>, reach: Reach) -> Answer<V> {
        let Attempt { operation, expected, new, bound } = attempt;
        if let (None, Reach::Stale(behind)) = (bound, reach)
            && (1..=self.version).contains(&behind)
        {
            return Answer::Unknown(self.version - behind);
        }
        let given_up = bound.map_or(Answer::Unavailable, Answer::Unknown);
        let behind = bound.map_or(0, |bound| self.version - bound);
        let made = behind == 1 && self.maker == Some(*operation);
        if behind > 1 || matches!(reach, Reach::Nowhere | Reach::Stale(_)) {
            return given_up;
        }
        if made || self.content != *expected {
            // What it found is written back, and then the answer is definite.
            return match reach {
                Reach::Whole if made => Answer::Set,
                Reach::Whole => Answer::Mismatch(self.content.clone()),
                _ => given_up,
            };
        }
        // For the first time; or again, in the same place; or anew, when what is there instead of
        // it is what it expects once more.
        let sent = Sent { operation: *operation, content: new.clone() };
        if reach == Reach::Whole {
            self.choose(sent);
            return Answer::Set;
        }
        if !self.sent.contains(&sent) {
            self.sent.push(sent);
        }
        Answer::Unknown(self.version)
    }

    /// An accept that is on its way is chosen.
    ///
    /// # Panics
    /// When there is no such: the caller's fault.
    pub fn arrive(&mut self, which: usize) {
        let sent = self.sent[which].clone();
        self.choose(sent);
    }

    fn choose(&mut self, sent: Sent<V>) {
        self.version += 1;
        self.content = sent.content;
        self.maker = Some(sent.operation);
        // REG-7: whatever else was to follow the state before never will.
        self.sent.clear();
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const EMPTY: Register<u64> =
        Register { version: 0, content: None, maker: None, sent: Vec::new() };

    fn put(operation: u64, bound: Option<u64>) -> Attempt<u64> {
        Attempt { operation, expected: None, new: Some(operation), bound }
    }

    fn swap(operation: u64, from: u64) -> Attempt<u64> {
        Attempt { expected: Some(from), ..put(operation, None) }
    }

    #[test]
    fn what_was_sent_happens_once_or_never() {
        let mut register = EMPTY;
        assert_eq!(register.attempt(&put(1, None), Reach::Sent), Answer::Unknown(0));
        assert_eq!(register.attempt(&put(1, Some(0)), Reach::Sent), Answer::Unknown(0));
        assert_eq!(register.sent.len(), 1, "the same once more");
        register.arrive(0);
        assert!(register.sent.is_empty());
        assert_eq!(register.attempt(&put(1, Some(0)), Reach::Whole), Answer::Set);
        assert_eq!((register.version, register.content), (1, Some(1)));
    }

    #[test]
    fn another_in_its_place_is_a_definite_failure_and_two_tell_nothing() {
        let mut register = EMPTY;
        assert_eq!(register.attempt(&put(1, None), Reach::Sent), Answer::Unknown(0));
        assert_eq!(register.attempt(&put(2, None), Reach::Whole), Answer::Set);
        assert_eq!(register.sent, vec![]);
        let again = put(1, Some(0));
        assert_eq!(register.attempt(&again, Reach::Nowhere), Answer::Unknown(0));
        assert_eq!(register.attempt(&again, Reach::Sent), Answer::Unknown(0), "a write-back");
        assert_eq!(register.attempt(&again, Reach::Whole), Answer::Mismatch(Some(2)));
        assert_eq!(register.attempt(&swap(3, 2), Reach::Whole), Answer::Set);
        assert_eq!(register.attempt(&again, Reach::Whole), Answer::Unknown(0));
        assert_eq!(register.attempt(&put(4, None), Reach::Nowhere), Answer::Unavailable);
    }

    #[test]
    fn an_attempt_after_a_state_that_is_over_never_happens() {
        let mut register = Register { content: Some(7), version: 2, ..EMPTY };
        assert_eq!(register.attempt(&put(1, None), Reach::Stale(2)), Answer::Unknown(0));
        assert_eq!(register.attempt(&put(1, Some(0)), Reach::Whole), Answer::Unknown(0));
        assert_eq!(register.attempt(&put(2, None), Reach::Stale(1)), Answer::Unknown(1));
        assert_eq!(register.attempt(&put(2, Some(1)), Reach::Whole), Answer::Mismatch(Some(7)));
        assert_eq!(register.attempt(&put(3, None), Reach::Stale(3)), Answer::Unavailable);
        assert!(register.sent.is_empty() && register.version == 2);
    }

    #[test]
    fn what_it_expects_made_anew_begins_it_anew() {
        let mut register = Register { content: Some(7), version: 4, ..EMPTY };
        assert_eq!(register.attempt(&swap(1, 7), Reach::Sent), Answer::Unknown(4));
        assert_eq!(
            register.attempt(&Attempt { new: Some(7), ..swap(2, 7) }, Reach::Whole),
            Answer::Set
        );
        let again = Attempt { bound: Some(4), ..swap(1, 7) };
        assert_eq!(register.attempt(&again, Reach::Sent), Answer::Unknown(5));
        assert_eq!(register.attempt(&again, Reach::Whole), Answer::Set);
        assert_eq!((register.version, register.content), (6, Some(1)));
    }
}
