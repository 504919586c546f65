//! The arguments of `cluster` and `dev`.
//!
//! Invariants: those of the file above.
//!
//! What it does not do: make anything.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueHint};

use super::ServerArgs;
use super::cert::{ValidityArgs, digits};

const DRAINED: &str = "\
When it has drained it may be removed, and its server be ended. Only that server knows: `cluster members`, asked \
of it, shows `drained`. No seat is not enough, since those who take over may still need what is on its disk. Until \
it is removed, --undo has it take seats again.

Example:
  cloakroom cluster drain n1f3a --endpoint http://127.0.0.1:8420
  cloakroom cluster members --endpoint http://127.0.0.1:8423";

/// The commands about clusters.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Make the authority, the genesis and the nodes' folders of a new cluster
    Init(InitArgs),
    /// Tell how a cluster is: its members, slots, and who is not heard
    Status(ServerArgs),
    /// List the members
    Members(ServerArgs),
    /// Make the node of a server a member
    Join(JoinArgs),
    /// Have a member give up its seats, so that it may go
    #[command(after_help = DRAINED)]
    Drain(DrainArgs),
    /// Take a member off the list, for ever: it is lost, or has drained
    Remove(RemoveArgs),
}

/// The commands for trying things out.
#[derive(Debug, Subcommand)]
pub enum DevCommand {
    /// Run a cluster of server processes on this machine, until Ctrl-C
    Cluster(DevClusterArgs),
}

/// A founder: `NAME=ADDRESS`, or `NAME=ADDRESS,ZONE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FounderArg {
    /// What its folder is called.
    pub name: String,
    /// Where the others reach it.
    pub address: SocketAddr,
    /// What it fails together with.
    pub zone: String,
}

impl FromStr for FounderArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected NAME=ADDRESS or NAME=ADDRESS,ZONE, such as a=10.0.0.1:7420,rack-1";
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (address, zone) = rest.split_once(',').unwrap_or((rest, name));
        let address = address.parse().map_err(|_| wrong())?;
        if !is_folder_name(name) || zone.is_empty() {
            return Err(wrong().to_owned());
        }
        Ok(Self { name: name.to_owned(), address, zone: zone.to_owned() })
    }
}

/// A name that stays in the folder in which it is meant to be, and is not the authority's.
pub(super) fn is_folder_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let taken = ["authority", "clients"];
    !name.is_empty() && !taken.contains(&name) && name.bytes().all(letter)
}

/// `cluster init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Makes FOLDER/authority, which stays with you, or goes to a machine that you trust with the cluster, and FOLDER/NAME for each node, which goes to its \
machine. Whoever has the authority's folder can make members; members are trusted to crash at worst. Certificates of \
nodes are renewed while they run if you give that folder to a server (`serve --authority`). Otherwise, before they \
expire, somebody has to call `cert renew` for each node and bring what it makes to its machine.

Example:
  cloakroom cluster init ./coats a=10.0.0.1:7420 b=10.0.0.2:7420 c=10.0.0.3:7420
  cloakroom serve --folder ./coats/a")]
pub struct InitArgs {
    /// The folder to make
    #[arg(value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// The first members: NAME=ADDRESS or NAME=ADDRESS,ZONE
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<FounderArg>,
    /// Parts of the key space, a power of two
    #[arg(long, env = "CLOAKROOM_SLOTS", hide_env_values = true, value_name = "N")]
    #[arg(default_value_t = cloakroom_server::DEFAULT_SLOTS)]
    pub slots: u32,
    /// Members of each slot
    #[arg(long, env = "CLOAKROOM_REPLICAS", hide_env_values = true, value_name = "N")]
    #[arg(default_value_t = 3)]
    pub replicas: u8,
    /// How long the nodes' certificates are valid.
    #[command(flatten)]
    pub validity: ValidityArgs,
}

/// `cluster join`.
#[derive(Debug, Args)]
#[command(after_help = "\
The newcomer has a folder from `cert issue` and serves already; say where with --endpoint. It becomes a \
member on the disk that it has, where others reach it: give its `serve` a --listen (or --advertise) that stays. Joined again \
with another disk, that one takes its place.

Example:
  cloakroom cert issue ./coats d
  cloakroom serve --folder ./coats/d --listen 10.0.0.4:7420 --http 127.0.0.1:8423
  cloakroom cluster join --endpoint http://127.0.0.1:8423 --zone rack-4")]
pub struct JoinArgs {
    /// The newcomer's zone: what it fails together with
    #[arg(long, env = "CLOAKROOM_ZONE", hide_env_values = true, value_name = "NAME")]
    pub zone: String,
    /// A server that is a member: its members are named to the newcomer. Needed where the founders are gone
    #[arg(long, env = "CLOAKROOM_THROUGH", hide_env_values = true, value_name = "URL")]
    pub through: Option<String>,
    /// Where.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// A member.
#[derive(Debug, Args)]
pub struct MemberArgs {
    /// The first digits of its id, as many as no other member's begins with
    #[arg(value_parser = digits)]
    pub node: String,
    /// Where.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `cluster drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Whom.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Have a member that drains take seats again, unless it was removed
    #[arg(long, env = "CLOAKROOM_UNDO", hide_env_values = true)]
    pub undo: bool,
}

/// `cluster remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Whom.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Also a member that answers and has not been told to drain
    #[arg(long, env = "CLOAKROOM_FORCE", hide_env_values = true)]
    pub force: bool,
}

/// `dev cluster`.
#[derive(Debug, Args)]
#[command(after_help = "\
Makes the cluster in --folder if there is nothing; a later call goes on with what it left. Any node \
takes any request. Each key is on three of them, or on all if they are fewer: of three or more any one may be \
killed.

Example:
  cloakroom dev cluster --nodes 5")]
pub struct DevClusterArgs {
    /// How many servers [default: as many as the cluster has, or 3 if it is new]
    #[arg(long, env = "CLOAKROOM_NODES", hide_env_values = true, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=32))]
    pub nodes: Option<u16>,
    /// The cluster's folder; made if there is nothing
    #[arg(long, env = "CLOAKROOM_FOLDER", hide_env_values = true, value_name = "PATH")]
    #[arg(default_value = "./cloakroom-dev", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// The first server's port for HTTP; the others have the ones after it; 0 is any that are free
    #[arg(long, env = "CLOAKROOM_FIRST_PORT", hide_env_values = true, value_name = "PORT")]
    #[arg(default_value_t = 8420)]
    pub first_port: u16,
    /// Serve HTTPS instead of plain HTTP; a client's folder is made in FOLDER/clients/dev
    #[arg(long, env = "CLOAKROOM_SECURE", hide_env_values = true)]
    pub secure: bool,
}
