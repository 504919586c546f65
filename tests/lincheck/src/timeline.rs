//! A picture of a history that fails, as one HTML page that needs nothing else: processes are rows,
//! operations are bars from call to return, numbered dots are the order that was found, and the band
//! above tells what the register held. It ends with the operation that no order explains.
//!
//! Invariants:
//! * a dot lies within its bar, and dots with higher numbers lie further right;
//! * what comes from the file is escaped;
//! * of a long history only the last operations are drawn, and the page says so.
//!
//! What it does not do: show times. Events stand at equal distances, in their order.

mod layout;

use std::fmt::Write;

use crate::format::{Trace, Value};
use crate::register::{Answer, Call};
use crate::report::{Fault, in_words};

use layout::{Bar, Layout};

const STYLE: &str = include_str!("timeline/style.css");

/// Distances in the picture.
const EVENT: f64 = 46.0;
const ROW: f64 = 36.0;
const BAR: f64 = 22.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 58.0;

/// The page of a fault.
pub fn page(trace: &Trace, fault: &Fault, name: &str) -> String {
    let layout = Layout::new(trace, fault);
    let mut page = String::new();
    let title = escape(name);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}: not linearizable</title>\n\
         <style>\n{STYLE}</style>\n<h1>{title} <em>not linearizable</em></h1>\n"
    );
    let key = if fault.key.is_empty() {
        String::new()
    } else {
        format!(" of key <b>{}</b>", escape(&fault.key))
    };
    let states: Vec<String> =
        fault.states.iter().map(|state| format!("<b>{}</b>", escape(state))).collect();
    let _ = writeln!(
        page,
        "<p>The first {} of {} events{key} already fail, and no fewer. The last of them, in line {}, \
         is process {}'s <b class=\"bad\">{}</b>; in every order that explains what came before, the \
         register held {} then.</p>",
        fault.events,
        fault.of_events,
        fault.line,
        fault.process,
        escape(&fault.operation),
        states.join(" or ")
    );
    if layout.left_out > 0 {
        let _ = writeln!(page, "<p>{} operations before are not drawn.</p>", layout.left_out);
    }
    page.push_str("<div class=\"scroll\">\n");
    svg(&mut page, &layout, trace);
    page.push_str(
        "</div>\n<p class=\"legend\"><span class=\"done\">answered</span> \
         <span class=\"pending\">no answer yet, or never</span> \
         <span class=\"failing\">not explained</span> Numbered dots: one order of what came before. \
         The band: what the register held then. <b>r</b> is a read, <b>w</b> a write, <b>a→b</b> a \
         compare-and-set, ✗ one that failed.</p>\n\
         <script>document.querySelector(\".scroll\").scrollLeft = 1e9</script>\n",
    );
    page
}

fn svg(page: &mut String, layout: &Layout, trace: &Trace) {
    let width = LEFT + layout.width * EVENT + LEFT;
    #[expect(clippy::cast_precision_loss, reason = "rows are few")]
    let height = TOP + layout.processes.len() as f64 * ROW + 12.0;
    let _ = writeln!(
        page,
        "<svg role=\"img\" aria-label=\"timeline\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\">\n<defs><linearGradient id=\"fade\"><stop \
         offset=\"0.6\" class=\"from\"/><stop offset=\"1\" class=\"to\"/></linearGradient></defs>"
    );
    for (row, process) in layout.processes.iter().enumerate() {
        let y = middle(row);
        let (left, right) = (LEFT - 14.0, width - 14.0);
        let base = y + 4.0;
        // At both ends: the picture is often wider than the window.
        let _ = writeln!(
            page,
            "<line class=\"row\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{y}\" y2=\"{y}\"/>\
             <text class=\"process\" x=\"{left:.0}\" y=\"{base:.1}\">p{process}</text>\
             <text class=\"process\" x=\"{right:.0}\" y=\"{base:.1}\">p{process}</text>",
            width - LEFT
        );
    }
    band(page, layout, trace);
    for bar in &layout.bars {
        draw(page, bar, layout, trace);
    }
    let points: Vec<String> =
        layout.dots().map(|(bar, at, _)| format!("{:.1},{:.1}", x(at), middle(bar.row))).collect();
    let _ = writeln!(page, "<polyline class=\"way\" points=\"{}\"/>", points.join(" "));
    for (bar, at, number) in layout.dots() {
        let (x, y) = (x(at), middle(bar.row) + BAR / 2.0);
        let _ = writeln!(
            page,
            "<g class=\"dot\"><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7.5\"/><text x=\"{x:.1}\" \
             y=\"{:.1}\">{number}</text></g>",
            y + 3.2
        );
    }
    page.push_str("</svg>\n");
}

/// What the register held between the dots.
fn band(page: &mut String, layout: &Layout, trace: &Trace) {
    let _ = writeln!(page, "<text class=\"process\" x=\"{:.0}\" y=\"27\">held</text>", LEFT - 14.0);
    for span in &layout.held {
        let (from, to) = (x(span.from), x(span.to));
        let class = match span.value {
            None => "held none".to_string(),
            Some(value) => format!("held v{}", value % 6),
        };
        let name = escape(trace.name(span.value));
        let _ = write!(
            page,
            "<g class=\"{class}\"><title>{name}</title><rect x=\"{from:.1}\" y=\"12\" \
             width=\"{:.1}\" height=\"22\" rx=\"4\"/>",
            (to - from - 1.5).max(1.5)
        );
        #[expect(clippy::cast_precision_loss, reason = "a name of a few letters")]
        let fits = trace.name(span.value).chars().count() as f64 * 7.0 + 6.0 < to - from;
        if fits {
            let _ =
                write!(page, "<text x=\"{:.1}\" y=\"27\">{name}</text>", f64::midpoint(from, to));
        }
        page.push_str("</g>\n");
    }
}

fn draw(page: &mut String, bar: &Bar, layout: &Layout, trace: &Trace) {
    let (from, to) = (x(bar.begin), x(bar.end));
    let y = middle(bar.row) - BAR / 2.0;
    let class = match (bar.is_failing, bar.answer) {
        (true, _) => "failing",
        (false, None) => "pending",
        (false, Some(_)) => "done",
    };
    let words = escape(&in_words(trace, bar.call, bar.answer));
    let mark = escape(&mark(trace, bar.call, bar.answer));
    let _ = writeln!(
        page,
        "<g class=\"{class}\"><title>p{}: {words}, line {}</title><rect x=\"{from:.1}\" y=\"{y:.1}\" \
         width=\"{:.1}\" height=\"{BAR}\" rx=\"5\"/><svg x=\"{from:.1}\" y=\"{y:.1}\" \
         width=\"{:.1}\" height=\"{BAR}\"><text x=\"5\" y=\"15\">{mark}</text></svg></g>",
        layout.processes[bar.row],
        bar.line,
        to - from,
        to - from - 2.0,
    );
}

/// An operation in as few letters as a bar has room for.
fn mark(trace: &Trace, call: Call<Value>, answer: Option<Answer<Value>>) -> String {
    let mut mark = match (call, answer) {
        (Call::Read, Some(Answer::Value(value))) => format!("r {}", trace.name(value)),
        (Call::Read, _) => "r".into(),
        (Call::Write(value), _) => format!("w {}", trace.name(value)),
        (Call::CompareAndSet { expected, new }, _) => {
            format!("{}→{}", trace.name(expected), trace.name(new))
        }
    };
    match answer {
        None => mark.push_str(" ?"),
        Some(Answer::Mismatch | Answer::Found(_)) => mark.push_str(" ✗"),
        Some(_) => {}
    }
    mark
}

fn x(at: f64) -> f64 {
    LEFT + at * EVENT
}

fn middle(row: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "rows are few")]
    let row = row as f64;
    TOP + (row + 0.5) * ROW
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
