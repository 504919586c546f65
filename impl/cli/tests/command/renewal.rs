//! Servers as processes whose certificates are due: renewed while they run, if one of them has the authority.

use std::net::UdpSocket;
use std::time::{Duration, Instant, SystemTime};

use cloakroom_server::{Authority, Credentials, Proof};

use crate::binary::Desk;
use crate::serving::{Serving, dev_cluster, text};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Due at once. In this time three processes start on a busy machine, and each is renewed.
const BRIEF: Duration = Duration::from_secs(50);
/// For what must happen: it ends the test if it does not.
const PATIENCE: Duration = Duration::from_mins(2);

/// A cluster in `coats`, on ports that are free now.
fn found(desk: &Desk) {
    let free = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let sockets = NAMES.map(|_| free());
    let nodes = NAMES.iter().zip(&sockets);
    let nodes = nodes.map(|(name, socket)| format!("{name}={}", socket.local_addr().unwrap()));
    let nodes: Vec<String> = nodes.collect();
    desk.ok(&format!("cluster init coats {} --slots 8", nodes.join(" ")));
}

fn shorten(desk: &Desk, node: &str, authority: &str) -> Proof {
    let authority = Authority::open(&desk.path(authority)).unwrap();
    let made = Credentials::renew(&desk.path(node), &authority, &[], BRIEF).unwrap();
    made.proof().unwrap()
}

fn proof(desk: &Desk, node: &str) -> Proof {
    Credentials::load(&desk.path(node)).unwrap().proof().unwrap()
}

fn serve(desk: &Desk, name: &str, with: &str) -> Serving {
    Serving::of(desk, &format!("serve --folder coats/{name} --http 127.0.0.1:0 --log info {with}"))
}

/// What a server's metrics say of it, by the name of the metric.
fn metric(server: &Serving, name: &str) -> f64 {
    let metrics = text(&server.shell("curl -fsS localhost:8420/metrics"));
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {metrics}")).parse().unwrap()
}

#[test]
fn three_servers_outlive_their_certificates_when_one_of_them_has_the_authority() {
    let desk = Desk::new();
    found(&desk);
    let folders = NAMES.map(|name| format!("coats/{name}"));
    let first = folders.each_ref().map(|node| shorten(&desk, node, "coats/authority"));
    let last = first.iter().map(|proof| proof.expires).max().unwrap();
    // What is due is renewed by the one in the middle, as it begins and when the others ask.
    std::fs::rename(desk.path("coats/authority"), desk.path("authority")).unwrap();
    let servers =
        [serve(&desk, "a", ""), serve(&desk, "b", "--authority authority"), serve(&desk, "c", "")];
    let ids = folders.each_ref().map(|node| Credentials::load(&desk.path(node)).unwrap().id());
    // In use until all of the first ones have expired: what was not renewed by then will not be. A call beside a change
    // of certificates may be in doubt.
    let mut calls = 0;
    while SystemTime::now() < last + Duration::from_secs(2) {
        let at = &servers[calls % 3].address;
        desk.run(&format!("pool create ports --size 1000 --endpoint http://{at}"));
        desk.run(&format!("allocate ports --tag t{calls} --endpoint http://{at}"));
        calls += 1;
    }
    for (server, node) in servers.iter().zip(&folders) {
        let renewed = proof(&desk, node);
        assert!(renewed.expires > last && !renewed.is_due(), "{node}: {renewed:?}");
        let expires = renewed.expires.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let begun = Instant::now();
        // It is in use, and so are connections that began with it.
        let said = || {
            let expiry = metric(server, "cloakroom_certificate_expiry_timestamp_seconds");
            (expiry.to_string(), metric(server, "cloakroom_peers_connected").to_string())
        };
        while said() != (expires.as_secs().to_string(), "2".to_string()) {
            assert!(begun.elapsed() < PATIENCE, "{node}: {:?}", said());
        }
        let at = format!("--endpoint http://{} --deadline-ms 20000", server.address);
        desk.ok(&format!("allocate ports --tag after-{} {at}", node.replace('/', "-")));
    }
    let after = folders.each_ref().map(|node| Credentials::load(&desk.path(node)).unwrap().id());
    assert_eq!(ids, after, "with the keys that they had");
}

#[test]
fn where_no_member_has_the_authority_a_server_says_that_nobody_renews_it() {
    let desk = Desk::new();
    found(&desk);
    let before = shorten(&desk, "coats/a", "coats/authority");
    let _others = [serve(&desk, "b", ""), serve(&desk, "c", "")];
    let mut due = serve(&desk, "a", "");
    let said = due.until_it_says("no other member has renewed it");
    assert!(
        said.contains("expires in 0 days") && said.contains("`cloakroom cert renew`"),
        "{said}"
    );
    assert!(said.contains(" of 2 asked do not have the authority"), "{said}");
    assert_eq!(proof(&desk, "coats/a"), before);
}

#[test]
fn dev_cluster_needs_nobody_for_its_certificates() {
    let desk = Desk::new();
    let (mut cluster, _) = dev_cluster(&desk, 2);
    assert_eq!(cluster.signal("-TERM").code(), Some(0));
    let nodes = ["cloakroom-dev/node-1", "cloakroom-dev/node-2"];
    for node in nodes {
        shorten(&desk, node, "cloakroom-dev/authority");
    }
    let (_cluster, _) = dev_cluster(&desk, 2);
    let begun = Instant::now();
    while nodes.iter().any(|node| proof(&desk, node).is_due()) {
        assert!(begun.elapsed() < PATIENCE, "nobody has renewed them");
    }
}

#[test]
fn a_folder_that_is_no_authority_of_the_cluster_is_refused_before_anything_is_served() {
    let desk = Desk::new();
    found(&desk);
    desk.ok("cluster init other a=127.0.0.1:17420");
    let line = "serve --folder coats/a --http 127.0.0.1:0 --authority";
    desk.fails(&format!("{line} coats"), 2, "coats: expected an authority's folder");
    desk.fails(
        &format!("{line} other/authority"),
        1,
        "expected the authority that this node trusts",
    );
}
