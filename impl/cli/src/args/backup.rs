//! The arguments of `backup`.
//!
//! Invariants: those of the file above.
//!
//! What it does not do: open anything.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{OutputArgs, ServerArgs};

/// The commands about backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Write all pools of servers, and keys that are named, into a file
    Save(SaveArgs),
    /// Read a backup whole, and tell what it holds
    Inspect(InspectArgs),
    /// Bring what a backup holds to servers that do not have it
    Restore(RestoreArgs),
}

/// `backup save`.
#[derive(Debug, Args)]
#[command(after_help = "\
No snapshot: what others take and give back between its begin and its end may be in it or not, and both \
times stand in the file. A pair of id and tag that was held all the while is in it. Servers have no index of \
atomic keys: those in the file of --keys are saved, one name a line. Not saved: versions of keys, DHT records, \
members, certificates.

Example:
  cloakroom backup save coats.backup --endpoint http://127.0.0.1:8420")]
pub struct SaveArgs {
    /// The file to make; nothing that is there is overwritten
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Names of atomic keys to save, one a line; - is stdin
    #[arg(long, env = "CLOAKROOM_KEYS", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub keys: Option<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `backup inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The backup
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `backup restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is overwritten: a pool that is there must be as the backup has it, or hold a part of that; a key that \
has another value keeps it. What was not restored is told, and makes the exit code 1. A restore that was \
broken off goes on where it was when it is called again. Nobody else may use the pools meanwhile: to get an \
id its tag, the ids before it are held for a moment under tags that begin with `restore-`. In a pool of the \
policy spread those are all free ids, also for a single one that is missing: that takes as long as to fill the \
pool.

Example:
  cloakroom backup restore coats.backup --endpoint http://127.0.0.1:8420")]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Restore each pool into one of its name with this behind it, and each key likewise
    #[arg(long, env = "CLOAKROOM_INTO_NEW_POOLS", hide_env_values = true, value_name = "SUFFIX")]
    #[arg(allow_hyphen_values = true)]
    pub into_new_pools: Option<String>,
    /// Where.
    #[command(flatten)]
    pub server: ServerArgs,
}
