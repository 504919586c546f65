//! Virtual time, a network, and machines in it: nothing here knows what the machines are.
//!
//! Entry symbol: [`World`]. A [`Machine`] is a pure step machine with the method grammar of
//! quinn-proto: `handle_*` tells it what happens, `poll_*` asks it what to do. A [`Director`] says
//! what else happens: churn, calls, cuts.
//!
//! Invariants:
//! * all that a machine learns goes through here, as encoded bytes, and into the [`Trace`];
//! * one thread, one queue, one seed: a run is a function of its arguments.
//!
//! What it does not do: know Kademlia. A test below reads these files and refuses the word.

mod machine;
mod network;
mod queue;
mod regions;
mod trace;
mod world;

pub use machine::{Director, Machine, Node, Time};
pub use network::{Arrivals, Cut, End, Network};
pub use queue::Queue;
pub use regions::Regions;
pub use trace::{Step, Trace};
pub use world::{Traffic, World};

#[cfg(test)]
mod tests {
    #[test]
    fn the_engine_knows_nothing_of_the_machines_that_it_drives() {
        let files = [
            include_str!("machine.rs"),
            include_str!("network.rs"),
            include_str!("queue.rs"),
            include_str!("regions.rs"),
            include_str!("trace.rs"),
            include_str!("world.rs"),
        ];
        for text in files {
            for stranger in ["cloakroom", "crate::kad"] {
                assert!(!text.contains(stranger), "{stranger} in {}", &text[..80]);
            }
        }
    }
}
