//! One attempt of an operation, at whoever can run it: here, or at another member of the key's slot.
//!
//! Invariants:
//! * REG-8: an operation that nobody has begun is unavailable, or stays unknown and bound as before; one
//!   that may have been begun, and of which nothing is heard any more, is lost, or unknown if it is known
//!   what it is bound to;
//! * REG-14: which view is asked decides only where the attempt is made. Whoever runs it sits in its own.
//!
//! What it does not do: try again. [`Attempts`](cloakroom_register::Attempts) says when that is right.

use std::net::SocketAddr;
use std::time::Duration;

use cloakroom_register::{Call, Operation, Outcome, View};
use cloakroom_wire::NodeId;
use tokio::sync::mpsc::{Receiver, WeakSender};
use tokio::time::Instant;
use tracing::debug;

use crate::call::{Question, decode_reply, encode_reply};
use crate::server::{Job, Reply, Server, call};
use crate::transport::{Asked, Unanswered};

/// Each newer view that is heard of on the way is followed, so many times.
const MOST_VIEWS: usize = 4;
/// Who was not heard for so long is asked last.
const SILENT_MS: u64 = 3000;
/// Over the time that the other side takes.
const JOURNEY: Duration = Duration::from_millis(250);

/// What becomes of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It has ended.
    Ended(Outcome),
    /// Nobody will say how it has ended.
    Lost,
}

/// What one member has said.
enum Said {
    Ended(Attempt),
    Elsewhere(View),
    Nothing,
}

impl Server {
    /// Runs one attempt of an operation, wherever that can be done.
    pub async fn attempt(&self, operation: &Operation, patience_ms: u64) -> Attempt {
        let until = Instant::now() + Duration::from_millis(patience_ms);
        let mut view = match self.call(operation.clone(), patience_ms).await {
            Ok(Reply::Ended(outcome)) => return Attempt::Ended(outcome),
            Ok(Reply::Elsewhere(view)) => view,
            Err(_) => return lost(operation),
        };
        for _ in 0..MOST_VIEWS {
            let mut newer = None;
            for (node, address) in self.order(&view).await {
                match self.ask(node, address, operation, until).await {
                    Said::Ended(attempt) => return attempt,
                    Said::Elsewhere(other) if other.epoch() > view.epoch() => {
                        newer = Some(other);
                        break;
                    }
                    Said::Elsewhere(_) | Said::Nothing => {}
                }
            }
            match newer {
                Some(newer) => view = newer,
                None => break,
            }
        }
        Attempt::Ended(operation.bound.map_or(Outcome::Unavailable, Outcome::Unknown))
    }

    /// The other members of a view, those that were heard of lately first.
    async fn order(&self, view: &View) -> Vec<(NodeId, SocketAddr)> {
        let own = self.contact().id;
        let members: Vec<NodeId> = view.members().iter().map(|member| member.node).collect();
        let look = move |now: cloakroom_kademlia::Moment, node: &cloakroom_node::Node| {
            let others = members.into_iter().filter(|member| *member != own);
            let mut known: Vec<(bool, NodeId, SocketAddr)> = others
                .filter_map(|member| {
                    let heard = node.heard_at(member);
                    let silent = heard.is_none_or(|at| now.since_ms(at) > SILENT_MS);
                    Some((silent, member, node.contact_of(member)?.address.into()))
                })
                .collect();
            known.sort_by_key(|(silent, ..)| *silent);
            known.into_iter().map(|(_, node, address)| (node, address)).collect()
        };
        self.look(look).await.unwrap_or_default()
    }

    async fn ask(
        &self,
        node: NodeId,
        address: SocketAddr,
        operation: &Operation,
        until: Instant,
    ) -> Said {
        let left = until.saturating_duration_since(Instant::now());
        // A get may be tried at the next member while there is time.
        let left = if operation.call == Call::Get { left / 2 } else { left };
        let patience_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let question = Question { operation: operation.clone(), patience_ms }.encode();
        match self.transport.ask(node, address, &question, left + JOURNEY).await {
            Ok(answer) => match decode_reply(&answer) {
                Some(Reply::Ended(outcome)) => Said::Ended(Attempt::Ended(outcome)),
                Some(Reply::Elsewhere(view)) => Said::Elsewhere(view),
                None => Said::Ended(lost(operation)),
            },
            Err(Unanswered::NotSent(cause)) => {
                debug!(peer = %node, %cause, "was not asked");
                Said::Nothing
            }
            Err(Unanswered::Lost(cause)) => {
                debug!(peer = %node, %cause, "has not answered");
                // A get that is made twice is one get.
                if operation.call == Call::Get {
                    Said::Nothing
                } else {
                    Said::Ended(lost(operation))
                }
            }
        }
    }
}

/// It may have been begun. An attempt never binds to another version than the one before it.
fn lost(operation: &Operation) -> Attempt {
    operation.bound.map_or(Attempt::Lost, |bound| Attempt::Ended(Outcome::Unknown(bound)))
}

/// Runs what peers ask for, as long as the node is there.
pub(crate) async fn answer(mut asked: Receiver<Asked>, jobs: WeakSender<Job>) {
    while let Some(Asked { from, question, answer }) = asked.recv().await {
        let Some(jobs) = jobs.upgrade() else { return };
        let Some(Question { operation, patience_ms }) = Question::decode(&question) else {
            debug!(peer = %from, "asked what cannot be read");
            continue;
        };
        tokio::spawn(async move {
            if let Ok(reply) = call(&jobs, operation, patience_ms).await {
                // Who has asked may have gone.
                let _ = answer.send(encode_reply(&reply));
            }
        });
    }
}
