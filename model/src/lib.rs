//! Exhaustive models of Cloakroom: small, and over the real code of `impl`.
//!
//! The one private copy of an algorithm is [`article`]: the published pool, kept to show what is
//! wrong with it.

#![forbid(unsafe_code)]

pub mod article;
pub mod bounds;
pub mod check_desk;
pub mod check_lookup;
pub mod check_pool;
pub mod check_recovery;
pub mod check_register;
pub mod check_table;
pub mod check_views;
pub mod checks;
pub mod evidence;
pub mod hashed;
mod joined;
pub mod judge;
pub mod opinions;
pub mod register_twin;
pub mod search;
mod seated;
mod shards;
pub mod twin;
pub mod world;
