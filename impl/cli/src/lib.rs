//! The `cloakroom` command: pools in a durable file or on a server, atomic keys and DHT records on a
//! server, the server itself, clusters and their certificates, the replay of a trace with callers
//! dying, and the simulator of whole networks, which is a crate of its own.
//!
//! Entry symbol: [`run`]. `args` says what can be asked, `commands` does it, `directory` keeps the
//! pools of a data file, `settings` reads what `serve` is told by a file, `replay` is the main job, `error` has the exit codes, `output` the two
//! streams.
//!
//! Invariants:
//! * data goes to stdout, messages to stderr;
//! * exit code 0 is done, 1 refused or failed, 2 wrong usage or input with nothing changed.
//!
//! What it does not do: share a data file with another process at one time.

#![forbid(unsafe_code)]

mod args;
mod backup;
mod commands;
mod directory;
mod error;
mod output;
mod replay;
mod settings;

use std::process::ExitCode;

pub use args::Cli;
pub use backup::BackupError;
pub use commands::{Done, LiveError};
pub use directory::{DefinitionError, NameError};
pub use error::Error;
pub use replay::{CrashRate, CrashRateError, TraceError};
pub use settings::SettingsError;

/// Reads the command line, carries it out, and says what went wrong.
pub fn run() -> ExitCode {
    let read = settings::read(std::env::args_os().collect());
    match read.and_then(|(cli, settings)| commands::carry_out(cli, &settings)) {
        Ok(Done::Yes) => ExitCode::SUCCESS,
        Ok(Done::Refused) => ExitCode::from(1),
        Err(error) => {
            output::say(format_args!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
