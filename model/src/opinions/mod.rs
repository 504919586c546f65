//! Second opinions: other tools than ours judge what is in `specs/spin` and `specs/smt`.
//!
//! Invariants:
//! * a tool that is not installed is a [`Verdict::NotRun`] that names it, never a silent pass;
//! * whatever a tool says that is not exactly what was expected is a [`Verdict::Disagrees`], and so
//!   is a tool that times out, breaks down, or says nothing;
//! * the specifications are compiled in, so an opinion is always about the sources that this
//!   program was built from.
//!
//! It installs nothing and does not choose versions. Checks POOL-1 to POOL-4, REG-4, REG-7, REG-9;
//! upholds nothing.

mod registers;
mod smt;
mod spin;

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::{env, fs, process, thread};

/// What a tool has to say about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// Which tool.
    pub tool: &'static str,
    /// What was checked, in short: the file, and the bounds or the mutant.
    pub name: String,
    /// What that shows.
    pub what: String,
    /// Whether the tool agrees.
    pub verdict: Verdict,
    /// What it found, in numbers.
    pub detail: String,
}

/// Whether a tool agrees with us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It found what we say it must find: also a fault in a mutant.
    Agrees,
    /// It did not, and this is the difference.
    Disagrees(String),
    /// It was not asked, and this is why: `not run: spin missing`.
    NotRun(String),
}

/// One thing that a tool is to be asked.
struct Question {
    /// The tool and what it is asked about, for whoever waits.
    about: String,
    ask: Box<dyn FnOnce() -> Opinion + Send>,
}

/// Asks every tool about everything, two questions at a time: Spin about the twins, their mutants and their
/// witnesses; z3 and cvc5 about each file. `progress` is told each question as it begins; the answers
/// come in the order of `questions`. Less than a minute of processor time, much of it for compiling
/// what Spin writes; `deep` adds bounds that take many.
///
/// # Panics
/// When a question does.
pub fn run(deep: bool, progress: &mut (dyn FnMut(&str) + Send)) -> Vec<Opinion> {
    answers(questions(deep), progress)
}

fn questions(deep: bool) -> Vec<Question> {
    let mut questions = spin::questions();
    questions.extend(registers::questions());
    questions.extend(smt::questions());
    if deep {
        questions.extend(registers::deep());
    }
    questions
}

/// In the place of what only a deep run asks, last there: what is pinned, with the reason why it was not
/// asked.
pub fn put_off(reason: &str) -> Vec<Opinion> {
    registers::put_off(reason)
}

fn answers(questions: Vec<Question>, progress: &mut (dyn FnMut(&str) + Send)) -> Vec<Opinion> {
    let mut answers: Vec<Option<Opinion>> = questions.iter().map(|_| None).collect();
    // From the last one on: the solvers' longest questions stand there, and nobody waits for one of them
    // in the end with nothing else to do.
    let waiting = questions.into_iter().zip(answers.iter_mut()).rev();
    let waiting = Mutex::new((waiting, progress));
    let next = || {
        let mut waiting = waiting.lock().expect("nobody panics who holds it");
        let (waiting, progress) = &mut *waiting;
        let next = waiting.next()?;
        progress(&next.0.about);
        Some(next)
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((question, answer)) = next() {
                    *answer = Some((question.ask)());
                }
            });
        }
    });
    answers.into_iter().map(|answer| answer.expect("all were asked")).collect()
}

/// Why a tool gave no answer that can be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// It is not installed.
    Missing(&'static str),
    /// It broke down, or what it said makes no sense.
    Broken(String),
}

impl From<Trouble> for Verdict {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Missing(tool) => Self::NotRun(format!("not run: {tool} missing")),
            Trouble::Broken(problem) => Self::Disagrees(problem),
        }
    }
}

/// Runs a tool to its end.
fn ask(tool: &'static str, command: &mut Command) -> Result<Output, Trouble> {
    command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Trouble::Missing(tool),
        _ => Trouble::Broken(format!("{tool}: cannot be started: {error}")),
    })
}

/// A directory for one tool's files, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one; `label` must be used once at a time in this process.
    fn new(label: &str) -> Result<Self, Trouble> {
        let path = env::temp_dir().join(format!("cloakroom-{}-{label}", process::id()));
        fs::create_dir(&path).map_err(|error| unusable(&path, &error))?;
        Ok(Self(path))
    }

    /// Puts a file into it.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Trouble> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|error| unusable(&path, &error))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning of its temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unusable(path: &Path, error: &Error) -> Trouble {
    Trouble::Broken(format!("scratch: cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_and_is_no_agreement() {
        let asked = ask("spin", &mut Command::new("/nowhere/spin"));
        let verdict = asked.map_or_else(Verdict::from, |_| Verdict::Agrees);
        assert_eq!(verdict, Verdict::NotRun("not run: spin missing".into()));
    }

    #[test]
    fn every_question_is_told_and_has_its_answer_in_order() {
        let opinion = |at: usize| Opinion {
            tool: "none",
            name: at.to_string(),
            what: String::new(),
            verdict: Verdict::Agrees,
            detail: String::new(),
        };
        let question =
            |at: usize| Question { about: at.to_string(), ask: Box::new(move || opinion(at)) };
        let mut told = Vec::new();
        let answers = answers((0..9).map(question).collect(), &mut |about| told.push(about.len()));
        assert_eq!(answers, (0..9).map(opinion).collect::<Vec<_>>());
        assert_eq!(told, [1; 9]);
    }

    #[test]
    fn no_two_questions_are_the_same() {
        let mut about: Vec<_> =
            questions(true).into_iter().map(|question| question.about).collect();
        let all = about.len();
        about.sort_unstable();
        about.dedup();
        assert_eq!(about.len(), all, "they may be asked at the same time");
    }

    #[test]
    fn a_scratch_is_removed_and_used_once_at_a_time() {
        let scratch = Scratch::new("once").expect("a fresh directory");
        let path = scratch.write("file", "text").expect("a writable directory");
        assert!(matches!(Scratch::new("once"), Err(Trouble::Broken(_))), "in use");
        drop(scratch);
        assert!(!path.exists());
    }
}
