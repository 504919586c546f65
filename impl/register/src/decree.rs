//! The decree of the next view: single-decree Paxos among the members of this one.
//!
//! Invariants:
//! * REG-1: at most one view is decided to follow another. Whoever proposes takes over the view of the
//!   highest ballot that a majority has shown, and proposes its own only where there is none;
//! * REG-3: only an active member that is not sealed votes on it. A sealed one knows what was decided,
//!   and says so;
//! * REG-13: what is proposed is a view: different nodes.
//!
//! Kept apart from the registers: the two share no promise.
//!
//! What it does not do: choose the members, wait, or tell the members of the next view.
//! [`Change::decided`] says who must be told.

use alloc::vec::Vec;

use crate::ballot::Ballot;
use crate::durable::{Vote, Write};
use crate::id::{Boot, NodeId};
use crate::message::{Body, DecreeAsk, DecreeReply, Envelope, Message};
use crate::replica::{Effects, Replica};
use crate::view::{Seat, Seats, View};

impl Replica {
    /// Votes on the next view.
    pub(crate) fn vote_on_view(&mut self, from: NodeId, ask: &DecreeAsk, effects: &mut Effects) {
        let ballot = match ask {
            DecreeAsk::Prepare(ballot) | DecreeAsk::Accept(ballot, _) => *ballot,
        };
        let is_theirs = self.view().seat_at(from) == Some(ballot.seat);
        if ballot.epoch != self.view().epoch() || !is_theirs {
            return;
        }
        let Vote { promise, accepted } = self.durable.vote.clone();
        let reply = if ballot < promise {
            DecreeReply::Refused(ballot, promise)
        } else {
            let (vote, reply) = match ask {
                DecreeAsk::Prepare(_) => (
                    Vote { promise: ballot, accepted: accepted.clone() },
                    DecreeReply::Promised(ballot, accepted),
                ),
                DecreeAsk::Accept(_, view) => (
                    Vote { promise: ballot, accepted: Some((ballot, view.clone())) },
                    DecreeReply::Accepted(ballot),
                ),
            };
            if vote != self.durable.vote {
                self.write(Write::Vote(vote), effects);
            }
            reply
        };
        self.answer(from, self.view().epoch(), Body::Decreed(reply), effects);
    }
}

/// An attempt of one member to have the next view decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decree {
    view: View,
    seat: Seat,
    boot: Boot,
    candidate: View,
    /// Of the last ballot, or of a higher one that was met.
    round: u32,
    /// Under way.
    ballot: Ballot,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Prepare { promised: Seats, highest: Option<(Ballot, View)> },
    Accept { accepted: Seats, proposal: View },
    Decided,
}

/// What a step of a decree brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Change {
    /// To be sent.
    pub send: Vec<Envelope>,
    /// The next view. The members of both views are to be told, again and again, by
    /// [`Body::Decided`].
    pub decided: Option<View>,
}

impl Decree {
    /// Begins to propose `candidate` as the view after `view`, from a seat in it. `boot` as for
    /// [`Coordinator::new`](crate::Coordinator::new), and one attempt to a start, since two of one
    /// boot would use the same ballots: after this, [`Decree::retry`].
    ///
    /// # Panics
    /// When the candidate does not follow the view: the host's fault.
    pub fn begin(view: View, seat: Seat, boot: Boot, candidate: View) -> (Self, Change) {
        let follows = view.epoch().next() == Some(candidate.epoch());
        assert!(follows && view.slot() == candidate.slot(), "REG-1: a successor of the view");
        let (ballot, phase) = (Ballot::ZERO, Phase::Decided);
        let mut decree = Self { view, seat, boot, candidate, round: 0, ballot, phase };
        let change = decree.prepare();
        (decree, change)
    }

    /// What it proposes, as long as nobody has voted for anything else.
    pub fn candidate(&self) -> &View {
        &self.candidate
    }

    /// It has waited long enough: tries again, under a higher ballot.
    pub fn retry(&mut self) -> Change {
        if self.phase == Phase::Decided { Change::default() } else { self.prepare() }
    }

    /// A message has come from a node.
    pub fn handle(&mut self, from: NodeId, message: &Message) -> Change {
        let here = (self.view.slot(), self.view.epoch());
        let Some(seat) = self.view.seat_at(from) else { return Change::default() };
        if (message.slot, message.epoch) != here || self.phase == Phase::Decided {
            return Change::default();
        }
        match &message.body {
            // A sealed member knows.
            Body::Newer(next) if Some(next.epoch()) == self.view.epoch().next() => {
                self.decide(next.clone())
            }
            Body::Decreed(reply) => self.count(seat, reply),
            _ => Change::default(),
        }
    }

    fn count(&mut self, seat: Seat, reply: &DecreeReply) -> Change {
        let current = self.ballot;
        match (&mut self.phase, reply) {
            (Phase::Prepare { promised, highest }, DecreeReply::Promised(ballot, accepted))
                if *ballot == current =>
            {
                if promised.add(seat) {
                    // REG-1: the highest ballot, not the first answer.
                    let higher = accepted.as_ref().map(|(ballot, _)| *ballot)
                        > highest.as_ref().map(|(ballot, _)| *ballot);
                    if higher {
                        highest.clone_from(accepted);
                    }
                }
                if self.view.is_majority(*promised) {
                    // REG-1: what may have been decided must be.
                    let found = highest.take().map(|(_, view)| view);
                    return self.accept(found.unwrap_or_else(|| self.candidate.clone()));
                }
            }
            (Phase::Accept { accepted, proposal }, DecreeReply::Accepted(ballot))
                if *ballot == current =>
            {
                accepted.add(seat);
                if self.view.is_majority(*accepted) {
                    let next = proposal.clone();
                    return self.decide(next);
                }
            }
            (_, DecreeReply::Refused(ballot, promise)) if *ballot == current => {
                self.round = self.round.max(promise.round);
            }
            _ => {}
        }
        Change::default()
    }

    fn prepare(&mut self) -> Change {
        // All rounds of this start are used up: the next start goes on.
        let Some(round) = self.round.checked_add(1) else { return Change::default() };
        self.round = round;
        let Self { seat, boot, .. } = *self;
        self.ballot = Ballot { epoch: self.view.epoch(), round, seat, boot };
        self.phase = Phase::Prepare { promised: Seats::default(), highest: None };
        self.ask(&DecreeAsk::Prepare(self.ballot))
    }

    fn accept(&mut self, proposal: View) -> Change {
        let ask = DecreeAsk::Accept(self.ballot, proposal.clone());
        self.phase = Phase::Accept { accepted: Seats::default(), proposal };
        self.ask(&ask)
    }

    fn decide(&mut self, next: View) -> Change {
        self.phase = Phase::Decided;
        Change { send: Vec::new(), decided: Some(next) }
    }

    fn ask(&self, ask: &DecreeAsk) -> Change {
        let (slot, epoch) = (self.view.slot(), self.view.epoch());
        let to = |to: NodeId| {
            let message = Message { slot, epoch, body: Body::Decree(ask.clone()) };
            Envelope { to, message }
        };
        let send = self.view.members().iter().map(|member| to(member.node)).collect();
        Change { send, decided: None }
    }
}
