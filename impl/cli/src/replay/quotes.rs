//! Whether the quotes of a CSV come in pairs, before anything is read out of it.
//!
//! A CSV reader takes what it gets: an opening quote that nobody closes swallows every row behind
//! it, without an error. So this pass is stricter than the reader. A field either has no quote, or
//! it begins and ends with one, and each quote inside is doubled.
//!
//! What it does not do: read fields, or judge what is in them.

/// A quote that has no partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stray {
    /// The line on which it stands.
    pub(super) line: usize,
    /// The number of its field in its row, from 1.
    pub(super) column: usize,
    /// What should stand there.
    pub(super) expected: &'static str,
    /// What does.
    pub(super) got: &'static str,
}

/// Where the next byte stands.
#[derive(Clone, Copy)]
enum Place {
    FieldBegin,
    Unquoted,
    /// In the field whose opening quote is on this line.
    Quoted(usize),
    /// Behind a quote in such a field: it closes the field, or the next one doubles it.
    Closed(usize),
}

/// Looks at every quote. O(bytes).
///
/// # Errors
/// The first quote without a partner, with its line and column; for a field that is never closed,
/// those of its opening quote.
pub(super) fn check(bytes: &[u8]) -> Result<(), Stray> {
    let (mut line, mut column, mut place) = (1, 1, Place::FieldBegin);
    for (at, &byte) in bytes.iter().enumerate() {
        let stray = |line, expected, got| Err(Stray { line, column, expected, got });
        place = match (place, byte) {
            (Place::FieldBegin, b'"') => Place::Quoted(line),
            (Place::Unquoted, b'"') => {
                let expected = "quotes around the whole field, or none (one within is doubled)";
                return stray(line, expected, "a quote in a field that does not begin with one");
            }
            (Place::Quoted(open), b'"') => Place::Closed(open),
            (Place::Closed(open), b'"') => Place::Quoted(open),
            (Place::Quoted(_), _) => place,
            (_, b',') => {
                column += 1;
                Place::FieldBegin
            }
            (_, b'\n' | b'\r') => {
                column = 1;
                Place::FieldBegin
            }
            (Place::Closed(open), _) => {
                let expected = "a comma or the line's end behind the closing quote";
                return stray(open, expected, "more of the field");
            }
            (Place::FieldBegin | Place::Unquoted, _) => Place::Unquoted,
        };
        line += usize::from(ends_line(bytes, at));
    }
    match place {
        Place::Quoted(line) => {
            let (expected, got) = ("a closing quote", "the end of the file");
            Err(Stray { line, column, expected, got })
        }
        _ => Ok(()),
    }
}

/// Whether a line ends with this byte. CR LF is one line's end, and so is a CR alone.
pub(super) fn ends_line(bytes: &[u8], at: usize) -> bool {
    bytes[at] == b'\n' || (bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'))
}

/// How many lines end in these bytes.
pub(super) fn line_ends(bytes: &[u8]) -> usize {
    (0..bytes.len()).filter(|&at| ends_line(bytes, at)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stray(text: &str) -> Option<(usize, usize, &'static str)> {
        check(text.as_bytes()).err().map(|stray| (stray.line, stray.column, stray.got))
    }

    #[test]
    fn quotes_in_pairs_are_let_pass() {
        for text in
            ["", "a,b\n", "\"a\",\"\"\n", "\"a\"\"b,\n\"\"\",c\r\n\"x\"", "\n\n\"a\"\r\"b\"\n"]
        {
            assert_eq!(stray(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_quote_without_a_partner_is_found_where_it_stands() {
        let end = "the end of the file";
        assert_eq!(stray("a,b\n1,\"c\n3,4\n5,6\n"), Some((2, 2, end)));
        assert_eq!(stray("\r\n\r\na,\"\"\"\r\n"), Some((3, 2, end)), "a doubled quote is none");
        let within = "a quote in a field that does not begin with one";
        assert_eq!(stray("a,b\n1,c\"\n"), Some((2, 2, within)));
        assert_eq!(stray("1, \"c\"\n"), Some((1, 2, within)), "a space begins a field too");
        // The second opening quote closes the first, two rows above.
        assert_eq!(stray("a,b\n1,\"c\n3,\"d\n"), Some((2, 2, "more of the field")));
    }
}
