//! Servers on loopback whose certificates are due: who renews them, and whose are not renewed.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use cloakroom_kademlia::Parameters;
use cloakroom_node::{Founder, Genesis, Patience, Zone};
use cloakroom_register::Waits;
use cloakroom_server::{
    Answers, Authority, Credentials, Limits, NodeDisk, NodeId, RenewalError, Server, ServerConfig,
};
use cloakroom_wire::{Address, Contact};
use tempfile::TempDir;

const DAY: Duration = Duration::from_hours(24);
/// Due at once, and for longer than a test takes.
const BRIEF: Duration = Duration::from_mins(2);

struct Cluster {
    folder: TempDir,
    authority: Authority,
    servers: Vec<Server>,
}

impl Cluster {
    /// One server for each certificate, which is valid for so long.
    fn of(valid_for: &[Duration]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(&folder.path().join("authority")).unwrap();
        // Held together until all are known, so that no port is given twice.
        let sockets: Vec<UdpSocket> =
            valid_for.iter().map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let addresses: Vec<SocketAddr> =
            sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let node = |number: usize| folder.path().join(format!("node{number}"));
        let founder = |(number, valid_for): (usize, &Duration)| {
            let credentials =
                Credentials::create(&node(number), &authority, &[], *valid_for).unwrap();
            NodeDisk::create(&node(number).join("node.redb"), credentials.id()).unwrap();
            let (id, key) = (credentials.id(), credentials.public());
            let contact = Contact { id, address: Address::from(addresses[number]), key };
            Founder { contact, zone: Zone(format!("zone {number}").into()) }
        };
        let founders: Vec<Founder> = valid_for.iter().enumerate().map(founder).collect();
        let genesis = Genesis::new(&founders, 8, 3).unwrap();
        drop(sockets);
        let serve = |number: usize| {
            let config = ServerConfig {
                listen: addresses[number],
                advertise: None,
                credentials: Credentials::load(&node(number)).unwrap(),
                genesis: genesis.clone(),
                data: node(number).join("node.redb"),
                parameters: Parameters { subnets: None, ..Parameters::default() },
                waits: Waits::default(),
                patience: Patience::default(),
                limits: Limits::default(),
            };
            Server::start(config).unwrap()
        };
        let servers = (0..valid_for.len()).map(serve).collect();
        Self { folder, authority, servers }
    }

    fn node(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("node{number}"))
    }

    fn credentials(&self, number: usize) -> Credentials {
        Credentials::load(&self.node(number)).unwrap()
    }

    fn id(&self, number: usize) -> NodeId {
        self.servers[number].contact().id
    }

    fn has_authority(&self, number: usize) {
        assert!(self.servers[number].renew_for_others(self.folder.path().join("authority")));
    }

    fn issued(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("authority/issued")).unwrap().count()
    }

    async fn renew(&self, number: usize) -> Result<NodeId, Answers> {
        match self.servers[number].renew(&self.node(number)).await {
            Ok(by) => Ok(by),
            Err(RenewalError::Nobody(answers)) => Err(answers),
            Err(cause) => panic!("{cause}"),
        }
    }

    /// That nobody renews a node's certificate, that nothing is kept for it, and what its holder is told.
    async fn refuses(&self, number: usize, why: &str) -> Answers {
        let before = (self.credentials(number).proof(), self.issued());
        let answers = self.renew(number).await.expect_err("nobody renews it");
        assert!(answers.to_string().contains(why), "expected {why:?}, got {answers}");
        assert_eq!((self.credentials(number).proof(), self.issued()), before);
        answers
    }
}

#[tokio::test]
async fn a_node_is_renewed_by_the_one_member_that_has_the_authority() {
    let cluster = Cluster::of(&[BRIEF, DAY, BRIEF]);
    cluster.has_authority(1);
    assert_eq!(cluster.issued(), 3);
    for (number, issued) in [(0, 4), (2, 5)] {
        let before = cluster.credentials(number);
        assert_eq!(cluster.renew(number).await, Ok(cluster.id(1)));
        let after = cluster.credentials(number);
        assert_eq!((after.id(), after.hosts()), (before.id(), before.hosts()));
        assert!(!after.proof().unwrap().is_due());
        assert_eq!(cluster.issued(), issued);
        cluster.servers[number].reload(&after).unwrap();
        assert_eq!(cluster.servers[number].proof(), after.proof());
    }
    // By the certificate that is shown now.
    cluster.refuses(0, "less than a third is left").await;
}

#[tokio::test]
async fn members_without_the_authority_say_so() {
    let cluster = Cluster::of(&[BRIEF, DAY, DAY]);
    let answers = cluster.refuses(0, "2 of 2 asked do not have the authority").await;
    assert_eq!(answers, Answers { without: 2, failed: Vec::new() });
}

#[tokio::test]
async fn a_revoked_node_is_given_nothing_neither_before_nor_after_its_peers_know() {
    let cluster = Cluster::of(&[BRIEF, DAY]);
    cluster.has_authority(1);
    cluster.authority.revoke(cluster.id(0)).unwrap();
    // Its peer lets it in still, by the list that it has; the authority's own is newer.
    cluster.refuses(0, "refused: expected a holder whose certificates are not all revoked").await;
    let list = cluster.authority.revoked().unwrap();
    std::fs::write(cluster.node(1).join("revoked.pem"), list).unwrap();
    cluster.servers[1].reload(&cluster.credentials(1)).unwrap();
    let answers = cluster.refuses(0, "").await;
    let [(by, why)] = &answers.failed[..] else { panic!("{answers}") };
    assert_eq!(*by, cluster.id(1));
    assert!(!why.contains("refused: "), "it was let in: {why}");
}

#[tokio::test]
async fn who_asks_too_often_is_told_so() {
    let cluster = Cluster::of(&[DAY, DAY]);
    cluster.has_authority(1);
    // The first ones are answered; how many more depends on how long they take.
    for _ in 0..6 {
        cluster.refuses(0, "less than a third is left").await;
    }
    let mut more = 0;
    while !cluster.refuses(0, "refused: ").await.to_string().contains("too many questions") {
        more += 1;
        assert!(more < 100, "nobody is told");
    }
}
