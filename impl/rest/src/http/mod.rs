//! The paths under `/v1` and beside it, and what all of them share.
//!
//! | file | what |
//! |---|---|
//! | `keys.rs` | atomic keys |
//! | `pools.rs`, `allocations.rs` | pools, and the ids that they hand out |
//! | `records.rs` | records of the DHT |
//! | `cluster.rs`, `health.rs` | who is there, and how it does |
//! | `members.rs` | who comes, drains and goes |
//! | `request.rs` | what is taken from a request, strictly |
//! | `describe.rs` | the API's description |
//! | `page.rs` | the status page |
//!
//! Invariants:
//! * REST-3: what clients can make the node keep is bounded: requests under way, bodies, and the time of
//!   each;
//! * every answer that is no success is a [`Problem`].
//!
//! What it does not do: listen; say who may ask. Whoever reaches the port may do everything.

mod allocations;
mod cluster;
mod describe;
mod health;
mod keys;
mod members;
mod page;
mod pools;
mod records;
mod request;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cloakroom_node::Genesis;
use cloakroom_server::Server;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use tower_http::trace::TraceLayer;
use utoipa::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::problem::{Answer, Kind, Problem};
use crate::registers::Registers;

/// Requests under way at once: more are refused at once.
const MOST_REQUESTS: usize = 1024;
/// Bytes of a body, unless a path takes more.
const MOST_BYTES: usize = 64 * 1024;
/// A body that pauses for longer is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What all requests share.
#[derive(Clone, Debug)]
pub struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    server: Arc<Server>,
    cluster: String,
    genesis: Arc<Genesis>,
    memory: Memory<Answer>,
    metrics: Metrics,
    places: Semaphore,
}

impl App {
    /// The paths of a server of this cluster.
    pub fn new(server: Arc<Server>, cluster: impl Into<String>, genesis: Genesis) -> Self {
        Self(Arc::new(Shared {
            server,
            cluster: cluster.into(),
            genesis: Arc::new(genesis),
            memory: Memory::default(),
            metrics: Metrics::default(),
            places: Semaphore::new(MOST_REQUESTS),
        }))
    }

    /// The registers, as long as a request may take.
    fn registers(&self, until: Instant) -> Registers {
        Registers::new(Arc::clone(&self.0.server), until)
    }

    /// All paths.
    pub fn router(self) -> Router {
        let (router, api) = api().split_for_parts();
        let description: Bytes = describe::text(&api).into();
        let json = [("content-type", "application/json")];
        router
            .route("/openapi.json", get(move || async move { (json, description) }))
            .route("/metrics", get(metrics))
            .route("/", get(page::page))
            .fallback(async || Problem::new(Kind::NO_SUCH_PATH, "see /openapi.json"))
            .method_not_allowed_fallback(async || Problem::new(Kind::METHOD, "see /openapi.json"))
            .layer(DefaultBodyLimit::max(MOST_BYTES))
            .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
            .layer(CatchPanicLayer::custom(broken))
            .route_layer(from_fn_with_state(self.clone(), measure))
            .layer(from_fn_with_state(self.clone(), admit))
            .layer(TraceLayer::new_for_http())
            .with_state(self)
    }
}

/// Atomic keys, pools of small numbers, and records of one cluster.
///
/// Every answer that is no success is `application/problem+json` with a stable `type` and an `outcome`:
/// `none` (it was not done, and will not be) or `unknown` (it may have been done, may still be done
/// once, or never). `unknown` is always 504 or 500, never another status.
///
/// A request that changes something may carry `Cloakroom-Operation`, 32 hexadecimal digits chosen at
/// random. Sent again to the same node with the same id, it is not carried out again: it gets the first
/// answer, for ten minutes and unless 16,384 newer ones came since. When an answer was lost, send it again
/// with `Cloakroom-Again: true`: a node that does not remember it then says that its outcome is unknown, and
/// does not carry it out. After an answer with a `bound`, send that as `Cloakroom-Bound` with the same id:
/// then no node carries it out twice, whenever it comes.
#[derive(Debug, OpenApi)]
#[openapi(info(
    title = "Cloakroom",
    license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
))]
struct Api;

fn api() -> OpenApiRouter<App> {
    let large = DefaultBodyLimit::max(allocations::MOST_RECOVER_BYTES);
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(keys::read, keys::write, keys::remove))
        .routes(routes!(pools::list, pools::create))
        .routes(routes!(pools::show, pools::delete))
        .routes(routes!(pools::usage))
        .routes(routes!(allocations::list, allocations::allocate))
        .routes(routes!(allocations::free))
        .routes(routes!(allocations::recover).layer(large))
        .routes(routes!(records::read, records::write))
        .routes(routes!(cluster::members))
        .routes(routes!(cluster::slots))
        .routes(routes!(members::join))
        .routes(routes!(members::drain))
        .routes(routes!(members::remove))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::version))
}

/// The API's description, as `/openapi.json` has it.
pub fn openapi() -> String {
    describe::text(&api().into_openapi())
}

/// REST-3: a request has a place, or is refused at once.
async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    // REST-4
    if !request::is_for_us(request.headers()) {
        return Problem::new(Kind::HOST, "expected localhost or an address of loopback")
            .into_response();
    }
    // Who asks whether it lives must not take it for dead because it has much to do.
    if request.uri().path() == "/livez" {
        return next.run(request).await;
    }
    let Ok(_place) = app.0.places.try_acquire() else {
        app.0.metrics.shed();
        let detail = format!("{MOST_REQUESTS} requests are under way");
        return Problem::new(Kind::OVERLOADED, detail).into_response();
    };
    next.run(request).await
}

async fn measure(
    State(app): State<App>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let (method, begun) = (request.method().clone(), Instant::now());
    let _under_way = app.0.metrics.begin();
    let response = next.run(request).await;
    app.0.metrics.answered(&method, path.as_str(), response.status(), begun.elapsed());
    response
}

async fn metrics(State(app): State<App>) -> Response {
    match app.0.metrics.text(&app.0.server).await {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([("content-type", kind)], text).into_response()
        }
        Err(error) => Problem::new(Kind::UNAVAILABLE, error).into_response(),
    }
}

fn broken(_: Box<dyn Any + Send + 'static>) -> Response {
    // The panic has been told by its thread.
    Problem::broken("see the node's log").into_response()
}
