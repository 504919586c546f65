//! The command at the edges of what can be asked of it: what is refused, in which words, and that nothing was run.

use std::process::{Command, Output};

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
