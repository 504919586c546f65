//! `cluster status|members|join|drain|remove`: who belongs to a cluster of servers.
//!
//! Invariants:
//! * a member is named by as many digits of its id as no other one begins with, or the command is refused;
//! * what is told of seats is what one node has heard, and is said to be: no seat does not mean drained, since
//!   those who take over may still need what is on the member's disk. That only the member itself knows.
//!
//! What it does not do: change the list; the servers do.

use std::fmt::Write;

use cloakroom_client::{Client, Cluster, Member, Standing};
use serde::Serialize;

use super::Done;
use super::place::Remote;
use crate::args::{DrainArgs, Format, JoinArgs, RemoveArgs, ServerArgs};
use crate::error::Error;
use crate::output::{print, print_json, say};

/// Digits of an id that are shown.
pub(super) const SHOWN: usize = 16;

#[derive(Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    cluster: &'a Cluster,
    /// Ids of members that the node that answered has not heard lately.
    silent: Vec<&'a str>,
}

/// A member, and whether it has drained.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    member: &'a Member,
    /// `None`: its own server was not asked.
    drained: Option<bool>,
}

#[derive(Serialize)]
struct Changed<'a> {
    node: &'a str,
    /// The list's version.
    version: u64,
}

pub(super) fn status(args: &ServerArgs) -> Result<Done, Error> {
    let cluster = cluster(args)?;
    let silent: Vec<&str> = silent(&cluster).map(|member| member.node.as_str()).collect();
    match args.output.output {
        Format::Json => print_json(&Status { cluster: &cluster, silent })?,
        Format::Table => {
            let of = |standing| {
                cluster.members.iter().filter(move |member| member.standing == standing).count()
            };
            let mut text = String::new();
            let mut row = |name: &str, value: String| {
                let _ = writeln!(text, "{name:<10}{value}");
            };
            row("cluster", cluster.cluster.clone());
            let members = if cluster.replicas == 1 { "member" } else { "members" };
            row("slots", format!("{}, {} {members} each", cluster.slots, cluster.replicas));
            let (active, draining) = (of(Standing::Active), of(Standing::Draining));
            row("members", format!("{active} active, {draining} draining"));
            row("list", format!("version {}", cluster.version));
            row("told by", shown(&cluster.node).to_owned());
            print(text.as_bytes())?;
            for member in silent.iter().map(|node| shown(node)) {
                say(format_args!("not heard for too long: {member}"));
            }
        }
    }
    Ok(if silent_none(&cluster) { Done::Yes } else { Done::Refused })
}

fn silent(cluster: &Cluster) -> impl Iterator<Item = &Member> {
    cluster.members.iter().filter(|member| member.silent)
}

fn silent_none(cluster: &Cluster) -> bool {
    silent(cluster).next().is_none()
}

pub(super) fn members(args: &ServerArgs) -> Result<Done, Error> {
    let cluster = cluster(args)?;
    let members = cluster.members.iter();
    let listed: Vec<Listed<'_>> = members
        .map(|member| Listed { member, drained: member.own.then_some(cluster.drained) })
        .collect();
    match args.output.output {
        Format::Json => print_json(&listed)?,
        Format::Table => {
            print(table(&listed).as_bytes())?;
            let draining =
                |it: &&Listed<'_>| it.drained.is_none() && it.member.standing == Standing::Draining;
            for Listed { member, .. } in listed.iter().filter(draining) {
                let node = shown(&member.node);
                say(format_args!(
                    "whether {node} has drained only its own server tells: --endpoint"
                ));
            }
        }
    }
    Ok(Done::Yes)
}

fn table(members: &[Listed<'_>]) -> String {
    let wide = |of: fn(&Member) -> &str, head: &str| {
        let long = members.iter().map(|it| of(it.member).chars().count()).max();
        long.unwrap_or(0).max(head.len())
    };
    let (address, zone) = (wide(|it| &it.address, "ADDRESS"), wide(|it| &it.zone, "ZONE"));
    let mut table = format!(
        "{:<SHOWN$}  {:<address$}  {:<zone$}  STANDING  SEATS  HEARD\n",
        "NODE", "ADDRESS", "ZONE"
    );
    for Listed { member, drained } in members {
        let standing = match (member.standing, drained) {
            (Standing::Active, _) => "active",
            (Standing::Draining, Some(true)) => "drained",
            (Standing::Draining, _) => "draining",
        };
        let heard = match member.heard_ms_ago {
            _ if member.own => "answers".to_owned(),
            None => "never".to_owned(),
            Some(ms) => format!("{}.{} s ago", ms / 1000, ms % 1000 / 100),
        };
        let name: String =
            member.zone.chars().map(|it| if it.is_control() { '?' } else { it }).collect();
        let _ = writeln!(
            table,
            "{:<SHOWN$}  {:<address$}  {name:<zone$}  {standing:<8}  {:>5}  {heard}",
            shown(&member.node),
            member.address,
            member.seats,
        );
    }
    table
}

pub(super) fn join(args: &JoinArgs) -> Result<Done, Error> {
    let [_] = args.server.endpoint.as_slice() else {
        return Err(Error::OneEndpoint { got: args.server.endpoint.len() });
    };
    let others = match &args.through {
        None => Vec::new(),
        Some(member) => {
            let member = Remote::new(std::slice::from_ref(member), &args.server.choice)?;
            member.wait(Client::cluster)?.members
        }
    };
    let newcomer = servers(&args.server)?;
    let version = newcomer.wait(async |client| client.join(&args.zone, &others).await)?;
    let node = newcomer.wait(Client::cluster)?.node;
    told(&args.server, &node, version, "is a member")
}

pub(super) fn drain(DrainArgs { member: args, undo }: &DrainArgs) -> Result<Done, Error> {
    let remote = servers(&args.server)?;
    let node = member(&remote, &args.node)?;
    if *undo {
        let version = remote.wait(async |client| client.undo_drain(&node).await)?;
        return told(&args.server, &node, version, "takes seats again");
    }
    let version = remote.wait(async |client| client.drain(&node).await)?;
    let advice =
        "drains: when `cluster members`, asked of its own server, shows it as drained, remove it";
    told(&args.server, &node, version, advice)
}

pub(super) fn remove(RemoveArgs { member: args, force }: &RemoveArgs) -> Result<Done, Error> {
    let remote = servers(&args.server)?;
    let node = member(&remote, &args.node)?;
    let version = remote.wait(async |client| client.remove_member(&node, *force).await)?;
    told(&args.server, &node, version, "is no member any more, and its disk never will be")
}

/// The id that begins so.
pub(super) fn member(remote: &Remote, digits: &str) -> Result<String, Error> {
    if digits.len() == 64 {
        return Ok(digits.to_owned());
    }
    let members = remote.wait(Client::cluster)?.members;
    let mut named = members.iter().filter(|member| member.node.starts_with(digits));
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only.node.clone()),
        (first, _) => {
            let got = if first.is_none() { "none" } else { "several" };
            Err(Error::WhichMember { digits: digits.to_owned(), got })
        }
    }
}

fn told(args: &ServerArgs, node: &str, version: u64, what: &str) -> Result<Done, Error> {
    match args.output.output {
        Format::Json => print_json(&Changed { node, version })?,
        Format::Table => {
            print(format!("{version}\n").as_bytes())?;
            say(format_args!("{} {what}", shown(node)));
        }
    }
    Ok(Done::Yes)
}

pub(super) fn shown(node: &str) -> &str {
    node.get(..SHOWN).unwrap_or(node)
}

fn cluster(args: &ServerArgs) -> Result<Cluster, Error> {
    servers(args)?.wait(Client::cluster)
}

fn servers(args: &ServerArgs) -> Result<Remote, Error> {
    Remote::new(&args.endpoint, &args.choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_a_seat_is_shown_as_drained_only_by_its_own_word() {
        let member = Member {
            node: "0".repeat(64),
            address: "127.0.0.1:1".to_owned(),
            key: "0".repeat(64),
            zone: "a".to_owned(),
            standing: Standing::Draining,
            seats: 0,
            heard_ms_ago: Some(0),
            silent: false,
            own: false,
        };
        for (drained, shown) in
            [(Some(true), "drained"), (Some(false), "draining"), (None, "draining")]
        {
            let table = table(&[Listed { member: &member, drained }]);
            let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
            assert_eq!((row[3], row[4]), (shown, "0"), "{table}");
        }
    }
}
