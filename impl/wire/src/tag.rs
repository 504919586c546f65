//! The tags of known fields. `specs/wire.md` has them as tables.
//!
//! Invariants:
//! * a kind's tags are given in ascending order and never again;
//! * [`highest`] is the highest of its kind: what stands behind it is of a newer node.

use crate::message::Kind;

/// In every request.
pub(crate) const FROM: u8 = 1;
/// In FIND_NODE and FIND_VALUE.
pub(crate) const TARGET: u8 = 2;
/// In STORE.
pub(crate) const PURPOSE: u8 = 2;
/// In STORE.
pub(crate) const RECORD: u8 = 3;
/// In SLOTS.
pub(crate) const PARTS: u8 = 1;
/// In NODES.
pub(crate) const CONTACTS: u8 = 1;
/// In FOUND.
pub(crate) const RECORDS: u8 = 1;
/// In FOUND.
pub(crate) const FOUND_CONTACTS: u8 = 2;
/// In STORED.
pub(crate) const STATUS: u8 = 1;
/// In STORED.
pub(crate) const HELD: u8 = 2;
/// In ERROR.
pub(crate) const CODE: u8 = 1;
/// In ERROR.
pub(crate) const DETAIL: u8 = 2;

/// In a record.
pub(crate) const KEY: u8 = 1;
/// In a record.
pub(crate) const ORIGIN: u8 = 2;
/// In a record.
pub(crate) const SEQUENCE: u8 = 3;
/// In a record.
pub(crate) const EXPIRES_IN_MS: u8 = 4;
/// In a record, unless it is a tombstone; the highest there.
pub(crate) const VALUE: u8 = 5;

/// The highest known tag of a known kind.
pub(crate) const fn highest(kind: Kind) -> u8 {
    match kind {
        Kind::PING => FROM,
        Kind::FIND_NODE | Kind::FIND_VALUE => TARGET,
        Kind::STORE => RECORD,
        Kind::SLOTS => PARTS,
        Kind::NODES => CONTACTS,
        Kind::FOUND => FOUND_CONTACTS,
        Kind::STORED => HELD,
        Kind::ERROR => DETAIL,
        // PONG has none yet.
        _ => 0,
    }
}
