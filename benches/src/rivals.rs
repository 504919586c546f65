//! Handing out ids on etcd, as others do it: allocate, then free one of those held, at random.
//!
//! | who | how |
//! |---|---|
//! | [`Way::Bitmap`] | as Kubernetes does with addresses and ports: a bitmap under one key; read it, set a bit, write it if nobody else has written since, again until that succeeds |
//! | [`Way::Cilium`] | as Cilium does with identities: a key for each id, of an id that a local cache says is free, and a second key from the tag to the id, under a lock of the tag |
//! | [`Way::Keys`] | the least of that which still gives no id twice: the key of the id alone |
//!
//! Cilium's steps are those of its `pkg/allocator` with a store of keys and values: lock, read the tag's key twice, create the id's key,
//! read and create the tag's, unlock; to free, remove the tag's key. Its id's key is removed some time later, by
//! a collector that locks as well; here at once, without a lock.
//!
//! All are kinder to etcd than those who do it: all clients talk to the leader; there are no leases, no
//! transaction asks whether a lock is still held, and Cilium's nodes have caches that lag behind one another, where all clients here
//! share one. With the bitmap and with the keys alone nobody is given the id that its tag has already; and none keeps
//! a count of what is held.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::grpc::{Compare, Etcd, Failure};

const BITMAP: &[u8] = b"bitmap";
/// As Cilium's cache and Kubernetes's allocator choose: anywhere.
const SEED: u64 = 1;

/// How ids are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One key.
    Bitmap,
    /// One key for each id, one for each tag, one for each lock.
    Cilium,
    /// One key for each id.
    Keys,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Allocations in a second.
    pub per_second: f64,
    /// Of an allocation.
    pub p99_ms: f64,
}

/// Which ids are held, as the clients of one process know it.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Of the keys; the bitmap says itself.
    free: Vec<u64>,
    held: Vec<Pair>,
    random: u64,
    /// Tags given so far.
    tags: u64,
}

/// An id and the number of the tag that holds it.
#[derive(Clone, Copy, Debug)]
struct Pair {
    id: u64,
    tag: u64,
}

impl Cache {
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from((u128::from(self.random) * bound as u128) >> 64).expect("below a usize")
    }

    fn any_free(&mut self) -> Option<u64> {
        let at = self.below(self.free.len().max(1));
        (!self.free.is_empty()).then(|| self.free.swap_remove(at))
    }

    fn any_held(&mut self) -> Option<Pair> {
        let at = self.below(self.held.len().max(1));
        (!self.held.is_empty()).then(|| self.held.swap_remove(at))
    }

    fn next_tag(&mut self) -> u64 {
        self.tags += 1;
        self.tags
    }
}

/// Empties what was there, and holds so many of `size` ids.
///
/// # Errors
/// etcd's.
pub async fn fill(etcd: &Etcd, way: Way, size: u64, held: u64) -> Result<Cache, Failure> {
    etcd.remove_between(b"a", b"z").await?;
    match way {
        Way::Bitmap => {
            let mut bitmap = vec![0; usize::try_from(size.div_ceil(8))?];
            for id in 0..held {
                set(&mut bitmap, id, true);
            }
            etcd.put_all(&[(BITMAP.to_vec(), bitmap)]).await?;
        }
        Way::Cilium | Way::Keys => {
            let mut all: Vec<_> = (0..held).map(|id| (key(id), name(id))).collect();
            if way == Way::Cilium {
                all.extend((0..held).map(|id| (tag_key(id), key(id))));
            }
            for some in all.chunks(128) {
                etcd.put_all(some).await?;
            }
        }
    }
    let free = (held..size).collect();
    let held = (0..held).map(|id| Pair { id, tag: id }).collect();
    Ok(Cache { free, held, random: SEED, tags: size })
}

/// So many clients, for so long. What they hold is known to the cache again afterwards.
///
/// # Errors
/// etcd's.
pub async fn measure(
    connections: &[Etcd],
    way: Way,
    cache: Cache,
    clients: usize,
    duration: Duration,
) -> Result<(Measured, Cache), Failure> {
    let cache = Rc::new(RefCell::new(cache));
    let (begun, mut tasks) = (Instant::now(), Vec::new());
    for number in 0..clients {
        let (etcd, cache) = (connections[number % connections.len()].clone(), Rc::clone(&cache));
        tasks.push(tokio::task::spawn_local(async move {
            let mut took = Vec::new();
            while begun.elapsed() < duration {
                let tag = cache.borrow_mut().next_tag();
                let one = Instant::now();
                let id = match way {
                    Way::Bitmap => change(&etcd, None).await?,
                    Way::Cilium => create_locked(&etcd, &cache, tag).await?,
                    Way::Keys => create(&etcd, &cache, tag).await?,
                };
                took.push(one.elapsed());
                cache.borrow_mut().held.push(Pair { id, tag });
                let freed = cache.borrow_mut().any_held();
                let Some(freed) = freed else { continue };
                if way == Way::Bitmap {
                    change(&etcd, Some(freed.id)).await?;
                    continue;
                }
                if way == Way::Cilium {
                    etcd.remove(&tag_key(freed.tag)).await.map_err(told)?;
                }
                etcd.remove(&key(freed.id)).await.map_err(told)?;
                cache.borrow_mut().free.push(freed.id);
            }
            Ok::<_, String>(took)
        }));
    }
    let mut took: Vec<Duration> = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    let elapsed = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let last = took.len().saturating_sub(1);
    let p99 = took.get((took.len() * 99 / 100).min(last)).copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let per_second = took.len() as f64 / elapsed;
    let cache = Rc::into_inner(cache).ok_or("a client goes on")?.into_inner();
    Ok((Measured { per_second, p99_ms: p99.as_secs_f64() * 1000.0 }, cache))
}

/// Sets a bit that is not set, or clears one.
async fn change(etcd: &Etcd, cleared: Option<u64>) -> Result<u64, String> {
    let mut now = etcd.get(BITMAP).await.map_err(told)?.unwrap_or_default();
    loop {
        let id = match cleared {
            Some(id) => id,
            None => zero(&now.value).ok_or("the bitmap is full")?,
        };
        set(&mut now.value, id, cleared.is_none());
        let compare = Compare::ModRevision(now.mod_revision);
        let done = etcd.put_if(BITMAP, &now.value, compare).await.map_err(told)?;
        if done.succeeded {
            return Ok(id);
        }
        now = done.found.unwrap_or_default();
    }
}

async fn create(etcd: &Etcd, cache: &RefCell<Cache>, tag: u64) -> Result<u64, String> {
    loop {
        let id = cache.borrow_mut().any_free().ok_or("the cache knows of no free id")?;
        let made = etcd.put_if(&key(id), &name(tag), Compare::Absent).await;
        if made.map_err(told)?.succeeded {
            return Ok(id);
        }
    }
}

/// The same between a lock and its release, with a key from the tag to the id.
async fn create_locked(etcd: &Etcd, cache: &RefCell<Cache>, tag: u64) -> Result<u64, String> {
    let (lock, tag_key) = ([b"lock/", &name(tag)[..]].concat(), tag_key(tag));
    if !etcd.put_if(&lock, b"", Compare::Absent).await.map_err(told)?.succeeded {
        return Err("a tag that nobody else has is locked".into());
    }
    // Whether the tag has an id; and, before one is made, once more.
    for _ in 0..2 {
        if etcd.get(&tag_key).await.map_err(told)?.is_some() {
            return Err("a tag that nobody else has holds an id".into());
        }
    }
    let id = create(etcd, cache, tag).await?;
    if etcd.get(&tag_key).await.map_err(told)?.is_none() {
        etcd.put_if(&tag_key, &key(id), Compare::Absent).await.map_err(told)?;
    }
    etcd.remove(&lock).await.map_err(told)?;
    Ok(id)
}

/// The lowest bit that is not set.
fn zero(bitmap: &[u8]) -> Option<u64> {
    let at = bitmap.iter().position(|byte| *byte != 0xff)?;
    Some(at as u64 * 8 + u64::from(bitmap[at].trailing_ones()))
}

fn set(bitmap: &mut [u8], id: u64, held: bool) {
    let at = usize::try_from(id / 8).expect("a place in memory");
    let bit = 1 << (id % 8);
    if held { bitmap[at] |= bit } else { bitmap[at] &= !bit }
}

fn key(id: u64) -> Vec<u8> {
    format!("id/{id:08}").into_bytes()
}

/// Of a tag, which is as long as those of Cloakroom's own measurement.
fn name(tag: u64) -> Vec<u8> {
    format!("bench-0123456789abcdef/{tag}").into_bytes()
}

fn tag_key(tag: u64) -> Vec<u8> {
    [b"tag/", &name(tag)[..]].concat()
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn told(error: Failure) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_bit_is_found_and_none_in_a_full_map() {
        let mut bitmap = [0xff, 0b1011, 0];
        assert_eq!(zero(&bitmap), Some(10));
        set(&mut bitmap, 10, true);
        assert_eq!(zero(&bitmap), Some(12));
        assert_eq!(zero(&[0xff; 4]), None);
    }
}
