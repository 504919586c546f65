//! Connections that are there: who is at the other end, and what it sends.
//!
//! Invariants:
//! * NET-1, NET-2: nothing is read from whoever has not shown a valid certificate, and what is read is
//!   from the node whose key that names;
//! * NET-3: there are at most so many handshakes at once, and each is over soon;
//! * above half of the limit on connections, only who proves its address gets one; above it, nobody;
//! * NET-3: a stream has a place among the arrivals before its first byte is read, and must be there soon:
//!   a node that is behind reads nothing, and its peers can open no more streams;
//! * NET-3: nor is a stream read before its peer's turn, over all of its connections: who sends too fast fills his
//!   own queues.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cloakroom_wire::NodeId;
use governor::clock::{Clock, MonotonicClock};
use quinn::{Connection, ConnectionError, Incoming, RecvStream};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::{Arrival, Close, MAX_STREAM_BYTES, Shared, lock, questions};
use crate::holder::{Holder, Proof};

/// A handshake that takes longer has failed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A stream that takes longer from its first byte is dropped.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes connections until the endpoint is closed.
pub(crate) async fn accept(shared: Arc<Shared>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        let open = shared.endpoint.open_connections();
        if open >= shared.limits.connections {
            info!(address = %incoming.remote_address(), open, "refused a connection: too many");
            // Relaxed: a count to be shown; nothing is read by way of it.
            shared.shed.connections.fetch_add(1, Ordering::Relaxed);
            incoming.refuse();
        } else if open * 2 >= shared.limits.connections && incoming.may_retry() {
            // Whether it worked or not, nothing is kept.
            let _ = incoming.retry();
        } else {
            tokio::spawn(greet(Arc::clone(&shared), incoming));
        }
    }
}

async fn greet(shared: Arc<Shared>, incoming: Incoming) {
    let address = incoming.remote_address();
    // NET-3: whoever has not shown a certificate holds nothing for long, and others as well.
    let Ok(place) = shared.handshakes.try_acquire() else {
        info!(%address, "refused a connection: too many handshakes");
        // Relaxed: as in `accept`.
        shared.shed.connections.fetch_add(1, Ordering::Relaxed);
        incoming.refuse();
        return;
    };
    let connection = match incoming.accept() {
        Ok(connecting) => {
            let late = Err(ConnectionError::TimedOut);
            timeout(HANDSHAKE_TIMEOUT, connecting).await.unwrap_or(late)
        }
        Err(error) => Err(error),
    };
    drop(place);
    match connection {
        Ok(connection) => {
            let (id, left) = match peer(&shared, &connection) {
                Ok(peer) => peer,
                Err(holder) => {
                    // NET-2: nothing was read.
                    if let Some(left_out) = shared.refusals.may_say(Instant::now()) {
                        warn!(%address, ?holder, left_out, "refused a peer: its certificate is no node's");
                    }
                    let (code, reason) = Close::NotANode.frame();
                    connection.close(code, reason);
                    return;
                }
            };
            debug!(peer = %id, %address, "has connected");
            lock(&shared.peers).add(id, connection.clone());
            serve(shared, connection, id, left).await;
        }
        Err(error) => {
            if let Some(left_out) = shared.refusals.may_say(Instant::now()) {
                warn!(%address, %error, left_out, "refused a peer");
            }
        }
    }
}

/// Which node is at the other end, and for how long its certificate is still valid; or who else is.
pub(crate) fn peer(
    shared: &Shared,
    connection: &Connection,
) -> Result<(NodeId, Duration), Option<Holder>> {
    let shown = shown(connection).ok_or(None)?;
    let cluster = lock(&shared.outgoing).cluster.clone();
    let proof = Proof::of(&shown, &cluster).ok_or(None)?;
    match proof.holder {
        Holder::Node(id) => Ok((id, proof.left())),
        holder => Err(Some(holder)),
    }
}

/// The certificate that the other end has shown.
pub(crate) fn shown(connection: &Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}

/// Reads what a peer sends, until the connection ends.
pub(crate) async fn serve(shared: Arc<Shared>, connection: Connection, id: NodeId, left: Duration) {
    let address = connection.remote_address();
    tokio::spawn(questions::answer(Arc::clone(&shared), connection.clone(), id));
    let expiry = tokio::time::sleep(left);
    tokio::pin!(expiry);
    loop {
        tokio::select! {
            () = &mut expiry => {
                warn!(peer = %id, %address, "ended a connection: its certificate has expired");
                let (code, reason) = Close::Expired.frame();
                connection.close(code, reason);
            }
            stream = next(&shared, &connection, id) => match stream {
                Ok(stream) => {
                    tokio::spawn(read(Arc::clone(&shared), stream, id, address));
                }
                Err(error) => {
                    debug!(peer = %id, %address, %error, "is no longer connected");
                    break;
                }
            }
        }
    }
    lock(&shared.peers).remove(id, connection.stable_id());
}

/// A peer's next stream, when it is that peer's turn.
async fn next(
    shared: &Shared,
    connection: &Connection,
    id: NodeId,
) -> Result<RecvStream, ConnectionError> {
    let stream = connection.accept_uni().await?;
    let Shared { rates, limits, .. } = shared;
    while let Err(early) = rates.check_key(&id) {
        tokio::time::sleep(early.wait_time_from(MonotonicClock.now())).await;
    }
    // NET-3: who has been silent for a second is forgotten.
    if rates.len() > limits.connections {
        rates.retain_recent();
    }
    Ok(stream)
}

async fn read(shared: Arc<Shared>, mut stream: RecvStream, from: NodeId, address: SocketAddr) {
    // NET-3: an unread stream counts against its peer's limit, and one that was read would not.
    // Closed: the node is gone.
    let Ok(place) = shared.arrivals.reserve().await else { return };
    match timeout(READ_TIMEOUT, stream.read_to_end(MAX_STREAM_BYTES)).await {
        Ok(Ok(bytes)) => place.send(Arrival { from, address, bytes }),
        Ok(Err(error)) => debug!(peer = %from, %address, %error, "sent no whole stream"),
        Err(_) => debug!(peer = %from, %address, "took too long over a stream"),
    }
}
