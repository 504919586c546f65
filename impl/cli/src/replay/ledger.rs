//! The oracle's books: who holds what, kept from the callers' words alone.
//!
//! It never looks into the pool. An id is held from the return of allocate until free is called.
//!
//! * POOL-1: an id that allocate returns must be held by nobody ([`Ledger::allocated`]); the first
//!   free of a held pair must find it ([`Ledger::freed`]);
//! * POOL-3: `Full` may be answered only if at some moment during the call every id *could* have
//!   been taken: held, being freed, being allocated, or left by a caller that died
//!   ([`Ledger::full`]). This is necessary, not sufficient: what is only possible is let pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use cloakroom_pool::{FreeOutcome, Id, Tag};
use cloakroom_specs::pool::full;

use super::plan::Caller;

/// How many objections are told in words; all are counted.
const MOST_TOLD: usize = 20;

/// The books.
#[derive(Debug)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
}

/// What the books say in the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    size: u64,
    held: BTreeMap<Id, BTreeSet<Tag>>,
    pairs: u64,
    /// For each allocate under way, by workload: the most ids that others could have taken at a
    /// moment during it.
    allocating: BTreeMap<usize, u64>,
    freeing: u64,
    /// Callers that died allocating, and no recovery that began later has ended.
    dead: u64,
    /// The most pairs held at once.
    pub(crate) peak: u64,
    /// Ids handed out while they were held.
    pub(crate) double_held: u64,
    /// Held pairs that were gone when their holder freed them.
    pub(crate) taken: u64,
    /// `Full` answered while there was room.
    pub(crate) false_full: u64,
    /// The first objections, in words.
    pub(crate) objections: Vec<String>,
}

impl Ledger {
    /// Books for a pool of this size, in which nobody holds anything.
    pub(crate) fn new(size: u64) -> Self {
        Self { books: Mutex::new(Books { size, ..Books::default() }) }
    }

    /// A caller calls allocate.
    pub(crate) fn allocates(&self, caller: &Caller) {
        let mut books = self.books();
        let others = books.could_be_taken();
        // The only event that raises this number, so the only one to tell the others of.
        for most in books.allocating.values_mut() {
            *most = (*most).max(others);
        }
        books.allocating.insert(caller.workload, others);
    }

    /// Allocate returned an id.
    pub(crate) fn allocated(&self, caller: &Caller, id: Id) {
        let mut books = self.books();
        books.allocating.remove(&caller.workload);
        if id.0 >= books.size {
            let size = books.size;
            books.object(format!(
                "POOL-1: allocate answered {id} to {}, of a pool of {size}",
                caller.tag
            ));
        }
        let holder = books.held.get(&id).and_then(|tags| tags.first()).cloned();
        if let Some(holder) = holder {
            books.double_held += 1;
            books.object(format!("POOL-1: {id} went to {} while {holder} held it", caller.tag));
        }
        if books.held.entry(id).or_default().insert(caller.tag.clone()) {
            books.pairs += 1;
        }
        books.peak = books.peak.max(books.pairs);
    }

    /// Allocate answered `Full`.
    pub(crate) fn full(&self, caller: &Caller) {
        let mut books = self.books();
        let most = books.allocating.remove(&caller.workload).unwrap_or_default();
        // Which ids were taken is not known to the books, how many is.
        let flags = (0..books.size).map(|id| id < most);
        if let Err(objection) = full(flags) {
            books.false_full += 1;
            let size = books.size;
            books.object(format!(
                "POOL-{}: full answered to {}, but at most {most} of {size} ids could be taken",
                objection.property, caller.tag
            ));
        }
    }

    /// A caller died in allocate.
    pub(crate) fn died_allocating(&self, caller: &Caller) {
        let mut books = self.books();
        books.allocating.remove(&caller.workload);
        books.dead += 1;
    }

    /// A holder puts its id out of use, and will free it.
    pub(crate) fn lets_go(&self, tag: &Tag, id: Id) {
        let mut books = self.books();
        let tags = books.held.entry(id).or_default();
        let held = tags.remove(tag);
        if tags.is_empty() {
            books.held.remove(&id);
        }
        assert!(held, "plan: {tag} frees {id} but does not hold it");
        books.pairs -= 1;
        books.freeing += 1;
    }

    /// A free returned. `first`: no earlier one for this pair has died, so it must have found it.
    pub(crate) fn freed(&self, tag: &Tag, id: Id, outcome: FreeOutcome, first: bool) {
        let mut books = self.books();
        books.freeing -= 1;
        if first && outcome != FreeOutcome::Freed {
            books.taken += 1;
            books.object(format!("POOL-1: {id} was taken from {tag}: its free found {outcome:?}"));
        }
    }

    /// A recovery begins. Give the answer to [`Ledger::recovered`].
    pub(crate) fn recovers(&self) -> u64 {
        self.books().dead
    }

    /// A recovery ended; `dead` is what its begin answered.
    pub(crate) fn recovered(&self, dead: u64) {
        self.books().dead -= dead;
    }

    /// Closes the books.
    pub(crate) fn close(self) -> Books {
        self.books.into_inner().expect("nobody who panicked is judged")
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("nobody goes on after a panic in here")
    }
}

impl Books {
    /// Every pair that is held, in the order of the ids.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Id, &Tag)> {
        self.held.iter().flat_map(|(&id, tags)| tags.iter().map(move |tag| (id, tag)))
    }

    /// How many ids could be taken now.
    fn could_be_taken(&self) -> u64 {
        self.pairs + self.allocating.len() as u64 + self.freeing + self.dead
    }

    /// Notes an objection.
    pub(crate) fn object(&mut self, words: String) {
        match self.objections.len() {
            0..MOST_TOLD => self.objections.push(words),
            MOST_TOLD => self.objections.push("and more".to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(workload: usize) -> Caller {
        Caller { workload, tag: Tag::new(format!("w{workload}")).unwrap(), calls: 0 }
    }

    fn holding(size: u64, ids: &[u64]) -> Ledger {
        let ledger = Ledger::new(size);
        for (workload, &id) in ids.iter().enumerate() {
            ledger.allocates(&caller(workload));
            ledger.allocated(&caller(workload), Id(id));
        }
        ledger
    }

    #[test]
    fn an_id_given_to_two_is_counted_and_told() {
        let books = holding(2, &[1, 0, 1]).close();
        assert_eq!((books.double_held, books.peak), (1, 3));
        assert_eq!(books.objections, ["POOL-1: 1 went to w2 while w0 held it"]);
        assert_eq!(books.held().count(), 3);
    }

    #[test]
    fn an_id_beyond_the_pool_is_told() {
        assert_eq!(
            holding(2, &[2]).close().objections,
            ["POOL-1: allocate answered 2 to w0, of a pool of 2"]
        );
    }

    #[test]
    fn an_id_that_is_let_go_may_be_given_again() {
        let ledger = holding(2, &[1]);
        ledger.lets_go(&caller(0).tag, Id(1));
        ledger.allocated(&caller(3), Id(1));
        ledger.freed(&caller(0).tag, Id(1), FreeOutcome::Freed, true);
        assert_eq!(ledger.close().objections, [""; 0]);
    }

    #[test]
    fn a_pair_that_is_gone_at_its_first_free_was_taken_and_at_a_second_was_not() {
        let ledger = holding(2, &[0, 1]);
        ledger.lets_go(&caller(0).tag, Id(0));
        ledger.lets_go(&caller(1).tag, Id(1));
        ledger.freed(&caller(0).tag, Id(0), FreeOutcome::NotOwner, false);
        ledger.freed(&caller(1).tag, Id(1), FreeOutcome::AlreadyFree, true);
        let books = ledger.close();
        assert_eq!(books.taken, 1);
        assert_eq!(books.objections, ["POOL-1: 1 was taken from w1: its free found AlreadyFree"]);
    }

    #[test]
    fn full_is_right_only_if_every_id_could_be_taken() {
        let ledger = holding(3, &[0]);
        ledger.allocates(&caller(5));
        ledger.full(&caller(5));
        // One held, one dead, one that is allocating at the same time: now it is possible.
        ledger.allocates(&caller(6));
        ledger.died_allocating(&caller(6));
        ledger.allocates(&caller(7));
        ledger.allocates(&caller(8));
        ledger.full(&caller(8));
        ledger.full(&caller(7));
        // The dead one is recovered: no longer.
        let dead = ledger.recovers();
        ledger.recovered(dead);
        ledger.allocates(&caller(9));
        ledger.full(&caller(9));
        let books = ledger.close();
        assert_eq!(books.false_full, 2);
        assert_eq!(
            books.objections[0],
            "POOL-3: full answered to w5, but at most 1 of 3 ids could be taken"
        );
    }
}
