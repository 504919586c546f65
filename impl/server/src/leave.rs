//! What follows from a node's steps is done: some of it at once, the rest behind the disk.
//!
//! Invariants:
//! * NODE-4: what waits for the disk leaves when all is durable that was to be before it, in its order;
//! * whoever waits is told once, or learns that nobody will tell.
//!
//! What it does not do: say which is which. The node does.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use cloakroom_kademlia::{Busy, Event, QueryId, Transmit};
use cloakroom_node::{Answer, ChangeFault, Effects};
use cloakroom_register::{Message, OperationId, Version};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, UnboundedSender};
use tokio::sync::oneshot;
use tracing::{debug, error};

use crate::disk::{NodeDisk, Written};
use crate::server::{Clock, Reply};
use crate::transport::{Transport, lock};

/// One sync of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// How long the writing took, sync and all.
    pub took: Duration,
    /// What was written.
    pub written: Written,
}

/// Who is told of each sync.
#[derive(Default)]
pub(crate) struct Watcher(OnceLock<Box<dyn Fn(Synced) + Send + Sync>>);

impl Watcher {
    /// Only the first one is ever told.
    pub(crate) fn set(&self, watcher: impl Fn(Synced) + Send + Sync + 'static) -> bool {
        self.0.set(Box::new(watcher)).is_ok()
    }

    fn tell(&self, began: Instant, written: Written) {
        if let Some(watcher) = self.0.get().filter(|_| written.entries > 0) {
            watcher(Synced { took: began.elapsed(), written });
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// Who changes the list of members.
pub(crate) type Changer = oneshot::Sender<Result<Version, ChangeFault>>;

/// Who began a query of the DHT.
pub(crate) type Asker = oneshot::Sender<Result<Event, Busy>>;

/// Who is to be told what.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Several callers of one operation are told the same.
    pub(crate) calls: HashMap<OperationId, Vec<oneshot::Sender<Reply>>>,
    pub(crate) changes: HashMap<OperationId, Changer>,
    pub(crate) queries: HashMap<QueryId, Asker>,
}

pub(crate) type Waiters = Arc<Mutex<Waiting>>;

impl Waiting {
    /// Whoever still waits learns that nobody will answer.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The disk's thread: persist, then send, then bring the node its votes.
pub(crate) fn carry_out(
    clock: Clock,
    file: &NodeDisk,
    transport: &Transport,
    waiting: &Waiters,
    watcher: &Watcher,
    to_do: Receiver<Effects>,
    back: &UnboundedSender<Vec<Message>>,
) {
    let may_look =
        std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
    let mut queue = Queue { to_do, may_look, came_soon: false };
    while let Some(first) = queue.next() {
        let mut batch = vec![first];
        while let Ok(next) = queue.to_do.try_recv() {
            batch.push(next);
        }
        let began = Instant::now();
        match file.write(clock.now(), &batch) {
            Ok(written) => watcher.tell(began, written),
            Err(cause) => {
                error!(%cause, "the disk has failed: this node stops");
                break;
            }
        }
        let mut votes = Vec::new();
        for effects in batch {
            transmit(transport, effects.send);
            tell(waiting, effects.events);
            votes.extend(effects.votes);
        }
        // A node that is gone counts no votes.
        if !votes.is_empty() && back.send(votes).is_err() {
            break;
        }
    }
    queue.to_do.close();
    lock(waiting).clear();
}

/// How long the disk's thread looks for more to write before it sleeps: to wake it takes longer than half of this.
const SOON: Duration = Duration::from_micros(100);

/// What waits for the disk.
struct Queue {
    to_do: Receiver<Effects>,
    /// Whoever brings more does not need this thread's processor for it.
    may_look: bool,
    /// The last time more came soon.
    came_soon: bool,
}

impl Queue {
    /// The next thing, or none when nobody is left who could bring one. A lone writer brings the next as soon as it is
    /// told of the last, and waits for the wake-up as well: where more came soon it is looked for, not slept for. Where
    /// it did not, no time is spent on that.
    fn next(&mut self) -> Option<Effects> {
        let began = Instant::now();
        while self.may_look && self.came_soon && began.elapsed() < SOON {
            match self.to_do.try_recv() {
                Ok(next) => return Some(next),
                Err(TryRecvError::Empty) => std::hint::spin_loop(),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
        let slept = Instant::now();
        let next = self.to_do.blocking_recv();
        self.came_soon = slept.elapsed() < SOON;
        next
    }
}

pub(crate) fn transmit(transport: &Transport, send: Vec<Transmit>) {
    for transmit in send {
        let mut bytes = Vec::new();
        if let Err(cause) = transmit.message.borrow().encode(&mut bytes) {
            error!(%cause, "a message of ours is too large");
            continue;
        }
        if let Err(cause) = transport.send(transmit.to.id, transmit.to.address.into(), bytes) {
            debug!(peer = %transmit.to.id, %cause, "a message was not sent");
        }
    }
}

pub(crate) fn answer(waiting: &Waiters, answers: Vec<Answer>) {
    for answer in answers {
        let (id, reply) = match answer {
            Answer::Ended(id, outcome, rounds) => (id, Reply::Ended(outcome, rounds)),
            Answer::Elsewhere(id, view) => (id, Reply::Elsewhere(view)),
            Answer::Lost(id) => (id, Reply::Lost),
            Answer::Changed(id, result) => {
                if let Some(caller) = lock(waiting).changes.remove(&id) {
                    // A caller that has gone is no longer interested.
                    let _ = caller.send(result);
                }
                continue;
            }
        };
        for caller in lock(waiting).calls.remove(&id).unwrap_or_default() {
            // A caller that has gone is no longer interested.
            let _ = caller.send(reply.clone());
        }
    }
}

fn tell(waiting: &Waiters, events: Vec<Event>) {
    for event in events {
        debug!(?event, "of the DHT");
        let query = query_of(&event);
        if let Some(asker) = query.and_then(|query| lock(waiting).queries.remove(&query)) {
            // Who has asked may have gone.
            let _ = asker.send(Ok(event));
        }
    }
}

fn query_of(event: &Event) -> Option<QueryId> {
    match event {
        Event::Found { query, .. }
        | Event::Value { query, .. }
        | Event::Absent { query, .. }
        | Event::Answered { query, .. }
        | Event::Unanswered { query, .. }
        | Event::Published { query, .. } => Some(*query),
        _ => None,
    }
}
