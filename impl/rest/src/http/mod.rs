//! The paths under `/v1` and beside it, and what all of them share.
//!
//! | file | what |
//! |---|---|
//! | `keys.rs` | atomic keys |
//! | `pools.rs`, `allocations.rs` | pools, and the ids that they hand out |
//! | `records.rs`, `dht.rs` | records of the DHT, and its nodes |
//! | `cluster.rs`, `health.rs` | who is there, and how it does |
//! | `members.rs`, `events.rs` | who comes, drains and goes; what has happened |
//! | `request.rs` | what is taken from a request, strictly |
//! | `describe.rs` | the API's description |
//! | `own.rs` | what stands beside `/v1`: metrics, the description itself, the status page |
//!
//! Invariants:
//! * REST-3: what clients can make the node keep is bounded: requests under way, bodies, and the time of
//!   each;
//! * every answer that is no success is a [`Problem`].
//!
//! What it does not do: listen; tell rights apart (see `caller.rs`).

mod allocations;
mod cluster;
mod describe;
mod dht;
mod events;
mod health;
mod keys;
mod members;
mod own;
mod pools;
mod records;
mod request;

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use cloakroom_node::Genesis;
use cloakroom_pool::Want;
use cloakroom_server::Server;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::classify::ServerErrorsFailureClass;
use tower_http::trace::TraceLayer;
use tracing::{Span, debug, error};
use utoipa::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::desk::{Desks, Done};
use crate::events::{Events, Kind as Happened};
use crate::gate::Gate;
use crate::glance::Glance;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::problem::{Answer, Kind, Problem};
use crate::registers::Registers;

/// Kibibytes of the bodies that may be larger, all together.
const LARGE_KIB: usize = 64 * 1024;

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
    events: Events,
    gate: Gate,
    /// For large bodies, in kibibytes.
    room: Arc<Semaphore>,
    desks: Desks,
    /// It has been told to end.
    is_leaving: AtomicBool,
    /// Whether one can be reached, or why not.
    majority: Glance<Result<(), String>>,
}

impl App {
    /// The paths of a server of this cluster.
    pub fn new(server: Arc<Server>, cluster: impl Into<String>, genesis: Genesis) -> Self {
        Self::within(Gate::default(), server, cluster, genesis)
    }

    /// The same behind a gate, through which those come who [`listen`](crate::listen).
    pub fn within(
        gate: Gate,
        server: Arc<Server>,
        cluster: impl Into<String>,
        genesis: Genesis,
    ) -> Self {
        let metrics = Metrics::new(&gate);
        metrics.watch(&server);
        let events = Events::new(server.contact().id);
        Self(Arc::new(Shared {
            server,
            cluster: cluster.into(),
            genesis: Arc::new(genesis),
            memory: Memory::default(),
            metrics,
            events,
            gate,
            room: Arc::new(Semaphore::new(LARGE_KIB)),
            desks: Desks::default(),
            is_leaving: AtomicBool::new(false),
            majority: Glance::default(),
        }))
    }

    /// Notes what happens in the cluster, for whoever asks later, until the server has stopped.
    pub async fn watch(self) {
        self.0.events.watch(&self.0.server, &self.0.genesis).await;
    }

    /// From now on `/readyz` says no, and all else is answered as before: whoever sends requests here is to send them
    /// elsewhere before nobody takes them any more.
    pub fn leave(&self) {
        // Release: with the Acquire of `is_leaving`, whoever sees it sees all that was done before.
        self.0.is_leaving.store(true, Ordering::Release);
        self.0.events.note(Happened::Leaving);
    }

    fn is_leaving(&self) -> bool {
        // Acquire: of the store in `leave`.
        self.0.is_leaving.load(Ordering::Acquire)
    }

    /// The registers, as long as a request may take.
    fn registers(&self, until: Instant) -> Registers {
        Registers::new(Arc::clone(&self.0.server), until)
    }

    /// A call on a pool, carried out together with those that come at the same time.
    async fn call(&self, pool: &str, want: Want, until: Instant) -> Result<Done, Problem> {
        let (done, rounds) = self.0.desks.call(&self.0.server, pool, want, until).await?;
        self.0.metrics.called(done, rounds);
        Ok(done)
    }

    /// All paths.
    pub fn router(self) -> Router {
        let (router, api) = api().split_for_parts();
        let bare = Arc::new(describe::without_query(&api));
        router
            .fallback(async || Problem::new(Kind::NO_SUCH_PATH, "see /openapi.json"))
            .method_not_allowed_fallback(async || Problem::new(Kind::METHOD, "see /openapi.json"))
            .layer(DefaultBodyLimit::max(self.0.gate.limits().body_bytes as usize))
            .layer(CatchPanicLayer::custom(broken))
            .route_layer(from_fn_with_state(bare, refuse_query))
            .layer(from_fn_with_state(self.clone(), admit))
            .layer(from_fn_with_state(self.clone(), measure))
            .layer(TraceLayer::new_for_http().on_failure(failed))
            .with_state(self)
    }
}

/// What is said of all of it stands in `api.md`.
#[derive(Debug, OpenApi)]
#[openapi(info(
    title = "Cloakroom",
    license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
))]
struct Api;

fn api() -> OpenApiRouter<App> {
    let large = DefaultBodyLimit::max(allocations::MOST_RECOVER_BYTES);
    let mut about = Api::openapi();
    // Else it is the package's, which says nothing of it.
    about.info.description = Some(include_str!("api.md").into());
    OpenApiRouter::with_openapi(about)
        .routes(routes!(keys::read, keys::write, keys::remove))
        .routes(routes!(pools::list, pools::create))
        .routes(routes!(pools::show, pools::delete))
        .routes(routes!(pools::usage))
        .routes(routes!(allocations::list, allocations::allocate))
        .routes(routes!(allocations::free))
        .routes(routes!(allocations::recover).layer(large))
        .routes(routes!(records::read, records::write))
        .routes(routes!(dht::closest))
        .routes(routes!(dht::closest_to_record))
        .routes(routes!(dht::ping))
        .routes(routes!(cluster::members))
        .routes(routes!(cluster::slots))
        .routes(routes!(events::events))
        .routes(routes!(members::join))
        .routes(routes!(members::drain, members::undo_drain))
        .routes(routes!(members::remove))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::version))
        .routes(routes!(own::metrics))
        .routes(routes!(own::description))
        .routes(routes!(own::page))
}

/// The API's description, as `/openapi.json` has it.
pub fn openapi() -> String {
    describe::text(&api().into_openapi())
}

/// REST-3: a request has a place, or is refused at once.
async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    let (path, query) = (request.uri().path(), request.uri().query());
    // REST-5
    if caller.is_some_and(|caller| !caller.may(path, query)) {
        let detail = "expected a certificate of the cluster's authority, got none: see \
                      `cloakroom cert issue --client`";
        return Problem::new(Kind::CERTIFICATE, detail).into_response();
    }
    // REST-4: over HTTPS our certificate has the name, and nobody else's page has it too.
    if !caller.is_some_and(Caller::is_over_https) && !request::is_for_us(request.headers()) {
        return Problem::new(Kind::HOST, "expected localhost or an address of loopback")
            .into_response();
    }
    // REST-4: paths that take no document as well.
    if !request::is_of_our_page(request.method(), request.headers()) {
        return Problem::new(Kind::ORIGIN, "expected the node's own page, or no browser's")
            .into_response();
    }
    // Who asks whether it lives must not take it for dead because it has much to do.
    if request.uri().path() == "/livez" {
        return next.run(request).await;
    }
    let gate = &app.0.gate;
    if caller.is_some_and(|caller| !gate.admits(caller)) {
        let most = gate.limits().requests_per_second;
        let detail = format!("expected at most {most} in a second");
        return Problem::new(Kind::TOO_FAST, detail).into_response();
    }
    let Some(_place) = gate.begin() else {
        let detail = format!("{} requests are under way", gate.limits().requests);
        return Problem::new(Kind::OVERLOADED, detail).into_response();
    };
    next.run(request).await
}

/// What is asked for in vain is said, as it is of a field that nobody knows.
async fn refuse_query(
    State(bare): State<Arc<HashSet<(Method, String)>>>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    // What is answered to the one is answered to the other.
    let method = if *request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let is_bare = |query: &str| {
        !query.is_empty() && bare.contains(&(method.clone(), path.as_str().to_owned()))
    };
    if is_bare(query) {
        return Problem::new(Kind::MALFORMED, format!("query: expected none, got {query:?}"))
            .into_response();
    }
    next.run(request).await
}

async fn measure(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    // Whoever asks chooses a path that there is not.
    let path = path.as_ref().map_or("OTHER", MatchedPath::as_str);
    let (method, begun) = (request.method().clone(), Instant::now());
    let _under_way = app.0.metrics.begin();
    let response = next.run(request).await;
    app.0.metrics.answered(&method, path, response.status(), begun.elapsed());
    response
}

/// What a client was told of in so many words, and the metrics count, is no news: many get it while a node is away.
fn failed(class: ServerErrorsFailureClass, took: Duration, _: &Span) {
    match class {
        ServerErrorsFailureClass::StatusCode(status)
            if status != StatusCode::INTERNAL_SERVER_ERROR =>
        {
            debug!(%status, ?took, "not served");
        }
        class => error!(%class, ?took, "not served"),
    }
}

fn broken(_: Box<dyn Any + Send + 'static>) -> Response {
    // The panic has been told by its thread.
    Problem::broken("see the node's log").into_response()
}
