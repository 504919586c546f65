//! All registers of one node: its replicas in every slot and view, its coordinators, its proposals of
//! views, its collections; with what survives of them, and when it wants to be told the time.
//!
//! 1. [`Host::start`] takes what a disk has kept and raises the boot counter there.
//! 2. Messages, calls and the time come in; [`Work`] goes out: what coordinators ask and how operations have
//!    ended *at once*; then persist, and *after that* send, and bring the node's own votes back.
//! 3. A crash leaves the [`Disk`], with whatever of the last works had become durable, in order.
//!
//! Invariants:
//! * REG-6, REG-8: no replica's answer leaves before all that was persisted with it, or before it, is
//!   durable. That holds for answers to this node too: its own vote counts when it has come back, as
//!   any other's does when it arrives. So a coordinator never goes by what a crash could undo, and what
//!   it asks and ends need not wait: the others' disks work while this one does;
//! * REG-3: a message goes to the replica of its own view, and is answered by a later one only if it
//!   asks something;
//! * REG-5: a coordinator sits in a seat of exactly this member, this incarnation of the disk, and has
//!   the boot of this start;
//! * REG-14: which view is the newest that was heard of decides only where operations are tried.
//!
//! What it does not do: sockets, disks, clocks; find the nodes of a slot for a client; decide who is
//! alive. [`Host::propose`] is for whoever does. A retired replica stays as a stub for ever.

mod disk;
mod operations;
mod route;
mod upkeep;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

pub use disk::{Disk, Save};
use operations::Running;
use upkeep::{Collection, Entered, Proposal};

use crate::ballot::Ballot;
use crate::coordinator::Coordinator;
use crate::durable::Life;
use crate::forward::Start;
use crate::id::{Boot, Epoch, Key, Member, OperationId, Slot};
use crate::message::{Envelope, Message};
use crate::operation::{Operation, Outcome};
use crate::replica::{Replica, ReplicaError};
use crate::view::View;

/// Milliseconds since some beginning, which all times told to one host share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// A time that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many milliseconds later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// How long a host waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waits {
    /// For the answers of a majority, before an operation or a proposal is tried again.
    pub answers_ms: u64,
    /// At most after a refusal, at random, since two who retry at once refuse each other.
    pub refused_ms: u64,
    /// Between two rounds of pulling, announcing and asking.
    pub upkeep_ms: u64,
    /// Between two collections of tombstones; zero: none.
    pub collect_ms: u64,
}

impl Default for Waits {
    fn default() -> Self {
        Self { answers_ms: 1000, refused_ms: 200, upkeep_ms: 500, collect_ms: 5000 }
    }
}

/// What follows from a step of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Work {
    /// At once, send this to other nodes: what coordinators ask.
    pub ask: Vec<Envelope>,
    /// At once, answer: these operations have ended.
    pub ended: Vec<(OperationId, Outcome)>,
    /// Make all of this durable, in this order, behind that of all works before.
    pub persist: Vec<Save>,
    /// Only then send this to other nodes.
    pub send: Vec<Envelope>,
    /// And only then bring this back to [`Host::handle`], as from this node: its own votes.
    pub votes: Vec<Message>,
}

/// All registers of one node.
#[derive(Clone, Debug)]
pub struct Host {
    me: Member,
    boot: Boot,
    waits: Waits,
    /// Of the waits' chance.
    random: u64,
    replicas: BTreeMap<(Slot, Epoch), Replica>,
    /// Those that pull or announce.
    restless: BTreeSet<(Slot, Epoch)>,
    /// What came before the view of a replica that has learned.
    previous: BTreeMap<(Slot, Epoch), View>,
    /// By view. Begins anew after a start.
    entered: BTreeMap<(Slot, Epoch), Entered>,
    /// In the newest view that was heard of, of each slot in which this member has a seat.
    coordinators: BTreeMap<Slot, Coordinator>,
    running: BTreeMap<OperationId, Running>,
    /// The writes that wait, by key: there as long as one of the key is under way.
    lines: BTreeMap<(Slot, Key), VecDeque<Operation>>,
    /// By the view that they would end.
    proposals: BTreeMap<(Slot, Epoch), Proposal>,
    collections: BTreeMap<(Slot, Key), Collection>,
    /// Operations of this host itself, and how many there were.
    own: BTreeSet<OperationId>,
    owned: u64,
    /// The newest view that was heard of. A hint.
    known: BTreeMap<Slot, View>,
    upkeep_at: Moment,
    collect_at: Moment,
}

impl Host {
    /// What a disk has kept comes to life. `seed` is for the waits' chance.
    ///
    /// REG-5: the host must not be used before its first work is durable. What it asks from then on goes out
    /// at once, under ballots that have the number of this start.
    ///
    /// # Errors
    /// [`ReplicaError::NoMember`]: the disk is another member's.
    pub fn start(
        disk: &Disk,
        waits: Waits,
        seed: u64,
        now: Moment,
    ) -> Result<(Self, Work), ReplicaError> {
        let boot = disk.next_boot();
        let collect_at =
            if waits.collect_ms == 0 { Moment::NEVER } else { now.plus_ms(waits.collect_ms) };
        let mut host = Self {
            me: disk.me(),
            boot,
            waits,
            random: seed,
            replicas: BTreeMap::new(),
            restless: BTreeSet::new(),
            previous: BTreeMap::new(),
            entered: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            running: BTreeMap::new(),
            lines: BTreeMap::new(),
            proposals: BTreeMap::new(),
            collections: BTreeMap::new(),
            own: BTreeSet::new(),
            owned: 0,
            known: BTreeMap::new(),
            upkeep_at: Moment::NEVER,
            collect_at,
        };
        let mut work = Work::default();
        // REG-5: before the first ballot of this start.
        work.persist.push(Save::Boot(boot));
        for durable in disk.replicas() {
            let replica = Replica::restore(durable.clone())?;
            let (slot, epoch) = (replica.view().slot(), replica.view().epoch());
            let previous = disk.previous(slot, epoch).cloned();
            host.previous.extend(previous.map(|previous| ((slot, epoch), previous)));
            host.adopt(replica, now);
        }
        Ok((host, work))
    }

    /// A first view, which stands in the cluster's genesis. One that is known already changes nothing.
    pub fn found(&mut self, now: Moment, view: &View) -> Work {
        let mut work = Work::default();
        let place = (view.slot(), view.epoch());
        // REG-13: a seat of this incarnation, or none.
        match Replica::genesis(self.me, view.clone()) {
            Ok(replica) if !self.replicas.contains_key(&place) => {
                work.persist.push(Save::Replica(replica.durable().clone()));
                self.adopt(replica, now);
            }
            _ => self.learn(now, view, &mut work),
        }
        self.settle(now, work)
    }

    /// A replica has begun its life, or comes back.
    fn adopt(&mut self, replica: Replica, now: Moment) {
        let view = replica.view().clone();
        let newer = match &replica.durable().life {
            Life::Sealed { next } | Life::Retired { next } => Some(next.clone()),
            Life::Learner { .. } | Life::Active => None,
        };
        let place = (view.slot(), view.epoch());
        self.replicas.insert(place, replica);
        self.rest(place, now);
        // Nothing runs yet that a newer view could move.
        let mut work = Work::default();
        self.learn(now, &view, &mut work);
        if let Some(newer) = newer {
            self.learn(now, &newer, &mut work);
        }
        debug_assert!(work.ended.is_empty() && work.ask.is_empty() && work.send.is_empty());
    }

    /// Whose registers they are.
    pub fn me(&self) -> Member {
        self.me
    }

    /// Of which start it is the host.
    pub fn start_of(&self) -> Start {
        Start { incarnation: self.me.incarnation, boot: self.boot }
    }

    /// Somebody tells of a view: operations are tried in the newest that was heard of. Routing's word, and
    /// no more (REG-14): it makes nobody a member.
    pub fn hear_of(&mut self, now: Moment, view: &View) -> Work {
        let mut work = Work::default();
        self.learn(now, view, &mut work);
        self.settle(now, work)
    }

    /// The replicas, by slot and epoch.
    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.values()
    }

    /// The replica in one view.
    pub fn replica(&self, slot: Slot, epoch: Epoch) -> Option<&Replica> {
        self.replicas.get(&(slot, epoch))
    }

    /// The newest view of a slot that was heard of: where a client may try.
    pub fn newest(&self, slot: Slot) -> Option<&View> {
        self.known.get(&slot)
    }

    /// For which operation its coordinator of a slot asks under this ballot.
    pub fn asks_under(&self, slot: Slot, ballot: Ballot) -> Option<OperationId> {
        Some(self.coordinators.get(&slot)?.operation_under(ballot)?.id)
    }

    /// The views that it proposes, as long as nobody has voted for anything else.
    pub fn proposed(&self) -> impl Iterator<Item = &View> {
        self.proposals.values().map(|proposal| proposal.decree.candidate())
    }

    /// When it wants to be told the time; [`Moment::NEVER`] if nothing waits.
    pub fn due(&self) -> Moment {
        let running = self.running.values().map(Running::due).min();
        let proposals = self.proposals.values().map(|proposal| proposal.retry_at).min();
        let first = running.unwrap_or(Moment::NEVER).min(proposals.unwrap_or(Moment::NEVER));
        // Who has no replica has nothing to collect.
        let collect_at = if self.replicas.is_empty() { Moment::NEVER } else { self.collect_at };
        first.min(self.upkeep_at).min(collect_at)
    }

    /// Time has come to what [`Host::due`] said, or further.
    pub fn tick(&mut self, now: Moment) -> Work {
        let mut work = Work::default();
        self.try_again(now, &mut work);
        self.propose_again(now, &mut work);
        if self.upkeep_at <= now {
            self.keep_up(now, &mut work);
        }
        if self.collect_at <= now {
            self.sweep(now, &mut work);
        }
        self.settle(now, work)
    }

    /// A number below `bound`, at random.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(GOLDEN);
        mix(self.random) % bound.max(1)
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Of SplitMix64: one word from another, all bits of which count.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(GOLDEN);
    let mixed = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
