//! From one view to the next: pull, seal, merge, activate, retire.
//!
//! Invariants:
//! * REG-2: a member of the next view is active only after a majority of this one is sealed, durably;
//! * REG-4: then it holds of every key at least what was chosen before. A majority that chose shares a
//!   member with the majority that is sealed, which voted before it was sealed and shows it. Or it
//!   holds what an active peer holds, of which the same is true: ballots only rise;
//! * REG-3: whoever is sealed votes no more, and a learner not yet;
//! * REG-12: a snapshot is dropped only when a majority of the next view is active. Whoever is late
//!   copies from a peer.
//!
//! A snapshot of a sealed member does not change, so its pages fit together. A peer's may change
//! between two pages: upwards, key by key, which is enough. Nothing is dropped there meanwhile, since
//! collection asks all members and a learner does not agree.
//!
//! What is copied from a peer may have a ballot of this view. To take it over is to accept it, which
//! a member that has promised nothing may.
//!
//! What it does not do: wait. Its host calls [`Replica::pull`] and [`Replica::ask_active`] now and
//! then.

use alloc::vec::Vec;
use core::ops::Bound;

use crate::durable::{Life, Pulled, Write};
use crate::id::{Epoch, Key, NodeId};
use crate::message::{Body, Envelope, Message, Page};
use crate::record::Record;
use crate::replica::{Effects, Replica};
use crate::view::{Seats, View};

/// The most keys of a page.
const PAGE_KEYS: usize = 256;

/// A page ends after so many bytes of keys and values.
const PAGE_BYTES: usize = 48 * 1024;

impl Replica {
    /// What a learner asks for: the next page of every member of the view before, and of every peer.
    pub fn pull(&self) -> Vec<Envelope> {
        let Life::Learner { previous, pulled, copied } = &self.durable.life else {
            return Vec::new();
        };
        let mut send = Vec::new();
        let mut ask = |view: &View, progress: &[Pulled], body: &dyn Fn(Option<Key>) -> Body| {
            for (member, pulled) in view.members().iter().zip(progress) {
                if let Pulled::UpTo(after) = pulled {
                    let (slot, epoch) = (view.slot(), view.epoch());
                    let message = Message { slot, epoch, body: body(after.clone()) };
                    send.push(Envelope { to: member.node, message });
                }
            }
        };
        ask(previous, pulled, &|after| Body::Pull { next: self.view().clone(), after });
        ask(self.view(), copied, &|after| Body::Copy { after });
        send
    }

    /// What a sealed member asks: whether the members of the next view are active.
    pub fn ask_active(&self) -> Vec<Envelope> {
        let Life::Sealed { next } = &self.durable.life else { return Vec::new() };
        let ask = |to: NodeId| {
            let (slot, epoch) = (next.slot(), next.epoch());
            Envelope { to, message: Message { slot, epoch, body: Body::AreYouActive } }
        };
        next.members().iter().map(|member| ask(member.node)).collect()
    }

    /// The next view is decided. Whoever knows it has nothing to wait for: also a member from whom
    /// nobody has to pull any more comes to its end.
    pub(crate) fn seal(&mut self, previous: &View, next: &View, effects: &mut Effects) {
        if previous == self.view() && next.slot() == previous.slot() {
            // REG-3: no vote after it.
            self.write(Write::Life(Life::Sealed { next: next.clone() }), effects);
        }
    }

    /// A member of the next view pulls: seals, and shows a page.
    pub(crate) fn serve(
        &mut self,
        from: NodeId,
        next: &View,
        after: Option<&Key>,
        effects: &mut Effects,
    ) {
        let follows = self.view().epoch().next() == Some(next.epoch());
        if !follows || next.slot() != self.view().slot() || next.seat_at(from).is_none() {
            return;
        }
        if self.durable.life == Life::Active {
            // REG-2, REG-3: durable before the page is sent, and no vote after it.
            self.write(Write::Life(Life::Sealed { next: next.clone() }), effects);
        }
        let page = self.page(after);
        self.answer(from, next.epoch(), Body::Page(page), effects);
    }

    /// A learner of this view copies.
    pub(crate) fn serve_peer(&self, from: NodeId, after: Option<&Key>, effects: &mut Effects) {
        if self.view().seat_at(from).is_some() {
            let page = self.page(after);
            self.answer(from, self.view().epoch(), Body::Page(page), effects);
        }
    }

    fn page(&self, after: Option<&Key>) -> Page {
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut records = Vec::new();
        let (mut keys, mut bytes) = (0, 0);
        let mut rest = self.durable.records.range::<Key, _>(behind);
        for (key, record) in rest.by_ref() {
            keys += 1;
            if let Some(accepted) = &record.accepted {
                let value = accepted.state.content.as_ref().map_or(0, |value| value.0.len());
                bytes += key.0.len() + value;
                records.push((key.clone(), accepted.clone()));
            }
            // A page ends with a record, behind which the next one begins.
            if (keys >= PAGE_KEYS || bytes >= PAGE_BYTES) && record.accepted.is_some() {
                break;
            }
        }
        let is_last = rest.next().is_none();
        let (source, floor) = (self.view().epoch(), self.durable.floor);
        Page { source, after: after.cloned(), records, floor, is_last }
    }

    /// A page has come: takes over what is higher, and counts.
    pub(crate) fn merge(&mut self, from: NodeId, page: &Page, effects: &mut Effects) {
        let own = self.view().clone();
        let Life::Learner { previous, pulled, copied } = &self.durable.life else { return };
        let (previous, mut pulled, mut copied) = (previous.clone(), pulled.clone(), copied.clone());
        let (source, progress) =
            if page.source == own.epoch() { (&own, &mut copied) } else { (&previous, &mut pulled) };
        let seat = source.seat_at(from).filter(|_| page.source == source.epoch());
        let Some(progress) = seat.and_then(|seat| progress.get_mut(usize::from(seat.0))) else {
            return;
        };
        // A page that comes again, or not in order.
        if *progress != Pulled::UpTo(page.after.clone()) {
            return;
        }
        *progress = match page.records.last() {
            _ if page.is_last => Pulled::All,
            Some((last, _)) => Pulled::UpTo(Some(last.clone())),
            None => return,
        };
        for (key, accepted) in &page.records {
            let mine = self.durable.records.get(key).and_then(|record| record.accepted.as_ref());
            // REG-4: the highest *ballot* of each key.
            if mine.is_none_or(|mine| mine.ballot < accepted.ballot) {
                let record = Record { promise: accepted.ballot, accepted: Some(accepted.clone()) };
                self.write_record(key, record, effects);
            }
        }
        let floor = self.durable.floor.max(page.floor);
        if floor != self.durable.floor {
            self.write(Write::Floor(floor), effects);
        }
        let seats = |view: &View, pulled: &[Pulled]| {
            let mut seats = Seats::default();
            for ((seat, _), pulled) in view.seats().zip(pulled) {
                if *pulled == Pulled::All {
                    seats.add(seat);
                }
            }
            seats
        };
        // REG-2: a majority of the view before, which its pages show to be sealed; or a peer that has
        // had one.
        if previous.is_majority(seats(&previous, &pulled)) || !seats(&own, &copied).is_empty() {
            self.write(Write::Life(Life::Active), effects);
            let told = previous.members().iter().map(|member| member.node);
            for to in told {
                self.answer(to, previous.epoch(), Body::IsActive, effects);
            }
        } else {
            self.write(Write::Life(Life::Learner { previous, pulled, copied }), effects);
        }
    }

    /// A sealed member of the view before asks.
    pub(crate) fn tell_active(&self, from: NodeId, effects: &mut Effects) {
        if let Some(previous) = self.view().epoch().0.checked_sub(1) {
            self.answer(from, Epoch(previous), Body::IsActive, effects);
        }
    }

    /// A member of the next view is active.
    pub(crate) fn count_active(&mut self, from: NodeId, effects: &mut Effects) {
        let Life::Sealed { next } = &self.durable.life else { return };
        let Some(seat) = next.seat_at(from) else { return };
        self.active_next.add(seat);
        // REG-12
        if next.is_majority(self.active_next) {
            self.write(Write::Retire(next.clone()), effects);
        }
    }
}
