//! Networks of real machines in virtual time: what nodes do together.

mod detection;
mod fetch;
mod liars;
mod lookups;
mod memory;
mod records;
mod world;
