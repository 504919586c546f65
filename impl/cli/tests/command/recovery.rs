//! `recover` and `check`.

use std::process::Stdio;

use cloakroom_pool::{
    Allocate, Machine, Next, Policy, PoolId, Request, Shape, Tag, Tree, Value, perform,
};
use cloakroom_stores::Durable;
use serde_json::json;

use crate::binary::{Desk, Ran};

fn desk_with(tags: &[&str]) -> Desk {
    let desk = Desk::new();
    desk.ok("pool create p --size 16 --block 4");
    for tag in tags {
        desk.ok(&format!("allocate p --tag {tag}"));
    }
    desk
}

/// Lets a caller with this tag die right after it took its slot.
fn die_allocating(desk: &Desk, tag: &str) {
    let map = Durable::open(desk.path("cloakroom.redb")).unwrap();
    let tree = Tree::new(PoolId(1), 16, Shape::new(64, 4).unwrap()).unwrap();
    let mut call = Allocate::new(tree, Policy::LowestFirst, Tag::new(tag).unwrap());
    loop {
        let request = call.request();
        let (response, error) = perform(&map, &tree, &request);
        assert_eq!(error, None);
        let taken = matches!(request, Request::CompareAndSet { new: Value::Block(_), .. });
        assert_eq!(call.step(response), Next::Ask);
        if taken {
            return;
        }
    }
}

#[test]
fn recover_frees_what_nobody_has_written_down_and_a_dry_run_nothing() {
    let desk = desk_with(&["a", "b", "c"]);
    desk.write("live", "a\r\n\nc\nc\nunheard-of\n");
    let listed = "ID  TAG\n1   b\n";
    let dry = desk.run("recover p --live live --dry-run");
    assert_eq!((dry.code, &*dry.out), (0, listed));
    assert_eq!(dry.err, "would free 1 of 3 held ids; nothing has been changed\n");
    assert_eq!(desk.json("usage p")["held"], 3);
    assert_eq!(desk.ok("recover p --live live"), listed);
    assert_eq!(desk.ok("list p"), "ID  TAG\n0   a\n2   c\n");
    assert_eq!(desk.ok("recover p --live live"), "ID  TAG\n");
}

#[test]
fn recover_reads_stdin_and_prints_json() {
    let desk = desk_with(&["a", "b"]);
    let ran = desk.run_with_stdin("recover p --live - --output json", b"a");
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        json,
        json!({
            "pool": "p", "dry_run": false, "held": 1, "counts_repaired": 1,
            "freed": [{"id": 1, "tag": "b", "tag_hex": "62"}],
        })
    );
}

#[test]
fn a_caller_that_comes_after_the_listing_keeps_its_id() {
    let desk = desk_with(&["dead", "live"]);
    let listed = desk.ok("list p --output json");
    desk.write("listed", &listed);
    desk.write("live.txt", "live\n");
    desk.ok("allocate p --tag late");
    assert_eq!(desk.ok("recover p --listed listed --live live.txt"), "ID  TAG\n0   dead\n");
    assert_eq!(desk.ok("find p --tag late"), "2\n");
    // Without the listing the older file would cost it its id: that is what the help warns of.
    assert_eq!(desk.ok("recover p --live live.txt --dry-run"), "ID  TAG\n2   late\n");
}

#[test]
fn an_id_that_a_dead_tag_came_to_hold_after_the_listing_is_freed_too() {
    let desk = desk_with(&["dead", "live"]);
    desk.write("listed", desk.ok("list p --output json"));
    desk.write("live.txt", "live\n");
    // A put of the dead call that was under way during the listing: a phantom under its tag.
    desk.ok("allocate p --tag dead");
    let both = "ID  TAG\n0   dead\n2   dead\n";
    let args = "recover p --listed listed --live live.txt";
    assert_eq!(desk.ok(&format!("{args} --dry-run")), both);
    assert_eq!(desk.ok(args), both);
    assert_eq!(desk.ok("list p"), "ID  TAG\n1   live\n");
}

#[test]
fn a_dry_run_says_what_it_would_free_and_what_is_held_now() {
    let desk = desk_with(&["a", "b"]);
    desk.write("live", "a\n");
    assert_eq!(
        desk.json("recover p --live live --dry-run"),
        json!({
            "pool": "p", "dry_run": true, "held": 2, "counts_repaired": 0,
            "would_free": [{"id": 1, "tag": "b", "tag_hex": "62"}],
        })
    );
    assert_eq!(desk.json("usage p")["held"], 2);
}

#[test]
fn a_switch_may_have_a_value_and_a_variable_that_is_empty_is_not_set() {
    let desk = desk_with(&["a", "b"]);
    desk.write("live", "a\n");
    let dry = |args: &str, variable: Option<&str>| {
        let mut command = desk.command(&format!("recover p --live live --output json {args}"));
        variable.map(|value| command.env("CLOAKROOM_DRY_RUN", value));
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{args} {variable:?}: {}", ran.err);
        ran.out.contains("\"dry_run\":true")
    };
    assert!(dry("--dry-run", None) && dry("--dry-run=true", None) && dry("--dry-run=yes", None));
    assert!(dry("", Some("1")) && dry("", Some("TRUE")) && dry("--dry-run", Some("0")));
    desk.fails("recover p --live live --dry-run=maybe", 2, "expected true or false, yes or no");
    assert_eq!(desk.json("usage p")["held"], 2);
    assert!(!dry("", Some("")) && !dry("", Some("off")) && !dry("--dry-run=false", Some("1")));
    assert_eq!(desk.json("usage p")["held"], 1);
}

#[test]
fn the_data_file_is_free_for_others_while_the_live_tags_are_awaited() {
    let desk = desk_with(&["a"]);
    let mut command = desk.command("recover p --live - --wait 60");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    desk.ok("allocate p --tag late --wait 60");
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"a\nlate\n").unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, &*ran.out), (0, "ID  TAG\n"));
}

#[test]
fn files_that_may_be_misread_are_refused_and_free_nothing() {
    let desk = desk_with(&["a"]);
    desk.write("empty", "\n");
    desk.write("long", format!("a\n{}\n", "x".repeat(129)));
    desk.write("table", "ID  TAG\n0   a\n");
    desk.write("live", "b\n");
    desk.fails("recover p --live empty", 2, "empty: expected at least one tag, got none");
    desk.fails("recover p --live long", 2, "long: line 2: tag: expected 1 to 128 bytes, got 129");
    desk.fails("recover p --live none", 2, "none: expected a readable file");
    desk.fails("recover p --live live --listed table", 2, "table: expected the output of");
    desk.ok("pool create q --size 4");
    desk.write("other", desk.ok("list q --output json"));
    let other = "other: expected a listing of pool \"p\", got one of pool \"q\"";
    desk.fails("recover p --live live --listed other", 2, other);
    desk.fails("recover p --live - --listed -", 2, "expected at most one of them to be stdin");
    assert_eq!(desk.json("usage p")["held"], 1);
    desk.ok("recover p --live empty --none-live");
    assert_eq!(desk.json("usage p")["held"], 0);
}

#[test]
fn a_tag_that_no_line_can_name_is_left_alone() {
    let desk = desk_with(&["a"]);
    {
        let map = Durable::open(desk.path("cloakroom.redb")).unwrap();
        let tree = Tree::new(PoolId(1), 16, Shape::new(64, 4).unwrap()).unwrap();
        let pool = cloakroom_pool::Pool::new(map, tree, Policy::LowestFirst);
        pool.allocate(&Tag::new("two\nlines").unwrap()).unwrap();
    }
    desk.write("live", "b\n");
    let ran = desk.run("recover p --live live");
    assert_eq!(ran.out, "ID  TAG\n0   a\n");
    assert!(ran.err.contains("left 1 of 2 held ids alone"), "{}", ran.err);
    assert_eq!(desk.ok("list p"), "ID  TAG\n1   two\\nlines\n");
}

#[test]
fn check_tells_stale_counts_repairs_them_and_then_is_content() {
    let desk = desk_with(&["a"]);
    assert_eq!(desk.ok("check p"), "every count is exact; ids held: 1\n");
    die_allocating(&desk, "phantom");
    assert_eq!(desk.json("usage p")["held"], 1, "the count is stale");
    desk.fails("check p", 1, "expected exact counts, got 1 stale; now put right");
    assert_eq!(desk.json("usage p")["held"], 2);
    assert_eq!(
        desk.json("check p"),
        json!({"pool": "p", "held": 2, "counts_repaired": 0, "exact": true})
    );
    assert_eq!(desk.ok("find p --tag phantom"), "1\n", "check frees nothing");
}

#[test]
fn recover_refreshes_counts_and_a_dry_run_does_not() {
    let desk = desk_with(&["a"]);
    die_allocating(&desk, "phantom");
    desk.write("live", "a\nphantom\n");
    desk.ok("recover p --live live --dry-run");
    assert_eq!(desk.json("usage p")["held"], 1);
    assert_eq!(desk.json("recover p --live live")["counts_repaired"], 1);
    assert_eq!(desk.json("usage p")["held"], 2);
}
