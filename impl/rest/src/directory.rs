//! The pools of a cluster: each name with what its pool is.
//!
//! Definitions stand in [`PAGES`] registers, each name in the one that its hash says; the number of the
//! last pool drawn stands in one of its own. A page is read and replaced as a whole, so that a creation
//! or deletion is one compare-and-set.
//!
//! Invariants:
//! * one name has one definition, whoever creates it at the same time;
//! * no two pools share a number, also not one that was deleted with a later one of its name: a number
//!   is drawn by raising the counter before it is used;
//! * no key here is a pool's, and none a user's: those of pools have 16 bytes and begin with a number
//!   that is never as large as these letters, those of users begin with [`USER`].
//!
//! What it does not do: look into pools; reclaim what a deleted one has left.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use cloakroom_pool::{Cas, MapError, Policy, PoolId, Shape, Tree};
use serde::{Deserialize, Serialize};

use crate::registers::Registers;

/// What a user's keys begin with.
pub(crate) const USER: &[u8] = b"keys/";
const COUNTER: &[u8] = b"pools/count";
/// How many registers the names are spread over: a page has room for at least 300 names.
const PAGES: u8 = 16;
/// The layout of pages and of the counter.
const FORMAT: u32 = 1;
/// A register takes 64 KiB.
const MOST_BYTES: usize = 60_000;
const MOST_LETTERS: usize = 64;

/// What a pool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) name: Arc<str>,
    pub(crate) tree: Tree,
    pub(crate) policy: Policy,
}

/// Why a pool is not created or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Exists,
    Missing,
    /// The name's page has no room.
    TooMany,
    /// Nothing was written.
    Map(MapError),
    /// The write of the page, in which this pool is or is no more, may have been done.
    Doubted {
        number: u64,
        cause: MapError,
    },
}

impl From<MapError> for Refusal {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    format: u32,
    pools: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    number: u64,
    size: u64,
    fanout: u16,
    block: u16,
    spread: bool,
}

/// Whether a text can name a pool: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter
/// or digit.
pub(crate) fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && text.len() <= MOST_LETTERS && text.bytes().all(letter)
}

/// What the pool of this name is.
pub(crate) async fn look_up(
    registers: &Registers,
    name: &str,
) -> Result<Option<Definition>, MapError> {
    let (_, page) = read(registers, &page_of(name)).await?;
    page.pools.iter().find(|entry| entry.name == name).map(defined).transpose()
}

/// All pools, in the order of their names.
pub(crate) async fn list(registers: &Registers) -> Result<Vec<Definition>, MapError> {
    let mut all = Vec::new();
    for page in 0..PAGES {
        let (_, page) = read(registers, &key_of(page)).await?;
        for entry in &page.pools {
            all.push(defined(entry)?);
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// Creates a pool whose size and shape are sound.
pub(crate) async fn create(
    registers: &Registers,
    name: &str,
    size: u64,
    shape: Shape,
    policy: Policy,
) -> Result<Definition, Refusal> {
    // A name that is taken is seen before a number is drawn.
    if look_up(registers, name).await?.is_some() {
        return Err(Refusal::Exists);
    }
    let number = draw(registers).await?;
    let entry = Entry {
        name: name.to_string(),
        number,
        size,
        fanout: shape.fanout(),
        block: shape.block(),
        spread: policy == Policy::Spread,
    };
    let definition = defined(&entry)?;
    change(registers, name, number, |page| {
        if page.pools.iter().any(|entry| entry.name == name) {
            return Err(Refusal::Exists);
        }
        page.pools.push(entry.clone());
        Ok(())
    })
    .await?;
    Ok(definition)
}

/// Removes a definition, if it is still this pool's.
pub(crate) async fn remove(registers: &Registers, pool: &Definition) -> Result<(), Refusal> {
    let number = pool.tree.pool().0;
    change(registers, &pool.name, number, |page| {
        let before = page.pools.len();
        page.pools.retain(|entry| entry.number != number);
        if page.pools.len() == before { Err(Refusal::Missing) } else { Ok(()) }
    })
    .await
}

/// Adds or removes the pool of this number.
async fn change(
    registers: &Registers,
    name: &str,
    number: u64,
    edit: impl Fn(&mut Page) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let key = page_of(name);
    loop {
        let (bytes, mut page) = read(registers, &key).await?;
        edit(&mut page)?;
        page.format = FORMAT;
        let new = serde_json::to_vec(&page).expect("numbers and texts are JSON");
        if new.len() > MOST_BYTES {
            return Err(Refusal::TooMany);
        }
        match registers.compare_and_set(&key, bytes.as_deref(), Some(&new)).await {
            Ok(Cas::Set) => return Ok(()),
            // Another name's change came between.
            Ok(Cas::Mismatch(_)) => {}
            // REST-2
            Err(cause @ MapError::Unknown { .. }) => {
                return Err(Refusal::Doubted { number, cause });
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn read(registers: &Registers, key: &[u8]) -> Result<(Option<Vec<u8>>, Page), MapError> {
    let held = registers.get(key).await?;
    let Some(bytes) = held.map(|held| held.value.0.to_vec()) else {
        return Ok((None, Page::default()));
    };
    let page: Option<Page> = serde_json::from_slice(&bytes).ok();
    match page.filter(|page| page.format == FORMAT) {
        Some(page) => Ok((Some(bytes), page)),
        None => Err(damaged(key)),
    }
}

async fn draw(registers: &Registers) -> Result<u64, MapError> {
    loop {
        let held = registers.get(COUNTER).await?.map(|held| held.value.0);
        let last = match held.as_deref() {
            None => 0,
            Some(bytes) => u64::from_be_bytes(bytes.try_into().map_err(|_| damaged(COUNTER))?),
        };
        let next = (last + 1).to_be_bytes();
        match registers.compare_and_set(COUNTER, held.as_deref(), Some(&next)).await? {
            Cas::Set => return Ok(last + 1),
            Cas::Mismatch(_) => {}
        }
    }
}

fn defined(entry: &Entry) -> Result<Definition, MapError> {
    let tree = Shape::new(entry.fanout, entry.block)
        .and_then(|shape| Tree::new(PoolId(entry.number), entry.size, shape))
        .map_err(|_| damaged(entry.name.as_bytes()))?;
    let policy = if entry.spread { Policy::Spread } else { Policy::LowestFirst };
    Ok(Definition { name: entry.name.as_str().into(), tree, policy })
}

fn damaged(key: &[u8]) -> MapError {
    let key = String::from_utf8_lossy(key);
    MapError::Unavailable { cause: format!("{key} of the directory of pools is damaged") }
}

fn page_of(name: &str) -> Vec<u8> {
    key_of(digest(&SHA256, name.as_bytes()).as_ref()[0] % PAGES)
}

fn key_of(page: u8) -> Vec<u8> {
    format!("pools/{page:02}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_plain_and_begins_with_a_letter_or_digit() {
        for good in ["a", "7", "vlans.rack-12_b", &"x".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", ".", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_full_page_is_refused_before_the_registers_do() {
        let entry = Entry {
            name: "x".repeat(MOST_LETTERS),
            number: u64::MAX,
            size: u64::MAX,
            fanout: 256,
            block: 256,
            spread: false,
        };
        let page = Page { format: FORMAT, pools: vec![entry; 300] };
        assert!(serde_json::to_vec(&page).unwrap().len() < MOST_BYTES);
    }
}
