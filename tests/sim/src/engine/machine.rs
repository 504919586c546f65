//! What a machine must offer to be driven, and what a run needs beside machines.
//!
//! What it does not do: say how a machine is made. Whoever directs the run makes machines and hands
//! them to the world, also after a crash, from what the disk kept.

use core::fmt;
use core::hash::Hash;

use super::World;

/// Virtual time in microseconds since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// A time that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many milliseconds after the beginning.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1000)
    }

    /// So many microseconds later.
    #[must_use]
    pub const fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Microseconds since `earlier`; zero if it is later.
    pub const fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A place in the world, by number. Its machine may change: it crashes, and another one starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u32);

impl Node {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A pure step machine.
pub trait Machine: Sized {
    /// How machines address each other.
    type Address: Copy + Eq + Hash + fmt::Debug;
    /// What it tells its user.
    type Event;
    /// What a crash leaves: the disk.
    type Disk;

    /// Takes a message.
    fn handle_message(&mut self, now: Time, from: Self::Address, bytes: &[u8]);
    /// Takes notice of the time; called at or after what `poll_timeout` said.
    fn handle_timeout(&mut self, now: Time);
    /// Writes the next message to send into an empty buffer, and says to whom.
    fn poll_transmit(&mut self, now: Time, bytes: &mut Vec<u8>) -> Option<Self::Address>;
    /// The next thing to tell the user.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// When it wants to be told the time; [`Time::NEVER`] if nothing waits.
    fn poll_timeout(&self) -> Time;
    /// Dies.
    fn crash(self) -> Self::Disk;
}

/// Whoever decides what happens beside messages and timers.
pub trait Director<M: Machine> {
    /// A time that it asked for by [`World::wake`] has come.
    fn wake(&mut self, world: &mut World<M>, token: u64);
    /// A machine has told its user something.
    fn event(&mut self, world: &mut World<M>, node: Node, event: M::Event);
}
