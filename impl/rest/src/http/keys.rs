//! Atomic keys: get, put-if-absent, compare-and-set, compare-and-remove.
//!
//! A key's version is its `ETag`. It rises with every write, also through removal, so that a condition on
//! it never takes one state for another.
//!
//! Invariants:
//! * a write without a condition is refused: nothing is overwritten unseen;
//! * REST-1: an attempt after one in doubt is bound as that one was, or is not made;
//! * no key of a user is one of a pool or of the directory.
//!
//! What it does not do: list keys; nobody has an index of them.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cloakroom_register::{Call, Expected, Held, OperationId, Outcome, Value, Version};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::request::{Asked, Body, Condition, Path};
use crate::directory::USER;
use crate::memory::Doubt;
use crate::problem::{Answer, Kind, Problem};
use crate::registers::Failure;

/// With what all keys of users begin, 255.
const MOST_KEY_BYTES: usize = 250;

/// A write that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Written {
    /// The key's version now. A removal has one too.
    version: u64,
}

/// What a key holds
///
/// The value as it was written, its version as `ETag`.
#[utoipa::path(
    get, path = "/v1/keys/{key}", tag = "keys",
    params(
        ("key" = String, Path, description = "1 to 250 bytes", min_length = 1, max_length = 250),
        ("Cloakroom-Timeout-Ms" = Option<u64>, Header, minimum = 1, maximum = 60_000),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream",
            headers(("ETag" = String, description = "its version, in quotes"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(app): State<App>,
    asked: Asked,
    Path(key): Path<String>,
) -> Result<Response, Problem> {
    let held = app.registers(asked.until).get(&stored(&key)?).await?;
    let Held { version, value } =
        held.ok_or_else(|| Problem::new(Kind::NO_SUCH_KEY, format!("got {key:?}")))?;
    let tag = format!("\"{}\"", version.0);
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::ETAG, &tag)];
    Ok((headers, value.0.to_vec()).into_response())
}

/// Put-if-absent, or compare-and-set
///
/// With `If-None-Match: *` the key must have no value, with `If-Match: "VERSION"` this version.
#[utoipa::path(
    put, path = "/v1/keys/{key}", tag = "keys",
    params(
        ("key" = String, Path, description = "1 to 250 bytes", min_length = 1, max_length = 250),
        ("If-None-Match" = Option<String>, Header, description = "`*`: put if absent", pattern = r"^\*$"),
        ("If-Match" = Option<String>, Header, description = "the version, in quotes", pattern = r#"^"[0-9]{1,19}"$"#),
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
        ("Cloakroom-Bound" = Option<u64>, Header),
        ("Cloakroom-Again" = Option<bool>, Header),
        ("Cloakroom-Timeout-Ms" = Option<u64>, Header, minimum = 1, maximum = 60_000),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "at most 65,536 bytes"),
    responses(
        (status = 200, body = Written, headers(("ETag" = String, description = "the new version"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
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
    condition: Condition,
    Body(value): Body,
) -> Result<Response, Problem> {
    let key = stored(&key)?;
    let new = Some(value.clone());
    Ok(change(&app, &asked, key, condition, new, &value).await)
}

/// Compare-and-remove
///
/// The key must have the version that `If-Match: "VERSION"` says.
#[utoipa::path(
    delete, path = "/v1/keys/{key}", tag = "keys",
    params(
        ("key" = String, Path, description = "1 to 250 bytes", min_length = 1, max_length = 250),
        ("If-Match" = Option<String>, Header, description = "the version, in quotes", pattern = r#"^"[0-9]{1,19}"$"#),
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
        ("Cloakroom-Bound" = Option<u64>, Header),
        ("Cloakroom-Again" = Option<bool>, Header),
        ("Cloakroom-Timeout-Ms" = Option<u64>, Header, minimum = 1, maximum = 60_000),
    ),
    responses(
        (status = 200, body = Written),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(
    State(app): State<App>,
    asked: Asked,
    Path(key): Path<String>,
    condition: Condition,
) -> Result<Response, Problem> {
    if condition == Condition::Absent {
        let detail = "a removal: expected If-Match, got If-None-Match";
        return Err(Problem::new(Kind::MALFORMED, detail));
    }
    Ok(change(&app, &asked, stored(&key)?, condition, None, &[]).await)
}

async fn change(
    app: &App,
    asked: &Asked,
    key: Vec<u8>,
    condition: Condition,
    new: Option<Bytes>,
    body: &[u8],
) -> Response {
    let registers = app.registers(asked.until);
    let expected = match condition {
        Condition::Absent => Expected::Absent,
        Condition::Version(version) => Expected::Version(version),
    };
    let new = new.map(|value| Value::from(&value[..]));
    let call = Call::CompareAndSet { expected, new };
    let work = |id: OperationId, doubt: Option<Doubt>| async move {
        // REST-1: what an earlier attempt was bound to, is lost: another one could be a second time.
        if doubt == Some(Doubt(None)) {
            let detail = "an earlier attempt has not said how it ended: read the key";
            return Err(Problem::unknown(detail, None));
        }
        let bound = doubt.and_then(|Doubt(bound)| bound);
        answered(registers.call(id, &key, call, bound).await)
    };
    asked.once(app, body, work).await
}

fn answered(outcome: Result<Outcome, Failure>) -> Result<Answer, Problem> {
    match outcome {
        Ok(Outcome::Set(version)) => {
            Ok(Answer::json(StatusCode::OK, &Written { version: version.0 }).tagged(version))
        }
        Ok(Outcome::Mismatch(held)) => Err(mismatch(held.map(|held| held.version))),
        Ok(other) => unreachable!("a compare-and-set ended with {other:?}"),
        Err(Failure { error, bound }) => {
            let problem = Problem::from(error.clone());
            Err(if problem.is_unknown() { Problem::unknown(error, bound) } else { problem })
        }
    }
}

fn mismatch(version: Option<Version>) -> Problem {
    let detail = version.map_or("the key has no value".to_string(), |version| {
        format!("the key has the version {}", version.0)
    });
    Problem::new(Kind::MISMATCH, detail).with_version(version)
}

fn stored(key: &str) -> Result<Vec<u8>, Problem> {
    if key.is_empty() || key.len() > MOST_KEY_BYTES {
        let detail = format!("key: expected 1 to {MOST_KEY_BYTES} bytes, got {}", key.len());
        return Err(Problem::new(Kind::MALFORMED, detail));
    }
    Ok([USER, key.as_bytes()].concat())
}
