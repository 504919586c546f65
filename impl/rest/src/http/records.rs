//! Records of the DHT: replicated, expiring, eventually consistent. Nothing here is atomic.
//!
//! Invariants: records and atomic keys never mix: a record's key is hashed, and goes another way.
//!
//! What it does not do: anything that is atomic, or lasts for ever.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cloakroom_kademlia::Event;
use cloakroom_server::ServerError;
use cloakroom_wire::{OwnedContent, OwnedFields, OwnedRecord, RecordKey};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::request::{Asked, Body, Path, Query};
use crate::hex;
use crate::problem::{Answer, Kind, Problem};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A record as it was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Record {
    /// The node that wrote it, in hexadecimal.
    origin: String,
    /// Its count of writes: the higher one is newer.
    sequence: u64,
    /// How long it still lives.
    expires_in_ms: u64,
    /// The value, if it is UTF-8.
    value: Option<String>,
    /// The value in hexadecimal.
    value_hex: String,
}

/// What was found under a key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Records {
    /// One of each origin.
    records: Vec<Record>,
}

/// What became of a record.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Published {
    /// Its sequence number.
    sequence: u64,
    /// How many nodes hold it now.
    holders: u8,
}

/// How long.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Life {
    /// How long the record shall live; a day if it is not said.
    #[param(minimum = 1, maximum = 86_400_000)]
    ttl_ms: Option<u64>,
}

/// The records under a key
#[utoipa::path(
    get, path = "/v1/records/{key}", tag = "records",
    params(("key" = String, Path, min_length = 1)),
    responses(
        (status = 200, body = Records),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(app): State<App>,
    asked: Asked,
    Path(key): Path<String>,
) -> Result<axum::Json<Records>, Problem> {
    let records = match event(asked.until, app.0.server.find_value(place(&key))).await? {
        Event::Value { records, .. } => records,
        _ => Vec::new(),
    };
    let records: Vec<Record> = records.iter().filter_map(shown).collect();
    if records.is_empty() {
        return Err(Problem::new(Kind::NO_SUCH_RECORD, format!("got {key:?}")));
    }
    Ok(axum::Json(Records { records }))
}

fn shown(record: &OwnedRecord) -> Option<Record> {
    let OwnedContent::Value(value) = &record.content else { return None };
    Some(Record {
        origin: hex(&record.origin.0),
        sequence: record.sequence,
        expires_in_ms: record.expires_in_ms,
        value: std::str::from_utf8(value).ok().map(str::to_owned),
        value_hex: hex(value),
    })
}

/// Give a record to its holders
///
/// A later one of the same node replaces it. Harmless to send again.
#[utoipa::path(
    put, path = "/v1/records/{key}", tag = "records",
    params(
        ("key" = String, Path, min_length = 1), Life,
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "at most 65,536 bytes"),
    responses(
        (status = 200, body = Published),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn write(
    State(app): State<App>,
    asked: Asked,
    Path(key): Path<String>,
    Query(life): Query<Life>,
    Body(value): Body,
) -> Result<Response, Problem> {
    let expires_in_ms = life.ttl_ms.unwrap_or(DAY_MS);
    if !(1..=DAY_MS).contains(&expires_in_ms) {
        let detail = format!("ttl_ms: expected 1 to {DAY_MS}, got {expires_in_ms}");
        return Err(Problem::new(Kind::MALFORMED, detail));
    }
    let sequence = sequence();
    let record = OwnedRecord {
        key: place(&key),
        origin: app.0.server.contact().id,
        sequence,
        expires_in_ms,
        content: OwnedContent::Value(value.as_ref().into()),
        later: OwnedFields::default(),
    };
    let (server, until) = (Arc::clone(&app.0.server), asked.until);
    let work = async move {
        let late = |_| Problem::unknown("the holders have not answered in time", None);
        let event = timeout_at(until, server.publish(record)).await.map_err(late)?;
        match event.map_err(unavailable)? {
            Event::Published { holders: 0, .. } => {
                Err(Problem::new(Kind::UNAVAILABLE, "no node has taken the record"))
            }
            Event::Published { holders, .. } => {
                Ok(Answer::json(StatusCode::OK, &Published { sequence, holders }))
            }
            other => unreachable!("a publication ended with {other:?}"),
        }
    };
    Ok(asked.harmless(&app, &value, work).await)
}

/// Microseconds since 1970: it rises through restarts, as long as the clock does. A write beside a clock
/// that was set back is older than the one before it, and is not seen until that expires.
fn sequence() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn place(key: &str) -> RecordKey {
    let hash = digest(&SHA256, key.as_bytes());
    RecordKey(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// What a query of the DHT has come to, in time.
pub(super) async fn event(
    until: Instant,
    query: impl Future<Output = Result<Event, ServerError>>,
) -> Result<Event, Problem> {
    let late = |_| Problem::new(Kind::UNAVAILABLE, "the holders have not answered in time");
    timeout_at(until, query).await.map_err(late)?.map_err(unavailable)
}

pub(super) fn unavailable(error: ServerError) -> Problem {
    Problem::new(Kind::UNAVAILABLE, error)
}
