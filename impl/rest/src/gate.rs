//! How much clients may make a node do, and what becomes of the rest.
//!
//! Invariants:
//! * REST-3: connections are limited in all and for each address; there is a place before anything is read,
//!   and when there is none, whoever has long been idle makes room, or the newcomer is turned away;
//! * REST-3: requests are limited in all, at once, and for each client, by the second; what is kept of clients
//!   is bounded by the limit on connections.
//!
//! What it does not do: read or write; `connection.rs` does.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom_server::Holder;
use governor::clock::MonotonicClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::caller::{Caller, Shown};
use crate::metrics::Shed;

/// Who has just come has so long to say what it wants, before it may have to make room.
const GRACE: Duration = Duration::from_secs(1);

/// How much clients may make a node do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: u32,
    /// Connections from one address; of IPv6, from one /64.
    pub connections_per_client: u32,
    /// Requests under way in all.
    pub requests: u32,
    /// Requests that begin in a second, of one client: who has a certificate, or an address.
    pub requests_per_second: NonZeroU32,
    /// Bytes of a body, but for a recovery's.
    pub body_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_client: 1024,
            requests: 1024,
            requests_per_second: const { NonZeroU32::new(20_000).expect("not zero") },
            body_bytes: 64 * 1024,
        }
    }
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Node([u8; 32]),
    Client(String),
    From(IpAddr),
}

impl Who {
    fn of(caller: &Caller) -> Self {
        match &caller.shown {
            Shown::Certificate(Holder::Node(id)) => Self::Node(id.0),
            Shown::Certificate(Holder::Client(name)) => Self::Client(name.clone()),
            _ => Self::From(origin(caller.address)),
        }
    }
}

/// What one client can have many of counts as one.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        IpAddr::V4(address) => address.into(),
    }
}

/// Lets clients in.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    requests: Semaphore,
    rates: RateLimiter<Who, HashMapStateStore<Who>, MonotonicClock>,
    connections: Mutex<Connections>,
    shed: Shed,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    open: BTreeMap<u64, Open>,
    from: HashMap<IpAddr, u32>,
}

#[derive(Debug)]
struct Open {
    origin: IpAddr,
    /// Since when nothing is asked; `None`: something is.
    idle: Option<Instant>,
    end: Arc<Notify>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Gate {
    /// One with these limits.
    pub fn new(limits: Limits) -> Self {
        let rates = Quota::per_second(limits.requests_per_second);
        Self(Arc::new(Shared {
            requests: Semaphore::new(limits.requests as usize),
            rates: RateLimiter::new(rates, HashMapStateStore::default(), MonotonicClock),
            connections: Mutex::default(),
            shed: Shed::default(),
            limits,
        }))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn shed(&self) -> &Shed {
        &self.0.shed
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.lock().open.len()
    }

    /// A place for a connection from this address, or none.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Place> {
        let origin = origin(address);
        let limits = self.limits();
        let mut connections = self.lock();
        // REST-3
        let many =
            connections.from.get(&origin).is_some_and(|it| *it >= limits.connections_per_client);
        let full = connections.open.len() >= limits.connections as usize;
        if (many || full) && !connections.make_room(many.then_some(origin)) {
            let shed = if many { &self.0.shed.of_one_client } else { &self.0.shed.of_all };
            shed.inc();
            return None;
        }
        let number = connections.next;
        connections.next += 1;
        let end = Arc::new(Notify::new());
        let open = Open { origin, idle: Some(Instant::now()), end: Arc::clone(&end) };
        connections.open.insert(number, open);
        *connections.from.entry(origin).or_default() += 1;
        Some(Place { gate: self.clone(), number, end })
    }

    /// A place for a request, or none.
    pub(crate) fn begin(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.0.requests.try_acquire().ok();
        if place.is_none() {
            self.0.shed.requests.inc();
        }
        place
    }

    /// Whether a client may ask once more in this second.
    pub(crate) fn admits(&self, caller: &Caller) -> bool {
        let rates = &self.0.rates;
        let admits = rates.check_key(&Who::of(caller)).is_ok();
        if !admits {
            self.0.shed.too_fast.inc();
        }
        // REST-3: who has not asked for a second is forgotten.
        if rates.len() > self.limits().connections as usize {
            rates.retain_recent();
        }
        admits
    }

    /// No code that holds the lock can leave what it guards half changed.
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Ends the connection that has been idle for the longest time: of this origin, or of all.
    fn make_room(&mut self, origin: Option<IpAddr>) -> bool {
        let now = Instant::now();
        let idle = |open: &Open| {
            let since = open.idle.filter(|since| now.duration_since(*since) >= GRACE)?;
            origin.is_none_or(|origin| open.origin == origin).then_some(since)
        };
        let idle = self.open.iter().filter_map(|(number, open)| Some((idle(open)?, *number)));
        let Some((_, number)) = idle.min() else { return false };
        if let Some(open) = self.leave(number) {
            open.end.notify_one();
        }
        true
    }

    fn leave(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        if let Some(count) = self.from.get_mut(&open.origin) {
            *count -= 1;
            if *count == 0 {
                self.from.remove(&open.origin);
            }
        }
        Some(open)
    }
}

/// The place of a connection.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Gate,
    number: u64,
    end: Arc<Notify>,
}

impl Place {
    /// Returns when somebody else needs it.
    pub(crate) async fn is_needed(&self) {
        self.end.notified().await;
    }

    /// Something is asked, until what is returned is dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.set_idle(None);
        Busy(Arc::clone(self))
    }

    fn set_idle(&self, idle: Option<Instant>) {
        if let Some(open) = self.gate.lock().open.get_mut(&self.number) {
            open.idle = idle;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.lock().leave(self.number);
    }
}

/// A request of a connection.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Place>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set_idle(Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn small() -> Gate {
        let two = NonZeroU32::new(2).unwrap();
        Gate::new(Limits {
            connections: 3,
            connections_per_client: 2,
            requests_per_second: two,
            ..Limits::default()
        })
    }

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    /// Time stands still but for who waits: a place that nobody needs is a failure, not a wait.
    async fn is_needed(place: &Place) {
        let asked = tokio::time::timeout(GRACE, place.is_needed()).await;
        asked.expect("this one is to make room");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_limited_in_all_and_for_each_address_and_idle_ones_make_room() {
        let gate = small();
        let (first, second) = (gate.enter(address(1)).unwrap(), gate.enter(address(1)).unwrap());
        assert!(gate.enter(address(1)).is_none(), "a third one of one address");
        let third = gate.enter(address(2)).unwrap();
        assert!(gate.enter(address(3)).is_none(), "a fourth one in all");
        let (first, second) = (Arc::new(first), Arc::new(second));
        let busy = first.busy();
        tokio::time::advance(GRACE).await;
        let fourth = gate.enter(address(1)).unwrap();
        is_needed(&second).await;
        drop(second);
        assert_eq!(gate.open(), 3);
        drop(busy);
        tokio::time::advance(GRACE).await;
        let _fifth = gate.enter(address(3)).unwrap();
        // The one that has been idle for the longest time, of whichever address.
        is_needed(&third).await;
        drop((first, third, fourth));
        assert_eq!((gate.open(), gate.lock().from.len()), (1, 1));
    }

    #[test]
    fn requests_of_one_client_are_limited_and_not_those_of_another() {
        let gate = small();
        let asks = |address: IpAddr| gate.admits(&Caller::on_loopback(address));
        assert!(asks(address(1)) && asks(address(1)) && !asks(address(1)));
        assert!(asks(address(2)));
        let of = |last: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last).into();
        assert!(asks(of(1)) && asks(of(2)) && !asks(of(3)), "one network is one client");
    }
}
