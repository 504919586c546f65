//! What has happened in the cluster lately.
//!
//! Invariants: it is told also when the disk has failed.
//!
//! What it does not do: see; `crate::events` does.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::pools::limit;
use super::request::Query;
use crate::events::{Event, MOST};
use crate::problem::Problem;

/// Events, the newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Events {
    /// The last of them.
    events: Vec<Event>,
}

/// How many.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Most {
    /// At most so many.
    #[param(minimum = 1, maximum = 256)]
    limit: Option<u64>,
}

/// What has happened in the cluster lately, as the node has seen it since its start
///
/// At most 256 events are kept, in memory.
#[utoipa::path(
    get, path = "/v1/cluster/events", tag = "cluster", params(Most),
    responses(
        (status = 200, body = Events),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn events(
    State(app): State<App>,
    Query(most): Query<Most>,
) -> Result<axum::Json<Events>, Problem> {
    Ok(axum::Json(Events { events: app.0.events.last(limit(most.limit, MOST)?) }))
}
