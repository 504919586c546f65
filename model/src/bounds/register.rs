//! The bounds of the checks of registers.

use crate::check_register::{self as register, Begin, Do};
use crate::checks::{Check, Expected, Object, Tier};
use crate::search::Event::{self, Died, Got, Missed, Retried, Set, Unknown};

/// Two coordinators in three seats, one call each.
const REGISTER: register::Bounds = register::Bounds {
    begin: Begin::Empty,
    scripts: &[&[Do::Put], &[Do::Put]],
    retries: 0,
    crashes: 0,
    handed: 0,
};

const fn register(
    tier: Tier,
    name: &'static str,
    words: &'static str,
    bounds: register::Bounds,
    (states, depth): (u64, u32),
    seen: &'static [Event],
) -> Check {
    let expected = Expected::Holds { states, depth, solo: 0, seen };
    let properties = "REG-3, REG-5 to REG-10";
    Check { name, properties, bounds: words, tier, object: Object::Register(bounds), expected }
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    register(
        Tier::Quick,
        "register-two-puts",
        "2 coordinators x 1 put, 1 retry",
        register::Bounds { retries: 1, ..REGISTER },
        (0, 0),
        &[Set, Missed, Retried],
    ),
    register(
        Tier::Quick,
        "register-put-get",
        "put and get, 1 retry",
        register::Bounds { scripts: &[&[Do::Put], &[Do::Get]], retries: 1, ..REGISTER },
        (0, 0),
        &[Set, Got, Retried],
    ),
    register(
        Tier::Quick,
        "register-crash",
        "put and get, 1 crash",
        register::Bounds { crashes: 1, ..REGISTER },
        (0, 0),
        &[Set, Died],
    ),
    register(
        Tier::Quick,
        "register-handed",
        "2 puts, 1 handed over",
        register::Bounds { handed: 1, ..REGISTER },
        (0, 0),
        &[Set, Unknown],
    ),
    register(
        Tier::Quick,
        "register-swap",
        "put, swap and get",
        register::Bounds { scripts: &[&[Do::Put, Do::Swap(10)], &[Do::Get]], ..REGISTER },
        (0, 0),
        &[Set, Got],
    ),
];
