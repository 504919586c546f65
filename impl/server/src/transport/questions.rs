//! Questions for a newer certificate, each on a stream of its own: asked, and answered.
//!
//! Invariants:
//! * NET-5: what is asked for follows from the connection alone: a certificate is for whoever has shown one on it;
//! * NET-3: a peer has one question on a connection at a time, is answered a few in a minute over all of its
//!   connections, and one is worked on at a time in all.
//!
//! What it does not do: judge who gets one, or what comes back (`renewal.rs`).

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cloakroom_wire::{MAX_RENEWAL_BYTES, NodeId, RENEW, Renewal};
use governor::clock::MonotonicClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use quinn::{Connection, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::incoming::shown;
use super::peers::connect;
use super::{Shared, lock};
use crate::authority::Authority;
use crate::error::Error;

/// Questions of one peer that are answered in a minute. Who is refused, or loses the answer, waits longer than that.
const A_MINUTE: NonZeroU32 = const { NonZeroU32::new(6).expect("not zero") };
/// Of a question, also of a newer node.
const MOST_BYTES: usize = 64;
/// A question is there, and an answer is taken, within this time.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer takes no longer: others may be before us.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Who answers, and how often.
#[derive(Debug)]
pub(crate) struct Questions {
    /// The authority's folder, if it is here.
    authority: OnceLock<PathBuf>,
    rates: RateLimiter<NodeId, HashMapStateStore<NodeId>, MonotonicClock>,
    /// Each reads the authority's folder as a whole.
    turn: Mutex<()>,
}

impl Default for Questions {
    fn default() -> Self {
        let rates = Quota::per_minute(A_MINUTE);
        Self {
            authority: OnceLock::new(),
            rates: RateLimiter::new(rates, HashMapStateStore::default(), MonotonicClock),
            turn: Mutex::default(),
        }
    }
}

impl Questions {
    /// Only the first folder ever counts; whether it is this one.
    pub(crate) fn answer_with(&self, authority: PathBuf) -> bool {
        self.authority.set(authority).is_ok()
    }
}

/// Answers what a peer asks, one question after the other, until the connection ends.
pub(crate) async fn answer(shared: Arc<Shared>, connection: Connection, id: NodeId) {
    // Whoever calls this has looked at it.
    let Some(shown) = shown(&connection) else { return };
    while let Ok((send, recv)) = connection.accept_bi().await {
        let answered = timeout(STREAM_TIMEOUT, read(recv)).await;
        let Ok(Some(question)) = answered else { continue };
        let answer = consider(&shared, id, &shown, &question).await;
        if timeout(STREAM_TIMEOUT, write(send, &answer)).await.is_err() {
            debug!(peer = %id, "took no answer");
        }
    }
}

/// A question, or what might be one of a newer node.
async fn read(mut recv: RecvStream) -> Option<Vec<u8>> {
    recv.read_to_end(MOST_BYTES).await.ok()
}

async fn write(mut send: SendStream, answer: &[u8]) {
    // Who has gone needs no answer.
    if send.write_all(answer).await.is_ok() && send.finish().is_ok() {
        // The next question comes when this one is over.
        let _ = send.stopped().await;
    }
}

async fn consider(
    shared: &Shared,
    id: NodeId,
    shown: &CertificateDer<'static>,
    question: &[u8],
) -> Vec<u8> {
    let Questions { authority, rates, turn } = &shared.questions;
    let refused = |why: &str| {
        warn!(peer = %id, why, "refused to renew a certificate");
        // It is cut to what may be sent.
        Renewal::refused(why).encode().unwrap_or_default()
    };
    // NET-3: before anything is looked at; who has been silent for a while is forgotten.
    if rates.len() > shared.limits.connections {
        rates.retain_recent();
    }
    if rates.check_key(&id).is_err() {
        return Renewal::Refused("too many questions: ask again later")
            .encode()
            .unwrap_or_default();
    }
    if question != RENEW {
        return refused("the question is not understood");
    }
    let Some(folder) = authority.get().cloned() else {
        return Renewal::NotHere.encode().unwrap_or_default();
    };
    let _turn = turn.lock().await;
    let certificate = shown.clone();
    let issued = tokio::task::spawn_blocking(move || {
        let issued = Authority::open(&folder)?.renew_shown(&certificate)?;
        Ok::<_, Error>((issued.der()?, issued.serial))
    });
    match issued.await {
        Ok(Ok((der, serial))) => {
            info!(peer = %id, serial, "has renewed a peer's certificate");
            Renewal::Renewed(&der).encode().unwrap_or_else(|cause| refused(&cause.to_string()))
        }
        Ok(Err(cause)) => refused(&cause.to_string()),
        Err(cause) => refused(&cause.to_string()),
    }
}

/// What a peer answers to the question for a newer certificate.
pub(crate) async fn ask(
    shared: &Arc<Shared>,
    to: NodeId,
    address: SocketAddr,
) -> Result<Vec<u8>, String> {
    let known = lock(&shared.peers).newest(to);
    let connection = match known {
        Some(connection) => connection,
        None => connect(shared, to, address).await?,
    };
    let exchange = async {
        // An older node never gives a stream.
        let (mut send, mut recv) = connection.open_bi().await.map_err(|it| it.to_string())?;
        send.write_all(&RENEW).await.map_err(|it| it.to_string())?;
        // Cannot fail: the stream is ours, and finished once.
        let _ = send.finish();
        recv.read_to_end(MAX_RENEWAL_BYTES).await.map_err(|it| it.to_string())
    };
    timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| "no answer".to_string())?
}
