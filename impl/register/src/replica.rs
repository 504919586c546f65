//! A replica: one member's part in one view of one slot.
//!
//! Invariants:
//! * REG-3: it votes only while it is active, and only on messages of its own epoch. Every message
//!   passes the one gate in [`Replica::handle`];
//! * a replica never changes its view. A node that stays on in the next view has a second replica
//!   there.
//!
//! What it does not do: send, store, wait. [`Effects`] tells its host what to make durable, and
//! what to send after that.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use thiserror::Error;

use crate::durable::{Durable, Life, Pulled, Vote, Write};
use crate::id::{Epoch, Key, Member, NodeId};
use crate::message::{Body, Envelope, Message};
use crate::record::{Floor, Record};
use crate::view::{Seat, Seats, View};

/// What follows from a step of a replica, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// First, make all of this durable, in this order.
    pub persist: Vec<Write>,
    /// Then send this.
    pub send: Vec<Envelope>,
}

/// One member's part in one view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    pub(crate) durable: Durable,
    pub(crate) seat: Seat,
    /// While sealed: who of the next view has said that it is active. Asked for again after a start.
    pub(crate) active_next: Seats,
}

/// Why there is no replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The host's fault: this node, in this life of its disk, has no seat in the view.
    #[error("{0} is no member of the view")]
    NoMember(Member),
    /// The host's fault: one view does not follow the other.
    #[error("expected the view after {1}, got {0}")]
    NotNext(Epoch, Epoch),
}

impl Replica {
    /// A member of the first view, which stands in the cluster's genesis: there is nothing to learn.
    ///
    /// # Errors
    /// [`ReplicaError::NoMember`]
    pub fn genesis(me: Member, view: View) -> Result<Self, ReplicaError> {
        Self::restore(Durable {
            me,
            view,
            life: Life::Active,
            floor: Floor::ZERO,
            records: BTreeMap::new(),
            vote: Vote::NONE,
        })
    }

    /// A member of a view that the members of `previous` have decided. Its host makes it durable
    /// before it does anything.
    ///
    /// # Errors
    /// [`ReplicaError`]
    pub fn learner(me: Member, view: View, previous: View) -> Result<Self, ReplicaError> {
        let follows = previous.epoch().next() == Some(view.epoch());
        if !follows || previous.slot() != view.slot() {
            return Err(ReplicaError::NotNext(view.epoch(), previous.epoch()));
        }
        let nothing = |view: &View| view.seats().map(|_| Pulled::UpTo(None)).collect();
        let (pulled, copied) = (nothing(&previous), nothing(&view));
        Self::restore(Durable {
            me,
            view,
            life: Life::Learner { previous, pulled, copied },
            floor: Floor::ZERO,
            records: BTreeMap::new(),
            vote: Vote::NONE,
        })
    }

    /// After a start: what was durable, and nothing else.
    ///
    /// # Errors
    /// [`ReplicaError::NoMember`]
    pub fn restore(durable: Durable) -> Result<Self, ReplicaError> {
        let seat = durable.view.seat_of(durable.me).ok_or(ReplicaError::NoMember(durable.me))?;
        Ok(Self { durable, seat, active_next: Seats::default() })
    }

    /// What it remembers.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Its view.
    pub fn view(&self) -> &View {
        &self.durable.view
    }

    /// Its seat in the view.
    pub fn seat(&self) -> Seat {
        self.seat
    }

    /// A message has come from a node.
    pub fn handle(&mut self, from: NodeId, message: &Message) -> Effects {
        let mut effects = Effects::default();
        let Message { slot, epoch, body } = message;
        // REG-3, the gate: (slot, epoch) first, whatever the message says. REG-14: whoever was led here
        // by a wrong hint is told the truth or nothing.
        if *slot != self.view().slot() || *epoch > self.view().epoch() {
            return effects;
        }
        if *epoch < self.view().epoch() {
            let newer = self.view().clone();
            self.answer(from, *epoch, Body::Newer(newer), &mut effects);
            return effects;
        }
        match (&self.durable.life, body) {
            // A learner may not vote, nor serve, nor be sealed: it has too little. Whoever asks it asks
            // again.
            (Life::Learner { .. }, Body::Page(page)) => self.merge(from, page, &mut effects),
            (Life::Learner { .. }, _) => {}
            (Life::Active, Body::Ask(asks)) => self.vote(from, asks, &mut effects),
            (Life::Active, Body::Decree(ask)) => self.vote_on_view(from, ask, &mut effects),
            (Life::Active, Body::Collect(asks)) => self.collect(from, asks, &mut effects),
            (Life::Active, Body::Decided { previous, next }) => {
                self.seal(previous, next, &mut effects);
            }
            (Life::Active | Life::Sealed { .. }, Body::Pull { next, after }) => {
                self.serve(from, next, after.as_ref(), &mut effects);
            }
            (Life::Active | Life::Sealed { .. }, Body::Copy { after }) => {
                self.serve_peer(from, after.as_ref(), &mut effects);
            }
            (Life::Sealed { .. }, Body::IsActive) => self.count_active(from, &mut effects),
            // REG-12: only a member that is or was active says so.
            (_, Body::AreYouActive) => self.tell_active(from, &mut effects),
            // REG-3: its votes are over; the next view has the truth.
            (
                Life::Sealed { next } | Life::Retired { next },
                Body::Ask(_)
                | Body::Decree(_)
                | Body::Collect(_)
                | Body::Pull { .. }
                | Body::Copy { .. },
            ) => {
                let newer = Body::Newer(next.clone());
                self.answer(from, *epoch, newer, &mut effects);
            }
            // For a coordinator, for the node, or too late.
            (
                _,
                Body::Reply(_)
                | Body::Newer(_)
                | Body::Decreed(_)
                | Body::Decided { .. }
                | Body::Page(_)
                | Body::IsActive
                | Body::Agreed(_)
                | Body::Call(_)
                | Body::Called(_)
                | Body::Start(_),
            ) => {}
        }
        effects
    }

    /// Sends within an epoch.
    pub(crate) fn answer(&self, to: NodeId, epoch: Epoch, body: Body, effects: &mut Effects) {
        let message = Message { slot: self.view().slot(), epoch, body };
        effects.send.push(Envelope { to, message });
    }

    /// Remembers, here and for the host to make durable.
    pub(crate) fn write(&mut self, write: Write, effects: &mut Effects) {
        self.durable.apply(&write);
        effects.persist.push(write);
    }

    pub(crate) fn write_record(&mut self, key: &Key, record: Record, effects: &mut Effects) {
        if self.durable.records.get(key) != Some(&record) {
            self.write(Write::Record(key.clone(), record), effects);
        }
    }
}
