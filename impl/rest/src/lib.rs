//! Pools, atomic keys and records of a node over HTTP.
//!
//! Entry symbols: [`App`] has the paths, [`listen`] serves them, [`openapi`] describes them.
//!
//! | file | what |
//! |---|---|
//! | `registers.rs` | the atomic map on a server's registers, without threads that wait |
//! | `drive.rs` | runs the pool's step machines over it |
//! | `desk.rs` | carries out calls of one pool that come at the same time together |
//! | `directory.rs` | the pools of a cluster |
//! | `memory.rs` | what became of the operations that clients have named |
//! | `problem.rs` | what went wrong, as `application/problem+json` |
//! | `metrics.rs` | what the node counts |
//! | `exposition.rs` | in which format that is told |
//! | `events.rs` | what has happened in the cluster lately |
//! | `http/` | the paths |
//! | `listen.rs` | connections, their limits, and a clean end |
//! | `connection.rs` | one of them: its handshake, its requests, its end |
//! | `tls.rs` | what HTTPS shows and whom it believes, replaced while connections go on |
//! | `gate.rs` | how much clients may make the node do |
//! | `glance.rs` | a look at something that costs others work, shared by all who ask |
//! | `caller.rs` | who sends a request |
//! | `patient.rs` | a socket that waits for a slow reader, but not for ever |
//!
//! What it does not do: tell rights apart: who is on this machine, or has a certificate of the cluster's
//! authority, may do everything.

#![forbid(unsafe_code)]

mod caller;
mod connection;
mod desk;
mod directory;
mod drive;
mod events;
mod exposition;
mod gate;
mod glance;
mod http;
mod listen;
mod memory;
mod metrics;
mod patient;
mod problem;
mod registers;
mod tls;

pub use caller::Caller;
pub use gate::{Gate, Limits};
pub use http::{App, openapi};
pub use listen::{ListenError, Listening, listen, listen_https};
pub use tls::Tls;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("below 16"));
        }
        text
    })
}
