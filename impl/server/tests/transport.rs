//! Real sockets on loopback: who gets through, and who does not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cloakroom_server::{Arrival, Authority, Credentials, Limits, Transport, TransportError};
use cloakroom_wire::{MAX_MESSAGE_BYTES, NodeId};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout};

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
        let credentials = Credentials::create(&folder, &self.authority, valid_for).unwrap();
        let (transport, arrived) = Transport::bind(LOOPBACK, &credentials, limits).unwrap();
        let address = transport.local_address().unwrap();
        Node { id: credentials.id(), folder, address, transport, arrived }
    }
}

impl Node {
    fn send(&self, to: &Node, text: &str) {
        self.transport.send(to.id, to.address, text.as_bytes().to_vec()).unwrap();
    }

    async fn next(&mut self) -> Arrival {
        timeout(PATIENCE, self.arrived.recv()).await.expect("arrives").expect("is open")
    }

    async fn hears(&mut self, from: &Node, text: &str) {
        let arrival = self.next().await;
        let heard = String::from_utf8_lossy(&arrival.message);
        assert_eq!((arrival.from, &*heard), (from.id, text), "somebody else was heard");
    }
}

/// Nothing of `stranger` arrives at `node`, by whichever way, while `friend`'s messages do.
async fn gets_nowhere(stranger: &mut Node, node: &mut Node, friend: &mut Node) {
    stranger.send(node, "from a stranger");
    node.send(stranger, "to a stranger");
    // The stranger's attempts have ended before the friend begins: its handshakes take a moment, and
    // time enough is waited for them.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stranger.transport.send(node.id, node.address, b"again".to_vec()).unwrap();
    }
    friend.send(node, "from a friend");
    node.hears(friend, "from a friend").await;
    node.send(friend, "to a friend");
    friend.hears(node, "to a friend").await;
    assert!(node.arrived.try_recv().is_err(), "the stranger was heard");
    assert!(stranger.arrived.try_recv().is_err(), "the stranger was told");
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
    gets_nowhere(&mut stranger, &mut node, &mut friend).await;
}

#[tokio::test]
async fn who_has_an_expired_certificate_gets_nowhere() {
    let cluster = Cluster::new();
    let (mut node, mut friend) = (cluster.node("node", DAY), cluster.node("friend", DAY));
    let mut stranger = cluster.node("stranger", Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    gets_nowhere(&mut stranger, &mut node, &mut friend).await;
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
        let credentials = Credentials::renew(&node.folder, &cluster.authority, DAY).unwrap();
        node.transport.reload(&credentials).unwrap();
    }
    gets_nowhere(&mut stranger, &mut node, &mut friend).await;
    assert_eq!(node.transport.connected(), 1, "the friend alone");
}

#[tokio::test]
async fn certificates_are_renewed_while_the_node_runs() {
    let cluster = Cluster::new();
    let mut node = cluster.node("node", DAY);
    let brief = cluster.node("brief", Duration::from_secs(2));
    brief.send(&node, "with the first");
    node.hears(&brief, "with the first").await;
    let credentials = Credentials::renew(&brief.folder, &cluster.authority, DAY).unwrap();
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
    assert_eq!(b.next().await.message, largest);
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
    assert!((23..=24).contains(&shed), "{shed} of 32 shed");
}

#[tokio::test]
async fn a_node_that_does_not_read_stops_its_peer_and_not_its_memory() {
    let cluster = Cluster::new();
    let limits = Limits { arrivals: 2, streams_per_peer: 4, ..Limits::default() };
    let mut slow = cluster.node_with("slow", DAY, limits);
    let fast = cluster.node_with("fast", DAY, Limits { queue_per_peer: 8, ..Limits::default() });
    // 2 that have arrived, 4 on their way, 1 that waits for a stream, 8 in the queue: and no more.
    let begun = Instant::now();
    let mut taken = 0;
    let mut refused_in_a_row = 0;
    while refused_in_a_row < 100 {
        assert!(begun.elapsed() < PATIENCE, "{taken} taken, and it goes on");
        if fast.transport.send(slow.id, slow.address, vec![1; 1000]).is_ok() {
            (taken, refused_in_a_row) = (taken + 1, 0);
        } else {
            refused_in_a_row += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(taken <= 2 + 4 + 1 + 8, "{taken} taken");
    for _ in 0..taken {
        slow.next().await;
    }
}
