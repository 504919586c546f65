//! Changes of the list of members, and how every node comes to have it.
//!
//! Invariants:
//! * NODE-5: a change is a compare-and-set of the list on the version that it was made from, and a node
//!   goes from a version only to a newer one;
//! * a change that is tried again may be made twice, which is as once, unless it was undone in between;
//! * NODE-3: each change that was asked for ends once. What may still be made is told as unknown.
//!
//! A node reads the list now and then: whoever has missed a change has it one pause later, as long as it
//! reaches the list's register.
//!
//! What it does not do: say who may change it. Whoever has a certificate of the cluster may.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use cloakroom_kademlia::Moment;
use cloakroom_register::{Call, Expected, Held, Operation, OperationId, Outcome, Value, Version};

use crate::calls::{End, Origin};
use crate::effects::{Answer, Effects};
use crate::node::Node;
use crate::roster::{Change, ChangeFault, Known, Roster, Standing, roster_key};

/// Before a change that could not be made is tried again.
const PAUSE_MS: u64 = 500;

/// How long a reading of the list may take.
const READ_MS: u64 = 30_000;

/// How long a node's own change may take: who has a new disk says so.
const OWN_MS: u64 = 30_000;

/// Why this node runs an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To have the newest list.
    Read,
    /// To make a change from it.
    Before(OperationId),
    /// To make a change.
    Write(OperationId, Roster),
}

/// The list, and what is being changed in it.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) known: Known,
    under_way: BTreeMap<OperationId, Changing>,
    is_reading: bool,
    read_at: Moment,
    read_every_ms: u64,
    /// When the list was last seen in its register.
    seen_at: Option<Moment>,
    /// Operations of this start, of its own.
    count: u64,
}

#[derive(Debug)]
struct Changing {
    change: Change,
    give_up_at: Moment,
    /// An attempt may still happen.
    in_doubt: bool,
    /// When it is tried again; never while it is being tried.
    again_at: Moment,
    /// An attempt is under way. It ends by itself, and not later than the change.
    is_writing: bool,
    /// Whether somebody waits for it.
    is_asked: bool,
}

impl Changes {
    /// The first reading comes at some time within the first pause: nodes that start together are not to
    /// read in step.
    pub(crate) fn new(now: Moment, roster: Roster, read_every_ms: u64, first_ms: u64) -> Self {
        let known = Known { roster, version: Version(0) };
        let under_way = BTreeMap::new();
        let read_at = now.plus_ms(first_ms % read_every_ms.max(1));
        let (is_reading, seen_at) = (false, None);
        Self { known, under_way, is_reading, read_at, read_every_ms, seen_at, count: 0 }
    }

    /// Whether the list was seen lately: at the reading before the last one, if not at the last.
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        self.seen_at.is_some_and(|seen| now.since_ms(seen) <= 2 * self.read_every_ms)
    }

    /// When something is to be done.
    pub(crate) fn due(&self) -> Moment {
        let again = self.under_way.values().map(Changing::due).min();
        let read = if self.is_reading { Moment::NEVER } else { self.read_at };
        again.unwrap_or(Moment::NEVER).min(read)
    }
}

impl Changing {
    fn due(&self) -> Moment {
        if self.is_writing { Moment::NEVER } else { self.again_at.min(self.give_up_at) }
    }
}

impl Node {
    /// A change is to be made.
    pub(crate) fn change(
        &mut self,
        now: Moment,
        id: OperationId,
        change: Change,
        give_up_at: Moment,
        is_asked: bool,
        effects: &mut Effects,
    ) {
        let again_at = Moment::NEVER;
        let (in_doubt, is_writing) = (false, false);
        let changing = Changing { change, give_up_at, in_doubt, again_at, is_writing, is_asked };
        if self.changes.under_way.contains_key(&id) {
            return;
        }
        self.changes.under_way.insert(id, changing);
        self.read_before(now, id, effects);
    }

    fn read_before(&mut self, now: Moment, id: OperationId, effects: &mut Effects) {
        let give_up_at = self.changes.under_way.get_mut(&id).map(|changing| {
            changing.again_at = Moment::NEVER;
            changing.give_up_at
        });
        let Some(give_up_at) = give_up_at else { return };
        self.run_own(now, Call::Get, give_up_at, Purpose::Before(id), effects);
    }

    fn run_own(
        &mut self,
        now: Moment,
        call: Call,
        give_up_at: Moment,
        purpose: Purpose,
        effects: &mut Effects,
    ) {
        let operation = Operation { id: self.own_id(), key: roster_key(), call, bound: None };
        self.call(now, operation, give_up_at, Origin::Own(purpose), effects);
    }

    /// REG-7: an id that no operation has had: by node, life of its disk, start of it, and a count.
    fn own_id(&mut self) -> OperationId {
        self.changes.count += 1;
        let mut name = Vec::new();
        name.extend_from_slice(&self.me().node.0);
        let start = self.host.start_of();
        name.extend_from_slice(&start.incarnation.0.to_be_bytes());
        name.extend_from_slice(&start.boot.0.to_be_bytes());
        name.extend_from_slice(&self.changes.count.to_be_bytes());
        let hash = (self.hash)(&name);
        OperationId(core::array::from_fn(|at| hash[at]))
    }

    /// Reads the list if it is time, and goes on with changes that wait.
    pub(crate) fn keep_list(&mut self, now: Moment, effects: &mut Effects) {
        let waiting = self.changes.under_way.iter().filter(|(_, it)| it.due() <= now);
        let waiting: Vec<OperationId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            self.try_change(now, id, effects);
        }
        if self.changes.read_at <= now && !self.changes.is_reading {
            self.changes.is_reading = true;
            self.changes.read_at = now.plus_ms(self.changes.read_every_ms);
            self.run_own(now, Call::Get, now.plus_ms(READ_MS), Purpose::Read, effects);
        }
    }

    fn try_change(&mut self, now: Moment, id: OperationId, effects: &mut Effects) {
        let Some(changing) = self.changes.under_way.get(&id) else { return };
        if changing.give_up_at > now {
            self.read_before(now, id, effects);
            return;
        }
        let fault = if changing.in_doubt { ChangeFault::Unknown } else { ChangeFault::Unreachable };
        self.changed(id, Err(fault), effects);
    }

    /// An operation of this node's own has ended.
    pub(crate) fn own_ended(
        &mut self,
        now: Moment,
        purpose: Purpose,
        end: &End,
        effects: &mut Effects,
    ) {
        match (purpose, end) {
            (Purpose::Read, end) => {
                self.changes.is_reading = false;
                if let End::Ended(Outcome::Got(held)) = end {
                    let _ = self.learn_list(now, held.as_ref());
                    self.say_that_we_are_back(now, effects);
                }
            }
            (Purpose::Before(id), End::Ended(Outcome::Got(held)))
            | (Purpose::Write(id, _), End::Ended(Outcome::Mismatch(held))) => {
                self.make_change(now, id, held.as_ref(), effects);
            }
            (Purpose::Write(id, roster), End::Ended(Outcome::Set(version))) => {
                self.changes.seen_at = Some(now);
                self.adopt(*version, roster);
                self.changed(id, Ok(*version), effects);
            }
            (Purpose::Before(id), _) => self.pause(now, id, false),
            (Purpose::Write(id, _), end) => {
                let not_begun =
                    matches!(end, End::Elsewhere(_)) || *end == End::Ended(Outcome::Unavailable);
                self.pause(now, id, !not_begun);
            }
        }
    }

    fn pause(&mut self, now: Moment, id: OperationId, in_doubt: bool) {
        if let Some(changing) = self.changes.under_way.get_mut(&id) {
            changing.in_doubt |= in_doubt;
            changing.is_writing = false;
            changing.again_at = now.plus_ms(PAUSE_MS);
        }
    }

    /// The list is known as it is: the change follows from it.
    fn make_change(
        &mut self,
        now: Moment,
        id: OperationId,
        held: Option<&Held>,
        effects: &mut Effects,
    ) {
        let Some((version, roster)) = self.learn_list(now, held) else {
            self.changed(id, Err(ChangeFault::Newer), effects);
            return;
        };
        let Some(changing) = self.changes.under_way.get_mut(&id) else { return };
        let give_up_at = changing.give_up_at;
        changing.is_writing = false;
        match roster.after(&changing.change) {
            Ok(None) => self.changed(id, Ok(version), effects),
            // What is in doubt may have been made, and undone since.
            Err(_) if changing.in_doubt => self.changed(id, Err(ChangeFault::Unknown), effects),
            Err(fault) => self.changed(id, Err(fault), effects),
            Ok(Some(after)) => {
                // `after` has checked that it can be encoded.
                let bytes = after.encode().unwrap_or_default();
                // NODE-5: from exactly this version.
                let expected = if version == Version(0) {
                    Expected::Absent
                } else {
                    Expected::Version(version)
                };
                let call = Call::CompareAndSet { expected, new: Some(Value::from(&bytes[..])) };
                changing.is_writing = true;
                let purpose = Purpose::Write(id, after);
                self.run_own(now, call, give_up_at, purpose, effects);
            }
        }
    }

    /// What the register has, which this node has then too; `None` when it cannot read it.
    fn learn_list(&mut self, now: Moment, held: Option<&Held>) -> Option<(Version, Roster)> {
        let Some(held) = held else {
            self.changes.seen_at = Some(now);
            return Some((Version(0), Roster::of(&self.genesis)));
        };
        let roster = Roster::decode(&held.value.0).ok().flatten()?;
        self.changes.seen_at = Some(now);
        self.adopt(held.version, roster.clone());
        Some((held.version, roster))
    }

    fn adopt(&mut self, version: Version, roster: Roster) {
        if self.changes.known.adopt(version, roster) {
            let places = self.changes.known.roster.places();
            self.known.extend(places.map(|place| place.contact));
        }
    }

    /// A member that has a new disk says so. (That it has moved is for whoever starts it to say.)
    fn say_that_we_are_back(&mut self, now: Moment, effects: &mut Effects) {
        let member = self.me();
        let roster = &self.changes.known.roster;
        let Some(place) = roster.place(member.node) else { return };
        let is_banned = roster.banned().any(|banned| banned == member);
        let is_there = place.member == member;
        let is_said = self.changes.under_way.values().any(|changing| !changing.is_asked);
        if is_there || is_banned || is_said {
            return;
        }
        let (contact, zone) = (place.contact, place.zone.clone());
        let change = Change::Join { member, contact, zone };
        let id = self.own_id();
        self.change(now, id, change, now.plus_ms(OWN_MS), false, effects);
    }

    fn changed(
        &mut self,
        id: OperationId,
        result: Result<Version, ChangeFault>,
        effects: &mut Effects,
    ) {
        let Some(changing) = self.changes.under_way.remove(&id) else { return };
        if changing.is_asked {
            effects.answer.push(Answer::Changed(id, result));
        }
    }

    /// Whether this node has given up all its seats, and nobody needs what is on its disk any more: it may go.
    ///
    /// Three gaps. A view that was proposed before, and is not decided yet, may still name it: if it goes, that
    /// view begins with one member less. And it may never be true, when those who took over have gone
    /// themselves before they have said that they had. And it is still true when the drain was undone, until this node has
    /// read the list again: who has it drain once more then waits that long, or asks the others whether it is named.
    pub fn is_drained(&self) -> bool {
        let standing = self.changes.known.roster.standing(self.me());
        let needed = |replica: &cloakroom_register::Replica| {
            !matches!(replica.durable().life, cloakroom_register::Life::Retired { .. })
        };
        standing == Some(Standing::Draining) && !self.host.replicas().any(needed)
    }
}
