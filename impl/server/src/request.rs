//! A request for a certificate (PKCS #10, PEM): its key stays where it was made.
//!
//! Invariants:
//! * NET-2: of a request nothing counts but the key, which its sender has proved to have: names and rights are
//!   the authority's to give;
//! * NET-4: a key is made with its request, into a file that only its owner may read.
//!
//! What it does not do: judge who may have a certificate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cloakroom_wire::NodeId;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, KeyPair, PublicKey, PublicKeyData,
};

use crate::authority::{Authority, Issued, content};
use crate::credentials::{LOOPBACK, client_key};
use crate::error::{Error, Fault};
use crate::files::{self, Readers};
use crate::key::{Key, id_of, key_in};

/// Somebody's request.
#[derive(Debug)]
pub struct Request {
    path: PathBuf,
    key: PublicKey,
}

impl Request {
    /// Reads one, and judges its proof.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Content`]
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = files::read(path)?;
        let read = CertificateSigningRequestParams::from_pem(&text);
        let read = read.map_err(|cause| content(path, "a certificate request in PEM", &cause))?;
        Ok(Self { path: path.to_path_buf(), key: read.public_key })
    }

    /// The id of the node that has its key.
    ///
    /// # Errors
    /// [`Error::Content`]: no node has such a key.
    pub fn node(&self) -> Result<NodeId, Error> {
        let key = key_in(&self.key.subject_public_key_info());
        let expected = "the request of a node, with an Ed25519 key";
        key.map(id_of).ok_or_else(|| content(&self.path, expected, &"a key of another kind"))
    }

    /// Makes a node's key, and a request for it, in a folder: `node.key` and `node.csr`.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::File`], [`Error::Cryptography`]
    pub fn create(folder: &Path) -> Result<PathBuf, Error> {
        files::folder(folder)?;
        let key = Key::generate()?;
        key.save(&folder.join("node.key"))?;
        write(&folder.join("node.csr"), &key.pair)
    }

    /// The same of a client: `client.key` and `client.csr`.
    ///
    /// # Errors
    /// As [`Request::create`].
    pub fn create_client(folder: &Path) -> Result<PathBuf, Error> {
        let key = client_key(folder)?;
        write(&folder.join("client.csr"), &key)
    }
}

fn write(path: &Path, key: &KeyPair) -> Result<PathBuf, Error> {
    let request = CertificateParams::default().serialize_request(key);
    let text = request.and_then(|request| request.pem()).when("write a certificate request")?;
    files::replace(path, text.as_bytes(), Readers::All)?;
    Ok(path.to_path_buf())
}

impl Authority {
    /// A certificate for the node that has made a request.
    ///
    /// # Errors
    /// [`Error::Revoked`], [`Error::Content`], [`Error::Host`], [`Error::Cryptography`], [`Error::File`]
    pub fn issue_requested(
        &self,
        request: &Request,
        hosts: &[String],
        valid_for: Duration,
    ) -> Result<Issued, Error> {
        self.not_revoked(&request.key.subject_public_key_info())?;
        let mut names = LOOPBACK.map(String::from).to_vec();
        names.extend_from_slice(hosts);
        names.sort();
        names.dedup();
        self.issue_node(&request.key, request.node()?, &names, valid_for)
    }

    /// A certificate for the client that has made a request, with a key of whichever kind.
    ///
    /// # Errors
    /// [`Error::Revoked`], [`Error::Cryptography`], [`Error::File`]
    pub fn issue_client_requested(
        &self,
        request: &Request,
        client: &str,
        valid_for: Duration,
    ) -> Result<Issued, Error> {
        self.not_revoked(&request.key.subject_public_key_info())?;
        self.issue_client(&request.key, client, valid_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Credentials, Holder};

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn a_node_whose_key_never_was_at_the_authority_has_a_certificate_and_its_own_names_only() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(&folder.path().join("authority")).unwrap();
        let node = folder.path().join("node");
        let csr = Request::create(&node).unwrap();
        let request = Request::load(&csr).unwrap();
        let issued = authority.issue_requested(&request, &["coats.internal".into()], DAY).unwrap();
        authority.deliver(&issued, &node).unwrap();
        let credentials = Credentials::load(&node).unwrap();
        assert_eq!((credentials.id(), issued.node), (request.node().unwrap(), credentials.id()));
        assert_eq!(credentials.proof().unwrap().holder, Holder::Node(credentials.id()));
        let mut hosts = credentials.hosts();
        hosts.sort();
        assert_eq!(hosts, ["127.0.0.1", "::1", "coats.internal", "localhost"]);
        assert!(matches!(Request::create(&node), Err(Error::Exists(_))), "its key is overwritten");
        // Asked for again it would be what was revoked.
        authority.issue_requested(&request, &[], DAY).unwrap();
        authority.revoke(issued.node).unwrap();
        let again = authority.issue_requested(&request, &[], DAY);
        assert!(matches!(again, Err(Error::Revoked(_))), "{again:?}");
        let again = authority.issue_client_requested(&request, "alice", DAY);
        assert!(matches!(again, Err(Error::Revoked(_))), "{again:?}");
    }

    #[test]
    fn what_a_request_asks_for_beside_its_key_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(&folder.path().join("authority")).unwrap();
        let key = Key::generate().unwrap();
        let names = vec![crate::authority::server_name(authority.cluster())];
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let path = folder.path().join("csr");
        std::fs::write(&path, params.serialize_request(&key.pair).unwrap().pem().unwrap()).unwrap();
        let request = Request::load(&path).unwrap();
        // A client's, though it asks for a node's name.
        let issued = authority.issue_client_requested(&request, "mallory", DAY).unwrap();
        let der = crate::authority::certificate_in(&path, &issued.pem).unwrap();
        let proof = crate::Proof::of(&der, authority.cluster()).unwrap();
        assert_eq!(proof.holder, Holder::Client("mallory".to_string()));
        let (_, read) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(!read.is_ca());
    }

    #[test]
    fn a_request_with_a_wrong_proof_or_for_another_kind_of_node_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(&folder.path().join("authority")).unwrap();
        let client = Request::create_client(&folder.path().join("client")).unwrap();
        let request = Request::load(&client).unwrap();
        let refused = authority.issue_requested(&request, &[], DAY).unwrap_err().to_string();
        assert!(refused.contains("expected the request of a node, with an Ed25519"), "{refused}");
        authority.issue_client_requested(&request, "alice", DAY).unwrap();
        // Another key under the same signature.
        let text = std::fs::read_to_string(&client).unwrap();
        let (_, mut pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
        let at = pem.contents.len() / 3;
        pem.contents[at] ^= 1;
        let changed = CertificateSigningRequestParams::from_der(&pem.contents.into());
        assert!(changed.is_err(), "its proof is not looked at");
        std::fs::write(&client, "no request").unwrap();
        let refused = Request::load(&client).unwrap_err().to_string();
        assert!(refused.contains("expected a certificate request in PEM"), "{refused}");
    }
}
