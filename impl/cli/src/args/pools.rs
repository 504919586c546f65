//! The arguments of `pool`.
//!
//! Invariants: those of the file above.
//!
//! What it does not do: judge sizes and shapes.

use clap::{Args, Subcommand};

use super::{DataArgs, NamedArgs, OutputArgs, ShapeArgs};

/// The commands about pools.
#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// Create a pool
    Create(CreateArgs),
    /// List the pools of a data file
    List(PoolListArgs),
    /// Delete a pool of which no id is held
    #[command(after_help = "\
Exits with 1, and changes nothing, if an id is held: free it, or have `cloakroom recover` free what dead \
callers left. Nobody may be allocating meanwhile. Its name may be used again.

Example:
  cloakroom pool delete vlans")]
    Delete(NamedArgs),
}

/// `pool create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cloakroom pool create vlans --size 4094")]
pub struct CreateArgs {
    /// The pool's name: 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit
    pub name: String,
    /// Its tree and policy.
    #[command(flatten)]
    pub shape: ShapeArgs,
    /// Where it lives.
    #[command(flatten)]
    pub data: DataArgs,
    /// How to print it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `pool list`.
#[derive(Debug, Args)]
pub struct PoolListArgs {
    /// Where they live.
    #[command(flatten)]
    pub data: DataArgs,
    /// How to print them.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cloakroom list vlans --prefix web-")]
pub struct ListArgs {
    /// The pool and how to print its ids.
    #[command(flatten)]
    pub named: NamedArgs,
    /// Only ids whose tag begins so
    #[arg(long, env = "CLOAKROOM_PREFIX", hide_env_values = true, value_name = "TAG")]
    #[arg(default_value = "", hide_default_value = true)]
    pub prefix: String,
}
