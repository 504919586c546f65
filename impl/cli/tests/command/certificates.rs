//! `cluster init` and `cert`: what is made, and that a refused call has made nothing.

use std::path::Path;

use crate::binary::Desk;
use crate::serving::Serving;

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
    std::fs::create_dir(desk.path("empty")).unwrap();
    let expected = |folder, got| {
        format!("{folder}: expected a cluster's folder, with its authority in it, got {got}")
    };
    let (nowhere, empty) = (expected("nowhere", "none"), expected("empty", "one without"));
    for (line, code, message) in [
        ("cert issue nowhere d", 2, &*nowhere),
        ("cert issue empty d --client", 2, &*empty),
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

/// Each folder goes to its machine, and its key with it.
#[test]
fn a_node_and_a_client_whose_folders_are_gone_are_renewed_and_revoked() {
    let desk = Desk::new();
    desk.ok("cluster init coats a=127.0.0.1:17420 b=127.0.0.1:17421");
    desk.ok("cert issue coats c --host coats.example.org");
    desk.ok("cert issue coats alice --client");
    let machine = |name: &str| format!("machine-{}", name.rsplit('/').next().unwrap());
    for name in ["a", "c", "clients/alice"] {
        std::fs::rename(desk.path(&format!("coats/{name}")), desk.path(&machine(name))).unwrap();
    }
    let id = desk.ok("cert renew coats c --host more.example.org --valid-days 7");
    let mut made = below(&desk.path("coats/c"));
    made.retain(|path| path.contains("key"));
    assert_eq!(made, [""; 0], "its key is not here");
    for name in ["node.pem", "authority.pem", "revoked.pem"] {
        let (from, to) = (format!("coats/c/{name}"), format!("machine-c/{name}"));
        std::fs::copy(desk.path(&from), desk.path(&to)).unwrap();
    }
    let node = cloakroom_server::Credentials::load(&desk.path("machine-c")).unwrap();
    assert_eq!(format!("{:#}\n", node.id()), id);
    let hosts = node.hosts();
    for host in ["coats.example.org", "more.example.org", "localhost"] {
        assert!(hosts.iter().any(|named| named == host), "{host}: {hosts:?}");
    }
    let days = node.proof().unwrap().left().as_secs() / 86_400;
    assert_eq!(days, 6, "of seven");
    assert_eq!(desk.ok("cert renew coats alice --client"), "coats/clients/alice\n");
    // A name is taken as long as its node may still show a certificate.
    std::fs::remove_dir_all(desk.path("coats/c")).unwrap();
    desk.fails("cert issue coats c", 1, "the name \"c\" is that of node");
    assert_eq!(desk.ok("cert revoke coats c"), id);
    desk.fails("cert renew coats c", 1, "not all revoked");
    assert_ne!(desk.ok("cert issue coats c"), id);
    assert_eq!(desk.ok("cert revoke coats alice --client"), "alice\n");
    desk.fails("cert renew coats alice --client", 1, "not all revoked");
    let a = desk.ok("cert renew coats a");
    assert_eq!(desk.ok("cert revoke coats a"), a);
    desk.fails("cert revoke coats nobody", 2, "got \"nobody\"");
    desk.fails("cert renew coats nobody", 2, "is named by its id");
    desk.fails("cert revoke coats nobody --client", 2, "got \"nobody\"");
}

/// As clusters were made before the authority noted names.
#[test]
fn a_node_whose_name_is_not_known_is_named_by_its_id() {
    let desk = Desk::new();
    desk.ok("cluster init coats a=127.0.0.1:17420 b=127.0.0.1:17421");
    let (a, b) = (desk.ok("cert renew coats a"), desk.ok("cert renew coats b"));
    std::fs::remove_dir_all(desk.path("coats/authority/nodes")).unwrap();
    std::fs::remove_dir_all(desk.path("coats/a")).unwrap();
    desk.fails("cert renew coats a", 2, "is named by its id");
    // Of one whose folder is still here its certificate tells who it is.
    std::fs::remove_file(desk.path("coats/b/node.key")).unwrap();
    assert_eq!(desk.ok("cert renew coats b"), b);
    desk.fails(&format!("cert renew coats b --id {}", a.trim()), 2, "got that of another one");
    let few = &a[..12];
    assert_eq!(desk.ok(&format!("cert renew coats a --id {few}")), a);
    assert_eq!(desk.ok("cert renew coats a"), a);
    let list = std::fs::read(desk.path("coats/b/revoked.pem")).unwrap();
    assert_eq!(desk.ok(&format!("cert revoke coats --id {few}")), a);
    assert_ne!(list, std::fs::read(desk.path("coats/b/revoked.pem")).unwrap());
    desk.fails(
        "cert revoke coats --id 0123456789abcdef0123",
        2,
        "got \"0123456789abcdef0123\": none",
    );
    desk.fails("cert revoke coats a --id 00", 2, "cannot be used with");
    desk.fails("cert revoke coats", 2, "required");
}

#[test]
fn a_key_that_never_was_at_the_authority_is_certified_and_serves() {
    let desk = Desk::new();
    desk.ok("cluster init coats a=127.0.0.1:17420");
    assert_eq!(desk.ok("cert request machine"), "machine/node.csr\n");
    desk.fails("cert request machine", 1, "machine is there already");
    let id = desk.ok("cert issue coats d --csr machine/node.csr");
    assert!(!desk.path("coats/d/node.key").exists());
    for entry in std::fs::read_dir(desk.path("coats/d")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, desk.path("machine").join(from.file_name().unwrap())).unwrap();
    }
    let node = cloakroom_server::NodeFolder::open(&desk.path("machine")).unwrap();
    assert_eq!(format!("{:#}\n", node.credentials.id()), id);
    Serving::of(&desk, "serve --folder machine --http 127.0.0.1:0 --listen 127.0.0.1:0");
    assert_eq!(desk.ok("cert request alice --client"), "alice/client.csr\n");
    let issued = desk.ok("cert issue coats alice --client --csr alice/client.csr");
    assert_eq!(issued, "coats/clients/alice\n");
    // A client's key is of another kind.
    let before = below(&desk.path(""));
    desk.fails("cert issue coats e --csr alice/client.csr", 1, "with an Ed25519 key");
    desk.fails("cert issue coats e --csr coats/a/node.pem", 1, "expected a certificate request");
    assert_eq!(below(&desk.path("")), before);
}

/// What openssl makes is taken too: the key as well as the request.
#[test]
fn a_key_and_request_of_openssl_are_certified() {
    let desk = Desk::new();
    desk.ok("cluster init coats a=127.0.0.1:17420");
    std::fs::create_dir(desk.path("machine")).unwrap();
    let openssl = "umask 077; openssl genpkey -algorithm ed25519 -out node.key && \
                   openssl req -new -key node.key -subj /CN=anything -out node.csr";
    let mut shell = std::process::Command::new("sh");
    let ran = shell.args(["-euc", openssl]).current_dir(desk.path("machine")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let id = desk.ok("cert issue coats d --csr machine/node.csr");
    for entry in std::fs::read_dir(desk.path("coats/d")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, desk.path("machine").join(from.file_name().unwrap())).unwrap();
    }
    let node = cloakroom_server::NodeFolder::open(&desk.path("machine")).unwrap();
    assert_eq!(format!("{:#}\n", node.credentials.id()), id);
}
