//! Settings of `serve`: the file, the environment and flags, in rising order of weight; what is refused, and how.

use std::collections::BTreeSet;

use crate::binary::{Desk, Ran};

const CHECK: &str = "serve --check-config";

fn example() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cloakroom.toml"))
        .unwrap()
}

/// The lines of what is in force, without where it is from.
fn values(told: &str) -> BTreeSet<String> {
    let set = told.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    set.map(|line| line.split(" # ").next().unwrap().to_owned()).collect()
}

#[test]
fn the_example_says_the_defaults_and_names_every_setting() {
    let desk = Desk::new();
    desk.write("cloakroom.toml", example());
    let defaults = desk.ok(CHECK);
    assert_eq!(values(&example()), values(&defaults));
    let told = desk.ok(&format!("{CHECK} --config cloakroom.toml"));
    assert_eq!(values(&told), values(&defaults));
    for line in defaults.lines() {
        let key = line.trim_start_matches("# ").split(' ').next().unwrap();
        assert!(example().contains(&format!("{key} = ")), "the example does not name {key}");
    }
    // With what is only suggested there.
    let whole = example().replace("# https", "https").replace("# host", "host");
    let whole = whole.replace("# listen", "listen").replace("/etc/ssl/", "");
    desk.write("whole.toml", whole);
    desk.write("coats.pem", "");
    desk.write("coats.key", "");
    let told = desk.ok(&format!("{CHECK} --config whole.toml"));
    assert!(told.contains(r#"host = ["coats.example.org"] # whole.toml:"#), "{told}");
    assert!(!desk.path("cloakroom-node").exists(), "nothing is begun");
}

#[test]
fn a_flag_outweighs_the_environment_and_the_environment_the_file_and_each_is_told() {
    let desk = Desk::new();
    desk.write("a.toml", "http = \"127.0.0.1:1\"\nlog = \"info\"\n\nmax_requests = 7\n");
    let mut command = desk.command(&format!("{CHECK} --http 127.0.0.1:3"));
    command.env("CLOAKROOM_CONFIG", "a.toml").env("CLOAKROOM_LOG", "debug");
    let told = Ran::of(command.env("CLOAKROOM_HTTP", "127.0.0.1:2").output().unwrap()).out;
    for line in [
        "http = \"127.0.0.1:3\" # --http",
        "log = \"debug\" # CLOAKROOM_LOG",
        "max_requests = 7 # a.toml:4",
        "max_peers = 1024 # default",
        "# https is not set",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    // What is told is a file that says the same.
    desk.write("b.toml", &told);
    let again = desk.ok(&format!("{CHECK} --config b.toml"));
    assert_eq!(values(&again), values(&told));
}

#[test]
fn unknown_keys_and_bad_values_are_refused_with_file_line_expected_and_got() {
    let desk = Desk::new();
    for (text, message) in [
        ("\ncolour = 1", "a.toml:2: expected one of folder, http, https"),
        ("\ncolour = 1", "got \"colour\""),
        ("config = \"b.toml\"", "got \"config\""),
        ("log = \"info\"\nhttp = \"there\"", "a.toml:2: http: expected off, or an address"),
        ("http = \"there\"", "got \"there\""),
        ("max_requests = 0", "a.toml:1: max_requests: expected N (0 is not in 1..=1000000), got"),
        ("max_requests = -1", "got \"-1\""),
        ("max_requests = 1.5", "expected a text or a number, got float"),
        ("log_format = \"xml\"", "log_format: expected one of text, json, got \"xml\""),
        ("host = [1.5]", "expected a text or a number, or a list of them, got array"),
        ("http = \"off\"\nhttp = \"off\"", "a.toml:2: expected TOML: duplicate key"),
        ("[limits]\nmax = 1", "got \"limits\""),
        ("http = \"off\"", "--http off: expected --https"),
        ("http = \"0.0.0.0:1\"", "plain HTTP is for loopback"),
        ("log = \"a=b=c\"", "expected a level"),
    ] {
        desk.write("a.toml", text);
        desk.fails(&format!("{CHECK} --config a.toml"), 2, message);
        desk.fails("serve --config a.toml --folder other", 2, message);
    }
    desk.write("key.pem", "");
    for (cert, key, message) in [
        ("cert.pem", "key.pem", "cert.pem: expected a readable file"),
        ("key.pem", "no-key.pem", "no-key.pem: expected a readable file"),
    ] {
        desk.write("a.toml", format!("https_cert = \"{cert}\"\nhttps_key = \"{key}\""));
        desk.fails(&format!("{CHECK} --config a.toml"), 2, message);
        desk.fails("serve --config a.toml --folder other", 2, message);
    }
    // Also where a flag outweighs it.
    desk.write("a.toml", "http = \"there\"");
    desk.fails(&format!("{CHECK} --config a.toml --http 127.0.0.1:1"), 2, "a.toml:1: http");
    desk.fails(&format!("{CHECK} --config none.toml"), 2, "none.toml: expected a readable file");
    assert!(!desk.path("other").exists(), "nothing is begun");
}

/// It would be a target's name, and silence the log.
#[test]
fn a_mistyped_level_of_the_log_is_refused() {
    let desk = Desk::new();
    for wrong in ["wran", "info,wran", "wran,cloakroom_server=debug", "cloakroom_sever"] {
        let got =
            wrong.split(',').find(|directive| ["wran", "cloakroom_sever"].contains(directive));
        let message = format!(
            "expected a level (error, warn, info, debug, trace or off), a crate \
            such as cloakroom_server, or directives such as cloakroom_server=debug, got {:?}",
            got.unwrap()
        );
        desk.fails(&format!("{CHECK} --log {wrong}"), 2, &message);
        desk.fails(&format!("serve --http 127.0.0.1:0 --log {wrong}"), 2, &message);
    }
    for right in [
        "off",
        "WARN",
        "info,cloakroom_server=debug",
        "cloakroom_server",
        "cloakroom_server::disk,quinn=info",
        "[request]=debug",
    ] {
        desk.ok(&format!("{CHECK} --log {right}"));
    }
    for folder in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap() {
        let folder = folder.unwrap();
        if folder.path().join("Cargo.toml").is_file() {
            desk.ok(&format!("{CHECK} --log cloakroom_{}", folder.file_name().display()));
        }
    }
}

#[test]
fn a_bad_value_is_blamed_on_the_variable_or_the_flag_that_has_it() {
    let desk = Desk::new();
    for (name, line, blamed) in [
        ("CLOAKROOM_MAX_REQUESTS", CHECK, "'abc' for 'CLOAKROOM_MAX_REQUESTS'"),
        ("CLOAKROOM_OUTPUT", "list p", "'abc' for 'CLOAKROOM_OUTPUT'"),
        ("CLOAKROOM_DRY_RUN", "recover p --live l", "'abc' for 'CLOAKROOM_DRY_RUN'"),
        ("CLOAKROOM_OUTPUT", "list p --output xyz", "'xyz' for '--output <OUTPUT>'"),
        ("CLOAKROOM_OUTPUT", "list p --output=xyz", "'xyz' for '--output <OUTPUT>'"),
    ] {
        let ran = Ran::of(desk.command(line).env(name, "abc").output().unwrap());
        assert!(ran.code == 2 && ran.err.contains(blamed), "{name} {line}: {ran:?}");
    }
}
