//! The network: what becomes of a message between two nodes.
//!
//! A message takes half the round trip between the regions of its ends, what slow ends add, and
//! jitter that only adds. It may be lost, doubled, or held back so that later ones overtake it. A
//! cut stops what goes from one group of regions to another, in one direction or both. A node behind
//! a NAT hears only from those to whom it sent something lately.
//!
//! Invariants (SIM-2):
//! * every decision follows from the model, the two ends, the time and the sender's own stream of
//!   chance: what one node sends moves no other node's luck;
//! * without jitter and reordering, messages between two nodes arrive in the order in which they
//!   were sent.
//!
//! What it does not do: bandwidth and congestion (a megabyte takes as long as a byte), routes that
//! change, corrupted bytes (a transport with checks drops those, which is a loss), source addresses
//! that are forged (the transport proves them).

use super::Time;
use super::regions::Regions;
use crate::random::{Chance, Random, to_f64, to_u64};

/// How a network treats messages.
#[derive(Clone, Debug)]
pub struct Network {
    /// The regions and their distances.
    pub regions: Regions,
    /// Mean of what jitter adds, as a share of the way; it is exponential, so that one message in a
    /// hundred waits 4.6 times as much.
    pub jitter: f64,
    /// The same as a time, in microseconds: what hosts and queues add however short the way is.
    pub jitter_us: u64,
    /// How likely a message is lost.
    pub loss: Chance,
    /// How likely a second copy arrives, with a delay of its own.
    pub duplicate: Chance,
    /// How likely a message is held back.
    pub reorder: Chance,
    /// For how long at most.
    pub reorder_us: u64,
    /// Cuts.
    pub cuts: Vec<Cut>,
    /// How long a NAT lets answers in.
    pub nat_us: u64,
}

/// A time in which messages from some regions to some others are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// From when.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// Regions of senders, as bits.
    pub senders: u64,
    /// Regions of receivers, as bits.
    pub receivers: u64,
    /// Whether the other direction is cut too.
    pub both: bool,
}

/// One end of a way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Index of its region.
    pub region: u8,
    /// What every message from or to it takes longer: its access line.
    pub line_us: u32,
    /// How long it works on one message; messages wait for each other. Zero: no time at all.
    pub service_us: u32,
    /// Whether it is behind a NAT.
    pub nat: bool,
}

/// When the copies of a message arrive; `None` is a copy that does not.
pub type Arrivals = [Option<Time>; 2];

impl Network {
    /// A network that loses nothing and adds nothing.
    pub const fn perfect(regions: Regions) -> Self {
        Self {
            regions,
            jitter: 0.0,
            jitter_us: 0,
            loss: Chance::of_never(),
            duplicate: Chance::of_never(),
            reorder: Chance::of_never(),
            reorder_us: 0,
            cuts: Vec::new(),
            nat_us: 30_000_000,
        }
    }

    /// What becomes of a message that is sent now.
    pub fn carry(&self, now: Time, from: End, to: End, random: &mut Random) -> Arrivals {
        if self.cuts.iter().any(|cut| cut.stops(now, from, to)) {
            return [None, None];
        }
        let first = (!random.happens(self.loss)).then(|| self.arrival(now, from, to, random));
        let second = random.happens(self.duplicate).then(|| self.arrival(now, from, to, random));
        [first, second]
    }

    fn arrival(&self, now: Time, from: End, to: End, random: &mut Random) -> Time {
        let way = self.regions.one_way_us(from.region, to.region)
            + u64::from(from.line_us)
            + u64::from(to.line_us);
        let mean = to_f64(way) * self.jitter + to_f64(self.jitter_us);
        let jitter = if mean > 0.0 { to_u64(random.exponential(mean)) } else { 0 };
        let held = if random.happens(self.reorder) { random.below(self.reorder_us + 1) } else { 0 };
        now.plus_us(way + jitter + held)
    }
}

impl Cut {
    fn stops(&self, now: Time, from: End, to: End) -> bool {
        let has = |regions: u64, end: End| regions >> end.region & 1 == 1;
        let one = has(self.senders, from) && has(self.receivers, to);
        let other = self.both && has(self.senders, to) && has(self.receivers, from);
        self.from <= now && now < self.until && (one || other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (End, End) {
        let regions = Regions::world();
        let end = |name| End { region: regions.index(name).unwrap(), ..End::default() };
        (end("Frankfurt"), end("Tokyo"))
    }

    fn draws(network: &Network, count: u64) -> Vec<Arrivals> {
        let mut random = Random::new(1);
        let (from, to) = ends();
        (0..count).map(|at| network.carry(Time(at), from, to, &mut random)).collect()
    }

    fn share(arrivals: &[Arrivals], test: impl Fn(&Arrivals) -> bool) -> f64 {
        to_f64(arrivals.iter().filter(|a| test(a)).count() as u64) / to_f64(arrivals.len() as u64)
    }

    #[test]
    fn a_perfect_network_takes_half_the_round_trip_and_keeps_the_order() {
        let perfect = Network::perfect(Regions::world());
        for (at, arrivals) in draws(&perfect, 100).into_iter().enumerate() {
            // The table has 237 ms from Frankfurt to Tokyo.
            assert_eq!(arrivals, [Some(Time(at as u64 + 118_500)), None]);
        }
    }

    #[test]
    fn losses_and_copies_come_as_often_as_stated() {
        let mut network = Network::perfect(Regions::world());
        network.loss = Chance::of(0.1);
        network.duplicate = Chance::of(0.05);
        let drawn = draws(&network, 100_000);
        assert!((share(&drawn, |arrivals| arrivals[0].is_none()) - 0.1).abs() < 0.005);
        assert!((share(&drawn, |arrivals| arrivals[1].is_some()) - 0.05).abs() < 0.005);
    }

    #[test]
    fn a_message_that_is_held_back_is_overtaken() {
        let mut network = Network::perfect(Regions::world());
        network.reorder = Chance::of(0.2);
        network.reorder_us = 1000;
        let drawn = draws(&network, 10_000);
        let late = drawn.iter().enumerate().map(|(at, arrivals)| {
            drawn[at + 1..].iter().take(1000).any(|later| later[0] < arrivals[0])
        });
        let overtaken = late.filter(|&late| late).count();
        assert!((1500..2500).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn jitter_only_adds_and_has_its_mean() {
        let mut network = Network::perfect(Regions::world());
        network.jitter = 0.1;
        network.jitter_us = 150;
        let drawn = draws(&network, 100_000);
        let added = drawn.iter().enumerate().map(|(at, arrivals)| {
            to_f64(arrivals[0].unwrap().0.checked_sub(at as u64 + 118_500).expect("only adds"))
        });
        let mean = added.sum::<f64>() / 1e5;
        assert!((mean - 12_000.0).abs() < 120.0, "{mean}");
    }

    #[test]
    fn a_cut_may_be_one_way_and_ends() {
        let (from, to) = ends();
        let bit = |end: End| 1 << end.region;
        let mut network = Network::perfect(Regions::world());
        let cut = |both| Cut {
            from: Time(10),
            until: Time(20),
            senders: bit(from),
            receivers: bit(to),
            both,
        };
        let passes = |network: &Network, at, from, to| {
            network.carry(Time(at), from, to, &mut Random::new(1))[0].is_some()
        };
        network.cuts = vec![cut(false)];
        let times = [9, 10, 19, 20].map(|at| passes(&network, at, from, to));
        assert_eq!(times, [true, false, false, true]);
        assert!(passes(&network, 15, to, from) && passes(&network, 15, from, from));
        network.cuts = vec![cut(true)];
        assert!(!passes(&network, 15, to, from) && passes(&network, 15, from, from));
    }
}
