//! Who is there: members, slots, views, as far as this node has heard.
//!
//! Invariants: what stands here is a hint, and of one node; nothing else reads it.
//!
//! What it does not do: change who is a member; `members.rs` does.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::extract::State;
use cloakroom_kademlia::Moment;
use cloakroom_node::{Genesis, Node, Place, Standing as PlaceStanding};
use cloakroom_register::{Life as ReplicaLife, Member as Seated, Slot as SlotNumber};
use cloakroom_wire::{Contact, NodeId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::pools::limit;
use super::request::Query;
use crate::hex;
use crate::problem::{Kind, Problem};

const MOST_LISTED: usize = 1024;

/// A member.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Member {
    /// Its id, in hexadecimal.
    node: String,
    /// Where its peers reach it.
    address: String,
    /// Its public key, in hexadecimal.
    key: String,
    /// Which life of its disk, in hexadecimal.
    incarnation: String,
    /// What it fails together with.
    zone: String,
    /// How it stands.
    standing: Standing,
    /// Of how many slots it is a member, in the newest views that this node has heard of.
    seats: u64,
    /// Whether it is the node that answers.
    own: bool,
    /// How long ago this node has heard of it; nothing if it never has.
    heard_ms_ago: Option<u64>,
    /// Whether this node has not heard of it for so long that it takes it for gone; for one that it never has heard of,
    /// since its start.
    silent: bool,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// Takes seats.
    Active,
    /// Takes no new seats, and gives up those that it has.
    Draining,
}

/// A cluster.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "as it stands in the JSON")]
pub(super) struct Cluster {
    /// Its id.
    cluster: String,
    /// The node that answers.
    node: String,
    /// How many slots it has.
    slots: u64,
    /// How many members a slot ought to have.
    replicas: u64,
    /// The version of the list of members; zero is the genesis's.
    version: u64,
    /// All members.
    members: Vec<Member>,
    /// Whether the node that answers has drained: it has no seat, and none that it may still be asked
    /// for.
    drained: bool,
}

/// What this node's replica of a slot does.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Life {
    /// It takes over what the view before it has.
    Learner,
    /// It votes.
    Active,
    /// It votes no more: a newer view has taken over, or is about to.
    Sealed,
    /// It has nothing left.
    Retired,
}

/// A slot, in the newest view that this node has heard of.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "as it stands in the JSON")]
pub(super) struct Slot {
    /// Its number.
    slot: u16,
    /// Which view.
    epoch: u32,
    /// The view's members, in hexadecimal.
    members: Vec<String>,
    /// What this node's replica in that view does, if it has one.
    life: Option<Life>,
}

/// Slots, in order.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Slots {
    /// Some of them.
    slots: Vec<Slot>,
    /// The `after` of the next page, if there is one.
    next: Option<u16>,
}

/// Which page.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Slots behind this one.
    #[param(maximum = 65_535)]
    after: Option<u16>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1024)]
    limit: Option<u64>,
}

/// Who is in the cluster
#[utoipa::path(
    get, path = "/v1/cluster", tag = "cluster",
    responses(
        (status = 200, body = Cluster),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn members(State(app): State<App>) -> Result<axum::Json<Cluster>, Problem> {
    let genesis = app.0.genesis.clone();
    let Contact { id: own, address: listens, .. } = app.0.server.contact();
    let look = move |now: Moment, node: &Node| {
        let (roster, version) = node.roster();
        let seats = seats(node, &genesis);
        let member = |place: &Place| {
            let contact = place.contact;
            // The member of a cluster of one is listed without a port: it takes any that is free.
            let is_anywhere = contact.id == own && SocketAddr::from(contact.address).port() == 0;
            let address = if is_anywhere { listens } else { contact.address };
            let heard = node.heard_at(contact.id).map(|at| now.0.saturating_sub(at.0) / 1000);
            Member {
                node: hex(&contact.id.0),
                address: address.to_string(),
                key: hex(&contact.key.0),
                incarnation: format!("{:016x}", place.member.incarnation.0),
                zone: place.zone.0.to_string(),
                standing: match place.standing {
                    PlaceStanding::Active => Standing::Active,
                    PlaceStanding::Draining => Standing::Draining,
                },
                seats: seats.get(&contact.id).copied().unwrap_or(0),
                own: contact.id == own,
                heard_ms_ago: heard,
                silent: node.is_silent(now, contact.id),
            }
        };
        (roster.places().map(member).collect(), version.0, node.is_drained())
    };
    let (members, version, drained) = app.0.server.look(look).await.map_err(stopped)?;
    Ok(axum::Json(Cluster {
        cluster: app.0.cluster.clone(),
        node: hex(&own.0),
        slots: app.0.genesis.slots().count() as u64,
        replicas: app.0.genesis.replicas() as u64,
        version,
        members,
        drained,
    }))
}

/// Of how many slots each node is a member.
fn seats(node: &Node, genesis: &Genesis) -> BTreeMap<NodeId, u64> {
    let mut seats = BTreeMap::new();
    for slot in genesis.slots() {
        let newest = node.registers().newest(slot).cloned();
        for member in newest.unwrap_or_else(|| genesis.view(slot)).members() {
            *seats.entry(member.node).or_insert(0) += 1;
        }
    }
    seats
}

/// Which members the slots have
#[utoipa::path(
    get, path = "/v1/cluster/slots", tag = "cluster", params(Page),
    responses(
        (status = 200, body = Slots),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn slots(
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Slots>, Problem> {
    let limit = limit(page.limit, MOST_LISTED)?;
    let genesis = app.0.genesis.clone();
    let look = move |_: Moment, node: &Node| {
        let wanted = genesis.slots().filter(|slot| page.after.is_none_or(|after| slot.0 > after));
        let mut wanted = wanted.peekable();
        let slots: Vec<Slot> =
            wanted.by_ref().take(limit).map(|at| slot(node, &genesis, at)).collect();
        let next = slots.last().map(|slot| slot.slot).filter(|_| wanted.peek().is_some());
        Slots { slots, next }
    };
    Ok(axum::Json(app.0.server.look(look).await.map_err(stopped)?))
}

fn slot(node: &Node, genesis: &Genesis, slot: SlotNumber) -> Slot {
    let registers = node.registers();
    let view = registers.newest(slot).cloned().unwrap_or_else(|| genesis.view(slot));
    let life = registers.replica(slot, view.epoch()).map(|replica| match replica.durable().life {
        ReplicaLife::Learner { .. } => Life::Learner,
        ReplicaLife::Active => Life::Active,
        ReplicaLife::Sealed { .. } => Life::Sealed,
        ReplicaLife::Retired { .. } => Life::Retired,
    });
    let members = view.members().iter().map(|member: &Seated| hex(&member.node.0)).collect();
    Slot { slot: slot.0, epoch: view.epoch().0, members, life }
}

pub(super) fn stopped(error: cloakroom_server::ServerError) -> Problem {
    Problem::new(Kind::UNAVAILABLE, error)
}
