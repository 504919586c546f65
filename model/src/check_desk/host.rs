//! The hosts of `check_desk`: their callers' calls, and their turns under way.

use cloakroom_pool::{Batch, Id, Request, Response, Turn};

use super::New;
use crate::judge::Seen;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    pub(super) calls: u8,
    /// What its callers hold: from the return of allocate to the call of free. Sorted.
    pub(super) holds: Vec<Pair>,
    /// Frees that must be called again.
    pub(super) unfinished: Vec<Pair>,
    /// Tags of allocates without a definite end: never to be used again.
    pub(super) doubted: Vec<u8>,
    pub(super) is_dead: bool,
    /// It has died when counts were still to be brought up for an allocate that had returned.
    pub(super) has_left_counts: bool,
    /// The calls of the turn under way that have not returned; between turns, those that one has left.
    pub(super) serves: Vec<Call>,
    pub(super) turn: Option<Serving>,
}

/// A turn under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Serving {
    pub(super) turn: Turn,
    /// Of each call that the host serves, its number in the turn.
    pub(super) numbers: Vec<usize>,
    /// Calls that it ever had.
    pub(super) came: usize,
    /// An allocate of it has returned.
    pub(super) has_allocated: bool,
    /// The batches under way.
    pub(super) asked: Vec<Asked>,
    pub(super) has_begun: bool,
}

/// A batch under way, and the answers to its requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) batch: Batch,
    pub(super) answers: Vec<Option<Response>>,
}

/// An id and the number of a tag of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pair {
    pub(super) id: Id,
    pub(super) tag: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    Allocate {
        tag: u8,
        /// Its turn has done nothing since it came.
        is_new: bool,
        /// `Full` was allowed at some moment of this call.
        full: bool,
    },
    Free {
        pair: Pair,
        seen: Seen,
    },
}

impl Serving {
    /// Begins all that can begin.
    pub(super) fn ask(&mut self) {
        while let Some(batch) = self.turn.begin() {
            let answers = vec![None; self.turn.requests(batch).len()];
            self.asked.push(Asked { batch, answers });
        }
        self.asked.sort_unstable_by_key(|asked| asked.batch);
    }

    /// All that is under way, and the answers that there are.
    pub(super) fn requests(&self) -> impl Iterator<Item = (Request, Option<&Response>)> {
        self.asked.iter().flat_map(|Asked { batch, answers }| {
            self.turn.requests(*batch).into_iter().zip(answers.iter().map(Option::as_ref))
        })
    }
}

impl Host {
    pub(super) fn request(&self, which: u8) -> Option<Request> {
        Some(self.turn.as_ref()?.requests().nth(which.into())?.0)
    }

    /// The smallest number of a tag that its callers have no use for: tags are used again as soon as the
    /// rules allow, because that is the harder case.
    pub(super) fn unused_tag(&self) -> u8 {
        let serves = self.serves.iter().map(|call| match call {
            Call::Allocate { tag, .. } => *tag,
            Call::Free { pair, .. } => pair.tag,
        });
        let pairs = self.holds.iter().chain(&self.unfinished).map(|pair| pair.tag);
        let used: Vec<u8> = serves.chain(pairs).chain(self.doubted.iter().copied()).collect();
        (0..u8::MAX).find(|number| !used.contains(number)).expect("more tags than calls")
    }

    /// New calls come.
    pub(super) fn come(&mut self, new: New) {
        // The higher one first, so that the lower one stays where it is.
        for at in new.frees.into_iter().rev().flatten() {
            let pair = self.holds.remove(usize::from(at));
            self.serves.push(Call::Free { pair, seen: Seen::default() });
            self.calls -= 1;
        }
        for _ in 0..new.allocates {
            let tag = self.unused_tag();
            self.serves.push(Call::Allocate { tag, is_new: true, full: false });
            self.calls -= 1;
        }
    }

    /// A call without a definite end.
    pub(super) fn lost(&mut self, call: Call) {
        match call {
            Call::Free { pair, .. } => self.unfinished.push(pair),
            Call::Allocate { tag, .. } => {
                self.doubted.push(tag);
                self.doubted.sort_unstable();
            }
        }
    }
}
