//! `cluster init` and `dev cluster`.
//!
//! Invariants:
//! * nothing that is there is overwritten;
//! * a folder is there whole or not at all: it is made beside its place, then moved there;
//! * `dev cluster` ends no process but those that it has started, and waits for them; they end also if it is
//!   killed.
//!
//! What it does not do: bring folders to other machines.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cloakroom_server::{
    Authority, Beginning, NodeDisk, NodeFolder, Place, Prepared, create_client,
};
use tokio::signal::unix::{SignalKind, signal};

use super::Done;
use super::cert::{authority, client_folder, days, folder_error};
use crate::args::{DevClusterArgs, FounderArg, InitArgs};
use crate::error::Error;
use crate::output::{print, say};

pub(super) fn init(args: &InitArgs) -> Result<Done, Error> {
    let valid_for = days(args.validity.valid_days);
    found(&args.folder, &args.nodes, args.slots, args.replicas, valid_for)?;
    for node in &args.nodes {
        let folder = args.folder.join(&node.name);
        print(format!("{}\n", folder.display()).as_bytes())?;
    }
    say(format_args!("keep {} to yourself", args.folder.join("authority").display()));
    Ok(Done::Yes)
}

/// Makes a cluster whole beside its place, then moves it there: what fails leaves nothing.
fn found(
    folder: &Path,
    nodes: &[FounderArg],
    slots: u32,
    replicas: u8,
    valid_for: Duration,
) -> Result<(), Error> {
    differ(nodes)?;
    Beginning::judge(slots, replicas)?;
    let names = || nodes.iter().map(|node| node.name.as_str()).chain(["authority"]);
    for name in names() {
        nothing_at(&folder.join(name))?;
    }
    if !folder.exists() {
        return whole(folder, |new| make(new, nodes, slots, replicas, valid_for));
    }
    // What else is in there stays.
    let staged = folder.join(format!(".new-{}", std::process::id()));
    let failed = |cause| Error::Write { path: folder.to_owned(), cause };
    clean(&staged, || {
        make(&staged, nodes, slots, replicas, valid_for)?;
        for name in names() {
            fs::rename(staged.join(name), folder.join(name)).map_err(failed)?;
        }
        fs::remove_dir(&staged).map_err(failed)
    })
}

/// What is made beside a place, moved there.
pub(super) fn whole<T>(at: &Path, how: impl FnOnce(&Path) -> Result<T, Error>) -> Result<T, Error> {
    nothing_at(at)?;
    let mut name = at.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = at.with_file_name(name);
    clean(&new, || {
        let made = how(&new)?;
        fs::rename(&new, at).map_err(|cause| Error::Write { path: at.to_owned(), cause })?;
        Ok(made)
    })
}

/// What a failure leaves in a folder that is not in its place yet, goes.
fn clean<T>(new: &Path, how: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // The failure is told; that this one fails too adds nothing.
    how().inspect_err(|_| drop(fs::remove_dir_all(new)))
}

pub(super) fn nothing_at(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Err(folder_error(cloakroom_server::Error::Exists(path.to_owned())));
    }
    Ok(())
}

/// Two nodes cannot have one folder, and of two at one address nobody would find the second.
fn differ(nodes: &[FounderArg]) -> Result<(), Error> {
    for (at, node) in nodes.iter().enumerate() {
        for before in &nodes[..at] {
            if before.name == node.name {
                return Err(Error::FounderTwice { got: node.name.clone() });
            }
            if before.address == node.address {
                return Err(Error::FounderTwice { got: node.address.to_string() });
            }
        }
    }
    Ok(())
}

fn make(
    folder: &Path,
    nodes: &[FounderArg],
    slots: u32,
    replicas: u8,
    valid_for: Duration,
) -> Result<(), Error> {
    let authority = Authority::create(&folder.join("authority")).map_err(folder_error)?;
    let mut founders = Vec::new();
    for node in nodes {
        let place = Place { address: node.address, zone: node.zone.clone() };
        let at = folder.join(&node.name);
        let founder = Prepared::create(&at, &authority, place, valid_for);
        let founder = founder.map_err(folder_error)?;
        authority.name(&node.name, founder.id()).map_err(folder_error)?;
        founders.push(founder);
    }
    let all: Vec<&Prepared> = founders.iter().collect();
    let beginning = Beginning::new(&all, slots, replicas)?;
    for (node, founder) in nodes.iter().zip(&founders) {
        let at = folder.join(&node.name);
        beginning.write(&authority, &at).map_err(folder_error)?;
        let disk = NodeDisk::create(&at.join("node.redb"), founder.id());
        drop(disk.map_err(cloakroom_server::FolderError::from)?);
    }
    // For those who come later.
    beginning.write(&authority, &folder.join("authority")).map_err(folder_error)
}

pub(super) fn dev_cluster(args: &DevClusterArgs) -> Result<Done, Error> {
    let system = |cause| Error::System { what: "the cluster's processes", cause };
    let is_there = args.folder.exists();
    let there = if is_there { node_folders(&args.folder).map_err(system)?.len() } else { 0 };
    let count = judged(args, there)?;
    if there == 0 {
        let nodes = loopback(count).map_err(system)?;
        let replicas = u8::try_from(count.min(3)).unwrap_or(3);
        found(&args.folder, &nodes, 64, replicas, days(365))?;
    }
    let client = client_folder(&args.folder, "dev");
    if args.secure && !client.exists() {
        let authority = authority(&args.folder)?;
        create_client(&client, &authority, "dev", days(365)).map_err(folder_error)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(system)?.block_on(run_all(args))
}

/// How many servers there shall be, where so many nodes are already.
fn judged(args: &DevClusterArgs, there: usize) -> Result<u16, Error> {
    let count = match (args.nodes, there) {
        (nodes, 0) => nodes.unwrap_or(3),
        (Some(nodes), there) if usize::from(nodes) != there => {
            return Err(Error::Nodes { there, folder: args.folder.clone(), got: nodes });
        }
        (_, there) => u16::try_from(there).unwrap_or(u16::MAX),
    };
    let most = u16::MAX - (count - 1);
    if args.first_port > most {
        return Err(Error::FirstPort { most, count, got: args.first_port });
    }
    Ok(count)
}

/// Nodes on ports that are free now, held together until all are known.
fn loopback(count: u16) -> std::io::Result<Vec<FounderArg>> {
    let sockets: Vec<UdpSocket> = (0..count)
        .map(|_| UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))))
        .collect::<Result<_, _>>()?;
    let founder = |(number, socket): (usize, &UdpSocket)| {
        let name = format!("node-{}", number + 1);
        Ok(FounderArg { zone: name.clone(), name, address: socket.local_addr()? })
    };
    sockets.iter().enumerate().map(founder).collect()
}

async fn run_all(args: &DevClusterArgs) -> Result<Done, Error> {
    let system = |cause| Error::System { what: "the cluster's processes", cause };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut children = Children(Vec::new());
    let nodes = node_folders(&args.folder).map_err(system)?;
    for (number, folder) in nodes.iter().enumerate() {
        // Of a folder that cannot be read, here and not in a process that says so elsewhere.
        NodeFolder::open(folder)?;
        let port = match args.first_port {
            0 => 0,
            first => first + u16::try_from(number).expect("judged before"),
        };
        let authority = args.folder.join("authority");
        children.0.push(child(folder, &authority, port, args.secure).map_err(system)?);
    }
    for (child, folder) in children.0.iter_mut().zip(&nodes) {
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(system)?;
        }
        let Some(url) = line.trim().strip_prefix("cloakroom serves ") else {
            let cause = std::io::Error::other(format!("{} has not started", folder.display()));
            return Err(system(cause));
        };
        print(format!("{url}  {}\n", folder.display()).as_bytes())?;
    }
    if args.secure {
        let client = client_folder(&args.folder, "dev");
        say(format_args!("commands need --identity {}", client.display()));
    }
    say("Ctrl-C stops them");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let clean = children.end().map_err(system)?;
    Ok(if clean { Done::Yes } else { Done::Refused })
}

fn node_folders(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut nodes = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.join("node.key").is_file() {
            nodes.push(path);
        }
    }
    nodes.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(nodes)
}

fn child(folder: &Path, authority: &Path, port: u16, secure: bool) -> std::io::Result<Child> {
    let address = format!("127.0.0.1:{port}");
    let (http, https) = if secure { ("off", Some(&address)) } else { (&*address, None) };
    let has_authority = authority.join("authority.key").exists();
    Command::new(std::env::current_exe()?)
        .args(["serve", "--http", http])
        .args(https.into_iter().flat_map(|address| ["--https", address]))
        .arg("--folder")
        .arg(folder)
        .args(has_authority.then_some("--authority"))
        .args(has_authority.then_some(authority))
        // No load balancer is before them.
        .args(["--end-grace-ms", "0"])
        // Should this process be killed, they end.
        .arg("--until-stdin-ends")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A terminal's Ctrl-C is for this process, which tells them: told twice they would end at once.
        .process_group(0)
        .spawn()
}

/// Processes that do not outlive this one.
struct Children(Vec<Child>);

impl Children {
    /// Tells them to end, and waits; whether all have ended cleanly.
    fn end(&mut self) -> std::io::Result<bool> {
        for child in &self.0 {
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        }
        let mut clean = true;
        for child in &mut self.0 {
            clean &= child.wait()?.success();
        }
        self.0.clear();
        Ok(clean)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended before.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
