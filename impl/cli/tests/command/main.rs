//! The real binary, run as a user runs it: every command, its streams, its exit codes.

mod binary;
mod demo_trace;
mod pools;
mod recovery;
mod replay;
mod serving;
mod shell;
