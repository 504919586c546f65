//! The list of members, for whoever runs a server.
//!
//! What it does not do: decide. The list is in a register, and the node changes it.

use cloakroom_node::{Change, ChangeFault, Node, Roster, Zone};
use cloakroom_register::{Call, Member, Version};
use cloakroom_wire::Contact;
use tokio::sync::oneshot;

use crate::server::{Job, Server, ServerError};

/// The cluster's members, as far as a node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// This node, in this life of its disk.
    pub me: Member,
    /// The list.
    pub roster: Roster,
    /// Its version; zero is the genesis's.
    pub version: Version,
    /// Whether this node has drained: it may go.
    pub is_drained: bool,
}

impl Server {
    /// Changes the list of members, by whichever node has it.
    ///
    /// # Errors
    /// [`ServerError::Stopped`]: then it may have been made. And within: why it was not.
    pub async fn change(
        &self,
        change: Change,
        patience_ms: u64,
    ) -> Result<Result<Version, ChangeFault>, ServerError> {
        let id = Self::operation(b"", Call::Get)?.id;
        let (reply, answered) = oneshot::channel();
        self.give(Job::Change { id, change, patience_ms, reply }).await?;
        answered.await.map_err(|_| ServerError::Stopped)
    }

    /// This node becomes a member, on the disk that it has, in a zone, where it listens. `others` are
    /// members that it can ask, beside the founders.
    ///
    /// # Errors
    /// As [`Server::change`].
    pub async fn join(
        &self,
        zone: Zone,
        others: Vec<Contact>,
        patience_ms: u64,
    ) -> Result<Result<Version, ChangeFault>, ServerError> {
        self.give(Job::Meet(others)).await?;
        let member = self.members().await?.me;
        self.change(Change::Join { member, contact: self.contact(), zone }, patience_ms).await
    }

    /// The members, as far as this node knows.
    ///
    /// # Errors
    /// [`ServerError::Stopped`]
    pub async fn members(&self) -> Result<Members, ServerError> {
        let look = |_, node: &Node| {
            let (me, is_drained) = (node.me(), node.is_drained());
            let (roster, version) = node.roster();
            Members { me, roster: roster.clone(), version, is_drained }
        };
        self.look(look).await
    }
}
