//! A trace: workloads with a start and an end, read from a CSV.
//!
//! Invariants:
//! * the whole file is read and judged before anything is done with it;
//! * every error names the file, the line and the column, what was expected and what was found;
//! * no row is swallowed: every quote has its partner (see `quotes`), and no tag has a line break;
//! * events are in time order; at equal times ends come before starts, so that a workload may take
//!   over what another leaves, and a workload that ends when it starts does so in this order.

use std::collections::BTreeMap;

use cloakroom_pool::{Tag, TagError};
use csv::ByteRecord;
use thiserror::Error;

use super::decimal::Moment;
use super::quotes::{self, Stray, line_ends};

/// The names of the columns that matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    pub(crate) tag: &'a str,
    pub(crate) start: &'a str,
    pub(crate) end: &'a str,
}

/// Something that holds an id from its start to its end, or to the end of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) tag: Tag,
    pub(crate) start: Moment,
    pub(crate) end: Option<Moment>,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Rows below the header.
    pub(crate) rows: u64,
    /// Rows that have no start, and so no workload.
    pub(crate) without_start: u64,
    /// The workloads, in the file's order.
    pub(crate) workloads: Vec<Workload>,
}

/// What happens to the workload of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Start(usize),
    End(usize),
}

/// A file that is no trace: its author's fault, or the wrong file, or the wrong column.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The header lacks a column.
    #[error("{file}: line {line}: expected a column {column:?}, got {found}")]
    NoColumn {
        /// The file.
        file: String,
        /// The header's line.
        line: usize,
        /// The column that was looked for.
        column: String,
        /// The header.
        found: String,
    },
    /// The header has a column twice.
    #[error(
        "{file}: line {line}: expected one column {column:?}, got two, number {first} and number \
         {second}"
    )]
    TwoColumns {
        /// The file.
        file: String,
        /// The header's line.
        line: usize,
        /// The column.
        column: String,
        /// Its first number, from 1.
        first: usize,
        /// Its second number.
        second: usize,
    },
    /// A quote without a partner: where the rows behind it begin is anybody's guess.
    #[error("{file}: line {line}, column {column}: expected {expected}, got {got}")]
    Quote {
        /// The file.
        file: String,
        /// The line on which the quote stands.
        line: usize,
        /// The number of its field, from 1.
        column: usize,
        /// What should stand there.
        expected: &'static str,
        /// What does.
        got: &'static str,
    },
    /// A row that is longer or shorter than the header.
    #[error("{file}: line {line}, column {column}: expected {expected} fields, got {got}")]
    Fields {
        /// The file.
        file: String,
        /// The line on which the row begins.
        line: usize,
        /// The first column that is missing or too many.
        column: usize,
        /// How many columns the header has.
        expected: usize,
        /// How many fields the row has.
        got: usize,
    },
    /// A field that makes no sense.
    #[error("{file}: line {line}, column {column} ({name}): expected {expected}, got {got}")]
    Field {
        /// The file.
        file: String,
        /// The line on which the field begins.
        line: usize,
        /// The column's number, from 1.
        column: usize,
        /// The column's name.
        name: String,
        /// What should stand there.
        expected: String,
        /// What does.
        got: String,
    },
}

impl Trace {
    /// Reads a trace. `file` is its name for messages. O(rows * log rows).
    pub(crate) fn parse(
        file: &str,
        bytes: &[u8],
        columns: Columns<'_>,
    ) -> Result<Self, TraceError> {
        let mut rows = Rows::new(file, bytes, columns)?;
        let mut trace = Self::default();
        let mut first_line = BTreeMap::new();
        while let Some(row) = rows.next()? {
            trace.rows += 1;
            let tag = row.tag()?;
            let start = row.moment(rows.start)?;
            let end = row.moment(rows.end)?;
            let Some(start) = start else {
                trace.without_start += 1;
                continue;
            };
            if end.is_some_and(|end| end < start) {
                let expected = format!("at least the start {}", row.shown(rows.start.0));
                return Err(row.wrong(rows.end, expected));
            }
            if let Some(line) = first_line.insert(tag.clone(), row.line) {
                let shown = row.shown(rows.tag.0);
                let expected = format!("a tag that no other row has (line {line} has {shown} too)");
                return Err(row.wrong(rows.tag, expected));
            }
            trace.workloads.push(Workload { tag, start, end });
        }
        Ok(trace)
    }

    /// Starts and ends in time order. O(n log n).
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (number, workload) in self.workloads.iter().enumerate() {
            events.push((workload.start, 1, Event::Start(number)));
            if let Some(end) = workload.end {
                let class = if end == workload.start { 2 } else { 0 };
                events.push((end, class, Event::End(number)));
            }
        }
        // Stable: what is equal here stays in the file's order.
        events.sort_by_key(|&(moment, class, _)| (moment, class));
        events.into_iter().map(|(_, _, event)| event).collect()
    }
}

/// A column: its number from 0, and its name.
type Column<'a> = (usize, &'a str);

struct Rows<'a> {
    file: &'a str,
    bytes: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    width: usize,
    lines: Lines<'a>,
    tag: Column<'a>,
    start: Column<'a>,
    end: Column<'a>,
}

struct Row<'a> {
    file: &'a str,
    line: usize,
    fields: ByteRecord,
    tag: Column<'a>,
}

impl<'a> Rows<'a> {
    fn new(file: &'a str, bytes: &'a [u8], columns: Columns<'a>) -> Result<Self, TraceError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        quotes::check(bytes).map_err(|Stray { line, column, expected, got }| {
            TraceError::Quote { file: file.to_owned(), line, column, expected, got }
        })?;
        // The header and the length of rows are judged here, where the line is known exactly.
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        let mut header = ByteRecord::new();
        read(&mut reader, &mut header);
        let mut lines = Lines { bytes, line: 1, at: 0 };
        // A file of nothing but empty lines lacks its header on the first.
        let line = if header.is_empty() { 1 } else { lines.line_of(0) };
        let column = |name: &'a str| find_column(file, line, &header, name).map(|at| (at, name));
        Ok(Self {
            file,
            bytes,
            width: header.len(),
            lines,
            tag: column(columns.tag)?,
            start: column(columns.start)?,
            end: column(columns.end)?,
            reader,
        })
    }

    fn next(&mut self) -> Result<Option<Row<'a>>, TraceError> {
        let mut fields = ByteRecord::new();
        if !read(&mut self.reader, &mut fields) {
            return Ok(None);
        }
        let position = fields.position().map_or(0, csv::Position::byte);
        let position = usize::try_from(position).unwrap_or(self.bytes.len());
        let line = self.lines.line_of(position);
        if fields.len() != self.width {
            return Err(TraceError::Fields {
                file: self.file.to_owned(),
                line,
                column: fields.len().min(self.width) + 1,
                expected: self.width,
                got: fields.len(),
            });
        }
        Ok(Some(Row { file: self.file, line, fields, tag: self.tag }))
    }
}

/// Reads one record; false at the end.
fn read(reader: &mut csv::Reader<&[u8]>, record: &mut ByteRecord) -> bool {
    let read = reader.read_byte_record(record);
    read.expect("bytes in memory, records of any length: nothing is left to fail")
}

fn find_column(
    file: &str,
    line: usize,
    header: &ByteRecord,
    name: &str,
) -> Result<usize, TraceError> {
    let mut found = (0..).zip(header).filter(|(_, field)| *field == name.as_bytes());
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (Some((first, _)), Some((second, _))) => Err(TraceError::TwoColumns {
            file: file.to_owned(),
            line,
            column: name.to_owned(),
            first: first + 1,
            second: second + 1,
        }),
        (None, _) => {
            const MOST: usize = 20;
            let mut names: Vec<_> = header.iter().take(MOST).map(shown).collect();
            names.extend((header.len() > MOST).then(|| "…".to_owned()));
            let found =
                if names.is_empty() { "an empty file".to_owned() } else { names.join(", ") };
            let (file, column) = (file.to_owned(), name.to_owned());
            Err(TraceError::NoColumn { file, line, column, found })
        }
    }
}

impl Row<'_> {
    fn tag(&self) -> Result<Tag, TraceError> {
        if line_ends(&self.fields[self.tag.0]) > 0 {
            return Err(self.wrong(self.tag, "a tag without a line break".to_owned()));
        }
        Tag::new(&self.fields[self.tag.0]).map_err(|error| match error {
            TagError::TooLong { bytes } => {
                let expected = format!("a tag of 1 to 128 bytes (this has {bytes})");
                self.wrong(self.tag, expected)
            }
            _ => self.wrong(self.tag, "a tag of 1 to 128 bytes".to_owned()),
        })
    }

    /// A moment, or `None` where the field is empty.
    fn moment(&self, column: Column<'_>) -> Result<Option<Moment>, TraceError> {
        let field = &self.fields[column.0];
        if field.is_empty() {
            return Ok(None);
        }
        let moment = std::str::from_utf8(field).ok().and_then(Moment::parse);
        let expected = || format!("{}, or nothing", Moment::EXPECTED);
        moment.map(Some).ok_or_else(|| self.wrong(column, expected()))
    }

    fn wrong(&self, (at, name): Column<'_>, expected: String) -> TraceError {
        let before = self.fields.iter().take(at).map(line_ends);
        TraceError::Field {
            file: self.file.to_owned(),
            line: self.line + before.sum::<usize>(),
            column: at + 1,
            name: name.to_owned(),
            expected,
            got: self.shown(at),
        }
    }

    fn shown(&self, at: usize) -> String {
        shown(&self.fields[at])
    }
}

/// A field for a message: quoted, and cut where it is long.
fn shown(field: &[u8]) -> String {
    const MOST: usize = 40;
    let text = String::from_utf8_lossy(field);
    if text.is_empty() {
        return "nothing".to_owned();
    }
    match text.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}

/// Line numbers of byte positions, asked in ascending order. The reader's own count is that of the
/// line before where empty lines precede a row.
struct Lines<'a> {
    bytes: &'a [u8],
    line: usize,
    at: usize,
}

impl Lines<'_> {
    fn line_of(&mut self, position: usize) -> usize {
        let blank = |byte: &&u8| matches!(**byte, b'\n' | b'\r');
        let position = position + self.bytes[position..].iter().take_while(blank).count();
        self.line += line_ends(&self.bytes[self.at..position]);
        self.at = position;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns<'_> = Columns { tag: "tag", start: "from", end: "to" };

    fn parse(text: &str) -> Result<Trace, String> {
        Trace::parse("t.csv", text.as_bytes(), COLUMNS).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_without_a_start_are_skipped_and_counted() {
        let trace = parse("to,other,tag,from\n9,x,a,1\n7,y,b,\n,z,c,3.5\n").unwrap();
        assert_eq!((trace.rows, trace.without_start), (3, 1));
        let ends: Vec<_> = trace.workloads.iter().map(|workload| workload.end).collect();
        assert_eq!(ends, [Moment::parse("9"), None]);
    }

    #[test]
    fn ends_come_before_starts_at_equal_times_but_not_before_their_own() {
        let trace = parse("tag,from,to\nzero,5,5\nb,5,9\na,1,5\n").unwrap();
        let events = trace.events();
        assert_eq!(
            events,
            [
                Event::Start(2),
                Event::End(2),
                Event::Start(0),
                Event::Start(1),
                Event::End(0),
                Event::End(1)
            ]
        );
    }

    #[test]
    fn an_error_names_file_line_and_column() {
        let cases = [
            ("", "t.csv: line 1: expected a column \"tag\", got an empty file"),
            ("tag,to\n", "t.csv: line 1: expected a column \"from\", got \"tag\", \"to\""),
            (
                "tag,from,tag,to\n",
                "t.csv: line 1: expected one column \"tag\", got two, number 1 and number 3",
            ),
            ("tag,from,to\na,1\n", "t.csv: line 2, column 3: expected 3 fields, got 2"),
            ("tag,from,to\na,1,2,3\n", "t.csv: line 2, column 4: expected 3 fields, got 4"),
            (
                "tag,from,to\na,1,2\n\n\nb,x,2\n",
                "t.csv: line 5, column 2 (from): expected a decimal number (at most 24 digits, \
                 and 9 after the point), or nothing, got \"x\"",
            ),
            ("\n\r\ntag,to\n", "t.csv: line 3: expected a column \"from\", got \"tag\", \"to\""),
            ("\n\n", "t.csv: line 1: expected a column \"tag\", got an empty file"),
            (
                "why,tag,from,to\r\n\"a\r\nb\",c,1,2\r\nd,,1,2\r\n",
                "t.csv: line 4, column 2 (tag): expected a tag of 1 to 128 bytes, got nothing",
            ),
            (
                "why,tag,from,to\r\n\"a\r\nb\",c,1,x\r\n",
                "t.csv: line 3, column 4 (to): expected a decimal number (at most 24 digits, \
                 and 9 after the point), or nothing, got \"x\"",
            ),
            (
                "\u{feff}tag,from,to\na,3,2\n",
                "t.csv: line 2, column 3 (to): expected at least the start \"3\", got \"2\"",
            ),
            (
                "tag,from,to\na,1,2\nb,1,2\na,3,4",
                "t.csv: line 4, column 1 (tag): expected a tag that no other row has (line 2 \
                 has \"a\" too), got \"a\"",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn a_quote_that_would_swallow_rows_is_refused_where_it_opens() {
        assert_eq!(
            parse("from,to,tag\n1,2,\"c\n3,4,d\n5,6,e\n"),
            Err("t.csv: line 2, column 3: expected a closing quote, got the end of the file"
                .to_owned())
        );
        // Closed by chance, three rows below.
        assert_eq!(
            parse("from,to,tag\n1,2,\"c\n3,4,d\n5,6,\"\n"),
            Err("t.csv: line 2, column 3 (tag): expected a tag without a line break, got \
                 \"c\\n3,4,d\\n5,6,\""
                .to_owned())
        );
        assert_eq!(
            parse("why,tag,from,to\n\"x\ny\",\"c\rd\",1,2\n").unwrap_err(),
            "t.csv: line 3, column 2 (tag): expected a tag without a line break, got \"c\\rd\""
        );
        let quoted = parse("\"tag\",from,to\n\"a \"\"b\"\", c\",1,2\n").unwrap();
        assert_eq!(quoted.workloads[0].tag, Tag::new("a \"b\", c").unwrap());
    }

    #[test]
    fn a_long_field_is_cut_in_the_message() {
        let error = parse(&format!("tag,from,to\n{},1,2\n", "ä".repeat(100))).unwrap_err();
        assert!(error.contains("(this has 200), got \"ä"), "{error}");
        assert!(error.chars().count() < 160, "{error}");
    }
}
