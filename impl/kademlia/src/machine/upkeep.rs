//! What a node does of its own accord: refreshes buckets, and sees to it that each record keeps as
//! many holders as it ought to have.
//!
//! A record's holders are the `replication` nodes closest to its key, as far as a node knows.
//! * At each look a holder gives the record to the others, unless somebody gave it to us since.
//! * When a holder dies, those left give the record to the one who is now among the closest.
//! * When somebody comes who is among the closest, the closest of the others gives it the record.
//! * Who does not answer is tried again, so often and no more: silence to records alone is no death.
//! * A holder that is no longer among the closest gives the record to all that are, and keeps a
//!   copy with a short life when all of them have it.
//!
//! Invariants: KAD-11: from any state in which somebody reachable holds a replica that lives, after
//! failures end, the closest nodes hold it again without anybody's doing.
//!
//! What it does not do: count who holds what now; nobody knows. Records whose holders all die before one
//! of them has noticed are lost.

use alloc::vec::Vec;

use cloakroom_wire::{Answer, Contact, NodeId, OwnedRequest, StorePurpose, StoreStatus};

use super::Kademlia;
use super::event::Event;
use super::handovers::{Handover, Handovers};
use super::queries::{Goal, genuine};
use super::requests::{Pending, Why};
use crate::parameters::Parameters;
use crate::random::Random;
use crate::records::{Held, Name};
use crate::table::Entry;
use crate::time::Moment;

/// What there is to do, and when.
#[derive(Debug)]
pub(super) struct Upkeep {
    next_tick: Moment,
    /// Silent contacts, and when to ping them again.
    probes: Vec<(Moment, NodeId)>,
    /// After joining: how many bits the next target shares with us, and how many the last.
    refreshing: Option<(u16, u16)>,
    /// Records to give to somebody.
    handovers: Handovers,
    leaving: bool,
    /// It has left.
    gone: bool,
}

impl Upkeep {
    pub(super) fn new(now: Moment, parameters: &Parameters, random: &mut Random) -> Self {
        Self {
            // Nodes that start together look around at different times.
            next_tick: now.plus_ms(random.below(parameters.tick_ms)),
            probes: Vec::new(),
            refreshing: None,
            handovers: Handovers::default(),
            leaving: false,
            gone: false,
        }
    }

    pub(super) fn next_due(&self) -> Moment {
        let probe = self.probes.iter().map(|&(due, _)| due).min();
        self.next_tick.min(probe.unwrap_or(Moment::NEVER))
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Bytes of memory beside this.
    pub(super) fn bytes(&self) -> usize {
        self.probes.capacity() * size_of::<(Moment, NodeId)>() + self.handovers.bytes()
    }

    pub(super) fn probe_at(&mut self, due: Moment, id: NodeId) {
        self.forget_probe(id);
        self.probes.push((due, id));
    }

    pub(super) fn forget_probe(&mut self, id: NodeId) {
        self.probes.retain(|&(_, other)| other != id);
    }

    pub(super) fn poll_probe(&mut self, now: Moment) -> Option<NodeId> {
        let at = self.probes.iter().position(|&(due, _)| due <= now)?;
        Some(self.probes.swap_remove(at).1)
    }
}

impl Kademlia {
    /// Takes the table of a former life: contacts that have answered us then.
    pub fn restore(&mut self, now: Moment, contacts: &[Contact]) {
        self.at(now);
        for contact in contacts.iter().filter(|contact| (self.judge.contact)(contact)) {
            self.table.answered(self.now, *contact, None);
        }
    }

    /// KAD-12: takes the records of a former life, as [`Records::kept`](crate::Records::kept) gave them: before
    /// anything is answered, or a holder that was away would deny what it acknowledged.
    pub fn restore_records(&mut self, now: Moment, kept: impl IntoIterator<Item = Held>) {
        self.at(now);
        for held in kept {
            self.records.put_back(self.now, held);
        }
    }

    /// KAD-12: from now on [`Kademlia::changed_records`] says what a disk must be told.
    pub fn keep_records(&mut self) {
        self.records.tell_changes();
    }

    /// KAD-12: what a disk must have before what was polled since the last call is sent; `None`: it need not have
    /// that record any more.
    pub fn changed_records(&mut self) -> Vec<(Name, Option<Held>)> {
        self.records.changed()
    }

    /// Hands all replicas over and takes no more. Ends with [`Event::Left`].
    pub fn leave(&mut self, now: Moment) {
        self.at(now);
        self.upkeep.leaving = true;
        let names: Vec<Name> = self.records.replicas(self.now).map(|(name, _)| *name).collect();
        for name in names {
            self.give_to_closest(&name);
        }
        self.pump();
    }

    /// Looks around, if it is time.
    pub(super) fn tick(&mut self) {
        if self.now < self.upkeep.next_tick {
            return;
        }
        self.upkeep.next_tick = self.now.plus_ms(self.random.about(self.parameters.tick_ms));
        self.records.sweep(self.now);
        if self.upkeep.refreshing.is_none() {
            let idle_ms = self.parameters.refresh_ms;
            if let Some(target) = self.table.refresh(self.now, idle_ms, &mut self.random) {
                self.begin(Goal::Refresh, target, &[]);
            }
        }
        self.watch_holders();
        self.republish();
    }

    /// After joining: everywhere from the far half of all ids to the neighbourhood that joining has
    /// looked for, one after the other.
    pub(super) fn refresh_all(&mut self, neighbours: Option<&Contact>) {
        let farthest = neighbours.map(|contact| contact.id.distance(self.own.id).shared_bits());
        self.upkeep.refreshing = farthest.map(|to| (0, to.min(255)));
        self.refreshed();
    }

    /// A refresh has ended.
    pub(super) fn refreshed(&mut self) {
        let Some((at, to)) = self.upkeep.refreshing else { return };
        self.upkeep.refreshing = (at < to).then_some((at + 1, to));
        let target = self.table.target_at(at, &mut self.random);
        self.begin(Goal::Refresh, target, &[]);
    }

    /// Pings the other holders of our records that were not heard from lately: a death is
    /// noticed before the last holder is gone.
    fn watch_holders(&mut self) {
        let mut silent: Vec<Contact> = Vec::new();
        let fresh_ms = self.parameters.fresh_ms;
        for (name, _) in self.records.replicas(self.now) {
            for contact in self.table.nearest(name.0.point(), self.parameters.replication.into()) {
                let Some(entry) = self.table.entry(contact.id) else { continue };
                let old = self.now.since_ms(entry.seen) >= fresh_ms && entry.unanswered == 0;
                if old && !silent.contains(&contact) {
                    silent.push(contact);
                }
            }
        }
        for contact in silent {
            self.ping(contact, Why::Probe);
        }
    }

    /// Sees to the other holders of each record that nobody saw to for a while.
    fn republish(&mut self) {
        let old_ms = self.parameters.republish_ms;
        let due =
            |held: &Held| held.checked.is_none_or(|checked| self.now.since_ms(checked) >= old_ms);
        let names: Vec<Name> = self
            .records
            .replicas(self.now)
            .filter(|(_, held)| due(held))
            .map(|(name, _)| *name)
            .collect();
        for name in names {
            let point = name.0.point();
            let shared = self.own.id.distance(point).shared_bits();
            let room = self.queries.len() < usize::from(self.parameters.most_queries);
            if self.table.is_whole_from(shared.into()) {
                self.give_to_closest(&name);
            } else if room {
                if let Some(held) = self.records.held_mut(&name) {
                    held.checked = Some(self.now);
                }
                self.begin(Goal::Holders(name), point, &[]);
            }
        }
    }

    fn give_to_closest(&mut self, name: &Name) {
        let closest = self.table.nearest(name.0.point(), self.parameters.replication.into());
        self.see_to(name, &closest);
    }

    /// Gives a record to those closest to it, of which we may be one.
    pub(super) fn see_to(&mut self, name: &Name, closest: &[Contact]) {
        let (replication, now) = (usize::from(self.parameters.replication), self.now);
        let place = self.own_place(name, closest);
        let others = if place < replication { replication - 1 } else { replication };
        let Some(held) = self.records.held_mut(name) else { return };
        (held.checked, held.handed) = (Some(now), Vec::new());
        for contact in closest.iter().take(others) {
            self.upkeep.handovers.begin(*name, *contact);
        }
    }

    /// How many of these are closer to a record than we are; as one who leaves, nobody is farther.
    fn own_place(&self, name: &Name, closest: &[Contact]) -> usize {
        if self.upkeep.leaving {
            return usize::MAX;
        }
        let point = name.0.point();
        let own = self.own.id.distance(point);
        closest.iter().filter(|other| other.id.distance(point) < own).count()
    }

    /// Somebody has got a place in the table: records to which it is closer than we may be its.
    pub(super) fn welcome(&mut self, newcomer: &Contact) {
        let replication = usize::from(self.parameters.replication);
        let mut gives = Vec::new();
        for (name, _) in self.records.replicas(self.now) {
            let closest = self.table.nearest(name.0.point(), replication + 1);
            let place = closest.iter().position(|contact| contact.id == newcomer.id);
            let own = self.own_place(name, &closest);
            let Some(place) = place else { continue };
            // Of those that were holders before, the closest gives.
            let first = own == usize::from(place == 0 && own > 0);
            if place + usize::from(own <= place) < replication && first {
                gives.push(*name);
            }
        }
        for name in gives {
            self.upkeep.handovers.begin(name, *newcomer);
        }
    }

    /// Somebody is taken for dead: those next to it get the records that it held.
    pub(super) fn bury(&mut self, id: NodeId) {
        self.upkeep.forget_probe(id);
        let Some(removed) = self.table.remove(id) else { return };
        self.events.push_back(Event::Dead { contact: removed.contact });
        let replication = usize::from(self.parameters.replication);
        let mut gives = Vec::new();
        for (name, _) in self.records.replicas(self.now) {
            let point = name.0.point();
            let closest = self.table.nearest(point, replication);
            let own = self.own_place(name, &closest);
            let others = if own < replication { replication - 1 } else { replication };
            let Some(last) = closest.get(..others).and_then(<[Contact]>::last) else { continue };
            let bound = last.id.distance(point).max(self.own.id.distance(point));
            if id.distance(point) < bound {
                gives.extend(closest[..others].iter().map(|contact| (*name, *contact)));
            }
        }
        for (name, contact) in gives {
            self.upkeep.handovers.begin(name, contact);
        }
    }

    /// A record is with somebody who ought to hold it, or not.
    pub(super) fn handed_over(&mut self, pending: &Pending, name: &Name, answer: &Answer<'_>) {
        let Answer::Stored { status, held } = answer else { return };
        let Some(own) = self.records.held_mut(name) else { return };
        if *status == StoreStatus::OUTDATED && held.is_some_and(|held| held > own.sequence()) {
            // KAD-7: it has a newer one. Its word alone does not make us drop ours.
            self.ask(pending.to, Why::Pull(*name), OwnedRequest::FindValue { key: name.0 });
        } else if *status == StoreStatus::STORED {
            let replication = usize::from(self.parameters.replication);
            // Those that were asked at one look, and who was asked instead: not many more.
            if !own.handed.contains(&pending.to.id) && own.handed.len() < 2 * replication {
                own.handed.push(pending.to.id);
            }
            let closest = self.table.nearest(name.0.point(), replication);
            let all = closest.iter().all(|contact| own.handed.contains(&contact.id));
            let place = self.own_place(name, &closest);
            if all && place >= replication && !self.upkeep.leaving {
                self.records.demote(self.now, name);
            }
        }
    }

    /// A holder-to-be does not answer. One lost message must not leave a record with a holder less: who
    /// stays tries again, as long as it is not taken for dead. Who leaves cannot wait for a verdict: the
    /// next closest gets it.
    ///
    /// KAD-5: but so often and no more. Somebody may answer everything except this and is never dead; the
    /// next look tries anew. Who leaves may meet k dead ones that it has not noticed; it goes on to the
    /// closest that has not got the record and is not about to, so that as many get it as were meant to.
    pub(super) fn not_handed_over(&mut self, pending: &Pending, name: &Name, tries: u8) {
        let (tries, most) = (tries.saturating_add(1), self.parameters.handover_tries);
        if !self.upkeep.leaving {
            if self.table.entry(pending.to.id).is_none() {
                // A lookup told of it, or it is dead: the next look begins with another.
                if let Some(held) = self.records.held_mut(name) {
                    held.checked = None;
                }
            } else if tries < most {
                self.upkeep.handovers.push(Handover { name: *name, to: pending.to, tries });
            }
            return;
        }
        let k = self.parameters.k;
        let handed = self.records.held(name).map(|held| &held.handed);
        let next = self.table.nearest(name.0.point(), k.into()).into_iter().find(|contact| {
            let answers = |entry: &Entry| entry.unanswered == 0;
            contact.id != pending.to.id
                && self.table.entry(contact.id).is_some_and(answers)
                && !handed.is_some_and(|handed| handed.contains(&contact.id))
                && !self.upkeep.handovers.has(name, contact.id)
                && !self.requests.is_handing(name, contact.id)
        });
        if let Some(to) = next
            && tries < most.saturating_add(k)
        {
            self.upkeep.handovers.push(Handover { name: *name, to, tries });
        }
    }

    /// The newer version that somebody said it has.
    pub(super) fn pulled(&mut self, pending: &Pending, name: &Name, answer: &Answer<'_>) {
        let Answer::Found { records, .. } = answer else { return };
        for record in genuine(&self.judge, name.0, *records) {
            if record.origin == name.1 {
                let purpose = StorePurpose::REPLICA;
                self.records.offer(self.now, pending.to.id, purpose, &record.borrow());
            }
        }
    }

    /// Sends as many records to their holders as may be on their way at once.
    pub(super) fn pump(&mut self) {
        if self.upkeep.handovers.is_empty() && !self.upkeep.leaving {
            return;
        }
        let handing = |why: &Why| matches!(why, Why::Handover(..));
        let mut in_flight = self.requests.count(handing);
        while in_flight < self.parameters.most_handovers.into() {
            let Some(next) = self.upkeep.handovers.pop() else { break };
            let Handover { name, to, tries } = next;
            // KAD-11: what has become a copy meanwhile lives for minutes; given as a replica it would end the
            // receiver's life as one, for good.
            let replica = |held: &&Held| held.is_replica() && held.is_shown(self.now);
            let held = self.records.held(&name).filter(replica);
            if let Some(record) = held.map(|held| held.to_send(self.now)) {
                let request = OwnedRequest::Store { purpose: StorePurpose::REPLICA, record };
                self.ask(to, Why::Handover(name, tries), request);
                in_flight += 1;
            }
        }
        if self.upkeep.leaving && in_flight == 0 {
            self.left();
        }
    }

    fn left(&mut self) {
        let wanted = usize::from(self.parameters.replication);
        let (mut handed, mut kept) = (0, 0);
        for (_, held) in self.records.replicas(self.now) {
            if held.handed.len() >= wanted {
                handed += 1;
            } else {
                kept += 1;
            }
        }
        self.upkeep.next_tick = Moment::NEVER;
        if !self.upkeep.gone {
            self.upkeep.gone = true;
            self.events.push_back(Event::Left { handed, kept });
        }
    }
}
