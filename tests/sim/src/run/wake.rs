//! What the director wants to be woken for, as the engine's tokens.

use crate::engine::Node;

/// Why it is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// A node comes, for the first time or again.
    Come(Node),
    /// A node goes.
    Go(Node),
    /// A record is published.
    Publish(u32),
    /// Somebody looks something up.
    Lookup,
    /// Somebody reads a record.
    Read,
    /// The measured part begins.
    Measure,
    /// Time to look at how things stand.
    Sample,
}

impl Wake {
    /// As a token.
    pub(crate) const fn token(self) -> u64 {
        let (kind, number) = match self {
            Self::Come(node) => (0, node.0),
            Self::Go(node) => (1, node.0),
            Self::Publish(record) => (2, record),
            Self::Lookup => (3, 0),
            Self::Read => (4, 0),
            Self::Measure => (5, 0),
            Self::Sample => (6, 0),
        };
        kind << 32 | number as u64
    }

    /// Of a token.
    pub(crate) fn of(token: u64) -> Self {
        let number = u32::try_from(token & u64::from(u32::MAX)).expect("32 bits");
        match token >> 32 {
            0 => Self::Come(Node(number)),
            1 => Self::Go(Node(number)),
            2 => Self::Publish(number),
            3 => Self::Lookup,
            4 => Self::Read,
            5 => Self::Measure,
            _ => Self::Sample,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_means_what_it_was_made_for() {
        let node = Node(u32::MAX);
        let plain = [Wake::Lookup, Wake::Read, Wake::Measure, Wake::Sample];
        let numbered = [Wake::Come(node), Wake::Go(node), Wake::Publish(7)];
        for wake in plain.into_iter().chain(numbered) {
            assert_eq!(Wake::of(wake.token()), wake);
        }
    }
}
