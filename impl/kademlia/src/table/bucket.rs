//! One bucket: contacts in the order in which they were last heard from, and who waits for room.
//!
//! Entries stay where they are; what is searched and moved, at nearly every message, is their order: the
//! first bytes of each id, its place, and whether it owes us an answer.
//!
//! Invariants:
//! * entries and replacements come in the order in which they were last heard from, the least recent
//!   first;
//! * no id stands in it twice;
//! * an entry is added by an answer and leaves by [`Bucket::remove`] only (KAD-2).
//!
//! What it does not do: know which ids belong to it, or count subnets beyond itself; that is the
//! table's.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use cloakroom_wire::{Contact, NodeId};

use crate::head::{same, short_head};
use crate::subnet::Subnet;
use crate::time::Moment;

/// A contact that has answered us, and what we know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Who and where.
    pub contact: Contact,
    /// When it last answered us.
    pub seen: Moment,
    /// Its smoothed round trip, zero if none was measured.
    pub rtt_us: u32,
    /// Requests in a row that it left unanswered.
    pub unanswered: u8,
    /// How many of these count as evidence against it.
    pub evidence: u8,
}

impl Entry {
    /// A contact that has just answered.
    pub const fn new(contact: Contact, seen: Moment, rtt_us: u32) -> Self {
        Self { contact, seen, rtt_us, unanswered: 0, evidence: 0 }
    }

    fn answers(&mut self, now: Moment, rtt_us: Option<u32>) {
        self.seen = now;
        self.unanswered = 0;
        self.evidence = 0;
        if let Some(rtt_us) = rtt_us {
            self.rtt_us = smoothed(self.rtt_us, rtt_us);
        }
    }
}

/// The seventh part old, the eighth new, as TCP does.
pub(crate) const fn smoothed(old_us: u32, new_us: u32) -> u32 {
    if old_us == 0 { new_us } else { old_us - old_us / 8 + new_us / 8 }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rank {
    /// The first bytes of its id: few, so that a table stays as small as is stated.
    pub(super) head: u32,
    place: u8,
    /// It has left a request unanswered: here too, since most lookups ask only that of most entries.
    pub(super) owes: bool,
}

impl Rank {
    /// The place of its entry.
    pub(super) fn at(self) -> u64 {
        self.place.into()
    }
}

/// A bucket of the routing table.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    /// In any order.
    entries: Vec<Entry>,
    /// The least recently seen first.
    order: Vec<Rank>,
    pub(super) replacements: Vec<Entry>,
    /// When a lookup last went here.
    pub(super) used: Moment,
    /// The least recently seen entry is being pinged.
    pub(super) probing: bool,
}

/// Of what does not tell where entries stand: two buckets that do the same are the same.
impl PartialEq for Bucket {
    fn eq(&self, other: &Self) -> bool {
        self.entries().eq(other.entries()) && self.rest() == other.rest()
    }
}

impl Eq for Bucket {}

impl Hash for Bucket {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.len().hash(hasher);
        self.entries().for_each(|entry| entry.hash(hasher));
        self.rest().hash(hasher);
    }
}

impl Bucket {
    /// An empty one, to which a lookup last went then.
    pub(super) fn new(used: Moment) -> Self {
        Self { used, ..Self::default() }
    }

    /// The entries, least recently seen first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> + Clone {
        self.order.iter().map(|rank| self.entry(*rank))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn rest(&self) -> (&[Entry], Moment, bool) {
        (&self.replacements, self.used, self.probing)
    }

    /// Where the entries stand, least recently seen first; those that owe us an answer if `owing`.
    pub(super) fn ranks(&self, owing: bool) -> impl Iterator<Item = &Rank> {
        self.order.iter().filter(move |rank| owing || !rank.owes)
    }

    pub(super) fn entry(&self, rank: Rank) -> &Entry {
        self.placed(rank.place)
    }

    /// The entry at a place, which is no order.
    pub(super) fn placed(&self, place: u8) -> &Entry {
        &self.entries[usize::from(place)]
    }

    pub(super) fn at(&self, at: usize) -> &Entry {
        self.entry(self.order[at])
    }

    fn at_mut(&mut self, at: usize) -> &mut Entry {
        &mut self.entries[usize::from(self.order[at].place)]
    }

    /// An entry has moved: its id is elsewhere.
    pub(super) fn moves(&mut self, at: usize, contact: Contact) {
        self.at_mut(at).contact = contact;
    }

    /// An entry has left a request unanswered; whether that is evidence against it.
    pub(super) fn missed(&mut self, at: usize, counts: bool) -> &Entry {
        self.order[at].owes = true;
        let entry = self.at_mut(at);
        entry.unanswered = entry.unanswered.saturating_add(1);
        entry.evidence = entry.evidence.saturating_add(u8::from(counts));
        entry
    }

    /// Who waits for room, least recently seen first.
    pub fn replacements(&self) -> &[Entry] {
        &self.replacements
    }

    pub(super) fn position(&self, id: NodeId) -> Option<usize> {
        let head = short_head(id);
        let is = |rank: &Rank| rank.head == head && same(self.entry(*rank).contact.id, id);
        self.order.iter().position(is)
    }

    /// An entry has answered: it is now the most recently seen.
    pub(super) fn touch(&mut self, at: usize, now: Moment, rtt_us: Option<u32>) {
        if at == 0 {
            self.probing = false;
        }
        self.at_mut(at).answers(now, rtt_us);
        self.order[at].owes = false;
        self.order[at..].rotate_left(1);
    }

    /// How many entries share this subnet, one of them left out.
    pub(super) fn in_subnet(&self, subnet: Subnet, except: NodeId) -> usize {
        count(&self.entries, subnet, except)
    }

    /// As the most recently seen.
    pub(super) fn push(&mut self, entry: Entry, most: usize) {
        grow(&mut self.entries, most);
        grow(&mut self.order, most);
        // Parameters allow 64 contacts at most.
        let place = u8::try_from(self.entries.len()).expect("at most k entries");
        let (head, owes) = (short_head(entry.contact.id), entry.unanswered > 0);
        self.order.push(Rank { head, place, owes });
        self.entries.push(entry);
    }

    /// Where its last answer says.
    pub(super) fn insert(&mut self, entry: Entry, most: usize) {
        let at = self.order.partition_point(|rank| self.entry(*rank).seen <= entry.seen);
        if at == 0 {
            // The oldest is another now, and nobody has pinged it.
            self.probing = false;
        }
        self.push(entry, most);
        self.order[at..].rotate_right(1);
    }

    /// Takes out those that `leaves` says, in their order.
    pub(super) fn extract(&mut self, leaves: impl Fn(&Entry) -> bool, mut to: impl FnMut(Entry)) {
        let mut at = 0;
        while at < self.order.len() {
            if leaves(self.at(at)) {
                to(self.remove_at(at));
            } else {
                at += 1;
            }
        }
    }

    fn remove_at(&mut self, at: usize) -> Entry {
        let place = self.order.remove(at).place;
        let entry = self.entries.swap_remove(place.into());
        // The last entry has moved into the gap.
        let moved = self.entries.len();
        if let Some(rank) = self.order.iter_mut().find(|rank| usize::from(rank.place) == moved) {
            rank.place = place;
        }
        entry
    }

    /// Remembers who waits, as the most recently seen; the one seen least recently makes room.
    pub(super) fn wait(&mut self, entry: Entry, most: usize, subnets: usize) {
        let id = entry.contact.id;
        self.replacements.retain(|waiting| waiting.contact.id != id);
        let subnet = Subnet::of(entry.contact.address);
        if most == 0 || count(&self.replacements, subnet, id) >= subnets {
            return;
        }
        if self.replacements.len() >= most {
            self.replacements.remove(0);
        }
        grow(&mut self.replacements, most);
        self.replacements.push(entry);
    }

    /// Takes an entry out; what was known of it.
    pub(super) fn remove(&mut self, id: NodeId) -> Option<Entry> {
        let at = self.position(id)?;
        if at == 0 {
            self.probing = false;
        }
        Some(self.remove_at(at))
    }

    pub(super) fn bytes(&self) -> usize {
        (self.entries.capacity() + self.replacements.capacity()) * size_of::<Entry>()
            + self.order.capacity() * size_of::<Rank>()
    }
}

fn count(entries: &[Entry], subnet: Subnet, except: NodeId) -> usize {
    let same =
        |entry: &&Entry| Subnet::of(entry.contact.address) == subnet && entry.contact.id != except;
    entries.iter().filter(same).count()
}

/// Room for one more, never for more than `most`: a table's memory is what is stated.
fn grow<T>(entries: &mut Vec<T>, most: usize) {
    if entries.len() == entries.capacity() {
        let room = (entries.len() * 2).clamp(4, most.max(4));
        entries.reserve_exact(room.saturating_sub(entries.len()).max(1));
    }
}
