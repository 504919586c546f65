//! Exhaustive models of Cloakroom: small, and over the real code of `impl`.

#![forbid(unsafe_code)]

pub mod check_pool;
pub mod check_recovery;
pub mod search;
pub mod world;
