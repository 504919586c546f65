//! How the code is written, where a machine can see it.
//!
//! * every file opens with `//!`;
//! * no file has more than [`MOST_LINES`] before its tests, unless [`LONG`] says why;
//! * no note to finish something later, no test that is switched off, no test that sleeps;
//! * models are visited through the one wrapper that knows stateright's traps;
//! * a lint is only switched off with a reason: in a comment above or beside, or as `reason = …`;
//! * every crate root forbids unsafe code.

use cloakroom_tests::{Repository, Source};

/// Above this a file has two subjects.
const MOST_LINES: usize = 500;

/// Files that are longer, each with its reason.
const LONG: &[(&str, &str)] = &[];

/// Crates that may have unsafe code.
const UNSAFE: &[&str] = &["impl/shards/"];

/// Written in two parts, so that this file does not have them.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
];
const SWITCHED_OFF: &str = concat!("#[", "ignore");
const SLEEP: &str = concat!("thread::", "sleep");
/// stateright's checker, whose traps are fenced off in one file.
const CHECKER: &str = concat!(".check", "er()");
const CHECKER_IN: &str = "model/src/joined.rs";
const LINTS_OFF: [&str; 4] = [
    concat!("#[", "allow("),
    concat!("#![", "allow("),
    concat!("#[", "expect("),
    concat!("#![", "expect("),
];

/// What is wrong with a file, in words.
fn complaints(source: &Source) -> Vec<String> {
    let path = &source.path;
    let lines: Vec<&str> = source.text.lines().collect();
    let tests = lines.iter().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(lines.len());
    let mut complaints = Vec::new();
    if !source.text.starts_with("//! ") {
        complaints.push(format!("{path}:1: expected `//!` and what the file is for"));
    }
    if tests > MOST_LINES && !LONG.iter().any(|(long, _)| long == path) {
        complaints.push(format!(
            "{path}: expected at most {MOST_LINES} lines before its tests, got {tests}"
        ));
    }
    let root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    let may = UNSAFE.iter().any(|may| path.starts_with(may));
    if root && !may && !lines.contains(&"#![forbid(unsafe_code)]") {
        complaints.push(format!("{path}: expected `#![forbid(unsafe_code)]`"));
    }
    let test_file = path.starts_with("tests/") || path.contains("/tests/");
    for (at, line) in lines.iter().enumerate() {
        let number = at + 1;
        for word in UNFINISHED {
            if line.contains(word) {
                complaints.push(format!("{path}:{number}: `{word}`: unfinished work"));
            }
        }
        if line.contains(SWITCHED_OFF) {
            complaints.push(format!("{path}:{number}: a test is switched off"));
        }
        if line.contains(SLEEP) && (test_file || at >= tests) {
            complaints.push(format!("{path}:{number}: a test sleeps, which hides a race"));
        }
        if line.contains(CHECKER) && path != CHECKER_IN {
            complaints.push(format!("{path}:{number}: `{CHECKER}`: expected `joined` or `served`"));
        }
        if LINTS_OFF.iter().any(|off| line.contains(off)) && !has_reason(&lines, at) {
            complaints.push(format!("{path}:{number}: a lint is switched off without a reason"));
        }
    }
    complaints
}

/// A comment above or beside, or a reason within the attribute.
fn has_reason(lines: &[&str], at: usize) -> bool {
    let above = at.checked_sub(1).map_or("", |above| lines[above].trim());
    let attribute = lines[at..].iter().take(6);
    let end = attribute.clone().position(|line| line.contains(")]")).unwrap_or(0);
    above.starts_with("//")
        || lines[at].contains(" // ")
        || attribute.take(end + 1).any(|line| line.contains("reason = "))
}

#[test]
fn the_code_is_tidy() {
    let sources = Repository::here().sources("", ".rs");
    assert!(sources.len() > 20, "{} files: is this the root?", sources.len());
    let complaints: Vec<String> = sources.iter().flat_map(complaints).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn an_exception_that_is_no_longer_needed_is_refused() {
    let repository = Repository::here();
    for (long, reason) in LONG {
        let text = repository.read(long);
        let tests = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        assert!(tests > MOST_LINES && !reason.is_empty(), "{long}: {tests} lines, {reason:?}");
    }
}

#[test]
fn what_is_not_tidy_is_refused_by_file_and_line() {
    let text = [
        "use std::thread;".to_string(),
        format!("use std::mem; // {} later", UNFINISHED[0]),
        format!("{}dead_code)]", LINTS_OFF[0]),
        "fn unused() {}".into(),
        "// It is the field's term.".into(),
        format!("{}dead_code)]", LINTS_OFF[0]),
        "#[cfg(test)]".into(),
        format!("{SWITCHED_OFF}]"),
        format!("fn f() {{ {SLEEP}() }}"),
        format!("model{CHECKER}.spawn_bfs();"),
    ];
    let source = |path: &str, text: String| Source { path: path.into(), text };
    assert_eq!(
        complaints(&source("a/src/lib.rs", text.join("\n"))),
        [
            "a/src/lib.rs:1: expected `//!` and what the file is for",
            "a/src/lib.rs: expected `#![forbid(unsafe_code)]`",
            &format!("a/src/lib.rs:2: `{}`: unfinished work", UNFINISHED[0]),
            "a/src/lib.rs:3: a lint is switched off without a reason",
            "a/src/lib.rs:8: a test is switched off",
            "a/src/lib.rs:9: a test sleeps, which hides a race",
            &format!("a/src/lib.rs:10: `{CHECKER}`: expected `joined` or `served`"),
        ]
    );
    let long = format!("//! Long.\n{}", "\n".repeat(MOST_LINES));
    assert_eq!(
        complaints(&source("a/b.rs", long)),
        ["a/b.rs: expected at most 500 lines before its tests, got 501"]
    );
}
