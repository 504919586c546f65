//! What can be called about the cluster: who is a member, which slots there are.
//!
//! Invariants: those of `calls.rs`. All of it is harmless to send again.
//!
//! What it does not do: check ids; the node does, and says what it expected.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ClientError;
use crate::calls::{Written, ask, escaped, json_of};
use crate::retry::{Client, Effect};

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It takes seats.
    Active,
    /// It takes no new seats, and gives up those that it has.
    Draining,
}

/// A member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id, in hexadecimal.
    pub node: String,
    /// Where its peers reach it.
    pub address: String,
    /// Its public key, in hexadecimal.
    pub key: String,
    /// What it fails together with.
    pub zone: String,
    /// How it stands.
    pub standing: Standing,
    /// Of how many slots it is a member, as far as the node has heard.
    pub seats: u64,
    /// How long ago the node that answered has heard of it.
    pub heard_ms_ago: Option<u64>,
    /// Whether the node that answered has not heard of it for too long.
    pub silent: bool,
    /// Whether it is the node that answered.
    pub own: bool,
}

/// A cluster, as one node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id.
    pub cluster: String,
    /// The node that answered.
    pub node: String,
    /// How many slots it has.
    pub slots: u64,
    /// How many members a slot ought to have.
    pub replicas: u64,
    /// The version of the list of members.
    pub version: u64,
    /// All members.
    pub members: Vec<Member>,
    /// Whether the node that answered has drained: it may go.
    pub drained: bool,
}

/// What a node's replica of a slot does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// It takes over what the view before it has.
    Learner,
    /// It votes.
    Active,
    /// It votes no more: a newer view has taken over, or is about to.
    Sealed,
    /// It has nothing left.
    Retired,
}

/// A slot, as one node knows it: in the newest view that it has heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its number.
    pub slot: u16,
    /// Which view.
    pub epoch: u32,
    /// The view's members, in hexadecimal.
    pub members: Vec<String>,
    /// What the node's own replica in that view does, if it has one. Without one the view is hearsay, and may be an
    /// old one.
    pub life: Option<Life>,
}

#[derive(Deserialize)]
struct Slots {
    slots: Vec<Slot>,
    next: Option<u16>,
}

impl Client {
    /// The cluster, as one of its nodes knows it.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn cluster(&self) -> Result<Cluster, ClientError> {
        self.read("/v1/cluster".to_string()).await
    }

    /// All slots and their members, as a node knows them. Of one endpoint: each page may come from another node.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn slots(&self) -> Result<Vec<Slot>, ClientError> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/cluster/slots?limit=1024{after}");
            let Slots { slots, next } = self.read(path).await?;
            all.extend(slots);
            let Some(next) = next else { return Ok(all) };
            after = format!("&after={next}");
        }
    }

    /// Makes the node that answers a member, in a zone; `others` are members that it can ask beside the
    /// founders. The list's version. To be asked of one endpoint only: that of the newcomer.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn join(&self, zone: &str, others: &[Member]) -> Result<u64, ClientError> {
        let other = |member: &Member| json!({ "node": member.node, "key": member.key, "address": member.address });
        let others: Vec<_> = others.iter().map(other).collect();
        let body = json!({ "zone": zone, "others": others }).to_string();
        let path = "/v1/cluster/members".to_string();
        let listed: Written = self.document(Method::POST, path, &body, Effect::Harmless).await?;
        Ok(listed.version)
    }

    /// Has a member give up its seats. The list's version.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn drain(&self, node: &str) -> Result<u64, ClientError> {
        let path = format!("/v1/cluster/members/{}/drain", escaped(node));
        let got = self.call(ask(Method::POST, path, Effect::Harmless)).await?;
        Ok(json_of::<Written>(&got)?.version)
    }

    /// Has a member that drains take seats again. The list's version.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn undo_drain(&self, node: &str) -> Result<u64, ClientError> {
        let path = format!("/v1/cluster/members/{}/drain", escaped(node));
        let got = self.call(ask(Method::DELETE, path, Effect::Harmless)).await?;
        Ok(json_of::<Written>(&got)?.version)
    }

    /// Takes a member off the list, for ever in this life of its disk; by `force` one that is active. The list's version.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn remove_member(&self, node: &str, force: bool) -> Result<u64, ClientError> {
        let force = if force { "?force=true" } else { "" };
        let path = format!("/v1/cluster/members/{}{force}", escaped(node));
        let got = self.call(ask(Method::DELETE, path, Effect::Harmless)).await?;
        Ok(json_of::<Written>(&got)?.version)
    }
}
