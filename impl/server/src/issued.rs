//! What an authority has issued, and to whom: enough to renew and to revoke without anybody's key.
//!
//! | file | what |
//! |---|---|
//! | `issued/SERIAL.pem` | each certificate ever issued |
//! | `nodes/NAME` | the id of the node that has this name |
//!
//! Invariants:
//! * no key of a node or client is needed here after its certificate was issued, and none at all of who
//!   has sent a request;
//! * NET-2: a renewed certificate names all hosts that those before it named, and none is given to a
//!   holder or requested key of which all are revoked: that would undo it;
//! * a name becomes another node's only when all certificates of the one before are revoked.
//!
//! What it does not do: sign; `authority.rs` does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use cloakroom_wire::NodeId;
use rcgen::SubjectPublicKeyInfo;
use x509_parser::parse_x509_certificate;

use crate::authority::{Authority, Issued, certificate_in, content, hex};
use crate::error::{Error, Fault};
use crate::files::{self, Readers};
use crate::folder::unhex;
use crate::holder::{self, Holder, Proof};

/// A certificate that was issued.
pub(crate) struct Kept {
    pub(crate) serial: Vec<u8>,
    pub(crate) proof: Proof,
    /// As a `SubjectPublicKeyInfo`.
    key: Vec<u8>,
    pub(crate) hosts: Vec<String>,
}

impl Authority {
    /// Notes the name of a node. It is free, or was noted before: see [`Authority::is_free`].
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn name(&self, name: &str, node: NodeId) -> Result<(), Error> {
        let folder = self.folder().join("nodes");
        files::folder(&folder)?;
        files::replace(&folder.join(name), format!("{}\n", hex(&node.0)).as_bytes(), Readers::All)
    }

    /// Whether a name may be given to a new node.
    ///
    /// # Errors
    /// [`Error::Named`]: it may not. [`Error::File`], [`Error::Content`]
    pub fn is_free(&self, name: &str) -> Result<(), Error> {
        let Some(node) = self.named(name)? else { return Ok(()) };
        if self.valid(|holder| *holder == Holder::Node(node))?.is_empty() {
            return Ok(());
        }
        Err(Error::Named { name: name.to_string(), node })
    }

    /// The node of this name; of one that was made before names were noted, by the certificate in its folder, if
    /// that is still here.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::File`], [`Error::Content`]
    pub fn node(&self, name: &str, folder: &Path) -> Result<NodeId, Error> {
        if let Some(node) = self.named(name)? {
            return Ok(node);
        }
        let path = folder.join("node.pem");
        if path.exists() {
            let der = certificate_in(&path, &files::read(&path)?)?;
            let (_, certificate) = parse_x509_certificate(&der)
                .map_err(|cause| content(&path, "a certificate", &cause))?;
            if let Holder::Node(node) = Holder::of(&certificate, self.cluster()) {
                return Ok(node);
            }
        }
        Err(Error::NoSuchNode(name.to_string()))
    }

    fn named(&self, name: &str) -> Result<Option<NodeId>, Error> {
        let path = self.folder().join("nodes").join(name);
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read(&path)?;
        let node = unhex(text.trim()).and_then(|bytes| Some(NodeId(bytes.try_into().ok()?)));
        let expected = "a node's id, 64 hexadecimal digits";
        node.map(Some).ok_or_else(|| content(&path, expected, &format!("{:?}", text.trim())))
    }

    /// All nodes that have, or had, a certificate.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Content`]
    pub fn nodes(&self) -> Result<BTreeSet<NodeId>, Error> {
        let node = |kept: Kept| match kept.proof.holder {
            Holder::Node(node) => Some(node),
            _ => None,
        };
        Ok(self.kept()?.into_iter().filter_map(node).collect())
    }

    /// A new certificate for the key that a node has. It names these hosts, beside those that it named before.
    ///
    /// # Errors
    /// [`Error::NeverIssued`], [`Error::Revoked`], [`Error::Host`], [`Error::Cryptography`], [`Error::File`],
    /// [`Error::Content`]
    pub fn renew(
        &self,
        node: NodeId,
        hosts: &[String],
        valid_for: Duration,
    ) -> Result<Issued, Error> {
        let _alone = self.alone()?;
        self.follow(node, hosts, valid_for)
    }

    /// As [`Authority::renew`], for whoever is alone here.
    pub(crate) fn follow(
        &self,
        node: NodeId,
        hosts: &[String],
        valid_for: Duration,
    ) -> Result<Issued, Error> {
        let is_meant = |holder: &Holder| *holder == Holder::Node(node);
        if self.serials_of(is_meant)?.is_empty() {
            return Err(Error::NeverIssued(node));
        }
        let before = self.valid(is_meant)?;
        let Some(newest) = before.last() else { return Err(Error::Revoked(format!("{node:#}"))) };
        let key = SubjectPublicKeyInfo::from_der(&newest.key).when("read a node's key")?;
        let mut names: BTreeSet<String> = hosts.iter().cloned().collect();
        names.extend(before.iter().flat_map(|kept| kept.hosts.iter().cloned()));
        let names: Vec<String> = names.into_iter().collect();
        self.issue_node(&key, node, &names, valid_for)
    }

    /// A new certificate for the key that a client has.
    ///
    /// # Errors
    /// [`Error::NoSuchClient`], [`Error::Revoked`], [`Error::Cryptography`], [`Error::File`], [`Error::Content`]
    pub fn renew_client(&self, client: &str, valid_for: Duration) -> Result<Issued, Error> {
        let _alone = self.alone()?;
        let is_meant = |holder: &Holder| matches!(holder, Holder::Client(name) if name == client);
        if self.serials_of(is_meant)?.is_empty() {
            return Err(Error::NoSuchClient(client.to_string()));
        }
        let before = self.valid(is_meant)?;
        let newest = before.last().ok_or_else(|| Error::Revoked(client.to_string()))?;
        let key = SubjectPublicKeyInfo::from_der(&newest.key).when("read a client's key")?;
        self.issue_client(&key, client, valid_for)
    }

    /// Puts a node's certificate, and what it must know of the authority, into a folder.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn deliver(&self, issued: &Issued, folder: &Path) -> Result<(), Error> {
        files::folder(folder)?;
        let write = |name: &str, text: &str| {
            files::replace(&folder.join(name), text.as_bytes(), Readers::All)
        };
        write("authority.pem", self.certificate())?;
        write("revoked.pem", &self.revoked()?)?;
        write("node.pem", &issued.pem)
    }

    /// The same of a client's, who need not know what is revoked.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn deliver_client(&self, issued: &Issued, folder: &Path) -> Result<(), Error> {
        files::folder(folder)?;
        let write = |name: &str, text: &str| {
            files::replace(&folder.join(name), text.as_bytes(), Readers::All)
        };
        write("authority.pem", self.certificate())?;
        write("client.pem", &issued.pem)
    }

    /// Refuses a key of which all certificates are revoked.
    pub(crate) fn not_revoked(&self, key: &[u8]) -> Result<(), Error> {
        let revoked = self.revoked_serials()?;
        let mut kept = self.kept()?;
        kept.retain(|kept| kept.key == key);
        if kept.is_empty() || kept.iter().any(|kept| !revoked.contains(&kept.serial)) {
            return Ok(());
        }
        Err(Error::Revoked("one that has this key".to_string()))
    }

    /// The numbers of all certificates of a holder.
    pub(crate) fn serials_of(
        &self,
        is_meant: impl Fn(&Holder) -> bool,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let kept = self.kept()?.into_iter().filter(|kept| is_meant(&kept.proof.holder));
        Ok(kept.map(|kept| kept.serial).collect())
    }

    /// A holder's certificates that are not revoked, the newest last.
    pub(crate) fn valid(&self, is_meant: impl Fn(&Holder) -> bool) -> Result<Vec<Kept>, Error> {
        let revoked = self.revoked_serials()?;
        let mut kept = self.kept()?;
        kept.retain(|kept| is_meant(&kept.proof.holder) && !revoked.contains(&kept.serial));
        kept.sort_by_key(|kept| kept.proof.begins);
        Ok(kept)
    }

    fn kept(&self) -> Result<Vec<Kept>, Error> {
        let folder = self.folder().join("issued");
        let mut all = Vec::new();
        for entry in fs::read_dir(&folder).map_err(files::at(&folder))? {
            let path = entry.map_err(files::at(&folder))?.path();
            if path.extension().is_none_or(|extension| extension != "pem") {
                continue;
            }
            let der = certificate_in(&path, &files::read(&path)?)?;
            let (_, certificate) = parse_x509_certificate(&der)
                .map_err(|cause| content(&path, "a certificate", &cause))?;
            all.push(Kept {
                serial: certificate.raw_serial().to_vec(),
                proof: Proof::read(&certificate, self.cluster()),
                key: certificate.public_key().raw.to_vec(),
                hosts: holder::hosts(&der, self.cluster()),
            });
        }
        Ok(all)
    }
}
