//! Lines of a log that strangers can cause: some in a while, and how many were left out.
//!
//! Invariants: NET-3: in a [`WHILE`] at most [`MOST`] lines, whoever causes them.
//!
//! What it does not do: write them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;

const WHILE: Duration = Duration::from_secs(10);
const MOST: u32 = 8;

/// What was said lately.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Seldom {
    /// Whether a line may be written now; if so, how many were not since the last one.
    pub(crate) fn may_say(&self, now: Instant) -> Option<u64> {
        let said = &mut *lock(&self.0);
        if said.since.is_none_or(|since| now.duration_since(since) >= WHILE) {
            (said.since, said.lines) = (Some(now), 0);
        }
        if said.lines == MOST {
            said.left_out += 1;
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_lines_are_said_and_then_how_many_were_not() {
        let (seldom, begun) = (Seldom::default(), Instant::now());
        let said: Vec<_> = (0..100).filter_map(|_| seldom.may_say(begun)).collect();
        assert_eq!(said, [0; 8]);
        assert_eq!(seldom.may_say(begun + WHILE), Some(92));
        assert_eq!(seldom.may_say(begun + WHILE), Some(0));
    }
}
