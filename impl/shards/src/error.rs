//! What can go wrong: the caller's input, or the machine's memory. Nothing else.

use cloakroom_pool::MapError;
use thiserror::Error;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 64;

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Why an operation did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShardsError {
    /// The caller's fault: nothing was done.
    #[error("key: expected at most {MAX_KEY_BYTES} bytes, got {got}")]
    KeyTooLong {
        /// Its length.
        got: usize,
    },
    /// The caller's fault: nothing was done.
    #[error("value: expected at most {MAX_VALUE_BYTES} bytes, got {got}")]
    ValueTooLong {
        /// Its length.
        got: usize,
    },
    /// The caller's fault: no map was made.
    #[error("shards: expected a power of two up to {most}, got {got}")]
    ShardCount {
        /// The most.
        most: usize,
        /// What was asked for.
        got: usize,
    },
    /// The machine has no memory left: nothing was done to the key.
    #[error("out of memory: {bytes} bytes were not to be had")]
    OutOfMemory {
        /// How many were asked for.
        bytes: usize,
    },
}

/// No operation that failed has done anything.
impl From<ShardsError> for MapError {
    fn from(error: ShardsError) -> Self {
        Self::Unavailable { cause: error.to_string() }
    }
}
