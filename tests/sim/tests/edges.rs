//! The command at the edges of what can be asked of it: what is refused, in which words, and that nothing was run.

use std::process::{Command, Output};

use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap()
}

/// What a refused command says, with this exit code and no figures.
fn refused(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(code), &b""[..]), "{said}");
    said
}

const SMALL: [&str; 8] = ["--nodes", "20", "--lookups", "20", "--reads", "0", "--minutes", "1"];

#[test]
fn a_page_that_cannot_be_written_is_refused_before_the_run_and_never_costs_the_figures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/page.html");
    let said = refused(&[&SMALL[..], &["--html", path.to_str().unwrap()]].concat(), 1);
    assert!(said.contains("none/page.html") && said.contains("No such file"), "{said}");

    // A device that takes nothing: that shows only at the end.
    let output = run(&[&SMALL[..], &["--html", "/dev/full"]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/dev/full") && said.contains("No space left"), "{said}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("trace "), "the figures are there");
}

#[test]
fn what_can_show_nothing_is_refused_in_words_that_say_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.toml");
    let cut = "[[network.cuts]]\nfrom_min = 20.0\nuntil_min = 10.0\nsenders = [\"Tokyo\"]\n\
               receivers = [\"Osaka\"]\n";
    std::fs::write(&file, cut).unwrap();
    let scenario = ["--scenario", file.to_str().unwrap()];
    for (arguments, words) in [
        (&["balance", "--requests", "0"][..], "0 is not in 1.."),
        (&["--records", "0", "--reads", "100"], "records.count is 0, got 100"),
        (
            &["hostile", "--paths", "1"],
            "paths: expected 2 to 8, which are compared with one, got 1",
        ),
        (&scenario, "network.cuts: expected until_min above from_min, 20, got 10"),
    ] {
        let said = refused(arguments, 2);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn of_no_lookups_and_no_reads_there_is_no_success() {
    let none = ["--nodes", "20", "--lookups", "0", "--records", "0", "--minutes", "1"];
    let table = String::from_utf8(run(&none).stdout).unwrap();
    let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("lookups").ends_with("0, success of none, recall of the 20 closest of none"));
    assert!(line("reads").ends_with("0 of 0 records, success of none"), "{table}");
    let output = run(&[&none[..], &["--output", "json"]].concat());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["success_rate", "recall", "read_success_rate"] {
        assert!(json.get(key).is_some_and(Value::is_null), "{key}: {json}");
    }
}
