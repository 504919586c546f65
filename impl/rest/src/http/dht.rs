//! The nodes of the DHT: who is closest to a point, and who answers.
//!
//! Invariants: what stands here is a hint, and of one node; nothing else reads it.
//!
//! What it does not do: say who is a member; `cluster.rs` does.

use axum::extract::State;
use cloakroom_kademlia::Event;
use cloakroom_wire::{Contact, NodeId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::members::point;
use super::records::{event, place, unavailable};
use super::request::{Asked, Path, Query};
use crate::hex;
use crate::problem::{Kind, Problem};

/// To what.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    /// A node's id, or any other point, in hexadecimal.
    #[param(pattern = "^[0-9a-f]{64}$")]
    id: String,
}

/// A node, seen from a point.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Near {
    /// Its id, in hexadecimal.
    node: String,
    /// Where its peers reach it.
    address: String,
    /// Its id and the point, by exclusive or, in hexadecimal: the smaller, the closer.
    distance: String,
    /// Whether it is the node that answers.
    own: bool,
}

/// Who is closest to a point.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Closest {
    /// The point, in hexadecimal.
    id: String,
    /// The closest that answered, the closest first.
    nodes: Vec<Near>,
    /// How many were asked.
    asked: u32,
    /// How long it took.
    took_us: u64,
}

/// A node has answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Pinged {
    /// Its id, in hexadecimal.
    node: String,
    /// Where it was asked.
    address: String,
    /// From the question to the answer.
    round_trip_us: u64,
}

/// The nodes of the DHT that are closest to a point
#[utoipa::path(
    get, path = "/v1/dht/nodes", tag = "dht", params(Target),
    responses(
        (status = 200, body = Closest),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn closest(
    State(app): State<App>,
    asked: Asked,
    Query(target): Query<Target>,
) -> Result<axum::Json<Closest>, Problem> {
    closest_to(&app, &asked, NodeId(point("id", &target.id)?)).await
}

/// The nodes of the DHT that are closest to a record's key
///
/// Those that ought to hold the record come first.
#[utoipa::path(
    get, path = "/v1/records/{key}/nodes", tag = "dht",
    params(("key" = String, Path, min_length = 1)),
    responses(
        (status = 200, body = Closest),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn closest_to_record(
    State(app): State<App>,
    asked: Asked,
    Path(key): Path<String>,
) -> Result<axum::Json<Closest>, Problem> {
    closest_to(&app, &asked, place(&key).point()).await
}

async fn closest_to(
    app: &App,
    asked: &Asked,
    target: NodeId,
) -> Result<axum::Json<Closest>, Problem> {
    let (mut found, asked, took_us) = find_node(app, asked, target).await?;
    let own = app.0.server.contact();
    // A lookup is about the others.
    let k = app.0.server.look(|_, node| usize::from(node.dht().parameters().k)).await;
    let k = k.map_err(unavailable)?;
    found.push(own);
    found.sort_by_key(|contact| contact.id.distance(target));
    found.truncate(k);
    let near = |contact: &Contact| Near {
        node: hex(&contact.id.0),
        address: contact.address.to_string(),
        distance: hex(&std::array::from_fn::<u8, 32, _>(|at| contact.id.0[at] ^ target.0[at])),
        own: contact.id == own.id,
    };
    let nodes = found.iter().map(near).collect();
    Ok(axum::Json(Closest { id: hex(&target.0), nodes, asked, took_us }))
}

async fn find_node(
    app: &App,
    asked: &Asked,
    target: NodeId,
) -> Result<(Vec<Contact>, u32, u64), Problem> {
    match event(asked.until, app.0.server.find_node(target)).await? {
        Event::Found { closest, cost, .. } => {
            Ok((closest, u32::from(cost.lookup.asked), cost.took_us))
        }
        other => unreachable!("a lookup ended with {other:?}"),
    }
}

/// Ask a node of the DHT whether it lives
///
/// How long its answer takes, as this node sees it: encryption, the network, and what the two have to do beside.
#[utoipa::path(
    post, path = "/v1/dht/nodes/{node}/ping", tag = "dht",
    params(("node" = String, Path, pattern = "^[0-9a-f]{64}$")),
    responses(
        (status = 200, body = Pinged),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 502, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn ping(
    State(app): State<App>,
    asked: Asked,
    Path(node): Path<String>,
) -> Result<axum::Json<Pinged>, Problem> {
    let id = NodeId(point("node", &node)?);
    let server = &app.0.server;
    let told = |contact: Contact, round_trip_us| {
        let (node, address) = (hex(&contact.id.0), contact.address.to_string());
        Ok(axum::Json(Pinged { node, address, round_trip_us }))
    };
    if id == server.contact().id {
        return told(server.contact(), 0);
    }
    let contact = if let Some(contact) = server.contact_of(id).await.map_err(unavailable)? {
        contact
    } else {
        let (found, asked, _) = find_node(&app, &asked, id).await?;
        found.into_iter().find(|contact| contact.id == id).ok_or_else(|| {
            let detail = format!("got {id:#}: neither this node nor {asked} others know it");
            Problem::new(Kind::NO_SUCH_NODE, detail)
        })?
    };
    match event(asked.until, server.ping(contact)).await? {
        Event::Answered { took_us, .. } => told(contact, took_us),
        Event::Unanswered { waited_us, .. } => {
            let trouble = server.trouble(id).map(|why| format!("; the last connection: {why}"));
            let (address, ms) = (contact.address, waited_us / 1000);
            let detail =
                format!("no answer from {address} in {ms} ms{}", trouble.unwrap_or_default());
            Err(Problem::new(Kind::UNREACHABLE, detail))
        }
        other => unreachable!("a ping ended with {other:?}"),
    }
}
