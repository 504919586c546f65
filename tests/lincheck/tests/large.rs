//! Large histories: 100,000 operations on 100 keys by 16 clients, with answers lost, well within the
//! 30 seconds and 2 GiB that the judge has for them; and one key with long histories, deep searches, no
//! recursion.

use std::time::{Duration, Instant};

use cloakroom_lincheck::pool::{self, Pool};
use cloakroom_lincheck::register::{Answer, Call, Register};
use cloakroom_lincheck::sample::{Histories, Sample};
use cloakroom_lincheck::{History, Limit, Verdict, judge};

const WHOLE: Sample =
    Sample { operations: 100_000, keys: 100, clients: 16, values: 0, one_lost_in: 100, seed: 1 };

fn judge_all(histories: &Histories) -> usize {
    let is_linearizable = |history| {
        let judgement = judge(&Register::empty(), history, Limit::default());
        assert_ne!(judgement.verdict, Verdict::Undecided);
        matches!(judgement.verdict, Verdict::Linearizable(_))
    };
    histories.values().filter(|history| !is_linearizable(history)).count()
}

#[test]
fn a_hundred_thousand_operations_on_a_hundred_keys_are_judged_in_time() {
    for values in [0, 5] {
        let histories = Sample { values, ..WHOLE }.run();
        let operations: usize = histories.values().map(|history| history.operations().len()).sum();
        assert_eq!((operations, histories.len()), (100_000, 100));
        let begun = Instant::now();
        assert_eq!(judge_all(&histories), 0);
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
    // Of all tests here together.
    assert!(peak().is_none_or(|bytes| bytes < 2 << 30), "{:?}", peak());
}

/// The most memory that this process has had, in bytes, where the system tells it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The last read of each key answers what was never written: all must be searched to say so.
#[test]
fn a_violation_at_the_end_of_each_of_a_hundred_keys_is_found_in_time() {
    let mut histories = WHOLE.run();
    for history in histories.values_mut() {
        let read = history.invoke(99, Call::Read);
        history.answer(read, Answer::Value(Some(u64::MAX)));
    }
    let begun = Instant::now();
    assert_eq!(judge_all(&histories), 100);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn one_key_with_many_operations_needs_no_stack() {
    let sample = Sample { keys: 1, values: 5, one_lost_in: 0, ..WHOLE };
    // A search that recursed once for each operation would need far more.
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    let judged = thread.spawn(move || judge_all(&sample.run())).unwrap();
    assert_eq!(judged.join().unwrap(), 0);
}

/// Twenty allocations without an answer lead to some 7,000 states of three ids, one configuration that
/// was chosen or not.
#[test]
fn what_open_calls_lead_to_counts_against_the_limit() {
    let mut history = History::default();
    for tag in 0..20 {
        history.invoke(tag, pool::Call::Allocate { tag });
    }
    let free = history.invoke(20, pool::Call::Clear { id: 0, tag: 20, free: 20 });
    history.answer(free, pool::Answer::Freed);
    let pool = Pool { size: 3 };
    let few = judge(&pool, &history, Limit { configurations: 1_000 });
    assert_eq!(few.verdict, Verdict::Undecided);
    assert!(few.configurations < 1_100, "{}", few.configurations);
    let enough = judge(&pool, &history, Limit { configurations: 100_000 });
    assert!(matches!(enough.verdict, Verdict::Violated(_)), "nobody held it under tag 20");
}

/// More than 64 operations under way at once, and more than 64 pending ones: wider than one word.
#[test]
fn a_crowd_on_one_key_is_judged() {
    let mut history = History::default();
    for process in 0..100 {
        history.invoke(1_000 + process, Call::Write(Some(1_000 + process)));
    }
    let writes: Vec<usize> =
        (0..100).map(|process| history.invoke(process, Call::Write(Some(process)))).collect();
    for value in [70, 1_080, 3, 99] {
        let read = history.invoke(200, Call::Read);
        history.answer(read, Answer::Value(Some(value)));
    }
    for write in writes {
        history.answer(write, Answer::Done);
    }
    let verdict =
        |history: &History<_, _>| judge(&Register::empty(), history, Limit::default()).verdict;
    assert!(matches!(verdict(&history), Verdict::Linearizable(_)));
    let limit = Limit { configurations: 3 };
    assert_eq!(judge(&Register::empty(), &history, limit).verdict, Verdict::Undecided);
}
