//! Who is connected, and what waits for whom.
//!
//! Invariants:
//! * NET-3: a peer has one task that sends, and at most [`MOST_TO_A_PEER`] connections: two nodes that call
//!   each other at one moment have two, of which each uses the newer, and the other one idles out;
//! * a task ends when nothing has waited for its peer for a while: who is not talked to costs nothing;
//! * NET-3: who refuses us, or is away, is tried again after a pause that doubles, up to [`LONGEST_PAUSE`]. What
//!   was to be sent meanwhile is lost, unless the peer comes to us.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cloakroom_wire::{FRAME_HEAD_BYTES, NodeId};
use quinn::{Connection, ConnectionError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::incoming::{peer, serve};
use super::{Close, MAX_STREAM_BYTES, Shared, TransportError, lock};
use crate::authority::server_name;

const MOST_TO_A_PEER: usize = 4;
/// Messages that are taken from a queue together.
const MOST_AT_ONCE: usize = 64;
/// A handshake that takes longer has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the first attempt that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// No pause is longer: who is back is reached soon.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that the peer ends sooner was none: in TLS 1.3 it is the last to look at a certificate.
const SHORTEST_LIFE: Duration = Duration::from_secs(2);

/// All peers that are connected or written to.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: BTreeMap<NodeId, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    /// The newest last.
    connections: Vec<Connection>,
    queue: Option<Sender<(SocketAddr, Vec<u8>)>>,
    /// Why the last attempt to connect has failed.
    trouble: Option<String>,
}

/// Attempts to connect to one peer, and when another one is right.
#[derive(Debug, Default)]
struct Attempts {
    failed: u32,
    not_before: Option<Instant>,
    /// The connection of the last attempt that seemed to work, and since when.
    made: Option<(Connection, Instant)>,
}

impl Attempts {
    /// Whether it is too early for another attempt. A connection that is over has failed if its life was short.
    fn must_wait(&mut self, shared: &Shared, to: NodeId, address: SocketAddr) -> bool {
        if let Some((connection, since)) = self.made.take() {
            match connection.close_reason() {
                // With other credentials everything begins anew.
                None | Some(ConnectionError::LocallyClosed) => self.failed = 0,
                Some(cause) if since.elapsed() < SHORTEST_LIFE => {
                    self.failed(shared, to, address, &cause.to_string());
                }
                Some(_) => self.failed = 0,
            }
        }
        self.not_before.is_some_and(|at| Instant::now() < at)
    }

    fn failed(&mut self, shared: &Shared, to: NodeId, address: SocketAddr, cause: &str) {
        self.failed = self.failed.saturating_add(1);
        let pause = FIRST_PAUSE * (1 << (self.failed - 1).min(10));
        self.not_before = Some(Instant::now() + pause.min(LONGEST_PAUSE));
        if let Some(peer) = lock(&shared.peers).peers.get_mut(&to) {
            peer.trouble = Some(cause.to_owned());
        }
        // The first of many, and then ever fewer.
        if self.failed.is_power_of_two() {
            warn!(peer = %to, %address, cause, attempts = self.failed, "cannot be reached");
        } else {
            debug!(peer = %to, %address, cause, attempts = self.failed, "cannot be reached");
        }
    }
}

impl Peers {
    /// A connection with a peer has been made, from whichever side.
    pub(crate) fn add(&mut self, id: NodeId, connection: Connection) {
        let connections = &mut self.peers.entry(id).or_default().connections;
        connections.push(connection);
        if connections.len() > MOST_TO_A_PEER {
            let (code, reason) = Close::Superseded.frame();
            connections.remove(0).close(code, reason);
        }
    }

    /// A connection has ended.
    pub(crate) fn remove(&mut self, id: NodeId, stable_id: usize) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.connections.retain(|connection| connection.stable_id() != stable_id);
            self.forget(id);
        }
    }

    pub(crate) fn connected(&self) -> usize {
        self.peers.values().filter(|peer| !peer.connections.is_empty()).count()
    }

    pub(crate) fn close_all(&mut self, why: Close) {
        let (code, reason) = why.frame();
        for peer in self.peers.values_mut() {
            for connection in peer.connections.drain(..) {
                connection.close(code, reason);
            }
        }
    }

    /// What waits is not sent any more; the tasks that would have sent it end.
    pub(crate) fn forget_queues(&mut self) {
        for peer in self.peers.values_mut() {
            peer.queue = None;
        }
    }

    /// Why there is no connection, if one was tried.
    pub(crate) fn trouble(&self, id: NodeId) -> Option<String> {
        let peer = self.peers.get(&id).filter(|peer| peer.connections.is_empty())?;
        peer.trouble.clone()
    }

    pub(crate) fn newest(&self, id: NodeId) -> Option<Connection> {
        self.peers.get(&id)?.connections.last().cloned()
    }

    fn forget(&mut self, id: NodeId) {
        if self
            .peers
            .get(&id)
            .is_some_and(|peer| peer.connections.is_empty() && peer.queue.is_none())
        {
            self.peers.remove(&id);
        }
    }
}

/// Puts a message into the queue of its receiver.
pub(crate) fn send(
    shared: &Arc<Shared>,
    to: NodeId,
    address: SocketAddr,
    message: Vec<u8>,
) -> Result<(), TransportError> {
    let mut peers = lock(&shared.peers);
    let peer = peers.peers.entry(to).or_default();
    let queue = peer.queue.get_or_insert_with(|| {
        let (queue, waiting) = mpsc::channel(shared.limits.queue_per_peer);
        shared.runtime.spawn(deliver(Arc::clone(shared), to, waiting));
        queue
    });
    match queue.try_send((address, message)) {
        Ok(()) => Ok(()),
        Err(TrySendError::Full(_)) => {
            // Relaxed: a count to be shown; nothing is read by way of it.
            shared.shed.messages.fetch_add(1, Ordering::Relaxed);
            Err(TransportError::Shed(shared.limits.queue_per_peer, to))
        }
        Err(TrySendError::Closed(_)) => Err(TransportError::Closed),
    }
}

/// As many of the messages that wait as one stream takes, from the first on: it takes any one.
fn fill_stream(waiting: &mut VecDeque<Vec<u8>>) -> Vec<u8> {
    let mut stream = Vec::new();
    while let Some(next) = waiting.front() {
        if stream.len() + FRAME_HEAD_BYTES + next.len() > MAX_STREAM_BYTES {
            break;
        }
        // Whoever has put it here has seen that it is not too large.
        let length = u32::try_from(next.len()).unwrap_or(u32::MAX);
        stream.extend_from_slice(&length.to_be_bytes());
        stream.extend_from_slice(next);
        waiting.pop_front();
    }
    stream
}

/// Sends what waits for one peer.
async fn deliver(shared: Arc<Shared>, to: NodeId, mut waiting: Receiver<(SocketAddr, Vec<u8>)>) {
    let idle = Duration::from_millis(shared.limits.idle_ms.into());
    let mut attempts = Attempts::default();
    let mut taken = Vec::new();
    loop {
        let Ok(_) = timeout(idle, waiting.recv_many(&mut taken, MOST_AT_ONCE)).await else {
            let mut peers = lock(&shared.peers);
            // Under the lock nobody puts anything in.
            if waiting.is_empty() {
                if let Some(peer) = peers.peers.get_mut(&to) {
                    peer.queue = None;
                }
                peers.forget(to);
                return;
            }
            continue;
        };
        let Some(&(address, _)) = taken.last() else { return };
        let mut messages: VecDeque<Vec<u8>> = taken.drain(..).map(|(_, message)| message).collect();
        let known = lock(&shared.peers).newest(to);
        let connection = match known {
            Some(connection) => connection,
            // Lost, as it would be if it were sent.
            None if attempts.must_wait(&shared, to, address) => continue,
            None => match connect(&shared, to, address).await {
                Ok(connection) => {
                    attempts.made = Some((connection.clone(), Instant::now()));
                    connection
                }
                Err(cause) => {
                    attempts.failed(&shared, to, address, &cause);
                    // What waits has become old: who sent it has its own clock for that.
                    while waiting.try_recv().is_ok() {}
                    continue;
                }
            },
        };
        while !messages.is_empty() {
            let stream = fill_stream(&mut messages);
            if let Err(error) = write(&connection, &stream).await {
                debug!(peer = %to, %address, %error, "messages were lost");
                lock(&shared.peers).remove(to, connection.stable_id());
                break;
            }
        }
    }
}

async fn write(connection: &Connection, bytes: &[u8]) -> Result<(), quinn::WriteError> {
    let mut stream = connection.open_uni().await?;
    stream.write_all(bytes).await?;
    // Cannot fail: the stream is ours, and finished once.
    let _ = stream.finish();
    Ok(())
}

pub(crate) async fn connect(
    shared: &Arc<Shared>,
    to: NodeId,
    address: SocketAddr,
) -> Result<Connection, String> {
    if shared.endpoint.open_connections() >= shared.limits.connections {
        return Err(format!("{} connections are open already", shared.limits.connections));
    }
    let outgoing = lock(&shared.outgoing).clone();
    let connecting = shared
        .endpoint
        .connect_with(outgoing.config, address, &server_name(&outgoing.cluster))
        .map_err(|error| error.to_string())?;
    let connection = timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| "no answer".to_string())?
        .map_err(|error| error.to_string())?;
    match peer(shared, &connection) {
        // NET-1
        Ok((id, left)) if id == to => {
            lock(&shared.peers).add(to, connection.clone());
            tokio::spawn(serve(Arc::clone(shared), connection.clone(), id, left));
            Ok(connection)
        }
        other => {
            let (code, reason) = Close::NotWhoWasMeant.frame();
            connection.close(code, reason);
            let got =
                other.map_or("no node's certificate".to_string(), |(id, _)| format!("{id:#}"));
            Err(format!("expected {to:#}, got {got}"))
        }
    }
}
