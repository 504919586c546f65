//! The property register: the two tables of `specs/README.md`.
//!
//! * properties: `| id | sentence | upheld at | checked by |`
//! * checks: `| name | level | what | where |`
//!
//! In both, paths and names stand in backticks. Other tables in the file are left alone. A row that
//! does not parse is an error with its line, never a row left out.

use std::fmt;

/// Both tables.
#[derive(Clone, Debug, Default)]
pub struct Register {
    /// One for each property id.
    pub properties: Vec<Property>,
    /// What the names under `checked by` stand for.
    pub checks: Vec<Check>,
}

/// A row of the property table.
#[derive(Clone, Debug)]
pub struct Property {
    /// Such as `POOL-1`.
    pub id: String,
    /// What must hold.
    pub sentence: String,
    /// Files, from the repository's root.
    pub upheld_at: Vec<String>,
    /// Names of checks.
    pub checked_by: Vec<String>,
}

/// A row of the table of checks.
#[derive(Clone, Debug)]
pub struct Check {
    /// As it stands under `checked by`.
    pub name: String,
    /// PROVED, EXHAUSTIVE, SAMPLED or ARGUED.
    pub level: String,
    /// Files or folders, from the repository's root.
    pub places: Vec<String>,
}

/// A row that is not as it should be: its author's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// From 1.
    pub line: usize,
    /// What was expected, and what stands there.
    pub what: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "specs/README.md:{}: {}", self.line, self.what)
    }
}

const PROPERTIES: [&str; 4] = ["id", "sentence", "upheld at", "checked by"];
const CHECKS: [&str; 4] = ["name", "level", "what", "where"];
const LEVELS: [&str; 4] = ["PROVED", "EXHAUSTIVE", "SAMPLED", "ARGUED"];

impl Register {
    /// Reads the tables out of a page.
    ///
    /// # Errors
    /// The first row that does not parse, or an id or name that stands there twice.
    pub fn parse(page: &str) -> Result<Self, RowError> {
        let mut register = Self::default();
        let mut header = Vec::new();
        for (line, text) in (1..).zip(page.lines()) {
            let cells = cells(text);
            if cells.is_empty() {
                header.clear();
            } else if header.is_empty() {
                header = cells;
            } else if !cells.iter().all(|cell| is_rule(cell)) {
                register.row(&header, &cells).map_err(|what| RowError { line, what })?;
            }
        }
        Ok(register)
    }

    fn row(&mut self, header: &[String], cells: &[String]) -> Result<(), String> {
        let (properties, checks) = (header == PROPERTIES, header == CHECKS);
        if !properties && !checks {
            return Ok(());
        }
        let [first, second, third, fourth] = cells else {
            return Err(format!("expected 4 cells, got {}", cells.len()));
        };
        if properties {
            if prefix(first).is_none() {
                return Err(format!("expected an id such as `POOL-1`, got `{first}`"));
            }
            if self.properties.iter().any(|property| property.id == *first) {
                return Err(format!("{first} stands there for the second time"));
            }
            self.properties.push(Property {
                id: first.clone(),
                sentence: second.clone(),
                upheld_at: quoted(third)?,
                checked_by: quoted(fourth)?,
            });
            return Ok(());
        }
        let names = quoted(first)?;
        let [name] = names.as_slice() else {
            return Err(format!("expected one name in backticks, got `{first}`"));
        };
        if self.checks.iter().any(|check| check.name == *name) {
            return Err(format!("check `{name}` stands there for the second time"));
        }
        if !LEVELS.contains(&second.as_str()) {
            return Err(format!("check `{name}`: expected one of {LEVELS:?}, got `{second}`"));
        }
        let check = Check { name: name.clone(), level: second.clone(), places: quoted(fourth)? };
        self.checks.push(check);
        Ok(())
    }

    /// The letters before the number, of every id: `POOL`.
    pub fn prefixes(&self) -> Vec<&str> {
        let mut prefixes: Vec<&str> =
            self.properties.iter().filter_map(|property| prefix(&property.id)).collect();
        prefixes.dedup();
        prefixes
    }

    /// Every property id that a text mentions, registered or not, with its line.
    pub fn mentions<'a>(&self, text: &'a str) -> Vec<(usize, &'a str)> {
        let mut mentions = Vec::new();
        for prefix in self.prefixes() {
            for (line, content) in (1..).zip(text.lines()) {
                for (at, _) in content.match_indices(prefix) {
                    let rest = &content[at + prefix.len()..];
                    let digits = rest
                        .strip_prefix('-')
                        .map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
                    if digits > 0 {
                        mentions.push((line, &content[at..=at + prefix.len() + digits]));
                    }
                }
            }
        }
        mentions
    }
}

fn prefix(id: &str) -> Option<&str> {
    let (prefix, number) = id.split_once('-')?;
    let number_is = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let prefix_is = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_uppercase());
    (number_is && prefix_is).then_some(prefix)
}

/// The cells of a table row; none when the line is no row.
fn cells(line: &str) -> Vec<String> {
    let Some(row) = line.trim().strip_prefix('|') else { return Vec::new() };
    let row = row.strip_suffix('|').unwrap_or(row);
    row.split('|').map(|cell| cell.trim().to_string()).collect()
}

/// The line below a table's header.
fn is_rule(cell: &str) -> bool {
    !cell.is_empty() && cell.bytes().all(|byte| matches!(byte, b'-' | b':'))
}

/// What stands in backticks.
fn quoted(cell: &str) -> Result<Vec<String>, String> {
    let parts: Vec<&str> = cell.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return Err(format!("a backtick is not closed in `{cell}`"));
    }
    Ok(parts.into_iter().skip(1).step_by(2).map(str::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
| id | sentence | upheld at | checked by |
|---|---|:---|---|
| POOL-1 | It holds. | `impl/a.rs` `impl/b.rs` | `check_it` |

| file | what |
|---|---|
| x | POOL-7 is not a row here |

| name | level | what | where |
|---|---|---|---|
| `check_it` | SAMPLED | all of it | `model/` |
";

    fn refused(from: &str, to: &str) -> String {
        Register::parse(&PAGE.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn both_tables_are_read_and_others_left_alone() {
        let register = Register::parse(PAGE).unwrap();
        assert_eq!((register.properties.len(), register.checks.len()), (1, 1));
        assert_eq!(register.properties[0].upheld_at, ["impl/a.rs", "impl/b.rs"]);
        assert_eq!(register.properties[0].checked_by, ["check_it"]);
        assert_eq!(register.checks[0].places, ["model/"]);
        let unregistered = concat!("POOL", "-22");
        let text = format!("// POOL-1: so.\n//! POOL-n, {unregistered}, and (POOL-1)");
        assert_eq!(register.mentions(&text), [(1, "POOL-1"), (2, unregistered), (2, "POOL-1")]);
    }

    #[test]
    fn a_row_that_does_not_parse_is_refused_by_line() {
        assert_eq!(
            refused("POOL-1 |", "Pool 1 |"),
            "specs/README.md:3: expected an id such as `POOL-1`, got `Pool 1`"
        );
        assert_eq!(refused(" It holds. |", ""), "specs/README.md:3: expected 4 cells, got 3");
        assert!(refused("`check_it`", "`check_it").contains("backtick is not closed"));
        assert!(refused("SAMPLED", "SURE").contains("expected one of"));
        let row = "| POOL-1 | It holds. | `impl/a.rs` `impl/b.rs` | `check_it` |";
        let twice = refused(row, &format!("{row}\n{row}"));
        assert_eq!(twice, "specs/README.md:4: POOL-1 stands there for the second time");
    }
}
