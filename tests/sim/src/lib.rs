//! Whole networks in virtual time, from one seed.

#![forbid(unsafe_code)]

pub mod churn;
pub mod engine;
pub mod kad;
pub mod random;
pub mod run;
pub mod scenario;
pub mod stats;
