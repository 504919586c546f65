//! The simulator by itself; `cloakroom sim` is the same.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

/// Whole networks of real nodes in virtual time, from one seed.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Cli {
    #[command(flatten)]
    args: sim::SimArgs,
}

fn main() -> ExitCode {
    match sim::carry_out(&Cli::parse().args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
