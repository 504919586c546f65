//! A restore: each id gets the tag that it had, by nothing but allocate and free.
//!
//! # How an id gets its tag
//! An allocate takes a free id by the pool's policy; none asks for a certain one. So all ids that the policy
//! could take instead are held for a moment by *fillers*, tags of the restore's own: then the id is freed by
//! its filler and taken by its tag. In a pool of the policy *lowest first* only the ids below need one; one of the
//! policy *spread* is filled whole, also for a single id.
//!
//! Invariants:
//! * nothing is overwritten: a pool is gone on with only if it holds nothing but what the backup holds in the
//!   same places, and fillers; a key only gets a first value;
//! * it can be broken off anywhere: what it left are pairs of the backup and fillers, which the next call
//!   knows by their tags.
//!
//! What it does not do: share a pool with others meanwhile. It stops when it sees them.

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_client::{Allocation, Client, ClientError, Policy, Pool};

use super::{Backup, SavedPool};

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// Pools that now hold what the backup has.
    pub(crate) pools: u64,
    /// Pairs that were brought there; the others were there.
    pub(crate) allocations: u64,
    /// Keys that have their value, now or before.
    pub(crate) keys: u64,
    /// What was not restored, and why.
    pub(crate) left: Vec<String>,
}

/// Restores all of it, one thing after the other. `suffix` stands behind each name.
pub(crate) async fn restore(
    client: &Client,
    backup: &Backup,
    suffix: &str,
    progress: &mut dyn FnMut(&str),
) -> Result<Restored, ClientError> {
    let mut done = Restored::default();
    let fillers = format!("restore-{}-", &backup.checksum[..8]);
    for saved in &backup.pools {
        let name = format!("{}{suffix}", saved.pool.pool);
        progress(&name);
        match (Filling { client, name: &name, fillers: &fillers, saved }).run().await? {
            Ok(brought) => {
                done.pools += 1;
                done.allocations += brought;
            }
            Err(why) => done.left.push(format!("pool {name}: {why}")),
        }
    }
    for (key, value) in &backup.keys {
        let key = format!("{key}{suffix}");
        let put = client.put_if_absent(&key, value).await;
        // It may have been done by an attempt whose answer was lost, or by an earlier restore.
        let is_there =
            async || Ok(client.get(&key).await?.is_some_and(|held| held.value == value[..]));
        match put {
            Ok(_) => done.keys += 1,
            Err(ClientError::Unknown(_) | ClientError::Refused { .. }) if is_there().await? => {
                done.keys += 1;
            }
            Err(error) if error.is_refusal("mismatch") => {
                done.left.push(format!("key {key}: it has another value, and keeps it"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// One pool that is being restored.
struct Filling<'a> {
    client: &'a Client,
    name: &'a str,
    /// What the tags of fillers begin with.
    fillers: &'a str,
    saved: &'a SavedPool,
}

/// Ids that are held: ever more, until the pool is filled.
struct Taken {
    ids: BTreeSet<u64>,
    /// All below are held. No id comes back meanwhile, so that each is looked at once.
    below: u64,
}

impl Taken {
    fn new(ids: impl Iterator<Item = u64>) -> Self {
        Self { ids: ids.collect(), below: 0 }
    }

    /// The lowest that is not held, if there is one before `end`.
    fn lowest_free(&mut self, end: u64) -> Option<u64> {
        while self.below < end && self.ids.contains(&self.below) {
            self.below += 1;
        }
        (self.below < end).then_some(self.below)
    }
}

/// Why a pool is left as it is.
type Refused = String;

impl Filling<'_> {
    /// How many pairs were brought, or why not.
    async fn run(&self) -> Result<Result<u64, Refused>, ClientError> {
        if let Some(why) = self.create().await? {
            return Ok(Err(why));
        }
        let wanted: BTreeMap<u64, &str> =
            self.saved.held.iter().map(|held| (held.id, held.tag.as_str())).collect();
        let held = self.client.list(self.name, "").await?;
        if let Some(other) = held.iter().find(|held| !self.is_ours(held, &wanted)) {
            let Allocation { id, tag } = other;
            return Ok(Err(format!("id {id} is held under {tag:?}, which is not the backup's")));
        }
        let there: BTreeSet<u64> = held
            .iter()
            .filter(|held| wanted.contains_key(&held.id) && !self.is_filler(held))
            .map(|it| it.id)
            .collect();
        let missing: Vec<u64> = wanted.keys().copied().filter(|id| !there.contains(id)).collect();
        if let Some(why) = self.bring(&wanted, &missing, held).await? {
            return Ok(Err(why));
        }
        self.clear().await?;
        let after = self.client.list(self.name, "").await?;
        if after != self.saved.held {
            return Ok(Err("somebody else has used it meanwhile".to_owned()));
        }
        Ok(Ok(missing.len() as u64))
    }

    /// The pool is there; or why it cannot be used.
    async fn create(&self) -> Result<Option<Refused>, ClientError> {
        let Pool { size, fanout, block, policy, .. } = self.saved.pool;
        let made = self.client.create_pool_shaped(self.name, size, fanout, block, policy).await;
        match made {
            Ok(_) => return Ok(None),
            Err(ClientError::Unknown(_)) => {}
            Err(error) if error.is_refusal("pool-exists") => {}
            Err(error) => return Err(error),
        }
        let pools = self.client.pools().await?;
        let found = pools.into_iter().find(|pool| pool.pool == self.name);
        let same = |pool: &Pool| {
            (pool.size, pool.fanout, pool.block, pool.policy) == (size, fanout, block, policy)
        };
        Ok(match found {
            Some(pool) if same(&pool) => None,
            Some(_) => Some("there is one of this name and another shape".to_owned()),
            None => Some("nobody knows whether it was made: try again".to_owned()),
        })
    }

    fn is_filler(&self, held: &Allocation) -> bool {
        held.tag.starts_with(self.fillers)
    }

    fn is_ours(&self, held: &Allocation, wanted: &BTreeMap<u64, &str>) -> bool {
        self.is_filler(held) || wanted.get(&held.id) == Some(&held.tag.as_str())
    }

    /// Fills the pool as far as it must be, and gives the missing ids their tags.
    async fn bring(
        &self,
        wanted: &BTreeMap<u64, &str>,
        missing: &[u64],
        held: Vec<Allocation>,
    ) -> Result<Option<Refused>, ClientError> {
        let Some(last) = missing.last() else { return Ok(None) };
        let lowest_first = self.saved.pool.policy == Policy::LowestFirst;
        let end = if lowest_first { last + 1 } else { self.saved.pool.size };
        let mut fillers: BTreeMap<u64, String> = BTreeMap::new();
        let mut taken = Taken::new(held.iter().map(|held| held.id));
        fillers
            .extend(held.into_iter().filter(|held| self.is_filler(held)).map(|it| (it.id, it.tag)));
        while let Some(next) = taken.lowest_free(end) {
            // Lowest first: its own tag at once.
            let own = wanted.get(&next).filter(|_| lowest_first);
            let tag = own.map_or_else(|| self.filler(taken.ids.len()), |tag| (*tag).to_owned());
            let id = self.client.allocate(self.name, &tag).await?;
            if lowest_first && id != next {
                self.client.free(self.name, id, &tag).await?;
                return Ok(Some(format!("expected id {next}, got {id}: somebody else uses it")));
            }
            taken.ids.insert(id);
            if own.is_none() {
                fillers.insert(id, tag);
            }
        }
        for id in missing {
            let Some(filler) = fillers.get(id) else { continue };
            self.client.free(self.name, *id, filler).await?;
            let got = self.client.allocate(self.name, wanted[id]).await?;
            if got != *id {
                self.client.free(self.name, got, wanted[id]).await?;
                return Ok(Some(format!("expected id {id}, got {got}: somebody else uses it")));
            }
        }
        Ok(None)
    }

    /// A tag that no earlier restore has used: one that was broken off may have left an allocate on its way.
    fn filler(&self, number: usize) -> String {
        format!("{}{}-{number}", self.fillers, super::unix_ms())
    }

    /// Frees what is left of the fillers.
    async fn clear(&self) -> Result<(), ClientError> {
        for held in self.client.list(self.name, self.fillers).await? {
            self.client.free(self.name, held.id, &held.tag).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In so many steps that looking from the beginning each time would not end.
    #[test]
    fn the_lowest_free_id_of_a_large_pool_is_found_without_looking_at_those_before_again() {
        const SIZE: u64 = 1 << 20;
        let mut taken = Taken::new([0, 1, 3, SIZE + 7].into_iter());
        let mut filled = Vec::new();
        while let Some(id) = taken.lowest_free(SIZE) {
            filled.push(id);
            taken.ids.insert(id);
            // One that the policy has chosen elsewhere.
            taken.ids.insert(SIZE - 1);
        }
        assert_eq!(filled.len() as u64, SIZE - 4);
        assert_eq!((filled[0], filled[1]), (2, 4));
        assert!(filled.is_sorted() && !filled.contains(&(SIZE - 1)));
        assert_eq!(taken.lowest_free(SIZE), None);
        assert_eq!(taken.lowest_free(SIZE + 1), Some(SIZE));
    }
}
