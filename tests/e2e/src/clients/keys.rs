//! Clients on atomic keys: a few of them are hot.
//!
//! A register of the judge has values; a key has versions too. Each value is written once, so that a
//! version that was seen with a value stands for it. Some values are large: dots behind, which the book
//! leaves out.

use std::collections::BTreeMap;
use std::sync::Arc;

use cloakroom_client::{Client, ClientError};

use super::Shared;
use crate::random::Random;

/// Of one generation.
const KEYS: u64 = 8;

/// A large value has so many dots.
const DOTS: usize = 8000;

/// What a client saw last of a key: its version and value, or that it has none.
type Known = Option<(u64, String)>;

pub(super) async fn run(shared: Shared, client: Arc<Client>, process: u64, mut random: Random) {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut number = 0;
    while !shared.is_over() {
        let key = format!("g{}-{}", shared.generation(), random.below(KEYS));
        number += 1;
        let new = format!("{process}-{number}");
        let last = known.remove(&key).filter(|_| random.below(10) >= 3);
        let now = match last {
            None => read(&shared, &client, process, &key).await,
            Some(last) => {
                let new = (last.is_none() || random.below(6) > 0).then_some(new);
                write(&shared, &client, (process, &key), last, new).await
            }
        };
        known.extend(now.map(|now| (key, now)));
        shared.think(&mut random).await;
    }
}

/// What is written for a value.
fn stored(value: &str) -> String {
    let dots = if value.ends_with(['0', '4', '7']) { DOTS } else { 0 };
    value.to_string() + &".".repeat(dots)
}

/// What it holds, if it was told.
pub(super) async fn read(
    shared: &Shared,
    client: &Client,
    process: u64,
    key: &str,
) -> Option<Known> {
    let begin = shared.book.now();
    match client.get(key).await {
        Ok(held) => {
            let held = held.map(|held| {
                let text = String::from_utf8_lossy(&held.value);
                let value = text.trim_end_matches('.').to_string();
                if stored(&value) != text {
                    shared.book.fault(format!("{key}: expected {value} whole, got {text:?}"));
                }
                (held.version, value)
            });
            let value = held.as_ref().map(|(_, value)| value.as_str());
            shared.book.read(process, key, begin, value);
            if let Some((version, value)) = &held {
                shared.book.seen(key, *version, Some(value));
            }
            shared.book.count("read");
            Some(held)
        }
        Err(error) => {
            shared.may_have_happened("read", &error);
            None
        }
    }
}

async fn write(
    shared: &Shared,
    client: &Client,
    (process, key): (u64, &str),
    last: Known,
    new: Option<String>,
) -> Option<Known> {
    let call = (process, key, shared.book.now());
    let (expected, new) = (last.as_ref().map(|(_, value)| value.as_str()), new.as_deref());
    let done = match (&last, new) {
        (None, value) => {
            client.put_if_absent(key, stored(value.unwrap_or_default()).as_bytes()).await
        }
        (Some((version, _)), Some(value)) => {
            client.compare_and_set(key, *version, stored(value).as_bytes()).await
        }
        (Some((version, _)), None) => client.remove(key, *version).await,
    };
    match done {
        Ok(version) => {
            shared.book.set(call, (expected, new), Some(true));
            shared.book.seen(key, version, new);
            shared.book.count("written");
            Some(new.map(|new| (version, new.to_string())))
        }
        Err(ClientError::Refused { kind, .. }) if kind == "mismatch" => {
            shared.book.set(call, (expected, new), Some(false));
            shared.book.count("mismatch");
            None
        }
        Err(error) => {
            if shared.may_have_happened("write", &error) {
                shared.book.set(call, (expected, new), None);
            }
            None
        }
    }
}

/// Reads all keys that there ever were, when nothing is under way: what was acknowledged is there.
pub(crate) async fn read_all(shared: &Shared, client: &Client) -> Result<u64, String> {
    let mut read_so_far = 0;
    for generation in 0..=shared.generation() {
        for number in 0..KEYS {
            let key = format!("g{generation}-{number}");
            if read(shared, client, u64::MAX, &key).await.is_none() {
                return Err(format!("{key} cannot be read when all is well again"));
            }
            read_so_far += 1;
        }
    }
    Ok(read_so_far)
}
