//! Why a command did not do what it was asked to, whose fault that is, and the exit code for it.
//!
//! Invariant: exit code 2 means that the input was wrong and nothing has been changed; everything
//! else that is not done is 1. An unknown outcome is said to be unknown.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use cloakroom_client::{ClientError, MAX_VALUE_BYTES};
use cloakroom_node::GenesisError;
use cloakroom_pool::{AllocateError, FreeError, Id, MapError, ShapeError, TagError};
use cloakroom_rest::ListenError;
use cloakroom_server::{FolderError, ServerError};
use cloakroom_stores::OpenError;
use thiserror::Error;

use crate::backup::BackupError;
use crate::commands::LiveError;
use crate::directory::{DefinitionError, NameError};
use crate::replay::TraceError;
use crate::settings::SettingsError;

/// Any failure of a command.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The user's: no such pool.
    #[error("pool: expected one of {}, got {name:?}", known(.pools))]
    NoSuchPool {
        /// What was asked for.
        name: String,
        /// Those that there are.
        pools: Vec<String>,
    },
    /// The user's: there must be exactly one.
    #[error("--endpoint: expected the newcomer's server alone, got {got}")]
    OneEndpoint {
        /// How many came.
        got: usize,
    },
    /// The user's: not one member.
    #[error("node: expected digits that one member's id begins with, got {digits:?}: {got}")]
    WhichMember {
        /// What came.
        digits: String,
        /// How many that may be.
        got: &'static str,
    },
    /// The user's: neither a point nor the first digits of one.
    #[error("point: expected 1 to 64 hexadecimal digits, got {got:?}; a record's key needs --key")]
    Point {
        /// What came.
        got: String,
    },
    /// The user's: two nodes cannot have one folder, or one address.
    #[error("node: expected another name and another address for each, got {got} twice")]
    FounderTwice {
        /// What came twice.
        got: String,
    },
    /// The user's: a cluster has the nodes that it has.
    #[error("--nodes: expected {there}, as many as {} has, got {got}; without it all of them run", folder.display())]
    Nodes {
        /// How many there are.
        there: usize,
        /// Where.
        folder: PathBuf,
        /// How many were asked for.
        got: u16,
    },
    /// The user's: there are not so many ports.
    #[error(
        "--first-port: expected at most {most}, since {count} servers have a port each, got {got}"
    )]
    FirstPort {
        /// With which the last server has the last port.
        most: u16,
        /// How many servers.
        count: u16,
        /// What came.
        got: u16,
    },
    /// The user's: no cluster can begin like this.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The user's: another folder.
    #[error("{}: expected a node's folder, got one without node.key", path.display())]
    NoNode {
        /// Which one.
        path: PathBuf,
    },
    /// The user's: another folder, or none.
    #[error(
        "{}: expected a cluster's folder, with its authority in it, got {got}",
        path.display()
    )]
    NoAuthority {
        /// Which one.
        path: PathBuf,
        /// What there is.
        got: &'static str,
    },
    /// The user's: nothing can be renewed with it.
    #[error(
        "{}: expected an authority's folder, such as `cluster init` makes, got one without authority.key",
        path.display()
    )]
    NotAuthority {
        /// Which one.
        path: PathBuf,
    },
    /// The user's: nothing more can be issued there.
    #[error(
        "{}: expected the genesis of a cluster that `cluster init` has made, got none: a cluster of one \
         takes no second node",
        path.display()
    )]
    Alone {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The user's: not one node.
    #[error(
        "--id: expected digits that the id of one node with a certificate begins with, got {digits:?}: {got}"
    )]
    WhichNode {
        /// What came.
        digits: String,
        /// How many that may be.
        got: &'static str,
    },
    /// The user's: the name is taken.
    #[error("--id: expected the id of the node {name}, got that of another one")]
    OtherNode {
        /// The name.
        name: String,
    },
    /// The user's: no such data file.
    #[error(
        "{}: expected a data file, got {got}; `cloakroom pool create` makes one, and --endpoint asks a server instead",
        path.display()
    )]
    NoData {
        /// Where it was looked for.
        path: PathBuf,
        /// What there is.
        got: &'static str,
    },
    /// Nobody's, or that of a process that keeps the file open.
    #[error(
        "{}: the file is in use: another process had it open for the {seconds} s that --wait \
         allows; try again, or wait longer with --wait SECONDS",
        path.display()
    )]
    InUse {
        /// Which file.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u16,
    },
    /// The user's: the name is taken.
    #[error("pool {name:?} exists already; nothing has been changed")]
    PoolExists {
        /// The name.
        name: String,
    },
    /// The user's: no key or record can have it.
    #[error("{of}: expected a value of at most {MAX_VALUE_BYTES} bytes, got {got}")]
    ValueSize {
        /// Which file, or the flag's name.
        of: String,
        /// How many bytes came.
        got: usize,
    },
    /// The user's, or of a caller that is at work.
    #[error(
        "pool {name:?}: expected that no id is held, got {held}, the first {first}; nothing has been changed"
    )]
    PoolInUse {
        /// The pool.
        name: String,
        /// How many are held.
        held: usize,
        /// The lowest.
        first: Id,
    },
    /// The user's.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The user's.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The user's.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The user's.
    #[error("tag: expected no line break, got {tag:?}: a file of live tags could not name it")]
    TagLineBreak {
        /// What came.
        tag: String,
    },
    /// That of the trace's author.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// That of the author of the live or listed file.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The user's: an input file that cannot be read.
    #[error("{}: expected a readable file: {cause}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
    /// The user's, or the system's: a file that cannot be made.
    #[error("{}: expected a file to make: {cause}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
    /// The file's.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The user's: a directory that cannot be written to.
    #[error("{}: expected a directory to write to: {cause}", path.display())]
    WriteDirectory {
        /// Which directory.
        path: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
    /// The data file's.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data file's: it holds no definition that this program can have written.
    #[error("pool {name:?}: {cause}")]
    Definition {
        /// Whose.
        name: String,
        /// What is wrong.
        cause: DefinitionError,
    },
    /// The map's.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The pool's: full; or the map's.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// That of whoever reads stdout: the id is held, and its caller was not told.
    #[error(
        "id {id} of pool {pool} is held under tag {tag}, but could not be printed: {cause}; \
         `cloakroom find` tells it again, `cloakroom free` gives it back"
    )]
    NotDelivered {
        /// The pool.
        pool: String,
        /// The id.
        id: Id,
        /// The tag, fit to be printed.
        tag: String,
        /// The operating system's words.
        cause: io::Error,
    },
    /// The user's: no such id; or the map's.
    #[error(transparent)]
    Free(#[from] FreeError),
    /// The user's, or the operating system's.
    #[error(transparent)]
    Sim(#[from] sim::Error),
    /// The folder's, or whoever's has written into it.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The node's.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The servers', or the user's: see there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The user's, who chose the address, or the system's.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// That of the file's author.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The user's: nobody could ask anything.
    #[error("--http off: expected --https beside it, got none")]
    NothingServed,
    /// The user's.
    #[cfg(feature = "otel")]
    #[error("otlp: got {got:?}: {cause}")]
    Collector {
        /// What came.
        got: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The user's: nobody can be told where the node is.
    #[error(
        "--listen {0}: expected --advertise beside it, with an address at which other nodes reach this one"
    )]
    NoAddress(SocketAddr),
    /// The user's.
    #[error(
        "log: expected a level such as info, or directives such as cloakroom_server=debug: {0}"
    )]
    Log(String),
    /// The user's: a level that is none, or a crate that is not ours.
    #[error(
        "log: expected a level (error, warn, info, debug, trace or off), a crate such as cloakroom_server, or \
         directives such as cloakroom_server=debug, got {0:?}"
    )]
    LogLevel(String),
    /// The operating system's, about the replay's temporary file or stdout.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The operating system's words.
        cause: io::Error,
    },
}

impl Error {
    /// Whether a server has refused for this reason.
    pub(crate) fn is_refusal(&self, kind: &str) -> bool {
        matches!(self, Self::Client(error) if error.is_refusal(kind))
    }

    /// The exit code: 2 for wrong input, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Sim(error) => error.exit_code(),
            Self::Client(
                ClientError::Endpoint(_)
                | ClientError::Strategy { .. }
                | ClientError::NoAuthority(_)
                | ClientError::Identity { .. },
            )
            | Self::Settings(_)
            | Self::NothingServed
            | Self::NoAddress(_) => 2,
            #[cfg(feature = "otel")]
            Self::Collector { .. } => 2,
            // As for a data file.
            Self::Client(ClientError::Refused { kind, .. })
                if ["malformed", "no-such-pool", "no-such-id", "no-such-member"]
                    .contains(&kind.as_str()) =>
            {
                2
            }
            Self::NoSuchPool { .. }
            | Self::OneEndpoint { .. }
            | Self::WhichMember { .. }
            | Self::Point { .. }
            | Self::FounderTwice { .. }
            | Self::Nodes { .. }
            | Self::FirstPort { .. }
            | Self::Genesis(_)
            | Self::NoNode { .. }
            | Self::NoAuthority { .. }
            | Self::NotAuthority { .. }
            | Self::Alone { .. }
            | Self::WhichNode { .. }
            | Self::OtherNode { .. }
            | Self::Folder(FolderError::Credentials(
                cloakroom_server::Error::Host(_)
                | cloakroom_server::Error::NeverIssued(_)
                | cloakroom_server::Error::NoSuchClient(_)
                | cloakroom_server::Error::NoSuchNode(_),
            ))
            | Self::NoData { .. }
            | Self::ValueSize { .. }
            | Self::Name(_)
            | Self::Shape(_)
            | Self::Tag(_)
            | Self::TagLineBreak { .. }
            | Self::Trace(_)
            | Self::Live(_)
            | Self::Read { .. }
            | Self::WriteDirectory { .. }
            | Self::Backup(_)
            | Self::Listen(ListenError::NotLoopback(_))
            | Self::Log(_)
            | Self::LogLevel(_)
            | Self::Open(OpenError::Foreign { .. })
            | Self::Free(FreeError::OutOfRange { .. }) => 2,
            Self::PoolExists { .. }
            | Self::PoolInUse { .. }
            | Self::InUse { .. }
            | Self::Write { .. }
            | Self::Open(_)
            | Self::Definition { .. }
            | Self::Map(_)
            | Self::Allocate(_)
            | Self::NotDelivered { .. }
            | Self::Free(_)
            | Self::Client(_)
            | Self::Folder(_)
            | Self::Server(_)
            | Self::Listen(_)
            | Self::System { .. } => 1,
        }
    }
}

fn known(pools: &[String]) -> String {
    match pools {
        [] => "none (there are no pools yet)".to_owned(),
        pools => pools.join(", "),
    }
}
