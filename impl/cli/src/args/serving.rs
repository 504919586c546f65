//! The arguments of `serve`.
//!
//! Invariants: those of the file above.
//!
//! What it does not do: open anything.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where plain HTTP is served, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpArg {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl FromStr for HttpArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let wrong = |_| "expected off, or an address such as 127.0.0.1:8420".to_owned();
        text.parse().map(Self::At).map_err(wrong)
    }
}

/// `serve`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Makes a cluster of one in --folder if there is nothing, with its own key and authority; otherwise \
serves the node whose folder it is. Prints the URL on stdout, the log on stderr. SIGHUP reads certificates and \
revocations anew.

SIGTERM ends it in three steps: /readyz says no, while all is served for --end-grace-ms more, so that a load balancer \
sends requests elsewhere; then nobody is let in any more, and what is under way is answered, for at most ten seconds; \
then the disk is closed. Ctrl-C leaves the first step out. A second SIGTERM or Ctrl-C ends it at once.

Plain HTTP takes only addresses of loopback: whoever is on this machine may do everything. --https takes any \
address: whoever shows a certificate of the cluster's authority (`cert issue --client`) may do everything, \
and nobody else anything but ask /livez, /readyz and /version. The \
API is described at /openapi.json, the status page is at /, metrics are at /metrics.

A node's certificate is renewed while it runs, from the last third of its life on, if any member has --authority. \
That folder makes members, so give it to machines that you trust with the cluster, and let those that have it share \
one: a copy does not know what the other has issued, and cannot revoke it.

Example:
  cloakroom serve
  cloakroom serve --https 0.0.0.0:8443 --host coats.example.org")]
pub struct ServeArgs {
    /// The node's folder; made if there is nothing
    #[arg(long, env = "CLOAKROOM_FOLDER", hide_env_values = true, value_name = "PATH")]
    #[arg(default_value = "./cloakroom-node", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,

    /// Where to serve plain HTTP, or off; port 0 is any that is free
    #[arg(long, env = "CLOAKROOM_HTTP", hide_env_values = true, value_name = "ADDRESS")]
    #[arg(default_value = "127.0.0.1:8420")]
    pub http: HttpArg,

    /// Where to serve HTTPS (TLS 1.3) [default: nowhere]
    #[arg(long, env = "CLOAKROOM_HTTPS", hide_env_values = true, value_name = "ADDRESS")]
    pub https: Option<SocketAddr>,

    /// A name or address under which clients come to --https, for the certificate of a cluster of one; again for more
    #[arg(long, env = "CLOAKROOM_HOST", hide_env_values = true, value_name = "HOST")]
    #[arg(value_delimiter = ',')]
    pub host: Vec<String>,

    /// The authority's folder, as `cluster init` makes it: certificates of nodes that are due are renewed here, this node's and those of the others when they ask [default: the others are asked]
    #[arg(long, env = "CLOAKROOM_AUTHORITY", hide_env_values = true, value_name = "PATH")]
    #[arg(value_hint = ValueHint::DirPath)]
    pub authority: Option<PathBuf>,

    /// A certificate to show to clients instead of the node's own, in PEM, with those that it rests on
    #[arg(long, env = "CLOAKROOM_HTTPS_CERT", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath, requires = "https_key")]
    pub https_cert: Option<PathBuf>,

    /// Its key, in PEM, which only its owner may read
    #[arg(long, env = "CLOAKROOM_HTTPS_KEY", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath, requires = "https_cert")]
    pub https_key: Option<PathBuf>,

    /// Where to listen for other nodes (QUIC) [default: the address in the genesis]
    #[arg(long, env = "CLOAKROOM_LISTEN", hide_env_values = true, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Where other nodes reach this one, if not where it listens, as behind --listen 0.0.0.0:7420 [default: the address in the genesis]
    #[arg(long, env = "CLOAKROOM_ADVERTISE", hide_env_values = true, value_name = "ADDRESS")]
    pub advertise: Option<SocketAddr>,

    /// What to log: a level, or directives such as info,cloakroom_server=debug
    #[arg(long, env = "CLOAKROOM_LOG", hide_env_values = true, value_name = "LEVEL")]
    #[arg(default_value = "warn")]
    pub log: String,

    /// How to write the log
    #[arg(long, env = "CLOAKROOM_LOG_FORMAT", hide_env_values = true)]
    #[arg(value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Where to send traces: a collector that speaks OTLP over HTTP, such as http://127.0.0.1:4318 [default: nowhere]
    #[cfg(feature = "otel")]
    #[arg(long, env = "CLOAKROOM_OTLP", hide_env_values = true, value_name = "URL")]
    pub otlp: Option<String>,

    /// How long to go on serving after SIGTERM, while /readyz says no [default: 5000 with --https, else 0]
    #[arg(long, env = "CLOAKROOM_END_GRACE_MS", hide_env_values = true, value_name = "MS")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=600_000))]
    pub end_grace_ms: Option<u32>,

    /// End, as after Ctrl-C, when the standard input ends: for programs that start it and may die
    #[arg(long, env = "CLOAKROOM_UNTIL_STDIN_ENDS", hide_env_values = true)]
    pub until_stdin_ends: bool,

    /// A file with settings, in TOML: any of these flags, with _ for -; the environment and flags outweigh it
    #[arg(long, env = "CLOAKROOM_CONFIG", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Print the settings in force and where each is from, and serve nothing
    #[arg(long, env = "CLOAKROOM_CHECK_CONFIG", hide_env_values = true)]
    pub check_config: bool,

    /// How much others may make the server do.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// How much others may make the server do; what is beyond is turned away, told so, and counted in the metrics.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
// A flag is called as its field.
#[allow(clippy::struct_field_names)]
pub struct LimitArgs {
    /// Connections of clients, in all
    #[arg(long, env = "CLOAKROOM_MAX_CONNECTIONS", hide_env_values = true, value_name = "N")]
    #[arg(default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// Connections of clients from one address, or from one IPv6 network (/64)
    #[arg(long, env = "CLOAKROOM_MAX_CONNECTIONS_PER_CLIENT", hide_env_values = true)]
    #[arg(value_name = "N")]
    #[arg(default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections_per_client: u32,

    /// Requests under way, in all
    #[arg(long, env = "CLOAKROOM_MAX_REQUESTS", hide_env_values = true, value_name = "N")]
    #[arg(default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_requests: u32,

    /// Requests that one client may send in a second: who has a certificate, or an address
    #[arg(long, env = "CLOAKROOM_MAX_REQUESTS_PER_SECOND", hide_env_values = true)]
    #[arg(value_name = "N", default_value = "20000")]
    pub max_requests_per_second: NonZeroU32,

    /// Bytes of a request's body, but for a recovery's
    #[arg(long, env = "CLOAKROOM_MAX_BODY_BYTES", hide_env_values = true, value_name = "BYTES")]
    #[arg(default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max_body_bytes: u32,

    /// Connections of peers, in all
    #[arg(long, env = "CLOAKROOM_MAX_PEERS", hide_env_values = true, value_name = "N")]
    #[arg(default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_peers: u32,

    /// Messages on their way from one peer
    #[arg(long, env = "CLOAKROOM_MAX_STREAMS_PER_PEER", hide_env_values = true, value_name = "N")]
    #[arg(default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub max_streams_per_peer: u32,

    /// Streams that one peer may open in a second, each of one message or more
    #[arg(long, env = "CLOAKROOM_MAX_STREAMS_PER_SECOND_PER_PEER", hide_env_values = true)]
    #[arg(value_name = "N", default_value = "20000")]
    pub max_streams_per_second_per_peer: NonZeroU32,
}

impl ServeArgs {
    /// Only who serves others than those on this machine has a load balancer before it.
    pub(crate) fn end_grace(&self) -> Duration {
        let usual_ms = if self.https.is_some() { 5000 } else { 0 };
        Duration::from_millis(self.end_grace_ms.unwrap_or(usual_ms).into())
    }
}

impl LimitArgs {
    pub(crate) fn of_clients(&self) -> cloakroom_rest::Limits {
        cloakroom_rest::Limits {
            connections: self.max_connections,
            connections_per_client: self.max_connections_per_client,
            requests: self.max_requests,
            requests_per_second: self.max_requests_per_second,
            body_bytes: self.max_body_bytes,
        }
    }

    pub(crate) fn of_peers(&self) -> cloakroom_server::Limits {
        cloakroom_server::Limits {
            connections: self.max_peers as usize,
            streams_per_peer: self.max_streams_per_peer,
            streams_per_second_per_peer: self.max_streams_per_second_per_peer,
            ..cloakroom_server::Limits::default()
        }
    }
}
