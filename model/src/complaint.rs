//! What a model complains of: a property by its id, and how it is broken. The two specifications have
//! their own objections; the searches know only these.

use std::fmt;

use cloakroom_specs::{pool, register};

/// The properties of the pool that a state can break, by their numbers less one. POOL-5 is about
/// runs.
pub const POOL: [&str; 7] = ["POOL-1", "POOL-2", "POOL-3", "POOL-4", "POOL-5", "POOL-6", "POOL-7"];

/// The properties of the registers that a state can break, by their numbers less one.
pub const REG: [&str; 13] = [
    "REG-1", "REG-2", "REG-3", "REG-4", "REG-5", "REG-6", "REG-7", "REG-8", "REG-9", "REG-10",
    "REG-11", "REG-12", "REG-13",
];

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which.
    pub property: &'static str,
    /// How, with its id before it.
    pub what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<pool::Objection> for Complaint {
    fn from(objection: pool::Objection) -> Self {
        let property = POOL[usize::from(objection.property) - 1];
        Self { property, what: objection.to_string() }
    }
}

impl From<register::Objection> for Complaint {
    fn from(objection: register::Objection) -> Self {
        let property = REG[usize::from(objection.property) - 1];
        Self { property, what: objection.to_string() }
    }
}
