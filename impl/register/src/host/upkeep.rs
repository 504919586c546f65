//! What a node does without being asked: learners pull, sealed members announce and ask, proposals
//! are tried again, tombstones are collected and brought to members that have missed them.
//!
//! Invariants:
//! * all of it may be done at any time, any number of times, by anybody: it changes how long things
//!   take, never what holds;
//! * one proposal to a view and start: two would share ballots (REG-1).
//!
//! What it does not do: choose members of views.

use alloc::vec::Vec;

use super::operations::MOST_DOUBLINGS;
use super::{Host, Moment, Work, mix};
use crate::ballot::Ballot;
use crate::collection::Collector;
use crate::decree::Decree;
use crate::durable::Life;
use crate::id::{Epoch, Key, Member, NodeId, OperationId, Slot};
use crate::message::{Body, Envelope, Message};
use crate::operation::{Call, Expected, Operation};
use crate::record::Accepted;
use crate::view::{Seats, View};

/// The next view is decided; and are you active in it?
fn tell(previous: &View, next: &View, to: NodeId) -> [Envelope; 2] {
    let slot = previous.slot();
    let body = Body::Decided { previous: previous.clone(), next: next.clone() };
    let decided = Message { slot, epoch: previous.epoch(), body };
    let asked = Message { slot, epoch: next.epoch(), body: Body::AreYouActive };
    [decided, asked].map(|message| Envelope { to, message })
}

/// A key whose tombstone does not go is removed once more in one of so many collections, at first;
const EAGER_SWEEPS: u32 = 2;

/// then in one of twice as many each time, up to these.
const PATIENT_SWEEPS: u32 = 64;

/// A view that is proposed.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    pub(super) decree: Decree,
    pub(super) retry_at: Moment,
    tries: u32,
}

/// A tombstone that is being collected.
#[derive(Clone, Debug)]
pub(super) struct Collection {
    pub(super) collector: Collector,
    tombstone: Ballot,
    /// How often it is asked about until its key is removed once more.
    patience: u32,
    /// In one of so many collections.
    between: u32,
}

/// So many rounds it tells who is late in each of them.
const EAGER_ROUNDS: u32 = 8;

/// Then in one of so many.
const PATIENT_ROUNDS: u32 = 16;

/// Who has entered a view.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entered {
    pub(super) seats: Seats,
    /// How often the others were told.
    rounds: u32,
}

/// How many tombstones of a slot one collection asks about.
const SWEPT: usize = 64;

impl Host {
    /// Proposes a view to follow the one in which this member votes. Nothing happens when it already
    /// proposes one there, when the view does not follow, or when this member has no seat to propose
    /// from.
    pub fn propose(&mut self, now: Moment, candidate: &View) -> Work {
        let mut work = Work::default();
        let slot = candidate.slot();
        if let Some(view) = self.known.get(&slot).filter(|view| view.seat_of(self.me).is_some()) {
            self.begin_proposal(now, (slot, view.epoch()), candidate, &mut work);
        }
        self.settle(now, work)
    }

    fn begin_proposal(
        &mut self,
        now: Moment,
        place: (Slot, Epoch),
        candidate: &View,
        work: &mut Work,
    ) {
        let follows = place.1.next() == Some(candidate.epoch());
        if !follows || !self.is_active(place) || self.proposals.contains_key(&place) {
            return;
        }
        let Some(replica) = self.replicas.get(&place) else { return };
        let (view, seat) = (replica.view().clone(), replica.seat());
        let (decree, change) = Decree::begin(view, seat, self.boot, candidate.clone());
        work.send.extend(change.send);
        let retry_at = now.plus_ms(self.waits.answers_ms);
        self.proposals.insert(place, Proposal { decree, retry_at, tries: 0 });
    }

    fn is_active(&self, place: (Slot, Epoch)) -> bool {
        let replica = self.replicas.get(&place);
        replica.is_some_and(|replica| replica.durable().life == Life::Active)
    }

    /// Proposals whose time has come. Others may propose as well: each waits longer and longer, at
    /// random, so that one of them has the time for its two rounds.
    pub(super) fn propose_again(&mut self, now: Moment, work: &mut Work) {
        let due = self.proposals.iter().filter(|(_, proposal)| proposal.retry_at <= now);
        let due: Vec<(Slot, Epoch)> = due.map(|(place, _)| *place).collect();
        for place in due {
            // A hint of a newer view ends no proposal: nobody may ever come to tell that it is decided.
            if !self.is_active(place) {
                self.proposals.remove(&place);
                continue;
            }
            let tries = self.proposals.get(&place).map_or(0, |proposal| proposal.tries);
            let more = self.below(self.waits.answers_ms << tries.min(MOST_DOUBLINGS));
            let Some(proposal) = self.proposals.get_mut(&place) else { continue };
            proposal.tries += 1;
            proposal.retry_at = now.plus_ms(self.waits.answers_ms + more);
            work.send.extend(proposal.decree.retry().send);
        }
    }

    /// A member has voted for a next view and has not heard that it is decided: whoever proposed it may
    /// be gone, and may have been the only one to know. So it proposes what it has voted for, after a
    /// while, and not at the same time as others.
    fn take_up(&mut self, now: Moment, place: (Slot, Epoch), work: &mut Work) {
        let Some(replica) = self.replicas.get(&place) else { return };
        let is_active = replica.durable().life == Life::Active;
        let accepted = replica.durable().vote.accepted.as_ref().filter(|_| is_active);
        let Some((_, next)) = accepted.map(|(ballot, next)| (*ballot, next.clone())) else {
            return;
        };
        if self.below(4) == 0 {
            self.begin_proposal(now, place, &next, work);
        }
    }

    pub(super) fn keep_up(&mut self, now: Moment, work: &mut Work) {
        let restless: Vec<(Slot, Epoch)> = self.restless.iter().copied().collect();
        for place in restless {
            // It may have nothing left to tell.
            self.rest(place, now);
            let Some(replica) = self.replicas.get(&place) else { continue };
            work.send.extend(replica.pull());
            self.take_up(now, place, work);
            for (previous, next) in self.tells_of(place) {
                let entered = self.entered.entry((next.slot(), next.epoch())).or_default();
                entered.rounds += 1;
                // Who has not answered so often may be gone for ever.
                if entered.rounds > EAGER_ROUNDS && !entered.rounds.is_multiple_of(PATIENT_ROUNDS) {
                    continue;
                }
                for to in self.late(&next) {
                    work.send.extend(tell(&previous, &next, to));
                }
            }
        }
        let idle = self.restless.is_empty();
        // Not in step with others.
        let wait = self.waits.upkeep_ms + self.below(self.waits.upkeep_ms / 4);
        self.upkeep_at = if idle { Moment::NEVER } else { now.plus_ms(wait) };
    }

    /// Begins to collect tombstones.
    pub(super) fn sweep(&mut self, now: Moment, work: &mut Work) {
        let wait = self.waits.collect_ms + self.below(self.waits.collect_ms / 4);
        self.collect_at = now.plus_ms(wait);
        let mut before = core::mem::take(&mut self.collections);
        let places = self.known.values().map(|view| (view.slot(), view.epoch()));
        let places: Vec<(Slot, Epoch)> = places.filter(|place| self.is_active(*place)).collect();
        for (slot, epoch) in places {
            for (key, accepted) in self.tombstones(slot, epoch) {
                let Some(view) = self.known.get(&slot).cloned() else { continue };
                let begun = Collector::begin(view, key.clone(), &accepted);
                let Some((collector, send)) = begun else { continue };
                work.send.extend(send);
                let (tombstone, place) = (accepted.ballot, (slot, key));
                let mut collection = match before.remove(&place) {
                    // Who has agreed need not agree again: answers may take longer than this pause.
                    Some(before) if before.tombstone == tombstone => before,
                    // Somebody has removed it once more, and has its turn.
                    Some(before) => self.collection(collector, tombstone, before.between),
                    None => self.collection(collector, tombstone, EAGER_SWEEPS),
                };
                if collection.patience == 0 {
                    self.rewrite(now, slot, &place.1, work);
                    collection.between = PATIENT_SWEEPS.min(collection.between * 2);
                    collection.patience = self.patience(collection.between);
                }
                collection.patience -= 1;
                self.collections.insert(place, collection);
            }
        }
    }

    fn collection(&mut self, collector: Collector, tombstone: Ballot, between: u32) -> Collection {
        Collection { collector, tombstone, patience: self.patience(between), between }
    }

    /// One at least, and not in step with others.
    fn patience(&mut self, between: u32) -> u32 {
        1 + u32::try_from(self.below(between.into())).unwrap_or(0)
    }

    fn tombstones(&self, slot: Slot, epoch: Epoch) -> Vec<(Key, Accepted)> {
        let records = self.replicas.get(&(slot, epoch)).map(|replica| &replica.durable().records);
        let removed = records.into_iter().flatten().filter_map(|(key, record)| {
            let accepted = record.accepted.as_ref().filter(|accepted| accepted.is_tombstone())?;
            Some((key.clone(), accepted.clone()))
        });
        removed.take(SWEPT).collect()
    }

    /// A member has missed the tombstone, or has dropped it, and nothing would ever bring it there: whoever
    /// reads finds a majority that agrees. To remove once more what is removed tells everybody. More
    /// seldom each time, since perhaps the member is away for long.
    fn rewrite(&mut self, now: Moment, slot: Slot, key: &Key, work: &mut Work) {
        let id = self.own_id();
        let call = Call::CompareAndSet { expected: Expected::Absent, new: None };
        let operation = Operation { id, key: key.clone(), call, bound: None };
        self.own.insert(id);
        let give_up_at = now.plus_ms(self.waits.answers_ms * 4);
        self.start_at(now, slot, [operation].into(), |_| give_up_at, work);
    }

    /// An id that no operation has had. REG-7: not even one of this node before its disk was lost.
    fn own_id(&mut self) -> OperationId {
        self.owned += 1;
        let Member { node, incarnation } = self.me;
        let words = node.0.as_chunks::<8>().0.iter().map(|bytes| u64::from_be_bytes(*bytes));
        let words = words.chain([incarnation.0, self.boot.0.into()]);
        let name = words.fold(0, |name: u64, word| mix(name ^ word));
        let mut id = [0; 16];
        id[..8].copy_from_slice(&name.to_be_bytes());
        id[8..].copy_from_slice(&self.owned.to_be_bytes());
        OperationId(id)
    }
}
