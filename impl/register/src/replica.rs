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

use alloc::vec::Vec;

use thiserror::Error;

use crate::durable::{Durable, Life, Write};
use crate::id::{Key, Member, NodeId};
use crate::message::{Body, Envelope, Message};
use crate::record::{Floor, Record};
use crate::view::{Seat, View};

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
}

/// Why there is no replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The host's fault: this node, in this life of its disk, has no seat in the view.
    #[error("{0} is no member of the view")]
    NoMember(Member),
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
            records: alloc::collections::BTreeMap::new(),
        })
    }

    /// After a start: what was durable, and nothing else.
    ///
    /// # Errors
    /// [`ReplicaError::NoMember`]
    pub fn restore(durable: Durable) -> Result<Self, ReplicaError> {
        let seat = durable.view.seat_of(durable.me).ok_or(ReplicaError::NoMember(durable.me))?;
        Ok(Self { durable, seat })
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
        // REG-3, the gate: (slot, epoch) first, whatever the message says.
        if *slot != self.view().slot() || *epoch > self.view().epoch() {
            return effects;
        }
        if *epoch < self.view().epoch() {
            let newer = self.view().clone();
            self.answer(from, *epoch, Body::Newer(newer), &mut effects);
            return effects;
        }
        match (&self.durable.life, body) {
            (Life::Active, Body::Ask(asks)) => self.vote(from, asks, &mut effects),
            // For the coordinator.
            (_, Body::Reply(_) | Body::Newer(_)) => {}
        }
        effects
    }

    /// Sends within an epoch.
    pub(crate) fn answer(
        &self,
        to: NodeId,
        epoch: crate::id::Epoch,
        body: Body,
        effects: &mut Effects,
    ) {
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
