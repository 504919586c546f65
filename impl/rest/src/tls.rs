//! What HTTPS shows and whom it believes, replaced while connections go on.
//!
//! Invariants:
//! * REST-5: a connection ends with what it began with: when that is replaced, since somebody may have been
//!   revoked, and when the client's certificate expires; requests under way are answered first.
//!
//! What it does not do: read files; `server` does.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use cloakroom_server::Proof;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What HTTPS shows and whom it believes.
#[derive(Clone, Debug)]
pub struct Tls {
    cluster: Arc<str>,
    current: Arc<watch::Sender<Arc<ServerConfig>>>,
}

impl Tls {
    /// Of a node of this cluster; see [`https`](cloakroom_server::Credentials::https).
    pub fn new(cluster: &str, config: Arc<ServerConfig>) -> Self {
        Self { cluster: cluster.into(), current: Arc::new(watch::Sender::new(config)) }
    }

    /// From now on something else. All connections end, and whoever may still come comes again.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        self.current.send_replace(config);
    }

    /// Makes a connection of a socket, and tells what the client has shown and what ends its rights.
    pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: S,
    ) -> Result<(TlsStream<S>, Option<Proof>, Rights), String> {
        let mut replaced = self.current.subscribe();
        let config = Arc::clone(&replaced.borrow_and_update());
        let accepted = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(socket)).await;
        let stream = accepted
            .map_err(|_| "its handshake took too long".to_string())?
            .map_err(|error| error.to_string())?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let proof = match shown {
            Some(shown) => {
                let proof = Proof::of(shown, &self.cluster);
                Some(proof.ok_or("its certificate cannot be read")?)
            }
            None => None,
        };
        let left = proof.as_ref().map(Proof::left);
        Ok((stream, proof, Rights { replaced, left }))
    }
}

/// How long what a client has shown counts.
#[derive(Debug)]
pub(crate) struct Rights {
    replaced: watch::Receiver<Arc<ServerConfig>>,
    left: Option<Duration>,
}

impl Rights {
    /// Returns when they are over.
    pub(crate) async fn end(mut self) {
        let expiry = async {
            match self.left {
                Some(left) => sleep(left).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = expiry => {}
            // Also when nobody can replace it any more.
            _ = self.replaced.changed() => {}
        }
    }
}
