//! The arguments of `cert`.
//!
//! Invariants: those of the file above.
//!
//! What it does not do: make anything.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::cluster::is_folder_name;

/// The commands about certificates.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Make the folder of one more node or client, with a key and certificate of its own
    Issue(IssueArgs),
    /// Make a key, and a request for its certificate, where the key is to stay
    Request(RequestArgs),
    /// Give a node or client a new certificate for the key that it has
    Renew(RenewArgs),
    /// Revoke all certificates of a node or client
    Revoke(RevokeArgs),
}

fn folder_name(text: &str) -> Result<String, String> {
    if is_folder_name(text) {
        return Ok(text.to_owned());
    }
    Err("expected letters, digits, '_' and '-', neither authority nor clients".to_owned())
}

pub(crate) fn digits(text: &str) -> Result<String, String> {
    // As ids are shown, with or without their letter.
    let text = text.strip_prefix('n').unwrap_or(text).to_ascii_lowercase();
    if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text);
    }
    Err("expected 1 to 64 hexadecimal digits".to_owned())
}

/// How long certificates are valid.
#[derive(Clone, Debug, Args)]
pub struct ValidityArgs {
    /// How long a certificate is valid; it has to be renewed before (see `cert renew`)
    #[arg(long, env = "CLOAKROOM_VALID_DAYS", hide_env_values = true, value_name = "DAYS")]
    #[arg(default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub valid_days: u16,
}

/// `cert issue`.
#[derive(Debug, Args)]
#[command(after_help = "\
A node's folder is FOLDER/NAME, a client's FOLDER/clients/NAME. FOLDER is that of `cluster init`, or the \
folder of a cluster of one. Servers that serve HTTPS take requests from whoever shows a certificate of \
their authority. Servers renew a node's certificate while it runs, if one of them has `serve --authority`; nothing \
renews a client's but `cert renew`. With --csr no key is made: the folder \
has all but that, and goes to where it is.

Example:
  cloakroom cert issue ./coats --client alice
  cloakroom usage ports --endpoint https://10.0.0.1:8443 --identity ./coats/clients/alice")]
pub struct IssueArgs {
    /// Whose.
    #[command(flatten)]
    pub holder: HolderArgs,
    /// A request (PKCS #10 in PEM) for the key that is to be certified; a node's key is an Ed25519 key
    #[arg(long, env = "CLOAKROOM_CSR", hide_env_values = true, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub csr: Option<PathBuf>,
    /// A name or address under which clients reach the node over HTTPS; again for more
    #[arg(long, env = "CLOAKROOM_HOST", hide_env_values = true, value_name = "HOST")]
    #[arg(value_delimiter = ',', conflicts_with = "client")]
    pub host: Vec<String>,
    /// How long it is valid.
    #[command(flatten)]
    pub validity: ValidityArgs,
}

/// Whose certificate.
#[derive(Debug, Args)]
pub struct HolderArgs {
    /// The cluster's folder, with its authority
    #[arg(value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// The node's or client's name: its folder in there
    #[arg(value_parser = folder_name)]
    pub name: String,
    /// It is a client, which may ask servers, and no node
    #[arg(long, env = "CLOAKROOM_CLIENT", hide_env_values = true)]
    pub client: bool,
}

/// `cert request`.
#[derive(Debug, Args)]
#[command(after_help = "\
Run it on the node's or client's own machine. Bring the request, whose path is printed, to the authority, and \
what `cert issue --csr` makes there back into this folder.

Example:
  cloakroom cert request ./d
  cloakroom cert issue ./coats d --csr node.csr")]
pub struct RequestArgs {
    /// The folder to make
    #[arg(value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// It is a client
    #[arg(long, env = "CLOAKROOM_CLIENT", hide_env_values = true)]
    pub client: bool,
}

/// `cert renew`.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs nothing but the authority's folder. The new certificate goes into FOLDER/NAME, of a client into \
FOLDER/clients/NAME, which is made if it is gone: bring the files in it to the machine. A server that runs \
notices them within seconds, at once with SIGHUP.

A cluster of one renews its node's certificate itself, and so do the nodes of others that run, if one of them has `serve \
--authority`. Where none has, and of clients, nobody does unless you call this, and copy: a server warns from the last \
third of its certificate's life on, and when it has expired no other node talks to it.

Example:
  cloakroom cert renew ./coats a
  scp ./coats/a/*.pem a.example.org:/var/lib/cloakroom/")]
pub struct RenewArgs {
    /// Whose.
    #[command(flatten)]
    pub holder: HolderArgs,
    /// The first digits of the node's id, if its name is not known: it has this one from now on
    #[arg(long, env = "CLOAKROOM_ID", hide_env_values = true, value_name = "NODE_ID")]
    #[arg(value_parser = digits, conflicts_with = "client")]
    pub id: Option<String>,
    /// A name or address under which clients reach the node over HTTPS, beside those that its certificate has; again for more
    #[arg(long, env = "CLOAKROOM_HOST", hide_env_values = true, value_name = "HOST")]
    #[arg(value_delimiter = ',', conflicts_with = "client")]
    pub host: Vec<String>,
    /// How long it is valid.
    #[command(flatten)]
    pub validity: ValidityArgs,
}

/// `cert revoke`.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs nothing but the authority's folder: the one with which a server runs, if one has `serve --authority`, since a copy \
does not know what was issued there. The new list goes into every node's folder that is still beside it. Bring it to the machines, and send \
SIGHUP to their servers: they end all connections, and the node comes in no more.")]
pub struct RevokeArgs {
    /// The cluster's folder, with its authority
    #[arg(value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// The node's or client's name
    #[arg(value_parser = folder_name, required_unless_present = "id")]
    pub name: Option<String>,
    /// It is a client
    #[arg(long, env = "CLOAKROOM_CLIENT", hide_env_values = true)]
    pub client: bool,
    /// Instead of a name the first digits of the node's id, as many as no other's begins with
    #[arg(long, env = "CLOAKROOM_ID", hide_env_values = true, value_name = "NODE_ID")]
    #[arg(value_parser = digits, conflicts_with_all = ["client", "name"])]
    pub id: Option<String>,
}
