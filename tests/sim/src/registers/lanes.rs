//! A picture of what clients called in a run that fails for another reason than a key's history: that
//! one the judge draws itself.
//!
//! Invariants:
//! * clients are rows, calls are bars from call to return, in the order of events; what has not
//!   returned is open to the right;
//! * of a long run only the last events are drawn, and the page says so.
//!
//! What it does not do: say why it fails. The steps below the picture do.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::client::{Book, PoolCall};

/// Events that are drawn.
const EVENTS: u64 = 400;
const EVENT: u64 = 14;
const ROW: u64 = 26;
const BAR: u64 = 18;
const LEFT: u64 = 90;
const TOP: u64 = 10;

const STYLE: &str = "\
:root{color-scheme:light dark;font:14px/1.5 system-ui,sans-serif}
body{margin:2em;max-width:none}
.scroll{overflow-x:auto}
svg text{font-size:12px;fill:currentColor}
line{stroke:currentColor;opacity:.2}
rect{fill-opacity:.55}
.open rect{stroke:currentColor;stroke-dasharray:4 3;fill-opacity:.15}
.end{stroke:#d22;opacity:1;stroke-width:2}
pre{font-size:12px}
";

struct Bar {
    row: (bool, u64),
    begin: u64,
    end: Option<u64>,
    /// Bars with one hue are of one key.
    hue: u64,
    words: String,
}

/// The page up to its steps.
pub(crate) fn page(book: &Book, name: &str) -> String {
    let bars = bars(book);
    let last = bars.iter().map(|bar| bar.end.unwrap_or(bar.begin)).max().unwrap_or(0) + 1;
    let first = last.saturating_sub(EVENTS);
    let drawn: Vec<&Bar> =
        bars.iter().filter(|bar| bar.end.is_none_or(|end| end >= first)).collect();
    let mut rows: BTreeMap<(bool, u64), u64> = drawn.iter().map(|bar| (bar.row, 0)).collect();
    for (at, row) in rows.values_mut().enumerate() {
        *row = at as u64;
    }
    let (width, height) = (LEFT + (last - first) * EVENT + 20, TOP + rows.len() as u64 * ROW + TOP);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{name}</title>\n\
         <style>\n{STYLE}</style>\n<p>{} of {} calls are drawn: those of the last {} events.</p>\n\
         <div class=\"scroll\">\n<svg role=\"img\" aria-label=\"calls\" width=\"{width}\" \
         height=\"{height}\">\n",
        drawn.len(),
        bars.len(),
        last - first,
    );
    for ((pool, client), row) in &rows {
        let y = TOP + row * ROW + ROW / 2;
        let kind = if *pool { "pool c" } else { "c" };
        let _ = writeln!(
            page,
            "<text x=\"4\" y=\"{}\">{kind}{client}</text><line x1=\"{LEFT}\" x2=\"{width}\" \
             y1=\"{y}\" y2=\"{y}\"/>",
            y + 4
        );
    }
    for bar in drawn {
        let from = LEFT + bar.begin.saturating_sub(first) * EVENT;
        let to = LEFT + (bar.end.unwrap_or(last) - first) * EVENT;
        let (y, class) = (TOP + rows[&bar.row] * ROW + (ROW - BAR) / 2, bar.end.is_none());
        let _ = writeln!(
            page,
            "<g class=\"{}\"><title>{words}</title><rect x=\"{from}\" y=\"{y}\" width=\"{width}\" \
             height=\"{BAR}\" rx=\"4\" fill=\"hsl({hue} 60% 55%)\"/><svg x=\"{from}\" y=\"{y}\" \
             width=\"{width}\" height=\"{BAR}\"><text x=\"4\" y=\"13\">{words}</text></svg></g>",
            if class { "open" } else { "done" },
            words = bar.words,
            width = (to - from).max(3),
            hue = bar.hue,
        );
    }
    let _ = writeln!(
        page,
        "<line class=\"end\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{height}\"/>\n</svg>\n</div>\n\
         <script>document.querySelector(\".scroll\").scrollLeft = 1e9</script>",
        x = LEFT + (last - first) * EVENT
    );
    page
}

fn bars(book: &Book) -> Vec<Bar> {
    let registers = book.entries.iter().map(|entry| {
        let answer = entry.outcome.map_or(String::new(), |(answer, _)| format!(": {answer:?}"));
        let hash = entry.key.0.iter().fold(7_u64, |hash, byte| hash * 31 + u64::from(*byte));
        Bar {
            row: (false, entry.process),
            begin: entry.begin,
            end: entry.outcome.map(|(_, end)| end),
            hue: hash * 47 % 360,
            words: escaped(&format!("{:?} {:?}{answer}", entry.key, entry.call)),
        }
    });
    let pool = book.pool.iter().map(|entry| {
        let call = match entry.call {
            PoolCall::Allocate(tag) => format!("allocate {tag:x}"),
            PoolCall::Free(id, tag) => format!("free {id} of {tag:x}"),
        };
        let answer = entry.outcome.map_or(String::new(), |(answer, _)| format!(": {answer:?}"));
        Bar {
            row: (true, entry.process),
            begin: entry.begin,
            end: entry.outcome.map(|(_, end)| end),
            hue: 210,
            words: escaped(&format!("{call}{answer}")),
        }
    });
    registers.chain(pool).collect()
}

/// As text of a page.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::client::{Entry, PoolEntry};
    use cloakroom_lincheck::register::{Answer, Call};
    use cloakroom_register::Key;

    #[test]
    fn what_has_not_returned_is_open_and_what_is_long_over_is_not_drawn() {
        let call = |begin, end: Option<u64>| Entry {
            process: begin,
            key: Key::from(&b"k<"[..]),
            call: Call::Read,
            begin,
            outcome: end.map(|end| (Answer::Value(Some(3)), end)),
            counts: true,
        };
        let pool = PoolEntry {
            process: 9,
            call: PoolCall::Allocate(7),
            begin: 1_000,
            outcome: None,
            counts: true,
        };
        let mut book = Book::default();
        book.entries.extend([call(1, Some(2)), call(3, None), call(990, Some(1_001))]);
        book.pool.push(pool);
        let page = page(&book, "seed 1");
        assert!(page.contains("3 of 4 calls are drawn"), "{page}");
        assert_eq!(page.matches("<g class=\"open\">").count(), 2);
        assert_eq!(page.matches("<g class=\"done\">").count(), 1);
        assert!(page.contains("pool c9") && page.contains("allocate 7"));
        assert!(!page.contains("k<"), "a key is escaped");
    }
}
