//! Hostile bytes and operation sequences: what the fuzzer runs, each with an oracle.
//!
//! | target | bytes are | oracle |
//! |---|---|---|
//! | [`decode`] | a message | a second decoder, written from `specs/wire.md`, agrees on what is one and what it says |
//! | [`canonical`] | a message, or an answer to who asks for a certificate | encoding what was decoded gives the same bytes |
//! | [`round_trip`] | choices that make a message, and damage | it comes back from its bytes, by both decoders; they agree on the damaged one |
//! | [`stream`] | a stream of frames, and where it is cut | the same comes out of the uncut stream |
//! | [`versions`] | a message, and what a newer node adds | the known part is unchanged, or the rule says refuse |
//! | [`slots`] | a part of a notice for slots | a second reader, written from the grammar; one encoding |
//! | [`table`] | answers, requests, silences and deaths | a naive model of the routing table, and `cloakroom-specs` |
//! | [`pool`] | a schedule of callers, deaths and lost answers | the judge of the pool's own tests, by `cloakroom-specs` |
//!
//! Each panics when its oracle objects. `tests/regressions.rs` runs them over the seeds and over
//! every input that once failed, without a fuzzer.

#![forbid(unsafe_code)]

// The pool's judge and its map that answers badly: one oracle for property test and fuzzer.
#[path = "../../impl/pool/tests/schedules/call.rs"]
mod call;
mod choices;
#[path = "../../impl/pool/tests/schedules/map.rs"]
mod map;
mod messages;
#[path = "../../impl/wire/tests/sampled/newer.rs"]
mod newer;
mod reference;
mod schedule;
mod slots;
mod table;
mod wire;
#[path = "../../impl/pool/tests/schedules/world/mod.rs"]
mod world;

pub use schedule::pool;
pub use slots::slots;
pub use table::table;
pub use wire::{canonical, decode, round_trip, stream, versions};

/// A target: its name, what it does with bytes, and how the fuzzer runs it.
#[derive(Clone, Copy)]
pub struct Target {
    /// Of its binary, its seeds and its regressions.
    pub name: &'static str,
    /// Panics when the oracle objects.
    pub run: fn(&[u8]),
    /// The longest input that is tried.
    pub max_bytes: u32,
    /// Whether `wire.dict` helps.
    pub dictionary: bool,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "decode", run: decode, max_bytes: 4096, dictionary: true },
    Target { name: "canonical", run: canonical, max_bytes: 4096, dictionary: true },
    Target { name: "round_trip", run: round_trip, max_bytes: 2048, dictionary: false },
    Target { name: "stream", run: stream, max_bytes: 4096, dictionary: true },
    Target { name: "versions", run: versions, max_bytes: 1024, dictionary: false },
    Target { name: "slots", run: slots, max_bytes: 1024, dictionary: false },
    Target { name: "table", run: table, max_bytes: 512, dictionary: false },
    Target { name: "pool", run: pool, max_bytes: 512, dictionary: false },
];
