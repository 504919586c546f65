//! Whole clusters end to end: real `cloakroom serve` processes on loopback, real clients, and a nemesis
//! that kills, stops, cuts off, slows down, fills disks and lets certificates expire, by a schedule for
//! each seed. What the clients saw is judged by `tests/lincheck` and by the predicates of `specs`.
//!
//! | file | what |
//! |---|---|
//! | `world.rs` | a network, processes and mounts of our own |
//! | `cluster.rs` | the server processes |
//! | `schedule.rs`, `nemesis.rs`, `network.rs` | which fault comes when, and how it is done |
//! | `clients/`, `book.rs` | who calls what, and what is written down of it |
//! | `healing.rs` | all must be well again, and nothing missing |
//! | `rollback.rs` | an older copy of a node's data is put back |
//! | `verdict.rs` | the judges |
//! | `hostile.rs` | clients that mean harm |
//!
//! Exit codes: 0 nothing is wrong, 1 something is, 2 it could not be run.
//!
//! What it does not do: repeat a run exactly; the simulator does that. Machines that lie.

#![forbid(unsafe_code)]

mod args;
mod book;
mod clients;
mod cluster;
mod healing;
mod hostile;
mod nemesis;
mod network;
mod random;
mod rollback;
mod run;
mod schedule;
mod verdict;
mod world;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;
use crate::book::Pages;

fn main() -> ExitCode {
    // The nodes are this program under another name.
    let name = std::env::args_os().next();
    if name.is_some_and(|name| Path::new(&name).file_name() == Some(OsStr::new("cloakroom"))) {
        return cloakroom_cli::run();
    }
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.judge {
        return match Pages::load(folder) {
            Ok(pages) => {
                let judged = verdict::verdict(&pages);
                run::tell(&judged);
                ExitCode::from(u8::from(!judged.wrong.is_empty()))
            }
            Err(cause) => not_run(cause),
        };
    }
    let world = world::enter();
    if !world.is_own {
        say("NOT RUN: anything that needs a network of our own: unshare does not give one here");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return not_run(cause),
    };
    match runtime.block_on(run::run(&arguments, world)) {
        Ok(good) => ExitCode::from(u8::from(!good)),
        Err(cause) => not_run(cause),
    }
}

fn not_run(cause: impl std::fmt::Display) -> ExitCode {
    say(format_args!("it could not be run: {cause}"));
    ExitCode::from(2)
}

/// A message for whoever looks on.
fn say(message: impl std::fmt::Display) {
    eprintln!("{message}");
}
