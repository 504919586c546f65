//! Servers on loopback: real sockets, certificates and files.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cloakroom_kademlia::{Event, Moment, Parameters};
use cloakroom_node::{Effects, Founder, Genesis, Node, Patience, Zone};
use cloakroom_register::{
    Attempts, Boot, Call, Expected, Incarnation, Operation, Outcome, Save, Slot, Value, Version,
    Waits,
};
use cloakroom_server::{
    Attempt, Authority, Credentials, DiskError, Limits, NodeDisk, Reply, Server, ServerConfig,
    ServerError, TransportError,
};
use cloakroom_wire::{Address, Contact, NodeId, OwnedContent, OwnedFields, OwnedRecord, RecordKey};
use tempfile::TempDir;

const DAY: Duration = Duration::from_hours(24);

struct Cluster {
    folder: TempDir,
    genesis: Genesis,
    addresses: Vec<SocketAddr>,
    /// As far as they are up.
    servers: Vec<Option<Server>>,
}

impl Cluster {
    fn new(size: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(&folder.path().join("authority")).unwrap();
        // Held together until all are known, so that no port is given twice.
        let sockets: Vec<UdpSocket> =
            (0..size).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let addresses: Vec<SocketAddr> =
            sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let founder = |(number, address): (usize, &SocketAddr)| {
            let node = folder.path().join(format!("node{number}"));
            let credentials = Credentials::create(&node, &authority, &[], DAY).unwrap();
            NodeDisk::create(&node.join("node.redb"), credentials.id()).unwrap();
            let (id, key) = (credentials.id(), credentials.public());
            let contact = Contact { id, address: Address::from(*address), key };
            Founder { contact, zone: Zone(format!("zone {number}").into()) }
        };
        let founders: Vec<Founder> = addresses.iter().enumerate().map(founder).collect();
        let genesis = Genesis::new(&founders, 8, 3).unwrap();
        let servers = (0..size).map(|_| None).collect();
        Self { folder, genesis, addresses, servers }
    }

    fn node(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("node{number}"))
    }

    /// A socket is given back a moment after its last use.
    async fn start(&mut self, number: usize) {
        let begun = Instant::now();
        loop {
            match self.try_start(number) {
                Ok(()) => return,
                Err(ServerError::Transport(TransportError::Socket { source, .. }))
                    if source.kind() == ErrorKind::AddrInUse
                        && begun.elapsed() < Duration::from_secs(30) =>
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn try_start(&mut self, number: usize) -> Result<(), ServerError> {
        let credentials = Credentials::load(&self.node(number)).unwrap();
        self.servers[number] = Some(Server::start(ServerConfig {
            listen: self.addresses[number],
            advertise: None,
            credentials,
            genesis: self.genesis.clone(),
            data: self.node(number).join("node.redb"),
            parameters: Parameters { subnets: None, ..Parameters::default() },
            waits: Waits::default(),
            patience: Patience::default(),
            limits: Limits::default(),
        })?);
        Ok(())
    }

    async fn stop(&mut self, number: usize) {
        self.servers[number].take().unwrap().stop().await;
    }

    fn number_of(&self, id: NodeId) -> usize {
        let is_it = |server: &Option<Server>| {
            server.as_ref().is_some_and(|server| server.contact().id == id)
        };
        self.servers.iter().position(is_it).expect("a member that is up")
    }

    /// Calls at one, and where it says; an attempt whose outcome is not known is tried again, bound.
    async fn call(&self, number: usize, mut operation: Operation) -> Outcome {
        let mut at = number;
        for _ in 0..20 {
            let server = self.servers[at].as_ref().unwrap();
            match server.call(operation.clone(), 3000).await.unwrap() {
                Reply::Ended(Outcome::Unknown(bound), _) => operation.bound = Some(bound),
                Reply::Ended(Outcome::Unavailable, _) => operation.bound = None,
                Reply::Ended(outcome, _) => return outcome,
                Reply::Elsewhere(view) => at = self.number_of(view.members()[0].node),
                Reply::Lost => panic!("nobody says how {operation:?} ended"),
            }
        }
        panic!("no outcome of {operation:?} in 20 attempts");
    }

    async fn put(&self, number: usize, key: &str, value: &str) -> Outcome {
        let new = Some(Value::from(value.as_bytes()));
        let call = Call::CompareAndSet { expected: Expected::Absent, new };
        self.call(number, Server::operation(key.as_bytes(), call).unwrap()).await
    }

    async fn get(&self, number: usize, key: &str) -> Option<String> {
        match self.call(number, Server::operation(key.as_bytes(), Call::Get).unwrap()).await {
            Outcome::Got(held) => {
                held.map(|held| String::from_utf8(held.value.0.to_vec()).unwrap())
            }
            other => panic!("a get of {key} ended with {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_keep_what_they_have_acknowledged_while_one_is_down_and_after_it() {
    let mut cluster = Cluster::new(3);
    for number in 0..3 {
        cluster.start(number).await;
    }
    for key in 0..20 {
        assert!(matches!(
            cluster.put(key % 3, &format!("key {key}"), "coat").await,
            Outcome::Set(_)
        ));
    }
    cluster.stop(1).await;
    for key in 0..20 {
        let key = format!("key {key}");
        assert_eq!(cluster.get(0, &key).await.as_deref(), Some("coat"));
        assert!(matches!(cluster.put(2, &key, "hat").await, Outcome::Mismatch(Some(_))));
    }
    assert!(matches!(cluster.put(0, "late", "glove").await, Outcome::Set(_)));
    cluster.start(1).await;
    assert_eq!(cluster.get(1, "late").await.as_deref(), Some("glove"));
    // And through the loss of everybody's memory at once.
    for number in 0..3 {
        cluster.stop(number).await;
    }
    for number in 0..3 {
        cluster.start(number).await;
    }
    for key in 0..20 {
        assert_eq!(cluster.get(2, &format!("key {key}")).await.as_deref(), Some("coat"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_certificate_joins_and_takes_calls_for_all_keys() {
    let mut cluster = Cluster::new(3);
    let authority = Authority::open(&cluster.folder.path().join("authority")).unwrap();
    drop(Credentials::create(&cluster.node(3), &authority, &[], DAY).unwrap());
    cluster.addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    cluster.servers.push(None);
    for number in 0..4 {
        cluster.start(number).await;
    }
    // Before it is a member, by those that are.
    assert!(matches!(cluster.put(3, "key", "coat").await, Outcome::Set(_)));
    let server = cluster.servers[3].as_ref().unwrap();
    let joined = server.join(Zone("zone 3".into()), Vec::new(), 20_000).await.unwrap();
    assert_eq!(joined, Ok(Version(1)));
    assert_eq!(server.members().await.unwrap().roster.places().count(), 4);
    assert_eq!(cluster.get(3, "key").await.as_deref(), Some("coat"));
}

#[tokio::test]
async fn a_cluster_of_one_keeps_what_it_has_acknowledged() {
    let mut cluster = Cluster::new(1);
    cluster.start(0).await;
    assert!(matches!(cluster.put(0, "key", "coat").await, Outcome::Set(Version(1))));
    cluster.stop(0).await;
    cluster.start(0).await;
    assert_eq!(cluster.get(0, "key").await.as_deref(), Some("coat"));
}

fn record(server: &Server, key: u8, sequence: u64, expires_in_ms: u64) -> OwnedRecord {
    OwnedRecord {
        key: RecordKey([key; 32]),
        origin: server.contact().id,
        sequence,
        expires_in_ms,
        content: OwnedContent::Value(b"green"[..].into()),
        later: OwnedFields::default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_served_by_holders_that_have_all_started_again_and_live_no_longer() {
    let mut cluster = Cluster::new(3);
    for number in 0..3 {
        cluster.start(number).await;
    }
    let server = cluster.servers[0].as_ref().unwrap();
    let (long, short) = (record(server, 1, 1, 600_000), record(server, 2, 1, 2000));
    let published = Instant::now();
    for record in [&long, &short] {
        let event = server.publish(record.clone()).await.unwrap();
        assert!(matches!(event, Event::Published { holders: 1.., .. }), "{event:?}");
    }
    // By another than its holder, which it must have heard of.
    while !matches!(
        cluster.servers[1].as_ref().unwrap().find_value(long.key).await.unwrap(),
        Event::Value { .. }
    ) {
        assert!(published.elapsed() < Duration::from_mins(1), "the record is not found");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for number in 0..3 {
        cluster.stop(number).await;
    }
    // What is away ages, too.
    while published.elapsed() < Duration::from_millis(2100) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for number in 0..3 {
        cluster.start(number).await;
    }
    let server = cluster.servers[0].as_ref().unwrap();
    let found = server.find_value(long.key).await.unwrap();
    let Event::Value { records, .. } = found else { panic!("{found:?}") };
    assert_eq!((&records[0].content, records[0].sequence), (&long.content, 1));
    assert!(records[0].expires_in_ms <= 600_000 - 2000, "{}", records[0].expires_in_ms);
    let found = server.find_value(short.key).await.unwrap();
    assert!(matches!(found, Event::Absent { .. }), "{found:?}");
    cluster.stop(0).await;
    let (file, _) = NodeDisk::open(&cluster.node(0).join("node.redb"), long.origin).unwrap();
    assert!(file.records(Moment(0)).unwrap().iter().all(|held| held.name().0 == long.key));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lives_answers_a_ping_and_who_is_away_does_not() {
    let mut cluster = Cluster::new(2);
    for number in 0..2 {
        cluster.start(number).await;
    }
    let id = cluster.servers[1].as_ref().unwrap().contact().id;
    let server = cluster.servers[0].as_ref().unwrap();
    let contact = server.contact_of(id).await.unwrap().expect("a founder");
    let begun = Instant::now();
    // Its handshake may take longer than a ping may.
    let took_us = loop {
        match server.ping(contact).await.unwrap() {
            Event::Answered { took_us, .. } => break took_us,
            event => assert!(begun.elapsed() < Duration::from_mins(1), "{event:?}"),
        }
    };
    assert!((1..60_000_000).contains(&took_us), "{took_us}");
    let Event::Found { closest, .. } = server.find_node(id).await.unwrap() else { panic!() };
    assert_eq!(closest, [contact]);
    cluster.stop(1).await;
    let server = cluster.servers[0].as_ref().unwrap();
    let event = server.ping(contact).await.unwrap();
    assert!(matches!(event, Event::Unanswered { waited_us: 1.., .. }), "{event:?}");
}

#[tokio::test]
async fn a_disk_that_was_lost_is_no_member_any_more() {
    let mut cluster = Cluster::new(1);
    cluster.start(0).await;
    assert!(matches!(cluster.put(0, "key", "coat").await, Outcome::Set(_)));
    cluster.stop(0).await;
    let file = cluster.node(0).join("node.redb");
    std::fs::remove_file(&file).unwrap();
    cluster.start(0).await;
    let operation = Server::operation(b"key", Call::Get).unwrap();
    let reply = cluster.servers[0].as_ref().unwrap().call(operation, 3000).await.unwrap();
    let Reply::Elsewhere(view) = reply else {
        panic!("it answers for what it has lost: {reply:?}")
    };
    assert_eq!(view.members()[0].incarnation, Incarnation(0));
}

/// What becomes of a member whose disk is replaced by an older copy while it is down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_was_rolled_back_begins_anew_and_votes_when_it_has_what_it_forgot() {
    let mut cluster = Cluster::new(3);
    for number in 0..3 {
        cluster.start(number).await;
    }
    assert!(matches!(cluster.put(0, "early", "coat").await, Outcome::Set(_)));
    cluster.stop(2).await;
    let (file, copy) = (cluster.node(2).join("node.redb"), cluster.node(2).join("copy"));
    std::fs::copy(&file, &copy).unwrap();
    cluster.start(2).await;
    let before = cluster.servers[2].as_ref().unwrap().members().await.unwrap().me;
    assert_eq!(before.incarnation, Incarnation(0), "the same disk, the same life");
    assert!(matches!(cluster.put(0, "late", "hat").await, Outcome::Set(_)));
    cluster.stop(2).await;
    std::fs::copy(&copy, &file).unwrap();
    cluster.start(2).await;
    let server = cluster.servers[2].as_ref().unwrap();
    let me = server.members().await.unwrap().me;
    assert_ne!(me.incarnation, Incarnation(0));
    let aside = cluster.node(2).join("node.redb.rolled-back-1");
    assert!(aside.is_file(), "nothing is thrown away");
    // It says that it is back, gets its seats, and has what the others have.
    let begun = Instant::now();
    let is_seated = move |_, node: &Node| {
        let slots = (0..8).map(Slot);
        slots
            .filter_map(|slot| node.registers().newest(slot))
            .any(|view| view.members().contains(&me))
    };
    while !server.look(is_seated).await.unwrap() {
        assert!(begun.elapsed() < Duration::from_mins(1), "it has no seat");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cluster.get(2, "late").await.as_deref(), Some("hat"));
    cluster.stop(2).await;
    cluster.start(2).await;
    let again = cluster.servers[2].as_ref().unwrap().members().await.unwrap().me;
    assert_eq!(again, me, "from then on it is the same disk");
}

#[test]
fn an_older_copy_is_noticed_and_the_same_disk_is_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, life) = (folder.path().join("node.redb"), folder.path().join("node.life"));
    let node = NodeId([1; 32]);
    let write = |file: &NodeDisk| {
        let persist = vec![Save::Boot(Boot(1))];
        file.write(Moment(0), &[Effects { persist, ..Effects::default() }]).unwrap();
    };
    let incarnation = |path| {
        let (file, disk) = NodeDisk::open(path, node).unwrap();
        write(&file);
        disk.me().incarnation
    };
    drop(NodeDisk::create(&path, node).unwrap());
    assert_eq!((incarnation(&path), incarnation(&path)), (Incarnation(0), Incarnation(0)));
    let older = std::fs::read(&path).unwrap();
    assert_eq!(incarnation(&path), Incarnation(0));
    std::fs::write(&path, &older).unwrap();
    let second = incarnation(&path);
    assert_ne!(second, Incarnation(0));
    // Of another life, though it has come further.
    std::fs::write(&path, &older).unwrap();
    let third = incarnation(&path);
    assert!(third != second && third != Incarnation(0));
    // Nobody knows how far it has come.
    std::fs::remove_file(&life).unwrap();
    assert_ne!(incarnation(&path), third);
    let aside = std::fs::read_dir(folder.path()).unwrap();
    let aside = aside.filter(|it| it.as_ref().unwrap().path().to_string_lossy().contains("rolled"));
    assert_eq!(aside.count(), 3, "nothing is thrown away");
}

impl Cluster {
    /// A call at one server, whoever runs it.
    async fn anywhere(&self, number: usize, key: &str, call: Call) -> Outcome {
        let server = self.servers[number].as_ref().unwrap();
        let Operation { id, key, call, .. } = Server::operation(key.as_bytes(), call).unwrap();
        let mut attempts = Attempts::new(id, key, call, 20);
        loop {
            match server.attempt(attempts.operation(), 3000).await {
                Attempt::Ended(outcome, _) => {
                    if let Some(ended) = attempts.ended(outcome) {
                        return ended.unwrap();
                    }
                }
                Attempt::Lost => panic!("lost, and nobody has gone: {:?}", attempts.operation()),
            }
        }
    }
}

fn put(text: &str) -> Call {
    Call::CompareAndSet { expected: Expected::Absent, new: Some(Value::from(text.as_bytes())) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_of_five_servers_takes_any_call_also_while_one_is_away() {
    let mut cluster = Cluster::new(5);
    for number in 0..5 {
        cluster.start(number).await;
    }
    for number in 0..20 {
        let key = format!("key {number}");
        assert!(matches!(cluster.anywhere(number % 5, &key, put("coat")).await, Outcome::Set(_)));
        let again = cluster.anywhere((number + 1) % 5, &key, put("hat")).await;
        assert!(matches!(again, Outcome::Mismatch(Some(_))), "{again:?}");
    }
    cluster.stop(4).await;
    for number in 0..20 {
        let key = format!("key {number}");
        let Outcome::Got(Some(held)) = cluster.anywhere(number % 4, &key, Call::Get).await else {
            panic!("{key} is gone")
        };
        assert_eq!(held.value, Value::from(&b"coat"[..]));
    }
}

#[test]
fn a_disk_of_another_node_or_a_damaged_one_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.redb");
    let (one, other) = (NodeId([1; 32]), NodeId([2; 32]));
    drop(NodeDisk::create(&path, one).unwrap());
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "what it keeps is nobody else's");
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(NodeDisk::create(&path, one), Err(DiskError::Exists { .. })));
    assert!(matches!(NodeDisk::open(&path, other), Err(DiskError::Foreign { .. })));
    let (_, disk) = NodeDisk::open(&path, one).unwrap();
    assert_eq!(disk.me().incarnation, Incarnation(0));
    std::fs::write(&path, &before[..before.len() / 2]).unwrap();
    assert!(matches!(NodeDisk::open(&path, one), Err(DiskError::Open(_))));
}
