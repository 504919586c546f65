//! Collection: a tombstone goes when every member of the view has exactly it.
//!
//! 1. Every member is asked whether it has exactly this tombstone, by its ballot. One that does raises
//!    its slot's floor to the tombstone's version and to the promise that stands with it, durably, and
//!    agrees.
//! 2. When *all* agree, each drops it that still has it.
//!
//! Invariants:
//! * REG-11: at the drop no member has an older state of the key, and none will accept one: floors
//!   stand where promises stood;
//! * REG-6, REG-10: promise and version outlive the record, in the floor;
//! * a majority is not enough: the one that lags has an older state, and would bring it back;
//! * nor is one that has nothing, however high its floor: it may have told an older tombstone, before
//!   it dropped that one, to a coordinator whose ballot is above this tombstone's. What a member with
//!   exactly this tombstone told earlier, it told to ballots below it, or to the one that wrote it.
//!
//! What it does not do: wait; whoever has not agreed is asked again in another collection. Where some
//! have dropped it and others have not, the key must be removed once more.

use alloc::vec;
use alloc::vec::Vec;

use crate::ballot::Ballot;
use crate::durable::Write;
use crate::id::{Key, NodeId, Version};
use crate::message::{Body, Collect, Envelope, Message};
use crate::record::{Accepted, Floor, Record};
use crate::replica::{Effects, Replica};
use crate::view::{Seats, View};

impl Replica {
    /// A member of the view collects.
    pub(crate) fn collect(&mut self, from: NodeId, asks: &[Collect], effects: &mut Effects) {
        if self.view().seat_at(from).is_none() {
            return;
        }
        let mut agreed = Vec::new();
        for ask in asks {
            match ask {
                Collect::Check { key, tombstone, version } => {
                    if self.agree(key, *tombstone, *version, effects) {
                        agreed.push((key.clone(), *tombstone));
                    }
                }
                Collect::Drop { key, tombstone } => self.drop_record(key, *tombstone, effects),
            }
        }
        if !agreed.is_empty() {
            self.answer(from, self.view().epoch(), Body::Agreed(agreed), effects);
        }
    }

    /// Step 1.
    fn agree(
        &mut self,
        key: &Key,
        tombstone: Ballot,
        version: Version,
        effects: &mut Effects,
    ) -> bool {
        let Record { promise, accepted } = self.durable.record(key);
        let agrees = accepted.is_some_and(|accepted| has(&accepted, tombstone));
        if agrees {
            // REG-6, REG-10, REG-11: the floor is at the promise, which is at or above the tombstone.
            self.raise(Floor { ballot: promise, version }, effects);
        }
        agrees
    }

    /// Step 2.
    fn drop_record(&mut self, key: &Key, tombstone: Ballot, effects: &mut Effects) {
        let Record { promise, accepted } = self.durable.record(key);
        let Some(accepted) = accepted.filter(|accepted| has(accepted, tombstone)) else { return };
        // REG-6: also what was promised since step 1 outlives the record.
        self.raise(Floor { ballot: promise, version: accepted.state.version }, effects);
        self.write(Write::Drop(key.clone()), effects);
    }

    fn raise(&mut self, least: Floor, effects: &mut Effects) {
        let floor = self.durable.floor.max(least);
        if floor != self.durable.floor {
            self.write(Write::Floor(floor), effects);
        }
    }
}

/// Whether exactly this tombstone is accepted.
fn has(accepted: &Accepted, tombstone: Ballot) -> bool {
    accepted.ballot == tombstone && accepted.is_tombstone()
}

/// An attempt to collect one tombstone. Any member may make one, and many at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Collector {
    view: View,
    key: Key,
    tombstone: Ballot,
    agreed: Seats,
}

impl Collector {
    /// Begins with what a member of the view has accepted; `None` when that is no tombstone.
    pub fn begin(view: View, key: Key, accepted: &Accepted) -> Option<(Self, Vec<Envelope>)> {
        if !accepted.is_tombstone() {
            return None;
        }
        let (tombstone, version) = (accepted.ballot, accepted.state.version);
        let ask = Collect::Check { key: key.clone(), tombstone, version };
        let collector = Self { view, key, tombstone, agreed: Seats::default() };
        let send = collector.ask(&ask);
        Some((collector, send))
    }

    /// A message has come from a node.
    pub fn handle(&mut self, from: NodeId, message: &Message) -> Vec<Envelope> {
        let here = (self.view.slot(), self.view.epoch());
        let (Some(seat), Body::Agreed(agreed)) = (self.view.seat_at(from), &message.body) else {
            return Vec::new();
        };
        let mine =
            |(key, tombstone): &(Key, Ballot)| *key == self.key && *tombstone == self.tombstone;
        if (message.slot, message.epoch) != here || !agreed.iter().any(mine) {
            return Vec::new();
        }
        // REG-11: all of them, and once.
        if self.agreed.add(seat) && self.view.is_all(self.agreed) {
            let (key, tombstone) = (self.key.clone(), self.tombstone);
            return self.ask(&Collect::Drop { key, tombstone });
        }
        Vec::new()
    }

    fn ask(&self, ask: &Collect) -> Vec<Envelope> {
        let (slot, epoch) = (self.view.slot(), self.view.epoch());
        let to = |to: NodeId| {
            let message = Message { slot, epoch, body: Body::Collect(vec![ask.clone()]) };
            Envelope { to, message }
        };
        self.view.members().iter().map(|member| to(member.node)).collect()
    }
}
