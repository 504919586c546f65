//! The parts of the machine against what judges them in `specs`, with small numbers.
//!
//! SAMPLED: random sequences; the seed is fixed, so that a run can be repeated; `PROPTEST_RNG_SEED`
//! chooses another and `PROPTEST_CASES` more cases.

mod lookup;
mod records;
mod table;

use cloakroom_wire::{Address, Contact, NodeId, NodeKey};
use proptest::test_runner::{Config, RngSeed, contextualize_config};

fn config() -> Config {
    contextualize_config(Config { cases: 512, rng_seed: RngSeed::Fixed(1), ..Config::default() })
}

/// The id whose first byte is this; the others are zero.
fn id(first: u8) -> NodeId {
    let mut id = [0; 32];
    id[0] = first;
    NodeId(id)
}

/// A contact of a subnet.
fn contact(first: u8, subnet: u8) -> Contact {
    let address = Address::v4([10, 0, subnet, first.max(1)], 1);
    Contact { id: id(first), address, key: NodeKey([0; 32]) }
}
