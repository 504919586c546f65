//! `serve` on a disk that is full, or slow: what is acknowledged is on it, and a node whose disk has failed
//! votes no more while its process lives.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::binary::Desk;
use crate::serving::{Serving, text};

/// `serve` on any port, behind another command that becomes it.
fn behind(desk: &Desk, front: &[&str]) -> Serving {
    let serve = desk.command("serve --http 127.0.0.1:0");
    let mut command = Command::new(front[0]);
    command.args(&front[1..]).arg(serve.get_program()).args(serve.get_args());
    command.current_dir(desk.path("")).env_clear().env("PATH", std::env::var("PATH").unwrap());
    Serving::from(command)
}

/// The status that a request is answered with.
fn status(serving: &Serving, request: &str) -> String {
    let curl = "curl -sS -o /dev/null -w '%{http_code}'";
    text(&serving.shell(&format!("{curl} {request}")))
}

/// Puts 60,000 bytes under a new key.
fn put(serving: &Serving, key: usize) -> String {
    let conditions = "-H 'If-None-Match: *' -H 'Cloakroom-Timeout-Ms: 20000'";
    let value = "$(head -c 60000 /dev/zero | tr '\\0' x)";
    status(
        serving,
        &format!("-X PUT {conditions} --data \"{value}\" localhost:8420/v1/keys/k{key}"),
    )
}

fn get(serving: &Serving, key: usize) -> String {
    status(serving, &format!("localhost:8420/v1/keys/k{key}"))
}

/// No file of the process may grow beyond four or eight megabytes, as the shell counts: the system says
/// so as it says that a disk is full, by an error of the write.
#[test]
fn a_node_whose_disk_is_full_votes_no_more_and_lives_and_has_all_that_it_acknowledged() {
    let desk = Desk::new();
    let full = r#"trap "" XFSZ; ulimit -f 8192; exec "$@""#;
    let mut serving = behind(&desk, &["sh", "-c", full, "sh"]);
    let mut acknowledged = 0;
    let refused = loop {
        match put(&serving, acknowledged).as_str() {
            "200" => acknowledged += 1,
            other => break other.to_owned(),
        }
        assert!(acknowledged < 400, "the disk is not full");
    };
    // The one that met the full disk may have happened; later ones have not.
    assert_eq!((refused.as_str(), acknowledged > 10), ("504", true));
    let later = (1000..1010).find(|key| put(&serving, *key) == "503").expect("it says so at once");
    assert_eq!(get(&serving, 0), "503");
    assert_eq!(status(&serving, "localhost:8420/readyz"), "503");
    assert_eq!(status(&serving, "localhost:8420/livez"), "200");
    let events = || text(&serving.shell("curl -sS localhost:8420/v1/cluster/events"));
    let begun = Instant::now();
    while !events().contains(r#""kind":"disk_failed""#) {
        assert!(begun.elapsed() < Duration::from_mins(1), "{}", events());
    }
    assert_eq!(serving.signal("-TERM").code(), Some(1), "its end is a failure");
    let again = Serving::start(&desk);
    for key in 0..acknowledged {
        assert_eq!(get(&again, key), "200", "k{key} was acknowledged");
    }
    assert_eq!(get(&again, later), "404", "nothing was done");
    assert_eq!(put(&again, later), "200");
}

/// A sync that takes a second, by strace: no answer is faster.
#[test]
fn an_answer_leaves_after_the_sync_of_what_it_says() {
    if Command::new("strace").arg("-V").output().is_err() {
        return println!("NOT RUN: strace is not here");
    }
    let desk = Desk::new();
    // Its folder is made at full speed.
    drop(Serving::start(&desk));
    let delayed = "inject=fdatasync,fsync:delay_enter=1000000";
    let front =
        ["strace", "-D", "-f", "-qq", "-o", "trace", "-e", "fdatasync,fsync", "-e", delayed];
    let serving = behind(&desk, &front);
    for key in 0..2 {
        let begun = Instant::now();
        assert_eq!(put(&serving, key), "200");
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    // A read of what is agreed on writes nothing, and need not wait.
    assert_eq!(get(&serving, 1), "200");
    let traced = std::fs::read_to_string(desk.path("trace")).unwrap();
    assert!(traced.contains("(DELAYED)"), "{traced}");
}
