//! Rounds of questions about keys to replicas at other nodes: which have begun, and how many an operation took.
//!
//! A round asks all members of a view, and ends with a majority's answers. The rounds of one operation come one after
//! the other.
//!
//! What it does not do: count what a node asks that an operation was handed to. It does not say.

use alloc::collections::BTreeSet;

use cloakroom_register::{self as register, Ballot, Envelope, Slot};

/// How many rounds an operation took. `None`: another node ran it, or a part of it.
pub type Rounds = Option<u32>;

/// The rounds that begin with these: each has a ballot of its own within its slot.
pub(crate) fn begun(send: &[Envelope]) -> BTreeSet<(Slot, Ballot)> {
    let asks = |envelope: &Envelope| match &envelope.message.body {
        register::Body::Ask(asks) => {
            asks.iter().map(|ask| (envelope.message.slot, ask.ballot())).collect()
        }
        _ => alloc::vec::Vec::new(),
    };
    send.iter().flat_map(asks).collect()
}
