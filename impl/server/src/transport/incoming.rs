//! Connections that are there: who is at the other end, and what it sends.
//!
//! Invariants:
//! * NET-1, NET-2: nothing is read from whoever has not shown a valid certificate, and what is read is
//!   from the node whose key that names;
//! * above half of the limit on connections, only who proves its address gets one; above it, nobody;
//! * NET-3: a message has a place among the arrivals before its first byte is read, and must be there soon:
//!   a node that is behind reads nothing, and its peers can open no more streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloakroom_wire::{MAX_MESSAGE_BYTES, NodeId};
use quinn::{Connection, Incoming, RecvStream};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tracing::{debug, info, warn};
use x509_parser::parse_x509_certificate;

use super::questions::answer;
use super::{Arrival, Close, Shared, lock};
use crate::key::{id_of, key_in};

/// A message that takes longer from its first byte is dropped.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes connections until the endpoint is closed.
pub(crate) async fn accept(shared: Arc<Shared>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        let open = shared.endpoint.open_connections();
        if open >= shared.limits.connections {
            info!(address = %incoming.remote_address(), open, "refused a connection: too many");
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
    let connection = match incoming.accept() {
        Ok(connecting) => connecting.await,
        Err(error) => Err(error),
    };
    match connection {
        Ok(connection) => {
            let Some(proof) = Proof::of(&connection) else {
                warn!(%address, "refused a peer: its certificate has no Ed25519 key");
                return;
            };
            debug!(peer = %proof.id, %address, "has connected");
            lock(&shared.peers).add(proof.id, connection.clone());
            serve(shared, connection, proof).await;
        }
        Err(error) => warn!(%address, %error, "refused a peer"),
    }
}

/// What a peer has proved by the certificate that the handshake has verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof {
    pub(crate) id: NodeId,
    /// Seconds after 1970.
    expires: u64,
}

impl Proof {
    pub(crate) fn of(connection: &Connection) -> Option<Self> {
        let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        let (_, certificate) = parse_x509_certificate(chain.first()?).ok()?;
        let id = id_of(key_in(certificate.public_key().raw)?);
        let expires = certificate.validity().not_after.timestamp().try_into().unwrap_or(0);
        Some(Self { id, expires })
    }

    fn left(self) -> Duration {
        let expires = UNIX_EPOCH + Duration::from_secs(self.expires);
        expires.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

/// Reads what a peer sends, until the connection ends.
pub(crate) async fn serve(shared: Arc<Shared>, connection: Connection, proof: Proof) {
    let address = connection.remote_address();
    let expiry = tokio::time::sleep(proof.left());
    tokio::pin!(expiry);
    loop {
        tokio::select! {
            () = &mut expiry => {
                warn!(peer = %proof.id, %address, "ended a connection: its certificate has expired");
                let (code, reason) = Close::Expired.frame();
                connection.close(code, reason);
            }
            streams = connection.accept_bi() => match streams {
                Ok((send, receive)) => {
                    let (shared, connection) = (Arc::clone(&shared), connection.clone());
                    tokio::spawn(answer(shared, send, receive, proof.id, connection));
                }
                Err(error) => {
                    debug!(peer = %proof.id, %address, %error, "is no longer connected");
                    break;
                }
            },
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    tokio::spawn(read(Arc::clone(&shared), stream, proof.id, address));
                }
                Err(error) => {
                    debug!(peer = %proof.id, %address, %error, "is no longer connected");
                    break;
                }
            }
        }
    }
    lock(&shared.peers).remove(proof.id, connection.stable_id());
}

async fn read(shared: Arc<Shared>, mut stream: RecvStream, from: NodeId, address: SocketAddr) {
    // NET-3: an unread stream counts against its peer's limit, and one that was read would not.
    // Closed: the node is gone.
    let Ok(place) = shared.arrivals.reserve().await else { return };
    match timeout(READ_TIMEOUT, stream.read_to_end(MAX_MESSAGE_BYTES)).await {
        Ok(Ok(message)) => place.send(Arrival { from, address, message }),
        Ok(Err(error)) => debug!(peer = %from, %address, %error, "sent no whole message"),
        Err(_) => debug!(peer = %from, %address, "took too long over a message"),
    }
}
