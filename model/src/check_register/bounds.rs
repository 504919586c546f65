//! What is explored: what the members begin with, and what is called.

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What the members begin with: nothing, or copies of states of the view before.
    pub begin: Begin,
    /// The calls of each coordinator, by seat.
    pub scripts: &'static [&'static [Do]],
    /// How many times a coordinator may begin a new round of its own accord.
    pub retries: u8,
    /// How many members may crash.
    pub crashes: u8,
    /// How many operations may be given up and taken to the next coordinator.
    pub handed: u8,
    /// How many times the member in the last seat may begin to collect a tombstone that it has.
    pub collections: u8,
}

/// What the members have of the key when the view begins.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// Nothing.
    Empty,
    /// By seat, which of two states that were proposed in the view before, each by a put; none of
    /// them was chosen. The second has the higher ballot.
    Copied([Option<u8>; 3]),
    /// The first of the two was chosen in the view before, so that everybody has it or the second,
    /// which was made from it.
    Chosen([u8; 3]),
    /// The same, where the second state is a tombstone.
    Removed([u8; 3]),
}

/// A call of a script. Each writes its own number as its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Do {
    /// Get.
    Get,
    /// Put if absent.
    Put,
    /// Put in the place of the value of this operation.
    Swap(u64),
    /// Put in the place of this version.
    SwapVersion(u64),
    /// Remove the value of this operation.
    Remove(u64),
    /// Remove once more what is absent, as a host does whose collections are in vain.
    RemoveAgain,
}

/// The operations of the view before, by number.
pub(super) const EARLIER: [u64; 2] = [101, 102];

/// The number of a script's operation.
pub(super) const fn number(seat: usize, at: usize) -> u64 {
    10 * (seat as u64 + 1) + at as u64
}
