//! The routing table: many contacts near, few far away.
//!
//! A bucket holds at most `k` contacts that share so many leading bits with us and no more; the last
//! one holds all that share more, and is split when it is full.
//!
//! Invariants:
//! * KAD-1: every contact stands once, in the bucket that its shared bits name; never ourselves; a
//!   bucket and its waiting room keep their bounds;
//! * KAD-2: who stands in a bucket has answered us there, and is taken out only when it is taken for
//!   dead, never for a newcomer;
//! * KAD-3: no more contacts of one subnet than the limits say, in a bucket and in the table;
//! * nobody waits for room in a bucket that could take it.
//!
//! What it does not do: send the pings that it asks for, or judge who is dead
//! ([`detector`](crate::detector)).

mod bucket;

use alloc::vec::Vec;
use core::ops::Range;

use cloakroom_wire::{Contact, NodeId};

pub(crate) use self::bucket::smoothed;
pub use self::bucket::{Bucket, Entry};
use crate::head::{head, short_head};
use crate::parameters::{Parameters, SubnetLimits};
use crate::random::Random;
use crate::subnet::Subnet;
use crate::time::Moment;

/// The routing table of one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    own: NodeId,
    limits: Limits,
    buckets: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Limits {
    k: usize,
    replacements: usize,
    buckets: usize,
    subnets: Option<SubnetLimits>,
    fresh_ms: u64,
}

/// So many contacts are compared without asking for memory.
const FEW: usize = 64;

/// What became of a contact that has answered us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It was there, and is now the most recently seen of its bucket.
    Known,
    /// It has a place now.
    Added,
    /// Its bucket is full. Ping this contact, the least recently seen there, if any.
    Waits(Option<Contact>),
    /// Its subnet has its share of the bucket or the table.
    Crowded,
    /// It is ourselves.
    Own,
}

/// What became of a contact that was taken for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Who.
    pub contact: Contact,
    /// Who got its place.
    pub successor: Option<Contact>,
}

impl Table {
    /// An empty table.
    pub fn new(own: NodeId, parameters: &Parameters) -> Self {
        let limits = Limits {
            k: parameters.k.into(),
            replacements: parameters.replacements.into(),
            buckets: parameters.most_buckets.into(),
            subnets: parameters.subnets,
            fresh_ms: parameters.fresh_ms,
        };
        Self { own, limits, buckets: Vec::new() }
    }

    /// A contact has answered a request that we sent to it, there (KAD-2).
    pub fn answered(&mut self, now: Moment, contact: Contact, rtt_us: Option<u32>) -> Placed {
        if contact.id == self.own {
            return Placed::Own;
        }
        if self.buckets.is_empty() {
            self.buckets.push(Bucket::new(now));
        }
        let at = self.index(contact.id);
        if let Some(position) = self.buckets[at].position(contact.id) {
            // It has moved; the key that its id stands for is the same.
            if self.buckets[at].at(position).contact.address != contact.address {
                if !self.has_subnet_room(at, &contact) {
                    return Placed::Crowded;
                }
                self.buckets[at].moves(position, contact);
                self.buckets[at].touch(position, now, rtt_us);
                self.promote_all();
                return Placed::Known;
            }
            self.buckets[at].touch(position, now, rtt_us);
            return Placed::Known;
        }
        self.place(now, Entry::new(contact, now, rtt_us.unwrap_or(0)))
    }

    /// A place for a contact that has none.
    fn place(&mut self, now: Moment, entry: Entry) -> Placed {
        loop {
            let at = self.index(entry.contact.id);
            if self.buckets[at].len() < self.limits.k {
                // KAD-3
                if !self.has_subnet_room(at, &entry.contact) {
                    return Placed::Crowded;
                }
                let bucket = &mut self.buckets[at];
                bucket.replacements.retain(|waiting| waiting.contact.id != entry.contact.id);
                bucket.push(entry, self.limits.k);
                return Placed::Added;
            }
            // KAD-1: only the bucket that we would be in ourselves is split.
            if at + 1 == self.buckets.len() && self.buckets.len() < self.limits.buckets {
                self.split();
                continue;
            }
            let subnets = self.limits.subnets.map_or(usize::MAX, |limits| limits.bucket.into());
            let bucket = &mut self.buckets[at];
            bucket.wait(entry, self.limits.replacements, subnets);
            let oldest = *bucket.at(0);
            let idle = now.since_ms(oldest.seen) >= self.limits.fresh_ms;
            if bucket.probing || !idle {
                return Placed::Waits(None);
            }
            bucket.probing = true;
            return Placed::Waits(Some(oldest.contact));
        }
    }

    /// Who has more bits in common with us than the last bucket's number goes to a new one.
    fn split(&mut self) {
        let number = self.buckets.len() - 1;
        let Some(last) = self.buckets.last_mut() else { return };
        let own = self.own;
        let deeper = |entry: &Entry| shared(own, entry.contact.id) > number;
        let mut next = Bucket::new(last.used);
        last.extract(deeper, |entry| next.push(entry, self.limits.k));
        // Nobody waits: as long as the last bucket can be split, nobody is kept waiting there.
        last.probing = false;
        self.buckets.push(next);
    }

    /// Whoever waits gets the room that there is, the most recently seen first. The last of them.
    fn promote(&mut self, at: usize) -> Option<Contact> {
        let mut promoted = None;
        let mut from = self.buckets[at].replacements.len();
        while from > 0 && self.buckets[at].len() < self.limits.k {
            from -= 1;
            let waiting = self.buckets[at].replacements[from];
            if !self.has_subnet_room(at, &waiting.contact) {
                continue;
            }
            let bucket = &mut self.buckets[at];
            bucket.replacements.remove(from);
            bucket.insert(waiting, self.limits.k);
            promoted = Some(waiting.contact);
        }
        promoted
    }

    /// KAD-3: whether one more contact at this address may stand in this bucket.
    fn has_subnet_room(&self, at: usize, contact: &Contact) -> bool {
        let Some(limits) = self.limits.subnets else { return true };
        let subnet = Subnet::of(contact.address);
        let within = |bucket: &Bucket| bucket.in_subnet(subnet, contact.id);
        within(&self.buckets[at]) < limits.bucket.into()
            && self.buckets.iter().map(within).sum::<usize>() < limits.table.into()
    }

    /// Somebody has sent us a request from there: whether to ping it, because it could get a place
    /// and has none. A contact with a place counts as seen, unless it owes us an answer.
    pub fn heard(&mut self, now: Moment, contact: &Contact) -> bool {
        if contact.id == self.own {
            return false;
        }
        if self.buckets.is_empty() {
            return true;
        }
        let at = self.index(contact.id);
        if let Some(position) = self.buckets[at].position(contact.id) {
            let entry = self.buckets[at].at(position);
            let (moved, owes) = (entry.contact.address != contact.address, entry.unanswered > 0);
            if !moved && !owes {
                self.buckets[at].touch(position, now, None);
            }
            return moved && owes;
        }
        let bucket = &self.buckets[at];
        let last = at + 1 == self.buckets.len();
        if bucket.len() < self.limits.k || last {
            return self.has_subnet_room(at, contact);
        }
        bucket.replacements.len() < self.limits.replacements
            && !bucket.replacements.iter().any(|waiting| waiting.contact.id == contact.id)
    }

    /// A contact has left a request unanswered; whether that counts as evidence against it. What we know
    /// of it then.
    pub fn missed(&mut self, id: NodeId, counts: bool) -> Option<&Entry> {
        let at = self.index(id);
        let position = self.buckets.get(at)?.position(id)?;
        Some(self.buckets[at].missed(position, counts))
    }

    /// What we know of a contact.
    pub fn entry(&self, id: NodeId) -> Option<&Entry> {
        let bucket = self.buckets.get(self.index(id))?;
        Some(bucket.at(bucket.position(id)?))
    }

    /// A contact is dead (KAD-2): whoever waits most recently seen gets its place.
    pub fn remove(&mut self, id: NodeId) -> Option<Removed> {
        let at = self.index(id);
        let entry = self.buckets.get_mut(at)?.remove(id)?;
        let own = self.promote(at);
        let others = self.promote_all();
        let successor = own.or(others);
        Some(Removed { contact: entry.contact, successor })
    }

    /// A subnet has room now, perhaps in several buckets.
    fn promote_all(&mut self) -> Option<Contact> {
        (0..self.buckets.len()).fold(None, |first, at| {
            let promoted = self.promote(at);
            first.or(promoted)
        })
    }

    /// The bucket of an id.
    fn index(&self, id: NodeId) -> usize {
        shared(self.own, id).min(self.buckets.len().saturating_sub(1))
    }

    /// The `count` contacts closest to a target, in no order. Those that owe us an answer are left
    /// out: nobody is sent to them.
    pub fn closest(&self, target: NodeId, count: usize, found: &mut Vec<Contact>) {
        self.gather(target, count, false, found);
    }

    /// The `count` contacts closest to a target, the closest first, also those that owe us an answer.
    pub fn nearest(&self, target: NodeId, count: usize) -> Vec<Contact> {
        let mut found = Vec::with_capacity(count);
        self.gather(target, count, true, &mut found);
        found.sort_unstable_by_key(|contact| contact.id.distance(target));
        found
    }

    fn gather(&self, target: NodeId, count: usize, owing: bool, found: &mut Vec<Contact>) {
        let mut wanted = count;
        let at = self.index(target);
        let deeper = self.buckets.len().min(at + 1)..self.buckets.len();
        // Who shares more bits with the target than we do; then who shares as many; then fewer.
        let nearer = at..self.buckets.len().min(at + 1);
        wanted -= self.take(nearer, target, wanted, owing, found);
        wanted -= self.take(deeper, target, wanted, owing, found);
        for farther in (0..at).rev() {
            if wanted == 0 {
                return;
            }
            wanted -= self.take(farther..farther + 1, target, wanted, owing, found);
        }
    }

    /// Takes the closest of these buckets' contacts, also those that owe us an answer if `owing`; how many.
    fn take(
        &self,
        buckets: Range<usize>,
        target: NodeId,
        wanted: usize,
        owing: bool,
        found: &mut Vec<Contact>,
    ) -> usize {
        if wanted == 0 {
            return 0;
        }
        let buckets = &self.buckets[buckets];
        let most: usize = buckets.iter().map(Bucket::len).sum();
        // One word for each: the first bytes of its distance, then its bucket and its place there.
        let (mut few, mut many) = ([0_u64; FEW], Vec::new());
        let words = if most <= FEW {
            &mut few[..]
        } else {
            many.resize(most, 0);
            &mut many[..]
        };
        let near = short_head(target);
        let mut length = 0;
        for (number, bucket) in (0..).zip(buckets) {
            for rank in bucket.ranks(owing) {
                words[length] = u64::from(rank.head ^ near) << 32 | number << 8 | rank.at();
                length += 1;
            }
        }
        let words = &mut words[..length];
        let contact = |word: u64| {
            let [place, number, ..] = word.to_le_bytes();
            &buckets[usize::from(number)].placed(place).contact
        };
        if length > wanted {
            let (nearer, border, _) = words.select_nth_unstable(wanted);
            // First bytes that are equal on both sides tell nothing; such ids can be made.
            if nearer.iter().any(|word| word >> 32 == *border >> 32) {
                words.sort_unstable_by_key(|word| contact(*word).id.distance(target));
            }
        }
        let taken = length.min(wanted);
        found.extend(words[..taken].iter().map(|&word| contact(word)));
        taken
    }

    /// All entries, bucket by bucket.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(Bucket::entries)
    }

    /// The buckets; the last has all that share at least as many bits with us as its number says.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// How many contacts have a place.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(Bucket::len).sum()
    }

    /// Whether nobody has a place.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A lookup goes to this target: its bucket need not be refreshed soon.
    pub fn mark_used(&mut self, now: Moment, target: NodeId) {
        let at = self.index(target);
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket.used = now;
        }
    }

    /// A target in the first bucket to which no lookup went for `idle_ms`, and marks it used. For the
    /// last bucket it is ourselves: the neighbourhood is what must be known best.
    pub fn refresh(&mut self, now: Moment, idle_ms: u64, random: &mut Random) -> Option<NodeId> {
        let idle = |bucket: &Bucket| now.since_ms(bucket.used) >= idle_ms;
        let at = self.buckets.iter().position(idle)?;
        self.buckets[at].used = now;
        let last = at + 1 == self.buckets.len();
        let at = u16::try_from(at).unwrap_or(u16::MAX);
        Some(if last { self.own } else { self.target_at(at, random) })
    }

    /// A random id that shares exactly so many leading bits with us, 255 at most.
    pub fn target_at(&self, shared_bits: u16, random: &mut Random) -> NodeId {
        let mut target = NodeId(random.bytes());
        let shared_bits = usize::from(shared_bits).min(255);
        for bit in 0..=shared_bits {
            let own = is_set(self.own, bit);
            set_bit(&mut target, bit, own != (bit == shared_bits));
        }
        target
    }

    /// Whether nobody that shares at least so many bits with us was ever turned away for want of
    /// room: then the table has all of them that it was told of.
    pub fn is_whole_from(&self, shared_bits: usize) -> bool {
        let from = shared_bits.min(self.buckets.len().saturating_sub(1));
        self.buckets[from.min(self.buckets.len())..]
            .iter()
            .all(|bucket| bucket.len() < self.limits.k && bucket.replacements.is_empty())
    }

    /// Bytes of memory beside the table itself.
    pub fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
            + self.buckets.iter().map(Bucket::bytes).sum::<usize>()
    }
}

fn shared(own: NodeId, id: NodeId) -> usize {
    let apart = head(own) ^ head(id);
    if apart != 0 {
        return apart.leading_zeros() as usize;
    }
    own.distance(id).shared_bits().into()
}

fn is_set(id: NodeId, bit: usize) -> bool {
    id.0[bit / 8] >> (7 - bit % 8) & 1 == 1
}

fn set_bit(id: &mut NodeId, bit: usize, value: bool) {
    let mask = 0x80 >> (bit % 8);
    if value {
        id.0[bit / 8] |= mask;
    } else {
        id.0[bit / 8] &= !mask;
    }
}
