//! Asks on their way, hashed once.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use cloakroom_register::{
    Ask, Ballot, Body, Envelope, Incarnation, Member, Message, NodeId, State,
};

/// The node in a seat.
///
/// # Panics
/// Beyond 255 seats.
pub fn node(seat: usize) -> NodeId {
    NodeId([u8::try_from(seat).expect("few") + 1; 32])
}

/// The member in a seat.
pub fn member(seat: usize) -> Member {
    Member { node: node(seat), incarnation: Incarnation(0) }
}

/// A message from a coordinator to a member. Its hash stands for its content in the hash of a state.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// From the coordinator of this seat.
    pub(crate) from: u8,
    /// To the replica of this seat.
    pub(crate) to: usize,
    /// What.
    pub(crate) message: Message,
    hash: u64,
}

impl Packet {
    /// What the coordinator of a seat has sent.
    ///
    /// # Panics
    /// When it is for nobody.
    pub(crate) fn new(from: u8, envelope: Envelope) -> Self {
        let Envelope { to, message } = envelope;
        let to = (0..3).position(|seat| node(seat) == to).expect("a member");
        let mut hasher = DefaultHasher::new();
        (from, to, &message).hash(&mut hasher);
        Self { from, to, hash: hasher.finish(), message }
    }

    /// The ballot that it is about.
    ///
    /// # Panics
    /// When it asks nothing.
    pub(crate) fn ballot(&self) -> Ballot {
        let Body::Ask(asks) = &self.message.body else { panic!("an ask") };
        asks[0].ballot()
    }

    /// The state that it asks to accept.
    pub(crate) fn accepts(&self) -> Option<&State> {
        let Body::Ask(asks) = &self.message.body else { return None };
        asks.iter().find_map(|ask| match ask {
            Ask::Accept { state, .. } => Some(state),
            _ => None,
        })
    }

    fn content(&self) -> (u8, usize, &Message) {
        (self.from, self.to, &self.message)
    }
}

impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.content() == other.content()
    }
}

impl Eq for Packet {}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packet {
    fn cmp(&self, other: &Self) -> Ordering {
        self.content().cmp(&other.content())
    }
}

impl Hash for Packet {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, .. } = self;
        let Body::Ask(asks) = &self.message.body else { return write!(f, "{:?}", self.message) };
        for ask in asks {
            match ask {
                Ask::Read { ballot, .. } => {
                    write!(f, "seat {to} is read by seat {from}, {ballot}")?
                }
                Ask::Prepare { ballot, .. } => write!(f, "seat {to} hears prepare {ballot}")?,
                Ask::Accept { ballot, state, next, .. } => {
                    let number = state.operation.0[15];
                    write!(f, "seat {to} hears accept {ballot} of {} by {number}", state.version)?;
                    if let Some(next) = next {
                        write!(f, ", next {next}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
