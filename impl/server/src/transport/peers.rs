//! Who is connected, and what waits for whom.
//!
//! Invariants:
//! * NET-3: a peer has one task that sends, and at most [`MOST_TO_A_PEER`] connections: two nodes that call
//!   each other at one moment have two, of which each uses the newer, and the other one idles out;
//! * a task ends when nothing has waited for its peer for a while: who is not talked to costs nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloakroom_wire::NodeId;
use quinn::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::incoming::{Proof, serve};
use super::{Close, Shared, TransportError, lock};

const MOST_TO_A_PEER: usize = 4;
/// A handshake that takes longer has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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
        Err(TrySendError::Full(_)) => Err(TransportError::Shed(shared.limits.queue_per_peer, to)),
        Err(TrySendError::Closed(_)) => Err(TransportError::Closed),
    }
}

/// Sends what waits for one peer.
async fn deliver(shared: Arc<Shared>, to: NodeId, mut waiting: Receiver<(SocketAddr, Vec<u8>)>) {
    let idle = Duration::from_millis(shared.limits.idle_ms.into());
    loop {
        let Ok(next) = timeout(idle, waiting.recv()).await else {
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
        let Some((address, message)) = next else { return };
        let known = lock(&shared.peers).newest(to);
        let connection = match known {
            Some(connection) => connection,
            None => match connect(&shared, to, address).await {
                Ok(connection) => connection,
                Err(cause) => {
                    warn!(peer = %to, %address, %cause, "cannot be reached");
                    // What waits has become old: who sent it has its own clock for that.
                    while waiting.try_recv().is_ok() {}
                    continue;
                }
            },
        };
        if let Err(error) = write(&connection, &message).await {
            debug!(peer = %to, %address, %error, "a message was lost");
            lock(&shared.peers).remove(to, connection.stable_id());
        }
    }
}

async fn write(connection: &Connection, message: &[u8]) -> Result<(), quinn::WriteError> {
    let mut stream = connection.open_uni().await?;
    stream.write_all(message).await?;
    // Cannot fail: the stream is ours, and finished once.
    let _ = stream.finish();
    Ok(())
}

pub(super) async fn connect(
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
        .connect_with(outgoing.config, address, &outgoing.server_name)
        .map_err(|error| error.to_string())?;
    let connection = timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| "no answer".to_string())?
        .map_err(|error| error.to_string())?;
    match Proof::of(&connection) {
        // NET-1
        Some(proof) if proof.id == to => {
            lock(&shared.peers).add(to, connection.clone());
            tokio::spawn(serve(Arc::clone(shared), connection.clone(), proof));
            Ok(connection)
        }
        proof => {
            let (code, reason) = Close::NotWhoWasMeant.frame();
            connection.close(code, reason);
            let got = proof.map_or("no Ed25519 key".to_string(), |proof| format!("{:#}", proof.id));
            Err(format!("expected {to:#}, got {got}"))
        }
    }
}
