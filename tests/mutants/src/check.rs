//! Running a check to its end, or to the end of our patience.
//!
//! Invariants:
//! * nothing that a check has started outlives its time: it runs in a process group of its own, and a
//!   group that is out of time is ended as a whole;
//! * output goes to a file, so that a full pipe cannot stop the check; both streams append to it, so
//!   that neither writes over the other.
//!
//! What it does not do: end a check when the runner itself is killed.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How a check ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// `None`: it was still running when its time was over.
    pub(crate) status: Option<ExitStatus>,
    /// Standard output and error together.
    pub(crate) output: String,
}

impl Run {
    pub(crate) fn passed(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The last lines of the output.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let all: Vec<&str> = self.output.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// Runs a command for at most `patience`.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn run(mut command: Command, patience: Duration) -> io::Result<Run> {
    let log = tempfile::NamedTempFile::new()?;
    let append = || File::options().append(true).open(log.path());
    command.stdin(Stdio::null()).stdout(append()?).stderr(append()?);
    let mut child = command.process_group(0).spawn()?;
    let group = child.id();
    let (ended, end) = mpsc::channel();
    let waiter = thread::spawn(move || ended.send(child.wait()));
    let status = if let Ok(status) = end.recv_timeout(patience) {
        Some(status?)
    } else {
        // The standard library ends one process only; the check's own children must go too.
        Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status()?;
        None
    };
    // Either way the child has ended; a send whose receiver is gone does not matter.
    let _ = waiter.join();
    let output = String::from_utf8_lossy(&fs::read(log.path())?).into_owned();
    Ok(Run { status, output })
}

/// The command that builds what a check runs, and runs nothing.
pub(crate) fn build(check: &str) -> Vec<&str> {
    let words: Vec<&str> = check.split_whitespace().collect();
    let own = words.iter().position(|&word| word == "--").unwrap_or(words.len());
    let mut words = words[..own].to_vec();
    if words[1] == "run" {
        words[1] = "build";
    } else {
        // Doctests are compiled while they run, not here.
        words.push("--no-run");
    }
    words
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_check_tells_how_it_ended_and_what_it_said() {
        let script = "echo out; echo err >&2; echo more; exit 3";
        let run = run(shell(script), Duration::from_mins(1)).unwrap();
        assert_eq!(run.status.and_then(|status| status.code()), Some(3));
        assert!(!run.passed());
        assert_eq!(run.output, "out\nerr\nmore\n");
    }

    #[test]
    fn a_check_out_of_time_is_ended_with_its_children() {
        let run = run(shell("sleep 600 & echo $!; wait"), Duration::from_millis(300)).unwrap();
        assert!(run.status.is_none() && !run.passed());
        let child = run.output.trim();
        // Killed, it still has to be seen to by the kernel: gone, or ended and not yet collected by
        // whoever inherits it.
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                break;
            }
            assert!(Instant::now() < patience, "{child} is alive: {state}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_built_is_what_the_check_runs() {
        assert_eq!(
            build("cargo run --release -p m -- check x").join(" "),
            "cargo build --release -p m"
        );
        assert_eq!(build("cargo test -p m --lib -- x").join(" "), "cargo test -p m --lib --no-run");
    }
}
