//! Real sockets on loopback: who gets through, and who does not.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom_server::{
    Arrival, Authority, Credentials, Limits, Transport, TransportError, renew_client,
};
use cloakroom_wire::{MAX_MESSAGE_BYTES, NodeId};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout};
use tracing::Level;
use tracing::subscriber::DefaultGuard;

const DAY: Duration = Duration::from_hours(24);
/// For what must happen: it ends the test if it does not.
const PATIENCE: Duration = Duration::from_mins(1);
/// For what must not happen, while a witness shows that it would have.
const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

struct Cluster {
    folder: TempDir,
    authority: Authority,
}

struct Node {
    id: NodeId,
    folder: PathBuf,
    address: SocketAddr,
    transport: Transport,
    arrived: Receiver<Arrival>,
}

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(&folder.path().join("authority")).unwrap();
        Self { folder, authority }
    }

    fn node(&self, name: &str, valid_for: Duration) -> Node {
        self.node_with(name, valid_for, Limits::default())
    }

    fn node_with(&self, name: &str, valid_for: Duration, limits: Limits) -> Node {
        let folder = self.folder.path().join(name);
        let credentials = Credentials::create(&folder, &self.authority, &[], valid_for).unwrap();
        let (transport, arrived) = Transport::bind(LOOPBACK, &credentials, limits).unwrap();
        let address = transport.local_address().unwrap();
        Node { id: credentials.id(), folder, address, transport, arrived }
    }
}

impl Node {
    fn send(&self, to: &Node, text: &str) {
        // No message is shorter than its header.
        self.transport.send(to.id, to.address, format!("{text:16}").into_bytes()).unwrap();
    }

    async fn next(&mut self) -> Arrival {
        timeout(PATIENCE, self.arrived.recv()).await.expect("arrives").expect("is open")
    }

    /// Who has sent the next message, which came alone, and what it says.
    async fn next_text(&mut self) -> (NodeId, String) {
        let arrival = self.next().await;
        let texts: Vec<&[u8]> = arrival.messages().collect();
        let [text] = texts[..] else { panic!("expected one message, got {texts:?}") };
        (arrival.from, String::from_utf8_lossy(text).trim_end().to_owned())
    }

    async fn hears(&mut self, from: &Node, text: &str) {
        assert_eq!(self.next_text().await, (from.id, text.to_owned()), "somebody else was heard");
    }
}

/// What is logged by the thread of a test.
struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _until: DefaultGuard,
}

/// Where the lines of a log are kept.
#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let to = Lines(Arc::clone(&lines));
        let to = tracing_subscriber::fmt().with_writer(move || to.clone()).with_ansi(false);
        let until = tracing::subscriber::set_default(to.with_max_level(Level::DEBUG).finish());
        Self { lines, _until: until }
    }

    fn lines_with(&self, text: &str) -> Vec<String> {
        let all = String::from_utf8(self.lines.lock().unwrap().clone()).unwrap();
        all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

/// Nothing of `stranger` arrives at `node`, by whichever way, while `friend`'s messages do, and the log says why.
async fn gets_nowhere(stranger: &mut Node, node: &mut Node, friend: &mut Node, why: &str) {
    let log = Log::begin();
    stranger.send(node, "from a stranger");
    node.send(stranger, "to a stranger");
    // The stranger's attempts have ended before the friend begins: its handshakes take a moment, and
    // time enough is waited for them.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stranger.transport.send(node.id, node.address, b"once again".to_vec()).unwrap();
    }
    friend.send(node, "from a friend");
    node.hears(friend, "from a friend").await;
    node.send(friend, "to a friend");
    friend.hears(node, "to a friend").await;
    assert!(node.arrived.try_recv().is_err(), "the stranger was heard");
    assert!(stranger.arrived.try_recv().is_err(), "the stranger was told");
    let said = log.lines_with("refused a peer");
    assert!(said.iter().any(|line| line.contains(why)), "{why} is not in {said:#?}");
    // Both tried, with pauses that grow.
    let tried = log.lines_with("cannot be reached").len();
    assert!((1..=12).contains(&tried), "{tried} attempts");
}

#[tokio::test]
async fn messages_arrive_with_the_proved_id_of_their_sender_in_both_directions() {
    let cluster = Cluster::new();
    let (mut a, mut b) = (cluster.node("a", DAY), cluster.node("b", DAY));
    a.send(&b, "first");
    b.hears(&a, "first").await;
    b.send(&a, "answer");
    a.hears(&b, "answer").await;
    assert_eq!((a.transport.connected(), b.transport.connected()), (1, 1));
}

#[tokio::test]
async fn a_message_is_for_the_node_that_is_named_and_for_no_other_at_its_address() {
    let cluster = Cluster::new();
    let (a, mut b, c) = (cluster.node("a", DAY), cluster.node("b", DAY), cluster.node("c", DAY));
    a.transport.send(c.id, b.address, b"for c alone".to_vec()).unwrap();
    c.send(&b, "witness");
    b.hears(&c, "witness").await;
    a.send(&b, "for b");
    b.hears(&a, "for b").await;
}

#[tokio::test]
async fn who_is_of_another_cluster_gets_nowhere() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let (mut node, mut friend) = (cluster.node("node", DAY), cluster.node("friend", DAY));
    let mut stranger = other.node("stranger", DAY);
    gets_nowhere(&mut stranger, &mut node, &mut friend, "UnknownIssuer").await;
}

/// The authority has signed it, for something else.
#[tokio::test]
async fn who_has_a_clients_certificate_is_no_node_and_gets_nowhere() {
    let cluster = Cluster::new();
    let (mut node, mut friend) = (cluster.node("node", DAY), cluster.node("friend", DAY));
    let (folder, client) =
        (cluster.folder.path().join("stranger"), cluster.folder.path().join("c"));
    Credentials::create(&folder, &cluster.authority, &[], DAY).unwrap();
    // With a key such as nodes have.
    std::fs::create_dir(&client).unwrap();
    std::fs::copy(folder.join("node.key"), client.join("client.key")).unwrap();
    renew_client(&client, &cluster.authority, "alice", DAY).unwrap();
    std::fs::copy(client.join("client.pem"), folder.join("node.pem")).unwrap();
    let credentials = Credentials::load(&folder).unwrap();
    let (transport, arrived) = Transport::bind(LOOPBACK, &credentials, Limits::default()).unwrap();
    let address = transport.local_address().unwrap();
    let mut stranger = Node { id: credentials.id(), folder, address, transport, arrived };
    gets_nowhere(&mut stranger, &mut node, &mut friend, "its certificate is no node's").await;
}

#[tokio::test]
async fn who_shows_no_certificate_is_told_so_and_the_log_says_it() {
    let cluster = Cluster::new();
    let (node, log) = (cluster.node("node", DAY), Log::begin());
    let credentials = Credentials::load(&node.folder).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(node.folder.join("authority.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"cloakroom/1".to_vec()];
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(config));
    let endpoint = quinn::Endpoint::client(LOOPBACK).unwrap();
    let name = format!("{}.cloakroom.internal", credentials.cluster());
    let connection = endpoint.connect_with(config, node.address, &name).unwrap().await;
    // In TLS 1.3 the server is the last to look.
    let ended = match connection {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    };
    assert!(ended.to_string().contains("certificate"), "{ended}");
    let said = log.lines_with("refused a peer");
    assert!(said.iter().any(|line| line.contains("peer sent no certificates")), "{said:#?}");
}

#[tokio::test]
async fn who_has_an_expired_certificate_gets_nowhere() {
    let cluster = Cluster::new();
    let (mut node, mut friend) = (cluster.node("node", DAY), cluster.node("friend", DAY));
    let mut stranger = cluster.node("stranger", Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    gets_nowhere(&mut stranger, &mut node, &mut friend, "xpired").await;
}

#[tokio::test]
async fn a_connection_ends_when_the_certificate_expires_that_it_began_with() {
    let cluster = Cluster::new();
    let mut node = cluster.node("node", DAY);
    let brief = cluster.node("brief", Duration::from_secs(4));
    brief.send(&node, "in time");
    node.hears(&brief, "in time").await;
    let begun = Instant::now();
    while node.transport.connected() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the connection goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_was_revoked_gets_nowhere_once_the_list_is_read_and_its_connections_end() {
    let cluster = Cluster::new();
    let (mut node, mut friend) = (cluster.node("node", DAY), cluster.node("friend", DAY));
    let mut stranger = cluster.node("stranger", DAY);
    stranger.send(&node, "still a member");
    node.hears(&stranger, "still a member").await;
    cluster.authority.revoke(stranger.id).unwrap();
    for node in [&node, &friend] {
        let credentials = Credentials::renew(&node.folder, &cluster.authority, &[], DAY).unwrap();
        node.transport.reload(&credentials).unwrap();
    }
    gets_nowhere(&mut stranger, &mut node, &mut friend, "evoked").await;
    assert_eq!(node.transport.connected(), 1, "the friend alone");
}

#[tokio::test]
async fn certificates_are_renewed_while_the_node_runs() {
    let cluster = Cluster::new();
    let mut node = cluster.node("node", DAY);
    let brief = cluster.node("brief", Duration::from_secs(2));
    brief.send(&node, "with the first");
    node.hears(&brief, "with the first").await;
    let credentials = Credentials::renew(&brief.folder, &cluster.authority, &[], DAY).unwrap();
    brief.transport.reload(&credentials).unwrap();
    tokio::time::sleep(Duration::from_millis(3100)).await;
    brief.send(&node, "with the second");
    node.hears(&brief, "with the second").await;
}

#[tokio::test]
async fn the_largest_message_arrives_whole_and_a_larger_one_is_refused() {
    let cluster = Cluster::new();
    let (a, mut b) = (cluster.node("a", DAY), cluster.node("b", DAY));
    let largest = vec![7; MAX_MESSAGE_BYTES];
    a.transport.send(b.id, b.address, largest.clone()).unwrap();
    assert!(b.next().await.messages().eq([&largest[..]]));
    let larger = vec![7; MAX_MESSAGE_BYTES + 1];
    let refused = a.transport.send(b.id, b.address, larger);
    assert!(matches!(refused, Err(TransportError::TooLarge(_))), "{refused:?}");
}

#[tokio::test]
async fn what_waits_for_a_peer_that_is_away_is_bounded_and_the_rest_is_shed() {
    let cluster = Cluster::new();
    let limits = Limits { queue_per_peer: 8, ..Limits::default() };
    let a = cluster.node_with("a", DAY, limits);
    let b = cluster.node("b", DAY);
    // A socket that nobody reads: no answer, no refusal.
    let silent = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let address = silent.local_addr().unwrap();
    let sent: Vec<_> = (0..32).map(|_| a.transport.send(b.id, address, vec![1])).collect();
    let shed = sent.iter().filter(|sent| matches!(sent, Err(TransportError::Shed(8, _)))).count();
    // So many wait, and as many may have been taken to be sent together.
    assert!((16..=24).contains(&shed), "{shed} of 32 shed");
}

#[tokio::test]
async fn what_leaves_together_arrives_whole_and_in_few_streams() {
    let cluster = Cluster::new();
    let (a, mut b) = (cluster.node("a", DAY), cluster.node("b", DAY));
    let text = |number: u32| number.to_be_bytes().repeat(64);
    for number in 0..100 {
        a.transport.send(b.id, b.address, text(number)).unwrap();
    }
    let (mut heard, mut streams) = (Vec::new(), 0);
    while heard.len() < 100 {
        let arrival = b.next().await;
        streams += 1;
        let numbers: Vec<u32> = arrival
            .messages()
            .map(|text| u32::from_be_bytes(*text.first_chunk().unwrap()))
            .collect();
        assert!(numbers.is_sorted() && arrival.messages().eq(numbers.iter().map(|it| text(*it))));
        heard.extend(numbers);
    }
    // One stream may overtake another.
    heard.sort_unstable();
    assert!(heard.into_iter().eq(0..100));
    assert!(streams < 50, "{streams} streams");
}

#[tokio::test]
async fn a_node_that_does_not_read_stops_its_peer_and_not_its_memory() {
    let cluster = Cluster::new();
    let limits = Limits { arrivals: 2, streams_per_peer: 4, ..Limits::default() };
    let mut slow = cluster.node_with("slow", DAY, limits);
    let fast = cluster.node_with("fast", DAY, Limits { queue_per_peer: 8, ..Limits::default() });
    // 2 that have arrived, 4 on their way, 8 that wait for a stream, 8 in the queue: and no more. Two of them
    // do not go into one stream.
    let begun = Instant::now();
    let mut taken = 0;
    let mut refused_in_a_row = 0;
    while refused_in_a_row < 100 {
        assert!(begun.elapsed() < PATIENCE, "{taken} taken, and it goes on");
        if fast.transport.send(slow.id, slow.address, vec![1; 70_000]).is_ok() {
            (taken, refused_in_a_row) = (taken + 1, 0);
        } else {
            refused_in_a_row += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(taken <= 2 + 4 + 8 + 8, "{taken} taken");
    for _ in 0..taken {
        slow.next().await;
    }
}

/// The limit is one of time, so the test is: too little would be far too little.
#[tokio::test]
async fn who_opens_streams_too_fast_waits_while_others_are_heard() {
    let cluster = Cluster::new();
    let few = std::num::NonZeroU32::new(10).unwrap();
    let limits = Limits { streams_per_second_per_peer: few, ..Limits::default() };
    let mut node = cluster.node_with("node", DAY, limits);
    let (fast, calm) = (cluster.node("fast", DAY), cluster.node("calm", DAY));
    // Two of them do not go into one stream.
    let large = || vec![1; 70_000];
    let begun = Instant::now();
    for _ in 0..40 {
        fast.transport.send(node.id, node.address, large()).unwrap();
    }
    let (mut heard, mut calm_at) = (0, None);
    while heard < 40 {
        let arrival = node.next().await;
        if arrival.from == calm.id {
            calm_at = Some(heard);
            continue;
        }
        heard += arrival.messages().count();
        if heard == 10 {
            calm.send(&node, "in between");
        }
    }
    // Ten at once, and a tenth of a second for each of the others.
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(2900), "came too fast, within {took:?}");
    assert!(calm_at.is_some_and(|after| after < 40), "the other peer was heard after {calm_at:?}");
}
