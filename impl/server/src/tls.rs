//! TLS 1.3 with certificates on both sides, and nothing else.
//!
//! Invariants:
//! * NET-2: who has no certificate of the cluster's authority, an expired or a revoked one gets no
//!   connection, in either direction;
//! * key exchange is hybrid where both sides can (X25519 with ML-KEM-768): what is recorded today is
//!   not read by a quantum computer later;
//! * no second provider: all cryptography is aws-lc.
//!
//! What it does not do: judge whether the other side is the node that was meant. That is its
//! certificate's key, and `transport.rs` looks at it.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::credentials::Credentials;
use crate::error::{Error, Fault};

/// What the two sides must agree on: the protocol, and its version.
const ALPN: &[u8] = b"cloakroom/1";

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
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(credentials)?, provider())
        .with_crls([credentials.revoked.clone()])
        .only_check_end_entity_revocation()
        .build()
        .when("read the revocation list")?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .when("speak TLS 1.3")?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![credentials.certificate.clone()], credentials.key.secret())
        .when("show the node's certificate")?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    QuicServerConfig::try_from(config).when("speak QUIC")
}

/// For those whom we go to.
pub(crate) fn client(credentials: &Credentials) -> Result<QuicClientConfig, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(credentials)?, provider())
        .with_crls([credentials.revoked.clone()])
        .only_check_end_entity_revocation()
        .build()
        .when("read the revocation list")?;
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
