//! Whole networks in virtual time, from one seed.

#![forbid(unsafe_code)]

pub mod churn;
pub mod engine;
pub mod random;
pub mod stats;
