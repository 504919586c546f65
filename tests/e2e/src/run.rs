//! One run: a cluster, clients, faults, healing, a verdict.
//!
//! Invariants: whatever comes of it, no process is left; what failed is kept, with the words that say how
//! to judge it again.
//!
//! What it does not do: know any fault or client.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::ValueEnum;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::args::Arguments;
use crate::book::Book;
use crate::clients::{self, Notebook, Shared};
use crate::cluster::Cluster;
use crate::healing;
use crate::hostile;
use crate::nemesis::{self, Harm};
use crate::say;
use crate::schedule::{Kind, Lane};
use crate::verdict::{Judged, verdict};
use crate::world::World;

/// A line of progress so often.
const PROGRESS: Duration = Duration::from_secs(10);

/// A run's folder: empty at its start.
pub(crate) fn folder(arguments: &Arguments, name: &str) -> io::Result<PathBuf> {
    let folder = std::path::absolute(arguments.out.join(name))?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The faults that are wanted and possible; what is left out is said.
fn possible(arguments: &Arguments, world: World, cluster: &Cluster) -> Vec<Kind> {
    let all = || Kind::value_variants().to_vec();
    let wanted = if arguments.faults.is_empty() { all() } else { arguments.faults.clone() };
    let missing = |kind: &Kind| match kind {
        Kind::Partition | Kind::Loss if !world.can_cut => Some("a network of our own, and nft"),
        Kind::Slow if !world.can_slow => Some("a network of our own, and tc with htb"),
        Kind::Disk if !cluster.has_small_disk => Some("the right to mount"),
        Kind::Clock if !cluster.has_clock() || arguments.nodes < 2 => {
            Some("libfaketime, and two nodes")
        }
        _ => None,
    };
    let mut possible = Vec::new();
    for kind in wanted {
        match missing(&kind) {
            None => possible.push(kind),
            Some(what) => say(format_args!("NOT RUN: {kind:?}: it needs {what}")),
        }
    }
    possible
}

/// Runs it; whether nothing is wrong.
pub(crate) async fn run(arguments: &Arguments, world: World) -> Result<bool, String> {
    let failed = |cause: io::Error| format!("{}: {cause}", arguments.out.display());
    let name = if arguments.hostile { "hostile" } else { "seed" };
    let folder = folder(arguments, &format!("{name}-{}", arguments.seed)).map_err(failed)?;
    let founders = usize::from(arguments.nodes);
    if arguments.hostile {
        hostile::raise_files();
    }
    let mut cluster =
        Cluster::found(&folder.join("coats"), founders, world, arguments.hostile).await?;
    let (end, over) = watch::channel(false);
    let book = Arc::new(Book::new());
    let journal = fs::File::create(folder.join("journal.txt")).map_err(failed)?;
    let journal = Arc::new(Mutex::new(journal));
    let harm = Harm { book: Arc::clone(&book), over: over.clone(), journal };
    let notebook = Arc::new(Notebook::default());
    let shared = Shared { book: Arc::clone(&book), notebook, over, pause_ms: arguments.pause_ms };
    let endpoints = cluster.endpoints();
    let clients = clients::start(&shared, &endpoints, arguments.clients.into(), arguments.seed);
    if arguments.hostile {
        hostile::attack(&book, &mut cluster, &folder, arguments.seed).await;
        // Whoever waits for it learns so; nobody else is there.
        let _ = end.send(true);
    } else {
        cluster = harm_for_a_while(arguments, world, &harm, &end, cluster).await?;
    }
    say("all must be well again");
    let healed = healing::heal(&harm, &shared, &mut cluster, founders, clients).await;
    if let Err(cause) = healed {
        book.fault(cause);
    }
    for number in 0..cluster.nodes.len() {
        if let Err(cause) = cluster.end(number).await {
            book.fault(cause);
        }
    }
    say("judging");
    let judged = tokio::task::block_in_place(|| verdict(&book.pages()));
    Ok(conclude(arguments, &folder, &book, &judged))
}

/// Both lanes of the nemesis, until the time is up.
async fn harm_for_a_while(
    arguments: &Arguments,
    world: World,
    harm: &Harm,
    end: &watch::Sender<bool>,
    cluster: Cluster,
) -> Result<Cluster, String> {
    let kinds = possible(arguments, world, &cluster);
    let lane = |is_network| Lane::new(arguments.seed, cluster.nodes.len(), &kinds, is_network);
    let ports = cluster.nodes.iter().map(|node| node.quic).collect();
    let (of_network, of_processes) = (lane(true), lane(false));
    let network = tokio::spawn(nemesis::network(harm.clone(), of_network, ports));
    let processes = tokio::spawn(nemesis::processes(harm.clone(), of_processes, cluster));
    pass(arguments, &harm.book).await;
    // Whoever waits for it learns so; nobody else is there.
    let _ = end.send(true);
    let broken = |cause| format!("the nemesis: {cause}");
    network.await.map_err(broken)?;
    processes.await.map_err(broken)
}

/// Until the time is up, or somebody wants it to end.
async fn pass(arguments: &Arguments, book: &Book) {
    let until = Instant::now() + Duration::from_secs_f64(arguments.minutes * 60.0);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        tokio::select! {
            _ = &mut interrupted => {
                say("interrupted");
                // The second one.
                tokio::spawn(async {
                    let _ = tokio::signal::ctrl_c().await;
                    std::process::exit(130);
                });
                return;
            }
            () = sleep(left.min(PROGRESS)) => {}
        }
        say(progress(book));
        if left <= PROGRESS {
            return;
        }
    }
}

fn progress(book: &Book) -> String {
    let seconds = book.now() / 1_000_000;
    let pages = book.pages();
    let counts = pages.counts.iter().map(|(what, count)| format!("{what} {count}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    format!("{seconds:>5} s: {counts}; faults found: {}", pages.faults.len())
}

/// Says what was found, and keeps it or throws it away.
fn conclude(arguments: &Arguments, folder: &Path, book: &Book, judged: &Judged) -> bool {
    let good = judged.wrong.is_empty();
    tell(judged);
    if good && !arguments.keep {
        // The small disk is still mounted in there; it goes with this process.
        let _ = fs::remove_dir_all(folder);
        return true;
    }
    let saved = book.pages().save(folder);
    let drawn = judged
        .picture
        .as_ref()
        .map_or(Ok(()), |page| fs::write(folder.join("keys.timeline.html"), page));
    if let Err(cause) = saved.and(drawn) {
        say(format_args!("{}: {cause}", folder.display()));
    }
    say(format_args!("kept in {}: histories, logs, journal of faults", folder.display()));
    say(format_args!("judge it again: cargo run --release -p e2e -- --judge {}", folder.display()));
    good
}

/// What the judges say.
pub(crate) fn tell(judged: &Judged) {
    let Judged { wrong, decided, undecided, .. } = judged;
    for what in wrong {
        say(format_args!("WRONG: {what}"));
    }
    let word = if wrong.is_empty() { "nothing is wrong" } else { "something is wrong" };
    println!("{word}: {decided} histories are linearizable or named above, {undecided} undecided");
}
