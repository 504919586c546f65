//! `cluster init` and `cert`: what is made, and that a refused call has made nothing.

use std::path::Path;

use crate::binary::Desk;

/// All files and folders below one.
fn below(path: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        all.push(path.display().to_string());
        if path.is_dir() {
            all.extend(below(&path));
        }
    }
    all.sort();
    all
}

#[test]
fn a_cluster_that_cannot_begin_leaves_nothing_and_the_corrected_call_makes_it() {
    let desk = Desk::new();
    for (wrong, message) in [
        (
            "a=127.0.0.1:17420 --slots 100",
            "slots: expected a power of two from 1 to 32768, got 100",
        ),
        ("a=127.0.0.1:17420 --replicas 0", "replicas: expected 1 to "),
        ("a=127.0.0.1:17420 a=127.0.0.1:17421", "got a twice"),
        ("a=127.0.0.1:17420 b=127.0.0.1:17420", "got 127.0.0.1:17420 twice"),
    ] {
        desk.fails(&format!("cluster init deep/coats {wrong}"), 2, message);
        assert_eq!(below(&desk.path("")), [""; 0], "{wrong}");
    }
    assert_eq!(desk.ok("cluster init deep/coats a=127.0.0.1:17420"), "deep/coats/a\n");
    assert_eq!(std::fs::read_dir(desk.path("deep")).unwrap().count(), 1, "nothing beside it");
}

#[test]
fn a_cluster_is_made_in_a_folder_that_holds_something_else_and_replaces_nothing() {
    let desk = Desk::new();
    std::fs::create_dir_all(desk.path("coats/b")).unwrap();
    desk.write("coats/notes", "mine");
    let before = below(&desk.path("coats"));
    desk.fails(
        "cluster init coats a=127.0.0.1:17420 b=127.0.0.1:17421",
        1,
        "coats/b is there already",
    );
    assert_eq!(below(&desk.path("coats")), before);
    desk.ok("cluster init coats a=127.0.0.1:17420 c=127.0.0.1:17421");
    let mut made: Vec<_> = std::fs::read_dir(desk.path("coats"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    made.sort();
    assert_eq!(made, ["a", "authority", "b", "c", "notes"]);
    desk.ok("cert renew coats c");
}

#[test]
fn a_certificate_that_is_refused_leaves_neither_key_nor_certificate() {
    let desk = Desk::new();
    // A cluster of one has its genesis beside its authority, and takes no second node.
    desk.ok("cluster init coats a=127.0.0.1:17420");
    desk.ok("cluster init alone a=127.0.0.1:17420");
    std::fs::remove_file(desk.path("alone/authority/genesis.json")).unwrap();
    for (line, code, message) in [
        ("cert issue alone b", 2, "a cluster of one takes no second node"),
        ("cert issue coats b --host a_b", 2, "host: expected a name"),
        ("cert issue coats a", 1, "coats/a is there already"),
        ("cert renew coats a --host a_b", 2, "host: expected a name"),
    ] {
        let before = below(&desk.path(""));
        desk.fails(line, code, message);
        assert_eq!(below(&desk.path("")), before, "{line}");
    }
}
