//! The same over HTTPS: handshakes that are garbage, or stop half-way, and clients that show a good
//! certificate and read nothing.
//!
//! What it does not do: break TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cloakroom_server::{Authority, create_client};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{A_WHILE, noise};
use crate::random::Random;

/// Where a node serves HTTPS, and what a client that it takes shows.
#[derive(Clone)]
pub(super) struct Secure {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Secure {
    /// A client of this cluster's authority.
    pub(super) fn new(address: SocketAddr, cluster: &Path) -> Result<Self, String> {
        let authority = cluster.join("authority");
        let failed = |cause: &dyn std::fmt::Display| format!("a client's certificate: {cause}");
        let opened = Authority::open(&authority).map_err(|cause| failed(&cause))?;
        let folder = cluster.with_file_name("mallory");
        create_client(&folder, &opened, "mallory", Duration::from_hours(1))
            .map_err(|cause| failed(&cause))?;
        let pem = |name: &str| {
            std::fs::read(folder.join(name)).map_err(|cause| format!("{name}: {cause}"))
        };
        let chain = |text: &[u8]| {
            CertificateDer::pem_slice_iter(text)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|cause| failed(&cause))
        };
        let mut roots = RootCertStore::empty();
        for root in chain(&pem("authority.pem")?)? {
            roots.add(root).map_err(|cause| failed(&cause))?;
        }
        let key = PrivateKeyDer::from_pem_slice(&pem("client.key")?);
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(|cause| failed(&cause))?
            .with_root_certificates(roots)
            .with_client_auth_cert(
                chain(&pem("client.pem")?)?,
                key.map_err(|cause| failed(&cause))?,
            )
            .map_err(|cause| failed(&cause))?;
        Ok(Self { address, config: Arc::new(config) })
    }

    fn name(&self) -> ServerName<'static> {
        ServerName::from(self.address.ip())
    }

    /// The first message of a handshake.
    fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        if let Ok(mut connection) = ClientConnection::new(Arc::clone(&self.config), self.name()) {
            // Into memory.
            let _ = connection.write_tls(&mut hello);
        }
        hello
    }

    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name(), stream).await
    }

    /// What a request is answered, with whole handshake and answer.
    pub(super) async fn ask(&self, line: &str) -> std::io::Result<String> {
        let mut stream = self.connect().await?;
        let host = self.address;
        let request = format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Garbage from the first byte, behind the head of a record, or in the first message.
    pub(super) async fn garbage(&self, seed: u64) -> String {
        let mut tasks = JoinSet::new();
        for number in 0..400 {
            let (own, mut random) = (self.clone(), Random::new(seed, number));
            tasks.spawn(async move {
                let Ok(mut stream) = TcpStream::connect(own.address).await else { return };
                let mut bytes = noise(&mut random, 16 << 10);
                match number % 3 {
                    0 => {}
                    1 => bytes[..5].copy_from_slice(&[0x16, 3, 1, 0x40, 0]),
                    _ => {
                        let mut hello = own.hello();
                        let at = random.index(hello.len());
                        hello[at] ^= 1 << random.index(8);
                        hello.extend_from_slice(&bytes);
                        bytes = hello;
                    }
                }
                // It may be cut off at any byte.
                let _ = timeout(A_WHILE, stream.write_all(&bytes)).await;
                let _ = timeout(A_WHILE, stream.read(&mut [0; 1024])).await;
            });
        }
        tasks.join_all().await;
        "400 handshakes of garbage".to_string()
    }

    /// First messages, whole or cut off anywhere, and nothing more.
    pub(super) async fn half_open(&self, seed: u64) -> String {
        let mut tasks = JoinSet::new();
        for number in 0..800 {
            let (own, mut random) = (self.clone(), Random::new(seed, number));
            tasks.spawn(async move {
                let Ok(mut stream) = TcpStream::connect(own.address).await else { return };
                let hello = own.hello();
                let length = if number % 2 == 0 { hello.len() } else { random.index(hello.len()) };
                let _ = timeout(A_WHILE, stream.write_all(&hello[..length])).await;
                sleep(A_WHILE * 2).await;
            });
        }
        tasks.join_all().await;
        "800 first messages of handshakes that nobody goes on with".to_string()
    }

    /// Whole handshakes with a good certificate, and answers that nobody reads.
    pub(super) async fn slow_readers(&self) -> String {
        let mut tasks = JoinSet::new();
        for _ in 0..200 {
            let own = self.clone();
            tasks.spawn(async move {
                let Ok(Ok(mut stream)) = timeout(A_WHILE * 4, own.connect()).await else {
                    return false;
                };
                let host = own.address;
                let request = format!("GET /openapi.json HTTP/1.1\r\nhost: {host}\r\n\r\n");
                let _ = timeout(A_WHILE, stream.write_all(request.repeat(200).as_bytes())).await;
                sleep(A_WHILE).await;
                true
            });
        }
        let connected = tasks.join_all().await.into_iter().filter(|it| *it).count();
        format!("{connected} of 200 connections with 200 requests each, of which no answer is read")
    }
}
