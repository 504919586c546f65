//! The `cloakroom` command; see the library beside it.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    cloakroom_cli::run()
}
