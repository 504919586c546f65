//! What follows from a step of a node: what leaves at once, what is made durable, and what waits for that.
//!
//! What it does not do: any of it.

use alloc::vec::Vec;

use cloakroom_kademlia::{Event, Held, Name, Transmit};
use cloakroom_register::{Message, OperationId, Outcome, Save, Version, View};

use crate::roster::ChangeFault;
use crate::rounds::Rounds;

/// What follows from a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// At once, send this: it says nothing of what the disk has.
    pub first: Vec<Transmit>,
    /// At once, answer this.
    pub answer: Vec<Answer>,
    /// Make all of this durable, in this order, behind that of all steps before.
    pub persist: Vec<Save>,
    /// And with it what has changed of the records of the DHT; `None`: there is nothing to keep any more.
    pub keep: Vec<(Name, Option<Held>)>,
    /// Only then send this.
    pub send: Vec<Transmit>,
    /// And only then tell this, of the DHT.
    pub events: Vec<Event>,
    /// And only then bring this back: the node's own votes.
    pub votes: Vec<Message>,
}

impl Effects {
    /// What follows from this and then another step. All that waits for the disk waits for both.
    pub fn join(&mut self, next: Self) {
        let Self { first, answer, persist, keep, send, events, votes } = next;
        self.first.extend(first);
        self.answer.extend(answer);
        self.persist.extend(persist);
        self.keep.extend(keep);
        self.send.extend(send);
        self.events.extend(events);
        self.votes.extend(votes);
    }
}

/// What a client, or whoever began a query, is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An operation has ended, after so many rounds.
    Ended(OperationId, Outcome, Rounds),
    /// An operation was not begun: these are who can run it, as far as is known here.
    Elsewhere(OperationId, View),
    /// An operation was handed to a node that has not answered: nobody will say how it ended, and it must
    /// not be tried again.
    Lost(OperationId),
    /// A change of the list of members has ended, in this version of the list.
    Changed(OperationId, Result<Version, ChangeFault>),
}
