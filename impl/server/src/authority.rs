//! The cluster's certificate authority: issues, renews and revokes, in a folder of its own.
//!
//! | file | what | who needs it |
//! |---|---|---|
//! | `authority.key` | the secret with which all is signed | nobody else, and no node |
//! | `authority.pem` | the certificate that nodes trust | every node |
//! | `revoked.pem` | the revocation list | every node |
//! | `issued/SERIAL.pem` | each certificate ever issued | `renew`, `revoke` |
//! | `nodes/NAME` | the id of the node of this name | the same |
//!
//! Invariants:
//! * NET-2: a client's certificate does not have the name that a node's has, and is no node's;
//! * NET-2: a certificate is kept in `issued/` before it is handed out: what could be shown can be revoked;
//! * nothing that was revoked leaves the list while its certificate could still be taken for valid.
//!
//! What it does not do: judge who may have a certificate. Whoever can read the folder can make
//! members, and an admitted member is trusted to crash at worst (assumptions.md).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use cloakroom_wire::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PublicKeyData, RevocationReason, RevokedCertParams, SanType, SerialNumber, SigningKey,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::error::{Error, Fault};
use crate::files::{self, Readers};
use crate::holder::{CLIENT, Holder};
use crate::key::Key;

/// Nodes whose clocks are behind by no more than this accept a new certificate at once.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_mins(5);
/// How long the authority itself is trusted.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(24 * 3650);

/// The cluster's certificate authority.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    cluster: String,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The hash of its key: of a node's, the node's id.
    pub node: NodeId,
    /// Its number, as in the name of the file in `issued/`.
    pub serial: String,
    /// The certificate.
    pub pem: String,
}

impl Authority {
    /// A new one, in a folder where there is none.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::File`], [`Error::Cryptography`]
    pub fn create(folder: &Path) -> Result<Self, Error> {
        files::folder(&folder.join("issued"))?;
        let key = Key::generate()?;
        key.save(&folder.join("authority.key"))?;
        let mut params = CertificateParams::default();
        // No two have one name: who looks for the issuer of a foreign certificate finds none.
        let cluster = cluster_with(&key.pair.subject_public_key_info());
        params.distinguished_name = name(&format!("Cloakroom authority {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = lifetime(AUTHORITY_LIFETIME);
        let certificate = params.self_signed(&key.pair).when("sign the authority's certificate")?;
        let path = folder.join("authority.pem");
        files::create(&path, certificate.pem().as_bytes(), Readers::All)?;
        let authority = Self::open(folder)?;
        authority.write_revoked(Vec::new(), 1)?;
        Ok(authority)
    }

    /// One that was created before.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Open`], [`Error::Content`]
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let key = Key::load(&folder.join("authority.key"))?;
        let path = folder.join("authority.pem");
        let certificate = files::read(&path)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key.pair).map_err(|cause| {
            let expected = "the certificate of an authority in PEM";
            Error::Content { path: path.clone(), expected, got: cause.to_string() }
        })?;
        let cluster = cluster_of(&path, &certificate)?;
        Ok(Self { folder: folder.to_path_buf(), cluster, certificate, issuer })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// As long as this is held, nobody else revokes or renews here, in whichever process: what is issued beside a
    /// revocation would not be in it.
    pub(crate) fn alone(&self) -> Result<File, Error> {
        let path = self.folder.join("authority.pem");
        let file = File::options().read(true).write(true).open(&path).map_err(files::at(&path))?;
        file.lock().map_err(files::at(&path))?;
        Ok(file)
    }

    /// The cluster's id: 32 hex digits, from the hash of the authority's key.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The authority's own certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The revocation list, in PEM.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn revoked(&self) -> Result<String, Error> {
        files::read(&self.folder.join("revoked.pem"))
    }

    /// A certificate for the node that has a key; also a second one, which is how one is renewed.
    /// Beside the cluster's name it has those of the hosts under which clients may reach the node.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::Cryptography`], [`Error::File`]
    pub fn issue(&self, key: &Key, hosts: &[String], valid_for: Duration) -> Result<Issued, Error> {
        self.issue_node(&key.pair, key.id(), hosts, valid_for)
    }

    pub(crate) fn issue_node(
        &self,
        key: &impl PublicKeyData,
        node: NodeId,
        hosts: &[String],
        valid_for: Duration,
    ) -> Result<Issued, Error> {
        let mut names = vec![server_name(&self.cluster)];
        for host in hosts {
            if !is_host(host) {
                return Err(Error::Host(host.clone()));
            }
            names.push(host.clone());
        }
        let mut params = CertificateParams::new(names).when("name the cluster in a certificate")?;
        params.distinguished_name = name(&format!("Cloakroom node {node}"));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.certify(key, params, valid_for)
    }

    /// A certificate for a client that has a key, of whichever kind, and shall be known by this name.
    pub(crate) fn issue_client(
        &self,
        key: &impl PublicKeyData,
        client: &str,
        valid_for: Duration,
    ) -> Result<Issued, Error> {
        let uri = format!("{CLIENT}{client}").try_into().when("name a client")?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.distinguished_name = name(&format!("Cloakroom client {client}"));
        // NET-2: it is neither a server's nor, for want of the cluster's name, a node's.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.certify(key, params, valid_for)
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        mut params: CertificateParams,
        valid_for: Duration,
    ) -> Result<Issued, Error> {
        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial).when("make a serial number")?;
        // Positive, and of a fixed length.
        serial[0] = serial[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = lifetime(valid_for);
        let certificate = params.signed_by(key, &self.issuer).when("sign a certificate")?;
        let (serial, pem) = (hex(&serial), certificate.pem());
        let path = self.folder.join("issued").join(format!("{serial}.pem"));
        files::create(&path, pem.as_bytes(), Readers::All)?;
        let hash = digest(&SHA256, &key.subject_public_key_info());
        let node = NodeId(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"));
        Ok(Issued { node, serial, pem })
    }

    /// The authority's signature.
    ///
    /// # Errors
    /// [`Error::Cryptography`], and those of reading its key.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let key = Key::load(&self.folder.join("authority.key"))?;
        key.pair.sign(bytes).when("sign")
    }

    /// Revokes all certificates of a node; says how many. Nodes know of it when they have the new
    /// list.
    ///
    /// # Errors
    /// [`Error::NeverIssued`], [`Error::File`], [`Error::Content`], [`Error::Cryptography`]
    pub fn revoke(&self, node: NodeId) -> Result<usize, Error> {
        let _alone = self.alone()?;
        let serials =
            self.serials_of(|holder| matches!(holder, Holder::Node(id) if *id == node))?;
        if serials.is_empty() {
            return Err(Error::NeverIssued(node));
        }
        self.revoke_all(serials)
    }

    /// Revokes all certificates of a client; as [`Authority::revoke`].
    ///
    /// # Errors
    /// [`Error::NoSuchClient`], and as there.
    pub fn revoke_client(&self, client: &str) -> Result<usize, Error> {
        let _alone = self.alone()?;
        let serials =
            self.serials_of(|holder| matches!(holder, Holder::Client(name) if name == client))?;
        if serials.is_empty() {
            return Err(Error::NoSuchClient(client.to_string()));
        }
        self.revoke_all(serials)
    }

    fn revoke_all(&self, serials: Vec<Vec<u8>>) -> Result<usize, Error> {
        let (mut revoked, number) = self.read_revoked()?;
        let mut added = 0;
        for serial in serials {
            if revoked.iter().all(|known| known.serial_number.as_ref() != serial.as_slice()) {
                revoked.push(revocation(&serial, OffsetDateTime::now_utc()));
                added += 1;
            }
        }
        if added > 0 {
            self.write_revoked(revoked, number + 1)?;
        }
        Ok(added)
    }

    /// Puts the revocation list into each node's folder in a folder, and into that one if it is a node's; says
    /// into how many.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn tell_revoked(&self, nodes: &Path) -> Result<usize, Error> {
        let revoked = self.revoked()?;
        let mut told = 0;
        let mut folders = vec![nodes.to_path_buf()];
        for entry in fs::read_dir(nodes).map_err(files::at(nodes))? {
            folders.push(entry.map_err(files::at(nodes))?.path());
        }
        for path in folders {
            // Its key may be on its own machine alone.
            if path.join("node.pem").is_file() {
                files::replace(&path.join("revoked.pem"), revoked.as_bytes(), Readers::All)?;
                told += 1;
            }
        }
        Ok(told)
    }

    pub(crate) fn revoked_serials(&self) -> Result<Vec<Vec<u8>>, Error> {
        let (revoked, _) = self.read_revoked()?;
        Ok(revoked.iter().map(|one| one.serial_number.as_ref().to_vec()).collect())
    }

    fn read_revoked(&self) -> Result<(Vec<RevokedCertParams>, u64), Error> {
        let path = self.folder.join("revoked.pem");
        let text = files::read(&path)?;
        let der = CertificateRevocationListDer::from_pem_slice(text.as_bytes())
            .map_err(|cause| content(&path, "a revocation list in PEM", &cause))?;
        let (_, list) = CertificateRevocationList::from_der(&der)
            .map_err(|cause| content(&path, "a revocation list", &cause))?;
        let number = list.crl_number().and_then(|number| number.try_into().ok());
        let number = number.ok_or_else(|| content(&path, "a list with a number", &"none"))?;
        let revoked = list.iter_revoked_certificates();
        let revoked =
            revoked.map(|one| revocation(one.raw_serial(), one.revocation_date.to_datetime()));
        Ok((revoked.collect(), number))
    }

    fn write_revoked(&self, revoked: Vec<RevokedCertParams>, number: u64) -> Result<(), Error> {
        let (this_update, next_update) = lifetime(AUTHORITY_LIFETIME);
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).when("sign the revocation list")?;
        let text = list.pem().when("write the revocation list")?;
        files::replace(&self.folder.join("revoked.pem"), text.as_bytes(), Readers::All)
    }
}

/// The name that certificates of a cluster's nodes have: a node's own name is its id.
pub(crate) fn server_name(cluster: &str) -> String {
    format!("{cluster}.cloakroom.internal")
}

/// Whether a certificate can name it: an address, or a name of labels.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(inner)
    };
    host.parse::<std::net::IpAddr>().is_ok() || host.len() <= 253 && host.split('.').all(label)
}

/// The id of the cluster whose authority has this certificate.
pub(crate) fn cluster_of(path: &Path, pem: &str) -> Result<String, Error> {
    let der = certificate_in(path, pem)?;
    let (_, certificate) = parse_x509_certificate(&der)
        .map_err(|cause| content(path, "the certificate of an authority", &cause))?;
    Ok(cluster_with(certificate.public_key().raw))
}

/// The id of the cluster whose authority has this key, as a `SubjectPublicKeyInfo`.
fn cluster_with(key: &[u8]) -> String {
    hex(&digest(&SHA256, key).as_ref()[..16])
}

/// The first certificate in a text.
pub(crate) fn certificate_in(path: &Path, pem: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|cause| content(path, "a certificate in PEM", &cause))
}

pub(crate) fn content(path: &Path, expected: &'static str, got: &impl std::fmt::Display) -> Error {
    Error::Content { path: path.to_path_buf(), expected, got: got.to_string() }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn lifetime(length: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - CLOCK_SKEW, now + length)
}

fn revocation(serial: &[u8], revocation_time: OffsetDateTime) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time,
        reason_code: Some(RevocationReason::CessationOfOperation),
        invalidity_date: None,
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("below 16"));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn an_authority_is_read_as_it_was_written_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path()).unwrap();
        let again = Authority::open(folder.path()).unwrap();
        assert_eq!(authority.cluster(), again.cluster());
        assert_eq!(authority.certificate(), again.certificate());
        assert!(matches!(Authority::create(folder.path()), Err(Error::Exists(_))));
        assert_eq!(Authority::open(folder.path()).unwrap().cluster(), authority.cluster());
    }

    #[test]
    fn all_certificates_of_a_node_are_revoked_and_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path()).unwrap();
        let (key, other) = (Key::generate().unwrap(), Key::generate().unwrap());
        let first = authority.issue(&key, &[], DAY).unwrap();
        let second = authority.issue(&key, &[], DAY).unwrap();
        assert_eq!((first.node, second.node), (key.id(), key.id()));
        assert_ne!(first.serial, second.serial);
        assert!(matches!(authority.revoke(other.id()), Err(Error::NeverIssued(_))));
        authority.issue(&other, &[], DAY).unwrap();
        assert_eq!(authority.revoke(key.id()).unwrap(), 2);
        assert_eq!(authority.revoke(key.id()).unwrap(), 0, "revoked before");
        let (revoked, number) = Authority::open(folder.path()).unwrap().read_revoked().unwrap();
        let mut revoked: Vec<_> =
            revoked.iter().map(|one| hex(one.serial_number.as_ref())).collect();
        revoked.sort();
        let mut expected = [first.serial, second.serial];
        expected.sort();
        assert_eq!((revoked.as_slice(), number), (expected.as_slice(), 2));
    }
}
