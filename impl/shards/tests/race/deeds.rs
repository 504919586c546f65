//! A reclaimer alone: links to objects, read under guards, unlinked and retired (SHARD-4).
//!
//! * an object is a plain cell with a canary: whoever frees it writes the cell, so loom reports a
//!   read that did not happen before the free, and a read after the free finds the canary dead;
//! * no map is around it, so a search of three threads goes further than with one.

// Memory is allocated with the layout of what it is cast to.
#![allow(clippy::cast_ptr_alignment)]

use std::alloc::{Layout, alloc};
use std::ptr;

use cloakroom_shards::reclaim::{
    Crossbeam, Epoch, Garbage, Guard, Hasty, Leaking, Local, Reclaim, Still,
};
use cloakroom_shards::sync::{
    Arc, AtomicPtr, Canary, Ordering, UnsafeCell, release, resume, thread,
};

use crate::scenario::{Reclaimer, Run, Scenario};

use Deed::{Overlapping, Pass, Read, Unlink, Within};

/// What a thread does, under a guard of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// Follows a link and reads its object.
    Read(usize),
    /// Takes a link away and retires its object.
    Unlink(usize),
    /// Retires an object that nobody else has seen: time passes.
    Pass,
    /// Follows the first link, and while it holds its object reads the second under another guard.
    Within(usize, usize),
    /// Takes a second guard before the first is dropped, and then reads as [`Deed::Read`] does.
    Overlapping(usize),
}

struct Object {
    cell: UnsafeCell<usize>,
    canary: Canary,
}

const VALUE: usize = 7;

impl Object {
    fn new() -> *mut Self {
        let object = Self { cell: UnsafeCell::new(VALUE), canary: Canary::new() };
        // SAFETY: the layout is not empty; the memory is ours, and of this layout.
        unsafe {
            let memory = alloc(Layout::new::<Self>()).cast::<Self>();
            assert!(!memory.is_null(), "out of memory");
            memory.write(object);
            memory
        }
    }

    fn read(&self) {
        self.canary.check();
        // SAFETY: nobody writes it but who frees it, and that is what is checked.
        assert_eq!(self.cell.with(|value| unsafe { *value }), VALUE);
        self.canary.check();
    }

    /// # Safety
    /// It is freed once; that nobody reads it any more is what is checked.
    unsafe fn free(this: *mut ()) -> usize {
        let this = this.cast::<Self>();
        // SAFETY: made by `new`; in a checked build it stays readable.
        unsafe {
            (*this).cell.with_mut(|value| *value = VALUE);
            let canary = &raw const (*this).canary;
            let memory = (this.cast(), Layout::new::<Self>());
            release(memory, this.cast(), |it| it.cast::<Self>().drop_in_place(), canary);
        }
        0
    }
}

struct World<R: Reclaim> {
    domain: R,
    links: [AtomicPtr<Object>; 2],
}

// SAFETY: objects are shared under guards, which is what is checked.
unsafe impl<R: Reclaim> Sync for World<R> {}
// SAFETY: as above.
unsafe impl<R: Reclaim> Send for World<R> {}

impl<R: Reclaim> World<R> {
    fn follow(&self, link: usize) -> Option<&Object> {
        // Acquire: the object; partner: Release in `unlink`, which writes null only: so for the
        // first value nothing. SAFETY: under the caller's guard.
        unsafe { self.links[link].load(Ordering::Acquire).as_ref() }
    }

    /// Whether it met an object.
    fn deed<'a, G: Guard + 'a>(&'a self, deed: Deed, pin: &impl Fn() -> G) -> bool {
        let retire = |object: *mut Object| {
            let mut guard = pin();
            guard.reserve().unwrap();
            // SAFETY: no link leads to it any more, and whoever took it away retires it.
            unsafe { guard.retire(Garbage::new(object.cast(), 1, Object::free)) };
        };
        match deed {
            Read(link) => {
                let _guard = pin();
                self.follow(link).inspect(|object| object.read()).is_some()
            }
            Within(first, second) => {
                let _guard = pin();
                let held = self.follow(first);
                let met = self.deed(Read(second), pin);
                if let Some(object) = held {
                    object.read();
                }
                met
            }
            Overlapping(link) => {
                let first = pin();
                let _second = pin();
                drop(first);
                self.follow(link).inspect(|object| object.read()).is_some()
            }
            Unlink(link) => {
                // Relaxed: the fences of the reclaimer order it.
                let object = self.links[link].swap(ptr::null_mut(), Ordering::Relaxed);
                if !object.is_null() {
                    retire(object);
                }
                !object.is_null()
            }
            Pass => {
                retire(Object::new());
                true
            }
        }
    }

    /// What a thread does, with a place of its own or without.
    fn all(&self, deeds: &[Deed], registered: bool) -> Vec<bool> {
        if registered {
            let local = self.domain.register().unwrap();
            return deeds.iter().map(|&deed| self.deed(deed, &|| local.pin())).collect();
        }
        deeds.iter().map(|&deed| self.deed(deed, &|| self.domain.pin().unwrap())).collect()
    }
}

impl<R: Reclaim> Drop for World<R> {
    fn drop(&mut self) {
        for link in &self.links {
            // Relaxed: nobody else is there.
            let object = link.load(Ordering::Relaxed);
            if !object.is_null() {
                // SAFETY: still linked, so never retired.
                unsafe { Object::free(object.cast()) };
            }
        }
    }
}

pub(crate) fn run(scenario: &'static Scenario, reclaimer: Reclaimer, run: &Run) {
    match reclaimer {
        Reclaimer::Still => run_with::<Still>(scenario, run),
        Reclaimer::Epoch => run_with::<Epoch>(scenario, run),
        Reclaimer::Hasty => run_with::<Hasty>(scenario, run),
        Reclaimer::Leaking => run_with::<Leaking>(scenario, run),
        Reclaimer::Crossbeam => run_with::<Crossbeam>(scenario, run),
    }
}

fn run_with<R: Reclaim + 'static>(scenario: &'static Scenario, run: &Run) {
    let registered = scenario.registered;
    let link = || AtomicPtr::new(Object::new());
    let world = Arc::new(World::<R> { domain: R::new(), links: [link(), link()] });
    let mut started: Vec<_> = (1..)
        .zip(&scenario.deeds)
        .map(|(caller, deeds)| {
            let world = Arc::clone(&world);
            let thread = thread::spawn(caller, move || world.all(deeds, registered));
            (caller, thread)
        })
        .collect();
    started.sort_by_key(|&(caller, _)| run.stopped == Some(caller));
    let (mut stopped, mut met) = (false, Vec::new());
    for (caller, thread) in started {
        if run.stopped == Some(caller) {
            stopped = resume();
        }
        met.push((caller, thread.join().unwrap()));
    }
    met.sort_unstable();
    run.seen.with(|seen| {
        seen.stops += usize::from(stopped);
        seen.outcomes.insert(format!("{met:?}"))
    });
}
