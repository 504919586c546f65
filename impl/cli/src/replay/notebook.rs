//! What callers have written down: the tags of allocations under way and of ids held.
//!
//! Invariants (the caller's rules of POOL-7):
//! * a tag is written down before its allocate is called;
//! * it is struck out only after its free has returned, or when its caller, restarted, gives the
//!   attempt up;
//! * no tag is ever written down for two attempts.
//!
//! It stands for durable storage: what is in it survives the death of a caller.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use cloakroom_pool::{MAX_TAG_BYTES, Tag};

/// The notebook that all callers of a replay share.
#[derive(Debug)]
pub(crate) struct Notebook {
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    live: BTreeSet<Tag>,
    /// Every tag of the trace and every tag ever drawn.
    taken: BTreeSet<Tag>,
}

impl Notebook {
    /// An empty notebook that will never draw one of the trace's own tags.
    pub(crate) fn new(trace: impl IntoIterator<Item = Tag>) -> Self {
        let pages = Pages { live: BTreeSet::new(), taken: trace.into_iter().collect() };
        Self { pages: Mutex::new(pages) }
    }

    /// Writes a tag down.
    pub(crate) fn write(&self, tag: &Tag) {
        self.pages().live.insert(tag.clone());
    }

    /// Strikes a tag out.
    pub(crate) fn strike(&self, tag: &Tag) {
        self.pages().live.remove(tag);
    }

    /// Whether a tag is written down now.
    pub(crate) fn has(&self, tag: &Tag) -> bool {
        self.pages().live.contains(tag)
    }

    /// A tag after `name` that no attempt has had.
    pub(crate) fn draw(&self, name: &Tag) -> Tag {
        let mut pages = self.pages();
        let mut attempt = 2_u64;
        loop {
            let suffix = format!("#{attempt}");
            let room = MAX_TAG_BYTES - suffix.len();
            let name = &name.as_bytes()[..name.as_bytes().len().min(room)];
            let tag = Tag::new([name, suffix.as_bytes()].concat()).expect("cut to fit");
            if pages.taken.insert(tag.clone()) {
                return tag;
            }
            attempt += 1;
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().expect("nothing in here panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_tag_is_new_and_short_enough() {
        let tag = |name: &str| Tag::new(name).unwrap();
        let long = "x".repeat(128);
        let notebook = Notebook::new([tag("a"), tag("a#2"), tag(&long)]);
        assert_eq!(notebook.draw(&tag("a")), tag("a#3"));
        assert_eq!(notebook.draw(&tag("a")), tag("a#4"));
        assert_eq!(notebook.draw(&tag(&long)), tag(&format!("{}#2", "x".repeat(126))));
        assert!(!notebook.has(&tag("a#3")), "drawn is not written down");
    }
}
