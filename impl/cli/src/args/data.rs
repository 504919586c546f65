//! Where the pools are: in a data file, or with servers.
//!
//! Invariants: those of the file above; a flag outweighs what the environment says of the other place, so that
//! no command changes a pool of a place that was not meant.
//!
//! What it does not do: open or connect.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, ValueHint};

use super::RemoteArgs;

/// Where the pools are.
#[derive(Clone, Debug)]
pub struct DataArgs {
    /// The data file.
    pub data: PathBuf,
    /// For how many seconds it is waited for.
    pub wait: u16,
    /// The servers; if there are none, the data file counts.
    pub remote: RemoteArgs,
}

/// Where the pools are, as it was said.
#[derive(Args)]
struct Said {
    /// The file in which the pools live; only `pool create` makes it. As a flag it outweighs CLOAKROOM_ENDPOINT
    #[arg(long, env = "CLOAKROOM_DATA", hide_env_values = true, value_name = "PATH")]
    #[arg(default_value = "./cloakroom.redb", value_hint = ValueHint::FilePath)]
    data: PathBuf,

    /// How long to wait while another process has the data file open
    #[arg(long, env = "CLOAKROOM_WAIT", hide_env_values = true, value_name = "SECONDS")]
    #[arg(default_value_t = 10)]
    wait: u16,

    /// Or which servers have them.
    #[command(flatten)]
    remote: RemoteArgs,
}

impl FromArgMatches for DataArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_flag = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        if is_flag("data") && is_flag("endpoint") {
            let message = "--data and --endpoint: expected at most one of them, got both\n";
            return Err(Error::raw(ErrorKind::ArgumentConflict, message));
        }
        let Said { data, wait, mut remote } = Said::from_arg_matches(matches)?;
        if is_flag("data") {
            remote.endpoint.clear();
        }
        Ok(Self { data, wait, remote })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for DataArgs {
    fn augment_args(command: Command) -> Command {
        Said::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Said::augment_args_for_update(command)
    }
}
