//! The runner's two streams: the table to stdout, the progress to stderr.
//!
//! Invariant: a reader that has gone away stops nothing. The mutants are still tried, and the exit
//! code still says what came of them.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes to stdout.
///
/// # Errors
/// The operating system's; a closed pipe is none.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a line to stderr. A stderr that is gone takes no message, also not this one.
pub(crate) fn say(message: impl Display) {
    let _ = writeln!(io::stderr(), "{message}");
}
