//! TLS 1.3 and nothing else: between nodes with certificates on both sides, and for clients over HTTPS.
//!
//! Invariants:
//! * NET-2: no session is resumed: a certificate is looked at whenever a connection begins;
//! * REST-5: over HTTPS, who shows a certificate shows a valid one of the cluster's authority; who
//!   shows none gets a connection, and what may be had on it is for `rest` to say;
//! * NET-2: who has no certificate of the cluster's authority, an expired or a revoked one gets no
//!   connection, in either direction;
//! * key exchange is hybrid where both sides can (X25519 with ML-KEM-768): what is recorded today is
//!   not read by a quantum computer later;
//! * no second provider: all cryptography is aws-lc.
//!
//! What it does not do: judge whether the other side is the node that was meant. That is its
//! certificate's key, and `transport.rs` looks at it.

use std::path::PathBuf;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientCertVerifierBuilder, NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::authority::{content, server_name};
use crate::credentials::Credentials;
use crate::error::{Error, Fault};
use crate::files;

/// What the two sides must agree on: the protocol, and its version.
const ALPN: &[u8] = b"cloakroom/1";
const HTTP: &[u8] = b"http/1.1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(credentials: &Credentials) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(credentials.authority.clone()).when("trust the authority's certificate")?;
    Ok(Arc::new(roots))
}

/// For those who come to us.
pub(crate) fn server(credentials: &Credentials) -> Result<QuicServerConfig, Error> {
    let own = (vec![credentials.certificate.clone()], credentials.key.secret());
    let config = shows(own, who_comes(credentials)?.build(), ALPN)?;
    QuicServerConfig::try_from(config).when("speak QUIC")
}

/// NET-2: who comes shows a certificate of the authority that is valid and not revoked.
fn who_comes(credentials: &Credentials) -> Result<ClientCertVerifierBuilder, Error> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots(credentials)?, provider());
    Ok(builder.with_crls([credentials.revoked.clone()]).only_check_end_entity_revocation())
}

/// What is shown to those who come, once it is known who may.
fn shows(
    (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    to: Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError>,
    protocol: &[u8],
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .when("speak TLS 1.3")?
        .with_client_cert_verifier(to.when("read the revocation list")?)
        .with_single_cert(chain, key)
        .when("show a certificate")?;
    config.alpn_protocols = vec![protocol.to_vec()];
    // NET-2: a resumed session would bring a certificate that was valid when the session began.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A certificate of somebody else's making that is shown to clients, in PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The certificate, and those that it rests on.
    pub certificate: PathBuf,
    /// Its key, which only its owner may read.
    pub key: PathBuf,
}

impl Credentials {
    /// For clients that come over HTTPS: the node's own certificate is shown, or another one.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Open`], [`Error::Content`], [`Error::Cryptography`]
    pub fn https(&self, shown: Option<&Shown>) -> Result<Arc<ServerConfig>, Error> {
        let shown = match shown {
            None => (vec![self.certificate.clone()], self.key.secret()),
            Some(Shown { certificate, key }) => (chain(certificate)?, secret(key)?),
        };
        let anybody = who_comes(self)?.allow_unauthenticated().build();
        Ok(Arc::new(shows(shown, anybody, HTTP)?))
    }
}

fn chain(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = files::read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let all = all.map_err(|cause| content(path, "certificates in PEM", &cause))?;
    if all.is_empty() {
        return Err(content(path, "certificates in PEM", &"none"));
    }
    Ok(all)
}

fn secret(path: &std::path::Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = files::read_secret(path)?;
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|cause| content(path, "a private key in PEM", &cause))
}

/// NET-2: whom we go to shows a certificate of the authority that is valid and not revoked.
fn whom_we_meet(credentials: &Credentials) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(roots(credentials)?, provider())
        .with_crls([credentials.revoked.clone()])
        .only_check_end_entity_revocation()
        .build()
        .when("read the revocation list")
}

/// Whether peers that trust whom the node trusts would take a certificate for a node's, whoever has called whom.
pub(crate) fn judge(
    credentials: &Credentials,
    certificate: &CertificateDer<'_>,
) -> Result<(), Error> {
    let (what, now) = ("trust a new certificate", UnixTime::now());
    let name = ServerName::try_from(server_name(&credentials.cluster)).when(what)?;
    let met = whom_we_meet(credentials)?;
    met.verify_server_cert(certificate, &[], &name, &[], now).when(what)?;
    let come = who_comes(credentials)?.build().when("read the revocation list")?;
    come.verify_client_cert(certificate, &[], now).when(what)?;
    Ok(())
}

/// For those whom we go to.
pub(crate) fn client(credentials: &Credentials) -> Result<QuicClientConfig, Error> {
    let verifier = whom_we_meet(credentials)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .when("speak TLS 1.3")?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(vec![credentials.certificate.clone()], credentials.key.secret())
        .when("show the node's certificate")?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    QuicClientConfig::try_from(config).when("speak QUIC")
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    #[test]
    fn the_first_key_exchange_that_is_offered_is_hybrid() {
        assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }
}
