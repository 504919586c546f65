//! `completion` and `man`: made from the command line's own definition, so that they never differ
//! from it.

use clap::CommandFactory;

use super::Done;
use crate::args::{Cli, CompletionArgs, ManArgs};
use crate::error::Error;
use crate::output::{print, say};

pub(super) fn completion(args: &CompletionArgs) -> Result<Done, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cloakroom", &mut script);
    print(&script)?;
    Ok(Done::Yes)
}

pub(super) fn man(args: &ManArgs) -> Result<Done, Error> {
    let path = &args.dir;
    clap_mangen::generate_to(Cli::command(), path)
        .map_err(|cause| Error::WriteDirectory { path: path.clone(), cause })?;
    say(format_args!("man pages written to {}", path.display()));
    Ok(Done::Yes)
}
