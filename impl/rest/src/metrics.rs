//! What the node counts, for Prometheus.
//!
//! Invariants:
//! * every name begins with `cloakroom_` and ends with its unit; every metric has a help text;
//! * no label has a tag, an id, a key or a pool's name: what clients choose makes no series. Paths are
//!   those of the API's description.
//!
//! What it does not do: decide; nothing reads a metric back.

use std::fmt;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use cloakroom_server::{Server, ServerError};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

/// Upper bounds of latencies, in seconds.
const BOUNDS: [f64; 12] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    path: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: String,
    path: String,
}

/// All metrics of a node.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    latency: Family<Route, Histogram, fn() -> Histogram>,
    under_way: Gauge,
    shed: Counter,
    uptime: Gauge,
    peers: Gauge,
    contacts: Gauge,
    records: Gauge,
    replicas: Gauge,
    began: Instant,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let latency: fn() -> Histogram = || Histogram::new(BOUNDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("cloakroom"),
            requests: Family::default(),
            latency: Family::new_with_constructor(latency),
            under_way: Gauge::default(),
            shed: Counter::default(),
            uptime: Gauge::default(),
            peers: Gauge::default(),
            contacts: Gauge::default(),
            records: Gauge::default(),
            replicas: Gauge::default(),
            began: Instant::now(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self { registry, .. } = self;
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Which program this is", Info::new(version));
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to its answer's",
            Unit::Seconds,
            self.latency.clone(),
        );
        let gauge = |registry: &mut Registry, name: &str, help: &str, gauge: &Gauge| {
            registry.register(name, help, gauge.clone());
        };
        gauge(registry, "http_requests_under_way", "Requests under way", &self.under_way);
        let shed = "Requests refused because too many were under way";
        registry.register("http_requests_shed", shed, self.shed.clone());
        let up = "Time since the start";
        registry.register_with_unit("uptime", up, Unit::Seconds, self.uptime.clone());
        gauge(registry, "peers_connected", "Peers with a connection", &self.peers);
        gauge(registry, "dht_contacts", "Contacts in the routing table", &self.contacts);
        gauge(registry, "dht_records", "Records of the DHT held here", &self.records);
        gauge(registry, "replicas", "Replicas of slots here, in any view", &self.replicas);
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &Method, path: &str, status: StatusCode, took: Duration) {
        let (method, path) = (method.to_string(), path.to_string());
        let status = status.as_u16();
        let route = Route { method: method.clone(), path: path.clone() };
        self.requests.get_or_create(&Answered { method, path, status }).inc();
        self.latency.get_or_create(&route).observe(took.as_secs_f64());
    }

    /// A request was refused for want of a place.
    pub(crate) fn shed(&self) {
        self.shed.inc();
    }

    /// A request is under way until this is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    /// All of it, as OpenMetrics text.
    pub(crate) async fn text(&self, server: &Server) -> Result<String, ServerError> {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let look = move |_, node: &cloakroom_node::Node| {
            let dht = node.dht();
            let replicas = node.registers().replicas().count();
            [count(dht.table().len()), count(dht.records().len()), count(replicas)]
        };
        let [contacts, records, replicas] = server.look(look).await?;
        self.contacts.set(contacts);
        self.records.set(records);
        self.replicas.set(replicas);
        self.peers.set(count(server.connected()));
        self.uptime.set(i64::try_from(self.began.elapsed().as_secs()).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes everything");
        Ok(text)
    }
}

/// A request under way.
pub(crate) struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}
