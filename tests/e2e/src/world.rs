//! A network, process table and mounts of our own, so that faults hit nobody else.
//!
//! The program starts itself again under `unshare`: within, loopback is ours to cut, a folder of a node
//! can be a small file system, and whatever is still running dies with the first process.
//!
//! Invariants: without that right nothing outside is touched: the faults that need it are left out, and
//! it is said.
//!
//! What it does not do: need root where users may have namespaces.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Says to the second start that it is the second.
const INSIDE: &str = "CLOAKROOM_E2E_WORLD";
const OWN: &str = "own";
const SHARED: &str = "shared";

/// What may be done to the machine that the nodes see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct World {
    /// Network, processes and mounts are ours.
    pub(crate) is_own: bool,
    /// Packets can be dropped (`nft`).
    pub(crate) can_cut: bool,
    /// Links can be slow (`tc`).
    pub(crate) can_slow: bool,
}

/// Enters a world of our own; returns only in the process that stays.
pub(crate) fn enter() -> World {
    match std::env::var(INSIDE).as_deref() {
        Ok(OWN) => {}
        Ok(_) => return World { is_own: false, can_cut: false, can_slow: false },
        Err(_) => start_again(),
    }
    let works = |program: &str, line: &str| quiet(program, line.split(' '));
    let can_loop = works("ip", "link set lo up");
    let can_cut =
        can_loop && works("nft", "add table inet probe") && works("nft", "delete table inet probe");
    let can_slow = can_loop
        && works("tc", "qdisc add dev lo root handle 1: htb default 1")
        && works("tc", "qdisc del dev lo root");
    World { is_own: can_loop, can_cut, can_slow }
}

fn start_again() -> ! {
    let all = ["--net", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"];
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    let own = std::env::current_exe().expect("a running program has a path");
    for way in ways {
        let flags = || way.iter().chain(&all);
        let last = ["sh", "-c", "ip link set lo up"];
        if quiet("unshare", flags().chain(&last)) {
            let mut command = Command::new("unshare");
            command.args(flags()).arg(&own).args(std::env::args_os().skip(1)).env(INSIDE, OWN);
            panic!("unshare, which has just worked: {}", command.exec());
        }
    }
    let mut command = Command::new(&own);
    command.args(std::env::args_os().skip(1)).env(INSIDE, SHARED);
    panic!("{}: {}", own.display(), command.exec());
}

/// Whether a program is there and succeeds.
fn quiet(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
