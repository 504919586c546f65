//! The bounds of every check, with the counts that they pin.

mod desk;
mod kademlia;
mod register;

use cloakroom_pool::Policy::{LowestFirst, Spread};

use crate::article::FAULTS;
use crate::check_pool as pool;
use crate::check_recovery::{self as recovery, Rule};
use crate::checks::{Check, Expected, Object, Tier};
use crate::search::Event::{
    self, AlreadyFree, Died, Freed, Full, Help, LateApplied, LateRefused, Mismatch, NotOwner,
    Overtaken, Recalled, Recovered, TriedAgain,
};

/// Two callers with two calls over two ids, the least in which anything can go wrong.
const POOL: pool::Bounds = pool::Bounds {
    size: 2,
    shape: (2, 1),
    policy: LowestFirst,
    calls: &[2, 2],
    deaths: 0,
    unknowns: 0,
    cuts: 0,
    again: false,
    memories: 0,
    attempts: 0,
};

/// Two callers with a session each, one death, one recovery beside them.
const RECOVERY: recovery::Bounds = recovery::Bounds {
    size: 2,
    shape: (2, 1),
    policy: LowestFirst,
    sessions: &[1, 1],
    deaths: 1,
    unknowns: 0,
    recoveries: 1,
    at_once: 1,
    broken: None,
};

const ALL: &str = "POOL-1 to POOL-6";

const fn pool(
    tier: Tier,
    name: &'static str,
    words: &'static str,
    bounds: pool::Bounds,
    (states, depth, solo): (u64, u32, u32),
    seen: &'static [Event],
) -> Check {
    let expected = Expected::Holds { states, depth, solo, seen };
    Check { name, properties: ALL, bounds: words, tier, object: Object::Pool(bounds), expected }
}

const fn recovery(
    tier: Tier,
    name: &'static str,
    words: &'static str,
    bounds: recovery::Bounds,
    (states, depth, solo): (u64, u32, u32),
    seen: &'static [Event],
) -> Check {
    let expected = Expected::Holds { states, depth, solo, seen };
    let object = Object::Recovery(bounds);
    Check {
        name,
        properties: "POOL-1, POOL-3, POOL-5, POOL-7",
        bounds: words,
        tier,
        object,
        expected,
    }
}

const fn broken(
    name: &'static str,
    words: &'static str,
    rule: Rule,
    property: &'static str,
    steps: usize,
) -> Check {
    Check {
        name,
        properties: property,
        bounds: words,
        tier: Tier::Quick,
        object: Object::Broken(recovery::Bounds { broken: Some(rule), ..RECOVERY }),
        expected: Expected::Fails { property, steps },
    }
}

const fn fault(name: &'static str, which: usize, steps: usize) -> Check {
    let fault = &FAULTS[which];
    Check {
        name,
        properties: fault.property,
        bounds: fault.bounds,
        tier: Tier::Quick,
        object: Object::Fault(fault),
        expected: Expected::Fails { property: fault.property, steps },
    }
}

/// What any check with unknown outcomes must have seen.
const LATE: &[Event] = &[Full, Freed, Help, Mismatch, LateApplied, LateRefused];
/// What any check with deaths must have seen.
const DEATHS: &[Event] = &[Full, Freed, AlreadyFree, Help, Mismatch, Died];

/// All checks, in the order in which they run.
pub const CHECKS: &[Check] =
    &joined::<{ POOLS.len() + desk::CHECKS.len() + register::CHECKS.len() }>();

const fn joined<const ALL: usize>() -> [Check; ALL] {
    let mut all = [POOLS[0]; ALL];
    let mut at = 0;
    while at < ALL {
        let (pools, desks) = (POOLS.len(), POOLS.len() + desk::CHECKS.len());
        all[at] = if at < pools {
            POOLS[at]
        } else if at < desks {
            desk::CHECKS[at - pools]
        } else {
            register::CHECKS[at - desks]
        };
        at += 1;
    }
    all
}

/// The checks of the pool and of the published algorithm.
const POOLS: &[Check] = &[
    fault("article-lost-capacity", 0, 25),
    fault("article-live-lock", 1, 25),
    fault("article-helper-that-skips", 2, 24),
    fault("article-phantom", 3, 30),
    pool(
        Tier::Quick,
        "pool-two-callers",
        "N=2 (2,1), 2 callers x 2 calls, 1 death, 1 unknown, 1 cut, frees again",
        pool::Bounds { deaths: 1, unknowns: 1, cuts: 1, again: true, ..POOL },
        (301_941, 50, 8),
        &[Full, Freed, AlreadyFree, NotOwner, Help, Mismatch, LateApplied, LateRefused, Died],
    ),
    pool(
        Tier::Quick,
        "pool-one-block",
        "N=2 (2,2), no node above the block, 3 callers x 2 calls, 1 death, 1 unknown, frees again",
        pool::Bounds {
            shape: (2, 2),
            calls: &[2, 2, 2],
            deaths: 1,
            unknowns: 1,
            again: true,
            ..POOL
        },
        (93_324, 24, 2),
        &[Full, Freed, AlreadyFree, NotOwner, Mismatch, LateApplied, LateRefused, Died],
    ),
    pool(
        Tier::Quick,
        "pool-four-callers",
        "N=2 (2,1), 4 callers x 1 call, 1 death",
        pool::Bounds { calls: &[1, 1, 1, 1], deaths: 1, ..POOL },
        (280_088, 63, 8),
        &[Full, Help, Mismatch, Died],
    ),
    pool(
        Tier::Quick,
        "pool-ragged",
        "N=3 (2,1), a tree of depth 2 with one child missing, 2 callers x 2 calls, 1 death, 1 unknown",
        pool::Bounds { size: 3, deaths: 1, unknowns: 1, ..POOL },
        (837_406, 75, 19),
        &[Freed, AlreadyFree, Help, Mismatch, LateApplied, LateRefused, Died],
    ),
    pool(
        Tier::Quick,
        "pool-blocks",
        "N=4 (2,2), 2 callers x 3 calls, 1 unknown",
        pool::Bounds { size: 4, shape: (2, 2), calls: &[3, 3], unknowns: 1, ..POOL },
        (572_728, 58, 8),
        LATE,
    ),
    pool(
        Tier::Quick,
        "pool-wide",
        "N=4 (4,1), 2 callers x 3 calls, 1 death",
        pool::Bounds { size: 4, shape: (4, 1), calls: &[3, 3], deaths: 1, ..POOL },
        (57_004, 63, 11),
        &[Full, Freed, AlreadyFree, Help, Mismatch, Died],
    ),
    pool(
        Tier::Quick,
        "pool-spread",
        "N=4 (2,1), depth 2, policy spread, 2 callers x 2 calls, 1 death, 1 unknown",
        pool::Bounds { size: 4, policy: Spread, deaths: 1, unknowns: 1, ..POOL },
        (797_854, 78, 19),
        &[Freed, AlreadyFree, Mismatch, LateApplied, LateRefused, Died],
    ),
    pool(
        Tier::Quick,
        "pool-recalled",
        "N=2 (2,1), 2 callers x 2 calls, 1 death, a host that remembers 2 values",
        pool::Bounds { memories: 2, deaths: 1, ..POOL },
        (194_880, 50, 10),
        &[Full, Freed, Help, Mismatch, Recalled, Died],
    ),
    pool(
        Tier::Quick,
        "pool-recalled-block",
        "N=2 (2,2), 2 callers x 2 calls, 1 death, 1 unknown, frees again, a host that remembers 2 values",
        pool::Bounds { shape: (2, 2), memories: 2, deaths: 1, unknowns: 1, again: true, ..POOL },
        (21_382, 20, 3),
        &[Full, Freed, AlreadyFree, NotOwner, Mismatch, Recalled, LateApplied, Died],
    ),
    pool(
        Tier::Push,
        "pool-recalled-unknown",
        "N=2 (2,1), 2 callers x 2 calls, 1 unknown, frees again, a host that remembers 1 value",
        pool::Bounds { memories: 1, unknowns: 1, again: true, ..POOL },
        (321_297, 51, 10),
        &[Full, Freed, Help, Mismatch, Recalled, LateApplied],
    ),
    pool(
        Tier::Push,
        "pool-three-callers-unknown",
        "N=2 (2,1), 3 callers x 2, 1 and 1 calls, 1 unknown",
        pool::Bounds { calls: &[2, 1, 1], unknowns: 1, ..POOL },
        (478_846, 63, 8),
        LATE,
    ),
    pool(
        Tier::Push,
        "pool-three-callers",
        "N=2 (2,1), 3 callers x 2 calls, 2 deaths, frees again",
        pool::Bounds { calls: &[2, 2, 2], deaths: 2, again: true, ..POOL },
        (1_666_162, 90, 8),
        &[Full, Freed, AlreadyFree, NotOwner, Help, Mismatch, Died],
    ),
    pool(
        Tier::Deep,
        "pool-deep-tree",
        "N=4 (2,1), depth 2, 2 callers x 3 calls, 1 death, 1 unknown",
        pool::Bounds { size: 4, calls: &[3, 3], deaths: 1, unknowns: 1, ..POOL },
        (13_978_872, 115, 19),
        &[Full, Freed, AlreadyFree, Help, Mismatch, LateApplied, LateRefused, Died],
    ),
    pool(
        Tier::Push,
        "pool-four-ids",
        "N=4 (2,1), depth 2, 3 callers x 2, 2 and 1 calls",
        pool::Bounds { size: 4, calls: &[2, 2, 1], ..POOL },
        (1_444_991, 135, 19),
        &[Freed, Help, Mismatch],
    ),
    pool(
        Tier::Push,
        "pool-four-ids-spread",
        "N=4 (2,1), depth 2, policy spread, 3 callers x 2, 2 and 1 calls",
        pool::Bounds { size: 4, policy: Spread, calls: &[2, 2, 1], ..POOL },
        (251_960, 91, 19),
        &[Freed, Mismatch],
    ),
    pool(
        Tier::Push,
        "pool-three-blocks",
        "N=5 (2,2), ragged, depth 2, 2 callers x 2 calls, 1 death, 1 unknown",
        pool::Bounds { size: 5, shape: (2, 2), deaths: 1, unknowns: 1, ..POOL },
        (799_550, 66, 13),
        &[Freed, AlreadyFree, Help, Mismatch, LateApplied, LateRefused, Died],
    ),
    pool(
        Tier::Push,
        "pool-wide-three",
        "N=4 (4,1), 3 callers x 2, 2 and 1 calls, 1 death",
        pool::Bounds { size: 4, shape: (4, 1), calls: &[2, 2, 1], deaths: 1, ..POOL },
        (432_540, 84, 11),
        DEATHS,
    ),
    pool(
        Tier::Deep,
        "pool-two-unknowns",
        "N=2 (2,1), 2 callers x 3 calls, 1 death, 2 unknowns, frees again",
        pool::Bounds { calls: &[3, 3], deaths: 1, unknowns: 2, again: true, ..POOL },
        (17_821_804, 73, 8),
        LATE,
    ),
    pool(
        Tier::Deep,
        "pool-four-ids-deep",
        "N=4 (2,1), depth 2, 3 callers x 2 calls, 1 death",
        pool::Bounds { size: 4, calls: &[2, 2, 2], deaths: 1, ..POOL },
        (34_055_319, 169, 19),
        &[Freed, Help, Mismatch],
    ),
    pool(
        Tier::Deep,
        "pool-three-calls",
        "N=2 (2,1), 3 callers x 3, 3 and 2 calls, 1 death",
        pool::Bounds { calls: &[3, 3, 2], deaths: 1, ..POOL },
        (5_141_381, 118, 11),
        DEATHS,
    ),
    pool(
        Tier::Deep,
        "pool-ragged-deep",
        "N=3 (2,1), a tree of depth 2 with one child missing, 2 callers x 3 calls, 1 death, 1 unknown",
        pool::Bounds { size: 3, calls: &[3, 3], deaths: 1, unknowns: 1, ..POOL },
        (9_539_048, 106, 19),
        &[Full, Freed, AlreadyFree, Help, Mismatch, LateApplied, LateRefused, Died],
    ),
    pool(
        Tier::Deep,
        "pool-spread-deep",
        "N=4 (2,1), depth 2, policy spread, 2 callers x 3 calls, 1 death, 1 unknown",
        pool::Bounds { size: 4, policy: Spread, calls: &[3, 3], deaths: 1, unknowns: 1, ..POOL },
        (12_035_851, 115, 19),
        &[Freed, AlreadyFree, Mismatch, LateApplied, LateRefused, Died],
    ),
    pool(
        Tier::Quick,
        "pool-on-registers",
        "N=2 (2,1), 2 callers x 2 calls on registers, 1 death, frees again; 2 attempts to an operation, 1 lost or stale with its accept sent and 1 lost before",
        pool::Bounds { attempts: 2, unknowns: 1, cuts: 1, deaths: 1, again: true, ..POOL },
        (84_005, 48, 9),
        &[Full, Freed, Help, Mismatch, LateApplied, TriedAgain, Died],
    ),
    pool(
        Tier::Quick,
        "pool-on-registers-block",
        "N=2 (2,2), 3 callers x 2 calls on registers, 1 death, frees again; 2 attempts to an operation, 2 lost or stale with their accepts sent",
        pool::Bounds {
            shape: (2, 2),
            calls: &[2, 2, 2],
            attempts: 2,
            unknowns: 2,
            deaths: 1,
            again: true,
            ..POOL
        },
        (154_910, 27, 3),
        &[Full, Freed, Mismatch, LateApplied, TriedAgain, Overtaken, Died],
    ),
    pool(
        Tier::Push,
        "pool-on-registers-thrice",
        "N=2 (2,1), 2 callers x 2 calls on registers; 3 attempts to an operation, 3 lost or stale with their accepts sent and 1 lost before",
        pool::Bounds { attempts: 3, unknowns: 3, cuts: 1, ..POOL },
        (134_804, 55, 10),
        &[Full, Freed, Help, Mismatch, LateApplied, TriedAgain, Overtaken],
    ),
    pool(
        Tier::Deep,
        "pool-on-registers-unreached",
        "N=2 (2,1), 2 callers x 2 calls on registers, 1 death; 2 attempts to an operation, 2 lost or stale with their accepts sent and 2 lost before",
        pool::Bounds { attempts: 2, unknowns: 2, cuts: 2, deaths: 1, ..POOL },
        (828_823, 57, 9),
        &[
            Full,
            Freed,
            Help,
            Mismatch,
            LateApplied,
            TriedAgain,
            Died,
            Event::Unknown,
            Event::Unreachable,
        ],
    ),
    pool(
        Tier::Deep,
        "pool-on-registers-three",
        "N=2 (2,1), 3 callers x 2, 1 and 1 calls on registers; 2 attempts to an operation, 2 lost or stale with their accepts sent",
        pool::Bounds { calls: &[2, 1, 1], attempts: 2, unknowns: 2, ..POOL },
        (390_483, 67, 9),
        &[Full, Help, Mismatch, LateApplied, TriedAgain, Overtaken],
    ),
    pool(
        Tier::Deep,
        "pool-on-registers-tree",
        "N=4 (2,1), depth 2, 2 callers x 2 calls on registers, 1 death; 2 attempts to an operation, 2 lost or stale with their accepts sent",
        pool::Bounds { size: 4, attempts: 2, unknowns: 2, deaths: 1, ..POOL },
        (544_171, 80, 20),
        &[Freed, Mismatch, LateApplied, TriedAgain, Overtaken, Died],
    ),
    recovery(
        Tier::Quick,
        "recovery-one-caller",
        "N=2 (2,1), 1 caller x 2 sessions, 2 deaths, 1 unknown, 1 recovery at any time",
        recovery::Bounds { sessions: &[2], deaths: 2, unknowns: 1, ..RECOVERY },
        (103_356, 56, 13),
        &[Freed, LateApplied, LateRefused, Died, Recovered],
    ),
    recovery(
        Tier::Quick,
        "recovery-two-callers",
        "N=2 (2,1), 2 callers x 1 session, 1 death, 1 recovery at any time",
        RECOVERY,
        (235_228, 67, 12),
        &[Freed, Help, Died, Recovered],
    ),
    recovery(
        Tier::Quick,
        "recovery-one-block",
        "N=2 (2,2), 2 callers x 1 session, 2 deaths, 1 unknown, 2 recoveries one after the other",
        recovery::Bounds { shape: (2, 2), deaths: 2, unknowns: 1, recoveries: 2, ..RECOVERY },
        (91_773, 31, 5),
        &[Freed, LateApplied, LateRefused, Died, Recovered],
    ),
    recovery(
        Tier::Push,
        "recovery-twice",
        "N=2 (2,1), 2 callers x 1 session, 1 death, 2 recoveries one after the other",
        recovery::Bounds { recoveries: 2, ..RECOVERY },
        (729_921, 86, 12),
        &[Freed, Help, Died, Recovered],
    ),
    recovery(
        Tier::Push,
        "recovery-both",
        "N=2 (2,1), 1 caller x 1 session, 1 death, 1 unknown, 2 recoveries at the same time",
        recovery::Bounds { sessions: &[1], unknowns: 1, recoveries: 2, at_once: 2, ..RECOVERY },
        (257_997, 53, 8),
        &[Freed, Died, Recovered],
    ),
    recovery(
        Tier::Push,
        "recovery-both-one-block",
        "N=2 (2,2), 2 callers x 1 session, 1 death, 1 unknown, 2 recoveries at the same time",
        recovery::Bounds { shape: (2, 2), unknowns: 1, recoveries: 2, at_once: 2, ..RECOVERY },
        (198_155, 32, 5),
        &[Freed, LateApplied, LateRefused, Died, Recovered],
    ),
    recovery(
        Tier::Deep,
        "recovery-unknown",
        "N=2 (2,1), 2 callers x 1 session, 1 death, 1 unknown, 1 recovery at any time",
        recovery::Bounds { unknowns: 1, ..RECOVERY },
        (7_307_817, 77, 12),
        &[Freed, Help, LateApplied, LateRefused, Died, Recovered],
    ),
    broken(
        "recovery-without-rule-1",
        "the tag is written down after allocate has returned",
        Rule::WriteFirst,
        "POOL-1",
        9,
    ),
    broken(
        "recovery-without-rule-2",
        "the id is still in use when it is freed",
        Rule::FreeUnused,
        "POOL-1",
        9,
    ),
    broken(
        "recovery-without-rule-3",
        "a free that died is not called again, and its tag is left standing",
        Rule::UntilReturned,
        "POOL-7",
        9,
    ),
    broken(
        "recovery-without-rule-4",
        "recovery looks for tags in a copy of the notebook made before it read the slots",
        Rule::LookAfterReading,
        "POOL-1",
        12,
    ),
    kademlia::TABLE_SUBNETS,
    kademlia::TABLE_ORDER,
    kademlia::TABLE_MOVES,
    kademlia::LOOKUP_ONE_PATH,
    kademlia::LOOKUP_TWO_PATHS,
    kademlia::LOOKUP_FINDS_LOSS,
    kademlia::LOOKUP_FINDS_CRASH,
    kademlia::LOOKUP_FINDS_BOTH,
    kademlia::LOOKUP_FINDS_ON_TWO_PATHS,
    kademlia::LOOKUP_LIAR_NEARER,
    kademlia::LOOKUP_LIAR_ELSEWHERE,
    kademlia::LOOKUP_COLLUDERS,
    kademlia::LOOKUP_COLLUDERS_ONE_PATH,
    kademlia::LOOKUP_BOUNDED,
];
