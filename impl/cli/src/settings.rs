//! Settings of `serve`: a file, the environment, flags, in rising order of weight.
//!
//! A setting has one name: `--some-name`, `CLOAKROOM_SOME_NAME`, and `some_name` in the file, which is a flat
//! table in TOML.
//!
//! Invariants:
//! * a file with an unknown key or a value that its flag would not take is refused as a whole, with file, line,
//!   what was expected and what came; also where a flag outweighs that value;
//! * what is shown as in force is what the command was given.
//!
//! What it does not do: know what a setting means; the definition of the flags does.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::ArgAction;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches};
use thiserror::Error;
use toml::{Spanned, Value};

use crate::args::Cli;
use crate::error::Error;

const SERVE: &str = "serve";
/// Flags that say where settings are, or are one process's own affair, and are none.
const NO_SETTINGS: [&str; 4] = ["config", "check-config", "until-stdin-ends", "help"];

/// A file that does not say how to serve: its author's fault. Nothing was begun.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It cannot be read.
    #[error("{}: expected a readable file: {cause}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// The operating system's words.
        cause: std::io::Error,
    },
    /// It is no TOML.
    #[error("{place}: expected TOML: {cause}")]
    Toml {
        /// `FILE:LINE`
        place: String,
        /// Where it stops making sense.
        cause: String,
    },
    /// No setting has this name.
    #[error("{place}: expected one of {}, got {key:?}", known.join(", "))]
    Key {
        /// `FILE:LINE`
        place: String,
        /// What came.
        key: String,
        /// All settings.
        known: Vec<String>,
    },
    /// The setting does not take this value.
    #[error("{place}: {key}: expected {expected}, got {got}")]
    Value {
        /// `FILE:LINE`
        place: String,
        /// The setting.
        key: String,
        /// What it takes.
        expected: String,
        /// What came.
        got: String,
    },
}

/// What is in force, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    /// None: it is not set.
    pub(crate) values: Vec<String>,
    pub(crate) takes_many: bool,
    pub(crate) from: String,
}

/// One entry of a file.
struct Entry {
    place: String,
    text: String,
}

/// Reads a command line, with what a file says where neither a flag nor the environment does. Ends the process
/// with the usual message if the line itself is wrong.
pub(crate) fn read(line: Vec<OsString>) -> Result<(Cli, Vec<Setting>), Error> {
    let matches = matched(&line);
    let Some((SERVE, given)) = matches.subcommand() else { return Ok((cli(&matches), Vec::new())) };
    let Some(file) = given.get_one::<PathBuf>("config") else {
        let settings = in_force(given, &BTreeMap::new());
        return Ok((cli(&matches), settings));
    };
    let mut entries = entries(file)?;
    // Whoever is nearer outweighs the file.
    entries.retain(|key, _| !is_given(given, key));
    let mut whole = line;
    for (key, entry) in &entries {
        whole.push(format!("--{}={}", key.replace('_', "-"), entry.text).into());
    }
    let matches = matched(&whole);
    let given = matches.subcommand_matches(SERVE).expect("the same command as before");
    let settings = in_force(given, &entries);
    Ok((cli(&matches), settings))
}

fn matched(line: &[OsString]) -> ArgMatches {
    Cli::command().try_get_matches_from(line).unwrap_or_else(|mut error| {
        blame_variable(&mut error, line);
        error.exit()
    })
}

/// A bad value of a flag that is not on the line is the environment's.
fn blame_variable(error: &mut clap::Error, line: &[OsString]) {
    let is_of_value = matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else { return };
    // As in `--some-name <N>`.
    let flag = arg.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
    let Some(name) = flag.strip_prefix("--").filter(|_| is_of_value) else { return };
    let gives = |part: &OsString| {
        let part = part.to_string_lossy();
        part.split('=').next() == Some(&*flag)
    };
    if !line.iter().any(gives) {
        let variable = format!("CLOAKROOM_{}", name.to_uppercase().replace('-', "_"));
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
}

fn cli(matches: &ArgMatches) -> Cli {
    // The same definition has made them.
    Cli::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
}

/// All settings, as the definition of the flags has them.
fn settings() -> Vec<Arg> {
    let command = Cli::command();
    let serve = command.find_subcommand(SERVE).expect("it is defined");
    let is_setting = |arg: &&Arg| arg.get_long().is_some_and(|long| !NO_SETTINGS.contains(&long));
    serve.get_arguments().filter(is_setting).cloned().collect()
}

fn key(arg: &Arg) -> String {
    arg.get_id().as_str().to_owned()
}

fn is_given(given: &ArgMatches, key: &str) -> bool {
    let source = given.value_source(key);
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

fn in_force(given: &ArgMatches, entries: &BTreeMap<String, Entry>) -> Vec<Setting> {
    let setting = |arg: &Arg| {
        let key = key(arg);
        let values = given.get_raw(&key).into_iter().flatten();
        let values = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let from = match (entries.get(&key), given.value_source(&key)) {
            (Some(entry), _) => entry.place.clone(),
            (None, Some(ValueSource::CommandLine)) => format!("--{}", key.replace('_', "-")),
            (None, Some(ValueSource::EnvVariable)) => {
                format!("CLOAKROOM_{}", key.to_uppercase())
            }
            (None, _) => "default".to_owned(),
        };
        Setting { key, values, takes_many: takes_many(arg), from }
    };
    settings().iter().map(setting).collect()
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Settings as a file that says the same.
pub(crate) fn shown(settings: &[Setting]) -> String {
    let mut text = String::new();
    for Setting { key, values, takes_many, from } in settings {
        let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        let written = match (&quoted[..], takes_many) {
            ([], _) => writeln!(text, "# {key} is not set"),
            ([value], false) => writeln!(text, "{key} = {value} # {from}"),
            (values, _) => writeln!(text, "{key} = [{}] # {from}", values.join(", ")),
        };
        written.expect("a String takes everything");
    }
    text
}

fn quoted(value: &str) -> String {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { value.to_owned() } else { format!("{value:?}") }
}

/// What a file says, each value judged by its flag.
fn entries(file: &Path) -> Result<BTreeMap<String, Entry>, SettingsError> {
    let text = std::fs::read_to_string(file)
        .map_err(|cause| SettingsError::Read { file: file.to_owned(), cause })?;
    let place = |at: usize| {
        let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        format!("{}:{line}", file.display())
    };
    let table: BTreeMap<Spanned<String>, Spanned<Value>> =
        toml::from_str(&text).map_err(|error| SettingsError::Toml {
            place: place(error.span().map_or(0, |span| span.start)),
            cause: error.message().to_owned(),
        })?;
    let settings = settings();
    let mut entries = BTreeMap::new();
    for (name, value) in table {
        let place = place(name.span().start);
        let name = name.into_inner();
        let Some(arg) = settings.iter().find(|arg| key(arg) == name) else {
            let known = settings.iter().map(key).collect();
            return Err(SettingsError::Key { place, key: name, known });
        };
        let text = judged(&place, arg, value.get_ref())?;
        entries.insert(name, Entry { place, text });
    }
    Ok(entries)
}

/// A value as its flag takes it.
fn judged(place: &str, arg: &Arg, value: &Value) -> Result<String, SettingsError> {
    let wrong = |expected: String, got: String| SettingsError::Value {
        place: place.to_owned(),
        key: key(arg),
        expected,
        got,
    };
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    };
    let text = match value {
        Value::Array(values) if takes_many(arg) => {
            let texts: Option<Vec<String>> = values.iter().map(plain).collect();
            texts.map(|texts| texts.join(","))
        }
        value => plain(value),
    };
    let many = if takes_many(arg) { ", or a list of them" } else { "" };
    let text = text
        .ok_or_else(|| wrong(format!("a text or a number{many}"), value.type_str().to_owned()))?;
    let long = arg.get_long().unwrap_or_default();
    let line = ["cloakroom".to_owned(), SERVE.to_owned(), format!("--{long}={text}")];
    match Cli::command().try_get_matches_from(line) {
        // What must stand beside it is judged when all is together.
        Err(error)
            if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) =>
        {
            Err(wrong(expected(arg, &error), format!("{text:?}")))
        }
        _ => Ok(text),
    }
}

/// What a flag takes, in the words of whoever has judged it, or as its help has it.
fn expected(arg: &Arg, error: &clap::Error) -> String {
    let possible: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !possible.is_empty() {
        return format!("one of {}", possible.join(", "));
    }
    let names = arg.get_value_names().unwrap_or_default();
    let name = names.first().map_or_else(String::new, ToString::to_string);
    match error.source().map(ToString::to_string) {
        Some(cause) => match cause.strip_prefix("expected ") {
            Some(expected) => expected.to_owned(),
            None => format!("{name} ({cause})"),
        },
        None => name,
    }
}
