//! One node: its connections, how fast it is, one attempt.
//!
//! Invariants: CLIENT-1: an attempt of which not even the head was sent was not made; every other one without
//! an answer may have been carried out.
//!
//! What it does not do: try again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom_kademlia::Choice;
use cloakroom_wire::{Address, Contact, NodeId, NodeKey};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::retry::hashed;
use crate::trust::distrust;

/// Connections that wait for their next request.
const MOST_IDLE: usize = 64;
/// More than the largest page of a list.
const MOST_BYTES: usize = 64 << 20;

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    NotSent(String),
    /// Not sent, and it will not be until somebody has another certificate.
    Distrusted(String),
    Lost(String),
}

/// How a node is reached.
#[derive(Debug)]
pub(crate) enum Way {
    Plain,
    Tls(ServerName<'static>, Arc<ClientConfig>),
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    /// `HOST:PORT`
    pub(crate) name: String,
    way: Way,
    /// If the host is an address.
    address: SocketAddr,
    id: [u8; 32],
    /// Its strength beside the others'.
    weight: u16,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<SendRequest<Full<Bytes>>>,
    outstanding: u16,
    /// Smoothed; zero: not measured.
    rtt_us: u32,
}

impl Endpoint {
    pub(crate) fn new(name: String, way: Way, weight: u16) -> Self {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let address = name.parse().unwrap_or(nowhere);
        let id = hashed(name.as_bytes());
        Self { name, way, address, id, weight, state: Mutex::default() }
    }

    /// As the strategies see it. Its id is the same for all clients that name it so.
    pub(crate) fn choice(&self) -> Choice {
        let state = self.lock();
        let (id, weight) = (self.id, self.weight);
        let contact =
            Contact { id: NodeId(id), address: Address::from(self.address), key: NodeKey(id) };
        Choice { contact, weight, outstanding: state.outstanding, rtt_us: state.rtt_us }
    }

    /// One attempt.
    ///
    /// It is given up if there is no connection after so long, or no answer after so long.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        connected: Duration,
        answered: Duration,
    ) -> Result<Got, Failed> {
        let begun = Instant::now();
        self.lock().outstanding += 1;
        let _under_way = UnderWay(self);
        let late = |_| Failed::NotSent("no connection in time".to_string());
        let connecting = tokio::time::timeout_at(begun + connected, self.connection());
        let connection = connecting.await.map_err(late)??;
        let late = |_| Failed::Lost("no answer in time".to_string());
        let exchanging = tokio::time::timeout_at(begun + answered, exchange(connection, request));
        let (connection, got) = exchanging.await.map_err(late)??;
        let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX).max(1);
        let mut state = self.lock();
        state.rtt_us =
            if state.rtt_us == 0 { took } else { state.rtt_us / 8 * 7 + took / 8 }.max(1);
        if state.idle.len() < MOST_IDLE {
            state.idle.push(connection);
        }
        Ok(got)
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, Failed> {
        loop {
            let Some(mut idle) = self.lock().idle.pop() else { break };
            // One that the node has closed is no use.
            if !idle.is_closed() && idle.ready().await.is_ok() {
                return Ok(idle);
            }
        }
        let not_sent = |cause: &dyn std::fmt::Display| Failed::NotSent(cause.to_string());
        let stream = TcpStream::connect(&self.name).await.map_err(|it| not_sent(&it))?;
        stream.set_nodelay(true).map_err(|it| not_sent(&it))?;
        match &self.way {
            Way::Plain => speak(stream).await,
            Way::Tls(host, config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(host.clone(), stream).await.map_err(|error| {
                    let cause = distrust(&error).map(Failed::Distrusted);
                    cause.unwrap_or_else(|| not_sent(&error))
                })?;
                speak(stream).await
            }
        }
    }

    /// No code that holds the lock can leave what it guards half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Failed>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let made = handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|error| Failed::NotSent(error.to_string()))?;
    // What goes wrong there is told to whoever waits for an answer.
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

async fn exchange(
    mut connection: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(SendRequest<Full<Bytes>>, Got), Failed> {
    let lost = |cause: &dyn std::fmt::Display| Failed::Lost(cause.to_string());
    let response = match connection.try_send_request(request).await {
        Ok(response) => response,
        Err(mut error) => {
            // CLIENT-1: handed back whole, so nothing of it was sent.
            let whole = error.take_message().is_some();
            let cause = error.into_error();
            // CLIENT-1: the server has ended the handshake, and read no request.
            if let Some(cause) = distrust(&cause) {
                return Err(Failed::Distrusted(cause));
            }
            return Err(if whole { Failed::NotSent(cause.to_string()) } else { lost(&cause) });
        }
    };
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|it| lost(&it))?.to_bytes();
    Ok((connection, Got { status: head.status, headers: head.headers, body }))
}

struct UnderWay<'a>(&'a Endpoint);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().outstanding -= 1;
    }
}
