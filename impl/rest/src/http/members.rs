//! How the list of members changes: a node comes, gives up its seats, is gone.
//!
//! Invariants: made twice, a change changes nothing more: a request may be sent again.
//!
//! What it does not do: decide. The list is in a register, and the node changes it. It only asks back where a change
//! looks like a mistake, by what this node knows.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cloakroom_kademlia::Moment;
use cloakroom_node::{Change, ChangeFault, Node, Standing, Zone};
use cloakroom_register::Version;
use cloakroom_server::ServerError;
use cloakroom_wire::{Address, Contact, NodeId, NodeKey};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::cluster::stopped;
use super::request::{Asked, Document, Path, Query, json};
use crate::problem::{Answer, Kind, Problem};

/// Members that a newcomer may be told.
const MOST_OTHERS: usize = 64;
/// Bytes of a zone's name.
const MOST_ZONE: usize = 255;

/// A newcomer's wish.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Joining {
    /// What it fails together with.
    #[schema(min_length = 1, max_length = 255)]
    zone: String,
    /// Members that it can ask, beside the founders.
    #[serde(default)]
    #[schema(max_items = 64)]
    others: Vec<Other>,
}

/// A member that a newcomer can ask.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Other {
    /// Its id, in hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    node: String,
    /// Its public key, in hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    key: String,
    /// Where it listens. (An IPv6 address may also be written shorter.)
    #[schema(
        example = "127.0.0.1:7420",
        pattern = "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}|\\[([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}\\]):([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
    )]
    address: String,
}

/// How a member is taken off the list.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Removing {
    /// Also one that answers and has not been told to drain.
    #[serde(default)]
    #[param(required = false)]
    force: bool,
}

/// The list has the change.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Listed {
    /// The list's version now.
    version: u64,
}

/// Make the node that answers a member
///
/// On the disk that it has, where it listens. Harmless to send again; from then on it may be given seats. A member that
/// drains is refused: to undo that is another request.
#[utoipa::path(
    post, path = "/v1/cluster/members", tag = "cluster", request_body = Joining,
    params(("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$")),
    responses(
        (status = 200, body = Listed),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn join(
    State(app): State<App>,
    asked: Asked,
    Document(body): Document,
) -> Result<Response, Problem> {
    let Joining { zone, others } = json(&body)?;
    if !(1..=MOST_ZONE).contains(&zone.len()) || others.len() > MOST_OTHERS {
        let (bytes, count) = (zone.len(), others.len());
        let detail = format!(
            "expected a zone of 1 to {MOST_ZONE} bytes and at most {MOST_OTHERS} others, got {bytes} \
             and {count}"
        );
        return Err(Problem::new(Kind::MALFORMED, detail));
    }
    let others = others.iter().map(contact).collect::<Result<Vec<_>, _>>()?;
    let known = app.0.server.members().await.map_err(stopped)?;
    if known.roster.standing(known.me) == Some(Standing::Draining) {
        let detail = "this node drains: undo that (`cluster drain --undo`), or, when it has drained, remove it, and \
                      join with a new data folder";
        return Err(Problem::new(Kind::NOT_LISTED, detail));
    }
    let (server, until) = (Arc::clone(&app.0.server), asked.until);
    let work = async move { told(server.join(Zone(zone.into()), others, left_ms(until)).await) };
    Ok(asked.harmless(&app, &body, work).await)
}

/// Have a member give up its seats
///
/// It takes no new ones. When it has none left, as `/v1/cluster` of that node says, it may go. Harmless to
/// send again.
#[utoipa::path(
    post, path = "/v1/cluster/members/{node}/drain", tag = "cluster",
    params(
        ("node" = String, Path, pattern = "^[0-9a-f]{64}$"),
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
    ),
    responses(
        (status = 200, body = Listed),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn drain(
    State(app): State<App>,
    asked: Asked,
    Path(node): Path<String>,
) -> Result<Response, Problem> {
    change(app, asked, Change::Drain(NodeId(point("node", &node)?))).await
}

/// Have a member that drains take seats again
///
/// As long as it was not removed. Seats that it has given up come back to it one by one, where it is among the closest.
/// Harmless to send again.
#[utoipa::path(
    delete, path = "/v1/cluster/members/{node}/drain", tag = "cluster",
    params(
        ("node" = String, Path, pattern = "^[0-9a-f]{64}$"),
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
    ),
    responses(
        (status = 200, body = Listed),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn undo_drain(
    State(app): State<App>,
    asked: Asked,
    Path(node): Path<String>,
) -> Result<Response, Problem> {
    change(app, asked, Change::Activate(NodeId(point("node", &node)?))).await
}

/// Take a member off the list, for ever
///
/// The disk that it has is never let in again: others take its seats at once. For a machine that is lost, or
/// has drained: one that this node has heard lately, and that does not drain, is refused without `force`. Harmless to
/// send again.
#[utoipa::path(
    delete, path = "/v1/cluster/members/{node}", tag = "cluster",
    params(
        ("node" = String, Path, pattern = "^[0-9a-f]{64}$"),
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
        Removing,
    ),
    responses(
        (status = 200, body = Listed),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(
    State(app): State<App>,
    asked: Asked,
    Path(node): Path<String>,
    Query(Removing { force }): Query<Removing>,
) -> Result<Response, Problem> {
    let node = NodeId(point("node", &node)?);
    let is_active = move |now: Moment, here: &Node| {
        let place = here.roster().0.place(node);
        // Who is silent may be lost.
        !here.is_silent(now, node) && place.is_some_and(|place| place.standing == Standing::Active)
    };
    if !force && app.0.server.look(is_active).await.map_err(stopped)? {
        let detail =
            "have it drain first; force=true removes it at once, with what only its disk has";
        return Err(Problem::new(Kind::MEMBER_ACTIVE, detail));
    }
    change(app, asked, Change::Remove(node)).await
}

async fn change(app: App, asked: Asked, change: Change) -> Result<Response, Problem> {
    let (server, until) = (Arc::clone(&app.0.server), asked.until);
    let work = async move { told(server.change(change, left_ms(until)).await) };
    Ok(asked.harmless(&app, &[], work).await)
}

fn left_ms(until: Instant) -> u64 {
    u64::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
}

fn told(ended: Result<Result<Version, ChangeFault>, ServerError>) -> Result<Answer, Problem> {
    match ended {
        Ok(Ok(version)) => Ok(Answer::json(StatusCode::OK, &Listed { version: version.0 })),
        Ok(Err(fault)) => Err(match fault {
            ChangeFault::Unknown => Problem::unknown(fault, None),
            ChangeFault::Unreachable | ChangeFault::Newer => Problem::new(Kind::UNAVAILABLE, fault),
            ChangeFault::NoMember(_) => Problem::new(Kind::NO_SUCH_MEMBER, fault),
            _ => Problem::new(Kind::NOT_LISTED, fault),
        }),
        // REST-2
        Err(stopped) => Err(Problem::unknown(stopped, None)),
    }
}

fn contact(other: &Other) -> Result<Contact, Problem> {
    let address: std::net::SocketAddr = other.address.parse().map_err(|_| {
        let detail = format!("address: expected ADDRESS:PORT, got {:?}", other.address);
        Problem::new(Kind::MALFORMED, detail)
    })?;
    Ok(Contact {
        id: NodeId(point("node", &other.node)?),
        key: NodeKey(point("key", &other.key)?),
        address: Address::from(address),
    })
}

/// 32 bytes in hexadecimal.
pub(super) fn point(what: &str, text: &str) -> Result<[u8; 32], Problem> {
    let wrong = || {
        let detail = format!("{what}: expected 64 hexadecimal digits, got {text:?}");
        Problem::new(Kind::MALFORMED, detail)
    };
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() == 64).ok_or_else(wrong)?;
    let mut point = [0; 32];
    for (byte, pair) in point.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(point)
}
