//! Help, completion, man pages.

use crate::binary::{Desk, Ran};

#[test]
fn help_has_the_exit_codes_and_no_colour_off_a_terminal() {
    let help = Desk::new().ok("--help");
    assert!(help.contains("Exit codes:") && help.contains("CLOAKROOM_SOME_NAME"), "{help}");
    assert!(!help.contains('\x1b'));
    let recover = Desk::new().ok("recover --help");
    assert!(recover.contains("--listed listed.json --live live.txt --dry-run"), "{recover}");
    let replay = Desk::new().ok("replay --help");
    assert!(
        replay.contains(" --size 48 --fanout 4 --block 4 --crash-rate 0.05 --seed 1\n"),
        "{replay}"
    );
    let allocate = Desk::new().ok("allocate --help");
    assert!(allocate.contains("it takes two ids"), "{allocate}");
    let words = |help: String| help.split_whitespace().collect::<Vec<_>>().join(" ");
    let renew = words(Desk::new().ok("cert renew --help"));
    assert!(
        renew.contains("Where none has, and of clients, nobody does unless you call this"),
        "{renew}"
    );
    let init = words(Desk::new().ok("cluster init --help"));
    assert!(init.contains("somebody has to call `cert renew` for each node"), "{init}");
    let drain = words(Desk::new().ok("cluster drain --help"));
    assert!(drain.contains("Only that server knows"), "{drain}");
    let dev = words(Desk::new().ok("dev cluster --help"));
    assert!(dev.contains("of three or more any one may be killed"), "{dev}");
}

#[test]
fn no_color_wins_over_whoever_forces_colours() {
    let desk = Desk::new();
    let forced = |no_color: &str| {
        let mut command = desk.command("--help");
        Ran::of(command.env("CLICOLOR_FORCE", "1").env("NO_COLOR", no_color).output().unwrap()).out
    };
    assert!(forced("").contains('\x1b'), "an empty one is none");
    assert!(!forced("1").contains('\x1b'));
}

#[test]
fn no_command_is_wrong_usage() {
    let ran = Desk::new().run("");
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("Usage: cloakroom <COMMAND>"), "{}", ran.err);
}

#[test]
fn completion_is_printed_for_each_shell() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(desk.ok(&format!("completion {shell}")).contains("crash-rate"), "{shell}");
    }
    desk.fails("completion tcsh", 2, "invalid value 'tcsh'");
}

#[test]
fn man_pages_are_written_for_every_command() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("man1")).unwrap();
    // What is set when they are made must not stand in them.
    let mut command = desk.command("man man1");
    let ran = Ran::of(command.env("CLOAKROOM_DATA", "/secret").output().unwrap());
    assert_eq!((ran.code, &*ran.err), (0, "man pages written to man1\n"));
    for page in [
        "",
        "-pool",
        "-pool-create",
        "-pool-delete",
        "-cert-request",
        "-allocate",
        "-recover",
        "-replay",
        "-man",
    ] {
        let text = std::fs::read_to_string(desk.path(&format!("man1/cloakroom{page}.1")));
        let text = text.unwrap_or_else(|error| panic!("cloakroom{page}.1: {error}"));
        assert!(text.contains(".TH") && !text.contains("secret"), "cloakroom{page}.1");
    }
    let allocate = std::fs::read_to_string(desk.path("man1/cloakroom-allocate.1")).unwrap();
    assert!(allocate.contains("CLOAKROOM_DATA") && allocate.contains("durably"), "{allocate}");
    desk.fails("man nowhere", 2, "nowhere: expected a directory to write to");
}
