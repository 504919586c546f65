//! The runner, as it is run.

use std::process::Command;

#[test]
fn a_reader_that_has_gone_away_is_no_panic() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mutants"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.arg("--list").stdout(writer).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*said), (Some(0), ""));
}
