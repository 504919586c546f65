//! A node's folder: who it is, what its cluster began with, and what it must not forget.
//!
//! | file | what |
//! |---|---|
//! | those of [`Credentials`] | its key and certificate, and whom it trusts |
//! | `genesis.json`, `genesis.sig` | what the cluster began with, signed by its authority |
//! | `node.redb` | what it must not forget |
//! | `node.life` | how far that has come: by it an older copy of that file is noticed |
//! | `authority/` | in a cluster of one only: its authority |
//!
//! Invariants:
//! * NODE-1: a genesis counts only with the signature of the authority that the node trusts;
//! * NET-4: a folder is there whole or not at all: it is made beside its place, then moved there.
//!
//! What it does not do: decide who founds a cluster.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use cloakroom_node::{Founder, Genesis, GenesisError, Zone};
use cloakroom_wire::{Address, Contact, NodeId, NodeKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use x509_parser::parse_x509_certificate;

use crate::authority::{Authority, content, hex};
use crate::credentials::Credentials;
use crate::disk::{DiskError, NodeDisk};
use crate::error::Error;
use crate::files::{self, Readers};
use crate::key::{id_of, key_in};

/// The layout of `genesis.json`.
const FORMAT: u32 = 1;
/// How long the certificate of a cluster of one is valid: it renews itself.
const ALONE: Duration = Duration::from_hours(24 * 30);
/// Slots of a cluster, unless another number is asked for.
pub const DEFAULT_SLOTS: u32 = 256;

/// Why a folder is no node's. Each says whose fault it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// See there.
    #[error(transparent)]
    Credentials(#[from] Error),
    /// See there.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Whoever wrote the genesis.
    #[error("{}: {cause}", path.display())]
    Genesis {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        cause: GenesisError,
    },
    /// Whoever changed the genesis, or put one of another cluster here.
    #[error(
        "{}: expected the signature of the authority that this node trusts; nothing was changed",
        path.display()
    )]
    Unsigned {
        /// Where.
        path: PathBuf,
    },
}

/// One that founds a cluster, as the genesis has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    node: String,
    key: String,
    address: SocketAddr,
    zone: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    cluster: String,
    slots: u32,
    replicas: u8,
    founders: Vec<Written>,
}

/// What a node finds in its folder.
#[derive(Debug)]
pub struct NodeFolder {
    path: PathBuf,
    /// What it shows, and whom it trusts.
    pub credentials: Credentials,
    /// What its cluster began with.
    pub genesis: Genesis,
}

impl NodeFolder {
    /// Reads it.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let credentials = Credentials::load(path)?;
        let genesis = read(path, &credentials)?;
        Ok(Self { path: path.to_path_buf(), credentials, genesis })
    }

    /// Makes the folder of a cluster of one, with its authority, where there is none.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn found_alone(path: &Path, slots: u32) -> Result<Self, FolderError> {
        let own = Place { address: (Ipv4Addr::LOCALHOST, 0).into(), zone: "alone".to_string() };
        let beside = beside(path)?;
        let authority = Authority::create(&beside.join("authority"))?;
        let node = Prepared::create(&beside, &authority, own, ALONE)?;
        Beginning::new(&[&node], slots, 1)?.write(&authority, &beside)?;
        drop(NodeDisk::create(&beside.join("node.redb"), node.contact.id)?);
        fs::rename(&beside, path).map_err(files::at(path))?;
        Self::open(path)
    }

    /// Renews the certificate of a cluster of one, which has its authority in its folder, when less than a third
    /// of its life is left, or when it does not name all these hosts. Says whether; where there is no authority,
    /// nothing is done.
    ///
    /// # Errors
    /// [`FolderError::Credentials`]
    pub fn renew_alone(path: &Path, hosts: &[String]) -> Result<bool, FolderError> {
        let authority = path.join("authority");
        if !authority.join("authority.key").exists() {
            return Ok(false);
        }
        let credentials = Credentials::load(path)?;
        let named = credentials.hosts();
        let all = hosts.iter().all(|host| named.contains(host));
        if all && credentials.proof().is_some_and(|proof| !proof.is_due()) {
            return Ok(false);
        }
        Credentials::renew(path, &Authority::open(&authority)?, hosts, ALONE)?;
        Ok(true)
    }

    /// The file of what the node must not forget.
    pub fn data(&self) -> PathBuf {
        self.path.join("node.redb")
    }

    /// Where the node itself is in the genesis, if it is one of the founders.
    pub fn own(&self) -> Option<&Founder> {
        let id = self.credentials.id();
        self.genesis.founders().iter().find(|founder| founder.contact.id == id)
    }
}

/// Where a founder shall be found, and what it fails together with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where others reach it.
    pub address: SocketAddr,
    /// Its zone.
    pub zone: String,
}

/// A founder with its key and certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    contact: Contact,
    place: Place,
}

impl Prepared {
    /// Makes a founder's key and certificate in its folder.
    ///
    /// # Errors
    /// [`enum@Error`]
    pub fn create(
        folder: &Path,
        by: &Authority,
        place: Place,
        valid_for: Duration,
    ) -> Result<Self, Error> {
        // Where peers reach it, clients may.
        let host = place.address.ip();
        let hosts = if host.is_unspecified() { Vec::new() } else { vec![host.to_string()] };
        let credentials = Credentials::create(folder, by, &hosts, valid_for)?;
        let (id, key) = (credentials.id(), credentials.public());
        let contact = Contact { id, address: Address::from(place.address), key };
        Ok(Self { contact, place })
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.contact.id
    }
}

/// A cluster's genesis, before it is signed.
#[derive(Clone, Debug)]
pub struct Beginning {
    founders: Vec<Prepared>,
    slots: u32,
    replicas: u8,
}

impl Beginning {
    /// Whether a cluster can begin with so many slots, and so many members to each, before anything is made.
    ///
    /// # Errors
    /// [`GenesisError`]
    pub fn judge(slots: u32, replicas: u8) -> Result<(), GenesisError> {
        let address = Address::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let contact = Contact { id: NodeId([0; 32]), address, key: NodeKey([0; 32]) };
        Genesis::new(&[Founder { contact, zone: Zone("any".into()) }], slots, replicas).map(drop)
    }

    /// With these founders.
    ///
    /// # Errors
    /// [`FolderError::Genesis`]: nothing can begin like this.
    pub fn new(founders: &[&Prepared], slots: u32, replicas: u8) -> Result<Self, FolderError> {
        let founders: Vec<Prepared> = founders.iter().map(|one| (*one).clone()).collect();
        let all: Vec<Founder> = founders
            .iter()
            .map(|one| Founder { contact: one.contact, zone: Zone(one.place.zone.as_str().into()) })
            .collect();
        Genesis::new(&all, slots, replicas)
            .map_err(|cause| FolderError::Genesis { path: PathBuf::from("genesis.json"), cause })?;
        Ok(Self { founders, slots, replicas })
    }

    /// Signs it and writes it into a folder.
    ///
    /// # Errors
    /// [`enum@Error`]
    ///
    /// # Panics
    /// Never: numbers and texts are JSON.
    pub fn write(&self, authority: &Authority, folder: &Path) -> Result<(), Error> {
        let written = |one: &Prepared| Written {
            node: hex(&one.contact.id.0),
            key: hex(&one.contact.key.0),
            address: one.place.address,
            zone: one.place.zone.clone(),
        };
        let file = File {
            format: FORMAT,
            cluster: authority.cluster().to_string(),
            slots: self.slots,
            replicas: self.replicas,
            founders: self.founders.iter().map(written).collect(),
        };
        let text = serde_json::to_string_pretty(&file).expect("numbers and texts are JSON") + "\n";
        let signature = hex(&authority.sign(text.as_bytes())?) + "\n";
        files::create(&folder.join("genesis.sig"), signature.as_bytes(), Readers::All)?;
        files::create(&folder.join("genesis.json"), text.as_bytes(), Readers::All)
    }
}

fn read(folder: &Path, credentials: &Credentials) -> Result<Genesis, FolderError> {
    let path = folder.join("genesis.json");
    let text = files::read(&path)?;
    let signature = files::read(&folder.join("genesis.sig"))?;
    // NODE-1: before anything in it is believed.
    if !is_signed(credentials, text.as_bytes(), signature.trim()) {
        return Err(FolderError::Unsigned { path });
    }
    let file: File = serde_json::from_str(&text)
        .map_err(|cause| content(&path, "a genesis in JSON, format 1", &cause))?;
    if file.format != FORMAT {
        return Err(content(&path, "a genesis of format 1", &file.format).into());
    }
    let founders: Option<Vec<Founder>> = file.founders.iter().map(founder).collect();
    let founders = founders.ok_or_else(|| {
        content(&path, "founders whose ids are the hashes of their keys", &"another id")
    })?;
    Genesis::new(&founders, file.slots, file.replicas)
        .map_err(|cause| FolderError::Genesis { path, cause })
}

fn founder(written: &Written) -> Option<Founder> {
    let key = NodeKey(unhex(&written.key)?.try_into().ok()?);
    let id = NodeId(unhex(&written.node)?.try_into().ok()?);
    let contact = Contact { id, address: Address::from(written.address), key };
    (id_of(key) == id).then(|| Founder { contact, zone: Zone(written.zone.as_str().into()) })
}

fn is_signed(credentials: &Credentials, text: &[u8], signature: &str) -> bool {
    let signed = || {
        let (_, certificate) = parse_x509_certificate(&credentials.authority).ok()?;
        let key = key_in(certificate.public_key().raw)?;
        UnparsedPublicKey::new(&ED25519, key.0).verify(text, &unhex(signature)?).ok()
    };
    signed().is_some()
}

/// The bytes of hexadecimal digits.
pub(crate) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes =
        pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok());
    if rest.is_empty() { bytes.collect() } else { None }
}

/// A new folder beside a place where nothing is.
fn beside(path: &Path) -> Result<PathBuf, Error> {
    if path.try_exists().map_err(files::at(path))? {
        return Err(Error::Exists(path.to_path_buf()));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let beside = path.with_file_name(name);
    files::folder(&beside)?;
    Ok(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_of_one_is_read_as_it_was_made_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node");
        let made = NodeFolder::found_alone(&path, 8).unwrap();
        let again = NodeFolder::open(&path).unwrap();
        assert_eq!(made.genesis, again.genesis);
        assert_eq!(again.own().unwrap().contact.id, again.credentials.id());
        assert!(again.data().is_file());
        let refused = NodeFolder::found_alone(&path, 8);
        assert!(matches!(refused, Err(FolderError::Credentials(Error::Exists(_)))));
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing beside it: {left:?}");
    }

    #[test]
    fn a_cluster_of_one_renews_its_certificate_when_it_is_due_or_names_not_all_hosts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node");
        let serial = |node: &NodeFolder| node.credentials.certificate.clone();
        let made = NodeFolder::found_alone(&path, 8).unwrap();
        assert!(!NodeFolder::renew_alone(&path, &[]).unwrap(), "it is new");
        let hosts = ["coats.example.org".to_string()];
        assert!(NodeFolder::renew_alone(&path, &hosts).unwrap());
        assert!(!NodeFolder::renew_alone(&path, &hosts).unwrap(), "it names them all");
        let named = NodeFolder::open(&path).unwrap();
        assert!(named.credentials.hosts().contains(&hosts[0]));
        assert_ne!(serial(&made), serial(&named));
        // Five minutes of it have passed when it begins.
        let authority = Authority::open(&path.join("authority")).unwrap();
        Credentials::renew(&path, &authority, &[], Duration::from_mins(2)).unwrap();
        assert!(NodeFolder::renew_alone(&path, &[]).unwrap(), "less than a third is left");
        let renewed = NodeFolder::open(&path).unwrap();
        assert!(renewed.credentials.proof().unwrap().left() > Duration::from_hours(24 * 29));
        assert!(renewed.credentials.hosts().contains(&hosts[0]), "and it names what it named");
        assert_eq!(renewed.credentials.id(), made.credentials.id());
        // A node whose authority is elsewhere does not.
        fs::rename(path.join("authority"), folder.path().join("elsewhere")).unwrap();
        assert!(!NodeFolder::renew_alone(&path, &["other".to_string()]).unwrap());
    }

    #[test]
    fn a_genesis_that_was_changed_or_is_another_clusters_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("node"), folder.path().join("other"));
        NodeFolder::found_alone(&path, 8).unwrap();
        NodeFolder::found_alone(&other, 8).unwrap();
        let genesis = path.join("genesis.json");
        let text = fs::read_to_string(&genesis).unwrap();
        fs::write(&genesis, text.replace("\"slots\": 8", "\"slots\": 4")).unwrap();
        assert!(matches!(NodeFolder::open(&path), Err(FolderError::Unsigned { .. })));
        for name in ["genesis.json", "genesis.sig"] {
            fs::copy(other.join(name), path.join(name)).unwrap();
        }
        assert!(matches!(NodeFolder::open(&path), Err(FolderError::Unsigned { .. })));
    }
}
