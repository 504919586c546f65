//! HTTPS with real sockets: who gets through, who does not, and what each side says of it.

#[path = "rest/node.rs"]
// The other half of it is used by the other tests.
#[allow(dead_code)]
mod node;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cloakroom_client::{Client, ClientError, Identity, Options};
use cloakroom_rest::{Listening, Tls, listen_https};
use cloakroom_server::{Authority, Credentials, create_client};
use node::Node;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DAY: Duration = Duration::from_hours(24);

/// A node that serves HTTPS.
struct Secure {
    node: Node,
    address: String,
    tls: Tls,
}

impl Secure {
    async fn start() -> Self {
        let node = Node::start();
        let credentials = Credentials::load(&node.path()).unwrap();
        let tls = Tls::new(credentials.cluster(), credentials.https(None).unwrap());
        let listening = listen_https(([127, 0, 0, 1], 0).into(), tls.clone()).await.unwrap();
        let address = listening.address().to_string();
        serve(listening, &node);
        Self { node, address, tls }
    }

    fn authority(&self) -> Authority {
        Authority::open(&self.node.path().join("authority")).unwrap()
    }

    fn ca(&self) -> PathBuf {
        self.node.path().join("authority.pem")
    }

    fn client(&self, name: &str, valid_for: Duration) -> PathBuf {
        let folder = self.node.path().join(name);
        create_client(&folder, &self.authority(), name, valid_for).unwrap();
        folder
    }

    /// Reads the folder anew, as on SIGHUP.
    fn reload(&self) {
        let credentials = Credentials::load(&self.node.path()).unwrap();
        self.tls.replace(credentials.https(None).unwrap());
    }
}

fn serve(listening: Listening, node: &Node) {
    tokio::spawn(listening.serve(node.router(), std::future::pending()));
}

fn client(endpoint: &str, ca: &Path, shows: Option<&Path>) -> Client {
    let of = |folder: &Path| Identity {
        certificate: folder.join("client.pem"),
        key: folder.join("client.key"),
    };
    let options = Options {
        endpoints: vec![format!("https://{endpoint}")],
        deadline: Duration::from_secs(5),
        authority: Some(ca.to_path_buf()),
        identity: shows.map(of),
        ..Options::default()
    };
    Client::new(&options).unwrap()
}

/// What the client says when the two do not come together.
async fn distrust(client: &Client) -> String {
    distrusted(client.put_if_absent("never", b"written").await)
}

fn distrusted<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    match answer {
        Err(ClientError::Distrust { cause, .. }) => cause,
        other => panic!("expected distrust, got {other:?}"),
    }
}

#[tokio::test]
async fn who_shows_a_certificate_of_the_authority_may_do_everything_by_each_name_of_the_node() {
    let secure = Secure::start().await;
    let alice = secure.client("alice", DAY);
    let port = secure.address.rsplit(':').next().unwrap();
    for (number, host) in ["127.0.0.1", "localhost"].iter().enumerate() {
        let client = client(&format!("{host}:{port}"), &secure.ca(), Some(&alice));
        assert_eq!(client.put_if_absent(&format!("k{number}"), b"v").await, Ok(1));
    }
}

#[tokio::test]
async fn who_shows_no_certificate_is_told_so_and_may_only_ask_whether_the_node_lives() {
    let secure = Secure::start().await;
    let nobody = client(&secure.address, &secure.ca(), None);
    let refused = nobody.put_if_absent("never", b"written").await.unwrap_err();
    assert!(refused.is_refusal("certificate-required"), "{refused:?}");
    assert!(nobody.pools().await.unwrap_err().is_refusal("certificate-required"));
    let alice = client(&secure.address, &secure.ca(), Some(&secure.client("alice", DAY)));
    assert_eq!(alice.get("never").await, Ok(None));
}

#[tokio::test]
async fn a_certificate_that_is_foreign_expired_or_revoked_gets_nowhere_and_both_sides_say_why() {
    let (secure, other) = (Secure::start().await, Secure::start().await);
    let at = |folder: &Path| client(&secure.address, &secure.ca(), Some(folder));
    // Of another cluster, in the name of somebody of this one.
    let said = distrust(&at(&other.client("alice", DAY))).await;
    assert!(said.contains("our certificate is of another authority"), "{said}");
    let brief = secure.client("brief", Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let said = distrust(&at(&brief)).await;
    assert!(said.contains("our certificate has expired"), "{said}");
    let folder = secure.client("alice", DAY);
    let alice = at(&folder);
    assert_eq!(alice.put_if_absent("k", b"v").await, Ok(1));
    assert_eq!(secure.authority().revoke_client("alice").unwrap(), 1);
    let list = secure.authority().revoked().unwrap();
    std::fs::write(secure.node.path().join("revoked.pem"), list).unwrap();
    secure.reload();
    // Her connection, which was open and idle, does not serve her either.
    let said = distrusted(alice.get("k").await);
    assert!(said.contains("our certificate is revoked"), "{said}");
    let said = distrust(&at(&folder)).await;
    assert!(said.contains("our certificate is revoked"), "{said}");
    let bob = at(&secure.client("bob", DAY));
    assert_eq!(bob.get("never").await, Ok(None), "nothing was written, and others are served");
}

#[tokio::test]
async fn a_connection_ends_when_the_certificate_expires_that_it_began_with() {
    let secure = Secure::start().await;
    let brief = client(
        &secure.address,
        &secure.ca(),
        Some(&secure.client("brief", Duration::from_secs(3))),
    );
    assert_eq!(brief.put_if_absent("k", b"v").await, Ok(1));
    tokio::time::sleep(Duration::from_millis(4100)).await;
    let said = distrusted(brief.get("k").await);
    assert!(said.contains("our certificate has expired"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_foreign_expired_or_of_another_name_is_told_nothing() {
    let (secure, other) = (Secure::start().await, Secure::start().await);
    let alice = secure.client("alice", DAY);
    let port = secure.address.rsplit(':').next().unwrap();
    let said = distrust(&client(&secure.address, &other.ca(), Some(&alice))).await;
    assert!(said.contains("the server's certificate is of another authority"), "{said}");
    // The machine's own, and not in the certificate.
    let elsewhere = format!("127.0.0.2:{port}");
    let credentials = Credentials::load(&secure.node.path()).unwrap();
    let tls = Tls::new(credentials.cluster(), credentials.https(None).unwrap());
    let listening = listen_https(elsewhere.parse().unwrap(), tls).await.unwrap();
    serve(listening, &secure.node);
    let said = distrust(&client(&elsewhere, &secure.ca(), Some(&alice))).await;
    assert!(said.contains("does not name this host"), "{said}");
    Credentials::renew(&secure.node.path(), &secure.authority(), &[], Duration::ZERO).unwrap();
    secure.reload();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let said = distrust(&client(&secure.address, &secure.ca(), Some(&alice))).await;
    assert!(said.contains("the server's certificate has expired"), "{said}");
}

/// Neither kind of server speaks the other's language, and each goes on.
#[tokio::test]
async fn plain_http_gets_no_answer_and_a_name_that_is_no_host_is_not_certified() {
    let secure = Secure::start().await;
    let mut stream = TcpStream::connect(&secure.address).await.unwrap();
    stream.write_all(b"GET /v1/pools HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    // An alert, or the connection's end.
    let _ = stream.read_to_end(&mut said).await;
    assert!(!String::from_utf8_lossy(&said).contains("HTTP"), "{said:?}");
    let alice = client(&secure.address, &secure.ca(), Some(&secure.client("alice", DAY)));
    assert_eq!(alice.get("never").await, Ok(None));
    let hosts = ["a b".to_string()];
    let refused = Credentials::renew(&secure.node.path(), &secure.authority(), &hosts, DAY);
    assert!(refused.unwrap_err().to_string().contains("expected a name"));
}

/// Alive as far as TLS goes, and not as far as the address.
#[tokio::test]
async fn a_folder_of_nothing_is_named_with_what_was_expected() {
    let folder = TempDir::new().unwrap();
    let options = Options {
        endpoints: vec!["https://localhost:1".to_string()],
        authority: Some(folder.path().join("authority.pem")),
        ..Options::default()
    };
    let refused = Client::new(&options).unwrap_err();
    assert!(matches!(refused, ClientError::Identity { .. }), "{refused:?}");
    let options = Options { authority: None, ..options };
    assert!(matches!(Client::new(&options), Err(ClientError::NoAuthority(_))));
}
