//! Connections of clients: how many, from where, and how they end.
//!
//! Invariants:
//! * REST-3: a connection has a place at the gate before anything of it is read, or is turned away at once;
//! * REST-5: plain HTTP is for loopback: another address is refused;
//! * a clean end: what is under way is answered, as long as it takes no longer than [`LAST_WORDS`].
//!
//! What it does not do: understand requests.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use crate::connection::{LAST_WORDS, attend};
use crate::gate::Gate;
use crate::problem::{Kind, Problem};
use crate::tls::Tls;

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
    tls: Option<Tls>,
    gate: Gate,
}

/// Listens for plain HTTP on an address of loopback.
///
/// # Errors
/// [`ListenError`]
pub async fn listen(address: SocketAddr) -> Result<Listening, ListenError> {
    if !address.ip().is_loopback() {
        return Err(ListenError::NotLoopback(address));
    }
    bind(address, None).await
}

/// Listens for HTTPS.
///
/// # Errors
/// [`ListenError::Socket`]
pub async fn listen_https(address: SocketAddr, tls: Tls) -> Result<Listening, ListenError> {
    bind(address, Some(tls)).await
}

async fn bind(address: SocketAddr, tls: Option<Tls>) -> Result<Listening, ListenError> {
    let failed = |source| ListenError::Socket { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listening { listener, address, tls, gate: Gate::default() })
}

impl Listening {
    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Behind this gate, which others may be behind as well.
    #[must_use]
    pub fn behind(self, gate: Gate) -> Self {
        Self { gate, ..self }
    }

    /// Answers until `end`, and then what is under way.
    pub async fn serve(self, router: Router, end: impl Future<Output = ()>) {
        let ending = watch::Sender::new(false);
        // Whoever has a sender is still under way.
        let (under_way, mut all_gone) = mpsc::channel::<Infallible>(1);
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut end => break,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot take a connection");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            // REST-3: a place before anything is read.
            let Some(place) = self.gate.enter(from.ip()) else {
                debug!(address = %from, "refused a client: too many connections");
                self.turn_away(stream);
                continue;
            };
            let (tls, router, ending) = (self.tls.clone(), router.clone(), ending.subscribe());
            let under_way = under_way.clone();
            tokio::spawn(async move {
                attend(stream, from, tls, router, place, ending).await;
                drop(under_way);
            });
        }
        drop(self.listener);
        ending.send_replace(true);
        drop(under_way);
        // Each ends by itself, at the latest then.
        let _ = tokio::time::timeout(LAST_WORDS + LAST_WORDS / 10, all_gone.recv()).await;
    }

    /// Says so, if that costs nothing: without TLS, and as far as the system takes it at once.
    fn turn_away(&self, stream: TcpStream) {
        if self.tls.is_none()
            && let Ok(mut stream) = stream.into_std()
        {
            let problem = Problem::new(Kind::OVERLOADED, "too many connections").into_answer();
            let body = String::from_utf8_lossy(&problem.body).into_owned();
            let answer = format!(
                "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
                 retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            // Who does not get it sees the connection end.
            let _ = stream.write_all(answer.as_bytes());
        }
    }
}
