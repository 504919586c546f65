//! Whose a certificate is, and for how long: what it says of itself once its signature is believed.
//!
//! | holder | in its certificate |
//! |---|---|
//! | node | a DNS name: the cluster's; the id is the hash of its key |
//! | client | a URI: `urn:cloakroom:client:NAME` |
//!
//! Invariants: NET-2: who has not the cluster's name is no node, whatever else the authority has signed.
//!
//! What it does not do: verify signatures; TLS has, or nobody has asked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloakroom_wire::NodeId;
use rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::{GeneralName, X509Certificate};

use crate::authority::server_name;
use crate::key::{id_of, key_in};

/// What a client's name begins with.
pub(crate) const CLIENT: &str = "urn:cloakroom:client:";

/// Whose a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A node's.
    Node(NodeId),
    /// A client's, of this name.
    Client(String),
    /// Neither's.
    Other,
}

impl Holder {
    pub(crate) fn of(certificate: &X509Certificate<'_>, cluster: &str) -> Self {
        let cluster = server_name(cluster);
        for name in names(certificate) {
            match name {
                GeneralName::DNSName(name) if *name == cluster => {
                    let id = key_in(certificate.public_key().raw).map(id_of);
                    return id.map_or(Self::Other, Self::Node);
                }
                GeneralName::URI(uri) => {
                    if let Some(name) = uri.strip_prefix(CLIENT) {
                        return Self::Client(name.to_string());
                    }
                }
                _ => {}
            }
        }
        Self::Other
    }
}

/// What a certificate says, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Whose it is.
    pub holder: Holder,
    /// From when it is valid.
    pub begins: SystemTime,
    /// Until when.
    pub expires: SystemTime,
}

impl Proof {
    /// Of a certificate of a cluster's authority; `None`: it is none.
    pub fn of(certificate: &CertificateDer<'_>, cluster: &str) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(certificate).ok()?;
        Some(Self::read(&certificate, cluster))
    }

    pub(crate) fn read(certificate: &X509Certificate<'_>, cluster: &str) -> Self {
        let at = |time: i64| UNIX_EPOCH + Duration::from_secs(time.try_into().unwrap_or(0));
        let validity = certificate.validity();
        Self {
            holder: Holder::of(certificate, cluster),
            begins: at(validity.not_before.timestamp()),
            expires: at(validity.not_after.timestamp()),
        }
    }

    /// Whether less than a third of its life is left: it ought to be renewed.
    pub fn is_due(&self) -> bool {
        let life = self.expires.duration_since(self.begins).unwrap_or_default();
        self.left() < life / 3
    }

    /// How long it is still valid.
    pub fn left(&self) -> Duration {
        self.expires.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

/// The hosts that a node's certificate names.
pub(crate) fn hosts(certificate: &CertificateDer<'_>, cluster: &str) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let cluster = server_name(cluster);
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) if *name != cluster => Some((*name).to_string()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(|it| std::net::IpAddr::from(it).to_string());
            let sixteen = <[u8; 16]>::try_from(*bytes);
            let sixteen = sixteen.map(|it| std::net::IpAddr::from(it).to_string());
            four.or(sixteen).ok()
        }
        _ => None,
    };
    names(&certificate).iter().filter_map(host).collect()
}

fn names<'a>(certificate: &'a X509Certificate<'a>) -> &'a [GeneralName<'a>] {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.map_or(&[], |extension| &extension.value.general_names)
}
