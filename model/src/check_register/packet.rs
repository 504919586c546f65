//! Asks on their way.

use std::fmt;

use cloakroom_register::{
    Ask, Ballot, Body, Collect, Envelope, Incarnation, Member, Message, NodeId, State,
};

/// The node in a seat.
///
/// # Panics
/// Beyond 255 seats.
pub(crate) fn node(seat: usize) -> NodeId {
    NodeId([u8::try_from(seat).expect("few") + 1; 32])
}

/// The member in a seat.
pub(crate) fn member(seat: usize) -> Member {
    Member { node: node(seat), incarnation: Incarnation(0) }
}

/// A message from a coordinator to a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Packet {
    /// From the coordinator of this seat.
    pub(crate) from: u8,
    /// To the replica of this seat.
    pub(crate) to: usize,
    /// What.
    pub(crate) message: Message,
}

impl Packet {
    /// What the coordinator of a seat has sent.
    ///
    /// # Panics
    /// When it is for nobody.
    pub(crate) fn new(from: u8, envelope: Envelope) -> Self {
        let Envelope { to, message } = envelope;
        let to = (0..3).find(|&seat| node(seat) == to).expect("a member");
        Self { from, to, message }
    }

    /// The ballot that it is about.
    ///
    /// # Panics
    /// When it asks nothing.
    pub(crate) fn ballot(&self) -> Ballot {
        let Body::Ask(asks) = &self.message.body else { panic!("an ask") };
        asks[0].ballot()
    }

    /// Whether it is about a collection.
    pub(crate) fn is_collection(&self) -> bool {
        matches!(self.message.body, Body::Collect(_))
    }

    /// The tombstone that it is about.
    ///
    /// # Panics
    /// When it is about no collection.
    pub(crate) fn tombstone(&self) -> Ballot {
        let Body::Collect(asks) = &self.message.body else { panic!("a collection") };
        match &asks[0] {
            Collect::Check { tombstone, .. } | Collect::Drop { tombstone, .. } => *tombstone,
        }
    }

    /// The state that it asks to accept.
    pub(crate) fn accepts(&self) -> Option<&State> {
        let Body::Ask(asks) = &self.message.body else { return None };
        asks.iter().find_map(|ask| match ask {
            Ask::Accept { state, .. } => Some(state),
            _ => None,
        })
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, .. } = self;
        let asks = match &self.message.body {
            Body::Ask(asks) => asks,
            body => return write!(f, "seat {to} hears from seat {from}: {body:?}"),
        };
        for ask in asks {
            match ask {
                Ask::Read { ballot, .. } => {
                    write!(f, "seat {to} is read by seat {from}, {ballot}")?;
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
