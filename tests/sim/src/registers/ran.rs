//! What a director of chaos keeps: the book of a run, and what is to happen when.

use cloakroom_register::{Disk, Save};
use cloakroom_specs::register::Objection;

use super::audit::Auditor;
use super::client::Book;
use crate::engine::{Cut, Machine, Time, World};
use crate::random::{Random, to_f64, to_u64};

/// Why a run has failed.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A predicate does not hold, at this time.
    Objection(Objection, Time),
    /// A record of the DHT is not where it must be, or not what it must be.
    Record(String),
    /// Something did not end, or did not become as it must.
    NoProgress(String),
    /// A history that is not linearizable: of a key, or of the pool.
    NotLinearizable(String),
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Calls begun.
    pub(crate) calls: u64,
    /// Attempts whose coordinator vanished.
    pub(crate) vanished: u64,
    /// Crashes.
    pub(crate) crashes: u64,
    /// Disks lost.
    pub(crate) lost: u64,
    /// Proposals of views.
    pub(crate) proposals: u64,
    /// Cuts.
    pub(crate) cuts: u64,
    /// Joins and leaves.
    pub(crate) moves: u64,
    /// Records of the DHT that were told to be held, and found by whoever looked for them.
    pub(crate) records: u64,
}

/// What a run leaves to be judged.
pub(crate) struct Ran {
    /// What was called.
    pub(crate) book: Book,
    /// The first thing that went wrong while it ran.
    pub(crate) fault: Option<Fault>,
    /// What it did.
    pub(crate) counts: Counts,
    /// Who judges what is durable.
    pub(crate) auditor: Auditor,
    /// Every step in words, if it is wanted.
    pub(crate) log: Option<Vec<String>>,
}

impl Ran {
    /// Of views with so many members, in words as well if they are wanted.
    pub(crate) fn new(members: usize, log: bool) -> Self {
        Self {
            book: Book::default(),
            fault: None,
            counts: Counts::default(),
            auditor: Auditor::new(members),
            log: log.then(Vec::new),
        }
    }

    /// A step in words.
    pub(crate) fn say(&mut self, now: Time, words: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{now}  {}", words()));
        }
    }

    /// The first objection counts.
    pub(crate) fn judge(&mut self, now: Time, judged: Result<(), Objection>) {
        if let (Err(objection), None) = (judged, &self.fault) {
            self.say(now, || format!("OBJECTION {objection}"));
            self.fault = Some(Fault::Objection(objection, now));
        }
    }

    /// A node's disk has it.
    pub(crate) fn save(&mut self, now: Time, disks: &mut [Disk], node: usize, save: &Save) {
        self.say(now, || format!("n{node} has durably {save:?}"));
        let judged = self.auditor.save(disks, node, save);
        self.judge(now, judged);
    }

    /// Some regions do not hear some others for a while, of half a second to this much more.
    pub(crate) fn cut<M: Machine>(
        &mut self,
        world: &mut World<M>,
        random: &mut Random,
        regions: u8,
        longer_ms: u64,
    ) {
        let all = 1 << regions;
        let senders = random.below(all);
        let (now, both) = (world.now(), random.below(2) == 0);
        let until = now.plus_us((500 + random.below(longer_ms)) * 1000);
        let receivers = !senders & (all - 1);
        self.say(now, || format!("cut from {senders:b} to {receivers:b}, both {both}, to {until}"));
        world.network_mut().cuts.retain(|cut| cut.until > now);
        world.network_mut().cuts.push(Cut { from: now, until, senders, receivers, both });
        self.counts.cuts += 1;
    }
}

/// What is to happen. The engine knows each by its place here.
pub(crate) struct Deeds<D>(Vec<D>);

impl<D: Copy> Deeds<D> {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// At a time.
    pub(crate) fn at<M: Machine>(&mut self, world: &mut World<M>, at: Time, deed: D) {
        self.0.push(deed);
        world.wake(at, (self.0.len() - 1) as u64);
    }

    /// After a while, exponentially distributed about a mean.
    pub(crate) fn later<M: Machine>(
        &mut self,
        world: &mut World<M>,
        random: &mut Random,
        mean_ms: u64,
        deed: D,
    ) {
        let wait = to_u64(random.exponential(to_f64(mean_ms * 1000)));
        self.at(world, world.now().plus_us(wait), deed);
    }

    /// What the engine wakes the director for.
    pub(crate) fn of(&self, token: u64) -> Option<D> {
        self.0.get(usize::try_from(token).ok()?).copied()
    }
}
