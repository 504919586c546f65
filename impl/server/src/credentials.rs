//! What a node shows and whom it trusts, read from its folder.
//!
//! | file | what |
//! |---|---|
//! | `node.key` | the node's secret |
//! | `node.pem` | its certificate |
//! | `authority.pem` | the certificate of the authority that it trusts |
//! | `revoked.pem` | which certificates that authority has revoked |

use std::path::Path;
use std::time::Duration;

use cloakroom_wire::{NodeId, NodeKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::authority::{Authority, certificate_in, cluster_of, content};
use crate::error::Error;
use crate::files::{self, Readers};
use crate::key::Key;

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
    pub fn create(folder: &Path, by: &Authority, valid_for: Duration) -> Result<Self, Error> {
        files::folder(folder)?;
        let key = Key::generate()?;
        key.save(&folder.join("node.key"))?;
        Self::renew(folder, by, valid_for)
    }

    /// Puts a new certificate, and what nodes must know of the authority, into a node's folder.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Open`], [`Error::Cryptography`]
    pub fn renew(folder: &Path, by: &Authority, valid_for: Duration) -> Result<Self, Error> {
        let key = Key::load(&folder.join("node.key"))?;
        let issued = by.issue(&key, valid_for)?;
        let write = |name: &str, text: &str| {
            files::replace(&folder.join(name), text.as_bytes(), Readers::All)
        };
        write("authority.pem", by.certificate())?;
        write("revoked.pem", &by.revoked()?)?;
        write("node.pem", &issued.pem)?;
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
}
