//! The command: its lines, exit codes, messages and pages. LIN-4.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn history(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("histories").join(name).display().to_string()
}

/// In a folder of its own: timelines are written where it runs.
fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom-lincheck"));
    command.args(arguments).current_dir(folder).output().unwrap()
}

fn run(arguments: &[&str]) -> Output {
    run_in(tempfile::tempdir().unwrap().path(), arguments)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn each_file_has_its_line_and_the_worst_decides_the_exit_code() {
    let (good, bad) = (history("late-write.jsonl"), history("stale-read.jsonl"));
    let output = run(&[&good, &bad]);
    assert_eq!(text(&output.stdout), format!("{good}: linearizable\n{bad}: not linearizable\n"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        format!(
            "{bad}: the first 10 of 13 events fail, and no fewer; the last is in line 11: process 3, \
             read 1\n  before it the register held 2 or 3\n  for instance: 1: read nil, 0: write 1, \
             2: cas 1→2 ?, 0: read 2\n{bad}: timeline in ./stale-read.timeline.html\n"
        )
    );
    assert_eq!(run(&[&good]).status.code(), Some(0));
    assert_eq!(run(&[&good, "no-such-file"]).status.code(), Some(2));
    let output = run(&["--quiet", &good, "no-such-file", &bad]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).ends_with(&format!("{bad}: not linearizable\n")));
    assert!(text(&output.stderr).starts_with("no-such-file: "));
}

/// LIN-3: of two keys that fail, the one is named that fails first.
#[test]
fn of_several_keys_that_fail_the_first_in_time_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.jsonl");
    let read = |key: &str, begin: u64| {
        let end = begin + 1;
        format!(
            r#"{{"process":1,"op":"read","key":"{key}","begin":{begin},"end":{end},"answer":"ok","value":1}}"#
        )
    };
    std::fs::write(&file, [read("a", 5), read("b", 1), read("c", 3)].join("\n")).unwrap();
    let output = run(&[file.to_str().unwrap()]);
    let message = text(&output.stderr);
    assert!(message.contains("the first 2 of 2 events of key b fail"), "{message}");
    assert!(message.contains("the last is in line 2"), "{message}");
}

#[test]
fn what_cannot_be_read_is_refused_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, content: &[u8], expected: &str| {
        let file: PathBuf = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        let output = run(&[file.to_str().unwrap()]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{name}");
        assert_eq!(text(&output.stderr), format!("{}:{expected}\n", file.display()));
    };
    refused("a", b"", "1: expected operations, got the end of the file");
    refused("b", b"{}\n\xff", "2: expected UTF-8, got byte 0xff");
    let line = br#"{"process":1,"event":"ok"}"#;
    refused("c", line, "1: expected an invocation by process 1, got the end of one");
    let message = "2: expected `INFO  jepsen.util - PROCESS :invoke|:ok|:fail|:info :read|:write|:cas \
                   VALUE`, got `INFO  jep`";
    refused("e", b"INFO  jepsen.util - 0 :invoke :write 1\nINFO  jep", message);
    let cut = b"INFO  jepsen.util - 0 :invoke :write";
    refused(
        "d",
        cut,
        "1: expected `INFO  jepsen.util - PROCESS :invoke|:ok|:fail|:info :read|:write|:cas VALUE`, \
         got `INFO  jepsen.util - 0 :invoke :write`",
    );
}

#[test]
fn stdin_is_judged_and_json_has_the_reason() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cloakroom-lincheck"))
        .args(["--output", "json", "--format", "jsonl", "--quiet", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let content = std::fs::read(history("stale-read.jsonl")).unwrap();
    child.stdin.take().unwrap().write_all(&content).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["file"], &json["verdict"]), (&"-".into(), &"not linearizable".into()));
    let violation = &json["violation"];
    assert_eq!((&violation["events"], &violation["line"]), (&10.into(), &11.into()));
    assert_eq!(violation["states"], serde_json::json!(["2", "3"]));
}

#[test]
fn a_search_that_is_too_large_is_undecided() {
    let file = history("stale-read.jsonl");
    let output = run(&["--most", "2", &file]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), format!("{file}: undecided after 2 configurations\n"));
}

#[test]
fn a_timeline_stands_alone_and_escapes_what_it_shows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evil<b>.jsonl");
    let lines = [
        r#"{"process":0,"event":"invoke","op":"read","key":"<script>"}"#,
        r#"{"process":0,"event":"ok","value":"</svg><script>alert(1)</script>"}"#,
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let pages = folder.path().join("pages");
    let output = run(&["--timeline", pages.to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let page = std::fs::read_to_string(pages.join("evil<b>.timeline.html")).unwrap();
    assert!(page.contains("&lt;script&gt;") && page.contains("prefers-color-scheme: dark"));
    assert_eq!(page.matches("<script>").count(), 1, "only our own");
    assert!(!page.contains("http"), "nothing is loaded from elsewhere");
    assert_eq!(page.matches("class=\"failing\"").count(), 2, "the operation and the legend");
    let named = [file.to_str().unwrap()];
    let here = folder.path().join("evil<b>.timeline.html");
    assert_eq!(run_in(folder.path(), &["--quiet", named[0]]).status.code(), Some(1));
    assert!(!here.exists(), "quiet draws nothing");
    assert_eq!(run_in(folder.path(), &named).status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(here).unwrap(), page);
}
