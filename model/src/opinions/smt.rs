//! z3 and cvc5 on `specs/smt/*.smt2`, answer by answer.
//!
//! Invariants:
//! * each `(check-sat)` stands on its own line with `; expect: ANSWER -- NAME` behind it, and both
//!   solvers must give exactly these answers in this order: so they agree with each other, too;
//! * `unknown`, a timeout, an error and an answer too few or too many are disagreements;
//! * each file has proofs (`unsat`), mutants and witnesses (`sat`): a proof from assumptions that
//!   contradict each other would show in a witness.
//!
//! cvc5 answers `unknown` on most satisfiable formulas with quantifiers, unless it is told to look
//! for finite models; so told, it may miss proofs. It is asked in both ways, by one of two plans
//! ([`Plan`]): neither can make an answer up, since `sat` is `sat` and `unsat` is `unsat` in both.
//! Checks POOL-1, POOL-2, POOL-4, REG-4, REG-7.

use std::path::Path;
use std::process::Command;

use super::{Opinion, Question, Scratch, Trouble, Verdict, ask};

/// A file of queries.
struct File {
    name: &'static str,
    what: &'static str,
    text: &'static str,
    plan: Plan,
}

/// How solvers are asked about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// All queries in one run; where cvc5 says `unknown`, a `sat` from its search for finite models
    /// stands in.
    Filled,
    /// What shall be `unsat` in one run and what shall be `sat` in another, which is cvc5's search for
    /// finite models: where it is lost on each witness without, and z3 takes six times as long for both
    /// in one.
    Halves,
}

static FILES: [File; 5] = [
    File {
        name: "interval.smt2",
        what: "left, right and up undo each other; halves partition; all 64-bit sizes",
        text: include_str!("../../../specs/smt/interval.smt2"),
        plan: Plan::Filled,
    },
    File {
        name: "shape.smt2",
        what: "child and parent undo each other; children partition; all fanouts, blocks, sizes",
        text: include_str!("../../../specs/smt/shape.smt2"),
        plan: Plan::Filled,
    },
    File {
        name: "uniqueness.smt2",
        what: "POOL-1 and POOL-2 for any number of callers, tags and ids",
        text: include_str!("../../../specs/smt/uniqueness.smt2"),
        plan: Plan::Filled,
    },
    File {
        name: "refresh.smt2",
        what: "after a refresh no count is older than its start; any number of callers",
        text: include_str!("../../../specs/smt/refresh.smt2"),
        plan: Plan::Filled,
    },
    File {
        name: "ballots.smt2",
        what: "REG-4, and one chain through any votes and changes of view; any members and quorums",
        text: include_str!("../../../specs/smt/ballots.smt2"),
        plan: Plan::Halves,
    },
];

/// One `(check-sat)` and what must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Query<'a> {
    line: usize,
    expected: &'a str,
    name: &'a str,
}

pub(super) fn questions() -> Vec<Question> {
    let question = |file: &'static File, tool: &'static str| {
        let about = format!("{tool}: {}", file.name);
        let ask = move || {
            let (verdict, detail) = match judge(tool, file) {
                Ok((verdict, detail)) => (verdict, detail),
                Err(trouble) => (trouble.into(), String::new()),
            };
            let (name, what) = (file.name.to_owned(), file.what.to_owned());
            Opinion { tool, name, what, verdict, detail }
        };
        Question { about, ask: Box::new(ask) }
    };
    let asked = FILES.iter().flat_map(|file| ["z3", "cvc5"].map(|tool| question(file, tool)));
    asked.collect()
}

fn judge(tool: &'static str, file: &File) -> Result<(Verdict, String), Trouble> {
    let queries = queries(file.text)?;
    let scratch = Scratch::new(&format!("{tool}-{}", file.name))?;
    let path = scratch.write(file.name, file.text)?;
    let answers = match file.plan {
        Plan::Halves => {
            let proofs = scratch.write("unsat.smt2", &only(file.text, "unsat"))?;
            let models = scratch.write("sat.smt2", &only(file.text, "sat"))?;
            let found = if tool == "z3" { plain(tool, &models) } else { finite(&models, 30_000) };
            join(&queries, plain(tool, &proofs)?, found?)
        }
        Plan::Filled => {
            let plain = plain(tool, &path)?;
            if tool == "cvc5" && plain.iter().any(|answer| answer == "unknown") {
                fill(plain, &finite(&path, 5000)?)
            } else {
                plain
            }
        }
    };
    let verdict = compare(file.name, &queries, &answers);
    let count = |kind: &str| queries.iter().filter(|query| query.name.starts_with(kind)).count();
    let (mutants, witnesses) = (count("mutant: "), count("witness: "));
    let proofs = queries.len() - mutants - witnesses;
    Ok((verdict, format!("{proofs} proofs, {mutants} mutants, {witnesses} witnesses")))
}

/// A solver as it is. Limits are in milliseconds for each query.
fn plain(tool: &'static str, path: &Path) -> Result<Vec<String>, Trouble> {
    let limit: &[&str] =
        if tool == "z3" { &["-t:30000"] } else { &["--incremental", "--tlimit-per=30000"] };
    answers(tool, Command::new(tool).args(limit).arg(path))
}

/// cvc5 in search of finite models.
fn finite(path: &Path, limit_ms: u32) -> Result<Vec<String>, Trouble> {
    let mut cvc5 = Command::new("cvc5");
    cvc5.args(["--incremental", "--finite-model-find"]).arg(format!("--tlimit-per={limit_ms}"));
    answers("cvc5", cvc5.arg(path))
}

/// The same text, where only what shall be `expected` is asked. Nothing that is asserted depends on
/// a query.
fn only(text: &str, expected: &str) -> String {
    let mut only = String::with_capacity(text.len());
    for line in text.lines() {
        let is_other = line.split_once("(check-sat) ; expect: ").is_some_and(|(_, rest)| {
            rest.split_once(" -- ").is_some_and(|(answer, _)| answer != expected)
        });
        only.push_str(if is_other { "" } else { line });
        only.push('\n');
    }
    only
}

/// The answers to a file's queries, in order, from those to its two halves. What either half said
/// too much comes at the end.
fn join(queries: &[Query<'_>], proofs: Vec<String>, models: Vec<String>) -> Vec<String> {
    let (mut proofs, mut models) = (proofs.into_iter(), models.into_iter());
    let mut joined = Vec::new();
    for query in queries {
        let half = if query.expected == "unsat" { &mut proofs } else { &mut models };
        joined.push(half.next().unwrap_or_else(|| "no answer".to_owned()));
    }
    joined.extend(proofs.chain(models));
    joined
}

/// The queries of a file, in order.
fn queries(text: &str) -> Result<Vec<Query<'_>>, Trouble> {
    (1..)
        .zip(text.lines())
        .filter_map(|(line, text)| Some((line, text.split_once("(check-sat)")?.1)))
        .map(|(line, rest)| {
            rest.trim_start()
                .strip_prefix("; expect: ")
                .and_then(|rest| rest.split_once(" -- "))
                .map(|(expected, name)| Query { line, expected, name })
                .filter(|query| matches!(query.expected, "sat" | "unsat"))
                .ok_or_else(|| {
                    let expected = "`; expect: sat` or `unsat`, ` -- ` and a name";
                    Trouble::Broken(format!("line {line}: expected {expected}, got `{rest}`"))
                })
        })
        .collect()
}

/// Every line that a solver prints: an answer, or an error that is no answer.
fn answers(tool: &'static str, command: &mut Command) -> Result<Vec<String>, Trouble> {
    let output = ask(tool, command)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    Ok(said.lines().chain(complained.lines()).map(|line| line.trim().to_owned()).collect())
}

/// `sat` where the first answer is `unknown` and the second `sat`.
fn fill(plain: Vec<String>, finite: &[String]) -> Vec<String> {
    let answers = plain.into_iter().enumerate();
    answers
        .map(|(at, answer)| match finite.get(at) {
            Some(sat) if answer == "unknown" && sat == "sat" => sat.clone(),
            _ => answer,
        })
        .collect()
}

/// The first answer that is not the expected one.
fn compare(file: &str, queries: &[Query<'_>], answers: &[String]) -> Verdict {
    for (at, Query { line, expected, name }) in queries.iter().enumerate() {
        let got = answers.get(at).map_or("no answer", String::as_str);
        if got != *expected {
            let what = format!("{file}:{line}: {name}: expected {expected}, got {got}");
            return Verdict::Disagrees(what);
        }
    }
    match answers.get(queries.len()) {
        Some(more) => Verdict::Disagrees(format!("{file}: said more than was asked: {more}")),
        None => Verdict::Agrees,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answers: &[&str]) -> Vec<String> {
        answers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_file_has_proofs_mutants_and_witnesses() {
        for File { name, text, .. } in &FILES {
            let queries = queries(text).expect("expectations");
            for (kind, expected) in [("mutant: ", "sat"), ("witness: ", "sat"), ("", "unsat")] {
                let of_kind = |query: &&Query<'_>| {
                    if kind.is_empty() {
                        !query.name.starts_with("mutant: ") && !query.name.starts_with("witness: ")
                    } else {
                        query.name.starts_with(kind)
                    }
                };
                let found: Vec<_> = queries.iter().filter(of_kind).collect();
                assert!(!found.is_empty(), "{name} has no {kind}{expected}");
                assert!(found.iter().all(|query| query.expected == expected), "{name}: {found:?}");
            }
        }
    }

    #[test]
    fn any_other_answer_is_a_disagreement_that_names_its_query() {
        let text = "(check-sat) ; expect: unsat -- one\n\n(check-sat) ; expect: sat -- two\n";
        let queries = queries(text).expect("expectations");
        let judge = |answers: &[&str]| compare("f", &queries, &said(answers));
        assert_eq!(judge(&["unsat", "sat"]), Verdict::Agrees);
        for (answers, what) in [
            (&["sat", "sat"][..], "f:1: one: expected unsat, got sat"),
            (&["unsat", "unknown"], "f:3: two: expected sat, got unknown"),
            (&["unsat"], "f:3: two: expected sat, got no answer"),
            (&["unsat", "sat", "(error)"], "f: said more than was asked: (error)"),
        ] {
            assert_eq!(judge(answers), Verdict::Disagrees(what.into()));
        }
    }

    #[test]
    fn a_query_without_an_expectation_is_refused() {
        for text in ["(check-sat)", "(check-sat) ; expect: unknown -- x", "(check-sat) ; unsat"] {
            assert!(matches!(queries(text), Err(Trouble::Broken(_))), "{text}");
        }
    }

    #[test]
    fn a_file_in_two_halves_has_all_of_its_queries_and_their_answers_in_order() {
        let text = "a\n(check-sat) ; expect: unsat -- one\n(check-sat) ; expect: sat -- two\nb\n";
        let [proofs, models] = ["unsat", "sat"].map(|expected| only(text, expected));
        assert_eq!(proofs, "a\n(check-sat) ; expect: unsat -- one\n\nb\n");
        assert_eq!(models, "a\n\n(check-sat) ; expect: sat -- two\nb\n");
        let queries = queries(text).expect("expectations");
        let join = |proofs: &[&str], models: &[&str]| join(&queries, said(proofs), said(models));
        assert_eq!(join(&["unsat"], &["sat"]), ["unsat", "sat"]);
        assert_eq!(join(&["sat"], &["unknown"]), ["sat", "unknown"], "nothing is made up");
        assert_eq!(join(&[], &["sat"]), ["no answer", "sat"]);
        assert_eq!(join(&["unsat", "(error)"], &["sat"]), ["unsat", "sat", "(error)"]);
    }

    #[test]
    fn finite_models_turn_unknown_into_sat_and_nothing_else() {
        let plain = said(&["unknown", "unsat", "unknown", "unknown"]);
        let filled = fill(plain, &said(&["sat", "sat", "unsat"]));
        assert_eq!(filled, said(&["sat", "unsat", "unknown", "unknown"]));
    }
}
