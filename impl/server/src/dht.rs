//! The DHT, for whoever runs a server: records, who is closest, who lives.
//!
//! What it does not do: decide. The node does, and what has come of it is an [`Event`].

use cloakroom_kademlia::Event;
use cloakroom_node::Node;
use cloakroom_wire::{Contact, NodeId, OwnedRecord, RecordKey};
use tokio::sync::oneshot;

use crate::leave::Asker;
use crate::server::{Job, Server, ServerError};

impl Server {
    /// Gives a record to its holders; ends with [`Event::Published`].
    ///
    /// # Errors
    /// [`ServerError::Busy`], [`ServerError::Stopped`]
    pub async fn publish(&self, record: OwnedRecord) -> Result<Event, ServerError> {
        self.ask_dht(|asker| Job::Publish(record, asker)).await
    }

    /// Looks for the records under a key; ends with [`Event::Value`] or [`Event::Absent`].
    ///
    /// # Errors
    /// [`ServerError::Busy`], [`ServerError::Stopped`]
    pub async fn find_value(&self, key: RecordKey) -> Result<Event, ServerError> {
        self.ask_dht(|asker| Job::FindValue(key, asker)).await
    }

    /// Looks for the nodes closest to a point; ends with [`Event::Found`].
    ///
    /// # Errors
    /// [`ServerError::Busy`], [`ServerError::Stopped`]
    pub async fn find_node(&self, point: NodeId) -> Result<Event, ServerError> {
        self.ask_dht(|asker| Job::FindNode(point, asker)).await
    }

    /// Asks a node whether it lives; ends with [`Event::Answered`] or [`Event::Unanswered`].
    ///
    /// # Errors
    /// [`ServerError::Busy`], [`ServerError::Stopped`]
    pub async fn ping(&self, contact: Contact) -> Result<Event, ServerError> {
        self.ask_dht(|asker| Job::Ping(contact, asker)).await
    }

    /// Where a node is, as far as is known here.
    ///
    /// # Errors
    /// [`ServerError::Stopped`]
    pub async fn contact_of(&self, node: NodeId) -> Result<Option<Contact>, ServerError> {
        self.look(move |_, at: &Node| at.contact_of(node)).await
    }

    async fn ask_dht(&self, job: impl FnOnce(Asker) -> Job) -> Result<Event, ServerError> {
        let (asker, answered) = oneshot::channel();
        self.give(job(asker)).await?;
        Ok(answered.await.map_err(|_| ServerError::Stopped)??)
    }
}
