//! QUIC between nodes: a connection to a peer, a stream to the messages that leave together.
//!
//! # Life of a message
//! 1. [`Transport::send`] puts it into the peer's queue, or sheds it when that is full.
//! 2. The peer's task connects if there is no connection, opens a stream, writes all that waits, each message
//!    in a frame, as far as a stream may go, and finishes it.
//! 3. At the other side they arrive with the id that their sender has proved to have.
//!
//! # Invariants
//! * NET-1: a message goes to the node with the id that was named, or to nobody: the other side's id is the
//!   hash of the key in its certificate;
//! * NET-3: nobody can make us keep more than [`Limits`] say: streams and bytes under way are limited for
//!   each peer by QUIC's flow control, streams also by the second, connections and arrivals for all;
//! * a message is lost, doubled by nobody, and overtaken by others: the pure parts expect all three;
//! * NET-2: a connection ends with the certificate that it began with.
//!
//! What it does not do: understand messages, retry, tell whether one has arrived.

mod incoming;
mod peers;
mod questions;
mod seldom;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom_wire::{FRAME_HEAD_BYTES, MAX_MESSAGE_BYTES, NodeId, split_frame};
use governor::clock::MonotonicClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use quinn::{
    ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use self::peers::Peers;
use self::questions::Questions;
use self::seldom::Seldom;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::tls;

/// Peers have so long to hear that the node leaves.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How much peers may make a node keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections whose peers have not shown who they are yet.
    pub handshakes: usize,
    /// Streams on their way from one peer.
    pub streams_per_peer: u32,
    /// Streams that one peer may open in a second; the further ones wait, unread.
    pub streams_per_second_per_peer: NonZeroU32,
    /// Bytes on their way from one peer.
    pub bytes_per_peer: u32,
    /// Messages that wait for one peer.
    pub queue_per_peer: usize,
    /// Streams that are being read, or wait for the node, in all.
    pub arrivals: usize,
    /// A connection ends after so long without a packet.
    pub idle_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshakes: 128,
            streams_per_peer: 64,
            streams_per_second_per_peer: const { NonZeroU32::new(20_000).expect("not zero") },
            bytes_per_peer: 1024 * 1024,
            queue_per_peer: 256,
            arrivals: 4096,
            idle_ms: 30_000,
        }
    }
}

/// A stream goes no further than one message may.
pub(crate) const MAX_STREAM_BYTES: usize = FRAME_HEAD_BYTES + MAX_MESSAGE_BYTES;

/// A stream that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Who has sent it, as its certificate proves.
    pub from: NodeId,
    /// Where its packets come from.
    pub address: SocketAddr,
    bytes: Vec<u8>,
}

impl Arrival {
    /// The messages in it, not yet decoded. What is behind a frame that is none is not looked at.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (message, behind) = split_frame(rest).ok().flatten()?;
            rest = behind;
            Some(message)
        })
    }
}

/// Why a message is not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The system's, or the caller's who chose the address.
    #[error("cannot use {address}: {source}")]
    Socket {
        /// Ours.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Of the node's key or certificate.
    #[error(transparent)]
    Credentials(#[from] Error),
    /// The peer's, who is slow or away; or ours, who send too much.
    #[error("{0} messages wait for {1} already: this one is not sent")]
    Shed(usize, NodeId),
    /// The caller's.
    #[error("expected a message of at most {MAX_MESSAGE_BYTES} bytes, got {0}")]
    TooLarge(usize),
    /// The transport is closed.
    #[error("the transport is closed")]
    Closed,
}

/// One node's end of all its connections.
#[derive(Debug)]
pub struct Transport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    /// Messages are sent from threads outside of it too.
    runtime: Handle,
    endpoint: Endpoint,
    limits: Limits,
    outgoing: Mutex<Outgoing>,
    peers: Mutex<Peers>,
    arrivals: mpsc::Sender<Arrival>,
    handshakes: Semaphore,
    rates: RateLimiter<NodeId, HashMapStateStore<NodeId>, MonotonicClock>,
    questions: Questions,
    shed: Counts,
    refusals: Seldom,
}

/// What was turned away, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shed {
    /// Connections: there were too many, or too many handshakes.
    pub connections: u64,
    /// Messages: too many waited for their receiver.
    pub messages: u64,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    messages: AtomicU64,
}

/// What an outgoing connection needs; replaced by [`Transport::reload`].
#[derive(Clone, Debug)]
struct Outgoing {
    config: ClientConfig,
    cluster: String,
}

impl Transport {
    /// Listens on an address; what arrives comes out of the receiver. Within a tokio runtime.
    ///
    /// # Errors
    /// [`TransportError::Socket`], [`TransportError::Credentials`]
    pub fn bind(
        address: SocketAddr,
        credentials: &Credentials,
        limits: Limits,
    ) -> Result<(Self, mpsc::Receiver<Arrival>), TransportError> {
        let failed = |source| TransportError::Socket { address, source };
        let socket = std::net::UdpSocket::bind(address).map_err(failed)?;
        let (server, outgoing) = configs(credentials, &limits)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime)
            .map_err(failed)?;
        let (arrivals, arrived) = mpsc::channel(limits.arrivals);
        let (outgoing, peers) = (Mutex::new(outgoing), Mutex::new(Peers::default()));
        let handle = Handle::current();
        let shared = Arc::new(Shared {
            runtime: handle,
            endpoint,
            outgoing,
            peers,
            arrivals,
            handshakes: Semaphore::new(limits.handshakes),
            rates: RateLimiter::new(
                Quota::per_second(limits.streams_per_second_per_peer),
                HashMapStateStore::default(),
                MonotonicClock,
            ),
            questions: Questions::default(),
            shed: Counts::default(),
            refusals: Seldom::default(),
            limits,
        });
        tokio::spawn(incoming::accept(Arc::clone(&shared)));
        Ok((Self { shared }, arrived))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// Sends a message, some time or never. Does not wait.
    ///
    /// # Errors
    /// [`TransportError::Shed`], [`TransportError::TooLarge`], [`TransportError::Closed`]
    pub fn send(
        &self,
        to: NodeId,
        address: SocketAddr,
        message: Vec<u8>,
    ) -> Result<(), TransportError> {
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(TransportError::TooLarge(message.len()));
        }
        peers::send(&self.shared, to, address, message)
    }

    /// Uses other credentials from now on. All connections end, with the rights that were checked
    /// when they began; whoever may still come comes again.
    ///
    /// # Errors
    /// [`TransportError::Credentials`]: then nothing has changed.
    pub fn reload(&self, credentials: &Credentials) -> Result<(), TransportError> {
        let (server, outgoing) = configs(credentials, &self.shared.limits)?;
        self.shared.endpoint.set_server_config(Some(server));
        *lock(&self.shared.outgoing) = outgoing;
        // NET-2: also of those who have been revoked meanwhile.
        lock(&self.shared.peers).close_all(Close::Reloaded);
        Ok(())
    }

    /// Has it renew the certificates of peers that ask for it, with the authority in this folder. Whether it does so
    /// from now on; it may be told once.
    pub(crate) fn renew_for_others(&self, authority: PathBuf) -> bool {
        self.shared.questions.answer_with(authority)
    }

    /// What a peer answers to the question for a newer certificate; or why it does not.
    pub(crate) async fn ask(&self, to: NodeId, address: SocketAddr) -> Result<Vec<u8>, String> {
        questions::ask(&self.shared, to, address).await
    }

    /// What was turned away.
    pub fn shed(&self) -> Shed {
        // Relaxed: they are told, and nothing else depends on them.
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { connections, messages } = &self.shared.shed;
        Shed { connections: count(connections), messages: count(messages) }
    }

    /// Peers with a connection.
    pub fn connected(&self) -> usize {
        lock(&self.shared.peers).connected()
    }

    /// Why there is no connection with a peer, if one was tried.
    pub fn trouble(&self, peer: NodeId) -> Option<String> {
        lock(&self.shared.peers).trouble(peer)
    }

    /// Ends all connections, and waits until the peers know, or long enough: one that does not answer its
    /// handshake would be waited for as long again as it was already.
    pub async fn close(&self) {
        let (code, reason) = Close::Leaving.frame();
        lock(&self.shared.peers).forget_queues();
        self.shared.endpoint.close(code, reason);
        // Late or not, the peers were told.
        let _ = timeout(CLOSE_TIMEOUT, self.shared.endpoint.wait_idle()).await;
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        let (code, reason) = Close::Leaving.frame();
        lock(&self.shared.peers).forget_queues();
        self.shared.endpoint.close(code, reason);
    }
}

/// Why we end a connection, as the other side and its log are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    Leaving,
    Reloaded,
    Expired,
    NotWhoWasMeant,
    Superseded,
    NotANode,
}

impl Close {
    pub(crate) fn frame(self) -> (VarInt, &'static [u8]) {
        let (code, reason): (u32, &[u8]) = match self {
            Self::Leaving => (0, b"the node leaves"),
            Self::Reloaded => (1, b"the node has new credentials"),
            Self::Expired => (2, b"your certificate has expired"),
            Self::NotWhoWasMeant => (3, b"your key is not that of the node that was meant"),
            Self::Superseded => (4, b"you have a newer connection"),
            Self::NotANode => (5, b"your certificate is no node's"),
        };
        (VarInt::from_u32(code), reason)
    }
}

fn configs(
    credentials: &Credentials,
    limits: &Limits,
) -> Result<(ServerConfig, Outgoing), TransportError> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(limits.streams_per_peer))
        .receive_window(VarInt::from_u32(limits.bytes_per_peer))
        .max_idle_timeout(Some(VarInt::from_u32(limits.idle_ms).into()))
        .datagram_receive_buffer_size(None);
    let transport = Arc::new(transport);
    let mut server = ServerConfig::with_crypto(Arc::new(tls::server(credentials)?));
    server.transport_config(Arc::clone(&transport));
    let mut config = ClientConfig::new(Arc::new(tls::client(credentials)?));
    config.transport_config(transport);
    Ok((server, Outgoing { config, cluster: credentials.cluster().to_owned() }))
}

/// No code that holds one of these locks can leave what it guards half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
