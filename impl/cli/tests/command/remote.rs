//! Commands that a server carries out: `pool delete`, values from files, times to live.

use serde_json::json;

use crate::binary::{Desk, Ran};
use crate::serving::Serving;

#[test]
fn a_pool_is_deleted_when_no_id_is_held_and_its_name_is_free_again() {
    let desk = Desk::new();
    let serving = Serving::start(&desk);
    let remote = format!("--endpoint http://{}", serving.address);
    // With servers and in a data file alike.
    for at in [remote.as_str(), ""] {
        desk.ok(&format!("pool create p --size 9 {at}"));
        desk.ok(&format!("pool create other --size 9 {at}"));
        desk.ok(&format!("allocate other --tag b {at}"));
        let id = desk.ok(&format!("allocate p --tag a {at}"));
        desk.fails(&format!("pool delete p {at}"), 1, "expected that no id is held, got 1");
        assert_eq!(desk.json(&format!("usage p {at}"))["held"], 1);
        desk.ok(&format!("free p {} --tag a {at}", id.trim()));
        let deleted = desk.json(&format!("pool delete p {at}"));
        assert_eq!((&deleted["pool"], &deleted["size"]), (&json!("p"), &json!(9)));
        desk.fails(&format!("pool delete p {at}"), 2, "pool");
        let pools = desk.json(&format!("pool list {at}"));
        assert_eq!(pools.as_array().map(Vec::len), Some(1), "{pools}");
        desk.ok(&format!("pool create p --size 3 {at}"));
        assert_eq!(desk.json(&format!("usage p {at}"))["held"], 0);
        assert_eq!(desk.json(&format!("find other --tag b {at}"))["ids"], json!([0]));
    }
}

#[test]
fn a_flag_that_says_where_the_pools_are_outweighs_the_environment() {
    let desk = Desk::new();
    let serving = Serving::start(&desk);
    let url = format!("http://{}", serving.address);
    let with = |line: &str| {
        let mut command = desk.command(line);
        command.env("CLOAKROOM_ENDPOINT", &url).env("CLOAKROOM_DATA", "l.redb");
        Ran::of(command.output().unwrap())
    };
    desk.ok("pool create local --size 9 --data l.redb");
    // Both by the environment: the servers.
    assert_eq!(with("pool create srv --size 9").code, 0);
    let pools = |ran: Ran| {
        let pools: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        pools[0]["pool"].as_str().unwrap().to_owned()
    };
    for (line, pool) in [
        ("", "srv"),
        ("--data l.redb", "local"),
        ("--data=l.redb", "local"),
        (&*format!("--endpoint {url}"), "srv"),
    ] {
        assert_eq!(pools(with(&format!("pool list --output json {line}"))), pool, "{line}");
    }
    let refused = with("pool delete srv --data l.redb");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("expected one of local, got \"srv\""), "{refused:?}");
    let both = format!("pool delete srv --data l.redb --endpoint {url}");
    desk.fails(&both, 2, "--data and --endpoint: expected at most one of them, got both");
    assert_eq!(pools(with("pool list --output json")), "srv");
}

#[test]
fn a_list_is_of_the_tags_that_begin_as_asked() {
    let desk = Desk::new();
    let serving = Serving::start(&desk);
    let remote = format!("--endpoint http://{}", serving.address);
    for at in [remote.as_str(), ""] {
        desk.ok(&format!("pool create p --size 9 {at}"));
        for tag in ["web-1", "db-1", "web-2", "a&b=c"] {
            desk.ok(&format!("allocate p --tag {tag} {at}"));
        }
        let list = |prefix: &str| desk.ok(&format!("list p --prefix={prefix} {at}"));
        assert_eq!(list("web-"), "ID  TAG\n0   web-1\n2   web-2\n");
        assert_eq!(list("a&b"), "ID  TAG\n3   a&b=c\n");
        assert_eq!(list("eb"), "ID  TAG\n");
        assert_eq!(list(""), desk.ok(&format!("list p {at}")));
        let json = desk.json(&format!("list p --prefix db {at}"));
        assert_eq!(json["held"][0]["tag"], "db-1");
        assert_eq!(json["held"].as_array().map(Vec::len), Some(1));
    }
    let help = desk.ok("list --help");
    assert!(help.contains("--prefix <TAG>") && help.contains("CLOAKROOM_PREFIX"), "{help}");
}

#[test]
fn a_value_comes_from_a_file_or_stdin_byte_for_byte() {
    let desk = Desk::new();
    let serving = Serving::start(&desk);
    let at = |line: &str| format!("{line} --endpoint http://{}", serving.address);
    let bytes = b"\xff\x00red\r\n\n";
    desk.write("red", bytes);
    assert_eq!(desk.ok(&at("kv put-if-absent coat --file red")), "1\n");
    let got = desk.command(&at("kv get coat")).output().unwrap();
    assert_eq!(got.stdout, bytes);
    let set = desk.run_with_stdin(&at("kv cas coat 1 --file -"), b"blue\n");
    assert_eq!((set.code, &*set.out), (0, "2\n"), "{set:?}");
    assert_eq!(desk.ok(&at("kv get coat")), "blue\n");
    desk.ok(&at("dht put cap --file red"));
    assert_eq!(desk.json(&at("dht get cap"))[0]["value_hex"], "ff007265640d0a0a");
    desk.write("most", vec![b'x'; 65_536]);
    desk.write("more", vec![b'x'; 65_537]);
    desk.ok(&at("kv cas coat 2 --file most"));
    let refused = "more: expected a value of at most 65536 bytes, got 65537";
    desk.fails(&at("kv cas coat 3 --file more"), 2, refused);
    desk.fails(&at("kv put-if-absent hat --file more"), 2, refused);
    desk.fails(&at("kv put-if-absent hat --file nowhere"), 2, "nowhere: expected a readable file");
    desk.fails(&at("kv put-if-absent hat red --file red"), 2, "cannot be used with");
    desk.fails(&at("kv put-if-absent hat"), 2, "required");
    desk.fails(
        &at("kv cas coat blue green"),
        2,
        "expected a version, a number that `kv get` tells",
    );
}

#[test]
fn a_record_lives_as_long_as_it_is_told_to() {
    let desk = Desk::new();
    let serving = Serving::start(&desk);
    let at = |line: &str| format!("{line} --endpoint http://{}", serving.address);
    let lives = |line: &str| {
        desk.ok(&at(&format!("dht put cap green {line}")));
        desk.json(&at("dht get cap"))[0]["expires_in_ms"].as_u64().unwrap()
    };
    assert!((540_000..=600_000).contains(&lives("--ttl 10m")));
    assert!((86_000_000..=86_400_000).contains(&lives("")));
    desk.fails(&at("dht put cap green --ttl 25h"), 2, "expected 1ms to 1d");
    desk.fails(&at("dht put cap green --ttl 10"), 2, "with ms, s, m, h or d behind it");
}
