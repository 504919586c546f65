//! What happens in the run of one seed: everything follows from the seed.
//!
//! Most runs are small and dense, since most faults need three members, one key and bad luck; some
//! are large.
//!
//! What it does not do: decide when; those are draws of `cluster/chaos.rs`.

use std::fmt;

use cloakroom_node::Patience;
use cloakroom_register::Waits;

use crate::engine::{Network, Regions};
use crate::random::{Chance, Random};

/// The knobs of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// Nodes at the beginning.
    pub nodes: u32,
    /// Members of a view.
    pub members: usize,
    /// Slots.
    pub slots: u16,
    /// Keys of plain clients.
    pub keys: u32,
    /// Clients that get, put, swap and remove.
    pub clients: u32,
    /// Clients that allocate and free.
    pub pool_clients: u32,
    /// Ids of their pool.
    pub ids: u64,
    /// Regions over which the nodes are spread.
    pub regions: u8,
    /// Share of messages lost.
    pub loss: f64,
    /// Share doubled.
    pub duplicate: f64,
    /// Share held back.
    pub reorder: f64,
    /// For at most so long.
    pub reorder_ms: u64,
    /// A disk's sync takes at most so long.
    pub sync_ms: u64,
    /// Mean time between two crashes; likewise the rest. Zero: never.
    pub crash_ms: u64,
    /// Between two cuts of the network.
    pub cut_ms: u64,
    /// Between two proposals of views.
    pub view_ms: u64,
    /// Between two lost disks.
    pub lose_ms: u64,
    /// Between two joins or leaves.
    pub move_ms: u64,
    /// How long all that goes on.
    pub chaos_ms: u64,
    /// Mean pause of a client between two calls.
    pub think_ms: u64,
    /// How long registers wait for what.
    pub waits: Waits,
    /// How long nodes wait for each other.
    pub patience: Patience,
}

impl Plan {
    /// Of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::stream(seed, "plan", 0);
        let nodes = match random.below(100) {
            0..80 => 5,
            80..93 => 6 + random.below(7),
            93..99 => 13 + random.below(28),
            _ => 41 + random.below(160),
        };
        let mut mean = |of: &[u64]| of[random.index(of.len())];
        let (crash_ms, cut_ms) = (mean(&[0, 1000, 3000, 10_000]), mean(&[0, 3000, 10_000]));
        let view_ms = mean(&[0, 1000, 3000, 3000, 10_000]);
        let lose_ms = if view_ms == 0 { 0 } else { mean(&[0, 3000, 10_000]) };
        let move_ms = if view_ms == 0 { 0 } else { mean(&[0, 5000, 10_000]) };
        let (slots, keys) = (mean(&[1, 1, 2, 4, 16]), mean(&[1, 1, 2, 4, 10, 30]));
        let many = nodes > 12;
        let share = |random: &mut Random, of: &[f64]| of[random.index(of.len())];
        Self {
            seed,
            nodes: u32::try_from(nodes).unwrap_or(5),
            members: if random.below(10) < 7 { 3 } else { 5 },
            slots: if many { 64 } else { u16::try_from(slots).unwrap_or(1) },
            keys: u32::try_from(keys).unwrap_or(1) * if many { 4 } else { 1 },
            clients: 2 + u32::try_from(random.below(4)).unwrap_or(0) + if many { 10 } else { 0 },
            pool_clients: if random.below(3) == 0 { 2 } else { 0 },
            ids: 2 + random.below(5),
            regions: 1 + u8::try_from(random.below(10)).unwrap_or(0),
            loss: share(&mut random, &[0.0, 0.01, 0.05, 0.15]),
            duplicate: share(&mut random, &[0.0, 0.02, 0.1]),
            reorder: share(&mut random, &[0.0, 0.05, 0.2]),
            reorder_ms: 1 + random.below(3000),
            sync_ms: [0, 2, 20, 300][random.index(4)],
            crash_ms,
            cut_ms,
            view_ms,
            lose_ms,
            move_ms,
            chaos_ms: 10_000 + random.below(20_000),
            think_ms: [50, 200, 1000][random.index(3)],
            waits: Waits {
                answers_ms: 600 + random.below(600),
                refused_ms: 20 + random.below(400),
                upkeep_ms: 300 + random.below(700),
                collect_ms: [0, 500, 2000][random.index(3)],
            },
            patience: {
                let silent_ms = if many || random.below(2) == 0 { 4_000 } else { 2_000 };
                Patience { ask_ms: silent_ms / if many { 4 } else { 8 }, silent_ms }
            },
        }
    }

    /// The network while faults go on.
    pub(crate) fn network(&self) -> Network {
        let world = Regions::world();
        let names: Vec<String> =
            world.names()[..usize::from(self.regions)].iter().map(ToString::to_string).collect();
        let mut network = Network::perfect(Regions::some(&names).unwrap_or(world));
        network.jitter = 0.05;
        network.jitter_us = 150;
        network.loss = Chance::of(self.loss);
        network.duplicate = Chance::of(self.duplicate);
        network.reorder = Chance::of(self.reorder);
        network.reorder_us = self.reorder_ms * 1000;
        network
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} nodes, RF {}, {} slots, {} keys, {}+{} clients, loss {}, copies {}, held back {} \
             up to {} ms, sync {} ms, crash {} cut {} view {} disk {} move {} ms, collection {} ms, \
             silence {} ms",
            self.nodes,
            self.members,
            self.slots,
            self.keys,
            self.clients,
            self.pool_clients,
            self.loss,
            self.duplicate,
            self.reorder,
            self.reorder_ms,
            self.sync_ms,
            self.crash_ms,
            self.cut_ms,
            self.view_ms,
            self.lose_ms,
            self.move_ms,
            self.waits.collect_ms,
            self.patience.silent_ms
        )
    }
}
