//! Certificates of nodes that run, renewed by whichever member has the authority's folder.
//!
//! # Life of a renewal
//! 1. A node whose certificate is in the last third of its life asks the other members, one after the other
//!    ([`Server::renew`]), over the connections that they have (`questions.rs`).
//! 2. A member without the authority says so. One that has its folder ([`Server::renew_for_others`]) issues a newer
//!    certificate for the one that was shown on this very connection ([`Authority::renew_shown`]).
//! 3. The node judges what comes and puts it into its own folder, where whoever runs it finds it as if somebody had
//!    brought it.
//!
//! # Invariants
//! * NET-5: only a certificate that is shown, valid, not revoked and due is renewed: for its key and the names that
//!   its holder had, and for as long;
//! * NET-5: none is taken but one for the node's own key, of its authority, that is valid for longer and names all
//!   that the one before it names;
//! * what a holder makes the authority's folder grow by is a certificate in two thirds of a life: a newer one that
//!   is there already is given again.
//!
//! What it does not do: choose when to ask, take a certificate into use, renew what has expired or a client's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloakroom_wire::{NodeId, Renewal};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::parse_x509_certificate;

use crate::authority::{Authority, CLOCK_SKEW, Issued, certificate_in, content, hex};
use crate::credentials::Credentials;
use crate::error::Error;
use crate::files::{self, Readers};
use crate::folder::{FolderError, NodeFolder};
use crate::holder::{Holder, Proof, hosts};
use crate::key::{id_of, key_in};
use crate::server::{Server, ServerError};
use crate::tls;

/// A renewed certificate is valid for as long at least: in less a node has no time to ask again.
const LEAST: Duration = Duration::from_hours(1);
/// Of those who do not renew a certificate as many are named in an error.
const MOST_NAMED: usize = 5;

/// Why a certificate was not renewed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RenewalError {
    /// Nobody has done it. The operator's, if no member has the authority or those that have it are away.
    #[error("no other member has renewed it: {0}")]
    Nobody(Answers),
    /// Of the node's folder.
    #[error(transparent)]
    Credentials(#[from] Error),
    /// See there.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// What others have said who were asked for a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// How many have said that the authority is not there.
    pub without: usize,
    /// The others, and why not.
    pub failed: Vec<(NodeId, String)>,
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.without + self.failed.len();
        if asked == 0 {
            return f.write_str("there is none");
        }
        write!(f, "{} of {asked} asked do not have the authority", self.without)?;
        for (node, why) in self.failed.iter().take(MOST_NAMED) {
            write!(f, "; {node}: {why}")?;
        }
        match self.failed.len().saturating_sub(MOST_NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

fn certificate(expected: &'static str, got: impl Into<String>) -> Error {
    Error::Certificate { expected, got: got.into() }
}

impl Issued {
    /// The certificate in DER.
    ///
    /// # Errors
    /// [`Error::Content`]
    pub(crate) fn der(&self) -> Result<CertificateDer<'static>, Error> {
        certificate_in(Path::new(&self.serial), &self.pem)
    }
}

impl Authority {
    /// The authority that a node trusts.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Open`], [`Error::Content`]: also if it is another cluster's.
    pub fn of(folder: &Path, credentials: &Credentials) -> Result<Self, Error> {
        let authority = Self::open(folder)?;
        if authority.cluster() != credentials.cluster() {
            let got = format!("that of cluster {}", authority.cluster());
            return Err(content(folder, "the authority that this node trusts", &got));
        }
        Ok(authority)
    }

    /// A newer certificate for a node that has shown one, and proved to have its key.
    ///
    /// # Errors
    /// [`Error::Certificate`], [`Error::Revoked`], and those of [`Authority::renew`].
    pub fn renew_shown(&self, shown: &CertificateDer<'_>) -> Result<Issued, Error> {
        // Who is being revoked is not renewed beside that.
        let _alone = self.alone()?;
        let is_nodes = "of a node of this authority";
        let proof = Proof::of(shown, self.cluster()).ok_or(certificate(is_nodes, "none"))?;
        let Holder::Node(node) = proof.holder else {
            return Err(certificate(is_nodes, format!("one of {:?}", proof.holder)));
        };
        if proof.left().is_zero() {
            return Err(certificate("that is valid", "one that has expired"));
        }
        let serial = serial_of(shown).ok_or(certificate(is_nodes, "none"))?;
        // NET-5: by the list as it is here, which may be newer than the one by which its holder came in. What is not
        // known here could not be revoked here.
        let valid = self.valid(|holder| *holder == Holder::Node(node))?;
        if !valid.iter().any(|kept| kept.serial == serial) {
            return Err(if self.revoked_serials()?.contains(&serial) {
                Error::Revoked(format!("{node:#}"))
            } else {
                certificate("that this folder of the authority has issued", "another one")
            });
        }
        let named = hosts(shown, self.cluster());
        let follows = valid.iter().rev().find(|kept| {
            let names_all = named.iter().all(|host| kept.hosts.contains(host));
            names_all && kept.proof.expires > proof.expires && !kept.proof.is_due()
        });
        // Lost on its way, or never brought.
        if let Some(kept) = follows {
            let serial = hex(&kept.serial);
            let pem = files::read(&self.folder().join("issued").join(format!("{serial}.pem")))?;
            return Ok(Issued { node, serial, pem });
        }
        if !proof.is_due() {
            let days = proof.left().as_secs() / 86_400;
            let expected = "of whose life less than a third is left";
            return Err(certificate(expected, format!("one that is valid for {days} days")));
        }
        self.follow(node, &[], as_long_as(&proof))
    }
}

/// How long the certificate is valid that follows on one.
fn as_long_as(proof: &Proof) -> Duration {
    let life = proof.expires.duration_since(proof.begins).unwrap_or_default();
    life.saturating_sub(CLOCK_SKEW).max(LEAST)
}

fn serial_of(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    Some(certificate.raw_serial().to_vec())
}

impl Credentials {
    /// Judges a certificate that somebody has sent as the one that follows on the node's own, and puts it into the
    /// node's folder. It is not in use by that.
    ///
    /// # Errors
    /// [`Error::Certificate`], [`Error::Cryptography`], [`Error::File`]: then nothing has changed.
    pub fn accept(&self, folder: &Path, sent: &[u8]) -> Result<Proof, Error> {
        let sent = CertificateDer::from(sent.to_vec());
        let read = match parse_x509_certificate(&sent) {
            Ok(([], read)) => read,
            Ok(_) => return Err(certificate("in DER", "one with bytes behind it")),
            Err(cause) => return Err(certificate("in DER", cause.to_string())),
        };
        // NET-5
        let key = key_in(read.public_key().raw);
        if key != Some(self.public()) {
            let got = key.map_or("one of another kind of key".to_string(), |key| {
                format!("one for that of {:#}", id_of(key))
            });
            return Err(certificate("for this node's key", got));
        }
        tls::judge(self, &sent)?;
        let expected = "that is valid for longer than the one before it";
        let (Some(proof), Some(own)) = (Proof::of(&sent, self.cluster()), self.proof()) else {
            return Err(certificate(expected, "none"));
        };
        if proof.expires <= own.expires {
            return Err(certificate(expected, "one that is not"));
        }
        // NET-2
        let named = hosts(&sent, self.cluster());
        if let Some(lost) = self.hosts().into_iter().find(|host| !named.contains(host)) {
            return Err(certificate("that names all hosts", format!("one without {lost}")));
        }
        files::replace(&folder.join("node.pem"), pem_of(&sent).as_bytes(), Readers::All)?;
        Ok(proof)
    }
}

/// A certificate as a text.
fn pem_of(certificate: &CertificateDer<'_>) -> String {
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate.as_ref()), lines)
}

impl NodeFolder {
    /// Renews the certificate of a node that has the authority's folder at hand, when less than a third of its life
    /// is left, or nothing. Says whether.
    ///
    /// # Errors
    /// [`FolderError::Credentials`]
    pub fn renew_by(path: &Path, authority: &Path) -> Result<bool, FolderError> {
        let credentials = Credentials::load(path)?;
        let Some(proof) = credentials.proof().filter(Proof::is_due) else { return Ok(false) };
        let authority = Authority::of(authority, &credentials)?;
        // As `cert renew` does, for whoever has this folder.
        let issued = authority.renew(credentials.id(), &[], as_long_as(&proof))?;
        credentials.accept(path, &issued.der()?)?;
        Ok(true)
    }
}

impl Server {
    /// Has it renew the certificates of nodes that ask for it, with the authority in this folder. Whether it does so
    /// from now on; it may be told once.
    pub fn renew_for_others(&self, authority: PathBuf) -> bool {
        self.transport().renew_for_others(authority)
    }

    /// Asks the other members for a newer certificate, and puts the first that is right into the node's folder, not
    /// yet in use. Says by whom it is.
    ///
    /// # Errors
    /// [`RenewalError`]: then nothing has changed.
    pub async fn renew(&self, folder: &Path) -> Result<NodeId, RenewalError> {
        let own = Credentials::load(folder)?;
        let members = self.members().await?;
        let mut answers = Answers::default();
        for place in members.roster.places().filter(|place| place.member.node != own.id()) {
            let contact = place.contact;
            let answer = self.transport().ask(contact.id, contact.address.into()).await;
            let answer = answer.and_then(|bytes| taken(&own, folder, &bytes));
            match answer {
                Ok(true) => return Ok(contact.id),
                Ok(false) => answers.without += 1,
                Err(why) => answers.failed.push((contact.id, why)),
            }
        }
        Err(RenewalError::Nobody(answers))
    }
}

/// Whether a certificate has come and was right; if not, nobody has it there, or why.
fn taken(own: &Credentials, folder: &Path, answer: &[u8]) -> Result<bool, String> {
    match Renewal::decode(answer).map_err(|cause| cause.to_string())? {
        Renewal::Renewed(sent) => {
            own.accept(folder, sent).map(|_| true).map_err(|cause| cause.to_string())
        }
        Renewal::NotHere => Ok(false),
        Renewal::Refused(why) => Err(format!("refused: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::key::Key;
    use crate::{create_client, renew_client};

    const DAY: Duration = Duration::from_hours(24);
    /// Due at once: five minutes have passed when it begins.
    const BRIEF: Duration = Duration::from_mins(2);

    struct Desk {
        folder: TempDir,
        authority: Authority,
    }

    impl Desk {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let authority = Authority::create(&folder.path().join("authority")).unwrap();
            Self { folder, authority }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn node(&self, name: &str, valid_for: Duration) -> Credentials {
            let hosts = [format!("{name}.example.org")];
            Credentials::create(&self.path(name), &self.authority, &hosts, valid_for).unwrap()
        }

        fn issued(&self) -> usize {
            std::fs::read_dir(self.path("authority/issued")).unwrap().count()
        }

        /// That a certificate is neither renewed nor is anything kept for it, and why.
        fn refuses(&self, shown: &Credentials, why: &str) {
            let before = self.issued();
            let refused = self.authority.renew_shown(&shown.certificate).unwrap_err().to_string();
            assert!(refused.contains(why), "expected {why:?}, got {refused}");
            assert_eq!(self.issued(), before);
        }
    }

    #[test]
    fn what_is_due_is_renewed_for_its_key_and_names_and_for_as_long_and_once() {
        let desk = Desk::new();
        let node = desk.node("a", BRIEF);
        desk.node("b", BRIEF);
        let issued = desk.authority.renew_shown(&node.certificate).unwrap();
        assert_eq!((issued.node, desk.issued()), (node.id(), 3));
        let expires = node.accept(&desk.path("a"), &issued.der().unwrap()).unwrap().expires;
        let renewed = Credentials::load(&desk.path("a")).unwrap();
        assert_eq!(renewed.proof().unwrap().expires, expires);
        assert_eq!(renewed.hosts(), node.hosts());
        let left = renewed.proof().unwrap().left();
        assert!(left + BRIEF > LEAST && left <= LEAST, "an hour at least, got {left:?}");
        // The answer may have been lost.
        let again = desk.authority.renew_shown(&node.certificate).unwrap();
        assert_eq!((again, desk.issued()), (issued, 3));
        desk.refuses(&renewed, "less than a third is left");
        let proof = Proof::of(&desk.node("c", DAY).certificate, desk.authority.cluster()).unwrap();
        assert_eq!(as_long_as(&proof), DAY);
    }

    #[test]
    fn whoever_is_revoked_not_due_expired_unknown_here_or_no_node_is_not_renewed() {
        let desk = Desk::new();
        desk.refuses(
            &desk.node("new", DAY),
            "expected a certificate of whose life less than a third",
        );
        desk.refuses(&desk.node("over", Duration::ZERO), "got one that has expired");
        let revoked = desk.node("revoked", BRIEF);
        desk.authority.revoke(revoked.id()).unwrap();
        desk.refuses(&revoked, "not all revoked");
        // Nor with a second certificate that came about beside its revocation.
        desk.authority.issue(&revoked.key, &[], DAY).unwrap();
        desk.refuses(&revoked, "not all revoked");
        let unknown = desk.node("unknown", BRIEF);
        std::fs::remove_dir_all(desk.path("authority/issued")).unwrap();
        std::fs::create_dir(desk.path("authority/issued")).unwrap();
        desk.refuses(&unknown, "that this folder of the authority has issued");
        create_client(&desk.path("client"), &desk.authority, "alice", BRIEF).unwrap();
        let mut client = desk.node("client-as-node", BRIEF);
        let path = desk.path("client/client.pem");
        client.certificate = certificate_in(&path, &files::read(&path).unwrap()).unwrap();
        desk.refuses(&client, "expected a certificate of a node of this authority");
    }

    /// What a peer sends is put into no folder.
    fn is_refused(own: &Credentials, folder: &Path, sent: &[u8], why: &str) {
        let before = files::read(&folder.join("node.pem")).unwrap();
        let answer = Renewal::Renewed(sent).encode().unwrap();
        let refused = taken(own, folder, &answer).unwrap_err();
        assert!(refused.contains(why), "expected {why:?}, got {refused}");
        assert_eq!(files::read(&folder.join("node.pem")).unwrap(), before, "{why}");
    }

    #[test]
    fn an_answer_for_a_foreign_key_of_a_foreign_authority_or_that_is_no_better_is_refused() {
        let (desk, other) = (Desk::new(), Desk::new());
        let (own, path) = (desk.node("own", BRIEF), desk.path("own"));
        let issue = |by: &Authority, key: &Key, hosts: &[String], valid_for| {
            by.issue(key, hosts, valid_for).unwrap().der().unwrap()
        };
        let foreign = issue(&desk.authority, &Key::generate().unwrap(), &own.hosts(), DAY);
        is_refused(&own, &path, &foreign, "for this node's key, got one for that of n");
        let untrusted = issue(&other.authority, &own.key, &own.hosts(), DAY);
        is_refused(&own, &path, &untrusted, "UnknownIssuer");
        let issue =
            |hosts: &[String], valid_for| issue(&desk.authority, &own.key, hosts, valid_for);
        let sooner = issue(&own.hosts(), BRIEF / 2);
        is_refused(&own, &path, &sooner, "valid for longer than the one before it");
        is_refused(&own, &path, &own.certificate, "valid for longer than the one before it");
        let nameless = issue(&[], DAY);
        is_refused(&own, &path, &nameless, "names all hosts, got one without");
        let right = issue(&own.hosts(), DAY);
        is_refused(&own, &path, &[&right[..], b"more"].concat(), "bytes behind it");
        is_refused(&own, &path, b"rubbish", "in DER");
        // Its key, in a client's certificate.
        std::fs::create_dir(desk.path("client")).unwrap();
        std::fs::copy(path.join("node.key"), desk.path("client/client.key")).unwrap();
        renew_client(&desk.path("client"), &desk.authority, "alice", DAY).unwrap();
        let client = files::read(&desk.path("client/client.pem")).unwrap();
        let client = certificate_in(&desk.path("client/client.pem"), &client).unwrap();
        is_refused(&own, &path, &client, "cannot trust a new certificate");
        let answer = Renewal::Renewed(&right).encode().unwrap();
        assert_eq!(taken(&own, &path, &answer), Ok(true));
        assert_eq!(Credentials::load(&path).unwrap().certificate, right);
    }

    #[test]
    fn who_does_not_have_the_authority_or_refuses_is_told_apart() {
        let desk = Desk::new();
        let (own, path) = (desk.node("own", BRIEF), desk.path("own"));
        let said = |renewal: Renewal<'_>| taken(&own, &path, &renewal.encode().unwrap());
        assert_eq!(said(Renewal::NotHere), Ok(false));
        assert_eq!(said(Renewal::Refused("because")), Err("refused: because".to_string()));
        assert!(taken(&own, &path, &[]).is_err() && taken(&own, &path, &[3]).is_err());
        let failed = (1..=7).map(|number| (NodeId([number; 32]), "no answer".to_string()));
        let answers = Answers { without: 2, failed: failed.collect() };
        let said = answers.to_string();
        assert!(said.starts_with("2 of 9 asked do not have the authority; n0101"), "{said}");
        assert!(said.ends_with(": no answer; and 2 more"), "{said}");
        assert_eq!(Answers::default().to_string(), "there is none");
    }

    #[test]
    fn who_has_the_authority_renews_itself_also_when_it_has_expired() {
        let (desk, other) = (Desk::new(), Desk::new());
        let authority = desk.path("authority");
        desk.node("new", DAY);
        assert!(!NodeFolder::renew_by(&desk.path("new"), &authority).unwrap());
        for (name, valid_for) in [("due", BRIEF), ("over", Duration::ZERO)] {
            let before = desk.node(name, valid_for);
            assert!(NodeFolder::renew_by(&desk.path(name), &authority).unwrap(), "{name}");
            let after = Credentials::load(&desk.path(name)).unwrap();
            assert_eq!((after.id(), after.hosts()), (before.id(), before.hosts()));
            assert!(!after.proof().unwrap().is_due(), "{name}");
        }
        desk.node("foreign", BRIEF);
        let refused = NodeFolder::renew_by(&desk.path("foreign"), &other.path("authority"));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("expected the authority that this node trusts"), "{refused}");
    }

    #[test]
    fn a_key_that_another_folder_of_the_authority_does_not_know_is_not_renewed_there() {
        let desk = Desk::new();
        let key = Key::generate().unwrap();
        let copy = desk.path("copy");
        std::fs::create_dir_all(copy.join("issued")).unwrap();
        for name in ["authority.key", "authority.pem", "revoked.pem"] {
            std::fs::copy(desk.path("authority").join(name), copy.join(name)).unwrap();
        }
        let shown = desk.authority.issue(&key, &[], BRIEF).unwrap().der().unwrap();
        let refused = Authority::open(&copy).unwrap().renew_shown(&shown).unwrap_err();
        assert!(matches!(refused, Error::Certificate { .. }), "{refused}");
    }
}
