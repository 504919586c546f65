//! The figures of `README.md` that `specs/CLAIMS.md` has are the same, and what is added up there is right.
//!
//! `CLAIMS.md` itself is compared with what has just been run by `cloakroom-model evidence --verify`.

use std::collections::BTreeSet;

use cloakroom_tests::Repository;

/// The line of the claims that adds up the states, and the states of the rows above it.
fn together(claims: &str) -> (&str, u64) {
    let (rows, rest) = claims.split_once("\nTogether: ").expect("the claims add up");
    let states = |row: &str| row.split('|').nth(4)?.trim().parse::<u64>().ok();
    let line = rest.lines().next().expect("there is a line");
    (line.trim_end_matches('.'), rows.lines().filter_map(states).sum())
}

/// The names of all mutants in the claims.
fn mutants(claims: &str) -> BTreeSet<&str> {
    let (_, rest) = claims.split_once("## Mutants that must fail").expect("the claims list them");
    let (table, _) = rest.split_once("\n## ").expect("more follows");
    let rows = table.lines().filter(|line| line.starts_with("| ") && line.contains("| `"));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn the_states_of_the_readme_are_those_of_the_claims() {
    let repository = Repository::here();
    let (claims, readme) = (repository.read("specs/CLAIMS.md"), repository.read("README.md"));
    let (line, sum) = together(&claims);
    assert!(line.replace(',', "").contains(&format!(" {sum} in the deep run")), "{line}: {sum}");
    assert!(readme.contains(line), "README.md: expected {line:?}");
}

#[test]
fn the_mutants_of_the_readme_are_those_of_the_claims() {
    let repository = Repository::here();
    let (claims, readme) = (repository.read("specs/CLAIMS.md"), repository.read("README.md"));
    let expected = format!(" {} mutants", mutants(&claims).len());
    assert!(readme.contains(&expected), "README.md: expected{expected}");
}

#[test]
fn sums_and_mutants_are_read_from_the_tables() {
    let claims = "| check | p | b | states | d |\n|---|---|---|---:|\n| `a` | P | x | 1200 | 3 |\n\
                  | `b` | P | x | 34 | 3 |\n\nTogether: 34 states on every push, 1,234 in the deep run.\n\
                  ## Mutants that must fail\n\n| property | mutants |\n|---|---|\n| A-1 | `m`, `n` |\n\
                  | A-2 | `n` |\n\n## Not verified\n";
    assert_eq!(together(claims), ("34 states on every push, 1,234 in the deep run", 1_234));
    assert_eq!(mutants(claims), BTreeSet::from(["m", "n"]));
}
