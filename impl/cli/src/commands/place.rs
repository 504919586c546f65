//! Where a pool is: in a data file, or with servers. The commands do not care.
//!
//! Invariants: the same call has the same meaning and the same errors' exit codes at both places.
//!
//! What it does not do: judge tags; `recovery.rs` does.

use std::path::PathBuf;
use std::time::Duration;

use cloakroom_client::{Client, Identity, Options};
use cloakroom_pool::{FreeOutcome, Id, Pool, Recovered, Tag, Usage};
use cloakroom_stores::Durable;

use crate::args::{ChoiceArgs, RemoteArgs, TrustArgs};
use crate::error::Error;

/// A pool somewhere.
pub(super) enum Place {
    File(Pool<Durable>),
    Servers(Remote, String),
}

/// Servers, and the thread that waits for them.
pub(super) struct Remote {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Remote {
    /// The servers that are to be asked; `None`: a data file is.
    pub(super) fn of(args: &RemoteArgs) -> Result<Option<Self>, Error> {
        if args.endpoint.is_empty() {
            return Ok(None);
        }
        Self::new(&args.endpoint, &args.choice).map(Some)
    }

    pub(super) fn new(endpoints: &[String], choice: &ChoiceArgs) -> Result<Self, Error> {
        let options = options(endpoints, choice);
        let system = |cause| Error::System { what: "threads", cause };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { client: Client::new(&options)?, runtime: runtime.map_err(system)? })
    }

    /// Waits for a call.
    pub(super) fn wait<T>(
        &self,
        call: impl AsyncFnOnce(&Client) -> Result<T, cloakroom_client::ClientError>,
    ) -> Result<T, Error> {
        Ok(self.runtime.block_on(call(&self.client))?)
    }
}

/// How these servers are asked.
pub(super) fn options(endpoints: &[String], choice: &ChoiceArgs) -> Options {
    let usual = Options::default();
    let said = choice.deadline_ms.map(Duration::from_millis);
    Options {
        endpoints: endpoints.to_vec(),
        strategy: choice.strategy.clone(),
        deadline: said.unwrap_or(usual.deadline),
        walk_deadline: said.unwrap_or(usual.walk_deadline),
        authority: authority(&choice.trust),
        identity: identity(&choice.trust),
    }
}

fn authority(trust: &TrustArgs) -> Option<PathBuf> {
    let in_folder = || trust.identity.as_ref().map(|folder| folder.join("authority.pem"));
    trust.ca.clone().or_else(in_folder)
}

/// What is named alone counts more than what is in a folder.
fn identity(trust: &TrustArgs) -> Option<Identity> {
    if let (Some(certificate), Some(key)) = (trust.cert_file.clone(), trust.key_file.clone()) {
        return Some(Identity { certificate, key });
    }
    let folder = trust.identity.as_ref()?;
    let of = |name: &str| Identity {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    let node = of("node");
    Some(if node.key.exists() { node } else { of("client") })
}

impl Place {
    pub(super) fn allocate(&self, tag: &Tag) -> Result<Id, Error> {
        match self {
            Self::File(pool) => Ok(pool.allocate(tag)?),
            Self::Servers(remote, name) => {
                let tag = tag.to_string();
                remote.wait(async |client| client.allocate(name, &tag).await).map(Id)
            }
        }
    }

    pub(super) fn free(&self, id: Id, tag: &Tag) -> Result<FreeOutcome, Error> {
        match self {
            Self::File(pool) => Ok(pool.free(id, tag)?),
            Self::Servers(remote, name) => {
                let tag = tag.to_string();
                match remote.wait(async |client| client.free(name, id.0, &tag).await) {
                    Ok(true) => Ok(FreeOutcome::Freed),
                    Ok(false) => Ok(FreeOutcome::AlreadyFree),
                    Err(error) if error.is_refusal("not-owner") => Ok(FreeOutcome::NotOwner),
                    Err(error) => Err(error),
                }
            }
        }
    }

    pub(super) fn find(&self, tag: &Tag) -> Result<Vec<Id>, Error> {
        match self {
            Self::File(pool) => Ok(pool.find(tag)?),
            Self::Servers(remote, name) => {
                let tag = tag.to_string();
                let ids = remote.wait(async |client| client.find(name, &tag).await)?;
                Ok(ids.into_iter().map(Id).collect())
            }
        }
    }

    /// What is held under tags that begin so.
    pub(super) fn list(&self, prefix: &str) -> Result<Vec<(Id, Tag)>, Error> {
        match self {
            Self::File(pool) => {
                let mut all = pool.list()?;
                all.retain(|(_, tag)| tag.as_bytes().starts_with(prefix.as_bytes()));
                Ok(all)
            }
            Self::Servers(remote, name) => {
                pairs(remote.wait(async |client| client.list(name, prefix).await)?)
            }
        }
    }

    pub(super) fn usage(&self) -> Result<Usage, Error> {
        match self {
            Self::File(pool) => Ok(pool.usage()?),
            Self::Servers(remote, name) => {
                let usage = remote.wait(async |client| client.usage(name).await)?;
                Ok(Usage { held: usage.held, size: usage.size })
            }
        }
    }

    /// Frees what is listed now under tags that are not live.
    pub(super) fn recover(&self, is_live: impl Fn(&Tag) -> bool) -> Result<Recovered, Error> {
        match self {
            Self::File(pool) => Ok(pool.recover(is_live)?),
            Self::Servers(remote, name) => {
                let all = self.list("")?;
                let dead = all.iter().map(|(_, tag)| tag).filter(|tag| !is_live(tag));
                let dead: Vec<String> = dead.map(ToString::to_string).collect();
                recovered(remote, name, &dead)
            }
        }
    }

    /// Puts counts right.
    pub(super) fn repair(&self) -> Result<Recovered, Error> {
        match self {
            Self::File(pool) => Ok(pool.repair()?),
            Self::Servers(remote, name) => recovered(remote, name, &[]),
        }
    }
}

fn recovered(remote: &Remote, name: &str, dead: &[String]) -> Result<Recovered, Error> {
    let done = remote.wait(async |client| client.recover(name, dead, false).await)?;
    let (held, counts_repaired) = (done.held, done.counts_repaired);
    Ok(Recovered { freed: pairs(done.freed)?, held, counts_repaired })
}

fn pairs(held: Vec<cloakroom_client::Allocation>) -> Result<Vec<(Id, Tag)>, Error> {
    let pair = |held: cloakroom_client::Allocation| Ok((Id(held.id), Tag::new(held.tag)?));
    held.into_iter().map(pair).collect()
}
