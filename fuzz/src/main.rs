//! Runs the targets under cargo-fuzz, as many at once as there are processors, for a time each.
//!
//! ```text
//! cargo run --release --manifest-path fuzz/Cargo.toml                        # all, 20 s each
//! cargo run --release --manifest-path fuzz/Cargo.toml -- decode --seconds 60
//! cargo run --release --manifest-path fuzz/Cargo.toml -- decode --fresh      # from the seeds alone
//! ```
//!
//! Each starts from its seeds (`seeds/TARGET`) and what earlier runs have found (`corpus/TARGET`),
//! all of which it runs first. With `--fresh` it knows nothing of earlier runs, nor they of it: so a
//! fault that is planted must be found from the seeds. Exit 0: no oracle objected. 1: one did; libFuzzer has said where the
//! input is. 2: nothing was run.
//!
//! What it does not do: minimise inputs, or keep them. That is for whoever mends the fault.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cloakroom_fuzz::{TARGETS, Target};

/// A single allocation above this is a fault (WIRE-2): inputs have a few kilobytes.
const MOST_MEBIBYTES_AT_ONCE: u32 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match campaign(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(refused) => {
            eprintln!("campaign: {refused}");
            ExitCode::from(2)
        }
    }
}

fn campaign(arguments: &[String]) -> Result<bool, String> {
    let mut seconds = 20_u32;
    let mut fresh = false;
    let mut targets = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--seconds" {
            let number = words.next().ok_or("--seconds: expected a number, got none")?;
            seconds = number
                .parse()
                .map_err(|_| format!("--seconds: expected a number, got `{number}`"))?;
        } else if word == "--fresh" {
            fresh = true;
        } else {
            let known = TARGETS.iter().find(|target| target.name == word);
            targets.push(known.ok_or_else(|| {
                let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
                format!("expected --seconds, --fresh or one of {}, got `{word}`", names.join(", "))
            })?);
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    println!("-- {seconds} s for each of {} targets", targets.len());
    let at_once = std::thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    let waiting = Mutex::new(targets.into_iter());
    let next = || lock(&waiting).next();
    // Whoever finds something ends the campaign, when those beside it have had their time. Relaxed: it is read
    // for its own sake, and at the end after all have been joined.
    let objections = AtomicBool::new(false);
    let work = || {
        while !objections.load(Relaxed)
            && let Some(target) = next()
        {
            let Run { is_good, said } = run(target, seconds, fresh, at_once == 1)?;
            print!("-- {}\n{said}", target.name);
            if !is_good {
                println!("-- {}: the oracle objects", target.name);
                objections.store(true, Relaxed);
            }
        }
        Ok(())
    };
    let ended: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic in it")).collect()
    });
    ended.into_iter().collect::<Result<(), String>>()?;
    Ok(!objections.into_inner())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What has come of a target.
struct Run {
    is_good: bool,
    /// By libFuzzer, and by cargo if it had to build; nothing if it has spoken for itself.
    said: String,
}

/// `alone`: it speaks for itself, as it goes.
fn run(target: &Target, seconds: u32, fresh: bool, alone: bool) -> Result<Run, String> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |name: &str| fuzz.join(name).join(target.name);
    let corpus = folder(if fresh { "target/fresh" } else { "corpus" });
    let fault = |cause: std::io::Error| format!("{}: {cause}", corpus.display());
    if fresh && corpus.exists() {
        std::fs::remove_dir_all(&corpus).map_err(fault)?;
    }
    std::fs::create_dir_all(&corpus).map_err(fault)?;
    let mut command = Command::new("cargo");
    command.args(["fuzz", "run", "--features", "targets", "--fuzz-dir"]).arg(fuzz).arg(target.name);
    command.arg(&corpus).arg(folder("seeds")).arg("--");
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-max_len={}", target.max_bytes));
    command.arg(format!("-malloc_limit_mb={MOST_MEBIBYTES_AT_ONCE}"));
    command.args([
        "-timeout=10",
        "-print_funcs=0",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        "-verbosity=0",
    ]);
    if target.dictionary {
        command.arg(format!("-dict={}", fuzz.join("wire.dict").display()));
    }
    // A panic that looks up its backtrace allocates much, and would be taken for too much.
    command.env("RUST_BACKTRACE", "0");
    // The address sanitizer is a nightly flag; the compiler is the one that builds what ships.
    command.env("RUSTC_BOOTSTRAP", "1");
    let fault = |cause: std::io::Error| format!("cargo fuzz: {cause}");
    if alone {
        let status = command.status().map_err(fault)?;
        return Ok(Run { is_good: status.success(), said: String::new() });
    }
    let output = command.output().map_err(fault)?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(Run { is_good: output.status.success(), said })
}
