//! Violations that were planted are found, and honest histories pass: LIN-1, LIN-2, LIN-3.
//!
//! Histories come from a simulated register, whose writes all have values of their own. Then every
//! change below breaks them for certain.

use cloakroom_lincheck::register::{Answer, Call, Register};
use cloakroom_lincheck::sample::{Dice, Sample};
use cloakroom_lincheck::{History, Limit, Verdict, judge};

type Registers = History<Call<u64>, Answer<u64>>;

/// A value that nobody writes.
const INVENTED: u64 = u64::MAX;

fn verdict(history: &Registers) -> Verdict<Option<u64>> {
    judge(&Register::empty(), history, Limit::default()).verdict
}

/// The same history with other answers.
fn with_answers(
    history: &Registers,
    change: impl Fn(usize, Answer<u64>) -> Option<Answer<u64>>,
) -> Registers {
    let mut events = vec![None; history.events()];
    for (at, operation) in history.operations().iter().enumerate() {
        events[operation.begin] = Some((at, None));
        if let Some((answer, end)) = operation.outcome {
            events[end] = change(at, answer).map(|answer| (at, Some(answer)));
        }
    }
    let mut changed = History::default();
    for (at, answer) in events.into_iter().flatten() {
        let operation = &history.operations()[at];
        match answer {
            Some(answer) => changed.answer(at, answer),
            None => assert_eq!(changed.invoke(operation.process, operation.call), at),
        }
    }
    changed
}

/// Operations for which this holds.
fn chosen(history: &Registers, wanted: impl Fn(Call<u64>, Answer<u64>) -> bool) -> Vec<usize> {
    let all = history.operations().iter().enumerate();
    all.filter(|(_, op)| op.answer().is_some_and(|&answer| wanted(op.call, answer)))
        .map(|(at, _)| at)
        .collect()
}

fn samples() -> impl Iterator<Item = (Registers, Dice)> {
    (0..200).map(|seed| {
        let sample = Sample {
            operations: 300,
            keys: 1,
            clients: 2 + seed % 7,
            values: 0,
            one_lost_in: 25,
            seed,
        };
        (sample.run().remove(&0).expect("the only key"), Dice(seed))
    })
}

fn pick(dice: &mut Dice, from: &[usize]) -> usize {
    from[usize::try_from(dice.below(from.len() as u64)).unwrap()]
}

/// That a history fails at an operation, and at no earlier return.
fn assert_violated_at(history: &Registers, operation: usize) {
    let Verdict::Violated(violation) = verdict(history) else { panic!("expected a violation") };
    assert_eq!(violation.operation, operation);
}

#[test]
fn honest_histories_pass() {
    for (history, _) in samples() {
        assert!(matches!(verdict(&history), Verdict::Linearizable(_)));
    }
}

#[test]
fn an_invented_value_is_found_where_it_was_read() {
    for (history, mut dice) in samples() {
        let reads = chosen(&history, |_, answer| matches!(answer, Answer::Value(_)));
        let read = pick(&mut dice, &reads);
        let invented = Answer::Value(Some(INVENTED));
        let planted =
            with_answers(&history, |at, answer| Some(if at == read { invented } else { answer }));
        assert_violated_at(&planted, read);
    }
}

#[test]
fn a_value_from_the_future_is_found() {
    let mut planted = 0;
    for (history, mut dice) in samples() {
        let reads = chosen(&history, |_, answer| matches!(answer, Answer::Value(_)));
        let read = pick(&mut dice, &reads);
        let end = history.operations()[read].end().unwrap();
        let later = history.operations().iter().find_map(|op| match op.call {
            Call::Write(Some(value)) if op.begin > end => Some(value),
            _ => None,
        });
        let Some(value) = later else { continue };
        let early = Answer::Value(Some(value));
        let history =
            with_answers(&history, |at, answer| Some(if at == read { early } else { answer }));
        assert_violated_at(&history, read);
        planted += 1;
    }
    assert!(planted > 150, "{planted}");
}

/// A read of a value that a later read already knew to be overwritten: stale.
#[test]
fn a_stale_read_is_found() {
    let mut planted = 0;
    for (history, _) in samples() {
        let all = history.operations();
        let reads = chosen(&history, |_, answer| matches!(answer, Answer::Value(Some(_))));
        // Values never come back, so what was overwritten between two reads stays so.
        let stale = reads.windows(2).find_map(|pair| {
            let [old, new] = pair else { return None };
            let last =
                reads.iter().copied().find(|&last| all[last].begin > all[*new].end().unwrap())?;
            let is_after = all[*new].begin > all[*old].end().unwrap();
            let differ = all[*old].answer() != all[*new].answer();
            (is_after && differ).then(|| (last, *all[*old].answer().unwrap()))
        });
        let Some((last, old)) = stale else { continue };
        let planted_history =
            with_answers(&history, |at, answer| Some(if at == last { old } else { answer }));
        assert!(matches!(verdict(&planted_history), Verdict::Violated(_)));
        planted += 1;
    }
    assert!(planted > 150, "{planted}");
}

/// A failed compare-and-set that says it was done: nobody reads its value, but the one whose value
/// it would have had to meet was never there at the time.
#[test]
fn a_compare_and_set_that_did_nothing_and_says_done_is_found() {
    let mut planted = 0;
    for (history, _) in samples() {
        let failed = chosen(&history, |call, answer| {
            let expects_none = matches!(call, Call::CompareAndSet { expected: None, .. });
            matches!(answer, Answer::Found(_)) && !expects_none
        });
        let Some(&failed) = failed.first() else { continue };
        let changed = with_answers(&history, |at, answer| {
            Some(if at == failed { Answer::Done } else { answer })
        });
        // It may be explained while the guess was right at some moment of the call.
        planted += u64::from(matches!(verdict(&changed), Verdict::Violated(_)));
    }
    assert!(planted > 50, "{planted}");
}

/// Answers that are lost can only make more histories linearizable.
#[test]
fn forgetting_answers_breaks_nothing() {
    for (history, dice) in samples().take(100) {
        let forgetful = with_answers(&history, |at, answer| {
            (Dice(dice.0 ^ (at as u64) << 20).below(4) != 0).then_some(answer)
        });
        assert!(matches!(verdict(&forgetful), Verdict::Linearizable(_)));
    }
}
