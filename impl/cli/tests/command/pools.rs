//! `pool`, `allocate`, `free`, `find`, `list`, `usage`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;

use cloakroom_pool::{Policy, Pool, PoolId, Shape, Tag, Tree};
use cloakroom_stores::Durable;
use serde_json::json;

use crate::binary::{Desk, Ran};

#[test]
fn an_id_goes_its_way_from_allocate_to_free() {
    let desk = Desk::new();
    assert_eq!(desk.ok("pool create p --size 3"), "");
    assert_eq!(desk.ok("allocate p --tag a"), "0\n");
    assert_eq!(desk.ok("allocate p --tag b"), "1\n");
    assert_eq!(desk.ok("find p --tag b"), "1\n");
    assert_eq!(desk.ok("find p --tag nobody"), "");
    assert_eq!(desk.ok("list p"), "ID  TAG\n0   a\n1   b\n");
    assert_eq!(desk.ok("usage p"), "size  3\nheld  2\nfree  1\n");
    assert_eq!(desk.ok("free p 0 --tag a"), "");
    assert_eq!(desk.ok("allocate p --tag c"), "0\n");
}

#[test]
fn json_has_one_shape_for_each_command() {
    let desk = Desk::new();
    assert_eq!(
        desk.json("pool create p --size 3 --fanout 2 --block 1 --policy spread"),
        json!({"pool": "p", "number": 1, "size": 3, "fanout": 2, "block": 1, "policy": "spread"})
    );
    desk.ok("pool create q --size 9");
    assert_eq!(
        desk.json("pool list"),
        json!([
            {"pool": "p", "number": 1, "size": 3, "fanout": 2, "block": 1, "policy": "spread"},
            {"pool": "q", "number": 2, "size": 9, "fanout": 64, "block": 64, "policy": "lowest-first"},
        ])
    );
    assert_eq!(desk.json("allocate q --tag ä"), json!({"pool": "q", "id": 0, "tag": "ä"}));
    assert_eq!(desk.json("find q --tag ä"), json!({"pool": "q", "tag": "ä", "ids": [0]}));
    assert_eq!(
        desk.json("list q"),
        json!({"pool": "q", "held": [{"id": 0, "tag": "ä", "tag_hex": "c3a4"}]})
    );
    let none = json!({"pool": "p", "held": []});
    assert_eq!(desk.json("list p"), none, "two pools share nothing but the file");
    assert_eq!(desk.json("usage q"), json!({"pool": "q", "size": 9, "held": 1, "free": 8}));
    assert_eq!(
        desk.json("free q 0 --tag ä"),
        json!({"pool": "q", "id": 0, "tag": "ä", "outcome": "freed"})
    );
    assert_eq!(desk.json("free q 0 --tag ä")["outcome"], "already_free");
}

#[test]
fn free_is_idempotent_and_takes_nothing_from_another() {
    let desk = Desk::new();
    desk.ok("pool create p --size 3");
    desk.ok("allocate p --tag a");
    desk.fails("free p 0 --tag b", 1, "id 0 is held under another tag");
    desk.ok("free p 0 --tag a");
    let again = desk.run("free p 0 --tag a");
    assert_eq!((again.code, &*again.err), (0, "id 0 was free already\n"));
    let other = desk.ok("allocate p --tag b");
    assert_eq!(other, "0\n");
    let ran = desk.run("free p 0 --tag a --output json");
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("\"outcome\":\"not_owner\""), "{}", ran.out);
}

#[test]
fn full_is_refused_with_exit_code_1() {
    let desk = Desk::new();
    desk.ok("pool create p --size 1");
    desk.ok("allocate p --tag a");
    desk.fails("allocate p --tag b", 1, "error: pool full: all 1 ids are held");
    desk.fails("pool create p --size 2", 1, "pool \"p\" exists already");
}

#[test]
fn wrong_usage_and_input_exit_with_2_and_change_nothing() {
    let desk = Desk::new();
    let missing = "expected a data file, got none; `cloakroom pool create` makes one, and --endpoint asks a server";
    desk.fails("pool list", 2, missing);
    desk.fails("allocate p --tag a", 2, missing);
    desk.fails("pool create p --size 0", 2, "size: expected 1 to 281474976710656 ids, got 0");
    desk.fails("pool create p --size 1 --fanout 1", 2, "fanout: expected 2 to 1024");
    desk.fails("pool create p --size 1 --block 257", 2, "block: expected 1 to 256");
    desk.fails("pool create a/b --size 1", 2, "pool name: expected 1 to 64 letters");
    desk.fails("pool create p --size many", 2, "invalid value 'many' for '--size <N>'");
    desk.fails("pool create p", 2, "--size <N>");
    assert!(!desk.path("cloakroom.redb").exists(), "a refused command made the data file");

    desk.ok("pool create p --size 3");
    desk.fails("allocate q --tag a", 2, "pool: expected one of p, got \"q\"");
    desk.fails("free p 3 --tag a", 2, "id: expected 0 to 2, got 3");
    desk.fails("frobnicate", 2, "unrecognized subcommand");
    let long = "x".repeat(129);
    desk.fails(&format!("allocate p --tag {long}"), 2, "tag: expected 1 to 128 bytes, got 129");
    let run = |tag: &str| Ran::of(desk.command("allocate p --tag").arg(tag).output().unwrap());
    assert_eq!(run("").code, 2);
    let broken = run("a\nb");
    assert_eq!(broken.code, 2);
    assert!(broken.err.contains("tag: expected no line break, got \"a\\nb\""), "{}", broken.err);
    assert_eq!(desk.json("usage p")["held"], 0);
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let desk = Desk::new();
    desk.write("notes.txt", "not a database");
    desk.fails("pool list --data notes.txt", 2, "notes.txt: not a file of Cloakroom");
    desk.fails("pool create p --size 1 --data notes.txt", 2, "notes.txt: not a file of Cloakroom");
    assert_eq!(std::fs::read(desk.path("notes.txt")).unwrap(), b"not a database");
}

#[test]
fn an_empty_file_is_filled_by_pool_create_alone() {
    let desk = Desk::new();
    desk.write("x", "");
    desk.write("live", "a\n");
    let message = "x: expected a data file, got one that holds nothing";
    for command in [
        "pool list",
        "allocate p --tag a",
        "free p 0 --tag a",
        "find p --tag a",
        "list p",
        "usage p",
        "recover p --live live",
        "check p",
    ] {
        desk.fails(&format!("{command} --data x"), 2, message);
        assert_eq!(std::fs::read(desk.path("x")).unwrap(), b"", "{command}");
    }
    desk.ok("pool create p --size 3 --data x");
    desk.ok("list p --data x");
    let nowhere = "no-folder/x: cannot open or create it: ";
    desk.fails("pool create p --size 3 --data no-folder/x", 1, nowhere);
}

#[test]
fn flags_are_read_from_the_environment_and_the_command_line_wins() {
    let desk = Desk::new();
    let run = |args: &str, data: &str| {
        let mut command = desk.command(args);
        command.env("CLOAKROOM_DATA", data).env("CLOAKROOM_SIZE", "7");
        Ran::of(command.env("CLOAKROOM_OUTPUT", "json").output().unwrap())
    };
    assert_eq!(run("pool create p", "from-env.redb").code, 0);
    assert!(desk.path("from-env.redb").exists());
    let usage = run("usage p --data from-env.redb", "elsewhere.redb");
    assert_eq!(usage.out, "{\"pool\":\"p\",\"size\":7,\"held\":0,\"free\":7}\n");
}

#[test]
fn many_processes_at_once_take_turns_and_get_an_id_each() {
    let desk = Desk::new();
    desk.ok("pool create p --size 8");
    let mut ids: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|caller| {
                let desk = &desk;
                scope.spawn(move || desk.ok(&format!("allocate p --wait 120 --tag t{caller}")))
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    ids.sort_unstable();
    assert_eq!(ids.concat(), "0\n1\n2\n3\n4\n5\n6\n7\n");
}

#[test]
fn a_file_that_stays_in_use_is_a_clear_error() {
    let desk = Desk::new();
    desk.ok("pool create p --size 8");
    let held = Durable::open(desk.path("cloakroom.redb")).unwrap();
    desk.fails("usage p --wait 0", 1, "cloakroom.redb: the file is in use: another process");
    desk.fails("usage p --wait 1", 1, "for the 1 s that --wait allows; try again");
    drop(held);
    desk.ok("usage p --wait 0");
}

#[test]
fn an_id_that_cannot_be_printed_is_told_on_stderr_with_its_tag() {
    let desk = Desk::new();
    desk.ok("pool create p --size 8");
    for (id, output) in [(0, "table"), (1, "json")] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = desk.command(&format!("allocate p --tag t{id} --output {output}"));
        let ran = Ran::of(command.stdout(writer).output().unwrap());
        assert_eq!(ran.code, 1, "{}", ran.err);
        let message = format!("error: id {id} of pool p is held under tag t{id}, but could not be");
        assert!(ran.err.starts_with(&message), "{}", ran.err);
        assert!(ran.err.contains("`cloakroom find` tells it again"), "{}", ran.err);
        assert_eq!(desk.ok(&format!("find p --tag t{id}")), format!("{id}\n"));
    }
}

#[test]
fn a_closed_pipe_is_quiet() {
    let desk = Desk::new();
    desk.ok("pool create p --size 128");
    {
        let map = Durable::open(desk.path("cloakroom.redb")).unwrap();
        let tree = Tree::new(PoolId(1), 128, Shape::default()).unwrap();
        let pool = Pool::new(map, tree, Policy::LowestFirst);
        for number in 0..128 {
            // Six characters of JSON for each byte: far more than a pipe takes in.
            pool.allocate(&Tag::new(format!("{number:03}{}", "\x01".repeat(120))).unwrap())
                .unwrap();
        }
    }
    let mut command = desk.command("list p --output json");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::with_capacity(1, child.stdout.take().unwrap());
    let mut begin = Vec::new();
    reader.read_until(b'0', &mut begin).unwrap();
    drop(reader);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, &*ran.err), (0, ""));

    let table = desk.ok("list p");
    assert!(!table.contains('\x01') && table.contains("\\u{1}"), "tables are escaped");
}
