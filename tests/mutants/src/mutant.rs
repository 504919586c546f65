//! A mutant: a patch with a header that says what it breaks and which check must notice.
//!
//! ```text
//! Mutant: free clears the slot whoever holds it; the tag looks like a mere hint.
//! Property: POOL-2
//! Check: cargo test -p cloakroom-pool --test schedules
//! Expect: POOL-2
//!
//! --- a/impl/pool/src/free.rs
//! …
//! ```
//!
//! Invariants:
//! * a header that is not whole is an error that names file and line, never a mutant left out;
//! * every check is a cargo command, because the mutant must be built before the check counts.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The families of properties in the register (`specs/README.md`).
const FAMILIES: [&str; 11] = [
    "POOL-", "SHARD-", "WIRE-", "KAD-", "LIN-", "SIM-", "REG-", "NODE-", "NET-", "REST-", "CLIENT-",
];

/// What must come of the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// It fails.
    Failure,
    /// It fails, and its output has this text.
    Text(String),
    /// It fails, or does not end: the mutant is a live-lock.
    Timeout,
}

/// A patch that breaks the code on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mutant {
    /// The file's name without `.patch`.
    pub(crate) name: String,
    /// The patch.
    pub(crate) path: PathBuf,
    /// What is broken, and why it is plausible.
    pub(crate) what: String,
    /// The property that no longer holds.
    pub(crate) property: String,
    /// The command that must fail.
    pub(crate) check: String,
    /// How it must fail.
    pub(crate) expect: Expect,
}

/// A patch that is no mutant: its author's fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum HeaderError {
    #[error("{path}: {cause}")]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("{path}: expected a line `{field}: …` before the diff, got none")]
    Missing { path: PathBuf, field: &'static str },
    #[error("{path}:{line}: `{field}` stands there for the second time")]
    Twice { path: PathBuf, line: usize, field: &'static str },
    #[error(
        "{path}:{line}: expected Mutant, Property, Check, Expect or an indented line, got `{got}`"
    )]
    Unknown { path: PathBuf, line: usize, got: String },
    #[error("{path}: property: expected one of {FAMILIES:?} and a number, got `{got}`")]
    Property { path: PathBuf, got: String },
    #[error("{path}: check: expected `cargo test …` or `cargo run …`, got `{got}`")]
    Check { path: PathBuf, got: String },
}

const FIELDS: [&str; 4] = ["Mutant", "Property", "Check", "Expect"];

impl Mutant {
    /// All patches in a directory, checks of one kind together, cheap kinds first: `cargo test`
    /// before `cargo run`, which is the exhaustive model.
    ///
    /// # Errors
    /// The first patch whose header is not whole.
    pub(crate) fn all(directory: &Path) -> Result<Vec<Self>, HeaderError> {
        let failed = |cause| HeaderError::Read { path: directory.into(), cause };
        let mut mutants = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "patch") {
                let text = fs::read_to_string(&path)
                    .map_err(|cause| HeaderError::Read { path: path.clone(), cause })?;
                mutants.push(Self::parse(&path, &text)?);
            }
        }
        mutants.sort_by_key(|mutant| {
            let exhaustive = mutant.check.starts_with("cargo run");
            (exhaustive, mutant.check.clone(), mutant.name.clone())
        });
        Ok(mutants)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, HeaderError> {
        let mut values: [Option<String>; 4] = [const { None }; 4];
        let mut last = None;
        let header =
            text.lines().take_while(|line| !line.starts_with("--- ") && !line.starts_with("diff "));
        for (line, content) in (1..).zip(header) {
            let field = FIELDS.iter().position(|field| {
                content.strip_prefix(field).is_some_and(|rest| rest.starts_with(':'))
            });
            match (field, last) {
                (Some(field), _) => {
                    if values[field].is_some() {
                        let field = FIELDS[field];
                        return Err(HeaderError::Twice { path: path.into(), line, field });
                    }
                    let value = &content[FIELDS[field].len() + 1..];
                    values[field] = Some(value.trim().into());
                    last = Some(field);
                }
                (None, Some(field)) if content.starts_with(' ') => {
                    let value = values[field].get_or_insert_default();
                    value.push(' ');
                    value.push_str(content.trim());
                }
                _ if content.trim().is_empty() => last = None,
                _ => {
                    let got = content.into();
                    return Err(HeaderError::Unknown { path: path.into(), line, got });
                }
            }
        }
        let [what, property, check, expect] = values;
        let missing = |field| HeaderError::Missing { path: path.into(), field };
        let property = property.ok_or_else(|| missing("Property"))?;
        let check = check.ok_or_else(|| missing("Check"))?;
        let number = FAMILIES.iter().find_map(|family| property.strip_prefix(family));
        let number = number.unwrap_or_default();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HeaderError::Property { path: path.into(), got: property });
        }
        if !check.starts_with("cargo test ") && !check.starts_with("cargo run ") {
            return Err(HeaderError::Check { path: path.into(), got: check });
        }
        Ok(Self {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            path: path.into(),
            what: what.ok_or_else(|| missing("Mutant"))?,
            property,
            check,
            expect: match expect.as_deref() {
                None => Expect::Failure,
                Some("timeout") => Expect::Timeout,
                Some(text) => Expect::Text(text.into()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "Mutant: it is broken\n  in two lines.\nProperty: POOL-3\n\
        Check: cargo test -p x\n\n--- a/f\n+++ b/f\nMutant: not of the header\n";

    fn parse(text: &str) -> Result<Mutant, String> {
        Mutant::parse(Path::new("m/a-b.patch"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_mutant_applies_to_the_code_as_it_is() {
        let mutants = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = mutants.ancestors().nth(2).unwrap();
        let all = Mutant::all(mutants).unwrap();
        let applies = |mutant: &&Mutant| {
            let mut git = std::process::Command::new("git");
            git.arg("-C").arg(root).args(["apply", "--check", "--whitespace=nowarn"]);
            git.arg(&mutant.path).output().unwrap().status.success()
        };
        let stale: Vec<&str> =
            all.iter().filter(|mutant| !applies(mutant)).map(|mutant| &*mutant.name).collect();
        assert!(all.len() > 1 && stale.is_empty(), "these do not apply any more: {stale:?}");
    }

    #[test]
    fn a_header_is_read_up_to_the_diff() {
        let mutant = parse(WHOLE).unwrap();
        assert_eq!((&*mutant.name, &*mutant.what), ("a-b", "it is broken in two lines."));
        assert_eq!((&*mutant.property, mutant.expect), ("POOL-3", Expect::Failure));
        let expecting = |text: &str| WHOLE.replace("\n\n---", &format!("\nExpect: {text}\n\n---"));
        assert_eq!(parse(&expecting("timeout")).unwrap().expect, Expect::Timeout);
        assert_eq!(parse(&expecting("POOL-3")).unwrap().expect, Expect::Text("POOL-3".into()));
    }

    #[test]
    fn a_header_that_is_not_whole_is_refused_by_file_and_line() {
        let refused = |from: &str, to: &str| parse(&WHOLE.replacen(from, to, 1)).unwrap_err();
        assert_eq!(
            refused("Check: cargo test -p x\n", ""),
            "m/a-b.patch: expected a line `Check: …` before the diff, got none"
        );
        assert_eq!(
            refused("POOL-3", "DHT"),
            format!("m/a-b.patch: property: expected one of {FAMILIES:?} and a number, got `DHT`")
        );
        assert_eq!(
            refused("cargo test", "true"),
            "m/a-b.patch: check: expected `cargo test …` or `cargo run …`, got `true -p x`"
        );
        assert!(refused("Property", "Propety").starts_with("m/a-b.patch:3: expected Mutant,"));
        assert_eq!(
            refused("Check", "Mutant: again\nCheck"),
            "m/a-b.patch:4: `Mutant` stands there for the second time"
        );
    }
}
