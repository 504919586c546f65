//! What can be called about the DHT: records, and its nodes.
//!
//! Invariants: those of `calls.rs`. Nothing here is atomic, and all of it is harmless to send again.
//!
//! What it does not do: check ids; the node does, and says what it expected.

use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Serialize};

use crate::ClientError;
use crate::calls::{ask, escaped, json_of};
use crate::retry::{Ask, Client, Effect};

/// A record of the DHT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who wrote it.
    pub origin: String,
    /// The higher one is newer.
    pub sequence: u64,
    /// How long it still lives.
    pub expires_in_ms: u64,
    /// The value, if it is UTF-8.
    pub value: Option<String>,
    /// The value in hexadecimal.
    pub value_hex: String,
}

#[derive(Deserialize)]
struct Records {
    records: Vec<Record>,
}

/// Who is closest to a point of the DHT, as one of its nodes has found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closest {
    /// The point, in hexadecimal.
    pub id: String,
    /// The closest first.
    pub nodes: Vec<Near>,
    /// How many were asked.
    pub asked: u32,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// A node of the DHT, seen from a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Near {
    /// Its id, in hexadecimal.
    pub node: String,
    /// Where its peers reach it.
    pub address: String,
    /// Its id and the point, by exclusive or, in hexadecimal.
    pub distance: String,
    /// Whether it is the node that has answered.
    pub own: bool,
}

/// A node of the DHT has answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinged {
    /// Its id, in hexadecimal.
    pub node: String,
    /// Where it was asked.
    pub address: String,
    /// From the question to the answer, in microseconds.
    pub round_trip_us: u64,
}

impl Client {
    /// Gives a record to its holders, for a day; its sequence number.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn publish(&self, key: &str, value: &[u8]) -> Result<u64, ClientError> {
        self.put_record(format!("/v1/records/{}", escaped(key)), value).await
    }

    /// The same for so long, at most a day.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn publish_for(
        &self,
        key: &str,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<u64, ClientError> {
        let ms = time_to_live.as_millis();
        self.put_record(format!("/v1/records/{}?ttl_ms={ms}", escaped(key)), value).await
    }

    async fn put_record(&self, path: String, value: &[u8]) -> Result<u64, ClientError> {
        #[derive(Deserialize)]
        struct Published {
            sequence: u64,
        }
        let ask = Ask { body: value, ..ask(Method::PUT, path, Effect::Harmless) };
        Ok(json_of::<Published>(&self.call(ask).await?)?.sequence)
    }

    /// The records under a key.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn records(&self, key: &str) -> Result<Vec<Record>, ClientError> {
        match self.read::<Records>(format!("/v1/records/{}", escaped(key))).await {
            Ok(found) => Ok(found.records),
            Err(ClientError::Refused { kind, .. }) if kind == "no-such-record" => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The nodes that are closest to an id, or any other point, in hexadecimal.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn closest_to_id(&self, id: &str) -> Result<Closest, ClientError> {
        self.read(format!("/v1/dht/nodes?id={}", escaped(id))).await
    }

    /// The nodes that are closest to the key of a record: those that ought to hold it come first.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn closest_to_key(&self, key: &str) -> Result<Closest, ClientError> {
        self.read(format!("/v1/records/{}/nodes", escaped(key))).await
    }

    /// Has the node that answers ask another one, named by its id in hexadecimal, whether it lives.
    ///
    /// # Errors
    /// [`ClientError::Refused`] of the kind `no-such-node` or `unreachable`.
    pub async fn ping(&self, node: &str) -> Result<Pinged, ClientError> {
        let path = format!("/v1/dht/nodes/{}/ping", escaped(node));
        json_of(&self.call(ask(Method::POST, path, Effect::Harmless)).await?)
    }
}
