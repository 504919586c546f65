//! What can be called: pools, allocations, atomic keys.
//!
//! Invariants: what a caller names goes into a path percent-encoded, so that no name leads elsewhere.
//!
//! What it does not do: check names and tags; the node does, and says what it expected.

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::ETAG;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ClientError;
use crate::endpoint::Got;
use crate::retry::{Ask, Client, Effect, Reach};

/// Which free id is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The lowest.
    LowestFirst,
    /// One near where a hash of the tag says.
    Spread,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub pool: String,
    /// Its number.
    pub number: u64,
    /// How many ids it has.
    pub size: u64,
    /// Children of a node.
    pub fanout: u16,
    /// Slots of a block.
    pub block: u16,
    /// Which free id is preferred.
    pub policy: Policy,
}

/// How full a pool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// How many ids it has.
    pub size: u64,
    /// How many are held.
    pub held: u64,
    /// How many are not.
    pub free: u64,
}

/// An id with its tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// The id.
    pub id: u64,
    /// The tag.
    pub tag: String,
}

/// What a recovery has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// What was freed.
    pub freed: Vec<Allocation>,
    /// How many ids are still held.
    pub held: u64,
    /// How many counts were wrong, and have been put right.
    pub counts_repaired: u64,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its version.
    pub version: u64,
    /// Its value.
    pub value: Bytes,
}

#[derive(Deserialize)]
struct Pools {
    pools: Vec<Pool>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    allocations: Vec<Allocation>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Freed {
    outcome: String,
}

/// Children of a node, and slots of a block, of a pool whose creator does not say: on servers each level is
/// a round trip to the replicas, and 65,536 ids are one level above the blocks. A block is written whole, with
/// its tags, by every call that changes it; a node's counts are small.
pub const WIDE: (u16, u16) = (1024, 64);

#[derive(Deserialize)]
pub(crate) struct Written {
    pub(crate) version: u64,
}

impl Client {
    /// Creates a pool with the usual shape.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn create_pool(
        &self,
        name: &str,
        size: u64,
        policy: Policy,
    ) -> Result<Pool, ClientError> {
        self.create_pool_shaped(name, size, WIDE.0, WIDE.1, policy).await
    }

    /// Creates a pool with so many children to a node, and slots to a block.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn create_pool_shaped(
        &self,
        name: &str,
        size: u64,
        fanout: u16,
        block: u16,
        policy: Policy,
    ) -> Result<Pool, ClientError> {
        let body = json!({
            "name": name, "size": size, "fanout": fanout, "block": block, "policy": policy,
        });
        let path = "/v1/pools".to_string();
        self.document(Method::POST, path, &body.to_string(), Effect::Once).await
    }

    /// All pools.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn pools(&self) -> Result<Vec<Pool>, ClientError> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/pools?limit=1000&after={}", escaped(&after));
            let Pools { pools, next } = self.read(path).await?;
            all.extend(pools);
            let Some(next) = next else { return Ok(all) };
            after = next;
        }
    }

    /// Deletes a pool of which no id is held.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn delete_pool(&self, name: &str) -> Result<Pool, ClientError> {
        let path = format!("/v1/pools/{}", escaped(name));
        // Whether an id is held.
        let ask = Ask { reach: Reach::Whole, ..ask(Method::DELETE, path, Effect::Once) };
        json_of(&self.call(ask).await?)
    }

    /// How full a pool is.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn usage(&self, pool: &str) -> Result<Usage, ClientError> {
        self.read(format!("/v1/pools/{}/usage", escaped(pool))).await
    }

    /// Takes a free id and holds it under a tag, which is written down durably before, and new.
    ///
    /// # Errors
    /// [`ClientError`]; of an unknown outcome: strike the tag out, and let a recovery free what it may hold.
    pub async fn allocate(&self, pool: &str, tag: &str) -> Result<u64, ClientError> {
        let path = format!("/v1/pools/{}/allocations", escaped(pool));
        let body = json!({ "tag": tag }).to_string();
        let taken: Allocation = self.document(Method::POST, path, &body, Effect::Once).await?;
        Ok(taken.id)
    }

    /// Gives an id back, which is out of use; whether it was held until now.
    ///
    /// # Errors
    /// [`ClientError`]; call it again until it returns.
    pub async fn free(&self, pool: &str, id: u64, tag: &str) -> Result<bool, ClientError> {
        let path = format!("/v1/pools/{}/allocations/{id}?tag={}", escaped(pool), escaped(tag));
        // A second time finds it free: harmless.
        let freed: Freed = json_of(&self.call(ask(Method::DELETE, path, Effect::Harmless)).await?)?;
        Ok(freed.outcome == "freed")
    }

    /// Which ids are held, and under which tags; all whose tag begins with `prefix`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn list(&self, pool: &str, prefix: &str) -> Result<Vec<Allocation>, ClientError> {
        let mut all: Vec<Allocation> = Vec::new();
        let mut after = String::new();
        loop {
            let (name, prefix) = (escaped(pool), escaped(prefix));
            let path = format!("/v1/pools/{name}/allocations?limit=10000&prefix={prefix}{after}");
            let Page { allocations, next } = self.walk(path).await?;
            all.extend(allocations);
            let Some(next) = next else { return Ok(all) };
            after = format!("&after={next}");
        }
    }

    /// The ids that a tag holds.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn find(&self, pool: &str, tag: &str) -> Result<Vec<u64>, ClientError> {
        let (name, tag) = (escaped(pool), escaped(tag));
        let path = format!("/v1/pools/{name}/allocations?limit=10000&tag={tag}");
        let page: Page = self.walk(path).await?;
        Ok(page.allocations.into_iter().map(|held| held.id).collect())
    }

    /// Frees what is held under tags of which the caller knows that they are dead.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn recover(
        &self,
        pool: &str,
        dead: &[String],
        dry_run: bool,
    ) -> Result<Recovered, ClientError> {
        let path = format!("/v1/pools/{}/recover", escaped(pool));
        let body = json!({ "dead": dead, "dry_run": dry_run }).to_string();
        let ask = document(Method::POST, path, &body, Effect::Harmless);
        json_of(&self.call(Ask { reach: Reach::Whole, ..ask }).await?)
    }

    /// What a key holds.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn get(&self, key: &str) -> Result<Option<Held>, ClientError> {
        let path = format!("/v1/keys/{}", escaped(key));
        match self.call(ask(Method::GET, path, Effect::Harmless)).await {
            Ok(got) => {
                let tag = got.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or("");
                let version = tag.trim_matches('"').parse().unwrap_or(0);
                Ok(Some(Held { version, value: got.body }))
            }
            Err(ClientError::Refused { kind, .. }) if kind == "no-such-key" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a key its first value; its version.
    ///
    /// # Errors
    /// [`ClientError::Refused`] of the kind `mismatch` if it has one.
    pub async fn put_if_absent(&self, key: &str, value: &[u8]) -> Result<u64, ClientError> {
        self.write(Method::PUT, key, ("if-none-match", "*".to_string()), value).await
    }

    /// Replaces the value of a key that has this version; its new one.
    ///
    /// # Errors
    /// [`ClientError::Refused`] of the kind `mismatch` if it has another.
    pub async fn compare_and_set(
        &self,
        key: &str,
        version: u64,
        value: &[u8],
    ) -> Result<u64, ClientError> {
        self.write(Method::PUT, key, ("if-match", format!("\"{version}\"")), value).await
    }

    /// Removes a key that has this version.
    ///
    /// # Errors
    /// [`ClientError::Refused`] of the kind `mismatch` if it has another.
    pub async fn remove(&self, key: &str, version: u64) -> Result<u64, ClientError> {
        self.write(Method::DELETE, key, ("if-match", format!("\"{version}\"")), &[]).await
    }

    async fn write(
        &self,
        method: Method,
        key: &str,
        condition: (&'static str, String),
        value: &[u8],
    ) -> Result<u64, ClientError> {
        let path = format!("/v1/keys/{}", escaped(key));
        let headers = vec![condition];
        let ask = Ask { headers, body: value, ..ask(method, path, Effect::Once) };
        Ok(json_of::<Written>(&self.call(ask).await?)?.version)
    }

    /// What a node counts, in the text format of Prometheus. To be asked of one endpoint only: of that node.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let got = self.call(ask(Method::GET, "/metrics".to_string(), Effect::Harmless)).await?;
        Ok(String::from_utf8_lossy(&got.body).into_owned())
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, path: String) -> Result<T, ClientError> {
        json_of(&self.call(ask(Method::GET, path, Effect::Harmless)).await?)
    }

    /// Reads what a node finds by looking at all of a pool.
    async fn walk<T: DeserializeOwned>(&self, path: String) -> Result<T, ClientError> {
        let ask = Ask { reach: Reach::Whole, ..ask(Method::GET, path, Effect::Harmless) };
        json_of(&self.call(ask).await?)
    }

    pub(crate) async fn document<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: &str,
        effect: Effect,
    ) -> Result<T, ClientError> {
        json_of(&self.call(document(method, path, body, effect)).await?)
    }
}

fn document(method: Method, path: String, body: &str, effect: Effect) -> Ask<'_> {
    let headers = vec![("content-type", "application/json".to_string())];
    Ask { method, path, headers, body: body.as_bytes(), effect, reach: Reach::Few }
}

pub(crate) fn ask(method: Method, path: String, effect: Effect) -> Ask<'static> {
    Ask { method, path, headers: Vec::new(), body: &[], effect, reach: Reach::Few }
}

pub(crate) fn json_of<T: DeserializeOwned>(got: &Got) -> Result<T, ClientError> {
    // The node has done it, and says it in words that this client does not know.
    serde_json::from_slice(&got.body).map_err(|cause| ClientError::Unknown(cause.to_string()))
}

/// Percent-encoded, but for letters, digits and `-`.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, byte| match byte {
        b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
            escaped + char::from(byte).encode_utf8(&mut [0; 4])
        }
        byte => format!("{escaped}%{byte:02X}"),
    })
}
