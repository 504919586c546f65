//! Clients and peers that mean harm: one node of a cluster is attacked in one way after the other, while
//! others use the cluster.
//!
//! Invariants, each a fault of the run if it does not hold:
//! * the node's process stays, with at most [`MOST_RSS_KIB`] in memory;
//! * the others' calls go on meanwhile, and soon after an attack the node itself takes new connections;
//! * and in the end all is well, as after faults.
//!
//! Over plain HTTP, over QUIC, and over HTTPS (`hostile/secure.rs`).
//!
//! What it does not do: leave loopback; attack with more than a machine of two cores can make.

mod secure;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use cloakroom_server::{Authority, Credentials, Limits, Transport};
use cloakroom_wire::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::book::Book;
use crate::cluster::Cluster;
use crate::random::Random;
use crate::say;
use secure::Secure;

/// An idle node has less than 50 MiB. This many are allowed under attack.
pub(crate) const MOST_RSS_KIB: u64 = 256 * 1024;
/// A node takes new connections again so soon: longer than it waits for a slow one's head.
const BACK_WITHIN: Duration = Duration::from_mins(1);
/// Connections at once; fewer where the system gives no more files.
const CROWD: usize = 10_000;
/// Of attacks that are about bytes, not about numbers.
const FEW: usize = 64;
/// Some time for an attack to work.
const A_WHILE: Duration = Duration::from_secs(3);

/// A way to do harm.
#[derive(Clone, Copy, Debug)]
enum Attack {
    RandomBytes,
    RandomPackets,
    HalfOpenHandshakes,
    ForeignPeers,
    Crowd,
    GiantBodies,
    SlowWriters,
    SlowReaders,
    SecureGarbage,
    SecureHalfOpen,
    SecureSlowReaders,
}

const ATTACKS: [Attack; 11] = [
    Attack::RandomBytes,
    Attack::RandomPackets,
    Attack::HalfOpenHandshakes,
    Attack::ForeignPeers,
    Attack::Crowd,
    Attack::GiantBodies,
    Attack::SlowWriters,
    Attack::SlowReaders,
    Attack::SecureGarbage,
    Attack::SecureHalfOpen,
    Attack::SecureSlowReaders,
];

/// Who is attacked.
#[derive(Clone)]
struct Target {
    http: SocketAddr,
    https: Secure,
    quic: SocketAddr,
    process: u32,
    seed: u64,
}

/// Carries out all attacks on the first node. Faults go into the book.
pub(crate) async fn attack(book: &Book, cluster: &mut Cluster, folder: &Path, seed: u64) {
    let node = &cluster.nodes[0];
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (http, quic) = (local(node.http), local(node.quic));
    let https = node.https.ok_or_else(|| "nobody serves HTTPS".to_string());
    let https = https.and_then(|port| Secure::new(local(port), Path::new(&cluster.path())));
    let https = match https {
        Ok(https) => https,
        Err(cause) => return book.fault(cause),
    };
    let target = Target { http, https, quic, process: node.process().unwrap_or(0), seed };
    say(format_args!("at rest it has {} KiB", status_kib(target.process, "VmRSS:").unwrap_or(0)));
    // What others get done under attack is compared with nothing: they must have begun.
    while done(book) < 100 {
        sleep(Duration::from_millis(50)).await;
    }
    for attack in ATTACKS {
        let before = done(book);
        forget_peak(target.process);
        let said = carry_out(attack, &target, folder).await;
        let since = done(book) - before;
        let back = is_back(&target).await;
        let peak = status_kib(target.process, "VmHWM:").unwrap_or(0);
        say(format_args!(
            "{attack:?}: {said}; others' calls {since}; peak {peak} KiB; back: {back:?}"
        ));
        if since == 0 {
            book.fault(format!("{attack:?}: nobody else was served"));
        }
        if peak > MOST_RSS_KIB {
            book.fault(format!("{attack:?}: expected at most {MOST_RSS_KIB} KiB, got {peak}"));
        }
        if let Err(cause) = back {
            book.fault(format!("{attack:?}: no new connection is answered afterwards: {cause}"));
        }
        if let Some((name, status)) = cluster.fallen().first() {
            return book.fault(format!("{attack:?}: {name} has ended: {status}"));
        }
    }
}

/// Calls that did what they were to do.
fn done(book: &Book) -> u64 {
    let pages = book.pages();
    ["read", "written", "allocated", "freed"].iter().filter_map(|it| pages.counts.get(*it)).sum()
}

fn status_kib(process: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The system remembers the most that a process has had; from now on anew.
fn forget_peak(process: u32) {
    // Where it may not be said, the peak is one of longer: a stricter bound.
    let _ = std::fs::write(format!("/proc/{process}/clear_refs"), "5");
}

/// Lets this process, and those that it starts, have as many files open as the system gives at most.
pub(crate) fn raise_files() {
    let line = "prlimit --pid $PPID --nofile=$(ulimit -Hn):$(ulimit -Hn)";
    // Without it there are fewer connections, which is said.
    let _ = std::process::Command::new("sh").args(["-c", line]).status();
}

async fn carry_out(attack: Attack, target: &Target, folder: &Path) -> String {
    match attack {
        Attack::RandomBytes => random_bytes(target).await,
        Attack::RandomPackets => random_packets(target).await,
        Attack::HalfOpenHandshakes => half_open(target, folder).await.unwrap_or_else(|it| it),
        Attack::ForeignPeers => foreign(target, folder).await.unwrap_or_else(|it| it),
        Attack::Crowd => crowd(target).await,
        Attack::GiantBodies => giants(target).await,
        Attack::SlowWriters => slow_writers(target).await,
        Attack::SlowReaders => slow_readers(target).await,
        Attack::SecureGarbage => target.https.garbage(target.seed).await,
        Attack::SecureHalfOpen => target.https.half_open(target.seed).await,
        Attack::SecureSlowReaders => target.https.slow_readers().await,
    }
}

/// Fresh connections get an answer, over both.
async fn is_back(target: &Target) -> Result<Duration, String> {
    let begun = Instant::now();
    let mut last = String::new();
    while begun.elapsed() < BACK_WITHIN {
        let both = async {
            tokio::try_join!(ask(target.http, "GET /livez"), target.https.ask("GET /readyz"))
        };
        let is_good = |answer: &str| answer.starts_with("HTTP/1.1 200");
        match timeout(Duration::from_secs(5), both).await {
            Ok(Ok((plain, secure))) if is_good(&plain) && is_good(&secure) => {
                return Ok(begun.elapsed());
            }
            other => last = format!("{other:?}"),
        }
        sleep(Duration::from_millis(200)).await;
    }
    Err(last)
}

async fn ask(http: SocketAddr, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(http).await?;
    let request = format!("{line} HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.next().to_le_bytes()[0]).collect()
}

async fn random_bytes(target: &Target) -> String {
    let mut tasks = JoinSet::new();
    for number in 0..400 {
        let (http, mut random) = (target.http, Random::new(target.seed, number));
        tasks.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(http).await else { return };
            // It may be cut off at any byte.
            let _ = timeout(A_WHILE, stream.write_all(&noise(&mut random, 16 << 10))).await;
            let _ = timeout(A_WHILE, stream.read(&mut [0; 1024])).await;
        });
    }
    tasks.join_all().await;
    "400 connections with 16 KiB of noise each".to_string()
}

async fn random_packets(target: &Target) -> String {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else { return String::new() };
    let mut random = Random::new(target.seed, 7);
    for number in 0..20_000 {
        let length = random.index(1400) + 1;
        let mut packet = noise(&mut random, length);
        if number % 2 == 0 && packet.len() > 5 {
            // As if it were the first of a connection.
            packet[0] |= 0xc0;
            packet[1..5].copy_from_slice(&[0, 0, 0, 1]);
        }
        // Lost is lost.
        let _ = socket.send_to(&packet, target.quic).await;
    }
    "20,000 packets of noise, half of them like first ones".to_string()
}

/// A node of another cluster.
fn stranger(folder: &Path, name: &str) -> Result<Transport, String> {
    let failed = |cause: cloakroom_server::Error| cause.to_string();
    let authority = Authority::create(&folder.join(format!("{name}-authority"))).map_err(failed)?;
    let hour = Duration::from_hours(1);
    let credentials =
        Credentials::create(&folder.join(name), &authority, &[], hour).map_err(failed)?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = Transport::bind(any, &credentials, Limits::default());
    Ok(bound.map_err(|cause| cause.to_string())?.0)
}

/// A node's id, of nobody.
fn nobody(number: u64) -> NodeId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

/// First packets of real handshakes, each sent from an address of its own, and never a second one.
async fn half_open(target: &Target, folder: &Path) -> Result<String, String> {
    let failed = |cause: std::io::Error| cause.to_string();
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    let catcher = sink.local_addr().map_err(failed)?;
    let transport = stranger(folder, "half-open")?;
    let mut firsts = Vec::new();
    let mut buffer = [0; 2048];
    for number in 0..600 {
        // Sent or shed: what arrives counts.
        let _ = transport.send(nobody(number), catcher, b"hello".to_vec());
        while let Ok(Ok(length)) = timeout(Duration::from_millis(2), sink.recv(&mut buffer)).await {
            firsts.push(buffer[..length].to_vec());
        }
    }
    for first in &firsts {
        let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else { continue };
        for _ in 0..3 {
            let _ = socket.send_to(first, target.quic).await;
        }
    }
    sleep(A_WHILE).await;
    Ok(format!("{} first packets of handshakes that nobody goes on with", firsts.len()))
}

/// Whole handshakes with a certificate of another authority.
async fn foreign(target: &Target, folder: &Path) -> Result<String, String> {
    let transport = stranger(folder, "foreign")?;
    for number in 0..300 {
        let _ = transport.send(nobody(number), target.quic, b"hello".to_vec());
    }
    sleep(A_WHILE).await;
    let connected = transport.connected();
    transport.close().await;
    Ok(format!("300 handshakes of a foreign authority, {connected} connected"))
}

async fn crowd(target: &Target) -> String {
    let mut streams = Vec::new();
    let mut tasks = JoinSet::new();
    for number in 0..CROWD {
        let http = target.http;
        tasks.spawn(async move {
            let connecting = timeout(A_WHILE, TcpStream::connect(http)).await;
            let Ok(Ok(mut stream)) = connecting else { return None };
            // A half of them begin to say something.
            if number % 2 == 0 {
                let _ = stream.write_all(b"GET /livez HTTP/1.1\r\n").await;
            }
            Some(stream)
        });
        if tasks.len() >= 256
            && let Some(Ok(Some(stream))) = tasks.join_next().await
        {
            streams.push(stream);
        }
    }
    streams.extend(tasks.join_all().await.into_iter().flatten());
    sleep(A_WHILE).await;
    format!("{} connections at once", streams.len())
}

async fn giants(target: &Target) -> String {
    let mut tasks = JoinSet::new();
    for number in 0..FEW {
        let http = target.http;
        tasks.spawn(async move {
            let path = ["POST /v1/pools/large/recover", "POST /v1/pools", "PUT /v1/keys/giant"]
                [number % 3];
            let length: u64 = if number % 2 == 0 { 10 << 30 } else { 15 << 20 };
            let head = format!(
                "{path} HTTP/1.1\r\nhost: {http}\r\ncontent-type: application/json\r\n\
                 if-none-match: *\r\ncontent-length: {length}\r\n\r\n{{\"dead\":[\""
            );
            let Ok(mut stream) = TcpStream::connect(http).await else { return };
            let _ = stream.write_all(head.as_bytes()).await;
            let piece = vec![b'x'; 64 << 10];
            // Up to 14 MiB, and then nothing more comes.
            for _ in 0..224 {
                if !matches!(timeout(A_WHILE, stream.write_all(&piece)).await, Ok(Ok(()))) {
                    return;
                }
            }
            sleep(A_WHILE).await;
        });
    }
    tasks.join_all().await;
    format!("{FEW} bodies of up to 14 MiB, announced as up to 10 GiB")
}

async fn slow_writers(target: &Target) -> String {
    let mut tasks = JoinSet::new();
    for number in 0..800 {
        let http = target.http;
        tasks.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(http).await else { return };
            let head = format!("PUT /v1/keys/slow HTTP/1.1\r\nhost: {http}\r\n");
            let body = "if-none-match: *\r\ncontent-length: 1000\r\n\r\n";
            let all = if number % 2 == 0 { head } else { head + body };
            let _ = stream.write_all(all.as_bytes()).await;
            for _ in 0..6 {
                sleep(Duration::from_secs(1)).await;
                if stream.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
    }
    tasks.join_all().await;
    "800 requests of a byte a second".to_string()
}

async fn slow_readers(target: &Target) -> String {
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        let http = target.http;
        tasks.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(http).await else { return };
            let request = format!("GET /openapi.json HTTP/1.1\r\nhost: {http}\r\n\r\n").repeat(200);
            // Answers of tens of megabytes are asked for, and none is read.
            let _ = timeout(A_WHILE, stream.write_all(request.as_bytes())).await;
            sleep(A_WHILE).await;
        });
    }
    tasks.join_all().await;
    "200 connections with 200 requests each, of which no answer is read".to_string()
}
