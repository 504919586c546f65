//! A cluster of real `cloakroom serve` processes on loopback, with its own authority.
//!
//! The processes are this program under another name: `cloakroom` is linked in, so that what was built is
//! what is tried.
//!
//! Invariants: a node keeps its ports and folder over all its starts; no process outlives its [`Cluster`].
//!
//! What it does not do: decide what happens to whom.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use cloakroom_server::{Authority, Credentials};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::world::World;

/// A start takes no longer, also on a machine with much else to do.
const START_WITHIN: Duration = Duration::from_mins(1);
/// A clean end takes no longer: ten seconds for what is under way, and some for the disk.
const END_WITHIN: Duration = Duration::from_secs(40);
const SLOTS: &str = "16";
/// Of the small disk.
const DISK_BYTES: usize = 24 << 20;
/// Ports of nodes, also of those that are down.
static TAKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
const FAKE_TIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A node, whether it runs or not.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) http: u16,
    pub(crate) quic: u16,
    /// Where it serves HTTPS, if it does.
    pub(crate) https: Option<u16>,
    running: Option<(Child, BufReader<ChildStdout>)>,
}

/// All nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: PathBuf,
    pub(crate) nodes: Vec<Node>,
    /// Where the last founder's clock is set, if it can be.
    clock: Option<PathBuf>,
    /// Whether the first founder has a small disk of its own.
    pub(crate) has_small_disk: bool,
    /// How often a node was added.
    added: usize,
}

/// Whose clock can be set: any but the one with the small disk.
const CLOCK_OF: usize = 1;
/// Whose disk is small.
pub(crate) const DISK_OF: usize = 0;

impl Cluster {
    /// Makes a cluster in a folder that is not there, and starts all its nodes. `is_secure`: the first one serves
    /// HTTPS as well.
    pub(crate) async fn found(
        folder: &Path,
        count: usize,
        world: World,
        is_secure: bool,
    ) -> Result<Self, String> {
        let nodes: Vec<Node> = free_ports(count)
            .map_err(|cause| format!("free ports: {cause}"))?
            .into_iter()
            .enumerate()
            .map(|(number, (http, quic))| {
                Node::new(folder, &format!("n{}", number + 1), http, quic)
            })
            .collect();
        let mut made =
            Self { folder: folder.into(), nodes, clock: None, has_small_disk: false, added: 0 };
        let path = folder.display().to_string();
        let mut line = vec!["cluster".to_string(), "init".into(), path];
        line.extend(made.nodes.iter().map(|it| format!("{}=127.0.0.1:{}", it.name, it.quic)));
        line.extend(["--slots".to_string(), SLOTS.into()]);
        made.command(&line).await?;
        if world.is_own {
            made.shrink_disk().map_err(|cause| format!("a small disk: {cause}"))?;
        }
        if Path::new(FAKE_TIME).exists() {
            made.clock = Some(folder.join("clock"));
            made.set_clock(0);
        }
        if is_secure {
            let ports = free_ports(1).map_err(|cause| format!("a free port: {cause}"))?;
            made.nodes[0].https = Some(ports[0].0);
        }
        for number in 0..count {
            made.start(number).await?;
        }
        Ok(made)
    }

    /// Puts a node's folder on a file system of its own.
    fn shrink_disk(&mut self) -> std::io::Result<()> {
        let folder = &self.nodes[DISK_OF].folder;
        let aside = folder.with_extension("aside");
        std::fs::rename(folder, &aside)?;
        std::fs::create_dir(folder)?;
        let size = format!("size={DISK_BYTES},mode=0700");
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder)
            .status()?;
        self.has_small_disk = mount.success();
        for entry in std::fs::read_dir(&aside)? {
            let entry = entry?;
            std::fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Whether clocks can be set.
    pub(crate) fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Sets the clock on one node's wall off by so many seconds.
    pub(crate) fn set_clock(&self, seconds: i64) {
        let Some(clock) = &self.clock else { return };
        let sign = if seconds < 0 { "" } else { "+" };
        // Replaced as a whole: the node may be reading it.
        let new = clock.with_extension("new");
        let written = std::fs::write(&new, format!("{sign}{seconds}\n"))
            .and_then(|()| std::fs::rename(&new, clock));
        written.expect("the run's folder can be written");
    }

    /// `127.0.0.1:PORT` of all founders.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(Node::endpoint).collect()
    }

    /// Starts a node that does not run, and waits until it serves.
    pub(crate) async fn start(&mut self, number: usize) -> Result<(), String> {
        let clock = self.clock.clone().filter(|_| number == CLOCK_OF);
        let log = self.log(number).map_err(|cause| format!("a log: {cause}"))?;
        let node = &mut self.nodes[number];
        let failed =
            |cause: &dyn std::fmt::Display| format!("{} does not start: {cause}", node.name);
        let mut command = cloakroom();
        command
            .args(["serve", "--http", &format!("127.0.0.1:{}", node.http)])
            .args(["--listen", &format!("127.0.0.1:{}", node.quic), "--folder"])
            .arg(&node.folder)
            .args(["--log", "info"])
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log));
        if let Some(clock) = clock {
            command
                .env("LD_PRELOAD", FAKE_TIME)
                .env("FAKETIME_TIMESTAMP_FILE", clock)
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        if let Some(https) = node.https {
            command.args(["--https", &format!("127.0.0.1:{https}")]);
        }
        let mut child = command.spawn().map_err(|cause| failed(&cause))?;
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        match timeout(START_WITHIN, out.read_line(&mut line)).await {
            Ok(Ok(_)) if line.starts_with("cloakroom serves ") => {
                node.running = Some((child, out));
                Ok(())
            }
            got => Err(failed(&format!("got {got:?} {line:?}"))),
        }
    }

    fn log(&self, number: usize) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.log_path(number))
    }

    /// Where a node's log is.
    pub(crate) fn log_path(&self, number: usize) -> PathBuf {
        self.folder.with_file_name(format!("{}.log", self.nodes[number].name))
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self, number: usize) {
        if let Some((mut child, _)) = self.nodes[number].running.take() {
            // It may have ended before.
            let _ = child.kill().await;
        }
    }

    /// Sends a signal to a node that runs.
    pub(crate) async fn signal(&self, number: usize, signal: &str) {
        if let Some(id) = self.nodes[number].process() {
            // It may have ended before.
            let _ = Command::new("kill").args([signal, &id.to_string()]).status().await;
        }
    }

    /// SIGTERM, and a clean end within a bound.
    pub(crate) async fn end(&mut self, number: usize) -> Result<(), String> {
        match self.terminate(number).await? {
            Some(status) if !status.success() => Err(self.ended_wrongly(number, status)),
            _ => Ok(()),
        }
    }

    /// As [`Cluster::end`], of a node whose disk was full: where it met that, its last word is exit code 1.
    pub(crate) async fn end_after_full_disk(&mut self, number: usize) -> Result<(), String> {
        match self.terminate(number).await? {
            Some(status) if !matches!(status.code(), Some(0 | 1)) => {
                Err(self.ended_wrongly(number, status))
            }
            _ => Ok(()),
        }
    }

    fn ended_wrongly(&self, number: usize, status: ExitStatus) -> String {
        format!("{}: ended with {status} after SIGTERM", self.nodes[number].name)
    }

    async fn terminate(&mut self, number: usize) -> Result<Option<ExitStatus>, String> {
        self.signal(number, "-TERM").await;
        let node = &mut self.nodes[number];
        let Some((mut child, _)) = node.running.take() else { return Ok(None) };
        match timeout(END_WITHIN, child.wait()).await {
            Ok(Ok(status)) => Ok(Some(status)),
            _ => Err(format!("{}: has not ended {END_WITHIN:?} after SIGTERM", node.name)),
        }
    }

    /// Nodes that ought to run and have ended by themselves; they count as not running then.
    pub(crate) fn fallen(&mut self) -> Vec<(String, ExitStatus)> {
        let mut fallen = Vec::new();
        for node in &mut self.nodes {
            let ended =
                node.running.as_mut().and_then(|(child, _)| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                node.running = None;
                fallen.push((node.name.clone(), status));
            }
        }
        fallen
    }

    /// Starts whoever does not run.
    pub(crate) async fn start_all(&mut self) -> Result<(), String> {
        for number in 0..self.nodes.len() {
            if self.nodes[number].running.is_none() {
                self.start(number).await?;
            }
        }
        Ok(())
    }

    /// A node more, with a certificate and a process, and not yet a member. Its number.
    pub(crate) async fn add(&mut self) -> Result<usize, String> {
        self.added += 1;
        let name = format!("x{}", self.added);
        let ports = free_ports(1).map_err(|cause| format!("free ports: {cause}"))?;
        self.command(&["cert".into(), "issue".into(), self.path(), name.clone()]).await?;
        self.nodes.push(Node::new(&self.folder, &name, ports[0].0, ports[0].1));
        let number = self.nodes.len() - 1;
        self.start(number).await?;
        Ok(number)
    }

    /// A new certificate for a node, and SIGHUP.
    pub(crate) async fn renew(&self, number: usize, valid_for: Duration) -> Result<(), String> {
        let authority = Authority::open(&self.folder.join("authority"));
        let renewed = authority.and_then(|authority| {
            Credentials::renew(&self.nodes[number].folder, &authority, &[], valid_for)
        });
        renewed.map_err(|cause| format!("{}: {cause}", self.nodes[number].name))?;
        self.signal(number, "-HUP").await;
        Ok(())
    }

    /// The cluster's folder, as an argument.
    pub(crate) fn path(&self) -> String {
        self.folder.display().to_string()
    }

    /// What a command of `cloakroom` prints.
    pub(crate) async fn command(&self, line: &[String]) -> Result<String, String> {
        let failed =
            |cause: &dyn std::fmt::Display| format!("cloakroom {}: {cause}", line.join(" "));
        let output = cloakroom().args(line).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = output.await.map_err(|cause| failed(&cause))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
        }
        Err(failed(&String::from_utf8_lossy(&output.stderr).trim()))
    }
}

impl Node {
    fn new(cluster: &Path, name: &str, http: u16, quic: u16) -> Self {
        Self {
            name: name.into(),
            folder: cluster.join(name),
            http,
            quic,
            https: None,
            running: None,
        }
    }

    /// Where it takes HTTP.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// Its process, if it runs.
    pub(crate) fn process(&self) -> Option<u32> {
        self.running.as_ref().and_then(|(child, _)| child.id())
    }
}

/// This program, as `cloakroom`.
fn cloakroom() -> Command {
    let own = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new(own);
    command.arg0("cloakroom").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Ports for HTTP and QUIC that are free now, below those that the system gives to whoever connects: a
/// node that is down must find its own again.
fn free_ports(count: usize) -> std::io::Result<Vec<(u16, u16)>> {
    let start = u16::try_from(std::process::id() % 900).unwrap_or(0) * 10 + 20_000;
    let mut ports = Vec::new();
    for port in start..32_000 {
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let quic = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if http.is_ok() && quic.is_ok() && !TAKEN.lock().is_ok_and(|taken| taken.contains(&port)) {
            ports.push((port, port));
        }
        if ports.len() == count {
            if let Ok(mut taken) = TAKEN.lock() {
                taken.extend(ports.iter().map(|(port, _)| *port));
            }
            return Ok(ports);
        }
    }
    Err(std::io::Error::other("no ports are free"))
}
