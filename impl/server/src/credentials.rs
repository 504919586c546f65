//! What a node shows and whom it trusts, read from its folder; and what a client shows, made for it.
//!
//! | file of a node | what |
//! |---|---|
//! | `node.key` | the node's secret |
//! | `node.pem` | its certificate, shown to its peers and, over HTTPS, to clients |
//! | `authority.pem` | the certificate of the authority that it trusts |
//! | `revoked.pem` | which certificates that authority has revoked |
//!
//! A client has `client.key`, `client.pem` and `authority.pem`.
//!
//! Invariants: NET-2: a renewed certificate names all hosts that the one before it named.

use std::path::Path;
use std::time::Duration;

use cloakroom_wire::{NodeId, NodeKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use zeroize::Zeroizing;

use crate::authority::{Authority, certificate_in, cluster_of, content};
use crate::error::{Error, Fault};
use crate::files::{self, Readers};
use crate::holder::{self, Proof};
use crate::key::Key;

/// Names that every node's certificate has: a client on the same machine needs no other.
pub(crate) const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What a node shows and whom it trusts.
#[derive(Debug)]
pub struct Credentials {
    pub(crate) key: Key,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) authority: CertificateDer<'static>,
    pub(crate) revoked: CertificateRevocationListDer<'static>,
    pub(crate) cluster: String,
}

impl Credentials {
    /// Makes a node's folder, with a key of its own, on the machine of the authority.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::File`], [`Error::Cryptography`]
    pub fn create(
        folder: &Path,
        by: &Authority,
        hosts: &[String],
        valid_for: Duration,
    ) -> Result<Self, Error> {
        files::folder(folder)?;
        let key = Key::generate()?;
        key.save(&folder.join("node.key"))?;
        Self::renew(folder, by, hosts, valid_for)
    }

    /// Puts a new certificate, and what nodes must know of the authority, into a node's folder. It names
    /// these hosts, beside those that it named before.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Open`], [`Error::Cryptography`]
    pub fn renew(
        folder: &Path,
        by: &Authority,
        hosts: &[String],
        valid_for: Duration,
    ) -> Result<Self, Error> {
        let key = Key::load(&folder.join("node.key"))?;
        let mut names: Vec<String> = LOOPBACK.map(String::from).to_vec();
        let path = folder.join("node.pem");
        if path.exists() {
            let before = certificate_in(&path, &files::read(&path)?)?;
            names.extend(holder::hosts(&before, by.cluster()));
        }
        names.extend_from_slice(hosts);
        names.sort();
        names.dedup();
        let issued = by.issue(&key, &names, valid_for)?;
        by.deliver(&issued, folder)?;
        Self::load(folder)
    }

    /// Reads a node's folder.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Open`], [`Error::Content`]
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let key = Key::load(&folder.join("node.key"))?;
        let path = folder.join("node.pem");
        let certificate = certificate_in(&path, &files::read(&path)?)?;
        let path = folder.join("authority.pem");
        let text = files::read(&path)?;
        let authority = certificate_in(&path, &text)?;
        let cluster = cluster_of(&path, &text)?;
        let path = folder.join("revoked.pem");
        let revoked = CertificateRevocationListDer::from_pem_slice(files::read(&path)?.as_bytes())
            .map_err(|cause| content(&path, "a revocation list in PEM", &cause))?;
        Ok(Self { key, certificate, authority, revoked, cluster })
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.key.id()
    }

    /// The node's public key.
    pub fn public(&self) -> NodeKey {
        self.key.public()
    }

    /// The cluster's id.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The hosts that its certificate names.
    pub fn hosts(&self) -> Vec<String> {
        holder::hosts(&self.certificate, &self.cluster)
    }

    /// Whose its certificate is, and for how long.
    pub fn proof(&self) -> Option<Proof> {
        Proof::of(&self.certificate, &self.cluster)
    }
}

/// Makes a client's folder, with a key of its own, on the machine of the authority. The key is on the curve
/// P-256, which every other program's TLS knows too.
///
/// # Errors
/// [`Error::Exists`], [`Error::File`], [`Error::Cryptography`]
pub fn create_client(
    folder: &Path,
    by: &Authority,
    name: &str,
    valid_for: Duration,
) -> Result<(), Error> {
    let key = client_key(folder)?;
    by.deliver_client(&by.issue_client(&key, name, valid_for)?, folder)
}

/// Puts a new certificate into a client's folder, for the key that is there.
///
/// # Errors
/// [`Error::File`], [`Error::Open`], [`Error::Cryptography`]
pub fn renew_client(
    folder: &Path,
    by: &Authority,
    name: &str,
    valid_for: Duration,
) -> Result<(), Error> {
    let path = folder.join("client.key");
    let key = KeyPair::from_pem(&files::read_secret(&path)?)
        .map_err(|cause| content(&path, "a key in PKCS #8 PEM", &cause))?;
    by.deliver_client(&by.issue_client(&key, name, valid_for)?, folder)
}

pub(crate) fn client_key(folder: &Path) -> Result<KeyPair, Error> {
    files::folder(folder)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).when("make a client's key")?;
    let text = Zeroizing::new(key.serialize_pem());
    files::create(&folder.join("client.key"), text.as_bytes(), Readers::Owner)?;
    Ok(key)
}
