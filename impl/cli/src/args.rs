//! The command line: every command, flag and help text.
//!
//! Invariants (a test at the end checks them):
//! * every flag `--some-name` is also read from `CLOAKROOM_SOME_NAME`;
//! * every command and flag has a help text.
//!
//! Does not judge what a value means to a pool: sizes, shapes and tags are checked by the pool's own
//! constructors, so that there is one message for each fault.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::replay::CrashRate;

mod backup;
mod bench;
mod cert;
mod cluster;
mod data;
mod pools;
mod remote;
mod serving;

pub(crate) use backup::{BackupCommand, InspectArgs, RestoreArgs, SaveArgs};
pub(crate) use bench::{BenchArgs, WorkloadArg};
pub(crate) use cert::{
    CertCommand, HolderArgs, IssueArgs, RenewArgs, RequestArgs, RevokeArgs, digits,
};
pub(crate) use cluster::{
    ClusterCommand, DevClusterArgs, DevCommand, DrainArgs, FounderArg, InitArgs, JoinArgs,
    RemoveArgs,
};
pub(crate) use data::DataArgs;
pub(crate) use pools::{CreateArgs, ListArgs, PoolCommand, PoolListArgs};
pub(crate) use remote::{
    ChoiceArgs, DhtCommand, FindNodeArgs, KvCommand, PingArgs, PutArgs, RemoteArgs, ServerArgs,
    TrustArgs, ValueArgs,
};
pub(crate) use serving::{HttpArg, LogFormat, ServeArgs};

const AFTER_HELP: &str = "\
Data goes to stdout, messages to stderr. Every flag is also read from the environment: \
--some-name from CLOAKROOM_SOME_NAME.

Exit codes:
  0  done
  1  refused by the pool, a check failed, or the data file could not be used
     (an unknown outcome is said to be unknown)
  2  wrong usage or input; nothing has been changed";

/// Hands out small numbers to callers of which any may die at any step.
///
/// You hand in a tag, you get an id in [0, size) that nobody else holds; you hand back the id and
/// the tag, and the id is free again.
#[derive(Debug, Parser)]
#[command(name = "cloakroom", version, after_help = AFTER_HELP)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve pools, atomic keys and records over HTTP
    Serve(ServeArgs),
    /// Atomic keys of servers
    Kv {
        /// What to do with a key.
        #[command(subcommand)]
        command: KvCommand,
    },
    /// The DHT: its records and its nodes
    Dht {
        /// What to do there.
        #[command(subcommand)]
        command: DhtCommand,
    },
    /// Make a cluster of several nodes, look after its members
    Cluster {
        /// What to do with clusters.
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Issue, renew and revoke the certificates of nodes and clients
    Cert {
        /// What to do with certificates.
        #[command(subcommand)]
        command: CertCommand,
    },
    /// Save what servers hold into a file, and bring it back
    Backup {
        /// What to do with a backup.
        #[command(subcommand)]
        command: BackupCommand,
    },
    /// Measure how fast servers hand out ids
    Bench(BenchArgs),
    /// Try things out on this machine
    Dev {
        /// What to try.
        #[command(subcommand)]
        command: DevCommand,
    },
    /// Create, list and delete pools
    Pool {
        /// What to do with pools.
        #[command(subcommand)]
        command: PoolCommand,
    },
    /// Take a free id and hold it under a tag
    Allocate(AllocateArgs),
    /// Give an id back
    Free(FreeArgs),
    /// Tell which ids a tag holds
    Find(FindArgs),
    /// List every held id with its tag
    List(ListArgs),
    /// Tell how many ids are held
    Usage(NamedArgs),
    /// Free what dead callers left behind
    Recover(RecoverArgs),
    /// Compare the counts with the slots, and put stale counts right
    Check(CheckArgs),
    /// Replay a trace of workloads on a fresh pool, with callers dying, and judge it
    Replay(ReplayArgs),
    /// Simulate a whole network of nodes in virtual time
    Sim(Box<sim::SimArgs>),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Write the man pages into a directory
    Man(ManArgs),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// How results are printed.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// How to print the result
    #[arg(long, env = "CLOAKROOM_OUTPUT", hide_env_values = true)]
    #[arg(value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// A pool's tree and policy.
#[derive(Clone, Debug, Args)]
pub struct ShapeArgs {
    /// Ids in the pool: 0 to N - 1
    #[arg(long, env = "CLOAKROOM_SIZE", hide_env_values = true, value_name = "N")]
    pub size: u64,

    /// How wide its tree is, and which id it prefers.
    #[command(flatten)]
    pub tree: TreeArgs,
}

/// How a pool's ids lie, and which one is handed out first.
#[derive(Clone, Debug, Args)]
pub struct TreeArgs {
    /// Children of a node, 2 to 1024; 1024 on servers, else 64, if it is not said
    #[arg(long, env = "CLOAKROOM_FANOUT", hide_env_values = true, value_name = "N")]
    pub fanout: Option<u16>,

    /// Slots of a block, 1 to 256; 64 if it is not said
    #[arg(long, env = "CLOAKROOM_BLOCK", hide_env_values = true, value_name = "N")]
    pub block: Option<u16>,

    /// Which free id to prefer
    #[arg(long, env = "CLOAKROOM_POLICY", hide_env_values = true)]
    #[arg(value_enum, default_value_t = PolicyArg::LowestFirst)]
    pub policy: PolicyArg,
}

/// Which free id to prefer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyArg {
    /// The lowest free id
    LowestFirst,
    /// Start where a hash of the tag says: callers seldom meet
    Spread,
}

/// A command about one pool.
#[derive(Debug, Args)]
pub struct NamedArgs {
    /// The pool
    pub name: String,
    /// Where it lives.
    #[command(flatten)]
    pub data: DataArgs,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The tag of a call.
#[derive(Debug, Args)]
pub struct TagArgs {
    /// The name of one allocation: 1 to 128 bytes, without a line break
    #[arg(long, env = "CLOAKROOM_TAG", hide_env_values = true)]
    pub tag: String,
}

/// `allocate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Write the tag down durably before you call this, and use a new tag for each allocation: called \
twice with one tag, it takes two ids. If the command dies or cannot print the id, `cloakroom find` tells whether the tag holds an id; or strike the tag out, and \
`cloakroom recover` frees what it may hold. Exits with 1 if the pool is full.

Example:
  id=$(cloakroom allocate vlans --tag web-7f3a)")]
pub struct AllocateArgs {
    /// The pool
    pub name: String,
    /// For whom.
    #[command(flatten)]
    pub tag: TagArgs,
    /// Where it lives.
    #[command(flatten)]
    pub data: DataArgs,
    /// How to print the id.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `free`.
#[derive(Debug, Args)]
#[command(after_help = "\
The id must already be out of use. Call it again until one call has returned; freeing twice is \
harmless and exits with 0. Exits with 1, and changes nothing, if another tag holds the id.

Example:
  cloakroom free vlans 17 --tag web-7f3a")]
pub struct FreeArgs {
    /// The pool
    pub name: String,
    /// The id
    pub id: u64,
    /// Whose.
    #[command(flatten)]
    pub tag: TagArgs,
    /// Where it lives.
    #[command(flatten)]
    pub data: DataArgs,
    /// How to print the outcome.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `find`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints one id a line, or nothing; both exit with 0.

Example:
  cloakroom find vlans --tag web-7f3a")]
pub struct FindArgs {
    /// The pool
    pub name: String,
    /// Whose.
    #[command(flatten)]
    pub tag: TagArgs,
    /// Where it lives.
    #[command(flatten)]
    pub data: DataArgs,
    /// How to print the ids.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `recover`.
#[derive(Debug, Args)]
#[command(after_help = "\
FILE names every tag that is written down, one a line, exactly as it was allocated: no quotes, no \
comments, spaces count. Empty lines are skipped, a line may end in CR LF, a tag named twice is \
named once. A tag with a line break in it cannot be named, and is left alone.

FILE must be newer than what it is compared with, or a caller that wrote its tag down in between \
loses its id. Without --listed the pool is listed first and FILE read afterwards: right if FILE is \
the notebook itself, or if no caller is at work. Otherwise list first, then make FILE, then:

  cloakroom list vlans --output json > listed.json
  my-inventory --tags > live.txt
  cloakroom recover vlans --listed listed.json --live live.txt --dry-run
  cloakroom recover vlans --listed listed.json --live live.txt

Only ids under tags that were listed are freed, so callers may go on working throughout; they must \
not use a tag again.")]
pub struct RecoverArgs {
    /// The pool
    pub name: String,
    /// The tags that are written down, one a line; - is stdin
    #[arg(long, env = "CLOAKROOM_LIVE", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub live: PathBuf,
    /// An earlier `cloakroom list NAME --output json`: leave every tag that is not in it; - is stdin
    #[arg(long, env = "CLOAKROOM_LISTED", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub listed: Option<PathBuf>,
    /// Accept a FILE that names no tag at all: everything that is held is freed
    #[arg(long, env = "CLOAKROOM_NONE_LIVE", hide_env_values = true, value_name = "BOOL")]
    #[arg(action = ArgAction::Set, num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true", hide_default_value = true)]
    #[arg(value_parser = yes_or_no)]
    pub none_live: bool,
    /// Print what would be freed, and change nothing
    #[arg(long, env = "CLOAKROOM_DRY_RUN", hide_env_values = true, value_name = "BOOL")]
    #[arg(action = ArgAction::Set, num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true", hide_default_value = true)]
    #[arg(value_parser = yes_or_no)]
    pub dry_run: bool,
    /// Where it lives.
    #[command(flatten)]
    pub data: DataArgs,
    /// How to print what was freed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A switch with a value, or its variable: one that is set to nothing is one that is not set.
fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "" | "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("expected true or false, yes or no, on or off, 1 or 0".to_owned()),
    }
}

/// `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Frees nothing. Exits with 0 if every count was exact. Exits with 1 if some were stale; they have \
been put right, and a second run exits with 0. A caller that died half-way leaves stale counts: \
they cost others time, never an id.

Example:
  cloakroom check vlans || cloakroom check vlans")]
pub struct CheckArgs {
    /// The pool and how to print the result.
    #[command(flatten)]
    pub named: NamedArgs,
}

/// Where a replay's pool lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreArg {
    /// In memory, without locks
    Memory,
    /// In a new file in the directory for temporary files, removed at the end
    Durable,
}

/// `replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
FILE is a CSV with a header. Each row is a workload: a tag of its own, a start, and an end or \
nothing. Times are decimal numbers in any one unit. A row without a start never ran and is skipped; \
one without an end holds its id to the end of the trace. At equal times ends come before starts.

Every start allocates an id and every end frees it. A call dies with the probability given, before \
or after one of its map operations; its caller restarts with nothing but what it wrote down. A \
start that meets a full pool waits; if there is no room until its end, it is refused.

In the end a recovery runs and an oracle that never looked into the pool judges it: no id held \
twice, none taken from its holder, none leaked, none lost, every count exact, `full` never answered \
while there was room. Exits with 1 if it objects. The pools of --data are not touched.

Example:
  cloakroom replay traces/demo.csv --size 48 --fanout 4 --block 4 --crash-rate 0.05 --seed 1

The default shape keeps up to 64 ids in one block, without any count above it: small blocks show more.")]
pub struct ReplayArgs {
    /// The trace; - is stdin
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The pool's tree and policy.
    #[command(flatten)]
    pub shape: ShapeArgs,
    /// Callers at work at once, 1 to 256
    #[arg(long, env = "CLOAKROOM_WORKERS", hide_env_values = true, value_name = "W")]
    #[arg(default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub workers: usize,
    /// The probability that a call dies, 0 to 0.9
    #[arg(long, env = "CLOAKROOM_CRASH_RATE", hide_env_values = true, value_name = "P")]
    #[arg(default_value = "0")]
    pub crash_rate: CrashRate,
    /// Decides which calls die, and where
    #[arg(long, env = "CLOAKROOM_SEED", hide_env_values = true, value_name = "S")]
    #[arg(default_value_t = 0)]
    pub seed: u64,
    /// Where the pool lives
    #[arg(long, env = "CLOAKROOM_STORE", hide_env_values = true)]
    #[arg(value_enum, default_value_t = StoreArg::Memory)]
    pub store: StoreArg,
    /// The column with the tag
    #[arg(long, env = "CLOAKROOM_TAG_COLUMN", hide_env_values = true, value_name = "NAME")]
    #[arg(default_value = "name")]
    pub tag_column: String,
    /// The column with the start
    #[arg(long, env = "CLOAKROOM_START_COLUMN", hide_env_values = true, value_name = "NAME")]
    #[arg(default_value = "scheduled_time")]
    pub start_column: String,
    /// The column with the end
    #[arg(long, env = "CLOAKROOM_END_COLUMN", hide_env_values = true, value_name = "NAME")]
    #[arg(default_value = "deletion_time")]
    pub end_column: String,
    /// How to print the summary.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `completion`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cloakroom completion bash > ~/.local/share/bash-completion/completions/cloakroom")]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cloakroom man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// An existing directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn every_command(command: &clap::Command, visit: &mut dyn FnMut(&clap::Command)) {
        visit(command);
        for sub in command.get_subcommands() {
            every_command(sub, visit);
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_is_also_read_from_the_environment() {
        let mut flags = 0;
        every_command(&Cli::command(), &mut |command| {
            for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
                let long = arg.get_long().expect("a long name");
                let name = format!("CLOAKROOM_{}", long.to_uppercase().replace('-', "_"));
                let env = arg.get_env().map(|env| env.to_string_lossy().into_owned());
                assert_eq!(env, Some(name), "--{long} of {}", command.get_name());
                flags += 1;
            }
        });
        assert!(flags > 30, "saw {flags}");
    }

    #[test]
    fn every_command_and_argument_has_a_help_text() {
        every_command(&Cli::command(), &mut |command| {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments() {
                let help = arg.get_help().unwrap_or_else(|| panic!("{arg} of {command}"));
                assert!(!help.to_string().ends_with('.'), "{arg} of {command}");
            }
        });
    }
}
