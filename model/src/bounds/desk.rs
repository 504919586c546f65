//! The bounds of the checks of hosts that serve many calls together.

use cloakroom_pool::Policy::{LowestFirst, Spread};

use crate::check_desk::Bounds;
use crate::checks::{Check, Expected, Object, Tier};
use crate::search::Event::{
    self, AlreadyFree, Died, Freed, Full, Joined, LateApplied, LateRefused, Later, Mismatch,
    Recalled, Settled, Together,
};

/// Two hosts with two calls each over two ids, which may come together.
const DESK: Bounds = Bounds {
    size: 2,
    shape: (2, 1),
    policy: LowestFirst,
    calls: &[2, 2],
    together: 2,
    deaths: 0,
    unknowns: 0,
    cuts: 0,
    memories: 0,
    joins: false,
};

const fn desk(
    tier: Tier,
    name: &'static str,
    words: &'static str,
    bounds: Bounds,
    (states, depth, solo): (u64, u32, u32),
    seen: &'static [Event],
) -> Check {
    let expected = Expected::Holds { states, depth, solo, seen };
    let (properties, object) = ("POOL-1 to POOL-6", Object::Desk(bounds));
    Check { name, properties, bounds: words, tier, object, expected }
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    desk(
        Tier::Quick,
        "desk-two-hosts",
        "N=2 (2,1), 2 hosts x 2 calls, together or not",
        DESK,
        (6_397, 45, 13),
        &[Full, Freed, Mismatch, Later],
    ),
    desk(
        Tier::Quick,
        "desk-block",
        "N=2 (2,2), no node above the block, 2 hosts x 2 calls, 1 death, 1 unknown, 1 cut, hosts that \
         remember 1 value",
        Bounds { shape: (2, 2), deaths: 1, unknowns: 1, cuts: 1, memories: 1, ..DESK },
        (154_463, 37, 12),
        &[
            Full,
            Freed,
            AlreadyFree,
            Mismatch,
            Together,
            Later,
            Recalled,
            LateApplied,
            LateRefused,
            Died,
        ],
    ),
    desk(
        Tier::Push,
        "desk-blocks",
        "N=4 (2,2), 2 hosts x 3 and 2 calls",
        Bounds { size: 4, shape: (2, 2), calls: &[3, 2], ..DESK },
        (37_146, 55, 14),
        &[Freed, Mismatch, Together, Later],
    ),
    desk(
        Tier::Push,
        "desk-death",
        "N=2 (2,1), 2 hosts x 2 calls, 1 death, 1 cut",
        Bounds { deaths: 1, cuts: 1, ..DESK },
        (94_749, 57, 13),
        &[Full, Freed, AlreadyFree, Mismatch, Later, Died],
    ),
    desk(
        Tier::Push,
        "desk-unknown",
        "N=2 (2,1), 2 hosts x 2 calls, 1 unknown",
        Bounds { unknowns: 1, ..DESK },
        (118_577, 53, 15),
        &[Full, Freed, Mismatch, Later, LateApplied, LateRefused, Settled],
    ),
    desk(
        Tier::Push,
        "desk-doubt",
        "N=4 (2,2), 2 hosts x 2 calls, 1 unknown",
        Bounds { size: 4, shape: (2, 2), unknowns: 1, ..DESK },
        (150_497, 50, 17),
        &[Freed, Mismatch, Together, LateApplied, LateRefused, Settled],
    ),
    desk(
        Tier::Push,
        "desk-recalled",
        "N=2 (2,1), 2 hosts x 2 calls, hosts that remember 2 values",
        Bounds { memories: 2, ..DESK },
        (247_156, 54, 21),
        &[Full, Freed, Mismatch, Later, Recalled],
    ),
    desk(
        Tier::Push,
        "desk-spread",
        "N=4 (2,1), depth 2, policy spread, 2 hosts x 2 calls",
        Bounds { size: 4, policy: Spread, ..DESK },
        (41_486, 82, 26),
        &[Freed, Mismatch],
    ),
    desk(
        Tier::Quick,
        "desk-joined",
        "N=2 (2,1), 2 hosts x 2 calls, which join turns under way",
        Bounds { joins: true, ..DESK },
        (9_349, 45, 13),
        &[Full, Freed, Mismatch, Joined],
    ),
    desk(
        Tier::Push,
        "desk-joined-three",
        "N=2 (2,1), 2 hosts x 3 calls, which join turns under way",
        Bounds { calls: &[3, 3], joins: true, ..DESK },
        (226_042, 68, 14),
        &[Full, Freed, Mismatch, Joined],
    ),
    desk(
        Tier::Push,
        "desk-joined-tree",
        "N=4 (2,1), depth 2, 2 hosts x 3 and 2 calls, which join turns under way",
        Bounds { size: 4, calls: &[3, 2], joins: true, ..DESK },
        (622_174, 97, 29),
        &[Freed, Mismatch, Joined],
    ),
    desk(
        Tier::Push,
        "desk-joined-unknown",
        "N=2 (2,1), 2 hosts x 3 and 2 calls, which join turns under way, 1 unknown",
        Bounds { calls: &[3, 2], unknowns: 1, joins: true, ..DESK },
        (1_028_394, 63, 16),
        &[Full, Freed, Mismatch, Joined, LateApplied, LateRefused, Settled],
    ),
    desk(
        Tier::Push,
        "desk-joined-death",
        "N=2 (2,1), 2 hosts x 3 and 2 calls, which join turns under way, 1 death, 1 cut",
        Bounds { calls: &[3, 2], deaths: 1, cuts: 1, joins: true, ..DESK },
        (793_732, 68, 15),
        &[Full, Freed, AlreadyFree, Mismatch, Joined, Died],
    ),
    desk(
        Tier::Push,
        "desk-joined-recalled",
        "N=2 (2,1), 2 hosts x 3 and 2 calls, which join turns under way, hosts that remember 1 value",
        Bounds { calls: &[3, 2], memories: 1, joins: true, ..DESK },
        (641_306, 66, 20),
        &[Full, Freed, Mismatch, Joined, Recalled],
    ),
    desk(
        Tier::Push,
        "desk-three-hosts",
        "N=2 (2,1), 3 hosts x 2, 1 and 1 calls",
        Bounds { calls: &[2, 1, 1], ..DESK },
        (77_700, 61, 12),
        &[Full, Freed, Mismatch, Later],
    ),
];
