//! `backup`: what was saved is brought back, to the ids that it had; nothing is overwritten; a damaged file is
//! refused.

use crate::binary::Desk;
use crate::serving::Serving;

/// A server of its own, and its `--endpoint`.
fn server(desk: &Desk, folder: &str) -> (Serving, String) {
    let serving = Serving::of(desk, &format!("serve --http 127.0.0.1:0 --folder {folder}"));
    let endpoint = format!("--endpoint http://{}", serving.address);
    (serving, endpoint)
}

/// Pools of both policies with gaps in them, and a key; the saved file.
fn filled(desk: &Desk, at: &str) {
    desk.ok(&format!("pool create low --size 12 --fanout 2 --block 2 {at}"));
    desk.ok(&format!("pool create wide --size 12 --fanout 2 --block 2 --policy spread {at}"));
    desk.ok(&format!("pool create empty --size 5 {at}"));
    for pool in ["low", "wide"] {
        let ids: Vec<String> =
            (0..7).map(|tag| desk.ok(&format!("allocate {pool} --tag t{tag} {at}"))).collect();
        for tag in [0, 3, 4] {
            desk.ok(&format!("free {pool} {} --tag t{tag} {at}", ids[tag].trim()));
        }
    }
    desk.ok(&format!("kv put-if-absent coat red {at}"));
    desk.write("keys", "coat\nnowhere\n");
    desk.ok(&format!("backup save b --keys keys {at}"));
}

fn held(desk: &Desk, pool: &str, at: &str) -> serde_json::Value {
    desk.json(&format!("list {pool} {at}"))["held"].clone()
}

#[test]
fn what_was_saved_is_brought_back_to_the_same_ids_and_a_second_restore_brings_nothing() {
    let desk = Desk::new();
    let (_old, from) = server(&desk, "old");
    filled(&desk, &from);
    desk.fails(&format!("backup save b {from}"), 1, "it is there already");
    let told = desk.json("backup inspect b");
    assert_eq!(
        (&told["pools"], &told["allocations"], &told["keys"]),
        (&3.into(), &8.into(), &1.into())
    );
    let shown = desk.ok("backup inspect b");
    assert!(shown.contains("no snapshot") && shown.contains("begun        20"), "{shown}");
    assert!(told["begun_unix_ms"].is_u64(), "{told}");
    let (_new, to) = server(&desk, "new");
    let restored = desk.json(&format!("backup restore b {to}"));
    assert_eq!((&restored["pools"], &restored["allocations"]), (&3.into(), &8.into()));
    for pool in ["low", "wide", "empty"] {
        assert_eq!(held(&desk, pool, &to), held(&desk, pool, &from), "{pool}");
        desk.ok(&format!("check {pool} {to}"));
    }
    assert_eq!(desk.ok(&format!("kv get coat {to}")), "red");
    let again = desk.json(&format!("backup restore b {to}"));
    assert_eq!((&again["allocations"], &again["keys"]), (&0.into(), &1.into()));
    // A pool that holds something else stays as it is; others are restored beside.
    desk.ok(&format!("allocate low --tag other {to}"));
    let before = held(&desk, "low", &to);
    let refused = desk.run(&format!("backup restore b {to}"));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("which is not the backup's"), "{refused:?}");
    assert_eq!(held(&desk, "low", &to), before);
    let beside = desk.json(&format!("backup restore b --into-new-pools -2 {to}"));
    assert_eq!(beside["not_restored"], serde_json::json!([]));
    assert_eq!(held(&desk, "wide-2", &to), held(&desk, "wide", &from));
    assert_eq!(desk.ok(&format!("kv get coat-2 {to}")), "red");
    desk.ok(&format!("kv cas coat 1 blue {to}"));
    let refused = desk.run(&format!("backup restore b {to}"));
    assert!(refused.err.contains("key coat: it has another value"), "{refused:?}");
    assert_eq!(desk.ok(&format!("kv get coat {to}")), "blue");
}

#[test]
fn a_restore_that_was_broken_off_goes_on() {
    let desk = Desk::new();
    let (_old, from) = server(&desk, "old");
    filled(&desk, &from);
    let checksum = desk.json("backup inspect b")["checksum"].as_str().unwrap()[..8].to_owned();
    let (_new, to) = server(&desk, "new");
    // As it leaves a pool half-way: a filler, a pair, and nothing.
    desk.ok(&format!("pool create low --size 12 --fanout 2 --block 2 {to}"));
    desk.ok(&format!("pool create wide --size 12 --fanout 2 --block 2 --policy spread {to}"));
    for tag in [format!("restore-{checksum}-1-0"), "t1".to_owned()] {
        desk.ok(&format!("allocate low --tag {tag} {to}"));
    }
    for number in 0..5 {
        desk.ok(&format!("allocate wide --tag restore-{checksum}-1-{number} {to}"));
    }
    let restored = desk.json(&format!("backup restore b {to}"));
    assert_eq!(restored["allocations"], 7, "t1 was there");
    for pool in ["low", "wide"] {
        assert_eq!(held(&desk, pool, &to), held(&desk, pool, &from), "{pool}");
    }
}

#[test]
fn a_damaged_backup_is_refused_by_its_line_and_changes_nothing() {
    let desk = Desk::new();
    let (_old, from) = server(&desk, "old");
    filled(&desk, &from);
    let (_new, to) = server(&desk, "new");
    let whole = std::fs::read(desk.path("b")).unwrap();
    desk.write("cut", &whole[..whole.len() / 2]);
    let mut flipped = whole.clone();
    flipped[200] ^= 4;
    desk.write("flipped", &flipped);
    for command in ["backup inspect", "backup restore"] {
        let at = if command == "backup restore" { to.as_str() } else { "" };
        desk.fails(&format!("{command} cut {at}"), 2, "got the end of the file");
        desk.fails(&format!("{command} flipped {at}"), 2, "flipped:2: expected");
    }
    assert_eq!(desk.json(&format!("pool list {to}")), serde_json::json!([]));
}
