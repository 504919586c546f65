//! Three nodes of each on loopback, in folders that go with them, and their processes.
//!
//! Invariants: a process that was started here does not outlive this one, but for `kill -9` of it.
//!
//! What it does not do: install anything.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::grpc::{Etcd, Failure};

/// How long a cluster may take to start.
const START: Duration = Duration::from_mins(1);

/// A process that ends with this.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&mut self) -> Result<(), Failure> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.kill();
    }
}

/// Cloakroom's nodes.
#[derive(Debug)]
pub struct Nodes {
    /// One for each node.
    pub processes: Vec<Process>,
    /// Where they take HTTP, with commas between.
    pub endpoints: String,
    _folder: TempDir,
}

impl Nodes {
    /// So many.
    ///
    /// # Errors
    /// The system's, or the command's.
    pub fn start(cloakroom: &Path, count: usize) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("cloakroom-benches-").tempdir()?;
        let ports = free_ports(count)?;
        let at = folder.path().join("cluster");
        let mut init = Command::new(cloakroom);
        init.args(["cluster", "init", "--slots", "64"]).arg(&at);
        init.args(["--replicas", &count.min(3).to_string()]);
        for (number, port) in ports.iter().enumerate() {
            init.arg(format!("n{number}=127.0.0.1:{port}"));
        }
        if !init.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() {
            return Err("cluster init has failed".into());
        }
        let (mut processes, mut endpoints) = (Vec::new(), Vec::new());
        for number in 0..count {
            let mut child = Command::new(cloakroom)
                .args(["serve", "--http", "127.0.0.1:0", "--folder"])
                .arg(at.join(format!("n{number}")))
                .stdout(Stdio::piped())
                .spawn()?;
            let mut line = String::new();
            if let Some(out) = child.stdout.take() {
                BufReader::new(out).read_line(&mut line)?;
            }
            processes.push(Process(child));
            let url = line.trim().strip_prefix("cloakroom serves ");
            endpoints.push(url.ok_or("a node has not started")?.to_owned());
        }
        Ok(Self { processes, endpoints: endpoints.join(","), _folder: folder })
    }
}

/// etcd's members.
#[derive(Debug)]
pub struct Members {
    _processes: Vec<Process>,
    ports: Vec<u16>,
    _folder: TempDir,
}

impl Members {
    /// Three.
    ///
    /// # Errors
    /// The system's.
    pub fn start(etcd: &Path) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("cloakroom-benches-").tempdir()?;
        let ports = free_ports(6)?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<String> =
            (0..3).map(|number| format!("m{number}={}", url(ports[3 + number]))).collect();
        let mut processes = Vec::new();
        for number in 0..3 {
            let (client, peer) = (url(ports[number]), url(ports[3 + number]));
            let mut command = Command::new(etcd);
            command.args([
                "--name",
                &format!("m{number}"),
                "--initial-cluster",
                &cluster.join(","),
            ]);
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--logger", "zap", "--log-level", "error", "--data-dir"]);
            command.arg(folder.path().join(format!("m{number}")));
            command.stdout(Stdio::null()).stderr(Stdio::null());
            processes.push(Process(command.spawn()?));
        }
        Ok(Self { _processes: processes, ports: ports[..3].to_vec(), _folder: folder })
    }

    /// Several connections to the leader.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn leader(&self, connections: usize) -> Result<Vec<Etcd>, Failure> {
        let begun = Instant::now();
        while begun.elapsed() < START {
            for &port in &self.ports {
                let Ok(etcd) = Etcd::connect(port).await else { continue };
                if !etcd.is_leader().await.unwrap_or(false) {
                    continue;
                }
                let mut all = vec![etcd];
                while all.len() < connections {
                    all.push(Etcd::connect(port).await?);
                }
                return Ok(all);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("etcd has no leader".into())
    }
}

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let ports: Vec<u16> =
        held.iter().map(|it| Ok(it.local_addr()?.port())).collect::<std::io::Result<_>>()?;
    Ok(ports)
}

/// Memory that a process has in use, in MiB.
///
/// # Errors
/// The system's.
pub fn resident_mib(process: u32) -> Result<f64, Failure> {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{process}/status")))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmRSS")?;
    Ok(kib.trim().parse::<f64>()? / 1024.0)
}
