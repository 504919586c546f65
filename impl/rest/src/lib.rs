//! Pools, atomic keys and records of a node over HTTP.
//!
//! Entry symbols: [`App`] has the paths, [`listen`] serves them, [`openapi`] describes them.
//!
//! | file | what |
//! |---|---|
//! | `registers.rs` | the atomic map on a server's registers, without threads that wait |
//! | `drive.rs` | runs the pool's step machines over it |
//! | `directory.rs` | the pools of a cluster |
//! | `memory.rs` | what became of the operations that clients have named |
//! | `problem.rs` | what went wrong, as `application/problem+json` |
//! | `metrics.rs` | what the node counts |
//! | `http/` | the paths |
//! | `listen.rs` | connections, their limits, and a clean end |
//!
//! What it does not do: TLS, or say who may ask. It is for loopback so far, and refuses other addresses.

#![forbid(unsafe_code)]

mod directory;
mod drive;
mod http;
mod listen;
mod memory;
mod metrics;
mod problem;
mod registers;

pub use http::{App, openapi};
pub use listen::{ListenError, Listening, listen};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("below 16"));
        }
        text
    })
}
