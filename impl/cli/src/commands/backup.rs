//! `backup save|inspect|restore`.
//!
//! Invariants: what is printed of a backup was read whole, and its checksums are right.
//!
//! What it does not do: know the file; `backup` does.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::place::Remote;
use super::{Done, read, shown};
use crate::args::{BackupCommand, Format, InspectArgs, RestoreArgs, SaveArgs};
use crate::backup::{self, Backup, Entry, Total, Writer, hex};
use crate::error::Error;
use crate::output::{date, print, print_json, say};

#[derive(Serialize)]
struct Told<'a> {
    cluster: &'a str,
    begun_unix_ms: u64,
    #[serde(flatten)]
    total: Total,
    held: Vec<(&'a str, u64)>,
    checksum: &'a str,
}

#[derive(Serialize)]
struct RestoredTold {
    pools: u64,
    allocations: u64,
    keys: u64,
    not_restored: Vec<String>,
}

pub(super) fn backup(command: &BackupCommand) -> Result<Done, Error> {
    match command {
        BackupCommand::Save(args) => save(args),
        BackupCommand::Inspect(args) => inspect(args),
        BackupCommand::Restore(args) => restore(args),
    }
}

fn save(args: &SaveArgs) -> Result<Done, Error> {
    let keys = match &args.keys {
        None => Vec::new(),
        Some(path) => read(path)?,
    };
    let keys = String::from_utf8_lossy(&keys).into_owned();
    let remote = Remote::new(&args.server.endpoint, &args.server.choice)?;
    let failed = |cause| Error::Write { path: args.file.clone(), cause };
    let mut writer = Writer::create(&args.file).map_err(failed)?;
    let cluster = remote.wait(async |client| client.cluster().await)?;
    writer.begin(&cluster.cluster).map_err(failed)?;
    for pool in remote.wait(async |client| client.pools().await)? {
        say(format_args!("pool {}", pool.pool));
        let held = remote.wait(async |client| client.list(&pool.pool, "").await)?;
        writer.write(&Entry::Pool(pool)).map_err(failed)?;
        for held in held {
            writer.write(&Entry::Held(held)).map_err(failed)?;
        }
    }
    for key in keys.lines().filter(|key| !key.is_empty()) {
        match remote.wait(async |client| client.get(key).await)? {
            Some(held) => {
                let (key, value_hex) = (key.to_owned(), hex(&held.value));
                writer.write(&Entry::Key { key, value_hex }).map_err(failed)?;
            }
            None => say(format_args!("the key {key:?} has no value, and is left out")),
        }
    }
    writer.finish().map_err(failed)?;
    tell(&load(&args.file)?, args.server.output.output)
}

fn load(path: &Path) -> Result<Backup, Error> {
    Ok(backup::parse(&read(path)?, &shown(path))?)
}

fn inspect(args: &InspectArgs) -> Result<Done, Error> {
    tell(&load(&args.file)?, args.output.output)
}

fn tell(backup: &Backup, format: Format) -> Result<Done, Error> {
    let Backup { cluster, begun_unix_ms, pools, total, checksum, .. } = backup;
    let held = pools.iter().map(|saved| (saved.pool.pool.as_str(), saved.held.len() as u64));
    let held: Vec<(&str, u64)> = held.collect();
    if format == Format::Json {
        let (begun_unix_ms, total) = (*begun_unix_ms, *total);
        print_json(&Told { cluster, begun_unix_ms, total, held, checksum })?;
        return Ok(Done::Yes);
    }
    let Total { ended_unix_ms, pools, allocations, keys } = total;
    let took = ended_unix_ms.saturating_sub(*begun_unix_ms);
    let mut text = String::new();
    let _ = writeln!(text, "cluster      {cluster}");
    let _ = writeln!(text, "begun        {}", date(*begun_unix_ms));
    let _ = writeln!(text, "took         {took} ms: no snapshot of what changed meanwhile");
    let _ = writeln!(text, "pools        {pools}\nallocations  {allocations}\nkeys         {keys}");
    for (pool, held) in held {
        let _ = writeln!(text, "  {pool}: {held} held");
    }
    let _ = writeln!(text, "checksum     {checksum}");
    print(text.as_bytes())?;
    Ok(Done::Yes)
}

fn restore(args: &RestoreArgs) -> Result<Done, Error> {
    // Whole, before anything is changed.
    let backup = load(&args.file)?;
    let remote = Remote::new(&args.server.endpoint, &args.server.choice)?;
    let suffix = args.into_new_pools.as_deref().unwrap_or_default();
    let mut progress = |pool: &str| say(format_args!("pool {pool}"));
    let restored =
        remote.wait(async |client| backup::restore(client, &backup, suffix, &mut progress).await);
    let restored = restored.inspect_err(|_| say("broken off: call it again, and it goes on"))?;
    let backup::Restored { pools, allocations, keys, left } = restored;
    for why in &left {
        say(format_args!("not restored: {why}"));
    }
    let done = if left.is_empty() { Done::Yes } else { Done::Refused };
    if args.server.output.output == Format::Json {
        print_json(&RestoredTold { pools, allocations, keys, not_restored: left })?;
    } else {
        let text = format!(
            "pools        {pools}\nallocations  {allocations} brought\nkeys         {keys}\n"
        );
        print(text.as_bytes())?;
    }
    Ok(done)
}
