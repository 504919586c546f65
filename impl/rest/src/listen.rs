//! Connections of clients: how many, how slow, and how they end.
//!
//! Invariants:
//! * REST-3: there are at most [`MOST_CONNECTIONS`]; who is slow with the head of a request is cut off;
//! * plain HTTP is for loopback: another address is refused;
//! * a clean end: what is under way is answered, as long as it takes no longer than [`LAST_WORDS`].
//!
//! What it does not do: understand requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

/// Connections at once: more wait in the system's queue.
const MOST_CONNECTIONS: usize = 4096;
/// From the first byte of a head to its last, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Of requests under way when the end has come.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// The system has no more files or memory: it gets a moment.
const BREATH: Duration = Duration::from_millis(50);

/// Why nobody listens. Each says whose fault it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The caller's: what is sent there could be read and changed on its way.
    #[error("plain HTTP is for loopback: expected an address such as 127.0.0.1:8420, got {0}")]
    NotLoopback(SocketAddr),
    /// The system's, or the caller's who chose the address.
    #[error("cannot listen on {address}: {source}")]
    Socket {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket that listens, and answers nobody yet.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens on an address of loopback.
///
/// # Errors
/// [`ListenError`]
pub async fn listen(address: SocketAddr) -> Result<Listening, ListenError> {
    if !address.ip().is_loopback() {
        return Err(ListenError::NotLoopback(address));
    }
    let failed = |source| ListenError::Socket { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listening { listener, address })
}

impl Listening {
    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end`, and then what is under way.
    ///
    /// # Panics
    /// Never: the places for connections are not closed.
    pub async fn serve(self, router: Router, end: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let builder = builder.http1_only();
        tokio::pin!(end);
        loop {
            // REST-3: a place before a connection.
            let place = tokio::select! {
                place = Arc::clone(&places).acquire_owned() => place.expect("never closed"),
                () = &mut end => break,
            };
            let stream = tokio::select! {
                stream = self.listener.accept() => stream,
                () = &mut end => break,
            };
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot take a connection");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let service = TowerToHyperService::new(router.clone());
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    debug!(%error, "a connection has broken");
                }
                drop(place);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(LAST_WORDS, graceful.shutdown()).await.is_err() {
            warn!("requests were under way for too long and are cut off");
        }
    }
}
