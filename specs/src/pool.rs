//! The sequential pool and the properties POOL-1 to POOL-7, over plain integers.
//!
//! Ids and tags are `u64`; a snapshot is a slice with one `Option<tag>` for each id. The
//! [`Oracle`] is told what an implementation answered and objects to what no sequential pool could
//! have answered: `allocate` may answer *any* free id, so the answer comes first and is judged.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// What a sequential pool would not have done: the first property that is broken, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Objection {
    /// The property's number: 1 for POOL-1.
    pub property: u8,
    /// What was seen.
    pub what: What,
}

/// What an [`Objection`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    /// `allocate` answered an id that is not below the pool's size.
    NoSuchId(u64),
    /// `allocate` answered an id that is held under this tag.
    Held {
        /// The id.
        id: u64,
        /// Its holder.
        by: u64,
    },
    /// The holder's id is no longer under its tag.
    Taken {
        /// The id.
        id: u64,
        /// The tag that holds it by the caller's knowledge.
        holder: u64,
        /// What stands in its slot.
        slot: Option<u64>,
    },
    /// A slot went from one state to another in a way that no call may cause.
    Change {
        /// The id.
        id: u64,
        /// Before.
        from: Option<u64>,
        /// After.
        to: Option<u64>,
    },
    /// `Full` was answered while this id was free.
    NotFull(u64),
    /// `free` answered this, where a sequential pool answers that.
    Free {
        /// Expected.
        expected: Freed,
        /// Got.
        got: Freed,
    },
    /// A count differs from what is held below it.
    Count {
        /// What the count says.
        count: u64,
        /// What is held.
        held: u64,
    },
    /// A call that ran alone took more map operations than the bound.
    TooManySteps {
        /// How many it took.
        steps: u64,
        /// The bound.
        bound: u64,
    },
    /// A call ended without a definite answer, while the map answered all of its requests.
    Indefinite,
    /// An id is held under a tag that nobody has written down.
    Leaked {
        /// The id.
        id: u64,
        /// The tag.
        tag: u64,
    },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "POOL-{}: {:?}", self.property, self.what)
    }
}

/// The answers of `free`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freed {
    /// The tag held the id, and no longer does.
    Freed,
    /// Nobody held it.
    AlreadyFree,
    /// Another tag holds it, and keeps it.
    NotOwner,
}

/// The sequential pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Oracle {
    slots: Vec<Option<u64>>,
}

impl Oracle {
    /// An empty pool of the ids `[0, size)`.
    pub fn new(size: usize) -> Self {
        Self { slots: vec![None; size] }
    }

    /// Judges that `allocate(tag)` answered `answer` (`None` is Full), and does it. O(size) for
    /// Full, else O(1).
    ///
    /// # Errors
    /// POOL-1 or POOL-3.
    pub fn allocate(&mut self, tag: u64, answer: Option<u64>) -> Result<(), Objection> {
        let Some(id) = answer else {
            return full(self.slots.iter().map(Option::is_some));
        };
        let slot = usize::try_from(id).ok().and_then(|id| self.slots.get_mut(id));
        match slot {
            None => Err(Objection { property: 1, what: What::NoSuchId(id) }),
            Some(Some(by)) => Err(Objection { property: 1, what: What::Held { id, by: *by } }),
            Some(free) => {
                *free = Some(tag);
                Ok(())
            }
        }
    }

    /// Judges that `free(id, tag)` answered `got`, and does it. `id` must be below the size.
    ///
    /// # Errors
    /// POOL-2 for a free that took the id from its holder or should have freed it, else POOL-6.
    ///
    /// # Panics
    /// When `id` is not below the size.
    pub fn free(&mut self, id: u64, tag: u64, got: Freed) -> Result<(), Objection> {
        let slot = &mut self.slots[usize::try_from(id).expect("an id of this pool")];
        let expected = match *slot {
            Some(holder) if holder == tag => Freed::Freed,
            Some(_) => Freed::NotOwner,
            None => Freed::AlreadyFree,
        };
        if expected != got {
            let property = if expected == Freed::AlreadyFree { 6 } else { 2 };
            return Err(Objection { property, what: What::Free { expected, got } });
        }
        if expected == Freed::Freed {
            *slot = None;
        }
        Ok(())
    }

    /// Every held id with its tag, in the order of the ids. O(size).
    pub fn list(&self) -> Vec<(u64, u64)> {
        (0..).zip(&self.slots).filter_map(|(id, tag)| Some((id, (*tag)?))).collect()
    }

    /// The ids held under a tag, in their order. O(size).
    pub fn find(&self, tag: u64) -> Vec<u64> {
        self.list().into_iter().filter(|&(_, held)| held == tag).map(|(id, _)| id).collect()
    }

    /// How many ids are held. O(size).
    pub fn usage(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(slot.is_some())).sum()
    }

    /// The lowest free id: what the policy *lowest first* must answer when one call runs alone
    /// with exact counts. O(size).
    pub fn lowest_free(&self) -> Option<u64> {
        (0..).zip(&self.slots).find(|(_, slot)| slot.is_none()).map(|(id, _)| id)
    }
}

/// POOL-1: what a caller holds stands in its slot under its tag. `holdings` are the pairs that
/// callers hold: from the return of allocate to the call of free. One slot has one tag, so no id is
/// held twice.
///
/// # Errors
/// The first holding that is not in its slot.
pub fn holders_keep_their_ids(
    slots: &[Option<u64>],
    holdings: impl IntoIterator<Item = (u64, u64)>,
) -> Result<(), Objection> {
    for (id, holder) in holdings {
        let slot = usize::try_from(id).ok().and_then(|id| slots.get(id).copied()).flatten();
        if slot != Some(holder) {
            return Err(Objection { property: 1, what: What::Taken { id, holder, slot } });
        }
    }
    Ok(())
}

/// POOL-2: a slot changes from free to a tag by an allocate of that tag, and from a tag to free by
/// a free that names it or a recovery that does not know it; never from one tag to another.
/// `allocating` is the tag that the writer allocates for, `freeing` the tag that it may free here.
///
/// # Errors
/// The change, when it is none of these.
pub fn change_is_allowed(
    id: u64,
    from: Option<u64>,
    to: Option<u64>,
    allocating: Option<u64>,
    freeing: Option<u64>,
) -> Result<(), Objection> {
    let allowed = match (from, to) {
        (None, None) => true,
        (None, Some(tag)) => allocating == Some(tag),
        (Some(tag), None) => freeing == Some(tag),
        (Some(before), Some(after)) => before == after,
    };
    if allowed {
        Ok(())
    } else {
        Err(Objection { property: 2, what: What::Change { id, from, to } })
    }
}

/// POOL-3: at this moment `Full` may be answered. One flag for each id: held, or being freed by a
/// call that has not returned. An answer is right if this holds at some moment during the call.
///
/// # Errors
/// The first id that is free.
pub fn full(held_or_being_freed: impl IntoIterator<Item = bool>) -> Result<(), Objection> {
    match (0..).zip(held_or_being_freed).find(|&(_, taken)| !taken) {
        Some((id, _)) => Err(Objection { property: 3, what: What::NotFull(id) }),
        None => Ok(()),
    }
}

/// POOL-4: every count is what is held below it. Pairs of a count and the number of ids held
/// below.
///
/// # Errors
/// The first count that is wrong.
pub fn counts_exact(counts: impl IntoIterator<Item = (u64, u64)>) -> Result<(), Objection> {
    match counts.into_iter().find(|(count, held)| count != held) {
        Some((count, held)) => Err(Objection { property: 4, what: What::Count { count, held } }),
        None => Ok(()),
    }
}

/// POOL-5: the most map operations that one allocate or free takes when it runs alone, from any
/// reachable state, in a tree of this height with this many other calls that stopped half-way.
///
/// One round costs at most `3 * height + 2`: a read and a creation at each inner level, a read and
/// a write of the block, one write for each edge of the path. Each other call leaves at most one
/// path whose counts are stale, and costs one round of help; one more round is under way when the
/// call is left alone, and one succeeds. A host's memory may lead down once in vain, to a block at
/// which one write fails.
pub const fn solo_bound(height: u64, others: u64) -> u64 {
    (others + 2) * (3 * height + 2) + height + 2
}

/// POOL-5 for a recovery: the most map operations and questions that it takes when it runs alone,
/// in a tree with this many places in all and this many ids, `block` of them to a block. One read,
/// one clear and one refresh for each place, one question for each id; when it is left alone one
/// block may have to be judged, and one write tried, a second time.
pub const fn solo_recovery_bound(places: u64, ids: u64, block: u64) -> u64 {
    5 * places + ids + block + 3
}

/// POOL-5, judged.
///
/// # Errors
/// When `steps` is above `bound`: [`solo_bound`] or [`solo_recovery_bound`].
pub fn returns_alone(steps: u64, bound: u64) -> Result<(), Objection> {
    if steps <= bound {
        return Ok(());
    }
    Err(Objection { property: 5, what: What::TooManySteps { steps, bound } })
}

/// POOL-5: a call returns, which is with a definite answer, unless the map could not be reached; an operation whose
/// outcome is unknown is no reason not to. `was_cut`: a request found the map unreachable.
///
/// # Errors
/// When it has ended without one although the map was there.
pub const fn has_returned(is_definite: bool, was_cut: bool) -> Result<(), Objection> {
    if is_definite || was_cut {
        return Ok(());
    }
    Err(Objection { property: 5, what: What::Indefinite })
}

/// POOL-6: a free of `(id, tag)` that has returned has done its work, whether it was the first
/// call or one repeated after a death: the pair is not held. `slot` is what stands there now.
///
/// # Errors
/// The slot, when it still has the tag.
pub fn free_is_done(slot: Option<u64>, id: u64, tag: u64) -> Result<(), Objection> {
    if slot == Some(tag) {
        return Err(Objection { property: 6, what: What::Change { id, from: slot, to: slot } });
    }
    Ok(())
}

/// POOL-6: when nothing is under way and every free that died was called again, no capacity is
/// missing, whoever else died: no count is above what is held below it. Pairs as in
/// [`counts_exact`]. (A count may be too low after the death of an allocate; that costs the next
/// one a round of help, and no id.)
///
/// # Errors
/// The first count that is too high.
pub fn no_capacity_lost(counts: impl IntoIterator<Item = (u64, u64)>) -> Result<(), Objection> {
    match counts.into_iter().find(|(count, held)| count > held) {
        Some((count, held)) => Err(Objection { property: 6, what: What::Count { count, held } }),
        None => Ok(()),
    }
}

/// POOL-7: after a recovery, when nothing is under way, only tags that are written down hold ids.
///
/// # Errors
/// The first id held under a tag that is not live.
pub fn nothing_leaked(
    slots: &[Option<u64>],
    is_live: impl Fn(u64) -> bool,
) -> Result<(), Objection> {
    for (id, slot) in (0..).zip(slots) {
        if let Some(tag) = slot.filter(|&tag| !is_live(tag)) {
            return Err(Objection { property: 7, what: What::Leaked { id, tag } });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property<T>(judged: Result<T, Objection>) -> Option<u8> {
        judged.err().map(|objection| objection.property)
    }

    #[test]
    fn the_oracle_accepts_a_pool_and_objects_to_what_is_none() {
        let mut pool = Oracle::new(2);
        assert_eq!(pool.lowest_free(), Some(0));
        assert_eq!(pool.allocate(7, Some(1)), Ok(()));
        assert_eq!(property(pool.allocate(8, Some(1))), Some(1), "held");
        assert_eq!(property(pool.allocate(8, Some(2))), Some(1), "no such id");
        assert_eq!(property(pool.allocate(8, None)), Some(3), "0 is free");
        assert_eq!(pool.allocate(8, Some(0)), Ok(()));
        assert_eq!(pool.allocate(9, None), Ok(()));
        assert_eq!((pool.list(), pool.usage()), (vec![(0, 8), (1, 7)], 2));
        assert_eq!(property(pool.free(0, 7, Freed::Freed)), Some(2), "not the holder");
        assert_eq!(pool.free(0, 7, Freed::NotOwner), Ok(()));
        assert_eq!(pool.free(0, 8, Freed::Freed), Ok(()));
        assert_eq!(property(pool.free(0, 8, Freed::Freed)), Some(6), "freed twice");
        assert_eq!(pool.free(0, 8, Freed::AlreadyFree), Ok(()));
        assert_eq!((pool.find(7), pool.find(8)), (vec![1], vec![]));
    }

    #[test]
    fn each_predicate_objects_with_its_own_number() {
        let slots = [Some(1), None];
        assert_eq!(property(holders_keep_their_ids(&slots, [(0, 1)])), None);
        assert_eq!(property(holders_keep_their_ids(&slots, [(1, 1)])), Some(1));
        assert_eq!(property(change_is_allowed(0, Some(1), None, None, Some(1))), None);
        assert_eq!(property(change_is_allowed(0, Some(1), None, None, Some(2))), Some(2));
        assert_eq!(property(change_is_allowed(0, Some(1), Some(2), Some(2), Some(1))), Some(2));
        assert_eq!(property(full([true, true])), None);
        assert_eq!(property(full([true, false])), Some(3));
        assert_eq!(property(counts_exact([(1, 1), (2, 1)])), Some(4));
        assert_eq!(property(returns_alone(solo_bound(2, 3), solo_bound(2, 3))), None);
        assert_eq!(property(returns_alone(solo_bound(2, 3) + 1, solo_bound(2, 3))), Some(5));
        assert_eq!(
            (property(has_returned(true, false)), property(has_returned(false, true))),
            (None, None)
        );
        assert_eq!(property(has_returned(false, false)), Some(5));
        assert_eq!(property(free_is_done(Some(1), 0, 1)), Some(6));
        assert_eq!(property(free_is_done(Some(2), 0, 1)), None);
        assert_eq!(property(no_capacity_lost([(0, 1), (1, 1)])), None);
        assert_eq!(property(no_capacity_lost([(1, 1), (1, 0)])), Some(6));
        assert_eq!(property(nothing_leaked(&slots, |tag| tag == 1)), None);
        assert_eq!(property(nothing_leaked(&slots, |_| false)), Some(7));
    }
}
