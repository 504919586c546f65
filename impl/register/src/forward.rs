//! An operation that a node has another run, which has a seat in the slot's view.
//!
//! Invariants:
//! * NODE-8: which start of which node is asked stands in the request, and the asking start counts its
//!   requests to it: so whoever is asked can run each at most once, however often it arrives;
//! * an answer names the start and the number of what it answers.
//!
//! What it does not do: choose whom to ask, remember what was run; that is `impl/node`'s.

use crate::id::{Boot, Incarnation};
use crate::operation::{Operation, Outcome};
use crate::view::View;

/// One start of a node: what it knew before is forgotten, but for its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Start {
    /// In which life of its disk.
    pub incarnation: Incarnation,
    /// The how-manieth of it.
    pub boot: Boot,
}

/// Run this.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forwarded {
    /// Which start may run it. Of one that is not known only a get is run; anything else is answered
    /// with the start, and has not been begun.
    pub to: Option<Start>,
    /// Which start asks.
    pub from: Start,
    /// The how-manieth request of the one to the other node.
    pub number: u64,
    /// To be given up so long after it arrived.
    pub patience_ms: u32,
    /// What to run.
    pub operation: Operation,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Called {
    /// Which start has asked.
    pub to: Start,
    /// Its number.
    pub number: u64,
    /// What.
    pub told: Told,
}

/// What a node that was asked tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Told {
    /// It has ended.
    Ended(Outcome),
    /// It was not begun, and this request never will be: these have seats.
    Elsewhere(View),
    /// This is the start to ask. Nothing was begun if none was named.
    Start(Start),
}
