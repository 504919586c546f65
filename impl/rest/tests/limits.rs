//! Clients that are too many, too fast or too slow, on real sockets: each is told, or cut off, and others are served.

#[path = "rest/node.rs"]
// The other half of it is used by the other tests.
#[allow(dead_code)]
mod node;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use cloakroom_rest::{Gate, Limits, Tls, listen, listen_https};
use cloakroom_server::Credentials;
use node::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ASK: &[u8] = b"GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n";
const PATIENCE: Duration = Duration::from_mins(1);

/// A node behind a gate of its own, and the address.
async fn serve(limits: Limits) -> (Node, String) {
    let node = Node::start();
    let gate = Gate::new(limits);
    let listening = listen(([127, 0, 0, 1], 0).into()).await.unwrap().behind(gate.clone());
    let address = listening.address().to_string();
    tokio::spawn(listening.serve(node.router_behind(gate), std::future::pending()));
    (node, address)
}

async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let read = timeout(PATIENCE, stream.read(&mut bytes)).await.expect("it is answered or ended");
    // A reset is an end too.
    String::from_utf8_lossy(&bytes[..read.unwrap_or(0)]).into_owned()
}

/// What is answered to one request on a connection of its own.
async fn ask(address: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Who is turned away may have been so already.
    let _ = stream.write_all(ASK).await;
    (read(&mut stream).await, stream)
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_and_idle_ones_make_room_for_those_who_ask() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let (_node, address) = serve(limits).await;
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let (served, mut idle) = ask(&address).await;
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
    let mut third = TcpStream::connect(&address).await.unwrap();
    let shed = read(&mut third).await;
    assert!(shed.starts_with("HTTP/1.1 503") && shed.contains("retry-after: 1"), "{shed}");
    assert!(shed.contains("urn:cloakroom:problem:overloaded"), "{shed}");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let (served, _fourth) = ask(&address).await;
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
    assert_eq!(read(&mut silent).await, "", "it has said nothing, and makes room");
    idle.write_all(ASK).await.unwrap();
    assert!(read(&mut idle).await.starts_with("HTTP/1.1 200"), "it was asked last");
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_to_wait_and_what_was_shed_is_counted() {
    let limits = Limits {
        requests_per_second: NonZeroU32::new(2).unwrap(),
        connections_per_client: 4,
        ..Limits::default()
    };
    let (node, address) = serve(limits).await;
    let (first, mut stream) = ask(&address).await;
    let mut said = vec![first];
    for _ in 0..3 {
        stream.write_all(ASK).await.unwrap();
        said.push(read(&mut stream).await);
    }
    let refused = said.iter().find(|said| said.starts_with("HTTP/1.1 429"));
    let refused = refused.unwrap_or_else(|| panic!("none of four is refused: {said:?}"));
    assert!(refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("too-many-requests") && refused.contains("\"none\""), "{refused}");
    let _others: Vec<TcpStream> = {
        let mut others = Vec::new();
        for _ in 0..3 {
            others.push(TcpStream::connect(&address).await.unwrap());
        }
        others
    };
    let mut fifth = TcpStream::connect(&address).await.unwrap();
    assert!(read(&mut fifth).await.starts_with("HTTP/1.1 503"));
    // Without a socket nobody is limited.
    let text = String::from_utf8(node.behind_gate("/metrics").await.to_vec()).unwrap();
    for name in ["http_requests_too_fast_total", "http_connections_per_client_shed_total"] {
        let line = text.lines().find(|line| line.starts_with(&format!("cloakroom_{name} ")));
        let count: u64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(count >= 1, "{name}: {text}");
    }
}

/// A handshake that is not finished, and a head that is not.
#[tokio::test]
async fn half_open_connections_are_cut_off_and_others_are_served_meanwhile() {
    let (node, address) = serve(Limits::default()).await;
    let credentials = Credentials::load(&node.path()).unwrap();
    let tls = Tls::new(credentials.cluster(), credentials.https(None).unwrap());
    let secure = listen_https(([127, 0, 0, 1], 0).into(), tls).await.unwrap();
    let secure_address = secure.address();
    tokio::spawn(secure.serve(node.router(), std::future::pending()));
    let begun = Instant::now();
    let mut half_open = TcpStream::connect(secure_address).await.unwrap();
    // The beginning of a handshake's first record.
    half_open.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let mut half_said = TcpStream::connect(&address).await.unwrap();
    half_said.write_all(&ASK[..20]).await.unwrap();
    assert!(ask(&address).await.0.starts_with("HTTP/1.1 200"));
    let ends = async |stream: &mut TcpStream| {
        let mut rest = Vec::new();
        // With an error, or without.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is cut off");
        begun.elapsed()
    };
    let (half_open, half_said) = tokio::join!(ends(&mut half_open), ends(&mut half_said));
    assert!(half_open >= Duration::from_secs(4), "{half_open:?}");
    assert!(half_said >= Duration::from_secs(9), "{half_said:?}");
}
