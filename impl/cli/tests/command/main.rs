//! The real binary, run as a user runs it: every command, its streams, its exit codes.

mod backup;
mod binary;
mod certificates;
mod demo_trace;
mod disk;
mod ending;
#[cfg(feature = "otel")]
mod otel;
mod pools;
mod recovery;
mod remote;
mod renewal;
mod replay;
mod serving;
mod settings;
mod shell;
