//! HTTPS: whom a client believes, what it shows, and what was wrong when they do not come together.
//!
//! Invariants:
//! * REST-5: nothing is sent to whoever has not shown a certificate of the authority that names the host;
//! * TLS 1.3 and nothing else, key exchange hybrid where both sides can;
//! * CLIENT-1: an answer that says that our certificate is refused means that no request was read.
//!
//! What it does not do: trust the system's authorities: a cluster has its own.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use crate::{ClientError, Identity};

/// What HTTPS needs.
pub(crate) fn config(
    authority: &Path,
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority)? {
        roots.add(certificate).map_err(|cause| file(authority, &cause))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|cause| file(authority, &cause))?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let secret = std::fs::read(key).map_err(|cause| file(key, &cause))?;
            let secret =
                PrivateKeyDer::from_pem_slice(&secret).map_err(|cause| file(key, &cause))?;
            config
                .with_client_auth_cert(certificates(certificate)?, secret)
                .map_err(|cause| file(certificate, &cause))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let text = std::fs::read(path).map_err(|cause| file(path, &cause))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|cause| file(path, &cause))?;
    if all.is_empty() {
        return Err(file(path, &"no certificate in it"));
    }
    Ok(all)
}

fn file(path: &Path, cause: &impl std::fmt::Display) -> ClientError {
    ClientError::Identity { path: path.to_path_buf(), cause: cause.to_string() }
}

/// Why the two sides do not trust each other, if an error says that: in words, and whose fault it is.
pub(crate) fn distrust(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return told(error);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn told(error: &rustls::Error) -> Option<String> {
    use AlertDescription as Alert;
    use CertificateError as Fault;
    Some(match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            Fault::UnknownIssuer => {
                "the server's certificate is of another authority than the one that is trusted (--ca)"
                    .to_string()
            }
            Fault::Expired | Fault::ExpiredContext { .. } => {
                "the server's certificate has expired: its node must renew it".to_string()
            }
            Fault::NotValidYet | Fault::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet: one of the two clocks is wrong".to_string()
            }
            Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
                format!("the server's certificate does not name this host: {error}")
            }
            _ => format!("the server's certificate is refused: {error}"),
        },
        rustls::Error::AlertReceived(alert) => match alert {
            Alert::CertificateExpired => "the server says: our certificate has expired".to_string(),
            Alert::CertificateRevoked => "the server says: our certificate is revoked".to_string(),
            Alert::UnknownCA => {
                "the server says: our certificate is of another authority than its own".to_string()
            }
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied
            | Alert::DecryptError => {
                format!("the server does not take our certificate: {alert:?}")
            }
            Alert::ProtocolVersion => "the server does not speak TLS 1.3".to_string(),
            _ => return None,
        },
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS".to_string(),
        _ => return None,
    })
}
