//! The client against a real node: all calls, and a go-between that loses answers and requests.

#[path = "rest/node.rs"]
// The other half of it is used by the other tests.
#[allow(dead_code)]
mod node;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cloakroom_client::{Client, ClientError, Life, Options, Policy};
use node::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Serves a node, for as long as the runtime lives.
async fn serve(node: &Node) -> String {
    let listening = cloakroom_rest::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listening.address().to_string();
    tokio::spawn(listening.serve(node.router(), std::future::pending()));
    address
}

fn client(endpoints: &[&str], strategy: &str, deadline_ms: u64) -> Client {
    let endpoints = endpoints.iter().map(|text| format!("http://{text}")).collect();
    let deadline = Duration::from_millis(deadline_ms);
    let strategy = strategy.to_string();
    Client::new(&Options { endpoints, strategy, deadline, ..Options::default() }).unwrap()
}

/// What happens to a connection.
#[derive(Clone, Copy)]
enum Fate {
    /// The request arrives, and its answer is lost.
    AnswerLost,
    /// Neither arrives.
    RequestLost,
}

/// A go-between that does this to its first connections, and then lets all through.
async fn go_between(to: String, fates: Vec<Fate>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut fates = fates.into_iter();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (fate, to) = (fates.next(), to.clone());
            let mut request = vec![0; 4096];
            match fate {
                None => {
                    tokio::spawn(async move {
                        let mut node = TcpStream::connect(to).await.unwrap();
                        // Whoever goes, goes.
                        let _ = copy_bidirectional(&mut client, &mut node).await;
                    });
                }
                Some(Fate::RequestLost) => drop(client.read(&mut request).await),
                Some(Fate::AnswerLost) => {
                    let mut node = TcpStream::connect(to).await.unwrap();
                    let length = client.read(&mut request).await.unwrap();
                    node.write_all(&request[..length]).await.unwrap();
                    // It is carried out; the answer ends here.
                    assert!(node.read(&mut request).await.unwrap() > 0);
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn every_call_does_what_its_path_does() {
    let node = Node::start();
    let address = serve(&node).await;
    for (name, _) in cloakroom_kademlia::Balance::ALL {
        client(&[&address, &address], name, 5000).pools().await.unwrap();
    }
    let client = client(&[&address], "two-choices", 5000);
    let pool = client.create_pool("ports", 3, Policy::LowestFirst).await.unwrap();
    assert_eq!((pool.size, client.pools().await.unwrap()), (3, vec![pool]));
    for (number, tag) in ["a b&c=d", "ä/?#", "z"].iter().enumerate() {
        assert_eq!(client.allocate("ports", tag).await, Ok(number as u64));
        assert_eq!(client.find("ports", tag).await, Ok(vec![number as u64]));
    }
    let full = client.allocate("ports", "late").await;
    assert!(matches!(full, Err(ClientError::Refused { kind, .. }) if kind == "pool-full"));
    assert_eq!(client.list("ports", "ä").await.unwrap()[0].tag, "ä/?#");
    assert_eq!(client.free("ports", 1, "ä/?#").await, Ok(true));
    assert_eq!(client.free("ports", 1, "ä/?#").await, Ok(false));
    assert_eq!(client.usage("ports").await.unwrap().held, 2);
    let recovered = client.recover("ports", &["z".to_string()], false).await.unwrap();
    assert_eq!((recovered.freed[0].id, recovered.held), (2, 1));
    assert_eq!(client.get("k/1").await, Ok(None));
    assert_eq!(client.put_if_absent("k/1", b"one").await, Ok(1));
    assert_eq!(client.compare_and_set("k/1", 1, b"two").await, Ok(2));
    let held = client.get("k/1").await.unwrap().unwrap();
    assert_eq!((held.version, &held.value[..]), (2, &b"two"[..]));
    let stale = client.remove("k/1", 1).await;
    assert!(matches!(stale, Err(ClientError::Refused { version: Some(2), .. })), "{stale:?}");
    assert_eq!(client.remove("k/1", 2).await, Ok(3));
    assert_eq!(client.records("cap").await, Ok(Vec::new()));
    client.publish("cap", b"green").await.unwrap();
    assert_eq!(client.records("cap").await.unwrap()[0].value.as_deref(), Some("green"));
}

#[tokio::test]
async fn a_node_tells_of_all_slots_and_that_it_votes_in_each() {
    let node = Node::start();
    let address = serve(&node).await;
    let client = client(&[&address], "round-robin", 5000);
    let (cluster, slots) = (client.cluster().await.unwrap(), client.slots().await.unwrap());
    assert_eq!(slots.len() as u64, cluster.slots);
    for (number, slot) in (0..).zip(slots) {
        assert_eq!((slot.slot, slot.life), (number, Some(Life::Active)));
        assert_eq!(slot.members, [cluster.node.as_str()]);
    }
}

#[tokio::test]
async fn an_allocation_whose_answer_is_lost_takes_one_id_and_is_told_it_when_it_is_tried_again() {
    let node = Node::start();
    let address = serve(&node).await;
    let direct = client(&[&address], "round-robin", 5000);
    direct.create_pool("p", 9, Policy::LowestFirst).await.unwrap();
    let between = go_between(address, vec![Fate::AnswerLost]).await;
    let client = client(&[&between], "round-robin", 5000);
    assert_eq!(client.allocate("p", "web").await, Ok(0));
    assert_eq!(direct.usage("p").await.unwrap().held, 1);
}

/// Nobody can tell whether a lost request was carried out: it is not tried blindly.
#[tokio::test]
async fn an_allocation_that_may_have_happened_and_is_not_remembered_is_unknown_and_not_done_again()
{
    let node = Node::start();
    let address = serve(&node).await;
    let direct = client(&[&address], "round-robin", 5000);
    direct.create_pool("p", 9, Policy::LowestFirst).await.unwrap();
    let between = go_between(address, vec![Fate::RequestLost]).await;
    let impatient = client(&[&between], "round-robin", 600);
    let unknown = impatient.allocate("p", "web").await;
    assert!(matches!(unknown, Err(ClientError::Unknown(_))), "{unknown:?}");
    assert_eq!(direct.usage("p").await.unwrap().held, 0);
}

/// Another tag holds the id; and the lost request was lost before it arrived, which nobody can tell.
#[tokio::test]
async fn a_free_that_may_have_happened_is_not_refused_for_what_came_after() {
    let node = Node::start();
    let address = serve(&node).await;
    let direct = client(&[&address], "round-robin", 5000);
    direct.create_pool("p", 9, Policy::LowestFirst).await.unwrap();
    assert_eq!(direct.allocate("p", "other").await, Ok(0));
    let between = go_between(address, vec![Fate::RequestLost]).await;
    let client = client(&[&between], "round-robin", 5000);
    let unknown = client.free("p", 0, "mine").await;
    let Err(ClientError::Unknown(cause)) = unknown else { panic!("{unknown:?}") };
    assert!(cause.contains("held under another tag"), "{cause}");
    let refused = client.free("p", 0, "mine").await;
    assert!(refused.is_err_and(|error| error.is_refusal("not-owner")));
}

#[tokio::test]
async fn a_node_that_is_not_there_is_passed_over_and_nobody_at_all_is_unavailable() {
    let node = Node::start();
    let address = serve(&node).await;
    let client_of = |endpoints: &[&str]| client(endpoints, "round-robin", 1000);
    let both = client_of(&["127.0.0.1:1", &address]);
    for number in 0..4 {
        assert_eq!(both.put_if_absent(&format!("k{number}"), b"v").await, Ok(1));
    }
    let alone = client_of(&["127.0.0.1:1"]).put_if_absent("k", b"v").await;
    assert!(matches!(alone, Err(ClientError::Unavailable(_))), "{alone:?}");
}

/// A node that never knows what became of anything, and says so at once.
async fn in_doubt() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            // Relaxed, here and where it is read: a count alone; answers come and go by a socket.
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = vec![0; 4096];
            let _ = client.read(&mut request).await;
            let body = r#"{"type":"urn:cloakroom:problem:outcome-unknown","outcome":"unknown","detail":"lost"}"#;
            let head = "HTTP/1.1 504 Gateway Timeout\r\nconnection: close\r\nretry-after: 1";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    (address, asked)
}

/// However slow the machine is, it does not ask more often.
#[tokio::test]
async fn a_call_that_stays_in_doubt_is_not_repeated_without_a_pause() {
    let (node, asked) = in_doubt().await;
    let client = client(&[&node], "closest", 2_000);
    let ended = client.allocate("p", "t").await;
    assert!(matches!(ended, Err(ClientError::Unknown(_))), "{ended:?}");
    // Relaxed: a count; each request was counted before its answer.
    let asked = asked.load(Ordering::Relaxed);
    // At 0, 50, 150, 350, 750 and 1,550 ms, each up to a quarter earlier.
    assert!((1..=7).contains(&asked), "{asked} times");
}
