//! The bounds of the checks of registers: `check_register`, `check_collection` and `check_views`.

use crate::check_register::{self as register, Begin, Do};
use crate::check_views::{decree, handover};
use crate::checks::{Check, Expected, Object, Tier};
use crate::search::Event::{
    self, Activated, Collected, Decided, Died, Got, Missed, Retired, Retried, Sealed, Set, Unknown,
    Voted,
};

/// Two coordinators in three seats, one call each.
const REGISTER: register::Bounds = register::Bounds {
    begin: Begin::Empty,
    scripts: &[&[Do::Put], &[Do::Put]],
    retries: 0,
    crashes: 0,
    handed: 0,
    collections: 0,
};

/// One view after another, with one node in both.
const HANDOVER: handover::Bounds = handover::Bounds {
    views: &[[0, 1, 2], [2, 3, 4]],
    accepts: &[2, 1],
    crashes: 0,
    symmetric: false,
};

/// With no node in two of them, so that seats are alike.
const TWO_VIEWS: &[[u8; 3]] = &[[0, 1, 2], [3, 4, 5]];
const THREE_VIEWS: &[[u8; 3]] = &[[0, 1, 2], [3, 4, 5], [6, 7, 8]];

/// Two members with different plans.
const DECREE: decree::Bounds =
    decree::Bounds { candidates: &[[0, 1, 3], [1, 2, 3]], retries: 0, crashes: 0 };

const fn check(
    (tier, properties): (Tier, &'static str),
    name: &'static str,
    bounds: &'static str,
    object: Object,
    (states, depth): (u64, u32),
    seen: &'static [Event],
) -> Check {
    let expected = Expected::Holds { states, depth, solo: 0, seen };
    Check { name, properties, bounds, tier, object, expected }
}

const fn register(
    tier: Tier,
    name: &'static str,
    words: &'static str,
    bounds: register::Bounds,
    counts: (u64, u32),
    seen: &'static [Event],
) -> Check {
    let what = (tier, "REG-3, REG-5 to REG-10");
    check(what, name, words, Object::Register(bounds), counts, seen)
}

const fn collection(
    tier: Tier,
    name: &'static str,
    words: &'static str,
    bounds: register::Bounds,
    counts: (u64, u32),
    seen: &'static [Event],
) -> Check {
    let what = (tier, "REG-3, REG-5 to REG-11");
    check(what, name, words, Object::Register(bounds), counts, seen)
}

const fn handover(
    tier: Tier,
    name: &'static str,
    words: &'static str,
    bounds: handover::Bounds,
    counts: (u64, u32),
    seen: &'static [Event],
) -> Check {
    let what = (tier, "REG-2 to REG-4, REG-6, REG-12, REG-13");
    check(what, name, words, Object::Handover(bounds), counts, seen)
}

const fn decree(
    tier: Tier,
    name: &'static str,
    words: &'static str,
    bounds: decree::Bounds,
    counts: (u64, u32),
    seen: &'static [Event],
) -> Check {
    let what = (tier, "REG-1, REG-3, REG-6, REG-13");
    check(what, name, words, Object::Decree(bounds), counts, seen)
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    register(
        Tier::Quick,
        "register-two-puts",
        "nothing there; 2 coordinators x 1 put",
        REGISTER,
        (17_676, 22),
        &[Set],
    ),
    register(
        Tier::Quick,
        "register-next",
        "nothing there; put and swap through one coordinator, get through another",
        register::Bounds { scripts: &[&[Do::Put, Do::Swap(10)], &[Do::Get]], ..REGISTER },
        (54_687, 30),
        &[Set, Got],
    ),
    register(
        Tier::Quick,
        "register-copied",
        "copies of two states of the view before, neither chosen, the higher in a minority; get x 2",
        register::Bounds {
            begin: Begin::Copied([Some(0), Some(0), Some(1)]),
            scripts: &[&[Do::Get], &[Do::Get]],
            ..REGISTER
        },
        (37_442, 26),
        &[Got],
    ),
    register(
        Tier::Quick,
        "register-handed",
        "nothing there; 2 coordinators x 1 put, 1 given up and tried again through the other",
        register::Bounds { handed: 1, ..REGISTER },
        (27_766, 35),
        &[Set, Missed, Unknown],
    ),
    register(
        Tier::Quick,
        "register-crash",
        "nothing there; put and get, 1 crash",
        register::Bounds { scripts: &[&[Do::Put], &[Do::Get]], crashes: 1, ..REGISTER },
        (96_858, 27),
        &[Set, Got, Died],
    ),
    register(
        Tier::Push,
        "register-two-puts-crash",
        "nothing there; 2 coordinators x 1 put, 1 crash",
        register::Bounds { crashes: 1, ..REGISTER },
        (56_842, 23),
        &[Set, Died],
    ),
    register(
        Tier::Deep,
        "register-chosen",
        "a state chosen in the view before, and in a minority one that follows it; swap and get, 1 crash",
        register::Bounds {
            begin: Begin::Chosen([0, 0, 1]),
            scripts: &[&[Do::Swap(101)], &[Do::Get]],
            crashes: 1,
            ..REGISTER
        },
        (363_639, 27),
        &[Set, Missed, Got, Died],
    ),
    register(
        Tier::Deep,
        "register-put-get",
        "nothing there; put and get, 1 round begun again",
        register::Bounds { scripts: &[&[Do::Put], &[Do::Get]], retries: 1, ..REGISTER },
        (1_022_973, 38),
        &[Set, Got, Retried],
    ),
    collection(
        Tier::Quick,
        "collection-put",
        "a tombstone at all members; put and then get beside 1 collection",
        register::Bounds {
            begin: Begin::Removed([1, 1, 1]),
            scripts: &[&[Do::Put, Do::Get], &[]],
            collections: 1,
            ..REGISTER
        },
        (30_882, 38),
        &[Set, Got, Collected],
    ),
    collection(
        Tier::Quick,
        "collection-behind",
        "a tombstone at two members, and at one the value that it removed; put beside 1 collection",
        register::Bounds {
            begin: Begin::Removed([1, 0, 1]),
            scripts: &[&[Do::Put], &[]],
            collections: 1,
            ..REGISTER
        },
        (1_411, 17),
        &[Set],
    ),
    collection(
        Tier::Push,
        "collection-crash",
        "a tombstone at all members; put beside 2 collections, 1 crash",
        register::Bounds {
            begin: Begin::Removed([1, 1, 1]),
            scripts: &[&[Do::Put], &[]],
            collections: 2,
            crashes: 1,
            ..REGISTER
        },
        (245_491, 30),
        &[Set, Collected, Died],
    ),
    decree(
        Tier::Quick,
        "views-decree",
        "2 members propose different views",
        DECREE,
        (6_833, 21),
        &[Decided, Sealed],
    ),
    decree(
        Tier::Push,
        "views-decree-again",
        "2 members propose different views, 1 round begun again",
        decree::Bounds { retries: 1, ..DECREE },
        (313_689, 30),
        &[Decided, Retried, Sealed],
    ),
    decree(
        Tier::Deep,
        "views-decree-crash",
        "2 members propose different views, 1 crash",
        decree::Bounds { crashes: 1, ..DECREE },
        (379_292, 31),
        &[Decided, Died, Sealed],
    ),
    decree(
        Tier::Deep,
        "views-decree-three",
        "3 members propose different views",
        decree::Bounds { candidates: &[[0, 1, 3], [1, 2, 3], [2, 3, 4]], ..DECREE },
        (368_105, 30),
        &[Decided, Sealed],
    ),
    handover(
        Tier::Quick,
        "views-handover",
        "2 views of 5 nodes with one in both; 1 accept on its way in the first",
        handover::Bounds { accepts: &[1, 0], ..HANDOVER },
        (46_451, 21),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Quick,
        "views-replaced",
        "2 views with no node in both; 1 accept on its way in the first",
        handover::Bounds { views: &[[0, 1, 2], [3, 4, 5]], accepts: &[1, 0], ..HANDOVER },
        (46_451, 21),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Push,
        "views-two-stay",
        "2 views of 4 nodes with two in both; 1 accept on its way in the first",
        handover::Bounds { views: &[[0, 1, 2], [1, 2, 3]], accepts: &[1, 0], ..HANDOVER },
        (46_451, 21),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Push,
        "views-all-stay",
        "2 views of the same 3 nodes in other seats; 1 accept on its way in the first",
        handover::Bounds { views: &[[0, 1, 2], [2, 0, 1]], accepts: &[1, 0], ..HANDOVER },
        (46_451, 21),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Deep,
        "views-one-stays",
        "2 views of 5 nodes with one in both; 2 accepts on their way in the first",
        handover::Bounds { accepts: &[2, 0], ..HANDOVER },
        (389_251, 24),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Deep,
        "views-crash",
        "2 views of 4 nodes with two in both; 1 accept on its way in each, 1 crash",
        handover::Bounds {
            views: &[[0, 1, 2], [1, 2, 3]],
            accepts: &[1, 1],
            crashes: 1,
            ..HANDOVER
        },
        (529_379, 26),
        &[Voted, Sealed, Activated, Retired, Died],
    ),
    handover(
        Tier::Quick,
        "views-alike",
        "2 views, seats alike; 1 accept on its way in the first",
        handover::Bounds { views: TWO_VIEWS, accepts: &[1, 0], crashes: 0, symmetric: true },
        (1_729, 21),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Deep,
        "views-alike-crash",
        "2 views, seats alike; 2 accepts on their way in the first and 1 in the second, 1 replica crashes",
        handover::Bounds { views: TWO_VIEWS, accepts: &[2, 1], crashes: 1, symmetric: true },
        (86_854, 29),
        &[Voted, Sealed, Activated, Retired, Died],
    ),
    handover(
        Tier::Deep,
        "views-alike-three",
        "2 views, seats alike; 3 accepts on their way in the first",
        handover::Bounds { views: TWO_VIEWS, accepts: &[3, 0], crashes: 0, symmetric: true },
        (97_597, 27),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Deep,
        "views-twice",
        "3 views one after another, seats alike; 1 accept on its way in the first",
        handover::Bounds { views: THREE_VIEWS, accepts: &[1, 0, 0], crashes: 0, symmetric: true },
        (228_002, 39),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Deep,
        "views-twice-voting",
        "3 views one after another, seats alike; 1 accept on its way in the first and 1 in the second",
        handover::Bounds { views: THREE_VIEWS, accepts: &[1, 1, 0], crashes: 0, symmetric: true },
        (1_616_370, 42),
        &[Voted, Sealed, Activated, Retired],
    ),
];
