//! Questions with answers, each in a stream of its own, over the same connections as messages.
//!
//! Invariants:
//! * NET-1: a question goes to the node that was named, or to nobody, as a message does;
//! * REG-8: of a question that was not sent whole it is said that it was not sent; of every other one
//!   without an answer, that it is lost: it may have been carried out;
//! * NET-3: a peer's questions are bounded by QUIC's flow control, and one has a place before it is read.
//!
//! What it does not do: understand what is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloakroom_wire::{MAX_MESSAGE_BYTES, NodeId};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::debug;

use super::incoming::READ_TIMEOUT;
use super::peers::connect;
use super::{Shared, Transport, lock};

/// What a peer asks.
#[derive(Debug)]
pub struct Asked {
    /// Who asks, as its certificate proves.
    pub from: NodeId,
    /// What.
    pub question: Vec<u8>,
    /// For the answer. Dropped: there is none.
    pub answer: oneshot::Sender<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It was not sent, or not whole: nobody acts on it.
    NotSent(String),
    /// It may have been carried out.
    Lost(String),
}

impl Transport {
    /// Asks a peer, and waits for its answer.
    ///
    /// # Errors
    /// [`Unanswered`]
    pub async fn ask(
        &self,
        to: NodeId,
        address: SocketAddr,
        question: &[u8],
        patience: Duration,
    ) -> Result<Vec<u8>, Unanswered> {
        let not_sent = |cause: &dyn std::fmt::Display| Unanswered::NotSent(cause.to_string());
        let late = || Unanswered::NotSent("no connection in time".to_string());
        let until = tokio::time::Instant::now() + patience;
        let sending = async {
            let known = lock(&self.shared.peers).newest(to);
            let connection = match known {
                Some(connection) => connection,
                None => connect(&self.shared, to, address).await.map_err(|it| not_sent(&it))?,
            };
            let (mut send, receive) = connection.open_bi().await.map_err(|it| not_sent(&it))?;
            send.write_all(question).await.map_err(|it| not_sent(&it))?;
            Ok((connection, send, receive))
        };
        let (connection, mut send, mut receive) =
            tokio::time::timeout_at(until, sending).await.map_err(|_| late())??;
        // From here on the peer may have it whole.
        let _ = send.finish();
        let answer = tokio::time::timeout_at(until, receive.read_to_end(MAX_MESSAGE_BYTES)).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if connection.close_reason().is_some() {
                    lock(&self.shared.peers).remove(to, connection.stable_id());
                }
                Err(Unanswered::Lost(error.to_string()))
            }
            Err(_) => Err(Unanswered::Lost("no answer in time".to_string())),
        }
    }
}

/// Reads a question, and writes its answer.
pub(super) async fn answer(
    shared: Arc<Shared>,
    mut send: SendStream,
    mut receive: RecvStream,
    from: NodeId,
    connection: Connection,
) {
    let (sender, answered) = oneshot::channel();
    {
        // NET-3: as with messages. Closed: the node is gone.
        let Ok(place) = shared.questions.reserve().await else { return };
        match timeout(READ_TIMEOUT, receive.read_to_end(MAX_MESSAGE_BYTES)).await {
            Ok(Ok(question)) => place.send(Asked { from, question, answer: sender }),
            other => {
                debug!(peer = %from, ?other, "sent no whole question");
                return;
            }
        }
    }
    let answer = tokio::select! {
        answer = answered => answer,
        // Nobody is there any more to be answered.
        _ = connection.closed() => return,
    };
    // Dropped without an answer: the stream is reset, and whoever asks knows that it is lost.
    let Ok(answer) = answer else { return };
    if let Err(error) = send.write_all(&answer).await {
        debug!(peer = %from, %error, "an answer was lost");
    }
    let _ = send.finish();
}
