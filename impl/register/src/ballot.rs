//! Ballots: which attempt, in one total order.
//!
//! Invariants:
//! * REG-5: two attempts never have one ballot. (epoch, seat) names one member of one view, `boot`
//!   one start of it, `round` counts the attempts of that start;
//! * a ballot of a later epoch is above every ballot of an earlier one, so that a new view begins
//!   above all promises of the old one.

use core::fmt;

use crate::id::{Boot, Epoch};
use crate::view::Seat;

/// An attempt of one coordinator, and the order in which attempts count. 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    // The order of the fields is the order of ballots.
    /// The view in which it counts.
    pub epoch: Epoch,
    /// Which attempt of its coordinator, raised above whatever it has met.
    pub round: u32,
    /// The coordinator's seat in the view.
    pub seat: Seat,
    /// The coordinator's start.
    pub boot: Boot,
}

impl Ballot {
    /// Below every ballot that anybody uses: rounds begin at 1.
    pub const ZERO: Self = Self { epoch: Epoch(0), round: 0, seat: Seat(0), boot: Boot(0) };
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}.{}.{}.{}", self.epoch.0, self.round, self.seat.0, self.boot.0)
    }
}

impl fmt::Debug for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_epoch_is_above_every_round_of_an_earlier_one() {
        let last =
            Ballot { epoch: Epoch(3), round: u32::MAX, seat: Seat(14), boot: Boot(u32::MAX) };
        let first = Ballot { epoch: Epoch(4), round: 1, seat: Seat(0), boot: Boot(0) };
        assert!(last < first && Ballot::ZERO < last);
        assert_eq!(size_of::<Ballot>(), 16);
    }
}
