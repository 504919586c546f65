//! The scenarios. How each is explored, and what that takes, stands in `searches.txt`.
//!
//! Under a checker a shard begins with two slots and takes two keys; the third makes it grow. A
//! key's slot is its number, modulo the slots.

use std::sync::LazyLock;

use crate::deeds::Deed;
use crate::scenario::{Scenario, Step};
use crate::via::On;

use Deed::{Overlapping, Pass, Read, Unlink, Within};
use Step::{Back, Cas, Each, Get, Hold, Iterate, Put, Remove};

pub(crate) static SCENARIOS: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
    let mut all = one_key();
    all.extend(neighbours());
    all.extend(publication());
    all.extend(reclamation());
    all.extend(reclaimer_alone());
    all.extend(growth());
    all.extend(growth_under_pairs());
    all.extend(wide_keys());
    all.extend(full_keys());
    all.extend(handles());
    all.extend(cells());
    all.extend(looks());
    all.extend(without_copies());
    all
});

fn scenario(name: &str, heap: bool, setup: Vec<Step>, threads: Vec<Vec<Step>>) -> Scenario {
    let (on, registered, one_seat) = (On::Map, false, false);
    let (name, deeds) = (name.into(), Vec::new());
    Scenario { name, heap, on, registered, one_seat, setup, threads, deeds }
}

/// Keys and values on the heap.
fn on_heap(name: &str, setup: Vec<Step>, threads: Vec<Vec<Step>>) -> Scenario {
    scenario(name, true, setup, threads)
}

fn one_key() -> Vec<Scenario> {
    let here = || vec![Put(0, 1)];
    let twice = || vec![vec![Put(0, 1), Get(0)], vec![Put(0, 2), Get(0)]];
    let again = || vec![vec![Remove(0, 1)], vec![Put(0, 2), Get(0)]];
    let churn = || vec![vec![Cas(0, 1, 2), Cas(0, 2, 3)], vec![Get(0), Get(0)]];
    vec![
        scenario("put put", true, vec![], twice()),
        scenario("put put, inline", false, vec![], twice()),
        on_heap("cas cas", here(), vec![vec![Cas(0, 1, 2)], vec![Cas(0, 1, 3), Get(0)]]),
        on_heap("cas remove", here(), vec![vec![Cas(0, 1, 2)], vec![Remove(0, 1), Get(0)]]),
        on_heap("remove remove", here(), vec![vec![Remove(0, 1)], vec![Remove(0, 1)]]),
        on_heap("remove put", here(), again()),
        scenario("remove put, inline", false, here(), again()),
        on_heap("churn get", here(), churn()),
        scenario("churn get, inline", false, here(), churn()),
        on_heap(
            "cas remove get",
            here(),
            vec![vec![Cas(0, 1, 2)], vec![Remove(0, 1)], vec![Get(0)]],
        ),
        scenario(
            "put put get, inline",
            false,
            vec![],
            vec![vec![Put(0, 1)], vec![Put(0, 2)], vec![Get(0)]],
        ),
        on_heap(
            "cas cas cas",
            here(),
            vec![vec![Cas(0, 1, 2)], vec![Cas(0, 2, 3)], vec![Cas(0, 3, 4), Get(0)]],
        ),
        // The exchange finds a word that is equal to the one that was read, of another writer.
        scenario(
            "back again, inline",
            false,
            here(),
            vec![vec![Cas(0, 1, 2), Back(0, 2, 1)], vec![Cas(0, 1, 3)]],
        ),
    ]
}

fn neighbours() -> Vec<Scenario> {
    vec![
        // Slot 0 is taken: the second key's way goes over it.
        on_heap(
            "remove, put neighbour",
            vec![Put(0, 1)],
            vec![vec![Remove(0, 1)], vec![Put(2, 2), Get(0)]],
        ),
        scenario(
            "put neighbour",
            true,
            vec![],
            vec![vec![Put(0, 1), Get(2)], vec![Put(2, 2), Get(0)]],
        ),
        scenario("iterate, put", true, vec![Put(0, 1)], vec![vec![Put(1, 2)], vec![Iterate]]),
        on_heap(
            "iterate, remove",
            vec![Put(0, 1), Put(1, 2)],
            vec![vec![Remove(1, 2), Remove(0, 1)], vec![Iterate]],
        ),
    ]
}

/// Every way to change a key, against every way to see it.
fn publication() -> Vec<Scenario> {
    let writers = [("put", Put(0, 2)), ("cas", Cas(0, 1, 2)), ("remove", Remove(0, 1))];
    let readers = [
        ("get", Get(0)),
        ("put", Put(0, 3)),
        ("cas", Cas(0, 2, 3)),
        ("remove", Remove(0, 2)),
        ("iterate", Iterate),
        ("hold", Hold(1, vec![Get(0)])),
    ];
    let mut all = Vec::new();
    for (written, writer) in &writers {
        for (read, reader) in &readers {
            let setup = if *written == "put" { vec![] } else { vec![Put(0, 1)] };
            let name = format!("{written}, seen by {read}");
            let threads = vec![vec![writer.clone()], vec![reader.clone()]];
            all.push(scenario(&name, true, setup, threads));
        }
    }
    all
}

fn reclamation() -> Vec<Scenario> {
    let here = || vec![Put(0, 1)];
    let both = || vec![Put(0, 1), Put(1, 2)];
    vec![
        on_heap(
            "retire pin",
            here(),
            vec![vec![Cas(0, 1, 2), Cas(0, 2, 3), Cas(0, 3, 4)], vec![Get(0)]],
        ),
        on_heap(
            "retire, held",
            here(),
            vec![vec![Cas(0, 1, 2), Cas(0, 2, 3), Cas(0, 3, 4)], vec![Hold(0, vec![Get(0)])]],
        ),
        on_heap(
            "retire retire",
            both(),
            vec![
                vec![Cas(0, 1, 3), Cas(0, 3, 4), Cas(0, 4, 5)],
                vec![Cas(1, 2, 6), Cas(1, 6, 7), Get(0)],
            ],
        ),
        // A guard of the epoch that the other thread has made meanwhile.
        on_heap(
            "retire, moved by the other",
            both(),
            vec![vec![Cas(1, 2, 3), Get(0)], vec![Cas(0, 1, 4), Cas(0, 4, 5)]],
        ),
        // What the first has read is freed by the second, which only the third knows to be gone.
        on_heap(
            "retire, moved by a third",
            both(),
            vec![vec![Get(0)], vec![Cas(1, 2, 3), Cas(1, 3, 6)], vec![Cas(0, 1, 4), Cas(0, 4, 5)]],
        ),
        // The second takes over the seat of the first, with its garbage.
        Scenario {
            one_seat: true,
            ..on_heap("a seat taken over", both(), vec![vec![Cas(0, 1, 3)], vec![Cas(1, 2, 4)]])
        },
        // More guards than seats.
        on_heap(
            "more guards than seats",
            both(),
            vec![vec![Hold(0, vec![Get(1)])], vec![Hold(1, vec![Get(0)])]],
        ),
        on_heap(
            "more guards than seats, retire",
            both(),
            vec![vec![Hold(0, vec![Cas(1, 2, 3)])], vec![Hold(1, vec![Cas(0, 1, 4)])]],
        ),
    ]
}

/// The reclaimer without a map: by threads that have registered, and by others.
fn reclaimer_alone() -> Vec<Scenario> {
    let all = [
        ("read, unlink", vec![vec![Read(0)], vec![Unlink(0), Pass, Pass]]),
        ("read read, unlink", vec![vec![Read(0)], vec![Read(0)], vec![Unlink(0), Pass, Pass]]),
        ("pass, read, unlink", vec![vec![Pass, Read(0)], vec![Unlink(0), Pass]]),
        ("read, pass, unlink", vec![vec![Read(0)], vec![Pass, Pass], vec![Unlink(0), Pass]]),
        ("unlink unlink", vec![vec![Unlink(0), Read(1)], vec![Unlink(1), Read(0)]]),
        ("within, unlink", vec![vec![Within(0, 1)], vec![Within(1, 0), Unlink(0), Pass]]),
        ("overlapping, unlink", vec![vec![Overlapping(0)], vec![Unlink(0), Pass, Pass]]),
        ("read twice, unlink", vec![vec![Read(0), Read(1)], vec![Unlink(0), Pass, Pass]]),
    ];
    let alone = |registered: bool| {
        all.clone().map(|(name, deeds)| Scenario {
            registered,
            deeds,
            ..scenario(
                &format!("{}: {name}", if registered { "registered" } else { "alone" }),
                false,
                vec![],
                vec![],
            )
        })
    };
    alone(false).into_iter().chain(alone(true)).collect()
}

/// Tables that have grown keep keys of 12 bytes in three words; twins have the first in common.
fn wide_keys() -> Vec<Scenario> {
    let grown = || (0..5).map(|key| Put(key, key + 1)).collect::<Vec<Step>>();
    let wide = |name: &str, threads: Vec<Vec<Step>>| scenario(name, true, grown(), threads);
    vec![
        wide("wide: put put", vec![vec![Put(16, 10), Get(16)], vec![Put(16, 11)]]),
        wide("wide: put twin", vec![vec![Put(16, 10), Get(32)], vec![Put(32, 11), Get(16)]]),
        // The second passes the slot that the first has taken, to the next group.
        wide("wide: put, pass", vec![vec![Put(16, 10)], vec![Put(32, 11), Get(32)]]),
        wide("wide: put get", vec![vec![Put(16, 10)], vec![Get(16), Get(16)]]),
        wide("wide: put iterate", vec![vec![Put(16, 10)], vec![Iterate]]),
        wide(
            "wide: grow put",
            vec![vec![Put(16, 10), Put(5, 12), Put(6, 13), Put(7, 14)], vec![Put(16, 11), Get(0)]],
        ),
    ]
}

/// The same with keys of 16 bytes, which fill two words; and with some of 12, for which a table then takes three.
fn full_keys() -> Vec<Scenario> {
    let grown = || (64..69).map(|key| Put(key, key - 63)).collect::<Vec<Step>>();
    let full = |name: &str, threads: Vec<Vec<Step>>| scenario(name, true, grown(), threads);
    vec![
        full("full: put put", vec![vec![Put(80, 10), Get(80)], vec![Put(80, 11)]]),
        full("full: put twin", vec![vec![Put(80, 10), Get(96)], vec![Put(96, 11), Get(80)]]),
        full("full: put, pass", vec![vec![Put(80, 10)], vec![Put(96, 11), Get(96)]]),
        full("full: put iterate", vec![vec![Put(80, 10)], vec![Iterate]]),
        full(
            "full: grow put",
            vec![
                vec![Put(80, 10), Put(69, 12), Put(70, 13), Put(71, 14)],
                vec![Put(80, 11), Get(64)],
            ],
        ),
        scenario(
            "full: grown wider",
            true,
            vec![Put(64, 1), Put(65, 2), Put(2, 3), Put(3, 4)],
            vec![vec![Put(4, 5), Get(64)], vec![Cas(64, 1, 6), Get(2)]],
        ),
    ]
}

/// By way of handles.
fn handles() -> Vec<Scenario> {
    let registered = |scenario: Scenario| Scenario {
        registered: true,
        name: format!("{}, by handles", scenario.name),
        ..scenario
    };
    let by_handles = [
        "cas remove",
        "churn get",
        "retire pin",
        "retire, held",
        "a seat taken over",
        "retire, moved by the other",
        "more guards than seats, retire",
        "grow cas",
        "grow get",
    ];
    let all = one_key().into_iter().chain(reclamation()).chain(growth());
    all.filter(|scenario| by_handles.contains(&&*scenario.name)).map(registered).collect()
}

/// The scenarios of the map that make sense without a table's ways and growth, on cells.
fn cells() -> Vec<Scenario> {
    let names = [
        "put put",
        "cas cas",
        "cas remove",
        "remove put",
        "churn get",
        "remove, put neighbour",
        "iterate, remove",
        "put, seen by get",
        "put, seen by put",
        "cas, seen by cas",
        "cas, seen by remove",
        "cas, seen by hold",
        "remove, seen by get",
        "remove, seen by iterate",
        "retire pin",
        "retire, held",
        "churn get, by handles",
        "retire pin, by handles",
        "retire, held, by handles",
    ];
    let all = one_key().into_iter().chain(neighbours()).chain(publication()).chain(reclamation());
    let on_cells = |scenario: Scenario| Scenario {
        on: On::Cells,
        name: format!("cells: {}", scenario.name),
        ..scenario
    };
    let all = all.chain(handles());
    all.filter(|scenario| names.contains(&&*scenario.name)).map(on_cells).collect()
}

/// Those of cells in which nothing is removed, by looks.
fn looks() -> Vec<Scenario> {
    let names = [
        "cells: put put",
        "cells: cas cas",
        "cells: churn get",
        "cells: put, seen by get",
        "cells: put, seen by put",
        "cells: cas, seen by cas",
        "cells: cas, seen by hold",
        "cells: retire, held, by handles",
    ];
    let by_looks = |scenario: Scenario| Scenario {
        on: On::Looks,
        name: scenario.name.replace("cells: ", "looks: "),
        ..scenario
    };
    cells().into_iter().filter(|scenario| names.contains(&&*scenario.name)).map(by_looks).collect()
}

/// All scenarios with an iteration of the map, by [`Each`].
fn without_copies() -> Vec<Scenario> {
    let all = neighbours().into_iter().chain(publication()).chain(growth());
    let all = all.chain(growth_under_pairs()).chain(wide_keys()).chain(full_keys());
    let each = |step: &Step| if matches!(step, Iterate) { Each } else { step.clone() };
    let threads = |all: &[Vec<Step>]| all.iter().map(|it| it.iter().map(each).collect()).collect();
    all.filter(|scenario| scenario.name.contains("iterate"))
        .map(|scenario| Scenario {
            name: scenario.name.replace("iterate", "each"),
            threads: threads(&scenario.threads),
            ..scenario
        })
        .collect()
}

fn growth() -> Vec<Scenario> {
    let full = || vec![Put(0, 1), Put(1, 2)];
    let grow = || vec![Put(2, 3)];
    vec![
        on_heap("grow put", full(), vec![grow(), vec![Put(0, 4), Get(2)]]),
        on_heap("grow put same", full(), vec![grow(), vec![Put(2, 4), Get(2)]]),
        on_heap("grow cas", full(), vec![grow(), vec![Cas(0, 1, 4), Get(0)]]),
        Scenario {
            heap: false,
            ..on_heap("grow cas, inline", full(), vec![grow(), vec![Cas(0, 1, 4), Get(0)]])
        },
        on_heap("grow remove", full(), vec![grow(), vec![Remove(0, 1), Get(0)]]),
        on_heap("grow get", full(), vec![grow(), vec![Get(0), Get(2)]]),
        on_heap("grow iterate", full(), vec![grow(), vec![Iterate]]),
        on_heap("grow grow", full(), vec![grow(), vec![Put(3, 4)]]),
        on_heap("removed, grown, read", full(), vec![vec![Remove(0, 1), Put(2, 3)], vec![Get(0)]]),
        on_heap(
            "removed, grown, put",
            full(),
            vec![vec![Remove(0, 1), Put(2, 3)], vec![Put(0, 4), Get(0)]],
        ),
        on_heap("late copier", full(), vec![grow(), vec![Put(3, 4), Remove(0, 1), Get(0)]]),
        // A copier freezes a word that is equal to the one that it read, of another writer.
        Scenario {
            heap: false,
            ..on_heap(
                "back again, grown",
                full(),
                vec![vec![Cas(0, 1, 5), Back(0, 5, 1)], vec![Put(2, 3), Cas(0, 1, 4)]],
            )
        },
        // A copier finds frozen what it read before it was changed.
        on_heap(
            "changed, frozen by the other",
            full(),
            vec![vec![Cas(0, 1, 5), Put(3, 4)], vec![Put(2, 3), Get(0)]],
        ),
        // A key is read where it stood, and the successor has it in its slots.
        on_heap(
            "put, grown, read",
            vec![Put(0, 1)],
            vec![vec![Put(1, 2), Put(2, 3)], vec![Get(1)]],
        ),
        // A new key's slot is frozen before it has a value.
        Scenario {
            heap: false,
            ..on_heap(
                "put, frozen, inline",
                vec![Put(0, 1)],
                vec![vec![Put(1, 2), Get(1)], vec![Put(2, 3)]],
            )
        },
        // A key that stays on the heap while its table is replaced, twice.
        Scenario {
            heap: false,
            ..on_heap(
                "long key, twice replaced",
                vec![Put(40, 1), Put(1, 2)],
                vec![vec![Put(2, 3), Put(3, 4), Put(4, 5)], vec![Get(40), Cas(40, 1, 6)]],
            )
        },
        // The copier's successor has a successor itself before the copier goes on.
        on_heap(
            "late copier, twice replaced",
            full(),
            vec![grow(), vec![Put(3, 4), Put(4, 5), Put(5, 6), Get(0)]],
        ),
    ]
}

/// A table grows while each pair of operations meets on one key.
fn growth_under_pairs() -> Vec<Scenario> {
    let steps = |value: u8| {
        [
            ("put", Put(2, value)),
            ("cas", Cas(0, 1, value)),
            ("remove", Remove(0, 1)),
            ("get", Get(0)),
            ("iterate", Iterate),
        ]
    };
    let mut all = Vec::new();
    for (at, (one, first)) in steps(5).into_iter().enumerate() {
        for (other, second) in steps(6).into_iter().skip(at) {
            let name = format!("grow: {one} {other}");
            let full = vec![Put(0, 1), Put(1, 2)];
            let threads = vec![vec![Put(2, 3)], vec![first.clone()], vec![second]];
            all.push(Scenario { heap: false, ..on_heap(&name, full, threads) });
        }
    }
    all
}
