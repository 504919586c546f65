//! `dht`: records and nodes of the DHT.
//!
//! Invariants: in a table ids and distances are cut to their first digits, which is enough to name a member; JSON
//! has them whole.
//!
//! What it does not do: take part in the DHT; the servers do.

use std::fmt::Write as _;

use cloakroom_client::Closest;

use super::Done;
use super::kv::{servers, told, value};
use super::members::{SHOWN, member, shown};
use crate::args::{DhtCommand, FindNodeArgs, Format, PingArgs, PutArgs, digits};
use crate::error::Error;
use crate::output::{print, print_json, say};

pub(super) fn dht(command: &DhtCommand) -> Result<Done, Error> {
    match command {
        DhtCommand::Put(args) => {
            let (PutArgs { key, value: given, server }, ttl) = (&args.put, args.ttl);
            let value = value(given)?;
            let put = async |client: &cloakroom_client::Client| match ttl {
                Some(ttl) => client.publish_for(key, &value, ttl).await,
                None => client.publish(key, &value).await,
            };
            told(server, key, servers(server)?.wait(put))
        }
        DhtCommand::Get(args) => {
            let remote = servers(&args.server)?;
            let records = remote.wait(async |client| client.records(&args.key).await)?;
            if args.server.output.output == Format::Json {
                print_json(&records)?;
            } else {
                for record in &records {
                    let value = record.value.as_deref().unwrap_or(&record.value_hex);
                    print(format!("{value}\n").as_bytes())?;
                }
            }
            if records.is_empty() {
                say(format_args!("error: the key {:?} has no record", args.key));
                return Ok(Done::Refused);
            }
            Ok(Done::Yes)
        }
        DhtCommand::FindNode(args) => find_node(args),
        DhtCommand::Ping(args) => ping(args),
    }
}

fn find_node(args: &FindNodeArgs) -> Result<Done, Error> {
    let remote = servers(&args.server)?;
    let closest = if args.key {
        remote.wait(async |client| client.closest_to_key(&args.point).await)?
    } else {
        let digits = digits(&args.point).map_err(|_| Error::Point { got: args.point.clone() })?;
        let point = member(&remote, &digits)?;
        remote.wait(async |client| client.closest_to_id(&point).await)?
    };
    if args.server.output.output == Format::Json {
        print_json(&closest)?;
    } else {
        print(table(&closest).as_bytes())?;
        say(format_args!("{} asked, {} ms", closest.asked, closest.took_us / 1000));
    }
    Ok(Done::Yes)
}

fn table(closest: &Closest) -> String {
    let mut table = format!("{:<SHOWN$}  {:<SHOWN$}  ADDRESS\n", "NODE", "DISTANCE");
    for near in &closest.nodes {
        let (node, distance) = (shown(&near.node), shown(&near.distance));
        let own = if near.own { " (answers)" } else { "" };
        let _ = writeln!(table, "{node:<SHOWN$}  {distance:<SHOWN$}  {}{own}", near.address);
    }
    table
}

fn ping(args: &PingArgs) -> Result<Done, Error> {
    let remote = servers(&args.server)?;
    let node = member(&remote, &args.node)?;
    let pinged = remote.wait(async |client| client.ping(&node).await)?;
    match args.server.output.output {
        Format::Json => print_json(&pinged)?,
        Format::Table => {
            let (ms, us) = (pinged.round_trip_us / 1000, pinged.round_trip_us % 1000);
            print(format!("{ms}.{us:03} ms\n").as_bytes())?;
            say(format_args!("{} at {} has answered", shown(&pinged.node), pinged.address));
        }
    }
    Ok(Done::Yes)
}
