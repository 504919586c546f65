//! A node at work: its clock, its connections, its disk, its callers.
//!
//! # Life of a step
//! 1. One task has the [`Node`]: it takes messages, calls and the time, one after the other. What the node
//!    asks others, and answers its callers, leaves at once.
//! 2. The rest of what follows goes to the thread of the disk, in order. It takes all that waits, makes it
//!    durable with one sync, and only then sends in its order what waited for that, and brings the node
//!    its own votes: NODE-4. So a round costs one sync, here and elsewhere at the same time.
//!
//! # Invariants
//! * REG-8: when the disk fails, nothing leaves any more that says what it has, and the server has
//!   stopped; what was under way is answered as stopped, which for the caller is unknown;
//! * REG-5: the number of a start is on disk before the node does anything;
//! * every call gets one reply, or learns that the server has stopped.
//!
//! What it does not do: retry; choose another node, which the node does; understand REST.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use cloakroom_kademlia::{Busy, Judge, Moment, ParameterError, Parameters, Peer, Transmit};
use cloakroom_node::{Change, Effects, Genesis, Input, Node, Patience, Rounds, Setup, Timer};
use cloakroom_register::{
    Call, Key, Message as RegisterMessage, Operation, OperationId, Outcome, ReplicaError, View,
    Waits,
};
use cloakroom_wire::{Address, Contact, Message, NodeId, OwnedRecord, RecordKey};
use thiserror::Error;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, channel, unbounded_channel};
use tokio::sync::oneshot;
use tracing::debug;

use crate::credentials::Credentials;
use crate::disk::{DiskError, NodeDisk};
use crate::holder::Proof;
use crate::key::id_of;
use crate::leave::{Asker, Changer, Synced, Waiters, Watcher, answer, carry_out, transmit};
use crate::transport::{Arrival, Limits, Shed, Transport, TransportError, lock};

/// Steps whose effects wait for the disk: more, and the node waits for it.
const MOST_WAITING: usize = 1024;

/// Things that happen to a node before what follows from them leaves.
const MOST_TOGETHER: usize = 32;

/// What a server is made of.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where others reach it, if that is elsewhere: where it listens on all addresses of its machine, or behind a
    /// router that maps one.
    pub advertise: Option<SocketAddr>,
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
    /// It has ended, after so many rounds.
    Ended(Outcome, Rounds),
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
    watcher: Arc<Watcher>,
    proof: Mutex<Option<Proof>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Something for the task that has the node.
pub(crate) enum Job {
    Call { operation: Operation, patience_ms: u64, reply: oneshot::Sender<Reply> },
    Change { id: OperationId, change: Change, patience_ms: u64, reply: Changer },
    Meet(Vec<Contact>),
    Publish(OwnedRecord, Asker),
    FindValue(RecordKey, Asker),
    FindNode(NodeId, Asker),
    Ping(Contact, Asker),
    Look(Look),
    Stop,
}

/// What is asked of the node between two steps.
type Look = Box<dyn FnOnce(Moment, &Node) + Send>;

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
        let address = Address::from(config.advertise.unwrap_or(bound));
        let contact = Contact { id, address, key: credentials.key.public() };
        let mut seed = [0; 8];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| ServerError::Entropy)?;
        let setup = Setup {
            genesis,
            contact,
            reachable: true,
            table: Vec::new(),
            parameters,
            judge: Judge { contact: |contact| id_of(contact.key) == contact.id, record: |_| true },
            waits: config.waits,
            patience: config.patience,
            hash: sha256,
            seed: u64::from_be_bytes(seed),
        };
        let clock = Clock(Instant::now());
        let records = file.records(clock.now())?;
        let (node, mut first) = Node::start(clock.now(), setup, &disk, records)?;
        // REG-5
        file.write(clock.now(), std::slice::from_ref(&first)).map_err(DiskError::from)?;
        first.persist.clear();
        first.keep.clear();
        let (jobs, given) = channel(MOST_WAITING);
        let (done, to_do) = channel(MOST_WAITING);
        // One step's votes for each step that waits for the disk, at most: those are limited.
        let (back, votes) = unbounded_channel();
        let waiting = Waiters::default();
        let watcher = Arc::new(Watcher::default());
        let thread = {
            let (transport, waiting) = (Arc::clone(&transport), Arc::clone(&waiting));
            let watcher = Arc::clone(&watcher);
            std::thread::Builder::new()
                .name("disk".to_string())
                .spawn(move || {
                    carry_out(clock, &file, &transport, &waiting, &watcher, to_do, &back);
                })
                .map_err(ServerError::Thread)?
        };
        let out = Out { transport: Arc::clone(&transport), waiting, done };
        tokio::spawn(work(node, clock, first, In { arrived, given, votes }, out));
        let (proof, thread) = (Mutex::new(credentials.proof()), Mutex::new(Some(thread)));
        Ok(Self { contact, jobs, transport, watcher, proof, thread })
    }

    /// Who it is, and where others reach it.
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

    /// Has `watcher` told of each sync of the disk from now on, by the disk's own thread: it should be quick. Whether
    /// it is; there is one at most.
    pub fn watch_disk(&self, watcher: impl Fn(Synced) + Send + Sync + 'static) -> bool {
        self.watcher.set(watcher)
    }

    /// What its connections with peers have turned away.
    pub fn shed(&self) -> Shed {
        self.transport.shed()
    }

    /// Peers with a connection.
    pub fn connected(&self) -> usize {
        self.transport.connected()
    }

    /// Why there is no connection with a peer, if one was tried.
    pub fn trouble(&self, peer: NodeId) -> Option<String> {
        self.transport.trouble(peer)
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
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
        self.transport.reload(credentials)?;
        *lock(&self.proof) = credentials.proof();
        Ok(())
    }

    /// What its certificate says.
    pub fn proof(&self) -> Option<Proof> {
        lock(&self.proof).clone()
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
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn now(self) -> Moment {
        Moment(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn at(self, moment: Moment) -> tokio::time::Instant {
        let far = std::time::Duration::from_hours(24);
        let after = std::time::Duration::from_micros(moment.0);
        // A moment that never comes is looked for once a day.
        (self.0 + after.min(self.0.elapsed() + far)).into()
    }
}

/// What comes to a node.
struct In {
    arrived: Receiver<Arrival>,
    given: Receiver<Job>,
    votes: UnboundedReceiver<Vec<RegisterMessage>>,
}

/// One thing that happens to a node.
enum Next {
    Votes(Vec<RegisterMessage>),
    Arrival(Arrival),
    Job(Job),
    Timer(Timer),
}

impl In {
    /// What is there already.
    fn next_at_once(&mut self) -> Option<Next> {
        if let Ok(votes) = self.votes.try_recv() {
            return Some(Next::Votes(votes));
        }
        if let Ok(arrival) = self.arrived.try_recv() {
            return Some(Next::Arrival(arrival));
        }
        self.given.try_recv().ok().map(Next::Job)
    }
}

/// Where what follows goes.
struct Out {
    transport: Arc<Transport>,
    waiting: Waiters,
    /// To the thread of the disk.
    done: Sender<Effects>,
}

/// The node, one thing after the other.
async fn work(mut node: Node, clock: Clock, first: Effects, mut from: In, to: Out) {
    let (mut effects, mut stops) = (first, false);
    loop {
        // What has come meanwhile is taken as well: what follows from it leaves, and is made durable, together.
        for _ in 0..MOST_TOGETHER {
            match from.next_at_once() {
                Some(Next::Job(Job::Stop)) => stops = true,
                Some(next) => effects.join(take(&mut node, clock.now(), next, &to.waiting)),
                None => break,
            }
        }
        transmit(&to.transport, std::mem::take(&mut effects.first));
        answer(&to.waiting, std::mem::take(&mut effects.answer));
        if effects != Effects::default() && to.done.send(effects).await.is_err() {
            break;
        }
        if stops {
            break;
        }
        let (timer, at) = node.timers().into_iter().min_by_key(|(_, at)| *at).expect("four");
        let next = tokio::select! {
            votes = from.votes.recv() => votes.map(Next::Votes),
            arrival = from.arrived.recv() => arrival.map(Next::Arrival),
            job = from.given.recv() => job.map(Next::Job),
            () = tokio::time::sleep_until(clock.at(at)) => Some(Next::Timer(timer)),
        };
        match next {
            Some(Next::Job(Job::Stop)) | None => break,
            Some(next) => effects = take(&mut node, clock.now(), next, &to.waiting),
        }
    }
    lock(&to.waiting).clear();
}

fn take(node: &mut Node, now: Moment, next: Next, waiting: &Waiters) -> Effects {
    match next {
        Next::Votes(votes) => node.step(now, Input::Votes(votes)),
        Next::Arrival(arrival) => hear(node, now, &arrival),
        Next::Job(job) => take_up(node, now, job, waiting),
        Next::Timer(timer) => node.step(now, Input::Timer(timer)),
    }
}

fn take_up(node: &mut Node, now: Moment, job: Job, waiting: &Waiters) -> Effects {
    let ((begun, effects), asker) = match job {
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
        Job::Publish(record, asker) => (node.ask_dht(|dht| dht.publish(now, record)), asker),
        Job::FindValue(key, asker) => (node.ask_dht(|dht| dht.find_value(now, key)), asker),
        Job::FindNode(point, asker) => (node.ask_dht(|dht| dht.find_node(now, point)), asker),
        Job::Ping(contact, asker) => (node.ask_dht(|dht| dht.ping_contact(now, contact)), asker),
    };
    match begun {
        Ok(query) => {
            lock(waiting).queries.insert(query, asker);
        }
        Err(busy) => {
            // Who has asked may have gone.
            let _ = asker.send(Err(busy));
        }
    }
    effects
}

fn hear(node: &mut Node, now: Moment, arrival: &Arrival) -> Effects {
    let from = Peer { id: arrival.from, address: Address::from(arrival.address) };
    let mut effects = Effects::default();
    for message in arrival.messages() {
        effects.join(hear_one(node, now, from, message));
    }
    effects
}

fn hear_one(node: &mut Node, now: Moment, from: Peer, bytes: &[u8]) -> Effects {
    match Message::receive(bytes) {
        Ok(message) => node.step(now, Input::Message { from, message: &message }),
        Err(cause) => {
            debug!(peer = %from.id, %cause, "sent what is not understood");
            // WIRE-3
            let send = cause.answer(bytes).map(|message| Transmit { to: from, message });
            Effects { send: send.into_iter().collect(), ..Effects::default() }
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod refusals;
