//! The faults of the published algorithm: found by search, committed as readable traces, replayed.
//!
//! Each search has its numbers pinned, and a control: the same search with the cause of the fault
//! taken away must find nothing.

use std::fs;
use std::path::Path;

use cloakroom_model::article::{Control, FAULTS, Fault, ReplayError, Trace, replay};

/// Name, states until the fault is found, steps of the shortest trace, states without the cause.
const PINNED: [(&str, u64, usize, u64); 4] = [
    ("lost-capacity", 1775, 25, 3182),
    ("live-lock", 909, 25, 31_483),
    ("helper-that-skips", 2709, 24, 8628),
    ("phantom", 15_397, 30, 2742),
];

fn committed(fault: &Fault) -> String {
    let name = format!("traces/{}.trace", fault.name);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The indices of the lines that are steps.
fn steps(text: &str) -> Vec<usize> {
    let is_step = |line: &str| line.starts_with("P  ") || line.starts_with("Q  ");
    (0..).zip(text.lines()).filter(|(_, line)| is_step(line)).map(|(at, _)| at).collect()
}

fn with_line(text: &str, at: usize, line: &str) -> String {
    let mut lines: Vec<_> = text.lines().collect();
    lines[at] = line;
    lines.join("\n")
}

#[test]
fn each_fault_is_found_and_its_committed_trace_is_what_the_search_writes() {
    assert_eq!(FAULTS.len(), PINNED.len());
    for (fault, (name, states, depth, _)) in FAULTS.iter().zip(PINNED) {
        let found = fault.search();
        assert_eq!((fault.name, found.states, found.depth), (name, states, depth));
        assert_eq!(committed(fault), found.trace.to_string(), "model/traces/{name}.trace");
    }
}

#[test]
fn no_fault_is_found_once_its_cause_is_taken_away() {
    for (fault, (name, .., states)) in FAULTS.iter().zip(PINNED) {
        assert_eq!(fault.control(), Control { states, shown: false }, "{name}: {}", fault.cure);
    }
}

#[test]
fn trace_each_committed_file_replays_to_its_verdict() {
    for fault in FAULTS {
        let told = replay(&committed(fault)).unwrap_or_else(|error| panic!("{error}"));
        let last = told.last().unwrap();
        assert!(last.starts_with("Finally: "), "{last}");
        assert!(last.ends_with(&format!("This breaks {}.", fault.property)), "{last}");
        let numbered = told.iter().filter(|line| line.starts_with(' ')).count();
        assert_eq!(numbered, steps(&committed(fault)).len(), "one line a step");
    }
}

#[test]
fn the_traces_end_in_what_they_are_named_for() {
    let told = |name: &str| {
        let fault = FAULTS.iter().find(|fault| fault.name == name).unwrap();
        replay(&committed(fault)).unwrap().join("\n")
    };
    for name in ["lost-capacity", "helper-that-skips"] {
        assert!(told(name).contains("P's allocate returns Full; 1 of 2 ids are held."), "{name}");
    }
    assert!(told("live-lock").contains("ids 2, 3 are free"));
    assert!(told("phantom").contains("id 1 under q1 is held, which no call has answered"));
}

#[test]
fn a_trace_read_again_has_its_text() {
    for fault in FAULTS {
        let text = committed(fault);
        assert_eq!(Trace::parse(&text).unwrap().to_string(), text);
    }
}

#[test]
fn a_trace_with_any_step_left_out_is_refused() {
    for fault in FAULTS {
        let text = committed(fault);
        for at in steps(&text) {
            assert!(replay(&with_line(&text, at, "")).is_err(), "{}, line {}", fault.name, at + 1);
        }
    }
}

#[test]
fn a_trace_with_any_step_in_place_of_another_is_refused() {
    for fault in FAULTS {
        let text = committed(fault);
        let lines: Vec<_> = text.lines().collect();
        for at in steps(&text) {
            for other in steps(&text).into_iter().map(|other| lines[other]) {
                let is_same = other == lines[at];
                let replayed = replay(&with_line(&text, at, other));
                assert_eq!(replayed.is_ok(), is_same, "{}, line {}: {other}", fault.name, at + 1);
            }
        }
    }
}

#[test]
fn a_step_that_is_not_true_is_refused_with_its_line_and_what_is_true() {
    let text = committed(&FAULTS[0]);
    let at = steps(&text)[1];
    let expected = "`P  get [0, 2) -> 0` (as the machines do)";
    for (untrue, expected, got) in [
        ("P  get [0, 2) -> 1", expected, "`P  get [0, 2) -> 1`"),
        ("P  allocate returns Full", expected, "`P  allocate returns Full`"),
        ("P  free returns", expected, "`P  free returns`"),
        ("P  allocate with tag p1", "P  get [0, 2) (as", "`P  allocate with tag p1`"),
        ("Q  free 0 with tag p1", "Q to start a call (allocate with tag q1)", "`Q  free 0"),
        ("R  allocate with tag r1", "one of the 2 callers", "`R  allocate"),
        ("P  late put-if-absent [0, 1) p1 -> done", "P  get [0, 2)", "`P  late"),
        ("P  get [0, 2) -> unknown", "P  get [0, 2)", "-> unknown`"),
        ("P  dies", "no more than N = 2, 2 callers, 2 calls each, no crash", "`P  dies`"),
    ] {
        let error = replay(&with_line(&text, at, untrue)).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with(&format!("trace, line {}: ", at + 1)), "{error}");
        assert!(error.contains(expected) && error.contains(got), "{untrue}: {error}");
    }
}

#[test]
fn a_verdict_that_is_not_the_machines_is_refused() {
    for fault in FAULTS {
        let text = committed(fault);
        let last = text.lines().count();
        let replayed = replay(&with_line(&text, last - 1, "finally: all is well"));
        assert!(matches!(replayed, Err(ReplayError::Differs { line, .. }) if line == last));
    }
}

#[test]
fn a_trace_that_stops_before_the_fault_is_refused() {
    let header = committed(&FAULTS[0]).lines().take(12).collect::<Vec<_>>().join("\n");
    let replayed = replay(&format!("{header}\nfinally: id 0 is free"));
    assert!(matches!(replayed, Err(ReplayError::NotShown { line: 13, .. })), "{replayed:?}");
}

#[test]
fn what_is_no_trace_is_refused_with_its_line() {
    let text = committed(&FAULTS[0]);
    let first = steps(&text)[0];
    let line_of = |start: &str| text.lines().position(|line| line.starts_with(start)).unwrap();
    let twice = format!("{text}P  dies\n");
    for (broken, line, expected) in [
        (String::new(), 1, "one of lost-capacity, live-lock"),
        (with_line(&text, line_of("fault"), "fault: none"), 1 + line_of("fault"), "one of lost"),
        (with_line(&text, line_of("size"), "size: 3"), 1 + line_of("size"), "`size: 2`"),
        (with_line(&text, line_of("callers"), ""), 1 + line_of("shows"), "`callers: P Q`"),
        (with_line(&text, first, "P sleeps"), 1 + first, "a step"),
        (with_line(&text, first, "P  get [0, 3) -> 0"), 1 + first, "an interval"),
        (with_line(&text, line_of("finally"), ""), 1 + line_of("finally"), "`finally: …`"),
        (twice, 2 + line_of("finally"), "the end of the file"),
    ] {
        let error = Trace::parse(&broken).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(error.expected.contains(expected), "{error}");
        assert_eq!(replay(&broken), Err(ReplayError::Trace(error)));
    }
}
