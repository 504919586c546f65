//! What a routing table, a lookup and a holder of records must look like, over plain integers.
//!
//! Ids are the first bits of real ones as `u64`, subnets any number, times milliseconds.
//!
//! * [`table_is_sound`] and [`entries_are_kept`]: KAD-1, KAD-2, KAD-3 over a snapshot and a step.
//! * [`closest`]: the naive search through all.
//! * [`Search`] judges a lookup from what it was told and whom it asked: KAD-4, KAD-5.
//! * [`History`] judges what a holder answers and shows of one key and origin: KAD-7, KAD-9.
//!
//! What it does not do: say what is in a table; which of many contacts is kept is left open.

use alloc::vec::Vec;
use core::fmt;

/// The first property that is broken, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Objection {
    /// The property's number: 1 for KAD-1.
    pub property: u8,
    /// What was seen.
    pub what: What,
}

/// What an [`Objection`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    /// This id stands in a bucket that is not its own.
    Misplaced(u64),
    /// This id stands in the table twice, or is our own.
    Twice(u64),
    /// A bucket has so many entries.
    Overfull(usize),
    /// So many wait for room in a bucket.
    Crowd(usize),
    /// So many contacts of one subnet are in a bucket or in the table.
    Subnet(usize),
    /// This id waits for room that there is.
    LeftWaiting(u64),
    /// This id has lost its place, and is not dead.
    Displaced(u64),
    /// This id has a place, and has not answered.
    Unproven(u64),
    /// A lookup has ended, and this id, closer than its result, was neither asked nor failed.
    Unasked(u64),
    /// A lookup has ended without this id, which is reachable and among the closest.
    Missed(u64),
    /// A lookup goes on, and there is nobody to ask or to wait for.
    Stuck,
    /// This id was asked twice at one address, or after it had answered.
    AskedAgain(u64),
    /// So many requests were sent, so many candidates kept, or so many were in flight.
    Unbounded(usize),
    /// A version with this sequence number was taken although a newer one was known.
    Stale(u64),
    /// A version with this sequence number was refused although it is the newest.
    Refused(u64),
    /// This is shown, where that ought to be.
    Shown {
        /// Sequence number expected, if anything.
        expected: Option<u64>,
        /// Sequence number got, if anything.
        got: Option<u64>,
    },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KAD-{}: {:?}", self.property, self.what)
    }
}

const fn object(property: u8, what: What) -> Result<(), Objection> {
    Err(Objection { property, what })
}

/// A contact in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    /// Who.
    pub id: u64,
    /// Where.
    pub subnet: u64,
}

/// A bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seats {
    /// Who has a place.
    pub entries: Vec<Seat>,
    /// Who waits for one.
    pub waiting: Vec<Seat>,
}

/// The limits of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bits of an id.
    pub bits: u32,
    /// Places in a bucket.
    pub k: usize,
    /// How many may wait.
    pub waiting: usize,
    /// Contacts of one subnet in a bucket, and in the table.
    pub subnet: (usize, usize),
}

/// How many leading bits of `bits` two ids share.
pub const fn shared_bits(bits: u32, one: u64, other: u64) -> u32 {
    let spare = u64::BITS - bits;
    let shared = ((one ^ other) << spare).leading_zeros();
    if shared < bits { shared } else { bits }
}

/// Judges a table: KAD-1 and KAD-3, and that nobody waits for room that there is.
///
/// # Errors
/// The first that is wrong.
pub fn table_is_sound(own: u64, limits: Limits, buckets: &[Seats]) -> Result<(), Objection> {
    let all: Vec<Seat> = buckets.iter().flat_map(|bucket| bucket.entries.clone()).collect();
    for (number, bucket) in buckets.iter().enumerate() {
        if bucket.entries.len() > limits.k {
            return object(1, What::Overfull(bucket.entries.len()));
        }
        if bucket.waiting.len() > limits.waiting {
            return object(1, What::Crowd(bucket.waiting.len()));
        }
        let last = number + 1 == buckets.len();
        for seat in bucket.entries.iter().chain(&bucket.waiting) {
            let shared = shared_bits(limits.bits, own, seat.id) as usize;
            if shared < number || shared > number && !last {
                return object(1, What::Misplaced(seat.id));
            }
            let here = all.iter().chain(&bucket.waiting).filter(|other| other.id == seat.id);
            if here.count() > 1 || seat.id == own {
                return object(1, What::Twice(seat.id));
            }
        }
        for seat in &bucket.entries {
            let of = |seats: &[Seat]| seats.iter().filter(|s| s.subnet == seat.subnet).count();
            let (in_bucket, in_table) = (of(&bucket.entries), of(&all));
            if in_bucket > limits.subnet.0 || in_table > limits.subnet.1 {
                return object(3, What::Subnet(in_bucket.max(in_table)));
            }
        }
        for seat in &bucket.waiting {
            let of = |seats: &[Seat]| seats.iter().filter(|s| s.subnet == seat.subnet).count();
            let room = bucket.entries.len() < limits.k
                && of(&bucket.entries) < limits.subnet.0
                && of(&all) < limits.subnet.1;
            if room {
                return object(1, What::LeftWaiting(seat.id));
            }
        }
    }
    Ok(())
}

/// Judges a step of a table, KAD-2: who had a place keeps it unless it is dead; who gets one has
/// answered, now or while it waited.
///
/// # Errors
/// The first that is wrong.
pub fn entries_are_kept(
    before: &[Seats],
    after: &[Seats],
    answered: Option<u64>,
    dead: Option<u64>,
) -> Result<(), Objection> {
    let has = |buckets: &[Seats], id: u64| {
        buckets.iter().any(|bucket| bucket.entries.iter().any(|seat| seat.id == id))
    };
    let waits = |id: u64| before.iter().any(|bucket| bucket.waiting.iter().any(|s| s.id == id));
    for seat in before.iter().flat_map(|bucket| &bucket.entries) {
        if !has(after, seat.id) && dead != Some(seat.id) {
            return object(2, What::Displaced(seat.id));
        }
    }
    for seat in after.iter().flat_map(|bucket| &bucket.entries) {
        if !has(before, seat.id) && answered != Some(seat.id) && !waits(seat.id) {
            return object(2, What::Unproven(seat.id));
        }
    }
    Ok(())
}

/// The `count` ids closest to a target by XOR, the closest first.
pub fn closest(target: u64, count: usize, ids: &[u64]) -> Vec<u64> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable_by_key(|id| id ^ target);
    sorted.dedup();
    sorted.truncate(count);
    sorted
}

/// What a lookup on one path was told, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Search {
    /// Ids that were told, each with an address; sorted.
    told: Vec<(u64, u64)>,
    /// Those of them that were asked.
    asked: Vec<(u64, u64)>,
    /// Ids that answered.
    answered: Vec<u64>,
    /// Those asked that failed.
    failed: Vec<(u64, u64)>,
}

impl Search {
    /// An id was told, with an address.
    pub fn told(&mut self, id: u64, address: u64) {
        if let Err(at) = self.told.binary_search(&(id, address)) {
            self.told.insert(at, (id, address));
        }
    }

    /// An id is asked there.
    ///
    /// # Errors
    /// KAD-4, if it was asked there before, or has answered.
    pub fn asked(&mut self, id: u64, address: u64) -> Result<(), Objection> {
        if self.asked.contains(&(id, address)) || self.answered.contains(&id) {
            return object(4, What::AskedAgain(id));
        }
        let at = self.asked.binary_search(&(id, address)).unwrap_or_else(|at| at);
        self.asked.insert(at, (id, address));
        Ok(())
    }

    /// An id has answered.
    pub fn answered(&mut self, id: u64) {
        if let Err(at) = self.answered.binary_search(&id) {
            self.answered.insert(at, id);
        }
    }

    /// An id has failed there.
    pub fn failed(&mut self, id: u64, address: u64) {
        if let Err(at) = self.failed.binary_search(&(id, address)) {
            self.failed.insert(at, (id, address));
        }
    }

    /// Whether an id has answered.
    pub fn has_answered(&self, id: u64) -> bool {
        self.answered.contains(&id)
    }

    /// How many were asked.
    pub fn requests(&self) -> usize {
        self.asked.len()
    }

    /// Judges the end of a lookup, KAD-4: the result is the `k` closest that answered, and of those
    /// told nobody is closer than its last without having answered or failed.
    ///
    /// # Errors
    /// KAD-4.
    pub fn ended(&self, target: u64, k: usize, result: &[u64]) -> Result<(), Objection> {
        let expected = closest(target, k, &self.answered);
        if let Some(id) = expected.iter().find(|id| !result.contains(id)) {
            return object(4, What::Missed(*id));
        }
        let farthest = expected.get(k.saturating_sub(1)).map(|id| id ^ target);
        for told in &self.told {
            let closer = farthest.is_none_or(|farthest| told.0 ^ target < farthest);
            let settled = self.answered.contains(&told.0) || self.failed.contains(told);
            if closer && !settled {
                return object(4, What::Unasked(told.0));
            }
        }
        Ok(())
    }
}

/// A version of a record, as it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    sequence: u64,
    /// `None`: deleted.
    value: Option<u64>,
    expires: u64,
}

/// What one holder has taken of one key and origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    taken: Vec<Version>,
}

impl History {
    /// The newest sequence number such that something as old or older could still come back: some
    /// version that was taken no later than it has not expired.
    fn floor(&self, now: u64) -> Option<u64> {
        let (mut lives, mut floor) = (false, None);
        for version in &self.taken {
            lives |= version.expires > now;
            if lives {
                floor = floor.max(Some(version.sequence));
            }
        }
        floor
    }

    /// Judges that a version was offered, with so much life left (already cut to the longest that is
    /// allowed), and taken or not as a new one.
    ///
    /// # Errors
    /// KAD-7 if an old one was taken; KAD-9 if the newest was refused.
    pub fn offered(
        &mut self,
        now: u64,
        sequence: u64,
        value: Option<u64>,
        life: u64,
        taken: bool,
    ) -> Result<(), Objection> {
        if taken {
            if self.floor(now).is_some_and(|floor| floor >= sequence) {
                return object(7, What::Stale(sequence));
            }
            self.taken.push(Version { sequence, value, expires: now + life });
            return Ok(());
        }
        let newest = self.taken.iter().all(|version| version.sequence < sequence);
        if newest && life > 0 {
            return object(9, What::Refused(sequence));
        }
        Ok(())
    }

    /// Judges what is shown: the version taken last, while it lives; a deletion as long as anything
    /// taken before it would have.
    ///
    /// # Errors
    /// KAD-7 or KAD-9.
    pub fn shows(&self, now: u64, shown: Option<(u64, Option<u64>)>) -> Result<(), Objection> {
        let last = self.taken.last().filter(|last| {
            let any = self.taken.iter().any(|version| version.expires > now);
            last.expires > now || last.value.is_none() && any
        });
        let expected = last.map(|last| (last.sequence, last.value));
        if expected == shown {
            return Ok(());
        }
        let property = if shown.is_some() && expected.is_none() { 9 } else { 7 };
        let (expected, got) = (expected.map(|v| v.0), shown.map(|v| v.0));
        object(property, What::Shown { expected, got })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const LIMITS: Limits = Limits { bits: 3, k: 2, waiting: 1, subnet: (1, 2) };

    fn seat(id: u64) -> Seat {
        Seat { id, subnet: id }
    }

    fn judged(entries: &[&[u64]], waiting: &[&[u64]]) -> Result<(), What> {
        let seats = |ids: &[u64]| ids.iter().copied().map(seat).collect::<Vec<_>>();
        let buckets: Vec<Seats> = entries
            .iter()
            .zip(waiting)
            .map(|(entries, waiting)| Seats { entries: seats(entries), waiting: seats(waiting) })
            .collect();
        table_is_sound(0, LIMITS, &buckets).map_err(|objection| objection.what)
    }

    #[test]
    fn an_unsound_table_is_refused() {
        assert_eq!(judged(&[&[4, 5], &[2]], &[&[6], &[]]), Ok(()));
        assert_eq!(judged(&[&[4, 5, 6]], &[&[]]), Err(What::Overfull(3)));
        assert_eq!(judged(&[&[4, 5], &[]], &[&[6, 7], &[]]), Err(What::Crowd(2)));
        assert_eq!(judged(&[&[2], &[]], &[&[], &[]]), Err(What::Misplaced(2)));
        assert_eq!(judged(&[&[4, 4], &[]], &[&[], &[]]), Err(What::Twice(4)));
        assert_eq!(judged(&[&[4], &[]], &[&[5], &[]]), Err(What::LeftWaiting(5)));
        let crowded = Seats { entries: vec![seat(4), Seat { id: 5, subnet: 4 }], waiting: vec![] };
        let objection = table_is_sound(0, LIMITS, &[crowded, Seats::default()]).unwrap_err();
        assert_eq!(objection, Objection { property: 3, what: What::Subnet(2) });
    }

    #[test]
    fn who_is_displaced_or_unproven_is_named() {
        let of = |ids: &[u64]| {
            vec![Seats { entries: ids.iter().copied().map(seat).collect(), waiting: vec![] }]
        };
        let judged = |after: &[u64], answered, dead| {
            entries_are_kept(&of(&[4, 5]), &of(after), answered, dead).map_err(|o| o.what)
        };
        assert_eq!(judged(&[4, 5, 6], Some(6), None), Ok(()));
        assert_eq!(judged(&[5], None, Some(4)), Ok(()));
        assert_eq!(judged(&[5], None, None), Err(What::Displaced(4)));
        assert_eq!(judged(&[4, 5, 6], None, None), Err(What::Unproven(6)));
    }

    #[test]
    fn a_search_that_ends_too_soon_is_refused() {
        let mut search = Search::default();
        search.told(1, 1);
        search.told(2, 2);
        search.asked(2, 2).unwrap();
        assert!(search.asked(2, 2).is_err());
        search.answered(2);
        let judged = |search: &Search, k, result: &[u64]| {
            search.ended(0, k, result).map_err(|objection| objection.what)
        };
        assert_eq!(judged(&search, 1, &[2]), Err(What::Unasked(1)));
        search.failed(1, 1);
        assert_eq!(judged(&search, 1, &[2]), Ok(()));
        assert_eq!(judged(&search, 1, &[]), Err(What::Missed(2)));
        search.told(3, 3);
        assert_eq!(judged(&search, 1, &[2]), Ok(()), "3 is farther than the result");
        assert_eq!(judged(&search, 2, &[2]), Err(What::Unasked(3)), "two were wanted");
    }

    #[test]
    fn a_stale_version_or_a_short_deletion_is_refused() {
        let mut history = History::default();
        history.offered(0, 1, Some(10), 100, true).unwrap();
        history.offered(1, 2, None, 10, true).unwrap();
        assert!(history.shows(50, Some((2, None))).is_ok());
        assert_eq!(history.shows(50, Some((1, Some(10)))).unwrap_err().property, 7);
        assert!(history.shows(50, None).is_err());
        assert!(history.clone().offered(50, 1, Some(10), 9, true).is_err());
        assert!(history.clone().offered(50, 3, Some(11), 9, false).is_err());
        assert!(history.offered(101, 1, Some(10), 9, true).is_ok());
        assert_eq!(history.shows(111, Some((1, Some(10)))).unwrap_err().property, 9);
    }
}
