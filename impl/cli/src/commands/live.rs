//! The files of a recovery: which tags are written down, and what was listed before.
//!
//! Invariant: a file that may be misread is refused, never guessed at, because a live tag that is
//! not recognised costs its holder its id.

use std::collections::BTreeSet;

use cloakroom_pool::{Tag, TagError};
use thiserror::Error;

use crate::output::{Listing, Pair};

/// A file that is none of these: its author's fault. Nothing has been freed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LiveError {
    /// A line that is no tag.
    #[error("{file}: line {line}: {cause}")]
    Tag {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// What is wrong with it.
        cause: TagError,
    },
    /// Begins with a byte order mark, which would become part of the first tag.
    #[error("{file}: line 1: expected a tag, got a byte order mark")]
    ByteOrderMark {
        /// The file.
        file: String,
    },
    /// No tag at all: more often a failed export than the truth.
    #[error(
        "{file}: expected at least one tag, got none, which would free every id (held: \
         {held}); --none-live says that this is right"
    )]
    Empty {
        /// The file.
        file: String,
        /// How many ids are held.
        held: usize,
    },
    /// Not what `list --output json` writes.
    #[error("{file}: expected the output of `cloakroom list NAME --output json`: {cause}")]
    Listed {
        /// The file.
        file: String,
        /// Where it stops making sense.
        cause: String,
    },
    /// The listing of another pool: none of its tags means anything here.
    #[error("{file}: expected a listing of pool {expected:?}, got one of pool {got:?}")]
    OtherPool {
        /// The file.
        file: String,
        /// The pool to recover.
        expected: String,
        /// The pool that was listed.
        got: String,
    },
    /// Both files from stdin.
    #[error("--live and --listed: expected at most one of them to be stdin, got both")]
    BothStdin,
}

/// Reads a file of live tags, one a line. Empty lines are skipped; a line may end in CR LF.
pub(super) fn live_tags(file: &str, bytes: &[u8]) -> Result<BTreeSet<Tag>, LiveError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(LiveError::ByteOrderMark { file: file.to_owned() });
    }
    let lines = (1..).zip(bytes.split(|&byte| byte == b'\n'));
    let lines = lines.map(|(number, line)| (number, line.strip_suffix(b"\r").unwrap_or(line)));
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(line, tag)| {
            Tag::new(tag).map_err(|cause| LiveError::Tag { file: file.to_owned(), line, cause })
        })
        .collect()
}

/// Whether a line of [`live_tags`] can name this tag.
pub(super) fn can_be_named(tag: &Tag) -> bool {
    let bytes = tag.as_bytes();
    !bytes.contains(&b'\n') && !bytes.ends_with(b"\r") && !bytes.starts_with(b"\xef\xbb\xbf")
}

/// The tags in what `list POOL --output json` has written.
pub(super) fn listed_tags(
    file: &str,
    pool: &str,
    bytes: &[u8],
) -> Result<BTreeSet<Tag>, LiveError> {
    let fault = |cause: String| LiveError::Listed { file: file.to_owned(), cause };
    let listing: Listing<String> =
        serde_json::from_slice(bytes).map_err(|error| fault(error.to_string()))?;
    if listing.pool != pool {
        let (file, expected) = (file.to_owned(), pool.to_owned());
        return Err(LiveError::OtherPool { file, expected, got: listing.pool });
    }
    (0..)
        .zip(&listing.held)
        .map(|(number, pair): (usize, &Pair)| {
            let tag = pair.read().map(|(_, tag)| tag);
            tag.ok_or_else(|| fault(format!("tag_hex of entry {number} is no tag")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloakroom_pool::Id;

    fn tags(bytes: &[u8]) -> Result<Vec<Tag>, String> {
        let tags = live_tags("f", bytes).map_err(|error| error.to_string())?;
        Ok(tags.into_iter().collect())
    }

    #[test]
    fn a_line_is_a_tag_byte_for_byte() {
        let tag = |bytes: &[u8]| Tag::new(bytes).unwrap();
        assert_eq!(
            tags(b"b\r\n\n# c\n a \nb\n\xff"),
            Ok(vec![tag(b" a "), tag(b"# c"), tag(b"b"), tag(b"\xff")])
        );
        assert_eq!(tags(b"\n\r\n"), Ok(vec![]));
    }

    #[test]
    fn a_file_that_may_be_misread_is_refused() {
        assert_eq!(
            tags(format!("a\n\n{}\n", "x".repeat(129)).as_bytes()),
            Err("f: line 3: tag: expected 1 to 128 bytes, got 129".to_owned())
        );
        assert!(tags(b"\xef\xbb\xbfa\n").is_err());
        for tag in [&b"a\nb"[..], b"a\r", b"\xef\xbb\xbfa"] {
            assert!(!can_be_named(&Tag::new(tag).unwrap()));
        }
        assert!(can_be_named(&Tag::new(b"a\rb").unwrap()));
    }

    #[test]
    fn a_listing_is_read_back_or_refused() {
        let held = vec![Pair::new(Id(3), &Tag::new("a").unwrap())];
        let json = serde_json::to_vec(&Listing { pool: "p", held }).unwrap();
        assert_eq!(listed_tags("f", "p", &json).unwrap(), [Tag::new("a").unwrap()].into());
        assert_eq!(
            listed_tags("f", "q", &json).unwrap_err().to_string(),
            "f: expected a listing of pool \"q\", got one of pool \"p\""
        );
        let pair = r#"{"id":1,"tag":"a","tag_hex":"6"}"#;
        let wrong = [
            "",
            "ID  TAG\n0  a\n",
            "{}",
            "[]",
            r#"{"pool":"p","held":2}"#,
            &format!(r#"{{"pool":"p","held":[{pair}]}}"#),
        ];
        for wrong in wrong {
            let error = listed_tags("f", "p", wrong.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("f: expected the output of"), "{error}");
        }
    }
}
