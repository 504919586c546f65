//! `allocate`, `free`, `find`, `list`, `usage`: one call of the pool's plain API each.

use std::fmt::Write;

use cloakroom_pool::{FreeOutcome, Id};
use serde::Serialize;

use super::{Done, open_pool, tag};
use crate::args::{AllocateArgs, FindArgs, Format, FreeArgs, ListArgs, NamedArgs};
use crate::error::Error;
use crate::output::{Listing, Pair, deliver, json, pairs_table, print, print_json, printable, say};

#[derive(Serialize)]
struct Allocated<'a> {
    pool: &'a str,
    id: u64,
    tag: &'a str,
}

pub(super) fn allocate(args: &AllocateArgs) -> Result<Done, Error> {
    let tag = tag(&args.tag)?;
    let id = open_pool(&args.name, &args.data)?.allocate(&tag)?;
    let data = match args.output.output {
        Format::Json => json(&Allocated { pool: &args.name, id: id.0, tag: &args.tag.tag }),
        Format::Table => format!("{id}\n").into_bytes(),
    };
    deliver(&data).map_err(|cause| {
        let (pool, tag) = (args.name.clone(), printable(&tag));
        Error::NotDelivered { pool, id, tag, cause }
    })?;
    Ok(Done::Yes)
}

#[derive(Serialize)]
struct Freed<'a> {
    pool: &'a str,
    id: u64,
    tag: &'a str,
    outcome: &'static str,
}

pub(super) fn free(args: &FreeArgs) -> Result<Done, Error> {
    let tag = tag(&args.tag)?;
    let outcome = open_pool(&args.name, &args.data)?.free(Id(args.id), &tag)?;
    let (word, done) = match outcome {
        FreeOutcome::Freed => ("freed", Done::Yes),
        FreeOutcome::AlreadyFree => ("already_free", Done::Yes),
        FreeOutcome::NotOwner => ("not_owner", Done::Refused),
    };
    if args.output.output == Format::Json {
        let (pool, tag) = (&args.name, &args.tag.tag);
        print_json(&Freed { pool, id: args.id, tag, outcome: word })?;
    }
    match outcome {
        FreeOutcome::Freed => {}
        FreeOutcome::AlreadyFree => say(format_args!("id {} was free already", args.id)),
        FreeOutcome::NotOwner => {
            say(format_args!("error: id {} is held under another tag, and stays so", args.id));
        }
    }
    Ok(done)
}

#[derive(Serialize)]
struct Found<'a> {
    pool: &'a str,
    tag: &'a str,
    ids: Vec<u64>,
}

pub(super) fn find(args: &FindArgs) -> Result<Done, Error> {
    let tag = tag(&args.tag)?;
    let ids = open_pool(&args.name, &args.data)?.find(&tag)?;
    let ids: Vec<u64> = ids.into_iter().map(|id| id.0).collect();
    match args.output.output {
        Format::Json => print_json(&Found { pool: &args.name, tag: &args.tag.tag, ids })?,
        Format::Table => {
            let mut lines = String::new();
            for id in ids {
                writeln!(lines, "{id}").expect("a String takes everything");
            }
            print(lines.as_bytes())?;
        }
    }
    Ok(Done::Yes)
}

pub(super) fn list(args: &ListArgs) -> Result<Done, Error> {
    let ListArgs { named: args, prefix } = args;
    let pairs = open_pool(&args.name, &args.data)?.list(prefix)?;
    match args.output.output {
        Format::Json => {
            let held = pairs.iter().map(Pair::of).collect();
            print_json(&Listing { pool: &args.name, held })?;
        }
        Format::Table => print(pairs_table(&pairs).as_bytes())?,
    }
    Ok(Done::Yes)
}

#[derive(Serialize)]
struct Used<'a> {
    pool: &'a str,
    size: u64,
    held: u64,
    free: u64,
}

pub(super) fn usage(args: &NamedArgs) -> Result<Done, Error> {
    let usage = open_pool(&args.name, &args.data)?.usage()?;
    let (size, held) = (usage.size, usage.held);
    let free = size - held;
    match args.output.output {
        Format::Json => print_json(&Used { pool: &args.name, size, held, free })?,
        Format::Table => {
            let mut table = String::new();
            for (name, number) in [("size", size), ("held", held), ("free", free)] {
                writeln!(table, "{name:<6}{number}").expect("a String takes everything");
            }
            print(table.as_bytes())?;
        }
    }
    Ok(Done::Yes)
}
