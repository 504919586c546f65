//! The arguments of `serve`.
//!
//! Invariants: those of the file above.
//!
//! What it does not do: open anything.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `serve`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Makes a cluster of one in --folder if there is nothing, with its own key and authority; otherwise \
serves the node whose folder it is. Prints the URL on stdout, the log on stderr. Ctrl-C and SIGTERM \
end it: what is under way is answered first, for at most ten seconds. SIGHUP reads certificates and \
revocations anew.

Plain HTTP, and whoever reaches the port may do everything: only addresses of loopback are taken. The \
API is described at /openapi.json, the status page is at /, metrics are at /metrics.

Example:
  cloakroom serve")]
pub struct ServeArgs {
    /// The node's folder; made if there is nothing
    #[arg(long, env = "CLOAKROOM_FOLDER", hide_env_values = true, value_name = "PATH")]
    #[arg(default_value = "./cloakroom-node", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,

    /// Where to serve HTTP; port 0 is any that is free
    #[arg(long, env = "CLOAKROOM_HTTP", hide_env_values = true, value_name = "ADDRESS")]
    #[arg(default_value = "127.0.0.1:8420")]
    pub http: SocketAddr,

    /// Where to listen for other nodes (QUIC) [default: the address in the genesis]
    #[arg(long, env = "CLOAKROOM_LISTEN", hide_env_values = true, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// What to log: a level, or directives such as info,cloakroom_server=debug
    #[arg(long, env = "CLOAKROOM_LOG", hide_env_values = true, value_name = "LEVEL")]
    #[arg(default_value = "warn")]
    pub log: String,

    /// How to write the log
    #[arg(long, env = "CLOAKROOM_LOG_FORMAT", hide_env_values = true)]
    #[arg(value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}
