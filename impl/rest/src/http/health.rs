//! Is it alive, is it ready, which version is it.
//!
//! Invariants:
//! * ready means that an operation on a register has gone through a majority, at most a second before, and that
//!   peers take the node's certificate, and that it has not been told to end;
//! * REST-3: however many ask whether it is ready, a majority is asked at most once a second.
//!
//! What it does not do: say why others cannot be reached; the log and `/v1/cluster` do.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::request::Query;
use crate::problem::{Kind, Problem, RETRY_AFTER};

/// A read of this key is a look at a majority. No user's, and no pool's.
const PROBE: &[u8] = b"probe";
const PATIENCE: Duration = Duration::from_secs(1);

/// Which version.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Version {
    /// Of the program.
    version: &'static str,
    /// Of the API.
    api: &'static str,
}

/// A part of being ready.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Check {
    /// Which.
    name: &'static str,
    /// Whether it holds.
    ok: bool,
    /// If not, why; or what will not hold for long.
    detail: Option<String>,
}

/// Whether it is ready.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// Whether all checks hold.
    ready: bool,
    /// All of them, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Check>>,
}

/// How much to say.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Verbosity {
    /// Say each check.
    #[param(value_type = Option<String>, pattern = "^(true|false)?$")]
    verbose: Option<String>,
}

/// The process answers
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// The node can serve
#[utoipa::path(
    get, path = "/readyz", tag = "health", params(Verbosity),
    responses(
        (status = 200, body = Ready),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Ready),
    ),
)]
pub(super) async fn ready(
    State(app): State<App>,
    Query(verbosity): Query<Verbosity>,
) -> Result<Response, Problem> {
    let verbose = match verbosity.verbose.as_deref() {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(other) => {
            let detail = format!("verbose: expected true, false or nothing, got {other:?}");
            return Err(Problem::new(Kind::MALFORMED, detail));
        }
    };
    let node = app.0.server.look(|_, _| ()).await.map_err(|error| error.to_string());
    let registers = majority(&app).await;
    let proof = app.0.server.proof();
    let left = proof.as_ref().map(cloakroom_server::Proof::left).unwrap_or_default();
    let is_due = proof.is_none_or(|proof| proof.is_due());
    let days = left.as_secs() / 86_400;
    let mut checks = vec![
        Check { name: "node", ok: node.is_ok(), detail: node.err() },
        Check { name: "registers", ok: registers.is_ok(), detail: registers.err() },
    ];
    // Said while it holds still: somebody must renew it.
    let detail = is_due.then(|| format!("the certificate expires in {days} days"));
    checks.push(Check { name: "certificate", ok: !left.is_zero(), detail });
    let leaves = app.is_leaving().then(|| "it has been told to end".to_owned());
    checks.push(Check { name: "stays", ok: leaves.is_none(), detail: leaves });
    let ready = checks.iter().all(|check| check.ok);
    let told = axum::Json(Ready { ready, checks: verbose.then_some(checks) });
    if ready {
        return Ok(told.into_response());
    }
    Ok((StatusCode::SERVICE_UNAVAILABLE, [RETRY_AFTER], told).into_response())
}

/// Whether a majority can be reached. Anybody may ask, without a certificate.
async fn majority(app: &App) -> Result<(), String> {
    let look = || {
        let registers = app.registers(Instant::now() + PATIENCE);
        async move { registers.get(PROBE).await.map(drop).map_err(|error| error.to_string()) }
    };
    // Known here, and at once.
    if app.0.server.has_stopped() {
        return look().await;
    }
    let seen = app.0.majority.at(look).await;
    seen.unwrap_or_else(|| Err("the look at them has broken off".to_string()))
}

/// Which version it is
#[utoipa::path(get, path = "/version", tag = "health", responses((status = 200, body = Version)))]
pub(super) async fn version() -> axum::Json<Version> {
    axum::Json(Version { version: env!("CARGO_PKG_VERSION"), api: "v1" })
}
