//! `recover` and `check`.
//!
//! `recover` drives the machine that the model checks, [`Recover`](cloakroom_pool::Recover), with a
//! file of live tags instead of a notebook that can be asked. The machine asks about a tag after it
//! read it from a slot; the file is older than that. So the pool is listed before the file is read,
//! and a tag that was not in that listing is never judged.
//!
//! Invariants:
//! * POOL-2: a tag is judged dead only if it was listed before the file of live tags was read and
//!   is not in that file. A caller that comes later has a tag that was not listed;
//! * POOL-7: whatever is held under a listed tag that is in no notebook is freed, also an id that
//!   the tag came to hold since, and every count is refreshed;
//! * a dry run judges in the same way and changes nothing, not even a count.
//!
//! The data file is closed while the files are read: they may come from a pipe in which another
//! `cloakroom` is at work.

use std::collections::BTreeSet;

use cloakroom_pool::{Id, Tag};
use serde::Serialize;

use super::live::{LiveError, can_be_named, listed_tags, live_tags};
use super::{Done, is_stdin, open_pool, read, shown};
use crate::args::{Format, NamedArgs, RecoverArgs};
use crate::error::Error;
use crate::output::{Pair, pairs_table, print, print_json, say};

#[derive(Serialize)]
struct Report<'a> {
    pool: &'a str,
    dry_run: bool,
    #[serde(flatten)]
    dead: Dead,
    /// How many ids are held now.
    held: u64,
    /// Counts that were brought up to date: stale ones, and those above what was freed.
    counts_repaired: u64,
}

/// The pairs whose tags were judged dead.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Dead {
    Freed(Vec<Pair>),
    WouldFree(Vec<Pair>),
}

/// Which tags are dead.
struct Judgement {
    /// Tags that were read from slots before the live ones were read.
    listed: BTreeSet<Tag>,
    live: BTreeSet<Tag>,
}

impl Judgement {
    fn is_live(&self, tag: &Tag) -> bool {
        !self.listed.contains(tag) || self.live.contains(tag) || !can_be_named(tag)
    }

    /// Whether only its spelling saves a tag.
    fn is_unnameable(&self, tag: &Tag) -> bool {
        self.listed.contains(tag) && !can_be_named(tag)
    }
}

pub(super) fn recover(args: &RecoverArgs) -> Result<Done, Error> {
    if is_stdin(&args.live) && args.listed.as_deref().is_some_and(is_stdin) {
        return Err(LiveError::BothStdin.into());
    }
    // This order is the whole safety of it: list, then read.
    let before = open_pool(&args.name, &args.data)?.list("")?;
    let listed = judgeable(args, &before)?;
    let judgement = Judgement { listed, live: read_live(args, before.len())? };
    let left = before.iter().filter(|(_, tag)| judgement.is_unnameable(tag)).count();
    if left > 0 {
        let (all, file) = (before.len(), shown(&args.live));
        say(format_args!(
            "left {left} of {all} held ids alone: no line of {file} can name their tags"
        ));
    }
    let pool = open_pool(&args.name, &args.data)?;
    if args.dry_run {
        let all = pool.list("")?;
        let held = all.len() as u64;
        let dead: Vec<_> = all.into_iter().filter(|(_, tag)| !judgement.is_live(tag)).collect();
        let (pairs, count) = (dead.iter().map(Pair::of).collect(), dead.len());
        let report = report(args, Dead::WouldFree(pairs), held, 0);
        let message = format!("would free {count} of {held} held ids; nothing has been changed");
        return tell(args, &report, &message, &dead);
    }
    let recovered = pool.recover(|tag| judgement.is_live(tag))?;
    let (pairs, count) = (recovered.freed.iter().map(Pair::of).collect(), recovered.freed.len());
    let report = report(args, Dead::Freed(pairs), recovered.held, recovered.counts_repaired);
    let message = format!("freed {count} of {} held ids", recovered.held + count as u64);
    tell(args, &report, &message, &recovered.freed)
}

fn report(args: &RecoverArgs, dead: Dead, held: u64, counts_repaired: u64) -> Report<'_> {
    Report { pool: &args.name, dry_run: args.dry_run, dead, held, counts_repaired }
}

fn tell(
    args: &RecoverArgs,
    report: &Report<'_>,
    message: &str,
    dead: &[(Id, Tag)],
) -> Result<Done, Error> {
    match args.output.output {
        Format::Json => print_json(report)?,
        Format::Table => {
            say(message);
            print(pairs_table(dead).as_bytes())?;
        }
    }
    Ok(Done::Yes)
}

/// The tags that may be judged at all.
fn judgeable(args: &RecoverArgs, before: &[(Id, Tag)]) -> Result<BTreeSet<Tag>, Error> {
    let Some(path) = &args.listed else {
        return Ok(before.iter().map(|(_, tag)| tag.clone()).collect());
    };
    Ok(listed_tags(&shown(path), &args.name, &read(path)?)?)
}

fn read_live(args: &RecoverArgs, held: usize) -> Result<BTreeSet<Tag>, Error> {
    let file = shown(&args.live);
    let live = live_tags(&file, &read(&args.live)?)?;
    if live.is_empty() && held > 0 && !args.none_live {
        return Err(LiveError::Empty { file, held }.into());
    }
    Ok(live)
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
