//! How a replica votes on one key: read, prepare, accept.
//!
//! Invariants:
//! * REG-6: the promise of a key never falls, and nothing below it is accepted;
//! * REG-5: a ballot is accepted with the one state that its coordinator has sent under it;
//! * whatever is answered is durable first: the record is written before the reply is made, and the
//!   host keeps that order.

use alloc::vec::Vec;

use crate::ballot::Ballot;
use crate::id::{Key, NodeId};
use crate::message::{Ask, Body, Found, Reply};
use crate::record::{Accepted, Record, State};
use crate::replica::{Effects, Replica};

impl Replica {
    /// Votes on each part of a coordinator's message.
    pub(crate) fn vote(&mut self, from: NodeId, asks: &[Ask], effects: &mut Effects) {
        let mut replies = Vec::with_capacity(asks.len());
        for ask in asks {
            // A ballot that its sender has no right to may be somebody else's.
            let ballot = ask.ballot();
            let sender = self.view().seat_at(from);
            if ballot.epoch == self.view().epoch() && sender == Some(ballot.seat) {
                replies.push(self.reply(ask, effects));
            }
        }
        if !replies.is_empty() {
            self.answer(from, self.view().epoch(), Body::Reply(replies), effects);
        }
    }

    fn reply(&mut self, ask: &Ask, effects: &mut Effects) -> Reply {
        match ask {
            Ask::Read { key, ballot } => {
                let found = self.found(self.durable.record(key).accepted);
                Reply::Held { key: key.clone(), ballot: *ballot, found }
            }
            Ask::Prepare { key, ballot } => self.prepare(key, *ballot, effects),
            Ask::Accept { key, ballot, state, next } => {
                self.accept(key, *ballot, state, *next, effects)
            }
        }
    }

    fn found(&self, accepted: Option<Accepted>) -> Found {
        Found { accepted, floor: self.durable.floor.version }
    }

    fn prepare(&mut self, key: &Key, ballot: Ballot, effects: &mut Effects) -> Reply {
        let record = self.durable.record(key);
        // REG-6
        if ballot < record.promise {
            return Reply::Refused { key: key.clone(), ballot, promise: record.promise };
        }
        let found = self.found(record.accepted.clone());
        self.write_record(key, Record { promise: ballot, ..record }, effects);
        Reply::Promised { key: key.clone(), ballot, found }
    }

    fn accept(
        &mut self,
        key: &Key,
        ballot: Ballot,
        state: &State,
        next: Option<Ballot>,
        effects: &mut Effects,
    ) -> Reply {
        let record = self.durable.record(key);
        let promise = next.map_or(ballot, |next| next.max(ballot));
        let again = record.accepted.as_ref().is_some_and(|accepted| accepted.ballot == ballot);
        // REG-6: a duplicate of an accept is acknowledged together with its promise or not at all.
        // That the state is here already does not show that the promise is: it may have been copied
        // from another replica.
        if ballot < record.promise && !(again && record.promise == promise) {
            return Reply::Refused { key: key.clone(), ballot, promise: record.promise };
        }
        let accepted = Some(Accepted { ballot, state: state.clone() });
        self.write_record(key, Record { promise, accepted }, effects);
        Reply::Accepted { key: key.clone(), ballot, next }
    }
}

impl Ask {
    /// The ballot that it is about.
    pub fn ballot(&self) -> Ballot {
        match self {
            Self::Read { ballot, .. }
            | Self::Prepare { ballot, .. }
            | Self::Accept { ballot, .. } => *ballot,
        }
    }
}
