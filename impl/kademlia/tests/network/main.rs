//! Networks of real machines in virtual time: what nodes do together.

mod lookups;
mod world;
