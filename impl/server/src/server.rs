//! A node at work: its clock, its connections, its disk, its callers.
//!
//! # Life of a step
//! 1. One task has the [`Node`]: it takes messages, calls and the time, one after the other.
//! 2. What follows goes to the thread of the disk, in order. It takes all that waits, makes it durable
//!    with one sync, and only then lets messages and answers go, in order: NODE-4.
//!
//! # Invariants
//! * REG-8: when the disk fails, nothing leaves any more, and the server has stopped; what was under
//!   way is answered as stopped, which for the caller is unknown;
//! * every call gets one reply, or learns that the server has stopped.
//!
//! What it does not do: retry; choose another node, which the node does; understand REST.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use cloakroom_kademlia::{Busy, Event, Judge, Moment, ParameterError, Parameters, Peer, QueryId};
use cloakroom_node::{Answer, Change, ChangeFault, Effects, Genesis, Input, Node, Patience, Setup};
use cloakroom_register::{
    Call, Key, Operation, OperationId, Outcome, ReplicaError, Version, View, Waits,
};
use cloakroom_wire::{Address, Contact, Header, Message, OwnedRecord, RecordKey};
use thiserror::Error;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tracing::{debug, error};

use crate::credentials::Credentials;
use crate::disk::{DiskError, NodeDisk};
use crate::key::id_of;
use crate::transport::{Arrival, Limits, Transport, TransportError, lock};

/// Steps whose effects wait for the disk: more, and the node waits for it.
const MOST_WAITING: usize = 1024;

/// What a server is made of.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it shows, and whom it trusts.
    pub credentials: Credentials,
    /// What its cluster began with.
    pub genesis: Genesis,
    /// The file of what it must not forget.
    pub data: PathBuf,
    /// The numbers of the DHT.
    pub parameters: Parameters,
    /// How long registers wait for what.
    pub waits: Waits,
    /// How long others may be silent.
    pub patience: Patience,
    /// What peers can make it keep.
    pub limits: Limits,
}

/// Why there is no server, or no more.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// See there.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// See there.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The disk is another member's.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The configuration's: numbers that the DHT cannot run with.
    #[error("the numbers of the DHT: {0}")]
    Parameters(#[from] ParameterError),
    /// The system has no entropy.
    #[error("the system gives no entropy")]
    Entropy,
    /// The system's.
    #[error("the system gives no thread for the disk: {0}")]
    Thread(std::io::Error),
    /// The caller's: too many queries of the DHT are under way.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// It was stopped, or its disk has failed: a call that was under way may have happened.
    #[error("the server has stopped")]
    Stopped,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It has ended.
    Ended(Outcome),
    /// It was not begun: these can run it.
    Elsewhere(View),
    /// Another node ran it, and nobody will say how it ended: it must not be tried again.
    Lost,
}

/// A node at work.
#[derive(Debug)]
pub struct Server {
    contact: Contact,
    jobs: Sender<Job>,
    transport: Arc<Transport>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Something for the task that has the node.
pub(crate) enum Job {
    Call { operation: Operation, patience_ms: u64, reply: oneshot::Sender<Reply> },
    Change { id: OperationId, change: Change, patience_ms: u64, reply: Changer },
    Meet(Vec<Contact>),
    Publish(OwnedRecord, Asker),
    FindValue(RecordKey, Asker),
    Look(Look),
    Stop,
}

/// What is asked of the node between two steps.
type Look = Box<dyn FnOnce(Moment, &Node) + Send>;

/// Who changes the list of members.
type Changer = oneshot::Sender<Result<Version, ChangeFault>>;

/// Who began a query of the DHT.
type Asker = oneshot::Sender<Result<Event, Busy>>;

/// Who is to be told what.
#[derive(Debug, Default)]
struct Waiting {
    /// Several callers of one operation are told the same.
    calls: HashMap<OperationId, Vec<oneshot::Sender<Reply>>>,
    changes: HashMap<OperationId, Changer>,
    queries: HashMap<QueryId, Asker>,
}

type Waiters = Arc<Mutex<Waiting>>;

impl Waiting {
    /// Whoever still waits learns that nobody will answer.
    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Server {
    /// Opens the disk and the socket, and goes to work. Within a tokio runtime.
    ///
    /// # Errors
    /// [`ServerError`]
    pub fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let ServerConfig { listen, credentials, genesis, data, .. } = config;
        // Before anything is opened: what cannot be run leaves nothing behind.
        let parameters = config.parameters.checked()?;
        let (file, disk) = NodeDisk::open(&data, credentials.id())?;
        let (transport, arrived) = Transport::bind(listen, &credentials, config.limits)?;
        let transport = Arc::new(transport);
        let bound = transport.local_address();
        let bound = bound.map_err(|source| TransportError::Socket { address: listen, source })?;
        let id = credentials.id();
        let contact = Contact { id, address: Address::from(bound), key: credentials.key.public() };
        let mut seed = [0; 8];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| ServerError::Entropy)?;
        let setup = Setup {
            genesis,
            contact,
            parameters,
            judge: Judge { contact: |contact| id_of(contact.key) == contact.id, record: |_| true },
            waits: config.waits,
            patience: config.patience,
            hash: sha256,
            seed: u64::from_be_bytes(seed),
        };
        let clock = Clock(Instant::now());
        let (node, effects) = Node::start(clock.now(), setup, &disk)?;
        let (jobs, given) = channel(MOST_WAITING);
        let (done, to_do) = channel(MOST_WAITING);
        let waiting = Waiters::default();
        let thread = {
            let (transport, waiting) = (Arc::clone(&transport), Arc::clone(&waiting));
            std::thread::Builder::new()
                .name("disk".to_string())
                .spawn(move || carry_out(&file, &transport, &waiting, to_do))
                .map_err(ServerError::Thread)?
        };
        tokio::spawn(work(node, clock, effects, arrived, given, done, waiting));
        Ok(Self { contact, jobs, transport, thread: Mutex::new(Some(thread)) })
    }

    /// Who it is, and where it listens.
    pub fn contact(&self) -> Contact {
        self.contact
    }

    /// Runs an operation on a key, or learns who can. `id` is new, or that of an earlier attempt whose
    /// outcome was [`Outcome::Unknown`], with the version that it was bound to.
    ///
    /// # Errors
    /// [`ServerError::Stopped`]
    pub async fn call(&self, operation: Operation, patience_ms: u64) -> Result<Reply, ServerError> {
        let (reply, answered) = oneshot::channel();
        self.give(Job::Call { operation, patience_ms, reply }).await?;
        answered.await.map_err(|_| ServerError::Stopped)
    }

    /// Gives a record to its holders; ends with [`Event::Published`].
    ///
    /// # Errors
    /// [`ServerError::Busy`], [`ServerError::Stopped`]
    pub async fn publish(&self, record: OwnedRecord) -> Result<Event, ServerError> {
        let (asker, answered) = oneshot::channel();
        self.give(Job::Publish(record, asker)).await?;
        Ok(answered.await.map_err(|_| ServerError::Stopped)??)
    }

    /// Looks for the records under a key; ends with [`Event::Value`] or [`Event::Absent`].
    ///
    /// # Errors
    /// [`ServerError::Busy`], [`ServerError::Stopped`]
    pub async fn find_value(&self, key: RecordKey) -> Result<Event, ServerError> {
        let (asker, answered) = oneshot::channel();
        self.give(Job::FindValue(key, asker)).await?;
        Ok(answered.await.map_err(|_| ServerError::Stopped)??)
    }

    /// What the node says of itself at a moment between two steps.
    ///
    /// # Errors
    /// [`ServerError::Stopped`]
    pub async fn look<T: Send + 'static>(
        &self,
        at: impl FnOnce(Moment, &Node) -> T + Send + 'static,
    ) -> Result<T, ServerError> {
        let (reply, answered) = oneshot::channel();
        let job = Job::Look(Box::new(move |now, node| {
            // Who has asked may have gone.
            let _ = reply.send(at(now, node));
        }));
        self.give(job).await?;
        answered.await.map_err(|_| ServerError::Stopped)
    }

    /// Peers with a connection.
    pub fn connected(&self) -> usize {
        self.transport.connected()
    }

    pub(crate) async fn give(&self, job: Job) -> Result<(), ServerError> {
        self.jobs.send(job).await.map_err(|_| ServerError::Stopped)
    }

    /// A new operation, with an id that no other has.
    ///
    /// # Errors
    /// [`ServerError::Entropy`]
    pub fn operation(key: &[u8], call: Call) -> Result<Operation, ServerError> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| ServerError::Entropy)?;
        Ok(Operation { id: OperationId(id), key: Key::from(key), call, bound: None })
    }

    /// Uses other credentials of the same node from now on; all connections begin anew.
    ///
    /// # Errors
    /// [`TransportError::Credentials`]: then nothing has changed.
    pub fn reload(&self, credentials: &Credentials) -> Result<(), TransportError> {
        self.transport.reload(credentials)
    }

    /// Returns when it has stopped, also by itself: because its disk has failed.
    pub async fn stopped(&self) {
        self.jobs.closed().await;
    }

    /// Whether it has stopped.
    pub fn has_stopped(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Ends all connections and closes the disk. Whoever still waits learns that it has stopped.
    pub async fn stop(&self) {
        // The disk's thread ends with the node's task. That one may have ended before.
        let _ = self.give(Job::Stop).await;
        self.transport.close().await;
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // A panic there has been told by the thread itself.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> Moment {
        Moment(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn at(self, moment: Moment) -> tokio::time::Instant {
        let far = std::time::Duration::from_hours(24);
        let after = std::time::Duration::from_micros(moment.0);
        // A moment that never comes is looked for once a day.
        (self.0 + after.min(self.0.elapsed() + far)).into()
    }
}

/// The node, one thing after the other.
async fn work(
    mut node: Node,
    clock: Clock,
    first: Effects,
    mut arrived: Receiver<Arrival>,
    mut given: Receiver<Job>,
    done: Sender<Effects>,
    waiting: Waiters,
) {
    let mut effects = first;
    loop {
        if effects != Effects::default() && done.send(effects).await.is_err() {
            break;
        }
        let (timer, at) = node.timers().into_iter().min_by_key(|(_, at)| *at).expect("four");
        tokio::select! {
            arrival = arrived.recv() => match arrival {
                Some(arrival) => effects = hear(&mut node, clock.now(), &arrival),
                None => break,
            },
            job = given.recv() => match job {
                Some(Job::Stop) | None => break,
                Some(job) => effects = take_up(&mut node, clock.now(), job, &waiting),
            },
            () = tokio::time::sleep_until(clock.at(at)) => {
                effects = node.step(clock.now(), Input::Timer(timer));
            }
        }
    }
    lock(&waiting).clear();
}

fn take_up(node: &mut Node, now: Moment, job: Job, waiting: &Waiters) -> Effects {
    let (begun, asker) = match job {
        Job::Call { operation, patience_ms, reply } => {
            lock(waiting).calls.entry(operation.id).or_default().push(reply);
            return node.step(now, Input::Call(operation, now.plus_ms(patience_ms)));
        }
        Job::Change { id, change, patience_ms, reply } => {
            lock(waiting).changes.insert(id, reply);
            return node.step(now, Input::Change(id, change, now.plus_ms(patience_ms)));
        }
        Job::Meet(others) => return node.step(now, Input::Meet(others)),
        Job::Look(look) => {
            look(now, node);
            return Effects::default();
        }
        Job::Stop => return Effects::default(),
        Job::Publish(record, asker) => (node.publish(now, record), asker),
        Job::FindValue(key, asker) => (node.find_value(now, key), asker),
    };
    match begun {
        Ok((query, effects)) => {
            lock(waiting).queries.insert(query, asker);
            effects
        }
        Err(busy) => {
            // Who has asked may have gone.
            let _ = asker.send(Err(busy));
            Effects::default()
        }
    }
}

fn hear(node: &mut Node, now: Moment, arrival: &Arrival) -> Effects {
    let from = Peer { id: arrival.from, address: Address::from(arrival.address) };
    match Message::decode(&arrival.message) {
        Ok(message) => node.step(now, Input::Message { from, message: &message }),
        Err(cause) => {
            debug!(peer = %arrival.from, %cause, "sent what cannot be read");
            let header = Header::peek(&arrival.message);
            let text = cause.to_string();
            let refusal = header.and_then(|header| header.refusal(cause.code(), &text));
            let send = refusal.map(|message| cloakroom_kademlia::Transmit {
                to: from,
                message: message.to_owned(),
            });
            Effects { send: send.into_iter().collect(), ..Effects::default() }
        }
    }
}

/// The disk's thread: persist, then send, then answer.
fn carry_out(
    file: &NodeDisk,
    transport: &Transport,
    waiting: &Waiters,
    mut to_do: Receiver<Effects>,
) {
    while let Some(first) = to_do.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(next) = to_do.try_recv() {
            batch.push(next);
        }
        if let Err(cause) = file.write(batch.iter().flat_map(|effects| &effects.persist)) {
            error!(%cause, "the disk has failed: this node stops");
            break;
        }
        for effects in batch {
            release(transport, waiting, effects);
        }
    }
    to_do.close();
    lock(waiting).clear();
}

fn release(transport: &Transport, waiting: &Waiters, effects: Effects) {
    for transmit in effects.send {
        let mut bytes = Vec::new();
        if let Err(cause) = transmit.message.borrow().encode(&mut bytes) {
            error!(%cause, "a message of ours is too large");
            continue;
        }
        if let Err(cause) = transport.send(transmit.to.id, transmit.to.address.into(), bytes) {
            debug!(peer = %transmit.to.id, %cause, "a message was not sent");
        }
    }
    for answer in effects.answer {
        let (id, reply) = match answer {
            Answer::Ended(id, outcome) => (id, Reply::Ended(outcome)),
            Answer::Elsewhere(id, view) => (id, Reply::Elsewhere(view)),
            Answer::Lost(id) => (id, Reply::Lost),
            Answer::Changed(id, result) => {
                if let Some(caller) = lock(waiting).changes.remove(&id) {
                    // A caller that has gone is no longer interested.
                    let _ = caller.send(result);
                }
                continue;
            }
            Answer::Dht(event) => {
                debug!(?event, "of the DHT");
                let query = query_of(&event);
                if let Some(asker) = query.and_then(|query| lock(waiting).queries.remove(&query)) {
                    // Who has asked may have gone.
                    let _ = asker.send(Ok(event));
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

fn query_of(event: &Event) -> Option<QueryId> {
    match event {
        Event::Found { query, .. }
        | Event::Value { query, .. }
        | Event::Absent { query, .. }
        | Event::Published { query, .. } => Some(*query),
        _ => None,
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
