//! What stands beside `/v1`, for scrapers, generators and browsers: metrics, the API's description, the status page.
//!
//! Invariants: the page is embedded, and needs nothing from outside: one document with its script and style.
//!
//! What it does not do: know more than the paths under `/v1` say.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::response::{Html, IntoResponse, Response};

use super::{App, openapi};
use crate::exposition::Format;

const PAGE: &str = include_str!("page.html");
/// Nothing from elsewhere, whatever a tag or a pool is called.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:";
/// It is the same for all nodes of this version.
static DESCRIPTION: LazyLock<Bytes> = LazyLock::new(|| openapi().into());

/// What the node counts
///
/// In OpenMetrics 1.0 if `Accept` asks for it, else in the text format of Prometheus, 0.0.4.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, content(
        (String = "text/plain"),
        (String = "application/openmetrics-text"),
    ))),
)]
pub(super) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let format = Format::accepted(&headers);
    let text = app.0.metrics.text(&app.0.server, &app.0.gate).await;
    let head = [(CONTENT_TYPE, format.content_type()), (VARY, "accept")];
    (head, format.written(text)).into_response()
}

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses((status = 200, body = Object, content_type = "application/json")))]
pub(super) async fn description() -> Response {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION.clone()).into_response()
}

/// The status page, for browsers
#[utoipa::path(get, path = "/", tag = "health", responses((status = 200, body = String, content_type = "text/html")))]
pub(super) async fn page() -> Response {
    ([("content-security-policy", POLICY)], Html(PAGE)).into_response()
}
