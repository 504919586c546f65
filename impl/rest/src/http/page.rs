//! The status page, embedded.
//!
//! Invariants: it needs nothing from outside: one document with its script and style.
//!
//! What it does not do: know more than the paths beside it say.

use axum::response::{Html, IntoResponse, Response};

const PAGE: &str = include_str!("page.html");
/// Nothing from elsewhere, whatever a tag or a pool is called.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:";

pub(super) async fn page() -> Response {
    ([("content-security-policy", POLICY)], Html(PAGE)).into_response()
}
