//! One node: its connections, how fast it is, one attempt.
//!
//! Invariants: CLIENT-1: an attempt of which not even the head was sent was not made; every other one without
//! an answer may have been carried out.
//!
//! What it does not do: try again.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom_kademlia::Choice;
use cloakroom_wire::{Address, Contact, NodeId, NodeKey};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

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
    Lost(String),
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
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
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, state: Mutex::default() }
    }

    /// As the strategies see it; `number` is its place in the list.
    pub(crate) fn choice(&self, number: usize) -> Choice {
        let state = self.lock();
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let contact =
            Contact { id: NodeId(id), address: Address::from(self.address), key: NodeKey(id) };
        Choice { contact, weight: 1, outstanding: state.outstanding, rtt_us: state.rtt_us }
    }

    /// One attempt.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<Got, Failed> {
        let begun = Instant::now();
        self.lock().outstanding += 1;
        let _under_way = UnderWay(self);
        let until = begun + patience;
        let late = |_| Failed::NotSent("no connection in time".to_string());
        let connection =
            tokio::time::timeout_at(until, self.connection()).await.map_err(late)??;
        let late = |_| Failed::Lost("no answer in time".to_string());
        let (connection, got) =
            tokio::time::timeout_at(until, exchange(connection, request)).await.map_err(late)??;
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
        let stream = TcpStream::connect(self.address).await.map_err(|it| not_sent(&it))?;
        stream.set_nodelay(true).map_err(|it| not_sent(&it))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|it| not_sent(&it))?;
        // What goes wrong there is told to whoever waits for an answer.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
    }

    /// No code that holds the lock can leave what it guards half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
