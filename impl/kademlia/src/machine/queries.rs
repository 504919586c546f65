//! Queries: a lookup, and what follows it.
//!
//! Invariants:
//! * every query ends with one event, but for the machine's own, which have none;
//! * a record is taken from an answer only if it is of the key that was asked for, lives, and is
//!   genuine as far as the driver's judge can tell;
//! * a published record goes to the closest that answered; to the next one if one refuses.
//!
//! What it does not do: find out who lies. A holder may deny that it has a record, or show an old
//! version; it takes the other holders to find that out.

use alloc::vec::{self, Vec};

use cloakroom_wire::{
    Answer, Contact, NodeId, OwnedRecord, OwnedRequest, Record, RecordKey, Records as Listed,
    StorePurpose, StoreStatus,
};

use super::event::{Busy, Cost, Event, QueryId};
use super::requests::{Pending, Why};
use super::{Judge, Kademlia};
use crate::balance::{Choice, Situation, Strategy};
use crate::lookup::{Counts, Lookup, Step};
use crate::records::Name;
use crate::subnet::is_reachable;
use crate::time::Moment;

/// A query under way.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) id: QueryId,
    goal: Goal,
    stage: Stage,
    began: Moment,
}

/// What a query is for.
#[derive(Debug)]
pub(super) enum Goal {
    Find,
    Read(RecordKey),
    Publish(OwnedRecord),
    /// The table's own: a bucket that was idle.
    Refresh,
    Join,
    /// The records' own: who else ought to hold this.
    Holders(Name),
}

impl Goal {
    fn request(&self, target: NodeId) -> OwnedRequest {
        match self {
            Self::Read(key) => OwnedRequest::FindValue { key: *key },
            _ => OwnedRequest::FindNode { target },
        }
    }
}

#[derive(Debug)]
enum Stage {
    Looking(Lookup),
    Storing(Storing),
    /// Known holders that are still to be asked.
    Fetching(vec::IntoIter<Contact>),
}

/// A record on its way to its holders.
#[derive(Debug)]
struct Storing {
    record: OwnedRecord,
    targets: Vec<Contact>,
    next: usize,
    pending: u8,
    holders: u8,
    newer: Option<u64>,
    cost: Cost,
}

impl Query {
    /// Bytes of memory beside this and the contents of records.
    pub(super) fn bytes(&self) -> usize {
        match &self.stage {
            Stage::Looking(lookup) => lookup.bytes(),
            Stage::Storing(storing) => storing.targets.capacity() * size_of::<Contact>(),
            Stage::Fetching(holders) => size_of_val(holders.as_slice()),
        }
    }
}

impl Kademlia {
    /// Looks for the `k` nodes closest to a target. Ends with [`Event::Found`].
    ///
    /// # Errors
    /// When too many queries are under way.
    pub fn find_node(&mut self, now: Moment, target: NodeId) -> Result<QueryId, Busy> {
        self.at(now);
        self.has_room()?;
        let query = self.begin(Goal::Find, target, &[]);
        self.pump();
        Ok(query)
    }

    /// Looks for the records of a key. Ends with [`Event::Value`] or [`Event::Absent`].
    ///
    /// # Errors
    /// When too many queries are under way.
    pub fn find_value(&mut self, now: Moment, key: RecordKey) -> Result<QueryId, Busy> {
        self.at(now);
        self.has_room()?;
        let records: Vec<_> =
            self.records.shown(now, key).map(|held| held.to_send(self.now)).collect();
        if records.is_empty() {
            let query = self.begin(Goal::Read(key), key.point(), &[]);
            self.pump();
            return Ok(query);
        }
        let query = self.name_query();
        let (from, cost) = (self.own.id, Cost::default());
        self.events.push_back(Event::Value { query, records, from, cost });
        Ok(query)
    }

    /// Gives a record to the nodes closest to its key, perhaps ourselves. Ends with
    /// [`Event::Published`]. To prolong its life or change it, publish it with a higher sequence
    /// number; to delete it, publish a tombstone.
    ///
    /// # Errors
    /// When too many queries are under way.
    pub fn publish(&mut self, now: Moment, record: OwnedRecord) -> Result<QueryId, Busy> {
        self.at(now);
        self.has_room()?;
        let point = record.key.point();
        let query = self.begin(Goal::Publish(record), point, &[]);
        self.pump();
        Ok(query)
    }

    /// Enters the network by these contacts: looks for itself, and then into all buckets. Ends with
    /// [`Event::Joined`].
    ///
    /// # Errors
    /// When too many queries are under way.
    pub fn join(&mut self, now: Moment, bootstrap: &[Contact]) -> Result<QueryId, Busy> {
        self.at(now);
        self.has_room()?;
        let query = self.begin(Goal::Join, self.own.id, bootstrap);
        self.pump();
        Ok(query)
    }

    /// Asks the holders of a record that are known already, one after the other, in the order in which
    /// a strategy chooses them; then, if none has it, looks for others. Ends as
    /// [`Kademlia::find_value`] does.
    ///
    /// # Errors
    /// When too many queries are under way.
    pub fn fetch(
        &mut self,
        now: Moment,
        key: RecordKey,
        holders: &[(Contact, u16)],
        strategy: &mut impl Strategy,
    ) -> Result<QueryId, Busy> {
        self.at(now);
        self.has_room()?;
        let order = self.order(key, holders, strategy);
        let id = self.name_query();
        let stage = Stage::Fetching(order.into_iter());
        self.queries.push(Query { id, goal: Goal::Read(key), stage, began: self.now });
        self.drive(id);
        self.pump();
        Ok(id)
    }

    /// Holders with their weights in the order of a strategy.
    fn order(
        &mut self,
        key: RecordKey,
        holders: &[(Contact, u16)],
        strategy: &mut impl Strategy,
    ) -> Vec<Contact> {
        let choice = |&(contact, weight): &(Contact, u16)| Choice {
            contact,
            weight,
            outstanding: self.requests.outstanding(contact.id),
            rtt_us: self.table.entry(contact.id).map_or(0, |entry| entry.rtt_us),
        };
        let mut choices: Vec<Choice> = holders.iter().map(choice).collect();
        let mut order = Vec::with_capacity(choices.len());
        let (point, own) = (key.point(), self.own.address);
        loop {
            let tried = order.len();
            let mut situation = Situation { point, own, tried, random: &mut self.random };
            let chosen = strategy.choose(&choices, &mut situation);
            let Some(at) = chosen.filter(|&at| at < choices.len()) else { return order };
            // KAD-13: who was chosen is offered no more.
            order.push(choices.remove(at).contact);
        }
    }

    fn has_room(&self) -> Result<(), Busy> {
        let (most, got) = (usize::from(self.parameters.most_queries), self.queries.len());
        if got < most { Ok(()) } else { Err(Busy { most, got }) }
    }

    pub(super) fn name_query(&mut self) -> QueryId {
        let query = QueryId(self.next_query);
        self.next_query += 1;
        query
    }

    pub(super) fn begin(&mut self, goal: Goal, target: NodeId, more: &[Contact]) -> QueryId {
        let id = self.name_query();
        self.table.mark_used(self.now, target);
        let mut seeds = Vec::with_capacity(usize::from(self.parameters.k) + more.len());
        self.table.closest(target, self.parameters.k.into(), &mut seeds);
        seeds.extend_from_slice(more);
        let lookup = Lookup::new(target, self.own.id, &self.parameters, seeds);
        let stage = Stage::Looking(lookup);
        self.queries.push(Query { id, goal, stage, began: self.now });
        self.drive(id);
        id
    }

    fn place_of(&self, id: QueryId) -> Option<usize> {
        self.queries.iter().position(|query| query.id == id)
    }

    /// Asks whom a query wants to ask, and ends it if it is done.
    fn drive(&mut self, id: QueryId) {
        loop {
            let Some(at) = self.place_of(id) else { return };
            let Query { goal, stage, .. } = &mut self.queries[at];
            let (contact, request) = match stage {
                Stage::Looking(lookup) => {
                    let contact = match lookup.step() {
                        Step::Ask(contact) => contact,
                        Step::Wait => return,
                        Step::Done => return self.looked(at),
                    };
                    // KAD-6: whoever told us may have put any id beside any key.
                    if !(self.judge.contact)(&contact) {
                        lookup.failed(contact.id, contact.address);
                        continue;
                    }
                    (contact, goal.request(lookup.target()))
                }
                Stage::Storing(storing) => {
                    let Some(contact) = storing.poll_target(self.parameters.replication) else {
                        if storing.pending == 0 {
                            self.published(at);
                        }
                        return;
                    };
                    let record = storing.record.clone();
                    (contact, OwnedRequest::Store { purpose: StorePurpose::REPLICA, record })
                }
                Stage::Fetching(holders) => {
                    let Goal::Read(key) = *goal else { return };
                    let known = holders.find(|contact| (self.judge.contact)(contact));
                    let Some(contact) = known else {
                        return self.look_instead(at, key);
                    };
                    let request = goal.request(key.point());
                    self.ask(contact, Why::Query(id), request);
                    return;
                }
            };
            self.ask(contact, Why::Query(id), request);
        }
    }

    /// None of the known holders had it.
    fn look_instead(&mut self, at: usize, key: RecordKey) {
        let point = key.point();
        let mut seeds = Vec::with_capacity(self.parameters.k.into());
        self.table.closest(point, self.parameters.k.into(), &mut seeds);
        let lookup = Lookup::new(point, self.own.id, &self.parameters, seeds);
        self.queries[at].stage = Stage::Looking(lookup);
        self.drive(self.queries[at].id);
    }

    /// A lookup has ended without a value.
    fn looked(&mut self, at: usize) {
        let query = self.queries.swap_remove(at);
        let Stage::Looking(lookup) = query.stage else { return };
        let took_us = self.now.since_us(query.began);
        let cost = Cost { lookup: lookup.counts(), hops: lookup.hops(), took_us };
        let id = query.id;
        match query.goal {
            Goal::Find => {
                let closest = lookup.closest().copied().collect();
                self.events.push_back(Event::Found { query: id, closest, cost });
            }
            Goal::Read(_) => self.events.push_back(Event::Absent { query: id, cost }),
            Goal::Publish(record) => {
                let storing = self.choose_holders(record, &lookup, cost);
                let goal = Goal::Find;
                let stage = Stage::Storing(storing);
                self.queries.push(Query { id, goal, stage, began: query.began });
                self.drive(id);
            }
            Goal::Refresh => self.refreshed(),
            Goal::Join => {
                self.refresh_all(lookup.closest().last());
                self.events.push_back(Event::Joined { contacts: self.table.len() });
            }
            Goal::Holders(name) => {
                let closest: Vec<Contact> = lookup.closest().copied().collect();
                self.see_to(&name, &closest);
            }
        }
    }

    /// The closest that answered get the record; we too, if we are one of them.
    fn choose_holders(&mut self, record: OwnedRecord, lookup: &Lookup, cost: Cost) -> Storing {
        let mut targets: Vec<Contact> = lookup.closest().copied().collect();
        let point = record.key.point();
        let own = self.own.id.distance(point);
        let closer = targets.iter().filter(|target| target.id.distance(point) < own).count();
        let mut storing = Storing {
            record,
            targets: Vec::new(),
            next: 0,
            pending: 0,
            holders: 0,
            newer: None,
            cost,
        };
        if self.reachable && closer < usize::from(self.parameters.replication) {
            let record = storing.record.borrow();
            let offered = self.records.offer(self.now, self.own.id, StorePurpose::REPLICA, &record);
            storing.note(offered.status, offered.held);
        }
        targets.truncate(usize::from(self.parameters.k));
        storing.targets = targets;
        storing
    }

    fn published(&mut self, at: usize) {
        let query = self.queries.swap_remove(at);
        let Stage::Storing(storing) = query.stage else { return };
        let Storing { holders, newer, mut cost, .. } = storing;
        cost.took_us = self.now.since_us(query.began);
        self.events.push_back(Event::Published { query: query.id, holders, newer, cost });
    }

    pub(super) fn query_slow(&mut self, pending: &Pending) {
        let Why::Query(id) = pending.why else { return };
        let Some(at) = self.place_of(id) else { return };
        let Query { goal, stage, .. } = &mut self.queries[at];
        match stage {
            Stage::Looking(lookup) => {
                lookup.slow(pending.to.id, pending.to.address);
                // The request or its answer may be lost: the same once more, which changes
                // nothing if it is not.
                let request = goal.request(lookup.target());
                self.send_request(pending.id, &pending.to, request);
                self.drive(id);
            }
            // The next holder is asked beside; the last one may take its time.
            Stage::Fetching(holders) if !holders.as_slice().is_empty() => self.drive(id),
            Stage::Fetching(_) | Stage::Storing(_) => {}
        }
    }

    pub(super) fn query_failed(&mut self, id: QueryId, pending: &Pending) {
        let Some(at) = self.place_of(id) else { return };
        match &mut self.queries[at].stage {
            Stage::Looking(lookup) => lookup.failed(pending.to.id, pending.to.address),
            Stage::Storing(storing) => storing.pending -= 1,
            Stage::Fetching(_) => {}
        }
        self.drive(id);
    }

    pub(super) fn query_answered(&mut self, id: QueryId, pending: &Pending, answer: &Answer<'_>) {
        let Some(at) = self.place_of(id) else { return };
        let query = &mut self.queries[at];
        let told = |contact: &Contact| is_reachable(contact.address);
        match (&mut query.stage, answer) {
            (Stage::Looking(lookup), Answer::Nodes { contacts }) => {
                let contacts = contacts.iter().filter(told);
                lookup.answered(pending.to.id, pending.to.address, contacts);
            }
            (Stage::Looking(lookup), Answer::Found { records, contacts }) => {
                let contacts = contacts.iter().filter(told);
                // The closest before this one: it had nothing.
                let lacks = lookup.closest().next().copied();
                let hops = lookup.answered(pending.to.id, pending.to.address, contacts);
                if let Goal::Read(key) = &query.goal {
                    let found = genuine(&self.judge, *key, *records);
                    if !found.is_empty() {
                        // A known holder that was slow is none of the lookup's, which has taken over meanwhile.
                        let hops = hops.unwrap_or(1);
                        return self.read(at, found, hops, pending.to.id, lacks);
                    }
                }
            }
            (Stage::Fetching(_), Answer::Found { records, .. }) => {
                let Goal::Read(key) = query.goal else { return };
                let found = genuine(&self.judge, key, *records);
                if !found.is_empty() {
                    return self.read(at, found, 1, pending.to.id, None);
                }
            }
            (Stage::Fetching(_), _) => {}
            (Stage::Looking(lookup), _) => lookup.failed(pending.to.id, pending.to.address),
            (Stage::Storing(storing), Answer::Stored { status, held }) => {
                storing.pending -= 1;
                storing.note(*status, *held);
            }
            (Stage::Storing(storing), _) => storing.pending -= 1,
        }
        self.drive(id);
    }

    /// A read has found something: it has ended, and the closest that lacked it gets a copy.
    fn read(
        &mut self,
        at: usize,
        records: Vec<OwnedRecord>,
        hops: u8,
        from: NodeId,
        lacks: Option<Contact>,
    ) {
        let query = self.queries.swap_remove(at);
        let lookup = match &query.stage {
            Stage::Looking(lookup) => lookup.counts(),
            _ => Counts::default(),
        };
        let cost = Cost { lookup, hops, took_us: self.now.since_us(query.began) };
        if let Some(lacks) = lacks {
            for record in &records {
                self.cache_at(lacks, from, record.clone());
            }
        }
        self.events.push_back(Event::Value { query: query.id, records, from, cost });
    }

    /// A copy beside the path, whose life halves with each bit that its holder is farther from the key
    /// than the node that had it.
    fn cache_at(&mut self, to: Contact, from: NodeId, mut record: OwnedRecord) {
        let point = record.key.point();
        let shared = |id: NodeId| id.distance(point).shared_bits();
        let farther = u32::from(shared(from).saturating_sub(shared(to.id)));
        let life_ms = self.parameters.records.cache_ms.checked_shr(farther).unwrap_or(0);
        record.expires_in_ms = record.expires_in_ms.min(life_ms);
        if record.expires_in_ms > 0 {
            self.ask(to, Why::Cache, OwnedRequest::Store { purpose: StorePurpose::CACHE, record });
        }
    }
}

/// The records of an answer that can be what was asked for: of one origin the newest.
pub(super) fn genuine(judge: &Judge, key: RecordKey, listed: Listed<'_>) -> Vec<OwnedRecord> {
    let mut found: Vec<OwnedRecord> = Vec::new();
    let is_genuine = |record: &Record<'_>| {
        record.key == key && record.expires_in_ms > 0 && (judge.record)(record)
    };
    for record in listed.iter().filter(is_genuine) {
        match found.iter_mut().find(|other| other.origin == record.origin) {
            Some(other) if other.sequence >= record.sequence => {}
            Some(other) => *other = record.to_owned(),
            None => found.push(record.to_owned()),
        }
    }
    found
}

impl Storing {
    /// Whom to give the record to now, as long as too few hold it or are being asked to.
    fn poll_target(&mut self, wanted: u8) -> Option<Contact> {
        // KAD-7: who meets a newer version does not look for somebody who has not heard of it.
        if self.holders + self.pending >= wanted || self.newer.is_some() {
            return None;
        }
        let target = *self.targets.get(self.next)?;
        self.next += 1;
        self.pending += 1;
        Some(target)
    }

    fn note(&mut self, status: StoreStatus, held: Option<u64>) {
        self.holders += u8::from(status == StoreStatus::STORED);
        if status == StoreStatus::OUTDATED {
            self.newer = self.newer.max(held);
        }
    }
}
