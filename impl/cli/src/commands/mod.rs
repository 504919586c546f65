//! What each command does.
//!
//! Invariants:
//! * input is read and judged before anything is changed;
//! * only `pool create` makes a data file or fills an empty one: a mistyped path is an error;
//! * a data file is open for no longer than a command works on it, since only one process can.

mod backup;
mod bench;
mod cert;
mod certificates;
mod cluster;
mod dht;
mod ids;
mod kv;
mod live;
mod members;
#[cfg(feature = "otel")]
mod otel;
mod place;
mod pools;
mod recovery;
mod serve;
mod shell;
mod trace;

use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cloakroom_pool::{Policy, Pool, Tag};
use cloakroom_stores::{Durable, OpenError};

use self::place::{Place, Remote};
use crate::args::{
    Cli, ClusterCommand, Command, DataArgs, DevCommand, PolicyArg, PoolCommand, TagArgs,
};
use crate::directory::{self, Definition, Name};
use crate::error::Error;
use crate::settings::Setting;

pub use live::LiveError;

/// How a command ended that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// As it was asked to.
    Yes,
    /// The pool refused, or a check failed. The message has been written.
    Refused,
}

/// Carries out a command.
pub(crate) fn carry_out(cli: Cli, settings: &[Setting]) -> Result<Done, Error> {
    match cli.command {
        Command::Serve(args) => serve::serve(&args, settings),
        Command::Kv { command } => kv::kv(&command),
        Command::Dht { command } => dht::dht(&command),
        Command::Cluster { command } => of_cluster(&command),
        Command::Cert { command } => cert::cert(&command),
        Command::Backup { command } => backup::backup(&command),
        Command::Bench(args) => bench::bench(&args),
        Command::Dev { command: DevCommand::Cluster(args) } => cluster::dev_cluster(&args),
        Command::Pool { command: PoolCommand::Create(args) } => pools::create(&args),
        Command::Pool { command: PoolCommand::List(args) } => pools::list(&args),
        Command::Pool { command: PoolCommand::Delete(args) } => pools::delete(&args),
        Command::Allocate(args) => ids::allocate(&args),
        Command::Free(args) => ids::free(&args),
        Command::Find(args) => ids::find(&args),
        Command::List(args) => ids::list(&args),
        Command::Usage(args) => ids::usage(&args),
        Command::Recover(args) => recovery::recover(&args),
        Command::Check(args) => recovery::check(&args.named),
        Command::Replay(args) => trace::replay(&args),
        Command::Sim(args) => Ok(sim::carry_out(&args).map(|()| Done::Yes)?),
        Command::Completion(args) => shell::completion(&args),
        Command::Man(args) => shell::man(&args),
    }
}

fn of_cluster(command: &ClusterCommand) -> Result<Done, Error> {
    match command {
        ClusterCommand::Init(args) => cluster::init(args),
        ClusterCommand::Status(args) => members::status(args),
        ClusterCommand::Members(args) => members::members(args),
        ClusterCommand::Join(args) => members::join(args),
        ClusterCommand::Drain(args) => members::drain(args),
        ClusterCommand::Remove(args) => members::remove(args),
    }
}

/// Opens an existing data file.
fn open_existing(data: &DataArgs) -> Result<Durable, Error> {
    await_file(data, || Durable::open_existing(&data.data)).map_err(|error| match error {
        Error::Open(OpenError::Nothing { path, got }) => Error::NoData { path, got },
        error => error,
    })
}

/// Opens a data file, and makes it if there is none.
fn open_or_create(data: &DataArgs) -> Result<Durable, Error> {
    await_file(data, || Durable::open(&data.data))
}

/// Opens a data file. While another process has it open, waits.
fn await_file(
    data: &DataArgs,
    open: impl Fn() -> Result<Durable, OpenError>,
) -> Result<Durable, Error> {
    const PAUSE: Duration = Duration::from_millis(20);
    let until = Instant::now() + Duration::from_secs(data.wait.into());
    loop {
        match open() {
            // No event tells when another process closes a file.
            Err(OpenError::Locked { .. }) if Instant::now() < until => thread::sleep(PAUSE),
            Err(OpenError::Locked { path, .. }) => {
                return Err(Error::InUse { path, seconds: data.wait });
            }
            opened => return Ok(opened?),
        }
    }
}

/// Opens the pool of this name.
fn open_pool(name: &str, data: &DataArgs) -> Result<Place, Error> {
    if let Some(remote) = Remote::of(&data.remote)? {
        return Ok(Place::Servers(remote, name.to_owned()));
    }
    let name = Name::new(name)?;
    let map = open_existing(data)?;
    let definition = defined(&map, &name)?;
    Ok(Place::File(Pool::new(map, definition.tree, definition.policy)))
}

/// What the pool of this name is.
fn defined(map: &Durable, name: &Name) -> Result<Definition, Error> {
    if let Some(definition) = directory::look_up(map, name)? {
        return Ok(definition);
    }
    let pools = directory::listed(map.scan(directory::PREFIX)?)?;
    let pools = pools.into_iter().map(|(name, _)| name.as_str().to_owned()).collect();
    Err(Error::NoSuchPool { name: name.as_str().to_owned(), pools })
}

/// The tag of a command line.
fn tag(args: &TagArgs) -> Result<Tag, Error> {
    if args.tag.contains(['\n', '\r']) {
        return Err(Error::TagLineBreak { tag: args.tag.clone() });
    }
    Ok(Tag::new(&args.tag)?)
}

fn policy(arg: PolicyArg) -> Policy {
    match arg {
        PolicyArg::LowestFirst => Policy::LowestFirst,
        PolicyArg::Spread => Policy::Spread,
    }
}

/// A policy's name, as the command line has it.
fn policy_name(policy: Policy) -> &'static str {
    match policy {
        Policy::LowestFirst => "lowest-first",
        Policy::Spread => "spread",
    }
}

/// Reads a file whole; `-` is stdin.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = if is_stdin(path) {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    read.map_err(|cause| Error::Read { path: path.to_owned(), cause })
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A file's name for messages.
fn shown(path: &Path) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() }
}
