//! What Cloakroom promises, in a form that a machine can judge.
//!
//! Small, trusted, and on its own: no dependency, plain integers, no line shared with the code
//! that it judges. The prose stands beside it: `pool.md`, `assumptions.md`, and the property
//! register in `README.md`.
//!
//! * [`pool::Oracle`] is the sequential pool: one call at a time, each in a single step.
//! * [`pool::counts_exact`] and the other predicates are the properties POOL-1 to POOL-7 over
//!   a snapshot.
//! * [`register`] has the properties REG-1 to REG-13, [`register::Line`] judges answers in real time.
//! * [`attempts::Register`] is one register as its callers see it: what an attempt may answer.
//! * [`map::Oracle`] is the sequential map, [`map::explainable`] judges concurrent calls on one key.
//! * [`kademlia`] judges routing tables, lookups and holders of records: KAD-1 to KAD-5, KAD-7,
//!   KAD-9.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod attempts;
pub mod kademlia;
pub mod map;
pub mod pool;
pub mod register;
