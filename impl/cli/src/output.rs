//! Data to stdout, messages to stderr.
//!
//! Invariants:
//! * a reader that has gone away (`| head -1`) is no failure and no message: the command has done
//!   its work, and its exit code says so. Not so for an id just allocated, which nobody else knows:
//!   that is delivered, or said to be lost;
//! * a tag in a table cannot move the cursor or break a line: whatever is not printable is escaped.
//!   JSON has every tag exactly, as text where it is UTF-8 and always in hexadecimal;
//! * nothing here is coloured.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};

use cloakroom_pool::{Id, Tag};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Writes data to stdout, whole, for whoever still reads it.
pub(crate) fn print(data: &[u8]) -> Result<(), Error> {
    match deliver(data) {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            Err(Error::System { what: "stdout", cause })
        }
        _ => Ok(()),
    }
}

/// Writes data to stdout that must not be lost: a reader that has gone away is a failure.
pub(crate) fn deliver(data: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(data).and_then(|()| stdout.flush())
}

/// Writes one JSON value and a line's end to stdout.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    print(&json(value))
}

/// One JSON value and a line's end.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec(value).expect("records of numbers and strings");
    json.push(b'\n');
    json
}

/// Writes a message to stderr. A stderr that is gone takes no message, also not this one.
pub(crate) fn say(message: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Everything that a pool holds, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing<Name> {
    pub(crate) pool: Name,
    pub(crate) held: Vec<Pair>,
}

/// A pair of id and tag in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) id: u64,
    /// `None` when the tag is no UTF-8.
    pub(crate) tag: Option<String>,
    pub(crate) tag_hex: String,
}

impl Pair {
    /// A pair as it is written.
    pub(crate) fn new(id: Id, tag: &Tag) -> Self {
        let bytes = tag.as_bytes();
        let text = std::str::from_utf8(bytes).ok().map(str::to_owned);
        Self { id: id.0, tag: text, tag_hex: hex(bytes) }
    }

    /// The same, of a pair that is one.
    pub(crate) fn of((id, tag): &(Id, Tag)) -> Self {
        Self::new(*id, tag)
    }

    /// The pair as it was; `None` when the hexadecimal digits are no tag.
    pub(crate) fn read(&self) -> Option<(Id, Tag)> {
        let digits = self.tag_hex.as_bytes();
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        let bytes: Option<Vec<u8>> = (0..digits.len() / 2)
            .map(|at| u8::try_from(digit(2 * at)? * 16 + digit(2 * at + 1)?).ok())
            .collect();
        let even = digits.len().is_multiple_of(2);
        let tag = bytes.filter(|_| even).and_then(|bytes| Tag::new(bytes).ok())?;
        Some((Id(self.id), tag))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes everything");
        hex
    })
}

/// A tag for a table: on one line, and harmless to a terminal.
pub(crate) fn printable(tag: &Tag) -> String {
    let mut shown = String::new();
    for chunk in tag.as_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() {
                shown.extend(letter.escape_default());
            } else {
                shown.push(letter);
            }
        }
        for byte in chunk.invalid() {
            write!(shown, "\\x{byte:02x}").expect("a String takes everything");
        }
    }
    shown
}

/// A time, given in milliseconds since 1970, as a date in UTC (RFC 3339). Beyond the year 9999, which RFC 3339 does
/// not have, the year has more digits.
pub(crate) fn date(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Since 0000-03-01. Years that begin in March have a leap day as their last; 400 of them have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = 400 * era + year + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

/// Pairs as a table with a head.
pub(crate) fn pairs_table(pairs: &[(Id, Tag)]) -> String {
    let longest = pairs.iter().map(|(id, _)| id.to_string().len()).max().unwrap_or(0);
    let wide = longest.max("ID".len());
    let mut table = format!("{:<wide$}  TAG\n", "ID");
    for (id, tag) in pairs {
        writeln!(table, "{:<wide$}  {}", id.0, printable(tag)).expect("a String takes everything");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_no_control_character() {
        let tag = Tag::new(b"a\nb\x1b[31m\xff\xc3\xa4\\").unwrap();
        assert_eq!(printable(&tag), "a\\nb\\u{1b}[31m\\xffä\\");
    }

    #[test]
    fn a_date_is_that_of_the_calendar() {
        for (unix_ms, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (1_795_988_005_411, "2026-11-29T21:33:25.411Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(date(unix_ms), shown);
        }
        assert!(date(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn the_longest_id_keeps_its_distance_from_its_tag() {
        let pair = |id, tag: &str| (Id(id), Tag::new(tag).unwrap());
        assert_eq!(
            pairs_table(&[pair(7, "a"), pair(281_474_976_710_655, "b")]),
            "ID               TAG\n7                a\n281474976710655  b\n"
        );
    }

    #[test]
    fn a_pair_survives_json_whatever_its_bytes() {
        for bytes in [&b"plain"[..], b"\xff\x00\n", "ä".as_bytes()] {
            let (id, tag) = (Id(7), Tag::new(bytes).unwrap());
            let json = serde_json::to_string(&Pair::new(id, &tag)).unwrap();
            let pair: Pair = serde_json::from_str(&json).unwrap();
            assert_eq!(pair.read(), Some((id, tag)));
        }
        for tag_hex in ["", "a", "zz", "0g", "é"] {
            let pair = Pair { id: 0, tag: None, tag_hex: tag_hex.to_owned() };
            assert_eq!(pair.read(), None, "{tag_hex:?}");
        }
    }
}
