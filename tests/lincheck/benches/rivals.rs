//! The judge and the crate todc-utils on the same histories: time and memory.
//!
//! `cargo bench -p cloakroom-lincheck` prints a row for each set of histories and engine: the median
//! time of its rounds with their range, and the greatest memory of the process. Each row is a process
//! of its own, so that memory is its own; one that takes longer than [`PATIENCE`] is stopped and said to.
//!
//! todc-utils has no keys and no pending operations: it is given the histories key by key, and lost
//! answers as operations that end after all others and may or may not have had an effect, as its own
//! reader of Jepsen's logs does. It only says yes or no; the judge also finds the smallest prefix that
//! fails.
//!
//! What it does not measure: reading files.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use cloakroom_lincheck::format::{Format, Trace};
use cloakroom_lincheck::register::{Answer, Call, Register};
use cloakroom_lincheck::sample::Sample;
use cloakroom_lincheck::{History, Limit, Verdict, judge};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::Action;

const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_mins(1);
const CHILD: &str = "LINCHECK_BENCH_ROW";

type Registers = History<Call<u64>, Answer<u64>>;
type Operation = (Call<u64>, Option<Answer<u64>>);

const LARGE: Sample =
    Sample { operations: 100_000, keys: 100, clients: 16, values: 0, one_lost_in: 0, seed: 1 };

/// Histories by name.
const SETS: [(&str, Option<Sample>); 4] = [
    ("52 of etcd", None),
    ("100 keys x 1,000", Some(LARGE)),
    ("the same, 1 % lost", Some(Sample { one_lost_in: 100, ..LARGE })),
    ("1 key x 10,000, 5 values", Some(Sample { keys: 1, operations: 10_000, values: 5, ..LARGE })),
];
const ENGINES: [&str; 2] = ["lincheck", "todc-utils"];

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    if let Ok(row) = std::env::var(CHILD) {
        let (set, engine) = row.split_once('/').expect("a row");
        measure(set.parse().expect("a set"), engine, if is_bench { ROUNDS } else { 1 });
        return;
    }
    println!(
        "histories                 engine       verdicts       median (range)          memory"
    );
    for (set, (name, _)) in SETS.iter().enumerate() {
        for engine in ENGINES {
            println!("{name:<25} {engine:<11} {}", row(set, engine, is_bench));
        }
    }
}

/// A row, measured in a process of its own.
fn row(set: usize, engine: &str, is_bench: bool) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env(CHILD, format!("{set}/{engine}")).stdout(Stdio::piped());
    if is_bench {
        command.arg("--bench");
    }
    let mut child = command.spawn().expect("this program runs");
    let mut output = child.stdout.take().expect("piped");
    let (send, receive) = channel();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut output, &mut text).expect("text");
        // The row may be given up by then.
        let _ = send.send(text);
    });
    let row = match receive.recv_timeout(PATIENCE) {
        Ok(row) => row.trim_end().into(),
        Err(RecvTimeoutError::Timeout) => {
            child.kill().expect("it is ours");
            format!(" stopped after {PATIENCE:?}")
        }
        Err(RecvTimeoutError::Disconnected) => "failed".into(),
    };
    child.wait().expect("it ends");
    reader.join().expect("it ends");
    row
}

fn measure(set: usize, engine: &str, rounds: usize) {
    let Some(histories) = histories(set) else {
        println!(" NOT RUN: no etcd histories (set CLOAKROOM_JEPSEN)");
        return;
    };
    let mut times = Vec::new();
    let mut good = 0;
    for _ in 0..rounds {
        let (verdicts, took) = match engine {
            "lincheck" => run(
                &histories,
                |history| history,
                |history| {
                    let limit = Limit::default();
                    matches!(
                        judge(&Register::empty(), history, limit).verdict,
                        Verdict::Linearizable(_)
                    )
                },
            ),
            _ => run(&histories, rival, WGLChecker::<Rival>::is_linearizable),
        };
        good = verdicts;
        times.push(took);
    }
    times.sort();
    let (least, median, most) = (times[0], times[rounds / 2], times[rounds - 1]);
    println!(
        " {good:>3} of {:>3}  {median:>10.2?} ({least:.2?} to {most:.2?})  {} MiB",
        histories.len(),
        peak_mib()
    );
}

/// How many histories are linearizable, and how long that took without the conversion.
fn run<'a, H>(
    histories: &'a [Registers],
    convert: impl Fn(&'a Registers) -> H,
    judge: impl Fn(H) -> bool,
) -> (usize, Duration) {
    let converted: Vec<H> = histories.iter().map(convert).collect();
    let begun = Instant::now();
    let good = converted.into_iter().filter_map(|history| judge(history).then_some(())).count();
    (good, begun.elapsed())
}

fn histories(set: usize) -> Option<Vec<Registers>> {
    match SETS[set].1 {
        Some(sample) => Some(sample.run().into_values().collect()),
        None => etcd(),
    }
}

fn etcd() -> Option<Vec<Registers>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/jepsen-etcd");
    let folder = std::env::var_os("CLOAKROOM_JEPSEN").map_or(beside, PathBuf::from);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).expect("a history");
        let trace = Trace::parse(&text, Some(Format::JepsenEtcd)).expect("a history");
        let (history, _) = trace.histories().remove("").expect("one key");
        widened(&history)
    };
    Some(files.iter().map(read).collect())
}

/// The same with wider values.
fn widened(history: &History<Call<u32>, Answer<u32>>) -> Registers {
    let wide = |value: Option<u32>| value.map(u64::from);
    let mut events = vec![None; history.events()];
    for (at, operation) in history.operations().iter().enumerate() {
        events[operation.begin] = Some((at, None));
        if let Some((answer, end)) = operation.outcome {
            events[end] = Some((at, Some(answer)));
        }
    }
    let mut widened = History::default();
    for (at, answer) in events.into_iter().flatten() {
        match answer {
            Some(Answer::Value(value)) => widened.answer(at, Answer::Value(wide(value))),
            Some(Answer::Found(value)) => widened.answer(at, Answer::Found(wide(value))),
            Some(Answer::Done) => widened.answer(at, Answer::Done),
            Some(Answer::Mismatch) => widened.answer(at, Answer::Mismatch),
            None => {
                let operation = &history.operations()[at];
                let call = match operation.call {
                    Call::Read => Call::Read,
                    Call::Write(value) => Call::Write(wide(value)),
                    Call::CompareAndSet { expected, new } => {
                        Call::CompareAndSet { expected: wide(expected), new: wide(new) }
                    }
                };
                widened.invoke(operation.process, call);
            }
        }
    }
    widened
}

/// The register for todc-utils, with an answer that may be unknown.
struct Rival;

impl todc_utils::specifications::Specification for Rival {
    type State = Option<u64>;
    type Operation = Operation;

    fn init() -> Option<u64> {
        None
    }

    fn apply((call, answer): &Operation, state: &Option<u64>) -> (bool, Option<u64>) {
        match (*call, *answer) {
            (Call::Read, Some(Answer::Value(value))) => (value == *state, *state),
            (Call::Read, _) => (answer.is_none(), *state),
            (Call::Write(value), _) => (true, value),
            (Call::CompareAndSet { expected, new }, _) => {
                let is_met = expected == *state;
                let is_right = match *answer {
                    None => true,
                    Some(Answer::Done) => is_met,
                    Some(Answer::Found(found)) => !is_met && found == *state,
                    Some(_) => !is_met,
                };
                (is_right, if is_met { new } else { *state })
            }
        }
    }
}

/// One process for each operation: todc-utils pairs calls and responses by process, and a client
/// whose answer was lost has gone on.
fn rival(history: &Registers) -> todc_utils::linearizability::history::History<Operation> {
    let mut events = vec![None; history.events()];
    let mut actions = Vec::new();
    let mut lost = Vec::new();
    for (at, operation) in history.operations().iter().enumerate() {
        let both = (operation.call, operation.answer().copied());
        events[operation.begin] = Some((at, Action::Call(both)));
        match operation.end() {
            Some(end) => events[end] = Some((at, Action::Response(both))),
            None => lost.push((at, Action::Response(both))),
        }
    }
    actions.extend(events.into_iter().flatten());
    actions.extend(lost);
    todc_utils::linearizability::history::History::from_actions(actions)
}

/// The greatest memory so far, as Linux tells it.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).div_ceil(1024)
}
