//! `pool create`, `pool list` and `pool delete`.

use std::fmt::Write;

use cloakroom_client::WIDE;
use cloakroom_pool::{Shape, ShapeError};
use serde::Serialize;

use super::place::Remote;
use super::{Done, defined, open_existing, open_or_create, policy, policy_name};
use crate::args::{CreateArgs, Format, NamedArgs, PolicyArg, PoolListArgs, ShapeArgs, TreeArgs};
use crate::directory::{self, Definition, Name};
use crate::error::Error;
use crate::output::{print, print_json, say};

/// A pool in JSON.
#[derive(Serialize)]
struct Record<'a> {
    pool: &'a str,
    number: u64,
    size: u64,
    fanout: u16,
    block: u16,
    policy: &'static str,
}

impl<'a> Record<'a> {
    /// A pool of a server.
    fn of(pool: &'a cloakroom_client::Pool) -> Self {
        Self {
            pool: &pool.pool,
            number: pool.number,
            size: pool.size,
            fanout: pool.fanout,
            block: pool.block,
            policy: match pool.policy {
                cloakroom_client::Policy::LowestFirst => "lowest-first",
                cloakroom_client::Policy::Spread => "spread",
            },
        }
    }

    fn new(name: &'a Name, definition: &Definition) -> Self {
        let tree = &definition.tree;
        Self {
            pool: name.as_str(),
            number: tree.pool().0,
            size: tree.size(),
            fanout: tree.shape().fanout(),
            block: tree.shape().block(),
            policy: policy_name(definition.policy),
        }
    }
}

impl TreeArgs {
    /// Children, slots and policy of a pool on servers.
    pub(super) fn on_servers(&self) -> (u16, u16, cloakroom_client::Policy) {
        let policy = match self.policy {
            PolicyArg::LowestFirst => cloakroom_client::Policy::LowestFirst,
            PolicyArg::Spread => cloakroom_client::Policy::Spread,
        };
        (self.fanout.unwrap_or(WIDE.0), self.block.unwrap_or(WIDE.1), policy)
    }

    /// Of a pool that is not on servers.
    pub(super) fn local(&self) -> Result<Shape, ShapeError> {
        let usual = Shape::default();
        Shape::new(self.fanout.unwrap_or(usual.fanout()), self.block.unwrap_or(usual.block()))
    }
}

pub(super) fn create(args: &CreateArgs) -> Result<Done, Error> {
    if let Some(remote) = Remote::of(&args.data.remote)? {
        let ShapeArgs { size, tree } = &args.shape;
        let (fanout, block, policy) = tree.on_servers();
        let pool = remote.wait(async |client| {
            client.create_pool_shaped(&args.name, *size, fanout, block, policy).await
        })?;
        match args.output.output {
            Format::Json => print_json(&Record::of(&pool))?,
            Format::Table => {
                say(format_args!("pool {} has the ids 0 to {}", pool.pool, pool.size - 1));
            }
        }
        return Ok(Done::Yes);
    }
    let name = Name::new(&args.name)?;
    let shape = args.shape.tree.local()?;
    // Before the file is made.
    cloakroom_pool::Tree::new(cloakroom_pool::PoolId(0), args.shape.size, shape)?;
    let map = open_or_create(&args.data)?;
    let policy = policy(args.shape.tree.policy);
    let definition = directory::create(&map, &name, args.shape.size, shape, policy)?;
    match args.output.output {
        Format::Json => print_json(&Record::new(&name, &definition))?,
        Format::Table => {
            let size = definition.tree.size();
            say(format_args!("pool {} has the ids 0 to {}", name.as_str(), size - 1));
        }
    }
    Ok(Done::Yes)
}

pub(super) fn list(args: &PoolListArgs) -> Result<Done, Error> {
    if let Some(remote) = Remote::of(&args.data.remote)? {
        let pools = remote.wait(async |client| client.pools().await)?;
        return show(args, &pools.iter().map(Record::of).collect::<Vec<_>>());
    }
    let map = open_existing(&args.data)?;
    let pools = directory::listed(map.scan(directory::PREFIX)?)?;
    let records: Vec<_> = pools.iter().map(|(name, pool)| Record::new(name, pool)).collect();
    show(args, &records)
}

pub(super) fn delete(args: &NamedArgs) -> Result<Done, Error> {
    if let Some(remote) = Remote::of(&args.data.remote)? {
        let pool = remote.wait(async |client| client.delete_pool(&args.name).await)?;
        return deleted(args, &Record::of(&pool));
    }
    let name = Name::new(&args.name)?;
    let map = open_existing(&args.data)?;
    let definition = defined(&map, &name)?;
    // The file is this process's alone: nobody allocates until it is closed.
    let pool = cloakroom_pool::Pool::new(map, definition.tree, definition.policy);
    let held = pool.list()?;
    if let Some((first, _)) = held.first() {
        let name = args.name.clone();
        return Err(Error::PoolInUse { name, held: held.len(), first: *first });
    }
    directory::remove(pool.map(), &name, definition.tree.pool())?;
    deleted(args, &Record::new(&name, &definition))
}

fn deleted(args: &NamedArgs, record: &Record<'_>) -> Result<Done, Error> {
    match args.output.output {
        Format::Json => print_json(record)?,
        Format::Table => say(format_args!("pool {} is gone", record.pool)),
    }
    Ok(Done::Yes)
}

fn show(args: &PoolListArgs, records: &[Record<'_>]) -> Result<Done, Error> {
    match args.output.output {
        Format::Json => print_json(&records)?,
        Format::Table => print(table(records).as_bytes())?,
    }
    Ok(Done::Yes)
}

fn table(records: &[Record<'_>]) -> String {
    let longest = records.iter().map(|record| record.pool.len()).max().unwrap_or(0);
    let wide = longest.max("POOL".len());
    let mut table = format!("{:<wide$}  {:>15}  FANOUT  BLOCK  POLICY\n", "POOL", "SIZE");
    for Record { pool, size, fanout, block, policy, .. } in records {
        writeln!(table, "{pool:<wide$}  {size:>15}  {fanout:>6}  {block:>5}  {policy}")
            .expect("a String takes everything");
    }
    table
}
