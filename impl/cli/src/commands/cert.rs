//! `cert`: certificates of nodes and clients, by whoever has the authority's folder.
//!
//! Invariants:
//! * `renew` and `revoke` need nothing but what the authority keeps, and no key of a node or client;
//! * nothing that is there is overwritten, but by `renew` and `revoke`, whose purpose that is;
//! * what is refused as wrong input has issued nothing.
//!
//! What it does not do: bring folders to other machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloakroom_server::{Authority, Credentials, Request, create_client};

use super::Done;
use super::cluster::{nothing_at, whole};
use crate::args::{CertCommand, HolderArgs, IssueArgs, RenewArgs, RequestArgs, RevokeArgs};
use crate::error::Error;
use crate::output::{print, say};

/// What a node needs of the cluster's beginning.
const GENESIS: [&str; 2] = ["genesis.json", "genesis.sig"];

pub(super) fn cert(command: &CertCommand) -> Result<Done, Error> {
    match command {
        CertCommand::Issue(args) if args.holder.client => issue_client(args),
        CertCommand::Issue(args) => issue(args),
        CertCommand::Request(args) => request(args),
        CertCommand::Renew(args) => renew(args),
        CertCommand::Revoke(args) => revoke(args),
    }
}

fn issue_client(args: &IssueArgs) -> Result<Done, Error> {
    let HolderArgs { folder, name, .. } = &args.holder;
    let authority = authority(folder)?;
    let valid_for = days(args.validity.valid_days);
    let at = client_folder(folder, name);
    match &args.csr {
        None => create_client(&at, &authority, name, valid_for).map_err(folder_error)?,
        Some(csr) => {
            nothing_at(&at)?;
            let request = Request::load(csr).map_err(folder_error)?;
            let issued = authority.issue_client_requested(&request, name, valid_for);
            let issued = issued.map_err(folder_error)?;
            authority.deliver_client(&issued, &at).map_err(folder_error)?;
        }
    }
    print(format!("{}\n", at.display()).as_bytes())?;
    Ok(Done::Yes)
}

fn issue(args: &IssueArgs) -> Result<Done, Error> {
    let HolderArgs { folder, name, .. } = &args.holder;
    let authority = authority(folder)?;
    let valid_for = days(args.validity.valid_days);
    // A cluster of one has it elsewhere, and takes no second node: its node is found by nobody.
    let genesis = folder.join("authority");
    for path in GENESIS.map(|file| genesis.join(file)) {
        if !path.exists() {
            return Err(Error::Alone { path });
        }
    }
    nothing_at(&folder.join(name))?;
    authority.is_free(name).map_err(folder_error)?;
    let request = args.csr.as_deref().map(Request::load).transpose().map_err(folder_error)?;
    let node = whole(&folder.join(name), |at| {
        for file in GENESIS {
            let path = genesis.join(file);
            let text = fs::read(&path).map_err(|cause| Error::Read { path, cause })?;
            let path = at.join(file);
            fs::create_dir_all(at)
                .and_then(|()| fs::write(&path, text))
                .map_err(|cause| Error::Write { path, cause })?;
        }
        // After all that can be refused: what is issued stays so.
        let node = match &request {
            None => Credentials::create(at, &authority, &args.host, valid_for).map(|it| it.id()),
            Some(request) => authority
                .issue_requested(request, &args.host, valid_for)
                .and_then(|issued| authority.deliver(&issued, at).map(|()| issued.node)),
        };
        let node = node.map_err(folder_error)?;
        authority.name(name, node).map_err(folder_error)?;
        Ok(node)
    })?;
    if request.is_some() {
        let at = folder.join(name);
        say(format_args!("bring the files in {} into the folder that has its key", at.display()));
    }
    print(format!("{node:#}\n").as_bytes())?;
    Ok(Done::Yes)
}

fn request(args: &RequestArgs) -> Result<Done, Error> {
    let made = whole(&args.folder, |at| {
        let made = if args.client { Request::create_client(at) } else { Request::create(at) };
        made.map_err(folder_error)
    })?;
    let made = args.folder.join(made.file_name().unwrap_or_default());
    print(format!("{}\n", made.display()).as_bytes())?;
    Ok(Done::Yes)
}

fn renew(args: &RenewArgs) -> Result<Done, Error> {
    let HolderArgs { folder, name, .. } = &args.holder;
    let authority = authority(folder)?;
    let valid_for = days(args.validity.valid_days);
    if args.holder.client {
        let at = client_folder(folder, name);
        let issued = authority.renew_client(name, valid_for).map_err(folder_error)?;
        authority.deliver_client(&issued, &at).map_err(folder_error)?;
        print(format!("{}\n", at.display()).as_bytes())?;
        return Ok(Done::Yes);
    }
    let at = folder.join(name);
    let node = match &args.id {
        None => authority.node(name, &at).map_err(folder_error)?,
        Some(digits) => {
            let node = of_id(&authority, digits)?;
            // Its folder would hold another's certificate.
            if authority.node(name, &at).is_ok_and(|known| known != node) {
                return Err(Error::OtherNode { name: name.clone() });
            }
            node
        }
    };
    let issued = authority.renew(node, &args.host, valid_for).map_err(folder_error)?;
    authority.deliver(&issued, &at).map_err(folder_error)?;
    authority.name(name, node).map_err(folder_error)?;
    say(format_args!(
        "bring node.pem, authority.pem and revoked.pem in {} to the folder that its server has: it notices \
         them while it runs",
        at.display()
    ));
    print(format!("{node:#}\n").as_bytes())?;
    Ok(Done::Yes)
}

fn revoke(args: &RevokeArgs) -> Result<Done, Error> {
    let authority = authority(&args.folder)?;
    let name = args.name.as_deref().unwrap_or_default();
    let (revoked, whose) = if args.client {
        (authority.revoke_client(name).map_err(folder_error)?, name.to_owned())
    } else {
        let node = match &args.id {
            Some(digits) => of_id(&authority, digits)?,
            None => authority.node(name, &args.folder.join(name)).map_err(folder_error)?,
        };
        (authority.revoke(node).map_err(folder_error)?, format!("{node:#}"))
    };
    let told = authority.tell_revoked(&args.folder).map_err(folder_error)?;
    say(format_args!("certificates revoked: {revoked}; nodes' folders with the new list: {told}"));
    print(format!("{whose}\n").as_bytes())?;
    Ok(Done::Yes)
}

/// The one node that has, or had, a certificate and whose id begins so.
fn of_id(authority: &Authority, digits: &str) -> Result<cloakroom_server::NodeId, Error> {
    let nodes = authority.nodes().map_err(folder_error)?;
    let mut begins = nodes.iter().filter(|node| {
        let shown = format!("{node:#}");
        shown.strip_prefix('n').unwrap_or(&shown).starts_with(digits)
    });
    match (begins.next(), begins.next()) {
        (Some(only), None) => Ok(*only),
        (first, _) => {
            let got = if first.is_none() { "none" } else { "several" };
            Err(Error::WhichNode { digits: digits.to_owned(), got })
        }
    }
}

pub(super) fn client_folder(folder: &Path, name: &str) -> PathBuf {
    folder.join("clients").join(name)
}

pub(super) fn authority(folder: &Path) -> Result<Authority, Error> {
    let at = folder.join("authority");
    if matches!(at.try_exists(), Ok(false)) {
        let got = if folder.exists() { "one without" } else { "none" };
        return Err(Error::NoAuthority { path: folder.to_owned(), got });
    }
    Authority::open(&at).map_err(folder_error)
}

pub(super) fn folder_error(error: cloakroom_server::Error) -> Error {
    Error::Folder(error.into())
}

pub(super) fn days(days: u16) -> Duration {
    Duration::from_hours(24 * u64::from(days))
}
