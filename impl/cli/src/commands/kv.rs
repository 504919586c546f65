//! `kv`: atomic keys of servers.
//!
//! Invariants: a value goes to stdout as it is, and its version to stderr; JSON has both. On a terminal the value
//! ends its line.
//!
//! What it does not do: keep anything; the servers do.

use std::io::IsTerminal;

use cloakroom_client::MAX_VALUE_BYTES;
use serde::Serialize;

use super::place::Remote;
use super::{Done, read, shown};
use crate::args::{Format, KvCommand, ServerArgs, ValueArgs};
use crate::error::Error;
use crate::output::{print, print_json, say};

#[derive(Serialize)]
struct Held<'a> {
    key: &'a str,
    version: u64,
    value: &'a str,
}

#[derive(Serialize)]
struct Written<'a> {
    key: &'a str,
    version: u64,
}

pub(super) fn kv(command: &KvCommand) -> Result<Done, Error> {
    match command {
        KvCommand::Get(args) => {
            let remote = servers(&args.server)?;
            let Some(held) = remote.wait(async |client| client.get(&args.key).await)? else {
                say(format_args!("error: the key {:?} has no value", args.key));
                return Ok(Done::Refused);
            };
            if args.server.output.output == Format::Json {
                let value = String::from_utf8_lossy(&held.value);
                print_json(&Held { key: &args.key, version: held.version, value: &value })?;
            } else {
                print(&held.value)?;
                print(line_end(&held.value, std::io::stdout().is_terminal()))?;
                say(format_args!("version {}", held.version));
            }
            Ok(Done::Yes)
        }
        KvCommand::PutIfAbsent(args) => {
            let value = value(&args.value)?;
            let put = async |client: &cloakroom_client::Client| {
                client.put_if_absent(&args.key, &value).await
            };
            told(&args.server, &args.key, servers(&args.server)?.wait(put))
        }
        KvCommand::Cas(args) => {
            let value = value(&args.value)?;
            let set = async |client: &cloakroom_client::Client| {
                client.compare_and_set(&args.key, args.expected, &value).await
            };
            told(&args.server, &args.key, servers(&args.server)?.wait(set))
        }
        KvCommand::Remove(args) => {
            let remove = async |client: &cloakroom_client::Client| {
                client.remove(&args.key, args.expected).await
            };
            told(&args.server, &args.key, servers(&args.server)?.wait(remove))
        }
    }
}

/// What follows a value: on a terminal the version, on stderr, stands on a line of its own.
fn line_end(value: &[u8], on_terminal: bool) -> &'static [u8] {
    if on_terminal && !value.ends_with(b"\n") { b"\n" } else { b"" }
}

/// The value of a command line, or of the file that it names.
pub(super) fn value(args: &ValueArgs) -> Result<Vec<u8>, Error> {
    let value = match &args.file {
        Some(path) => read(path)?,
        None => args.value.clone().unwrap_or_default().into_bytes(),
    };
    if value.len() > MAX_VALUE_BYTES {
        let of = args.file.as_deref().map_or_else(|| "value".to_owned(), shown);
        return Err(Error::ValueSize { of, got: value.len() });
    }
    Ok(value)
}

pub(super) fn told(
    args: &ServerArgs,
    key: &str,
    written: Result<u64, Error>,
) -> Result<Done, Error> {
    let version = written?;
    match args.output.output {
        Format::Json => print_json(&Written { key, version })?,
        Format::Table => print(format!("{version}\n").as_bytes())?,
    }
    Ok(Done::Yes)
}

pub(super) fn servers(args: &ServerArgs) -> Result<Remote, Error> {
    Remote::new(&args.endpoint, &args.choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_its_line_on_a_terminal_and_has_its_bytes_elsewhere() {
        for (value, end) in [("red", "\n"), ("red\n", ""), ("", "\n")] {
            assert_eq!(line_end(value.as_bytes(), true), end.as_bytes());
            assert_eq!(line_end(value.as_bytes(), false), b"");
        }
    }
}
