//! Spin on `specs/spin/register.pml`, against the real members and coordinators in
//! [`crate::register_twin`].
//!
//! The same invariants as for the pool's twin ([`spin`]). Checks REG-7 and REG-9.

use super::spin::{self, Text};
use super::{Opinion, Question, Verdict};
use crate::register_twin::Bounds;
use crate::twin::Explored;

const MODEL: &Text = &[("register.pml", include_str!("../../../specs/spin/register.pml"))];

const PUTS: Bounds = Bounds { gets: [false, false], retries: 0 };
const PUT_AND_GET: Bounds = Bounds { gets: [false, true], retries: 0 };

/// The twin's bounds, and what both sides must find.
const TWINS: [(Bounds, Explored); 4] = [
    (PUTS, Explored { states: 20_464, transitions: 420_483 }),
    (PUT_AND_GET, Explored { states: 20_246, transitions: 566_435 }),
    (Bounds { gets: [true, true], ..PUTS }, Explored { states: 36, transitions: 373 }),
    (Bounds { gets: [true, true], retries: 1 }, Explored { states: 324, transitions: 5_365 }),
];

/// The same, where that takes many minutes.
const DEEP: [(Bounds, Explored); 2] = [
    (Bounds { retries: 1, ..PUTS }, Explored { states: 709_021, transitions: 22_796_570 }),
    (Bounds { retries: 1, ..PUT_AND_GET }, Explored { states: 334_481, transitions: 12_327_249 }),
];

/// What must violate an assertion, where, and what that shows.
const FAILURES: [(&str, Bounds, &str); 8] = [
    ("MUTANT_FIRST", PUT_AND_GET, "the first answer counts, not that of the highest ballot"),
    ("MUTANT_NO_WRITE_BACK", PUT_AND_GET, "what only some members have is answered"),
    ("MUTANT_BELOW", PUTS, "a member accepts below what it has promised"),
    ("MUTANT_ONE", PUTS, "one member is a majority"),
    ("WITNESS_BOTH", PUT_AND_GET, "both calls end"),
    ("WITNESS_WRITE_BACK", PUT_AND_GET, "a state is written back"),
    ("WITNESS_REFUSED", PUTS, "an awaited accept is refused"),
    ("WITNESS_ABSENT", PUT_AND_GET, "a get finds nothing"),
];

const WHAT: &str = "Spin and the real members and coordinators reach as many states";

fn twin((bounds, pinned): (Bounds, Explored)) -> Question {
    let name = format!("register.pml, {}", describe(bounds));
    let about = format!("spin: {name}");
    let ask = move || {
        let found = spin::search(MODEL, &definitions(bounds), None);
        let verdict = spin::judge_twin(bounds.explore(), found, pinned);
        spin::twin_opinion(name, WHAT, verdict, pinned)
    };
    Question { about, ask: Box::new(ask) }
}

/// What only a deep run asks.
pub(super) fn deep() -> Vec<Question> {
    DEEP.into_iter().map(twin).collect()
}

/// The same, not asked: what is pinned.
pub(super) fn put_off(reason: &str) -> Vec<Opinion> {
    let opinion = |(bounds, Explored { states, transitions }): (Bounds, Explored)| Opinion {
        tool: "spin",
        name: format!("register.pml, {}", describe(bounds)),
        what: WHAT.to_owned(),
        verdict: Verdict::NotRun(reason.to_owned()),
        detail: format!("{reason}: {states} states, {transitions} transitions"),
    };
    DEEP.into_iter().map(opinion).collect()
}

pub(super) fn questions() -> Vec<Question> {
    let failure = |(flag, bounds, what): (&'static str, Bounds, &'static str)| {
        let name = format!("register.pml, {flag}, {}", describe(bounds));
        let about = format!("spin: {name}");
        let ask = move || {
            let verdict: Verdict =
                spin::judge_failure(spin::search(MODEL, &definitions(bounds), Some(flag)));
            spin::failure_opinion(name, what, verdict)
        };
        Question { about, ask: Box::new(ask) }
    };
    TWINS.into_iter().map(twin).chain(FAILURES.into_iter().map(failure)).collect()
}

/// `put and get, 1 round begun again`
fn describe(bounds: Bounds) -> String {
    let [one, other] = bounds.gets.map(|get| if get { "get" } else { "put" });
    let again = if bounds.retries > 0 { ", 1 round begun again" } else { "" };
    format!("{one} and {other}{again}")
}

/// The bounds as `register.pml` takes them.
fn definitions(bounds: Bounds) -> [String; 2] {
    let gets = u8::from(bounds.gets[0]) | u8::from(bounds.gets[1]) << 1;
    [format!("-DGETS={gets}"), format!("-DRETRIES={}", bounds.retries)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_reach_spin_as_numbers() {
        let bounds = Bounds { retries: 1, ..PUT_AND_GET };
        assert_eq!(definitions(bounds).join(" "), "-DGETS=2 -DRETRIES=1");
        assert_eq!(describe(bounds), "put and get, 1 round begun again");
    }
}
