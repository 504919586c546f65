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
    learn: 3,
};

/// Two changes of view, with nodes that stay. Two members of each later view are a majority; the third
/// never learns that it is one, or all three would be too much.
const OVERLAP: handover::Bounds = handover::Bounds {
    views: &[[0, 1, 2], [1, 2, 3], [2, 3, 4]],
    accepts: &[1, 1, 0],
    learn: 2,
    ..HANDOVER
};

/// With no node in two of them, so that seats are alike.
const ALIKE: handover::Bounds =
    handover::Bounds { views: &[[0, 1, 2], [3, 4, 5]], symmetric: true, ..HANDOVER };
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
    // REG-14: an accept may reach any replica of its nodes, or, where seats are alike, of all.
    let what = (tier, "REG-2 to REG-4, REG-6, REG-12 to REG-14");
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
    // REG-14: what is asked may stray to replicas of later views.
    let what = (tier, "REG-1, REG-3, REG-6, REG-13, REG-14");
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
        Tier::Quick,
        "register-restart",
        "nothing there; 2 puts one after the other through one coordinator, 1 crash",
        register::Bounds { scripts: &[&[Do::Put, Do::Put]], crashes: 1, ..REGISTER },
        (2_133, 23),
        &[Set, Missed, Died],
    ),
    register(
        Tier::Push,
        "register-restart-beside",
        "nothing there; the same, and a put through another coordinator",
        register::Bounds { scripts: &[&[Do::Put, Do::Put], &[Do::Put]], crashes: 1, ..REGISTER },
        (204_361, 32),
        &[Set, Missed, Died],
    ),
    register(
        Tier::Deep,
        "register-restart-get",
        "nothing there; put and then get through one coordinator, get through another, 1 crash",
        register::Bounds { scripts: &[&[Do::Put, Do::Get], &[Do::Get]], crashes: 1, ..REGISTER },
        (1_714_457, 42),
        &[Set, Got, Died],
    ),
    register(
        Tier::Quick,
        "register-remove",
        "nothing there; put and remove through one coordinator, get through another",
        register::Bounds { scripts: &[&[Do::Put, Do::Remove(10)], &[Do::Get]], ..REGISTER },
        (54_687, 30),
        &[Set, Got],
    ),
    register(
        Tier::Quick,
        "register-version",
        "nothing there; put through one coordinator, swap by version 1 through another",
        register::Bounds { scripts: &[&[Do::Put], &[Do::SwapVersion(1)]], ..REGISTER },
        (1_565, 16),
        &[Set, Missed],
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
    collection(
        Tier::Quick,
        "collection-get",
        "a tombstone at all members; get beside 1 collection",
        register::Bounds {
            begin: Begin::Removed([1, 1, 1]),
            scripts: &[&[Do::Get], &[]],
            collections: 1,
            ..REGISTER
        },
        (7_334, 27),
        &[Got, Collected],
    ),
    collection(
        Tier::Push,
        "collection-again",
        "a tombstone at all members; another one in its place, beside 2 collections",
        register::Bounds {
            begin: Begin::Removed([1, 1, 1]),
            scripts: &[&[Do::RemoveAgain], &[]],
            collections: 2,
            ..REGISTER
        },
        (72_082, 32),
        &[Set, Collected],
    ),
    collection(
        Tier::Push,
        "collection-twice",
        "a tombstone at all members; put and remove beside 2 collections",
        register::Bounds {
            begin: Begin::Removed([1, 1, 1]),
            scripts: &[&[Do::Put, Do::Remove(10)], &[]],
            collections: 2,
            ..REGISTER
        },
        (109_430, 40),
        &[Set, Collected],
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
        handover::Bounds { accepts: &[1, 0], ..ALIKE },
        (1_729, 21),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Deep,
        "views-alike-crash",
        "2 views, seats alike; 2 accepts on their way in the first and 1 in the second, 1 replica crashes",
        handover::Bounds { accepts: &[2, 1], crashes: 1, ..ALIKE },
        (86_854, 29),
        &[Voted, Sealed, Activated, Retired, Died],
    ),
    handover(
        Tier::Deep,
        "views-alike-three",
        "2 views, seats alike; 3 accepts on their way in the first",
        handover::Bounds { accepts: &[3, 0], ..ALIKE },
        (97_597, 27),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Deep,
        "views-twice",
        "3 views one after another, seats alike; 1 accept on its way in the first",
        handover::Bounds { views: THREE_VIEWS, accepts: &[1, 0, 0], ..ALIKE },
        (228_002, 39),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Deep,
        "views-twice-voting",
        "3 views one after another, seats alike; 1 accept on its way in the first and 1 in the second",
        handover::Bounds { views: THREE_VIEWS, accepts: &[1, 1, 0], ..ALIKE },
        (1_616_370, 42),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Push,
        "views-overlap",
        "3 views of 5 nodes, each with two of the one before, of the later ones two members learn of it; 1 accept on its way in the first",
        handover::Bounds { accepts: &[1, 0, 0], ..OVERLAP },
        (123_064, 30),
        &[Voted, Sealed, Activated, Retired],
    ),
    handover(
        Tier::Deep,
        "views-overlap-all",
        "3 views of 5 nodes, each with two of the one before; nothing on its way",
        handover::Bounds { accepts: &[0, 0, 0], learn: 3, ..OVERLAP },
        (2_620_081, 36),
        &[Sealed, Activated, Retired],
    ),
    handover(
        Tier::Deep,
        "views-overlap-crash",
        "the same, of the later views two members learn of it; 1 accept on its way in each of the first two, 1 crash",
        handover::Bounds { crashes: 1, ..OVERLAP },
        (1_424_024, 35),
        &[Voted, Sealed, Activated, Retired, Died],
    ),
    handover(
        Tier::Deep,
        "views-back",
        "3 views, the second of wholly other nodes and the third of the first ones, of the later ones two members learn of it; 1 accept on its way in the first, 1 crash",
        handover::Bounds {
            views: &[[0, 1, 2], [3, 4, 5], [0, 1, 2]],
            accepts: &[1, 0, 0],
            crashes: 1,
            ..OVERLAP
        },
        (337_720, 32),
        &[Voted, Sealed, Activated, Retired, Died],
    ),
];
