//! Whole networks in virtual time, from one seed.
//!
//! | file | what |
//! |---|---|
//! | `engine/` | virtual time, the network, [`World`](engine::World): generic over the machine |
//! | `kad/` | whole nodes in it for their part of the DHT, over encoded bytes; liars; who is up |
//! | `run/` | the main experiment: lookups and reads under churn |
//! | `hostile.rs`, `records.rs`, `balance.rs` | the other experiments |
//! | `registers/` | the registers: what a seed means, callers, predicates, histories |
//! | `scenario.rs`, `churn.rs` | every knob, from TOML |
//! | `random.rs`, `stats.rs` | chance from one seed, exact percentiles |
//! | `html/` | the page |
//! | `cluster/` | whole nodes under faults, for their registers: calls at any node, the list of members, views; healing |
//! | `args.rs`, `command.rs` | the command line |
//! | `whole_file.rs` | the file of the page |
//!
//! Invariants:
//! * what is checked is what runs: machines and wire format are those of `impl/`, none is copied;
//! * a run is a function of its scenario: same seed, same trace hash, on every machine.
//!
//! What it does not do: prove. It samples; `model/` is exhaustive and small.

#![forbid(unsafe_code)]

pub mod args;
pub mod balance;
pub mod churn;
pub mod cluster;
pub mod command;
pub mod engine;
pub mod hostile;
pub mod html;
pub mod kad;
pub mod random;
pub mod records;
pub mod registers;
pub mod run;
pub mod scenario;
pub mod stats;
mod whole_file;

pub use args::SimArgs;
pub use command::{Error, carry_out};
