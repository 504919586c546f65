//! What can go wrong with keys, certificates and the files they are in.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why keys and certificates cannot be made, read or trusted. Each says whose fault it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system's, or the caller's who named the file.
    #[error("{}: {source}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The caller's: something is there that would be lost.
    #[error("{} is there already; nothing was changed", .0.display())]
    Exists(PathBuf),
    /// Whoever wrote the file.
    #[error("{}: expected {expected}, got {got}", path.display())]
    Content {
        /// Where.
        path: PathBuf,
        /// What should have been there.
        expected: &'static str,
        /// What was.
        got: String,
    },
    /// Whoever left the key open to others.
    #[error(
        "{}: expected a key that only its owner may read (mode 0600), got mode {mode:04o}",
        path.display()
    )]
    Open {
        /// Where.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The caller's: no such certificate was issued here.
    #[error("expected a node that has a certificate of this authority, got {0:#}")]
    NeverIssued(cloakroom_wire::NodeId),
    /// The caller's: no such certificate was issued here.
    #[error("expected a client that has a certificate of this authority, got {0:?}")]
    NoSuchClient(String),
    /// The caller's: no node has this name, or it was made before names were noted.
    #[error(
        "expected the name of a node that has a certificate of this authority, got {0:?}; a node whose \
         name is not known is named by its id"
    )]
    NoSuchNode(String),
    /// The caller's: the name is taken.
    #[error(
        "the name {name:?} is that of node {node:#}, which is not revoked; nothing was changed"
    )]
    Named {
        /// The name.
        name: String,
        /// Whose it is.
        node: cloakroom_wire::NodeId,
    },
    /// The caller's: a new certificate would undo what was revoked.
    #[error(
        "expected a holder whose certificates are not all revoked, got {0}: issue another one, with \
         another key"
    )]
    Revoked(String),
    /// Whoever has shown or sent it.
    #[error("expected a certificate {expected}, got {got}")]
    Certificate {
        /// What it should have been.
        expected: &'static str,
        /// What it was.
        got: String,
    },
    /// The caller's: no certificate can have it.
    #[error("host: expected a name such as coats.example.org, or an address, got {0:?}")]
    Host(String),
    /// Ours, or the cryptographic library's.
    #[error("cannot {what}: {cause}")]
    Cryptography {
        /// What was tried.
        what: &'static str,
        /// What the library said.
        cause: String,
    },
}

/// Turns a library's error into ours.
pub(crate) trait Fault<T> {
    /// While doing what.
    ///
    /// # Errors
    /// [`Error::Cryptography`]
    fn when(self, what: &'static str) -> Result<T, Error>;
}

impl<T, E: std::fmt::Display> Fault<T> for Result<T, E> {
    fn when(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|cause| Error::Cryptography { what, cause: cause.to_string() })
    }
}
