//! A node's key, and the id that follows from it.
//!
//! Invariants:
//! * NET-1: the id is the SHA-256 of the public key as a `SubjectPublicKeyInfo` (DER): who has the key has
//!   the id, and nobody else;
//! * NET-4: the secret leaves this type only into its own file.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use cloakroom_wire::{NodeId, NodeKey};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::error::{Error, Fault};
use crate::files::{self, Readers};

/// What comes before the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410, 4).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 key pair.
pub struct Key {
    pub(crate) pair: KeyPair,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

impl Key {
    /// A new one, from the system's entropy.
    ///
    /// # Errors
    /// [`Error::Cryptography`]
    pub fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate_for(&PKCS_ED25519).when("make a key")?;
        Ok(Self { pair })
    }

    /// From a file in PKCS #8 PEM, which only its owner may read.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Open`], [`Error::Content`]
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = files::read_secret(path)?;
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&text, &PKCS_ED25519);
        let pair = pair.map_err(|cause| Error::Content {
            path: path.to_path_buf(),
            expected: "an Ed25519 key in PKCS #8 PEM",
            got: cause.to_string(),
        })?;
        Ok(Self { pair })
    }

    /// Into a new file, which only its owner may read.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Exists`]
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let text = Zeroizing::new(self.pair.serialize_pem());
        files::create(path, text.as_bytes(), Readers::Owner)
    }

    /// The id of whoever has this key.
    pub fn id(&self) -> NodeId {
        id_of(self.public())
    }

    /// The public half.
    ///
    /// # Panics
    /// Never: only Ed25519 keys come in, and theirs have 32 bytes.
    pub fn public(&self) -> NodeKey {
        NodeKey(self.pair.der_bytes().try_into().expect("an Ed25519 key has 32 bytes"))
    }

    pub(crate) fn secret(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.pair.serialize_der().into())
    }
}

/// The id of whoever has the other half of a key.
pub(crate) fn id_of(key: NodeKey) -> NodeId {
    let spki: Vec<u8> = SPKI_PREFIX.into_iter().chain(key.0).collect();
    let hash = digest(&SHA256, &spki);
    NodeId(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// The key in a `SubjectPublicKeyInfo`, if it is an Ed25519 key.
pub(crate) fn key_in(spki: &[u8]) -> Option<NodeKey> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    Some(NodeKey(key.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_its_id_is_the_hash_of_what_certificates_show() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let key = Key::generate().unwrap();
        key.save(&path).unwrap();
        let again = Key::load(&path).unwrap();
        assert_eq!((key.id(), key.public()), (again.id(), again.public()));
        let spki = key.pair.subject_public_key_info();
        assert_eq!(digest(&SHA256, &spki).as_ref(), key.id().0);
        assert_eq!(key_in(&spki), Some(key.public()));
    }
}
