//! Keys and other files: never open to others, never lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use cloakroom_server::{Authority, Credentials, Error, Key};

const DAY: Duration = Duration::from_hours(24);

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_is_neither_overwritten_nor_read_when_others_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.key");
    let key = Key::generate().unwrap();
    key.save(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert!(matches!(Key::generate().unwrap().save(&path), Err(Error::Exists(_))));
    assert_eq!(Key::load(&path).unwrap().id(), key.id());
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let refused = Key::load(&path).unwrap_err().to_string();
    assert!(refused.ends_with("(mode 0600), got mode 0640"), "{refused}");
}

#[test]
fn a_secret_is_closed_from_its_first_byte_also_where_a_crash_has_left_a_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.key");
    let beside = folder.path().join("node.key.new");
    fs::write(&beside, "left by a crash, and open to all").unwrap();
    fs::set_permissions(&beside, PermissionsExt::from_mode(0o666)).unwrap();
    Key::generate().unwrap().save(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert!(!beside.exists());
}

#[test]
fn a_renewed_certificate_belongs_to_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(&folder.path().join("authority")).unwrap();
    let node = folder.path().join("node");
    let first = Credentials::create(&node, &authority, &[], DAY).unwrap();
    let before = fs::read_to_string(node.join("node.pem")).unwrap();
    let second = Credentials::renew(&node, &authority, &[], DAY).unwrap();
    assert_eq!((first.id(), first.cluster()), (second.id(), authority.cluster()));
    assert_ne!(before, fs::read_to_string(node.join("node.pem")).unwrap());
    let again = Credentials::create(&node, &authority, &[], DAY);
    assert!(matches!(again, Err(Error::Exists(_))), "a node's key was overwritten");
    assert_eq!(Credentials::load(&node).unwrap().id(), first.id());
}

#[test]
fn a_damaged_file_is_named_with_what_was_expected_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(&folder.path().join("authority")).unwrap();
    let node = folder.path().join("node");
    Credentials::create(&node, &authority, &[], DAY).unwrap();
    for (name, expected) in [
        ("node.pem", "expected a certificate in PEM"),
        ("authority.pem", "expected a certificate in PEM"),
        ("revoked.pem", "expected a revocation list in PEM"),
        ("node.key", "expected an Ed25519 key in PKCS #8 PEM"),
    ] {
        let path = node.join(name);
        let before = fs::read(&path).unwrap();
        fs::write(&path, "damaged").unwrap();
        let refused = Credentials::load(&node).unwrap_err().to_string();
        assert!(refused.contains(name) && refused.contains(expected), "{refused}");
        fs::write(&path, before).unwrap();
    }
    Credentials::load(&node).unwrap();
}
