//! One bucket: contacts in the order in which they were last heard from, and who waits for room.
//!
//! Invariants:
//! * entries and replacements are sorted by when they were last heard from, the least recent first;
//! * no id stands in it twice;
//! * an entry is added by an answer and leaves by [`Bucket::remove`] only (KAD-2).
//!
//! What it does not do: know which ids belong to it, or count subnets beyond itself; that is the
//! table's.

use alloc::vec::Vec;

use cloakroom_wire::{Contact, NodeId};

use crate::head::same;
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

/// A bucket of the routing table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bucket {
    pub(super) entries: Vec<Entry>,
    pub(super) replacements: Vec<Entry>,
    /// When a lookup last went here.
    pub(super) used: Moment,
    /// The least recently seen entry is being pinged.
    pub(super) probing: bool,
}

impl Bucket {
    /// The entries, least recently seen first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Who waits for room, least recently seen first.
    pub fn replacements(&self) -> &[Entry] {
        &self.replacements
    }

    pub(super) fn position(&self, id: NodeId) -> Option<usize> {
        self.entries.iter().position(|entry| same(entry.contact.id, id))
    }

    /// An entry has answered: it is now the most recently seen.
    pub(super) fn touch(&mut self, at: usize, now: Moment, rtt_us: Option<u32>) {
        if at == 0 {
            self.probing = false;
        }
        self.entries[at].answers(now, rtt_us);
        self.entries[at..].rotate_left(1);
    }

    /// How many entries share this subnet, one of them left out.
    pub(super) fn in_subnet(&self, subnet: Subnet, except: NodeId) -> usize {
        count(&self.entries, subnet, except)
    }

    pub(super) fn push(&mut self, entry: Entry, most: usize) {
        grow(&mut self.entries, most);
        self.entries.push(entry);
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
        Some(self.entries.remove(at))
    }

    pub(super) fn bytes(&self) -> usize {
        (self.entries.capacity() + self.replacements.capacity()) * size_of::<Entry>()
    }
}

fn count(entries: &[Entry], subnet: Subnet, except: NodeId) -> usize {
    let same =
        |entry: &&Entry| Subnet::of(entry.contact.address) == subnet && entry.contact.id != except;
    entries.iter().filter(same).count()
}

/// Room for one more, never for more than `most`: a table's memory is what is stated.
fn grow(entries: &mut Vec<Entry>, most: usize) {
    if entries.len() == entries.capacity() {
        let room = (entries.len() * 2).clamp(4, most.max(4));
        entries.reserve_exact(room.saturating_sub(entries.len()).max(1));
    }
}
