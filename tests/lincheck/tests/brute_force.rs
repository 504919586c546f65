//! The judge against brute force: all orders of small random histories, judged by the sequential map
//! of `specs`, which shares no line with the judge.
//!
//! `LINCHECK_HISTORIES` says how many histories; 100,000 if it does not.

use cloakroom_lincheck::pool::{self, Pool};
use cloakroom_lincheck::register::{Answer, Call, Register};
use cloakroom_lincheck::sample::Dice;
use cloakroom_lincheck::{History, Limit, Operation, Specification, Verdict, judge};
use cloakroom_specs::map;

type Registers = History<Call<u64>, Answer<u64>>;

/// What a register holds.
type Held = Option<u64>;

/// What a sequential register holds after a call, if it may answer so.
fn apply(value: Held, call: Call<u64>, answer: Option<Answer<u64>>) -> Result<Held, ()> {
    let call = match call {
        Call::Read => map::Call::Get,
        // To write is to swap whatever is there.
        Call::Write(new) => map::Call::CompareAndSet { expected: value, new },
        Call::CompareAndSet { expected, new } => map::Call::CompareAndSet { expected, new },
    };
    let (got, after) = map::apply(value, call);
    let is_right = match (answer, got) {
        (None, _) => true,
        (Some(Answer::Value(said)), map::Answer::Value(got)) => said == got,
        (Some(Answer::Done), map::Answer::Set) => true,
        (Some(Answer::Mismatch), map::Answer::Mismatch(_)) => true,
        (Some(Answer::Found(said)), map::Answer::Mismatch(got)) => said == got,
        _ => false,
    };
    if is_right { Ok(after) } else { Err(()) }
}

/// Whether some order explains the history: tries all, without a memory, by the definition.
fn explained(history: &Registers, done: &mut Vec<usize>, value: Option<u64>) -> bool {
    let all = history.operations();
    let left = |at: &usize| !done.contains(at);
    if !(0..all.len()).filter(left).any(|at| all[at].outcome.is_some()) {
        return true;
    }
    let next: Vec<usize> = (0..all.len()).filter(left).collect();
    for &at in &next {
        let is_preceded =
            next.iter().any(|&other| all[other].end().is_some_and(|end| end < all[at].begin));
        if is_preceded {
            continue;
        }
        if let Ok(value) = apply(value, all[at].call, all[at].answer().copied()) {
            done.push(at);
            if explained(history, done, value) {
                return true;
            }
            done.pop();
        }
    }
    false
}

/// LIN-1: the order has each completed operation, none twice, keeps real time and is legal.
fn assert_witness(history: &Registers, order: &[usize]) {
    let all = history.operations();
    let mut value = None;
    for (at, &operation) in order.iter().enumerate() {
        assert!(!order[..at].contains(&operation), "twice: {operation}");
        let later = &order[at + 1..];
        let begin = all[operation].begin;
        assert!(!later.iter().any(|&later| all[later].end().is_some_and(|end| end < begin)));
        let Operation { call, .. } = all[operation];
        value = apply(value, call, all[operation].answer().copied()).expect("legal");
    }
    for (at, operation) in all.iter().enumerate() {
        assert!(operation.outcome.is_none() || order.contains(&at), "left out: {at}");
    }
}

/// Up to 7 operations with values below 3, some pending; the answers are drawn, or those of some
/// order with one change.
fn history(dice: &mut Dice) -> Registers {
    let mut history = History::default();
    let mut open: Vec<usize> = Vec::new();
    let operations = 1 + dice.below(7);
    let pace = 1 + dice.below(4);
    let honest = dice.below(4) != 0;
    let mut begun = 0;
    let mut value = None;
    let mut effects: Vec<(usize, Answer<u64>)> = Vec::new();
    while begun < operations || !open.is_empty() {
        if begun < operations && (open.is_empty() || dice.below(pace + 1) != 0) {
            let call = call(dice);
            open.push(history.invoke(begun, call));
            begun += 1;
            continue;
        }
        let chosen = open.swap_remove(usize::try_from(dice.below(open.len() as u64)).unwrap());
        // Some take effect in the order of their returns, some before.
        let mut now = open.clone();
        now.retain(|_| dice.below(3) == 0);
        for at in now.into_iter().chain([chosen]) {
            if effects.iter().any(|&(done, _)| done == at) {
                continue;
            }
            let (answer, after) = sequential(value, history.operations()[at].call);
            value = after;
            effects.push((at, answer));
        }
        if dice.below(6) == 0 {
            continue;
        }
        let (_, answer) = *effects.iter().find(|&&(done, _)| done == chosen).unwrap();
        let answer = match (answer, dice.below(3)) {
            (Answer::Found(_), 0) => Answer::Mismatch,
            (answer, _) => answer,
        };
        let changed = if honest { dice.below(7) == 0 } else { dice.below(2) == 0 };
        history.answer(chosen, if changed { other(dice, answer) } else { answer });
    }
    history
}

fn value(dice: &mut Dice) -> Option<u64> {
    [None, Some(0), Some(1), Some(2)][usize::try_from(dice.below(4)).unwrap()]
}

fn call(dice: &mut Dice) -> Call<u64> {
    match dice.below(5) {
        0 | 1 => Call::Read,
        2 => Call::Write(value(dice)),
        _ => Call::CompareAndSet { expected: value(dice), new: value(dice) },
    }
}

fn sequential(value: Option<u64>, call: Call<u64>) -> (Answer<u64>, Option<u64>) {
    match call {
        Call::Read => (Answer::Value(value), value),
        Call::Write(new) => (Answer::Done, new),
        Call::CompareAndSet { expected, new } if expected == value => (Answer::Done, new),
        Call::CompareAndSet { .. } => (Answer::Found(value), value),
    }
}

/// Another answer to the same call.
fn other(dice: &mut Dice, answer: Answer<u64>) -> Answer<u64> {
    match answer {
        Answer::Value(_) => Answer::Value(value(dice)),
        Answer::Found(_) | Answer::Mismatch if dice.below(2) == 0 => Answer::Found(value(dice)),
        Answer::Found(_) | Answer::Mismatch => Answer::Done,
        Answer::Done => Answer::Done,
    }
}

#[test]
fn the_judge_agrees_with_brute_force_on_small_histories() {
    let histories =
        std::env::var("LINCHECK_HISTORIES").map_or(100_000, |text| text.parse().unwrap());
    let (mut right, mut wrong, mut with_pending) = (0, 0, 0);
    for seed in 0..histories {
        let history = history(&mut Dice(seed));
        let expected = explained(&history, &mut Vec::new(), None);
        let got = judge(&Register::empty(), &history, Limit::default()).verdict;
        with_pending += u64::from(history.returns().len() < history.operations().len());
        match (expected, got) {
            (true, Verdict::Linearizable(order)) => {
                assert_witness(&history, &order);
                right += 1;
            }
            (false, Verdict::Violated(violation)) => {
                // LIN-3: the smallest prefix, and what stands before it.
                let fails = |events| !explained(&history.prefix(events), &mut Vec::new(), None);
                assert!(fails(violation.prefix), "seed {seed}: {history:?}");
                assert!(!fails(violation.prefix - 1), "seed {seed}: {history:?}");
                assert_witness(&history.prefix(violation.prefix - 1), &violation.order);
                wrong += 1;
            }
            (expected, got) => panic!("seed {seed}: expected {expected}, got {got:?}: {history:?}"),
        }
    }
    println!(
        "{histories} histories: {right} linearizable, {wrong} not, {with_pending} with pending"
    );
    // Both verdicts, and pending operations, must be well represented for this to show anything.
    assert!(right * 4 > histories && wrong * 4 > histories && with_pending * 4 > histories);
}

/// Whether some order explains a pool's history. Its own specification says what is legal, so this
/// judges the search: calls without an answer have several outcomes here.
fn pool_explained(
    pool: Pool,
    history: &History<pool::Call, pool::Answer>,
    done: &mut Vec<usize>,
    state: &pool::State,
) -> bool {
    let all = history.operations();
    let left: Vec<usize> = (0..all.len()).filter(|at| !done.contains(at)).collect();
    if left.iter().all(|&at| all[at].outcome.is_none()) {
        return true;
    }
    for &at in &left {
        if left.iter().any(|&other| all[other].end().is_some_and(|end| end < all[at].begin)) {
            continue;
        }
        let mut next = Vec::new();
        pool.step(state, &all[at].call, all[at].answer(), &mut next);
        done.push(at);
        if next.iter().any(|next| pool_explained(pool, history, done, next)) {
            return true;
        }
        done.pop();
    }
    false
}

/// Up to 5 calls on two ids, with answers drawn; a third is lost.
fn pool_history(dice: &mut Dice) -> History<pool::Call, pool::Answer> {
    use pool::Answer::{AlreadyFree, Freed, FreedOrAlreadyFree, Full, Id, NotOwner};
    let mut history = History::default();
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut begun = 0;
    let calls = 2 + dice.below(4);
    while begun < calls || !open.is_empty() {
        if begun < calls && (open.is_empty() || dice.below(3) != 0) {
            begun += 1;
            let tag = dice.below(2);
            let is_free = dice.below(5) < 2;
            let operation = if is_free {
                let id = usize::try_from(dice.below(2)).unwrap();
                pool::begin_free(&mut history, begun, id, tag)
            } else {
                history.invoke(begun, pool::Call::Allocate { tag })
            };
            open.push((operation, is_free));
            continue;
        }
        let (operation, is_free) =
            open.swap_remove(usize::try_from(dice.below(open.len() as u64)).unwrap());
        match (dice.below(3), is_free) {
            (0, _) => {}
            (_, true) => {
                let answers = [Freed, Freed, AlreadyFree, NotOwner, FreedOrAlreadyFree];
                let answer = answers[usize::try_from(dice.below(5)).unwrap()];
                pool::end_free(&mut history, operation, answer);
            }
            (_, false) => {
                let answer = [Id(0), Id(1), Full][usize::try_from(dice.below(3)).unwrap()];
                history.answer(operation, answer);
            }
        }
    }
    history
}

#[test]
fn the_search_agrees_with_brute_force_on_small_pools() {
    let pool = Pool { size: 2 };
    let mut verdicts = [0, 0];
    for seed in 0..30_000 {
        let history = pool_history(&mut Dice(seed));
        let expected = pool_explained(pool, &history, &mut Vec::new(), &pool.start());
        let judged = judge(&pool, &history, Limit::default()).verdict;
        let got = matches!(judged, Verdict::Linearizable(_));
        assert_eq!(got, expected, "seed {seed}: {history:?}");
        verdicts[usize::from(got)] += 1;
    }
    println!("30000 pools: {} linearizable, {} not", verdicts[1], verdicts[0]);
    assert!(verdicts.iter().all(|&count| count > 5_000), "{verdicts:?}");
}
