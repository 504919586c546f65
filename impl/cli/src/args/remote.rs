//! The arguments of commands that ask a server: which ones, how, and what.
//!
//! Invariants: those of the file above.
//!
//! What it does not do: connect.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};

use super::OutputArgs;

/// No record lives longer: a day.
const MOST_MS: u64 = 86_400_000;
/// When to use which; those of `balance.rs` in `impl/kademlia`.
const STRATEGIES: &str = "\
Which of several servers to ask first:
  closest: all callers of one pool or key ask the same server, which carries
    their calls out together
  round-robin: servers are alike, and calls cost the same
  random: the same, with many callers: theirs do not fall into step
  weighted: servers have known, different strength; it stands behind a URL,
    as #weight=3
  least-outstanding: calls cost differently, or a server may be slow
  lowest-latency: servers are at different distances, and far from busy
  two-choices: nearly as even as least-outstanding, and callers do not all
    run to the same server
  same-zone: a server on this machine first";

/// Which servers to ask, if any.
#[derive(Clone, Debug, Args)]
pub struct RemoteArgs {
    /// Ask these servers instead of a data file, such as http://127.0.0.1:8420 or https://HOST:8443; several with commas. Outweighs CLOAKROOM_DATA
    #[arg(long, env = "CLOAKROOM_ENDPOINT", hide_env_values = true, value_name = "URL")]
    #[arg(value_delimiter = ',')]
    pub endpoint: Vec<String>,
    /// How to choose among them.
    #[command(flatten)]
    pub choice: ChoiceArgs,
}

/// How to choose among servers, and how long to try.
#[derive(Clone, Debug, Args)]
pub struct ChoiceArgs {
    /// Which of several servers to ask first: closest, round-robin, random, weighted, least-outstanding, lowest-latency, two-choices, same-zone
    #[arg(long, env = "CLOAKROOM_STRATEGY", hide_env_values = true, value_name = "NAME")]
    #[arg(default_value = "closest", long_help = STRATEGIES)]
    pub strategy: String,
    /// How long to try [default: 10000; 120000 of what looks at a whole pool: list, find, recover, check, pool delete, backup]
    #[arg(long, env = "CLOAKROOM_DEADLINE_MS", hide_env_values = true, value_name = "MS")]
    pub deadline_ms: Option<u64>,
    /// Whom to believe.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// HTTPS: whom to believe, and what to show.
#[derive(Clone, Debug, Args)]
pub struct TrustArgs {
    /// A folder made by `cert issue --client`, or a node's: its key and certificate are shown, its authority is believed
    #[arg(long, env = "CLOAKROOM_IDENTITY", hide_env_values = true, value_name = "PATH")]
    #[arg(value_hint = ValueHint::DirPath)]
    pub identity: Option<PathBuf>,
    /// The certificate of the servers' authority, in PEM [default: authority.pem in --identity]
    #[arg(long, env = "CLOAKROOM_CA", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// The certificate to show, in PEM [default: that in --identity]
    #[arg(long, env = "CLOAKROOM_CERT_FILE", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath, requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// Its key, in PEM [default: that in --identity]
    #[arg(long, env = "CLOAKROOM_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath, requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

/// Servers that must be asked: what they have is in no data file.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// The servers; several with commas
    #[arg(long, env = "CLOAKROOM_ENDPOINT", hide_env_values = true, value_name = "URL")]
    #[arg(value_delimiter = ',', default_value = "http://127.0.0.1:8420")]
    pub endpoint: Vec<String>,
    /// How to choose among them.
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The commands about atomic keys.
#[derive(Debug, Subcommand)]
pub enum KvCommand {
    /// Print what a key holds
    Get(KeyArgs),
    /// Give a key its first value
    PutIfAbsent(PutArgs),
    /// Replace the value of a key that has this version
    Cas(CasArgs),
    /// Remove a key that has this version
    Remove(RemoveArgs),
}

/// The commands about the DHT: its records and its nodes.
#[derive(Debug, Subcommand)]
pub enum DhtCommand {
    /// Give a record to its holders
    Put(RecordArgs),
    /// Print the records under a key
    Get(KeyArgs),
    /// Print the nodes that are closest to a point: id, distance, address
    FindNode(FindNodeArgs),
    /// Ask a node whether it lives, and print how long its answer took
    Ping(PingArgs),
}

/// `dht find-node`.
#[derive(Debug, Args)]
pub struct FindNodeArgs {
    /// A node's id or any other point, 64 hexadecimal digits; of a member its first ones are enough; with --key, the key of a record
    pub point: String,
    /// The point is where the records of this key are
    #[arg(long, env = "CLOAKROOM_KEY", hide_env_values = true)]
    pub key: bool,
    /// Where.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `dht ping`.
#[derive(Debug, Args)]
pub struct PingArgs {
    /// The node's id, 64 hexadecimal digits; of a member its first ones are enough
    pub node: String,
    /// Who asks it.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// A key.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The key
    pub key: String,
    /// Where.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// A value, or where it is.
#[derive(Debug, Args)]
pub struct ValueArgs {
    /// The value
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub value: Option<String>,
    /// Take the value from this file, every byte of it; - is stdin
    #[arg(long, env = "CLOAKROOM_FILE", hide_env_values = true, value_name = "PATH")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

/// A key and a value.
#[derive(Debug, Args)]
pub struct PutArgs {
    /// The key
    pub key: String,
    /// What it shall hold.
    #[command(flatten)]
    pub value: ValueArgs,
    /// Where.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `dht put`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cloakroom dht put cap green --ttl 10m")]
pub struct RecordArgs {
    /// The key and the value.
    #[command(flatten)]
    pub put: PutArgs,
    /// How long the record shall live, 1ms to 1d, such as 90s, 10m or 2h [default: 1d]
    #[arg(long, env = "CLOAKROOM_TTL", hide_env_values = true, value_name = "TIME")]
    #[arg(value_parser = time_to_live)]
    pub ttl: Option<Duration>,
}

/// A whole number and its unit. A number alone could be meant in any.
fn time_to_live(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let ms: Option<u64> = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(MOST_MS),
        _ => None,
    };
    let ms = ms.zip(number.parse().ok()).and_then(|(unit, number)| unit.checked_mul(number));
    ms.filter(|ms| (1..=MOST_MS).contains(ms)).map(Duration::from_millis).ok_or_else(|| {
        "expected 1ms to 1d: a whole number with ms, s, m, h or d behind it".to_owned()
    })
}

fn version(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a version, a number that `kv get` tells".to_owned())
}

/// `kv cas`.
#[derive(Debug, Args)]
pub struct CasArgs {
    /// The key
    pub key: String,
    /// The version that it must have, as `kv get` tells it
    #[arg(value_parser = version)]
    pub expected: u64,
    /// Its new value.
    #[command(flatten)]
    pub value: ValueArgs,
    /// Where.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `kv remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The key
    pub key: String,
    /// The version that it must have, as `kv get` tells it
    #[arg(value_parser = version)]
    pub expected: u64,
    /// Where.
    #[command(flatten)]
    pub server: ServerArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_has_a_unit_and_is_at_most_a_day() {
        for (text, ms) in
            [("1ms", 1), ("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("1d", MOST_MS)]
        {
            assert_eq!(time_to_live(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        let huge = format!("{}h", u64::MAX);
        for wrong in ["", "10", "m", "0s", "25h", "2d", "1.5h", "-1s", "10 m", "10M", &*huge] {
            assert!(time_to_live(wrong).is_err(), "{wrong:?}");
        }
    }
}
