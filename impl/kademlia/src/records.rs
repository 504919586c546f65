//! The records that a node holds, for whom, and for how long.
//!
//! Invariants:
//! * KAD-7: of one key and origin, the sequence number held never falls as long as any version that was
//!   ever held here could still come back: a newer version, and a deletion above all, is
//!   remembered until the last of those that it replaced would have expired;
//! * KAD-9: no record outlives the life that it was first given here as a replica; a copy beside the
//!   path at most `cache_ms`; the same version sent again does not prolong either;
//! * KAD-11: a version that lived here only as a copy, or was let go of as one, is taken as a
//!   replica when it is offered: a holder that was relieved and is needed again must not refuse;
//! * KAD-10: never more records or bytes than the limits, in all and by one peer; caches make
//!   room for replicas, never the reverse. What a disk must have makes room for nothing, also when it is no
//!   replica any more: a number that is forgotten falls (KAD-7). A full node so refuses until the number's time is
//!   over;
//! * KAD-12: what [`Records::kept`] says is what a disk must have before an offer is acknowledged;
//!   [`Records::changed`] names what has changed of it, and [`Records::put_back`] takes it after a restart, with
//!   the life that is left.
//!
//! Times on the wire are what remains of a life; here they are moments of our own clock. On its way
//! a record gains what the message takes: a record passed around for ever gains that much for each
//! hop, which is why only a version that is not held here gets a new life.
//!
//! What it does not do: decide who ought to hold what (that is
//! [`upkeep`](crate::machine)), or check signatures.

mod kept;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use cloakroom_wire::{
    NodeId, OwnedContent, OwnedFields, OwnedRecord, Record, RecordKey, StorePurpose, StoreStatus,
};

use crate::parameters::RecordLimits;
use crate::time::Moment;

/// What a record is found by: one key may have records of several origins.
pub type Name = (RecordKey, NodeId);

/// A record as it is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    record: OwnedRecord,
    /// Until when it is shown.
    expires: Moment,
    /// Until when its sequence number is remembered.
    guard: Moment,
    replica: bool,
    /// How long it may live as a replica, if it was ever offered as one.
    ends: Option<Moment>,
    /// Who sent it, and so whose share it takes.
    by: NodeId,
    /// When its other holders were last known to have it; `None`: they are to be seen to soon.
    pub(crate) checked: Option<Moment>,
    /// Who has said since then to hold it.
    pub(crate) handed: Vec<NodeId>,
}

/// What became of a record that somebody offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// As it is answered.
    pub status: StoreStatus,
    /// The sequence number held now.
    pub held: Option<u64>,
}

/// What one peer has stored here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Share {
    count: u32,
    bytes: u64,
}

/// All records of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Records {
    limits: RecordLimits,
    held: BTreeMap<Name, Held>,
    shares: BTreeMap<NodeId, Share>,
    total: Share,
    /// Copies beside the path that need not be kept: they make room.
    spare: u32,
    /// What a disk may have otherwise, where there is one.
    changed: Option<BTreeSet<Name>>,
}

impl Held {
    /// The record as it is sent: with the rest of its life.
    pub fn to_send(&self, now: Moment) -> OwnedRecord {
        let expires_in_ms = self.expires.since_ms(now);
        OwnedRecord { expires_in_ms, ..self.record.clone() }
    }

    /// Whether it is one of the record's replicas, not a copy beside the path.
    pub fn is_replica(&self) -> bool {
        self.replica
    }

    /// Whether a disk must have it: copies beside the path need not be there, unless they guard a number. A deletion
    /// is shown as long as it guards one, and so always may.
    fn is_kept(&self) -> bool {
        self.replica || self.guard > self.expires || self.is_tombstone()
    }

    /// Whether it makes room for others.
    fn is_spare(&self) -> bool {
        !self.is_kept()
    }

    /// Whether it still lives.
    pub fn is_shown(&self, now: Moment) -> bool {
        now < self.expires
    }

    /// Its origin's count.
    pub fn sequence(&self) -> u64 {
        self.record.sequence
    }

    /// Whether it says that the key was deleted.
    pub fn is_tombstone(&self) -> bool {
        self.record.content == OwnedContent::Tombstone
    }

    /// Whether it may live as a replica, as far as it was given a life as one.
    fn may_live(&self, now: Moment) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }

    /// Bytes of its value and of fields that this version does not know.
    pub fn content_bytes(&self) -> u64 {
        content_bytes(&self.record)
    }
}

fn content_bytes(record: &OwnedRecord) -> u64 {
    let value = match &record.content {
        OwnedContent::Value(value) => value.len(),
        OwnedContent::Tombstone => 0,
    };
    (value + record.later.borrow().as_bytes().len()) as u64
}

impl Records {
    /// None.
    pub fn new(limits: RecordLimits) -> Self {
        Self {
            limits,
            held: BTreeMap::new(),
            shares: BTreeMap::new(),
            total: Share::default(),
            spare: 0,
            changed: None,
        }
    }

    /// From now on [`Records::changed`] says what a disk must be told.
    pub fn tell_changes(&mut self) {
        self.changed = Some(BTreeSet::new());
    }

    /// KAD-12: what has changed since this was last asked, and what a disk must have of it now; `None`: nothing
    /// any more.
    pub fn changed(&mut self) -> Vec<(Name, Option<Held>)> {
        let Some(names) = self.changed.as_mut().filter(|names| !names.is_empty()) else {
            return Vec::new();
        };
        let names = core::mem::take(names);
        let kept = |name: &Name| self.held.get(name).filter(|held| held.is_kept()).cloned();
        names.into_iter().map(|name| (name, kept(&name))).collect()
    }

    fn note(&mut self, name: Name) {
        if let Some(changed) = &mut self.changed {
            changed.insert(name);
        }
    }

    /// A peer offers a record.
    pub fn offer(
        &mut self,
        now: Moment,
        by: NodeId,
        purpose: StorePurpose,
        record: &Record<'_>,
    ) -> Offered {
        let name = (record.key, record.origin);
        let replica = purpose == StorePurpose::REPLICA;
        let longest = if replica { self.limits.life_ms } else { self.limits.cache_ms };
        let life_ms = record.expires_in_ms.min(longest);
        let old = self.held.get(&name);
        let sequence = old.map(Held::sequence);
        let answer = |status, held| Offered { status, held };
        if old.is_some_and(|old| old.sequence() > record.sequence) {
            // KAD-7: a stale republish never wins.
            return answer(StoreStatus::OUTDATED, sequence);
        }
        let same = old.filter(|old| old.sequence() == record.sequence);
        // KAD-11: only the copy's life is over, and its content may be gone: it begins anew.
        let lapsed = same.filter(|old| replica && !old.is_shown(now) && old.may_live(now));
        if let (Some(same), None) = (same, lapsed) {
            return self.offer_again(now, name, replica, same.same_content(record), life_ms);
        }
        let (by, most) = lapsed.map_or((by, None), |lapsed| (lapsed.by, lapsed.ends));
        let record = record.to_owned();
        let bytes = content_bytes(&record);
        if life_ms == 0 || bytes > u64::from(self.limits.record_bytes) {
            return answer(StoreStatus::REFUSED, sequence);
        }
        let of_key = self.of_key(record.key).count();
        if old.is_none() && of_key >= usize::from(self.limits.origins) {
            return answer(StoreStatus::REFUSED, sequence);
        }
        if !self.makes_room(name, by, bytes, replica) {
            return answer(StoreStatus::FULL, sequence);
        }
        // KAD-9
        let mut expires = now.plus_ms(life_ms).min(most.unwrap_or(Moment::NEVER));
        let mut guard = expires;
        let offered_as_replica = replica;
        let mut replica = replica;
        if let Some(old) = self.take(&name) {
            // KAD-7: what it replaces may come back from elsewhere until then.
            guard = guard.max(old.guard);
            replica |= old.replica;
        }
        if record.content == OwnedContent::Tombstone {
            expires = guard;
        }
        let held = Some(record.sequence);
        let ends = offered_as_replica.then_some(expires);
        let (checked, handed) = (Some(now), Vec::new());
        self.put(name, Held { record, expires, guard, replica, ends, by, checked, handed });
        answer(StoreStatus::STORED, held)
    }

    /// The version that is held is offered once more: no longer life, and no other content. A cached
    /// copy may become a replica.
    fn offer_again(
        &mut self,
        now: Moment,
        name: Name,
        replica: bool,
        same: bool,
        life_ms: u64,
    ) -> Offered {
        let Some(held) = self.held.get_mut(&name) else {
            return Offered { status: StoreStatus::REFUSED, held: None };
        };
        let sequence = Some(held.record.sequence);
        // KAD-9: one version has one content, the one that came first, and is not raised from the
        // dead.
        if !same || !held.is_shown(now) {
            return Offered { status: StoreStatus::REFUSED, held: sequence };
        }
        if replica {
            held.checked = Some(now);
            if !held.replica || held.ends.is_none() {
                if let Some(changed) = &mut self.changed {
                    changed.insert(name);
                }
                self.spare -= u32::from(held.is_spare());
                held.replica = true;
                let most = held.ends.unwrap_or(Moment::NEVER);
                held.expires = held.expires.max(now.plus_ms(life_ms)).min(most);
                held.ends = Some(most.min(held.expires));
                held.guard = held.guard.max(held.expires);
            }
        }
        Offered { status: StoreStatus::STORED, held: sequence }
    }

    /// KAD-10: whether a record of so many bytes has room, after copies have made way for one that must be kept.
    fn makes_room(&mut self, name: Name, by: NodeId, bytes: u64, kept: bool) -> bool {
        let limits = self.limits;
        let (old_by, old_bytes) =
            self.held.get(&name).map_or((None, 0), |old| (Some(old.by), old.content_bytes()));
        let share = self.shares.get(&by).copied().unwrap_or_default();
        let own = old_by == Some(by);
        let count = share.count - u32::from(own);
        let taken = share.bytes - if own { old_bytes } else { 0 };
        if count >= limits.peer_count || taken + bytes > limits.peer_bytes {
            return false;
        }
        loop {
            let count = self.total.count - u32::from(old_by.is_some());
            if count < limits.count && self.total.bytes - old_bytes + bytes <= limits.bytes {
                return true;
            }
            // Without copies nothing is searched through: a full node refuses cheaply.
            if !kept || self.spare == 0 {
                return false;
            }
            // KAD-7: what guards a number stays, or an older version would be taken again.
            let copies = self.held.iter().filter(|(of, held)| **of != name && held.is_spare());
            let soonest = copies.min_by_key(|(_, held)| held.expires).map(|(of, _)| *of);
            let Some(of) = soonest else { return false };
            self.take(&of);
        }
    }

    fn put(&mut self, name: Name, held: Held) {
        let bytes = held.content_bytes();
        let share = self.shares.entry(held.by).or_default();
        share.count += 1;
        share.bytes += bytes;
        self.total.count += 1;
        self.total.bytes += bytes;
        self.spare += u32::from(held.is_spare());
        self.held.insert(name, held);
        self.note(name);
    }

    fn take(&mut self, name: &Name) -> Option<Held> {
        let held = self.held.remove(name)?;
        self.release(held.by, 1, held.content_bytes());
        self.spare -= u32::from(held.is_spare());
        self.note(*name);
        Some(held)
    }

    fn release(&mut self, by: NodeId, count: u32, bytes: u64) {
        self.total.count -= count;
        self.total.bytes -= bytes;
        if let Some(share) = self.shares.get_mut(&by) {
            share.count -= count;
            share.bytes -= bytes;
            if share.count == 0 {
                self.shares.remove(&by);
            }
        }
    }

    /// Forgets what has expired: first the content, and the sequence number when nothing older can
    /// come back.
    pub fn sweep(&mut self, now: Moment) {
        let mut gone = Vec::new();
        let mut emptied = Vec::new();
        for (name, held) in &mut self.held {
            if now >= held.guard {
                gone.push(*name);
            } else if now >= held.expires && held.content_bytes() > 0 {
                emptied.push((*name, held.by, held.content_bytes()));
                held.record.content = OwnedContent::Tombstone;
                held.record.later = OwnedFields::default();
            }
        }
        for (name, by, bytes) in emptied {
            self.release(by, 0, bytes);
            self.note(name);
        }
        for name in gone {
            self.take(&name);
        }
    }

    /// What is held under a key and lives.
    pub fn shown(&self, now: Moment, key: RecordKey) -> impl Iterator<Item = &Held> {
        self.of_key(key).filter(move |held| held.is_shown(now))
    }

    fn of_key(&self, key: RecordKey) -> impl Iterator<Item = &Held> {
        self.held.range((key, NodeId([0; 32]))..=(key, NodeId([255; 32]))).map(|(_, held)| held)
    }

    /// One record, shown or remembered.
    pub fn held(&self, name: &Name) -> Option<&Held> {
        self.held.get(name)
    }

    pub(crate) fn held_mut(&mut self, name: &Name) -> Option<&mut Held> {
        self.held.get_mut(name)
    }

    /// How many are held, shown or remembered.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// All replicas that live.
    pub fn replicas(&self, now: Moment) -> impl Iterator<Item = (&Name, &Held)> {
        self.held.iter().filter(move |(_, held)| held.replica && held.is_shown(now))
    }

    /// Others hold it in our place: it lives on as a cached copy.
    pub(crate) fn demote(&mut self, now: Moment, name: &Name) {
        let cache_ms = self.limits.cache_ms;
        if let Some(held) = self.held.get_mut(name) {
            self.spare -= u32::from(held.is_spare());
            held.replica = false;
            held.handed = Vec::new();
            held.expires = held.expires.min(now.plus_ms(cache_ms));
            self.spare += u32::from(held.is_spare());
            self.note(*name);
        }
    }

    /// What a disk must keep, so that a node that starts again has it: replicas, and the numbers that
    /// must not fall (KAD-7). Moments in it are those of a clock that goes on meanwhile.
    pub fn kept(&self) -> impl Iterator<Item = &Held> {
        self.held.values().filter(|held| held.is_kept())
    }

    /// What a disk has kept, if its time has not passed. Its other holders will be seen to soon. What is not
    /// taken is named by [`Records::changed`]: the disk need not have it any more.
    pub fn put_back(&mut self, now: Moment, held: Held) {
        let (name, bytes) = ((held.record.key, held.record.origin), held.content_bytes());
        let newer = self.held.get(&name).is_none_or(|other| other.sequence() < held.sequence());
        if now < held.guard && newer && self.makes_room(name, held.by, bytes, held.is_kept()) {
            self.take(&name);
            self.put(name, Held { checked: None, handed: Vec::new(), ..held });
            if let Some(changed) = &mut self.changed {
                changed.remove(&name);
            }
        } else {
            self.note(name);
        }
    }

    /// Bytes of memory beside this and the contents of records, as if the maps' nodes were full.
    pub fn bytes(&self) -> usize {
        let handed: usize = self.held.values().map(|held| held.handed.capacity()).sum();
        self.held.len() * size_of::<(Name, Held)>()
            + handed * size_of::<NodeId>()
            + self.shares.len() * size_of::<(NodeId, Share)>()
            + self.changed.as_ref().map_or(0, BTreeSet::len) * size_of::<Name>()
    }

    /// Records held, expired ones that are only remembered included; and bytes of their contents.
    pub fn size(&self) -> (u32, u64) {
        (self.total.count, self.total.bytes)
    }
}

impl Held {
    fn same_content(&self, record: &Record<'_>) -> bool {
        let borrowed = self.record.borrow();
        borrowed.content == record.content && borrowed.later == record.later
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: NodeId = NodeId([7; 32]);
    const VALUE: Option<&[u8]> = Some(b"coat");
    const DELETED: Option<&[u8]> = None;

    fn at(ms: u64) -> Moment {
        Moment(0).plus_ms(ms)
    }

    /// What becomes of an offer at a time to a node that has room for one: key, number and content, and for how long.
    fn offer(
        records: &mut Records,
        ms: u64,
        purpose: StorePurpose,
        (key, sequence, content): (u8, u64, Option<&[u8]>),
        expires_in_ms: u64,
    ) -> StoreStatus {
        records.sweep(at(ms));
        let content = content.map(|value| OwnedContent::Value(value.into()));
        let record = OwnedRecord {
            key: RecordKey([key; 32]),
            origin: ORIGIN,
            sequence,
            expires_in_ms,
            content: content.unwrap_or(OwnedContent::Tombstone),
            later: OwnedFields::default(),
        };
        let status = records.offer(at(ms), ORIGIN, purpose, &record.borrow()).status;
        let spare = records.held.values().filter(|held| held.is_spare()).count();
        assert_eq!((records.spare as usize, records.len()), (spare, 1), "counted once more");
        status
    }

    #[test]
    fn a_full_node_forgets_no_number_that_must_not_fall_and_takes_others_when_its_time_is_over() {
        let (replica, cache) = (StorePurpose::REPLICA, StorePurpose::CACHE);
        let (stored, full, outdated) =
            (StoreStatus::STORED, StoreStatus::FULL, StoreStatus::OUTDATED);
        let limits = RecordLimits { count: 1, cache_ms: 10, ..RecordLimits::default() };
        for content in [VALUE, DELETED] {
            // Let go of as a replica: shown until 10, remembered until 100.
            let mut records = Records::new(limits);
            assert_eq!(offer(&mut records, 0, replica, (1, 2, content), 100), stored);
            records.demote(at(0), &(RecordKey([1; 32]), ORIGIN));
            for ms in [5, 50, 99] {
                assert_eq!(offer(&mut records, ms, replica, (2, 1, VALUE), 100), full, "{ms} ms");
                assert_eq!(offer(&mut records, ms, replica, (1, 1, VALUE), 100), outdated);
            }
            assert_eq!(offer(&mut records, 100, replica, (2, 1, VALUE), 100), stored);
            // A copy that keeps down one that would have lived longer: until 10.
            let mut records = Records::new(limits);
            assert_eq!(offer(&mut records, 0, cache, (1, 1, VALUE), 10), stored);
            assert_eq!(offer(&mut records, 5, cache, (1, 2, content), 1), stored);
            assert_eq!(offer(&mut records, 7, replica, (2, 1, VALUE), 100), full);
            assert_eq!(offer(&mut records, 7, replica, (1, 1, VALUE), 100), outdated);
            assert_eq!(offer(&mut records, 10, replica, (2, 1, VALUE), 100), stored);
        }
        // One that keeps nothing down makes room.
        let mut records = Records::new(limits);
        assert_eq!(offer(&mut records, 0, cache, (1, 1, VALUE), 10), stored);
        assert_eq!(offer(&mut records, 1, replica, (2, 1, VALUE), 100), stored);
    }
}
