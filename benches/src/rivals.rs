//! Handing out ids on etcd, as others do it: allocate, then free one of those held, at random.
//!
//! | who | how |
//! |---|---|
//! | [`Way::Bitmap`] | as Kubernetes does with addresses and ports: a bitmap under one key; read it, set a bit, write it if nobody else has written since, again until that succeeds |
//! | [`Way::Keys`] | as Cilium does with identities: a key for each id, created if it is absent, of an id that a local cache says is free |
//!
//! Both are kinder to etcd than those who do it: all clients talk to the leader; Cilium takes a lock and
//! writes a second key, and its nodes' caches lag behind one another, where all clients here share one.
//! Neither keeps a tag with the id in the bitmap, nor a count of what is held.

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
    held: Vec<u64>,
    random: u64,
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

    fn any_held(&mut self) -> Option<u64> {
        let at = self.below(self.held.len().max(1));
        (!self.held.is_empty()).then(|| self.held.swap_remove(at))
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
        Way::Keys => {
            let all: Vec<_> = (0..held).map(|id| (key(id), b"bench".to_vec())).collect();
            for some in all.chunks(128) {
                etcd.put_all(some).await?;
            }
        }
    }
    Ok(Cache { free: (held..size).collect(), held: (0..held).collect(), random: SEED })
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
                let one = Instant::now();
                let taken = match way {
                    Way::Bitmap => change(&etcd, None).await?,
                    Way::Keys => create(&etcd, &cache).await?,
                };
                took.push(one.elapsed());
                cache.borrow_mut().held.push(taken);
                let freed = cache.borrow_mut().any_held();
                let Some(freed) = freed else { continue };
                match way {
                    Way::Bitmap => {
                        change(&etcd, Some(freed)).await?;
                    }
                    Way::Keys => {
                        let removed = etcd.remove(&key(freed)).await;
                        removed.map_err(|error| error.to_string())?;
                        cache.borrow_mut().free.push(freed);
                    }
                }
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
    let told = |error: Failure| error.to_string();
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

async fn create(etcd: &Etcd, cache: &RefCell<Cache>) -> Result<u64, String> {
    loop {
        let id = cache.borrow_mut().any_free().ok_or("the cache knows of no free id")?;
        let made = etcd.put_if(&key(id), b"bench", Compare::Absent).await;
        if made.map_err(|error| error.to_string())?.succeeded {
            return Ok(id);
        }
    }
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
