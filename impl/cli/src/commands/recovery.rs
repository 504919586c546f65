//! `recover` and `check`.
//!
//! Invariants of `recover`, which is told of live tags by a file instead of a notebook that can be
//! asked:
//! * POOL-2: only pairs that were listed before the file of live tags was read are freed, each by a
//!   `free` that names id and tag. A caller that comes later is not in the listing;
//! * POOL-7: a listed pair whose tag is in no notebook is freed, and every count is refreshed;
//! * a dry run changes nothing, not even a count.
//!
//! The data file is closed while the files are read: they may come from a pipe in which another
//! `cloakroom` is at work.

use std::collections::BTreeSet;

use cloakroom_pool::{AtomicMap, FreeOutcome, Id, Pool, Tag};
use serde::Serialize;

use super::live::{LiveError, can_be_named, listed_pairs, live_tags};
use super::{Done, is_stdin, open_pool, read, shown};
use crate::args::{Format, NamedArgs, RecoverArgs};
use crate::error::Error;
use crate::output::{Pair, pairs_table, print, print_json, say};

#[derive(Serialize)]
struct Recovered<'a> {
    pool: &'a str,
    dry_run: bool,
    freed: Vec<Pair>,
    /// How many ids stay with their holders.
    held: usize,
    counts_repaired: u64,
}

pub(super) fn recover(args: &RecoverArgs) -> Result<Done, Error> {
    if is_stdin(&args.live) && args.listed.as_deref().is_some_and(is_stdin) {
        return Err(LiveError::BothStdin.into());
    }
    // This order is the whole safety of it: list, then read.
    let before = open_pool(&args.name, &args.data)?.list()?;
    let candidates = candidates(args, &before)?;
    let live = read_live(args, before.len())?;
    let (dead, left): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .filter(|(_, tag)| !live.contains(tag))
        .partition(|(_, tag)| can_be_named(tag));
    let all = before.len();
    if !left.is_empty() {
        let (left, file) = (left.len(), shown(&args.live));
        say(format_args!(
            "left {left} of {all} held ids alone: no line of {file} can name their tags"
        ));
    }
    let (freed, counts_repaired) = if args.dry_run {
        (dead, 0)
    } else {
        let pool = open_pool(&args.name, &args.data)?;
        (free_all(&pool, dead)?, pool.repair()?.counts_repaired)
    };
    let recovered = Recovered {
        pool: &args.name,
        dry_run: args.dry_run,
        held: all - freed.len(),
        freed: freed.iter().map(|(id, tag)| Pair::new(*id, tag)).collect(),
        counts_repaired,
    };
    match args.output.output {
        Format::Json => print_json(&recovered)?,
        Format::Table => {
            let freed_count = freed.len();
            if args.dry_run {
                say(format_args!(
                    "would free {freed_count} of {all} held ids; nothing has been changed"
                ));
            } else {
                say(format_args!("freed {freed_count} of {all} held ids"));
            }
            print(pairs_table(&freed).as_bytes())?;
        }
    }
    Ok(Done::Yes)
}

/// The pairs that may be freed at all.
fn candidates(args: &RecoverArgs, held: &[(Id, Tag)]) -> Result<Vec<(Id, Tag)>, Error> {
    let Some(path) = &args.listed else { return Ok(held.to_vec()) };
    let listed = listed_pairs(&shown(path), &read(path)?)?;
    Ok(held.iter().filter(|pair| listed.contains(pair)).cloned().collect())
}

fn read_live(args: &RecoverArgs, held: usize) -> Result<BTreeSet<Tag>, Error> {
    let file = shown(&args.live);
    let live = live_tags(&file, &read(&args.live)?)?;
    if live.is_empty() && held > 0 && !args.none_live {
        return Err(LiveError::Empty { file, held }.into());
    }
    Ok(live)
}

/// Frees these pairs; answers those that were still held.
fn free_all<M: AtomicMap>(pool: &Pool<M>, pairs: Vec<(Id, Tag)>) -> Result<Vec<(Id, Tag)>, Error> {
    let mut freed = Vec::new();
    for (id, tag) in pairs {
        if pool.free(id, &tag)? == FreeOutcome::Freed {
            freed.push((id, tag));
        }
    }
    Ok(freed)
}

#[derive(Serialize)]
struct Checked<'a> {
    pool: &'a str,
    held: u64,
    counts_repaired: u64,
    exact: bool,
}

pub(super) fn check(args: &NamedArgs) -> Result<Done, Error> {
    let repaired = open_pool(&args.name, &args.data)?.repair()?;
    let stale = repaired.counts_repaired;
    let exact = stale == 0;
    match args.output.output {
        Format::Json => {
            let (pool, held) = (&args.name, repaired.held);
            print_json(&Checked { pool, held, counts_repaired: stale, exact })?;
        }
        Format::Table if exact => {
            let held = repaired.held;
            print(format!("every count is exact; ids held: {held}\n").as_bytes())?;
        }
        Format::Table => {}
    }
    if exact {
        return Ok(Done::Yes);
    }
    say(format_args!(
        "error: expected exact counts, got {stale} stale; now put right. A caller that died \
         half-way leaves such counts"
    ));
    Ok(Done::Refused)
}
