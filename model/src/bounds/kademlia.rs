//! The bounds of the checks on the routing table and on lookups, with the counts that they pin.

use crate::check_lookup::{self as lookup, Lie};
use crate::check_table as table;
use crate::checks::{Check, Expected, Object, Tier};
use crate::search::Event::{self, Died};

/// Two places, one who waits, two buckets and then a third; homes so that both limits are met.
const TABLE: table::Bounds = table::Bounds {
    k: 2,
    replacements: 1,
    buckets: 3,
    homes: [1, 2, 1, 1, 2, 2, 3],
    subnet: (1, 2),
    moves: false,
    silences: false,
};

/// Seven nodes, of which the farthest is known.
const LOOKUP: lookup::Bounds = lookup::Bounds {
    k: 2,
    alpha: 2,
    paths: 1,
    most_asked: 64,
    most_waiting: 64,
    nodes: &[1, 2, 3, 4, 5, 6, 7],
    seeds: &[1, 2],
    target: 7,
    losses: 0,
    crashes: 0,
    slow: 0,
    liar: None,
    finds: false,
};

/// Five nodes; node 1 is in league with 6 and 7, which are nearer than anybody.
const COLLUDERS: lookup::Bounds = lookup::Bounds {
    paths: 2,
    nodes: &[1, 2, 3, 4, 5],
    slow: 2,
    liar: Some((1, Lie::Colluders)),
    finds: true,
    ..LOOKUP
};

const fn table(
    name: &'static str,
    words: &'static str,
    bounds: table::Bounds,
    states: u64,
    seen: &'static [Event],
) -> Check {
    let expected = Expected::Holds { states, depth: 0, solo: 0, seen };
    let (properties, tier) = ("KAD-1 to KAD-4", Tier::Quick);
    Check { name, properties, bounds: words, tier, object: Object::Table(bounds), expected }
}

const fn lookup(
    name: &'static str,
    words: &'static str,
    bounds: lookup::Bounds,
    (states, depth): (u64, u32),
    seen: &'static [Event],
) -> Check {
    let expected = Expected::Holds { states, depth, solo: 0, seen };
    let (properties, tier) = ("KAD-4, KAD-5", Tier::Quick);
    Check { name, properties, bounds: words, tier, object: Object::Lookup(bounds), expected }
}

pub(super) const TABLE_SUBNETS: Check = table(
    "table-subnets",
    "7 contacts in 3 subnets, k=2, 1 waits, 3 buckets, 1 of a subnet in a bucket, 2 in the \
     table, each may owe an answer",
    table::Bounds { silences: true, ..TABLE },
    13_866,
    &[Event::Added, Event::Waits, Event::Crowded, Event::Promoted, Event::Greeted, Died],
);

pub(super) const TABLE_ORDER: Check = table(
    "table-order",
    "7 contacts, each in its subnet, k=2, 2 wait, 3 buckets",
    table::Bounds { homes: [1, 2, 3, 4, 5, 6, 7], replacements: 2, ..TABLE },
    2_631,
    &[Event::Added, Event::Waits, Event::Promoted, Event::Greeted, Died],
);

pub(super) const TABLE_MOVES: Check = table(
    "table-moves",
    "6 contacts that move to one common subnet and back, k=2, 1 waits, 3 buckets, 1 of a subnet \
     in a bucket, 2 in the table",
    table::Bounds { homes: [1, 2, 0, 4, 5, 1, 2], moves: true, ..TABLE },
    4_511,
    &[Event::Added, Event::Waits, Event::Crowded, Event::Promoted, Event::Greeted, Died],
);

pub(super) const LOOKUP_ONE_PATH: Check = lookup(
    "lookup-one-path",
    "7 nodes, k=2, alpha=2, 1 path, 2 losses, 2 crashes, 2 slow requests",
    lookup::Bounds { losses: 2, crashes: 2, slow: 2, ..LOOKUP },
    (58_806, 10),
    &[Event::Ended, Event::Lost, Event::Slow, Died],
);

pub(super) const LOOKUP_TWO_PATHS: Check = lookup(
    "lookup-two-paths",
    "7 nodes, k=2, alpha=3, 2 disjoint paths, 2 losses, 2 crashes, 2 slow requests",
    lookup::Bounds { alpha: 3, paths: 2, losses: 2, crashes: 2, slow: 2, ..LOOKUP },
    (81_629, 10),
    &[Event::Ended, Event::Lost, Event::Slow, Died],
);

pub(super) const LOOKUP_FINDS_LOSS: Check = lookup(
    "lookup-finds-with-a-loss",
    "7 nodes, k=2, alpha=2, 1 path, 1 loss, 2 slow requests; the closest of which no message was lost answers",
    lookup::Bounds { losses: 1, slow: 2, finds: true, ..LOOKUP },
    (1_049, 8),
    &[Event::Ended, Event::Lost, Event::Slow],
);

pub(super) const LOOKUP_FINDS_CRASH: Check = lookup(
    "lookup-finds-with-a-crash",
    "7 nodes, k=2, alpha=2, 1 path, 1 crash, 2 slow requests; the closest that stays answers",
    lookup::Bounds { crashes: 1, slow: 2, finds: true, ..LOOKUP },
    (3_483, 9),
    &[Event::Ended, Event::Lost, Event::Slow, Died],
);

/// Whom two faults leave: answers name three, so that one at least stays.
const TWO_FAULTS: lookup::Bounds = lookup::Bounds {
    k: 3,
    seeds: &[1, 2, 3],
    losses: 1,
    crashes: 1,
    slow: 1,
    finds: true,
    ..LOOKUP
};

pub(super) const LOOKUP_FINDS_BOTH: Check = lookup(
    "lookup-finds-with-both",
    "7 nodes, k=3, alpha=2, 1 path, 1 loss, 1 crash, 1 slow request; the closest of those that nothing happened to answers",
    TWO_FAULTS,
    (11_155, 9),
    &[Event::Ended, Event::Lost, Event::Slow, Died],
);

pub(super) const LOOKUP_FINDS_ON_TWO_PATHS: Check = lookup(
    "lookup-finds-on-two-paths",
    "the same with alpha=3 and 2 disjoint paths",
    lookup::Bounds { alpha: 3, paths: 2, ..TWO_FAULTS },
    (77_670, 9),
    &[Event::Ended, Event::Lost, Event::Slow, Died],
);

pub(super) const LOOKUP_LIAR_NEARER: Check = lookup(
    "lookup-liar-nearer",
    "5 nodes of which one tells nearer ones that do not exist, k=2, 1 path; the closest \
     honest one answers",
    lookup::Bounds {
        nodes: &[1, 2, 3, 4, 5],
        slow: 2,
        liar: Some((1, Lie::Nearer)),
        finds: true,
        ..LOOKUP
    },
    (295, 8),
    &[Event::Ended, Event::Lost, Event::Slow],
);

pub(super) const LOOKUP_LIAR_ELSEWHERE: Check = lookup(
    "lookup-liar-elsewhere",
    "7 nodes of which one tells wrong addresses, k=2, 1 path; the closest answers",
    lookup::Bounds { slow: 2, liar: Some((1, Lie::Elsewhere)), finds: true, ..LOOKUP },
    (521, 10),
    &[Event::Ended, Event::Lost, Event::Slow],
);

pub(super) const LOOKUP_COLLUDERS: Check = lookup(
    "lookup-colluders",
    "5 nodes of which one tells 2 nearer ones that tell only of each other, k=2, 2 disjoint \
     paths; the closest honest one answers",
    COLLUDERS,
    (494, 8),
    &[Event::Ended, Event::Slow],
);

pub(super) const LOOKUP_COLLUDERS_ONE_PATH: Check = Check {
    name: "lookup-colluders-one-path",
    properties: "KAD-4",
    bounds: "the same with 1 path",
    tier: Tier::Quick,
    object: Object::Misled(lookup::Bounds { paths: 1, ..COLLUDERS }),
    expected: Expected::Fails { property: "KAD-4", steps: 3 },
};

pub(super) const LOOKUP_BOUNDED: Check = lookup(
    "lookup-bounded",
    "7 nodes, k=3, alpha=2, 1 path, at most 4 requests and 3 candidates, 1 loss, 1 crash",
    lookup::Bounds {
        k: 3,
        most_asked: 4,
        most_waiting: 3,
        losses: 1,
        crashes: 1,
        slow: 1,
        ..LOOKUP
    },
    (1_279, 6),
    &[Event::Ended, Event::Lost, Event::Slow, Died],
);
