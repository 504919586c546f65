//! Every second opinion agrees, as far as its tool is installed.
//!
//! A missing tool is said on stderr and does not fail this test: a stranger's machine may lack it.
//! It fails the `opinions` command with `--require-all`, which continuous integration runs. The Rust
//! half of the twin needs no tool: its pinned counts are always checked here.

use std::io::Write;

use cloakroom_model::opinions::{self, Verdict};

#[test]
fn every_second_opinion_agrees() {
    let mut asked = 0;
    let opinions = opinions::run(false, &mut |_| asked += 1);
    assert_eq!(opinions.len(), asked, "each question has one answer");
    let tools = ["spin", "z3", "cvc5"].map(|tool| {
        let of_tool = opinions.iter().filter(|opinion| opinion.tool == tool);
        of_tool.count()
    });
    assert_eq!(tools, [30, 5, 5], "bounds, mutants and witnesses; five files for each solver");
    for opinion in opinions {
        match &opinion.verdict {
            Verdict::Agrees => {}
            // Past the capture of a test's output.
            Verdict::NotRun(why) => {
                let words = format!("NOT RUN: {}: {why}", opinion.name);
                writeln!(std::io::stderr(), "{words}").expect("stderr");
            }
            Verdict::Disagrees(how) => panic!("{}: {}: {how}", opinion.tool, opinion.name),
        }
    }
}
