//! Every atomic access has a site: where it stands in the source. A check may weaken one ordering
//! of one site, as if the source said so: no copy of the source, no build.
//!
//! * a site is what [`Location::caller`] says of the call: the position of the method's name;
//! * at most one ordering is weakened, and always the same within an exploration;
//! * while [`watch`] is on, every access that is executed leaves its site.
//!
//! What it does not do: decide what to weaken. `tests/race/orderings.rs` finds the orderings in the
//! text of the source, and that text must agree with the sites that were seen.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Role, Site, Weaker};

/// Relaxed, as all atomics of the harness: see `checked`.
static WATCHED: AtomicBool = AtomicBool::new(false);
static WEAKENED: AtomicBool = AtomicBool::new(false);
static WEAKER: Mutex<Option<Weaker>> = Mutex::new(None);
static SEEN: Mutex<BTreeSet<Site>> = Mutex::new(BTreeSet::new());

/// From now on this ordering is another one.
pub(super) fn weaken(weaker: Option<&Weaker>) {
    // Relaxed: the threads of an exploration are started after this.
    WEAKENED.store(weaker.is_some(), Ordering::Relaxed);
    *WEAKER.lock().unwrap_or_else(PoisonError::into_inner) = weaker.cloned();
}

/// Whether every access leaves its site from now on.
pub fn watch(on: bool) {
    // Relaxed: as in `weaken`.
    WATCHED.store(on, Ordering::Relaxed);
}

/// The sites that were seen.
pub fn seen() -> BTreeSet<Site> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What this ordering of the caller is now; `None`: the fence is not there.
#[track_caller]
fn now(role: Role, order: Ordering) -> Option<Ordering> {
    // Relaxed, all: see `weaken` and `watch`.
    if !WATCHED.load(Ordering::Relaxed) && !WEAKENED.load(Ordering::Relaxed) {
        return Some(order);
    }
    let caller = Location::caller();
    let here =
        Site { file: caller.file().into(), line: caller.line(), column: caller.column(), role };
    let weaker = WEAKER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(weaker) = weaker.as_ref().filter(|weaker| weaker.site == here) {
        return weaker.order;
    }
    if WATCHED.load(Ordering::Relaxed) {
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(here);
    }
    Some(order)
}

/// The ordering of an access.
#[track_caller]
pub(super) fn order(role: Role, order: Ordering) -> Ordering {
    now(role, order).expect("only a fence is left out")
}

/// Both orderings of an exchange.
#[track_caller]
pub(super) fn orders(success: Ordering, failure: Ordering) -> (Ordering, Ordering) {
    (order(Role::Success, success), order(Role::Failure, failure))
}

/// The ordering of a fence, if it is there.
#[track_caller]
pub(super) fn fence(order: Ordering) -> Option<Ordering> {
    now(Role::Fence, order)
}
