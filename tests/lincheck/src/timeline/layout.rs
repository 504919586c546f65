//! Where things stand in a timeline, in units of events.
//!
//! Invariants: those of [`super`] on dots. A dot lies after all calls of the operations up to it, and
//! before the next event: a legal order has no return there that it must not pass.

use std::collections::BTreeMap;

use crate::format::{Record, Trace, Value};
use crate::history::Operation;
use crate::register::{Answer, Call, Register};
use crate::report::Fault;
use crate::specification::Specification;

/// How many operations are drawn at most.
const MOST: usize = 120;

pub(super) struct Layout {
    /// One row for each, from the top.
    pub(super) processes: Vec<u64>,
    pub(super) bars: Vec<Bar>,
    pub(super) held: Vec<Span>,
    pub(super) width: f64,
    pub(super) left_out: usize,
}

pub(super) struct Bar {
    pub(super) row: usize,
    pub(super) begin: f64,
    pub(super) end: f64,
    pub(super) call: Call<Value>,
    pub(super) answer: Option<Answer<Value>>,
    pub(super) line: usize,
    pub(super) is_failing: bool,
    /// Where in the order, and where in the picture.
    dot: Option<(usize, f64)>,
}

pub(super) struct Span {
    pub(super) value: Option<Value>,
    pub(super) from: f64,
    pub(super) to: f64,
}

#[expect(clippy::cast_precision_loss, reason = "events are far fewer than 2^52")]
fn exact(number: usize) -> f64 {
    number as f64
}

impl Layout {
    pub(super) fn new(trace: &Trace, fault: &Fault) -> Self {
        let mut histories = trace.histories();
        let (history, records) = histories.remove(&*fault.key).expect("a key of the trace");
        let violation = &fault.violation;
        let prefix = history.prefix(violation.prefix);
        let operations = prefix.operations();
        let dots = dots(operations, &violation.order);
        // From the first operation that is not long over.
        let left_out = operations.len().saturating_sub(MOST);
        let start = operations.get(left_out).map_or(0, |operation| operation.begin);
        let is_drawn =
            |at: usize| at >= left_out || operations[at].end().is_none_or(|end| end > start);
        let drawn: Vec<usize> = (0..operations.len()).filter(|&at| is_drawn(at)).collect();
        let rows = rows(operations, &drawn);
        let place = |at: f64| (at - exact(start)).max(-0.4) + 0.4;
        let width = place(exact(violation.prefix)) + 0.6;
        let bars = drawn.iter().map(|&at| {
            let operation = &operations[at];
            Bar {
                row: rows[&operation.process],
                begin: place(exact(operation.begin)),
                end: operation.end().map_or(width, |end| place(exact(end))),
                call: operation.call,
                answer: operation.answer().copied(),
                line: records[at].line,
                is_failing: at == violation.operation,
                dot: dots.get(&at).map(|&(number, dot)| (number, place(dot))),
            }
        });
        let mut processes = vec![0; rows.len()];
        for (&process, &row) in &rows {
            processes[row] = process;
        }
        let bars: Vec<Bar> = bars.collect();
        let held = held(operations, &records, &violation.order, &dots, &place, width);
        Self { processes, bars, held, width, left_out: operations.len() - drawn.len() }
    }

    /// The dots in their order: bar, place and number.
    pub(super) fn dots(&self) -> impl Iterator<Item = (&Bar, f64, usize)> {
        let mut dots: Vec<_> = self
            .bars
            .iter()
            .filter_map(|bar| bar.dot.map(|(number, at)| (bar, at, number)))
            .collect();
        dots.sort_by_key(|&(_, _, number)| number);
        dots.into_iter()
    }
}

type Registers = [Operation<Call<Value>, Answer<Value>>];

/// A row for each process, in the order of their first calls drawn.
fn rows(operations: &Registers, drawn: &[usize]) -> BTreeMap<u64, usize> {
    let mut rows = BTreeMap::new();
    for &at in drawn {
        let next = rows.len();
        rows.entry(operations[at].process).or_insert(next);
    }
    rows
}

/// For each operation of the order its number, from 1, and its place: after all calls so far, and
/// those after the same call at equal distances.
fn dots(operations: &Registers, order: &[usize]) -> BTreeMap<usize, (usize, f64)> {
    let mut latest = 0;
    let base: Vec<usize> = order
        .iter()
        .map(|&at| {
            latest = latest.max(operations[at].begin);
            latest
        })
        .collect();
    let mut dots = BTreeMap::new();
    for (number, &at) in order.iter().enumerate() {
        let same = base.partition_point(|&other| other < base[number]);
        let after = base.partition_point(|&other| other <= base[number]);
        let part = exact(number - same + 1) / exact(after - same + 1);
        dots.insert(at, (number + 1, exact(base[number]) + part));
    }
    dots
}

/// What the register held, as long as it was the same.
fn held(
    operations: &Registers,
    records: &[&Record],
    order: &[usize],
    dots: &BTreeMap<usize, (usize, f64)>,
    place: &dyn Fn(f64) -> f64,
    width: f64,
) -> Vec<Span> {
    let register = Register::empty();
    let mut spans = vec![Span { value: register.start(), from: 0.0, to: width }];
    let mut next = Vec::new();
    for at in order {
        let last = spans.last_mut().expect("at least one");
        next.clear();
        register.step(&last.value, &records[*at].call, operations[*at].answer(), &mut next);
        if let Some(&value) = next.first().filter(|&&value| value != last.value) {
            let from = place(dots[at].1);
            last.to = from;
            spans.push(Span { value, from, to: width });
        }
    }
    spans.retain(|span| span.to > span.from);
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limit;
    use crate::report::report;

    #[test]
    fn each_dot_lies_in_its_bar_and_they_go_right() {
        let text = include_str!("../../histories/stale-read.jsonl");
        let trace = Trace::parse(text, None).unwrap();
        let report = report(&trace, Limit::default(), &mut |_, _, _| {});
        let layout = Layout::new(&trace, &report.violation.unwrap());
        let mut last = 0.0;
        for (number, (bar, at, found)) in (1..).zip(layout.dots()) {
            assert_eq!(number, found);
            assert!(at > last && bar.begin < at && at < bar.end, "{number}: {at}");
            last = at;
        }
        assert!(last > 0.0 && layout.bars.iter().filter(|bar| bar.is_failing).count() == 1);
        assert_eq!(layout.left_out, 0);
    }
}
