//! Whoever does the harm: carries out the two lanes of a schedule, and ends all of it when it is told.
//!
//! Invariants:
//! * what was done to a node is undone before the lane goes on, and in any case when the time is over;
//! * a node that ends by itself, or not when it is told to, is a fault of the node.
//!
//! What it does not do: judge what clients saw.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use cloakroom_client::Client;
use tokio::sync::watch;

use crate::book::Book;
use crate::clients;
use crate::cluster::{Cluster, DISK_OF};
use crate::network::{self, Link};
use crate::schedule::{Fault, Lane};

/// A certificate of a year.
pub(crate) const LONG: Duration = Duration::from_hours(24 * 365);
/// And one that will expire while the nemesis waits.
const SHORT: Duration = Duration::from_secs(4);
/// For a call on the list of members.
const DEADLINE: Duration = Duration::from_secs(8);
/// A member that drains takes no longer, or is left to the end of the run.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);

/// What both lanes share.
#[derive(Clone, Debug)]
pub(crate) struct Harm {
    pub(crate) book: Arc<Book>,
    pub(crate) over: watch::Receiver<bool>,
    /// One line for each fault, as it happens.
    pub(crate) journal: Arc<std::sync::Mutex<fs::File>>,
}

impl Harm {
    /// Writes a line into the journal.
    pub(crate) fn note(&self, what: impl std::fmt::Display) {
        let seconds = self.book.now() / 1_000_000;
        if let Ok(mut journal) = self.journal.lock() {
            // A journal that cannot be written is missed by nobody but a reader.
            let _ = writeln!(journal, "{seconds:>5} s  {what}");
        }
    }

    fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Some time, or less if the run is over.
    async fn wait(&self, ms: u64) {
        let mut over = self.over.clone();
        let is_over = async { drop(over.wait_for(|over| *over).await) };
        // Whichever comes first.
        let _ = tokio::time::timeout(Duration::from_millis(ms), is_over).await;
    }
}

/// Faults of the network, until it is over; then the network is whole.
pub(crate) async fn network(harm: Harm, lane: Lane, ports: Vec<u16>) {
    let of = |links: &[(usize, usize)]| -> Vec<Link> {
        links.iter().map(|&(from, to)| Link { from: ports[from], to: ports[to] }).collect()
    };
    for step in lane {
        harm.wait(step.after_ms).await;
        if harm.is_over() {
            break;
        }
        harm.note(format_args!("{:?}", step.fault));
        let (done, ms) = match &step.fault {
            Fault::Loss { links, percent, ms } => (network::lose(&of(links), *percent).await, *ms),
            Fault::Slow { links, ms } => (network::slow(&of(links)).await, *ms),
            other => (Err(format!("{other:?} is not the network's")), 0),
        };
        if let Err(cause) = done {
            harm.book.fault(format!("the nemesis: {cause}"));
        }
        harm.wait(ms).await;
        network::heal().await;
    }
}

/// Faults of processes, until it is over. Gives the cluster back, with whatever still has to be mended.
pub(crate) async fn processes(harm: Harm, lane: Lane, mut cluster: Cluster) -> Cluster {
    for step in lane {
        harm.wait(step.after_ms).await;
        if harm.is_over() {
            break;
        }
        tell_fallen(&harm.book, &mut cluster);
        harm.note(format_args!("{:?}", step.fault));
        if let Err(cause) = carry_out(&harm, &step.fault, &mut cluster).await {
            harm.book.fault(cause);
        }
        harm.note("  ended");
    }
    harm.wait(u64::MAX >> 20).await;
    cluster
}

/// Nobody has told them to end.
pub(crate) fn tell_fallen(book: &Book, cluster: &mut Cluster) {
    for (name, status) in cluster.fallen() {
        book.fault(format!("{name} has ended by itself: {status}"));
    }
}

async fn carry_out(harm: &Harm, fault: &Fault, cluster: &mut Cluster) -> Result<(), String> {
    match fault {
        Fault::Kill { nodes, ms } => {
            for node in nodes {
                cluster.kill(*node).await;
            }
            harm.wait(*ms).await;
            cluster.start_all().await
        }
        Fault::Pause { nodes, ms } => {
            for node in nodes {
                cluster.signal(*node, "-STOP").await;
            }
            harm.wait(*ms).await;
            for node in nodes {
                cluster.signal(*node, "-CONT").await;
            }
            Ok(())
        }
        Fault::Restart => restart_each(harm, cluster).await,
        Fault::Clock { seconds, ms } => {
            cluster.set_clock(*seconds);
            harm.wait(*ms).await;
            cluster.set_clock(0);
            Ok(())
        }
        Fault::Disk { ms } => fill_disk(harm, cluster, *ms).await,
        Fault::Members => come_and_go(harm, cluster).await,
        Fault::Revocation => revoke(harm, cluster).await,
        Fault::Expiry { node } => {
            cluster.renew(*node, SHORT).await?;
            harm.wait(7000).await;
            cluster.renew(*node, LONG).await
        }
        Fault::Loss { .. } | Fault::Slow { .. } => Err("no fault of a process".to_string()),
    }
}

async fn restart_each(harm: &Harm, cluster: &mut Cluster) -> Result<(), String> {
    for number in 0..cluster.nodes.len() {
        if harm.is_over() {
            break;
        }
        cluster.end(number).await?;
        cluster.start(number).await?;
        harm.wait(1000).await;
    }
    Ok(())
}

/// A file takes all room there is; then it goes, and the node starts again: a node whose disk has failed
/// does not vote, and says so, until somebody has looked at it.
async fn fill_disk(harm: &Harm, cluster: &mut Cluster, ms: u64) -> Result<(), String> {
    let ballast = cluster.nodes[DISK_OF].folder.join("ballast");
    let failed = |cause: std::io::Error| format!("ballast: {cause}");
    let mut file = fs::File::create(&ballast).map_err(failed)?;
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0x5a; size]).is_ok() {}
    }
    harm.wait(ms).await;
    drop(file);
    fs::remove_file(&ballast).map_err(failed)?;
    // DISK: the process must still be there, whatever its disk said.
    let fallen = cluster.fallen();
    if let Some((name, status)) = fallen.first() {
        harm.book.fault(format!("{name}: its disk was full, and the process has ended: {status}"));
    }
    cluster.end_after_full_disk(DISK_OF).await?;
    cluster.start(DISK_OF).await
}

async fn come_and_go(harm: &Harm, cluster: &mut Cluster) -> Result<(), String> {
    let number = cluster.add().await?;
    let newcomer = clients::client(&[cluster.nodes[number].endpoint()], "round-robin", DEADLINE);
    let founders = cluster.endpoints()[..number].to_vec();
    let members = clients::client(&founders, "round-robin", DEADLINE);
    if join(harm, &newcomer, &members).await {
        harm.wait(5000).await;
    }
    // The other lane may keep the members from each other all this time. That it does drain is demanded
    // when all faults have ended.
    if let Some(cause) = leave(harm, cluster, DRAIN_WITHIN).await? {
        harm.note(format_args!("  stays: {cause}"));
    }
    Ok(())
}

/// Whether the newcomer is a member now.
async fn join(harm: &Harm, newcomer: &Client, members: &Client) -> bool {
    // The members may be cut off from each other at this time.
    let Ok(listed) = members.cluster().await else { return false };
    let joined = newcomer.join("elsewhere", &listed.members).await;
    harm.note(format_args!("  joined: {joined:?}"));
    joined.is_ok()
}

/// The last node drains, is taken off the list, and ends. If it cannot drain in time it is not waited for
/// any longer, but stays: why, is the answer.
pub(crate) async fn leave(
    harm: &Harm,
    cluster: &mut Cluster,
    within: Duration,
) -> Result<Option<String>, String> {
    let number = cluster.nodes.len() - 1;
    let newcomer = clients::client(&[cluster.nodes[number].endpoint()], "round-robin", DEADLINE);
    let founders = cluster.endpoints()[..number].to_vec();
    let members = clients::client(&founders, "round-robin", DEADLINE);
    let until = tokio::time::Instant::now() + within;
    let mut last = "nothing".to_string();
    while tokio::time::Instant::now() < until {
        match try_to_leave(&newcomer, &members).await {
            Ok(()) => {
                harm.note("  drained and removed");
                cluster.end(number).await?;
                cluster.nodes.pop();
                return Ok(None);
            }
            Err(cause) => last = cause,
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(Some(format!("a member has not drained within {within:?}: {last}")))
}

/// Each part of it is harmless twice.
async fn try_to_leave(newcomer: &Client, members: &Client) -> Result<(), String> {
    let text = |error: cloakroom_client::ClientError| error.to_string();
    let own = newcomer.cluster().await.map_err(text)?;
    let is_listed = |cluster: &cloakroom_client::Cluster| {
        cluster.members.iter().any(|member| member.node == own.node)
    };
    let listed = members.cluster().await.map_err(text)?;
    if !is_listed(&listed) && !is_listed(&own) {
        return Ok(());
    }
    members.drain(&own.node).await.map_err(text)?;
    if !newcomer.cluster().await.map_err(text)?.drained {
        return Err("it has seats".to_string());
    }
    members.remove_member(&own.node, false).await.map_err(text)?;
    Ok(())
}

/// A node comes with a certificate that is then revoked: it gets nowhere any more, and is taken off the
/// list like one that is lost.
async fn revoke(harm: &Harm, cluster: &mut Cluster) -> Result<(), String> {
    let number = cluster.add().await?;
    let newcomer = clients::client(&[cluster.nodes[number].endpoint()], "round-robin", DEADLINE);
    let founders = cluster.endpoints()[..number].to_vec();
    let members = clients::client(&founders, "round-robin", DEADLINE);
    let joined = join(harm, &newcomer, &members).await;
    harm.wait(2000).await;
    let name = cluster.nodes[number].name.clone();
    cluster.command(&["cert".into(), "revoke".into(), cluster.path(), name]).await?;
    for node in 0..number {
        cluster.signal(node, "-HUP").await;
    }
    harm.wait(2000).await;
    let id = newcomer.cluster().await.map(|own| own.node);
    cluster.kill(number).await;
    let id = id.map_err(|cause| format!("a revoked node does not say who it is: {cause}"))?;
    cluster.nodes.pop();
    if joined {
        // By the others, as soon as a majority of them hear each other.
        let patient = clients::client(&founders, "round-robin", Duration::from_mins(1));
        let removed = patient.remove_member(&id, true).await;
        removed.map_err(|cause| format!("a revoked member cannot be removed: {cause}"))?;
    }
    Ok(())
}
