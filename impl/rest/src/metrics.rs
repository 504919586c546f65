//! What the node counts, for Prometheus.
//!
//! Invariants:
//! * every name begins with `cloakroom_` and ends with its unit; every metric has a help text;
//! * no label has a tag, an id, a key or a pool's name: what clients choose makes no series. Paths are
//!   those of the API's description, and so are methods.
//!
//! What it does not do: decide; nothing reads a metric back.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use axum::http::{Method, StatusCode};
use cloakroom_node::Rounds;
use cloakroom_pool::FreeOutcome;
use cloakroom_server::Server;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use crate::desk::Done;
use crate::gate::Gate;

/// Upper bounds of latencies, in seconds.
const BOUNDS: [f64; 12] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// Upper bounds of rounds.
const TRIPS: [f64; 10] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0, 64.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    path: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    path: String,
}

/// What was turned away before it cost anything.
#[derive(Debug, Default)]
pub(crate) struct Shed {
    /// Connections, since there were too many in all.
    pub(crate) of_all: Counter,
    /// Connections, since there were too many from their address.
    pub(crate) of_one_client: Counter,
    /// Requests, since too many were under way.
    pub(crate) requests: Counter,
    /// Requests of whoever asks too often.
    pub(crate) too_fast: Counter,
}

/// All metrics of a node.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    latency: Family<Route, Histogram, fn() -> Histogram>,
    under_way: Gauge,
    connections: Gauge,
    expiry: Gauge,
    peers_shed: Counter,
    messages_shed: Counter,
    uptime: Gauge,
    peers: Gauge,
    contacts: Gauge,
    records: Gauge,
    replicas: Gauge,
    disk_failed: Gauge,
    round_trips: Counter,
    waited_for: Family<Called, Histogram, fn() -> Histogram>,
    syncs: Histogram,
    entries: Counter,
    bytes: Counter,
    began: Instant,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    pub(crate) fn new(gate: &Gate) -> Self {
        let latency: fn() -> Histogram = || Histogram::new(BOUNDS);
        let trips: fn() -> Histogram = || Histogram::new(TRIPS);
        let mut metrics = Self {
            registry: Registry::with_prefix("cloakroom"),
            requests: Family::default(),
            latency: Family::new_with_constructor(latency),
            under_way: Gauge::default(),
            connections: Gauge::default(),
            expiry: Gauge::default(),
            peers_shed: Counter::default(),
            messages_shed: Counter::default(),
            uptime: Gauge::default(),
            peers: Gauge::default(),
            contacts: Gauge::default(),
            records: Gauge::default(),
            replicas: Gauge::default(),
            disk_failed: Gauge::default(),
            round_trips: Counter::default(),
            waited_for: Family::new_with_constructor(trips),
            syncs: latency(),
            entries: Counter::default(),
            bytes: Counter::default(),
            began: Instant::now(),
        };
        metrics.register(gate.shed());
        metrics
    }

    fn register(&mut self, shed: &Shed) {
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
        gauge(registry, "http_connections_open", "Connections of clients", &self.connections);
        let refused = [
            (
                "http_requests_shed",
                "Requests refused because too many were under way",
                &shed.requests,
            ),
            (
                "http_requests_too_fast",
                "Requests refused because their client had sent too many in a second",
                &shed.too_fast,
            ),
            (
                "http_connections_shed",
                "Connections of clients refused because there were too many",
                &shed.of_all,
            ),
            (
                "http_connections_per_client_shed",
                "Connections of clients refused because their address had too many",
                &shed.of_one_client,
            ),
            (
                "peer_connections_shed",
                "Connections of peers refused because there were too many, or handshakes",
                &self.peers_shed,
            ),
            (
                "peer_messages_shed",
                "Messages not sent because too many waited for their receiver",
                &self.messages_shed,
            ),
        ];
        for (name, help, counter) in refused {
            registry.register(name, help, counter.clone());
        }
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the node's certificate expires, in seconds after 1970",
            Unit::Seconds,
            self.expiry.clone(),
        );
        let up = "Time since the start";
        registry.register_with_unit("uptime", up, Unit::Seconds, self.uptime.clone());
        gauge(registry, "peers_connected", "Peers with a connection", &self.peers);
        gauge(registry, "dht_contacts", "Contacts in the routing table", &self.contacts);
        gauge(registry, "dht_records", "Records of the DHT held here", &self.records);
        gauge(registry, "replicas", "Replicas of slots here, in any view", &self.replicas);
        let help = "1 if the disk has failed: the node takes part no more, and nothing is known of it here";
        gauge(registry, "disk_failed", help, &self.disk_failed);
        let trips = "Rounds of questions about keys to replicas at other nodes";
        registry.register("register_round_trips", trips, self.round_trips.clone());
        let help = "Rounds that a call of a pool waited for, one after the other; of calls of which another node ran no part";
        registry.register("pool_call_round_trips", help, self.waited_for.clone());
        let help = "Time that a write of the disk took, with its sync";
        registry.register_with_unit("disk_sync_duration", help, Unit::Seconds, self.syncs.clone());
        let help = "Entries of the disk that were written or removed";
        registry.register("disk_entries_written", help, self.entries.clone());
        let help = "Bytes of the keys and values of these entries";
        registry.register_with_unit("disk_written", help, Unit::Bytes, self.bytes.clone());
    }

    /// Counts what the server's disk does from now on.
    pub(crate) fn watch(&self, server: &Server) {
        let (syncs, entries) = (self.syncs.clone(), self.entries.clone());
        let bytes = self.bytes.clone();
        server.watch_disk(move |synced| {
            syncs.observe(synced.took.as_secs_f64());
            entries.inc_by(synced.written.entries as u64);
            bytes.inc_by(synced.written.bytes as u64);
        });
    }

    /// A call of a pool has done something, after so many rounds.
    pub(crate) fn called(&self, done: Done, rounds: Rounds) {
        let call = match done {
            Done::Taken(_) => "allocate",
            Done::Freed(FreeOutcome::Freed) => "free",
            Done::Freed(_) => return,
        };
        if let Some(rounds) = rounds {
            self.waited_for.get_or_create(&Called { call }).observe(rounds.into());
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &Method, path: &str, status: StatusCode, took: Duration) {
        let (method, path) = (label(method), path.to_string());
        let status = status.as_u16();
        let route = Route { method, path: path.clone() };
        self.requests.get_or_create(&Answered { method, path, status }).inc();
        self.latency.get_or_create(&route).observe(took.as_secs_f64());
    }

    /// A request is under way until this is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    /// All of it, as OpenMetrics text.
    pub(crate) async fn text(&self, server: &Server, gate: &Gate) -> String {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let trips = self.round_trips.clone();
        let look = move |_, node: &cloakroom_node::Node| {
            let dht = node.dht();
            let replicas = node.registers().replicas().count();
            // Here, where one looks after the other: nothing is counted twice.
            trips.inc_by(node.round_trips().saturating_sub(trips.get()));
            [count(dht.table().len()), count(dht.records().len()), count(replicas)]
        };
        let seen = server.look(look).await;
        self.disk_failed.set(seen.is_err().into());
        let [contacts, records, replicas] = seen.unwrap_or_default();
        self.contacts.set(contacts);
        self.records.set(records);
        self.replicas.set(replicas);
        self.peers.set(count(server.connected()));
        self.connections.set(count(gate.open()));
        let shed = server.shed();
        // Relaxed, both: numbers to be shown; whoever renders them came after by the same task.
        self.peers_shed.inner().store(shed.connections, Ordering::Relaxed);
        self.messages_shed.inner().store(shed.messages, Ordering::Relaxed);
        let expires = server.proof().and_then(|it| it.expires.duration_since(UNIX_EPOCH).ok());
        let expires = expires.map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX));
        self.expiry.set(expires);
        self.uptime.set(i64::try_from(self.began.elapsed().as_secs()).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes everything");
        text
    }
}

/// Whoever asks chooses what stands there, also without a certificate: all that no path takes is one.
fn label(method: &Method) -> &'static str {
    const OURS: [(Method, &str); 5] = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
    ];
    OURS.iter().find(|(ours, _)| ours == method).map_or("OTHER", |(_, label)| label)
}

/// A request under way.
pub(crate) struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}
