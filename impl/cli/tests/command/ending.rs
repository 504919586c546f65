//! How `serve` ends: told once, it says so, serves for a while, and finishes; told twice, it ends at once.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::binary::Desk;
use crate::serving::{Serving, text};

const PATIENCE: Duration = Duration::from_mins(1);

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
    }
}

/// Its exit code, and what it has said.
fn ended(mut serving: Serving) -> (Option<i32>, String) {
    let code = serving.child.wait().unwrap().code();
    let mut said = String::new();
    serving.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (code, said)
}

fn status(serving: &Serving, path: &str) -> String {
    text(&serving.shell(&format!("curl -sS -o /dev/null -w '%{{http_code}}' localhost:8420{path}")))
}

#[test]
fn sigterm_ends_it_cleanly_and_it_says_where_its_data_is() {
    let desk = Desk::new();
    let mut serving = Serving::start(&desk);
    let mut line = String::new();
    serving.out.read_line(&mut line).unwrap();
    let folder = desk.path("cloakroom-node");
    assert!(line.starts_with("its data is in ") && folder.join("node.redb").is_file(), "{line}");
    serving.send("-TERM");
    let (code, said) = ended(serving);
    assert!(code == Some(0) && said.ends_with("cloakroom has ended\n"), "{code:?} {said}");
}

#[test]
fn after_sigterm_it_says_that_it_is_not_ready_while_it_still_serves_and_a_second_one_ends_it() {
    let desk = Desk::new();
    let serving = Serving::of(&desk, "serve --http 127.0.0.1:0 --end-grace-ms 600000");
    assert_eq!(status(&serving, "/readyz"), "200");
    serving.send("-TERM");
    until("it says that it is ready", || status(&serving, "/readyz") == "503");
    let ready = text(&serving.shell("curl -sS localhost:8420/readyz?verbose"));
    assert!(ready.contains(r#""name":"stays","ok":false,"detail":"it has been told"#), "{ready}");
    // Whoever has not looked yet is served: on connections that begin now.
    assert_eq!(status(&serving, "/livez"), "200");
    let at = format!("--endpoint http://{}", serving.address);
    desk.ok(&format!("pool create ports --size 9 {at}"));
    assert_eq!(desk.ok(&format!("allocate ports --tag web-1 {at}")), "0\n");
    serving.send("-TERM");
    let (code, said) = ended(serving);
    assert!(code == Some(1) && said.contains("ended at once"), "{code:?} {said}");
    // What it has answered is on its disk.
    let again = Serving::start(&desk);
    let at = format!("--endpoint http://{}", again.address);
    assert_eq!(desk.ok(&format!("find ports --tag web-1 {at}")), "0\n");
}

#[test]
fn the_grace_ends_by_itself_and_ctrl_c_has_none() {
    let desk = Desk::new();
    let serving = Serving::of(&desk, "serve --http 127.0.0.1:0 --end-grace-ms 200");
    serving.send("-TERM");
    assert_eq!(ended(serving).0, Some(0));
    let serving = Serving::of(&desk, "serve --http 127.0.0.1:0 --end-grace-ms 600000");
    let begun = Instant::now();
    serving.send("-INT");
    let (code, said) = ended(serving);
    assert!(code == Some(0) && said.ends_with("cloakroom has ended\n"), "{code:?} {said}");
    assert!(begun.elapsed() < PATIENCE * 5, "it has waited");
}

#[test]
fn what_is_under_way_is_waited_for_unless_it_is_told_again() {
    let desk = Desk::new();
    let serving = Serving::start(&desk);
    // The rest of it never comes.
    let mut half = TcpStream::connect(&serving.address).unwrap();
    let head = "POST /v1/pools HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 99\r\n\r\n{";
    half.write_all(head.as_bytes()).unwrap();
    let under_way = r"cloakroom_http_requests_under_way 2";
    until("the request has not begun", || {
        text(&serving.shell("curl -sS localhost:8420/metrics")).contains(under_way)
    });
    serving.send("-INT");
    until("it takes connections", || TcpStream::connect(&serving.address).is_err());
    serving.send("-INT");
    let (code, said) = ended(serving);
    assert!(code == Some(1) && said.contains("ended at once"), "{code:?} {said}");
}
